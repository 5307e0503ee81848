//! The part of the model that is learned: one hidden layer, by stochastic gradient descent with momentum.

use crate::train::front::FEATURES;
use crate::train::random::Random;

/// Units in the hidden layer.
pub const HIDDEN: usize = 16;

/// What the classifier sees of a window, and whether somebody speaks in it.
#[derive(Debug, Clone)]
pub struct Example {
    pub features: [f32; FEATURES],
    pub speech: bool,
}

/// Weights, of a network whose inputs have been brought to mean 0 and deviation 1.
#[derive(Debug, Clone)]
pub struct Network {
    hidden: Vec<[f32; FEATURES]>,
    hidden_bias: [f32; HIDDEN],
    out: [f32; HIDDEN],
    out_bias: f32,
    mean: [f32; FEATURES],
    deviation: [f32; FEATURES],
}

/// The weights of a network that takes its inputs as they are.
#[derive(Debug)]
pub struct Plain {
    /// [`FEATURES`] for each unit.
    pub hidden: Vec<f32>,
    pub hidden_bias: Vec<f32>,
    pub out: Vec<f32>,
    pub out_bias: f32,
}

impl Network {
    /// Small random weights, and the scale of the examples.
    pub fn new(examples: &[Example], random: &mut Random) -> Network {
        let count = examples.len().max(1) as f32;
        let (mut mean, mut deviation) = ([0.0; FEATURES], [0.0; FEATURES]);
        for example in examples {
            mean.iter_mut().zip(example.features).for_each(|(mean, value)| *mean += value / count);
        }
        for example in examples {
            let differences = example.features.iter().zip(mean).map(|(value, mean)| value - mean);
            deviation.iter_mut().zip(differences).for_each(|(deviation, difference)| *deviation += difference * difference / count);
        }
        deviation.iter_mut().for_each(|deviation| *deviation = deviation.sqrt().max(1e-3));
        let scale = (2.0 / FEATURES as f32).sqrt();
        let hidden = (0..HIDDEN).map(|_| std::array::from_fn(|_| scale * random.normal())).collect();
        let out = std::array::from_fn(|_| 0.25 * random.normal());
        Network { hidden, hidden_bias: [0.0; HIDDEN], out, out_bias: 0.0, mean, deviation }
    }

    /// How likely somebody speaks, 0 to 1.
    pub fn probability(&self, features: &[f32; FEATURES]) -> f32 {
        self.forward(&self.scaled(features)).1
    }

    /// Goes over the examples so many times, in a new order each time.
    pub fn train(&mut self, examples: &[Example], epochs: usize, random: &mut Random, mut progress: impl FnMut(usize, f32)) {
        let mut momentum =
            Network { hidden: vec![[0.0; FEATURES]; HIDDEN], hidden_bias: [0.0; HIDDEN], out: [0.0; HIDDEN], ..self.clone() };
        momentum.out_bias = 0.0;
        let mut order: Vec<&Example> = examples.iter().collect();
        for epoch in 0..epochs {
            for last in (1..order.len()).rev() {
                order.swap(last, random.below(last + 1));
            }
            let rate = RATE * 0.5 * (1.0 + (std::f32::consts::PI * epoch as f32 / epochs as f32).cos());
            let loss: f32 = order.iter().map(|example| self.step(example, rate, &mut momentum)).sum();
            progress(epoch + 1, loss / order.len().max(1) as f32);
        }
    }

    /// One example's step down the gradient of the cross entropy; gives the loss before it.
    fn step(&mut self, example: &Example, rate: f32, momentum: &mut Network) -> f32 {
        let inputs = self.scaled(&example.features);
        let (units, probability) = self.forward(&inputs);
        let wanted = if example.speech { 1.0 } else { 0.0 };
        let error = probability - wanted;
        let toward = |velocity: &mut f32, gradient: f32, weight: &mut f32| {
            *velocity = MOMENTUM * *velocity - rate * (gradient + DECAY * *weight);
            *weight += *velocity;
        };
        for (unit, &value) in units.iter().enumerate() {
            let (Some(out), Some(velocity)) = (self.out.get_mut(unit), momentum.out.get_mut(unit)) else { continue };
            let back = if value > 0.0 { error * *out } else { 0.0 };
            toward(velocity, error * value, out);
            let rows = (self.hidden.get_mut(unit), momentum.hidden.get_mut(unit));
            let biases = (self.hidden_bias.get_mut(unit), momentum.hidden_bias.get_mut(unit));
            let ((Some(weights), Some(velocities)), (Some(bias), Some(bias_velocity))) = (rows, biases) else { continue };
            for ((weight, velocity), input) in weights.iter_mut().zip(velocities).zip(inputs) {
                toward(velocity, back * input, weight);
            }
            toward(bias_velocity, back, bias);
        }
        toward(&mut momentum.out_bias, error, &mut self.out_bias);
        -(if example.speech { probability } else { 1.0 - probability }).max(1e-7).ln()
    }

    fn forward(&self, inputs: &[f32; FEATURES]) -> ([f32; HIDDEN], f32) {
        let mut units = self.hidden_bias;
        for (unit, weights) in units.iter_mut().zip(&self.hidden) {
            *unit = (*unit + weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum::<f32>()).max(0.0);
        }
        let logit = self.out_bias + units.iter().zip(self.out).map(|(unit, weight)| unit * weight).sum::<f32>();
        (units, 1.0 / (1.0 + (-logit).exp()))
    }

    fn scaled(&self, features: &[f32; FEATURES]) -> [f32; FEATURES] {
        let mut out = *features;
        for ((value, mean), deviation) in out.iter_mut().zip(self.mean).zip(self.deviation) {
            *value = (*value - mean) / deviation;
        }
        out
    }

    /// The same network with the scale of its inputs taken into the first layer.
    pub fn plain(&self) -> Plain {
        let scaled = |weights: &[f32; FEATURES]| {
            weights.iter().zip(self.deviation).map(|(weight, deviation)| weight / deviation).collect::<Vec<_>>()
        };
        let hidden: Vec<Vec<f32>> = self.hidden.iter().map(scaled).collect();
        let shift = |row: &Vec<f32>| row.iter().zip(self.mean).map(|(weight, mean)| weight * mean).sum::<f32>();
        let hidden_bias = self.hidden_bias.iter().zip(&hidden).map(|(bias, row)| bias - shift(row)).collect();
        Plain { hidden_bias, hidden: hidden.concat(), out: self.out.to_vec(), out_bias: self.out_bias }
    }
}

const RATE: f32 = 2e-3;
const MOMENTUM: f32 = 0.9;
/// Pulls weights to 0, against learning the synthesiser's habits.
const DECAY: f32 = 1e-5;
