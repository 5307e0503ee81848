//! Longer examples of the wrong and the right, which several rows of the table share.
//!
//! Runs in: daemon and command line.
//! Each is sections of a policy; `tests/codes.rs` puts it in place of the sections of those names and parses it.

pub(super) const CHANNELS_WRONG: &str = "[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 16
output = \"1 MiB\"

[[graph]]
name = \"g1\"
model = \"/var/lib/edgeguard/models/1.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"

[[graph]]
name = \"g2\"
model = \"/var/lib/edgeguard/models/2.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"

[[graph]]
name = \"g3\"
model = \"/var/lib/edgeguard/models/3.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"

[[graph]]
name = \"g4\"
model = \"/var/lib/edgeguard/models/4.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"

[[graph]]
name = \"g5\"
model = \"/var/lib/edgeguard/models/5.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
";

pub(super) const CHANNELS_RIGHT: &str = "[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 12
output = \"1 MiB\"

[[graph]]
name = \"g1\"
model = \"/var/lib/edgeguard/models/1.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
";

pub(super) const PATTERN_WRONG: &str = "[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/v*\"
";

pub(super) const PATTERN_RIGHT: &str = "[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\"
";

pub(super) const ISSUER_WRONG: &str = "[[module.signer]]
issuer = \"https://*.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\"
";

pub(super) const ISSUER_RIGHT: &str = "[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\"
";

pub(super) const MOMENT_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
usable-from = 2026-01-01
";

pub(super) const WINDOW_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
usable-from = 2027-01-01T00:00:00Z
retire-at = 2026-01-01T00:00:00Z
evidence = \"log\"
";

pub(super) const WINDOW_RIGHT: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
usable-from = 2026-01-01T00:00:00Z
retire-at = 2027-01-01T00:00:00Z
evidence = \"log\"
";

pub(super) const SIGNER_ID_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.signer]]
key = \"/srv/keys/acme.pub\"
";

pub(super) const SIGNER_ID_RIGHT: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.signer]]
id = \"acme-lab\"
key = \"/srv/keys/acme.pub\"
";

pub(super) const UNKNOWN_SIGNER_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.require]]
statement = \"release\"
signers = [\"acne\"]
";

pub(super) const UNKNOWN_SIGNER_RIGHT: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.require]]
statement = \"release\"
signers = [\"acme\"]
max-age = \"365 d\"
";

pub(super) const MISPLACED_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.require]]
statement = \"signature\"
signers = [\"acme\"]
max-age = \"365 d\"
";

pub(super) const MIN_VERSION_WRONG: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"command\"
min-version = 7
";

pub(super) const MIN_VERSION_RIGHT: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"command\"
min-version = 7

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.require]]
statement = \"release\"
signers = [\"acme\"]
";

pub(super) const WIDE_WRONG: &str = "[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/*/voice/.github/workflows/release.yml@refs/tags/*\"
";

pub(super) const WIDE_RIGHT: &str = "[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/*/voice/.github/workflows/release.yml@refs/tags/*\"
claims = { repository-id = \"1234\" }
";

pub(super) const SAME_WRONG: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"command\"
threshold = 2

[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\"

[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/*@refs/tags/*\"
";

pub(super) const SAME_RIGHT: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"command\"
threshold = 2

[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\"

[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/review.yml@refs/tags/*\"
";

pub(super) const UNUSED_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.signer]]
key = \"/etc/edgeguard/keys/lab.pub\"

[[module.require]]
statement = \"release\"
signers = [\"acme\"]
max-age = \"365 d\"
";

pub(super) const ARRIVAL_WRONG: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
retire-at = 2027-01-01T00:00:00Z
";

pub(super) const ARRIVAL_RIGHT: &str = "[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
retire-at = 2027-01-01T00:00:00Z
evidence = \"timestamp\"
";

pub(super) const HTTP_WRONG: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"http\"

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
";

pub(super) const HTTP_RIGHT: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"http\"

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[http]
listen = \"unix:/run/edgeguard/http/hello.sock\"
";

pub(super) const LISTEN_WRONG: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"http\"

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[http]
listen = \"localhost:8080\"
";

pub(super) const WIDE_LISTENER_WRONG: &str = "[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"http\"

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[http]
listen = \"0.0.0.0:8080\"
";
