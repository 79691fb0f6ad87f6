//! Rows, arrays and maps: access, constructors, functions.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, ListBuilder, MapArray, StringBuilder, StructArray, UInt32Array,
    make_comparator,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::{DataType as ArrowType, Field, Float32Type, Float64Type, Int32Type};
use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use crate::bind::{BindError, any_nullable, call, cast_to, common_logical};
use crate::eval::value::{Value, booleans_by_row, primitives_by_row, strings_by_row};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Frame, Function, Kernel, Param, returns};

const fn collection(
    name: &'static str,
    params: &'static [Param],
    returns: crate::registry::ReturnRule,
    compile: fn(&CallSite<'_>) -> Result<Kernel, CompileError>,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Collection, params, returns, compile).doc(signature, description)
}

pub(super) const FUNCTIONS: &[Function] = &[
    collection("FIELD", &[], returns::first, field, "row.field", "A field of a ROW; NULL if the row is."),
    collection(
        "ITEM",
        &[],
        returns::first,
        item,
        "array[n]\nmap[key]",
        "The n-th element, from 1, or the value of a key; NULL if there is none.",
    ),
    collection("ARRAY", &[], returns::first, array, "ARRAY[a, ...]", "An array."),
    collection("MAP", &[], returns::first, map, "MAP[key, value, ...]", "A map; of equal keys the last wins."),
    collection("ROW", &[], returns::first, row, "ROW(a, ...)", "A row."),
    collection(
        "CARDINALITY",
        &[Param::ArrayOrMap],
        returns::int,
        cardinality,
        "CARDINALITY(a)",
        "Number of elements or entries.",
    ),
    collection(
        "ELEMENT",
        &[Param::Array],
        element_type,
        element,
        "ELEMENT(array)",
        "The only element; NULL if empty, an error if there are several.",
    )
    .may_be_null()
    .can_fail(),
    collection(
        "ARRAY_CONTAINS",
        &[],
        returns::boolean,
        contains,
        "ARRAY_CONTAINS(array, a)",
        "Whether an element equals a.",
    )
    .custom(|args| with_element("ARRAY_CONTAINS", args)),
    collection(
        "ARRAY_POSITION",
        &[],
        returns::int,
        position,
        "ARRAY_POSITION(array, a)",
        "Where a stands first, from 1; 0 if it does not.",
    )
    .custom(|args| with_element("ARRAY_POSITION", args)),
    collection(
        "ARRAY_REMOVE",
        &[],
        returns::first,
        remove,
        "ARRAY_REMOVE(array, a)",
        "Without the elements that equal a.",
    )
    .custom(|args| with_element("ARRAY_REMOVE", args)),
    collection(
        "ARRAY_DISTINCT",
        &[Param::Array],
        returns::first,
        distinct,
        "ARRAY_DISTINCT(array)",
        "Every element once, in order of first appearance.",
    ),
    collection("ARRAY_REVERSE", &[Param::Array], returns::first, reverse, "ARRAY_REVERSE(array)", "In reverse order."),
    collection(
        "ARRAY_SLICE",
        &[Param::Array, Param::Int, Param::Int],
        returns::first,
        slice,
        "ARRAY_SLICE(array, from[, to])",
        "The elements of these positions, from 1; negative ones count from the end.",
    )
    .optional_after(2),
    collection(
        "ARRAY_CONCAT",
        &[Param::Array],
        returns::common,
        concat,
        "ARRAY_CONCAT(array, ...)",
        "Arrays one behind the other.",
    )
    .custom(bind_concat),
    collection(
        "ARRAY_MAX",
        &[Param::Array],
        element_type,
        |_| extreme(std::cmp::Ordering::Greater),
        "ARRAY_MAX(array)",
        "The largest element that is not NULL.",
    )
    .may_be_null(),
    collection(
        "ARRAY_MIN",
        &[Param::Array],
        element_type,
        |_| extreme(std::cmp::Ordering::Less),
        "ARRAY_MIN(array)",
        "The smallest element that is not NULL.",
    )
    .may_be_null(),
    collection(
        "ARRAY_JOIN",
        &[Param::Array, Param::Text, Param::Text],
        returns::string,
        join,
        "ARRAY_JOIN(array, separator[, null])",
        "Elements as one text; NULLs are left out or replaced.",
    )
    .optional_after(2)
    .custom(bind_join),
    collection(
        "MAP_KEYS",
        &[Param::Map],
        |args| map_side(args, true),
        |_| sides(true),
        "MAP_KEYS(map)",
        "The keys as an array.",
    ),
    collection(
        "MAP_VALUES",
        &[Param::Map],
        |args| map_side(args, false),
        |_| sides(false),
        "MAP_VALUES(map)",
        "The values as an array.",
    ),
];

type Compiled = Result<Kernel, CompileError>;
type Bound = Result<Expr, BindError>;

fn element_type(args: &[Expr]) -> Result<LogicalType, BindError> {
    match &args[0].data_type().logical {
        LogicalType::Array(element) => Ok(element.logical.clone()),
        other => Err(BindError::new(format!("{other} is not an ARRAY"))),
    }
}

fn map_side(args: &[Expr], key: bool) -> Result<LogicalType, BindError> {
    match &args[0].data_type().logical {
        LogicalType::Map(k, v) => Ok(LogicalType::Array(if key { k.clone() } else { v.clone() })),
        other => Err(BindError::new(format!("{other} is not a MAP"))),
    }
}

/// The type of the elements of an array and of another value. As in Flink, CHAR(n) stays: other texts are cut.
pub(super) fn element_with(name: &str, element: &LogicalType, other: &LogicalType) -> Result<LogicalType, BindError> {
    match (element, other) {
        (LogicalType::Char(_), LogicalType::Char(_)) => Some(element.clone()),
        (LogicalType::Char(_), LogicalType::Varchar(_)) => None,
        _ => common_logical(element, other),
    }
    .ok_or_else(|| BindError::new(format!("{name} does not take an array of {element} with {other}; add a CAST")))
}

/// Binds functions of an array and an element: both get the common element type.
fn with_element(name: &'static str, args: Vec<Expr>) -> Bound {
    let [list, needle] = <[Expr; 2]>::try_from(args)
        .map_err(|args| BindError::new(format!("{name} takes 2 arguments, not {}", args.len())))?;
    let LogicalType::Array(element) = list.data_type().logical.clone() else {
        return Err(BindError::new(format!("{name} takes an ARRAY, not {}", list.data_type().logical)));
    };
    let common = element_with(name, &element.logical, &needle.data_type().logical)?;
    if matches!(common, LogicalType::Map(..)) {
        return Err(BindError::new(format!("{name} does not compare values of type {common}")));
    }
    let list = cast_to(list, &LogicalType::Array(Box::new(common.clone().with_nullable(element.nullable))))?;
    let needle = cast_to(needle, &common)?;
    let nullable = list.data_type().nullable;
    let logical = match name {
        "ARRAY_CONTAINS" => LogicalType::Boolean,
        "ARRAY_POSITION" => LogicalType::Int,
        _ => list.data_type().logical.clone(),
    };
    let nullable = nullable || (name == "ARRAY_POSITION" && needle.data_type().nullable);
    Ok(call(name, vec![list, needle], logical.with_nullable(nullable)))
}

fn bind_concat(args: Vec<Expr>) -> Bound {
    if args.is_empty() || args.iter().any(|arg| !matches!(arg.data_type().logical, LogicalType::Array(_))) {
        return Err(BindError::new("ARRAY_CONCAT takes arrays"));
    }
    let common = returns::common(&args)?;
    let args: Vec<Expr> = args.into_iter().map(|arg| cast_to(arg, &common)).collect::<Result<_, _>>()?;
    let nullable = any_nullable(&args);
    Ok(call("ARRAY_CONCAT", args, common.with_nullable(nullable)))
}

fn bind_join(args: Vec<Expr>) -> Bound {
    let mut args =
        crate::registry::convert_arguments("ARRAY_JOIN", &[Param::Array, Param::Text, Param::Text], 2, false, args)?;
    let nullable = any_nullable(&args);
    let texts = LogicalType::Array(Box::new(LogicalType::STRING.nullable()));
    let list = args.remove(0);
    args.insert(0, cast_to(list, &texts)?);
    Ok(call("ARRAY_JOIN", args, LogicalType::STRING.with_nullable(nullable)))
}

pub(super) fn list_of(value: &Value) -> Result<&ListArray, EvalError> {
    value.array().as_list_opt::<i32>().ok_or_else(|| EvalError::new("an ARRAY was planned here"))
}

pub(super) fn map_of(value: &Value) -> Result<&MapArray, EvalError> {
    value.array().as_map_opt().ok_or_else(|| EvalError::new("a MAP was planned here"))
}

/// Where the elements of a row stand in the values; `None` if the row is NULL.
pub(super) fn span(list: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    if list.is_null(row) {
        return None;
    }
    let offsets = list.value_offsets();
    Some(offsets[row] as usize..offsets[row + 1] as usize)
}

fn field(site: &CallSite<'_>) -> Compiled {
    let index = site.args.get(1).and_then(crate::bind::literal_integer).and_then(|index| usize::try_from(index).ok());
    let Some(index) = index else {
        return Err(CompileError::invalid("the field of a ROW is not planned as a number"));
    };
    Ok(Box::new(move |args, _| {
        let array = args[0].array();
        let row = array.as_struct_opt().ok_or_else(|| EvalError::new("a ROW was planned here"))?;
        let Some(column) = row.columns().get(index) else {
            return Err(EvalError::new(format!("a ROW has no field {index}")));
        };
        // A NULL row has NULL fields, whatever lies under it.
        match row.nulls() {
            Some(nulls) if nulls.null_count() > 0 => {
                let nulls = NullBuffer::union(Some(nulls), column.nulls());
                let data = column.to_data().into_builder().nulls(nulls).build()?;
                Ok(arrow::array::make_array(data))
            }
            _ => Ok(column.clone()),
        }
    }))
}

fn item(site: &CallSite<'_>) -> Compiled {
    if matches!(site.args[0].data_type().logical, LogicalType::Map(..)) {
        return Ok(Box::new(map_item));
    }
    Ok(Box::new(|args, frame| {
        let (list, indices) = (list_of(&args[0])?, args[1].primitives::<Int32Type>()?);
        let step = args[0].step();
        let picks: UInt32Array = (0..frame.rows)
            .map(|row| {
                let (span, index) = (span(list, row * step)?, indices.get(row)?);
                let at = span.start + usize::try_from(index.checked_sub(1)?).ok()?;
                (at < span.end).then_some(at as u32)
            })
            .collect();
        Ok(compute::take(list.values(), &picks, None)?)
    }))
}

fn map_item(args: &[Value], frame: &Frame<'_>) -> Result<ArrayRef, EvalError> {
    let map = map_of(&args[0])?;
    let needles = args[1].array();
    let comparator = make_comparator(map.keys(), needles, SortOptions::default())?;
    let offsets = map.value_offsets();
    let picks: UInt32Array = (0..frame.rows)
        .map(|row| {
            let (entry, needle) = (row * args[0].step(), row * args[1].step());
            if map.is_null(entry) || needles.is_null(needle) {
                return None;
            }
            (offsets[entry] as usize..offsets[entry + 1] as usize)
                .find(|at| comparator(*at, needle) == std::cmp::Ordering::Equal)
                .map(|at| at as u32)
        })
        .collect();
    Ok(compute::take(map.values(), &picks, None)?)
}

/// Columns side by side, row after row: `a0 b0 a1 b1 ...`.
fn interleaved(columns: &[ArrayRef], rows: usize) -> Result<ArrayRef, EvalError> {
    let picks: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    Ok(compute::interleave(&columns, &picks)?)
}

fn array(site: &CallSite<'_>) -> Compiled {
    let ArrowType::List(field) = site.data_type.logical.to_arrow() else {
        return Err(CompileError::invalid("ARRAY[] gives an array"));
    };
    Ok(Box::new(move |args, frame| {
        let rows = frame.rows;
        let columns = args.iter().map(|arg| arg.clone().into_array(rows)).collect::<Result<Vec<_>, _>>()?;
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(columns.len(), rows));
        Ok(Arc::new(ListArray::try_new(field.clone(), offsets, interleaved(&columns, rows)?, None)?))
    }))
}

