//! The rules that make a job's trees cheaper.
//!
//! The list is explicit, as not every rule of a database holds on streams. (Merging of filters and
//! projections happens while trees are built, see [`crate::rel::calc`]; windows are fused into
//! aggregations by the binder; equal sub-plans become one operator in [`crate::stream`].)

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{AggregateCall, JoinKind, SortKey, WindowJoinSide, WindowKind, WindowTime};
use tidemill_expr::bind::{fold_constants, is_deterministic};

use crate::binder::join::joined_columns;
use crate::rel::{Column, Rel, RelOp, and, calc, conjuncts};
use crate::table::Table;

/// A rule over all queries of a job at once, in a session zone.
type Rule = fn(&[Rel], &str) -> Vec<Rel>;

/// All rules, in the order in which they are applied.
const RULES: &[Rule] = &[
    |queries, _| queries.iter().map(push_filters).collect(),
    |queries, zone| queries.iter().map(|query| fold_all(query, zone)).collect(),
    |queries, _| queries.iter().map(prune_partitions).collect(),
    |queries, _| Pruner::prune_all(queries),
];

/// Applies all rules. The columns of each query stay as they are.
pub fn optimize(queries: Vec<Rel>, zone: &str) -> Vec<Rel> {
    RULES.iter().fold(queries, |queries, rule| rule(&queries, zone))
}

/// This relation with the inputs of its operator replaced.
fn map_inputs(rel: &Rel, map: &mut impl FnMut(&Rel) -> Rel) -> Rel {
    let op = match &*rel.op {
        RelOp::Scan(_) | RelOp::OneRow => return rel.clone(),
        RelOp::Calc { input, filter, projection } => {
            RelOp::Calc { input: map(input), filter: filter.clone(), projection: projection.clone() }
        }
        RelOp::Union { inputs } => RelOp::Union { inputs: inputs.iter().map(map).collect() },
        RelOp::Correlate { input, function, args, kept, outer } => RelOp::Correlate {
            input: map(input),
            function: function.clone(),
            args: args.clone(),
            kept: kept.clone(),
            outer: *outer,
        },
        RelOp::WindowTableFunction { input, kind, over } => {
            RelOp::WindowTableFunction { input: map(input), kind: kind.clone(), over: over.clone() }
        }
        RelOp::WindowJoin { left, right, kind, sides, over, condition } => RelOp::WindowJoin {
            left: map(left),
            right: map(right),
            kind: *kind,
            sides: sides.clone(),
            over: over.clone(),
            condition: condition.clone(),
        },
        RelOp::ReplicateRows { input, times } => RelOp::ReplicateRows { input: map(input), times: *times },
        RelOp::Sort { input, keys, rows } => RelOp::Sort { input: map(input), keys: keys.clone(), rows: *rows },
        RelOp::WindowAggregate { input, kind, over, keys, calls } => RelOp::WindowAggregate {
            input: map(input),
            kind: kind.clone(),
            over: over.clone(),
            keys: keys.clone(),
            calls: calls.clone(),
        },
    };
    Rel { op: Rc::new(op), ..rel.clone() }
}

/// Computes what is constant: binding folds what is written, this folds what merging and implicit
/// casts have made constant. A filter that is TRUE goes.
fn fold_all(rel: &Rel, zone: &str) -> Rel {
    let rel = map_inputs(rel, &mut |input| fold_all(input, zone));
    let RelOp::Calc { input, filter, projection } = &*rel.op else { return rel };
    let filter = filter.clone().map(|filter| fold_constants(filter, zone));
    let filter = filter.filter(|filter| !matches!(filter, Expr::Literal { value: Scalar::Boolean(true), .. }));
    let fold = |(expr, column): (&Expr, &Column)| {
        let folded = fold_constants(expr.clone(), zone);
        // The column keeps its type.
        if folded.data_type().logical == column.data_type.logical { folded } else { expr.clone() }
    };
    let projection = projection.iter().zip(&rel.columns).map(fold).collect();
    Rel { op: Rc::new(RelOp::Calc { input: input.clone(), filter, projection }), ..rel.clone() }
}

