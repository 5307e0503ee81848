//! `trust`: what a gateway believes in, how long still, and how newer material reaches it on a stick.
//!
//! Runs in: command line, with the rights of the service's user or of root.
//! Does not: use a network, or put anything in force that was not verified; what it refuses changes nothing.

mod words;

use std::error::Error as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use clap::Subcommand;
use edgeguard_attest::Clock;
use edgeguard_attest::Counter;
use edgeguard_attest::MAX_MATERIAL;
use edgeguard_attest::MaterialError;
use edgeguard_attest::NoCounter;
use edgeguard_attest::Rejection;
use edgeguard_attest::State;
use edgeguard_attest::StateError;
use edgeguard_attest::TPM_DEVICE;
use edgeguard_attest::Time;
use edgeguard_attest::TpmCounter;
use edgeguard_attest::TpmError;
use edgeguard_attest::trust;
use edgeguard_attest::trust::ImportError;
use edgeguard_attest::trust::PackError;
use edgeguard_attest::trust::RootSource;
use edgeguard_policy::HostConfig;
use edgeguard_policy::TrustedRoot;

use crate::ExitCode;
use crate::files;
use crate::files::FileError;
use crate::output;

/// What this host trusts.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Say what is trusted, how old it is, what runs out when, and which floors hold.
    Status(StatusArgs),
    /// Put a trust pack in force: a TUF repository in a directory, such as a stick.
    Import(ImportArgs),
    /// Forget all floors and the trust pack, and begin anew.
    Reset(ResetArgs),
}

/// Where the host keeps what it remembers.
#[derive(Debug, Args)]
struct Place {
    /// The host's own file; where it is absent, its defaults count.
    #[arg(long, value_name = "FILE", default_value = "/etc/edgeguard/edgeguard.toml")]
    config: PathBuf,
    /// The state directory, instead of the one that the host's file names. The state of trust is in its folder `trust`.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Arguments of `trust status`.
#[derive(Debug, Args)]
#[command(after_long_help = STATUS_AFTER)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    place: Place,
    /// The answer as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `trust import`.
#[derive(Debug, Args)]
#[command(after_long_help = IMPORT_AFTER)]
pub(crate) struct ImportArgs {
    /// The directory: metadata in it or in `metadata`, files in `targets`.
    dir: PathBuf,
    #[command(flatten)]
    place: Place,
    /// The root to begin with, at the first import only; otherwise `trust.tuf-root` of the host's file. It must come another way than the pack.
    #[arg(long, value_name = "FILE")]
    tuf_root: Option<PathBuf>,
}

/// Arguments of `trust reset`.
#[derive(Debug, Args)]
#[command(after_long_help = RESET_AFTER)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    place: Place,
    /// Old releases, old revocation lists and old trust packs count again, until newer ones were seen.
    #[arg(long, required = true)]
    i_understand_that_old_releases_count_again: bool,
}

const STATUS_AFTER: &str = "\
Exit code 0: something new may be admitted. 1: what is trusted is too old for that. 2: the state cannot be read. 3: it is damaged or was set back.

Examples:
  edgeguard trust status                                what this host trusts
  edgeguard trust status --json | jq .freshness         for monitoring";

const IMPORT_AFTER: &str = "\
A pack is put in force whole or not at all. One that is older than what is in force, ran out, or was changed is refused, and the old one stays in force.
A running daemon takes it up at `edgeguard reload`.

Exit code 0: in force. 2: a file or directory that is not there. 3: refused.

Examples:
  edgeguard trust import /media/usb --tuf-root root.json     the first time
  edgeguard trust import /media/usb && edgeguard reload      from then on";

const RESET_AFTER: &str = "\
For a state that is damaged or was set back (EG5005), after finding out why. What it costs: the version floor of every module, the revocation list and its
number, the trust pack and its root, the floor of the time, and the revisions of signed policies. The old state is kept beside as `trust.old-N`.
Stop the daemon first. Afterwards import the newest trust pack, and only then start it.

Example:
  edgeguard trust reset --i-understand-that-old-releases-count-again";