/// A map column from its parts.
pub(super) fn map_array(
    data_type: &ArrowType,
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, EvalError> {
    let ArrowType::Map(field, sorted) = data_type else { return Err(EvalError::new("a MAP was planned here")) };
    let ArrowType::Struct(fields) = field.data_type() else { return Err(EvalError::new("a MAP has no entries")) };
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    Ok(Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *sorted)?))
}

fn map(site: &CallSite<'_>) -> Compiled {
    let data_type = site.data_type.logical.to_arrow();
    Ok(Box::new(move |args, frame| {
        let rows = frame.rows;
        let columns = args.iter().map(|arg| arg.clone().into_array(rows)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<ArrayRef> = columns.iter().step_by(2).cloned().collect();
        let values: Vec<ArrayRef> = columns.iter().skip(1).step_by(2).cloned().collect();
        let (all_keys, all_values) = (interleaved(&keys, rows)?, interleaved(&values, rows)?);
        if all_keys.null_count() > 0 {
            return Err(EvalError::new("a key of MAP[] is NULL"));
        }
        let pairs = keys.len();
        let comparator = make_comparator(&all_keys, &all_keys, SortOptions::default())?;
        let mut kept = Vec::with_capacity(rows * pairs);
        let mut lengths = Vec::with_capacity(rows);
        for row in 0..rows {
            let before = kept.len();
            for pair in row * pairs..(row + 1) * pairs {
                let again = (pair + 1..(row + 1) * pairs).any(|later| comparator(pair, later).is_eq());
                if !again {
                    kept.push(pair as u32);
                }
            }
            lengths.push(kept.len() - before);
        }
        let kept = UInt32Array::from(kept);
        let (keys, values) = (compute::take(&all_keys, &kept, None)?, compute::take(&all_values, &kept, None)?);
        map_array(&data_type, OffsetBuffer::from_lengths(lengths), keys, values, None)
    }))
}

fn row(site: &CallSite<'_>) -> Compiled {
    let ArrowType::Struct(fields) = site.data_type.logical.to_arrow() else {
        return Err(CompileError::invalid("ROW() gives a row"));
    };
    Ok(Box::new(move |args, frame| {
        let columns = args.iter().map(|arg| arg.clone().into_array(frame.rows)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
    }))
}

fn cardinality(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, _| {
        let array = args[0].array();
        let (offsets, nulls) = match array.as_list_opt::<i32>() {
            Some(list) => (list.offsets(), list.nulls()),
            None => {
                let map = map_of(&args[0])?;
                (map.offsets(), map.nulls())
            }
        };
        let lengths: Vec<i32> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        Ok(Arc::new(Int32Array::new(lengths.into(), nulls.cloned())))
    }))
}

