//! `policy new`: the beginning of a policy, from a module's imports and a few answers.
//!
//! Runs in: command line; asks only on a terminal.
//! Does not: overwrite a file, grant what nobody asked for, or run the module.

mod ask;

use std::io::BufRead;
use std::io::IsTerminal as _;
use std::io::Read as _;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use edgeguard_policy::Access;
use edgeguard_policy::Code;
use edgeguard_policy::Diagnostic;
use edgeguard_policy::Diagnostics;
use edgeguard_policy::DirGrant;
use edgeguard_policy::Encoding;
use edgeguard_policy::GraphName;
use edgeguard_policy::ModuleName;
use edgeguard_policy::Quota;
use edgeguard_policy::escape;
use edgeguard_policy::imports;
use edgeguard_policy::new::Begun;
use edgeguard_policy::new::Draft;
use edgeguard_policy::new::Model;
use edgeguard_policy::new::begin;
use sha2::Digest as _;
use sha2::Sha256;

use super::files;
use super::host;
use crate::ExitCode;
use crate::files::Existing;
use crate::output;

/// Arguments of `policy new`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct NewArgs {
    /// The module, whose imports say what it will ask for.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,

    /// How the module is called and invoked. Default: the name of its file.
    #[arg(long, required_unless_present = "module")]
    name: Option<String>,

    /// Where the module is to lie on the gateway. Default: /var/lib/edgeguard/modules/NAME.wasm.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// Its vendor's public key. A file on this machine is read and its key id written down; a path from `/` that is not here is taken as one on the gateway.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// A directory that it may list and read. GUEST is what the module calls it, HOST where it is on the gateway, both from `/`.
    #[arg(long, value_name = "GUEST=HOST")]
    read: Vec<String>,

    /// A directory that it may read and change.
    #[arg(long, value_name = "GUEST=HOST")]
    write: Vec<String>,

    /// A model: the name that the module loads it by, and a file here, whose SHA-256 is written down. Beside OpenVINO's NAME.xml lies NAME.bin.
    #[arg(long, value_name = "NAME=FILE")]
    graph: Vec<String>,

    /// Write to this file, which must not be there. Default: standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Ask nothing, also on a terminal.
    #[arg(long, short)]
    yes: bool,
}

const AFTER: &str = "\
On a terminal it asks for what was not given; without one it asks nothing. What the module needs and nobody has said stands in the policy as a comment that begins with `# Fill in`, with words in it that `policy check` refuses until they are replaced.

Exit code 0: written, perhaps with blanks, which are listed. 2: a module that cannot run here, an argument that makes no policy, or a file that is there already.

Examples:
  edgeguard policy new --module voice-gate.wasm -o voice-gate.toml
  edgeguard policy new --module voice-gate.wasm --key acme.pub --read /audio=/var/lib/gateway/audio --graph vad=silero_vad.onnx --yes
  edgeguard policy new --name hello > hello.toml";

/// Why there is no policy.
#[derive(Debug)]
pub(super) enum Failed {
    /// With places.
    Found(Diagnostics),
    /// In a sentence.
    Said(String),
}

impl From<Diagnostic> for Failed {
    fn from(found: Diagnostic) -> Self {
        Self::Found(found.into())
    }
}

pub(crate) fn run(args: &NewArgs) -> ExitCode {
    let talk = !args.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let drafted = if talk { draft(args, Some((&mut std::io::stdin().lock(), &mut std::io::stderr()))) } else { draft(args, QUIET) };
    match drafted.and_then(|draft| finish(args, &draft)) {
        Ok(()) => ExitCode::Ok,
        Err(Failed::Found(found)) => {
            output::say(&found.render(output::colour()));
            output::say("\nnothing was written\n");
            ExitCode::Usage
        }
        Err(Failed::Said(why)) => {
            output::error(&why);
            ExitCode::Usage
        }
    }
}

/// No terminal to talk to.
const QUIET: Option<(&mut std::io::Empty, &mut std::io::Sink)> = None;

