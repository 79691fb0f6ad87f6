//! Expressions: from `sqlparser`'s tree to the typed IR.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DataType as SqlType, DuplicateTreatment, Expr as Ast,
    Function, FunctionArg, FunctionArgExpr, FunctionArguments, InTarget, Interval, Spanned, Subscript, TrimWhereField,
    UnaryOperator, Value,
};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::limits::{EXPR_PARTS_MAX, SQL_DEPTH_MAX, TYPE_DEPTH_MAX};
use tidemill_common::plan::AggregateCall;
use tidemill_common::suggest::nearest;
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::{
    BindError, bind_aggregate, bind_call, bind_case, bind_cast, bind_field, coerce, fold_constants, is_aggregate,
    literal_interval, literal_number, literal_string, literal_typed,
};
use tidemill_expr::own::callable_names;

use super::BATCH_HINT;
use super::grouping::bind_grouping;
use super::scope::Scope;
use super::subquery::SubqueryValues;
use crate::diagnostic::SqlError;
use crate::dialect::{symmetric, types};
use crate::rel::Size;

/// Column indices from here on stand for aggregate calls while a SELECT list is bound.
pub(super) const AGGREGATE_BASE: usize = 1 << 24;

/// An aggregate call found in a SELECT list or HAVING, over the columns below the aggregation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundCall {
    pub args: Vec<Expr>,
    pub filter: Option<Expr>,
    /// `args` and `filter` of it are filled in when the arguments have become columns.
    pub call: AggregateCall,
}

/// Binds expressions over one scope.
pub struct ExprBinder<'a> {
    scope: &'a Scope,
    /// `Some` where aggregates may stand.
    aggregates: Option<&'a mut Vec<BoundCall>>,
    /// What is selected, by name, where that comes before the columns of the scope.
    selected: &'a [(String, Expr)],
    /// `Some` where subqueries may stand.
    subqueries: Option<&'a dyn SubqueryValues>,
    depth: usize,
}

impl<'a> ExprBinder<'a> {
    /// For places where no aggregate may stand.
    pub fn scalar(scope: &'a Scope) -> Self {
        Self { scope, aggregates: None, selected: &[], subqueries: None, depth: 0 }
    }

    /// For SELECT lists and HAVING: aggregate calls are collected, and stand in the expression as
    /// columns from [`AGGREGATE_BASE`] on.
    pub(super) fn with_aggregates(scope: &'a Scope, aggregates: &'a mut Vec<BoundCall>) -> Self {
        Self { scope, aggregates: Some(aggregates), selected: &[], subqueries: None, depth: 0 }
    }

    /// For ORDER BY: a name of what is selected means that.
    pub(super) fn selected(self, selected: &'a [(String, Expr)]) -> Self {
        Self { selected, ..self }
    }

    /// For places where subqueries may stand.
    pub(super) fn subqueries(self, subqueries: &'a dyn SubqueryValues) -> Self {
        self.known(Some(subqueries))
    }

    /// The same, if they may.
    pub(super) fn known(self, subqueries: Option<&'a dyn SubqueryValues>) -> Self {
        Self { subqueries, ..self }
    }

    /// Whether aggregates may stand where this binds.
    pub(super) fn takes_aggregates(&self) -> bool {
        self.aggregates.is_some()
    }

    /// Binds an expression.
    pub fn bind(&mut self, ast: &Ast) -> Result<Expr, SqlError> {
        self.depth += 1;
        if self.depth > SQL_DEPTH_MAX {
            return Err(SqlError::on(ast, format!("nested more than {SQL_DEPTH_MAX} levels deep")));
        }
        let bound = self.bind_inner(ast);
        self.depth -= 1;
        let bound = bound.map_err(|error| error.or_at(ast.span()))?;
        // BETWEEN, NULLIF and others repeat their operands, so that nesting them doubles.
        if !Size::of(&bound).allowed() {
            return Err(SqlError::on(ast, format!("the expression has more than {EXPR_PARTS_MAX} parts")));
        }
        if type_depth(&bound.data_type().logical) > TYPE_DEPTH_MAX {
            return Err(SqlError::on(ast, format!("the type nests more than {TYPE_DEPTH_MAX} levels deep")));
        }
        Ok(bound)
    }

