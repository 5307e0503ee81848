//! From a checked document to a [`Policy`], or to every mistake in it.
//!
//! Runs in: daemon and command line.
//! Does not: stop at the first mistake. Each part is resolved for itself; only what needs two parts waits for both.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::document::Found;
use crate::document::Reading;
use crate::document::Table;
use crate::graphs::PlacedGraph;
use crate::http::Listen;
use crate::names::ModuleName;
use crate::overlap;
use crate::overlap::Placed;
use crate::paths;
use crate::policy::Access;
use crate::policy::DirGrant;
use crate::policy::Floor;
use crate::policy::Limits;
use crate::policy::Mode;
use crate::policy::Places;
use crate::policy::Policy;
use crate::policy::Quota;
use crate::profile;
use crate::profile::Profiles;
use crate::requirements::PlacedRequirement;
use crate::schema;
use crate::signers::Signers;
use crate::source::Source;

/// Reads a policy.
///
/// # Errors
/// Every mistake in the text.
pub(crate) fn policy(source: &Source, profiles: &Profiles) -> Result<Policy, Diagnostics> {
    let mut found = Diagnostics::default();
    let document = Document::read(source, &schema::POLICY, Reading::Whole, &mut found);
    if profile::is_used(&document) {
        return profile::policy(source, profiles);
    }
    let resolved = Resolver { source, found: &mut found }.policy(&document.root());
    found.sort();
    match resolved {
        Some(policy) if found.errors() == 0 => Ok(Policy { warnings: found, ..policy }),
        _ => Err(found),
    }
}

/// Turns values into what they mean, and reports what means nothing.
pub(crate) struct Resolver<'a> {
    pub(crate) source: &'a Source,
    pub(crate) found: &'a mut Diagnostics,
}

/// The limits and where those stand that other checks point at.
struct PlacedLimits {
    limits: Limits,
    instances: Range<usize>,
    memory: Range<usize>,
    deadline: Range<usize>,
    table_elements: Range<usize>,
}

/// `[module]`.
struct Module {
    name: Found<ModuleName>,
    path: Found<PathBuf>,
    mode: Found<Mode>,
    args: Vec<String>,
    min_version: Option<u64>,
    signers: Signers,
    requirements: Vec<PlacedRequirement>,
}

