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
            };
            (function.category, doc)
        })
        .collect();
    docs.extend(AGGREGATES.iter().map(|(name, signature, description)| {
        let doc = FunctionDoc {
            name,
            category: category_name(Category::Aggregate),
            signatures: signature.split('\n').collect(),
            description,
            difference: "",
        };
        (Category::Aggregate, doc)
    }));
    docs.sort_by_key(|(category, doc)| (*category, doc.name));
    docs.into_iter().map(|(_, doc)| doc).collect()
}

const AGGREGATES: [(&str, &str, &str); 7] = [
    ("COUNT", "COUNT(*)\nCOUNT([DISTINCT] a)", "Rows, or rows whose argument is not NULL. BIGINT."),
    ("SUM", "SUM([DISTINCT] a)", "Sum; integers keep their type and wrap, DECIMAL(p, s) gives DECIMAL(38, s)."),
    ("AVG", "AVG([DISTINCT] a)", "Mean; integers keep their type, DECIMAL(p, s) gives DECIMAL(38, max(s, 6))."),
    ("MIN", "MIN(a)", "Smallest value."),
    ("MAX", "MAX(a)", "Largest value."),
    ("APPROX_COUNT_DISTINCT", "APPROX_COUNT_DISTINCT(a)", "Estimated number of different values. BIGINT."),
    (
        "PERCENTILE",
        "PERCENTILE(a, fraction)\nPERCENTILE(a, ARRAY[fraction, ...])",
        "Exact percentile with linear interpolation. DOUBLE, or ARRAY<DOUBLE> for several fractions.",
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