    fn bind_inner(&mut self, ast: &Ast) -> Result<Expr, SqlError> {
        match ast {
            Ast::Identifier(name) => match self.selected.iter().find(|(known, _)| *known == name.value) {
                Some((_, selected)) => Ok(selected.clone()),
                None => self.scope.resolve(std::slice::from_ref(name)),
            },
            Ast::CompoundIdentifier(parts) => self.scope.resolve(parts),
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Ast::Nested(inner) => self.bind(inner),
            Ast::Value(value) => literal(&value.value).map_err(|error| error.or_at(value.span)),
            Ast::TypedString(typed) => {
                let keyword = match &typed.data_type {
                    SqlType::Date => "DATE",
                    SqlType::Time(..) => "TIME",
                    SqlType::Timestamp(..) => "TIMESTAMP",
                    other => return Err(SqlError::on(ast, format!("literals of type {other} do not exist"))),
                };
                let Value::SingleQuotedString(text) = &typed.value.value else {
                    return Err(SqlError::on(ast, format!("expected {keyword} '...'")));
                };
                literal_typed(keyword, text).map_err(|error| at(typed.value.span, error))
            }
            Ast::Interval(interval) => interval_literal(interval).map_err(|error| error.or_at(ast.span())),
            Ast::UnaryOp { op, expr } => {
                if let (UnaryOperator::Minus, Ast::Value(value)) = (op, &**expr)
                    && let Value::Number(digits, _) = &value.value
                {
                    return literal_number(&format!("-{digits}")).map_err(|error| at(value.span, error));
                }
                let operand = self.bind(expr)?;
                match op {
                    UnaryOperator::Plus => Ok(operand),
                    UnaryOperator::Minus => call("NEGATE", vec![operand]),
                    UnaryOperator::Not => call("NOT", vec![operand]),
                    other => Err(SqlError::on(ast, format!("operator '{other}' does not exist in Flink SQL"))),
                }
            }
            Ast::BinaryOp { op: op @ BinaryOperator::And, .. } => self.chain("AND", op, ast),
            Ast::BinaryOp { op: op @ BinaryOperator::Or, .. } => self.chain("OR", op, ast),
            Ast::BinaryOp { left, op, right } => {
                let name = match op {
                    BinaryOperator::Plus => "+",
                    BinaryOperator::Minus => "-",
                    BinaryOperator::Multiply => "*",
                    BinaryOperator::Divide => "/",
                    BinaryOperator::Modulo => "%",
                    BinaryOperator::StringConcat => "||",
                    BinaryOperator::Gt => ">",
                    BinaryOperator::Lt => "<",
                    BinaryOperator::GtEq => ">=",
                    BinaryOperator::LtEq => "<=",
                    BinaryOperator::Eq => "=",
                    BinaryOperator::NotEq => "<>",
                    BinaryOperator::Overlaps => return self.overlaps(left, right),
                    other => return Err(SqlError::on(ast, format!("operator '{other}' does not exist in Flink SQL"))),
                };
                self.call(name, [&**left, right])
            }
            Ast::IsNull(e) => self.call("IS NULL", [&**e]),
            Ast::IsNotNull(e) => self.call("IS NOT NULL", [&**e]),
            Ast::IsTrue(e) => self.call("IS TRUE", [&**e]),
            Ast::IsNotTrue(e) => self.call("IS NOT TRUE", [&**e]),
            Ast::IsFalse(e) => self.call("IS FALSE", [&**e]),
            Ast::IsNotFalse(e) => self.call("IS NOT FALSE", [&**e]),
            Ast::IsUnknown(e) => self.call("IS UNKNOWN", [&**e]),
            Ast::IsNotUnknown(e) => self.call("IS NOT UNKNOWN", [&**e]),
            Ast::IsJson { expr, kind, unique_keys: None, negated } => {
                let kind = kind.as_ref().map(ToString::to_string).filter(|kind| kind != "VALUE");
                let name = kind.map_or_else(|| "IS JSON".to_owned(), |kind| format!("IS JSON {kind}"));
                let found = self.call(&name, [&**expr])?;
                if *negated { call("NOT", vec![found]) } else { Ok(found) }
            }
            Ast::IsDistinctFrom(a, b) => self.call("IS DISTINCT FROM", [&**a, b]),
            Ast::IsNotDistinctFrom(a, b) => self.call("IS NOT DISTINCT FROM", [&**a, b]),
            Ast::Between { expr, negated, low, high } => {
                if let Some(low) = symmetric(low) {
                    let found = self.call("BETWEEN SYMMETRIC", [&**expr, &low, high])?;
                    return if *negated { call("NOT", vec![found]) } else { Ok(found) };
                }
                self.call(if *negated { "NOT BETWEEN" } else { "BETWEEN" }, [&**expr, low, high])
            }
            Ast::Subquery(_) | Ast::Exists { .. } | Ast::In { target: InTarget::Subquery(_), .. }
                if self.subqueries.is_some() =>
            {
                let Some(subqueries) = self.subqueries else { return Err(SqlError::on(ast, "no subquery")) };
                subqueries.value(ast, self.scope)
            }
            Ast::In { expr, target, negated, .. } => match target {
                InTarget::List(list) => {
                    let needle = self.bind(expr)?;
                    let items = list.iter().map(|item| self.bind(item)).collect::<Result<Vec<_>, _>>()?;
                    let found = in_list(&needle, items)?;
                    if *negated { call("NOT", vec![found]) } else { Ok(found) }
                }
                _ if *negated => Err(SqlError::on(ast, "NOT IN with a subquery is not supported yet")
                    .with_hint(format!("write NOT EXISTS (SELECT * ... WHERE ...) over the window; {BATCH_HINT}"))),
                _ => Err(SqlError::on(ast, "IN with a subquery is not supported here yet").with_hint(format!(
                    "on streams it may stand in WHERE, joined to other conditions by AND, of a query over a window; {BATCH_HINT}"
                ))),
            },
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like("LIKE", *negated, expr, pattern, escape_char.as_deref())
            }
            Ast::SimilarTo { negated, expr, pattern, escape_char } => {
                self.like("SIMILAR TO", *negated, expr, pattern, escape_char.as_deref())
            }
            Ast::Cast { kind, expr, data_type, format } => {
                if format.is_some() {
                    return Err(SqlError::on(ast, "CAST with FORMAT does not exist in Flink SQL"));
                }
                let input = self.bind(expr)?;
                let target = types::convert(data_type)?;
                let try_cast = matches!(kind, CastKind::TryCast);
                bind_cast(input, target, try_cast).map_err(|error| at(ast.span(), error))
            }
            Ast::Case { operand, conditions, else_result, .. } => {
                let mut branches = Vec::with_capacity(conditions.len());
                for when in conditions {
                    let mut condition = self.bind(&when.condition)?;
                    if let Some(operand) = operand {
                        let operand = self.bind(operand)?;
                        condition =
                            call("=", vec![operand, condition]).map_err(|error| error.or_at(when.condition.span()))?;
                    }
                    branches.push((condition, self.bind(&when.result)?));
                }
                let otherwise = else_result.as_ref().map(|value| self.bind(value)).transpose()?;
                bind_case(branches, otherwise).map_err(|error| at(ast.span(), error))
            }
            Ast::Extract { field, expr, .. } => {
                let value = self.bind(expr)?;
                call("EXTRACT", vec![literal_string(&field.to_string().to_uppercase()), value])
            }
            Ast::Ceil { expr, field } => self.floor("CEIL", expr, field),
            Ast::Floor { expr, field } => self.floor("FLOOR", expr, field),
            Ast::Position { expr, r#in } => self.call("POSITION", [&**expr, r#in]),
            Ast::Substring { expr, substring_from, substring_for, .. } => {
                let args = std::iter::once(&**expr).chain(substring_from.as_deref()).chain(substring_for.as_deref());
                self.call("SUBSTRING", args)
            }
            Ast::Trim { trim_where, trim_what, expr, trim_characters } => {
                if trim_characters.is_some() {
                    return Err(SqlError::on(ast, "write TRIM(BOTH '...' FROM text)"));
                }
                let text = self.bind(expr)?;
                if trim_where.is_none() && trim_what.is_none() {
                    return call("TRIM", vec![text]);
                }
                let side = match trim_where {
                    Some(TrimWhereField::Leading) => "LEADING",
                    Some(TrimWhereField::Trailing) => "TRAILING",
                    _ => "BOTH",
                };
                let what = trim_what.as_ref().map_or_else(|| Ok(literal_string(" ")), |what| self.bind(what))?;
                call("TRIM", vec![literal_string(side), what, text])
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let args = [&**expr, &**overlay_what, &**overlay_from].into_iter().chain(overlay_for.as_deref());
                self.call("OVERLAY", args)
            }
            Ast::Array(array) => self.call("ARRAY", &array.elem),
            Ast::Tuple(values) => self.call("ROW", values),
            Ast::Function(function) => self.function(function),
            Ast::Subquery(_) | Ast::Exists { .. } => {
                Err(SqlError::on(ast, "a subquery as a value is not supported here yet").with_hint(format!(
                    "in batch mode it may stand in SELECT, WHERE, HAVING and ORDER BY; {BATCH_HINT}"
                )))
            }
            Ast::AtTimeZone { .. } => Err(SqlError::on(ast, "AT TIME ZONE does not exist in Flink SQL")
                .with_hint("use CONVERT_TZ, or CAST with the session zone")),
            other => Err(SqlError::on(other, format!("'{other}' is not supported"))),
        }
    }

