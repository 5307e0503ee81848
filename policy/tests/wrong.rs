//! Wrong policies, each with what a person reads about it.
//!
//! `INSTA_UPDATE=always cargo test` writes the snapshots anew; read the difference before it is committed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::with;
use common::without;
use edgeguard_policy::Code;
use edgeguard_policy::Code::*;
use edgeguard_policy::Colour;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::MAX_TEXT;

/// A name for the snapshot, the text, and the codes that must be reported, in the order of the text.
type Case = (&'static str, String, &'static [Code]);

const LIMITS: &str = "[limits]\nmemory = \"64 MiB\"\ndeadline = \"500 ms\"\ninstances = 4\noutput = \"1 MiB\"\n";

fn limits(from: &str, to: &str) -> String {
    assert!(LIMITS.contains(from), "{from}");
    with(&LIMITS.replace(from, to))
}

fn base(from: &str, to: &str) -> String {
    assert!(common::BASE.contains(from), "{from}");
    common::BASE.replace(from, to)
}

fn dir(guest: &str, host: &str, access: &str) -> String {
    format!("[[dir]]\nguest = \"{guest}\"\nhost = \"{host}\"\naccess = \"{access}\"\n")
}

fn graph(name: &str, model: &str) -> String {
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    format!("[[graph]]\nname = \"{name}\"\nmodel = \"{model}\"\nsha256 = \"{sha256}\"\nencoding = \"onnx\"\ntarget = \"cpu\"\n")
}

fn repeated(most: usize, entry: impl Fn(usize) -> String) -> String {
    (0..=most).map(entry).collect()
}

fn cases() -> Vec<Case> {
    let mut all = shape();
    all.extend(names_and_paths());
    all.extend(grants());
    all.extend(signers());
    all.extend(requirements());
    all.extend(numbers());
    all.extend(http());
    all.extend(wishes());
    all
}

fn shape() -> Vec<Case> {
    vec![
        ("empty_file", String::new(), &[MissingKey, MissingSection, MissingSection]),
        ("unquoted_size", limits("\"64 MiB\"", "64 MiB"), &[Syntax]),
        ("unclosed_string", base("\"/audio\"", "\"/audio"), &[Syntax]),
        (
            "two_lines_broken_at_once",
            base("name = \"vad\"", "name = vad").replace("mode = \"command\"", "mode = command"),
            &[Syntax, Syntax],
        ),
        ("key_twice", limits("instances = 4", "instances = 4\ninstances = 5"), &[DuplicateKey]),
        ("section_twice", format!("{}\n[limits]\nmemory = \"1 MiB\"\n", common::BASE), &[DuplicateKey]),
        ("misspelt_key", limits("memory", "memroy"), &[UnknownKey]),
        ("misspelt_section", base("[limits]", "[limit]"), &[UnknownKey]),
        (
            "several_unknown_keys",
            limits("instances = 4", "instances = 4\nnetwork = true\nopen_files = 3\n\"\\u001b[2K\" = 1"),
            &[UnknownKey, UnknownKey, UnknownKey],
        ),
        ("single_brackets_for_a_list", base("[[dir]]", "[dir]"), &[WrongType]),
        ("double_brackets_for_one_table", base("[limits]", "[[limits]]"), &[WrongType]),
        (
            "wrong_types_everywhere",
            limits("\"64 MiB\"", "67108864").replace("instances = 4", "instances = \"4\"").replace("MODE = \"prod\"", "MODE = 1"),
            &[WrongType, WrongType, WrongType],
        ),
        ("fraction_and_date", limits("instances = 4", "instances = 4.5").replace("\"500 ms\"", "2026-01-01"), &[WrongType, WrongType]),
        ("args_of_mixed_types", base("mode = \"command\"", "mode = \"command\"\nargs = [\"-v\", 3, [\"x\"]]"), &[WrongType, WrongType]),
        ("missing_keys", limits("memory = \"64 MiB\"\n", "").replace("output = \"1 MiB\"\n", ""), &[MissingKey, MissingKey]),
        ("missing_limits", without("[limits]"), &[MissingSection]),
        ("missing_signer", without("[[module.signer]]"), &[MissingSection]),
        (
            "empty_list_of_signers",
            with("[module]\nname = \"a\"\npath = \"/a.wasm\"\nmode = \"command\"\nsigner = []\n")
                .replace("[[module.signer]]\nkey = \"/etc/edgeguard/keys/acme.pub\"\n", ""),
            &[WrongType],
        ),
        ("version_of_tomorrow", base("version = 1", "version = 2"), &[Version]),
        ("too_large", format!("{}# {}", common::BASE, "x".repeat(MAX_TEXT)), &[TooLarge]),
    ]
}

