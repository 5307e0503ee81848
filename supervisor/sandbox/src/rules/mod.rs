//! The system calls that each role keeps: tables of data, each row with its reason.
//!
//! Runs in: worker, graph host, compiler.
//! Everything that is not in a table kills the process, on any architecture, in debug and release alike. Rows for one call are
//! alternatives; a row's arguments must all hold. A pointer is never followed, so no rule can speak of a path.

pub mod common;
pub mod engines;
mod exporter;
pub mod filesystem;
pub mod setup;

mod row;

pub use exporter::exporter;
pub use row::Argument;
pub use row::Condition;
pub use row::Rule;
pub use row::arg;
pub(crate) use row::call;
pub(crate) use row::manual_name;

use crate::FilesystemUse;
use crate::Profile;
use crate::Role;
use crate::Sealed;

/// What a filter does with the calls in its table and with all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The table's calls are let through; any other kills the process.
    AllowElseKill,
    /// The table's calls fail with this error number; any other is for the next filter to judge.
    FailElseAllow(i32),
    /// The table's calls are let through; any other fails with this error number.
    AllowElseFail(i32),
}

/// A filter: its name, its effect, its rows.
#[derive(Debug, Clone)]
pub struct Table {
    /// Name in errors and reports.
    pub name: &'static str,
    /// What a match means.
    pub effect: Effect,
    /// The rows.
    pub rules: Vec<Rule>,
}

/// The filters of the setup phase, in the order in which they are loaded.
pub fn stage1(role: Role) -> Vec<Table> {
    let widest = Profile { role, filesystem: FilesystemUse::ReadWrite };
    let mut rules = locked(&widest);
    // Setup may open by path and the role's own calls come without the final restrictions, so the wider rows replace the narrow.
    let setup = setup::of(role);
    let replaces =
        |wider: &Rule, rule: &Rule| wider.syscall == rule.syscall && (wider.arguments.is_empty() || wider.arguments == rule.arguments);
    rules.retain(|rule| !setup.iter().any(|wider| replaces(wider, rule)));
    rules.extend(setup);
    vec![
        Table { name: "setup, errors", effect: Effect::FailElseAllow(libc::ENOSYS), rules: setup::NOT_THERE.to_vec() },
        Table { name: "setup", effect: Effect::AllowElseKill, rules },
    ]
}

/// The filters of the locked phase, in the order in which they are loaded.
///
/// `own_root`: the process sees a root that holds nothing but its grants.
pub fn stage2(profile: &Profile, own_root: bool) -> Vec<Table> {
    let mut rules = locked(profile);
    let mut refused = common::REFUSED.to_vec();
    refused.extend(engines::refused(profile.role));
    if profile.role.makes_code() {
        // Landlock refuses instead, until the process is sealed.
        refused.retain(|rule| rule.syscall != libc::SYS_openat);
    }
    let mut tables = Vec::with_capacity(3);
    if profile.role == Role::Worker && profile.filesystem == FilesystemUse::ReadWrite {
        refused.extend(filesystem::REFUSED_TO_WRITE);
        rules.extend(filesystem::NOT_THERE_TO_WRITE);
        let not_there = filesystem::NOT_THERE_TO_WRITE.to_vec();
        tables.push(Table { name: "locked, not there", effect: Effect::FailElseAllow(libc::ENOSYS), rules: not_there });
        if own_root {
            rules.extend(filesystem::WRITE_IN_OWN_ROOT);
        } else {
            rules.extend(filesystem::WRITE_IN_HOST_ROOT);
            refused.extend(filesystem::REFUSED_IN_HOST_ROOT);
        }
    }
    // What one filter answers with an error, the other must not kill for.
    rules.extend(refused.iter().copied());
    tables.push(Table { name: "locked, errors", effect: Effect::FailElseAllow(libc::EACCES), rules: refused });
    tables.push(Table { name: "locked", effect: Effect::AllowElseKill, rules });
    tables
}

/// The last filters of a role that makes code, on top of [`stage2`]: what it keeps once its model is loaded.
pub fn sealed(role: Role, sealed: Sealed) -> Vec<Table> {
    let mut rules = common::LOCKED.to_vec();
    rules.extend(common::EVENTS);
    if sealed == Sealed::MakesCode {
        rules.retain(|rule| rule.syscall != engines::MAKES_CODE.syscall);
        rules.push(engines::MAKES_CODE);
    }
    let mut refused = common::REFUSED.to_vec();
    refused.extend(engines::refused(role));
    // What one filter answers with an error, the other must not kill for.
    rules.extend(refused.iter().copied());
    vec![
        Table { name: "sealed, errors", effect: Effect::FailElseAllow(libc::EACCES), rules: refused },
        Table { name: "sealed", effect: Effect::AllowElseKill, rules },
    ]
}

/// What a locked process of this profile keeps.
fn locked(profile: &Profile) -> Vec<Rule> {
    let mut rules = common::LOCKED.to_vec();
    match profile.role {
        Role::Compile => rules.extend(common::COMPILE),
        Role::Worker => {
            rules.extend(common::EVENTS);
            rules.extend(common::WORKER);
            match profile.filesystem {
                FilesystemUse::None => {}
                FilesystemUse::ReadOnly => {
                    rules.extend(filesystem::OPEN_TO_READ);
                    rules.extend(filesystem::READ);
                }
                FilesystemUse::ReadWrite => {
                    rules.extend(filesystem::OPEN_TO_WRITE);
                    rules.extend(filesystem::READ);
                    rules.extend(filesystem::WRITE);
                }
            }
        }
        Role::Graph | Role::OnnxRuntime | Role::Language | Role::Torch | Role::OpenVino => {
            rules.extend(common::EVENTS);
            if profile.role.makes_code() {
                rules.retain(|rule| rule.syscall != engines::MAKES_CODE.syscall);
            }
            rules.extend(engines::locked(profile.role));
        }
    }
    rules
}