    fn call<'b>(&mut self, name: &str, args: impl IntoIterator<Item = &'b Ast>) -> Result<Expr, SqlError> {
        let args = args.into_iter().map(|arg| self.bind(arg)).collect::<Result<Vec<_>, _>>()?;
        call(name, args)
    }

    /// `a AND b AND c ...`, which nests to the left: long chains become balanced trees, as programs
    /// write hundreds of conditions. The order of evaluation stays.
    fn chain(&mut self, name: &str, op: &BinaryOperator, ast: &Ast) -> Result<Expr, SqlError> {
        let mut operands = Vec::new();
        let mut rest = ast;
        while let Ast::BinaryOp { left, op: next, right } = rest
            && next == op
        {
            operands.push(&**right);
            rest = left;
        }
        operands.push(rest);
        let operands = operands.into_iter().rev().map(|operand| self.bind(operand)).collect::<Result<Vec<_>, _>>()?;
        balanced(name, operands)
    }

    fn like(
        &mut self,
        name: &str,
        negated: bool,
        text: &Ast,
        pattern: &Ast,
        escape: Option<&Ast>,
    ) -> Result<Expr, SqlError> {
        let mut args = vec![self.bind(text)?, self.bind(pattern)?];
        if let Some(escape) = escape {
            args.push(self.bind(escape)?);
        }
        let found = call(name, args)?;
        if negated { call("NOT", vec![found]) } else { Ok(found) }
    }

    /// `(start, end) OVERLAPS (start, end)`, where an end may be an interval and the order is free.
    fn overlaps(&mut self, left: &Ast, right: &Ast) -> Result<Expr, SqlError> {
        let mut period = |ast: &Ast| -> Result<(Expr, Expr), SqlError> {
            let Ast::Tuple(parts) = ast else { return Err(SqlError::on(ast, "OVERLAPS takes two pairs (start, end)")) };
            let [start, end] = parts.as_slice() else {
                return Err(SqlError::on(ast, "OVERLAPS takes two pairs (start, end)"));
            };
            let start = self.bind(start)?;
            let mut end = self.bind(end)?;
            if matches!(end.data_type().logical, LogicalType::IntervalDaySecond | LogicalType::IntervalYearMonth) {
                end = call("+", vec![start.clone(), end])?;
            }
            let in_order = call("<=", vec![start.clone(), end.clone()])?;
            let pick = |first: &Expr, second: &Expr| {
                bind_case(vec![(in_order.clone(), first.clone())], Some(second.clone()))
                    .map_err(|error| SqlError::general(error.message))
            };
            Ok((pick(&start, &end)?, pick(&end, &start)?))
        };
        let ((start, end), (other_start, other_end)) = (period(left)?, period(right)?);
        let first = call(">=", vec![end, other_start])?;
        let second = call(">=", vec![other_end, start])?;
        call("AND", vec![first, second])
    }

    fn floor(&mut self, name: &str, value: &Ast, field: &CeilFloorKind) -> Result<Expr, SqlError> {
        use sqlparser::ast::DateTimeField;
        let value = self.bind(value)?;
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => call(name, vec![value]),
            CeilFloorKind::DateTimeField(unit) => {
                call(name, vec![value, literal_string(&unit.to_string().to_uppercase())])
            }
            CeilFloorKind::Scale(scale) => {
                Err(SqlError::at(scale.span, format!("{name} takes no scale")).with_hint("use ROUND or TRUNCATE"))
            }
        }
    }

    fn access(&mut self, root: &Ast, chain: &[AccessExpr]) -> Result<Expr, SqlError> {
        // `t.a[1]`: the parser hands over `t` and `.a[1]`; the leading names are resolved together.
        let mut names = match root {
            Ast::Identifier(name) => vec![name.clone()],
            Ast::CompoundIdentifier(names) => names.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain;
        if !names.is_empty() {
            while let [AccessExpr::Dot(Ast::Identifier(name)), tail @ ..] = rest {
                names.push(name.clone());
                rest = tail;
            }
        }
        let mut value = if names.is_empty() { self.bind(root)? } else { self.scope.resolve(&names)? };
        for access in rest {
            value = match access {
                AccessExpr::Dot(Ast::Identifier(field)) => {
                    bind_field(value, &field.value).map_err(|error| at(field.span, error))?
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let index = self.bind(index)?;
                    call("ITEM", vec![value, index])?
                }
                other => return Err(SqlError::on(root, format!("'{other}' is not supported"))),
            };
        }
        Ok(value)
    }

    fn function(&mut self, function: &Function) -> Result<Expr, SqlError> {
        let name = function.name.to_string().to_uppercase();
        let span = function.name.span();
        if function.over.is_some() {
            return Err(SqlError::at(span, "OVER windows are not supported yet"));
        }
        let (args, distinct) = arguments(function)?;
        if matches!(name.as_str(), "GROUPING" | "GROUPING_ID") {
            return bind_grouping(self, function);
        }
        if let Some(column) = self.scope.auxiliary(&name, function)? {
            return Ok(column);
        }
        if is_aggregate(&name) {
            return self.aggregate(function, &name, &args, distinct);
        }
        if distinct || function.filter.is_some() {
            return Err(SqlError::at(span, format!("{name} is no aggregate: it takes neither DISTINCT nor FILTER")));
        }
        let mut bound = Vec::with_capacity(args.len());
        for (index, arg) in args.iter().enumerate() {
            let FunctionArgExpr::Expr(arg) = arg else {
                return Err(SqlError::at(span, format!("{name} does not take *")));
            };
            // The unit of TIMESTAMPADD(HOUR, ...) is a word, not a column.
            let unit = matches!(name.as_str(), "TIMESTAMPADD" | "TIMESTAMPDIFF") && index == 0;
            bound.push(match arg {
                Ast::Identifier(word) if unit => literal_string(&word.value.to_uppercase()),
                arg => self.bind(arg)?,
            });
        }
        if let ("TYPEOF", [value, options @ ..]) = (name.as_str(), bound.as_slice()) {
            let text = value.data_type().to_string();
            let whole = match options {
                [] => false,
                [Expr::Literal { value: Scalar::Boolean(whole), .. }] => *whole,
                _ => {
                    return Err(SqlError::at(
                        span,
                        "TYPEOF takes a value, and TRUE for a type that can be written down",
                    ));
                }
            };
            let text = if whole {
                text.replace("STRING", "VARCHAR(2147483647)").replace("BYTES", "VARBINARY(2147483647)")
            } else {
                text
            };
            return Ok(Expr::Literal { value: Scalar::String(text), data_type: LogicalType::STRING.nullable() });
        }
        call(&name, bound).map_err(|error| {
            if error.message.starts_with("unknown function") {
                SqlError::at(span, format!("unknown function '{name}'"))
                    .with_suggestion(nearest(&name, callable_names()))
            } else {
                error.or_at(span)
            }
        })
    }

    fn aggregate(
        &mut self,
        function: &Function,
        name: &str,
        args: &[&FunctionArgExpr],
        distinct: bool,
    ) -> Result<Expr, SqlError> {
        let span = function.name.span();
        if self.aggregates.is_none() {
            return Err(SqlError::at(span, format!("the aggregate {name} may not stand here")));
        }
        let mut inner = ExprBinder {
            scope: self.scope,
            aggregates: None,
            selected: &[],
            subqueries: self.subqueries,
            depth: self.depth,
        };
        let mut bound = Vec::new();
        for arg in args {
            match arg {
                FunctionArgExpr::Expr(arg) => bound.push(inner.bind(arg)?),
                FunctionArgExpr::Wildcard if name == "COUNT" && args.len() == 1 => {}
                _ => return Err(SqlError::at(span, format!("{name} does not take *"))),
            }
        }
        let filter = function.filter.as_ref().map(|filter| inner.bind(filter)).transpose()?;
        let aggregate = bind_aggregate(name, bound, distinct).map_err(|error| at(span, error))?;
        let data_type = aggregate.return_type.clone();
        let call = BoundCall {
            call: AggregateCall {
                function: aggregate.function,
                args: Vec::new(),
                arg_types: aggregate.args.iter().map(|arg| arg.data_type().clone()).collect(),
                distinct,
                filter: None,
                return_type: aggregate.return_type,
            },
            args: aggregate.args,
            filter,
        };
        let Some(calls) = self.aggregates.as_deref_mut() else {
            return Err(SqlError::at(span, format!("the aggregate {name} may not stand here")));
        };
        let index = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        Ok(Expr::column(AGGREGATE_BASE + index, data_type))
    }
}

