//! `cargo xtask`: everything one does with this tree besides compiling it. One file for each command.
//!
//! Runs on the developer's machine, with the developer's rights. Does not: ship.
#![forbid(unsafe_code)]

mod bench;
mod demo;
mod failure;
mod fuzz;
mod guests;
mod models;
mod onnx;
mod place;
mod shell;
mod speech;
mod test;
mod train;

use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything one does with this tree besides compiling it")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure the figures that the design names, beside the bare engines
    Bench(bench::Arguments),
    /// Sign, admit, confine, infer, record: the whole path on real speech, and what is refused and killed on the way
    Demo(demo::Arguments),
    /// Search for inputs that make a parser panic, hang, or take more memory than its bound
    Fuzz(fuzz::Arguments),
    /// Build the guests for wasm into target/guests, as core modules and as components
    Guests(guests::Arguments),
    /// Fetch the models that demo and tests use into target/models
    Models(models::Arguments),
    /// Gather recordings of speech into target/speech
    Speech(speech::Arguments),
    /// Build everything that the tests need, and run all tests
    Test(test::Arguments),
    /// Train the project's own small voice activity model, models/tiny-vad.onnx
    TrainVad(train::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Guests(arguments) => guests::run(&arguments).map(drop),
        Task::Models(arguments) => models::run(&arguments).map(drop),
        Task::Speech(arguments) => speech::run(&arguments).map(drop),
        Task::Test(arguments) => test::run(&arguments),
        Task::TrainVad(arguments) => train::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
