//! Whether the counts are of all calls, and whether they are right.
//!
//! Runs in: CLI.
//! Does not: believe a count because it is signed, where the calls are still there and the caller wants every one read. Where they are gone, a count that
//! was written wrong, by whoever had the keys at that moment, cannot be told from a right one.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::calls::CallId;
use crate::dict::Source;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::names::ERASED;
use crate::read::Call;
use crate::read::Item;
use crate::read::calls::Part;
use crate::record::Outcome;
use crate::segment;
use crate::segment::Tier;
use crate::summary::Counts;
use crate::summary::Coverage;
use crate::summary::Summary;
use crate::summary::tally::Tally;
use crate::verify::Retired;

/// Which calls are counted so far.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// The calls below this number are.
    pub counted: u64,
    /// Calls whose counts were held against them.
    pub held: u64,
    recount: Option<Recount>,
}

impl Counting {
    /// Also counts every call again.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn recount(&mut self, journal: &Path) -> io::Result<()> {
        self.recount = Some(Recount::look(journal)?);
        Ok(())
    }

    /// A segment of counts that was deleted in order is passed.
    pub fn passed(&mut self, from: u64, to: u64) {
        if self.counted == from {
            self.counted = to;
        }
    }

    /// Calls that are there.
    pub fn calls(&mut self, items: &[Item<Call>]) {
        if let Some(recount) = &mut self.recount {
            recount.calls(items);
        }
    }

    /// The calls with these numbers, in parts that fill them; false if they must be handed over one by one.
    pub fn parts<'a>(&mut self, calls: &Range<u64>, parts: impl Iterator<Item = (&'a Part, &'a Source, Option<&'a [u8]>)>) -> bool {
        self.recount.as_mut().is_none_or(|recount| recount.parts(calls, parts))
    }

    /// A `Summary` frame, when the tier of calls goes on with `next_call`; returns where it goes on behind the frame.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn summary(&mut self, summary: &Summary, next_call: u64, retired: Option<&Retired>) -> Result<u64, String> {
        let Coverage { calls, detail, .. } = &summary.coverage;
        if calls.start != self.counted {
            return Err(format!("it counts calls from number {} on, expected {}", calls.start, self.counted));
        }
        let reach = retired.map_or(next_call, |retired| retired.reach(next_call));
        let next_call = match detail {
            true if calls.end > reach => return Err(format!("it counts calls up to number {}, and there are {reach}", calls.end)),
            true => next_call,
            false if calls.start != next_call && !retired.is_some_and(|retired| retired.held(next_call, calls.start)) => {
                return Err(format!("it counts calls that are nowhere else from number {} on, expected {next_call}", calls.start));
            }
            false => calls.end,
        };
        self.counted = calls.end;
        if let Some(recount) = &mut self.recount
            && let Some(tally) = recount.of(&summary.coverage)
        {
            if !agree(&tally, summary) {
                return Err("its counts are not those of the calls that it is of".into());
            }
            self.held = self.held.saturating_add(summary.coverage.count());
        }
        Ok(next_call)
    }

    /// Whether all calls before `next_call` are counted.
    pub fn is_complete(&self, next_call: u64, retired: Option<&Retired>) -> bool {
        self.counted == next_call || retired.is_some_and(|retired| retired.held(next_call, self.counted))
    }
}

/// Counts calls again, for the frames that are of them.
#[derive(Debug)]
struct Recount {
    /// What the `Summary` frames say they are of, in their order; those passed are gone.
    ahead: VecDeque<Coverage>,
    /// Of the frames whose calls were met, the first ones first; nothing for one that is of more than a frame can hold.
    tallies: VecDeque<(Coverage, Option<Tally>)>,
}

impl Recount {
    fn look(journal: &Path) -> io::Result<Self> {
        let mut ahead = VecDeque::new();
        for (_, path) in segment::list(journal, Tier::Summary)? {
            let bytes = segment::read(&path)?;
            for (at, header) in segment::scan(&bytes).frames.iter().filter(|(_, header)| header.kind == FrameType::Summary) {
                // One that does not parse is met again in its turn.
                let payload = bytes.get(at + HEADER_LEN..at + header.len()).map(|mut payload| Coverage::get(&mut payload));
                ahead.extend(payload.and_then(Result::ok));
            }
        }
        Ok(Self { ahead, tallies: VecDeque::new() })
    }

