//! `policy explain`: what a module may do, the kernel rule that each grant becomes, and what it could reach at worst.
//!
//! Runs in: command line.
//! Does not: look at this host's kernel or paths. The rules are the sandbox's own, for the kernel that the policy requires at least.

use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_policy::Engine;
use edgeguard_policy::HostConfig;
use edgeguard_policy::Policy;
use edgeguard_policy::explain::Explanation;
use edgeguard_policy::explain::Filter;
use edgeguard_policy::explain::Process;
use edgeguard_policy::explain::Rights;
use edgeguard_policy::explain::Rules;
use edgeguard_policy::explain::Worst;
use edgeguard_policy::explain::explain;
use edgeguard_policy::explain::program_of;
use edgeguard_sandbox::Access;
use edgeguard_sandbox::FilesystemUse;
use edgeguard_sandbox::Filters;
use edgeguard_sandbox::Profile;
use edgeguard_sandbox::Role;
use edgeguard_sandbox::Unconfinable;
use edgeguard_sandbox::rights_of;
use edgeguard_sandbox::rules;
use edgeguard_sandbox::rules::Effect;

use super::host;
use super::read;
use super::shelf::ProfilesArg;
use crate::ExitCode;
use crate::output;

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct ExplainArgs {
    /// The policy file.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The host's own file, whose floor counts where it is above the policy's; without this option, the floor of a host without a file.
    #[arg(long, value_name = "FILE")]
    host_file: Option<PathBuf>,

    #[command(flatten)]
    profiles: ProfilesArg,

    /// `text`: in words, then as tables, then what could be reached at worst. `table`: the tables alone. `json`.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

const AFTER: &str = "\
What a kernel rule is called is what the journal calls it: the rights of Landlock, and the SHA-256 of the filters, stand in the record of each confined process (`edgeguard audit show`).
What a code such as EG014 means is another question: `edgeguard explain EG014`.

Exit code 0: explained. 2: a policy with mistakes, or a file that cannot be read.

Examples:
  edgeguard policy explain voice-gate.toml
  edgeguard policy explain voice-gate.toml --host-file /etc/edgeguard/edgeguard.toml
  edgeguard policy explain voice-gate.toml --format table
  edgeguard policy explain voice-gate.toml --json | jq -r .paragraph";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Table,
    Json,
}

pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let Ok(policy) = read::one(&args.file, &args.profiles.shelf()) else { return ExitCode::Usage };
    let host = match args.host_file.as_deref().map(host::given).transpose() {
        Ok(host) => host.unwrap_or_default(),
        Err(found) => {
            output::say(&found.render(output::colour()));
            return ExitCode::Usage;
        }
    };
    let explanation = match rules(&policy, &host) {
        Ok(rules) => explain(&policy, &host, rules),
        Err(error) => {
            output::error(&format!("the filters of this version cannot be made, which is a defect worth a report: {error}"));
            return ExitCode::Usage;
        }
    };
    output::data(&match (args.json, args.format) {
        (true, _) | (_, Format::Json) => format!("{:#}\n", explanation.to_json()),
        (_, Format::Text) => text(&explanation),
        (_, Format::Table) => tables(&explanation),
    });
    ExitCode::Ok
}

/// The sandbox's own rules for this policy.
fn rules(policy: &Policy, host: &HostConfig) -> Result<Rules, Unconfinable> {
    let abi = policy.effective_floor(host).landlock;
    let filesystem = FilesystemUse::of(policy.dirs.iter().map(|dir| match dir.access {
        edgeguard_policy::Access::Read => Access::Read,
        edgeguard_policy::Access::ReadWrite => Access::ReadWrite,
    }));
    let worker = Profile { role: Role::Worker, filesystem };
    let mut processes = vec![process("edgeguard-worker", "", &worker, true)?];
    // The tables differ by what the host allows for writing alone.
    let in_host_root = process("edgeguard-worker", "where the host refuses it a root of its own", &worker, false)?;
    if processes.iter().any(|own| own.digest != in_host_root.digest) {
        processes.push(in_host_root);
    }
    let mut engines: Vec<Engine> = Vec::new();
    for graph in &policy.graphs {
        if !engines.contains(&graph.engine) {
            engines.push(graph.engine);
            let role = match graph.engine {
                Engine::Rten => Role::Graph,
                Engine::OnnxRuntime => Role::OnnxRuntime,
                Engine::LlamaCpp => Role::Language,
                Engine::PyTorch => Role::Torch,
                Engine::OpenVino => Role::OpenVino,
            };
            processes.push(process(program_of(graph.engine), "", &Profile { role, filesystem: FilesystemUse::None }, false)?);
        }
    }
    Ok(Rules { abi, read: rights(Access::Read, abi), write: rights(Access::ReadWrite, abi), processes })
}

