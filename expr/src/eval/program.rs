//! Expressions compiled to a graph of kernels. Equal sub-expressions are one node, evaluated once a
//! batch; branches that can fail or cost much are evaluated only for the rows that take them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute;
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use tidemill_common::expr::{Expr, FunctionId};

use super::value::Value;
use super::{CompileError, EvalContext, EvalError, compile_cast, compile_padded_text, literal_array};
use crate::own;
use crate::registry::{self, CallSite, Category, Frame, Kernel, Volatility};

type NodeId = usize;

enum Node {
    Column(usize),
    Literal(ArrayRef),
    Call {
        kernel: Kernel,
        args: Vec<NodeId>,
        per_row: bool,
    },
    Cast {
        kernel: Kernel,
        input: NodeId,
    },
    /// `AND`; `OR` when `decides` is TRUE: a left side of that value is the answer.
    Logic {
        left: NodeId,
        right: NodeId,
        decides: bool,
    },
    Case {
        branches: Vec<(NodeId, NodeId)>,
        otherwise: Option<NodeId>,
        arrow_type: ArrowType,
    },
    Coalesce {
        args: Vec<NodeId>,
        arrow_type: ArrowType,
    },
}

struct Compiled {
    node: Node,
    /// Evaluated only for the rows that need it, as some values fail or it costs much.
    lazy: bool,
    arrow_type: ArrowType,
}

/// Expressions compiled for one input schema.
pub struct Program {
    nodes: Vec<Compiled>,
    roots: Vec<NodeId>,
}

/// A compiled condition.
pub struct Predicate {
    program: Program,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("nodes", &self.nodes.len()).field("roots", &self.roots).finish()
    }
}

impl Program {
    /// Compiles `exprs` for batches of the schema `input`.
    ///
    /// # Errors
    /// If a column has another type than planned, a function is not known, or a constant argument
    /// (a pattern, say) is not valid.
    pub fn compile(exprs: &[Expr], input: &SchemaRef) -> Result<Self, CompileError> {
        let mut compiler = Compiler { input, nodes: Vec::new(), known: HashMap::new() };
        let roots = exprs.iter().map(|expr| compiler.compile(expr)).collect::<Result<_, _>>()?;
        Ok(Self { nodes: compiler.nodes, roots })
    }

    /// The value of each expression for each row. A plain column costs a reference count.
    ///
    /// # Errors
    /// If a value makes an expression fail: a division by zero, a text that is not a number, ...
    pub fn evaluate(&self, batch: &RecordBatch, context: &EvalContext) -> Result<Vec<ArrayRef>, EvalError> {
        let state = State::new(self, batch.columns().to_vec(), batch.num_rows(), context);
        self.roots.iter().map(|root| state.eval(*root)?.into_array(batch.num_rows())).collect()
    }
}

impl Predicate {
    /// Compiles a BOOLEAN expression.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn compile(expr: &Expr, input: &SchemaRef) -> Result<Self, CompileError> {
        if expr.data_type().logical.to_arrow() != ArrowType::Boolean {
            return Err(CompileError::invalid(format!("a condition has type {}", expr.data_type())));
        }
        Ok(Self { program: Program::compile(std::slice::from_ref(expr), input)? })
    }

    /// The rows for which the condition is TRUE (neither FALSE nor UNKNOWN). The mask has no NULLs.
    ///
    /// # Errors
    /// As [`Program::evaluate`].
    pub fn select(&self, batch: &RecordBatch, context: &EvalContext) -> Result<BooleanArray, EvalError> {
        let state = State::new(&self.program, batch.columns().to_vec(), batch.num_rows(), context);
        let value = state.eval(self.program.roots[0])?.into_array(batch.num_rows())?;
        Ok(known_true(value.as_boolean()))
    }
}

/// TRUE where the value is TRUE, FALSE where it is FALSE or NULL.
fn known_true(array: &BooleanArray) -> BooleanArray {
    match array.nulls() {
        Some(nulls) if nulls.null_count() > 0 => BooleanArray::new(array.values() & nulls.inner(), None),
        _ => BooleanArray::new(array.values().clone(), None),
    }
}

