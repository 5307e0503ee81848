//! A counter in the non-volatile memory of a TPM 2.0: what sees that the daemon's state was restored from a backup.
//!
//! Runs in: daemon, CLI (`trust`).
//! Invariant: a number is given only if the index is the counter that this file defines; an index of another kind, of other attributes, or none where
//! one was, is an error.
//! Does not: load a library, or keep anything secret. Four commands are marshalled here, over the kernel's resource manager `/dev/tpmrm0`: the alternative,
//! `tss-esapi`, brings 40 crates and a C library into the process that admits modules.
//!
//! The index is `0x01804547`, in the range that the owner gives away (TCG Registry of Reserved TPM 2.0 Handles). It is defined at the first increment, with
//! the owner's authorization, which is empty on most hosts. Whoever may open the TPM may raise it: that makes the state look set back, so nothing new is
//! admitted; it never makes an older state look current. Removing it and defining it again does not lower it either, because a TPM starts a counter
//! above every counter that it ever had (TPM 2.0 Library, Part 1, §37.2.4).

mod link;
mod wire;

use std::cell::RefCell;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use self::link::Link;
pub use self::link::LinkError;
use self::wire::Command;
pub(crate) use self::wire::Reader;
pub(crate) use self::wire::WireError;
use crate::state::Counter;
use crate::state::CounterError;

/// Where the kernel offers the TPM, with its resource manager in between.
pub const TPM_DEVICE: &str = "/dev/tpmrm0";
use crate::state::CounterKind;

/// The index of the counter to which what admission remembers is bound.
const INDEX: u32 = 0x0180_4547;
/// The index of the counter that says how new the journal is.
const JOURNAL_INDEX: u32 = 0x0180_4548;
/// The longest authorization that a TPM takes, in bytes: the size of the largest digest.
const MAX_AUTH: usize = 64;

/// Why the TPM gives no number. Each is the end of admission of new modules, never of the counter's use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TpmError {
    /// The device is not there, or does not answer.
    #[error("cannot use the TPM at `{path}`; check that the device is there, that this process may open it, and that no other holds it", path = .path.display())]
    Link {
        /// Where it was looked for.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: LinkError,
    },
    /// A response that no TPM gives.
    #[error("the TPM answered {command} with something else: {why}")]
    Response {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The TPM refused a command.
    #[error("the TPM refused {command} with code {code:#x}; `tpm2_rc_decode {code:#x}` says what it means{hint}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Its response code (TPM 2.0 Library, Part 2, §6.6).
        code: u32,
        /// What to do, where that is known.
        hint: &'static str,
    },
    /// The index is not the counter that it was, or is gone.
    #[error(
        "TPM index {index:#010x} is not the counter of this host: {why}; somebody removed or replaced it, or another TPM is in its place"
    )]
    Foreign {
        /// The index.
        index: u32,
        /// What is there instead.
        why: String,
    },
    /// An authorization longer than a TPM takes.
    #[error("the owner's authorization has {found} bytes, expected at most {MAX_AUTH}")]
    Auth {
        /// Its length.
        found: usize,
    },
}

impl From<TpmError> for CounterError {
    fn from(error: TpmError) -> Self {
        Self::Device(Box::new(error))
    }
}

/// The counter index of a TPM.
///
/// ```no_run
/// # use std::path::Path;
/// # use edgeguard_attest::{State, TpmCounter};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counter = TpmCounter::open(Path::new("/dev/tpmrm0"))?;
/// let state = State::open(Path::new("/var/lib/edgeguard/trust"), Box::new(counter))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TpmCounter {
    path: PathBuf,
    index: u32,
    owner_auth: Zeroizing<Vec<u8>>,
    /// The trait reads by `&self`; a counter is used by one thread at a time.
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Nothing after a failure: the next command connects anew, so that a half-read response is never taken for the next one's.
    link: Option<Link>,
    /// Whether the index was there before. It is then never defined again: a counter that disappears is an alarm and not a first start.
    seen: bool,
}

