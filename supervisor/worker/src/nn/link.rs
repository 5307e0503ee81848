//! One channel to a graph host: frames over a socket, tensors in a shared region.
//!
//! Runs in: worker, on guest threads; the main thread leaves a renewed channel in a [`Slot`].
//! Invariant: what the host answers is checked before it is used. A host that dies or misbehaves costs an error to the calls
//! that need it, until the daemon has renewed the channel.
//! Does not: share anything with other threads: each guest thread has its own link to each graph.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;
use std::time::Instant;

use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::worker::Graph;

use crate::assignment::GraphFds;
use crate::deadline::Deadline;
use crate::fault::Refusal;
use crate::nn::error;

/// A channel that the daemon has renewed and the guest thread has not taken yet.
#[derive(Debug, Default)]
pub struct Slot {
    filled: AtomicBool,
    fresh: Mutex<Option<GraphFds>>,
}

impl Slot {
    /// Leaves a channel, in place of one that was left before and not taken.
    pub fn fill(&self, fds: GraphFds) {
        *self.fresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(fds);
        self.filled.store(true, Release);
    }

    /// Takes what was left.
    fn take(&self) -> Option<GraphFds> {
        if !self.filled.swap(false, Acquire) {
            return None;
        }
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Why a compute gave no outputs.
#[derive(Debug)]
pub enum CallError {
    /// The guest gets this.
    Nn(NnError),
    /// The deadline passed; the host still computes.
    Stalled,
}

/// A guest thread's end of one channel.
#[derive(Debug)]
pub struct Link {
    /// The name in the policy.
    pub name: String,
    /// What the host said of the model.
    pub model: ModelInfo,
    /// Bytes of the region's first half, which carries inputs.
    pub half: u64,
    region: SharedMemory,
    channel: Option<Channel>,
    slot: Arc<Slot>,
    seq: u64,
    /// A compute that was abandoned, whose reply is still to come.
    owed: Option<u64>,
    /// How long the last round trip took, by which the next one's wait is chosen.
    last: Duration,
}

impl Link {
    /// Maps the region.
    ///
    /// # Errors
    /// [`Refusal::Descriptor`] when the region is not what the assignment says.
    pub fn new(graph: &Graph, fds: GraphFds, slot: Arc<Slot>) -> Result<Self, Refusal> {
        let refusal = |source| Refusal::Descriptor { what: "tensor region", source };
        let len = usize::try_from(graph.region).map_err(|_| refusal(std::io::ErrorKind::InvalidInput.into()))?;
        let region = SharedMemory::map(fds.region.as_fd(), len).map_err(refusal)?;
        Ok(Self {
            name: graph.name.clone(),
            model: graph.model.clone(),
            half: graph.region / 2,
            region,
            channel: Some(Channel::from_fd(fds.socket)),
            slot,
            seq: 0,
            owed: None,
            last: Duration::MAX,
        })
    }

    /// A renewed channel, if there is one. What lies in the old region is to be saved before it is taken.
    pub fn renewed(&self) -> Option<GraphFds> {
        self.slot.take()
    }

    /// Replaces channel and region. A region that cannot be mapped leaves the link dead, as it was.
    pub fn replace(&mut self, fds: GraphFds) {
        if let Ok(region) = SharedMemory::map(fds.region.as_fd(), self.region.len()) {
            self.region = region;
            self.channel = Some(Channel::from_fd(fds.socket));
            self.owed = None;
        }
    }

    /// Copies bytes into the region.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), NnError> {
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        self.region.write(offset, bytes).map_err(|_| outside())
    }

    /// Copies bytes out of the region.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), NnError> {
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        self.region.read(offset, into).map_err(|_| outside())
    }

    /// Computes, and waits for it until the deadline. Gives the outputs, checked, and the engine's nanoseconds.
    pub fn compute(&mut self, inputs: Vec<Placed>, deadline: Deadline) -> Result<(Vec<Placed>, u64), CallError> {
        // A host that still works on an abandoned compute reads inputs and writes outputs: nothing may be put in its way.
        if let Some(owed) = self.owed {
            self.reply(owed, deadline)?;
        }
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let channel = self.channel.as_ref().ok_or_else(|| CallError::Nn(gone()))?;
        let begun = Instant::now();
        if channel.send(&Compute { seq, inputs }, &[]).is_err() {
            return Err(self.dead(gone()));
        }
        self.owed = Some(seq);
        let reply = self.reply(seq, deadline)?;
        self.last = begun.elapsed();
        match reply {
            Reply::Failed { error, .. } => Err(CallError::Nn(error)),
            Reply::Computed { outputs, engine_ns, .. } if self.outputs_fit(&outputs) => Ok((outputs, engine_ns)),
            Reply::Computed { .. } => Err(self.dead(error(NnCode::RuntimeError, "the graph host gave an impossible answer"))),
        }
    }

    /// Waits for the reply to `seq`; replies to what was abandoned before are dropped.
    fn reply(&mut self, wanted: u64, deadline: Deadline) -> Result<Reply, CallError> {
        loop {
            let channel = self.channel.as_ref().ok_or_else(|| CallError::Nn(gone()))?;
            match channel.recv_eagerly::<Reply>(deadline.left(), eager(self.last)) {
                Ok((reply, _)) if seq_of(&reply) == wanted => {
                    self.owed = None;
                    return Ok(reply);
                }
                Ok(_) => {}
                Err(ChannelError::TimedOut(_)) => return Err(CallError::Stalled),
                Err(ChannelError::Closed) => return Err(self.dead(gone())),
                Err(_) => return Err(self.dead(error(NnCode::RuntimeError, "the graph host gave an impossible answer"))),
            }
            if deadline.passed() {
                return Err(CallError::Stalled);
            }
        }
    }

    /// Whether the outputs lie where outputs lie, and are as long as they say.
    fn outputs_fit(&self, outputs: &[Placed]) -> bool {
        outputs.len() <= MAX_TENSORS
            && outputs.iter().all(|placed| {
                placed.dims.len() <= MAX_DIMS
                    && placed.offset >= self.half
                    && placed.offset.checked_add(placed.len).is_some_and(|end| end <= self.region.len() as u64)
                    && placed.ty.bytes(&placed.dims) == Some(placed.len)
            })
    }

    /// No more of this channel; the daemon sees by its own means that the host is gone.
    fn dead(&mut self, error: NnError) -> CallError {
        self.channel = None;
        self.owed = None;
        CallError::Nn(error)
    }
}

/// How long to stay awake for a reply when the last one took `last`: only for models so small that going to sleep and being woken would cost more than
/// the compute itself.
fn eager(last: Duration) -> Duration {
    if last < SMALL { last.saturating_mul(2) } else { Duration::ZERO }
}

/// Computes below this are small.
const SMALL: Duration = Duration::from_micros(400);

fn seq_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Computed { seq, .. } | Reply::Failed { seq, .. } => *seq,
    }
}

fn gone() -> NnError {
    error(NnCode::RuntimeError, "the graph host is gone; it is being restarted")
}

fn outside() -> NnError {
    error(NnCode::RuntimeError, "the tensor does not lie within the shared region")
}
