//! From a table of rules to a filter in the kernel.
//!
//! Runs in: worker, graph host, compiler.
//! Invariant: what is loaded is what the digest names. A filter, once loaded, cannot be taken away.

use std::collections::BTreeMap;

use seccompiler::BpfProgram;
use seccompiler::SeccompAction;
use seccompiler::SeccompCmpArgLen as Width;
use seccompiler::SeccompCmpOp as Op;
use seccompiler::SeccompCondition;
use seccompiler::SeccompFilter;
use seccompiler::SeccompRule;
use seccompiler::TargetArch;
use sha2::Digest as _;
use sha2::Sha256;

use crate::Profile;
use crate::Role;
use crate::Unconfinable;
use crate::rules;
use crate::rules::Condition;
use crate::rules::Effect;
use crate::rules::Rule;
use crate::rules::Table;

/// Which threads a filter is loaded into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The calling one, which is the only one.
    ThisThread,
    /// All of the process (`SECCOMP_FILTER_FLAG_TSYNC`), or none.
    AllThreads,
}

/// The filters of one stage, in the order of loading.
#[derive(Debug, Clone)]
pub struct Filters {
    tables: Vec<Table>,
}

impl Filters {
    /// The setup filters.
    pub fn stage1(role: Role) -> Self {
        Self { tables: rules::stage1(role) }
    }

    /// The final filters.
    pub fn stage2(profile: &Profile, own_root: bool) -> Self {
        Self { tables: rules::stage2(profile, own_root) }
    }

    /// Filters of one's own making, such as the product's with a row changed, to see that a test notices. Loading more filters
    /// only ever takes away.
    pub fn of(tables: Vec<Table>) -> Self {
        Self { tables }
    }

    /// Number of rows.
    pub fn rules(&self) -> u32 {
        self.tables.iter().map(|table| table.rules.len() as u32).sum()
    }

    /// SHA-256 of all instructions, in hex. The process's own id counts as 0, so that equal tables have equal digests.
    ///
    /// # Errors
    /// [`Unconfinable::Filter`] for a table that is empty or contradicts itself.
    pub fn digest(&self) -> Result<String, Unconfinable> {
        let mut hash = Sha256::new();
        for table in &self.tables {
            for instruction in compile(table, 0)? {
                hash.update(instruction.code.to_le_bytes());
                hash.update([instruction.jt, instruction.jf]);
                hash.update(instruction.k.to_le_bytes());
            }
        }
        Ok(format!("{:x}", hash.finalize()))
    }

    /// Loads them for good. Each load sets no-new-privs again, so no earlier filter may forbid that `prctl`.
    ///
    /// # Errors
    /// [`Unconfinable::Filter`]; filters before the failing one stay loaded.
    pub fn load(&self, spread: Spread) -> Result<(), Unconfinable> {
        for table in &self.tables {
            let program = compile(table, std::process::id())?;
            match spread {
                Spread::ThisThread => seccompiler::apply_filter(&program),
                Spread::AllThreads => seccompiler::apply_filter_all_threads(&program),
            }
            .map_err(|source| failed(table, source))?;
        }
        Ok(())
    }
}

pub(crate) fn compile(table: &Table, process: u32) -> Result<BpfProgram, Unconfinable> {
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut any_arguments = Vec::new();
    for rule in &table.rules {
        let alternatives = calls.entry(rule.syscall).or_default();
        // The compiler of filters takes an empty list as "any arguments": a second row would silently narrow or widen that.
        let repeated = any_arguments.contains(&rule.syscall) || (rule.arguments.is_empty() && !alternatives.is_empty());
        if repeated {
            return Err(failed(table, format!("`{}` is allowed with any arguments and has another row", rule.name)));
        }
        if rule.arguments.is_empty() {
            any_arguments.push(rule.syscall);
        } else {
            alternatives.push(conditions(rule, process).map_err(|source| failed(table, source))?);
        }
    }
    if calls.is_empty() {
        return Err(failed(table, "the table is empty"));
    }
    let (mismatch, matched) = match table.effect {
        Effect::AllowElseKill => (SeccompAction::KillProcess, SeccompAction::Allow),
        Effect::FailElseAllow(errno) => (SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs())),
        Effect::AllowElseFail(errno) => (SeccompAction::Errno(errno.unsigned_abs()), SeccompAction::Allow),
    };
    SeccompFilter::new(calls, mismatch, matched, ARCHITECTURE).and_then(BpfProgram::try_from).map_err(|source| failed(table, source))
}

fn conditions(rule: &Rule, process: u32) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = |argument: &rules::Argument| {
        let (width, op, value) = match argument.condition {
            Condition::Is(value) => (Width::Dword, Op::Eq, value.into()),
            Condition::IsNot(value) => (Width::Dword, Op::Ne, value.into()),
            Condition::Masked { mask, value } => (Width::Dword, Op::MaskedEq(mask.into()), value.into()),
            Condition::Null => (Width::Qword, Op::Eq, 0),
            Condition::NotNull => (Width::Qword, Op::Ne, 0),
            Condition::OwnProcess => (Width::Dword, Op::Eq, process.into()),
        };
        SeccompCondition::new(argument.index, width, op, value)
    };
    SeccompRule::new(rule.arguments.iter().map(condition).collect::<Result<_, _>>()?)
}

fn failed(table: &Table, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Unconfinable {
    Unconfinable::Filter { filter: table.name, source: source.into() }
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;
