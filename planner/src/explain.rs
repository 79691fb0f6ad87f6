//! Plans as text.

use std::fmt::Write as _;

use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::plan::{
    AggregateCall, AggregateFunction, AggregatePhase, OperatorKind, Partitioning, RowRange, SortKey, SortSpec,
    StreamPlan, TableFunction, WindowKind, WindowSpec, WindowTime,
};
use tidemill_common::types::{LogicalType, Schema, units_per_millisecond};

/// The stream plan: one block an operator, sources first.
pub fn explain(plan: &StreamPlan) -> String {
    let mut text = format!("== Stream plan of {} (max-parallelism {}) ==\n", plan.name, plan.max_parallelism);
    for operator in &plan.operators {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "[{}] {}", operator.id, operator.name);
        let mut line = |label: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "      {label:<12}{value}");
            }
        };
        line("parallelism", &operator.parallelism.to_string());
        let inputs: Vec<String> = operator
            .inputs
            .iter()
            .map(|edge| {
                let how = match &edge.partitioning {
                    Partitioning::Hash { keys } => {
                        format!("hash({})", names(&plan.operator(edge.from).schema, keys))
                    }
                    other => other.to_string(),
                };
                format!("[{}] {how}", edge.from)
            })
            .collect();
        line("input", &inputs.join(", "));
        if !matches!(operator.kind, OperatorKind::Sink(_)) {
            line("changelog", &operator.changelog.to_string());
        }
        if let Some(key) = &operator.upsert_key {
            line("upsert key", &names(&operator.schema, key));
        }
        for state in &operator.state {
            let key: Vec<String> = state.key.iter().map(ToString::to_string).collect();
            let namespace = state.namespace.as_ref().map(|_| " per window").unwrap_or_default();
            line("state", &format!("{} {:?}[{}]{namespace}", state.name, state.kind, key.join(", ")));
        }
        line("schema", &operator.schema.to_string());
        line("uid", &operator.uid);
    }
    text
}

/// The name of an operator, in Flink's form.
pub(crate) fn operator_name(kind: &OperatorKind, schema: &Schema, input: Option<&Schema>) -> String {
    let empty = Schema::default();
    let input = input.unwrap_or(&empty);
    let all = |schema: &Schema| names(schema, &(0..schema.len()).collect::<Vec<_>>());
    match kind {
        OperatorKind::Source(source) => {
            let mut name = format!("Source(table=[{}], fields=[{}]", source.table.name, all(schema));
            if let Some(watermark) = &source.watermark {
                let _ = write!(
                    name,
                    ", watermark=[{} AS {}]",
                    schema.fields[watermark.rowtime].name,
                    expr_text(&watermark.expression, schema)
                );
            }
            if let Some(filter) = &source.partition_filter {
                let keys = &source.table.partition_keys;
                let keys = Schema::new(keys.iter().map(|key| source.table.schema.fields[*key].clone()).collect());
                let _ = write!(name, ", partitions=[{}]", expr_text(&filter.condition, &keys));
            }
            name + ")"
        }
        OperatorKind::Calc(calc) => {
            let select: Vec<String> = calc
                .projection
                .iter()
                .zip(&schema.fields)
                .map(|(expr, field)| {
                    let text = expr_text(expr, input);
                    if text == field.name { text } else { format!("{text} AS {}", field.name) }
                })
                .collect();
            match &calc.filter {
                Some(filter) => format!("Calc(select=[{}], where=[{}])", select.join(", "), expr_text(filter, input)),
                None => format!("Calc(select=[{}])", select.join(", ")),
            }
        }
        OperatorKind::Union => format!("Union(fields=[{}])", all(schema)),
        OperatorKind::Correlate(correlate) => {
            let join = if correlate.outer { "LEFT" } else { "INNER" };
            let function = match &correlate.function {
                TableFunction::Unnest { .. } => "UNNEST",
                TableFunction::Own(id) => &*id.name,
            };
            format!("Correlate(invocation=[{function}({})], join=[{join}])", names(input, &correlate.args))
        }
        OperatorKind::WindowTableFunction(window) => {
            format!("WindowTableFunction(window=[{}])", window_text(window, input))
        }
        OperatorKind::WindowAggregate(aggregate) => {
            let (prefix, calls): (_, Vec<String>) = match aggregate.phase {
                AggregatePhase::Single => ("", aggregate.calls.iter().map(|call| call_text(call, input)).collect()),
                AggregatePhase::Local => ("Local", aggregate.calls.iter().map(|call| call_text(call, input)).collect()),
                AggregatePhase::Global => ("Global", aggregate.calls.iter().map(function_text).collect()),
            };
            let mut group = String::new();
            if !aggregate.keys.is_empty() {
                group = format!("groupBy=[{}], ", names(input, &aggregate.keys));
            }
            if aggregate.window.kind == WindowKind::Whole {
                return format!("{prefix}GroupAggregate({group}select=[{}])", calls.join(", "));
            }
            let window = window_text(&aggregate.window, input);
            format!("{prefix}WindowAggregate({group}window=[{window}], select=[{}])", calls.join(", "))
        }
        OperatorKind::WindowJoin(join) => {
            let condition = join.condition.as_ref().map(|_| ", where=[...]").unwrap_or_default();
            let keys = names(input, &join.left.keys);
            if join.time == WindowTime::Input {
                return format!("Join({:?}, on=[{keys}]{condition})", join.kind);
            }
            format!(
                "WindowJoin({:?}, on=[window{}{keys}]{condition})",
                join.kind,
                if keys.is_empty() { "" } else { ", " }
            )
        }
        OperatorKind::Sort(SortSpec { keys, rows }) => {
            let key = |key: &SortKey| {
                let direction = if key.descending { "DESC" } else { "ASC" };
                // Where NULLs stand by themselves is not said: they are low.
                let nulls = match key.nulls_first {
                    first if first != key.descending => "",
                    true => " NULLS FIRST",
                    false => " NULLS LAST",
                };
                format!("{} {direction}{nulls}", input.fields[key.column].name)
            };
            let keys: Vec<String> = keys.iter().map(key).collect();
            format!("Sort(orderBy=[{}]{})", keys.join(", "), range_text(rows, ", "))
        }
        OperatorKind::ReplicateRows { times } => {
            format!("ReplicateRows(times=[{}])", input.fields[*times].name)
        }
        OperatorKind::Limit(rows) => format!("Limit({})", range_text(rows, "")),
        OperatorKind::Sink(sink) => format!("Sink(table=[{}], fields=[{}])", sink.table.name, all(input)),
    }
}

