//! The rows. Within a row: name, code, severity, title; why; the wrong; the right.
//!
//! Runs in: daemon and command line.
//! The examples are sections of a policy; `tests/codes.rs` puts each in place of the section of that name and parses it.

use super::Row;
use super::Severity;
use super::examples::*;

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
"The word is known, and this version of the program has nothing behind it yet. It refuses instead of doing something near it: `target` is `cpu`."
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
"A directory granted with `read-write` that holds the module's own file, a signer's key, a model, or what the host's file trusts would let the module replace what the next admission trusts."
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
"A policy may have 32 `[[dir]]`, 8 `[[graph]]`, 16 `[[module.signer]]`, 8 `[[module.require]]`, 32 entries in each of a requirement's lists, 64 variables in `[env]` and 64 `args`; the host file 64 users or groups and 16 keys in a list."
"" ""
    SignerForm "EG021" Error "signer names nobody, or two at once"
"A signer is either the holder of a key (`key`), or an identity that a certificate vouches for (`issuer` and `identity`, both of them). An identity without its issuer is worth nothing: whoever runs another issuer can vouch for the same name."
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
issuer = \"https://token.actions.githubusercontent.com\"
"
"[[module.signer]]
key = \"/etc/edgeguard/keys/acme.pub\"
"
    Threshold "EG023" Error "threshold cannot be met, or means nothing"
"`threshold` says how many different signers must have signed: at least 1, at most as many as are listed. Left out, it is 1. In `[module]` it is for policies without `[[module.require]]`, each of which has a threshold of its own. At most 8 bundles are read beside a module, so that thresholds for different statements may not add up to more."
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
"The same key or identity listed twice would let one signature count as two."
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
"A duration is a whole number and one of `us`, `ms`, `s`, `min`, `h`, `d`."
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
CHANNELS_WRONG CHANNELS_RIGHT
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
"A policy can be stricter than the host's `[require]` and the classes in its `[audit]`, never laxer. Leave the key out, and the host's floor applies."
"" ""
    SameModule "EG034" Error "two policies name the same module"
"A module's name is how it is invoked, and how the journal calls it: one policy each."
"" ""
    FileName "EG035" Warning "file is not called after its module"
"The policy of module `NAME` is expected in `NAME.toml`, so that whoever looks for it finds it."
"" ""
    NoListener "EG036" Error "module is to serve, and nothing says where"
"With `mode = \"http\"` a module answers whoever connects to the address in `[http]`. There is no address where the policy is silent."
HTTP_WRONG HTTP_RIGHT
    Listen "EG037" Error "address to listen at is malformed"
"An address is `unix:` and the whole path of a socket, or an IP address of this machine and a port. A host's name would be what somebody else answers when it is looked up."
LISTEN_WRONG HTTP_RIGHT
    WideListener "EG038" Warning "module is reached from other machines, without encryption"
"Requests and answers go over the network as they are, and whoever reaches the port is served. A proxy that speaks TLS and knows its clients belongs before it, with the module on `127.0.0.1`, `[::1]` or a Unix socket."
WIDE_LISTENER_WRONG HTTP_RIGHT
    SameListener "EG039" Error "two modules listen at one address"
"Only one of them could answer there. Give one another address."
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
"The module could not be instantiated: this version offers WASI preview 1, WASI 0.2 (`wasi:cli`, `clocks`, `filesystem`, `io`, `random`) and wasi-nn by both ABIs. A component that serves is given `wasi:http/types`, too; `wasi:http/outgoing-handler`, by which requests are sent, is given to nobody."
"" ""
    NotWasm "EG045" Error "file is not a wasm module"
"A module is a binary core module (WASI preview 1) or a component (WASI 0.2), at most 256 MiB."
"" ""
    NotACommand "EG046" Error "module has nothing to run"
"In `command` mode a core module exports the function `_start`, and a component exports `wasi:cli/run`. In `http` mode a component exports `wasi:http/incoming-handler`. A library has none of them."
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
"Whoever can change the link changes what is granted. Only a link of root's is followed, and only while every directory from `/` to it belongs to root and nobody else may write in it, as with `/var/run`. Write the path that the link leads to."
"" ""
    LooseMode "EG053" Error "file can be changed by anybody"
"A module, a model, a key, a trusted root or a policy that any user may write is worth no trust. Take the right away: `chmod o-w FILE`."
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
    Pattern "EG059" Error "pattern is malformed"
