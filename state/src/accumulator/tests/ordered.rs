//! Values in the order of their arrival, whichever way they reach an accumulator.

use arrow::array::{Array, AsArray, Int32Array, StringArray};
use proptest::prelude::*;

use super::*;

fn functions() -> Vec<AggregateCall> {
    let text = LogicalType::STRING;
    let list = LogicalType::Array(Box::new(text.clone().nullable()));
    let of = |function, result: &LogicalType, distinct| AggregateCall {
        distinct,
        ..call(function, std::slice::from_ref(&text), result.clone())
    };
    let listagg = AggregateFunction::ListAgg { separator: "/".into() };
    vec![
        of(AggregateFunction::FirstValue, &text, false),
        of(AggregateFunction::LastValue, &text, false),
        of(listagg.clone(), &text, false),
        of(listagg, &text, true),
        of(AggregateFunction::ArrayAgg { ignore_nulls: false }, &list, false),
        of(AggregateFunction::ArrayAgg { ignore_nulls: true }, &list, true),
        of(AggregateFunction::Collect, &LogicalType::Multiset(Box::new(text.clone().not_null())), false),
        of(AggregateFunction::JsonArrayAgg { absent_on_null: true }, &text, false),
        of(AggregateFunction::JsonArrayAgg { absent_on_null: false }, &text, false),
    ]
}

fn column(values: &[Option<u8>]) -> ArrayRef {
    let letters = values.iter().map(|value| value.map(|value| char::from(b'a' + value).to_string()));
    Arc::new(letters.collect::<StringArray>())
}

fn fed(call: &AggregateCall, slots: usize, batches: &[(Vec<u32>, ArrayRef)]) -> Box<dyn Accumulator> {
    let mut accumulator = create(call).unwrap();
    accumulator.resize(slots);
    for (slots, values) in batches {
        accumulator.update(slots, std::slice::from_ref(values), Rows::All(values.len()));
    }
    accumulator
}

proptest! {
    /// Rows arrive in batches for some slots. Whether one accumulator sees them all, or each batch has its own
    /// and all are merged backwards, by state or by absorbing, through files or not: the results are the same.
    #[test]
    fn order_is_that_of_arrival(
        rows in prop::collection::vec(prop::collection::vec((0_u32..3, prop::option::of(0_u8..4)), 0..20), 1..5),
    ) {
        let batches: Vec<(Vec<u32>, ArrayRef)> = rows
            .iter()
            .map(|rows| {
                let values: Vec<Option<u8>> = rows.iter().map(|(_, value)| *value).collect();
                (rows.iter().map(|(slot, _)| *slot).collect(), column(&values))
            })
            .collect();
        let all = [0, 1, 2];
        for call in functions() {
            let whole = fed(&call, 3, &batches);
            let expected = whole.emit(&all);
            prop_assert_eq!(expected.data_type(), &call.return_type.logical.to_arrow());
            let parts: Vec<Box<dyn Accumulator>> =
                batches.iter().map(|batch| fed(&call, 3, std::slice::from_ref(batch))).collect();
            let expected = {
                // The parts were numbered after the whole: their order among each other is what counts.
                let mut merged = create(&call).unwrap();
                merged.resize(3);
                parts.iter().for_each(|part| merged.merge(&all, &part.state(&all), Rows::All(3)));
                let in_order = merged.emit(&all);
                prop_assert_eq!(&in_order, &expected, "{:?}", call);
                in_order
            };
            let mut backwards = create(&call).unwrap();
            backwards.resize(3);
            parts.iter().rev().for_each(|part| backwards.absorb(part.as_ref(), &all));
            prop_assert_eq!(&backwards.emit(&all), &expected, "backwards {:?}", call);
            let state = backwards.state(&all);
            let types: Vec<ArrowType> = state_types(&call).unwrap().iter().map(|t| t.logical.to_arrow()).collect();
            prop_assert_eq!(state.iter().map(|column| column.data_type().clone()).collect::<Vec<_>>(), types);
            let mut restored = create(&call).unwrap();
            restored.resize(4);
            restored.merge(&[3, 1, 0], &state, Rows::All(3));
            restored.merge_slots(&[3], &[2]);
            prop_assert_eq!(&restored.emit(&[2, 1, 0]), &expected, "restored {:?}", call);
            restored.clear_slots(&[0, 1, 2]);
            restored.merge(&all, &state, Rows::All(3));
            prop_assert_eq!(&restored.emit(&all), &expected, "used again {:?}", call);
        }
    }
}

#[test]
fn many_batches_are_gathered() {
    let call = &functions()[1];
    let mut accumulator = create(call).unwrap();
    accumulator.resize(1);
    for batch in 0..500_u32 {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|row| format!("{batch}-{row}"))));
        accumulator.update(&[0; 100], &[values], Rows::All(100));
    }
    assert_eq!(accumulator.emit(&[0]).as_string::<i32>().value(0), "499-99");
    assert!(accumulator.memory_bytes() < 1_000_000, "{} bytes for one value", accumulator.memory_bytes());
}

#[test]
fn members_of_objects_are_sorted_and_may_be_absent() {
    let text = LogicalType::STRING;
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("c")]));
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("2"), Some("[3]")]));
    for (absent_on_null, expected) in [(false, r#"{"a":null,"b":1,"c":[3]}"#), (true, r#"{"b":1,"c":[3]}"#)] {
        let function = AggregateFunction::JsonObjectAgg { absent_on_null };
        let call = call(function, &[text.clone(), text.clone()], text.clone());
        let mut accumulator = create(&call).unwrap();
        accumulator.resize(1);
        accumulator.update(&[0; 4], &[names.clone(), values.clone()], Rows::All(4));
        assert_eq!(accumulator.emit(&[0]).as_string::<i32>().value(0), expected);
    }
}

#[test]
fn variances_merge_and_keep_their_type() {
    let variance = |sample, root| AggregateFunction::Variance { sample, root };
    let double = LogicalType::Double;
    let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(3.0), None, Some(5.0), Some(7.0)]));
    for (sample, root, expected) in [(false, false, 5.0), (true, false, 20.0 / 3.0), (false, true, 5.0_f64.sqrt())] {
        let result = aggregate(&unary(variance(sample, root), &double, &double), [values.clone()]);
        assert_eq!(result.as_ref(), &Float64Array::from(vec![expected]));
    }
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 4]));
    let int = LogicalType::Int;
    // 1.555... and 2.333... are cut.
    assert_eq!(
        aggregate(&unary(variance(false, false), &int, &int), [ints.clone()]).as_ref(),
        &Int32Array::from(vec![1])
    );
    assert_eq!(
        aggregate(&unary(variance(true, false), &int, &int), [ints.clone()]).as_ref(),
        &Int32Array::from(vec![2])
    );
    let mut one = create(&unary(variance(true, false), &int, &int)).unwrap();
    one.resize(1);
    one.update(&[0], &[ints.slice(0, 1)], Rows::All(1));
    assert!(one.emit(&[0]).is_null(0), "one value has no variance of a sample");
}
