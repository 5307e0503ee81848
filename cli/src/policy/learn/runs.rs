//! A range of the journal as runs of one module, each with exactly the calls that it made.
//!
//! Runs in: command line, on a journal that was verified just before.
//! Invariant: an invocation has its guest thread's ring for itself from its beginning to the next beginning there, and in the journal its calls stand between
//! the two. So runs are told apart by the order of frames, never by clocks; and each must have as many calls as were accounted for.
//! Does not: guess. A range in which anything is missing is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use edgeguard_audit::Event;
use edgeguard_audit::Position;
use edgeguard_audit::Record;
use edgeguard_audit::frame::FrameType;
use edgeguard_audit::read::Call;
use edgeguard_audit::read::Content;
use edgeguard_audit::read::Item;
use edgeguard_audit::read::ReadError;
use edgeguard_audit::read::Reader;
use edgeguard_audit::rfc3339;

/// Most calls that are held at once.
const MAX_CALLS: usize = 2_000_000;

/// Why a range is not learned from.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gap {
    #[error("journal cannot be read")]
    Read(#[from] ReadError),
    #[error("journal was not closed in order before {0}, and what was lost then is not known; take a range that does not hold that moment")]
    Unclean(String),
    #[error("the journal's disk took no records before {0}, and calls were lost; take a range that does not hold that moment")]
    Lost(String),
    #[error("what a worker recorded before {0} could not be read; take a range that does not hold that moment")]
    Corrupt(String),
    #[error("run `{id}` of {when} is not wholly on record ({why}); take a range that does not hold it, with `--from` and `--to`")]
    Run { id: String, when: String, why: String },
    #[error("range holds more than {MAX_CALLS} calls; take a shorter one, with `--from` and `--to`")]
    TooMany,
}

/// One invocation.
#[derive(Debug)]
pub(super) struct Run {
    id: String,
    /// Its worker and guest thread.
    ring: Option<Ring>,
    /// When it began and ended, nanoseconds since 1970.
    pub(super) began: u64,
    pub(super) ended: u64,
    /// Whether it ended with exit code 0.
    pub(super) good: bool,
    /// How long it ran, nanoseconds.
    pub(super) took: u64,
    pub(super) calls: Vec<Made>,
}

#[cfg(test)]
impl Run {
    /// One that made these calls and ended well.
    pub(super) fn of(calls: Vec<Made>) -> Self {
        Self { id: String::new(), ring: None, began: 0, ended: 0, good: true, took: 0, calls }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) position: Position,
    pub(super) real: u64,
    pub(super) record: Record,
    pub(super) text: Option<Arc<[u8]>>,
    pub(super) policy: String,
    pub(super) module: String,
}

/// What is asked of the journal.
pub(super) struct Range<'a> {
    pub(super) dir: &'a Path,
    /// Frames that were verified; what was written since is not looked at.
    pub(super) frames: u64,
    pub(super) module: &'a str,
    /// Nanoseconds since 1970.
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The runs of a range, and how many were left out because they only partly lie in it or have not ended.
pub(super) struct Runs {
    pub(super) runs: Vec<Run>,
    pub(super) partly: u64,
}

/// A worker's id, and the number of its guest thread.
type Ring = (String, u32);

/// Reads them.
pub(super) fn read(range: &Range<'_>) -> Result<Runs, Gap> {
    let mut gathering = Gathering { range, under_way: BTreeMap::new(), on_ring: BTreeMap::new(), runs: Vec::new(), partly: 0, held: 0 };
    let mut reader = Reader::open(range.dir)?;
    let mut before = 0;
    while let Some(frame) = reader.next_frame()?.filter(|frame| frame.header.frame_no < range.frames) {
        // Dictionaries are read in any case; calls only while somebody's are wanted.
        if frame.header.kind == FrameType::Detail && gathering.on_ring.is_empty() {
            continue;
        }
        let now = frame.header.t0_real;
        match reader.decode(&frame)? {
            Content::Events(items) => items.into_iter().try_for_each(|item| gathering.event(item))?,
            Content::Calls(items) => items.into_iter().try_for_each(|item| gathering.call(item))?,
            Content::Boot(opened) => {
                let found = &opened.recovery;
                if (found.frames_cut > 0 || !found.damage.is_empty()) && before <= range.to && now >= range.from {
                    return Err(Gap::Unclean(rfc3339(now)));
                }
                gathering.daemon_went(now)?;
            }
            _ => {}
        }
        before = before.max(now);
    }
    let open = gathering.under_way.values().filter(|run| run.began <= range.to).count() as u64;
    gathering.runs.sort_by_key(|run| run.began);
    Ok(Runs { runs: gathering.runs, partly: gathering.partly + open })
}

