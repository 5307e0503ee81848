//! `sign`: a vendor's signature or release, a reviewer's approval, an operator's policy. Offline.
//!
//! Runs in: command line.
//! Does not: take a secret from its arguments, or replace a bundle that says something else unless told to.

mod existing;
mod options;

use std::io;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_attest::Approval;
use edgeguard_attest::MAX_MODULE;
use edgeguard_attest::ModuleDigest;
use edgeguard_attest::Release;
use edgeguard_attest::Time;
use edgeguard_attest::sign::SignError;
use edgeguard_attest::sign::SigningKey;

use crate::ExitCode;
use crate::files;
use crate::files::Existing;
use crate::files::FileError;
use crate::files::with_suffix;
use crate::keys;
use crate::keys::KeysError;
use crate::output;
use crate::policy::shelf::Shelf;

use existing::Says;
use options::Label;
use options::Moment;

/// Arguments of `sign`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct SignArgs {
    /// The private key: PKCS#8 in PEM, encrypted or not, as `keygen` or OpenSSL writes it; `-` for standard input.
    #[arg(long)]
    key: PathBuf,
    /// The passphrase of an encrypted key: the whole file but for one line end. Otherwise it is asked for on the terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The module.
    #[arg(required_unless_present = "policy", conflicts_with = "policy")]
    module: Option<PathBuf>,
    /// Sign this policy file instead of a module, for hosts that accept signed policies only.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["statement", "name", "version", "not_before", "expires", "capabilities", "comment", "label"])]
    policy: Option<PathBuf>,
    /// What to say of the module.
    #[arg(long, value_enum, default_value = "signature")]
    statement: Kind,
    /// The module's name, as the operator's policy has it. For a release or an approval.
    #[arg(long, required_if_eq_any = [("statement", "release"), ("statement", "approval")])]
    name: Option<String>,
    /// The release's number, which rises with each; or the number that is approved.
    #[arg(long, required_if_eq("statement", "release"))]
    version: Option<u64>,
    /// When it begins to hold: `2026-12-01T00:00:00Z`, or `30d` from now.
    #[arg(long, value_name = "TIME")]
    not_before: Option<Moment>,
    /// When it ceases to hold: `2027-12-01T00:00:00Z`, or `365d` from now.
    #[arg(long, value_name = "TIME")]
    expires: Option<Moment>,
    /// Sign the directories, graphs and variables that this example policy grants as the most that the release may be given.
    #[arg(long, value_name = "POLICY")]
    capabilities: Option<PathBuf>,
    /// A sentence for people, in an approval.
    #[arg(long)]
    comment: Option<String>,
    /// Write MODULE.LABEL.sigstore.json. Without it: `release` for a release, `approval-KEY` for an approval, none for a signature.
    #[arg(long)]
    label: Option<Label>,
    /// Write the bundle to this file instead.
    #[arg(long, value_name = "FILE", conflicts_with = "label")]
    output: Option<PathBuf>,
    /// Replace a bundle that says something else, or that another key made.
    #[arg(long)]
    force: bool,
}

const AFTER: &str = "\
Examples:
  edgeguard sign --key acme.key peak.wasm                                     a signature, as cosign makes it
  edgeguard sign --key acme.key --statement release --name peak --version 7 \\
      --expires 365d --capabilities peak.toml peak.wasm                       a release that cannot be rolled back
  edgeguard sign --key ops.key --statement approval --name peak peak.wasm     a second pair of eyes
  edgeguard sign --key ops.key --policy peak.toml                             a policy
  vault read -field=key secret/acme | edgeguard sign --key - peak.wasm        a key that is in no file";

/// What may be said of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// That I signed it, and nothing else.
    Signature,
    /// That it is this version of the module of this name.
    Release,
    /// That I, who did not build it, agree that it runs under this name.
    Approval,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
