//! `voice-gate`: finds speech in the WAV files of `/audio`, or in one from standard input.
//!
//! Runs in: the guest. Needs the graph `vad`, and for files the directory `/audio`, read only.
//! Output: a line for each segment of speech. `INPUT=stdin` or argument `-` reads standard input; `FORMAT=json` writes JSON lines.
//! Exit codes: 0 all files were read · 1 some were not, and standard error says which · 2 the module could not begin.

mod silero;

use std::env;
use std::error::Error;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use edgeguard_guest::Graph;
use voice_gate::gate::Gate;
use voice_gate::gate::RATE;
use voice_gate::report::Format;
use voice_gate::report::printable;
use voice_gate::resample::Resampler;
use voice_gate::wav::WavReader;

use crate::silero::Silero;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            complain("voice-gate", &*error);
            ExitCode::from(2)
        }
    }
}

/// Hears everything there is to hear, and says how many files could not be read.
fn run() -> Result<usize, Box<dyn Error>> {
    let format = match env::var("FORMAT").as_deref() {
        Ok("json") => Format::Json,
        Ok("text") | Err(_) => Format::Text,
        Ok(other) => return Err(format!("`FORMAT` is `{}`; `text` and `json` are known", printable(other)).into()),
    };
    let graph = Graph::open("vad")?;
    let from_stdin = env::var("INPUT").is_ok_and(|input| input == "stdin") || env::args().nth(1).is_some_and(|argument| argument == "-");
    if from_stdin {
        return Ok(hear("-", io::stdin().lock(), &graph, format));
    }
    let mut failures = 0;
    for path in recordings(Path::new(AUDIO))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match File::open(&path) {
            Ok(file) => failures += hear(&name, file, &graph, format),
            Err(error) => {
                complain(&name, &error);
                failures += 1;
            }
        }
    }
    Ok(failures)
}

/// The WAV files of a directory, by name.
fn recordings(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(directory).map_err(|error| format!("the directory `{AUDIO}` cannot be listed: {error}"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Prints the segments of one recording; a failure is told and counted, and the others are still heard.
fn hear(name: &str, source: impl Read, graph: &Graph, format: Format) -> usize {
    match segments(name, source, graph, format) {
        Ok(()) => 0,
        Err(error) => {
            complain(name, &*error);
            1
        }
    }
}

fn segments(name: &str, source: impl Read, graph: &Graph, format: Format) -> Result<(), Box<dyn Error>> {
    let mut wav = WavReader::new(source)?;
    let mut resampler = Resampler::new(wav.rate(), RATE);
    let mut gate = Gate::new(Silero::new(graph)?);
    let (mut block, mut samples, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let mut out = io::stdout().lock();
    while wav.read_block(&mut block)? {
        samples.clear();
        resampler.push(&block, &mut samples);
        gate.push(&samples, &mut found)?;
        for segment in found.drain(..) {
            writeln!(out, "{}", format.line(name, &segment))?;
        }
    }
    samples.clear();
    resampler.finish(&mut samples);
    gate.push(&samples, &mut found)?;
    gate.finish(&mut found)?;
    for segment in found {
        writeln!(out, "{}", format.line(name, &segment))?;
    }
    Ok(())
}

/// The error and what lies under it, on standard error.
fn complain(name: &str, error: &dyn Error) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    // Standard error may be closed; there is nowhere else to say it, and the exit code still does.
    let _ = writeln!(io::stderr(), "{}: {}", printable(name), printable(&text));
}

/// Where the policy puts the recordings.
const AUDIO: &str = "/audio";
