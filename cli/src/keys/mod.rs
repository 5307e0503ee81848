//! `keygen`, and the private keys that `sign` is given.
//!
//! Runs in: command line, offline.
//! Does not: overwrite a key unless told to, leave half a file behind, or take a secret from its arguments.

mod encrypted;
mod passphrase;

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use edgeguard_attest::Algorithm;
use edgeguard_attest::KeyError;
use edgeguard_attest::MAX_KEY_FILE;
use edgeguard_attest::sign::KeyFile;
use edgeguard_attest::sign::SigningKey;
use zeroize::Zeroizing;

use crate::ExitCode;
use crate::files;
use crate::files::Existing;
use crate::files::FileError;
use crate::files::with_suffix;
use crate::output;

/// Arguments of `keygen`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct KeygenArgs {
    /// Where to write: DIR/NAME makes DIR/NAME.key (mode 0600) and DIR/NAME.pub.
    #[arg(long, value_name = "DIR/NAME")]
    out: PathBuf,
    /// P-256 is what every sigstore client reads; Ed25519 signs in-toto statements only.
    #[arg(long, value_enum, default_value = "ecdsa-p256")]
    algorithm: KeygenAlgorithm,
    /// Encrypt the private key with a passphrase, asked for on the terminal.
    #[arg(long)]
    encrypt: bool,
    /// Take the passphrase from this file instead: its whole content but for one line end.
    #[arg(long, value_name = "FILE", requires = "encrypt")]
    passphrase_file: Option<PathBuf>,
    /// Replace files that are there. The old private key is then lost.
    #[arg(long)]
    force: bool,
}

const AFTER: &str = "\
Examples:
  edgeguard keygen --out keys/acme                       a key pair
  edgeguard keygen --out keys/acme --encrypt             its private key under a passphrase
  openssl pkcs8 -topk8 -in keys/acme.key -out acme.enc   the same later, or another passphrase";

/// The algorithms for which keys are made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeygenAlgorithm {
    EcdsaP256,
    EcdsaP384,
    Ed25519,
}

/// Why a key was not made or not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("`--out` must end in a name, `DIR/NAME`, found `{}`", .0.display())]
    NoName(PathBuf),
    #[error("`{}` exists already; pass another `--out`, or `--force` to replace both files and lose the old key", .0.display())]
    Exists(PathBuf),
    #[error("cannot use the key {0}")]
    Key(String, #[source] KeyError),
    #[error("cannot open the key {0}")]
    Encrypted(String, #[source] encrypted::EncryptedError),
    #[error("cannot make a key")]
    Generate(#[source] KeyError),
    #[error("cannot encrypt the key")]
    Encrypt(#[source] encrypted::EncryptedError),
    #[error("cannot read the key from standard input")]
    Input(#[source] io::Error),
    #[error("the key {0} is encrypted")]
    Locked(String, #[source] passphrase::PassphraseError),
    #[error("no passphrase for the new key")]
    NoPassphrase(#[source] passphrase::PassphraseError),
    #[error(transparent)]
    File(#[from] FileError),
}

pub(crate) fn keygen(args: KeygenArgs) -> ExitCode {
    match make_keys(&args) {
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

fn make_keys(args: &KeygenArgs) -> Result<String, KeysError> {
    // "keys/" has a file name by std's reading, and would become "keys.key".
    let ends_in_name = args.out.file_name().is_some() && !args.out.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !ends_in_name {
        return Err(KeysError::NoName(args.out.clone()));
    }
    let (private, public) = (with_suffix(&args.out, ".key"), with_suffix(&args.out, ".pub"));
    if !args.force {
        // Both are looked at before either is written; the rename below still refuses, should one appear meanwhile.
        for path in [&private, &public] {
            if path.symlink_metadata().is_ok() {
                return Err(KeysError::Exists(path.clone()));
            }
        }
    }
    let key = SigningKey::generate(match args.algorithm {
        KeygenAlgorithm::EcdsaP256 => Algorithm::EcdsaP256,
        KeygenAlgorithm::EcdsaP384 => Algorithm::EcdsaP384,
        KeygenAlgorithm::Ed25519 => Algorithm::Ed25519,
    })
    .map_err(KeysError::Generate)?;
    let text = if args.encrypt {
        let passphrase = passphrase::new(args.passphrase_file.as_deref()).map_err(KeysError::NoPassphrase)?;
        Zeroizing::new(encrypted::encrypt(&key, passphrase.as_bytes()).map_err(KeysError::Encrypt)?)
    } else {
        key.to_pem()
    };
    if let Some(parent) = private.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|source| FileError::Write(parent.to_owned(), source))?;
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    for (path, bytes, mode) in [(&private, text.as_bytes(), 0o600), (&public, key.public_pem().as_bytes(), 0o644)] {
        files::put(path, bytes, mode, existing).map_err(|error| match error {
            FileError::Exists(path) => KeysError::Exists(path),
            other => other.into(),
        })?;
    }
    Ok(format!(
        "private key  {}  (mode 0600{}; stays with the signer)\npublic key   {}  (goes to the operator)\nalgorithm    {}\nkey id       sha256:{}\n",
        private.display(),
        if args.encrypt { ", encrypted" } else { "" },
        public.display(),
        key.public().algorithm(),
        key.public().id(),
    ))
}

/// Reads the private key that `--key` names, `-` being standard input, and asks for its passphrase if it has one.
pub(crate) fn signing_key(path: &Path, passphrase_file: Option<&Path>) -> Result<SigningKey, KeysError> {
    let (name, text) = if path == Path::new("-") {
        ("on standard input".to_owned(), standard_input()?)
    } else {
        let file = files::open(path)?;
        let text = edgeguard_attest::read_bounded(&file, MAX_KEY_FILE).map(Zeroizing::new);
        let name = format!("`{}`", path.display());
        let text = text.map_err(|source| KeysError::Key(name.clone(), KeyError::Read(source)))?;
        (name, (text, Some(file)))
    };
    let (text, file) = text;
    match KeyFile::from_pem(&text).map_err(|source| KeysError::Key(name.clone(), source))? {
        KeyFile::Plain(key) => {
            if let Some(file) = file {
                warn_if_shared(path, &file);
            }
            Ok(key)
        }
        KeyFile::Encrypted(der) => {
            let passphrase = passphrase::of(&name, passphrase_file).map_err(|source| KeysError::Locked(name.clone(), source))?;
            encrypted::decrypt(&der, passphrase.as_bytes()).map_err(|source| KeysError::Encrypted(name, source))
        }
    }
}

fn standard_input() -> Result<(Zeroizing<Vec<u8>>, Option<File>), KeysError> {
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_KEY_FILE).unwrap_or(0) + 1));
    io::stdin().lock().take(MAX_KEY_FILE + 1).read_to_end(&mut text).map_err(KeysError::Input)?;
    Ok((text, None))
}

fn warn_if_shared(path: &Path, file: &File) {
    if let Ok(mode) = file.metadata().map(|metadata| metadata.permissions().mode() & 0o777)
        && mode & 0o077 != 0
    {
        let path = edgeguard_policy::escape(&path.to_string_lossy());
        output::say(&format!("warning: private key `{path}` has mode {mode:04o}, expected 0600; others may read it\n"));
    }
}
