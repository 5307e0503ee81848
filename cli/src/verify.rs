//! `verify`: what admission would say of a module, check by check. Offline.
//!
//! Runs in: command line.
//! Does not: hold a second opinion. What it says is what the daemon would say, for both ask `edgeguard-attest` with the rules
//! that `edgeguard-admission` makes; and what it had no means to check, it names.

mod question;
mod report;

use std::path::PathBuf;

use clap::ArgGroup;
use clap::Args;
use clap::ValueEnum;
use edgeguard_attest::KeyError;
use edgeguard_attest::MaterialError;
use edgeguard_attest::NamedBundle;
use edgeguard_attest::PatternError;
use edgeguard_attest::Rejection;

use crate::ExitCode;
use crate::files;
use crate::files::FileError;
use crate::output;

use question::Question;
use report::Outcome;
use report::Report;

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
#[command(group = ArgGroup::new("whom").required(true).multiple(true).args(["policy", "key", "identity"]))]
pub(crate) struct VerifyArgs {
    /// Ask exactly what the daemon asks under this policy.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "identity", "name", "statement"])]
    policy: Option<PathBuf>,
    /// With `--policy`: the host's own file, for its trusted root and its limits of time; without it, the defaults count.
    #[arg(long, value_name = "FILE", requires = "policy", conflicts_with = "trusted_root")]
    config: Option<PathBuf>,
    /// With `--policy`: the directory of the profiles that it may name; default: `profiles.d` beside the directory that it lies in.
    #[arg(long, value_name = "DIR", requires = "policy")]
    profiles: Option<PathBuf>,
    /// What a host remembers, such as /var/lib/edgeguard/trust: version floors, revocations, the time that was proved. Its files alone: a counter in a TPM
    /// is not asked.
    #[arg(long, value_name = "DIR")]
    trust_dir: Option<PathBuf>,
    /// A trusted public key; may be repeated, and any one of them suffices.
    #[arg(long, value_name = "PUB")]
    key: Vec<PathBuf>,
    /// A trusted identity in a certificate, such as `https://github.com/acme/peak/.github/workflows/release.yml@refs/tags/*`.
    #[arg(long, value_name = "PATTERN", requires = "issuer")]
    identity: Option<String>,
    /// Who vouches for that identity, exactly.
    #[arg(long, value_name = "URL", requires = "identity")]
    issuer: Option<String>,
    /// The authorities and logs to believe, as a `trusted_root.json`; without it, sigstore's public-good instance.
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// What must have been stated.
    #[arg(long, value_enum, default_value = "any")]
    statement: Asked,
    /// The name that a release or approval must state; without it, what the module's file is called before `.wasm`.
    #[arg(long)]
    name: Option<String>,
    /// The module, or a signed policy (*.toml). With `--policy`, without it, the one that the policy names.
    #[arg(required_unless_present = "policy")]
    module: Option<PathBuf>,
    /// A bundle; may be repeated. Without it, every bundle beside the module: MODULE.sigstore.json and MODULE.LABEL.sigstore.json.
    #[arg(long)]
    bundle: Vec<PathBuf>,
    /// Write the checks as JSON.
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
Exit code 0: admitted. 3: refused, with the reason in the first line. 2: a file or an option is wrong.

Examples:
  edgeguard verify --key acme.pub peak.wasm                                   signed by this key?
  edgeguard verify --key acme.pub --statement release peak.wasm               released by it?
  edgeguard verify --policy /etc/edgeguard/policy.d/peak.toml \\
      --config /etc/edgeguard/edgeguard.toml --trust-dir /var/lib/edgeguard/trust
                                                                              would this host admit it?
  edgeguard verify --issuer https://token.actions.githubusercontent.com \\
      --identity 'https://github.com/acme/peak/.github/workflows/release.yml@refs/tags/*' peak.wasm
  edgeguard verify --key ops.pub peak.toml                                    a signed policy
  edgeguard explain EG2002                                                    what a code means";

/// What must have been stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    /// A signature or a release.
    Any,
    /// A signature.
    Signature,
    /// A release.
    Release,
    /// An approval.
    Approval,
}

