//! An aggregate function whose accumulators grow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidemill::Aggregate;

/// The text that comes most often; of several the first by their order.
pub struct MostFrequent;

/// How often each text came, and how many bytes the texts have.
#[derive(Default, Serialize, Deserialize)]
pub struct Counts {
    by_text: BTreeMap<String, u64>,
    text_bytes: usize,
}

impl Counts {
    fn add(&mut self, text: &str, count: u64) {
        match self.by_text.get_mut(text) {
            Some(known) => *known += count,
            None => {
                self.by_text.insert(text.to_owned(), count);
                self.text_bytes += text.len();
            }
        }
    }
}

impl Aggregate for MostFrequent {
    type Input = &'static str;
    type Accumulator = Counts;
    type Output = Option<String>;

    fn accumulate(&self, counts: &mut Counts, text: &str) {
        counts.add(text, 1);
    }

    fn merge(&self, counts: &mut Counts, other: &Counts) {
        for (text, count) in &other.by_text {
            counts.add(text, *count);
        }
    }

    fn result(&self, counts: &Counts) -> Option<String> {
        // The last of the greatest is the first when they come in the opposite order.
        let most = counts.by_text.iter().rev().max_by_key(|(_, count)| **count);
        most.map(|(text, _)| text.clone())
    }

    /// Groups may hold many texts, and the memory of the task manager is to know of them.
    fn heap_bytes(&self, counts: &Counts) -> usize {
        counts.text_bytes + counts.by_text.len() * size_of::<(String, u64)>()
    }
}
