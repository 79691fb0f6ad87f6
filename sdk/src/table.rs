//! Table functions: closures that make any number of rows of the values of a row.

use std::fmt::Display;
use std::marker::PhantomData;

use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_expr::own::{self, Argument, MadeRows, TableKernel};

use crate::call::{Called, guarded};
use crate::parameter::{Parameter, Parameters};
use crate::row::Row;

/// Where a table function puts its rows.
pub struct Collector<R: Row> {
    builders: R::Builders,
    parents: Vec<u32>,
    /// The row of the input that is worked on.
    parent: u32,
    /// Batches that are full.
    full: Vec<MadeRows>,
}

impl<R: Row> Collector<R> {
    fn new() -> Self {
        Self { builders: R::Builders::default(), parents: Vec::new(), parent: 0, full: Vec::new() }
    }

    /// Adds a row. Rows are kept until the call returns, and sent on then.
    pub fn emit(&mut self, row: R) {
        row.append(&mut self.builders);
        self.added();
    }

    fn emit_nulls(&mut self) {
        R::append_nulls(&mut self.builders);
        self.added();
    }

    fn added(&mut self) {
        self.parents.push(self.parent);
        if self.parents.len() == BATCH_ROWS_TARGET {
            self.close();
        }
    }

    fn close(&mut self) {
        if !self.parents.is_empty() {
            let (parents, columns) = (std::mem::take(&mut self.parents), R::finish(&mut self.builders));
            self.full.push(MadeRows { parents, columns });
        }
    }

    /// Hands on what is full; says whether more is wanted.
    fn hand_on(&mut self, emit: &mut dyn FnMut(MadeRows) -> bool) -> bool {
        self.full.drain(..).all(emit)
    }

    fn made(&self) -> usize {
        self.full.iter().map(|made| made.parents.len()).sum::<usize>() + self.parents.len()
    }
}

/// What a table function gives besides its rows: nothing, or a `Result`, whose error fails the job.
pub trait Outcome: 'static {
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// A function or closure of up to six [`Parameter`]s and a [`Collector`], into which it puts rows. `Signature`
/// tells functions of different signatures apart, and is never written.
pub trait TableFunction<Signature>: Send + Sync + 'static {
    type Parameters: Parameters;
    type Row: Row;
    type Output: Outcome;

    /// Calls it with the values of one row.
    fn call(&self, items: <Self::Parameters as Parameters>::Items<'_>, rows: &mut Collector<Self::Row>)
    -> Self::Output;
}

macro_rules! table {
    ($($parameter:ident $item:ident),*) => {
        impl<Own, Out, Made, $($parameter),*> TableFunction<(fn($($parameter),*) -> Out, Made)> for Own
        where
            Own: Send + Sync + 'static,
            Own: Fn($($parameter,)* &mut Collector<Made>) -> Out,
            Own: for<'a> Fn($($parameter::Item<'a>,)* &mut Collector<Made>) -> Out,
            Out: Outcome,
            Made: Row,
            $($parameter: Parameter,)*
        {
            type Parameters = ($($parameter,)*);
            type Row = Made;
            type Output = Out;

            #[inline(always)]
            fn call(
                &self,
                ($($item,)*): <Self::Parameters as Parameters>::Items<'_>,
                rows: &mut Collector<Made>,
            ) -> Out {
                #[allow(clippy::too_many_arguments, reason = "as many as a function may take")]
                #[inline(always)]
                fn inner<Out, Made: Row, $($parameter),*>(
                    own: impl Fn($($parameter,)* &mut Collector<Made>) -> Out,
                    $($item: $parameter,)*
                    rows: &mut Collector<Made>,
                ) -> Out {
                    own($($item,)* rows)
                }
                inner(self, $($item,)* rows)
            }
        }
    };
}

table!();
table!(A a);
table!(A a, B b);
table!(A a, B b, C c);
table!(A a, B b, C c, D d);
table!(A a, B b, C c, D d, E e);
table!(A a, B b, C c, D d, E e, F f);

struct Columns<F, S> {
    name: String,
    function: F,
    parameters: Vec<own::Parameter>,
    signature: PhantomData<fn() -> S>,
}

/// The kernel of a function, and its parameters.
pub(crate) fn kernel<S: 'static, F: TableFunction<S>>(
    name: &str,
    function: F,
) -> (Vec<own::Parameter>, Box<dyn TableKernel>) {
    let parameters = F::Parameters::parameters();
    let (name, signature) = (name.to_ascii_uppercase(), PhantomData);
    (parameters.clone(), Box::new(Columns::<F, S> { name, function, parameters, signature }))
}

impl<S, F: TableFunction<S>> TableKernel for Columns<F, S> {
    fn evaluate(
        &self,
        args: &[Argument<'_>],
        rows: usize,
        outer: bool,
        emit: &mut dyn FnMut(MadeRows) -> bool,
    ) -> Result<(), String> {
        let columns = F::Parameters::columns(args)?;
        let called = Called::of(args, &self.parameters);
        let mut collector = Collector::<F::Row>::new();
        let mut row = 0;
        while row < rows {
            // What is sent on may take long and fail by itself: that is not the function's doing.
            guarded(&self.name, || {
                while row < rows && collector.full.is_empty() {
                    collector.parent = row as u32;
                    let before = collector.made();
                    if called.is(row) {
                        self.function.call(F::Parameters::items(&columns, row), &mut collector).into_result()?;
                    }
                    if outer && collector.made() == before {
                        collector.emit_nulls();
                    }
                    row += 1;
                }
                Ok(())
            })?;
            if !collector.hand_on(emit) {
                return Ok(());
            }
        }
        collector.close();
        collector.hand_on(emit);
        Ok(())
    }
}
