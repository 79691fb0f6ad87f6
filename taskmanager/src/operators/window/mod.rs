//! Windowed aggregation: aligned windows (tumbling, hopping, cumulating) by slices, windows that the
//! input carries, and session windows; in one phase, or local and global. GROUP BY in batch mode is one window,
//! which ends with the input.

mod assigner;
mod deltas;
mod emitter;
mod folding;
mod fused;
mod grouping;
mod join;
mod keyed;
mod layout;
mod local;
mod pane;
mod rows;
mod session;
mod sliced;
mod spill;
mod table;
mod windows;
mod zone;

#[cfg(test)]
mod tests;

use arrow::datatypes::{DataType, TimeUnit};
use tidemill_common::plan::{AggregatePhase, WindowAggregateSpec, WindowKind, WindowTime};
use tidemill_common::time::TimestampMs;
use tidemill_common::types::Schema;

pub(crate) use self::assigner::Assigner;
pub use self::join::create_join;
pub use self::keyed::KeyedContext;
pub(crate) use self::zone::WindowZone;
use crate::operator::{Operator, OperatorError};

/// Reads the wall clock, in milliseconds since the epoch.
pub(crate) type Clock = fn() -> TimestampMs;

/// The machine's clock.
pub(crate) fn system_clock() -> TimestampMs {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as TimestampMs)
}

/// The operator of a window aggregate.
///
/// # Errors
/// If the plan asks for what this operator cannot do; the planner should have refused it.
pub fn create(
    spec: &WindowAggregateSpec,
    input: &Schema,
    output: &Schema,
    context: &KeyedContext,
) -> Result<Box<dyn Operator>, OperatorError> {
    create_with_clock(spec, input, output, context, system_clock)
}

fn create_with_clock(
    spec: &WindowAggregateSpec,
    input: &Schema,
    output: &Schema,
    context: &KeyedContext,
    clock: Clock,
) -> Result<Box<dyn Operator>, OperatorError> {
    let operator = match (&spec.window.kind, spec.phase) {
        (WindowKind::Whole, AggregatePhase::Single) => "GroupAggregate",
        (WindowKind::Whole, AggregatePhase::Local) => "LocalGroupAggregate",
        (WindowKind::Whole, AggregatePhase::Global) => "GlobalGroupAggregate",
        (_, AggregatePhase::Single) => "WindowAggregate",
        (_, AggregatePhase::Local) => "LocalWindowAggregate",
        (_, AggregatePhase::Global) => "GlobalWindowAggregate",
    };
    let refuse = |reason: String| OperatorError::Internal { operator: operator.to_owned(), reason };
    let zone = zone_of(&spec.window.time).map_err(refuse)?;
    let split = spec.phase != AggregatePhase::Single;
    let splits = matches!(
        (&spec.window.kind, &spec.window.time),
        (WindowKind::Tumble { .. } | WindowKind::Hop { .. } | WindowKind::Cumulate { .. }, WindowTime::RowTime { .. })
            | (WindowKind::Whole, WindowTime::Input)
    );
    if split && !splits {
        return Err(refuse("only aligned windows over row time can be aggregated in two phases".to_owned()));
    }
    check_time_columns(spec, input).map_err(refuse)?;
    if spec.allowed_lateness_ms < 0 {
        return Err(refuse(format!("the allowed lateness is negative: {} ms", spec.allowed_lateness_ms)));
    }
    match (&spec.window.kind, spec.phase) {
        (_, AggregatePhase::Local) => local::create(operator, spec, input, output, zone).map_err(refuse),
        (WindowKind::Session { gap_ms }, _) => {
            session::create(operator, spec, input, output, context, zone, *gap_ms, clock).map_err(refuse)
        }
        _ => sliced::create(operator, spec, input, output, context, zone, clock).map_err(refuse),
    }
}

/// The zone that windows align with.
pub(crate) fn zone_of(time: &WindowTime) -> Result<WindowZone, String> {
    match time {
        WindowTime::RowTime { zone: None, .. } | WindowTime::Input => Ok(WindowZone::local()),
        WindowTime::RowTime { zone: Some(zone), .. } | WindowTime::ProcessingTime { zone } => WindowZone::named(zone),
    }
}

/// Checks that a column is a row time.
pub(crate) fn is_row_time(input: &Schema, column: usize) -> Result<(), String> {
    let field = input.fields.get(column).ok_or_else(|| format!("there is no input column {column}"))?;
    match field.data_type.logical.to_arrow() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => Ok(()),
        _ => Err(format!("'{}' is {}, not a TIMESTAMP(3)", field.name, field.data_type)),
    }
}

fn check_time_columns(spec: &WindowAggregateSpec, input: &Schema) -> Result<(), String> {
    match (&spec.window.kind, &spec.window.time, spec.phase) {
        (WindowKind::Whole, ..) => Ok(()),
        (WindowKind::Attached { start, end }, ..) => is_row_time(input, *start).and_then(|()| is_row_time(input, *end)),
        (_, _, AggregatePhase::Global) => match input.fields.last().map(|field| field.data_type.logical.to_arrow()) {
            Some(DataType::Int64) => Ok(()),
            _ => Err("the last column of a local phase is the slice end, a BIGINT".to_owned()),
        },
        (_, WindowTime::RowTime { column, .. }, _) => is_row_time(input, *column),
        (_, WindowTime::ProcessingTime { .. }, _) => Ok(()),
        (_, WindowTime::Input, _) => Err("a window needs a time".to_owned()),
    }
}

/// What Flink says of a row without a row time.
pub(crate) fn null_row_time(operator: &str) -> OperatorError {
    OperatorError::Evaluation {
        operator: operator.to_owned(),
        reason: "RowTime field should not be null, please convert it to a non-null long value.".to_owned(),
    }
}
