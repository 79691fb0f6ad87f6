//! Every expression of the golden scripts that read one table without windows, against what Flink
//! answered. A small reader of SELECT lists stands in for the planner, so that this crate is tested
//! alone; the scripts are also run whole elsewhere.

// A test fails by a panic, also in its helpers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute;
use serde_json::Value as Json;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{DataType, Field, LogicalType, Schema};
use tidemill_expr::bind::{
    BindError, bind_call, bind_case, bind_cast, bind_field, coerce, fold_constants, literal_interval, literal_number,
    literal_string, literal_typed,
};
use tidemill_expr::decimal;
use tidemill_expr::eval::{EvalContext, Predicate, Program};
use tidemill_expr::format::{TextStyle, format_value};

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Symbol(String),
}

fn tokenize(sql: &str) -> Vec<Token> {
    let chars: Vec<char> = sql.chars().collect();
    let (mut at, mut tokens) = (0, Vec::new());
    while at < chars.len() {
        let c = chars[at];
        let until = |at: usize, test: fn(char) -> bool| {
            chars[at..].iter().position(|c| !test(*c)).map_or(chars.len(), |length| at + length)
        };
        if c.is_whitespace() {
            at += 1;
        } else if c == '-' && chars.get(at + 1) == Some(&'-') {
            at = until(at, |c| c != '\n');
        } else if c.is_ascii_digit() || (c == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit)) {
            let mut end = until(at, |c| c.is_ascii_digit() || c == '.');
            if matches!(chars.get(end), Some('e' | 'E')) {
                end += 1;
                if matches!(chars.get(end), Some('-' | '+')) {
                    end += 1;
                }
                end = until(end, |c| c.is_ascii_digit());
            }
            tokens.push(Token::Number(chars[at..end].iter().collect()));
            at = end;
        } else if c.is_alphabetic() || c == '_' {
            let end = until(at, |c| c.is_alphanumeric() || c == '_');
            tokens.push(Token::Word(chars[at..end].iter().collect()));
            at = end;
        } else if c == '\'' || c == '`' {
            let mut text = String::new();
            at += 1;
            while at < chars.len() {
                if chars[at] == c {
                    if chars.get(at + 1) != Some(&c) {
                        break;
                    }
                    at += 1;
                }
                text.push(chars[at]);
                at += 1;
            }
            at += 1;
            tokens.push(if c == '`' { Token::Quoted(text) } else { Token::Text(text) });
        } else {
            let two: String = chars[at..(at + 2).min(chars.len())].iter().collect();
            let symbol = if ["<>", "<=", ">=", "||", "!="].contains(&two.as_str()) { two } else { c.to_string() };
            at += symbol.len();
            tokens.push(Token::Symbol(symbol));
        }
    }
    tokens
}

#[derive(Clone)]
struct Table {
    schema: Schema,
    batch: RecordBatch,
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    schema: Schema,
    tables: &'a BTreeMap<String, Table>,
    context: EvalContext,
}

type Result<T> = std::result::Result<T, String>;

