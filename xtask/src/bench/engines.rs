//! Model engines: the same engine called natively, in a plain process, beside the whole path from the guest's call to the engine and back.
//!
//! Both sides take turns, a batch each, so that whatever else the machine does meets both alike.

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use super::client::Client;
use super::guests;
use super::native::Native;
use super::row::Row;
use super::row::Samples;
use super::row::Target::AtLeast;
use super::row::Target::AtMost;
use super::running::bare;
use super::sharing;
use crate::demo::Daemon;
use crate::demo::House;
use crate::failure::Failure;
use crate::failure::Result;
use crate::models;
use crate::models::Model;
use crate::place;
use crate::shell;

/// A model of tensors on an engine.
#[derive(Debug)]
pub struct Case {
    /// The model's name, in rows and as a module's.
    pub name: &'static str,
    /// `rten`, `onnxruntime` or `openvino`, as policies have it.
    pub engine: &'static str,
    /// The model.
    pub model: PathBuf,
    /// Numbers for free dimensions, one after the other.
    pub free: &'static str,
    /// Threads of a compute.
    pub threads: u32,
    /// Computes in an invocation.
    pub batch: u32,
}

impl Case {
    /// The module's name.
    fn module(&self) -> String {
        format!("{}-{}-{}", self.name, self.engine, self.threads)
    }

    fn words(&self) -> String {
        format!("{}, {}, {} thread{}", self.name, self.engine, self.threads, if self.threads == 1 { "" } else { "s" })
    }
}

/// `cargo xtask bench engines`: all of them.
pub fn run(house: &House, offline: bool, only: Option<&str>) -> Result<Vec<Row>> {
    let wants = |name: &str| only.is_none_or(|only| name.contains(only));
    let wanted = models::Arguments { offline, ..models::Arguments::default() };
    let (mut cases, mut rows) = (Vec::new(), Vec::new());
    let small = models::find(&wanted)?;
    let magika = models::magika(&wanted).map_err(|failure| left_out("Magika", &failure)).ok();
    if !offline {
        let _ = models::engines().map_err(|failure| left_out("ONNX Runtime and MiniLM", &failure));
    }
    let (libraries, minilm) = (Libraries { onnxruntime: fetched(LIBRARY), openvino: fetched(FOLDER_OF_OPENVINO) }, fetched(MINILM));
    for threads in [1, 2] {
        let case = |name, engine, model: &Path, free, batch| Case { name, engine, model: model.to_owned(), free, threads, batch };
        cases.push(case(if small.real { "silero" } else { "tiny-vad" }, "rten", &small.path, "", 100));
        cases.extend(magika.iter().map(|magika| case("magika", "rten", &magika.path, "", 8)));
        if libraries.openvino.is_some() {
            cases.push(case("silero", "openvino", &small.path, "", 100));
            cases.extend(magika.iter().map(|magika| case("magika", "openvino", &magika.path, "", 8)));
            let lengths = [("minilm-16", "1,16", 8), ("minilm-128", "1,128", 3)];
            let pairs = minilm.iter().flat_map(|minilm| lengths.map(|length| (minilm, length)));
            cases.extend(pairs.map(|(minilm, (name, free, batch))| case(name, "openvino", minilm, free, batch)));
        }
        for (name, free, batch) in [("minilm-16", "1,16", 8), ("minilm-128", "1,128", 3)] {
            cases.extend(minilm.iter().map(|minilm| case(name, "rten", minilm, free, batch)));
            if libraries.onnxruntime.is_some() {
                cases.extend(minilm.iter().map(|minilm| case(name, "onnxruntime", minilm, free, batch)));
            }
        }
    }
    if libraries.onnxruntime.is_none() || libraries.openvino.is_none() || minilm.is_none() {
        shell::note("left out, ONNX Runtime, OpenVINO or MiniLM: `cargo xtask models --engines` fetches them");
    }
    cases.retain(|case| wants(&case.words()));
    if !cases.is_empty() {
        rows.extend(compare(house, FOLDER, &cases, &libraries)?);
    }
    let threads: Vec<u32> = THREADS.into_iter().filter(|threads| wants(&language_words(*threads))).collect();
    if !threads.is_empty() {
        match models::language(&wanted) {
            Ok(model) => rows.extend(shell::step("a language model", || language(house, &model, &threads))?),
            Err(failure) => left_out("the language model", &failure),
        }
    }
    if let Some(model) = minilm.as_ref().filter(|_| wants("sharing")) {
        rows.extend(shell::step("sixteen modules on one graph", || sharing::sixteen(house, model))?);
    }
    Ok(rows)
}

