//! Probabilities, one for each window of audio, to segments of speech.
//!
//! Runs in: the guest. The rule is the one that comes with the model (`get_speech_timestamps` of package `silero-vad`): speech
//! begins at a window of at least 0.5; it ends where windows below 0.35 have lasted 100 ms; what is shorter than 250 ms is
//! dropped; what is left is widened by 30 ms on both sides.

/// A stretch of speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Its first sample.
    pub start: u64,
    /// The sample after its last.
    pub end: u64,
    /// The mean probability of its windows.
    pub probability: f32,
}

/// Finds segments as the probabilities come in.
#[derive(Debug, Default)]
pub struct Segmenter {
    position: u64,
    speech: Option<Speech>,
}

/// Speech that has begun.
#[derive(Debug, Clone, Copy)]
struct Speech {
    start: u64,
    windows: Mean,
    /// Where it may have ended, and the mean up to there.
    pause: Option<(u64, Mean)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f32,
    count: u32,
}

impl Segmenter {
    /// Takes the probability of the next `window` samples, and gives the segment whose end that made certain.
    pub fn push(&mut self, probability: f32, window: u64) -> Option<Segment> {
        let here = self.position;
        self.position += window;
        let Some(speech) = &mut self.speech else {
            if probability >= BEGINS {
                self.speech = Some(Speech { start: here, windows: Mean::default().and(probability), pause: None });
            }
            return None;
        };
        if probability >= BEGINS {
            speech.pause = None;
        } else if probability < CONTINUES {
            let (end, windows) = *speech.pause.get_or_insert((here, speech.windows));
            if here - end >= PAUSE {
                let segment = segment(speech.start, end, windows, self.position);
                self.speech = None;
                return segment;
            }
        }
        speech.windows = speech.windows.and(probability);
        None
    }

    /// Ends the stream at `total` samples, which may be less than the windows covered, and gives the speech that lasted to it.
    #[must_use]
    pub fn finish(self, total: u64) -> Option<Segment> {
        let speech = self.speech?;
        segment(speech.start, total, speech.windows, total)
    }
}

impl Mean {
    fn and(self, value: f32) -> Mean {
        Mean { sum: self.sum + value, count: self.count + 1 }
    }
}

fn segment(start: u64, end: u64, windows: Mean, limit: u64) -> Option<Segment> {
    let long_enough = end.saturating_sub(start) > SHORTEST;
    let probability = windows.sum / windows.count.max(1) as f32;
    long_enough.then(|| Segment { start: start.saturating_sub(PAD), end: (end + PAD).min(limit), probability })
}

/// At least this begins speech.
const BEGINS: f32 = 0.5;
/// Below this, speech pauses.
const CONTINUES: f32 = 0.35;
/// Samples of pause that end it: 100 ms at 16 kHz.
const PAUSE: u64 = 1_600;
/// Samples that are too short to be speech: 250 ms.
const SHORTEST: u64 = 4_000;
/// Samples added on both sides: 30 ms.
const PAD: u64 = 480;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 512;

    fn segments(probabilities: &[f32]) -> Vec<Segment> {
        let mut segmenter = Segmenter::default();
        let mut found: Vec<_> = probabilities.iter().filter_map(|&p| segmenter.push(p, WINDOW)).collect();
        found.extend(segmenter.finish(probabilities.len() as u64 * WINDOW));
        found
    }

    #[test]
    fn speech_between_silences_is_one_padded_segment() {
        let found = segments(&[[0.0; 10], [1.0; 10], [0.0; 10]].concat());
        assert_eq!(found, [Segment { start: 10 * WINDOW - PAD, end: 20 * WINDOW + PAD, probability: 1.0 }]);
    }

    #[test]
    fn a_short_pause_does_not_split() {
        let found = segments(&[vec![1.0; 10], vec![0.0; 3], vec![1.0; 10]].concat());
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_long_pause_splits() {
        let found = segments(&[vec![1.0; 10], vec![0.0; 5], vec![1.0; 10]].concat());
        assert_eq!(found.len(), 2);
        assert!(found.windows(2).all(|pair| pair[0].end < pair[1].start), "{found:?}");
    }

    #[test]
    fn a_click_is_not_speech() {
        assert_eq!(segments(&[vec![0.0; 10], vec![1.0; 3], vec![0.0; 10]].concat()), []);
    }

    #[test]
    fn between_the_thresholds_speech_continues_but_does_not_begin() {
        assert_eq!(segments(&[0.4; 40]), []);
        assert_eq!(segments(&[vec![0.6; 1], vec![0.4; 39]].concat()).len(), 1);
    }

    #[test]
    fn speech_at_the_end_stops_at_the_last_sample() {
        let mut segmenter = Segmenter::default();
        assert!((0..20).all(|_| segmenter.push(0.9, WINDOW).is_none()));
        let found = segmenter.finish(20 * WINDOW - 100);
        assert_eq!(found.map(|segment| (segment.start, segment.end)), Some((0, 20 * WINDOW - 100)));
    }
}
