//! Functions over columns, and accumulators whichever way rows reach them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use serde::{Deserialize, Serialize};
use tidemill_common::types::LogicalType;
use tidemill_expr::own::{Argument, MadeRows, ScalarKernel, TableKernel};
use tidemill_state::Rows;
use tidemill_state::accumulator::{Accumulator, OwnFailure};

use crate::*;

fn column(array: &ArrayRef) -> Argument<'_> {
    Argument { array, constant: false }
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn ints(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn scalar<S: 'static, F: ScalarFunction<S>>(function: F) -> Box<dyn ScalarKernel> {
    scalar::kernel("f", function).1
}

#[test]
fn null_gives_null_unless_it_is_asked_for() {
    let (text, number) = (texts(&[Some("a"), None, Some("b"), None]), ints(&[Some(1), Some(2), None, None]));
    let strict = scalar(|text: &str, number: i32| format!("{text}{number}"));
    let result = strict.evaluate(&[column(&text), column(&number)], 4).unwrap();
    assert_eq!(result.as_string::<i32>(), &StringArray::from(vec![Some("a1"), None, None, None]));
    let lenient = scalar(|text: Option<&str>, number: i32| text.map(|text| text.len() as i64 + i64::from(number)));
    let result = lenient.evaluate(&[column(&text), column(&number)], 4).unwrap();
    assert_eq!(result.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(2), None, None, None]));
}

#[test]
fn one_value_may_stand_for_all_rows() {
    let (text, three, null) = (texts(&[Some("x"), Some("y")]), ints(&[Some(3)]), ints(&[None]));
    let repeat = scalar(|text: &str, times: i32| text.repeat(times as usize));
    let constant = Argument { array: &three, constant: true };
    let result = repeat.evaluate(&[column(&text), constant], 2).unwrap();
    assert_eq!(result.as_string::<i32>(), &StringArray::from(vec!["xxx", "yyy"]));
    let constant = Argument { array: &null, constant: true };
    assert_eq!(repeat.evaluate(&[column(&text), constant], 2).unwrap().null_count(), 2);
    assert_eq!(scalar(|| 7_i32).evaluate(&[], 3).unwrap().as_primitive::<Int32Type>().values(), &[7, 7, 7]);
}

#[test]
fn failures_are_told_with_the_name() {
    let number = ints(&[Some(1), Some(-1)]);
    let fails = scalar(|n: i32| if n < 0 { Err(format!("{n} is negative")) } else { Ok(n) });
    assert_eq!(fails.evaluate(&[column(&number)], 2).unwrap_err(), "function F failed: -1 is negative");
    let panics = scalar(|n: i32| [1, 2][n.unsigned_abs() as usize + 1]);
    let error = panics.evaluate(&[column(&number)], 2).unwrap_err();
    assert!(error.starts_with("function F panicked: index out of bounds"), "{error}");
    let text = texts(&[Some("a")]);
    let error = fails.evaluate(&[column(&text)], 1).unwrap_err();
    assert!(error.contains("argument 1 has type Utf8"), "{error}");
}

#[test]
fn types_follow_from_rust() {
    fn signature<S: 'static, F: ScalarFunction<S>>(_: F) -> (Vec<LogicalType>, LogicalType, bool) {
        let parameters = F::Parameters::parameters().into_iter().map(|parameter| parameter.logical).collect();
        (parameters, <F::Output as Returned>::Value::logical(), F::Output::NULLABLE)
    }
    use LogicalType as L;
    assert_eq!(
        signature(|_: bool, _: Option<i8>, _: i16, _: i32, _: i64, _: f32| 0.0_f64),
        (vec![L::Boolean, L::TinyInt, L::SmallInt, L::Int, L::BigInt, L::Float], L::Double, false)
    );
    assert_eq!(
        signature(|_: &str, _: &[u8], _: Date, _: Timestamp, _: TimestampLtz| Some(Decimal::<10, 2>(0))),
        (vec![L::STRING, L::BYTES, L::Date, L::Timestamp(3), L::TimestampLtz(3)], L::Decimal(10, 2), true)
    );
    assert_eq!(signature(|| Ok::<Option<String>, String>(None)), (vec![], L::STRING, true));
}

/// Runs a table function; the parent and first column of each row, and how many batches there were.
fn made(kernel: &dyn TableKernel, args: &[Argument<'_>], rows: usize, outer: bool) -> (Vec<(u32, Option<i32>)>, usize) {
    let (mut all, mut batches) = (Vec::new(), 0);
    let mut emit = |made: MadeRows| {
        let column = made.columns[0].as_primitive::<Int32Type>();
        all.extend(made.parents.iter().copied().zip(column.iter()));
        batches += 1;
        true
    };
    kernel.evaluate(args, rows, outer, &mut emit).unwrap();
    (all, batches)
}

#[test]
fn table_functions_make_rows_in_order_and_in_batches() {
    let counts = ints(&[Some(2), Some(0), None, Some(1)]);
    let kernel = table::kernel("f", |count: i32, rows: &mut Collector<i32>| (0..count).for_each(|i| rows.emit(i))).1;
    let (rows, _) = made(&*kernel, &[column(&counts)], 4, false);
    assert_eq!(rows, [(0, Some(0)), (0, Some(1)), (3, Some(0))]);
    let (rows, _) = made(&*kernel, &[column(&counts)], 4, true);
    assert_eq!(rows, [(0, Some(0)), (0, Some(1)), (1, None), (2, None), (3, Some(0))]);
    let many = ints(&[Some(20_000), Some(1)]);
    let (rows, batches) = made(&*kernel, &[column(&many)], 2, true);
    assert_eq!((rows.len(), batches), (20_001, 3));
    // Nothing is called any more when nobody wants the rows.
    let mut calls = 0;
    kernel
        .evaluate(&[column(&ints(&[Some(8192), Some(8192), Some(8192)]))], 3, false, &mut |_| {
            calls += 1;
            false
        })
        .unwrap();
    assert_eq!(calls, 1);
}

struct Longest;

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    text: String,
    rows: u32,
}

