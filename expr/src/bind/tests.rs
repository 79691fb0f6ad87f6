//! Types by Flink's rules, and refusals for people.

use tidemill_common::types::Field;

use super::*;

fn column(index: usize, logical: LogicalType) -> Expr {
    Expr::column(index, logical.nullable())
}

fn number(text: &str) -> Expr {
    literal_number(text).unwrap()
}

fn type_of(name: &str, args: Vec<Expr>) -> String {
    bind_call(name, args).unwrap().data_type().to_string()
}

fn refusal(result: Result<Expr, BindError>) -> String {
    result.unwrap_err().message
}

#[test]
fn literals_have_flinks_types() {
    for (text, expected) in [
        ("1", "INT NOT NULL"),
        ("3000000000", "BIGINT NOT NULL"),
        ("1.5", "DECIMAL(2, 1) NOT NULL"),
        ("0.908", "DECIMAL(4, 3) NOT NULL"),
        (".5", "DECIMAL(1, 1) NOT NULL"),
        ("1e3", "DOUBLE NOT NULL"),
        ("99999999999999999999", "DECIMAL(20, 0) NOT NULL"),
    ] {
        assert_eq!(number(text).data_type().to_string(), expected, "{text}");
    }
    assert_eq!(literal_string("naïve").data_type().to_string(), "CHAR(5) NOT NULL");
    let negated = bind_call("NEGATE", vec![number("2147483648")]).unwrap();
    assert_eq!(negated, Expr::literal(Scalar::Int(i32::MIN), LogicalType::Int));
    assert!(literal_number("1.2.3").is_err() && literal_number(&"9".repeat(39)).is_err());
    assert_eq!(
        literal_typed("TIMESTAMP", "2024-01-01 00:00:00.12").unwrap().data_type().to_string(),
        "TIMESTAMP(2) NOT NULL"
    );
    assert!(literal_typed("DATE", "2024-02-30").is_err() && literal_typed("TIMESTAMP", "yesterday").is_err());
}

