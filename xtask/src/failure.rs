//! Why a task could not be done, as one text for the developer who started it.

use std::error::Error;
use std::fmt;
use std::path::Path;

/// A task's failure: what was tried, what came of it, and what to do.
#[derive(Debug)]
pub struct Failure(String);

/// Shorthand for a task's result.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure in the task's own words.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// What was tried, followed by the error and everything under it.
    pub fn of(tried: impl fmt::Display, error: impl Into<Box<dyn Error>>) -> Failure {
        let error = error.into();
        let mut text = format!("{tried}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Failure(text)
    }

    /// For `map_err` after something was done with a file.
    pub fn at<E: Into<Box<dyn Error>>>(tried: &'static str, path: &Path) -> impl FnOnce(E) -> Failure {
        move |error| Failure::of(format_args!("cannot {tried} `{}`", path.display()), error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}
