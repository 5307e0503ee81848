//! `cargo xtask train-vad`: the project's own voice activity model, from nothing but this source.
//!
//! It stands in for Silero's where that cannot be fetched, and has the same inputs and outputs. It learns from synthetic signals with
//! a fixed seed, so the same build of this tool makes the same file; it is far worse than the real one on real noise.

pub mod front;
pub mod network;
pub mod onnx;
pub mod random;
pub mod synth;

use crate::failure::Result;
use crate::place;
use crate::shell;
use crate::train::front::MEASURES;
use crate::train::front::WINDOW;
use crate::train::network::Example;
use crate::train::network::Network;
use crate::train::random::Random;
use crate::train::synth::Labelled;

#[derive(clap::Args)]
pub struct Arguments {
    /// Train and measure, but leave the file in the tree as it is
    #[arg(long)]
    dry_run: bool,
}

/// Where the model lies in the tree.
pub const MODEL: &str = "models/tiny-vad.onnx";

/// Makes the signals, trains, measures on signals that were not trained on, and writes the model.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (training, held_out) = shell::step("making signals", || Ok((examples(0..TRAINING), examples(TRAINING..TRAINING + HELD_OUT))))?;
    shell::note(format!("{} windows to train on, {} held out", training.len(), held_out.len()));
    let mut random = Random::new(SEED);
    let mut network = Network::new(&training, &mut random);
    shell::step("training", || {
        network.train(&training, EPOCHS, &mut random, |epoch, loss| shell::note(format!("epoch {epoch:2}: loss {loss:.4}")));
        Ok(())
    })?;
    let (hits, misses) = counts(&network, held_out.iter().filter(|example| example.speech));
    let (alarms, rejections) = counts(&network, held_out.iter().filter(|example| !example.speech));
    let share = |part: usize, rest: usize| 100.0 * part as f32 / (part + rest).max(1) as f32;
    println!("accuracy on held-out signals  {:.1} %", share(hits + rejections, misses + alarms));
    println!("speech found                  {:.1} %", share(hits, misses));
    println!("false alarms                  {:.1} %", share(alarms, rejections));

    let file = onnx::model(&network.plain());
    let path = place::root().join(MODEL);
    let state = match std::fs::read(&path) {
        Ok(old) if old == file => "the same as in the tree",
        Ok(_) => "differs from the one in the tree",
        Err(_) => "not in the tree yet",
    };
    println!("{}  {} bytes  {MODEL}, {state}", place::sha256(&file), file.len());
    if !arguments.dry_run {
        place::put(&path, &file)?;
    }
    Ok(())
}

/// Windows of many signals, half of them with speech.
fn examples(seeds: std::ops::Range<u64>) -> Vec<Example> {
    let bank = front::filters();
    let length = synth::RATE * 4;
    seeds
        .flat_map(|seed| windows(&bank, &if seed % 2 == 0 { synth::utterances(seed, length) } else { synth::noises(seed, length) }))
        .collect()
}

/// The windows of a signal as the guest cuts them: 512 new samples after the last 64 of the window before.
fn windows(bank: &[f32], signal: &Labelled) -> Vec<Example> {
    const FRESH: usize = 512;
    let mut window = [0.0; WINDOW];
    let mut means = [[0.0; MEASURES]; 2];
    let mut out = Vec::new();
    for (fresh, speech) in signal.samples.chunks_exact(FRESH).zip(signal.speech.chunks_exact(FRESH)) {
        window.copy_within(FRESH.., 0);
        window[WINDOW - FRESH..].copy_from_slice(fresh);
        let features = front::features(&front::measures(bank, &window), &mut means);
        out.push(Example { features, speech: speech.iter().filter(|speech| **speech).count() > FRESH / 2 });
    }
    out
}

/// How many of the examples the network takes for speech, and how many it does not.
fn counts<'a>(network: &Network, examples: impl Iterator<Item = &'a Example>) -> (usize, usize) {
    examples.fold((0, 0), |(yes, no), example| if network.probability(&example.features) >= 0.5 { (yes + 1, no) } else { (yes, no + 1) })
}

const SEED: u64 = 0x0ed6_e900_4a6d;
/// Signals to train on, four seconds each.
const TRAINING: u64 = 600;
/// Signals to measure on.
const HELD_OUT: u64 = 100;
const EPOCHS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_signals_are_enough_to_tell_speech_from_noise() {
        let (training, held_out) = (examples(0..60), examples(60..80));
        let mut random = Random::new(SEED);
        let mut network = Network::new(&training, &mut random);
        network.train(&training, 10, &mut random, |_, _| ());
        let (hits, misses) = counts(&network, held_out.iter().filter(|example| example.speech));
        let (alarms, rejections) = counts(&network, held_out.iter().filter(|example| !example.speech));
        assert!(hits > 4 * misses, "{hits} found, {misses} missed");
        assert!(rejections > 4 * alarms, "{rejections} rejected, {alarms} false alarms");
    }

    #[test]
    fn the_plain_network_says_the_same() {
        let examples = examples(0..4);
        let mut random = Random::new(SEED);
        let mut network = Network::new(&examples, &mut random);
        network.train(&examples, 1, &mut random, |_, _| ());
        let plain = network.plain();
        for example in &examples {
            let unit = |(row, bias): (&[f32], &f32)| (bias + row.iter().zip(&example.features).map(|(a, b)| a * b).sum::<f32>()).max(0.0);
            let units = plain.hidden.chunks_exact(front::FEATURES).zip(&plain.hidden_bias).map(unit);
            let logit = plain.out_bias + units.zip(&plain.out).map(|(unit, weight)| unit * weight).sum::<f32>();
            let (plain, scaled) = (1.0 / (1.0 + (-logit).exp()), network.probability(&example.features));
            assert!((plain - scaled).abs() < 1e-3, "{plain} and {scaled}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_signal() {
        assert_eq!(synth::utterances(7, 8_000).samples, synth::utterances(7, 8_000).samples);
        assert_ne!(synth::utterances(7, 8_000).samples, synth::utterances(8, 8_000).samples);
    }

    #[test]
    fn the_model_in_the_tree_has_this_sources_shape() {
        let file = place::get(&place::root().join(MODEL)).unwrap_or_default();
        let network = Network::new(&[], &mut Random::new(SEED)).plain();
        assert_eq!(file.len(), onnx::model(&network).len(), "run `cargo xtask train-vad`");
    }
}
