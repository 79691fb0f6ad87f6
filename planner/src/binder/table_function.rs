//! Table functions, which make rows of the values of a row: `CROSS JOIN UNNEST(...)`, and with a row of NULLs
//! where there is none `LEFT JOIN UNNEST(...) ON TRUE`.

use std::rc::Rc;

use sqlparser::ast::{
    Expr as Ast, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, ObjectNamePart, Spanned, TableAlias,
    TableFactor, TableWithJoins,
};
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{JoinKind, TableFunction};
use tidemill_common::types::{DataType, LogicalType};
use tidemill_expr::bind::fold_constants;

use super::{BATCH_HINT, ExprBinder, QueryBinder, Scope, Source, boolean, rename, whole_join};
use crate::diagnostic::SqlError;
use crate::rel::{Column, Rel, RelOp, calc, one_row};

/// `UNNEST(...) [WITH ORDINALITY] [AS alias (column, ...)]`.
struct Call<'a> {
    args: &'a [FunctionArg],
    alias: Option<&'a TableAlias>,
    ordinality: bool,
}

impl<'a> Call<'a> {
    fn of(factor: &'a TableFactor) -> Option<Self> {
        let TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } = factor else { return None };
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
        let known = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("UNNEST");
        known.then(|| Self { args: &args.args, alias: alias.as_ref(), ordinality: *with_ordinality })
    }

    fn alias(&self) -> Option<&str> {
        self.alias.map(|alias| alias.name.value.as_str())
    }
}

/// Whether a relation is made of the rows before it.
pub(super) fn is_table_function(factor: &TableFactor) -> bool {
    Call::of(factor).is_some()
}

impl QueryBinder<'_> {
    /// A table function that begins a FROM clause: of constants.
    pub(super) fn table_function_alone(&mut self, factor: &TableFactor) -> Result<Source, SqlError> {
        let (mut source, mut scope) = (Source { rel: one_row(), name: None }, Scope::default());
        self.correlate(&mut source, &mut scope, factor, false)?;
        source.name = Call::of(factor).and_then(|call| call.alias().map(str::to_owned));
        Ok(source)
    }

    /// The relations behind the first comma of a FROM clause: table functions of those before them.
    pub(super) fn listed(
        &mut self,
        source: &mut Source,
        scope: &mut Scope,
        from: &[TableWithJoins],
    ) -> Result<(), SqlError> {
        for listed in from {
            if !is_table_function(&listed.relation) {
                if !self.mode.batch {
                    return Err(SqlError::on(&listed.relation, "several relations in FROM are not supported yet")
                        .with_hint(format!("two windows can be joined by JOIN ... ON; {BATCH_HINT}")));
                }
                let (right, of_right) = self.relations(listed)?;
                let place = listed.relation.span();
                source.rel = whole_join::join(source.rel.clone(), right.rel, JoinKind::Inner, None, place)?;
                source.name = None;
                *scope = std::mem::take(scope).beside(of_right);
                continue;
            }
            self.correlate(source, scope, &listed.relation, false)?;
            for join in &listed.joins {
                self.join(source, scope, join)?;
            }
        }
        Ok(())
    }

    /// Joins a table function to the rows before it.
    pub(super) fn join_table_function(
        &mut self,
        source: &mut Source,
        scope: &mut Scope,
        join: &Join,
    ) -> Result<(), SqlError> {
        let place = join.relation.span();
        let (outer, constraint) = match &join.join_operator {
            JoinOperator::CrossJoin(constraint) | JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => {
                (false, constraint)
            }
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (true, constraint),
            _ => {
                return Err(SqlError::at(
                    place,
                    "this join has no meaning for rows that are made of those before them",
                )
                .with_hint("CROSS JOIN, or LEFT JOIN ... ON TRUE, which keeps rows of which none are made"));
            }
        };
        self.correlate(source, scope, &join.relation, outer)?;
        let condition = match constraint {
            JoinConstraint::None => return Ok(()),
            JoinConstraint::On(condition) => condition,
            _ => return Err(SqlError::at(place, "a table function is joined with ON, not with USING or NATURAL")),
        };
        let bound =
            boolean(fold_constants(ExprBinder::scalar(scope).bind(condition)?, self.mode.zone), condition.span())?;
        if matches!(bound, Expr::Literal { value: Scalar::Boolean(true), .. }) {
            return Ok(());
        }
        if outer {
            return Err(SqlError::on(condition, "a table function behind LEFT JOIN is ON TRUE, as in Flink")
                .with_hint("ask for more in WHERE"));
        }
        let rel = source.rel.clone();
        let names = rel.columns.iter().map(|column| column.name.clone()).collect();
        let all = rel.all_columns();
        source.rel = calc(rel, Some(bound), all, names);
        Ok(())
    }

    fn correlate(
        &mut self,
        source: &mut Source,
        scope: &mut Scope,
        factor: &TableFactor,
        outer: bool,
    ) -> Result<(), SqlError> {
        let Some(call) = Call::of(factor) else { return Err(SqlError::on(factor, "expected UNNEST(...)")) };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = call.args else {
            return Err(SqlError::on(factor, format!("UNNEST takes 1 argument, not {}", call.args.len())));
        };
        let bound = fold_constants(ExprBinder::scalar(scope).bind(argument)?, self.mode.zone);
        let made = unnested(&bound, argument, call.ordinality)?;
        let made: Vec<Column> = made
            .into_iter()
            .map(|(name, data_type)| Column {
                name,
                data_type: if outer { data_type.logical.nullable() } else { data_type },
                time: None,
            })
            .collect();
        let function = TableFunction::Unnest { ordinality: call.ordinality };
        let rel = std::mem::replace(&mut source.rel, one_row());
        let made = match call.alias {
            Some(alias) => rename(Rel { op: Rc::new(RelOp::OneRow), columns: made, window: None }, alias)?.columns,
            None => made,
        };
        source.rel = correlated(rel, function, bound, &made, outer);
        source.name = None;
        let made = Scope::of(call.alias(), &made);
        *scope = std::mem::take(scope).beside(made);
        Ok(())
    }
}