fn rights(access: Access, abi: u32) -> Rights {
    let of = rights_of(access, abi);
    Rights { allowed: of.allowed, denied: of.denied, unknown: of.unknown }
}

fn process(program: &str, form: &str, profile: &Profile, own_root: bool) -> Result<Process, Unconfinable> {
    let filter = |table: rules::Table| Filter { name: table.name.to_owned(), effect: effect(table.effect), rows: table.rules.len() };
    let filters = rules::stage2(profile, own_root).into_iter().map(filter).collect();
    Ok(Process { program: program.to_owned(), form: form.to_owned(), filters, digest: Filters::stage2(profile, own_root).digest()? })
}

fn effect(effect: Effect) -> String {
    let error = |number: i32| rustix::io::Errno::from_raw_os_error(number).to_string();
    match effect {
        Effect::AllowElseKill => "lets these through, and ends the process at any other".to_owned(),
        Effect::FailElseAllow(number) => format!("answers these with an error: {}", error(number)),
        Effect::AllowElseFail(number) => format!("lets these through, and answers others with an error: {}", error(number)),
    }
}

fn text(e: &Explanation) -> String {
    let mut out = format!("{} ({}, SHA-256 {})\n\n{}\n\n", e.module, e.file, e.sha256, output::fill(&e.paragraph, WIDTH, ""));
    out.push_str(&tables(e));
    out.push_str("\nAT WORST\n");
    for worst in &e.worst {
        out.push_str(&situation(worst));
    }
    out.push_str("\nNOT LIMITED by this policy\n");
    e.unlimited.iter().for_each(|words| out.push_str(&item("- ", words)));
    out
}

fn situation(worst: &Worst) -> String {
    let mut out = format!("\n{}, it can\n", worst.when);
    worst.can.iter().for_each(|words| out.push_str(&item("+ ", words)));
    out.push_str("and cannot\n");
    worst.cannot.iter().for_each(|words| out.push_str(&item("- ", words)));
    out
}

/// A line of a list, with what does not fit below it.
fn item(mark: &str, words: &str) -> String {
    format!("  {mark}{}\n", output::fill(words, WIDTH, "    "))
}

fn tables(e: &Explanation) -> String {
    let mut out = format!("GRANTS, each with what holds the module to it (Landlock ABI {}, the least that this policy runs on)\n\n", e.abi);
    for row in &e.grants {
        let line = row.line.map_or_else(String::new, |line| line.to_string());
        // The line is one of the policy, unless another file is named.
        let words = row.file.as_ref().map_or_else(|| row.words.clone(), |file| format!("{} (line of `{file}`)", row.words));
        out.push_str(&format!("{line:>4}  {:<11}  {}\n", row.class, output::fill(&words, WIDTH, LEFT)));
        out.push_str(&format!("{LEFT}<- {}\n", output::fill(&row.rule, WIDTH, UNDER)));
        let rights = row.rights.iter().flat_map(|r| [("denied", &r.denied), ("denied by newer kernels, here by other layers", &r.unknown)]);
        for (what, list) in rights.filter(|(_, list)| !list.is_empty()) {
            out.push_str(&format!("{UNDER}{}\n", output::fill(&format!("{what}: {}", list.join(" ")), WIDTH, UNDER)));
        }
    }
    out.push_str("\nSYSTEM CALLS, when the process is locked\n");
    for process in &e.processes {
        let form = if process.form.is_empty() { String::new() } else { format!(", {}", process.form) };
        out.push_str(&format!("\n{}{form}\n", process.program));
        for filter in &process.filters {
            out.push_str(&format!("{:>6} rows  {:<17}  {}\n", filter.rows, filter.name, filter.effect));
        }
        out.push_str(&format!("      SHA-256 {}\n", process.digest));
    }
    out
}

/// What stands left of words in a table.
const LEFT: &str = "                   ";

/// What stands left of the lines that belong to a rule.
const UNDER: &str = "                      ";

/// Columns that lines are filled to.
const WIDTH: usize = 120;
