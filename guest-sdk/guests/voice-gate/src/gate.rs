//! From samples to segments: cuts the stream into windows, asks the model about each, and hears where speech is.
//!
//! Runs in: the guest; natively with any other [`SpeechModel`].

use crate::segment::Segment;
use crate::segment::Segmenter;

/// Samples a second that the model wants.
pub const RATE: u32 = 16_000;
/// New samples in each window.
pub const FRESH: usize = 512;
/// Samples of the window before that the model sees again.
pub const CONTEXT: usize = 64;
/// Samples that the model sees at once.
pub const WINDOW: usize = CONTEXT + FRESH;

/// What says how likely a window is speech. It remembers what came before; one is made for each stream.
pub trait SpeechModel {
    /// Why it could not say.
    type Error;

    /// How likely the last [`FRESH`] samples of the window are speech, 0 to 1.
    ///
    /// # Errors
    /// The model's own.
    fn probability(&mut self, window: &[f32; WINDOW]) -> Result<f32, Self::Error>;
}

/// A stream of 16 kHz samples on its way to segments.
#[derive(Debug)]
pub struct Gate<M> {
    model: M,
    segmenter: Segmenter,
    window: [f32; WINDOW],
    filled: usize,
    total: u64,
}

impl<M: SpeechModel> Gate<M> {
    /// A gate at the start of a stream.
    pub fn new(model: M) -> Gate<M> {
        Gate { model, segmenter: Segmenter::default(), window: [0.0; WINDOW], filled: 0, total: 0 }
    }

    /// Takes samples, and appends the segments that they complete.
    ///
    /// # Errors
    /// The model's.
    pub fn push(&mut self, samples: &[f32], found: &mut Vec<Segment>) -> Result<(), M::Error> {
        for &sample in samples {
            if let Some(place) = self.window.get_mut(CONTEXT + self.filled) {
                *place = sample;
            }
            self.filled += 1;
            self.total += 1;
            if self.filled == FRESH {
                found.extend(self.ask()?);
            }
        }
        Ok(())
    }

    /// Ends the stream, with silence after the last sample up to a whole window.
    ///
    /// # Errors
    /// The model's.
    pub fn finish(mut self, found: &mut Vec<Segment>) -> Result<(), M::Error> {
        if self.filled > 0 {
            self.window.iter_mut().skip(CONTEXT + self.filled).for_each(|sample| *sample = 0.0);
            found.extend(self.ask()?);
        }
        found.extend(self.segmenter.finish(self.total));
        Ok(())
    }

    fn ask(&mut self) -> Result<Option<Segment>, M::Error> {
        let probability = self.model.probability(&self.window)?;
        self.window.copy_within(FRESH.., 0);
        self.filled = 0;
        Ok(self.segmenter.push(probability, FRESH as u64))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::convert::Infallible;

    /// Says that loud windows are speech, and keeps what it was shown.
    #[derive(Default)]
    struct Loudness(Vec<[f32; WINDOW]>);

    impl SpeechModel for &mut Loudness {
        type Error = Infallible;

        fn probability(&mut self, window: &[f32; WINDOW]) -> Result<f32, Infallible> {
            self.0.push(*window);
            Ok(window[CONTEXT..].iter().map(|sample| sample.abs()).sum::<f32>() / FRESH as f32)
        }
    }

    fn run(samples: &[f32], block: usize) -> (Vec<Segment>, Loudness) {
        let (mut model, mut found) = (Loudness::default(), Vec::new());
        let mut gate = Gate::new(&mut model);
        samples.chunks(block).for_each(|block| gate.push(block, &mut found).unwrap());
        gate.finish(&mut found).unwrap();
        (found, model)
    }

    #[test]
    fn each_window_begins_with_the_end_of_the_one_before() {
        let samples: Vec<f32> = (0..2_000).map(|n| n as f32).collect();
        let (_, model) = run(&samples, 300);
        assert_eq!(model.0.len(), 4);
        assert!(model.0[0][..CONTEXT].iter().all(|&sample| sample == 0.0));
        assert_eq!(model.0[1][..], samples[FRESH - CONTEXT..2 * FRESH]);
        assert!(model.0[3][CONTEXT + 2_000 - 3 * FRESH..].iter().all(|&sample| sample == 0.0), "the rest is silence");
    }

    #[test]
    fn the_size_of_the_blocks_makes_no_difference() {
        let samples = [vec![0.0; 10_000], vec![0.9; 10_000], vec![0.0; 10_000]].concat();
        let (found, _) = run(&samples, 1);
        assert_eq!(found, run(&samples, 7_777).0);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn an_empty_stream_has_no_speech() {
        assert_eq!(run(&[], 1).0, []);
    }
}
