//! Answering computes.
//!
//! Runs in: graph host, on its serving threads, each within a seat of the engine.
//! Invariant: tensors are copied out of the region before they are used, so what the engine sees cannot change under it. One frame of
//! a peer is answered by one frame to that peer. A peer that misbehaves loses its own channel and nothing else.
//! Does not: trust the engine. What it returns is measured before it is written, and its panics are errors.

use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::now_ns;
use rustix::io::Errno;

use crate::check::check;
use crate::copy;
use crate::engine::Data;
use crate::engine::Engine;
use crate::engine::Graph;
use crate::engine::Seat;
use crate::engine::Tensor;
use crate::error::chain;
use crate::error::nn_error;
use crate::error::panic_message;
use crate::log;
use crate::peers::Peer;
use crate::peers::Peers;
use crate::watch::Watch;

/// The largest inputs with which a model is tried out before it serves, in bytes.
const MAX_TRIAL: u64 = 64 << 20;

/// After a compute shorter than this the thread stays awake for the next one.
const SMALL: Duration = Duration::from_micros(400);
/// For so long: what a guest takes between two computes of a stream, and about what waking a thread would cost.
const EAGER: Duration = Duration::from_micros(50);

/// What the serving threads share.
pub(crate) struct Host {
    pub(crate) engine: Box<dyn Engine>,
    /// Set once the model is loaded; until then the threads wait for it.
    pub(crate) graph: OnceLock<Box<dyn Graph>>,
    /// Set by the first seat once it has tried the model out.
    pub(crate) tried: OnceLock<()>,
    pub(crate) peers: Peers,
    /// Ends what is beyond its deadline.
    pub(crate) watch: Watch,
}

impl Host {
    /// Serves until the event queue fails, which it does not in a healthy process.
    pub(crate) fn serve(&self, seat: Seat) -> std::io::Error {
        let graph = self.graph.wait();
        if seat == Seat(0) {
            try_out(&**graph, seat);
            // Nobody else sets it.
            let _ = self.tried.set(());
        }
        let mut eager = Duration::ZERO;
        loop {
            let (key, peer) = match self.peers.wait(eager) {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            let begun = Instant::now();
            let kept = self.answer(&**graph, seat, &peer).and_then(|()| Ok(self.peers.rearm(key, &peer)?));
            if let Err(lost) = kept {
                self.peers.remove(key);
                match lost {
                    Lost::Closed => {}
                    lost => log(&format!("channel {key} closed: {}", chain(&lost))),
                }
            }
            eager = if begun.elapsed() < SMALL { EAGER } else { Duration::ZERO };
        }
    }

    /// Takes one frame and answers it.
    fn answer(&self, graph: &dyn Graph, seat: Seat, peer: &Peer) -> Result<(), Lost> {
        let Some((compute, fds)) = peer.channel.try_recv::<Compute>().map_err(Lost::from)? else { return Ok(()) };
        if !fds.is_empty() {
            return Err(Lost::Descriptors);
        }
        let seq = compute.seq;
        let reply = match self.compute(graph, seat, &compute, &peer.region) {
            Ok((outputs, engine_ns)) => Reply::Computed { seq, outputs, engine_ns },
            Err(error) => Reply::Failed { seq, error },
        };
        peer.channel.send(&reply, &[]).map_err(|error| match error {
            ChannelError::Io(Errno::AGAIN) => Lost::Unread,
            other => other.into(),
        })
    }

    fn compute(&self, graph: &dyn Graph, seat: Seat, compute: &Compute, region: &SharedMemory) -> Result<(Vec<Placed>, u64), NnError> {
        if now_ns() >= compute.deadline_ns {
            // It waited behind others until nobody waited for it.
            return Err(too_late());
        }
        let half = region.len() / 2;
        let checked = check(compute, graph.info(), self.engine.types(), half as u64)?;
        let inputs = checked
            .iter()
            .map(|input| {
                let data = copy::take(region, input.offset, input.ty, input.elements)
                    .map_err(|error| nn_error(NnCode::InvalidArgument, error.to_string()))?;
                Ok(Tensor { dims: input.dims.to_vec(), data })
            })
            .collect::<Result<Vec<_>, NnError>>()?;
        let begun = Instant::now();
        let outputs = self.watched(graph, seat, compute.deadline_ns, inputs)?;
        let engine_ns = begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX);
        Ok((place(&outputs, graph.info(), region, half)?, engine_ns))
    }

    /// Computes, and is told to end at the deadline.
    fn watched(&self, graph: &dyn Graph, seat: Seat, until: u64, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
        graph.renew(seat);
        self.watch.begin(seat, until);
        let result = run(graph, seat, inputs);
        // Whatever came of one that was told: nobody waits for it.
        if self.watch.end(seat) { Err(too_late()) } else { result }
    }
}

/// What a compute beyond its deadline comes to.
fn too_late() -> NnError {
    nn_error(NnCode::Timeout, "the deadline of this compute has passed".into())
}

/// Computes once with zeros, where all shapes are known, so that the first guest does not wait for what engines make at first use.
/// How it comes out does not matter: zeros may well be no input that the model understands.
fn try_out(graph: &dyn Graph, seat: Seat) {
    if let Some(zeros) = zeros(graph.info()) {
        let _ = run(graph, seat, zeros);
    }
}

