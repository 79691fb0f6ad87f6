//! The relational IR between binder and stream plan: a tree of operators over typed columns that
//! remember which of them are time attributes and windows.

use std::rc::Rc;

use tidemill_common::expr::Expr;
use tidemill_common::limits::{EXPR_DEPTH_MAX, EXPR_PARTS_MAX};
use tidemill_common::plan::{
    AggregateCall, JoinKind, RowRange, SortKey, TableFunction, WindowJoinSide, WindowKind, WindowTime,
};
use tidemill_common::types::DataType;

use crate::table::Table;

/// A column of a relation.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    pub time: Option<TimeAttribute>,
}

/// What makes a column usable as the time of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeAttribute {
    RowTime,
    ProcessingTime,
}

/// A node of the tree. Shared, as views may be used several times.
#[derive(Clone, Debug)]
pub struct Rel {
    pub op: Rc<RelOp>,
    pub columns: Vec<Column>,
    /// Set when the columns carry a window.
    pub window: Option<WindowColumns>,
}

/// The window that columns carry.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowColumns {
    pub start: Option<usize>,
    pub end: Option<usize>,
    pub time: Option<usize>,
    /// What the window is over; its column counts only below the window operator.
    pub over: WindowTime,
    /// Key columns of a session window, by position among these columns.
    pub session_keys: Option<Vec<Option<usize>>>,
}

/// Operators.
#[expect(clippy::large_enum_variant, reason = "trees have few nodes")]
#[derive(Clone, Debug)]
pub enum RelOp {
    /// All columns of a table, computed ones included.
    Scan(Rc<Table>),
    /// One row without columns: what VALUES and SELECT without FROM compute over.
    OneRow,
    /// Filter, then project.
    Calc {
        input: Rel,
        filter: Option<Expr>,
        projection: Vec<Expr>,
    },
    Union {
        inputs: Vec<Rel>,
    },
    /// Columns: those of the input that are kept, then those of the function.
    Correlate {
        input: Rel,
        function: TableFunction,
        args: Vec<usize>,
        kept: Vec<usize>,
        outer: bool,
    },
    /// Appends `window_start`, `window_end`, `window_time`.
    WindowTableFunction {
        input: Rel,
        kind: WindowKind,
        over: WindowTime,
    },
    /// Columns: those of the left, then those of the right; of a semi or anti join those of the left.
    WindowJoin {
        left: Rel,
        right: Rel,
        kind: JoinKind,
        sides: [WindowJoinSide; 2],
        over: WindowTime,
        condition: Option<Expr>,
    },
    /// Rows in order, or as they come without keys, and of them those in a range.
    Sort {
        input: Rel,
        keys: Vec<SortKey>,
        rows: RowRange,
    },
    /// Each row as often as a BIGINT column says.
    ReplicateRows {
        input: Rel,
        times: usize,
    },
    /// Columns: keys, calls, `window_start`, `window_end`, `window_time`; of a whole input keys and calls.
    WindowAggregate {
        input: Rel,
        kind: WindowKind,
        over: WindowTime,
        keys: Vec<usize>,
        calls: Vec<AggregateCall>,
    },
}

impl Rel {
    /// A reference to a column of this relation.
    pub fn column(&self, index: usize) -> Expr {
        Expr::column(index, self.columns[index].data_type.clone())
    }

    /// Whether two columns are one and the same, selected twice.
    pub fn same_column(&self, one: usize, other: usize) -> bool {
        let RelOp::Calc { projection, .. } = &*self.op else { return one == other };
        one == other || matches!(projection[one], Expr::Column { .. }) && projection[one] == projection[other]
    }

    /// References to all columns.
    pub fn all_columns(&self) -> Vec<Expr> {
        (0..self.columns.len()).map(|index| self.column(index)).collect()
    }
}

/// Parts by which an expression may grow when a projection is merged into those above it, beyond the
/// parts of both. Without a bound `SELECT a + a AS a FROM (SELECT a + a AS a FROM ...)` doubles with
/// every level.
const MERGE_GROWTH_MAX: usize = 256;

/// How large an expression is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub parts: usize,
    pub depth: usize,
}

impl Size {
    /// The size of an expression.
    pub(crate) fn of(expr: &Expr) -> Self {
        Self::over(expr, &[])
    }

    /// Whether an expression may have this size.
    pub(crate) fn allowed(self) -> bool {
        self.parts <= EXPR_PARTS_MAX && self.depth <= EXPR_DEPTH_MAX
    }

    /// The size of an expression in which column `i` is replaced by an expression of size `columns[i]`.
    fn over(expr: &Expr, columns: &[Self]) -> Self {
        let mut size = Self::default();
        let mut add = |below: &Expr| {
            let below = Self::over(below, columns);
            size.parts = size.parts.saturating_add(below.parts);
            size.depth = size.depth.max(below.depth);
        };
        match expr {
            Expr::Column { index, .. } if *index < columns.len() => return columns[*index],
            Expr::Column { .. } | Expr::Literal { .. } => {}
            Expr::Call { args, .. } => args.iter().for_each(add),
            Expr::Cast { input, .. } => add(input),
            Expr::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    add(condition);
                    add(value);
                }
                otherwise.iter().for_each(|value| add(value));
            }
        }
        Self { parts: size.parts.saturating_add(1), depth: size.depth + 1 }
    }
}