/// The arguments of a call, and whether DISTINCT stands before them.
pub(super) fn arguments(function: &Function) -> Result<(Vec<&FunctionArgExpr>, bool), SqlError> {
    let span = function.name.span();
    match &function.args {
        FunctionArguments::None => Ok((Vec::new(), false)),
        FunctionArguments::Subquery(_) => Err(SqlError::at(span, "a subquery as an argument is not supported")),
        FunctionArguments::List(list) => {
            if let Some(clause) = list.clauses.first() {
                let text = clause.to_string();
                let word = text.split(' ').next().unwrap_or_default();
                return Err(SqlError::at(
                    span,
                    format!("{word} inside the call of {} is not supported yet", function.name),
                ));
            }
            let args = list
                .args
                .iter()
                .map(|arg| match arg {
                    FunctionArg::Unnamed(arg) => Ok(arg),
                    _ => Err(SqlError::at(span, "named arguments are for window functions")),
                })
                .collect::<Result<_, _>>()?;
            Ok((args, matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct))))
        }
    }
}

/// Operands of a chain from which on it becomes a balanced tree.
const BALANCED_FROM: usize = 9;

fn balanced(name: &str, mut operands: Vec<Expr>) -> Result<Expr, SqlError> {
    if operands.len() <= 1 {
        return operands.pop().ok_or_else(|| SqlError::general(format!("{name} without operands")));
    }
    let split = if operands.len() < BALANCED_FROM { operands.len() - 1 } else { operands.len() / 2 };
    let right = operands.split_off(split);
    call(name, vec![balanced(name, operands)?, balanced(name, right)?])
}

