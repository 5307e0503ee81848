//! Answering workers.
//!
//! Runs in: language host, on its serving threads.
//! Invariant: one frame of a peer is answered by one frame to that peer, after one step at most. Steps wait in one queue; the thread that finds the engine
//! idle leads, and computes what waits until nothing does, while the others take and answer all that needs no computing. A prompt is copied out of the region before it is looked at.
//! A peer that misbehaves loses its own channel, and its contexts, and nothing else.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::Duration;
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
use crate::lane::Lane;
use crate::lane::Read;
use crate::lane::Served;
use crate::log;
use crate::peers::Peer;
use crate::peers::Peers;
use crate::peers::Sessions;
use crate::session::BATCH;
use crate::session::Session;
use crate::session::Step;
use crate::session::Wants;
use crate::sys::Decoded;

/// Frames that are taken at most between two batches.
const MAX_TAKEN: usize = 256;

/// What the serving threads share.
#[derive(Debug)]
pub(crate) struct Host {
    /// Set once the model is loaded; until then the threads wait for it.
    pub(crate) served: OnceLock<Arc<Served>>,
    pub(crate) peers: Peers,
    pub(crate) queue: Mutex<VecDeque<Job>>,
}

/// A step that waits to be computed. Its peer is not armed meanwhile, so nobody else has it.
#[derive(Debug)]
pub(crate) struct Job {
    key: u64,
    peer: Arc<Peer>,
    seq: u64,
    context: u32,
    wants: Wants,
}

impl Job {
    fn joins(&self) -> bool {
        matches!(&self.wants, Wants::Read(read) if read.joins)
    }
}

