//! Scalar functions: closures over values of a row, run over whole columns.

use std::marker::PhantomData;

use arrow::array::ArrayRef;
use tidemill_expr::own::{self, Argument, ScalarKernel};

use crate::call::{Called, guarded};
use crate::parameter::{Parameter, Parameters};
use crate::value::{Returned, Value};

/// A function or closure of up to six [`Parameter`]s that gives something [`Returned`]. `Signature` tells
/// functions of different signatures apart, and is never written.
pub trait ScalarFunction<Signature>: Send + Sync + 'static {
    type Parameters: Parameters;
    type Output: Returned;

    /// Calls it with the values of one row.
    fn call(&self, items: <Self::Parameters as Parameters>::Items<'_>) -> Self::Output;
}

macro_rules! scalar {
    ($($parameter:ident $item:ident),*) => {
        impl<Own, Out, $($parameter),*> ScalarFunction<fn($($parameter),*) -> Out> for Own
        where
            Own: Send + Sync + 'static,
            Own: Fn($($parameter),*) -> Out,
            Own: for<'a> Fn($($parameter::Item<'a>),*) -> Out,
            Out: Returned,
            $($parameter: Parameter,)*
        {
            type Parameters = ($($parameter,)*);
            type Output = Out;

            #[inline(always)]
            fn call(&self, ($($item,)*): <Self::Parameters as Parameters>::Items<'_>) -> Out {
                // The function is one of its parameters' types and one of their items': here the latter.
                #[allow(clippy::too_many_arguments, reason = "as many as a function may take")]
                #[inline(always)]
                fn inner<Out, $($parameter),*>(own: impl Fn($($parameter),*) -> Out, $($item: $parameter),*) -> Out {
                    own($($item),*)
                }
                inner(self, $($item),*)
            }
        }
    };
}

scalar!();
scalar!(A a);
scalar!(A a, B b);
scalar!(A a, B b, C c);
scalar!(A a, B b, C c, D d);
scalar!(A a, B b, C c, D d, E e);
scalar!(A a, B b, C c, D d, E e, F f);

/// A function over columns: one loop, in which the function is inlined.
struct Columns<F, S> {
    name: String,
    function: F,
    parameters: Vec<own::Parameter>,
    signature: PhantomData<fn() -> S>,
}

/// The kernel of a function, and what the planner is told of it but the name.
pub(crate) fn kernel<S: 'static, F: ScalarFunction<S>>(
    name: &str,
    function: F,
) -> (Vec<own::Parameter>, Box<dyn ScalarKernel>) {
    let parameters = F::Parameters::parameters();
    let (name, signature) = (name.to_ascii_uppercase(), PhantomData);
    (parameters.clone(), Box::new(Columns::<F, S> { name, function, parameters, signature }))
}

impl<S, F: ScalarFunction<S>> ScalarKernel for Columns<F, S> {
    fn evaluate(&self, args: &[Argument<'_>], rows: usize) -> Result<ArrayRef, String> {
        type Given<F, S> = <<F as ScalarFunction<S>>::Output as Returned>::Value;
        let columns = F::Parameters::columns(args)?;
        let called = Called::of(args, &self.parameters);
        guarded(&self.name, || {
            let mut builder = <Given<F, S> as Value>::Builder::default();
            let one = |builder: &mut _, row: usize| -> Result<(), String> {
                match self.function.call(F::Parameters::items(&columns, row)).into_result()? {
                    Some(value) => value.append(builder),
                    None => <Given<F, S> as Value>::append_null(builder),
                }
                Ok(())
            };
            match &called {
                Called::All => (0..rows).try_for_each(|row| one(&mut builder, row))?,
                called => (0..rows).try_for_each(|row| {
                    if called.is(row) {
                        return one(&mut builder, row);
                    }
                    <Given<F, S> as Value>::append_null(&mut builder);
                    Ok(())
                })?,
            }
            Ok(<Given<F, S> as Value>::finish(&mut builder))
        })
    }
}