fn element(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let mut picks = Vec::with_capacity(frame.rows);
        for row in 0..frame.rows {
            picks.push(match span(list, row * args[0].step()) {
                Some(span) if span.len() > 1 => {
                    return Err(EvalError::new(format!("ELEMENT takes an array of one element, not {}", span.len())));
                }
                Some(span) if span.len() == 1 => Some(span.start as u32),
                _ => None,
            });
        }
        Ok(compute::take(list.values(), &UInt32Array::from(picks), None)?)
    }))
}

/// Values of which equal ones compare as equal: 0.0 and -0.0 do not in Arrow's order.
pub(super) fn with_one_zero(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        ArrowType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0))
        }
        ArrowType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0))
        }
        _ => values.clone(),
    }
}

/// Tests elements against a needle a row; two NULLs are equal.
fn equal_to_needle<'a>(
    list: &'a ListArray,
    needle: &'a Value,
) -> Result<impl Fn(usize, usize) -> bool + 'a, EvalError> {
    let comparator =
        make_comparator(&with_one_zero(list.values()), &with_one_zero(needle.array()), SortOptions::default())?;
    let step = needle.step();
    Ok(move |at: usize, row: usize| comparator(at, row * step).is_eq())
}

fn contains(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let equal = equal_to_needle(list, &args[1])?;
        Ok(booleans_by_row(frame.rows, |row| Some(span(list, row * args[0].step())?.any(|at| equal(at, row)))))
    }))
}

