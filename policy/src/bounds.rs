//! The bounds that every policy must keep, in one place: the reference page, the checks and the tests read them here.
//!
//! Runs in: daemon and command line.

use std::time::Duration;

/// Largest policy or host file, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;
/// Largest number of diagnostics kept for one text; the rest are counted.
pub const MAX_DIAGNOSTICS: usize = 256;
/// Most profiles that one policy may name.
pub const MAX_PROFILES: usize = 8;
/// Most directories that one module may be granted.
pub const MAX_DIRS: usize = 32;
/// Most graphs that one module may be granted.
pub const MAX_GRAPHS: usize = 8;

/// The most libraries of one engine.
pub const MAX_LIBRARIES: usize = 32;

/// The longest name of one, in bytes.
pub const MAX_LIBRARY_NAME: usize = 128;
/// `graph.computes` and `graph.threads`.
pub const COMPUTES: (u32, u32) = (1, 64);
/// `graph.memory`: what one model and its computes may take, in bytes. Below the least no engine starts.
pub const GRAPH_MEMORY: (u64, u64) = (64 << 20, 1 << 40);
/// `graph.idle-unload`: how long a graph that is loaded on first use stays after its last.
pub const IDLE_UNLOAD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * DAY));
/// `graph.context`: tokens of one context of a language model, prompt and answer together.
pub const CONTEXT: (u32, u32) = (64, 1 << 20);
/// `graph.context` where the policy is silent.
pub const DEFAULT_CONTEXT: u32 = 2048;
/// `graph.contexts`: contexts at once of one language model.
pub const CONTEXTS: (u32, u32) = (1, 64);
/// `graph.contexts` where the policy is silent: each costs memory, so more than one is asked for.
pub const DEFAULT_CONTEXTS: u32 = 1;
/// Most signers that one policy may name.
pub const MAX_SIGNERS: usize = 16;
/// Most `[[module.require]]` sections.
pub const MAX_REQUIREMENTS: usize = 8;
/// Most bundles that are read beside one module: no more signatures than these can be asked for.
pub const MAX_BUNDLES: u32 = 8;
/// Longest pattern of an identity or a claim, and longest issuer, in bytes.
pub const MAX_PATTERN: usize = 1024;
/// Most entries in `builder`, `build-type` and `parameters`.
pub const MAX_BUILD_WORDS: usize = 32;
/// `module.min-version` and `revision`: what every reader of JSON takes exactly (RFC 8259, section 6), for the version stands in a signed statement.
pub const VERSION: (u64, u64) = (1, (1 << 53) - 1);
/// How old a statement may be.
pub const MAX_AGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(36_500 * DAY));
/// How long before trust material expires a warning is given.
pub const WARN: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(365 * DAY));
/// How long after trust material has expired new modules are still admitted.
pub const GRACE: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(365 * DAY));
/// How far the clock may be wrong without being doubted.
pub const MAX_SKEW: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(DAY));
/// How far ahead of the last proven moment the clock is believed.
pub const MAX_JUMP: (Duration, Duration) = (Duration::from_secs(DAY), Duration::from_secs(3_650 * DAY));
/// Most keys in `policy-signing.key`.
pub const MAX_POLICY_KEYS: usize = 16;
/// Bytes of journal.
pub const AUDIT_BUDGET: (u64, u64) = (32 << 20, 1 << 40);
/// `audit.budget` where the host's file is silent.
pub const DEFAULT_AUDIT_BUDGET: u64 = 256 << 20;
/// Most environment variables.
pub const MAX_ENV: usize = 64;
/// Most arguments.
pub const MAX_ARGS: usize = 64;
/// Longest argument, environment name or environment value, in bytes.
pub const MAX_WORD: usize = 4096;
/// Most users and groups in one list of the host file.
pub const MAX_PRINCIPALS: usize = 64;
/// Longest path, in bytes (`PATH_MAX` less its terminating zero).
pub const MAX_PATH: usize = 4095;
/// Instances at once.
pub const INSTANCES: (u32, u32) = (1, 16);
/// Most channels to graph hosts that one worker holds: instances × graphs.
pub const MAX_CHANNELS: u32 = 64;
/// Linear memory of one instance, in bytes: one wasm page to the whole 32-bit address space.
pub const MEMORY: (u64, u64) = (64 * 1024, 4 << 30);
/// Wall time of one invocation.
pub const DEADLINE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(3600));
/// Bytes on standard output and standard error of one invocation together.
pub const OUTPUT: (u64, u64) = (0, 1 << 30);
/// Files, directories and links below a directory with a quota: as many as a worker counts when it starts.
pub const DIR_FILES: (u32, u32) = (1, 1_000_000);
/// Bytes on the disk below a directory with a quota.
pub const DIR_BYTES: (u64, u64) = (0, 1 << 50);
/// Files open at once in one instance.
pub const OPEN_FILES: (u32, u32) = (0, 1024);
/// `limits.open-files` where the policy is silent.
pub const DEFAULT_OPEN_FILES: u32 = 16;
/// Elements in all tables of one instance.
pub const TABLE_ELEMENTS: (u32, u32) = (0, 10_000_000);
/// `limits.table-elements` where the policy is silent.
pub const DEFAULT_TABLE_ELEMENTS: u32 = 10_000;
/// `limits.clock-resolution`: the steps that a module's clocks go in.
pub const CLOCK_RESOLUTION: (Duration, Duration) = (Duration::from_micros(1), Duration::from_secs(1));
/// `graph.tensors`: bytes of all inputs of one compute, and as many of all outputs.
pub const TENSORS: (u64, u64) = (4 << 10, 1 << 30);
/// `http.connections`
pub const CONNECTIONS: (u32, u32) = (1, 1024);
/// `http.connections` where the policy is silent.
pub const DEFAULT_CONNECTIONS: u32 = 64;
/// `http.requests-per-minute`
pub const REQUESTS_PER_MINUTE: (u32, u32) = (1, 600_000);
/// `http.requests-per-minute` where the policy is silent: ten in a second.
pub const DEFAULT_REQUESTS_PER_MINUTE: u32 = 600;
/// `http.request-head`: bytes of a request before its body.
pub const REQUEST_HEAD: (u64, u64) = (1 << 10, 64 << 10);
/// `http.request-head` where the policy is silent.
pub const DEFAULT_REQUEST_HEAD: u64 = 16 << 10;
/// `http.request-body` and `http.response-body`.
pub const HTTP_BODY: (u64, u64) = (0, 1 << 30);
/// `http.request-body` where the policy is silent.
pub const DEFAULT_REQUEST_BODY: u64 = 1 << 20;
/// `http.response-body` where the policy is silent.
pub const DEFAULT_RESPONSE_BODY: u64 = 16 << 20;
/// `http.read-timeout`: how long a client may take for the head of its request.
pub const READ_TIMEOUT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
/// `http.read-timeout` where the policy is silent.
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Landlock ABI levels that `require.landlock` may name. 3 is Linux 6.2: the first that also stops `truncate`.
pub const LANDLOCK: (u32, u32) = (1, 10);
/// `require.landlock` where nobody says otherwise.
pub const DEFAULT_LANDLOCK: u32 = 3;

const DAY: u64 = 86_400;