struct Compiler<'a> {
    input: &'a SchemaRef,
    nodes: Vec<Compiled>,
    known: HashMap<String, NodeId>,
}

impl Compiler<'_> {
    fn compile(&mut self, expr: &Expr) -> Result<NodeId, CompileError> {
        // The debug text is a complete picture of an expression, types included.
        let key = format!("{expr:?}");
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let mut shared = true;
        let arrow_type = expr.data_type().logical.to_arrow();
        let (node, mut lazy) = match expr {
            Expr::Column { index, .. } => {
                let actual = self.input.fields().get(*index).map(|field| field.data_type());
                if actual != Some(&arrow_type) {
                    return Err(CompileError::ColumnMismatch {
                        index: *index,
                        planned: arrow_type.to_string(),
                        actual: actual.map_or_else(|| "no such column".to_owned(), ToString::to_string),
                    });
                }
                (Node::Column(*index), false)
            }
            Expr::Literal { value, data_type } => (Node::Literal(literal_array(value, &data_type.logical)?), false),
            Expr::Cast { input, data_type, try_cast } => {
                let from = &input.data_type().logical;
                let padded = match input.as_ref() {
                    Expr::Cast { input: inner, .. } => {
                        compile_padded_text(&inner.data_type().logical, from, &data_type.logical)
                            .map(|kernel| (kernel, inner))
                    }
                    _ => None,
                };
                if let Some((kernel, inner)) = padded {
                    let input = self.compile(inner)?;
                    let lazy = self.nodes[input].lazy;
                    let id = self.nodes.len();
                    self.nodes.push(Compiled { node: Node::Cast { kernel, input }, lazy, arrow_type });
                    self.known.insert(key, id);
                    return Ok(id);
                }
                let (kernel, can_fail) = compile_cast(from, &data_type.logical, *try_cast)?;
                (Node::Cast { kernel, input: self.compile(input)? }, can_fail)
            }
            Expr::Case { branches, otherwise, .. } => {
                let branches = branches
                    .iter()
                    .map(|(when, then)| Ok((self.compile(when)?, self.compile(then)?)))
                    .collect::<Result<_, CompileError>>()?;
                let otherwise = otherwise.as_ref().map(|value| self.compile(value)).transpose()?;
                (Node::Case { branches, otherwise, arrow_type: arrow_type.clone() }, false)
            }
            Expr::Call { function, args, data_type } => {
                let ids: Vec<NodeId> = args.iter().map(|arg| self.compile(arg)).collect::<Result<_, _>>()?;
                let Some(entry) = registry::find(&function.name).filter(|_| function.version == 1) else {
                    let (kernel, deterministic) = own_kernel(function)?;
                    shared = deterministic;
                    // Nobody knows what it costs and for which values it fails.
                    let node = Node::Call { kernel, args: ids, per_row: !deterministic };
                    return Ok(self.add(Compiled { node, lazy: true, arrow_type }, shared.then_some(key)));
                };
                match (entry.name, ids.as_slice()) {
                    ("AND" | "OR", [left, right]) => {
                        (Node::Logic { left: *left, right: *right, decides: entry.name == "OR" }, false)
                    }
                    ("COALESCE", [_, ..]) => (Node::Coalesce { args: ids, arrow_type: arrow_type.clone() }, false),
                    _ => {
                        let kernel = (entry.compile)(&CallSite { args, data_type })?;
                        let per_row = entry.volatility == Volatility::Row;
                        shared = !per_row;
                        let costly = matches!(entry.category, Category::Regex | Category::Json | Category::Hash);
                        let fails = entry.can_fail && !always_works(entry.name, args);
                        (Node::Call { kernel, args: ids, per_row }, fails || costly)
                    }
                }
            }
        };
        lazy |= self.inputs(&node).iter().any(|input| self.nodes[*input].lazy);
        Ok(self.add(Compiled { node, lazy, arrow_type }, shared.then_some(key)))
    }

    /// Adds a node, which is found again under its key.
    fn add(&mut self, node: Compiled, key: Option<String>) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(node);
        if let Some(key) = key {
            self.known.insert(key, id);
        }
        id
    }

    fn inputs(&self, node: &Node) -> Vec<NodeId> {
        match node {
            Node::Column(_) | Node::Literal(_) => Vec::new(),
            Node::Call { args, .. } | Node::Coalesce { args, .. } => args.clone(),
            Node::Cast { input, .. } => vec![*input],
            Node::Logic { left, right, .. } => vec![*left, *right],
            Node::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(when, then)| [*when, *then]).chain(*otherwise).collect()
            }
        }
    }
}