fn text(error: BindError) -> String {
    error.message
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, word: &str) -> bool {
        self.is_at(0, word)
    }

    fn is_at(&self, ahead: usize, word: &str) -> bool {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Word(found)) => found.eq_ignore_ascii_case(word),
            Some(Token::Symbol(found)) => found == word,
            _ => false,
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn takes(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(index, word)| self.is_at(index, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(format!("expected {word}, found {:?}", self.peek())) }
    }

    fn name(&mut self) -> Result<String> {
        self.at += 1;
        match self.tokens.get(self.at - 1) {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name.clone()),
            other => Err(format!("expected a name, found {other:?}")),
        }
    }

    fn select(&mut self) -> Result<Table> {
        self.expect("SELECT")?;
        let start = self.at;
        let mut depth = 0;
        while !(depth == 0
            && self.is("FROM")
            && !matches!(self.tokens.get(self.at - 1), Some(Token::Word(word)) if word == "DISTINCT"))
        {
            match self.peek() {
                None => return Err("no FROM".into()),
                Some(Token::Symbol(symbol)) => match symbol.as_str() {
                    "(" | "[" => depth += 1,
                    ")" | "]" => depth -= 1,
                    _ => {}
                },
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        let source = self.source()?;
        let after_source = self.at;
        self.schema = source.schema.clone();
        let filter = if self.take("WHERE") { Some(self.expr(0)?) } else { None };
        if self.is("GROUP") {
            return Err("GROUP BY".into());
        }
        let end = self.at.max(after_source);
        self.at = start;
        let (mut exprs, mut names) = (Vec::new(), Vec::new());
        if self.take("*") {
            for (index, field) in source.schema.fields.iter().enumerate() {
                names.push(field.name.clone());
                exprs.push(Expr::column(index, field.data_type.clone()));
            }
        }
        while !self.is("FROM") {
            let begin = self.at;
            let expr = self.expr(0)?;
            names.push(if self.take("AS") {
                self.name()?
            } else {
                match &self.tokens[begin..self.at] {
                    [.., Token::Word(name) | Token::Quoted(name)] => name.clone(),
                    _ => format!("EXPR${}", exprs.len()),
                }
            });
            exprs.push(expr);
            if !self.take(",") {
                break;
            }
        }
        self.expect("FROM")?;
        self.at = end;
        let mut batch = source.batch;
        let zone = self.context.zone.name();
        if let Some(filter) = filter {
            let filter = fold_constants(filter, zone);
            let mask = Predicate::compile(&filter, batch.schema_ref()).map_err(|e| e.to_string())?;
            let mask = mask.select(&batch, &self.context).map_err(|e| e.reason)?;
            batch = compute::filter_record_batch(&batch, &mask).map_err(|e| e.to_string())?;
        }
        // Folding must not change an answer.
        let plain = evaluate(&exprs, &batch, &self.context)?;
        let folded: Vec<Expr> = exprs.iter().map(|expr| fold_constants(expr.clone(), zone)).collect();
        let columns = evaluate(&folded, &batch, &self.context)?;
        for ((plain, folded), name) in plain.iter().zip(&columns).zip(&names) {
            assert_eq!(plain, folded, "{name} changes when constants are folded");
        }
        let fields = names.into_iter().zip(&exprs).map(|(name, expr)| Field::new(name, expr.data_type().clone()));
        let schema = Schema::new(fields.collect());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch =
            RecordBatch::try_new_with_options(schema.to_arrow(), columns, &options).map_err(|e| e.to_string())?;
        Ok(Table { schema, batch })
    }

    fn source(&mut self) -> Result<Table> {
        let outer = self.schema.clone();
        let mut table = if self.take("(") {
            let table = if self.take("VALUES") { self.values()? } else { self.select()? };
            self.expect(")")?;
            table
        } else {
            let name = self.name()?;
            self.tables.get(&name).cloned().ok_or_else(|| format!("table {name} is not read here"))?
        };
        self.schema = outer;
        if self.take("AS")
            || matches!(self.peek(), Some(Token::Word(word)) if !["WHERE", "GROUP"].contains(&word.to_uppercase().as_str()))
        {
            self.name()?;
            if self.take("(") {
                for index in 0.. {
                    table.schema.fields[index].name = self.name()?;
                    if !self.take(",") {
                        break;
                    }
                }
                self.expect(")")?;
            }
        }
        Ok(table)
    }

    fn values(&mut self) -> Result<Table> {
        let mut rows: Vec<Vec<Expr>> = Vec::new();
        loop {
            self.expect("(")?;
            let mut row = vec![self.expr(0)?];
            while self.take(",") {
                row.push(self.expr(0)?);
            }
            self.expect(")")?;
            rows.push(row);
            if !self.take(",") {
                break;
            }
        }
        let mut fields = Vec::new();
        for index in 0..rows[0].len() {
            let types: Vec<DataType> = rows.iter().map(|row| row[index].data_type().clone()).collect();
            let common = tidemill_expr::bind::common_type(&types).ok_or("no common type")?;
            for row in &mut rows {
                row[index] = coerce(row[index].clone(), &common).map_err(text)?;
            }
            fields.push(Field::new(format!("EXPR${index}"), common));
        }
        let schema = Schema::new(fields);
        let one = one_row();
        let batches = rows.iter().map(|row| {
            let columns = evaluate(row, &one, &self.context)?;
            RecordBatch::try_new(schema.to_arrow(), columns).map_err(|e| e.to_string())
        });
        let batches: Vec<RecordBatch> = batches.collect::<Result<_>>()?;
        let batch = compute::concat_batches(&schema.to_arrow(), &batches).map_err(|e| e.to_string())?;
        Ok(Table { schema, batch })
    }

    fn expr(&mut self, level: u8) -> Result<Expr> {
        let mut left = self.unary()?;
        loop {
            let call = |name: &str, args: Vec<Expr>| bind_call(name, args).map_err(text);
            let operator = match self.peek() {
                Some(Token::Symbol(symbol)) => symbol.clone(),
                Some(Token::Word(word)) => word.to_uppercase(),
                _ => return Ok(left),
            };
            let binding = match operator.as_str() {
                "OR" => 1,
                "AND" => 2,
                "IS" => 4,
                "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=" => 5,
                "LIKE" | "SIMILAR" | "BETWEEN" | "IN" | "NOT" | "OVERLAPS" => 6,
                "+" | "-" | "||" => 7,
                "*" | "/" | "%" => 8,
                "." | "[" => 10,
                _ => return Ok(left),
            };
            if binding <= level {
                return Ok(left);
            }
            self.at += 1;
            left = match operator.as_str() {
                "[" => {
                    let key = self.expr(0)?;
                    self.expect("]")?;
                    call("ITEM", vec![left, key])?
                }
                "." => {
                    let field = self.name()?;
                    bind_field(left, &field).map_err(text)?
                }
                "IS" => {
                    let not = if self.take("NOT") { "NOT " } else { "" };
                    if self.takes(&["DISTINCT", "FROM"]) {
                        let right = self.expr(5)?;
                        call(&format!("IS {not}DISTINCT FROM"), vec![left, right])?
                    } else {
                        let test = self.name()?.to_uppercase();
                        call(&format!("IS {not}{test}"), vec![left])?
                    }
                }
                "LIKE" | "SIMILAR" | "BETWEEN" | "IN" | "NOT" => {
                    let (not, kind) = match operator.as_str() {
                        "NOT" => ("NOT ", self.name()?.to_uppercase()),
                        kind => ("", kind.to_owned()),
                    };
                    match kind.as_str() {
                        "LIKE" => {
                            let mut args = vec![left, self.expr(6)?];
                            if self.take("ESCAPE") {
                                args.push(self.expr(6)?);
                            }
                            call(&format!("{not}LIKE"), args)?
                        }
                        "SIMILAR" => {
                            self.expect("TO")?;
                            let right = self.expr(6)?;
                            call(&format!("{not}SIMILAR TO"), vec![left, right])?
                        }
                        "BETWEEN" => {
                            let symmetric = if self.take("SYMMETRIC") { " SYMMETRIC" } else { "" };
                            let low = self.expr(6)?;
                            self.expect("AND")?;
                            let high = self.expr(6)?;
                            call(&format!("{not}BETWEEN{symmetric}"), vec![left, low, high])?
                        }
                        _ => {
                            let mut args = vec![left];
                            args.extend(self.arguments()?);
                            call(&format!("{not}IN"), args)?
                        }
                    }
                }
                "OVERLAPS" => {
                    let pair = |row: Expr| match row {
                        Expr::Call { args, .. } if args.len() == 2 => Ok(args),
                        _ => Err("OVERLAPS takes pairs".to_owned()),
                    };
                    let right = self.expr(6)?;
                    let mut args = pair(left)?;
                    args.extend(pair(right)?);
                    call("OVERLAPS", args)?
                }
                operator => {
                    let right = self.expr(binding)?;
                    call(operator, vec![left, right])?
                }
            };
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>> {
        self.expect("(")?;
        let mut args = Vec::new();
        while !self.take(")") {
            args.push(self.expr(0)?);
            self.take(",");
        }
        Ok(args)
    }

    fn unary(&mut self) -> Result<Expr> {
        if self.take("NOT") {
            let arg = self.expr(3)?;
            return bind_call("NOT", vec![arg]).map_err(text);
        }
        for sign in ["-", "+"] {
            if self.take(sign) {
                let arg = self.expr(9)?;
                return bind_call(if sign == "-" { "NEGATE" } else { "+" }, vec![arg]).map_err(text);
            }
        }
        if self.take("(") {
            let mut items = vec![self.expr(0)?];
            while self.take(",") {
                items.push(self.expr(0)?);
            }
            self.expect(")")?;
            return if items.len() == 1 { Ok(items.remove(0)) } else { bind_call("ROW", items).map_err(text) };
        }
        let token = self.peek().cloned().ok_or("the expression ends")?;
        self.at += 1;
        match token {
            Token::Number(number) => literal_number(&number).map_err(text),
            Token::Text(value) => Ok(literal_string(&value)),
            Token::Quoted(name) => self.column(&name),
            Token::Word(word) => {
                let upper = word.to_uppercase();
                if self.is("(") && upper != "IN" {
                    return self.function(&upper);
                }
                match (upper.as_str(), self.peek().cloned()) {
                    ("TRUE", _) => Ok(Expr::literal(Scalar::Boolean(true), LogicalType::Boolean)),
                    ("FALSE", _) => Ok(Expr::literal(Scalar::Boolean(false), LogicalType::Boolean)),
                    ("NULL", _) => Ok(Expr::literal(Scalar::Null, LogicalType::Null)),
                    ("DATE" | "TIME" | "TIMESTAMP", Some(Token::Text(value))) => {
                        self.at += 1;
                        literal_typed(&upper, &value).map_err(text)
                    }
                    ("INTERVAL", Some(Token::Text(value))) => {
                        self.at += 1;
                        let from = self.name()?;
                        let to = if self.take("TO") { Some(self.name()?) } else { None };
                        literal_interval(&value, &from, to.as_deref()).map_err(text)
                    }
                    ("CASE", _) => self.case(),
                    ("ARRAY" | "MAP", Some(Token::Symbol(bracket))) if bracket == "[" => {
                        self.at += 1;
                        let mut args = Vec::new();
                        while !self.take("]") {
                            args.push(self.expr(0)?);
                            self.take(",");
                        }
                        bind_call(&upper, args).map_err(text)
                    }
                    _ => self.column(&word),
                }
            }
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn column(&mut self, name: &str) -> Result<Expr> {
        match self.schema.index_of(name) {
            Some(index) => Ok(Expr::column(index, self.schema.fields[index].data_type.clone())),
            // An alias of the table.
            None if self.take(".") => {
                let name = self.name()?;
                self.column(&name)
            }
            None => Err(format!("no column {name}")),
        }
    }

    fn case(&mut self) -> Result<Expr> {
        let operand = if self.is("WHEN") { None } else { Some(self.expr(0)?) };
        let mut branches = Vec::new();
        while self.take("WHEN") {
            let mut condition = self.expr(0)?;
            if let Some(operand) = &operand {
                condition = bind_call("=", vec![operand.clone(), condition]).map_err(text)?;
            }
            self.expect("THEN")?;
            branches.push((condition, self.expr(0)?));
        }
        let otherwise = if self.take("ELSE") { Some(self.expr(0)?) } else { None };
        self.expect("END")?;
        bind_case(branches, otherwise).map_err(text)
    }

    fn function(&mut self, name: &str) -> Result<Expr> {
        let unit = |parser: &mut Self| parser.name().map(|unit| literal_string(&unit.to_uppercase()));
        self.expect("(")?;
        let (name, args) = match name {
            "CAST" | "TRY_CAST" => {
                let input = self.expr(0)?;
                self.expect("AS")?;
                let target = self.data_type()?;
                self.expect(")")?;
                return bind_cast(input, target, name == "TRY_CAST").map_err(text);
            }
            "EXTRACT" => {
                let unit = unit(self)?;
                self.expect("FROM")?;
                (name, vec![unit, self.expr(0)?])
            }
            "TIMESTAMPADD" | "TIMESTAMPDIFF" => {
                let unit = unit(self)?;
                self.expect(",")?;
                let first = self.expr(0)?;
                self.expect(",")?;
                (name, vec![unit, first, self.expr(0)?])
            }
            "FLOOR" | "CEIL" => {
                let mut args = vec![self.expr(0)?];
                if self.take("TO") {
                    args.push(unit(self)?);
                }
                (name, args)
            }
            "TRIM" => {
                let sides = ["BOTH", "LEADING", "TRAILING"];
                match sides.iter().find(|side| self.is(side)) {
                    Some(side) => {
                        self.at += 1;
                        let characters = self.expr(0)?;
                        self.expect("FROM")?;
                        (name, vec![literal_string(side), characters, self.expr(0)?])
                    }
                    None => (name, vec![self.expr(0)?]),
                }
            }
            "POSITION" => {
                let sought = self.expr(6)?;
                self.expect("IN")?;
                (name, vec![sought, self.expr(0)?])
            }
            _ => {
                let mut args = Vec::new();
                while !self.is(")") {
                    args.push(self.expr(0)?);
                    if self.take("RETURNING") {
                        let target = self.data_type()?;
                        self.expect(")")?;
                        let call = bind_call(name, args).map_err(text)?;
                        return bind_cast(call, target, false).map_err(text);
                    }
                    if !(self.take(",") || self.take("FROM") || self.take("FOR") || self.take("PLACING")) {
                        break;
                    }
                }
                (name, args)
            }
        };
        self.expect(")")?;
        bind_call(name, args).map_err(text)
    }

    fn data_type(&mut self) -> Result<DataType> {
        let name = self.name()?.to_uppercase();
        let mut numbers = Vec::new();
        if self.take("(") {
            while !self.take(")") {
                if let Some(Token::Number(number)) = self.peek() {
                    numbers.push(number.parse::<u32>().map_err(|e| e.to_string())?);
                }
                self.at += 1;
            }
        }
        let first = numbers.first().copied();
        let logical = match name.as_str() {
            "BOOLEAN" => LogicalType::Boolean,
            "TINYINT" => LogicalType::TinyInt,
            "SMALLINT" => LogicalType::SmallInt,
            "INT" => LogicalType::Int,
            "BIGINT" => LogicalType::BigInt,
            "FLOAT" => LogicalType::Float,
            "DOUBLE" => LogicalType::Double,
            "DECIMAL" => LogicalType::Decimal(first.unwrap_or(10) as u8, numbers.get(1).copied().unwrap_or(0) as u8),
            "CHAR" => LogicalType::Char(first.unwrap_or(1)),
            "VARCHAR" | "STRING" => first.map_or(LogicalType::STRING, LogicalType::Varchar),
            "BYTES" => LogicalType::BYTES,
            "DATE" => LogicalType::Date,
            "TIME" => LogicalType::Time(first.unwrap_or(0) as u8),
            "TIMESTAMP" => LogicalType::Timestamp(first.unwrap_or(6) as u8),
            "TIMESTAMP_LTZ" => LogicalType::TimestampLtz(first.unwrap_or(6) as u8),
            "ARRAY" => {
                self.expect("<")?;
                let element = self.data_type()?;
                self.expect(">")?;
                LogicalType::Array(Box::new(element))
            }
            "MAP" => {
                self.expect("<")?;
                let key = self.data_type()?;
                self.expect(",")?;
                let value = self.data_type()?;
                self.expect(">")?;
                LogicalType::Map(Box::new(key), Box::new(value))
            }
            "ROW" => {
                self.expect("<")?;
                let mut fields = Vec::new();
                while !self.take(">") {
                    let name = self.name()?;
                    fields.push(Field::new(name, self.data_type()?));
                    self.take(",");
                }
                LogicalType::Row(fields)
            }
            other => return Err(format!("no type {other}")),
        };
        Ok(logical.nullable())
    }
}

fn one_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Schema::default().to_arrow(), Vec::new(), &options).unwrap()
}

fn evaluate(exprs: &[Expr], batch: &RecordBatch, context: &EvalContext) -> Result<Vec<ArrayRef>> {
    let program = Program::compile(exprs, batch.schema_ref()).map_err(|e| e.to_string())?;
    program.evaluate(batch, context).map_err(|e| e.reason)
}

/// A column from JSON values, scalars by a cast of their texts.
fn column(values: &[&Json], logical: &LogicalType, context: &EvalContext) -> ArrayRef {
    let nulls: Vec<bool> = values.iter().map(|value| !value.is_null()).collect();
    let nulls = || Some(NullBuffer::from(nulls.clone()));
    match (logical, logical.to_arrow()) {
        (LogicalType::Row(fields), arrow::datatypes::DataType::Struct(arrow_fields)) => {
            let columns = fields.iter().map(|field| {
                let values: Vec<&Json> =
                    values.iter().map(|value| value.get(&field.name).unwrap_or(&Json::Null)).collect();
                column(&values, &field.data_type.logical, context)
            });
            Arc::new(StructArray::new(arrow_fields, columns.collect(), nulls()))
        }
        (LogicalType::Array(element), arrow::datatypes::DataType::List(field)) => {
            let items: Vec<&Json> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
            let lengths = values.iter().map(|value| value.as_array().map_or(0, Vec::len));
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(field, offsets, column(&items, &element.logical, context), nulls()))
        }
        (LogicalType::Map(key, value), arrow::datatypes::DataType::Map(field, _)) => {
            let lengths = values.iter().map(|value| value.as_object().map_or(0, |map| map.len()));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let entries: Vec<(Json, &Json)> = values
                .iter()
                .filter_map(|value| value.as_object())
                .flatten()
                .map(|(key, value)| (Json::from(key.as_str()), value))
                .collect();
            let keys: Vec<&Json> = entries.iter().map(|(key, _)| key).collect();
            let items: Vec<&Json> = entries.iter().map(|(_, value)| *value).collect();
            let columns = vec![column(&keys, &key.logical, context), column(&items, &value.logical, context)];
            let arrow::datatypes::DataType::Struct(fields) = field.data_type().clone() else { panic!("{field}") };
            let entries = StructArray::new(fields, columns, None);
            Arc::new(MapArray::new(field, offsets, entries, nulls(), false))
        }
        _ => {
            let texts: StringArray = values
                .iter()
                .map(|value| match value {
                    Json::Null => None,
                    Json::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                })
                .collect();
            let schema = Schema::new(vec![Field::new("text", LogicalType::STRING.nullable())]);
            let batch = RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(texts)]).unwrap();
            let text = Expr::column(0, LogicalType::STRING.nullable());
            let cast = bind_cast(text, logical.clone().nullable(), false).unwrap();
            evaluate(&[cast], &batch, context).unwrap().remove(0)
        }
    }
}