/// Computes of all cases, under one daemon.
pub fn compare(house: &House, folder: &'static str, cases: &[Case], libraries: &Libraries) -> Result<Vec<Row>> {
    configure(house, folder, libraries)?;
    for case in cases {
        let inputs = bare(&["describe", &text(&case.model), case.free])?;
        let graph = format!("encoding = \"onnx\"\nengine = {:?}\nthreads = {}\ncomputes = 1\n", case.engine, case.threads);
        install(house, folder, &case.module(), &guests::compute(GRAPH, &inputs, case.batch)?, &case.model, &graph)?;
    }
    let daemon = Daemon::start(house, folder)?;
    let mut rows = Vec::new();
    for case in cases {
        let row = shell::step(&case.words(), || one(case, &daemon, libraries)).map_err(|failure| daemon.explain(failure))?;
        // At once, too: the whole takes minutes.
        shell::note(row.text());
        rows.push(row);
    }
    daemon.stop()?;
    Ok(rows)
}

fn one(case: &Case, daemon: &Daemon, libraries: &Libraries) -> Result<Row> {
    let engine = match case.engine {
        "onnxruntime" => libraries.onnxruntime.as_deref().map_or_else(|| case.engine.to_owned(), text),
        "openvino" => libraries.openvino.as_deref().map_or_else(|| case.engine.to_owned(), text),
        engine => engine.to_owned(),
    };
    let mut native = Native::start(&["model", &engine, &text(&case.model), case.free, &case.threads.to_string(), &case.batch.to_string()])?;
    let per = |ending: &Value, key: &str| ending[key].as_f64().unwrap_or_default() / f64::from(case.batch);
    let (mut guest, mut alone, mut way) = (Samples::default(), Samples::default(), Samples::default());
    for turn in 0..=TURNS {
        // Each side first in every other turn.
        let mut here = if turn % 2 == 0 { Some(native.turn()?) } else { None };
        // A connection for each: the daemon does not keep idle ones, and the other side may take long.
        let (ending, _) = Client::connect(daemon.socket())?.invoke(&case.module())?;
        let here = match here.take() {
            Some(here) => here,
            None => native.turn()?,
        };
        // The first finds nothing warm.
        if turn == 0 {
            continue;
        }
        let (through, here) = (per(&ending, "run_us"), here["compute_ns"].as_f64().unwrap_or_default() / 1e3);
        guest.push(through);
        alone.push(here);
        way.push(per(&ending, "compute_us") - per(&ending, "engine_us"));
    }
    let note = format!(
        "{:.1} µs as the guest sees it, {:.1} µs natively (p50 {:.1} and {:.1}, p99 {:.1} and {:.1}); {:.1} µs on the way to the graph host and back; means of {}, {} turns each",
        guest.undisturbed(),
        alone.undisturbed(),
        guest.median(),
        alone.median(),
        guest.percentile(99),
        alone.percentile(99),
        way.median(),
        case.batch,
        guest.len()
    );
    let (guest, alone) = (guest.undisturbed(), alone.undisturbed());
    Ok(if alone >= LARGE_US {
        Row::new(format!("slower than native: {}", case.words()), "%", AtMost(1.0), (guest / alone - 1.0) * 100.0).note(note)
    } else {
        Row::new(format!("beyond native: {}", case.words()), "µs", AtMost(30.0), guest - alone).note(note)
    })
}

