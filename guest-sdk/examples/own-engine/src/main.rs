//! `own-engine`: the answers of `speech` without a graph: the guest brings its engine, Candle, and is granted the weights as a file.
//!
//! Runs in: the guest. Needs the directory `/model` with `silero_vad_16k.safetensors`, read only. Standard input is 16 kHz, one channel, 16 bits,
//! little-endian, without a header. A guest like this computes with what its own memory and time limits give it, and shares no weights with others.

#[cfg(feature = "threadless-libc")]
mod threads;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io;
use std::io::Read;

use candle_core::D;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use candle_core::safetensors;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let silero = Silero(safetensors::load_buffer(&fs::read("/model/silero_vad_16k.safetensors")?, &Device::Cpu)?);
    let mut sound = Vec::new();
    io::stdin().lock().read_to_end(&mut sound)?;
    let samples: Vec<f32> = sound.as_chunks().0.iter().map(|&bytes| f32::from(i16::from_le_bytes(bytes)) / 32768.0).collect();
    let mut window = [0.0_f32; OVERLAP + STEP];
    let mut state =
        [Tensor::zeros((1, 128), candle_core::DType::F32, &Device::Cpu)?, Tensor::zeros((1, 128), candle_core::DType::F32, &Device::Cpu)?];
    for (number, step) in samples.chunks_exact(STEP).enumerate() {
        // Each window begins with the end of the one before.
        window.copy_within(STEP.., 0);
        window[OVERLAP..].copy_from_slice(step);
        let speech = silero.probability(&window, &mut state)?;
        if speech > 0.5 {
            println!("{:.2} s: {:.0} %", (number * STEP) as f32 / 16000.0, speech * 100.0);
        }
    }
    Ok(())
}

/// The network's weights, by their names in the file.
struct Silero(HashMap<String, Tensor>);

impl Silero {
    /// How likely somebody speaks in this window. `state` is what the network remembers: its output and its cell.
    fn probability(&self, window: &[f32], [output, cell]: &mut [Tensor; 2]) -> Result<f32> {
        // The window's end, mirrored, goes behind it.
        let mirrored: Vec<f32> = window.iter().chain(window.iter().rev().skip(1).take(OVERLAP)).copied().collect();
        let sound = Tensor::from_vec(mirrored, (1, 1, OVERLAP + STEP + OVERLAP), &Device::Cpu)?;
        let waves = sound.conv1d(self.weight("stft_conv.weight")?, 0, 128, 1, 1)?;
        let (cosines, sines) = (waves.narrow(1, 0, 129)?, waves.narrow(1, 129, 129)?);
        let mut features = (cosines.sqr()? + sines.sqr()?)?.sqrt()?;
        for (layer, stride) in [("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1)] {
            let bias = self.weight(&format!("{layer}.bias"))?.reshape((1, (), 1))?;
            features = features.conv1d(self.weight(&format!("{layer}.weight"))?, 1, stride, 1, 1)?.broadcast_add(&bias)?.relu()?;
        }
        let gates = (self.dense("ih", &features.squeeze(D::Minus1)?)? + self.dense("hh", output)?)?.chunk(4, 1)?;
        let [input, forget, new, show] = &gates[..] else { candle_core::bail!("the network has {} gates; expected 4", gates.len()) };
        *cell = ((sigmoid(forget)? * &*cell)? + (sigmoid(input)? * new.tanh()?)?)?;
        *output = (sigmoid(show)? * cell.tanh()?)?;
        let last = output.relu()?.unsqueeze(D::Minus1)?.conv1d(self.weight("final_conv.weight")?, 0, 1, 1, 1)?;
        sigmoid(&last.flatten_all()?.broadcast_add(self.weight("final_conv.bias")?)?)?.squeeze(0)?.to_scalar()
    }

    fn dense(&self, which: &str, input: &Tensor) -> Result<Tensor> {
        let product = input.matmul(&self.weight(&format!("lstm_cell.weight_{which}"))?.t()?)?;
        product.broadcast_add(self.weight(&format!("lstm_cell.bias_{which}"))?)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        self.0.get(name).ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt())
    }
}

fn sigmoid(values: &Tensor) -> Result<Tensor> {
    (values.neg()?.exp()? + 1.0)?.recip()
}

const STEP: usize = 512;
const OVERLAP: usize = 64;
