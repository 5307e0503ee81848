//! `speech`: where in a recording somebody speaks. Standard input is 16 kHz, one channel, 16 bits, little-endian, without a header.
//!
//! Runs in: the guest. Needs the graph `vad` (Silero, 16 kHz). The guest `voice-gate` is the same for whole WAV files.

use std::error::Error;
use std::io;
use std::io::Read;

use edgeguard_guest::Graph;
use edgeguard_guest::Port;
use edgeguard_guest::Tensor;

fn main() -> Result<(), Box<dyn Error>> {
    let mut context = Graph::open("vad")?.context()?;
    let (mut window, mut state) = ([0.0_f32; OVERLAP + STEP], [0.0_f32; 2 * 128]);
    let mut sound = Vec::new();
    io::stdin().lock().read_to_end(&mut sound)?;
    let samples: Vec<f32> = sound.as_chunks().0.iter().map(|&bytes| f32::from(i16::from_le_bytes(bytes)) / 32768.0).collect();
    for (number, step) in samples.chunks_exact(STEP).enumerate() {
        // Each window begins with the end of the one before.
        window.copy_within(STEP.., 0);
        window[OVERLAP..].copy_from_slice(step);
        context.set_input(SAMPLES, &Tensor::new(&[1, (OVERLAP + STEP) as u32], &window)?)?;
        context.set_input(STATE, &Tensor::new(&[2, 1, 128], &state)?)?;
        context.compute()?;
        let mut speech = [0.0_f32];
        context.output_into(SPEECH, &mut speech)?;
        context.output_into(NEXT_STATE, &mut state)?;
        if speech[0] > 0.5 {
            println!("{:.2} s: {:.0} %", (number * STEP) as f32 / 16000.0, speech[0] * 100.0);
        }
    }
    Ok(())
}

const SAMPLES: Port = Port::new(0, "input");
const STATE: Port = Port::new(1, "state");
const SPEECH: Port = Port::new(0, "output");
const NEXT_STATE: Port = Port::new(1, "stateN");
const STEP: usize = 512;
const OVERLAP: usize = 64;
