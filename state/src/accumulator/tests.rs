//! Results as Flink has them, and the same results whichever way rows reach an accumulator.

mod ordered;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, Int32Array,
    Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use tidemill_common::plan::{AggregateCall, AggregateFunction};
use tidemill_common::types::LogicalType;

use super::*;

fn call(function: AggregateFunction, args: &[LogicalType], return_type: LogicalType) -> AggregateCall {
    AggregateCall {
        function,
        args: (0..args.len()).collect(),
        arg_types: args.iter().map(|arg| arg.clone().nullable()).collect(),
        distinct: false,
        filter: None,
        return_type: return_type.nullable(),
    }
}

fn unary(function: AggregateFunction, arg: &LogicalType, return_type: &LogicalType) -> AggregateCall {
    call(function, std::slice::from_ref(arg), return_type.clone())
}

/// Aggregates all rows into one slot in several ways, which must agree, and gives the result.
fn aggregate<const N: usize>(call: &AggregateCall, columns: [ArrayRef; N]) -> ArrayRef {
    let columns = &columns[..];
    let rows = columns.first().map_or(4, |column| column.len());
    let slots = vec![1u32; rows];
    let mut whole = create(call).unwrap();
    whole.resize(2);
    whole.update(&slots, columns, Rows::All(rows));
    let result = whole.emit(&[1]);
    assert_eq!(*result.data_type(), call.return_type.logical.to_arrow(), "{call:?}");

    // In two halves by selection, with rows of other groups between, and the halves merged.
    let (even, odd): (Vec<u32>, Vec<u32>) = (0..rows as u32).partition(|row| row % 2 == 0);
    let (mut first, mut second) = (create(call).unwrap(), create(call).unwrap());
    first.resize(3);
    second.resize(2);
    first.update(&vec![0; rows], columns, Rows::All(rows));
    first.update(&vec![2; even.len()], columns, Rows::Selected(&even));
    second.update(&vec![1; odd.len()], columns, Rows::Selected(&odd));
    let state = second.state(&[0, 1]);
    let types: Vec<ArrowType> = state_types(call).unwrap().iter().map(|state| state.logical.to_arrow()).collect();
    assert_eq!(state.iter().map(|column| column.data_type().clone()).collect::<Vec<_>>(), types, "{call:?}");
    first.merge(&[1, 2], &state, Rows::All(2));
    assert_eq!(&first.emit(&[2]), &result, "merged {call:?}");

    // Absorbed, moved to another slot, cleared and used again.
    let mut third = create(call).unwrap();
    third.resize(5);
    third.absorb(whole.as_ref(), &[3, 0]);
    assert_eq!(&third.emit(&[0]), &result, "absorbed {call:?}");
    third.merge_slots(&[0], &[4]);
    assert_eq!(&third.emit(&[4]), &result, "moved {call:?}");
    assert_ne!(third.emit(&[0]).to_data(), result.to_data(), "left behind {call:?}");
    third.update(&vec![0; rows], columns, Rows::All(rows));
    assert_eq!(&third.emit(&[0]), &result, "used again {call:?}");
    whole.reset();
    whole.resize(2);
    whole.update(&slots, columns, Rows::All(rows));
    assert_eq!(&whole.emit(&[1]), &result, "after a reset {call:?}");
    result
}

fn decimals(precision: u8, scale: i8, values: &[Option<i128>]) -> ArrayRef {
    Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
}

#[test]
fn integers_wrap_in_their_own_width_and_averages_truncate() {
    use AggregateFunction::{Avg, Sum};
    let bytes: ArrayRef = Arc::new(Int8Array::from(vec![100, 100, 100, 100]));
    let tiny = LogicalType::TinyInt;
    let sum = aggregate(&unary(Sum, &tiny, &tiny), [bytes.clone()]);
    assert_eq!(sum.as_ref(), &Int8Array::from(vec![-112]));
    let average = aggregate(&unary(Avg, &tiny, &tiny), [bytes]);
    assert_eq!(average.as_ref(), &Int8Array::from(vec![100]));
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX; 4]));
    let big = LogicalType::BigInt;
    let sum = aggregate(&unary(Sum, &big, &big), [longs.clone()]);
    assert_eq!(sum.as_ref(), &Int64Array::from(vec![-4]));
    // -4 / 4: the sum has wrapped before it is divided.
    let average = aggregate(&unary(Avg, &big, &big), [longs]);
    assert_eq!(average.as_ref(), &Int64Array::from(vec![-1]));
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(-7), None, Some(2)]));
    let average = aggregate(&call(Avg, &[LogicalType::Int], LogicalType::Int), [ints]);
    assert_eq!(average.as_ref(), &Int32Array::from(vec![-2]));
}