"An identity or a claim is compared as a whole, capitals and all. A `*` stands for exactly one segment between `/`, `@` and the ends, and for nothing less: `refs/tags/*` matches `refs/tags/v1` and not `refs/tags/a/b`. There are no regular expressions. What names a builder or a build type is compared as it stands, without `*`."
PATTERN_WRONG PATTERN_RIGHT
    Issuer "EG060" Error "issuer is not one exact address"
"Who vouches for an identity is compared character for character, a `/` at the end included; a pattern of issuers would be a pattern of strangers."
ISSUER_WRONG ISSUER_RIGHT
    Moment "EG061" Error "time is not a date and time with an offset"
"A moment is written as in RFC 3339, without quotes, in whole seconds since 1970: `2027-01-01T00:00:00Z`. A date alone, or a time without its offset, would mean something else on a gateway in another place."
MOMENT_WRONG WINDOW_RIGHT
    Window "EG062" Error "signer's window is empty"
"A signer counts from `usable-from` until `retire-at`, both included; the second must be the later of the two."
WINDOW_WRONG WINDOW_RIGHT
    SignerId "EG063" Error "two signers have one id"
"Requirements and messages call a signer by its `id`. Left out, it is the name of the key file without its ending, or the identity."
SIGNER_ID_WRONG SIGNER_ID_RIGHT
    UnknownSigner "EG064" Error "requirement names no signer of this policy"
"`signers` in a `[[module.require]]` lists ids of `[[module.signer]]`. The diagnostic names the nearest and lists them all."
UNKNOWN_SIGNER_WRONG UNKNOWN_SIGNER_RIGHT
    Misplaced "EG065" Error "key has no meaning here"
"The key is known and would change nothing here, so whoever wrote it meant something else: `builder`, `build-type` and `parameters` belong to `slsa-provenance`, `max-age` to `release` and `approval`, `evidence` to a key, `files` and `bytes` to a directory with `read-write`, `root` to a host that admits by certificate."
MISPLACED_WRONG UNKNOWN_SIGNER_RIGHT
    MinVersion "EG066" Error "version floor without a release statement"
"Only a release statement says which version a file is. `min-version` needs a `[[module.require]]` with `statement = \"release\"`; else a bare signature, which states no version, would be held against nothing."
MIN_VERSION_WRONG MIN_VERSION_RIGHT
    WideIdentity "EG067" Warning "identity matches more than it seems to"
"A `*` in the place of an owner matches forks by anybody, in the place of a repository whatever its owner forks or makes. Name both, or pin them by number in `claims`: numbers survive a change of name, and are never given to another."
WIDE_WRONG WIDE_RIGHT
    SameIdentity "EG068" Warning "signers of one threshold may be the same workflow"
"A threshold counts different identities. Two patterns that match one identity may both be met by one workflow, which signs twice under names that differ only where a `*` stands."
SAME_WRONG SAME_RIGHT
    UnusedSigner "EG069" Warning "signer is required by nothing"
"With `[[module.require]]` only those whom a requirement names count. What the others sign is refused, so they can be left out."
UNUSED_WRONG UNKNOWN_SIGNER_RIGHT
    ArrivalTime "EG070" Warning "retirement is judged when the module arrives"
"A bundle without a log entry or a timestamp does not prove when it was made. After `retire-at` everything that this key ever signed is refused, old releases too; until then everything is good, whenever it was signed. Ask for `evidence`, or know that this is meant."
ARRIVAL_WRONG ARRIVAL_RIGHT
    Retired "EG071" Warning "signer's window is closed now"
"`--host` compares each signer's window with this host's clock. While keys are rotated this is as it should be."
"" ""
    NobodyNow "EG072" Error "requirement cannot be met now"
"Of the signers that a requirement names, fewer are within their window than its threshold asks for, by this host's clock. No module would be admitted."
"" ""
    SameKey "EG073" Error "two key files hold one key"
"Two signers of a policy name different files with the same key in them. A threshold counts keys, so the second never adds anything."
"" ""
    NoTrustRoot "EG074" Error "host has no trusted root for this signer"
"The host's file says `keyless = false`: it admits by key alone, and cannot judge certificates, log entries or timestamps, which this signer asks for."
"" ""
    NoRevision "EG075" Error "policy has no revision, and the host wants one"
