//! What a program brings along.

use std::collections::BTreeMap;

use tidemill_expr::own::{self, Function, Functions, Kind, RegisterError};
use tidemill_state::accumulator::{self, AccumulatorFactory};

use crate::aggregate::{self, Aggregate};
use crate::parameter::Parameters;
use crate::row::Row;
use crate::scalar::{self, ScalarFunction};
use crate::table::{self, TableFunction};
use crate::value::{Returned, Value};

/// The functions of a program.
///
/// A function has a name, which SQL takes in any case, and a version from 1 on. The version rises when the function
/// comes to mean something else; state that was made with the old one is not taken for that of the new one. Older
/// versions may stay registered beside the newest, which is the one that new statements call: jobs whose plans name
/// the older ones go on with those.
#[derive(Default)]
pub struct Registry {
    functions: Functions,
    accumulators: BTreeMap<(String, u16), AccumulatorFactory>,
    /// The first that was wrong.
    error: Option<RegisterError>,
}

impl Registry {
    /// A registry without functions; those that are built in are always there.
    pub fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, name: &str, version: u16, parameters: Vec<own::Parameter>, kind: Kind) -> &mut Self {
        let added = self.functions.add(Function { name: name.to_owned(), version, parameters, kind });
        if let (Err(error), None) = (added, &self.error) {
            self.error = Some(error);
        }
        self
    }

    fn add_scalar<S: 'static, F: ScalarFunction<S>>(
        &mut self,
        name: &str,
        version: u16,
        function: F,
        deterministic: bool,
    ) -> &mut Self {
        let (parameters, kernel) = scalar::kernel(name, function);
        let (returns, nullable) = (<F::Output as Returned>::Value::logical(), F::Output::NULLABLE);
        self.add(name, version, parameters, Kind::Scalar { returns, nullable, deterministic, kernel })
    }

    /// Registers a scalar function: a function or closure of up to six [`Parameter`](crate::Parameter)s that gives
    /// the same for the same arguments. Of constants it is called while a statement is planned.
    pub fn scalar<S: 'static, F: ScalarFunction<S>>(&mut self, name: &str, version: u16, function: F) -> &mut Self {
        self.add_scalar(name, version, function, true)
    }

    /// Registers a scalar function that may give something else for the same arguments: it is called for every row.
    pub fn volatile_scalar<S: 'static, F: ScalarFunction<S>>(
        &mut self,
        name: &str,
        version: u16,
        function: F,
    ) -> &mut Self {
        self.add_scalar(name, version, function, false)
    }

    /// Registers a table function: a function or closure of up to six [`Parameter`](crate::Parameter)s and a
    /// [`Collector`](crate::Collector). Its columns have the names `f0`, `f1` and so on, a single one `EXPR$0`.
    pub fn table<S: 'static, F: TableFunction<S>>(&mut self, name: &str, version: u16, function: F) -> &mut Self {
        let (parameters, kernel) = table::kernel(name, function);
        self.add(name, version, parameters, Kind::Table { columns: F::Row::columns(), kernel })
    }

    /// The same with names for the columns, one for each.
    pub fn table_of<S: 'static, F: TableFunction<S>>(
        &mut self,
        name: &str,
        version: u16,
        names: &[&str],
        function: F,
    ) -> &mut Self {
        let (parameters, kernel) = table::kernel(name, function);
        let mut columns = F::Row::columns();
        if columns.len() != names.len() {
            let reason = format!("its rows have {} columns, and {} names are given", columns.len(), names.len());
            self.error.get_or_insert(RegisterError::Columns { name: name.to_ascii_uppercase(), reason });
        }
        for (column, name) in columns.iter_mut().zip(names) {
            column.name = (*name).to_owned();
        }
        self.add(name, version, parameters, Kind::Table { columns, kernel })
    }

    /// Registers an aggregate function.
    pub fn aggregate<A: Aggregate>(&mut self, name: &str, version: u16, aggregate: A) -> &mut Self {
        let factory: AccumulatorFactory = Box::new(aggregate::factory(name, aggregate));
        self.accumulators.insert((name.to_ascii_uppercase(), version), factory);
        self.add(name, version, A::Input::parameters(), Kind::Aggregate { returns: aggregate::return_type::<A>() })
    }

    /// Makes the functions those of this process.
    pub(crate) fn install(self) -> Result<(), RegisterError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        own::install(self.functions)?;
        accumulator::install(self.accumulators).then_some(()).ok_or(RegisterError::Installed)
    }
}
