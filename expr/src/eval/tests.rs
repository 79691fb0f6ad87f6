//! Evaluation: branches only where they are taken, failures, NULLs, shared parts, scalars.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{Field, LogicalType, Schema};

use super::*;
use crate::bind::{bind_call, bind_case, bind_cast, literal_number, literal_string};

const CONTEXT: EvalContext = EvalContext { now_ms: 1_720_000_000_000, zone: chrono_tz::UTC };

fn input() -> (SchemaRef, RecordBatch) {
    let schema = Schema::new(vec![
        Field::new("a", LogicalType::Int.nullable()),
        Field::new("b", LogicalType::Int.nullable()),
        Field::new("s", LogicalType::STRING.nullable()),
        Field::new("flag", LogicalType::Boolean.nullable()),
    ])
    .to_arrow();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(10), Some(20), None, Some(40), Some(50)])),
        Arc::new(Int32Array::from(vec![Some(2), Some(0), Some(3), None, Some(5)])),
        Arc::new(StringArray::from(vec![Some("1"), Some("x"), None, Some("4"), Some("")])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)])),
    ];
    (schema.clone(), RecordBatch::try_new(schema, columns).unwrap())
}

fn a() -> Expr {
    Expr::column(0, LogicalType::Int.nullable())
}
fn b() -> Expr {
    Expr::column(1, LogicalType::Int.nullable())
}
fn s() -> Expr {
    Expr::column(2, LogicalType::STRING.nullable())
}
fn flag() -> Expr {
    Expr::column(3, LogicalType::Boolean.nullable())
}
fn number(text: &str) -> Expr {
    literal_number(text).unwrap()
}
fn call(name: &str, args: Vec<Expr>) -> Expr {
    bind_call(name, args).unwrap()
}

fn run(expr: &Expr) -> Result<ArrayRef, EvalError> {
    let (schema, batch) = input();
    let program = Program::compile(std::slice::from_ref(expr), &schema).unwrap();
    let column = program.evaluate(&batch, &CONTEXT)?.remove(0);
    assert_eq!(column.len(), batch.num_rows());
    assert_eq!(*column.data_type(), expr.data_type().logical.to_arrow());
    Ok(column)
}

fn ints(expr: &Expr) -> Vec<Option<i32>> {
    run(expr).unwrap().as_primitive::<Int32Type>().iter().collect()
}

fn booleans(expr: &Expr) -> Vec<Option<bool>> {
    run(expr).unwrap().as_boolean().iter().collect()
}

#[test]
fn a_division_by_zero_fails_only_where_it_is_reached() {
    let quotient = call("/", vec![a(), b()]);
    assert_eq!(run(&quotient).unwrap_err().reason, "division by zero");
    let nonzero = call("<>", vec![b(), number("0")]);
    let guarded = bind_case(vec![(nonzero.clone(), quotient.clone())], Some(number("-1"))).unwrap();
    assert_eq!(ints(&guarded), [Some(5), Some(-1), None, Some(-1), Some(10)]);
    let test = call(">", vec![quotient.clone(), number("5")]);
    let both = call("AND", vec![nonzero.clone(), test.clone()]);
    assert_eq!(booleans(&both), [Some(false), Some(false), None, None, Some(true)]);
    let either = call("OR", vec![call("=", vec![b(), number("0")]), test]);
    assert_eq!(booleans(&either), [Some(false), Some(true), None, None, Some(true)]);
    let fallback = call("IF", vec![nonzero, quotient, a()]);
    assert_eq!(ints(&fallback), [Some(5), Some(20), None, Some(40), Some(10)]);
}

#[test]
fn coalesce_stops_at_the_first_value() {
    let parsed = bind_cast(s(), LogicalType::Int.nullable(), false).unwrap();
    assert!(run(&parsed).unwrap_err().reason.contains("'x', which is not a valid INT"));
    // Only row 2 lacks `a`, and its text is NULL.
    assert_eq!(
        ints(&call("COALESCE", vec![a(), parsed, number("7")])),
        [Some(10), Some(20), Some(7), Some(40), Some(50)]
    );
    let tried = bind_cast(s(), LogicalType::Int.nullable(), true).unwrap();
    assert_eq!(ints(&tried), [Some(1), None, None, Some(4), None]);
}

#[test]
fn failing_parts_below_shared_ones() {
    // The division occurs twice, once under a guard: sharing must not evaluate it for all rows.
    let quotient = call("/", vec![a(), b()]);
    let guard = call("<>", vec![b(), number("0")]);
    let first = bind_case(vec![(guard.clone(), quotient.clone())], None).unwrap();
    let second = bind_case(vec![(guard, call("+", vec![quotient, number("1")]))], None).unwrap();
    let (schema, batch) = input();
    let program = Program::compile(&[first, second], &schema).unwrap();
    let columns = program.evaluate(&batch, &CONTEXT).unwrap();
    assert_eq!(
        columns[1].as_primitive::<Int32Type>().iter().collect::<Vec<_>>(),
        [Some(6), None, None, None, Some(11)]
    );
}

#[test]
fn columns_are_shared_and_scalars_spread() {
    let (schema, batch) = input();
    let program =
        Program::compile(&[s(), number("1"), Expr::literal(Scalar::Null, LogicalType::STRING)], &schema).unwrap();
    let columns = program.evaluate(&batch, &CONTEXT).unwrap();
    assert!(Arc::ptr_eq(&columns[0], batch.column(2)));
    assert_eq!(columns[1].len(), 5);
    assert_eq!(columns[2].null_count(), 5);
}

