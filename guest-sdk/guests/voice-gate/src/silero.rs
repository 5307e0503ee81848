//! The Silero voice activity model (version 5 and later, 16 kHz, without control flow) as a granted graph.
//!
//! Inputs: `input` f32 [1, 576], `state` f32 [2, 1, 128]. Outputs: `output` f32 [1, 1], `stateN` as `state`. The state goes
//! round with every window and begins as zeros (package `silero-vad`, `silero_vad_openvino_16k.onnx`).

use edgeguard_guest::Context;
use edgeguard_guest::Error;
use edgeguard_guest::Graph;
use edgeguard_guest::Port;
use edgeguard_guest::Tensor;
use voice_gate::gate::SpeechModel;
use voice_gate::gate::WINDOW;

/// One stream's view of the model.
pub struct Silero {
    context: Context,
    state: [f32; STATE],
}

impl Silero {
    /// A fresh stream on the graph.
    pub fn new(graph: &Graph) -> Result<Silero, Error> {
        Ok(Silero { context: graph.context()?, state: [0.0; STATE] })
    }
}

impl SpeechModel for Silero {
    type Error = Error;

    fn probability(&mut self, window: &[f32; WINDOW]) -> Result<f32, Error> {
        self.context.set_input(SAMPLES_IN, &Tensor::new(&[1, WINDOW as u32], window)?)?;
        self.context.set_input(STATE_IN, &Tensor::new(&[2, 1, 128], &self.state)?)?;
        self.context.compute()?;
        let mut probability = [0.0_f32];
        self.context.output_into(PROBABILITY_OUT, &mut probability)?;
        self.context.output_into(STATE_OUT, &mut self.state)?;
        let [probability] = probability;
        Ok(probability)
    }
}

/// Numbers in the state.
const STATE: usize = 2 * 128;
const SAMPLES_IN: Port = Port::new(0, "input");
const STATE_IN: Port = Port::new(1, "state");
const PROBABILITY_OUT: Port = Port::new(0, "output");
const STATE_OUT: Port = Port::new(1, "stateN");