/// Filters move below unions, table functions and window functions, which then have fewer rows to copy. They stay
/// above the source, whose watermark sees every row, and above aggregations, which several queries
/// of a job may share.
fn push_filters(rel: &Rel) -> Rel {
    let rel = match &*rel.op {
        RelOp::Calc { input, filter: Some(filter), projection } => {
            let (input, filter) = push(input, filter);
            Rel { op: Rc::new(RelOp::Calc { input, filter, projection: projection.clone() }), ..rel.clone() }
        }
        _ => rel.clone(),
    };
    map_inputs(&rel, &mut push_filters)
}

/// The relation with what could be pushed of a filter over it, and the rest of the filter.
fn push(rel: &Rel, filter: &Expr) -> (Rel, Option<Expr>) {
    let filtered = |input: &Rel, filter: Expr| {
        let names = input.columns.iter().map(|column| column.name.clone()).collect();
        calc(input.clone(), Some(filter), input.all_columns(), names)
    };
    let nothing = || (rel.clone(), Some(filter.clone()));
    let (op, rest) = match &*rel.op {
        RelOp::Union { inputs } if is_deterministic(filter) => {
            let inputs = inputs.iter().map(|input| filtered(input, filter.clone())).collect();
            (RelOp::Union { inputs }, None)
        }
        // A row that is filtered away would have held a session together.
        RelOp::WindowTableFunction { kind: WindowKind::Session { .. }, .. } => return nothing(),
        RelOp::WindowTableFunction { input, kind, over } => {
            let (Some(pushed), rest) = split_by_width(filter, input.columns.len()) else { return nothing() };
            let input = filtered(input, pushed);
            (RelOp::WindowTableFunction { input, kind: kind.clone(), over: over.clone() }, rest)
        }
        RelOp::Correlate { input, function, args, kept, outer } => {
            let (Some(pushed), rest) = split_by_width(filter, kept.len()) else { return nothing() };
            let pushed = pushed.map_columns(&mut |index, data_type| Expr::column(kept[index], data_type.clone()));
            let op = RelOp::Correlate {
                input: filtered(input, pushed),
                function: function.clone(),
                args: args.clone(),
                kept: kept.clone(),
                outer: *outer,
            };
            (op, rest)
        }
        RelOp::WindowJoin { left, right, kind, sides, over: WindowTime::Input, condition } => {
            let width = left.columns.len();
            let of_left = |filter: &Expr| {
                matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti)
                    && filter.columns().iter().all(|at| *at < width)
            };
            let of_right = |filter: &Expr| {
                matches!(kind, JoinKind::Inner | JoinKind::Right) && filter.columns().iter().all(|at| *at >= width)
            };
            let (pushed, rest) = split_off(filter, |condition| {
                !condition.columns().is_empty() && (of_left(condition) || of_right(condition))
            });
            if pushed.is_empty() {
                return nothing();
            }
            let (to_left, to_right): (Vec<Expr>, Vec<Expr>) = pushed.into_iter().partition(of_left);
            let to_right = to_right.into_iter().map(|condition| {
                condition.map_columns(&mut |at, data_type| Expr::column(at - width, data_type.clone()))
            });
            let pushed = |input: &Rel, filter: Option<Expr>| match filter {
                Some(filter) => filtered(input, filter),
                None => input.clone(),
            };
            let op = RelOp::WindowJoin {
                left: pushed(left, to_left.into_iter().reduce(and)),
                right: pushed(right, to_right.reduce(and)),
                kind: *kind,
                sides: sides.clone(),
                over: WindowTime::Input,
                condition: condition.clone(),
            };
            (op, rest)
        }
        _ => return nothing(),
    };
    (Rel { op: Rc::new(op), ..rel.clone() }, rest)
}

/// Splits a filter into what can be asked elsewhere, and the rest.
fn split_off(filter: &Expr, is_asked: impl Fn(&Expr) -> bool) -> (Vec<Expr>, Option<Expr>) {
    let mut conditions = conjuncts(filter.clone());
    // In order up to the first that cannot be asked: one that fails on some rows may rely on those before it.
    let asked = |condition: &&Expr| is_deterministic(condition) && is_asked(condition);
    let count = conditions.iter().take_while(asked).count();
    let rest = conditions.split_off(count).into_iter().reduce(and);
    (conditions, rest)
}

/// Splits a filter into what can be asked of the first `width` columns, and the rest.
fn split_by_width(filter: &Expr, width: usize) -> (Option<Expr>, Option<Expr>) {
    let (asked, rest) = split_off(filter, |condition| condition.columns().iter().all(|at| *at < width));
    (asked.into_iter().reduce(and), rest)
}