#[test]
fn nothing_but_nulls() {
    use AggregateFunction::{ApproxCountDistinct, Avg, Count, Max, Percentile, Sum};
    let double = LogicalType::Double;
    let nulls: ArrayRef = Arc::new(Float64Array::from(vec![None, None, None]));
    let one = std::slice::from_ref(&nulls);
    for function in [Sum, Avg, Max, Percentile { fractions: vec![0.5], array: false }] {
        let mut accumulator = create(&unary(function, &double, &double)).unwrap();
        accumulator.resize(1);
        accumulator.update(&[0, 0, 0], one, Rows::All(3));
        assert_eq!(accumulator.emit(&[0]).as_ref(), &Float64Array::from(vec![None]));
    }
    for function in [Count, ApproxCountDistinct] {
        let mut accumulator = create(&unary(function, &double, &LogicalType::BigInt)).unwrap();
        accumulator.resize(1);
        accumulator.update(&[0, 0, 0], one, Rows::All(3));
        assert_eq!(accumulator.emit(&[0]).as_ref(), &Int64Array::from(vec![0]));
    }
}

#[test]
fn floats_are_javas() {
    use AggregateFunction::{Avg, Max, Min, Sum};
    let float = LogicalType::Float;
    let singles: ArrayRef = Arc::new(Float32Array::from(vec![16_777_216.0, 1.0, 1.0, 1.0]));
    // Each addition is rounded to single precision.
    let mut sum = create(&unary(Sum, &float, &float)).unwrap();
    sum.resize(1);
    sum.update(&[0; 4], std::slice::from_ref(&singles), Rows::All(4));
    assert_eq!(sum.emit(&[0]).as_ref(), &Float32Array::from(vec![16_777_216.0]));
    let average = aggregate(&unary(Avg, &float, &float), [singles]);
    assert_eq!(average.as_ref(), &Float32Array::from(vec![4_194_304.8]));
    // Nothing is less or greater than NaN.
    let double = LogicalType::Double;
    for (function, values, expected) in
        [(Min, [2.0, f64::NAN, 1.0], 1.0), (Max, [1.0, f64::NAN, 2.0], 2.0), (Min, [0.0, -0.0, 0.0], 0.0)]
    {
        let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let result = aggregate(&unary(function, &double, &double), [values]);
        assert_eq!(result.as_ref(), &Float64Array::from(vec![expected]));
    }
    let mut first = create(&unary(Max, &double, &double)).unwrap();
    first.resize(1);
    first.update(&[0, 0], &[Arc::new(Float64Array::from(vec![f64::NAN, 3.0]))], Rows::All(2));
    assert!(first.emit(&[0]).as_primitive::<arrow::datatypes::Float64Type>().value(0).is_nan());
}