/// Items of IN that are compared one by one, before the comparisons become a balanced tree.
const IN_CHUNK: usize = 64;

/// `needle IN (items)`. Narrower integers take the needle's type, so that one set of values is
/// looked up; what has to be compared one by one does not nest with the length of the list.
fn in_list(needle: &Expr, items: Vec<Expr>) -> Result<Expr, SqlError> {
    let wanted = needle.data_type();
    let widen = |item: Expr| match &item {
        Expr::Literal {
            value: Scalar::TinyInt(_) | Scalar::SmallInt(_) | Scalar::Int(_) | Scalar::BigInt(_), ..
        } if wanted.logical.is_integer() => {
            coerce(item.clone(), wanted).map_or(item, |widened| fold_constants(widened, "UTC"))
        }
        _ => item,
    };
    let items: Vec<Expr> = items.into_iter().map(widen).collect();
    let test = |items: &[Expr]| call("IN", std::iter::once(needle).chain(items).cloned().collect());
    if items.len() <= IN_CHUNK {
        return test(&items);
    }
    let tests = items.chunks(IN_CHUNK).map(test).collect::<Result<Vec<_>, _>>()?;
    if tests.iter().all(|test| matches!(test, Expr::Call { function, .. } if function.name == "IN")) {
        return test(&items);
    }
    balanced("OR", tests)
}