#[test]
fn no_rows_are_no_failure() {
    let (schema, batch) = input();
    let empty = batch.slice(0, 0);
    let exprs = [
        call("/", vec![a(), b()]),
        call("/", vec![number("1"), b()]),
        bind_case(vec![(flag(), a())], Some(b())).unwrap(),
        call("AND", vec![flag(), flag()]),
        call("COALESCE", vec![a(), b()]),
        call("CONCAT", vec![s(), literal_string("x")]),
        call("ARRAY", vec![a(), b()]),
    ];
    let program = Program::compile(&exprs, &schema).unwrap();
    for column in program.evaluate(&empty, &CONTEXT).unwrap() {
        assert_eq!(column.len(), 0);
    }
    assert_eq!(Predicate::compile(&flag(), &schema).unwrap().select(&empty, &CONTEXT).unwrap().len(), 0);
}

#[test]
fn predicates_keep_only_what_is_true() {
    let (schema, batch) = input();
    let mask = Predicate::compile(&flag(), &schema).unwrap().select(&batch, &CONTEXT).unwrap();
    assert_eq!(mask, BooleanArray::from(vec![true, false, false, true, false]));
    let not = call("NOT", vec![flag()]);
    let mask = Predicate::compile(&not, &schema).unwrap().select(&batch, &CONTEXT).unwrap();
    assert_eq!(mask, BooleanArray::from(vec![false, true, false, false, true]));
    assert!(Predicate::compile(&a(), &schema).is_err());
}

#[test]
fn sliced_batches_read_their_own_rows() {
    let (schema, batch) = input();
    let exprs = [
        call("+", vec![a(), b()]),
        call("||", vec![s(), literal_string("!")]),
        call("IN", vec![s(), literal_string("4"), literal_string("x")]),
        call("IS NULL", vec![a()]),
        bind_case(vec![(flag(), a())], Some(b())).unwrap(),
        call("CARDINALITY", vec![call("ARRAY", vec![a()])]),
    ];
    let program = Program::compile(&exprs, &schema).unwrap();
    let whole = program.evaluate(&batch, &CONTEXT).unwrap();
    for start in 0..5 {
        for length in 0..=5 - start {
            let part = program.evaluate(&batch.slice(start, length), &CONTEXT).unwrap();
            for (whole, part) in whole.iter().zip(&part) {
                assert_eq!(&whole.slice(start, length), part);
            }
        }
    }
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let (schema, _) = input();
    let other = Expr::column(0, LogicalType::BigInt.nullable());
    assert!(matches!(Program::compile(&[other], &schema), Err(CompileError::ColumnMismatch { index: 0, .. })));
    let beyond = Expr::column(9, LogicalType::Int.nullable());
    assert!(matches!(Program::compile(&[beyond], &schema), Err(CompileError::ColumnMismatch { index: 9, .. })));
    let mut unknown = call("UPPER", vec![s()]);
    if let Expr::Call { function, .. } = &mut unknown {
        function.version = 2;
    }
    let error = Program::compile(&[unknown], &schema).unwrap_err();
    assert!(error.to_string().contains("UPPER version 2"), "{error}");
}

#[test]
fn the_clock_is_one_value_a_batch() {
    let (schema, batch) = input();
    let exprs = [call("CURRENT_TIMESTAMP", vec![]), call("UNIX_TIMESTAMP", vec![])];
    let columns = Program::compile(&exprs, &schema).unwrap().evaluate(&batch, &CONTEXT).unwrap();
    assert_eq!(columns[1].as_primitive::<Int64Type>(), &Int64Array::from(vec![1_720_000_000; 5]));
    let random = [call("RAND", vec![]), call("RAND", vec![])];
    let columns = Program::compile(&random, &schema).unwrap().evaluate(&batch, &CONTEXT).unwrap();
    assert_ne!(&columns[0], &columns[1]);
}

proptest::proptest! {
    /// Flink's three-valued logic, whatever the sides are and whether they are scalars.
    #[test]
    fn logic_is_three_valued(left in 0_usize..3, right in 0_usize..3, or in proptest::prelude::any::<bool>()) {
        const VALUES: [Option<bool>; 3] = [Some(true), Some(false), None];
        let literal = |index: usize| match VALUES[index] {
            Some(value) => Expr::literal(Scalar::Boolean(value), LogicalType::Boolean),
            None => Expr::Literal { value: Scalar::Null, data_type: LogicalType::Boolean.nullable() },
        };
        let expected = match (or, VALUES[left], VALUES[right]) {
            (true, Some(true), _) | (true, _, Some(true)) => Some(true),
            (false, Some(false), _) | (false, _, Some(false)) => Some(false),
            (_, Some(_), Some(_)) => Some(!or),
            _ => None,
        };
        let expr = call(if or { "OR" } else { "AND" }, vec![literal(left), literal(right)]);
        proptest::prop_assert_eq!(booleans(&expr), vec![expected; 5]);
    }

    #[test]
    fn integers_wrap(left in proptest::prelude::any::<i32>(), right in proptest::prelude::any::<i32>()) {
        let literal = |value| Expr::literal(Scalar::Int(value), LogicalType::Int);
        for (name, expected) in [("+", left.wrapping_add(right)), ("-", left.wrapping_sub(right)), ("*", left.wrapping_mul(right))] {
            let expr = call(name, vec![literal(left), literal(right)]);
            proptest::prop_assert_eq!(ints(&expr)[0], Some(expected));
        }
        if right != 0 {
            let expr = call("/", vec![literal(left), literal(right)]);
            proptest::prop_assert_eq!(ints(&expr)[0], Some(left.wrapping_div(right)));
        }
    }
}