/// A value as Flink's json format writes it.
fn to_json(array: &dyn Array, logical: &LogicalType, row: usize, out: &mut String) {
    if array.is_null(row) {
        return out.push_str("null");
    }
    match logical {
        LogicalType::Decimal(_, scale) => {
            let unscaled = array.as_primitive::<arrow::datatypes::Decimal128Type>().value(row);
            decimal::format_stripped(unscaled, *scale, out);
        }
        LogicalType::Array(element) => {
            let values = array.as_list::<i32>().value(row);
            out.push('[');
            for index in 0..values.len() {
                if index > 0 {
                    out.push(',');
                }
                to_json(&values, &element.logical, index, out);
            }
            out.push(']');
        }
        LogicalType::Map(_, value) => {
            let entries = array.as_map().value(row);
            out.push('{');
            for index in 0..entries.len() {
                if index > 0 {
                    out.push(',');
                }
                quote(entries.column(0).as_string::<i32>().value(index), out);
                out.push(':');
                to_json(entries.column(1), &value.logical, index, out);
            }
            out.push('}');
        }
        LogicalType::Row(fields) => {
            let columns = array.as_struct();
            out.push('{');
            for (index, field) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(&field.name, out);
                out.push(':');
                to_json(columns.column(index), &field.data_type.logical, row, out);
            }
            out.push('}');
        }
        LogicalType::Float | LogicalType::Double => {
            let mut value = String::new();
            format_value(array, logical, row, TextStyle::Sql, chrono_tz::UTC, &mut value);
            if value.ends_with(|c: char| c.is_ascii_digit()) { out.push_str(&value) } else { quote(&value, out) }
        }
        logical if logical.is_numeric() || *logical == LogicalType::Boolean => {
            format_value(array, logical, row, TextStyle::Sql, chrono_tz::UTC, out);
        }
        logical => {
            let mut value = String::new();
            format_value(array, logical, row, TextStyle::Sql, chrono_tz::UTC, &mut value);
            quote(&value, out);
        }
    }
}