/// Types whose values are compared part by part, if at all.
pub(super) fn is_nested(logical: &LogicalType) -> bool {
    matches!(
        logical,
        LogicalType::Array(_)
            | LogicalType::Map(..)
            | LogicalType::Multiset(_)
            | LogicalType::Row(_)
            | LogicalType::Null
    )
}

/// How deep a type nests.
fn type_depth(logical: &LogicalType) -> usize {
    let below = match logical {
        LogicalType::Array(element) | LogicalType::Multiset(element) => type_depth(&element.logical),
        LogicalType::Map(key, value) => type_depth(&key.logical).max(type_depth(&value.logical)),
        LogicalType::Row(fields) => fields.iter().map(|field| type_depth(&field.data_type.logical)).max().unwrap_or(0),
        _ => 0,
    };
    below + 1
}

fn call(name: &str, args: Vec<Expr>) -> Result<Expr, SqlError> {
    bind_call(name, args).map_err(|error| SqlError::general(error.message))
}

fn at(span: Span, error: BindError) -> SqlError {
    SqlError::at(span, error.message)
}

fn literal(value: &Value) -> Result<Expr, SqlError> {
    match value {
        Value::Number(text, _) => literal_number(text).map_err(|error| SqlError::general(error.message)),
        Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) | Value::NationalStringLiteral(text) => {
            Ok(literal_string(text))
        }
        Value::Boolean(value) => Ok(Expr::literal(Scalar::Boolean(*value), LogicalType::Boolean)),
        Value::Null => Ok(Expr::literal(Scalar::Null, LogicalType::Null)),
        Value::HexStringLiteral(text) => {
            let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let bytes: Option<Vec<u8>> =
                if text.len() % 2 == 0 { (0..text.len()).step_by(2).map(digit).collect() } else { None };
            let bytes =
                bytes.ok_or_else(|| SqlError::general(format!("X'{text}' needs pairs of hexadecimal digits")))?;
            let length = (bytes.len() as u32).max(1);
            Ok(Expr::literal(Scalar::Bytes(bytes), LogicalType::Binary(length)))
        }
        other => Err(SqlError::general(format!("the literal {other} does not exist in Flink SQL"))),
    }
}

/// An interval literal.
pub(super) fn interval_literal(interval: &Interval) -> Result<Expr, SqlError> {
    let (text, negative) = match &*interval.value {
        Ast::Value(value) => (&value.value, false),
        Ast::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Ast::Value(value) => (&value.value, true),
            _ => return Err(SqlError::general("expected INTERVAL '...' unit")),
        },
        _ => return Err(SqlError::general("expected INTERVAL '...' unit")),
    };
    let Value::SingleQuotedString(text) = text else {
        return Err(SqlError::general(format!("expected INTERVAL '{text}' with the number in quotes")));
    };
    let text = if negative { format!("-{text}") } else { text.clone() };
    let Some(from) = &interval.leading_field else {
        return Err(SqlError::general("an interval needs a unit: INTERVAL '5' MINUTE"));
    };
    let from = from.to_string().to_uppercase();
    let to = interval.last_field.as_ref().map(|field| field.to_string().to_uppercase());
    literal_interval(&text, &from, to.as_deref()).map_err(|error| SqlError::general(error.message))
}