/// A scan of a partitioned table learns what the filter above it asks of the partition columns alone. The
/// filter stays: it is for the source to leave partitions out.
fn prune_partitions(rel: &Rel) -> Rel {
    let rel = map_inputs(rel, &mut prune_partitions);
    let RelOp::Calc { input, filter: Some(filter), projection } = &*rel.op else { return rel };
    let RelOp::Scan(table) = &*input.op else { return rel };
    let keys = &table.spec.partition_keys;
    let key_of = |column: usize| match &table.values[column] {
        Expr::Column { index, .. } => keys.iter().position(|key| key == index),
        _ => None,
    };
    let mut conditions = conjuncts(filter.clone());
    let of_partitions = |condition: &Expr| {
        let columns = condition.columns();
        !columns.is_empty() && is_deterministic(condition) && columns.iter().all(|column| key_of(*column).is_some())
    };
    conditions.retain(of_partitions);
    let over_keys = |condition: Expr| {
        condition
            .map_columns(&mut |column, data_type| Expr::column(key_of(column).unwrap_or_default(), data_type.clone()))
    };
    let Some(partition_filter) = conditions.into_iter().map(over_keys).reduce(and) else { return rel };
    let table = Table { partition_filter: Some(partition_filter), ..(**table).clone() };
    let input = Rel { op: Rc::new(RelOp::Scan(Rc::new(table))), ..input.clone() };
    let op = RelOp::Calc { input, filter: Some(filter.clone()), projection: projection.clone() };
    Rel { op: Rc::new(op), ..rel.clone() }
}

/// Column pruning: every operator computes only what somebody reads.
///
/// A table is read once a job, so what is decoded of it is what all its readers need together. Hence
/// two passes over all queries of the job: the first collects, the second rebuilds the trees.
#[derive(Debug, Default)]
struct Pruner {
    /// Columns of each table that the job reads, by table name.
    scans: BTreeMap<String, BTreeSet<usize>>,
    collecting: bool,
}

/// A tree whose columns are some of another's, and where each of those has gone.
struct Pruned {
    rel: Rel,
    positions: BTreeMap<usize, usize>,
}

impl Pruner {
    /// Prunes the queries of one job. All columns of each query are kept.
    fn prune_all(queries: &[Rel]) -> Vec<Rel> {
        let mut pruner = Self { scans: BTreeMap::new(), collecting: true };
        for query in queries {
            pruner.whole(query);
        }
        pruner.collecting = false;
        queries.iter().map(|query| pruner.whole(query)).collect()
    }

    /// Prunes below a relation whose every column is needed, in order.
    fn whole(&mut self, rel: &Rel) -> Rel {
        let all: BTreeSet<usize> = (0..rel.columns.len()).collect();
        let pruned = self.prune(rel, &all);
        let in_place = pruned.positions.iter().all(|(old, new)| old == new) && pruned.rel.columns.len() == all.len();
        if in_place {
            return pruned.rel;
        }
        let projection = all.iter().map(|old| pruned.rel.column(pruned.positions[old])).collect();
        let names = rel.columns.iter().map(|column| column.name.clone()).collect();
        calc(pruned.rel, None, projection, names)
    }