fn zeros(model: &ModelInfo) -> Option<Vec<Tensor>> {
    let mut left = MAX_TRIAL;
    model
        .inputs
        .iter()
        .map(|input| {
            let ty = input.ty?;
            let dims = input.dims.as_ref()?.iter().copied().collect::<Option<Vec<u32>>>()?;
            let bytes = ty.bytes(&dims)?;
            left = left.checked_sub(bytes)?;
            Some(Tensor { dims, data: Data::zeroed(ty, usize::try_from(bytes / ty.size()).ok()?) })
        })
        .collect()
}

/// Runs the engine; a panic inside it is an error of this one compute.
fn run(graph: &dyn Graph, seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
    std::panic::catch_unwind(AssertUnwindSafe(|| graph.compute(seat, inputs))).unwrap_or_else(|payload| {
        let message = format!("engine panicked: {}", panic_message(&*payload));
        Err(nn_error(NnCode::RuntimeError, message))
    })
}

/// Writes the outputs into the region's second half, one after the other.
fn place(outputs: &[Tensor], model: &ModelInfo, region: &SharedMemory, half: usize) -> Result<Vec<Placed>, NnError> {
    if outputs.len() != model.outputs.len() {
        let message = format!("engine gave {} outputs, the model has {}", outputs.len(), model.outputs.len());
        return Err(nn_error(NnCode::RuntimeError, message));
    }
    let mut at = half;
    let mut placed = Vec::with_capacity(outputs.len());
    for (index, output) in outputs.iter().enumerate() {
        let ty = output.data.ty();
        let refuse = |code, why: &str| Err(nn_error(code, format!("output {index} is {} {:?}, {why}", ty.name(), output.dims)));
        if output.dims.len() > MAX_DIMS {
            return refuse(NnCode::TooLarge, &format!("expected at most {MAX_DIMS} dimensions"));
        }
        let Some(len) = ty.bytes(&output.dims).filter(|len| *len == (output.data.len() as u64).saturating_mul(ty.size())) else {
            return refuse(NnCode::RuntimeError, "which is not what the engine computed");
        };
        // At a multiple of the largest element, where copying is fastest on both sides.
        at = at.next_multiple_of(8);
        if copy::put(region, at, &output.data).is_err() {
            let left = region.len().saturating_sub(at);
            return refuse(NnCode::TooLarge, &format!("of {len} bytes, and {left} are left of the {half} for outputs"));
        }
        placed.push(Placed { index: u32::try_from(index).unwrap_or(u32::MAX), ty, dims: output.dims.clone(), offset: at as u64, len });
        at = at.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(region.len());
    }
    Ok(placed)
}

/// Why a channel is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("peer is gone")]
    Closed,
    #[error("peer misbehaved")]
    Frame(#[source] ChannelError),
    #[error("peer misbehaved: a compute comes without descriptors")]
    Descriptors,
    #[error("peer misbehaved: it does not take its replies")]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does the engine of this one")]
    use super::*;
    use edgeguard_wire::graph::TensorInfo;

    /// An engine of the worst kind: it panics, or gives back what it did not compute.
    struct Worst(ModelInfo, Option<Vec<Tensor>>);

    impl Graph for Worst {
        fn info(&self) -> &ModelInfo {
            &self.0
        }

        fn compute(&self, _seat: Seat, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NnError> {
            Ok(self.1.clone().unwrap_or_else(|| panic!("no idea what to do with {} inputs", inputs.len())))
        }
    }

    fn one_output() -> ModelInfo {
        ModelInfo { inputs: vec![], outputs: vec![TensorInfo { name: "y".into(), ty: None, dims: None }] }
    }

    #[test]
    fn a_panic_of_the_engine_is_an_error_of_that_compute() {
        let error = run(&Worst(one_output(), None), Seat(0), vec![]).unwrap_err();
        assert_eq!(error, nn_error(NnCode::RuntimeError, "engine panicked: no idea what to do with 0 inputs".into()));
    }

    #[test]
    fn outputs_that_are_not_what_they_say_are_not_written() {
        let (region, _fd) = SharedMemory::create("outputs", 64).unwrap();
        let tensor = |dims: &[u32], len| Tensor { dims: dims.into(), data: Data::zeroed(edgeguard_wire::tensor::TensorType::Fp32, len) };
        for (outputs, code) in [
            (vec![], NnCode::RuntimeError),
            (vec![tensor(&[1], 1), tensor(&[1], 1)], NnCode::RuntimeError),
            (vec![tensor(&[2], 1)], NnCode::RuntimeError),
            (vec![tensor(&[u32::MAX, u32::MAX, 16], 1)], NnCode::RuntimeError),
            (vec![tensor(&[1; 17], 1)], NnCode::TooLarge),
            (vec![tensor(&[9], 9)], NnCode::TooLarge),
        ] {
            assert_eq!(place(&outputs, &one_output(), &region, 32).unwrap_err().code, code, "{outputs:?}");
        }
        assert!(place(&[tensor(&[8], 8)], &one_output(), &region, 32).is_ok());
    }
}