impl Resolver<'_> {
    pub(crate) fn policy(&mut self, root: &Table<'_>) -> Option<Policy> {
        // Every part first, so that every part's mistakes are reported; then what needs more than one.
        let version = self.version(root);
        let revision = if root.has("revision") { self.version_number(root, "revision").map(|n| Some(n.value)) } else { Some(None) };
        let module = root.section("module").and_then(|t| self.module(&t));
        let dirs = self.dirs(&root.sections("dir"));
        let graphs = self.graphs(&root.sections("graph"));
        let http = self.http(root, module.as_ref().map(|module| (module.mode.value, module.mode.span.clone())));
        let limits = root.section("limits").and_then(|t| self.limits(&t));
        let env = self.env(root);
        let floor = self.floor(root);
        let preferred = self.preferred(root, floor.as_ref().map(|(floor, _)| *floor));
        let privacy = self.privacy(root);
        if let Some(limits) = &limits {
            self.channels(limits, &graphs);
        }
        if let Some(module) = &module {
            let socket = http.as_ref().and_then(Option::as_ref).map(|(http, span)| (&http.listen, span.clone()));
            self.self_grants(module, &dirs, &graphs, socket);
        }
        let (module, limits, (floor, landlock), (privacy, classes), http) = (module?, limits?, floor?, privacy?, http?);
        let (preferred, wish) = preferred?;
        version?;
        let revision = revision?;
        let signers = &module.signers.list;
        let places = Places {
            name: module.name.span,
            path: module.path.span,
            signers: signers.iter().map(|s| s.place.clone()).collect(),
            windows: signers.iter().map(|s| s.window.clone()).collect(),
            requirements: module.requirements.iter().map(|r| r.place.clone()).collect(),
            dirs: dirs.iter().map(|d| d.host.clone()).collect(),
            models: graphs.iter().map(|g| g.model.clone()).collect(),
            digests: graphs.iter().map(|g| g.digest.clone()).collect(),
            weights: graphs.iter().map(|g| g.weights.clone()).collect(),
            listen: http.as_ref().map(|(_, span)| span.clone()),
            memory: limits.memory,
            deadline: limits.deadline,
            table_elements: limits.table_elements,
            landlock,
            preferred: wish,
            privacy: classes,
            profiles: None,
        };
        Some(Policy {
            name: module.name.value,
            path: module.path.value,
            mode: module.mode.value,
            revision,
            min_version: module.min_version,
            signers: module.signers.list.into_iter().map(|s| s.signer).collect(),
            requirements: module.requirements.into_iter().map(|r| r.requirement).collect(),
            dirs: dirs.into_iter().map(|d| d.grant).collect(),
            graphs: graphs.into_iter().map(|g| g.grant).collect(),
            http: http.map(|(http, _)| http),
            limits: limits.limits,
            env,
            args: module.args,
            floor,
            preferred,
            privacy,
            profiles: Vec::new(),
            digest: self.source.digest(),
            warnings: Diagnostics::default(),
            source: self.source.clone(),
            places,
        })
    }

    /// The parts that a profile may have, each for itself.
    pub(crate) fn profile(&mut self, root: &Table<'_>) {
        let _ = self.version(root);
        let _ = self.dirs(&root.sections("dir"));
        let _ = self.graphs(&root.sections("graph"));
        let _ = root.section("limits").and_then(|table| self.limits(&table));
        let _ = self.env(root);
        let floor = self.floor(root);
        let _ = self.preferred(root, floor.map(|(floor, _)| floor));
        let _ = self.privacy(root);
    }

    pub(crate) fn version(&mut self, root: &Table<'_>) -> Option<()> {
        let version = root.integer("version")?;
        if version.value == 1 {
            return Some(());
        }
        let label = "this program reads version 1";
        self.report(Code::Version, "format version is not known", &version.span, label, "write `version = 1`, or run a newer Edgeguard");
        None
    }

    fn module(&mut self, table: &Table<'_>) -> Option<Module> {
        let name = table.text("name").and_then(|n| self.name(n, "module", ModuleName::new));
        let path = self.path(table, "path");
        let mode = table.text("mode").and_then(|w| {
            let value = self.word(&w, &[("command", Some(Mode::Command)), ("http", Some(Mode::Http))])?;
            Some(Found { value, span: w.span })
        });
        let args = self.args(table);
        let signers = self.signers(&table.sections("signer"));
        let requirements = self.requirements(table, &signers);
        let min_version = self.min_version(table, requirements.as_deref());
        Some(Module { name: name?, path: path?, mode: mode?, args: args?, min_version: min_version?, signers, requirements: requirements? })
    }

    fn dirs(&mut self, tables: &[Table<'_>]) -> Vec<Placed> {
        self.at_most(tables, bounds::MAX_DIRS, "[[dir]]", FEWER);
        let mut dirs = Vec::new();
        for table in tables.iter().take(bounds::MAX_DIRS) {
            let guest = paths::absolute(paths::GRANT, table.text("guest"), self.source, self.found);
            let host = paths::absolute(paths::GRANT, table.text("host"), self.source, self.found);
            let words = [("read", Some(Access::Read)), ("read-write", Some(Access::ReadWrite))];
            let access = table.text("access").and_then(|w| self.word(&w, &words));
            let quota = self.quota(table, access);
            if let (Some(guest), Some(host), Some(access), Some(quota)) = (guest, host, access, quota) {
                let grant = DirGrant { guest: guest.value.to_owned(), host: PathBuf::from(host.value), access, quota };
                dirs.push(Placed { grant, guest: guest.span, host: host.span });
            }
        }
        for dir in &dirs {
            overlap::check_system(dir, self.source, self.found);
        }
        overlap::check_pairs(&dirs, self.source, self.found);
        dirs
    }

    fn quota(&mut self, table: &Table<'_>, access: Option<Access>) -> Option<Quota> {
        let files = if table.has("files") { self.count(table, "files", bounds::DIR_FILES, None).map(Some) } else { Some(None) };
        let bytes = if table.has("bytes") { self.size(table, "bytes", bounds::DIR_BYTES).map(Some) } else { Some(None) };
        for key in ["files", "bytes"] {
            if let (Some(Access::Read), Some(span)) = (access, table.span_of(key)) {
                let help = "write `access = \"read-write\"`, or remove the quota: what is only read does not grow";
                self.report(Code::Misplaced, format!("`{key}` has no meaning with `access = \"read\"`"), &span, "a quota of nothing", help);
                return None;
            }
        }
        Some(Quota { files: files?.map(|found| found.value), bytes: bytes?.map(|found| found.value) })
    }

    fn limits(&mut self, table: &Table<'_>) -> Option<PlacedLimits> {
        let memory = self.size(table, "memory", bounds::MEMORY);
        let deadline = self.duration(table, "deadline", bounds::DEADLINE);
        let instances = self.count(table, "instances", bounds::INSTANCES, None);
        let output = self.size(table, "output", bounds::OUTPUT);
        let open_files = self.count(table, "open-files", bounds::OPEN_FILES, Some(bounds::DEFAULT_OPEN_FILES));
        let table_elements = self.count(table, "table-elements", bounds::TABLE_ELEMENTS, Some(bounds::DEFAULT_TABLE_ELEMENTS));
        let clocks = if table.has("clock-resolution") {
            self.duration(table, "clock-resolution", bounds::CLOCK_RESOLUTION).map(|found| found.value)
        } else {
            Some(Duration::ZERO)
        };
        let (memory, deadline, instances, table_elements) = (memory?, deadline?, instances?, table_elements?);
        let limits = Limits {
            memory: memory.value,
            deadline: deadline.value,
            instances: instances.value,
            output: output?.value,
            open_files: open_files?.value,
            table_elements: table_elements.value,
            clock_resolution: clocks?,
        };
        Some(PlacedLimits {
            limits,
            instances: instances.span,
            memory: memory.span,
            deadline: deadline.span,
            table_elements: table_elements.span,
        })
    }

    fn channels(&mut self, limits: &PlacedLimits, graphs: &[PlacedGraph]) {
        let (instances, count) = (limits.limits.instances, u32::try_from(graphs.len()).unwrap_or(u32::MAX));
        let product = instances.saturating_mul(count);
        if product > bounds::MAX_CHANNELS {
            let message =
                format!("{instances} instances × {count} graphs are {product} channels, and at most {} are made", bounds::MAX_CHANNELS);
            let help = format!("lower `instances` to {} or grant fewer graphs", bounds::MAX_CHANNELS / count.max(1));
            self.report(Code::Channels, message, &limits.instances, "each instance has a channel to each graph", help);
        }
    }

    fn self_grants(&mut self, module: &Module, dirs: &[Placed], graphs: &[PlacedGraph], socket: Option<(&Listen, Range<usize>)>) {
        let mut holds = vec![("its own file", module.path.value.to_str().unwrap_or_default(), module.path.span.clone())];
        holds.extend(module.signers.list.iter().filter_map(|s| Some(("a signer's key", s.key()?, s.place.clone()))));
        holds.extend(graphs.iter().map(|g| ("a model", g.grant.model.to_str().unwrap_or_default(), g.model.clone())));
        for (weights, (place, _)) in graphs.iter().filter_map(|g| g.grant.weights.as_ref().zip(g.weights.as_ref())) {
            holds.push(("a model's weights", weights.path.to_str().unwrap_or_default(), place.clone()));
        }
        if let Some((Listen::Unix(path), span)) = socket {
            holds.push(("the socket it is reached by", path.to_str().unwrap_or_default(), span));
        }
        for dir in dirs {
            overlap::check_self(dir, &holds, self.source, self.found);
        }
    }

    fn env(&mut self, root: &Table<'_>) -> BTreeMap<String, String> {
        let words = root.words("env");
        if let Some((key, _)) = words.get(bounds::MAX_ENV) {
            self.report(
                Code::TooMany,
                format!("`[env]` has {} variables, and at most {} are allowed", words.len(), bounds::MAX_ENV),
                &key.span,
                "one too many",
                "pass a file in a granted directory instead",
            );
        }
        for (key, value) in words.iter().take(bounds::MAX_ENV) {
            let long = key.value.len() > bounds::MAX_WORD;
            if key.value.is_empty() || key.value.contains('=') || long {
                let label = if long { "longer than 4096 bytes" } else { "empty, or contains `=`" };
                self.report(
                    Code::EnvName,
                    "environment variable's name is malformed",
                    &key.span,
                    label,
                    "write a name of letters, digits and `_`",
                );
            }
            paths::no_control(key, self.source, self.found);
            self.value_word(value);
        }
        words.into_iter().map(|(k, v)| (k.value.to_owned(), v.value.to_owned())).collect()
    }

    fn args(&mut self, table: &Table<'_>) -> Option<Vec<String>> {
        let args = table.texts("args").unwrap_or_default();
        if let Some(over) = args.get(bounds::MAX_ARGS) {
            self.report(
                Code::TooMany,
                format!("`args` has {} entries, and at most {} are allowed", args.len(), bounds::MAX_ARGS),
                &over.span,
                "one too many",
                "pass a file in a granted directory instead",
            );
        }
        args.iter().take(bounds::MAX_ARGS).for_each(|word| self.value_word(word));
        Some(args.into_iter().map(|a| a.value.to_owned()).collect())
    }

    /// An argument or a variable's value.
    pub(crate) fn value_word(&mut self, word: &Found<&str>) {
        if word.value.len() > bounds::MAX_WORD {
            let message = format!("value is {} bytes long, and at most {} are allowed", word.value.len(), bounds::MAX_WORD);
            self.report(Code::OutOfBounds, message, &word.span, "too long", "pass a file in a granted directory instead");
        }
        paths::no_control(word, self.source, self.found);
    }

    pub(crate) fn floor(&mut self, root: &Table<'_>) -> Option<(Floor, Option<Range<usize>>)> {
        let Some(table) = root.section("require") else { return Some((Floor::default(), None)) };
        let landlock = self.count(&table, "landlock", bounds::LANDLOCK, None)?;
        Some((Floor { landlock: landlock.value }, Some(landlock.span)))
    }

    /// `[prefer]`: more than is required, or it says nothing.
    fn preferred(&mut self, root: &Table<'_>, floor: Option<Floor>) -> Option<(Option<Floor>, Option<Range<usize>>)> {
        let Some(table) = root.section("prefer") else { return Some((None, None)) };
        let landlock = self.count(&table, "landlock", bounds::LANDLOCK, None)?;
        if let Some(floor) = floor.filter(|floor| landlock.value <= floor.landlock) {
            let message = format!("what is preferred, Landlock ABI {}, is required already", landlock.value);
            let help = format!("write more than {}, or remove `[prefer]`", floor.landlock);
            self.report(Code::Misplaced, message, &landlock.span, "no more than `require.landlock`", help);
            return None;
        }
        Some((Some(Floor { landlock: landlock.value }), Some(landlock.span)))
    }

    pub(crate) fn at_most(&mut self, tables: &[Table<'_>], most: usize, what: &str, help: &str) {
        if let Some(over) = tables.get(most) {
            let message = format!("{} `{what}` sections, and at most {most} are allowed", tables.len());
            self.report(Code::TooMany, message, &over.span, "one too many", help);
        }
    }
}

/// What to do about too many grants.
pub(crate) const FEWER: &str = "grant fewer, or split the module";