/// A prompt and an answer, token by token.
fn language(house: &House, model: &Model, all: &[u32]) -> Result<Vec<Row>> {
    configure(house, "language", &Libraries::default())?;
    for threads in all {
        let graph = format!("encoding = \"gguf\"\nthreads = {threads}\ncontext = 512\ncontexts = 2\n");
        install(house, "language", &format!("chat-{threads}"), &guests::language(GRAPH, &prompt(), TOKENS), &model.path, &graph)?;
    }
    let daemon = Daemon::start(house, "language")?;
    let mut rows = Vec::new();
    for threads in all {
        let measured = chat(&daemon, model, *threads).map_err(|failure| daemon.explain(failure))?;
        rows.extend(measured);
    }
    daemon.stop()?;
    Ok(rows)
}

fn chat(daemon: &Daemon, model: &Model, threads: u32) -> Result<Vec<Row>> {
    let mut native = Native::start(&["language", &text(&model.path), &threads.to_string(), &TOKENS.to_string(), &prompt()])?;
    let (mut ours, mut theirs, mut our_rest, mut their_rest) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    let mut tokens = 0.0;
    for turn in 0..=CHATS {
        let here = native.turn()?;
        let (_, _, output) = Client::connect(daemon.socket())?.invoke_for_output(&format!("chat-{threads}"))?;
        if turn == 0 {
            continue;
        }
        let [begun, first, last] = times(&output)?;
        let (first, rest) = ((first - begun) / 1e6, (last - first) / 1e6);
        let (native_first, native_rest) =
            (here["first_ns"].as_f64().unwrap_or_default() / 1e6, here["rest_ns"].as_f64().unwrap_or_default() / 1e6);
        tokens = here["prompt_tokens"].as_f64().unwrap_or_default();
        ours.push(first);
        theirs.push(native_first);
        our_rest.push(rest);
        their_rest.push(native_rest);
    }
    let rate = |count: f64, ms: &Samples| count * 1e3 / ms.undisturbed();
    let beside = |native: &Samples, ours: &Samples| native.undisturbed() / ours.undisturbed();
    let words = language_words(threads);
    Ok(vec![
        Row::new(format!("prompt tokens/s beside native: {words}"), "×", AtLeast(0.99), beside(&theirs, &ours)).note(format!(
            "{:.0}/s as the guest sees it, {:.0}/s natively; {tokens} tokens, {} turns each",
            rate(tokens, &ours),
            rate(tokens, &theirs),
            ours.len()
        )),
        Row::new(format!("generated tokens/s beside native: {words}"), "×", AtLeast(0.99), beside(&their_rest, &our_rest)).note(format!(
            "{:.1}/s as the guest sees it, {:.1}/s natively; {} tokens",
            rate(f64::from(TOKENS - 1), &our_rest),
            rate(f64::from(TOKENS - 1), &their_rest),
            TOKENS - 1
        )),
        Row::new(format!("first token later than native: {words}"), "ms", AtMost(3.0), ours.undisturbed() - theirs.undisturbed())
            .note(format!("{:.1} ms as the guest sees it, {:.1} ms natively, prompt included", ours.undisturbed(), theirs.undisturbed())),
    ])
}

