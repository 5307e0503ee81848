//! Frames between the supervisor and its children.
//!
//! Runs in: every process of the supervisor.
//! Invariant: a frame is at most [`MAX_FRAME`] bytes and [`MAX_FDS`] descriptors; whatever arrives is an `Err` until it parsed.
//! Does not: decide anything, open anything.
//!
//! One file per dialogue: [`worker`], [`graph`], [`tensor`] (the channel between a worker and a graph host), [`language`] (the same for a language
//! model), [`compile`].
//! [`channel`] carries them; [`dialogue`] says which request may come when.
#![forbid(unsafe_code)]

pub mod channel;
pub mod compile;
pub mod dialogue;
pub mod graph;
pub mod language;
pub mod tensor;
pub mod worker;

pub use channel::Channel;
pub use channel::ChannelError;
pub use channel::MAX_FDS;
pub use channel::MAX_FRAME;
pub use dialogue::Dialogue;
pub use dialogue::PeerMisbehaved;