fn position(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let equal = equal_to_needle(list, &args[1])?;
        let needles = args[1].array();
        Ok(primitives_by_row::<Int32Type>(frame.rows, |row| {
            let mut span = span(list, row * args[0].step())?;
            if needles.is_null(row * args[1].step()) {
                return None;
            }
            Some(span.position(|at| equal(at, row)).map_or(0, |index| index as i32 + 1))
        }))
    }))
}

/// A list column that keeps, for each row, these elements of `list`.
pub(super) fn picked(
    list: &ListArray,
    step: usize,
    rows: usize,
    mut pick: impl FnMut(usize, std::ops::Range<usize>, &mut Vec<u32>) -> Option<()>,
) -> Result<ArrayRef, EvalError> {
    let ArrowType::List(field) = list.data_type() else { return Err(EvalError::new("an ARRAY was planned here")) };
    let mut picks = Vec::with_capacity(list.values().len());
    let mut lengths = Vec::with_capacity(rows);
    let mut valid = Vec::with_capacity(rows);
    for row in 0..rows {
        let before = picks.len();
        let present = span(list, row * step).and_then(|span| pick(row, span, &mut picks)).is_some();
        if !present {
            picks.truncate(before);
        }
        lengths.push(picks.len() - before);
        valid.push(present);
    }
    let values = compute::take(list.values(), &UInt32Array::from(picks), None)?;
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

fn remove(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let equal = equal_to_needle(list, &args[1])?;
        picked(list, args[0].step(), frame.rows, |row, span, picks| {
            picks.extend(span.filter(|at| !equal(*at, row)).map(|at| at as u32));
            Some(())
        })
    }))
}

