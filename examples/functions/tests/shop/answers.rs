//! Answers, compared with what a loop over the same rows gives, and with built-in functions.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{directory, rows};

/// `job.sql` at a parallelism.
fn job(parallelism: u32) -> String {
    let script = std::fs::read_to_string(directory().join("job.sql")).unwrap();
    format!("SET 'parallelism.default' = '{parallelism}';\n{script}")
}

#[derive(Default)]
struct Sales {
    orders: i64,
    weighted: i64,
    weights: i64,
    notes: BTreeMap<String, i64>,
}

/// What `job.sql` is to print, by a loop over the orders.
fn expected() -> Vec<String> {
    let text = std::fs::read_to_string(directory().join("orders.jsonl")).unwrap();
    let mut sales: BTreeMap<(String, String), Sales> = BTreeMap::new();
    let mut tagged: BTreeMap<(String, Option<String>), (i64, i64)> = BTreeMap::new();
    for line in text.lines() {
        let order: Value = serde_json::from_str(line).unwrap();
        let number = |field: &str| order[field].as_i64().unwrap();
        let minute = order["placed"].as_str().unwrap()[..16].replace(' ', "T");
        let note = order["note"].as_str();
        let host = order["page"].as_str().unwrap().split_once("://").map(|(_, rest)| rest.to_lowercase());
        if let Some(host) = host {
            let shop = ["books.example", "garden.example", "tools.example"].into_iter().find(|s| host.contains(s));
            let sales = sales.entry((minute.clone(), shop.unwrap().to_owned())).or_default();
            let net = number("gross_cents") * 100 / (100 + order["tax"].as_i64().unwrap_or(0));
            sales.orders += 1;
            sales.weighted += net * number("quantity");
            sales.weights += number("quantity");
            if let Some(note) = note {
                *sales.notes.entry(note.to_owned()).or_default() += 1;
            }
        }
        let words = note.unwrap_or_default().split(' ').filter(|word| word.starts_with('#'));
        let tags: Vec<String> = words.map(|word| word[1..].to_lowercase()).collect();
        for (nth, tag) in tags.iter().enumerate() {
            let counts = tagged.entry((minute.clone(), Some(tag.clone()))).or_default();
            counts.0 += 1;
            counts.1 += i64::from(nth == 0);
        }
        if tags.is_empty() {
            tagged.entry((minute, None)).or_default().0 += 1;
        }
    }
    let mut lines = Vec::new();
    for ((minute, shop), sales) in sales {
        let mean = sales.weighted as f64 / sales.weights as f64;
        let most = sales.notes.values().max().copied();
        let favourite = sales.notes.iter().find(|(_, count)| Some(**count) == most).map(|(note, _)| note.clone());
        let favourite = favourite.unwrap_or_else(|| "null".to_owned());
        lines.push(format!("sales +I[{minute}, {shop}, {}, {mean:?}, {favourite}]", sales.orders));
    }
    for ((minute, tag), (orders, first)) in tagged {
        let tag = tag.unwrap_or_else(|| "null".to_owned());
        lines.push(format!("tagged +I[{minute}, {tag}, {orders}, {first}]"));
    }
    lines.sort();
    lines
}

#[test]
fn the_job_gives_what_a_loop_gives_at_any_parallelism() {
    let expected = expected();
    assert!(expected.len() > 20);
    for parallelism in [1, 2, 4] {
        assert_eq!(rows(&job(parallelism)), expected, "parallelism {parallelism}");
    }
}

/// Rows, and a table for what an own aggregate and built-in ones say of the same groups.
const PRICES: &str = "
CREATE TABLE prices (
    n BIGINT, k BIGINT, price BIGINT, quantity BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts
) WITH ('connector' = 'filesystem', 'path' = '{directory}', 'format' = 'json');
CREATE TABLE same (k BIGINT, own DOUBLE, built_in DOUBLE, s TIMESTAMP(3)) WITH ('connector' = 'print');
";

/// Writes the rows of `prices` into several files.
fn prices(directory: &std::path::Path) {
    let mut files: [String; 4] = Default::default();
    for n in 0..8000_u64 {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        // Every seventh price is NULL, and there are pauses between which sessions end.
        let price = if n % 7 == 0 { "null".to_owned() } else { (mixed % 1000).to_string() };
        let second = n / 4 + 30 * (n / 100);
        let ts = format!(
            "2026-03-0{} {:02}:{:02}:{:02}",
            1 + second / 86_400,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60
        );
        files[n as usize % 4] += &format!(
            "{{\"n\": {n}, \"k\": {}, \"price\": {price}, \"quantity\": {}, \"ts\": \"{ts}\"}}\n",
            mixed % 37,
            1 + mixed % 5
        );
    }
    for (index, text) in files.iter().enumerate() {
        std::fs::write(directory.join(format!("{index}.json")), text).unwrap();
    }
}

