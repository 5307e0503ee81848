//! From what a module was seen to use to the narrowest policy that covers it.
//!
//! Runs in: command line (`edgeguard policy learn`).
//! Does not: read a journal, or judge whether one can be believed; whoever calls has done both.
//! Invariant: what comes out parses, and grants exactly what was used under the policy that was observed, besides grants that nobody could observe
//! because that policy did not have them. Everything else in the text, comments and layout included, is as it was.

mod edit;
mod plan;

use thiserror::Error;

use crate::diagnostic::Diagnostics;
use crate::policy::Access;
use crate::policy::Policy;
use crate::source::Source;

/// In how many runs something was seen, and where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Runs in which it was seen.
    pub runs: u64,
    /// When first, RFC 3339.
    pub first: String,
    /// When last.
    pub last: String,
    /// `metadata.uid` of a record that shows it.
    pub uid: String,
}

/// How a granted directory was used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirUse {
    /// In any way at all.
    pub used: Option<Seen>,
    /// By calls that change something, or opens that ask for what can.
    pub written: Option<Seen>,
    /// By calls that may have changed something, which the record does not tell.
    pub unclear: Option<Seen>,
    /// How often something below it was opened, or was tried to be.
    pub opens: Opens,
}

/// Opens below a directory, those that were refused left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opens {
    /// All of them.
    pub all: u64,
    /// Those of which the record says that they were neither to write nor to create, truncate or append.
    pub to_read: u64,
}

/// Something that was asked for and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The call, and what it named; escaped.
    pub what: String,
    /// What would have allowed it, if a grant can.
    pub wants: Wants,
    /// Where it was seen.
    pub seen: Seen,
}

/// A grant that would have allowed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// Writing to the directory with this index in the observed policy.
    Write(usize),
    /// A graph of this name.
    Graph(String),
    /// Nobody can say: the journal does not keep what was named.
    Unknown,
    /// None that a policy has.
    Nothing,
}

/// What was observed of one module under one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What the observation rests on, a line each.
    pub header: Vec<String>,
    /// Runs that were looked at.
    pub runs: u64,
    /// For each directory of the policy, in its order.
    pub dirs: Vec<DirUse>,
    /// For each graph of the policy, in its order.
    pub graphs: Vec<Option<Seen>>,
    /// Whether the environment was asked for.
    pub environment: Option<Seen>,
    /// Whether the arguments were asked for.
    pub arguments: Option<Seen>,
    /// What was refused.
    pub refused: Vec<Refused>,
}

/// Why nothing was learned.
#[derive(Debug, Error)]
pub enum LearnError {
    /// The text that is to be changed has mistakes.
    #[error("policy has mistakes")]
    Text(#[source] Diagnostics),
    /// It is another module's.
    #[error("policy is of the module `{found}`, and what was observed of `{expected}`")]
    Module {
        /// The module that was observed.
        expected: String,
        /// The module of the text.
        found: String,
    },
    /// There is no run to learn from.
    #[error("there is no run to learn from")]
    NoRuns,
    /// The text is written in a way that cannot be changed line by line.
    #[error(
        "policy writes `{0}` in a way that cannot be changed in place; write each entry as a section of its own, its keys on lines of their own"
    )]
    Layout(&'static str),
    /// What came out is not what was meant: a defect of this program.
    #[error("changed text would not say what was learned")]
    Changed,
}

/// What begins every line that this module writes. Lines that begin so are taken away before anything is learned anew.
pub const MARK: &str = "# learned:";

/// The text of a policy, narrowed or widened to what was observed, with the evidence as comments.
///
/// `base` is the policy that was in force while the module was observed; `name` and `text` are what is changed: the same policy, or another for the same module.
///
/// # Errors
/// As [`LearnError`].
pub fn learn(base: &Policy, name: &str, text: &str, observed: &Observed) -> Result<String, LearnError> {
    if observed.runs == 0 {
        return Err(LearnError::NoRuns);
    }
    let text = edit::without_marks(Source::new(name, text).text());
    let before = crate::parse(name, &text).map_err(LearnError::Text)?;
    if before.name != base.name {
        return Err(LearnError::Module { expected: base.name.to_string(), found: before.name.to_string() });
    }
    let plan = plan::Plan::new(base, &before, observed);
    let out = edit::apply(base.source.text(), &text, &plan)?;
    let after = crate::parse(name, &out).map_err(|_| LearnError::Changed)?;
    if plan.holds(&before, &after) { Ok(out) } else { Err(LearnError::Changed) }
}

/// `read` or `read-write`.
fn word(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::ReadWrite => "read-write",
    }
}