/// The base in the other mode, and what follows.
fn serving(section: &str) -> String {
    format!("{}\n{section}", base("\"command\"", "\"http\""))
}

fn wishes() -> Vec<Case> {
    vec![
        (
            "terms_of_a_graph_out_of_bounds",
            base("\"cpu\"", "\"cpu\"\nprivate = \"yes\"\ndeadline = \"0 ms\"\ntensors = \"1 KiB\""),
            &[WrongType, OutOfBounds, OutOfBounds],
        ),
        (
            "terms_of_tensors_for_a_language_model",
            base("\"onnx\"", "\"gguf\"").replace("\"cpu\"", "\"cpu\"\nprivate = true\ndeadline = \"1 s\"\ntensors = \"1 MiB\""),
            &[Misplaced, Misplaced],
        ),
        ("an_exception_from_a_directory", base("access = \"read\"", "access = \"read\"\nexcept = [\"private\"]"), &[UnknownKey]),
        ("clocks_in_no_steps", limits("instances = 4", "instances = 4\nclock-resolution = \"0 ms\""), &[OutOfBounds]),
        ("a_wish_that_is_required", with("[require]\nlandlock = 6\n\n[prefer]\nlandlock = 6\n"), &[Misplaced]),
        ("a_wish_for_nothing", with("[prefer]\n"), &[MissingKey]),
    ]
}

fn http() -> Vec<Case> {
    vec![
        ("a_service_without_an_address", serving(""), &[NoListener]),
        ("a_section_without_an_address", serving("[http]\nconnections = 4\n"), &[MissingKey]),
        ("clients_of_a_command", format!("{}\n[http]\nlisten = \"127.0.0.1:8080\"\n", common::BASE), &[Misplaced]),
        ("address_by_a_name", serving("[http]\nlisten = \"localhost:8080\"\n"), &[Listen]),
        ("address_without_a_port", serving("[http]\nlisten = \"127.0.0.1:0\"\n"), &[Listen]),
        ("socket_that_leaves_its_directory", serving("[http]\nlisten = \"unix:/run/edgeguard/http/../x\"\n"), &[LeavesRoot]),
        ("socket_with_too_long_a_path", serving(&format!("[http]\nlisten = \"unix:/{}\"\n", "a".repeat(120))), &[Listen]),
        (
            "socket_in_a_directory_of_the_module",
            serving("[http]\nlisten = \"unix:/srv/out/a.sock\"\n") + &dir("/out", "/srv/out", "read-write"),
            &[SelfGrant],
        ),
        (
            "clients_of_a_port",
            serving("[http]\nlisten = \"127.0.0.1:80\"\nclients = [\"user:www-data\", \"www-data\"]\n"),
            &[Misplaced, Principal],
        ),
        (
            "bounds_of_requests",
            serving(
                "[http]\nlisten = \"0.0.0.0:80\"\nconnections = 0\nrequest-head = \"1 MiB\"\nrequest-body = \"1 MB\"\nread-timeout = \"1 h\"\n",
            ),
            &[WideListener, OutOfBounds, OutOfBounds, Size, OutOfBounds],
        ),
    ]
}

