//! A file system of the process's own, which holds its grants and nothing else.
//!
//! Runs in: worker.
//! Why: Landlock covers neither `stat` nor `readlink` nor `utimensat`, and seccomp cannot read a path.

use crate::Role;

/// Whether this process has a root of its own.
#[derive(Debug)]
pub(crate) enum OwnRoot {
    /// The host refuses, or the role takes no paths; the text says which.
    Missing(String),
}

impl OwnRoot {
    pub(crate) fn enter(role: Role) -> Self {
        Self::Missing(format!("not tried for {}", role.name()))
    }

    /// Whether mounts are still to be made.
    pub(crate) fn pending(&self) -> bool {
        false
    }

    pub(crate) fn settle(&mut self, _grants: &[crate::FsGrant<'_>]) -> Result<(), crate::Unconfinable> {
        Ok(())
    }

    pub(crate) fn in_force(&self) -> bool {
        false
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Missing(reason) => reason,
        }
    }
}
