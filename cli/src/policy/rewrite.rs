//! Writing a policy anew where it lies.
//!
//! Runs in: command line, with the rights of whoever calls it.
//! Does not: leave half a file behind, follow a link to write beside it, or change who may read the file.

use std::path::Path;

use crate::files;
use crate::files::Existing;
use crate::files::FileError;

/// Replaces a file's text and keeps its permissions. A link stays a link; what it leads to is replaced.
pub(crate) fn rewrite(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt as _;
    let fail = |source| FileError::Write(path.to_owned(), source);
    let real = path.canonicalize().map_err(fail)?;
    let permissions = real.metadata().map_err(fail)?.permissions();
    files::put(&real, bytes, permissions.mode() & 0o777, Existing::Replace)?;
    // The mask of the process may have taken some away.
    std::fs::set_permissions(&real, permissions).map_err(fail)
}