fn quote(value: &str, out: &mut String) {
    let quoted = serde_json::to_string(value).unwrap();
    for c in quoted.chars() {
        let mut units = [0; 2];
        match c.encode_utf16(&mut units) {
            [high, low] => out.push_str(&format!("\\u{high:04X}\\u{low:04X}")),
            _ => out.push(c),
        }
    }
}

struct Script {
    compared: usize,
    problems: Vec<String>,
}

fn run(name: &str) -> Script {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/sql");
    let sql = std::fs::read_to_string(folder.join(format!("{name}.sql"))).unwrap();
    let expected = std::fs::read_to_string(folder.join(format!("{name}.expected"))).unwrap();
    let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in expected.lines() {
        match line.strip_prefix("== ") {
            Some(table) => current = table.to_owned(),
            None if line.starts_with('#') => {}
            None => answers.entry(current.clone()).or_default().push(line.to_owned()),
        }
    }
    let tokens = tokenize(&sql);
    let mut context = EvalContext { now_ms: 1_720_000_000_000, zone: chrono_tz::UTC };
    let (mut tables, mut sinks) = (BTreeMap::new(), BTreeMap::new());
    let mut script = Script { compared: 0, problems: Vec::new() };
    for statement in tokens.split(|token| *token == Token::Symbol(";".into())) {
        let mut parser = Parser { tokens: statement, at: 0, schema: Schema::default(), tables: &tables, context };
        if parser.take("SET") {
            if let [_, Token::Text(key), _, Token::Text(value)] = statement
                && key == "table.local-time-zone"
            {
                context.zone = value.parse().unwrap();
            }
        } else if parser.takes(&["CREATE", "TABLE"]) {
            let table = parser.name().unwrap();
            parser.expect("(").unwrap();
            let mut fields = Vec::new();
            while !parser.is(")") && !parser.is("PRIMARY") && !parser.is("WATERMARK") {
                let name = parser.name().unwrap();
                match parser.data_type() {
                    Ok(data_type) => fields.push(Field::new(name, data_type)),
                    Err(_) => break,
                }
                parser.take(",");
            }
            let path = statement.iter().find_map(|token| match token {
                Token::Text(path) if path.starts_with("${data}/") && path.ends_with(".json") => Some(path.clone()),
                _ => None,
            });
            let schema = Schema::new(fields);
            match path {
                Some(path) => {
                    let lines = std::fs::read_to_string(folder.join("data").join(&path[8..])).unwrap();
                    let rows: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                    let columns = schema.fields.iter().map(|field| {
                        let values: Vec<&Json> =
                            rows.iter().map(|row| row.get(&field.name).unwrap_or(&Json::Null)).collect();
                        column(&values, &field.data_type.logical, &context)
                    });
                    let batch = RecordBatch::try_new(schema.to_arrow(), columns.collect()).unwrap();
                    tables.insert(table, Table { schema, batch });
                }
                None => {
                    sinks.insert(table, schema);
                }
            }
        } else if parser.takes(&["CREATE", "TEMPORARY", "VIEW"]) {
            let view = parser.name().unwrap();
            if parser.take("(") {
                script.problems.push(format!("{view}: column names are not read here"));
                continue;
            }
            parser.expect("AS").unwrap();
            match parser.select() {
                Ok(table) => {
                    tables.insert(view, table);
                }
                Err(reason) => script.problems.push(format!("view {view}: {reason}")),
            }
        } else if parser.takes(&["INSERT", "INTO"]) {
            let table = parser.name().unwrap();
            let result = match parser.select() {
                Ok(result) => result,
                Err(reason) => {
                    script.problems.push(format!("{table}: {reason}"));
                    continue;
                }
            };
            compare(&table, &result, &sinks[&table], &answers[&table], &context, &mut script);
        }
    }
    script
}

