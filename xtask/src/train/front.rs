//! The part of the model that is not learned: from samples to what the classifier sees.
//!
//! A bank of short band-pass filters gives the energy in each band a thousand times a second. Of each window the classifier sees how
//! loud each band is, how steady it is (voices pulse, noise does not), and both again as two running means over the windows before:
//! the surroundings, and the syllable.

use std::f32::consts::PI;

/// Samples in a window: 64 of the one before, and 512 new ones.
pub const WINDOW: usize = 576;
/// Numbers that go from one window to the next, as in Silero's model; two times [`MEASURES`] of them are used.
pub const STATE: usize = 256;
/// Filters in the bank.
pub const BANDS: usize = 16;
/// Samples in a filter.
pub const TAPS: usize = 64;
/// Samples from one output of a filter to the next: a millisecond.
pub const STRIDE: usize = 16;
/// Numbers that describe a window by itself.
pub const MEASURES: usize = 2 * BANDS;
/// Numbers that the classifier sees.
pub const FEATURES: usize = 3 * MEASURES;
/// Energy is measured in units of a signal at -60 dB, so that silence is 0 and the state may begin as zeros.
pub const GAIN: f32 = 1e6;
/// How much of each window goes into the two running means.
pub const SHARES: [f32; 2] = [0.02, 0.25];

/// The filters, [`BANDS`] times [`TAPS`]: cosines in a Hann window, spaced as the ear spaces them, each of unit gain at its centre.
pub fn filters() -> Vec<f32> {
    let mel = |hertz: f32| 1127.0 * (1.0 + hertz / 700.0).ln();
    let hertz = |mel: f32| 700.0 * ((mel / 1127.0).exp() - 1.0);
    let (low, high) = (mel(120.0), mel(7_000.0));
    let mut bank = Vec::with_capacity(BANDS * TAPS);
    for band in 0..BANDS {
        let centre = hertz(low + (high - low) * band as f32 / (BANDS - 1) as f32);
        let step = 2.0 * PI * centre / super::synth::RATE as f32;
        for tap in 0..TAPS {
            let place = tap as f32 - (TAPS - 1) as f32 / 2.0;
            let hann = 0.5 + 0.5 * (2.0 * PI * place / TAPS as f32).cos();
            bank.push(4.0 / TAPS as f32 * hann * (step * place).cos());
        }
    }
    bank
}

/// What a window says by itself.
pub fn measures(bank: &[f32], window: &[f32; WINDOW]) -> [f32; MEASURES] {
    let mut out = [0.0; MEASURES];
    let (loud, steady) = out.split_at_mut(BANDS);
    for ((filter, loud), steady) in bank.chunks_exact(TAPS).zip(loud).zip(steady) {
        let (mut energy, mut logs, mut count) = (0.0, 0.0, 0.0);
        for place in window.windows(TAPS).step_by(STRIDE) {
            let value: f32 = place.iter().zip(filter).map(|(sample, weight)| sample * weight).sum();
            energy += value * value;
            logs += (1.0 + GAIN * value * value).ln();
            count += 1.0;
        }
        *loud = (1.0 + GAIN * energy / count).ln();
        *steady = logs / count;
    }
    out
}

/// Takes a window's measures into the running means, and gives what the classifier sees.
pub fn features(measures: &[f32; MEASURES], means: &mut [[f32; MEASURES]; 2]) -> [f32; FEATURES] {
    let mut out = [0.0; FEATURES];
    let (now, before) = out.split_at_mut(MEASURES);
    now.copy_from_slice(measures);
    for ((mean, share), out) in means.iter_mut().zip(SHARES).zip(before.chunks_exact_mut(MEASURES)) {
        for ((mean, measure), out) in mean.iter_mut().zip(measures).zip(out) {
            *mean += share * (measure - *mean);
            *out = *mean;
        }
    }
    out
}
