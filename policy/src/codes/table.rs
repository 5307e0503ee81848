//! The rows. Within a row: name, code, severity, title; why; the wrong; the right.
//!
//! Runs in: daemon and command line.
//! The examples are sections of a policy; `tests/codes.rs` puts each in place of the section of that name and parses it.

use super::Row;
use super::Severity;

codes! {
    Syntax "EG001" Error "text is not TOML"
"A policy is a TOML 1.0 document. The place shown is where the parser gave up on the line; it went on behind it, so what stands elsewhere was checked too."
"[limits]
memory = 64 MiB
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    TooLarge "EG002" Error "text is too large"
"At most 256 KiB are read. A policy is one module's and rarely reaches 2 KiB: a larger file is something else."
"" ""
    NotUtf8 "EG003" Error "text is not UTF-8"
"TOML is UTF-8. Save the file again in that encoding."
"" ""
    UnknownKey "EG004" Error "unknown key"
"What a policy does not understand it does not ignore: a misspelt limit would otherwise be no limit. The diagnostic names the nearest known key."
"[limits]
memroy = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    WrongType "EG005" Error "value of the wrong type"
"Every key takes one type of value. Sizes and durations are strings with a unit, so that nobody has to guess what a bare number counts."
"[limits]
memory = 67108864
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    MissingKey "EG006" Error "key is missing"
"What is absent is refused: there are no limits by default, for a limit that nobody chose is one that nobody knows. Only the keys that the reference lists with a default may be left out."
"[limits]
memory = \"64 MiB\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    MissingSection "EG007" Error "section is missing"
"Every policy has `version`, `[module]` with at least one `[[module.signer]]`, and `[limits]`."
"" ""
    DuplicateKey "EG008" Error "key or section is written twice"
"TOML allows each key once in its table, and `[section]` once in its file. Lists of tables (`[[dir]]`, `[[graph]]`, `[[module.signer]]`) may be repeated."
"[limits]
memory = \"64 MiB\"
memory = \"32 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"32 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    Version "EG009" Error "format version is not known"
"`version` says which format the file is written in. This version of the program reads format 1."
"version = 2
"
"version = 1
"
    UnknownWord "EG010" Error "word is not one of those allowed here"
"Some keys take one of a few words. The diagnostic lists them."
"[[dir]]
guest = \"/audio\"
host = \"/var/lib/gateway/audio\"
access = \"readonly\"
"
"[[dir]]
guest = \"/audio\"
host = \"/var/lib/gateway/audio\"
access = \"read\"
"
    NotServed "EG011" Error "this version does not serve that"
"The word is known, and this version of the program has nothing behind it yet. It refuses instead of doing something near it: `mode` is `command`, `encoding` is `onnx`, `target` is `cpu`."
"[[graph]]
name = \"vad\"
model = \"/var/lib/edgeguard/models/vad.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"gpu\"
"
"[[graph]]
name = \"vad\"
model = \"/var/lib/edgeguard/models/vad.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
"
    BadName "EG012" Error "name is malformed"
"Names stand in paths, URLs and log lines, so their alphabet is small: a module's is lower-case letters, digits, `-` and `_`, at most 63; a graph's besides has capitals, `.`, `:` and `/`, at most 128. Both begin with a letter or a digit."
"[[graph]]
name = \"my vad\"
model = \"/var/lib/edgeguard/models/vad.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
"
"[[graph]]
name = \"my-vad\"
model = \"/var/lib/edgeguard/models/vad.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
"
    RelativePath "EG013" Error "path is not absolute"
"A service has no working directory that an operator could rely on, and a guest sees no other directories than those it was given. Every path begins with `/`."
"[[dir]]
guest = \"audio\"
host = \"/var/lib/gateway/audio\"
access = \"read\"
"
"[[dir]]
guest = \"/audio\"
host = \"/var/lib/gateway/audio\"
access = \"read\"
"
    LeavesRoot "EG014" Error "directory grant leaves its root"
"A path with `..` names another directory than the one a reader sees first. Name the directory that is meant."
"[[dir]]
guest = \"/models\"
host = \"/var/lib/gateway/models/../secrets\"
access = \"read\"
"
"[[dir]]
guest = \"/models\"
host = \"/var/lib/gateway/secrets\"
access = \"read\"
"
    NotPlain "EG015" Error "path is not in its plain form"
"A path is written in one way: no `.` between slashes, no `//`, no `/` at the end, none longer than 4095 bytes. Two grants of one directory would otherwise look like two."
"[[dir]]
guest = \"/audio/\"
host = \"/var/lib//gateway/./audio\"
access = \"read\"
"
"[[dir]]
guest = \"/audio\"
host = \"/var/lib/gateway/audio\"
access = \"read\"
"
    Control "EG016" Error "value contains a control character"
"A control character in a path, a name or an environment variable hides what it says from whoever reads it in a terminal or a log. Characters that change the direction of text count as such."
"[env]
MODE = \"prod\\u001b[2K\"
"
"[env]
MODE = \"prod\"
"
    Overlap "EG017" Error "directory grants overlap"
"A directory inside another granted one is reachable by two ways, perhaps with different rights, and the looser one wins. Grant the outer one alone, or two that lie beside each other."
"[[dir]]
guest = \"/data\"
host = \"/var/lib/gateway\"
access = \"read\"

[[dir]]
guest = \"/out\"
host = \"/var/lib/gateway/out\"
access = \"read-write\"
"
"[[dir]]
guest = \"/data\"
host = \"/var/lib/gateway/in\"
access = \"read\"

[[dir]]
guest = \"/out\"
host = \"/var/lib/gateway/out\"
access = \"read-write\"
"
    SystemDir "EG018" Error "directory may not be granted"
"`/`, `/proc`, `/sys`, `/dev` and what lies in the last three are the kernel's doors, and the supervisor's own directories hold its policies, keys, journal and sockets. No module is given them."
"[[dir]]
guest = \"/proc\"
host = \"/proc\"
access = \"read\"
"
"[[dir]]
guest = \"/audio\"
host = \"/var/lib/gateway/audio\"
access = \"read\"
"
    SelfGrant "EG019" Error "module could change what it is admitted by"
"A directory granted with `read-write` that holds the module's own file, a signer's key or a model would let the module replace what the next admission trusts."
"[[dir]]
guest = \"/work\"
host = \"/var/lib/edgeguard/modules\"
access = \"read-write\"
"
"[[dir]]
guest = \"/work\"
host = \"/var/lib/gateway/work\"
access = \"read-write\"
"
    TooMany "EG020" Error "too many entries"
"A policy may have 32 `[[dir]]`, 8 `[[graph]]`, 16 `[[module.signer]]`, 64 variables in `[env]` and 64 `args`; the host file 64 names in each list."
"" ""
    SignerForm "EG021" Error "signer names nobody, or two at once"
"A signer is either the holder of a key (`key`), or an identity that a certificate vouches for (`issuer` and `identity`)."
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
issuer = \"https://token.actions.githubusercontent.com\"
"
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
"
    Keyless "EG022" Error "this version admits by key only"
"A signer with `issuer` and `identity` is checked against certificates and a transparency log, which this version does not do. It refuses such a policy: a signer who is never checked would be a signer who signs everything."
"[[module.signer]]
issuer = \"https://token.actions.githubusercontent.com\"
identity = \"https://github.com/acme/voice/.github/workflows/release.yml@refs/tags/*\"
"
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
"
    Threshold "EG023" Error "threshold cannot be met, or means nothing"
"`threshold` says how many different signers must have signed: at least 1, at most as many as are listed. Left out, it is 1."
"[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"command\"
threshold = 2

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
"
"[module]
name = \"hello\"
path = \"/var/lib/edgeguard/modules/hello.wasm\"
mode = \"command\"
threshold = 2

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.signer]]
key = \"/etc/edgeguard/keys/lab.pub\"
"
    DuplicateSigner "EG024" Error "signer is listed twice"
