//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, but for a restart.
    Counter,
    Gauge,
}

/// One metric: its name, and what its values mean.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

impl Metric {
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }
}

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Adds all samples of a metric; of one without samples nothing is said.
    pub fn family<'a, L, I>(&mut self, metric: &Metric, samples: I)
    where
        L: AsRef<[&'a str]>,
        I: IntoIterator<Item = (L, f64)>,
    {
        let mut is_first = true;
        for (labels, value) in samples {
            if std::mem::take(&mut is_first) {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                };
                let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
                // Writing to a string cannot fail; so below.
                let _ = write!(self.text, "# HELP {} {help}\n# TYPE {} {kind}\n", metric.name, metric.name);
            }
            self.sample(metric, labels.as_ref(), value);
        }
    }

    /// Adds a metric that has one value, with these labels.
    pub fn value_with(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.family(metric, [(labels, value)]);
    }

    /// Adds a metric that has one value.
    pub fn value(&mut self, metric: &Metric, value: f64) {
        self.family(metric, [([""; 0], value)]);
    }

    fn sample(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        self.text.push_str(metric.name);
        for (index, (name, value)) in metric.labels.iter().zip(labels).enumerate() {
            self.text.push_str(if index == 0 { "{" } else { "," });
            let _ = write!(self.text, "{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !metric.labels.is_empty() {
            self.text.push('}');
        }
        if value.is_infinite() {
            let _ = writeln!(self.text, " {}Inf", if value > 0.0 { '+' } else { '-' });
        } else {
            let _ = writeln!(self.text, " {value}");
        }
    }

    /// The page.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_a_metric_without_samples_is_not_named() {
        let mut page = Exposition::default();
        let rows = Metric::counter("rows", &["table", "n"], "Rows.\nAll.");
        page.family(&rows, [(["a\"b\\c\nd", "1"], 7.0), (["x", "2"], 1.5)]);
        page.family(&Metric::gauge("none", &["x"], "None."), std::iter::empty::<([&str; 1], f64)>());
        page.value(&Metric::gauge("one", &[], "One."), f64::INFINITY);
        assert_eq!(
            page.finish(),
            "# HELP rows Rows.\\nAll.\n# TYPE rows counter\nrows{table=\"a\\\"b\\\\c\\nd\",n=\"1\"} 7\nrows{table=\"x\",n=\"2\"} 1.5\n\
             # HELP one One.\n# TYPE one gauge\none +Inf\n"
        );
    }
}