fn names_and_paths() -> Vec<Case> {
    vec![
        ("module_name_with_a_space", base("voice-gate\"", "Voice Gate\""), &[BadName]),
        ("graph_name_with_a_dash_first", base("\"vad\"", "\"-vad\""), &[BadName]),
        ("empty_names", base("\"vad\"", "\"\"").replace("\"voice-gate\"", "\"\""), &[BadName, BadName]),
        ("long_module_name", base("\"voice-gate\"", &format!("\"{}\"", "a".repeat(64))), &[BadName]),
        ("relative_paths", with(&dir("audio", "./gateway/audio", "read")), &[RelativePath, RelativePath, NotPlain]),
        ("empty_path", with(&dir("/audio", "", "read")), &[RelativePath]),
        ("dots_upwards", with(&dir("/models", "/var/lib/gateway/models/../secrets", "read")), &[LeavesRoot]),
        ("paths_not_plain", with(&dir("/audio/", "/var/lib//gateway/./audio", "read")), &[NotPlain, NotPlain]),
        ("path_too_long", with(&dir("/audio", &format!("/{}", "a".repeat(5000)), "read")), &[NotPlain]),
        (
            "control_characters",
            with("[env]\nMODE = \"prod\\u001b[2K\"\n\"A\\u0000B\" = \"1\"\n").replace("\"/audio\"", "\"/audio\\u202e\""),
            &[Control, Control, Control],
        ),
        ("environment_names", with("[env]\n\"\" = \"1\"\n\"A=B\" = \"2\"\n"), &[EnvName, EnvName]),
    ]
}

