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
use edgeguard_wire::language::Answer;
use edgeguard_wire::language::Ask;
use edgeguard_wire::language::LanguageModel;
use edgeguard_wire::language::Request;
use edgeguard_wire::language::Said;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::now_ns;
use edgeguard_wire::worker::Graph;
use serde::Serialize;
use serde::de::DeserializeOwned;

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
    /// What it said besides, if it hosts a language model: then the channel speaks [`edgeguard_wire::language`].
    pub language: Option<LanguageModel>,
    /// How often the host was replaced. What was opened in an earlier one is gone.
    pub generation: u64,
    /// Bytes of the region's first half, which carries inputs.
    pub half: u64,
    /// How long one compute may take.
    most: Option<Duration>,
    region: SharedMemory,
    channel: Option<Channel>,
    slot: Arc<Slot>,
    seq: u64,
    /// A compute that was abandoned, whose reply is still to come.
    owed: Option<u64>,
    /// When the request was sent whose reply is still to come.
    asked: Instant,
    /// The compute that was abandoned, and when.
    late: Option<(u64, Instant)>,
    /// Contexts of a language host that were opened for a guest who did not live to see it, still to be closed.
    strays: Vec<u32>,
    /// The last request opens a context.
    opening: bool,
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
            language: graph.language.clone(),
            generation: 0,
            half: graph.region / 2,
            most: graph.deadline,
            region,
            channel: Some(Channel::from_fd(fds.socket)),
            slot,
            seq: 0,
            owed: None,
            asked: Instant::now(),
            late: None,
            strays: Vec::new(),
            opening: false,
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
            self.strays.clear();
            self.generation = self.generation.wrapping_add(1);
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

    /// Until when a compute that begins now may take: the policy's word on this graph, or the invocation's deadline.
    pub fn within(&self, deadline: Deadline) -> Deadline {
        self.most.map_or(deadline, |most| deadline.min(Deadline::after(most)))
    }

    /// Computes, and waits for it until the deadline. Gives the outputs, checked, and the engine's nanoseconds.
    pub fn compute(&mut self, inputs: Vec<Placed>, deadline: Deadline) -> Result<(Vec<Placed>, u64), CallError> {
        self.settle::<Reply>(deadline)?;
        let deadline_ns = now_ns().saturating_add(u64::try_from(deadline.left().as_nanos()).unwrap_or(u64::MAX));
        let seq = self.send(|seq| Compute { seq, deadline_ns, inputs })?;
        match self.reply(seq, deadline)? {
            Reply::Failed { error, .. } => Err(CallError::Nn(error)),
            Reply::Computed { outputs, engine_ns, .. } if self.outputs_fit(&outputs) => Ok((outputs, engine_ns)),
            Reply::Computed { .. } => Err(self.impossible()),
        }
    }

    /// Asks a language host, and waits for its answer until the deadline. Gives the answer and the engine's nanoseconds.
    pub fn ask(&mut self, what: Request, deadline: Deadline) -> Result<(Said, u64), CallError> {
        self.settle::<Answer>(deadline)?;
        while let Some(context) = self.strays.pop() {
            self.close_behind(context);
            self.settle::<Answer>(deadline)?;
        }
        self.opening = matches!(what, Request::Open(_));
        let seq = self.send(|seq| Ask { seq, what })?;
        let answer: Answer = self.reply(seq, deadline)?;
        Ok((answer.what, answer.engine_ns))
    }

    /// Waits until a language host has answered what was abandoned, after which the region is free.
    pub fn settle_language(&mut self, deadline: Deadline) -> Result<(), CallError> {
        self.settle::<Answer>(deadline)
    }

    /// Closes a language host's context when the guest is gone, and waits for nothing: the host may be in the middle of a step that the guest did not live to
    /// see. Whoever asks next waits for both answers first.
    pub fn close_behind(&mut self, context: u32) {
        let asked = self.owed.map(|_| self.asked);
        // A host that cannot be told is gone, and its contexts with it.
        let _ = self.send(|seq| Ask { seq, what: Request::Close { context } });
        // The clock of what was asked before goes on.
        self.asked = asked.unwrap_or(self.asked);
    }

    /// The invocation is over. A context that is being opened for it is closed as soon as there is one.
    pub fn finish(&mut self) {
        if self.opening && self.owed.is_some() {
            // What does not come now is closed before the next request.
            let _ = self.settle::<Answer>(Deadline::after(LAST_OPENED));
        }
        for context in std::mem::take(&mut self.strays) {
            self.close_behind(context);
        }
    }

    /// Whether the host has been silent for so long that it is no longer a long step.
    pub fn hangs(&self) -> bool {
        self.owed.is_some() && self.asked.elapsed() >= LONGEST_STEP
    }

    /// Whether a host that computes tensors has said nothing for so long after a deadline that it no longer keeps deadlines. It ends computes by itself, or
    /// itself; what lies before one in its queue keeps deadlines too.
    pub fn deaf(&mut self) -> bool {
        let Some(owed) = self.owed else { return false };
        match self.late {
            Some((seq, since)) if seq == owed => since.elapsed() >= LONGEST_LATE,
            _ => {
                self.late = Some((owed, Instant::now()));
                false
            }
        }
    }

    /// Waits for the reply to what was abandoned. A host that still works on it reads inputs and writes outputs: nothing may be put in its way.
    fn settle<T: Numbered>(&mut self, deadline: Deadline) -> Result<(), CallError> {
        match self.owed {
            Some(owed) => {
                let reply = self.reply::<T>(owed, deadline)?;
                self.stray(&reply);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Sends a request with the next number, and gives the number.
    fn send<T: Serialize>(&mut self, request: impl FnOnce(u64) -> T) -> Result<u64, CallError> {
        let channel = self.channel.as_ref().ok_or_else(|| CallError::Nn(gone()))?;
        let seq = self.seq.wrapping_add(1);
        self.seq = seq;
        self.asked = Instant::now();
        if channel.send(&request(seq), &[]).is_err() {
            return Err(self.dead(gone()));
        }
        self.owed = Some(seq);
        Ok(seq)
    }

    /// Waits for the reply to `seq`; replies to what was abandoned before are dropped.
    fn reply<T: Numbered>(&mut self, wanted: u64, deadline: Deadline) -> Result<T, CallError> {
        loop {
            let channel = self.channel.as_ref().ok_or_else(|| CallError::Nn(gone()))?;
            match channel.recv_eagerly::<T>(deadline.left(), eager(self.last)) {
                Ok((reply, _)) if reply.seq() == wanted => {
                    self.owed = None;
                    self.last = self.asked.elapsed();
                    return Ok(reply);
                }
                Ok((other, _)) => self.stray(&other),
                Err(ChannelError::TimedOut(_)) => return Err(CallError::Stalled),
                Err(ChannelError::Closed) => return Err(self.dead(gone())),
                Err(_) => return Err(self.impossible()),
            }
            if deadline.passed() {
                return Err(CallError::Stalled);
            }
        }
    }

    /// Notes what was opened for nobody. A host cannot make the list long: it has no more contexts to give than there are numbers.
    fn stray<T: Numbered>(&mut self, reply: &T) {
        if let Some(context) = reply.opened().filter(|_| self.strays.len() < MAX_STRAYS) {
            self.strays.push(context);
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

    /// No more of a host that says what cannot be.
    pub fn impossible(&mut self) -> CallError {
        self.dead(error(NnCode::RuntimeError, "the graph host gave an impossible answer"))
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

/// The longest that a language host may take for one step, those of other modules before it included, until it counts as hung.
const LONGEST_STEP: Duration = Duration::from_secs(30);

/// The longest that a compute may stay unanswered after its deadline, those before it included.
const LONGEST_LATE: Duration = Duration::from_secs(30);

/// After an invocation, time for a language host to say which context it was opening.
const LAST_OPENED: Duration = Duration::from_millis(500);

/// The most contexts that are remembered to be closed.
const MAX_STRAYS: usize = edgeguard_wire::language::MAX_CONTEXTS as usize;

/// An answer that says what it answers.
trait Numbered: DeserializeOwned {
    fn seq(&self) -> u64;

    /// The context that it says was opened.
    fn opened(&self) -> Option<u32> {
        None
    }
}

impl Numbered for Reply {
    fn seq(&self) -> u64 {
        match self {
            Self::Computed { seq, .. } | Self::Failed { seq, .. } => *seq,
        }
    }
}

impl Numbered for Answer {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn opened(&self) -> Option<u32> {
        match self.what {
            Said::Opened { context } => Some(context),
            _ => None,
        }
    }
}

fn gone() -> NnError {
    error(NnCode::RuntimeError, "the graph host is gone; it is being restarted")
}

fn outside() -> NnError {
    error(NnCode::RuntimeError, "the tensor does not lie within the shared region")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_host_that_keeps_no_deadlines_is_reported_after_a_while_and_not_at_once() {
        let (ours, _theirs) = Channel::pair().unwrap();
        let (_region, region) = SharedMemory::create("tensors", 4096).unwrap();
        let graph = Graph { name: "model".into(), model: ModelInfo::default(), language: None, region: 4096, deadline: None };
        let mut link = Link::new(&graph, GraphFds { socket: ours.into_fd(), region }, Arc::default()).unwrap();
        assert!(!link.deaf(), "nothing was asked");
        assert!(matches!(link.compute(Vec::new(), Deadline::after(Duration::ZERO)), Err(CallError::Stalled)));
        assert!(!link.deaf(), "its deadline has only passed");
        link.late = link.late.and_then(|(seq, since)| Some((seq, since.checked_sub(LONGEST_LATE)?)));
        assert!(link.deaf());
    }
}
