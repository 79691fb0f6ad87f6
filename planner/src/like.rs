//! `CREATE TABLE ... LIKE`: a definition merged with that of its base, by Flink's rules.

use sqlparser::tokenizer::Span;

use crate::ast::{ColumnDef, ColumnKind, Like, LikeFeature, LikeStrategy};
use crate::diagnostic::SqlError;
use crate::table::TableDefinition;

/// Merges `new` into `base`. What neither names is included; options of the new table win.
pub fn merge(base: &TableDefinition, new: TableDefinition, like: &Like) -> Result<TableDefinition, SqlError> {
    let strategy = |feature: LikeFeature| {
        let find = |feature| like.options.iter().find(|option| option.feature == feature).map(|option| option.strategy);
        let all = find(LikeFeature::All);
        let default = if feature == LikeFeature::Options { LikeStrategy::Overwriting } else { LikeStrategy::Including };
        find(feature).or(all).unwrap_or(default)
    };
    let mut merged = base.clone();
    merged.comment = new.comment.or(merged.comment);
    merged.options_span = new.options_span;
    columns(&mut merged, new.elements.columns, strategy(LikeFeature::Generated), strategy(LikeFeature::Metadata))?;

    let twice = |span: Span, what: &str, hint: &str| {
        Err(SqlError::at(span, format!("the base table already has {what}")).with_hint(hint))
    };
    let constraints = strategy(LikeFeature::Constraints);
    if constraints == LikeStrategy::Excluding {
        merged.elements.primary_key = None;
    }
    if let Some(key) = new.elements.primary_key {
        if merged.elements.primary_key.is_some() {
            return twice(key.span, "a primary key", "add (EXCLUDING CONSTRAINTS) behind LIKE");
        }
        merged.elements.primary_key = Some(key);
    }
    let watermarks = strategy(LikeFeature::Watermarks);
    if watermarks == LikeStrategy::Excluding {
        merged.elements.watermark = None;
    }
    if let Some(watermark) = new.elements.watermark {
        if merged.elements.watermark.is_some() && watermarks != LikeStrategy::Overwriting {
            return twice(
                watermark.span,
                "a watermark",
                "add (OVERWRITING WATERMARKS) or (EXCLUDING WATERMARKS) behind LIKE",
            );
        }
        merged.elements.watermark = Some(watermark);
    }
    if strategy(LikeFeature::Partitions) == LikeStrategy::Excluding {
        merged.partitioned_by.clear();
    }
    if !new.partitioned_by.is_empty() {
        if !merged.partitioned_by.is_empty() {
            return twice(new.options_span, "partitions", "add (EXCLUDING PARTITIONS) behind LIKE");
        }
        merged.partitioned_by = new.partitioned_by;
    }
    let options = strategy(LikeFeature::Options);
    if options == LikeStrategy::Excluding {
        merged.options.clear();
    }
    for option in new.options {
        match merged.options.iter_mut().find(|known| known.key == option.key) {
            Some(_) if options == LikeStrategy::Including => {
                return twice(
                    option.key_span,
                    &format!("the option '{}'", option.key),
                    "write OVERWRITING OPTIONS, or leave INCLUDING OPTIONS out",
                );
            }
            Some(known) => *known = option,
            None => merged.options.push(option),
        }
    }
    Ok(merged)
}

/// The columns of the base that are kept, then the new ones.
fn columns(
    merged: &mut TableDefinition,
    new: Vec<ColumnDef>,
    generated: LikeStrategy,
    metadata: LikeStrategy,
) -> Result<(), SqlError> {
    let of = |column: &ColumnDef| match column.kind {
        ColumnKind::Physical(_) => LikeStrategy::Including,
        ColumnKind::Computed(..) => generated,
        ColumnKind::Metadata { .. } => metadata,
    };
    let kept = &mut merged.elements.columns;
    kept.retain(|column| of(column) != LikeStrategy::Excluding);
    for column in new {
        let Some(known) = kept.iter_mut().find(|known| known.name.value == column.name.value) else {
            kept.push(column);
            continue;
        };
        let alike = std::mem::discriminant(&known.kind) == std::mem::discriminant(&column.kind);
        if alike && of(&column) == LikeStrategy::Overwriting {
            *known = column;
            continue;
        }
        let error =
            SqlError::at(column.name.span, format!("the base table already has a column '{}'", column.name.value));
        return Err(match (&known.kind, &column.kind) {
            (ColumnKind::Computed(..), ColumnKind::Computed(..)) => {
                error.with_hint("add (OVERWRITING GENERATED) behind LIKE to replace it")
            }
            (ColumnKind::Metadata { .. }, ColumnKind::Metadata { .. }) => {
                error.with_hint("add (OVERWRITING METADATA) behind LIKE to replace it")
            }
            _ => error.with_hint("LIKE takes all physical columns of its base: leave it out or rename it"),
        });
    }
    Ok(())
}
