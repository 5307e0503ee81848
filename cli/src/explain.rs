//! `explain`: what a code means.
//!
//! Runs in: command line.

use std::fmt::Write as _;

use clap::Args;
use edgeguard_policy::codes;

use crate::ExitCode;
use crate::output;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct ExplainArgs {
    /// Codes as they stand in messages: EG014, or 14.
    #[arg(value_name = "CODE", required_unless_present = "list")]
    codes: Vec<String>,
    /// List every code with its title: those of policies, of signatures, and of admission.
    #[arg(long)]
    list: bool,
}

/// Why the daemon refuses a module, beyond what is said of policies and signatures: code, title, explanation.
const ADMISSION: &[(&str, &str, &str)] = &[
    (
        "EG7001",
        "a file that the policy names cannot be used",
        "A module, key, model or granted directory is absent, of another kind than expected, or the daemon's user may not read it. A link that leads out of \
         its folder counts as absent: name the real path. The message says which path and what the system said.",
    ),
    (
        "EG7002",
        "the module asks for what its policy does not grant",
        "The module's imports are held against the policy before it is compiled. Grant what it asks for, or ship another module; \
         `edgeguard policy check POLICY --module MODULE` says the same without a daemon.",
    ),
    (
        "EG7003",
        "the module is not valid, or cannot be compiled",
        "The signature is good, and what was signed is no module that this version runs: it was cut short before it was signed, or uses a proposal that \
         the engine does not have switched on. The message is the parser's or the compiler's.",
    ),
    (
        "EG7004",
        "a granted graph is not available",
        "The model is absent, has another digest than the policy names, or its engine does not take it. The message says which.",
    ),
    (
        "EG7005",
        "the policy goes beyond what the host's file or this version allows",
        "The host's file sets a floor that a policy may raise and never lower.",
    ),
    (
        "EG7006",
        "the host lacks what admission needs",
        "Memory for the native code, or a journal that takes records. Nothing is admitted that cannot be recorded.",
    ),
    (
        "EG7007",
        "the module's address cannot be listened at",
        "Another program or another module listens there, this machine has no such address, or the service may open no such socket. The packaged service has \
         no network: a `.socket` unit opens a TCP port for it, and hands it over.",
    ),
];

const AFTER: &str = "\
What a policy lets its module do is another question: `edgeguard policy explain FILE`.

Examples:
  edgeguard explain EG014        why it is a mistake, the wrong and the right
  edgeguard explain EG3004       a reason for which a signature is rejected
  edgeguard explain --list       all codes, one a line";

pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let mut text = String::new();
    if args.list {
        for row in codes::TABLE {
            let _ = writeln!(text, "{:6}  {:7}  {}", row.id, row.severity.as_str(), row.title);
        }
        for code in edgeguard_attest::Code::ALL {
            let _ = writeln!(text, "{:6}  {:7}  {}", code.as_str(), "error", code.what());
        }
        for (id, title, _) in ADMISSION {
            let _ = writeln!(text, "{id:6}  {:7}  {title}", "error");
        }
    }
    let mut exit = ExitCode::Ok;
    for (i, code) in args.codes.iter().enumerate() {
        if i > 0 || args.list {
            text.push('\n');
        }
        match explain(code) {
            Some(page) => text.push_str(&page),
            None => {
                output::error(&format!("no message has the code `{code}`; `edgeguard explain --list` prints all codes"));
                exit = ExitCode::Usage;
            }
        }
    }
    output::data(&text);
    exit
}

fn explain(code: &str) -> Option<String> {
    if let Some(row) = codes::find(code) {
        return Some(page(row));
    }
    let code = code.to_ascii_uppercase();
    if let Some((id, title, why)) = ADMISSION.iter().find(|(id, ..)| *id == code) {
        return Some(format!("{id} (error): {title}\n\n{}\n", output::fill(why, 80, "")));
    }
    edgeguard_attest::explain(&code).map(|why| format!("{code}: {why}\n"))
}

fn page(row: &codes::Row) -> String {
    let mut page = format!("{} ({}): {}\n\n{}\n", row.id, row.severity.as_str(), row.title, output::fill(row.why, 80, ""));
    for (title, example) in [("Wrong", row.wrong), ("Right", row.right)].into_iter().filter(|(_, e)| !e.is_empty()) {
        let _ = write!(page, "\n{title}:\n\n");
        for line in example.lines() {
            let _ = writeln!(page, "{}", if line.is_empty() { String::new() } else { format!("    {line}") });
        }
    }
    page
}