/// What is known, from the arguments, the module and, where there is somebody to ask, the answers.
fn draft<R: BufRead, W: Write>(args: &NewArgs, mut talk: Option<(&mut R, &mut W)>) -> Result<Draft, Failed> {
    let module = args.module.as_deref().map(read_module).transpose()?;
    let given = match (&args.name, &args.module) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => likely_name(file),
        (None, None) => return Err(Failed::Said("`--name` or `--module` is needed, to know what the policy is of".to_owned())),
    };
    let name = match &mut talk {
        Some(talk) if args.name.is_none() => ask::until(talk, "Name of the module", Some(&given), module_name)?,
        _ => module_name(&given).map_err(Failed::Said)?,
    };
    let usual = format!("/var/lib/edgeguard/modules/{name}.wasm");
    let path = match (&args.path, &mut talk) {
        (Some(path), _) => path.clone(),
        (None, Some(talk)) => ask::until(talk, "Its file on the gateway", Some(&usual), |text| Ok(text.to_owned()))?,
        (None, None) => usual,
    };
    let mut key = args.key.as_deref().map(vendor_key).transpose().map_err(Failed::Said)?;
    let mut dirs = dirs_of(args).map_err(Failed::Said)?;
    let mut graphs = args.graph.iter().map(|text| model(text)).collect::<Result<Vec<_>, _>>().map_err(Failed::Said)?;
    let asks = module.as_ref().map(|(imports, ..)| (imports.opens_files(), imports.nn));
    if let Some(talk) = &mut talk {
        if key.is_none() {
            key = ask::maybe(talk, "Public key of its vendor", |text| vendor_key(Path::new(text)))?;
        }
        if dirs.is_empty() && asks.is_some_and(|(files, _)| files) {
            dirs.extend(ask::maybe(talk, "A directory that it may read, as GUEST=HOST", |text| dir(text, Access::Read))?);
            dirs.extend(ask::maybe(talk, "A directory that it may read and change, as GUEST=HOST", |text| dir(text, Access::ReadWrite))?);
        }
        if graphs.is_empty() && asks.is_some_and(|(_, nn)| nn) {
            graphs.extend(ask::maybe(talk, "A model, as NAME=FILE", model)?);
        }
    }
    Ok(Draft { name, path, module, key, dirs, graphs })
}

/// Judges the draft, writes it, and says what is next.
fn finish(args: &NewArgs, draft: &Draft) -> Result<(), Failed> {
    let begun = begun(draft)?;
    let warnings = judge(draft)?;
    if !warnings.is_empty() {
        output::say(&format!("{}\n", warnings.render(output::colour())));
    }
    match &args.out {
        Some(path) => {
            crate::files::put(path, begun.text.as_bytes(), 0o644, Existing::Refuse).map_err(|e| Failed::Said(crate::files::chain(&e)))?;
        }
        None => output::data(&begun.text),
    }
    output::say(&next(args, draft, &begun));
    Ok(())
}

fn begun(draft: &Draft) -> Result<Begun, Failed> {
    begin(draft).map_err(|error| Failed::Said(crate::files::chain(&error)))
}

/// What is wrong with what was given, but for the blanks: errors refuse it, warnings are given back.
fn judge(draft: &Draft) -> Result<Diagnostics, Failed> {
    // With a signer in the place of one that is still to be named, so that everything else is judged.
    let whole = Draft { key: draft.key.clone().or_else(|| Some(("/vendor.pub".to_owned(), String::new()))), ..draft.clone() };
    let policy = edgeguard_policy::parse("the new policy", &begun(&whole)?.text).map_err(Failed::Found)?;
    let mut all = policy.warnings.clone();
    all.extend(draft.module.as_ref().map(|(imports, ..)| policy.compare(imports)).unwrap_or_default());
    let mut found = Diagnostics::default();
    // What these ask for is a blank in the text.
    all.into_iter().filter(|d| !matches!(d.code(), Code::NoGraph | Code::NoDir)).for_each(|d| found.push(d));
    if found.errors() > 0 { Err(Failed::Found(found)) } else { Ok(found) }
}