impl Aggregate for Longest {
    type Input = (&'static str, Option<i32>);
    type Accumulator = Kept;
    type Output = Result<Option<String>, String>;

    fn accumulate(&self, kept: &mut Kept, (text, number): (&str, Option<i32>)) {
        kept.rows += 1;
        let text = number.map_or_else(|| text.to_owned(), |number| format!("{text}{number}"));
        self.merge(kept, &Kept { text, rows: 0 });
    }

    fn merge(&self, kept: &mut Kept, other: &Kept) {
        kept.rows += other.rows;
        if (other.text.len(), &kept.text) > (kept.text.len(), &other.text) {
            kept.text.clone_from(&other.text);
        }
    }

    fn result(&self, kept: &Kept) -> Self::Output {
        match &*kept.text {
            "poison" => Err("it is poison".to_owned()),
            "" => Ok(None),
            text => Ok(Some(format!("{text} of {}", kept.rows))),
        }
    }

    fn heap_bytes(&self, kept: &Kept) -> usize {
        kept.text.capacity()
    }
}

fn longest() -> Box<dyn Accumulator> {
    aggregate::factory("longest", Longest)()
}

fn emitted(accumulator: &dyn Accumulator, slots: &[u32]) -> Vec<Option<String>> {
    accumulator.emit(slots).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn accumulators_agree_whichever_way_rows_reach_them() {
    let text = texts(&[Some("a"), Some("bbb"), None, Some("cc"), Some("dddd"), Some("e")]);
    let number = ints(&[Some(1), None, Some(3), Some(44), None, None]);
    let args = [text, number];
    let expected = [Some("cc44 of 5".to_owned())];
    let mut whole = longest();
    whole.resize(1);
    whole.update(&[0; 6], &args, Rows::All(6));
    assert_eq!(emitted(&*whole, &[0]), expected);

    let (mut first, mut second) = (longest(), longest());
    first.resize(2);
    second.resize(3);
    first.update(&[1, 1], &args, Rows::Selected(&[0, 4]));
    second.update(&[2, 2, 2, 2], &args, Rows::Selected(&[1, 2, 3, 5]));
    let state = second.state(&[2, 0]);
    first.merge(&[1, 0], &state, Rows::All(2));
    assert_eq!(emitted(&*first, &[1, 0]), [expected[0].clone(), None]);

    let mut third = longest();
    third.resize(4);
    third.absorb(&*first, &[2, 3]);
    assert_eq!(emitted(&*third, &[3, 2]), [expected[0].clone(), None]);
    let before = third.memory_bytes();
    third.merge_slots(&[3], &[0]);
    assert_eq!(emitted(&*third, &[0, 3]), [expected[0].clone(), None]);
    third.clear_slots(&[0]);
    assert_eq!(emitted(&*third, &[0]), [None]);
    assert!(third.memory_bytes() < before);
    third.reset();
    third.resize(1);
    assert_eq!(emitted(&*third, &[0]), [None]);
}

/// The reason that a subtask would end with.
fn failure(run: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    panic.downcast::<OwnFailure>().unwrap().0
}

#[test]
fn failures_of_aggregates_end_the_subtask_with_their_reason() {
    let mut accumulator = longest();
    accumulator.resize(1);
    accumulator.update(&[0], &[texts(&[Some("poison")]), ints(&[None])], Rows::All(1));
    let reason = failure(|| drop(accumulator.emit(&[0])));
    assert_eq!(reason, "function LONGEST failed: it is poison");
    let other: ArrayRef = Arc::new(arrow::array::BinaryArray::from_vec(vec![&[9_u8, 1][..]]));
    let reason = failure(|| accumulator.merge(&[0], &[other], Rows::All(1)));
    assert!(reason.contains("cannot be read out of its state") && reason.contains("a new version"), "{reason}");
    let other: ArrayRef = Arc::new(arrow::array::BinaryArray::from_vec(vec![&[1, b'x', 1, 7][..]]));
    let reason = failure(|| accumulator.merge(&[0], &[other], Rows::All(1)));
    assert!(reason.contains("1 bytes follow"), "{reason}");
}

#[test]
fn a_registry_tells_what_is_wrong_with_it() {
    let error = |register: fn(&mut Registry)| {
        let mut registry = Registry::new();
        register(&mut registry);
        registry.install().unwrap_err().to_string()
    };
    let built_in = error(|registry| {
        registry.scalar("good", 1, || 1_i32).scalar("Lower", 1, |text: &str| text.to_owned());
    });
    assert!(built_in.contains("LOWER is a built-in function"), "{built_in}");
    let names = error(|registry| {
        registry.table_of("pairs", 1, &["a"], |rows: &mut Collector<(i32, f64)>| rows.emit((1, 2.0)));
    });
    assert!(names.contains("PAIRS: its rows have 2 columns, and 1 names are given"), "{names}");
    let twice = error(|registry| {
        registry.aggregate("longest", 1, Longest).aggregate("LONGEST", 1, Longest);
    });
    assert!(twice.contains("LONGEST version 1 is registered twice"), "{twice}");
    let double: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    assert_eq!(scalar(|x: f64| x * 2.0).evaluate(&[column(&double)], 1).unwrap().len(), 1);
}