#[test]
fn decimals_overflow_to_null_and_average_half_up() {
    use AggregateFunction::{Avg, Max, Sum};
    let greatest = 10i128.pow(38) - 1;
    let widest = LogicalType::Decimal(38, 2);
    let sum = unary(Sum, &widest, &widest);
    let mut accumulator = create(&sum).unwrap();
    accumulator.resize(1);
    accumulator.update(&[0, 0], &[decimals(38, 2, &[Some(greatest), Some(1)])], Rows::All(2));
    assert_eq!(&accumulator.emit(&[0]), &decimals(38, 2, &[None]));
    // The next value begins anew.
    accumulator.update(&[0], &[decimals(38, 2, &[Some(5)])], Rows::All(1));
    assert_eq!(&accumulator.emit(&[0]), &decimals(38, 2, &[Some(5)]));
    let average = call(Avg, &[LogicalType::Decimal(38, 0)], LogicalType::Decimal(38, 6));
    let mut accumulator = create(&average).unwrap();
    accumulator.resize(1);
    accumulator.update(&[0; 3], &[decimals(38, 0, &[Some(greatest), Some(1), Some(5)])], Rows::All(3));
    assert_eq!(&accumulator.emit(&[0]), &decimals(38, 6, &[None]), "an average that has overflowed stays NULL");

    let money = LogicalType::Decimal(10, 2);
    let values = decimals(10, 2, &[Some(100), Some(100), None, Some(-1)]);
    let result = aggregate(&unary(Sum, &money, &widest), [values.clone()]);
    assert_eq!(&result, &decimals(38, 2, &[Some(199)]));
    // 1.99 / 3 = 0.663333...
    let average = call(Avg, std::slice::from_ref(&money), LogicalType::Decimal(38, 6));
    assert_eq!(&aggregate(&average, [values.clone()]), &decimals(38, 6, &[Some(663_333)]));
    let halves = decimals(10, 2, &[Some(-1), Some(0)]);
    let coarse = call(Avg, std::slice::from_ref(&money), LogicalType::Decimal(38, 2));
    assert_eq!(&aggregate(&coarse, [halves]), &decimals(38, 2, &[Some(-1)]), "-0.005 rounds away from zero");
    let max = unary(Max, &money, &money);
    assert_eq!(&aggregate(&max, [values]), &decimals(10, 2, &[Some(100)]));
}

#[test]
fn extremes_of_texts_times_and_booleans() {
    use AggregateFunction::{Max, Min};
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("\u{e9}"), Some("")]));
    let string = LogicalType::STRING;
    let min = aggregate(&unary(Min, &string, &string), [texts.clone()]);
    assert_eq!(min.as_ref(), &StringArray::from(vec![""]));
    let max = aggregate(&unary(Max, &string, &string), [texts]);
    assert_eq!(max.as_ref(), &StringArray::from(vec!["\u{e9}"]));
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    let min = aggregate(&call(Min, &[LogicalType::Boolean], LogicalType::Boolean), [flags]);
    assert_eq!(min.as_ref(), &BooleanArray::from(vec![false]));
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(-3), Some(4)]));
    let max = aggregate(&call(Max, &[LogicalType::Date], LogicalType::Date), [dates]);
    assert_eq!(max.as_ref(), &Date32Array::from(vec![4]));
    let instants: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5, -5]).with_timezone("UTC"));
    let instant = LogicalType::TimestampLtz(3);
    let min = aggregate(&unary(Min, &instant, &instant), [instants]);
    assert_eq!(min.as_ref(), &TimestampMillisecondArray::from(vec![-5]).with_timezone("UTC"));
}

#[test]
fn distinct_values_of_every_type() {
    let distinct =
        |function, args: &[LogicalType], result| AggregateCall { distinct: true, ..call(function, args, result) };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), Some(3), None, Some(4), Some(3), Some(0)]));
    let columns: Vec<(LogicalType, ArrayRef)> = vec![
        (LogicalType::BigInt, numbers.clone()),
        (LogicalType::TinyInt, cast(&numbers, &ArrowType::Int8).unwrap()),
        (LogicalType::Double, cast(&numbers, &ArrowType::Float64).unwrap()),
        (LogicalType::Float, cast(&numbers, &ArrowType::Float32).unwrap()),
        (LogicalType::Decimal(5, 1), cast(&numbers, &ArrowType::Decimal128(5, 1)).unwrap()),
        (LogicalType::STRING, cast(&numbers, &ArrowType::Utf8).unwrap()),
        (LogicalType::BYTES, cast(&cast(&numbers, &ArrowType::Utf8).unwrap(), &ArrowType::Binary).unwrap()),
        (LogicalType::Timestamp(3), cast(&numbers, &LogicalType::Timestamp(3).to_arrow()).unwrap()),
        (LogicalType::TimestampLtz(6), cast(&numbers, &LogicalType::TimestampLtz(6).to_arrow()).unwrap()),
    ];
    for (data_type, column) in columns {
        let count = distinct(AggregateFunction::Count, std::slice::from_ref(&data_type), LogicalType::BigInt);
        assert_eq!(aggregate(&count, [column]).as_primitive::<Int64Type>().value(0), 3, "{data_type}");
    }
    let big = LogicalType::BigInt;
    let sum = distinct(AggregateFunction::Sum, std::slice::from_ref(&big), big.clone());
    assert_eq!(aggregate(&sum, [numbers.clone()]).as_ref(), &Int64Array::from(vec![7]));
    let average = distinct(AggregateFunction::Avg, std::slice::from_ref(&big), big.clone());
    assert_eq!(aggregate(&average, [numbers.clone()]).as_ref(), &Int64Array::from(vec![2]));
    let texts: ArrayRef =
        Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("c"), None, Some("a"), Some("a")]));
    let pairs = distinct(AggregateFunction::Count, &[big.clone(), LogicalType::STRING], big);
    assert_eq!(aggregate(&pairs, [numbers, texts]).as_ref(), &Int64Array::from(vec![3]));
}