fn next(args: &NewArgs, draft: &Draft, begun: &Begun) -> String {
    let file = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.toml", draft.name)));
    let shown = escape(&file.display().to_string());
    let file = shell(&file);
    let mut out = String::new();
    if args.out.is_some() {
        out.push_str(&format!("{shown}: written\n"));
    }
    for blank in &begun.blanks {
        let must = if blank.required { "fill in" } else { "fill in, or remove" };
        out.push_str(&format!("  line {:>2}, {must}: `{}`, {}\n", blank.line, blank.section, blank.what));
    }
    let module = args.module.as_deref().map(shell);
    let held = module.as_ref().map(|m| format!(" --module {m}")).unwrap_or_default();
    let beside = module.as_ref().map_or_else(|| "the module".to_owned(), Clone::clone);
    out.push_str("next:\n");
    out.push_str(&format!("  edgeguard policy check {file}{held}\n"));
    out.push_str(&format!("  edgeguard policy explain {file}\n"));
    out.push_str(&format!(
        "  put {beside} at `{}` on the gateway, its bundle beside it, and {file} into the directory of policies as `{}.toml`\n",
        escape(&draft.path),
        draft.name
    ));
    out.push_str(&format!(
        "  edgeguard policy check --host /etc/edgeguard/policy.d && edgeguard reload && edgeguard invoke {}\n",
        draft.name
    ));
    out
}

/// A path as a shell takes it, and fit for a terminal.
fn shell(path: &Path) -> String {
    let text = escape(&path.display().to_string());
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+@:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn read_module(path: &Path) -> Result<(imports::ModuleImports, String, [u8; 32]), Failed> {
    let bytes = files::read(path, edgeguard_attest::MAX_MODULE)?;
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    match imports::read(&bytes) {
        Ok(imports) => Ok((imports, file, Sha256::digest(&bytes).into())),
        Err(why) => {
            let help = "give the `.wasm` file that the vendor delivered, unpacked";
            let message = format!("file is not a wasm module: it {why}");
            Err(Diagnostic::new(Code::NotWasm, message).in_file(&path.display().to_string()).help(help).into())
        }
    }
}

/// A file's name as a module's: small letters, digits, `-` and `_`.
fn likely_name(file: &Path) -> String {
    let stem = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase());
    let letter = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' };
    stem.chars().map(letter).collect::<String>().trim_start_matches(['-', '_']).chars().take(63).collect()
}

fn module_name(text: &str) -> Result<ModuleName, String> {
    ModuleName::new(text).map_err(|why| format!("`{}` is no name of a module: {why}; say another with `--name`", escape(text)))
}

/// A vendor's key: its path on the gateway, and what it is.
fn vendor_key(path: &Path) -> Result<(String, String), String> {
    let shown = escape(&path.display().to_string());
    match files::read(path, edgeguard_attest::MAX_KEY_FILE) {
        Ok(pem) => {
            let key = edgeguard_attest::TrustedKey::from_pem(&pem)
                .map_err(|why| format!("`{shown}` is not a public key: {why}; name the NAME.pub that `edgeguard keygen` wrote"))?;
            Ok((real(path)?, format!("key id sha256:{}", key.id())))
        }
        Err(d) if d.code() == Code::Absent && path.is_absolute() => match path.to_str() {
            Some(text) => Ok((text.to_owned(), "was not there when this was written".to_owned())),
            None => Err(format!("`{shown}` is not UTF-8")),
        },
        Err(d) => Err(d.to_string()),
    }
}

fn dirs_of(args: &NewArgs) -> Result<Vec<DirGrant>, String> {
    let read = args.read.iter().map(|text| dir(text, Access::Read));
    read.chain(args.write.iter().map(|text| dir(text, Access::ReadWrite))).collect()
}

fn dir(text: &str, access: Access) -> Result<DirGrant, String> {
    let expected = || format!("expected GUEST=HOST, both from `/`, as in `/audio=/var/lib/gateway/audio`, found `{}`", escape(text));
    let (guest, host) = text.split_once('=').ok_or_else(expected)?;
    if !guest.starts_with('/') || !host.starts_with('/') {
        return Err(expected());
    }
    Ok(DirGrant { guest: guest.to_owned(), host: host.into(), access, quota: Quota::default() })
}

