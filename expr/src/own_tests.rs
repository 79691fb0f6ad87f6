use std::sync::Arc;

use arrow::array::Int32Array;
use tidemill_common::types::LogicalType;

use super::*;

struct Nothing;

impl ScalarKernel for Nothing {
    fn evaluate(&self, _args: &[Argument<'_>], rows: usize) -> Result<ArrayRef, String> {
        Ok(Arc::new(Int32Array::from(vec![0; rows])))
    }
}

fn scalar(name: &str, version: u16) -> Function {
    let kind =
        Kind::Scalar { returns: LogicalType::Int, nullable: false, deterministic: true, kernel: Box::new(Nothing) };
    Function { name: name.to_owned(), version, parameters: Vec::new(), kind }
}

fn aggregate(name: &str, version: u16) -> Function {
    let kind = Kind::Aggregate { returns: LogicalType::Int.nullable() };
    Function { name: name.to_owned(), version, parameters: Vec::new(), kind }
}

#[test]
fn the_newest_version_is_planned_and_older_ones_are_found() {
    let mut functions = Functions::default();
    functions.add(scalar("Price", 3)).unwrap();
    functions.add(scalar("price", 1)).unwrap();
    assert_eq!(functions.newest("PRICE").unwrap().version, 3);
    let id = |version| FunctionId { name: "PRICE".into(), version };
    assert!(functions.get(&id(1)).is_some() && functions.get(&id(2)).is_none());
    assert_eq!(functions.names().collect::<Vec<_>>(), ["PRICE"]);
}

#[test]
fn what_could_not_be_called_is_refused() {
    let mut functions = Functions::default();
    let mut refused = |function| functions.add(function).unwrap_err().to_string();
    assert!(refused(scalar("2nd", 1)).contains("is no name"));
    assert!(refused(scalar("a b", 1)).contains("is no name"));
    for taken in ["upper", "SUM", "Tumble", "unnest"] {
        assert!(refused(scalar(taken, 1)).contains("built-in"), "{taken}");
    }
    assert!(refused(scalar("price", 0)).contains("begin with 1"));
    functions.add(scalar("price", 1)).unwrap();
    let mut refused = |function| functions.add(function).unwrap_err().to_string();
    assert!(refused(scalar("PRICE", 1)).contains("twice"));
    assert!(refused(aggregate("price", 2)).contains("a scalar function in one version"));
}
