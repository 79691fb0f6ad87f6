//! The typed expression IR that plans keep.
//!
//! Expressions name functions by id and semantic version, never carry code. The registry that
//! gives them meaning (type inference and vectorised evaluation) is the crate `tidemill-expr`.

mod encoding;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::types::{DataType, LogicalType};

/// A function of the closed registry. The version rises when the meaning of the function changes,
/// so that a plan kept in a savepoint is never silently given another meaning.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionId {
    /// Upper-case SQL name, or the operator itself (`+`, `=`, `AND`, `IS NULL`).
    pub name: Cow<'static, str>,
    pub version: u16,
}

/// A constant. The unit of times is that of its type's carrier (see [`crate::types`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    Null,
    Boolean(bool),
    TinyInt(i8),
    SmallInt(i16),
    Int(i32),
    BigInt(i64),
    Float(#[serde(with = "encoding::float_text")] f32),
    Double(#[serde(with = "encoding::float_text")] f64),
    /// Unscaled value; precision and scale are the type's.
    Decimal(#[serde(with = "encoding::i128_text")] i128),
    String(String),
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds of the day.
    Time(i32),
    /// In the carrier unit of a `TIMESTAMP(p)` or `TIMESTAMP_LTZ(p)`.
    Timestamp(i64),
    IntervalMonths(i32),
    IntervalMillis(i64),
}

/// A typed expression over the columns of one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// The column at `index` of the input.
    Column {
        index: usize,
        data_type: DataType,
    },
    Literal {
        value: Scalar,
        data_type: DataType,
    },
    /// Arguments already have the types the function takes.
    Call {
        function: FunctionId,
        args: Vec<Expr>,
        data_type: DataType,
    },
    /// `CAST`, or `TRY_CAST` (NULL instead of an error) when `try_cast`.
    Cast {
        input: Box<Expr>,
        data_type: DataType,
        try_cast: bool,
    },
    /// Searched `CASE`: the first branch whose condition is TRUE. A missing `otherwise` is NULL.
    /// A branch is evaluated only for the rows that take it.
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
        data_type: DataType,
    },
}

impl Expr {
    /// The type of the value.
    pub fn data_type(&self) -> &DataType {
        match self {
            Self::Column { data_type, .. }
            | Self::Literal { data_type, .. }
            | Self::Call { data_type, .. }
            | Self::Cast { data_type, .. }
            | Self::Case { data_type, .. } => data_type,
        }
    }

    /// A column reference.
    pub fn column(index: usize, data_type: DataType) -> Self {
        Self::Column { index, data_type }
    }

    /// A constant of a `NOT NULL` type (or NULL itself).
    pub fn literal(value: Scalar, logical: LogicalType) -> Self {
        let nullable = value == Scalar::Null;
        Self::Literal { value, data_type: logical.with_nullable(nullable) }
    }

    /// Calls `visit` on this expression and everything below it, parents first.
    pub fn visit(&self, visit: &mut impl FnMut(&Expr)) {
        visit(self);
        match self {
            Self::Column { .. } | Self::Literal { .. } => {}
            Self::Call { args, .. } => args.iter().for_each(|arg| arg.visit(visit)),
            Self::Cast { input, .. } => input.visit(visit),
            Self::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    condition.visit(visit);
                    value.visit(visit);
                }
                if let Some(otherwise) = otherwise {
                    otherwise.visit(visit);
                }
            }
        }
    }

    /// This expression with every column replaced by `replace(index, type)`.
    pub fn map_columns(&self, replace: &mut impl FnMut(usize, &DataType) -> Expr) -> Expr {
        match self {
            Self::Column { index, data_type } => replace(*index, data_type),
            Self::Literal { .. } => self.clone(),
            Self::Call { function, args, data_type } => Self::Call {
                function: function.clone(),
                args: args.iter().map(|arg| arg.map_columns(replace)).collect(),
                data_type: data_type.clone(),
            },
            Self::Cast { input, data_type, try_cast } => Self::Cast {
                input: Box::new(input.map_columns(replace)),
                data_type: data_type.clone(),
                try_cast: *try_cast,
            },
            Self::Case { branches, otherwise, data_type } => Self::Case {
                branches: branches
                    .iter()
                    .map(|(condition, value)| (condition.map_columns(replace), value.map_columns(replace)))
                    .collect(),
                otherwise: otherwise.as_ref().map(|value| Box::new(value.map_columns(replace))),
                data_type: data_type.clone(),
            },
        }
    }

    /// Indices of the columns used, ascending, each once.
    pub fn columns(&self) -> Vec<usize> {
        let mut columns = std::collections::BTreeSet::new();
        self.visit(&mut |expr| {
            if let Expr::Column { index, .. } = expr {
                columns.insert(*index);
            }
        });
        columns.into_iter().collect()
    }
}