"The same key listed twice would let one signature count as two."
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"

[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
"
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
"
    DuplicateGraph "EG025" Error "graph name is granted twice"
"A guest asks for a graph by its name alone, so a name must mean one model."
"[[graph]]
name = \"vad\"
model = \"/var/lib/edgeguard/models/vad-1.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"

[[graph]]
name = \"vad\"
model = \"/var/lib/edgeguard/models/vad-2.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
"
"[[graph]]
name = \"vad-1\"
model = \"/var/lib/edgeguard/models/vad-1.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"

[[graph]]
name = \"vad-2\"
model = \"/var/lib/edgeguard/models/vad-2.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
"
    Sha256 "EG026" Error "digest is malformed"
"`sha256` is the 64 hexadecimal digits that `sha256sum FILE` prints, without a prefix."
"[[graph]]
name = \"vad\"
model = \"/var/lib/edgeguard/models/vad.onnx\"
sha256 = \"9f86d08\"
encoding = \"onnx\"
target = \"cpu\"
"
"[[graph]]
name = \"vad\"
model = \"/var/lib/edgeguard/models/vad.onnx\"
sha256 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"
encoding = \"onnx\"
target = \"cpu\"
"
    Size "EG027" Error "size is malformed"
"A size is a whole number and one of `B`, `KiB`, `MiB`, `GiB`. `MB` is refused, for some mean a million by it and some 1048576."
"[limits]
memory = \"64 MB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    Duration "EG028" Error "duration is malformed"
"A duration is a whole number and one of `us`, `ms`, `s`, `min`, `h`."
"[limits]
memory = \"64 MiB\"
deadline = \"half a second\"
instances = 4
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    OutOfBounds "EG029" Error "value is out of bounds"
"Every number has bounds, which the reference lists and the diagnostic repeats. They are what this program was tested with."
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 400
output = \"1 MiB\"
"
"[limits]
memory = \"64 MiB\"
deadline = \"500 ms\"
instances = 4
output = \"1 MiB\"
"
    Channels "EG030" Error "instances × graphs is too large"
"Every instance has a channel of its own to every graph, made before it runs. At most 64 of them in one worker."
"[limits]
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
"
"[limits]
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
"
    EnvName "EG031" Error "environment variable's name is malformed"
"A name is not empty, has no `=`, and is at most 4096 bytes long, as its value is."
"[env]
\"MODE=x\" = \"prod\"
"
"[env]
MODE = \"prod\"
"
    Principal "EG032" Error "user or group is malformed"
"In the host file's `[control]`, everybody is written with their kind: `user:NAME`, `uid:NUMBER`, `group:NAME` or `gid:NUMBER`."
"" ""
    BelowFloor "EG033" Error "policy asks for less than the host's floor"
"A policy can be stricter than the host's `[require]`, never laxer. Leave the key out, and the host's floor applies."
"" ""
    SameModule "EG034" Error "two policies name the same module"
"A module's name is how it is invoked, and how the journal calls it: one policy each."
"" ""
    FileName "EG035" Warning "file is not called after its module"
"The policy of module `NAME` is expected in `NAME.toml`, so that whoever looks for it finds it."
"" ""
    NoGraph "EG040" Error "module asks for graphs, and the policy grants none"
"The module imports wasi-nn. Without a `[[graph]]` every call of it would fail."
"" ""
    UnusedGraph "EG041" Warning "graph is granted, and the module never asks for one"
"The module imports nothing of wasi-nn. A grant that nobody uses is a grant too many."
"" ""
    NoDir "EG042" Warning "module opens files, and the policy grants no directory"
"The module imports calls that open files or directories. Many programs do without ever calling them, so this is no error; without a `[[dir]]` each such call fails with a code that the module sees."
"" ""
    UnusedDir "EG043" Warning "directory is granted, and the module never opens one"
"The module imports nothing that opens files. A grant that nobody uses is a grant too many."
"" ""
    UnknownImport "EG044" Error "module imports what nobody offers"
"The module could not be instantiated: this version offers WASI preview 1, WASI 0.2 (`wasi:cli`, `clocks`, `filesystem`, `io`, `random`) and wasi-nn by both ABIs. HTTP is not among them."
"" ""
    NotWasm "EG045" Error "file is not a wasm module"
"A module is a binary core module (WASI preview 1) or a component (WASI 0.2), at most 256 MiB."
"" ""
    NotACommand "EG046" Error "module has nothing to run"
"In `command` mode a core module exports the function `_start`, and a component exports `wasi:cli/run`. A library has neither."
"" ""
    MemoryTooSmall "EG047" Error "module needs more memory than its limit"
"The module declares a first memory larger than `limits.memory`, so that no instance of it could be made."
"" ""
    TablesTooSmall "EG048" Error "module needs larger tables than its limit"
"The module declares tables with more elements than `limits.table-elements`, so that no instance of it could be made."
"" ""
    Sockets "EG049" Warning "module asks for the network"
"The module imports `wasi:sockets`. Some toolchains import it into every component, so this is no error; no module is given the network, and every such call fails with a code that the module sees."
"" ""
    Absent "EG050" Error "path does not exist"
"`--host` looks at what the policy names. What is not there cannot be granted."
"" ""
    WrongKind "EG051" Error "path is of the wrong kind"
"A `host` is a directory; a module, a model and a key are regular files."
"" ""
    Symlink "EG052" Error "path goes through a symbolic link"
"Whoever can change the link changes what is granted. The supervisor opens every path without following links; write the path that the link leads to."
"" ""
    LooseMode "EG053" Error "file can be changed by anybody"
"A module, a model, a key or a policy that any user may write is worth no trust. Take the right away: `chmod o-w FILE`."
"" ""
    Unreadable "EG054" Error "path cannot be read"
"The user who runs the check may not look there. Run it as the user who runs the service."
"" ""
    DigestMismatch "EG055" Error "model is not the one the policy names"
"The SHA-256 of the model file is another than the policy's `sha256`. Either the file was changed, or the policy was written for another one."
"" ""
    BadKey "EG056" Error "file is not a public key"
"A signer's `key` is a public key in PEM, as `edgeguard keygen` writes it to NAME.pub."
"" ""
    NoBundle "EG057" Warning "module has no bundle beside it"
"Admission reads the signature from `MODULE.wasm.sigstore.json` beside the module. Without it the module is refused when the policy is loaded."
"" ""
    WhichPolicy "EG058" Error "module belongs to none of the policies, or to several"
"`--module` reads one module's imports and holds them against its policy. With several policies it is the one whose `path` ends with the module's file name."
"" ""
}
