//! Segments of calls, several at once, handed over in their order.
//!
//! Runs in: CLI.
//! Does not: hold more than a few thousand calls for each processor. A thread whose calls nobody has taken yet waits.

use std::collections::VecDeque;
use std::num::NonZero;
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::Builder;
use std::thread::Scope;

use crate::cursor::io_error;
use crate::frame::Header;
use crate::read::Content;
use crate::read::ReadError;
use crate::read::Reader;
use crate::scan::Scanned;
use crate::scan::Walk;
use crate::scan::Wanted;
use crate::segment;
use crate::segment::Tier;

/// The frames of calls, in their order.
pub(super) struct Ahead {
    /// A segment's frames come from the thread whose turn it is.
    from: Vec<Receiver<Part>>,
    segment: usize,
    segments: usize,
    ready: VecDeque<(Header, Option<Content>)>,
}

/// Some frames of a segment.
struct Part {
    frames: Vec<(Header, Option<Content>)>,
    /// What was read for them.
    done: Scanned,
    /// What comes then.
    then: Then,
}

enum Then {
    More,
    End,
    Bad(ReadError),
}

/// One segment, and where the next one begins.
struct Span {
    first: u64,
    path: PathBuf,
    upto: Option<u64>,
}

impl Ahead {
    /// Begins to read, up to the frame `of`.
    ///
    /// # Errors
    /// [`ReadError::Io`]
    pub fn start<'scope, 'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        dir: &'env Path,
        wanted: &'env Wanted<'env>,
        of: u64,
    ) -> Result<Self, ReadError> {
        let list = segment::list(dir, Tier::Detail).map_err(io_error(&dir.join(Tier::Detail.folder())))?;
        let nexts: Vec<_> = list.iter().skip(1).map(|(first, _)| Some(*first)).chain([None]).collect();
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS).min(list.len());
        let segments = list.len();
        let mut turns: Vec<Vec<Span>> = (0..workers).map(|_| Vec::new()).collect();
        for (at, ((first, path), upto)) in list.into_iter().zip(nexts).enumerate() {
            if let Some(turn) = turns.get_mut(at % workers.max(1)) {
                turn.push(Span { first, path, upto });
            }
        }
        let mut from = Vec::new();
        for spans in turns {
            let (to, part) = sync_channel(DEPTH);
            let reader = Reader::open(dir)?;
            Builder::new().name("search".into()).spawn_scoped(scope, move || all(spans, wanted, of, reader, &to)).map_err(io_error(dir))?;
            from.push(part);
        }
        Ok(Self { from, segment: 0, segments, ready: VecDeque::new() })
    }

    /// The number of the next frame; nothing at the end.
    ///
    /// # Errors
    /// [`ReadError::Io`]
    pub fn peek(&mut self, done: &mut Scanned) -> Result<Option<u64>, ReadError> {
        while self.ready.is_empty() && self.segment < self.segments {
            let part = self.from.get(self.segment % self.from.len().max(1)).and_then(|from| from.recv().ok());
            // A thread goes only when it has handed over all its segments, or an error.
            let Some(part) = part else { return Err(ReadError::Missing(done.frames)) };
            self.ready = part.frames.into();
            done.bytes += part.done.bytes;
            done.damaged += part.done.damaged;
            match part.then {
                Then::More => {}
                Then::End => self.segment += 1,
                Then::Bad(error) => return Err(error),
            }
        }
        Ok(self.ready.front().map(|(header, _)| header.frame_no))
    }

    /// The frame that was peeked at, and what is wanted of it.
    pub fn take(&mut self) -> Option<(Header, Option<Content>)> {
        self.ready.pop_front()
    }
}

fn all(spans: Vec<Span>, wanted: &Wanted<'_>, of: u64, mut reader: Reader, to: &SyncSender<Part>) {
    for span in spans {
        let mut part = Part { frames: Vec::new(), done: Scanned::default(), then: Then::End };
        let send = |part: &mut Part, then| {
            let next = Part { frames: Vec::new(), done: Scanned::default(), then: Then::End };
            to.send(Part { then, ..std::mem::replace(part, next) }).is_ok()
        };
        let then = match one(span, wanted, of, &mut reader, &mut part, &mut |part| send(part, Then::More)) {
            Ok(true) => Then::End,
            Ok(false) => return,
            Err(error) => Then::Bad(error),
        };
        let more = matches!(then, Then::End);
        if !send(&mut part, then) || !more {
            return;
        }
    }
}

/// One segment, handed over in parts as they become large; says whether somebody still takes them.
fn one(
    span: Span,
    wanted: &Wanted<'_>,
    of: u64,
    reader: &mut Reader,
    part: &mut Part,
    send: &mut impl FnMut(&mut Part) -> bool,
) -> Result<bool, ReadError> {
    let mut walk = Walk::of(Tier::Detail, vec![(span.first, span.path)], span.first);
    let mut calls = 0;
    while let Some(header) = walk.peek(&mut part.done)?.filter(|header| header.frame_no < of) {
        // Another segment has this number, or a later one.
        if span.upto.is_some_and(|upto| header.frame_no >= upto) {
            walk.damage(&mut part.done);
            continue;
        }
        let content = walk.content(&header, wanted, reader, &mut part.done)?;
        walk.step(&header);
        if let Some(Content::Calls(items)) = &content {
            calls += items.len();
        }
        part.frames.push((header, content));
        if calls >= MANY {
            calls = 0;
            if !send(part) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// More threads than this gain nothing on a disk.
const MAX_WORKERS: usize = 8;
/// Parts that may wait.
const DEPTH: usize = 2;
/// A part ends with the frame that reaches so many wanted calls, or with its segment.
const MANY: usize = 8192;