"Where the host's file has `[policy-signing]`, an older signed policy must be told from a newer one. `revision` is the number that only rises."
"" ""
    RootDigest "EG076" Error "trusted root is not the one that is pinned"
"The SHA-256 of the file in `trust.root` is another than `trust.root-sha256`. Whoever changes that file changes whose signatures count."
"" ""
    Holds "EG077" Warning "directory shows more than the module's data"
"A directory granted with `read` that holds a model, a signer's key or a module's file lets the module read them: a model's weights may be worth more than what it computes, and what is read can leave by the output. To compute with a model needs no directory, only its `[[graph]]`."
"[[dir]]
guest = \"/data\"
host = \"/var/lib/edgeguard/models\"
access = \"read\"
"
"[[dir]]
guest = \"/data\"
host = \"/var/lib/gateway/audio\"
access = \"read\"
"
    OtherSelf "EG078" Error "module could change what another is admitted by"
"In a directory of policies, one module's `read-write` directory holds the file, a signer's key or a model of another. It could then choose whose signature counts for that module, or keep it from being admitted."
"" ""
    OtherDir "EG079" Warning "directory reaches into another module's"
"In a directory of policies, one module's directory holds another's, or both may write in the same one. What one writes the other reads as its own data, and neither policy says so by itself. Where two modules are to work hand in hand, let one write and the other read exactly the same directory."
"" ""
    LooseDir "EG080" Warning "directory can be changed by anybody"
"With `--host`: a granted directory, or one on the way to it, is writable for every user. Whoever has an account decides what the module reads, or puts another directory in its place. Take the right away: `chmod o-w DIR`."
"" ""
    Elsewhere "EG081" Warning "directory holds what lies elsewhere"
"With `--host`: in a granted directory there is a symbolic link that leads out of it, which the module cannot follow; a file with a second name, which in a `read-write` directory means that the module changes what may be another program's; or another file system, mounted there, which the grant covers too."
"" ""
    LongDeadline "EG082" Warning "deadline is longer than the watchdog"
"With `--host`: the service manager ends a daemon that hangs after 20 s (`WatchdogSec=` of the unit). It does not see modules: a guest that hangs keeps its instance until its deadline, and whoever waits for it waits. A longer deadline is right where the work is that long, such as a language model's."
"" ""
    KernelFloor "EG083" Error "kernel cannot enforce what the policy requires"
"With `--host`: the policy's `require.landlock`, or the host's, is above what this kernel has. The module would not run: nothing is ever enforced less than it is required. `edgeguard doctor` says what this kernel has."
"" ""
    KernelWish "EG084" Warning "kernel cannot enforce what the policy prefers"
"With `--host`: `prefer.landlock` is above what this kernel has. The module runs all the same, held by the layers that there are; `edgeguard status` shows it."
"" ""
    NoEngine "EG085" Error "engine of a graph is not on this host"
"With `--host`: the graph's `engine` is a library that the operator installs, and the host's file does not name it, or it is not there, or it is another than is pinned. The module would be refused: no engine ever takes another's place."
"" ""
    UnknownProfile "EG090" Error "profile is not there"
"A name in `profiles` is that of a file `NAME.toml` in the host's `paths.profiles`; the tools look in `profiles.d` beside the directory of the policy, or where `--profiles` says. A profile that is not there would be a limit or a grant that is not there."
"" ""
    BadProfile "EG091" Error "profile cannot be read"
"The profile that a policy names is there and cannot be read, is no UTF-8 text, or is too large. What it says is not known, so the policy is refused."
"" ""
    ProfileClash "EG092" Error "profiles say different things"
"Two profiles of one policy give one key different values. Which of them counts would depend on their order, so neither does: the policy says it itself, or uses one of the two. What a policy says itself always counts."
"" ""
    ProfileTwice "EG093" Error "profile is named twice"
"A profile counts once, wherever it stands in the list."
"" ""
    ProfileKey "EG094" Error "a profile may not say this"
"Which module it is, who signed it and the policy's revision belong to one policy alone. A profile that used others would grant what its reader does not see in the policy: a policy names all profiles that it uses itself."
"" ""
    SignedProfiles "EG095" Error "policy names profiles, and the host wants it signed"
"On a host with `[policy-signing]` nothing counts that nobody signed, and a signature over a policy is not one over the profiles that it names. Sign what `edgeguard policy expand FILE` prints: it says the same, and names none."
"" ""
}