fn language_words(threads: u32) -> String {
    format!("language model Gemma 3 270M, llama.cpp, {threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// What a guest of [`guests::language`] prints.
fn times(output: &[u8]) -> Result<[f64; 3]> {
    let (numbers, rest) = output.as_chunks::<8>();
    match numbers {
        [begun, first, last] if rest.is_empty() => Ok([begun, first, last].map(|time| u64::from_le_bytes(*time) as f64)),
        _ => Err(Failure::new(format!("expected three times from the guest, found {} bytes", output.len()))),
    }
}

/// Some 130 tokens.
fn prompt() -> String {
    "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all. ".repeat(7)
}

/// Engines that are no part of the product.
#[derive(Debug, Default)]
pub struct Libraries {
    /// A library.
    pub onnxruntime: Option<PathBuf>,
    /// A folder of them.
    pub openvino: Option<PathBuf>,
}

/// A daemon's folder, with the libraries in its host file.
pub fn configure(house: &House, folder: &str, libraries: &Libraries) -> Result<()> {
    Daemon::configure(house, folder, "bin", true)?;
    if let Some(from) = &libraries.openvino {
        house.folder("models/openvino")?;
        let file = format!("{folder}/edgeguard.toml");
        let mut host = String::from_utf8_lossy(&place::get(&house.path(&file))?).into_owned();
        let _ = write!(host, "\n[engines.openvino]\nfolder = {:?}\n\n[engines.openvino.files]\n", text(&house.path("models/openvino")));
        for name in crate::models::openvino_files() {
            let brought = house.bring(&from.join(name), &format!("models/openvino/{name}"), 0o644)?;
            let _ = writeln!(host, "{name:?} = {:?}", place::sha256(&place::get(&brought)?));
        }
        house.write(&file, host.as_bytes())?;
    }
    if let Some(library) = &libraries.onnxruntime {
        let brought = house.bring(library, "models/libonnxruntime.so", 0o644)?;
        let file = format!("{folder}/edgeguard.toml");
        let mut host = String::from_utf8_lossy(&place::get(&house.path(&file))?).into_owned();
        let _ =
            write!(host, "\n[engines.onnxruntime]\nlibrary = {:?}\nsha256 = {:?}\n", text(&brought), place::sha256(&place::get(&brought)?));
        house.write(&file, host.as_bytes())?;
    }
    Ok(())
}

/// Signs a module made from text, and writes its policy with this graph.
pub fn install(house: &House, folder: &str, name: &str, wat: &str, model: &Path, graph: &str) -> Result<()> {
    let module = wat::parse_str(wat).map_err(|error| Failure::of(format_args!("cannot assemble `{name}`"), error))?;
    let path = format!("modules/{name}.wasm");
    house.write(&path, &module)?;
    crate::demo::sign(house, &path)?;
    let brought = crate::demo::model_name(model);
    if !house.path(&brought).exists() {
        house.bring(model, &brought, 0o644)?;
    }
    let place = |name: &str| text(&house.path(name));
    let policy = format!(
        "version = 1\n\n[module]\nname = {name:?}\npath = {:?}\nmode = \"command\"\n\n[[module.signer]]\nkey = {:?}\n\n[[graph]]\nname = {GRAPH:?}\n\
         model = {:?}\nsha256 = {:?}\ntarget = \"cpu\"\n{graph}\n[limits]\nmemory = \"64 MiB\"\ndeadline = \"5 min\"\ninstances = 1\noutput = \"1 MiB\"\n",
        place(&path),
        place("keys/acme.pub"),
        place(&brought),
        place::sha256(&place::get(model)?)
    );
    house.write(&format!("{folder}/policy.d/{name}.toml"), policy.as_bytes()).map(drop)
}

fn fetched(name: &str) -> Option<PathBuf> {
    let path = place::root().join("target").join(name);
    path.exists().then_some(path)
}

fn left_out(what: &str, failure: &Failure) {
    shell::note(format!("left out, {what}: {failure}"));
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The graph's name in all these policies.
pub const GRAPH: &str = "model";
const FOLDER: &str = "engines";
const FOLDER_OF_OPENVINO: &str = "engines/openvino";
const LIBRARY: &str = "engines/libonnxruntime.so.1.32.0";
const MINILM: &str = "models/minilm_int8.onnx";
/// Turns of both sides.
const TURNS: usize = 40;
/// The same of language models.
const CHATS: usize = 12;
/// Threads of a context.
const THREADS: [u32; 2] = [1, 2];
/// Tokens of an answer.
const TOKENS: u32 = 24;
/// Models that take longer are held to a ratio, others to a time.
const LARGE_US: f64 = 2000.0;

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn three_times_are_read_and_nothing_else() {
        let bytes: Vec<u8> = [1u64, 2, 3].iter().flat_map(|time| time.to_le_bytes()).collect();
        assert_eq!(times(&bytes).ok(), Some([1.0, 2.0, 3.0]));
        assert!(times(&bytes[..16]).is_err() && times(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