/// The relation with the columns that a table function of one argument makes of it.
fn correlated(rel: Rel, function: TableFunction, argument: Expr, made: &[Column], outer: bool) -> Rel {
    let width = rel.columns.len();
    let mut columns = rel.columns.clone();
    columns.extend(made.iter().cloned());
    let window = rel.window.clone();
    let (input, arg) = match argument {
        Expr::Column { index, .. } => (rel, index),
        argument => {
            let mut projection = rel.all_columns();
            projection.push(argument);
            let names = rel.columns.iter().map(|column| column.name.clone()).chain(["$argument".to_owned()]).collect();
            (calc(rel, None, projection, names), width)
        }
    };
    let op = RelOp::Correlate { input, function, args: vec![arg], kept: (0..width).collect(), outer };
    Rel { op: Rc::new(op), columns, window }
}

/// The columns that UNNEST makes of a value. Their names are Calcite's.
fn unnested(argument: &Expr, ast: &Ast, ordinality: bool) -> Result<Vec<(String, DataType)>, SqlError> {
    let mut columns = match &argument.data_type().logical {
        LogicalType::Array(element) | LogicalType::Multiset(element) => match &element.logical {
            LogicalType::Row(fields) => fields
                .iter()
                .map(|field| {
                    let nullable = element.nullable || field.data_type.nullable;
                    (field.name.clone(), field.data_type.logical.clone().with_nullable(nullable))
                })
                .collect(),
            _ => vec![("EXPR$0".to_owned(), (**element).clone())],
        },
        LogicalType::Map(key, value) => {
            vec![("KEY".to_owned(), (**key).clone()), ("VALUE".to_owned(), (**value).clone())]
        }
        other => {
            return Err(SqlError::on(ast, format!("UNNEST takes an ARRAY, a MAP or a MULTISET, not {other}")));
        }
    };
    if ordinality {
        columns.push(("ORDINALITY".to_owned(), LogicalType::Int.not_null()));
    }
    Ok(columns)
}
