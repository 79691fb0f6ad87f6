//! Arrays as sets and sequences: append, sort, union, difference.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DynComparator, ListArray, make_comparator};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{self, SortOptions};
use arrow::datatypes::DataType as ArrowType;
use tidemill_common::expr::Expr;
use tidemill_common::types::LogicalType;

use super::collections::{element_with, list_of, picked, span, with_one_zero};
use crate::bind::{BindError, any_nullable, call, cast_to, common_logical};
use crate::eval::value::Value;
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Frame, Function, Kernel, Param, convert_arguments, returns};

const fn sets(
    name: &'static str,
    bind: fn(Vec<Expr>) -> Bound,
    compile: fn(&CallSite<'_>) -> Compiled,
    signature: &'static str,
    description: &'static str,
) -> Function {
    Function::new(name, Category::Collection, &[], returns::first, compile).custom(bind).doc(signature, description)
}

pub(super) const FUNCTIONS: &[Function] = &[
    sets(
        "ARRAY_APPEND",
        |args| with_new_element("ARRAY_APPEND", args),
        |_| extended(false),
        "ARRAY_APPEND(array, a)",
        "With a behind the elements.",
    ),
    sets(
        "ARRAY_PREPEND",
        |args| with_new_element("ARRAY_PREPEND", args),
        |_| extended(true),
        "ARRAY_PREPEND(array, a)",
        "With a before the elements.",
    ),
    sets(
        "ARRAY_SORT",
        bind_sort,
        sort,
        "ARRAY_SORT(array[, ascending[, nulls first]])",
        "Sorted; ascending with NULLs first, or descending with NULLs last, unless told otherwise.",
    ),
    sets(
        "ARRAY_UNION",
        |args| two_arrays("ARRAY_UNION", args),
        |_| combined(),
        "ARRAY_UNION(array, array)",
        "The elements of both, each once, in order of first appearance.",
    ),
    sets(
        "ARRAY_EXCEPT",
        |args| two_arrays("ARRAY_EXCEPT", args),
        |_| filtered(false),
        "ARRAY_EXCEPT(array, array)",
        "The elements of the first that are not in the second, each once.",
    ),
    sets(
        "ARRAY_INTERSECT",
        |args| two_arrays("ARRAY_INTERSECT", args),
        |_| filtered(true),
        "ARRAY_INTERSECT(array, array)",
        "The elements of the first that are in the second too, each once.",
    ),
];

type Compiled = Result<Kernel, CompileError>;
type Bound = Result<Expr, BindError>;

fn element_of(name: &str, expr: &Expr) -> Result<(LogicalType, bool), BindError> {
    match &expr.data_type().logical {
        LogicalType::Array(element) => Ok((element.logical.clone(), element.nullable)),
        other => Err(BindError::new(format!("{name} takes an ARRAY, not {other}"))),
    }
}

/// Array and element get the common element type, which is nullable if the element is.
fn with_new_element(name: &'static str, args: Vec<Expr>) -> Bound {
    let [list, added] = <[Expr; 2]>::try_from(args)
        .map_err(|args| BindError::new(format!("{name} takes 2 arguments, not {}", args.len())))?;
    let (element, nullable) = element_of(name, &list)?;
    let given = &added.data_type().logical;
    let common = element_with(name, &element, given)?;
    let nullable = nullable || added.data_type().nullable;
    let logical = LogicalType::Array(Box::new(common.clone().with_nullable(nullable)));
    let list = cast_to(list, &logical)?;
    let result = logical.with_nullable(list.data_type().nullable);
    Ok(call(name, vec![list, cast_to(added, &common)?], result))
}

fn two_arrays(name: &'static str, args: Vec<Expr>) -> Bound {
    let [left, right] = <[Expr; 2]>::try_from(args)
        .map_err(|args| BindError::new(format!("{name} takes 2 arguments, not {}", args.len())))?;
    let ((l, l_null), (r, r_null)) = (element_of(name, &left)?, element_of(name, &right)?);
    let common = common_logical(&l, &r)
        .ok_or_else(|| BindError::new(format!("{name} cannot compare {l} with {r}; add a CAST")))?;
    if matches!(common, LogicalType::Map(..)) {
        return Err(BindError::new(format!("{name} does not compare values of type {common}")));
    }
    let logical = LogicalType::Array(Box::new(common.with_nullable(l_null || r_null)));
    let args = vec![cast_to(left, &logical)?, cast_to(right, &logical)?];
    let nullable = any_nullable(&args);
    Ok(call(name, args, logical.with_nullable(nullable)))
}

fn bind_sort(mut args: Vec<Expr>) -> Bound {
    if args.is_empty() || args.len() > 3 {
        return Err(BindError::new(format!("ARRAY_SORT takes 1 to 3 arguments, not {}", args.len())));
    }
    let options = args.split_off(1);
    let mut args = convert_arguments("ARRAY_SORT", &[Param::Array], 1, false, args)?;
    let (element, _) = element_of("ARRAY_SORT", &args[0])?;
    if matches!(element, LogicalType::Array(_) | LogicalType::Map(..) | LogicalType::Row(_)) {
        return Err(BindError::new(format!("values of type {element} have no order; ARRAY_SORT does not sort them")));
    }
    for option in options {
        args.push(crate::bind::boolean(option, "an option of ARRAY_SORT")?);
    }
    let logical = args[0].data_type().logical.clone();
    let nullable = any_nullable(&args);
    Ok(call("ARRAY_SORT", args, logical.with_nullable(nullable)))
}

/// Lists of the elements of several arrays: `f` pushes (array, position) for a row, or says that it is NULL.
fn gathered(
    lists: &[&ListArray],
    extra: Option<&ArrayRef>,
    rows: usize,
    mut f: impl FnMut(usize, &mut Vec<(usize, usize)>) -> Option<()>,
) -> Result<ArrayRef, EvalError> {
    let ArrowType::List(field) = lists[0].data_type() else { return Err(EvalError::new("an ARRAY was planned here")) };
    let (mut picks, mut lengths, mut valid) = (Vec::new(), Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in 0..rows {
        let before = picks.len();
        let present = f(row, &mut picks).is_some();
        if !present {
            picks.truncate(before);
        }
        lengths.push(picks.len() - before);
        valid.push(present);
    }
    let mut values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
    values.extend(extra.map(AsRef::as_ref));
    let values = compute::interleave(&values, &picks)?;
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(ListArray::try_new(field.clone(), OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

fn extended(before: bool) -> Compiled {
    Ok(Box::new(move |args, frame| {
        let list = list_of(&args[0])?;
        let (step, added_step) = (args[0].step(), args[1].step());
        gathered(&[list], Some(args[1].array()), frame.rows, |row, picks| {
            let elements = span(list, row * step)?.map(|at| (0, at));
            let added = (1, row * added_step);
            if before {
                picks.push(added);
                picks.extend(elements);
            } else {
                picks.extend(elements);
                picks.push(added);
            }
            Some(())
        })
    }))
}

fn flag(value: Option<&Value>, row: usize, default: bool) -> Result<Option<bool>, EvalError> {
    value.map_or(Ok(Some(default)), |value| Ok(value.booleans()?.get(row)))
}

fn sort(_: &CallSite<'_>) -> Compiled {
    Ok(Box::new(|args, frame| {
        let list = list_of(&args[0])?;
        let values = &with_one_zero(list.values());
        let compare = make_comparator(values, values, SortOptions { descending: false, nulls_first: true })?;
        let mut failure = None;
        let sorted = picked(list, args[0].step(), frame.rows, |row, span, picks| {
            let ascending = flag(args.get(1), row, true).unwrap_or_else(|error| {
                failure.get_or_insert(error);
                None
            })?;
            let nulls_first = flag(args.get(2), row, ascending).ok().flatten()?;
            let mut order: Vec<u32> = span.map(|at| at as u32).collect();
            order.sort_by(|a, b| {
                let (a, b) = (*a as usize, *b as usize);
                match (values.is_null(a), values.is_null(b)) {
                    (true, true) => Ordering::Equal,
                    (true, false) => {
                        if nulls_first {
                            Ordering::Less
                        } else {
                            Ordering::Greater
                        }
                    }
                    (false, true) => {
                        if nulls_first {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        }
                    }
                    _ if ascending => compare(a, b),
                    _ => compare(b, a),
                }
            });
            picks.extend(order);
            Some(())
        })?;
        failure.map_or(Ok(sorted), Err)
    }))
}

/// Whether elements of two arrays are equal, by their positions; two NULLs are.
struct Equal {
    within: [DynComparator; 2],
    across: DynComparator,
}

impl Equal {
    fn new(left: &ListArray, right: &ListArray) -> Result<Self, EvalError> {
        let options = SortOptions::default();
        let (l, r) = (with_one_zero(left.values()), with_one_zero(right.values()));
        Ok(Self {
            within: [make_comparator(&l, &l, options)?, make_comparator(&r, &r, options)?],
            across: make_comparator(&l, &r, options)?,
        })
    }

    fn test(&self, a: (usize, usize), b: (usize, usize)) -> bool {
        match (a.0, b.0) {
            (0, 1) => (self.across)(a.1, b.1).is_eq(),
            (1, 0) => (self.across)(b.1, a.1).is_eq(),
            (side, _) => self.within[side](a.1, b.1).is_eq(),
        }
    }
}

fn pair(args: &[Value]) -> Result<(&ListArray, &ListArray, Equal), EvalError> {
    let (left, right) = (list_of(&args[0])?, list_of(&args[1])?);
    Ok((left, right, Equal::new(left, right)?))
}

/// The elements of both arrays, each once.
fn combined() -> Compiled {
    Ok(Box::new(move |args: &[Value], frame: &Frame<'_>| {
        let (left, right, equal) = pair(args)?;
        gathered(&[left, right], None, frame.rows, |row, picks| {
            let first = picks.len();
            let (l, r) = (span(left, row * args[0].step())?, span(right, row * args[1].step())?);
            for at in l.map(|at| (0, at)).chain(r.map(|at| (1, at))) {
                if !picks[first..].iter().any(|other| equal.test(*other, at)) {
                    picks.push(at);
                }
            }
            Some(())
        })
    }))
}

/// Elements of the first array, each once, that are in the second (`common`) or not.
fn filtered(common: bool) -> Compiled {
    Ok(Box::new(move |args: &[Value], frame: &Frame<'_>| {
        let (left, right, equal) = pair(args)?;
        gathered(&[left, right], None, frame.rows, |row, picks| {
            let first = picks.len();
            let (l, r) = (span(left, row * args[0].step())?, span(right, row * args[1].step())?);
            for at in l.map(|at| (0, at)) {
                let known = picks[first..].iter().any(|other| equal.test(*other, at));
                if !known && r.clone().any(|other| equal.test(at, (1, other))) == common {
                    picks.push(at);
                }
            }
            Some(())
        })
    }))
}
