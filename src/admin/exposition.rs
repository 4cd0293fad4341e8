//! The text format in which Prometheus reads metrics.
//!
//! By hand: what a library would do besides, keeping the numbers, is done where they are counted,
//! without a locked instruction, and what is left is a few lines of text.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{Display, Write};

/// Metrics on their way to text.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by size, cumulative.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Exposition {
    /// Begins a metric; its samples follow.
    pub fn metric(&mut self, name: &'static str, kind: Kind, help: &str) -> Metric<'_> {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        Metric { exposition: self, name }
    }

    /// A metric of one sample.
    pub fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.metric(name, kind, help).sample(&[], value);
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(text);
    }
}

/// A metric whose samples are being told.
#[derive(Debug)]
pub struct Metric<'a> {
    exposition: &'a mut Exposition,
    name: &'static str,
}

impl Metric<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// The samples of a histogram: how many values were at most each bound, all of them, their sum.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        counts: &[(f64, u64)],
        all: u64,
        sum: f64,
    ) {
        let with_bound = |bound: &str, count: u64, metric: &mut Self| {
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            metric.line("_bucket", &labels, count);
        };
        for (bound, count) in counts {
            with_bound(&bound.to_string(), *count, self);
        }
        with_bound("+Inf", all, self);
        self.line("_sum", labels, sum);
        self.line("_count", labels, all);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let out = &mut *self.exposition;
        out.put(format_args!("{}{suffix}", self.name));
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            out.put(format_args!("{before}{name}=\"{}\"", escaped(value)));
        }
        out.put(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut out = Exposition::default();
        out.one("a_total", Kind::Counter, "How many.", 3);
        let mut by = out.metric("b", Kind::Gauge, "How much.");
        by.sample(&[("of", "a \"b\"\\\n")], 1.5);
        by.sample(&[("of", "x"), ("in", "y")], 0);
        let mut times = out.metric("c_seconds", Kind::Histogram, "How long.");
        times.histogram(&[("by", "z")], &[(0.001, 1), (2.0, 3)], 4, 5.25);
        let expected = "\
# HELP a_total How many.
# TYPE a_total counter
a_total 3
# HELP b How much.
# TYPE b gauge
b{of=\"a \\\"b\\\"\\\\\\n\"} 1.5
b{of=\"x\",in=\"y\"} 0
# HELP c_seconds How long.
# TYPE c_seconds histogram
c_seconds_bucket{by=\"z\",le=\"0.001\"} 1
c_seconds_bucket{by=\"z\",le=\"2\"} 3
c_seconds_bucket{by=\"z\",le=\"+Inf\"} 4
c_seconds_sum{by=\"z\"} 5.25
c_seconds_count{by=\"z\"} 4
";
        assert_eq!(out.into_text(), expected);
    }
}
