//! A small HTTP client, and what it reads: JSON by the API's own description, and Prometheus' text format.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A server.
#[derive(Clone, Debug)]
pub struct Server(pub String);

impl Server {
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.request("GET", path, &[], "")
    }

    /// Changes something, as a program does it.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        let headers = [("Content-Type", "application/json"), ("X-Tidemill-Request", "1")];
        self.request("POST", path, &headers, &body.to_string())
    }

    /// Sends a request with these headers and no others but `Host`, unless it is among them, and the length.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<Answer> {
        let mut reader = BufReader::new(self.send(method, path, headers, body)?);
        let (status, headers) = read_head(&mut reader)?;
        let mut bytes = Vec::new();
        if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
            while let Some(chunk) = read_chunk(&mut reader)? {
                bytes.extend(chunk);
            }
        } else {
            reader.read_to_end(&mut bytes)?;
        }
        Ok(Answer { status, headers, body: String::from_utf8(bytes)? })
    }

    /// The lines of an answer as they come.
    pub fn lines(&self, path: &str, body: &Value) -> anyhow::Result<Lines> {
        let headers = [("Content-Type", "application/json"), ("X-Tidemill-Request", "1")];
        let mut reader = BufReader::new(self.send("POST", path, &headers, &body.to_string())?);
        let (status, headers) = read_head(&mut reader)?;
        anyhow::ensure!(status == 200, "status {status}");
        anyhow::ensure!(headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked"), "{headers:?}");
        Ok(Lines { reader, rest: String::new() })
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.0).with_context(|| self.0.clone())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.0);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        // A server that refuses the head need not read the body.
        let _ = stream.write_all(body.as_bytes());
        Ok(stream)
    }
}

/// See [`Server::lines`]. Dropped, the connection is closed.
pub struct Lines {
    reader: BufReader<TcpStream>,
    rest: String,
}

impl Lines {
    /// The next line as JSON; `None` at the end.
    pub fn next_line(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let value = serde_json::from_str(line)?;
                self.rest = rest.to_owned();
                return Ok(Some(value));
            }
            match read_chunk(&mut self.reader)? {
                Some(chunk) => self.rest += std::str::from_utf8(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> anyhow::Result<(u16, BTreeMap<String, String>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => return Ok((status, headers)),
        };
    }
}

fn read_chunk(reader: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
    let mut size = String::new();
    reader.read_line(&mut size)?;
    let size = usize::from_str_radix(size.trim(), 16).context("no chunk")?;
    let mut bytes = vec![0; size + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(size);
    Ok((size > 0).then_some(bytes))
}

/// What is wrong with a value, by a schema of a description. Knows what our own description uses, and says so if
/// it meets anything else.
pub fn mismatch(value: &Value, schema: &Value, description: &Value) -> Option<String> {
    let fail = |reason: String| Some(format!("{reason}: {value}"));
    if let Some(reference) = schema["$ref"].as_str() {
        return match description.pointer(reference.trim_start_matches('#')) {
            Some(schema) => mismatch(value, schema, description),
            None => fail(format!("{reference} is not there")),
        };
    }
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().find_map(|schema| mismatch(value, schema, description));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return fail("not one of the words".to_owned());
    }
    match schema["type"].as_str() {
        Some("string") if value.is_string() => None,
        Some("boolean") if value.is_boolean() => None,
        Some("integer") if value.is_i64() || value.is_u64() => None,
        Some("array") => match value.as_array() {
            Some(items) => items.iter().find_map(|item| mismatch(item, &schema["items"], description)),
            None => fail("no array".to_owned()),
        },
        Some("object") => {
            let Some(members) = value.as_object() else { return fail("no object".to_owned()) };
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(missing) = required.into_iter().find(|name| !members.contains_key(*name)) {
                return fail(format!("'{missing}' is missing"));
            }
            members.iter().find_map(|(name, member)| {
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Bool(false)) => fail(format!("'{name}' is not described")),
                    (Value::Null, Value::Null) => None,
                    (Value::Null, additional) => mismatch(member, additional, description),
                    (described, _) => mismatch(member, described, description),
                }
                .map(|reason| format!("{name}: {reason}"))
            })
        }
        kind => fail(format!("not of the type {kind:?}")),
    }
}

/// A sample of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Reads a page of metrics, strictly: every sample is behind the HELP and TYPE of its metric, metrics are not
/// mixed, no sample is there twice, and counters are not negative.
pub fn metrics(page: &str) -> anyhow::Result<Vec<Sample>> {
    let (mut seen, mut samples, mut series) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    let (mut name, mut kind) = (String::new(), String::new());
    anyhow::ensure!(page.ends_with('\n'), "the last line does not end");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            name = help.split(' ').next().unwrap_or_default().to_owned();
            anyhow::ensure!(seen.insert(name.clone()), "{name} is there twice");
            let follows = lines.next().unwrap_or_default();
            kind = follows.strip_prefix(&format!("# TYPE {name} ")).context(line.to_owned())?.to_owned();
            anyhow::ensure!(kind == "counter" || kind == "gauge", "{follows}");
            continue;
        }
        let sample = sample(line).with_context(|| line.to_owned())?;
        anyhow::ensure!(sample.name == name, "{line} stands below {name}");
        anyhow::ensure!(series.insert(format!("{} {:?}", sample.name, sample.labels)), "{line} is there twice");
        anyhow::ensure!(kind == "gauge" || sample.value >= 0.0, "{line}");
        samples.push(sample);
    }
    Ok(samples)
}

fn sample(line: &str) -> anyhow::Result<Sample> {
    let is_name = |text: &str, more: &str| {
        !text.is_empty()
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
    };
    let end = line.find(['{', ' ']).context("no end of the name")?;
    let (name, mut rest) = line.split_at(end);
    anyhow::ensure!(is_name(name, ":"), "'{name}' is no name");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, behind) = rest.split_once("=\"").context("a label")?;
            anyhow::ensure!(is_name(label, ""), "'{label}' is no label");
            let (mut value, mut end, mut escaped) = (String::new(), None, false);
            for (at, c) in behind.char_indices() {
                match (escaped, c) {
                    (true, '\\' | '"') => value.push(c),
                    (true, 'n') => value.push('\n'),
                    (true, _) => anyhow::bail!("'\\{c}' is no escape"),
                    (false, '"') => {
                        end = Some(at);
                        break;
                    }
                    (false, '\\') => {}
                    (false, c) => value.push(c),
                }
                escaped = !escaped && c == '\\';
            }
            anyhow::ensure!(labels.insert(label.to_owned(), value).is_none(), "'{label}' is there twice");
            rest = &behind[end.context("a label does not end")? + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').context("labels do not end")?;
    }
    let value = rest.strip_prefix(' ').context("no value")?;
    Ok(Sample { name: name.to_owned(), labels, value: value.parse()? })
}
