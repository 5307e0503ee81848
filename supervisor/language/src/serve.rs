//! Answering workers.
//!
//! Runs in: language host, on its serving threads.
//! Invariant: one frame of a peer is answered by one frame to that peer, after one step at most. A prompt is copied out of the region before it is looked at.
//! A peer that misbehaves loses its own channel, and its contexts, and nothing else.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Instant;

use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::ChannelError;
use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::LanguageError;
use edgeguard_wire::language::MAX_CONTEXTS;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::tensor::NnCode;
use rustix::io::Errno;

use crate::error::chain;
use crate::error::nn;
use crate::log;
use crate::peers::Peer;
use crate::peers::Peers;
use crate::peers::Sessions;
use crate::session::Served;
use crate::session::Session;
use crate::session::Step;

/// What the serving threads share.
#[derive(Debug)]
pub(crate) struct Host {
    /// Set once the model is loaded; until then the threads wait for it.
    pub(crate) served: OnceLock<Arc<Served>>,
    pub(crate) peers: Peers,
}

impl Host {
    /// Serves until the event queue fails, which it does not in a healthy process.
    pub(crate) fn serve(&self) -> std::io::Error {
        let served = self.served.wait();
        loop {
            let (key, peer) = match self.peers.wait() {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            if let Err(lost) = answer(served, &peer).and_then(|()| Ok(self.peers.rearm(key, &peer)?)) {
                self.peers.remove(key);
                match lost {
                    Lost::Closed => {}
                    lost => log(&format!("channel {key} closed: {}", chain(&lost))),
                }
            }
        }
    }
}

/// Takes one frame and answers it.
fn answer(served: &Arc<Served>, peer: &Peer) -> Result<(), Lost> {
    let Some((Ask { seq, what }, fds)) = peer.channel.try_recv::<Ask>().map_err(Lost::from)? else { return Ok(()) };
    if !fds.is_empty() {
        return Err(Lost::Descriptors);
    }
    let begun = Instant::now();
    // Nobody else has this peer now: it is not armed.
    let mut sessions = peer.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let what = carry_out(served, &mut sessions, &peer.region, what).unwrap_or_else(Said::Failed);
    let engine_ns = begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
    peer.channel.send(&Answer { seq, what, engine_ns }, &[]).map_err(|error| match error {
        ChannelError::Io(Errno::AGAIN) => Lost::Unread,
        other => other.into(),
    })
}

fn carry_out(served: &Arc<Served>, sessions: &mut Sessions, region: &SharedMemory, what: Request) -> Result<Said, LanguageError> {
    match what {
        Request::Open(options) => {
            let number = sessions.free().ok_or(LanguageError::Busy(MAX_CONTEXTS))?;
            sessions.insert(number, Session::open(served, &options)?);
            Ok(Said::Opened { context: number })
        }
        Request::Prompt { context, len } => {
            let session = sessions.get(context).ok_or_else(|| unknown(context))?;
            let text = text(region, len)?;
            Ok(Said::Prompted { tokens: session.prompt(&text)? })
        }
        Request::Step { context } => match sessions.get(context).ok_or_else(|| unknown(context))?.step()? {
            Step::Reading(left) => Ok(Said::Reading { left }),
            Step::Piece(piece, end) => Ok(Said::Piece { piece, end }),
            Step::Embedded(numbers) => place(region, &numbers),
        },
        Request::Reset { context } => {
            sessions.get(context).ok_or_else(|| unknown(context))?.reset()?;
            Ok(Said::Done)
        }
        Request::Close { context } => {
            sessions.remove(context).ok_or_else(|| unknown(context))?;
            Ok(Said::Done)
        }
    }
}

/// A copy of the prompt in the region's first half.
fn text(region: &SharedMemory, len: u64) -> Result<String, LanguageError> {
    let half = region.len() / 2;
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= half)
        .ok_or_else(|| nn(NnCode::TooLarge, format!("a prompt of {len} bytes, and {half} fit the channel")))?;
    let mut bytes = vec![0; len];
    region.read(0, &mut bytes).map_err(|error| nn(NnCode::InvalidArgument, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| nn(NnCode::InvalidArgument, format!("the prompt is not UTF-8: {}", error.utf8_error())))
}

/// Writes an embedding into the region's second half.
fn place(region: &SharedMemory, numbers: &[f32]) -> Result<Said, LanguageError> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    region
        .write(region.len() / 2, &bytes)
        .map_err(|_| nn(NnCode::TooLarge, format!("an embedding of {} bytes, and {} fit the channel", bytes.len(), region.len() / 2)))?;
    Ok(Said::Embedded { numbers: u32::try_from(numbers.len()).unwrap_or(u32::MAX) })
}

fn unknown(context: u32) -> LanguageError {
    nn(NnCode::InvalidArgument, format!("there is no context {context} on this channel"))
}

/// Why a channel is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("peer is gone")]
    Closed,
    #[error("peer misbehaved")]
    Frame(#[source] ChannelError),
    #[error("peer misbehaved: a request comes without descriptors")]
    Descriptors,
    #[error("peer misbehaved: it does not take its answers")]
    Unread,
    #[error("event queue refused the channel")]
    Queue(#[from] std::io::Error),
}

impl From<ChannelError> for Lost {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Closed,
            other => Self::Frame(other),
        }
    }
}
