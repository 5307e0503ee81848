//! Any rate to another by band-limited interpolation, in blocks.
//!
//! Runs in: the guest. The kernel is a Kaiser-windowed sinc, tabulated finely and interpolated linearly, so that any ratio takes
//! the same few kilobytes (J. O. Smith, "Digital Audio Resampling Home Page", CCRMA). Going down, the kernel is stretched so
//! that it also removes what would alias.

/// Changes the rate of a stream of samples.
#[derive(Debug)]
pub struct Resampler {
    from: u64,
    to: u64,
    /// Kernel units for one input sample: below 1 when going down.
    scale: f64,
    /// How many input samples on each side of a point the kernel reaches.
    reach: u64,
    kernel: Vec<f32>,
    /// Input not yet passed by, the first of them number `first`.
    window: Vec<f32>,
    first: u64,
    received: u64,
    produced: u64,
}

impl Resampler {
    /// From one rate to another, both in samples a second and not 0.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Resampler {
        let scale = (f64::from(to) / f64::from(from)).min(1.0) * ROLLOFF;
        let reach = (ZERO_CROSSINGS as f64 / scale).ceil() as u64;
        Resampler {
            from: u64::from(from),
            to: u64::from(to),
            scale,
            reach,
            kernel: kernel(),
            window: Vec::new(),
            first: 0,
            received: 0,
            produced: 0,
        }
    }

    /// Takes a block, and appends to `out` what can be told from the input so far.
    pub fn push(&mut self, block: &[f32], out: &mut Vec<f32>) {
        self.received += block.len() as u64;
        if self.from == self.to {
            out.extend_from_slice(block);
            return;
        }
        self.window.extend_from_slice(block);
        while self.produced * self.from / self.to + self.reach < self.received {
            out.push(self.next_sample());
        }
        let passed = (self.produced * self.from / self.to).saturating_sub(self.reach);
        let drop = usize::try_from(passed - self.first).unwrap_or(usize::MAX).min(self.window.len());
        self.window.drain(..drop);
        self.first += drop as u64;
    }

    /// Appends the rest, as though silence followed.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        if self.from != self.to {
            while self.produced * self.from < self.received * self.to {
                out.push(self.next_sample());
            }
        }
    }

    fn next_sample(&mut self) -> f32 {
        let position = self.produced * self.from;
        let (base, fraction) = (position / self.to, (position % self.to) as f64 / self.to as f64);
        self.produced += 1;
        let from = base.saturating_sub(self.reach).max(self.first);
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        let taps = usize::try_from(2 * self.reach + 2).unwrap_or(usize::MAX);
        let mut distance = (from as f64 - base as f64 - fraction) * self.scale;
        let mut sum = 0.0;
        for sample in self.window.iter().skip(skip).take(taps) {
            sum += sample * self.weight(distance.abs());
            distance += self.scale;
        }
        sum * self.scale as f32
    }

    /// The kernel at a distance, in zero crossings; 0 beyond its end.
    fn weight(&self, distance: f64) -> f32 {
        let place = distance * STEPS as f64;
        let (index, fraction) = (place as usize, place.fract() as f32);
        match (self.kernel.get(index), self.kernel.get(index + 1)) {
            (Some(here), Some(next)) => here + fraction * (next - here),
            _ => 0.0,
        }
    }
}

/// The right half of the windowed sinc, [`STEPS`] values to each zero crossing, and a last 0.
fn kernel() -> Vec<f32> {
    let last = ZERO_CROSSINGS * STEPS;
    (0..=last)
        .map(|step| {
            let x = step as f64 / STEPS as f64;
            let sinc = if step == 0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
            let edge = step as f64 / last as f64;
            (sinc * bessel_i0(KAISER_BETA * (1.0 - edge * edge).max(0.0).sqrt()) / bessel_i0(KAISER_BETA)) as f32
        })
        .chain([0.0])
        .collect()
}

/// The modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..40 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

/// Lobes of the sinc on each side: the transition band is narrow enough for speech at a quarter of the cost of music's.
const ZERO_CROSSINGS: usize = 16;
/// Table entries for each lobe: linear interpolation between them errs by less than 16 bits can show.
const STEPS: usize = 256;
/// About 80 dB in the stop band.
const KAISER_BETA: f64 = 8.0;
/// The pass band ends this far below the lower of the two Nyquist frequencies.
const ROLLOFF: f64 = 0.94;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<f32> {
        let samples = (f64::from(rate) * seconds) as usize;
        (0..samples).map(|n| (std::f64::consts::TAU * hertz * n as f64 / f64::from(rate)).sin() as f32).collect()
    }

    fn resample(input: &[f32], from: u32, to: u32, block: usize) -> Vec<f32> {
        let mut out = Vec::new();
        let mut resampler = Resampler::new(from, to);
        input.chunks(block).for_each(|block| resampler.push(block, &mut out));
        resampler.finish(&mut out);
        out
    }

    /// The largest difference away from the ends, where the kernel reaches into nothing.
    fn error(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).skip(400).take(a.len().saturating_sub(800)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_stays_the_same_tone() {
        for rate in [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 47_999] {
            let out = resample(&tone(rate, 1_000.0, 0.5), rate, 16_000, 777);
            let expected = tone(16_000, 1_000.0, 0.5);
            assert!(out.len().abs_diff(expected.len()) <= 1, "{rate} Hz gave {} samples", out.len());
            let error = error(&out, &expected);
            assert!(error < 1e-3, "{rate} Hz is off by {error}");
        }
    }

    #[test]
    fn what_would_alias_is_removed() {
        let out = resample(&tone(48_000, 10_000.0, 0.5), 48_000, 16_000, 4096);
        let error = error(&out, &vec![0.0; out.len()]);
        assert!(error < 1e-3, "10 kHz leaks {error} into a band that ends at 8 kHz");
    }

    #[test]
    fn the_size_of_the_blocks_makes_no_difference() {
        let input = tone(44_100, 440.0, 0.2);
        assert_eq!(resample(&input, 44_100, 16_000, 1), resample(&input, 44_100, 16_000, 100_000));
    }

    #[test]
    fn equal_rates_change_nothing() {
        let input = tone(16_000, 440.0, 0.1);
        assert_eq!(resample(&input, 16_000, 16_000, 100), input);
    }

    #[test]
    fn memory_does_not_grow_with_the_stream() {
        let mut resampler = Resampler::new(48_000, 16_000);
        let (block, mut out) = (vec![0.0; 4096], Vec::new());
        for _ in 0..200 {
            resampler.push(&block, &mut out);
        }
        assert!(resampler.window.len() < 4096 + 300, "{} samples are held", resampler.window.len());
    }
}
