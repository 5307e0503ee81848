//! The host's own file, `/etc/edgeguard/edgeguard.toml`: where things are, who may ask, the floor, what evidence is judged by, and how much is kept.
//!
//! Runs in: daemon and command line.
//! Invariant: every key has a documented default, so that an absent file means [`HostConfig::default`].

use std::path::PathBuf;

use crate::audit::Audit;
use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::document::Reading;
use crate::document::Table;
use crate::graphs::Engines;
use crate::learning::Learning;
use crate::names::Principal;
use crate::policy::Floor;
use crate::resolve::Resolver;
use crate::schema;
use crate::source::Source;
use crate::trust::PolicySigning;
use crate::trust::Trust;

/// What the operator says of the host as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// `paths.policy`: one file a module.
    pub policy_dir: PathBuf,
    /// `paths.profiles`: what policies may name; where it is silent, `profiles.d` beside the directory of policies.
    pub profiles_dir: PathBuf,
    /// `paths.state`: journal, cache of native code.
    pub state_dir: PathBuf,
    /// `paths.runtime`: sockets.
    pub runtime_dir: PathBuf,
    /// `paths.libexec`: the three child programs.
    pub libexec_dir: PathBuf,
    /// `control.socket`; where it is silent, `control.sock` in the runtime directory.
    pub control: PathBuf,
    /// `require`: below this no module is run.
    pub floor: Floor,
    /// `control.admins`: who may reload and see everything, and invoke.
    pub admins: Vec<Principal>,
    /// `control.invokers`: who may invoke modules and ask for their status.
    pub invokers: Vec<Principal>,
    /// `workers.standby`: keep one hardened worker ready for the next cold start.
    pub standby: bool,
    /// `trust`: what evidence is judged by.
    pub trust: Trust,
    /// `policy-signing`: whose policies count; absent, every policy in the directory does.
    pub policy_signing: Option<PolicySigning>,
    /// `audit`: how much the journal keeps, and what happens when its disk takes no more.
    pub audit: Audit,
    /// `engines`: what the operator installed beside what is built in.
    pub engines: Engines,
    /// `learning`: one module that is given more than its policy; only a daemon that is built for lab machines starts with it.
    pub learning: Option<Learning>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            policy_dir: "/etc/edgeguard/policy.d".into(),
            profiles_dir: "/etc/edgeguard/profiles.d".into(),
            state_dir: "/var/lib/edgeguard".into(),
            runtime_dir: "/run/edgeguard".into(),
            libexec_dir: "/usr/libexec/edgeguard".into(),
            control: "/run/edgeguard/control.sock".into(),
            floor: Floor::default(),
            admins: vec![Principal::Uid(0)],
            invokers: Vec::new(),
            standby: true,
            trust: Trust::default(),
            policy_signing: None,
            audit: Audit::default(),
            engines: Engines::default(),
            learning: None,
        }
    }
}

/// Reads the host's file.
///
/// # Errors
/// Every mistake in the text.
pub(crate) fn resolve(source: &Source) -> Result<HostConfig, Diagnostics> {
    let mut found = Diagnostics::default();
    let document = Document::read(source, &schema::HOST, Reading::Whole, &mut found);
    let config = Resolver { source, found: &mut found }.host(&document.root());
    found.sort();
    match config {
        Some(config) if found.errors() == 0 => Ok(config),
        _ => Err(found),
    }
}

impl Resolver<'_> {
    fn host(&mut self, root: &Table<'_>) -> Option<HostConfig> {
        let mut config = HostConfig::default();
        let version = self.version(root);
        if let Some(paths) = root.section("paths") {
            self.replace(&paths, "policy", &mut config.policy_dir);
            config.profiles_dir = config.policy_dir.with_file_name("profiles.d");
            self.replace(&paths, "profiles", &mut config.profiles_dir);
            self.replace(&paths, "state", &mut config.state_dir);
            self.replace(&paths, "runtime", &mut config.runtime_dir);
            self.replace(&paths, "libexec", &mut config.libexec_dir);
        }
        config.control = config.runtime_dir.join("control.sock");
        if let Some(control) = root.section("control") {
            self.replace(&control, "socket", &mut config.control);
            config.admins = self.principals(&control, "admins").unwrap_or(config.admins);
            config.invokers = self.principals(&control, "invokers").unwrap_or_default();
        }
        if let Some(workers) = root.section("workers") {
            config.standby = workers.boolean("standby").unwrap_or(config.standby);
        }
        let floor = self.floor(root);
        let trust = self.trust(root);
        let policy_signing = self.policy_signing(root);
        let audit = self.audit(root);
        let engines = self.engines(root);
        let learning = self.learning(root);
        let (floor, _) = floor?;
        version?;
        Some(HostConfig {
            floor,
            trust: trust?,
            policy_signing: policy_signing?,
            audit: audit?,
            engines: engines?,
            learning: learning?,
            ..config
        })
    }

    fn replace(&mut self, table: &Table<'_>, key: &str, path: &mut PathBuf) {
        if let Some(written) = self.path(table, key) {
            *path = written.value;
        }
    }

    pub(crate) fn principals(&mut self, table: &Table<'_>, key: &str) -> Option<Vec<Principal>> {
        let written = table.texts(key)?;
        if let Some(over) = written.get(bounds::MAX_PRINCIPALS) {
            let message = format!("`{key}` has {} entries, and at most {} are allowed", written.len(), bounds::MAX_PRINCIPALS);
            self.report(Code::TooMany, message, &over.span, "one too many", "put these users in a group, and name the group");
        }
        let mut list = Vec::new();
        for word in written.iter().take(bounds::MAX_PRINCIPALS) {
            match Principal::new(word.value) {
                Ok(principal) => list.push(principal),
                Err(why) => self.report(
                    Code::Principal,
                    "user or group is malformed",
                    &word.span,
                    why,
                    "write `user:NAME`, `uid:NUMBER`, `group:NAME` or `gid:NUMBER`",
                ),
            }
        }
        Some(list)
    }
}
