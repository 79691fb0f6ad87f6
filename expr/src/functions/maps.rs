//! Maps from and to arrays, and joined.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array, make_comparator};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::DataType as ArrowType;
use tidemill_common::expr::Expr;
use tidemill_common::types::{Field, LogicalType};

use super::collections::{list_of, map_array, map_of, span};
use crate::bind::{BindError, any_nullable, call, cast_to};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Function, Kernel, Param, returns};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("MAP_ENTRIES", Category::Collection, &[Param::Map], entries_type, entries)
        .doc("MAP_ENTRIES(map)", "The entries as an array of ROW<key, value>."),
    Function::new("MAP_FROM_ARRAYS", Category::Collection, &[Param::Array, Param::Array], map_type, from_arrays)
        .can_fail()
        .doc("MAP_FROM_ARRAYS(keys, values)", "A map of two arrays, which must have the same length."),
    Function::new("MAP_UNION", Category::Collection, &[Param::Map], returns::common, union)
        .custom(bind_union)
        .doc("MAP_UNION(map, ...)", "The entries of all maps; of equal keys the last one wins."),
];

type Compiled = Result<Kernel, CompileError>;

fn entries_type(args: &[Expr]) -> Result<LogicalType, BindError> {
    match &args[0].data_type().logical {
        LogicalType::Map(key, value) => {
            let fields = vec![Field::new("key", (**key).clone()), Field::new("value", (**value).clone())];
            Ok(LogicalType::Array(Box::new(LogicalType::Row(fields).not_null())))
        }
        other => Err(BindError::new(format!("{other} is not a MAP"))),
    }
}

fn entries(site: &CallSite<'_>) -> Compiled {
    let ArrowType::List(field) = site.data_type.logical.to_arrow() else {
        return Err(CompileError::invalid("MAP_ENTRIES gives an array"));
    };
    Ok(Box::new(move |args, frame| {
        let value = args[0].clone().into_array(frame.rows)?;
        let map = value.as_map_opt().ok_or_else(|| EvalError::new("a MAP was planned here"))?;
        let ArrowType::Struct(fields) = field.data_type() else {
            return Err(EvalError::new("MAP_ENTRIES gives rows"));
        };
        let rows = StructArray::try_new(fields.clone(), vec![map.keys().clone(), map.values().clone()], None)?;
        Ok(Arc::new(ListArray::try_new(field.clone(), map.offsets().clone(), Arc::new(rows), map.nulls().cloned())?))
    }))
}

fn map_type(args: &[Expr]) -> Result<LogicalType, BindError> {
    match (&args[0].data_type().logical, &args[1].data_type().logical) {
        (LogicalType::Array(key), LogicalType::Array(value)) => Ok(LogicalType::Map(key.clone(), value.clone())),
        _ => Err(BindError::new("MAP_FROM_ARRAYS takes two arrays")),
    }
}

fn from_arrays(site: &CallSite<'_>) -> Compiled {
    let data_type = site.data_type.logical.to_arrow();
    Ok(Box::new(move |args, frame| {
        let (keys, values) = (list_of(&args[0])?, list_of(&args[1])?);
        let (mut key_picks, mut value_picks) = (Vec::new(), Vec::new());
        let (mut lengths, mut valid) = (Vec::with_capacity(frame.rows), Vec::with_capacity(frame.rows));
        for row in 0..frame.rows {
            let spans = span(keys, row * args[0].step()).zip(span(values, row * args[1].step()));
            valid.push(spans.is_some());
            let (k, v) = spans.unwrap_or((0..0, 0..0));
            if k.len() != v.len() {
                return Err(EvalError::new(format!(
                    "MAP_FROM_ARRAYS takes as many values as keys, not {} values for {} keys",
                    v.len(),
                    k.len()
                )));
            }
            if k.clone().any(|at| keys.values().is_null(at)) {
                return Err(EvalError::new("a key of MAP_FROM_ARRAYS is NULL"));
            }
            lengths.push(k.len());
            key_picks.extend(k.map(|at| at as u32));
            value_picks.extend(v.map(|at| at as u32));
        }
        let keys = compute::take(keys.values(), &UInt32Array::from(key_picks), None)?;
        let values = compute::take(values.values(), &UInt32Array::from(value_picks), None)?;
        let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
        map_array(&data_type, OffsetBuffer::from_lengths(lengths), keys, values, nulls)
    }))
}

fn bind_union(args: Vec<Expr>) -> Result<Expr, BindError> {
    if args.is_empty() || args.iter().any(|arg| !matches!(arg.data_type().logical, LogicalType::Map(..))) {
        return Err(BindError::new("MAP_UNION takes maps"));
    }
    let common = returns::common(&args)?;
    let args: Vec<Expr> = args.into_iter().map(|arg| cast_to(arg, &common)).collect::<Result<_, _>>()?;
    let nullable = any_nullable(&args);
    Ok(call("MAP_UNION", args, common.with_nullable(nullable)))
}

/// The entries of the last map come first, as in Flink; what an earlier one adds follows.
fn union(site: &CallSite<'_>) -> Compiled {
    let data_type = site.data_type.logical.to_arrow();
    Ok(Box::new(move |args, frame| {
        let maps: Vec<&MapArray> = args.iter().map(map_of).collect::<Result<_, _>>()?;
        let equal = equality(&maps)?;
        let mut picks: Vec<(usize, usize)> = Vec::new();
        let (mut lengths, mut valid) = (Vec::with_capacity(frame.rows), Vec::with_capacity(frame.rows));
        for row in 0..frame.rows {
            let at = |source: usize| row * args[source].step();
            let mut found: Vec<(usize, usize)> = Vec::new();
            let present = (0..maps.len()).all(|source| maps[source].is_valid(at(source)));
            for source in (0..maps.len()).rev().filter(|_| present) {
                let offsets = maps[source].value_offsets();
                let entries = offsets[at(source)] as usize..offsets[at(source) + 1] as usize;
                let known = found.len();
                for entry in entries {
                    if !found[..known].iter().any(|(other, position)| equal[*other][source](*position, entry).is_eq()) {
                        found.push((source, entry));
                    }
                }
            }
            lengths.push(found.len());
            valid.push(present);
            picks.extend(found);
        }
        let gather = |side: fn(&MapArray) -> &ArrayRef| {
            let columns: Vec<&dyn Array> = maps.iter().map(|map| side(map).as_ref()).collect();
            compute::interleave(&columns, &picks)
        };
        let (keys, values) = (gather(MapArray::keys)?, gather(MapArray::values)?);
        let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
        map_array(&data_type, OffsetBuffer::from_lengths(lengths), keys, values, nulls)
    }))
}

/// Comparators of the keys of each map with those of each other.
fn equality(maps: &[&MapArray]) -> Result<Vec<Vec<arrow::array::DynComparator>>, EvalError> {
    maps.iter()
        .map(|left| {
            let compare = |right: &&MapArray| Ok(make_comparator(left.keys(), right.keys(), SortOptions::default())?);
            maps.iter().map(compare).collect()
        })
        .collect()
}