/// The own aggregate and the built-in ones of a query, which must have many groups.
fn assert_same(query: &str, parallelism: u32, settings: &str) {
    let place = tempfile::tempdir().unwrap();
    prices(place.path());
    let script = format!(
        "SET 'parallelism.default' = '{parallelism}';\n{settings}\n{}\n{query}",
        PRICES.replace("{directory}", &place.path().display().to_string())
    );
    let found = rows(&script);
    let mut groups = 0;
    for row in found.iter().filter(|row| row.contains("+I[")) {
        let cells: Vec<&str> = row.split_once("+I[").unwrap().1.trim_end_matches(']').split(", ").collect();
        assert_eq!(cells[1], cells[2], "{row} at parallelism {parallelism}\n{query}");
        groups += 1;
    }
    assert!(groups >= 30, "{groups} groups of {query}: {found:?}");
}

const BUILT_IN: &str =
    "CAST(SUM(price * quantity) AS DOUBLE) / CAST(SUM(quantity) FILTER (WHERE price IS NOT NULL) AS DOUBLE)";

#[test]
fn windows_of_all_kinds_merge_own_accumulators() {
    for window in [
        "TUMBLE(TABLE prices, DESCRIPTOR(ts), INTERVAL '10' MINUTE)",
        "HOP(TABLE prices, DESCRIPTOR(ts), INTERVAL '5' MINUTE, INTERVAL '20' MINUTE)",
        "CUMULATE(TABLE prices, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '30' MINUTE)",
        "SESSION(TABLE prices PARTITION BY k, DESCRIPTOR(ts), INTERVAL '25' SECOND)",
    ] {
        for (parallelism, phases) in [(1, "ONE_PHASE"), (1, "TWO_PHASE"), (2, "AUTO"), (4, "ONE_PHASE")] {
            let query = format!(
                "INSERT INTO same SELECT k, WEIGHTED_AVG(price, quantity), {BUILT_IN}, window_start
                FROM TABLE({window}) GROUP BY window_start, window_end, k;"
            );
            let settings = format!("SET 'table.optimizer.agg-phase-strategy' = '{phases}';");
            assert_same(&query, parallelism, &settings);
        }
    }
}

#[test]
fn filter_distinct_and_batch_mode_take_own_aggregates() {
    let filtered = "INSERT INTO same SELECT k,
        WEIGHTED_AVG(price, quantity) FILTER (WHERE n > 100),
        CAST(SUM(price * quantity) FILTER (WHERE n > 100) AS DOUBLE)
            / CAST(SUM(quantity) FILTER (WHERE n > 100 AND price IS NOT NULL) AS DOUBLE),
        window_start
        FROM TABLE(TUMBLE(TABLE prices, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, k;";
    assert_same(filtered, 2, "");
    // Of the distinct texts all come once, so that the first is the most frequent.
    let distinct = "CREATE TABLE texts (k BIGINT, own STRING, built_in STRING) WITH ('connector' = 'print');
        INSERT INTO texts SELECT k, MOST_FREQUENT(DISTINCT CAST(price AS STRING)), MIN(CAST(price AS STRING))
        FROM TABLE(TUMBLE(TABLE prices, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, k;";
    assert_same(distinct, 2, "");
    let batch = format!(
        "INSERT INTO same SELECT k, WEIGHTED_AVG(price, quantity), {BUILT_IN}, MIN(ts) FROM prices GROUP BY k;"
    );
    assert_same(&batch, 1, "SET 'execution.runtime-mode' = 'batch';");
    assert_same(&batch, 4, "SET 'execution.runtime-mode' = 'batch';");
}

#[test]
fn table_functions_are_joined_in_every_form() {
    let from = "CREATE TABLE t (id INT, note STRING) WITH ('connector' = 'print');
        CREATE TABLE out (id INT, tag STRING, nth INT) WITH ('connector' = 'print');
        CREATE VIEW n AS SELECT * FROM (VALUES (1, '#a b #C'), (2, 'none'), (3, CAST(NULL AS STRING)), (4, '#d')) AS v(id, note);";
    let inner = ["+I[1, a, 1]", "+I[1, c, 2]", "+I[4, d, 1]"];
    for query in [
        "SELECT id, tag, nth FROM n CROSS JOIN LATERAL TABLE(TAGS(note)) AS t(tag, nth)",
        "SELECT id, t.tag, t.nth FROM n, LATERAL TABLE(tags(n.note)) AS t(tag, nth)",
        "SELECT id, tag, `position` FROM n, LATERAL TABLE(Tags(note))",
        "SELECT id, tag, nth FROM n JOIN LATERAL TABLE(TAGS(note)) AS t(tag, nth) ON TRUE",
    ] {
        assert_eq!(rows(&format!("{from} INSERT INTO out {query};")), inner, "{query}");
    }
    let left = "SELECT id, tag, nth FROM n LEFT JOIN LATERAL TABLE(TAGS(note)) AS t(tag, nth) ON TRUE";
    let outer = ["+I[1, a, 1]", "+I[1, c, 2]", "+I[2, null, null]", "+I[3, null, null]", "+I[4, d, 1]"];
    assert_eq!(rows(&format!("{from} INSERT INTO out {left};")), outer);
    let alone = "SELECT 0, tag, nth FROM TABLE(TAGS('#x #y')) AS t(tag, nth)";
    assert_eq!(rows(&format!("{from} INSERT INTO out {alone};")), ["+I[0, x, 1]", "+I[0, y, 2]"]);
}
