//! What the attacker is told: which row, and where in the house things are. One `key=value` line each, on standard input.
//!
//! Runs in: tests (written) and `edgeguard-redteam` (read).

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An order.
#[derive(Debug, Clone, Default)]
pub struct Order {
    values: BTreeMap<String, String>,
}

impl Order {
    /// An order without a row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.values.insert(key.to_owned(), value.to_string());
        self
    }

    /// Reads what [`Order::text`] wrote. Lines without `=` are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let values = text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { values: values.collect() }
    }

    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        self.values.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }

    /// A value; empty when it was not given.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// A number; 0 when it was not given.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        self.get(key).parse().unwrap_or_default()
    }
}
