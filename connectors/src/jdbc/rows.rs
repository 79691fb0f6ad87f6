//! Staged rows: values in a compact form that does not depend on the database.

use super::settings::Settings;
use super::value::{Kind, Value};
use crate::api::ConnectorError;

const VERSION: u8 = 1;

/// What an epoch begins with: version, kinds of the columns, table.
pub(super) fn header(settings: &Settings) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&(settings.kinds.len() as u32).to_le_bytes());
    out.extend(settings.kinds.iter().map(|kind| match kind {
        Kind::Integer => 1,
        Kind::Float => 2,
        Kind::Boolean => 3,
        Kind::Bytes => 4,
        Kind::Text => 5,
    }));
    out.extend_from_slice(settings.table_name.1.as_bytes());
    out
}

/// Refuses an epoch of other columns or of another table.
pub(super) fn check_header(found: Option<&[u8]>, settings: &Settings) -> Result<(), ConnectorError> {
    if found == Some(header(settings).as_slice()) {
        return Ok(());
    }
    Err(ConnectorError::State {
        table: settings.table.clone(),
        reason: format!(
            "the checkpoint holds rows that are not published yet, of another table or with other columns than '{}' \
             has now; go on with the table as it was declared, take a savepoint, and change it then",
            settings.table_name.1
        ),
    })
}

/// Appends a row.
pub(super) fn encode(values: &[Value], out: &mut Vec<u8>) {
    for value in values {
        match value {
            Value::Null => out.push(0),
            Value::Integer(number) => {
                out.push(1);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Float(number) => {
                out.push(2);
                out.extend_from_slice(&number.to_bits().to_le_bytes());
            }
            Value::Boolean(truth) => out.push(3 + u8::from(*truth)),
            Value::Bytes(bytes) => append(5, bytes, out),
            Value::Text(text) => append(6, text.as_bytes(), out),
        }
    }
}

fn append(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads what [`encode`] wrote. `None` if it is damaged.
pub(super) fn decode(mut row: &[u8], columns: usize) -> Option<Vec<Value>> {
    let mut values = Vec::with_capacity(columns);
    for _ in 0..columns {
        let (tag, rest) = row.split_first()?;
        row = rest;
        values.push(match tag {
            0 => Value::Null,
            1 => Value::Integer(i64::from_le_bytes(number(&mut row)?)),
            2 => Value::Float(f64::from_bits(u64::from_le_bytes(number(&mut row)?))),
            3 | 4 => Value::Boolean(*tag == 4),
            5 => Value::Bytes(bytes(&mut row)?.to_vec()),
            6 => Value::Text(std::str::from_utf8(bytes(&mut row)?).ok()?.to_owned()),
            _ => return None,
        });
    }
    row.is_empty().then_some(values)
}

fn number(row: &mut &[u8]) -> Option<[u8; 8]> {
    let (number, rest) = row.split_first_chunk::<8>()?;
    *row = rest;
    Some(*number)
}

fn bytes<'a>(row: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = row.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *row = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_and_damage_is_seen() {
        let values = vec![
            Value::Null,
            Value::Integer(-7),
            Value::Float(-0.0),
            Value::Boolean(true),
            Value::Boolean(false),
            Value::Bytes(vec![0, 255]),
            Value::Text("ä".to_owned()),
            Value::Text(String::new()),
        ];
        let mut row = Vec::new();
        encode(&values, &mut row);
        assert_eq!(decode(&row, values.len()), Some(values.clone()));
        for end in 0..row.len() {
            assert_eq!(decode(&row[..end], values.len()), None, "cut at {end}");
        }
        row.push(0);
        assert_eq!(decode(&row, values.len()), None);
    }
}