fn range_text(rows: &RowRange, before: &str) -> String {
    let offset = (rows.offset > 0 || rows.fetch.is_none()).then(|| format!("offset=[{}]", rows.offset));
    let fetch = rows.fetch.map(|fetch| format!("fetch=[{fetch}]"));
    let parts: Vec<String> = match rows {
        RowRange { offset: 0, fetch: None } => Vec::new(),
        _ => offset.into_iter().chain(fetch).collect(),
    };
    if parts.is_empty() { String::new() } else { format!("{before}{}", parts.join(", ")) }
}

fn names(schema: &Schema, columns: &[usize]) -> String {
    columns.iter().map(|column| schema.fields[*column].name.as_str()).collect::<Vec<_>>().join(", ")
}

fn function_text(call: &AggregateCall) -> String {
    match &call.function {
        AggregateFunction::Count => "COUNT".to_owned(),
        AggregateFunction::Sum => "SUM".to_owned(),
        AggregateFunction::Avg => "AVG".to_owned(),
        AggregateFunction::Min => "MIN".to_owned(),
        AggregateFunction::Max => "MAX".to_owned(),
        AggregateFunction::ApproxCountDistinct => "APPROX_COUNT_DISTINCT".to_owned(),
        AggregateFunction::Percentile { fractions, .. } => {
            let fractions: Vec<String> = fractions.iter().map(ToString::to_string).collect();
            format!("PERCENTILE {}", fractions.join(" "))
        }
        AggregateFunction::Variance { sample, root } => {
            format!("{}_{}", if *root { "STDDEV" } else { "VAR" }, if *sample { "SAMP" } else { "POP" })
        }
        AggregateFunction::FirstValue => "FIRST_VALUE".to_owned(),
        AggregateFunction::LastValue => "LAST_VALUE".to_owned(),
        AggregateFunction::ListAgg { separator } => format!("LISTAGG '{separator}'"),
        AggregateFunction::ArrayAgg { ignore_nulls } => {
            format!("ARRAY_AGG{}", if *ignore_nulls { " IGNORE NULLS" } else { "" })
        }
        AggregateFunction::Collect => "COLLECT".to_owned(),
        AggregateFunction::JsonArrayAgg { absent_on_null } => {
            format!("JSON_ARRAYAGG {} ON NULL", if *absent_on_null { "ABSENT" } else { "NULL" })
        }
        AggregateFunction::JsonObjectAgg { absent_on_null } => {
            format!("JSON_OBJECTAGG {} ON NULL", if *absent_on_null { "ABSENT" } else { "NULL" })
        }
        AggregateFunction::Own(id) => id.name.to_string(),
    }
}

