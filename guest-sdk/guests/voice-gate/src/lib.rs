//! The parts of `voice-gate` that need no host: reading WAV, resampling, and turning probabilities into segments.
//!
//! Runs in: the guest, and natively in its own tests. Does not: open files, or talk to a graph; [`gate::SpeechModel`] is where
//! the graph comes in.
//!
//! Everything is a stream of blocks, so that an hour of audio takes no more memory than a second.

pub mod gate;
pub mod report;
pub mod resample;
pub mod segment;
pub mod wav;