impl Host {
    /// Serves until the event queue fails, which it does not in a healthy process.
    pub(crate) fn serve(&self) -> std::io::Error {
        let served = self.served.wait();
        loop {
            match self.peers.wait(None) {
                Ok(Some((key, peer))) => self.take(served, key, peer),
                Ok(None) => {}
                Err(error) => return error,
            }
            if let Err(error) = self.compute(served) {
                return error;
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one frame of a peer, and answers it unless something must be computed first.
    fn take(&self, served: &Arc<Served>, key: u64, peer: Arc<Peer>) {
        let begun = Instant::now();
        match heard(served, &peer) {
            Ok(Heard::Nothing) => self.settle(key, &peer, Ok(())),
            Ok(Heard::Done { seq, what }) => self.answer(key, &peer, seq, what, begun.elapsed()),
            Ok(Heard::Step { seq, context, wants }) => self.queue().push_back(Job { key, peer, seq, context, wants }),
            Err(lost) => self.settle(key, &peer, Err(lost)),
        }
    }

    /// Computes what waits, unless another thread does so: whoever does looks again after it has let go.
    fn compute(&self, served: &Arc<Served>) -> std::io::Result<()> {
        while !self.queue().is_empty() {
            let Some(mut lane) = served.lead() else { return Ok(()) };
            loop {
                self.gather(served, &lane)?;
                let (jobs, waiting) = self.pick(&mut lane);
                if jobs.is_empty() {
                    break;
                }
                self.run(served, &mut lane, jobs, waiting);
            }
        }
        Ok(())
    }

    /// Takes what else has come, so that it is in the next batch; and waits a little for contexts that were in the last one and have always been quick.
    fn gather(&self, served: &Arc<Served>, lane: &Lane) -> std::io::Result<()> {
        let begun = Instant::now();
        for _ in 0..MAX_TAKEN {
            let here: Vec<u32> =
                self.queue().iter().filter_map(|job| if let Wants::Read(read) = &job.wants { Some(read.seat) } else { None }).collect();
            // A prompt goes ahead meanwhile, and nothing at all that is there waits for nothing.
            let join = self.queue().iter().any(Job::joins) && (lane.read_prompt || self.queue().front().is_some_and(Job::joins));
            let waits = join && lane.expected.iter().any(|seat| !here.contains(seat));
            let patience = if waits { lane.patience().saturating_sub(begun.elapsed()) } else { Duration::ZERO };
            match self.peers.wait(Some(patience))? {
                Some((key, peer)) => self.take(served, key, peer),
                None => break,
            }
        }
        Ok(())
    }

    /// What is computed next, and how many wait besides. Next tokens go together; what cannot goes alone, in the order in which it came, and after each of
    /// those the next tokens that wait meanwhile have their turn.
    fn pick(&self, lane: &mut Lane) -> (Vec<Job>, usize) {
        let mut queue = self.queue();
        let together = queue.front().is_some_and(Job::joins) || (lane.read_prompt && queue.iter().any(Job::joins));
        let mut jobs = Vec::new();
        if together {
            let mut rest = VecDeque::new();
            for job in queue.drain(..) {
                if job.joins() && jobs.len() < BATCH as usize { jobs.push(job) } else { rest.push_back(job) }
            }
            *queue = rest;
        } else {
            jobs.extend(queue.pop_front());
        }
        lane.read_prompt = !together;
        (jobs, queue.len())
    }

    fn run(&self, served: &Arc<Served>, lane: &mut Lane, mut jobs: Vec<Job>, waiting: usize) {
        let begun = Instant::now();
        let mut reads: Vec<&mut Read> = Vec::new();
        for job in &mut jobs {
            if let Wants::Read(read) = &mut job.wants {
                reads.push(read);
            }
        }
        let decoded = if reads.is_empty() { Decoded::Done } else { lane.read(served, &mut reads, waiting) };
        let computed = begun.elapsed();
        let patience = lane.patience();
        if jobs.iter().any(Job::joins) {
            lane.expected.clear();
        }
        for Job { key, peer, seq, context, wants } in jobs {
            let begun = Instant::now();
            let mut sessions = peer.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let what = match sessions.get(context) {
                None => Err(unknown(context)),
                Some(session) => match wants {
                    Wants::Nothing => session.choose(),
                    Wants::Embedding => session.embed(served.threads(waiting.saturating_add(1))),
                    Wants::Read(read) => {
                        if read.joins && session.is_quick(patience) {
                            lane.expected.insert(read.seat);
                        }
                        session.goes_on(read, decoded)
                    }
                },
            };
            if matches!(what, Ok(Step::Piece(_, Some(_))) | Err(_))
                && let Some(session) = sessions.get(context)
            {
                lane.expected.remove(&session.seat().number());
            }
            drop(sessions);
            let what = what.and_then(|step| say(&peer.region, step));
            self.answer(key, &peer, seq, what.unwrap_or_else(Said::Failed), computed.saturating_add(begun.elapsed()));
        }
    }

    fn answer(&self, key: u64, peer: &Peer, seq: u64, what: Said, engine: Duration) {
        let engine_ns = engine.as_nanos().try_into().unwrap_or(u64::MAX);
        let sent = peer.channel.send(&Answer { seq, what, engine_ns }, &[]).map_err(|error| match error {
            ChannelError::Io(Errno::AGAIN) => Lost::Unread,
            other => other.into(),
        });
        self.settle(key, peer, sent);
    }

    /// Lets the next frame of a peer come, or lets go of it.
    fn settle(&self, key: u64, peer: &Peer, result: Result<(), Lost>) {
        if let Err(lost) = result.and_then(|()| Ok(self.peers.rearm(key, peer)?)) {
            self.peers.remove(key);
            match lost {
                Lost::Closed => {}
                lost => log(&format!("channel {key} closed: {}", chain(&lost))),
            }
        }
    }
}

/// What a peer said.
enum Heard {
    /// Nothing after all.
    Nothing,
    /// Something that is done.
    Done { seq: u64, what: Said },
    /// Something that is to be computed.
    Step { seq: u64, context: u32, wants: Wants },
}

/// Takes one frame, and does what can be done without the engine's lane.
fn heard(served: &Arc<Served>, peer: &Peer) -> Result<Heard, Lost> {
    let Some((Ask { seq, what }, fds)) = peer.channel.try_recv::<Ask>().map_err(Lost::from)? else { return Ok(Heard::Nothing) };
    if !fds.is_empty() {
        return Err(Lost::Descriptors);
    }
    // Nobody else has this peer now: it is not armed.
    let mut sessions = peer.sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let what = match what {
        Request::Step { context } => {
            let session = sessions.get(context).ok_or_else(|| unknown(context));
            match session.and_then(|session| session.wants().map(|wants| (wants, session))) {
                Ok((Wants::Nothing, session)) => session.choose().and_then(|step| say(&peer.region, step)),
                Ok((wants, _)) => return Ok(Heard::Step { seq, context, wants }),
                Err(error) => Err(error),
            }
        }
        other => carry_out(served, &mut sessions, &peer.region, other),
    };
    Ok(Heard::Done { seq, what: what.unwrap_or_else(Said::Failed) })
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
        Request::Reset { context } => {
            sessions.get(context).ok_or_else(|| unknown(context))?.reset()?;
            Ok(Said::Done)
        }
        Request::Close { context } => {
            sessions.remove(context).ok_or_else(|| unknown(context))?;
            Ok(Said::Done)
        }
        Request::Step { context } => Err(unknown(context)),
    }
}

fn say(region: &SharedMemory, step: Step) -> Result<Said, LanguageError> {
    match step {
        Step::Reading(left) => Ok(Said::Reading { left }),
        Step::Piece(piece, end) => Ok(Said::Piece { piece, end }),
        Step::Embedded(numbers) => place(region, &numbers),
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
