//! `cargo xtask bench [engines]`: the figures that the design names, as they are on this machine, beside the bare engines in the same run.
//!
//! A target that is missed does not fail the task: a slow or busy machine is no mistake. Whatever does not work does.

mod client;
mod engines;
mod guests;
mod native;
mod row;
mod running;
mod sharing;
mod tools;

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::demo::House;
use crate::failure::Result;
use crate::models;
use crate::place;
use crate::shell;
use engines::Case;
use row::Row;

#[derive(clap::Args, Default)]
pub struct Arguments {
    /// What to measure; without it, what the design names of all parts
    #[arg(value_enum)]
    part: Option<Part>,
    /// Of the engines, only what has this in its name (`magika`, `2 threads`, `language`, `sharing`)
    #[arg(long, requires = "part")]
    only: Option<String>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Take the programs as they lie in target/release
    #[arg(long)]
    no_build: bool,
    /// Download nothing; figures of models that are not there are left out
    #[arg(long)]
    offline: bool,
}

/// A part that is measured at length.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Each model engine natively and behind the wall, on one and two threads; sixteen modules on one graph
    Engines,
}

/// Measures everything, one after the other, and prints the table.
pub fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.no_build {
        build()?;
    }
    let house = House::new(
        "bench",
        &[
            "edgeguard",
            "edgeguardd",
            "edgeguard-compile",
            "edgeguard-worker",
            "edgeguard-graph",
            "edgeguard-language",
            "edgeguard-onnxruntime",
            "edgeguard-openvino",
        ],
    )?;
    house.edgeguard(&house.path("-"), &["keygen", "--out", "keys/acme"], "")?.exits(0)?;
    let rows = match arguments.part {
        Some(Part::Engines) => engines::run(&house, arguments.offline, arguments.only.as_deref())?,
        None => all(&house, arguments.offline)?,
    };
    show(arguments, &rows);
    Ok(())
}

/// What the design names of all parts.
fn all(house: &House, offline: bool) -> Result<Vec<Row>> {
    let wanted = models::Arguments { offline, ..models::Arguments::default() };
    let small = models::find(&wanted)?;
    house.folder("audio")?;
    house.bring(&small.path, &crate::demo::model_name(&small.path), 0o644)?;

    let mut rows = vec![
        shell::step("cold starts", || running::cold(house, false))?,
        shell::step("cold starts with a standby worker", || running::cold(house, true))?,
    ];
    rows.extend(shell::step("warm invocations", || running::warm(house))?);
    rows.push(shell::step("requests", || running::served(house))?);
    rows.push(shell::step("ten modules", || running::ten(house, &small))?);
    let case = |name, model: &models::Model, batch| Case { name, engine: "rten", model: model.path.clone(), free: "", threads: 1, batch };
    let mut cases = vec![case(if small.real { "silero" } else { "tiny-vad" }, &small, 50)];
    match models::magika(&wanted) {
        Ok(model) => cases.push(case("magika", &model, 5)),
        Err(failure) => shell::note(format!("left out, a model of some milliseconds: {failure}")),
    }
    rows.extend(engines::compare(house, "models-of-all", &cases, &engines::Libraries::default())?);
    rows.push(shell::step("recording", || running::recording(house))?);
    rows.push(shell::step("recording reads", || running::reading(house))?);
    rows.extend(shell::step("the journal's pipeline", tools::pipeline)?);
    rows.push(shell::step("verifying", || tools::verify(house))?);
    rows.extend(shell::step("verifying each kind of evidence", tools::evidence)?);
    rows.push(shell::step("checking a policy", || tools::policy_check(house))?);
    rows.push(shell::step("checking a directory of policies", || tools::policy_directory(house))?);
    Ok(rows)
}

fn build() -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        shell::show(cargo.current_dir(place::root()).args(["build", "--release"]).args(arguments))
    };
    shell::step("building the programs", || cargo(&["--workspace", "--bins"]))?;
    shell::step("building the journal's benchmark", || cargo(&["--package", "edgeguard-audit", "--example", "pipeline"]))?;
    shell::step("building the benchmark of evidence", || cargo(&["--package", "edgeguard-attest", "--example", "evidence"]))?;
    crate::guests::run(&crate::guests::Arguments::default()).map(drop)
}

fn show(arguments: &Arguments, rows: &[Row]) {
    let machine = machine();
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{:#}", json!({ "machine": machine, "rows": rows }));
        return;
    }
    println!("\n{machine}\n{:<7} {:<58} {:<18} measured (median; beside an engine, lower quartile)", "", "what", "target");
    for row in rows {
        println!("{}", row.text());
    }
    let met = rows.iter().filter(|row| row.met()).count();
    println!("\n{met} of {} targets met", rows.len());
}

/// Processor, cores, kernel, and how busy the machine is with other things: without it no figure means much.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("a processor without a name", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg").split_whitespace().next().unwrap_or("?").to_owned();
    format!("{model}, {cores} cores, Linux {}, load {load} at the end", rustix::system::uname().release().to_string_lossy())
}