struct Gathering<'a> {
    range: &'a Range<'a>,
    /// By their ids.
    under_way: BTreeMap<String, Run>,
    /// Whose calls come from which ring now: a run that begins in the range, by its id.
    on_ring: BTreeMap<Ring, String>,
    runs: Vec<Run>,
    partly: u64,
    held: usize,
}

impl Gathering<'_> {
    fn event(&mut self, item: Item<Event>) -> Result<(), Gap> {
        let (range, at) = (self.range, item.time_real);
        let inside = (range.from..=range.to).contains(&at);
        match item.what {
            Event::JournalResumed { lost, closed_ns, .. } if lost > 0 && at >= range.from && at.saturating_sub(closed_ns) <= range.to => {
                return Err(Gap::Lost(rfc3339(at)));
            }
            Event::RingCorrupt { module, .. } if module == range.module && inside => return Err(Gap::Corrupt(rfc3339(at))),
            Event::InvocationStarted { id, module, instance, ring, .. } if module == range.module => {
                let ring = ring.map(|ring| (instance, ring));
                if let Some(ring) = &ring {
                    // Whoever had it before has had his last call.
                    self.on_ring.remove(ring);
                    if inside {
                        self.on_ring.insert(ring.clone(), id.clone());
                    }
                }
                let run = Run { id: id.clone(), ring, began: at, ended: at, good: false, took: 0, calls: Vec::new() };
                self.under_way.insert(id, run);
            }
            Event::InvocationEnded { id, module, outcome, exit_code, records_produced, records_recorded, run_ns, .. }
                if module == range.module =>
            {
                let Some(mut run) = self.under_way.remove(&id) else { return Ok(()) };
                // A client that sent no request: no guest ran.
                if outcome == "refused" {
                    return Ok(());
                }
                if let Some(ring) = run.ring.take_if(|ring| self.on_ring.get(ring) == Some(&id)) {
                    self.on_ring.remove(&ring);
                }
                if run.began < range.from || at > range.to {
                    self.partly += u64::from(at >= range.from && run.began <= range.to);
                    self.held = self.held.saturating_sub(run.calls.len());
                    return Ok(());
                }
                run.ended = at;
                run.good = outcome == "exited" && exit_code == Some(0);
                run.took = run_ns;
                whole(&run, &outcome, records_produced, records_recorded)?;
                self.runs.push(run);
            }
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, item: Item<Call>) -> Result<(), Gap> {
        let Item { position, time_real, what: Call { record, source, text }, .. } = item;
        if source.module() != self.range.module {
            return Ok(());
        }
        let ring = (source.instance().to_string(), source.ring());
        let Some(run) = self.on_ring.get(&ring).and_then(|id| self.under_way.get_mut(id)) else { return Ok(()) };
        self.held += 1;
        if self.held > MAX_CALLS {
            return Err(Gap::TooMany);
        }
        let (policy, module) = (source.policy_sha256(), source.module_sha256());
        run.calls.push(Made { position, real: time_real, record, text, policy, module });
        Ok(())
    }

    /// Whoever was running when the last daemon went has no end.
    fn daemon_went(&mut self, now: u64) -> Result<(), Gap> {
        self.on_ring.clear();
        for (id, run) in std::mem::take(&mut self.under_way) {
            if run.began <= self.range.to && now >= self.range.from {
                return Err(Gap::Run { id, when: rfc3339(run.began), why: "the daemon went away".to_owned() });
            }
        }
        Ok(())
    }
}

/// Whether all calls of a run are there.
fn whole(run: &Run, outcome: &str, produced: u64, recorded: u64) -> Result<(), Gap> {
    let refuse = |why: String| Err(Gap::Run { id: run.id.clone(), when: rfc3339(run.began), why });
    if outcome == "worker-gone" || outcome == "killed" {
        return refuse("its worker was killed".to_owned());
    }
    if produced != recorded {
        return refuse(format!("{produced} calls made, {recorded} recorded"));
    }
    if run.calls.len() as u64 != recorded {
        return refuse(format!(
            "{recorded} calls were recorded, and {} are there: the others were deleted, or only counted",
            run.calls.len()
        ));
    }
    Ok(())
}