fn compare(table: &str, result: &Table, sink: &Schema, answers: &[String], context: &EvalContext, script: &mut Script) {
    let mut exprs = Vec::new();
    for (index, (from, to)) in result.schema.fields.iter().zip(&sink.fields).enumerate() {
        let column = Expr::column(index, from.data_type.clone());
        match coerce(column, &to.data_type) {
            Ok(expr) => exprs.push(expr),
            Err(error) => return script.problems.push(format!("{table}.{}: {}", to.name, error.message)),
        }
        // A recorded script declares exactly the type that Flink inferred, up to the length of texts.
        let (from, to_type) = (&from.data_type.logical, &to.data_type.logical);
        if from != to_type && matches!(to_type, LogicalType::Decimal(..)) && matches!(from, LogicalType::Decimal(..)) {
            script.problems.push(format!("{table}.{}: type {from}, Flink has {to_type}", to.name));
        }
    }
    let columns = evaluate(&exprs, &result.batch, context).unwrap();
    let mut lines: Vec<Vec<String>> = (0..result.batch.num_rows())
        .map(|row| {
            columns
                .iter()
                .zip(&sink.fields)
                .map(|(column, field)| {
                    let mut out = String::new();
                    quote(&field.name, &mut out);
                    out.push(':');
                    to_json(column, &field.data_type.logical, row, &mut out);
                    out
                })
                .collect()
        })
        .collect();
    lines.sort_by_key(|line| format!("{{{}}}", line.join(",")));
    if lines.len() != answers.len() {
        script.problems.push(format!("{table}: {} rows, Flink has {}", lines.len(), answers.len()));
        return;
    }
    for (line, answer) in lines.iter().zip(answers) {
        let whole = format!("{{{}}}", line.join(","));
        script.compared += line.len();
        if whole == *answer {
            continue;
        }
        for cell in line {
            // Only the cells that are not found as they are.
            if !answer.contains(&format!("{cell},")) && !answer.contains(&format!("{cell}}}")) {
                let key = cell.split("\":").next().unwrap_or("");
                let at = answer.find(&format!("{key}\":")).unwrap_or(0);
                let theirs: String = answer[at..].chars().take(cell.chars().count() + 20).collect();
                script.problems.push(format!("{table} {}: {cell}   Flink: {theirs}", line[0]));
            }
        }
    }
}

const SCRIPTS: [&str; 17] = [
    "arithmetic_decimals",
    "arithmetic_floats",
    "arithmetic_integers",
    "casts_from_strings",
    "casts_integers",
    "casts_temporal",
    "conditionals",
    "nested_types",
    "numeric_functions",
    "predicates_strings",
    "strings_basic",
    "strings_codes",
    "strings_regex",
    "temporal_arithmetic",
    "temporal_extract",
    "temporal_format",
    "three_valued_logic",
];

#[test]
fn expressions_answer_as_flink_did() {
    let mut report = String::new();
    let mut compared = 0;
    for name in SCRIPTS {
        let script = run(name);
        compared += script.compared;
        for problem in script.problems {
            report.push_str(&format!("{name}: {problem}\n"));
        }
    }
    println!("{compared} values compared");
    assert!(report.is_empty(), "{compared} values compared\n{report}");
    assert!(compared > 8_000, "only {compared} values compared");
}
