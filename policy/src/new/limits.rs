//! The limits that a policy begins with: enough for a small module, each with a word on what it is, and none below what the module starts with.
//!
//! Runs in: command line.

use crate::bounds;
use crate::imports::ModuleImports;
use crate::units::show_size;

/// `[limits]`, with comments.
pub(super) fn of(imports: Option<&ModuleImports>) -> String {
    let starts = imports.map_or(0, |module| module.memory);
    let memory = memory(starts);
    let mut out = "# The limits of one invocation. They are a beginning: lower what is more than the module needs.\n[limits]\n".to_owned();
    let starts = if starts > 0 { format!("; the module starts with {}", show_size(starts)) } else { String::new() };
    out.push_str(&format!("memory = \"{}\" # of an instance{starts}\n", show_size(memory)));
    out.push_str("deadline = \"10 s\" # wall time, waiting for input included\n");
    out.push_str("instances = 1 # invocations at once; each has its own memory\n");
    out.push_str("output = \"1 MiB\" # standard output and standard error together\n");
    if imports.is_some_and(|module| !module.opens_files()) {
        out.push_str("open-files = 0 # the module imports nothing that opens one\n");
    }
    let tables = imports.map_or(0, |module| module.table_elements);
    if tables > u64::from(bounds::DEFAULT_TABLE_ELEMENTS) {
        out.push_str(&format!("table-elements = {tables} # as many as the module starts with\n"));
    }
    out
}

/// Twice what the module starts with as a power of two, at least 16 MiB, at most what a policy may say.
fn memory(starts: u64) -> u64 {
    const LEAST: u64 = 16 << 20;
    let (_, most) = bounds::MEMORY;
    starts.saturating_mul(2).checked_next_power_of_two().unwrap_or(most).clamp(LEAST, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_never_less_than_the_module_starts_with_nor_more_than_a_policy_may_say() {
        for (starts, expected) in [(0, 16 << 20), (9 << 20, 32 << 20), (64 << 20, 128 << 20), (3 << 30, 4 << 30), (u64::MAX, 4 << 30)] {
            assert_eq!(memory(starts), expected, "{starts}");
        }
    }
}
