//! The exporter's file, `/etc/edgeguard/export.toml`: which sinks there are. Without a sink there is no exporter.
//!
//! Runs in: exporter, before it is confined.
//! Does not: open what it names; see [`crate::net`] and [`crate::sinks`].

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use edgeguard_audit::encode::Form;
use edgeguard_audit::encode::OcsfVersion;
use serde::Deserialize;

use crate::error::ConfigError;

/// The file as written. Absent is off; what is not known is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    version: u32,
    #[serde(default = "default_journal")]
    journal: PathBuf,
    #[serde(default = "default_state")]
    state: PathBuf,
    #[serde(default = "default_landlock")]
    require_landlock: u32,
    #[serde(default)]
    file: Vec<FileSink>,
    #[serde(default)]
    unix: Vec<UnixSink>,
    #[serde(default)]
    syslog: Vec<TlsSink>,
    #[serde(default)]
    relp: Vec<TlsSink>,
    #[serde(default)]
    otlp: Vec<OtlpSink>,
    #[serde(default)]
    journald: Vec<JournaldSink>,
    #[serde(default)]
    journal_remote: Vec<JournalRemoteSink>,
}

/// Lines appended to a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSink {
    name: String,
    /// The file; made if it is not there, with mode 0600.
    pub path: PathBuf,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ocsf_version: Option<String>,
    #[serde(default = "yes")]
    calls: bool,
}

/// Lines to a local socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnixSink {
    name: String,
    /// The socket.
    pub path: PathBuf,
    /// A syslog datagram for each entry, as `/dev/log` takes it; otherwise a stream of lines.
    #[serde(default)]
    pub datagram: bool,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ocsf_version: Option<String>,
    #[serde(default = "yes")]
    calls: bool,
}

/// Syslog or RELP over TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsSink {
    name: String,
    /// `HOST:PORT`.
    pub address: String,
    /// Certificates of the authorities that the receiver's certificate may come from, PEM.
    pub ca: PathBuf,
    /// The exporter's own certificate, PEM; together with `key`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0400.
    #[serde(default)]
    pub key: Option<PathBuf>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ocsf_version: Option<String>,
    #[serde(default = "yes")]
    calls: bool,
}

/// An OpenTelemetry collector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OtlpSink {
    name: String,
    /// `https://HOST:PORT/v1/logs`; `http://` only to this machine.
    pub endpoint: String,
    /// Certificates of the authorities that the collector's certificate may come from, PEM; needed for `https`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The exporter's own certificate, PEM; together with `key`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0400.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// A file whose only line goes out as `Authorization: Bearer …`, mode 0400.
    #[serde(default)]
    pub bearer_token: Option<PathBuf>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ocsf_version: Option<String>,
    #[serde(default = "yes")]
    calls: bool,
}

/// This machine's systemd journal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JournaldSink {
    name: String,
    /// The socket of the native protocol.
    #[serde(default = "default_journald")]
    pub path: PathBuf,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ocsf_version: Option<String>,
    #[serde(default = "yes")]
    calls: bool,
}

/// A `systemd-journal-remote`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JournalRemoteSink {
    name: String,
    /// `https://HOST:PORT`, to which `/upload` is added where there is no path; `http://` only to this machine.
    pub endpoint: String,
    /// Certificates of the authorities that the receiver's certificate may come from, PEM; needed for `https`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The exporter's own certificate, PEM; together with `key`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0400.
    #[serde(default)]
    pub key: Option<PathBuf>,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    ocsf_version: Option<String>,
    #[serde(default = "yes")]
    calls: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    #[default]
    Ocsf,
    Ecs,
}

/// What every sink has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Its name: that of its cursor, and in the status.
    pub name: String,
    /// How lines are written.
    pub form: Form,
    /// Whether calls are sent, or security events alone.
    pub calls: bool,
}

/// A sink, by kind.
#[derive(Debug, Clone)]
pub enum Kind {
    /// See [`FileSink`].
    File(FileSink),
    /// See [`UnixSink`].
    Unix(UnixSink),
    /// Syslog, RFC 5424 over TLS, RFC 5425.
    Syslog(TlsSink),
    /// RELP over TLS.
    Relp(TlsSink),
    /// See [`OtlpSink`].
    Otlp(OtlpSink),
    /// See [`JournaldSink`].
    Journald(JournaldSink),
    /// See [`JournalRemoteSink`].
    JournalRemote(JournalRemoteSink),
}

impl Kind {
    /// The word in the configuration and in the status.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Unix(_) => "unix",
            Self::Syslog(_) => "syslog",
            Self::Relp(_) => "relp",
            Self::Otlp(_) => "otlp",
            Self::Journald(_) => "journald",
            Self::JournalRemote(_) => "journal-remote",
        }
    }
}