fn distinct(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let values = with_one_zero(list.values());
        let comparator = make_comparator(&values, &values, SortOptions::default())?;
        picked(list, args[0].step(), frame.rows, |_, span, picks| {
            let first = picks.len();
            for at in span {
                if !picks[first..].iter().any(|known| comparator(*known as usize, at).is_eq()) {
                    picks.push(at as u32);
                }
            }
            Some(())
        })
    }))
}

fn reverse(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        picked(list_of(&args[0])?, args[0].step(), frame.rows, |_, span, picks| {
            picks.extend(span.rev().map(|at| at as u32));
            Some(())
        })
    }))
}

fn slice(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let starts = args[1].primitives::<Int32Type>()?;
        let ends = args.get(2).map(Value::primitives::<Int32Type>).transpose()?;
        picked(list_of(&args[0])?, args[0].step(), frame.rows, |row, span, picks| {
            let length = span.len() as i64;
            let absolute = |position: i64| if position < 0 { length + position + 1 } else { position };
            let start = absolute(i64::from(starts.get(row)?)).max(1);
            let end = match &ends {
                Some(ends) => absolute(i64::from(ends.get(row)?)).min(length),
                None => length,
            };
            picks.extend((start..=end).map(|position| (span.start as i64 + position - 1) as u32));
            Some(())
        })
    }))
}

fn concat(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let lists = args.iter().map(list_of).collect::<Result<Vec<_>, _>>()?;
        let ArrowType::List(field) = lists[0].data_type() else {
            return Err(EvalError::new("an ARRAY was planned here"));
        };
        let mut picks = Vec::new();
        let mut lengths = Vec::with_capacity(frame.rows);
        let mut valid = Vec::with_capacity(frame.rows);
        for row in 0..frame.rows {
            let before = picks.len();
            let mut present = true;
            for (source, list) in lists.iter().enumerate() {
                match span(list, row * args[source].step()) {
                    Some(span) => picks.extend(span.map(|at| (source, at))),
                    None => present = false,
                }
            }
            if !present {
                picks.truncate(before);
            }
            lengths.push(picks.len() - before);
            valid.push(present);
        }
        let values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
        let values = compute::interleave(&values, &picks)?;
        let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
        Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, nulls)?))
    }))
}

fn extreme(wanted: std::cmp::Ordering) -> Compiled {
    Ok(Box::new(move |args, frame| {
        let list = list_of(&args[0])?;
        let values = list.values();
        let comparator = make_comparator(values, values, SortOptions::default())?;
        let picks: UInt32Array = (0..frame.rows)
            .map(|row| {
                span(list, row * args[0].step())?
                    .filter(|at| values.is_valid(*at))
                    .reduce(|best, at| if comparator(at, best) == wanted { at } else { best })
                    .map(|at| at as u32)
            })
            .collect();
        Ok(compute::take(values, &picks, None)?)
    }))
}

fn join(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let texts = Value::Array(list.values().clone());
        let texts = texts.strings()?;
        let separators = args[1].strings()?;
        let replacements = args.get(2).map(Value::strings).transpose()?;
        strings_by_row(frame.rows, texts.bytes(), |row, out| {
            let (span, separator) = (span(list, row * args[0].step())?, separators.get(row)?);
            let replacement = match &replacements {
                Some(replacements) => Some(replacements.get(row)?),
                None => None,
            };
            let mut first = true;
            for text in span.filter_map(|at| texts.get(at).or(replacement)) {
                if !first {
                    out.push_str(separator);
                }
                first = false;
                out.push_str(text);
            }
            Some(())
        })
    }))
}

fn sides(keys: bool) -> Compiled {
    Ok(Box::new(move |args, frame| {
        let value = args[0].clone().into_array(frame.rows)?;
        let map = value.as_map_opt().ok_or_else(|| EvalError::new("a MAP was planned here"))?;
        let values = if keys { map.keys() } else { map.values() };
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        Ok(Arc::new(ListArray::try_new(field, map.offsets().clone(), values.clone(), map.nulls().cloned())?))
    }))
}

/// A column of lists of texts: `f` pushes the elements of a row, or says that it is NULL.
pub(super) fn string_lists(
    rows: usize,
    mut f: impl FnMut(usize, &mut dyn FnMut(Option<&str>)) -> Result<bool, EvalError>,
) -> Result<ArrayRef, EvalError> {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..rows {
        let present = f(row, &mut |text| builder.values().append_option(text))?;
        builder.append(present);
    }
    Ok(Arc::new(builder.finish()))
}
