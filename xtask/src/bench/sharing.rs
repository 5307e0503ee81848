//! Sixteen modules on one graph: its weights are there once, nothing is lost by sharing, and nobody waits longer than the others.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use super::client::Client;
use super::engines;
use super::engines::GRAPH;
use super::guests;
use super::row::Row;
use super::row::Samples;
use super::row::Target::AtLeast;
use super::row::Target::AtMost;
use super::running::bare;
use crate::demo::Daemon;
use crate::demo::House;
use crate::failure::Failure;
use crate::failure::Result;

/// Measures with a BERT of 16 words on the engine that is built in, one compute at a time.
pub fn sixteen(house: &House, model: &Path) -> Result<Vec<Row>> {
    engines::configure(house, FOLDER, &engines::Libraries::default())?;
    let inputs = bare(&["describe", &model.display().to_string(), "1,16"])?;
    let guest = guests::compute(GRAPH, &inputs, BATCH)?;
    let names: Vec<String> = (0..MODULES).map(|number| format!("shares-{number}")).collect();
    for name in &names {
        engines::install(house, FOLDER, name, &guest, model, "encoding = \"onnx\"\nengine = \"rten\"\nthreads = 1\ncomputes = 1\n")?;
    }
    let daemon = Daemon::start(house, FOLDER)?;
    let measured = measure(house, &daemon, &names).map_err(|failure| daemon.explain(failure))?;
    daemon.stop()?;
    Ok(measured)
}

fn measure(house: &House, daemon: &Daemon, names: &[String]) -> Result<Vec<Row>> {
    let one = names.get(..1).unwrap_or_default();
    // Each worker is started, and has computed.
    together(daemon, one, Duration::ZERO)?;
    let before = host_memory(&daemon.status(house)?)?;
    together(daemon, names, Duration::ZERO)?;
    let after = host_memory(&daemon.status(house)?)?;
    let (mut alone, mut shared, mut spread) = (Samples::default(), Samples::default(), Samples::default());
    let mut waits = String::new();
    for _ in 0..TURNS {
        alone.push(together(daemon, one, LONG)?.rate);
        let all = together(daemon, names, LONG)?;
        shared.push(all.rate);
        let p99: Vec<f64> = all.took.iter().map(|took| took.percentile(99)).collect();
        let (least, most) = (p99.iter().copied().fold(f64::MAX, f64::min), p99.iter().copied().fold(0.0, f64::max));
        spread.push(most / least);
        waits = format!("between {least:.0} and {most:.0} ms for {BATCH} computes in the last turn");
    }
    Ok(vec![
        Row::new(format!("a graph host's private memory: {MODULES} modules beside one"), "×", AtMost(1.1), after / before)
            .note(format!("{:.1} MiB with one module, {:.1} MiB with {MODULES}, in one process", before, after)),
        Row::new(
            format!("computes of {MODULES} modules on one graph beside those of one"),
            "×",
            AtLeast(0.95),
            shared.median() / alone.median(),
        )
        .note(format!(
            "{:.0}/s of all, {:.0}/s of one alone; MiniLM, 16 words, one compute at a time",
            shared.median(),
            alone.median()
        )),
        Row::new(
            format!("p99 of the module that waits longest beside the one that waits least, of {MODULES}"),
            "×",
            AtMost(1.5),
            spread.median(),
        )
        .note(waits),
    ])
}

/// What came of some time together.
struct Together {
    /// Computes a second, of all.
    rate: f64,
    /// Milliseconds of each invocation, for each module.
    took: Vec<Samples>,
}

/// Has all of them compute at once, over and over for so long, once at least.
fn together(daemon: &Daemon, names: &[String], long: Duration) -> Result<Together> {
    let ready = Barrier::new(names.len());
    let run = |name: &String| -> Result<(Samples, f64)> {
        let client = Client::connect(daemon.socket());
        ready.wait();
        let (mut client, mut took) = (client?, Samples::default());
        let begun = Instant::now();
        loop {
            let (ending, _) = client.invoke(name)?;
            took.push(ending["run_us"].as_f64().unwrap_or_default() / 1e3);
            if begun.elapsed() >= long {
                return Ok((took, begun.elapsed().as_secs_f64()));
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| run(name))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Failure::new("a client panicked")))).collect()
    });
    let (mut rate, mut took) = (0.0, Vec::new());
    for result in results {
        let (samples, seconds) = result?;
        rate += samples.len() as f64 * f64::from(BATCH) / seconds;
        took.push(samples);
    }
    Ok(Together { rate, took })
}

/// Private memory of the only graph host, in MiB.
fn host_memory(status: &Value) -> Result<f64> {
    match status["graphs"].as_array().map(Vec::as_slice) {
        Some([graph]) => Ok(graph["process"]["private"].as_f64().unwrap_or_default() / f64::from(1 << 20)),
        _ => Err(Failure::new(format!("expected one graph host for all modules, found {}", status["graphs"]))),
    }
}

const FOLDER: &str = "sharing";
const MODULES: usize = 16;
/// Computes in an invocation.
const BATCH: u32 = 8;
const TURNS: usize = 3;
const LONG: Duration = Duration::from_secs(5);