    /// Prunes below a relation of which only `needed` columns are read.
    fn prune(&mut self, rel: &Rel, needed: &BTreeSet<usize>) -> Pruned {
        match &*rel.op {
            RelOp::Scan(table) => {
                let scan = self.scans.entry(table.spec.name.clone()).or_default();
                if self.collecting {
                    scan.extend(needed);
                    if let Some(watermark) = &table.watermark {
                        scan.insert(watermark.column);
                        scan.extend(watermark.expression.columns());
                    }
                }
                // The scan keeps all its columns: the stream plan emits those collected here.
                let kept: Vec<usize> =
                    if self.collecting { (0..rel.columns.len()).collect() } else { scan.iter().copied().collect() };
                let mut table = (**table).clone();
                let positions: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
                table.columns = kept.iter().map(|old| table.columns[*old].clone()).collect();
                table.values = kept.iter().map(|old| table.values[*old].clone()).collect();
                if let Some(watermark) = &mut table.watermark {
                    watermark.column = positions[&watermark.column];
                    watermark.expression = remap(&watermark.expression, &positions);
                }
                let columns = table.columns.clone();
                Pruned { rel: Rel { op: Rc::new(RelOp::Scan(Rc::new(table))), columns, window: None }, positions }
            }
            RelOp::OneRow => Pruned { rel: rel.clone(), positions: BTreeMap::new() },
            RelOp::Calc { input, filter, projection } => {
                let mut below: BTreeSet<usize> =
                    needed.iter().flat_map(|column| projection[*column].columns()).collect();
                below.extend(filter.iter().flat_map(Expr::columns));
                let input = self.prune(input, &below);
                let filter = filter.as_ref().map(|filter| remap(filter, &input.positions));
                let kept: Vec<Expr> =
                    needed.iter().map(|column| remap(&projection[*column], &input.positions)).collect();
                let names = needed.iter().map(|column| rel.columns[*column].name.clone()).collect();
                let positions = needed.iter().enumerate().map(|(new, old)| (*old, new)).collect();
                let trivial = filter.is_none()
                    && kept.len() == input.rel.columns.len()
                    && kept
                        .iter()
                        .enumerate()
                        .all(|(at, expr)| matches!(expr, Expr::Column { index, .. } if *index == at));
                if trivial {
                    let mut rel_below = input.rel;
                    for (column, name) in rel_below.columns.iter_mut().zip::<Vec<String>>(names) {
                        column.name = name;
                    }
                    return Pruned { rel: rel_below, positions };
                }
                Pruned { rel: calc(input.rel, filter, kept, names), positions }
            }
            RelOp::Union { inputs } => {
                let projected = |pruned: Pruned| {
                    let projection = needed.iter().map(|old| pruned.rel.column(pruned.positions[old])).collect();
                    let names = needed.iter().map(|old| rel.columns[*old].name.clone()).collect();
                    let same = pruned.rel.columns.len() == needed.len()
                        && needed.iter().enumerate().all(|(new, old)| pruned.positions[old] == new);
                    if same { pruned.rel } else { calc(pruned.rel, None, projection, names) }
                };
                let inputs = inputs.iter().map(|input| projected(self.prune(input, needed))).collect();
                let columns = needed.iter().map(|old| rel.columns[*old].clone()).collect();
                let positions = needed.iter().enumerate().map(|(new, old)| (*old, new)).collect();
                Pruned { rel: Rel { op: Rc::new(RelOp::Union { inputs }), columns, window: None }, positions }
            }
            RelOp::Correlate { input, function, args, kept, outer } => {
                let old_width = kept.len();
                let read: Vec<usize> = needed.iter().copied().filter(|column| *column < old_width).collect();
                let below = read.iter().map(|column| kept[*column]).chain(args.iter().copied()).collect();
                let input = self.prune(input, &below);
                let mut positions: BTreeMap<usize, usize> =
                    read.iter().enumerate().map(|(new, old)| (*old, new)).collect();
                positions.extend((old_width..rel.columns.len()).map(|old| (old, old - old_width + read.len())));
                let columns = positions.keys().map(|old| rel.columns[*old].clone()).collect();
                let op = RelOp::Correlate {
                    function: function.clone(),
                    args: args.iter().map(|arg| input.positions[arg]).collect(),
                    kept: read.iter().map(|column| input.positions[&kept[*column]]).collect(),
                    outer: *outer,
                    input: input.rel,
                };
                Pruned { rel: Rel { op: Rc::new(op), columns, window: None }, positions }
            }
            RelOp::WindowTableFunction { input, kind, over } => {
                let width = input.columns.len();
                let mut below: BTreeSet<usize> = needed.iter().copied().filter(|column| *column < width).collect();
                if let WindowTime::RowTime { column, .. } = over {
                    below.insert(*column);
                }
                let input = self.prune(input, &below);
                let over = remap_time(over, &input.positions);
                let mut columns = input.rel.columns.clone();
                let mut positions = input.positions;
                for window in 0..3 {
                    positions.insert(width + window, columns.len());
                    columns.push(rel.columns[width + window].clone());
                }
                let op = RelOp::WindowTableFunction { input: input.rel, kind: kind.clone(), over };
                Pruned { rel: Rel { op: Rc::new(op), columns, window: None }, positions }
            }
            RelOp::WindowJoin { left, right, kind, sides, over, condition } => {
                let width = left.columns.len();
                let mut used = needed.clone();
                used.extend(condition.iter().flat_map(Expr::columns));
                // Of a whole input there are no columns of a window.
                let is_whole = *over == WindowTime::Input;
                let own = |side: &WindowJoinSide| {
                    let window = [side.start, side.end].into_iter().filter(|_| !is_whole);
                    side.keys.iter().copied().chain(window).collect::<BTreeSet<usize>>()
                };
                let (mut of_left, mut of_right) = (own(&sides[0]), own(&sides[1]));
                of_left.extend(used.iter().copied().filter(|column| *column < width));
                of_right.extend(used.iter().filter(|column| **column >= width).map(|column| column - width));
                let (left, right) = (self.prune(left, &of_left), self.prune(right, &of_right));
                let new_width = left.rel.columns.len();
                let mut positions = left.positions.clone();
                positions.extend(right.positions.iter().map(|(old, new)| (old + width, new + new_width)));
                let side = |side: &WindowJoinSide, at: &BTreeMap<usize, usize>| WindowJoinSide {
                    start: if is_whole { 0 } else { at[&side.start] },
                    end: if is_whole { 0 } else { at[&side.end] },
                    keys: side.keys.iter().map(|key| at[key]).collect(),
                };
                let columns = joined_columns(&left.rel.columns, &right.rel.columns, *kind);
                let op = RelOp::WindowJoin {
                    sides: [side(&sides[0], &left.positions), side(&sides[1], &right.positions)],
                    condition: condition.as_ref().map(|condition| remap(condition, &positions)),
                    left: left.rel,
                    right: right.rel,
                    kind: *kind,
                    over: over.clone(),
                };
                Pruned { rel: Rel { op: Rc::new(op), columns, window: None }, positions }
            }
            RelOp::ReplicateRows { input, times } => {
                let mut below = needed.clone();
                below.insert(*times);
                let input = self.prune(input, &below);
                let columns = input.rel.columns.clone();
                let op = RelOp::ReplicateRows { times: input.positions[times], input: input.rel };
                Pruned { rel: Rel { op: Rc::new(op), columns, window: None }, positions: input.positions }
            }
            RelOp::Sort { input, keys, rows } => {
                let mut below = needed.clone();
                below.extend(keys.iter().map(|key| key.column));
                let input = self.prune(input, &below);
                let keys = keys.iter().map(|key| SortKey { column: input.positions[&key.column], ..*key }).collect();
                let columns = input.rel.columns.clone();
                let op = RelOp::Sort { input: input.rel, keys, rows: *rows };
                Pruned { rel: Rel { op: Rc::new(op), columns, window: None }, positions: input.positions }
            }
            RelOp::WindowAggregate { input, kind, over, keys, calls } => {
                // All calls stay, so that several readers of a view share its aggregation.
                let mut below: BTreeSet<usize> = keys.iter().copied().collect();
                for call in calls {
                    below.extend(call.args.iter().copied().chain(call.filter));
                }
                if let WindowTime::RowTime { column, .. } = over {
                    below.insert(*column);
                }
                if let WindowKind::Attached { start, end } = kind {
                    below.extend([*start, *end]);
                }
                let input = self.prune(input, &below);
                let at = |column: &usize| input.positions[column];
                let op = RelOp::WindowAggregate {
                    kind: match kind {
                        WindowKind::Attached { start, end } => WindowKind::Attached { start: at(start), end: at(end) },
                        kind => kind.clone(),
                    },
                    over: remap_time(over, &input.positions),
                    keys: keys.iter().map(at).collect(),
                    calls: calls
                        .iter()
                        .map(|call| AggregateCall {
                            args: call.args.iter().map(at).collect(),
                            filter: call.filter.as_ref().map(at),
                            ..call.clone()
                        })
                        .collect(),
                    input: input.rel.clone(),
                };
                let positions = (0..rel.columns.len()).map(|column| (column, column)).collect();
                Pruned { rel: Rel { op: Rc::new(op), columns: rel.columns.clone(), window: None }, positions }
            }
        }
    }
}

fn remap(expr: &Expr, positions: &BTreeMap<usize, usize>) -> Expr {
    expr.map_columns(&mut |index, data_type| Expr::column(positions[&index], data_type.clone()))
}

fn remap_time(over: &WindowTime, positions: &BTreeMap<usize, usize>) -> WindowTime {
    match over {
        WindowTime::RowTime { column, zone } => WindowTime::RowTime { column: positions[column], zone: zone.clone() },
        processing => processing.clone(),
    }
}