fn model(text: &str) -> Result<Model, String> {
    let expected = || format!("expected NAME=FILE, as in `vad=silero_vad.onnx`, found `{}`", escape(text));
    let (name, path) = text.split_once('=').ok_or_else(expected)?;
    let name = GraphName::new(name).map_err(|why| format!("`{}` is no name of a model: {why}", escape(name)))?;
    let path = Path::new(path);
    let cannot = |e: &dyn std::fmt::Display| format!("cannot read the model `{}`: {e}", escape(&path.display().to_string()));
    let mut file = regular("model", path)?;
    let mut magic = Vec::with_capacity(4);
    (&mut file).take(4).read_to_end(&mut magic).map_err(|e| cannot(&e))?;
    std::io::Seek::rewind(&mut file).map_err(|e| cannot(&e))?;
    let encoding = match magic.as_slice() {
        b"GGUF" => Encoding::Gguf,
        // TorchScript is a zip archive; ONNX never begins so.
        b"PK\x03\x04" => Encoding::PyTorch,
        // OpenVINO's description is XML, with a mark of its byte order or without; ONNX never begins so either.
        [b'<', ..] | b"\xef\xbb\xbf<" => Encoding::OpenVino,
        _ => Encoding::Onnx,
    };
    let sha256 = host::digest(file).map_err(|e| cannot(&e))?;
    let weights = if encoding == Encoding::OpenVino { Some(weights(&path.with_extension("bin"))?) } else { None };
    Ok(Model { name, path: real(path)?, sha256, weights, encoding })
}

/// The weights that lie beside a description in XML, as OpenVINO writes the two: where they are, and their digest.
fn weights(path: &Path) -> Result<(String, [u8; 32]), String> {
    let cannot = |e: std::io::Error| format!("cannot read the weights `{}`: {e}", escape(&path.display().to_string()));
    let sha256 = host::digest(regular("weights", path)?).map_err(cannot)?;
    Ok((real(path)?, sha256))
}

/// Opens a file that is one.
fn regular(what: &str, path: &Path) -> Result<std::fs::File, String> {
    let cannot = |e: &dyn std::fmt::Display| format!("cannot read the {what} `{}`: {e}", escape(&path.display().to_string()));
    let file = files::open(path).map_err(|e| cannot(&e))?;
    if !file.metadata().map_err(|e| cannot(&e))?.is_file() {
        return Err(cannot(&"it is not a regular file"));
    }
    Ok(file)
}

/// The path without links, from `/`: the daemon follows none.
fn real(path: &Path) -> Result<String, String> {
    let shown = || escape(&path.display().to_string());
    let real = path.canonicalize().map_err(|e| format!("cannot find `{}`: {e}", shown()))?;
    real.to_str().map(str::to_owned).ok_or_else(|| format!("`{}` leads to a path that is not UTF-8", shown()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    fn args(words: &[&str]) -> NewArgs {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            new: NewArgs,
        }
        <Line as clap::Parser>::parse_from([&["new"], words].concat()).new
    }

    #[test]
    fn whoever_sits_at_a_terminal_is_asked_for_what_was_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("voice.component.wasm");
        let wat = "(module (import \"wasi_snapshot_preview1\" \"path_open\" (func)) (import \"wasi_ephemeral_nn\" \"load\" (func)) (func (export \"_start\")))";
        std::fs::write(&module, wat::parse_str(wat).unwrap()).unwrap();
        std::fs::write(dir.path().join("vad.onnx"), "a model").unwrap();
        let graph = format!("vad={}", dir.path().join("vad.onnx").display());
        let answers = format!("\n\n/etc/edgeguard/keys/acme.pub\naudio\n/audio=/srv/audio\n\n{graph}\n");
        let mut said = Vec::new();
        let draft = draft(&args(&["--module", module.to_str().unwrap()]), Some((&mut answers.as_bytes(), &mut said))).unwrap();
        assert_eq!((draft.name.as_str(), draft.path.as_str()), ("voice-component", "/var/lib/edgeguard/modules/voice-component.wasm"));
        assert_eq!(
            draft.dirs,
            [DirGrant { guest: "/audio".into(), host: "/srv/audio".into(), access: Access::Read, quota: Quota::default() }]
        );
        assert_eq!((draft.graphs.len(), draft.key.is_some()), (1, true));
        assert!(String::from_utf8(said).unwrap().contains("expected GUEST=HOST"));
        assert!(begun(&draft).unwrap().blanks.is_empty());
    }

    #[test]
    fn a_file_without_a_good_letter_needs_a_name() {
        assert_eq!(likely_name(Path::new("/x/Voice Gate.wasm")), "voice-gate");
        assert_eq!(likely_name(Path::new("--_.wasm")), "");
        assert!(module_name("").is_err());
    }
}