fn grants() -> Vec<Case> {
    let many_env: String = std::iter::once("[env]\n".to_owned()).chain((0..=64).map(|i| format!("V{i:02} = \"\"\n"))).collect();
    vec![
        ("quota_of_what_is_only_read", base("access = \"read\"", "access = \"read\"\nbytes = \"1 MiB\""), &[Misplaced]),
        (
            "quota_of_nothing_and_of_too_much",
            base("access = \"read\"", "access = \"read-write\"\nfiles = 0\nbytes = \"1048577 GiB\""),
            &[OutOfBounds, OutOfBounds],
        ),
        ("unknown_access", with(&dir("/audio", "/var/lib/gateway/audio", "readwrite")), &[UnknownWord]),
        (
            "unknown_words",
            base("\"onnx\"", "\"onxx\"").replace("\"cpu\"", "\"fpga\"").replace("\"command\"", "\"daemon\""),
            &[UnknownWord, UnknownWord, UnknownWord],
        ),
        ("words_not_served", base("\"onnx\"", "\"tensorflow\"").replace("\"cpu\"", "\"gpu\""), &[NotServed, NotServed]),
        ("engine_of_another_format", base("\"cpu\"", "\"cpu\"\nengine = \"llama.cpp\""), &[Misplaced]),
        ("a_model_in_two_files_without_the_second", base("\"onnx\"", "\"openvino\""), &[MissingKey, MissingKey]),
        (
            "weights_without_a_digest_and_by_an_engine_that_reads_none",
            base("\"onnx\"", "\"openvino\"\nengine = \"onnxruntime\"\nweights = \"/var/lib/../m.bin\""),
            &[MissingKey, Misplaced, LeavesRoot],
        ),
        (
            "weights_of_a_model_in_one_file",
            base("\"onnx\"", &format!("\"onnx\"\nweights = \"/m.bin\"\nweights-sha256 = \"{}\"", "ab".repeat(32))),
            &[Misplaced, Misplaced],
        ),
        (
            "weights_in_a_directory_of_the_module",
            base("\"onnx\"", &format!("\"openvino\"\nweights = \"/srv/out/m.bin\"\nweights-sha256 = \"{}\"", "ab".repeat(32)))
                + &dir("/out", "/srv/out", "read-write"),
            &[SelfGrant],
        ),
        ("engines_not_served", base("\"cpu\"", "\"cpu\"\nengine = \"candle\""), &[NotServed]),
        ("computes_of_an_engine_that_has_one", base("\"cpu\"", "\"cpu\"\nengine = \"openvino\"\ncomputes = 2"), &[Misplaced]),
        ("contexts_of_no_language_model", base("\"cpu\"", "\"cpu\"\ncontext = 64\ncontexts = 2"), &[Misplaced, Misplaced]),
        ("idle_unload_of_a_graph_that_stays", base("\"cpu\"", "\"cpu\"\nidle-unload = \"10 min\""), &[Misplaced]),
        (
            "load_in_other_words",
            base("\"cpu\"", "\"cpu\"\nload = \"first\"").replace("access = \"read\"", "access = \"write\""),
            &[UnknownWord, UnknownWord],
        ),
        ("idle_unload_out_of_bounds", base("\"cpu\"", "\"cpu\"\nload = \"first-use\"\nidle-unload = \"8 d\""), &[OutOfBounds]),
        (
            "language_model_out_of_bounds",
            base("\"onnx\"", "\"gguf\"").replace("\"cpu\"", "\"cpu\"\ncontext = 8\ncontexts = 65\nthreads = 0\nmemory = \"1 MiB\""),
            &[OutOfBounds, OutOfBounds, OutOfBounds, OutOfBounds],
        ),
        ("same_directory_twice", with(&(dir("/a", "/srv/x", "read") + &dir("/b", "/srv/x", "read-write"))), &[Overlap]),
        ("same_guest_path_twice", with(&(dir("/a", "/srv/x", "read") + &dir("/a", "/srv/y", "read"))), &[Overlap]),
        ("directory_in_a_granted_one", with(&(dir("/a", "/srv/x/deep", "read-write") + &dir("/b", "/srv/x", "read"))), &[Overlap]),
        ("guest_path_in_another", with(&(dir("/", "/srv/x", "read") + &dir("/b", "/srv/y", "read"))), &[Overlap]),
        ("kernel_directories", with(&(dir("/a", "/", "read") + &dir("/b", "/proc/self", "read"))), &[SystemDir, Overlap, SystemDir]),
        ("module_could_replace_itself", with(&dir("/work", "/var/lib/edgeguard", "read-write")), &[SelfGrant, SelfGrant]),
        ("graph_twice", with(&(graph("vad", "/srv/1.onnx") + &graph("vad", "/srv/2.onnx"))), &[DuplicateGraph]),
        ("short_digest", base("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "9f86d081"), &[Sha256]),
        ("digest_with_a_prefix", base("\"9f86d0", "\"sha256:9f86d0"), &[Sha256]),
        ("too_many_directories", with(&repeated(32, |i| dir(&format!("/d{i}"), &format!("/srv/d{i}"), "read"))), &[TooMany]),
        ("too_many_graphs", with(&repeated(8, |i| graph(&format!("g{i}"), &format!("/srv/{i}.onnx")))), &[TooMany]),
        ("too_many_variables", with(&many_env), &[TooMany]),
        ("too_many_arguments", base("mode = \"command\"", &format!("mode = \"command\"\nargs = [{}]", "\"x\",".repeat(65))), &[TooMany]),
        (
            "too_many_channels",
            limits("instances = 4", "instances = 16")
                + &(1..5).map(|i| graph(&format!("g{i}"), &format!("/srv/{i}.onnx"))).collect::<String>(),
            &[Channels],
        ),
    ]
}

fn signers() -> Vec<Case> {
    let one = "[[module.signer]]\nkey = \"/etc/edgeguard/keys/acme.pub\"\n";
    vec![
        ("identity_without_issuer", with("[[module.signer]]\nidentity = \"a@example.org\"\n"), &[SignerForm]),
        ("issuer_without_identity", with("[[module.signer]]\nissuer = \"https://example.org\"\n"), &[SignerForm]),
        ("claims_alone", with("[[module.signer]]\nclaims = { repository-id = \"1\" }\n"), &[SignerForm]),
        ("signer_of_both_kinds", with("[[module.signer]]\nkey = \"/a.pub\"\nissuer = \"https://example.org\"\n"), &[SignerForm]),
        ("signer_of_no_kind", with("[[module.signer]]\n"), &[SignerForm]),
        ("signer_twice", with(&(one.to_owned() + one)), &[DuplicateSigner]),
        ("identity_twice", with(&(keyless("a@example.org") + &keyless("a@example.org"))), &[DuplicateSigner]),
        ("too_many_signers", with(&repeated(16, |i| format!("[[module.signer]]\nkey = \"/k{i}.pub\"\n"))), &[TooMany]),
        ("threshold_above_signers", base("mode = \"command\"", "mode = \"command\"\nthreshold = 2"), &[Threshold]),
        ("threshold_of_nobody", base("mode = \"command\"", "mode = \"command\"\nthreshold = 0"), &[Threshold]),
        (
            "threshold_above_bundles",
            with(&repeated(8, |i| format!("[[module.signer]]\nkey = \"/k{i}.pub\"\n"))).replace("mode =", "threshold = 9\nmode ="),
            &[Threshold],
        ),
        (
            "patterns_malformed",
            with(&(keyless("https://github.com/acme-*/x@refs/tags/v*") + "claims = { repository-id = \"*\", owner-id = \"\" }\n")),
            &[Pattern, Pattern, Pattern],
        ),
        (
            "issuers_not_exact",
            with(
                &["http://example.org", "https://", "https://*.example.org", "example.org"]
                    .map(|i| keyless("a@example.org").replace("https://example.org", i))
                    .concat(),
            ),
            &[Issuer; 4],
        ),
        ("control_characters_in_an_identity", with(&keyless("a\\u202e@example.org")), &[Control]),
        (
            "unknown_claim",
            with(&(keyless("a@example.org") + "claims = { repository_id = \"1\", colour = \"red\" }\n")),
            &[UnknownKey, UnknownKey],
        ),
        ("claims_of_wrong_type", with(&(keyless("a@example.org") + "claims = { repository-id = 1234 }\n")), &[WrongType]),
        ("evidence_of_an_identity", with(&(keyless("a@example.org") + "evidence = \"log\"\n")), &[Misplaced]),
        ("evidence_of_an_unknown_kind", with(&(one.to_owned() + "evidence = \"rekor\"\n")), &[UnknownWord]),
        (
            "moments_without_sense",
            with(&(one.to_owned() + "usable-from = 2026-01-01\nretire-at = 2027-01-01T00:00:00\nevidence = \"log\"\n")),
            &[Moment, Moment],
        ),
        (
            "moments_too_fine_or_early",
            with(&(one.to_owned() + "usable-from = 1969-12-31T23:00:00Z\nretire-at = 2027-01-01T00:00:00.5Z\nevidence = \"log\"\n")),
            &[Moment, Moment],
        ),
        ("moment_in_quotes", with(&(one.to_owned() + "retire-at = \"2027-01-01T00:00:00Z\"\nevidence = \"log\"\n")), &[WrongType]),
        (
            "window_reversed",
            with(&(one.to_owned() + "usable-from = 2027-01-01T00:00:00Z\nretire-at = 2027-01-01T00:00:00Z\nevidence = \"log\"\n")),
            &[Window],
        ),
        ("two_signers_of_one_id", with(&format!("{one}{}", one.replace("/etc", "/srv"))), &[SignerId]),
        ("signer_id_malformed", with(&(one.to_owned() + "id = \"our lab\"\n")), &[BadName]),
    ]
}

fn requirements() -> Vec<Case> {
    let require = |text: &str| with(&format!("[[module.require]]\n{text}"));
    let module = |text: &str| base("mode = \"command\"", &format!("mode = \"command\"\n{text}"));
    let wanted = "[[module.require]]\nstatement = \"signature\"\nsigners = [\"acme\"]\n";
    vec![
        ("requirement_of_nothing", require(""), &[MissingKey, MissingKey]),
        ("requirement_of_nobody", require("statement = \"release\"\nsigners = []\n"), &[WrongType]),
        ("requirement_of_an_unknown_statement", require("statement = \"provenance\"\nsigners = [\"acme\"]\n"), &[UnknownWord]),
        (
            "requirement_of_unknown_signers",
            require("statement = \"release\"\nsigners = [\"acne\", \"\\u001b[2K\"]\n"),
            &[UnknownSigner, UnknownSigner],
        ),
        (
            "requirement_of_one_signer_twice",
            require("statement = \"release\"\nsigners = [\"acme\", \"acme\"]\nthreshold = 2\n"),
            &[DuplicateSigner],
        ),
        ("requirement_above_its_signers", require("statement = \"release\"\nsigners = [\"acme\"]\nthreshold = 2\n"), &[Threshold]),
        ("threshold_beside_requirements", module("threshold = 1") + wanted, &[Threshold]),
        (
            "keys_of_other_statements",
            require("statement = \"release\"\nsigners = [\"acme\"]\nbuilder = [\"https://b\"]\nparameters = { ref = \"x\" }\n")
                + "[[module.require]]\nstatement = \"slsa-provenance\"\nsigners = [\"acme\"]\nbuilder = [\"https://b\"]\nmax-age = \"1 d\"\n",
            &[Misplaced, Misplaced, Misplaced],
        ),
        ("provenance_without_a_builder", require("statement = \"slsa-provenance\"\nsigners = [\"acme\"]\n"), &[MissingKey]),
        (
            "provenance_by_anybody",
            require("statement = \"slsa-provenance\"\nsigners = [\"acme\"]\nbuilder = []\nbuild-type = [\"https://x/*\"]\n"),
            &[WrongType, Pattern],
        ),
        ("ages_without_sense", require("statement = \"approval\"\nsigners = [\"acme\"]\nmax-age = \"1 year\"\n"), &[Duration]),
        ("age_out_of_bounds", require("statement = \"approval\"\nsigners = [\"acme\"]\nmax-age = \"0 s\"\n"), &[OutOfBounds]),
        ("floor_without_a_release", module("min-version = 7"), &[MinVersion]),
        ("floor_beside_signatures", module("min-version = 7") + wanted, &[MinVersion]),
        (
            "versions_out_of_bounds",
            module("min-version = 0").replace("version = 1\n", "version = 1\nrevision = -1\n"),
            &[OutOfBounds, OutOfBounds],
        ),
        ("too_many_requirements", with(&repeated(8, |_| wanted.to_owned())), &[TooMany]),
        (
            "too_many_builders",
            require(&format!("statement = \"slsa-provenance\"\nsigners = [\"acme\"]\nbuilder = [{}]\n", "\"https://b\",".repeat(33))),
            &[TooMany],
        ),
        (
            "a_broken_signer_does_not_break_its_requirement",
            with(
                "[[module.signer]]\nid = \"ci\"\nissuer = \"x\"\nidentity = \"a@b\"\n[[module.require]]\nstatement = \"release\"\nsigners = [\"ci\"]\n",
            ),
            &[Issuer],
        ),
    ]
}

/// What stands and is worth a look.
fn doubtful() -> Vec<Case> {
    let one = "[[module.signer]]\nkey = \"/etc/edgeguard/keys/acme.pub\"\n";
    let workflow = |middle: &str| keyless(&format!("https://github.com/{middle}/.github/workflows/release.yml@refs/tags/*"));
    vec![
        ("identity_of_any_owner", with(&workflow("*/voice")), &[WideIdentity]),
        ("identity_of_any_repository", with(&workflow("acme/*")), &[WideIdentity]),
        ("identity_of_anybody_in_the_house", with(&keyless("*@example.org")), &[WideIdentity]),
        (
            "identity_of_a_pull_request",
            with(&keyless("https://github.com/acme/voice/.github/workflows/ci.yml@refs/*/main")),
            &[WideIdentity],
        ),
        (
            "threshold_that_one_workflow_meets",
            with(&(workflow("acme/voice") + &workflow("acme/voice").replace("release.yml", "*")))
                .replace("mode =", "threshold = 2\nmode ="),
            &[SameIdentity],
        ),
        (
            "signer_that_nothing_requires",
            with(&format!("{one}{}[[module.require]]\nstatement = \"release\"\nsigners = [\"acme\"]\n", keyless("ops@example.org"))),
            &[UnusedSigner],
        ),
        ("directory_with_the_model_in_it", with(&dir("/m", "/var/lib/edgeguard/models", "read")), &[Holds]),
        (
            "directory_with_the_module_and_its_key",
            with(&(dir("/m", "/var/lib/edgeguard/modules", "read") + &dir("/k", "/etc", "read"))),
            &[Holds, Holds],
        ),
        ("retirement_without_evidence", with(&(one.to_owned() + "retire-at = 2027-01-01T00:00:00Z\n")), &[ArrivalTime]),
    ]
}

fn keyless(identity: &str) -> String {
    format!("[[module.signer]]\nissuer = \"https://example.org\"\nidentity = \"{identity}\"\n")
}

fn numbers() -> Vec<Case> {
    vec![
        ("ambiguous_megabytes", limits("64 MiB", "64 MB"), &[Size]),
        ("sizes_without_sense", limits("64 MiB", "-64 MiB").replace("1 MiB", "lots"), &[Size, Size]),
        ("size_above_every_integer", limits("64 MiB", "99999999999999999999 GiB"), &[Size]),
        ("durations_without_sense", limits("500 ms", "5 m"), &[Duration]),
        (
            "out_of_bounds_everywhere",
            limits("64 MiB", "5 GiB")
                .replace("500 ms", "2 h")
                .replace("instances = 4", "instances = 0\nopen-files = -1")
                .replace("1 MiB", "2 GiB"),
            &[OutOfBounds, OutOfBounds, OutOfBounds, OutOfBounds, OutOfBounds],
        ),
        ("number_above_every_integer", limits("instances = 4", "instances = 999999999999999999999999999999999999999999"), &[OutOfBounds]),
        ("floor_of_no_kernel", with("[require]\nlandlock = 99\n"), &[OutOfBounds]),
        (
            "argument_too_long",
            base("mode = \"command\"", &format!("mode = \"command\"\nargs = [\"{}\"]", "y".repeat(4097))),
            &[OutOfBounds],
        ),
    ]
}

fn host_cases() -> Vec<Case> {
    let many: String = (0..=64).map(|i| format!("\"uid:{i}\",")).collect();
    vec![
        ("host_principals", "version = 1\n[control]\nadmins = [\"root\", \"uid:-1\", \"role:x\", \"user:\"]\n".to_owned(), &[Principal; 4]),
        ("host_too_many_principals", format!("version = 1\n[control]\ninvokers = [{many}]\n"), &[TooMany]),
        (
            "host_unknown_and_wrong",
            "[paths]\nstate = \"state\"\ncache = \"/c\"\n[workers]\nstandby = \"yes\"\n[journal]\n".to_owned(),
            &[MissingKey, RelativePath, UnknownKey, WrongType, UnknownKey],
        ),
        ("host_root_without_its_digest", "version = 1\n[trust]\nroot = \"/r.json\"\n".to_owned(), &[MissingKey]),
        ("host_digest_of_no_root", format!("version = 1\n[trust]\nroot-sha256 = \"{}\"\n", "0".repeat(64)), &[Misplaced]),
        (
            "host_root_that_nothing_reads",
            format!("version = 1\n[trust]\nkeyless = false\nroot = \"/r.json\"\nroot-sha256 = \"{}\"\n", "0".repeat(64)),
            &[Misplaced],
        ),
        (
            "host_trust_without_sense",
            "version = 1\n[trust]\nwarn = \"1 week\"\ngrace = \"-1 s\"\nmax-skew = \"10 m\"\nmax-jump = \"1 h\"\nrevocations = \"always\"\ncounter = \"file\"\ntuf-root = \"root.json\"\n"
                .to_owned(),
            &[Duration, Duration, Duration, OutOfBounds, UnknownWord, UnknownWord, RelativePath],
        ),
        (
            "host_libraries_with_a_path_and_a_short_digest",
            "version = 1\n[engines.openvino]\nfolder = \"/l\"\n[engines.openvino.files]\n\"../libx.so\" = \"00\"\n".to_owned(),
            &[BadName, Sha256],
        ),
        (
            "host_libraries_of_which_there_are_none",
            "version = 1\n[engines.openvino]\nfolder = \"/l\"\n[engines.openvino.files]\n".to_owned(),
            &[TooMany],
        ),
        ("host_library_without_its_digest", "version = 1\n[engines.onnxruntime]\nlibrary = \"ort.so\"\n".to_owned(), &[MissingKey, RelativePath]),
        ("host_policies_signed_by_nobody", "version = 1\n[policy-signing]\nkey = []\n".to_owned(), &[WrongType]),
        (
            "host_policies_signed_by_one_key_twice",
            "version = 1\n[policy-signing]\nkey = [\"/ops.pub\", \"ops.pub\", \"/ops.pub\"]\n".to_owned(),
            &[RelativePath, DuplicateSigner],
        ),
    ]
}

fn codes(found: &Diagnostics) -> Vec<Code> {
    found.iter().map(|d| d.code()).collect()
}

fn check(name: &str, text: &str, found: &Diagnostics, expected: &[Code]) {
    let rendered = found.render(Colour::Never);
    assert_eq!(codes(found), expected, "{name}:\n{text}\n{rendered}");
    assert!(rendered.chars().all(|c| c == '\n' || !c.is_control()), "{name}: a control character reached the terminal");
    insta::assert_snapshot!(name, rendered);
}

#[test]
fn every_wrong_policy_is_refused_with_all_its_mistakes() {
    assert!(edgeguard_policy::parse("base.toml", common::BASE).unwrap().warnings.is_empty());
    assert!(cases().len() >= 90, "{}", cases().len());
    for (name, text, expected) in cases() {
        let found = edgeguard_policy::parse("voice-gate.toml", &text).unwrap_err();
        check(name, &text, &found, expected);
    }
}

#[test]
fn every_doubtful_policy_stands_with_a_warning() {
    for (name, text, expected) in doubtful() {
        let policy = edgeguard_policy::parse("voice-gate.toml", &text).unwrap_or_else(|e| panic!("{name}: {e}"));
        check(name, &text, &policy.warnings, expected);
        assert_eq!(policy.warnings.errors(), 0, "{name}");
    }
}

#[test]
fn every_wrong_host_file_is_refused_with_all_its_mistakes() {
    for (name, text, expected) in host_cases() {
        let found = edgeguard_policy::parse_host("edgeguard.toml", &text).unwrap_err();
        check(name, &text, &found, expected);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let found = edgeguard_policy::parse_bytes("latin1.toml", b"version = 1\n# caf\xe9\n").unwrap_err();
    check("not_utf8", "", &found, &[NotUtf8]);
}

/// Every code of the table is reached by a test: those of the host by the command line's, the rest by this crate's.
#[test]
fn every_code_of_policy_text_is_reached() {
    let reached: Vec<Code> = cases().into_iter().chain(host_cases()).chain(doubtful()).flat_map(|(_, _, codes)| codes.to_vec()).collect();
    // Reached by `tests/module.rs`, `tests/set.rs` and `tests/host.rs`, which list them.
    let elsewhere = ["EG003", "EG033", "EG034", "EG035", "EG039"];
    for row in edgeguard_policy::codes::TABLE
        .iter()
        .filter(|row| (row.id < "EG040" || ("EG059".."EG071").contains(&row.id)) && !elsewhere.contains(&row.id))
    {
        assert!(reached.contains(&row.code), "{} is reached by no case", row.id);
    }
}

#[test]
fn a_mistake_in_one_part_hides_none_in_another() {
    let broken = [
        ("unquoted", "64 MiB\"", "64 MB\""),
        ("relative", "/var/lib/gateway/audio", "audio"),
        ("digest", "9f86d0", "zz86d0"),
        ("mode", "command", "comand"),
    ];
    let text = broken.iter().fold(common::BASE.to_owned(), |t, (_, from, to)| t.replace(from, to));
    let found = edgeguard_policy::parse("all.toml", &text).unwrap_err();
    assert_eq!(codes(&found), [UnknownWord, RelativePath, Sha256, Size]);
}

#[test]
fn mistakes_without_number_are_counted_and_not_kept() {
    let many: String = (0..5000).map(|i| format!("unknown{i} = 1\n")).collect();
    let found = edgeguard_policy::parse("many.toml", &(many + common::BASE)).unwrap_err();
    assert_eq!(found.iter().count(), edgeguard_policy::MAX_DIAGNOSTICS);
    assert_eq!(found.errors(), 5000);
    assert!(found.render(Colour::Never).ends_with("more like these, not shown\n"));
}

#[test]
fn json_says_the_same_as_the_text() {
    let found = edgeguard_policy::parse("voice-gate.toml", &with(&dir("/m", "/srv/../etc", "read"))).unwrap_err();
    insta::assert_snapshot!("json", format!("{:#}", found.to_json()));
}

#[test]
fn colour_adds_nothing_but_escape_sequences() {
    let found = edgeguard_policy::parse("voice-gate.toml", &limits("64 MiB", "64 MB")).unwrap_err();
    let coloured = found.render(Colour::Always);
    assert!(coloured.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(plain + rest, found.render(Colour::Never));
}