enum SignFailed {
    #[error("`{option}` belongs to {belongs}, found `--statement {found}`")]
    Option { option: &'static str, belongs: &'static str, found: &'static str },
    #[error("cannot take the capabilities from `{}`: {errors} in it; `edgeguard policy check {}` shows them", .path.display(), .path.display())]
    Capabilities { path: PathBuf, errors: String },
    #[error("cannot sign the policy `{}`: {errors} in it; `edgeguard policy check {}` shows them", .path.display(), .path.display())]
    Policy { path: PathBuf, errors: String },
    #[error("the policy `{}` names profiles, and a signature over it would not be one over what they say; sign what `edgeguard policy expand {}` prints", .0.display(), .0.display())]
    Profiles(PathBuf),
    #[error("cannot sign `{}`", .0.display())]
    Sign(PathBuf, #[source] SignError),
    #[error("`{}` exists already and is {found}; pass `--label` or `--output` to write beside it, or `--force` to replace it", .path.display())]
    Other { path: PathBuf, found: String },
    #[error(transparent)]
    Key(#[from] KeysError),
    #[error(transparent)]
    File(#[from] FileError),
}

pub(crate) fn sign(args: SignArgs) -> ExitCode {
    match signed(&args) {
        Ok(text) => {
            output::data(&text);
            ExitCode::Ok
        }
        Err(error) => {
            output::error(&files::chain(&error));
            ExitCode::Usage
        }
    }
}

fn signed(args: &SignArgs) -> Result<String, SignFailed> {
    args.only_what_belongs()?;
    match (&args.policy, &args.module) {
        (Some(policy), _) => sign_policy(args, policy),
        (None, Some(module)) => sign_module(args, module),
        // Clap asks for one of the two.
        (None, None) => Err(FileError::Open(PathBuf::new(), io::ErrorKind::NotFound.into()).into()),
    }
}

fn sign_module(args: &SignArgs, path: &Path) -> Result<String, SignFailed> {
    // All that can be wrong with files and options comes before anybody is asked for a passphrase.
    let says = args.says(Time::from(std::time::SystemTime::now()))?;
    let module = files::read(path, MAX_MODULE)?;
    let key = keys::signing_key(&args.key, args.passphrase_file.as_deref())?;
    let bundle = match &says {
        Says::Signature | Says::Policy => key.sign(&module),
        Says::Release(release) => key.sign_release(&module, release),
        Says::Approval(approval) => key.sign_approval(&module, approval),
    };
    let bundle = bundle.map_err(|source| SignFailed::Sign(path.to_owned(), source))?;
    let target = args.target(path, &key);
    replace(&target, &bundle, &says, &key, args.force)?;
    Ok(format!(
        "bundle  {}\nmodule  sha256:{}\nkey     sha256:{} ({})\nsays    {says}\n",
        target.display(),
        ModuleDigest::of(&module),
        key.public().id(),
        key.public().algorithm(),
    ))
}

fn sign_policy(args: &SignArgs, path: &Path) -> Result<String, SignFailed> {
    let (text, policy) = read_policy(path).map_err(|(path, errors)| SignFailed::Policy { path, errors })??;
    if !policy.profiles.is_empty() {
        return Err(SignFailed::Profiles(path.to_owned()));
    }
    let key = keys::signing_key(&args.key, args.passphrase_file.as_deref())?;
    let bundle = key.sign_policy(&text).map_err(|source| SignFailed::Sign(path.to_owned(), source))?;
    let target = args.output.clone().unwrap_or_else(|| with_suffix(path, ".sigstore.json"));
    replace(&target, &bundle, &Says::Policy, &key, args.force)?;
    Ok(format!(
        "bundle  {}\npolicy  sha256:{} (`{}`)\nkey     sha256:{} ({})\n",
        target.display(),
        hex::encode(policy.digest),
        policy.name,
        key.public().id(),
        key.public().algorithm(),
    ))
}

/// A policy file that has no errors, and its text; otherwise how many errors it has.
#[allow(clippy::type_complexity, reason = "two kinds of failure, of which the caller words one")]
fn read_policy(path: &Path) -> Result<Result<(Vec<u8>, edgeguard_policy::Policy), FileError>, (PathBuf, String)> {
    let text = match files::read(path, edgeguard_policy::MAX_TEXT as u64) {
        Ok(text) => text,
        Err(error) => return Ok(Err(error)),
    };
    let profiles = Shelf::default().for_policy(path, &text);
    match edgeguard_policy::parse_bytes_with(&path.display().to_string(), &text, &profiles) {
        Ok(policy) => Ok(Ok((text, policy))),
        Err(found) => {
            let errors = found.errors();
            Err((path.to_owned(), format!("{errors} error{}", if errors == 1 { "" } else { "s" })))
        }
    }
}

impl SignArgs {
    /// Refuses an option that the statement has no place for: what was given is never left out in silence.
    fn only_what_belongs(&self) -> Result<(), SignFailed> {
        let found = match self.statement {
            Kind::Signature => "signature",
            Kind::Release => "release",
            Kind::Approval => "approval",
        };
        let either = "a release or an approval";
        let dated = self.statement == Kind::Signature;
        for (given, option, belongs) in [
            (dated && self.name.is_some(), "--name", either),
            (dated && self.version.is_some(), "--version", either),
            (dated && self.not_before.is_some(), "--not-before", either),
            (dated && self.expires.is_some(), "--expires", either),
            (self.statement != Kind::Release && self.capabilities.is_some(), "--capabilities", "a release"),
            (self.statement != Kind::Approval && self.comment.is_some(), "--comment", "an approval"),
        ] {
            if given {
                return Err(SignFailed::Option { option, belongs, found });
            }
        }
        Ok(())
    }

    /// What is to be said of the module.
    fn says(&self, now: Time) -> Result<Says, SignFailed> {
        let not_before = self.not_before.map(|moment| moment.after(now));
        let expires = self.expires.map(|moment| moment.after(now));
        let name = self.name.clone().unwrap_or_default();
        Ok(match self.statement {
            Kind::Signature => Says::Signature,
            Kind::Release => {
                let capabilities = self.capabilities.as_deref().map(capabilities).transpose()?;
                let capabilities_sha256 = capabilities.as_ref().map(edgeguard_attest::Capabilities::sha256);
                let version = self.version.unwrap_or_default();
                Says::Release(Release { name, version, not_before, expires, capabilities, capabilities_sha256 })
            }
            Kind::Approval => Says::Approval(Approval { name, version: self.version, not_before, expires, comment: self.comment.clone() }),
        })
    }

    /// Where the bundle goes.
    fn target(&self, module: &Path, key: &SigningKey) -> PathBuf {
        if let Some(output) = &self.output {
            return output.clone();
        }
        let label = match (&self.label, self.statement) {
            (Some(label), _) => Some(label.to_string()),
            (None, Kind::Signature) => None,
            (None, Kind::Release) => Some("release".to_owned()),
            (None, Kind::Approval) => Some(Label::approval(&self.key, key).to_string()),
        };
        with_suffix(module, &label.map_or_else(|| ".sigstore.json".to_owned(), |label| format!(".{label}.sigstore.json")))
    }
}

/// What a policy grants, as a release states it.
fn capabilities(path: &Path) -> Result<edgeguard_attest::Capabilities, SignFailed> {
    let (_, policy) = read_policy(path).map_err(|(path, errors)| SignFailed::Capabilities { path, errors })??;
    Ok(edgeguard_admission::capabilities(&policy))
}

/// Writes the bundle, in the place of one that says the same thing by the same key, or of none.
fn replace(target: &Path, bundle: &str, says: &Says, key: &SigningKey, force: bool) -> Result<(), SignFailed> {
    let found = if force { None } else { existing::other(target, says, key)? };
    if let Some(found) = found {
        return Err(SignFailed::Other { path: target.to_owned(), found });
    }
    let existing = if force || target.exists() { Existing::Replace } else { Existing::Refuse };
    Ok(files::put(target, bundle.as_bytes(), 0o644, existing)?)
}