fn call_text(call: &AggregateCall, input: &Schema) -> String {
    let args = if call.args.is_empty() { "*".to_owned() } else { names(input, &call.args) };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let filter = call.filter.map(|filter| format!(" FILTER {}", input.fields[filter].name)).unwrap_or_default();
    format!("{}({distinct}{args}){filter}", function_text(call))
}

fn window_text(window: &WindowSpec, input: &Schema) -> String {
    let time = match &window.time {
        WindowTime::RowTime { column, zone } => {
            let name = &input.fields[*column].name;
            zone.as_ref().map_or_else(|| name.clone(), |zone| format!("{name} in {zone}"))
        }
        WindowTime::ProcessingTime { zone } => format!("processing time in {zone}"),
        WindowTime::Input => "the input".to_owned(),
    };
    let offset = |offset_ms: i64| if offset_ms == 0 { String::new() } else { format!(", offset {offset_ms} ms") };
    match &window.kind {
        WindowKind::Tumble { size_ms, offset_ms } => format!("TUMBLE({time}, {size_ms} ms{})", offset(*offset_ms)),
        WindowKind::Hop { size_ms, slide_ms, offset_ms } => {
            format!("HOP({time}, {slide_ms} ms, {size_ms} ms{})", offset(*offset_ms))
        }
        WindowKind::Cumulate { max_size_ms, step_ms, offset_ms } => {
            format!("CUMULATE({time}, {step_ms} ms, {max_size_ms} ms{})", offset(*offset_ms))
        }
        WindowKind::Session { gap_ms } => format!("SESSION({time}, {gap_ms} ms)"),
        WindowKind::Attached { start, end } => {
            format!("ATTACHED({}, {})", input.fields[*start].name, input.fields[*end].name)
        }
        WindowKind::Whole => format!("WHOLE({time})"),
    }
}

/// An expression as SQL-like text over named columns.
fn expr_text(expr: &Expr, input: &Schema) -> String {
    match expr {
        Expr::Column { index, .. } => input.fields.get(*index).map_or_else(|| format!("${index}"), |f| f.name.clone()),
        Expr::Literal { value, data_type } => literal_text(value, &data_type.logical),
        Expr::Call { function, args, .. } => {
            let args: Vec<String> = args.iter().map(|arg| expr_text(arg, input)).collect();
            let symbol = !function.name.starts_with(|c: char| c.is_alphabetic());
            match args.as_slice() {
                [left, right] if symbol || matches!(&*function.name, "AND" | "OR" | "LIKE") => {
                    format!("({left} {} {right})", function.name)
                }
                [operand] if function.name.starts_with("IS ") => format!("({operand} {})", function.name),
                _ => format!("{}({})", function.name, args.join(", ")),
            }
        }
        Expr::Cast { input: value, data_type, try_cast } => {
            let cast = if *try_cast { "TRY_CAST" } else { "CAST" };
            format!("{cast}({} AS {})", expr_text(value, input), data_type.logical)
        }
        Expr::Case { branches, otherwise, .. } => {
            let mut text = "CASE".to_owned();
            for (condition, value) in branches {
                let _ = write!(text, " WHEN {} THEN {}", expr_text(condition, input), expr_text(value, input));
            }
            if let Some(value) = otherwise {
                let _ = write!(text, " ELSE {}", expr_text(value, input));
            }
            text + " END"
        }
    }
}

fn literal_text(value: &Scalar, logical: &LogicalType) -> String {
    match value {
        Scalar::Null => "NULL".to_owned(),
        Scalar::Boolean(value) => value.to_string().to_uppercase(),
        Scalar::TinyInt(value) => value.to_string(),
        Scalar::SmallInt(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::BigInt(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Double(value) => format!("{value:e}"),
        Scalar::Decimal(value) => {
            let LogicalType::Decimal(_, scale @ 1..) = logical else { return value.to_string() };
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = usize::from(*scale) + 1);
            let (integer, fraction) = digits.split_at(digits.len() - usize::from(*scale));
            format!("{}{integer}.{fraction}", if *value < 0 { "-" } else { "" })
        }
        Scalar::String(value) => format!("'{}'", value.replace('\'', "''")),
        Scalar::Bytes(value) => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X'{digits}'")
        }
        Scalar::Date(days) => format!("DATE {days}"),
        Scalar::Time(millis) => format!("TIME {millis}"),
        Scalar::Timestamp(value) => {
            let precision = match logical {
                LogicalType::Timestamp(p) | LogicalType::TimestampLtz(p) => *p,
                _ => 3,
            };
            format!("TIMESTAMP {} ms", value / units_per_millisecond(precision))
        }
        Scalar::IntervalMonths(months) => format!("INTERVAL {months} months"),
        Scalar::IntervalMillis(millis) => format!("INTERVAL {millis} ms"),
    }
}