#[test]
fn percentiles_interpolate_and_count_frequencies() {
    let percentile = |fractions: Vec<f64>, array: bool, args: &[LogicalType]| {
        let function = AggregateFunction::Percentile { fractions, array };
        let double = LogicalType::Double;
        call(function, args, if array { LogicalType::Array(Box::new(double.nullable())) } else { double })
    };
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(10), Some(20), None, Some(40)]));
    let result = aggregate(&percentile(vec![0.75, 0.0, 1.0], true, &[LogicalType::Int]), [values.clone()]);
    let list = result.as_list::<i32>().value(0);
    assert_eq!(list.as_ref(), &Float64Array::from(vec![30.0, 10.0, 40.0]));
    let weights: ArrayRef = Arc::new(Int64Array::from(vec![Some(3), None, Some(9), Some(-1)]));
    let weighted = percentile(vec![0.9], false, &[LogicalType::Int, LogicalType::BigInt]);
    assert_eq!(aggregate(&weighted, [values, weights]).as_ref(), &Float64Array::from(vec![10.0]));
    let money = decimals(8, 2, &[Some(150), Some(250)]);
    let median = percentile(vec![0.5], false, &[LogicalType::Decimal(8, 2)]);
    assert_eq!(aggregate(&median, [money]).as_ref(), &Float64Array::from(vec![2.0]));
    assert!(create(&percentile(vec![1.5], false, &[LogicalType::Int])).is_err());
    assert!(create(&percentile(vec![0.5], false, &[LogicalType::STRING])).is_err());
}

#[test]
fn approximate_counts_are_within_three_percent() {
    let call = call(AggregateFunction::ApproxCountDistinct, &[LogicalType::BigInt], LogicalType::BigInt);
    for distinct in [1i64, 10, 100, 1_000, 3_000, 10_000, 100_000, 1_000_000] {
        let values: ArrayRef = Arc::new((0..2 * distinct).map(|value| value % distinct * 7919).collect::<Int64Array>());
        let estimate = if distinct <= 10_000 {
            aggregate(&call, [values]).as_primitive::<Int64Type>().value(0)
        } else {
            let mut accumulator = create(&call).unwrap();
            accumulator.resize(1);
            accumulator.update(&vec![0; values.len()], std::slice::from_ref(&values), Rows::All(values.len()));
            accumulator.emit(&[0]).as_primitive::<Int64Type>().value(0)
        };
        let error = (estimate - distinct).abs() as f64 / distinct as f64;
        assert!(error < 0.03, "{distinct} estimated as {estimate}");
        if distinct <= 100 {
            assert_eq!(estimate, distinct);
        }
    }
}

#[test]
fn what_cannot_be_computed_is_refused() {
    use AggregateFunction::{Avg, Max, Sum};
    let row = LogicalType::Array(Box::new(LogicalType::Int.nullable()));
    for (function, arg) in [(Sum, LogicalType::STRING), (Avg, LogicalType::Date), (Max, row)] {
        let error = create(&unary(function, &arg, &arg)).err().unwrap().to_string();
        assert!(error.contains(&arg.to_string()), "{error}");
    }
}