impl TpmCounter {
    /// The TPM behind a character device, `/dev/tpmrm0`, or behind the Unix socket of an emulator. Connects and asks for the index once, so that a host
    /// whose TPM is away says so at its start.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn open(path: &Path) -> Result<Self, TpmError> {
        Self::open_index(path, INDEX)
    }

    /// The same, for the counter of the journal, `0x01804548`.
    ///
    /// # Errors
    /// [`TpmError`].
    pub fn open_for_journal(path: &Path) -> Result<Self, TpmError> {
        Self::open_index(path, JOURNAL_INDEX)
    }

    fn open_index(path: &Path, index: u32) -> Result<Self, TpmError> {
        let counter = Self { path: path.to_owned(), index, owner_auth: Zeroizing::default(), inner: RefCell::default() };
        counter.written()?;
        Ok(counter)
    }

    /// With the authorization of the owner hierarchy, which is used only to define the index. It goes to the TPM in clear, as `tpm2_nvdefine -P` sends it.
    ///
    /// # Errors
    /// [`TpmError::Auth`] if it has more than 64 bytes.
    pub fn with_owner_auth(mut self, auth: &[u8]) -> Result<Self, TpmError> {
        if auth.len() > MAX_AUTH {
            return Err(TpmError::Auth { found: auth.len() });
        }
        self.owner_auth = Zeroizing::new(auth.to_vec());
        Ok(self)
    }

    /// Whether the index is there and was raised; nothing if it is not there.
    fn written(&self) -> Result<Option<bool>, TpmError> {
        let command = Command::ReadPublic { index: self.index };
        match self.ask(command)? {
            Ok(parameters) => {
                let written = wire::written(&parameters, self.index)
                    .map_err(|error| TpmError::Foreign { index: self.index, why: error.to_string() })?;
                self.inner.borrow_mut().seen = true;
                Ok(Some(written))
            }
            Err(code) if no_such_handle(code) => {
                if self.inner.borrow().seen {
                    return Err(TpmError::Foreign { index: self.index, why: "it was there, and is gone".into() });
                }
                Ok(None)
            }
            Err(code) => Err(refused(command, code)),
        }
    }

    fn value(&self) -> Result<u64, TpmError> {
        let command = Command::Read { index: self.index };
        let parameters = self.ask(command)?.map_err(|code| refused(command, code))?;
        wire::value(&parameters).map_err(|error| TpmError::Response { command: command.name(), why: error.to_string() })
    }

    /// A command that answers with nothing but its success.
    fn tell(&self, command: Command<'_>) -> Result<(), TpmError> {
        let parameters = self.ask(command)?.map_err(|code| refused(command, code))?;
        Reader::new(&parameters)
            .end("an empty response")
            .map_err(|error| TpmError::Response { command: command.name(), why: error.to_string() })
    }

    /// The response's parameters, or the code of the TPM's refusal. A TPM that asks to be asked again later did not execute the command.
    fn ask(&self, command: Command<'_>) -> Result<Result<Vec<u8>, u32>, TpmError> {
        let mut wait = Duration::from_millis(20);
        loop {
            let answer = self.ask_once(command)?;
            match answer {
                Err(code) if LATER.contains(&code) && wait <= LONGEST_WAIT => {
                    std::thread::sleep(wait);
                    wait *= 2;
                }
                answer => return Ok(answer),
            }
        }
    }

    fn ask_once(&self, command: Command<'_>) -> Result<Result<Vec<u8>, u32>, TpmError> {
        let mut inner = self.inner.borrow_mut();
        let failed = |source| TpmError::Link { path: self.path.clone(), source };
        // Taken out while it is used, and put back only when a whole response was read.
        let mut link = match inner.link.take() {
            Some(link) => link,
            None => Link::open(&self.path).map_err(failed)?,
        };
        let bytes = link.transact(&command.to_bytes()).map_err(failed)?;
        let answer = command.response(&bytes).map_err(|error| TpmError::Response { command: command.name(), why: error.to_string() })?;
        inner.link = Some(link);
        Ok(answer.map(<[u8]>::to_vec))
    }
}

impl Counter for TpmCounter {
    fn kind(&self) -> CounterKind {
        CounterKind::Tpm
    }

    fn get(&self) -> Result<u64, CounterError> {
        match self.written()? {
            Some(true) => Ok(self.value()?),
            Some(false) | None => Err(CounterError::Unused),
        }
    }

    fn increment(&mut self) -> Result<u64, CounterError> {
        if self.written()?.is_none() {
            self.tell(Command::DefineSpace { index: self.index, owner_auth: &self.owner_auth })?;
            self.inner.borrow_mut().seen = true;
        }
        self.tell(Command::Increment { index: self.index })?;
        Ok(self.value()?)
    }
}

/// `TPM_RC_HANDLE`, of whichever handle, from the TPM itself and not from a layer above it.
fn no_such_handle(code: u32) -> bool {
    code & 0xffff_f0ff == 0x08b
}

/// `TPM_RC_YIELDED`, `_TESTING`, `_NV_RATE`, `_RETRY`: warnings after which the same command is sent again.
const LATER: [u32; 4] = [0x908, 0x90a, 0x920, 0x922];
/// The waits double from 20 ms to this one: 5 seconds in all.
const LONGEST_WAIT: Duration = Duration::from_millis(2560);

fn refused(command: Command<'_>, code: u32) -> TpmError {
    // Without the number of the session or parameter that a code of format one carries.
    let hint = match (code, code & 0xffff_f0ff) {
        (0x100, _) => "; the TPM was not started: the firmware or the emulator must send TPM2_Startup",
        (0x101, _) => "; the TPM is in failure mode: restart the host",
        (0x14b, _) => "; the TPM's non-volatile memory is full: remove an index that nobody needs",
        (_, 0x08e | 0x0a2) => "; the owner hierarchy has an authorization, and another or none was given",
        _ => "",
    };
    TpmError::Refused { command: command.name(), code, hint }
}
