//! How expressions are kept: the list of their nodes in postfix order.
//!
//! An encoding that nests as the expression does would meet the nesting limit of JSON readers (128
//! levels, of which one call takes three), so that a plan could be written but not be read again.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Expr, FunctionId, Scalar};
use crate::limits::EXPR_DEPTH_MAX;
use crate::types::DataType;

/// A node whose operands stand before it.
#[derive(Serialize, Deserialize)]
enum Node {
    Column {
        index: usize,
        data_type: DataType,
    },
    Literal {
        value: Scalar,
        data_type: DataType,
    },
    Call {
        function: FunctionId,
        args: usize,
        data_type: DataType,
    },
    Cast {
        data_type: DataType,
        try_cast: bool,
    },
    /// Operands: condition and value of each branch, then the value otherwise.
    Case {
        branches: usize,
        otherwise: bool,
        data_type: DataType,
    },
}

fn write(expr: &Expr, nodes: &mut Vec<Node>) {
    match expr {
        Expr::Column { index, data_type } => nodes.push(Node::Column { index: *index, data_type: data_type.clone() }),
        Expr::Literal { value, data_type } => {
            nodes.push(Node::Literal { value: value.clone(), data_type: data_type.clone() });
        }
        Expr::Call { function, args, data_type } => {
            args.iter().for_each(|arg| write(arg, nodes));
            nodes.push(Node::Call { function: function.clone(), args: args.len(), data_type: data_type.clone() });
        }
        Expr::Cast { input, data_type, try_cast } => {
            write(input, nodes);
            nodes.push(Node::Cast { data_type: data_type.clone(), try_cast: *try_cast });
        }
        Expr::Case { branches, otherwise, data_type } => {
            for (condition, value) in branches {
                write(condition, nodes);
                write(value, nodes);
            }
            if let Some(value) = otherwise {
                write(value, nodes);
            }
            nodes.push(Node::Case {
                branches: branches.len(),
                otherwise: otherwise.is_some(),
                data_type: data_type.clone(),
            });
        }
    }
}

/// Operands that wait for their operator, each with its depth.
struct Stack(Vec<(Expr, usize)>);

impl Stack {
    /// Takes the last `count` operands; also gives the depth of what is built of them.
    fn take(&mut self, count: usize) -> Result<(Vec<Expr>, usize), String> {
        let start = self.0.len().checked_sub(count).ok_or("an expression lacks operands")?;
        let mut depth = 0;
        let operands = self.0.drain(start..).map(|(operand, below)| {
            depth = depth.max(below);
            operand
        });
        let operands = operands.collect();
        if depth >= EXPR_DEPTH_MAX {
            return Err(format!("an expression nests more than {EXPR_DEPTH_MAX} levels deep"));
        }
        Ok((operands, depth + 1))
    }
}

fn read(nodes: Vec<Node>) -> Result<Expr, String> {
    let mut stack = Stack(Vec::new());
    for node in nodes {
        let built = match node {
            Node::Column { index, data_type } => (Expr::Column { index, data_type }, 1),
            Node::Literal { value, data_type } => (Expr::Literal { value, data_type }, 1),
            Node::Call { function, args, data_type } => {
                let (args, depth) = stack.take(args)?;
                (Expr::Call { function, args, data_type }, depth)
            }
            Node::Cast { data_type, try_cast } => {
                let (mut input, depth) = stack.take(1)?;
                let input = Box::new(input.pop().ok_or("a cast lacks its operand")?);
                (Expr::Cast { input, data_type, try_cast }, depth)
            }
            Node::Case { branches, otherwise, data_type } => {
                let count = branches.checked_mul(2).and_then(|count| count.checked_add(usize::from(otherwise)));
                let (mut operands, depth) = stack.take(count.ok_or("a CASE has too many branches")?)?;
                let otherwise = if otherwise { operands.pop().map(Box::new) } else { None };
                let mut pairs = Vec::with_capacity(branches);
                let mut operands = operands.into_iter();
                while let (Some(condition), Some(value)) = (operands.next(), operands.next()) {
                    pairs.push((condition, value));
                }
                (Expr::Case { branches: pairs, otherwise, data_type }, depth)
            }
        };
        stack.0.push(built);
    }
    match (stack.0.pop(), stack.0.is_empty()) {
        (Some((expr, _)), true) => Ok(expr),
        _ => Err("a list of nodes that is no expression".to_owned()),
    }
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut nodes = Vec::new();
        write(self, &mut nodes);
        nodes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// JSON has no 128-bit integers: they are kept as text.
pub(super) mod i128_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// JSON has neither NaN nor infinities, and its readers may be off in the last bit: floating-point
/// numbers are kept as their shortest exact text.
pub(super) mod float_text {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer, T: Debug>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:?}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogicalType;

    fn literal(value: Scalar, logical: LogicalType) -> Expr {
        Expr::literal(value, logical)
    }

    fn not(input: Expr) -> Expr {
        let function = FunctionId { name: "NOT".into(), version: 1 };
        Expr::Call { function, args: vec![input], data_type: LogicalType::Boolean.nullable() }
    }

    fn round_trip(expr: &Expr) -> Expr {
        serde_json::from_slice(&serde_json::to_vec(expr).unwrap()).unwrap()
    }

    #[test]
    fn deep_expressions_are_read_again() {
        let column = Expr::column(0, LogicalType::Boolean.nullable());
        let deep = (1..EXPR_DEPTH_MAX).fold(column, |below, _| not(below));
        assert_eq!(round_trip(&deep), deep);
        let too_deep = serde_json::to_vec(&not(deep)).unwrap();
        let error = serde_json::from_slice::<Expr>(&too_deep).unwrap_err().to_string();
        assert!(error.contains("levels deep"), "{error}");
    }

    #[test]
    fn every_kind_of_node_is_read_again() {
        let number = |value| literal(Scalar::Double(value), LogicalType::Double);
        let case = Expr::Case {
            branches: vec![
                (not(Expr::column(3, LogicalType::Boolean.not_null())), number(0.1 + 0.2)),
                (literal(Scalar::Boolean(true), LogicalType::Boolean), number(f64::INFINITY)),
            ],
            otherwise: Some(Box::new(Expr::Cast {
                input: Box::new(literal(Scalar::Float(f32::MIN_POSITIVE), LogicalType::Float)),
                data_type: LogicalType::Double.not_null(),
                try_cast: true,
            })),
            data_type: LogicalType::Double.nullable(),
        };
        assert_eq!(round_trip(&case), case);
        let Expr::Literal { value: Scalar::Double(nan), .. } = round_trip(&number(f64::NAN)) else { panic!() };
        assert!(nan.is_nan());
        let decimal = literal(Scalar::Decimal(i128::MIN), LogicalType::Decimal(38, 2));
        assert_eq!(round_trip(&decimal), decimal);
    }

    #[test]
    fn a_damaged_list_is_an_error() {
        for text in [
            "[]",
            r#"[{"Cast":{"data_type":{"logical":"Int","nullable":true},"try_cast":false}}]"#,
            r#"[{"Call":{"function":{"name":"X","version":1},"args":18446744073709551615,"data_type":{"logical":"Int","nullable":true}}}]"#,
            r#"[{"Case":{"branches":18446744073709551615,"otherwise":true,"data_type":{"logical":"Int","nullable":true}}}]"#,
        ] {
            assert!(serde_json::from_str::<Expr>(text).is_err(), "{text}");
        }
    }
}
