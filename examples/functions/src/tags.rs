//! A table function: the values of a row to any number of rows.

use tidemill::Collector;

/// The words of a text that begin with `#`, without it, and where each stands among them, from 1.
pub fn tags(text: &str, rows: &mut Collector<(String, i32)>) {
    let tags = text.split_whitespace().filter_map(|word| word.strip_prefix('#')).filter(|tag| !tag.is_empty());
    for (tag, position) in tags.zip(1..) {
        rows.emit((tag.to_lowercase(), position));
    }
}