    fn parts<'a>(&mut self, calls: &Range<u64>, parts: impl Iterator<Item = (&'a Part, &'a Source, Option<&'a [u8]>)>) -> bool {
        if !self.turn_to(calls.start) {
            return true;
        }
        let Some((coverage, tally)) = self.tallies.back_mut() else { return true };
        if coverage.calls.start > calls.start || coverage.calls.end < calls.end {
            return false;
        }
        for (part, source, text) in parts {
            let Some(known) = tally else { break };
            let source = known.source(source);
            if known.coverage.calls.end <= coverage.calls.end && !known.add(&part.shape.record, source, text, &part.sums) {
                *tally = None;
            }
        }
        true
    }

    /// Goes on to the tally that is of this call, or of later ones; false if there is none.
    fn turn_to(&mut self, call: u64) -> bool {
        while self.tallies.back().is_none_or(|(coverage, _)| coverage.calls.end <= call) {
            let Some(next) = self.ahead.pop_front() else { return false };
            let tally = Tally::new(next.calls.start, next.window, next.detail);
            self.tallies.push_back((next, Some(tally)));
        }
        true
    }

    fn calls(&mut self, items: &[Item<Call>]) {
        for item in items {
            if !self.turn_to(item.seq) {
                return;
            }
            let Some((coverage, tally)) = self.tallies.back_mut().filter(|(coverage, _)| coverage.calls.contains(&item.seq)) else {
                continue;
            };
            let Some(known) = tally else { continue };
            let source = known.source(&item.what.source);
            // Calls before this one that were deleted show in the end, which is then not reached.
            if known.coverage.calls.end <= coverage.calls.end && !known.push(&item.what.record, source, item.what.text.as_deref()) {
                *tally = None;
            }
        }
    }

    /// What the calls of a frame come to, if all of them were there.
    fn of(&mut self, coverage: &Coverage) -> Option<Tally> {
        while let Some((known, tally)) = self.tallies.pop_front() {
            if known == *coverage {
                let tally = tally.unwrap_or_else(|| Tally::new(coverage.calls.end, coverage.window, coverage.detail));
                return Some(tally).filter(|tally| tally.coverage.calls.end == coverage.calls.end);
            }
            if known.calls.start > coverage.calls.start {
                self.tallies.push_front((known, tally));
                break;
            }
        }
        None
    }
}

/// Where names are erased, several may have become one: then all calls that differ in their name only are held against each other together, by what is exact
/// in a sum of rows.
fn agree_without_names(tally: &Tally, summary: &Summary) -> bool {
    let mut open: HashMap<Named<'_>, [u64; 3]> = HashMap::new();
    for row in &summary.rows {
        let place = row.window_boot / tally.coverage.window.nanos();
        let sums = open.entry((place, &*row.source, row.call, row.outcome, row.errno, row.rule, None)).or_default();
        let Counts { calls, n_in, n_out, .. } = row.counts;
        for (sum, more) in sums.iter_mut().zip([calls, n_in, n_out]) {
            *sum = sum.wrapping_add(more);
        }
    }
    for cell in &tally.rows {
        let Some(source) = tally.sources.get(cell.key.source as usize) else { return false };
        let name = (cell.window, source, cell.key.call, cell.key.outcome, cell.key.errno, cell.key.rule, None);
        let Some(sums) = open.get_mut(&name) else { return false };
        for (sum, less) in sums.iter_mut().zip([cell.calls, cell.n_in, cell.n_out]) {
            *sum = sum.wrapping_sub(less);
        }
    }
    open.values().all(|sums| *sums == [0; 3])
}

/// What is counted together, by names.
type Named<'a> = (u64, &'a Source, CallId, Outcome, u16, u16, Option<&'a [u8]>);

/// Whether the rows of a frame are what its calls come to.
fn agree(tally: &Tally, summary: &Summary) -> bool {
    let erased = |text: &[u8]| text == ERASED.as_bytes();
    if tally.texts.iter().any(|text| erased(text)) || summary.rows.iter().any(|row| row.text.as_deref().is_some_and(erased)) {
        return agree_without_names(tally, summary);
    }
    let window = tally.coverage.window;
    let mut written: HashMap<Named<'_>, Counts> = HashMap::with_capacity(summary.rows.len());
    for row in &summary.rows {
        let place = row.window_boot / window.nanos();
        let name = (place, &*row.source, row.call, row.outcome, row.errno, row.rule, row.text.as_deref());
        if written.insert(name, row.counts).is_some() {
            return false;
        }
    }
    written.len() == tally.rows.len()
        && tally.rows.iter().all(|cell| {
            let text = (cell.key.text as usize).checked_sub(1).and_then(|place| tally.texts.get(place)).map(|text| &**text);
            let Some(source) = tally.sources.get(cell.key.source as usize) else { return false };
            let name = (cell.window, source, cell.key.call, cell.key.outcome, cell.key.errno, cell.key.rule, text);
            written.get(&name) == Some(&cell.counts(window))
        })
}
