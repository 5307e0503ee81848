//! One line of the table: the figure that the house is built to reach, what was measured, and what the bare engine does in the same run.

use serde_json::Value;
use serde_json::json;

/// A figure.
#[derive(Debug)]
pub struct Row {
    /// What is measured.
    pub what: String,
    /// The unit of all its numbers.
    pub unit: &'static str,
    /// What it must reach.
    pub target: Target,
    /// What was measured: the median, where there were several; beside a native engine, the lower quartile of either.
    pub found: f64,
    /// The 99th percentile, where there were enough.
    pub p99: Option<f64>,
    /// The bare engine, or whatever else it is fair to set it beside.
    pub beside: Option<(String, f64)>,
    /// What else there is to say.
    pub note: String,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// This at most.
    AtMost(f64),
    /// This at least.
    AtLeast(f64),
}

impl Row {
    /// A row without ornaments.
    pub fn new(what: impl Into<String>, unit: &'static str, target: Target, found: f64) -> Row {
        Row { what: what.into(), unit, target, found, p99: None, beside: None, note: String::new() }
    }

    /// A row from samples in `unit`.
    pub fn of(what: impl Into<String>, unit: &'static str, target: Target, samples: &Samples) -> Row {
        Row { p99: Some(samples.percentile(99)), ..Row::new(what, unit, target, samples.median()) }
    }

    /// The same with something beside it.
    pub fn beside(mut self, what: impl Into<String>, value: f64) -> Row {
        self.beside = Some((what.into(), value));
        self
    }

    /// The same with a remark.
    pub fn note(mut self, note: impl Into<String>) -> Row {
        self.note = note.into();
        self
    }

    /// Whether the target is reached.
    pub fn met(&self) -> bool {
        match self.target {
            Target::AtMost(limit) => self.found <= limit,
            Target::AtLeast(limit) => self.found >= limit,
        }
    }

    /// The row as lines for people.
    pub fn text(&self) -> String {
        let unit = self.unit;
        let target = match self.target {
            Target::AtMost(limit) => format!("<= {} {unit}", number(limit)),
            Target::AtLeast(limit) => format!(">= {} {unit}", number(limit)),
        };
        let verdict = if self.met() { "met" } else { "MISSED" };
        let p99 = self.p99.map(|p99| format!(", p99 {}", number(p99))).unwrap_or_default();
        let mut text = format!("{verdict:<7} {:<58} {target:<18} {} {unit}{p99}", self.what, number(self.found));
        if let Some((what, value)) = &self.beside {
            let ratio = if *value > 0.0 { format!(", ratio {:.2}", self.found / value) } else { String::new() };
            text.push_str(&format!("\n        beside {what}: {} {unit}{ratio}", number(*value)));
        }
        if !self.note.is_empty() {
            text.push_str(&format!("\n        {}", self.note));
        }
        text
    }

    /// The row for machines.
    pub fn json(&self) -> Value {
        let (bound, target) = match self.target {
            Target::AtMost(limit) => ("at-most", limit),
            Target::AtLeast(limit) => ("at-least", limit),
        };
        json!({
            "what": self.what, "unit": self.unit, "bound": bound, "target": target, "found": self.found, "p99": self.p99, "met": self.met(),
            "beside": self.beside.as_ref().map(|(what, value)| json!({ "what": what, "found": value, "ratio": self.found / value })),
            "note": self.note,
        })
    }
}

/// Measurements of one thing.
#[derive(Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one; 0 of none.
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// The lower quartile: what it takes when nothing else happens. Other tenants of a machine only ever add, in bursts that need not meet both sides alike.
    pub fn undisturbed(&self) -> f64 {
        self.percentile(25)
    }

    /// The value below which this many in a hundred lie.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl Extend<f64> for Samples {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, values: T) {
        self.0.extend(values);
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        assert!(Row::new("", "ms", Target::AtMost(5.0), 4.9).met());
        assert!(!Row::new("", "ms", Target::AtMost(5.0), 5.1).met());
        assert!(!Row::new("", "M/s", Target::AtLeast(2.0), 1.9).met());
    }

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        let mut samples = Samples::default();
        samples.extend((0..100).rev().map(f64::from));
        assert_eq!((samples.median(), samples.percentile(99), samples.len()), (50.0, 99.0, 100));
    }
}