/// Whether `above`, expressions over the columns that `below` computes, can take them in.
fn merge_is_small<'a>(above: impl Iterator<Item = &'a Expr> + Clone, below: &[Expr]) -> bool {
    let sizes: Vec<Size> = below.iter().map(Size::of).collect();
    let parts = |sum: usize, size: Size| sum.saturating_add(size.parts);
    let apart = above.clone().map(Size::of).chain(sizes.iter().copied()).fold(0, parts);
    let merged: Vec<Size> = above.map(|expr| Size::over(expr, &sizes)).collect();
    merged.iter().all(|size| size.depth <= EXPR_DEPTH_MAX)
        && merged.into_iter().fold(0, parts) <= apart.saturating_add(MERGE_GROWTH_MAX)
}

/// Whether a tree has more than `limit` nodes, shared ones counted at each use.
pub(crate) fn is_larger_than(rel: &Rel, limit: usize) -> bool {
    let mut waiting = vec![rel];
    let mut nodes = 0;
    while let Some(rel) = waiting.pop() {
        nodes += 1;
        if nodes + waiting.len() > limit {
            return true;
        }
        match &*rel.op {
            RelOp::Scan(_) | RelOp::OneRow => {}
            RelOp::Calc { input, .. }
            | RelOp::Correlate { input, .. }
            | RelOp::WindowTableFunction { input, .. }
            | RelOp::Sort { input, .. }
            | RelOp::ReplicateRows { input, .. }
            | RelOp::WindowAggregate { input, .. } => waiting.push(input),
            RelOp::WindowJoin { left, right, .. } => waiting.extend([left, right]),
            RelOp::Union { inputs } => waiting.extend(inputs),
        }
    }
    false
}

/// One row without columns.
pub fn one_row() -> Rel {
    Rel { op: Rc::new(RelOp::OneRow), columns: Vec::new(), window: None }
}

/// Filter and projection over `input`, merged into a Calc that is already there.
/// `names` are the names of the projected columns.
pub fn calc(input: Rel, filter: Option<Expr>, projection: Vec<Expr>, names: Vec<String>) -> Rel {
    let columns = projection
        .iter()
        .zip(names)
        .map(|(expr, name)| Column {
            name,
            data_type: expr.data_type().clone(),
            time: match expr {
                Expr::Column { index, .. } => input.columns[*index].time,
                Expr::Call { function, .. } if function.name == "PROCTIME" => Some(TimeAttribute::ProcessingTime),
                _ => None,
            },
        })
        .collect();
    let position = |of: Option<usize>| {
        of.and_then(|of| projection.iter().position(|expr| matches!(expr, Expr::Column { index, .. } if *index == of)))
    };
    let window = input.window.as_ref().map(|window| WindowColumns {
        start: position(window.start),
        end: position(window.end),
        time: position(window.time),
        over: window.over.clone(),
        session_keys: window.session_keys.as_ref().map(|keys| keys.iter().map(|key| position(*key)).collect()),
    });
    if let RelOp::Calc { input: below, filter: below_filter, projection: below_projection } = &*input.op
        && below_projection.iter().all(tidemill_expr::bind::is_deterministic)
        && merge_is_small(filter.iter().chain(&projection), below_projection)
    {
        let mut inline = |index: usize, _: &DataType| below_projection[index].clone();
        let filter = match (below_filter.clone(), filter.map(|filter| filter.map_columns(&mut inline))) {
            (Some(first), Some(second)) => Some(and(first, second)),
            (first, second) => first.or(second),
        };
        let projection = projection.iter().map(|expr| expr.map_columns(&mut inline)).collect();
        return Rel { op: Rc::new(RelOp::Calc { input: below.clone(), filter, projection }), columns, window };
    }
    Rel { op: Rc::new(RelOp::Calc { input, filter, projection }), columns, window }
}

/// `left AND right` of two BOOLEAN expressions.
pub fn and(left: Expr, right: Expr) -> Expr {
    let fallback = left.clone();
    tidemill_expr::bind::bind_call("AND", vec![left, right]).unwrap_or(fallback)
}

/// The conditions that an expression joins by AND, left to right.
pub fn conjuncts(condition: Expr) -> Vec<Expr> {
    fn walk(condition: Expr, all: &mut Vec<Expr>) {
        match condition {
            Expr::Call { function, args, .. } if function.name == "AND" => {
                args.into_iter().for_each(|arg| walk(arg, all));
            }
            other => all.push(other),
        }
    }
    let mut all = Vec::new();
    walk(condition, &mut all);
    all
}