/// What keeps `verify` from doing its work. That a module is refused is no failure of the command.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot use the key `{}`", .0.display())]
    Key(PathBuf, #[source] KeyError),
    #[error("key sha256:{0} is listed twice; remove one `--key`")]
    KeyTwice(String),
    #[error("cannot use `--identity`")]
    Identity(#[source] PatternError),
    #[error("cannot use the trusted root")]
    Material(#[from] MaterialError),
    #[error("`{}` has {errors}; `edgeguard policy check` shows them", .path.display())]
    Text { path: PathBuf, errors: String },
    #[error("cannot make rules of `{}`", .0.display())]
    Rules(PathBuf, #[source] Box<edgeguard_admission::RulesError<Failed>>),
    #[error("cannot use what `{}` remembers", .0.display())]
    State(PathBuf, #[source] edgeguard_attest::StateError),
    #[error("expected a host's memory in `{}`, found none; the daemon or `edgeguard trust import` makes it", .0.display())]
    NoState(PathBuf),
    #[error("cannot use the trust pack in `{}`", .0.display())]
    Pack(PathBuf, #[source] edgeguard_attest::trust::PackError),
    #[error("expected one `--bundle` for a policy, found several")]
    SeveralBundles,
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    #[error("expected a module with `--policy`, found the policy `{}`; check its signature with `--key`", .0.display())]
    PolicyOfPolicy(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
}

pub(crate) fn verify(args: VerifyArgs) -> ExitCode {
    match answer(&args) {
        Ok((text, exit)) => {
            output::data(&text);
            exit
        }
        Err(failed) => {
            output::error(&files::chain(&failed));
            ExitCode::Usage
        }
    }
}

fn answer(args: &VerifyArgs) -> Result<(String, ExitCode), Failed> {
    let question = Question::of(args)?;
    if question.is_policy() && args.policy.is_some() {
        return Err(Failed::PolicyOfPolicy(question.file));
    }
    let mut report = Report::new(&question);
    let outcome = if question.is_policy() { policy(&question, &mut report)? } else { module(&question, &mut report)? };
    if let Err(rejection) = &outcome {
        output::error(&rejection.to_string());
    }
    let exit = if outcome.is_ok() { ExitCode::Ok } else { ExitCode::Rejected };
    report.outcome(outcome);
    let text = if args.json { report.json().map_err(Failed::Json)? } else { report.text() };
    Ok((text, exit))
}

/// What admission does, with each check noted.
fn module(question: &Question, report: &mut Report) -> Result<Result<Outcome, Rejection>, Failed> {
    let module = match edgeguard_attest::read_module(&files::open(&question.file)?) {
        Ok(module) => module,
        Err(rejection) => return Ok(Err(rejection)),
    };
    report.digest = Some(module.digest());
    let paths = match question.bundles() {
        Ok(paths) => paths,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let mut bundles = Vec::new();
    for path in &paths {
        report.bundles.push(path.clone());
        match read(path)? {
            Ok(bytes) => bundles.push((path.display().to_string(), bytes)),
            Err(rejection) => return Ok(Err(rejection)),
        }
    }
    let named: Vec<NamedBundle<'_>> = bundles.iter().map(|(name, bytes)| NamedBundle { name, bytes }).collect();
    Ok(module.admit(&named, &question.rules, &question.situation(), &mut report.passed).map(|module| Outcome {
        proofs: module.proofs().to_vec(),
        met: module.met().to_vec(),
        release: module.release().cloned(),
    }))
}

/// A policy text and its signature.
fn policy(question: &Question, report: &mut Report) -> Result<Result<Outcome, Rejection>, Failed> {
    let text = files::read(&question.file, edgeguard_policy::MAX_TEXT as u64)?;
    let paths = match question.bundles() {
        Ok(paths) => paths,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let [path] = paths.as_slice() else { return Err(Failed::SeveralBundles) };
    report.bundles.push(path.clone());
    let bundle = match read(path)? {
        Ok(bundle) => bundle,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let situation = question.situation();
    let proof = edgeguard_attest::verify_policy_text(
        &text,
        &bundle,
        &question.rules.signers,
        situation.material,
        situation.revocations,
        situation.clock,
        &mut report.passed,
    );
    Ok(proof.map(|proof| Outcome { proofs: vec![proof], met: Vec::new(), release: None }))
}

/// A bundle; one that is too big or no regular file is a reason to refuse, one that is not there is the user's slip.
fn read(path: &std::path::Path) -> Result<Result<Vec<u8>, Rejection>, Failed> {
    let file = files::open(path)?;
    Ok(edgeguard_attest::read_bundle(&file))
}
