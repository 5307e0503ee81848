//! Which request a child may make when.
//!
//! Runs in: daemon.
//! Invariant: a frame that is repeated or out of phase ends the dialogue; the daemon then kills the child.

/// A phase of a dialogue; each dialogue numbers its own from 0, its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase(pub u8);

/// One request: in which phase it may come, whether only once, and which phase follows.
#[derive(Debug)]
pub struct Row {
    /// For logs and records.
    pub name: &'static str,
    /// The only phase it may come in.
    pub phase: Phase,
    /// Refused the second time.
    pub once: bool,
    /// The phase after it.
    pub next: Phase,
}

/// A frame that stands in a table.
pub trait Request {
    /// The dialogue's table, at most 64 rows.
    const TABLE: &'static [Row];

    /// This frame's row.
    fn row(&self) -> usize;
}

/// The child broke the dialogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerMisbehaved {
    /// The request is known but not now.
    #[error("request `{request}` came in phase {phase}, where it is not allowed")]
    OutOfPhase {
        /// The request's name.
        request: &'static str,
        /// The phase it came in.
        phase: u8,
    },
    /// The request may come once.
    #[error("request `{0}` came a second time")]
    Repeated(&'static str),
    /// The table has no such row: a mistake of ours, answered like one of theirs.
    #[error("request without a row")]
    Unknown,
}

/// The state of one dialogue.
#[derive(Debug)]
pub struct Dialogue {
    phase: Phase,
    seen: u64,
}

impl Dialogue {
    /// At the first phase, nothing said.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: Phase(0), seen: 0 }
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Admits a frame and moves to the phase after it.
    ///
    /// # Errors
    /// The frame is out of phase or repeated.
    pub fn admit<R: Request>(&mut self, request: &R) -> Result<(), PeerMisbehaved> {
        let index = request.row();
        let row = R::TABLE.get(index).ok_or(PeerMisbehaved::Unknown)?;
        let bit = 1u64.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).ok_or(PeerMisbehaved::Unknown)?;
        if row.once && self.seen & bit != 0 {
            return Err(PeerMisbehaved::Repeated(row.name));
        }
        if row.phase != self.phase {
            return Err(PeerMisbehaved::OutOfPhase { request: row.name, phase: self.phase.0 });
        }
        self.seen |= bit;
        self.phase = row.next;
        Ok(())
    }
}

impl Default for Dialogue {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::worker::FromWorker;

    fn refused() -> FromWorker {
        FromWorker::Refused { reason: String::new() }
    }

    #[test]
    fn a_worker_that_finishes_before_it_is_confined_misbehaves() {
        let mut dialogue = Dialogue::new();
        dialogue.admit(&FromWorker::Standby).unwrap();
        let early = FromWorker::GraphStalled { graph: 0 };
        assert_eq!(dialogue.admit(&early), Err(PeerMisbehaved::OutOfPhase { request: "graph-stalled", phase: 1 }));
    }

    #[test]
    fn a_request_that_may_come_once_is_refused_the_second_time() {
        let mut dialogue = Dialogue::new();
        dialogue.admit(&FromWorker::Standby).unwrap();
        dialogue.admit(&refused()).unwrap();
        assert_eq!(dialogue.admit(&refused()), Err(PeerMisbehaved::Repeated("refused")));
        assert_eq!(dialogue.admit(&FromWorker::Standby), Err(PeerMisbehaved::Repeated("standby")));
    }

    #[test]
    fn every_table_fits_the_memory_of_what_was_said() {
        for table in [FromWorker::TABLE, crate::graph::FromGraph::TABLE, crate::compile::FromCompile::TABLE] {
            assert!(table.len() <= 64);
        }
    }
}