/// A configuration that makes sense.
#[derive(Debug, Clone)]
pub struct Config {
    /// The journal's folder.
    pub journal: PathBuf,
    /// Where cursors and status stand.
    pub state: PathBuf,
    /// The least Landlock ABI that the exporter runs with.
    pub require_landlock: u32,
    /// The sinks; at least one.
    pub sinks: Vec<(Common, Kind)>,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path, MAX_FILE)?;
        let text = String::from_utf8(text).map_err(|_| ConfigError::Whole(format!("`{}` is not UTF-8", path.display())))?;
        Self::parse(&text, path)
    }

    /// Reads a text; `path` is its name in errors.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        if file.version != 1 {
            return Err(ConfigError::Whole(format!("expected `version = 1`, found `version = {}`", file.version)));
        }
        let mut sinks = Vec::new();
        for sink in file.file {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::File(sink)));
        }
        for sink in file.unix {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::Unix(sink)));
        }
        for sink in file.syslog {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::Syslog(sink)));
        }
        for sink in file.relp {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::Relp(sink)));
        }
        for sink in file.otlp {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::Otlp(sink)));
        }
        for sink in file.journald {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::Journald(sink)));
        }
        for sink in file.journal_remote {
            sinks.push((common(&sink.name, sink.format, sink.ocsf_version.as_deref(), sink.calls)?, Kind::JournalRemote(sink)));
        }
        let config = Self { journal: file.journal, state: file.state, require_landlock: file.require_landlock, sinks };
        config.check().map(|()| config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.sinks.is_empty() || self.sinks.len() > MAX_SINKS {
            return Err(ConfigError::Whole(format!(
                "expected 1 to {MAX_SINKS} sinks, found {}; add one of `[[file]]`, `[[unix]]`, `[[syslog]]`, `[[relp]]`, `[[otlp]]`, `[[journald]]`, `[[journal-remote]]`",
                self.sinks.len()
            )));
        }
        let mut names = BTreeSet::new();
        for (common, kind) in &self.sinks {
            if !names.insert(&common.name) {
                return Err(refuse(&common.name, "two sinks have this name; a cursor belongs to one"));
            }
            let path = match kind {
                Kind::File(FileSink { path, .. }) | Kind::Unix(UnixSink { path, .. }) | Kind::Journald(JournaldSink { path, .. }) => path,
                Kind::Syslog(_) | Kind::Relp(_) | Kind::Otlp(_) | Kind::JournalRemote(_) => continue,
            };
            if !path.is_absolute() || path.file_name().is_none() {
                return Err(refuse(&common.name, &format!("expected an absolute path of a file, found `{}`", path.display())));
            }
            if path.starts_with(&self.journal) {
                return Err(refuse(&common.name, "nothing is written into the journal's folder"));
            }
        }
        Ok(())
    }
}

fn common(name: &str, format: Format, version: Option<&str>, calls: bool) -> Result<Common, ConfigError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(good) {
        return Err(refuse(name, "expected a name of 1 to 32 of `a`-`z`, `0`-`9`, `-`"));
    }
    let form = match (format, version) {
        (Format::Ocsf, None) => Form::default(),
        (Format::Ocsf, Some(version)) => Form::Ocsf(version.parse::<OcsfVersion>().map_err(|error| refuse(name, &error.to_string()))?),
        (Format::Ecs, None) => Form::Ecs,
        (Format::Ecs, Some(_)) => return Err(refuse(name, "`ocsf-version` is for `format = \"ocsf\"`")),
    };
    Ok(Common { name: name.to_owned(), form, calls })
}

pub(crate) fn refuse(sink: &str, what: &str) -> ConfigError {
    ConfigError::Sink { sink: edgeguard_audit::printable(sink.as_bytes()), what: edgeguard_audit::printable(what.as_bytes()) }
}

/// A file of the operator's, with a bound.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(ConfigError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// The same for a secret: nobody but its owner may read it.
pub(crate) fn read_secret(path: &Path, limit: u64) -> Result<Vec<u8>, ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = std::fs::metadata(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ConfigError::KeyMode { path: path.to_owned(), mode });
    }
    read_bounded(path, limit)
}

fn default_journal() -> PathBuf {
    "/var/lib/edgeguard/audit".into()
}

fn default_state() -> PathBuf {
    "/var/lib/edgeguard-export".into()
}

fn default_journald() -> PathBuf {
    "/run/systemd/journal/socket".into()
}

/// The first ABI whose rules name TCP ports.
const fn default_landlock() -> u32 {
    4
}

const fn yes() -> bool {
    true
}

const MAX_FILE: u64 = 64 << 10;
const MAX_SINKS: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("export.toml"))
    }

    #[test]
    fn a_configuration_without_a_sink_is_refused() {
        assert!(parse("version = 1").unwrap_err().to_string().contains("expected 1 to 16 sinks, found 0"));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = "version = 1\n[[file]]\nname = \"a\"\npath = \"/a\"\nrotate = true";
        assert!(crate::error::chain(&parse(text).unwrap_err()).contains("rotate"));
    }

    #[test]
    fn two_sinks_of_one_name_are_refused() {
        let text = "version = 1\n[[file]]\nname = \"a\"\npath = \"/a\"\n[[unix]]\nname = \"a\"\npath = \"/b\"";
        assert!(parse(text).unwrap_err().to_string().contains("two sinks have this name"));
    }

    #[test]
    fn a_file_in_the_journal_is_refused() {
        let text = "version = 1\n[[file]]\nname = \"a\"\npath = \"/var/lib/edgeguard/audit/s/x\"";
        assert!(parse(text).unwrap_err().to_string().contains("journal's folder"));
    }

    #[test]
    fn forms_are_what_they_are_called() {
        let form =
            |line: &str| parse(&format!("version = 1\n[[file]]\nname = \"a\"\npath = \"/a\"\n{line}")).map(|config| config.sinks[0].0.form);
        assert_eq!(form("").unwrap(), Form::Ocsf(OcsfVersion::V1_8));
        assert_eq!(form("ocsf-version = \"1.3\"").unwrap(), Form::Ocsf(OcsfVersion::V1_3));
        assert_eq!(form("format = \"ecs\"").unwrap(), Form::Ecs);
        assert!(form("ocsf-version = \"1.2\"").is_err());
        assert!(form("format = \"ecs\"\nocsf-version = \"1.3\"").is_err());
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert!(matches!(read_secret(file.path(), 10), Err(ConfigError::KeyMode { mode: 0o640, .. })));
        mode(0o400);
        assert!(read_secret(file.path(), 10).is_ok());
    }
}