/// A function of the user's own, and whether it gives the same for the same arguments.
fn own_kernel(id: &FunctionId) -> Result<(Kernel, bool), CompileError> {
    let unknown = || CompileError::UnknownFunction { name: id.name.to_string(), version: id.version };
    let function = own::functions().get(id).ok_or_else(unknown)?;
    let own::Kind::Scalar { kernel, deterministic, .. } = &function.kind else { return Err(unknown()) };
    let evaluate = move |values: &[Value], frame: &Frame<'_>| {
        let args: Vec<own::Argument<'_>> =
            values.iter().map(|value| own::Argument { array: value.array(), constant: value.is_scalar() }).collect();
        kernel.evaluate(&args, frame.rows).map_err(EvalError::new)
    };
    Ok((Box::new(evaluate), *deterministic))
}

/// A division by a constant that is not zero does not fail.
fn always_works(name: &str, args: &[Expr]) -> bool {
    matches!(name, "/" | "%")
        && args.len() == 2
        && (!args[0].data_type().logical.is_integer()
            || crate::bind::literal_integer(&args[1]).is_some_and(|divisor| divisor != 0))
        && !matches!(args[1].data_type().logical, tidemill_common::types::LogicalType::Decimal(..))
}

/// The evaluation of one batch, or of some of its rows.
struct State<'a> {
    program: &'a Program,
    columns: RefCell<Vec<Option<ArrayRef>>>,
    rows: usize,
    context: &'a EvalContext,
    cache: RefCell<Vec<Option<Value>>>,
    /// Where these rows were taken from.
    parent: Option<(&'a State<'a>, &'a BooleanArray)>,
}

impl<'a> State<'a> {
    fn new(program: &'a Program, columns: Vec<ArrayRef>, rows: usize, context: &'a EvalContext) -> Self {
        Self {
            program,
            columns: RefCell::new(columns.into_iter().map(Some).collect()),
            rows,
            context,
            cache: RefCell::new(vec![None; program.nodes.len()]),
            parent: None,
        }
    }

    /// The rows of `mask` only; columns are taken when they are read.
    fn of_rows<'b>(&'b self, mask: &'b BooleanArray) -> State<'b>
    where
        'a: 'b,
    {
        State {
            program: self.program,
            columns: RefCell::new(vec![None; self.columns.borrow().len()]),
            rows: mask.true_count(),
            context: self.context,
            cache: RefCell::new(vec![None; self.program.nodes.len()]),
            parent: Some((self, mask)),
        }
    }

    fn column(&self, index: usize) -> Result<ArrayRef, EvalError> {
        if let Some(Some(column)) = self.columns.borrow().get(index) {
            return Ok(column.clone());
        }
        let Some((parent, mask)) = self.parent else {
            return Err(EvalError::new(format!("a batch has no column {index}")));
        };
        let column = compute::filter(&parent.column(index)?, mask)?;
        self.columns.borrow_mut()[index] = Some(column.clone());
        Ok(column)
    }

    fn cached(&self, id: NodeId) -> Result<Option<Value>, EvalError> {
        if let Some(value) = &self.cache.borrow()[id] {
            return Ok(Some(value.clone()));
        }
        match self.parent {
            Some((parent, mask)) => match parent.cached(id)? {
                Some(value) => Ok(Some(value.filter(mask)?)),
                None => Ok(None),
            },
            None => Ok(None),
        }
    }

