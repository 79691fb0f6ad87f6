//! Reads SELECT lists and types and binds them as the planner would.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute;
use tidemill_common::expr::{Expr, Scalar};
use tidemill_common::types::{DataType, Field, LogicalType, Schema};
use tidemill_expr::bind::{
    BindError, bind_call, bind_case, bind_cast, bind_field, coerce, fold_constants, literal_interval, literal_number,
    literal_string, literal_typed,
};
use tidemill_expr::eval::{EvalContext, Predicate};

use crate::tokens::Token;
use crate::{Table, evaluate, one_row};

pub struct Parser<'a> {
    pub tokens: &'a [Token],
    pub at: usize,
    pub schema: Schema,
    pub tables: &'a BTreeMap<String, Table>,
    pub context: EvalContext,
}

pub type Result<T> = std::result::Result<T, String>;

pub fn text(error: BindError) -> String {
    error.message
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub fn is(&self, word: &str) -> bool {
        self.is_at(0, word)
    }

    fn is_at(&self, ahead: usize, word: &str) -> bool {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Word(found)) => found.eq_ignore_ascii_case(word),
            Some(Token::Symbol(found)) => found == word,
            _ => false,
        }
    }

    pub fn take(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    pub fn takes(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(index, word)| self.is_at(index, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    pub fn expect(&mut self, word: &str) -> Result<()> {
        if self.take(word) { Ok(()) } else { Err(format!("expected {word}, found {:?}", self.peek())) }
    }

    pub fn name(&mut self) -> Result<String> {
        self.at += 1;
        match self.tokens.get(self.at - 1) {
            Some(Token::Word(name) | Token::Quoted(name)) => Ok(name.clone()),
            other => Err(format!("expected a name, found {other:?}")),
        }
    }

    pub fn select(&mut self) -> Result<Table> {
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

    pub fn data_type(&mut self) -> Result<DataType> {
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
