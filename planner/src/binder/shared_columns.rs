//! `JOIN ... USING (...)` and `NATURAL JOIN`: columns of one name on both sides, which are equal and become one.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::Span;
use tidemill_common::expr::Expr;
use tidemill_common::plan::JoinKind;
use tidemill_common::types::LogicalType;
use tidemill_expr::bind::{bind_call, common_type};

use super::{Scope, Source};
use crate::diagnostic::SqlError;
use crate::rel::{Rel, calc};

/// A column of both sides.
pub(super) struct Shared {
    name: String,
    /// Over the left.
    left: Expr,
    /// Over the right.
    right: Expr,
    place: Span,
}

impl Shared {
    fn of(name: &Ident, left: &Scope, right: &Scope, place: Span) -> Result<Self, SqlError> {
        let on = |scope: &Scope| {
            scope.resolve(std::slice::from_ref(name)).map_err(|error| SqlError { span: Some(place), ..error })
        };
        Ok(Self { name: name.value.clone(), left: on(left)?, right: on(right)?, place })
    }

    /// That both are equal, over the columns of both sides.
    pub fn equal(&self, width: usize) -> Result<Expr, SqlError> {
        let right = self.right.map_columns(&mut |at, data_type| Expr::column(at + width, data_type.clone()));
        let types = [self.left.data_type().clone(), right.data_type().clone()];
        let (left_type, right_type) = (types[0].clone(), types[1].clone());
        bind_call("=", vec![self.left.clone(), right]).ok().filter(|_| common_type(&types).is_some()).ok_or_else(|| {
            let message = format!("column '{}' is {left_type} on the left and {right_type} on the right", self.name);
            SqlError::at(self.place, message).with_hint("cast one of them in a subquery")
        })
    }
}

impl Shared {
    /// What both sides have in common: COALESCE(left, right), as a plain column where that is the same, so that
    /// windows and time attributes are known.
    fn value(&self, rel: &Rel, kind: JoinKind, width: usize) -> Result<Expr, SqlError> {
        let of = |expr: &Expr, shift: usize| {
            expr.map_columns(&mut |at, data_type| match rel.columns.get(at + shift) {
                Some(column) => Expr::column(at + shift, column.data_type.clone()),
                None => Expr::column(at + shift, data_type.clone()),
            })
        };
        let (left, right) = (of(&self.left, 0), of(&self.right, width));
        let (left_type, right_type) = (left.data_type(), right.data_type());
        // 0.0 is equal to -0.0.
        let exact = !matches!(left_type.logical, LogicalType::Float | LogicalType::Double);
        if left_type.logical == right_type.logical {
            match kind {
                JoinKind::Inner if !left_type.nullable || right_type.nullable => return Ok(left),
                JoinKind::Inner if exact => return Ok(right),
                JoinKind::Left => return Ok(left),
                JoinKind::Right if exact => return Ok(right),
                _ => {}
            }
        }
        bind_call("COALESCE", vec![left, right]).map_err(|error| SqlError::at(self.place, error.message))
    }
}

/// The columns that USING names.
pub(super) fn using(names: &[ObjectName], left: &Scope, right: &Scope, place: Span) -> Result<Vec<Shared>, SqlError> {
    let mut shared: Vec<Shared> = Vec::new();
    for name in names {
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else {
            return Err(SqlError::on(name, "USING takes plain names of columns"));
        };
        let place = if name.span.start.line > 0 { name.span } else { place };
        for (scope, side) in [(left, "left"), (right, "right")] {
            if !scope.has(&name.value) {
                let names = scope.plain_names();
                let near = tidemill_common::suggest::nearest(&name.value, names.iter().map(String::as_str));
                return Err(SqlError::at(place, format!("the {side} of the join has no column '{}'", name.value))
                    .with_suggestion(near));
            }
        }
        // A name may stand twice, as in Flink.
        if shared.iter().all(|known| known.name != name.value) {
            shared.push(Shared::of(name, left, right, place)?);
        }
    }
    Ok(shared)
}

/// The columns that both sides have. There may be none.
pub(super) fn natural(left: &Scope, right: &Scope, place: Span) -> Result<Vec<Shared>, SqlError> {
    let mut shared: Vec<Shared> = Vec::new();
    for name in left.plain_names() {
        if right.has(&name) && shared.iter().all(|known| known.name != name) {
            shared.push(Shared::of(&Ident::new(name), left, right, place)?);
        }
    }
    Ok(shared)
}

/// Gives a join the columns that its sides share. Those of the left are the first `width` of it.
pub(super) fn share(
    source: &mut Source,
    scope: &mut Scope,
    shared: &[Shared],
    kind: JoinKind,
    width: usize,
) -> Result<(), SqlError> {
    let mut all = source.rel.all_columns();
    let mut names: Vec<String> = source.rel.columns.iter().map(|column| column.name.clone()).collect();
    let mut positions = Vec::new();
    for column in shared {
        let position = match column.value(&source.rel, kind, width)? {
            Expr::Column { index, .. } => index,
            value => {
                all.push(value);
                names.push(column.name.clone());
                all.len() - 1
            }
        };
        positions.push((column.name.clone(), position));
    }
    if all.len() > source.rel.columns.len() {
        source.rel = calc(source.rel.clone(), None, all, names);
    }
    *scope = std::mem::take(scope).with_shared(&positions, &source.rel.columns);
    Ok(())
}
