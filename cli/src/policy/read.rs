//! Policies that a command works with whole: read, understood, and by the module that each names.
//!
//! Runs in: command line.
//! Does not: go on with a policy that has a mistake.

use std::path::Path;

use edgeguard_policy::Diagnostic;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::MAX_TEXT;
use edgeguard_policy::Policy;

use super::files;
use super::shelf::Shelf;
use crate::ExitCode;
use crate::output;

/// The policy in a file; its mistakes are said, and its warnings are not: `policy check` does that.
pub(crate) fn one(path: &Path, shelf: &Shelf) -> Result<Policy, ExitCode> {
    let bytes = files::read(path, MAX_TEXT as u64).map_err(|d| refused(&d.into()))?;
    let profiles = shelf.for_policy(path, &bytes);
    edgeguard_policy::parse_bytes_with(&path.display().to_string(), &bytes, &profiles).map_err(|found| refused(&found))
}

/// The policies in a file or a directory, each of another module. All that is wrong is said before this fails.
pub(crate) fn all(path: &Path, shelf: &Shelf) -> Result<Vec<Policy>, ExitCode> {
    let list = files::policies(path).map_err(|d| refused(&d.into()))?;
    let read: Vec<Result<Policy, ExitCode>> = list.iter().map(|(file, _)| one(file, shelf)).collect();
    let policies: Vec<Policy> = read.into_iter().collect::<Result<_, _>>()?;
    // What grants reach of each other is for `policy check`: it is wrong on either side of a comparison, and does not keep anybody from making it.
    let found = edgeguard_policy::check_names(&policies);
    if found.errors() > 0 { Err(refused(&found)) } else { Ok(policies) }
}

/// Says what was found, and where to read more.
pub(crate) fn refused(found: &Diagnostics) -> ExitCode {
    output::say(&found.render(output::colour()));
    let first = found.iter().next().map(Diagnostic::code);
    output::say(&first.map(|code| format!("\n`edgeguard explain {code}` says more\n")).unwrap_or_default());
    ExitCode::Usage
}
