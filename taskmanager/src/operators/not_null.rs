//! What a table's NOT NULL columns promise, checked on the rows that are written to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, BooleanArray};
use arrow::compute::{and, filter_record_batch, is_not_null};
use tidemill_common::batch::Batch;
use tidemill_common::plan::TableSpec;
use tidemill_connectors::api::ConnectorMetrics;

use crate::operator::OperatorError;

/// What becomes of rows with a NULL for a NOT NULL column (`table.exec.sink.not-null-enforcer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNullEnforcer {
    /// The job fails.
    Error,
    /// They are left out and counted as skipped.
    Drop,
}

/// The NOT NULL columns of a table.
pub struct NotNull {
    table: String,
    /// Position and name.
    columns: Vec<(usize, String)>,
    enforcer: NotNullEnforcer,
    metrics: Arc<ConnectorMetrics>,
}

impl NotNull {
    /// Of the table that is written.
    pub fn new(table: &TableSpec, enforcer: NotNullEnforcer, metrics: Arc<ConnectorMetrics>) -> Self {
        let fields = table.schema.fields.iter().enumerate().filter(|(_, field)| !field.data_type.nullable);
        let columns = fields.map(|(index, field)| (index, field.name.clone())).collect();
        Self { table: table.name.clone(), columns, enforcer, metrics }
    }

    /// The rows that may be written.
    pub fn enforce(&self, batch: Batch) -> Result<Batch, OperatorError> {
        let has_null = |(index, _): &&(usize, String)| batch.records.column(*index).logical_null_count() > 0;
        let mut violated = self.columns.iter().filter(has_null);
        let Some((first, name)) = violated.next() else { return Ok(batch) };
        if self.enforcer == NotNullEnforcer::Error {
            return Err(OperatorError::NullForNotNull { table: self.table.clone(), column: name.clone() });
        }
        let internal = |error: arrow::error::ArrowError| OperatorError::Internal {
            operator: format!("the sink of table '{}'", self.table),
            reason: error.to_string(),
        };
        let there = |index: &usize| is_not_null(batch.records.column(*index)).map_err(internal);
        let mut kept: BooleanArray = there(first)?;
        for (index, _) in violated {
            kept = and(&kept, &there(index)?).map_err(internal)?;
        }
        let records = filter_record_batch(&batch.records, &kept).map_err(internal)?;
        let kinds = batch.kinds.as_ref().map(|kinds| {
            kinds.iter().zip(kept.values()).filter(|(_, kept)| *kept).map(|(kind, _)| *kind).collect::<Arc<[_]>>()
        });
        self.metrics.records_skipped.fetch_add((batch.rows() - records.num_rows()) as u64, Ordering::Relaxed);
        Ok(Batch { records, kinds })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch};
    use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
    use tidemill_common::batch::RowKind;
    use tidemill_common::types::{Field, LogicalType, Schema};

    use super::*;

    fn not_null(enforcer: NotNullEnforcer) -> NotNull {
        let schema = Schema::new(vec![
            Field::new("id".to_owned(), LogicalType::BigInt.not_null()),
            Field::new("note".to_owned(), LogicalType::BigInt.nullable()),
            Field::new("price".to_owned(), LogicalType::BigInt.not_null()),
        ]);
        let table = TableSpec {
            name: "strict".to_owned(),
            connector: "print".to_owned(),
            options: BTreeMap::new(),
            schema,
            primary_key: Vec::new(),
            partition_keys: Vec::new(),
        };
        NotNull::new(&table, enforcer, Arc::default())
    }

    fn batch(columns: Vec<ArrayRef>, kinds: Option<Vec<RowKind>>) -> Batch {
        let fields: Vec<ArrowField> = columns
            .iter()
            .zip(["id", "note", "price"])
            .map(|(column, name)| ArrowField::new(name, column.data_type().clone(), true))
            .collect();
        let records = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
        Batch { records, kinds: kinds.map(Arc::from) }
    }

    fn numbers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn a_null_for_a_not_null_column_fails_with_table_and_column() {
        let rows = batch(vec![numbers(&[Some(1)]), numbers(&[None]), numbers(&[None])], None);
        let error = not_null(NotNullEnforcer::Error).enforce(rows).unwrap_err().to_string();
        assert_eq!(
            error,
            "table 'strict': column 'price' is NOT NULL, however, a null value is being written into it; SET 'table.exec.sink.not-null-enforcer' = 'DROP' drops such rows instead"
        );
    }

    #[test]
    fn rows_with_nulls_are_dropped_with_their_kinds_and_counted() {
        let kinds = vec![RowKind::Insert, RowKind::Delete, RowKind::UpdateAfter, RowKind::Insert];
        let rows = batch(
            vec![
                numbers(&[Some(1), None, Some(3), Some(4)]),
                numbers(&[None, None, None, Some(4)]),
                numbers(&[Some(1), Some(2), Some(3), None]),
            ],
            Some(kinds),
        );
        let not_null = not_null(NotNullEnforcer::Drop);
        let kept = not_null.enforce(rows).unwrap();
        assert_eq!(kept.rows(), 2);
        assert_eq!((kept.kind(0), kept.kind(1)), (RowKind::Insert, RowKind::UpdateAfter));
        assert_eq!(not_null.metrics.records_skipped.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn rows_without_nulls_pass_untouched() {
        let not_null = not_null(NotNullEnforcer::Drop);
        let rows = batch(vec![numbers(&[Some(1)]), Arc::new(NullArray::new(1)), numbers(&[Some(2)])], None);
        assert_eq!(rows.records.column(1).data_type(), &DataType::Null);
        assert_eq!(not_null.enforce(rows).unwrap().rows(), 1);
        let rows = batch(vec![Arc::new(NullArray::new(1)), numbers(&[None]), numbers(&[Some(2)])], None);
        assert_eq!(not_null.enforce(rows).unwrap().rows(), 0);
    }
}