    fn eval(&self, id: NodeId) -> Result<Value, EvalError> {
        match &self.program.nodes[id].node {
            Node::Column(index) => return Ok(Value::Array(self.column(*index)?)),
            Node::Literal(array) => return Ok(Value::Scalar(array.clone())),
            _ => {}
        }
        if let Some(value) = self.cached(id)? {
            return Ok(value);
        }
        let value = self.compute(id)?;
        self.cache.borrow_mut()[id] = Some(value.clone());
        Ok(value)
    }

    fn compute(&self, id: NodeId) -> Result<Value, EvalError> {
        match &self.program.nodes[id].node {
            Node::Column(index) => Ok(Value::Array(self.column(*index)?)),
            Node::Literal(array) => Ok(Value::Scalar(array.clone())),
            Node::Call { kernel, args, per_row } => {
                let args: Vec<Value> = args.iter().map(|arg| self.eval(*arg)).collect::<Result<_, _>>()?;
                self.run(kernel, &args, *per_row)
            }
            Node::Cast { kernel, input } => {
                let input = self.eval(*input)?;
                self.run(kernel, &[input], false)
            }
            Node::Logic { left, right, decides } => self.logic(*left, *right, *decides),
            Node::Case { branches, otherwise, arrow_type } => self.case(branches, *otherwise, arrow_type),
            Node::Coalesce { args, arrow_type } => self.coalesce(args, arrow_type),
        }
    }

    fn run(&self, kernel: &Kernel, args: &[Value], per_row: bool) -> Result<Value, EvalError> {
        // No rows: nothing may fail, and scalars need not be looked at.
        if !per_row && args.iter().all(Value::is_scalar) {
            return Ok(Value::Scalar(kernel(args, &Frame { rows: 1, context: self.context })?));
        }
        Ok(Value::Array(kernel(args, &Frame { rows: self.rows, context: self.context })?))
    }

    fn lazy(&self, id: NodeId) -> bool {
        self.program.nodes[id].lazy
    }

    /// Evaluates a node for the rows of `mask`: its values, compacted to those rows.
    fn eval_where(&self, id: NodeId, mask: &BooleanArray) -> Result<Value, EvalError> {
        let rows = mask.true_count();
        if rows == self.rows {
            return self.eval(id);
        }
        if rows == 0 {
            return Ok(Value::Array(new_null_array(&self.program.nodes[id].arrow_type, 0)));
        }
        self.of_rows(mask).eval(id)
    }

    fn logic(&self, left: NodeId, right: NodeId, decides: bool) -> Result<Value, EvalError> {
        let combine = |left: &BooleanArray, right: &BooleanArray| {
            if decides { compute::or_kleene(left, right) } else { compute::and_kleene(left, right) }
        };
        let left = self.eval(left)?;
        if let Value::Scalar(array) = &left
            && array.is_valid(0)
            && array.as_boolean().value(0) == decides
        {
            return Ok(left);
        }
        let left = left.into_array(self.rows)?;
        let left = left.as_boolean();
        // Where the left side does not decide, the right side is needed.
        let decided = if decides { left.values().clone() } else { !left.values() };
        let decided = match left.nulls() {
            Some(nulls) => &decided & nulls.inner(),
            None => decided,
        };
        let open = BooleanArray::new(!&decided, None);
        let open_rows = open.true_count();
        if open_rows == 0 && self.rows > 0 {
            return Ok(Value::Array(Arc::new(left.clone())));
        }
        if !self.lazy(right) || open_rows == self.rows {
            let right = self.eval(right)?.into_array(self.rows)?;
            return Ok(Value::Array(Arc::new(combine(left, right.as_boolean())?)));
        }
        let right = self.eval_where(right, &open)?.into_array(open_rows)?;
        let right = compute::take(&right, &spread(&open), None)?;
        Ok(Value::Array(Arc::new(combine(left, right.as_boolean())?)))
    }