#[test]
fn intervals() {
    let value = |text, from, to| match literal_interval(text, from, to) {
        Ok(Expr::Literal { value, .. }) => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(value("5", "SECOND", None), Scalar::IntervalMillis(5_000));
    assert_eq!(value("1.5", "SECONDS", None), Scalar::IntervalMillis(1_500));
    assert_eq!(value("1 02:03:04.005", "DAY", Some("SECOND")), Scalar::IntervalMillis(93_784_005));
    assert_eq!(value("-1-2", "YEAR", Some("MONTH")), Scalar::IntervalMonths(-14));
    assert_eq!(value("10:30", "HOUR", Some("MINUTE")), Scalar::IntervalMillis(37_800_000));
    for (text, from, to) in
        [("x", "DAY", None), ("1", "DAY", Some("HOUR")), ("1 25", "DAY", Some("HOUR")), ("1", "EON", None)]
    {
        assert!(literal_interval(text, from, to).is_err(), "{text} {from}");
    }
}

#[test]
fn arithmetic_types() {
    let decimal = |precision, scale| column(0, LogicalType::Decimal(precision, scale));
    assert_eq!(type_of("+", vec![decimal(38, 2), decimal(20, 10)]), "DECIMAL(38, 6)");
    assert_eq!(type_of("*", vec![decimal(20, 10), decimal(20, 10)]), "DECIMAL(38, 17)");
    assert_eq!(type_of("/", vec![decimal(10, 2), number("3")]), "DECIMAL(21, 13)");
    assert_eq!(type_of("/", vec![number("1.5"), number("2")]), "DECIMAL(13, 12) NOT NULL");
    assert_eq!(type_of("%", vec![decimal(10, 2), number("0.7")]), "DECIMAL(3, 2)");
    assert_eq!(type_of("%", vec![column(0, LogicalType::BigInt), number("10")]), "INT");
    assert_eq!(type_of("+", vec![column(0, LogicalType::TinyInt), column(1, LogicalType::TinyInt)]), "TINYINT");
    assert_eq!(type_of("+", vec![column(0, LogicalType::Float), decimal(10, 2)]), "DOUBLE");
    assert_eq!(type_of("+", vec![column(0, LogicalType::Float), number("1")]), "FLOAT");
    let day = literal_interval("1", "DAY", None).unwrap();
    assert_eq!(type_of("-", vec![column(0, LogicalType::TimestampLtz(3)), day.clone()]), "TIMESTAMP_LTZ(3)");
    assert_eq!(type_of("+", vec![day, column(0, LogicalType::Date)]), "DATE");
    assert_eq!(type_of("ROUND", vec![decimal(10, 2), number("1")]), "DECIMAL(10, 1)");
    assert_eq!(type_of("ROUND", vec![decimal(10, 2)]), "DECIMAL(9, 0)");
    assert_eq!(type_of("ROUND", vec![decimal(10, 2), column(0, LogicalType::Int)]), "DECIMAL(10, 2)");
    assert_eq!(type_of("FLOOR", vec![decimal(10, 2)]), "DECIMAL(10, 0)");
}

#[test]
fn common_types() {
    use LogicalType as L;
    let common = |types: &[L]| {
        let types: Vec<DataType> = types.iter().map(|logical| logical.clone().not_null()).collect();
        common_type(&types).map(|data_type| data_type.to_string())
    };
    assert_eq!(common(&[L::Char(5), L::Char(4)]).as_deref(), Some("VARCHAR(5) NOT NULL"));
    assert_eq!(common(&[L::Char(5), L::Char(5)]).as_deref(), Some("CHAR(5) NOT NULL"));
    assert_eq!(common(&[L::Decimal(8, 2), L::Int]).as_deref(), Some("DECIMAL(12, 2) NOT NULL"));
    assert_eq!(common(&[L::Double, L::Int, L::Decimal(2, 1)]).as_deref(), Some("DOUBLE NOT NULL"));
    assert_eq!(common(&[L::Date, L::Timestamp(3)]).as_deref(), Some("TIMESTAMP(3) NOT NULL"));
    assert_eq!(common(&[L::STRING, L::Int]), None);
    let nullable = common_type(&[L::Int.not_null(), L::Null.nullable()]).unwrap();
    assert_eq!(nullable.to_string(), "INT");
}

#[test]
fn refusals_say_what_to_do() {
    let text = || column(0, LogicalType::STRING);
    for (result, part) in [
        (bind_call("UPER", vec![text()]), "did you mean UPPER?"),
        (bind_call("SUM", vec![text()]), "is an aggregate function"),
        (bind_call("UPPER", vec![number("1")]), "argument 1 of UPPER must be a text, not INT; add a CAST"),
        (bind_call("UPPER", vec![]), "UPPER takes 1 argument(s), not 0"),
        (bind_call("+", vec![text(), text()]), "joined with ||"),
        (bind_call("AND", vec![text(), text()]), "AND takes a BOOLEAN"),
        (bind_call("-", vec![column(0, LogicalType::Date), column(1, LogicalType::Date)]), "use TIMESTAMPDIFF"),
        (bind_call("REGEXP_EXTRACT", vec![text(), literal_string("(a")]), "is not valid"),
        (bind_call("LIKE", vec![text(), literal_string("a!b"), literal_string("!")]), "escape character"),
        (bind_call("DATE_FORMAT", vec![text(), literal_string("yyyy VV")]), "letter 'V'"),
        (bind_call("TO_TIMESTAMP_LTZ", vec![number("1"), number("6")]), "0 for seconds or 3"),
        (bind_call("EXTRACT", vec![literal_string("YAER"), column(0, LogicalType::Date)]), "did you mean YEAR?"),
        (
            bind_call("=", vec![column(0, LogicalType::Timestamp(3)), column(1, LogicalType::TimestampLtz(3))]),
            "cast one",
        ),
        (bind_call("ITEM", vec![text(), number("1")]), "takes an ARRAY or a MAP"),
        (bind_cast(number("1"), LogicalType::Timestamp(3).nullable(), false), "use TO_TIMESTAMP_LTZ"),
        (coerce(column(0, LogicalType::BigInt), &LogicalType::Int.nullable()), "add a CAST"),
        (coerce(text(), &LogicalType::Char(3).nullable()), "add a CAST"),
    ] {
        let message = refusal(result);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn fields_of_rows() {
    let inner = Field::new("city", LogicalType::STRING.not_null());
    let row = column(0, LogicalType::Row(vec![inner]));
    assert_eq!(bind_field(row.clone(), "city").unwrap().data_type().to_string(), "STRING");
    assert!(refusal(bind_field(row, "cty")).contains("did you mean 'city'?"));
}

#[test]
fn aggregates() {
    let bound = |name: &str, logical: LogicalType| bind_aggregate(name, vec![column(0, logical)], false);
    let type_of = |name, logical| bound(name, logical).unwrap().return_type.to_string();
    assert_eq!(type_of("SUM", LogicalType::Decimal(10, 2)), "DECIMAL(38, 2)");
    assert_eq!(type_of("AVG", LogicalType::Decimal(10, 2)), "DECIMAL(38, 6)");
    assert_eq!(type_of("AVG", LogicalType::Decimal(20, 8)), "DECIMAL(38, 8)");
    assert_eq!(type_of("avg", LogicalType::TinyInt), "TINYINT");
    assert_eq!(type_of("MAX", LogicalType::STRING), "STRING");
    assert_eq!(type_of("COUNT", LogicalType::STRING), "BIGINT NOT NULL");
    assert!(bind_aggregate("COUNT", vec![number("1")], false).unwrap().args.is_empty());
    let quartiles = bind_call("ARRAY", vec![number("0.25"), number("0.75")]).unwrap();
    let percentile = bind_aggregate("PERCENTILE", vec![column(0, LogicalType::BigInt), quartiles], false).unwrap();
    assert_eq!(percentile.return_type.to_string(), "ARRAY<DOUBLE>");
    assert_eq!(
        percentile.function,
        tidemill_common::plan::AggregateFunction::Percentile { fractions: vec![0.25, 0.75], array: true }
    );
    assert!(bound("SUM", LogicalType::STRING).is_err());
    assert_eq!(type_of("LISTAGG", LogicalType::STRING), "STRING");
    assert_eq!(type_of("STDDEV_POP", LogicalType::Decimal(8, 3)), "DECIMAL(38, 6)");
    assert_eq!(type_of("COLLECT", LogicalType::Int), "MULTISET<INT NOT NULL> NOT NULL");
    assert!(bound("CUME_DIST", LogicalType::STRING).unwrap_err().message.contains("not supported yet"));
    assert!(bound("SUMM", LogicalType::Int).unwrap_err().message.contains("did you mean SUM?"));
}

#[test]
fn folding_keeps_failures_and_the_clock() {
    let fold = |expr| fold_constants(expr, "UTC");
    let sum = bind_call("+", vec![number("1"), number("2")]).unwrap();
    assert_eq!(fold(sum), number("3"));
    let failing = bind_call("/", vec![number("1"), number("0")]).unwrap();
    assert_eq!(fold(failing.clone()), failing);
    let now = bind_call("NOW", vec![]).unwrap();
    assert!(!is_deterministic(&now));
    assert_eq!(fold(now.clone()), now);
    let flag = column(0, LogicalType::Boolean);
    let truth = Expr::literal(Scalar::Boolean(true), LogicalType::Boolean);
    assert_eq!(fold(bind_call("AND", vec![truth.clone(), flag.clone()]).unwrap()), flag);
    assert_eq!(fold(bind_call("OR", vec![truth.clone(), flag.clone()]).unwrap()), truth);
    let chosen = bind_case(vec![(truth, number("1"))], Some(failing)).unwrap();
    assert_eq!(fold(chosen), number("1"));
}

#[test]
fn every_function_is_documented_and_found() {
    let docs = crate::docs::function_docs();
    for function in crate::registry::all() {
        // What nobody can write, as only the planner calls it, is nowhere described.
        let internal = function.name.starts_with('$');
        assert_eq!(function.signature.is_empty(), internal, "{}", function.name);
        assert_eq!(function.description.is_empty(), internal, "{}", function.name);
        assert!(std::ptr::eq(crate::registry::find(function.name).unwrap(), function), "{} is twice", function.name);
    }
    assert!(docs.len() > 150, "{}", docs.len());
    assert!(function_names().contains(&"REGEXP_EXTRACT") && !function_names().contains(&"+"));
}
