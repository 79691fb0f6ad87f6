//! Table functions, which make rows of the values of a row: `CROSS JOIN UNNEST(...)`, `CROSS JOIN LATERAL
//! TABLE(f(...))`, and with a row of NULLs where there is none `LEFT JOIN ... ON TRUE`.

use std::rc::Rc;

use sqlparser::ast::{
    Expr as Ast, Function as AstFunction, FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, ObjectName,
    ObjectNamePart, Spanned, TableAlias, TableFactor, TableWithJoins,
};
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{JoinKind, TableFunction};
use tidemill_common::types::{DataType, LogicalType};
use tidemill_expr::bind::fold_constants;
use tidemill_expr::own::{BoundTable, bind_table, table_names};

use super::expr::arguments;
use super::{BATCH_HINT, ExprBinder, QueryBinder, Scope, Source, boolean, rename, whole_join};
use crate::diagnostic::SqlError;
use crate::rel::{Column, Rel, RelOp, calc, one_row};

/// `UNNEST(...) [WITH ORDINALITY] [AS alias (column, ...)]`, or a function of the user's own:
/// `[LATERAL] TABLE(f(...)) [AS alias (column, ...)]`.
struct Call<'a> {
    function: Function<'a>,
    alias: Option<&'a TableAlias>,
}

enum Function<'a> {
    Unnest {
        args: &'a [FunctionArg],
        ordinality: bool,
    },
    Own {
        call: &'a AstFunction,
        /// It sees the rows before it.
        lateral: bool,
    },
}

impl<'a> Call<'a> {
    fn of(factor: &'a TableFactor) -> Option<Self> {
        match factor {
            TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
                let function = Function::Unnest { args: &args.args, ordinality: *with_ordinality };
                is_word(name, "UNNEST").then_some(Self { function, alias: alias.as_ref() })
            }
            TableFactor::Function { lateral: true, name, args, with_ordinality: false, alias } => {
                let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Ast::Function(call)))] = args.as_slice() else {
                    return None;
                };
                let function = Function::Own { call, lateral: true };
                is_word(name, "TABLE").then_some(Self { function, alias: alias.as_ref() })
            }
            TableFactor::TableFunction { expr: Ast::Function(call), alias } => {
                let name = call.name.to_string().to_uppercase();
                let function = Function::Own { call, lateral: false };
                table_names().any(|known| known == name).then_some(Self { function, alias: alias.as_ref() })
            }
            _ => None,
        }
    }

    fn alias(&self) -> Option<&str> {
        self.alias.map(|alias| alias.name.value.as_str())
    }
}

fn is_word(name: &ObjectName, word: &str) -> bool {
    matches!(
        name.0.as_slice(),
        [ObjectNamePart::Identifier(name)] if name.quote_style.is_none() && name.value.eq_ignore_ascii_case(word)
    )
}

/// Whether a relation is made of the rows before it.
pub(super) fn is_table_function(factor: &TableFactor) -> bool {
    Call::of(factor).is_some()
}

/// A call whose arguments are typed, with the columns that it makes.
struct Bound {
    function: TableFunction,
    args: Vec<Expr>,
    columns: Vec<(String, DataType)>,
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
        let Some(call) = Call::of(factor) else { return Err(SqlError::on(factor, "expected a table function")) };
        let bound = match &call.function {
            Function::Unnest { args, ordinality } => self.unnest(factor, scope, args, *ordinality)?,
            Function::Own { call, lateral: true } => self.own(scope, call)?,
            Function::Own { call, lateral: false } => self.own(&Scope::default(), call).map_err(|error| {
                let unknown = error.message.starts_with("unknown ");
                if unknown {
                    error.with_hint("write LATERAL TABLE(...) to use columns of the rows before it")
                } else {
                    error
                }
            })?,
        };
        let made: Vec<Column> = bound
            .columns
            .into_iter()
            .map(|(name, data_type)| Column {
                name,
                data_type: if outer { data_type.logical.nullable() } else { data_type },
                time: None,
            })
            .collect();
        let rel = std::mem::replace(&mut source.rel, one_row());
        let made = match call.alias {
            Some(alias) => rename(Rel { op: Rc::new(RelOp::OneRow), columns: made, window: None }, alias)?.columns,
            None => made,
        };
        source.rel = correlated(rel, bound.function, bound.args, &made, outer);
        source.name = None;
        let made = Scope::of(call.alias(), &made);
        *scope = std::mem::take(scope).beside(made);
        Ok(())
    }

    fn unnest(
        &self,
        factor: &TableFactor,
        scope: &Scope,
        args: &[FunctionArg],
        ordinality: bool,
    ) -> Result<Bound, SqlError> {
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = args else {
            return Err(SqlError::on(factor, format!("UNNEST takes 1 argument, not {}", args.len())));
        };
        let bound = fold_constants(ExprBinder::scalar(scope).bind(argument)?, self.mode.zone);
        let columns = unnested(&bound, argument, ordinality)?;
        Ok(Bound { function: TableFunction::Unnest { ordinality }, args: vec![bound], columns })
    }

    fn own(&self, scope: &Scope, call: &AstFunction) -> Result<Bound, SqlError> {
        let (name, span) = (call.name.to_string(), call.name.span());
        let (args, distinct) = arguments(call)?;
        if distinct || call.filter.is_some() || call.over.is_some() {
            return Err(SqlError::at(
                span,
                format!("{name} is no aggregate: it takes neither DISTINCT, FILTER nor OVER"),
            ));
        }
        let bind = |arg: &&FunctionArgExpr| match arg {
            FunctionArgExpr::Expr(arg) => Ok(fold_constants(ExprBinder::scalar(scope).bind(arg)?, self.mode.zone)),
            _ => Err(SqlError::at(span, format!("{name} does not take *"))),
        };
        let args = args.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let BoundTable { id, args, columns } =
            bind_table(&name, args).map_err(|error| SqlError::at(span, error.message))?;
        let columns = columns.into_iter().map(|field| (field.name, field.data_type)).collect();
        Ok(Bound { function: TableFunction::Own(id), args, columns })
    }
}

/// The relation with the columns that a table function makes of arguments.
fn correlated(rel: Rel, function: TableFunction, arguments: Vec<Expr>, made: &[Column], outer: bool) -> Rel {
    let width = rel.columns.len();
    let mut columns = rel.columns.clone();
    columns.extend(made.iter().cloned());
    let window = rel.window.clone();
    // Arguments that are no columns become some, which are not kept.
    let mut projection = rel.all_columns();
    let args = arguments
        .into_iter()
        .map(|argument| match argument {
            Expr::Column { index, .. } => index,
            argument => {
                projection.push(argument);
                projection.len() - 1
            }
        })
        .collect();
    let input = if projection.len() == width {
        rel
    } else {
        let mut names: Vec<String> = rel.columns.iter().map(|column| column.name.clone()).collect();
        names.resize(projection.len(), "$argument".to_owned());
        calc(rel, None, projection, names)
    };
    let op = RelOp::Correlate { input, function, args, kept: (0..width).collect(), outer };
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