    fn coalesce(&self, args: &[NodeId], arrow_type: &ArrowType) -> Result<Value, EvalError> {
        let mut merge = Merge::new(self.rows);
        let mut open: Option<BooleanArray> = None;
        for arg in args {
            let (value, mask) = match &open {
                Some(mask) if self.lazy(*arg) => {
                    (self.eval_where(*arg, mask)?.into_array(mask.true_count())?, Some(mask))
                }
                _ => (self.eval(*arg)?.into_array(self.rows)?, None),
            };
            if open.is_none() && value.logical_null_count() == 0 {
                return Ok(Value::Array(value));
            }
            let value = match mask {
                Some(mask) => compute::take(&value, &spread(mask), None)?,
                None => value,
            };
            let valid = compute::is_not_null(&value)?;
            let taken = match &open {
                Some(open) => open.values() & valid.values(),
                None => valid.values().clone(),
            };
            let rest = match &open {
                Some(open) => open.values() & &!&taken,
                None => !&taken,
            };
            merge.take(value, &taken, false);
            let done = rest.count_set_bits() == 0;
            open = Some(BooleanArray::new(rest, None));
            if done {
                break;
            }
        }
        merge.finish(arrow_type)
    }

    fn case(
        &self,
        branches: &[(NodeId, NodeId)],
        otherwise: Option<NodeId>,
        arrow_type: &ArrowType,
    ) -> Result<Value, EvalError> {
        let mut merge = Merge::new(self.rows);
        let mut open = BooleanArray::new(BooleanBuffer::new_set(self.rows), None);
        for (when, then) in branches {
            let condition = if self.lazy(*when) && open.true_count() < self.rows {
                let compact = self.eval_where(*when, &open)?.into_array(open.true_count())?;
                compute::take(&compact, &spread(&open), None)?
            } else {
                self.eval(*when)?.into_array(self.rows)?
            };
            let taken = open.values() & known_true(condition.as_boolean()).values();
            let count = taken.count_set_bits();
            if count == 0 {
                continue;
            }
            open = BooleanArray::new(open.values() & &!&taken, None);
            self.branch(&mut merge, *then, taken)?;
            if open.true_count() == 0 {
                break;
            }
        }
        if let Some(otherwise) = otherwise
            && open.true_count() > 0
        {
            self.branch(&mut merge, otherwise, open.values().clone())?;
        }
        merge.finish(arrow_type)
    }

    fn branch(&self, merge: &mut Merge, value: NodeId, taken: BooleanBuffer) -> Result<(), EvalError> {
        let mask = BooleanArray::new(taken, None);
        let rows = mask.true_count();
        if self.lazy(value) && rows < self.rows {
            let values = self.eval_where(value, &mask)?.into_array(rows)?;
            merge.take(values, mask.values(), true);
        } else {
            match self.eval(value)? {
                Value::Array(values) => merge.take(values, mask.values(), false),
                Value::Scalar(values) => merge.take_scalar(values, mask.values()),
            }
        }
        Ok(())
    }
}

/// For each row its position among the rows of the mask, or NULL.
fn spread(mask: &BooleanArray) -> UInt32Array {
    let mut next = 0;
    mask.values()
        .iter()
        .map(|set| {
            set.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect()
}

/// A column put together from several, row by row.
struct Merge {
    sources: Vec<ArrayRef>,
    /// Source and row; source 0 is NULL.
    picks: Vec<(usize, usize)>,
}

impl Merge {
    fn new(rows: usize) -> Self {
        Self { sources: Vec::new(), picks: vec![(0, 0); rows] }
    }

    fn take(&mut self, values: ArrayRef, rows: &BooleanBuffer, compact: bool) {
        self.sources.push(values);
        let source = self.sources.len();
        for (position, row) in rows.set_indices().enumerate() {
            self.picks[row] = (source, if compact { position } else { row });
        }
    }

    fn take_scalar(&mut self, value: ArrayRef, rows: &BooleanBuffer) {
        self.sources.push(value);
        let source = self.sources.len();
        for row in rows.set_indices() {
            self.picks[row] = (source, 0);
        }
    }

    fn finish(self, arrow_type: &ArrowType) -> Result<Value, EvalError> {
        let null = new_null_array(arrow_type, 1);
        let sources: Vec<&dyn Array> =
            std::iter::once(null.as_ref()).chain(self.sources.iter().map(AsRef::as_ref)).collect();
        Ok(Value::Array(compute::interleave(&sources, &self.picks)?))
    }
}