/// What keeps a command from doing its work.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{0}` is no file of a host")]
    Config(String, String),
    #[error("cannot use the trusted root that the host's file names")]
    Material(#[from] MaterialError),
    #[error("the host's file binds the state to a counter in the TPM, and that cannot be asked (EG5005)")]
    Tpm(#[source] TpmError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("the trust pack in force cannot be used")]
    Pack(#[from] PackError),
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
}

impl Failed {
    /// Whether this is a refusal with a code, or something that is not there.
    fn rejection(self) -> Result<Rejection, Self> {
        match self {
            Self::State(StateError::Io { .. }) => Err(self),
            Self::State(error) => Ok(error.into()),
            Self::Pack(PackError::State(error)) => Ok(error.into()),
            Self::Import(ImportError::State(error @ StateError::Io { .. })) => Err(Self::State(error)),
            Self::Import(ref error) => error.rejection().ok_or(self),
            other => Err(other),
        }
    }
}

pub(crate) fn run(command: &TrustCommand) -> ExitCode {
    let done = match command {
        TrustCommand::Status(args) => status(args),
        TrustCommand::Import(args) => import(args),
        TrustCommand::Reset(args) => reset(args),
    };
    match done.map_err(Failed::rejection) {
        Ok((text, exit)) => {
            output::data(&text);
            exit
        }
        Err(Ok(rejection)) => {
            output::error(&rejection.to_string());
            ExitCode::Rejected
        }
        Err(Err(Failed::Config(file, found))) => {
            output::say(&found);
            output::error(&format!("`{file}` is no file of a host"));
            ExitCode::Usage
        }
        Err(Err(failed)) => {
            output::error(&files::chain(&failed));
            if denied(&failed) {
                output::say("help: only root and the service's user read the state; use `sudo`, or the service's user\n");
            }
            ExitCode::Usage
        }
    }
}

fn status(args: &StatusArgs) -> Result<(String, ExitCode), Failed> {
    let host = args.place.host()?;
    let state = State::look(&args.place.dir(&host))?;
    let clock = clock(state.as_ref(), &host);
    let own = edgeguard_admission::trust_material(&host.trust, |path| Ok::<_, Failed>(files::read(path, MAX_MATERIAL as u64)?))?;
    let source = match &host.trust.root {
        TrustedRoot::PublicGood => RootSource::BuiltIn,
        TrustedRoot::File { .. } => RootSource::File,
        TrustedRoot::Nobody => RootSource::Nobody,
    };
    let status = trust::status(state.as_ref(), (source, &own), &clock, edgeguard_admission::freshness_limits(&host.trust))?;
    let exit = if status.freshness.check_new().is_ok() { ExitCode::Ok } else { ExitCode::Refused };
    let text = if args.json {
        let mut text = serde_json::to_string_pretty(&status).map_err(Failed::Json)?;
        text.push('\n');
        text
    } else {
        words::status(&status, clock.now_at_least())
    };
    Ok((text, exit))
}

fn import(args: &ImportArgs) -> Result<(String, ExitCode), Failed> {
    let host = args.place.host()?;
    let first = args.tuf_root.as_ref().or(host.trust.tuf_root.as_ref());
    let first = first.map(|path| files::read(path, trust::MAX_ROOT)).transpose()?;
    let mut state = State::open(&args.place.dir(&host), counter(&host)?)?;
    let clock = clock(Some(&state), &host);
    let imported = trust::import(&args.dir, &mut state, first.as_deref(), &clock)?;
    Ok((words::imported(&imported, clock.now_at_least()), ExitCode::Ok))
}

fn reset(args: &ResetArgs) -> Result<(String, ExitCode), Failed> {
    let host = args.place.host()?;
    let (_state, aside) = State::reset(&args.place.dir(&host), counter(&host)?)?;
    let kept = match aside {
        Some(path) => format!("the old state is kept as {}\n", edgeguard_policy::escape(&path.to_string_lossy())),
        None => "there was no state\n".to_owned(),
    };
    Ok((format!("begun anew: no floor holds\n{kept}import the newest trust pack before the daemon starts\n"), ExitCode::Ok))
}

impl Place {
    fn host(&self) -> Result<HostConfig, Failed> {
        let text = match files::read(&self.config, edgeguard_policy::MAX_TEXT as u64) {
            Ok(text) => text,
            Err(error) if error.is_absence() => return Ok(HostConfig::default()),
            Err(error) => return Err(error.into()),
        };
        let name = self.config.display().to_string();
        edgeguard_policy::parse_host_bytes(&name, &text).map_err(|found| Failed::Config(name, found.render(output::colour())))
    }

    fn dir(&self, host: &HostConfig) -> PathBuf {
        self.state.as_deref().unwrap_or(&host.state_dir).join("trust")
    }
}

/// The counter that the host's file asks for. One that cannot be had is not done without.
fn counter(host: &HostConfig) -> Result<Box<dyn Counter>, Failed> {
    match host.trust.counter {
        edgeguard_policy::Counter::None => Ok(Box::new(NoCounter)),
        edgeguard_policy::Counter::Tpm => Ok(Box::new(TpmCounter::open(Path::new(TPM_DEVICE)).map_err(Failed::Tpm)?)),
    }
}

fn clock(state: Option<&State>, host: &HostConfig) -> Clock {
    let floor = state.map_or(Time::BUILT, State::floor_time);
    Clock::new(floor, SystemTime::now().into(), edgeguard_admission::clock_limits(&host.trust))
}

/// Whether the system said that this user may not.
fn denied(failed: &Failed) -> bool {
    let mut cause = failed.source();
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}
