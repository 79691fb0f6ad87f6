//! Accumulators of a user's own aggregate functions, which the binary brings along.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tidemill_common::expr::FunctionId;

use super::Accumulator;
use crate::StateError;

/// Makes an empty accumulator. Its one state column is of type BYTES.
pub type AccumulatorFactory = Box<dyn Fn() -> Box<dyn Accumulator> + Send + Sync>;

static OWN: OnceLock<BTreeMap<(String, u16), AccumulatorFactory>> = OnceLock::new();

/// Makes own aggregates known, by name and version, for as long as the process lives. The first call counts;
/// says whether this was it.
pub fn install(factories: BTreeMap<(String, u16), AccumulatorFactory>) -> bool {
    OWN.set(factories).is_ok()
}

pub(super) fn create(id: &FunctionId) -> Result<Box<dyn Accumulator>, StateError> {
    let unknown = || StateError::UnknownAggregate { name: id.name.to_string(), version: id.version };
    let factory = OWN.get().and_then(|own| own.get(&(id.name.to_string(), id.version))).ok_or_else(unknown)?;
    Ok(factory())
}

/// Why a function that a user wrote cannot go on, as it is carried up the stack: accumulators are called where
/// nothing else can fail. Whoever runs a subtask tells it as the cause.
#[derive(Debug)]
pub struct OwnFailure(pub String);

/// Ends the subtask with this reason.
pub fn fail(reason: String) -> ! {
    std::panic::resume_unwind(Box::new(OwnFailure(reason)))
}
