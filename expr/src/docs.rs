//! What functions there are, for docs/sql.md and for people who ask.

use crate::registry::{self, Category};

/// One function as the documentation shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionDoc {
    pub name: &'static str,
    pub category: &'static str,
    pub signatures: Vec<&'static str>,
    pub description: &'static str,
    /// Where it differs from Flink; empty if it does not.
    pub difference: &'static str,
    /// The script of tests/sql whose answers of Flink cover it.
    pub golden: &'static str,
}

/// A line a function: its name, a tab, the script of tests/sql.
const GOLDENS: &str = include_str!("goldens.in");

fn golden(name: &str) -> &'static str {
    GOLDENS
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find(|(known, _)| *known == name)
        .map_or("", |found| found.1)
}

/// Every scalar and aggregate function, by category and name.
pub fn function_docs() -> Vec<FunctionDoc> {
    let mut docs: Vec<(Category, FunctionDoc)> = registry::all()
        .filter(|function| !function.signature.is_empty())
        .map(|function| {
            let doc = FunctionDoc {
                name: function.name,
                category: category_name(function.category),
                signatures: function.signature.split('\n').collect(),
                description: function.description,
                difference: function.difference,
                golden: golden(function.name),
            };
            (function.category, doc)
        })
        .collect();
    docs.extend(AGGREGATES.iter().map(|(name, signature, description, difference)| {
        let doc = FunctionDoc {
            name,
            category: category_name(Category::Aggregate),
            signatures: signature.split('\n').collect(),
            description,
            difference,
            golden: golden(name),
        };
        (Category::Aggregate, doc)
    }));
    docs.sort_by_key(|(category, doc)| (*category, doc.name));
    docs.into_iter().map(|(_, doc)| doc).collect()
}

const AGGREGATES: [(&str, &str, &str, &str); 20] = [
    (
        "COUNT",
        "COUNT(*)\nCOUNT([DISTINCT] a)\nCOUNT(DISTINCT a, ...)",
        "Rows, or rows of which no argument is NULL. BIGINT.",
        "Flink refuses several columns in windows.",
    ),
    ("SUM", "SUM([DISTINCT] a)", "Sum; integers keep their type and wrap, DECIMAL(p, s) gives DECIMAL(38, s).", ""),
    (
        "AVG",
        "AVG([DISTINCT] a)",
        "Mean; integers keep their type, DECIMAL(p, s) gives DECIMAL(38, max(s, 6)).",
        "Beside both SUM(a) and COUNT(a) Flink divides those, so that its AVG wraps where SUM does.",
    ),
    ("MIN", "MIN(a)", "Smallest value.", ""),
    ("MAX", "MAX(a)", "Largest value.", ""),
    (
        "APPROX_COUNT_DISTINCT",
        "APPROX_COUNT_DISTINCT(a)",
        "Estimated number of different values. BIGINT.",
        "Flink has it in batch mode only.",
    ),
    (
        "PERCENTILE",
        "PERCENTILE(a, fraction[, frequency])\nPERCENTILE(a, ARRAY[fraction, ...][, frequency])",
        "Exact percentile with linear interpolation. DOUBLE, or ARRAY<DOUBLE> for several fractions.",
        "",
    ),
    ("STDDEV_POP", "STDDEV_POP([DISTINCT] a)", "Standard deviation, in the type that AVG has: cut for integers.", ""),
    ("STDDEV_SAMP", "STDDEV_SAMP([DISTINCT] a)", "Standard deviation of a sample; NULL for one value.", ""),
    ("STDDEV", "STDDEV([DISTINCT] a)", "STDDEV_SAMP.", ""),
    ("VAR_POP", "VAR_POP([DISTINCT] a)", "Variance, in the type that AVG has: cut for integers.", ""),
    ("VAR_SAMP", "VAR_SAMP([DISTINCT] a)", "Variance of a sample; NULL for one value.", ""),
    ("VARIANCE", "VARIANCE([DISTINCT] a)", "VAR_SAMP.", ""),
    ("FIRST_VALUE", "FIRST_VALUE(a)", "The value that came first, of those that are not NULL.", ""),
    ("LAST_VALUE", "LAST_VALUE(a)", "The value that came last, of those that are not NULL.", ""),
    (
        "LISTAGG",
        "LISTAGG([DISTINCT] a[, separator])",
        "Texts in the order of their arrival, with ',' between them unless told otherwise; NULLs are left out.",
        "",
    ),
    ("ARRAY_AGG", "ARRAY_AGG([DISTINCT] a)", "Values in the order of their arrival, NULLs too, as an array.", ""),
    ("COLLECT", "COLLECT([DISTINCT] a)", "How often each value is there, as a MULTISET; NULLs are left out.", ""),
    (
        "JSON_OBJECTAGG",
        "JSON_OBJECTAGG([KEY] name VALUE a [NULL | ABSENT ON NULL])",
        "A JSON object of all rows.",
        "Of equal names the last one counts, where Flink fails.",
    ),
    (
        "JSON_ARRAYAGG",
        "JSON_ARRAYAGG(a [NULL | ABSENT ON NULL])",
        "A JSON array of all rows; NULLs are left out unless NULL ON NULL.",
        "",
    ),
];

fn category_name(category: Category) -> &'static str {
    match category {
        Category::Comparison => "Comparison",
        Category::Logical => "Logical",
        Category::Arithmetic => "Arithmetic",
        Category::Conditional => "Conditional",
        Category::String => "String",
        Category::Regex => "Regular expression",
        Category::Temporal => "Temporal",
        Category::Json => "JSON",
        Category::Hash => "Hash",
        Category::Collection => "Collection",
        Category::Conversion => "Conversion",
        Category::Aggregate => "Aggregate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each function a recorded answer of Flink is named, and the script does use it.
    #[test]
    fn every_function_has_a_golden() {
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/sql");
        let mut missing = Vec::new();
        for doc in function_docs() {
            // Flink has no answer for what is random or the clock, or what it refuses in streaming.
            const NONE: [&str; 7] = [
                "UUID",
                "APPROX_COUNT_DISTINCT",
                "CURRENT_DATE",
                "CURRENT_TIME",
                "CURRENT_TIMESTAMP",
                "LOCALTIMESTAMP",
                "PROCTIME",
            ];
            if NONE.contains(&doc.name) {
                continue;
            }
            let text = ["sql", "txt"]
                .iter()
                .find_map(|ending| std::fs::read_to_string(format!("{scripts}/{}.{ending}", doc.golden)).ok());
            let word = sought(doc.name);
            match text {
                Some(text) if text.to_uppercase().contains(word) => {}
                Some(_) => missing.push(format!("{}: {} does not use {word}", doc.name, doc.golden)),
                None => missing.push(format!("{}: no script '{}'", doc.name, doc.golden)),
            }
        }
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }

    /// What of a function stands in a script.
    fn sought(name: &'static str) -> &'static str {
        match name {
            "NEGATE" => "- ",
            "ITEM" => "[",
            "FIELD" => ").A",
            "CEIL TO" => "CEIL(",
            "FLOOR TO" => "FLOOR(",
            name => name,
        }
    }
}
