//! The seals of a journal: the chain of epochs, the checkpoints, and what somebody else keeps of them.
//!
//! Runs in: CLI.
//! Does not: read frames; it is told of each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::leaves::LeafReader;
use crate::note::Note;
use crate::note::Signed;
use crate::note::VerifierKey;
use crate::seal;
use crate::statement::Checkpoint;
use crate::statement::EpochStart;
use crate::statement::Liveness;
use crate::tree::Hash;
use crate::tree::Tree;
use crate::verify::Trust;

/// What does not hold: where, why, and which frames are not proven because of it.
#[derive(Debug)]
pub(crate) struct Broken {
    pub place: String,
    pub why: String,
    pub from: u64,
    pub to: u64,
}

/// The chain of epochs as the frames told it.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    identity: Option<VerifierKey>,
    /// For each epoch, the number of the frame that began it, and its key.
    epochs: Vec<(u64, VerifierKey)>,
    /// Frames below this are proven by a signature.
    pub sealed: u64,
    /// What the last checkpoint of the journal's own file is over.
    noted: u64,
}

impl Chain {
    /// The current epoch; 0 before the first.
    pub fn epoch(&self) -> u32 {
        u32::try_from(self.epochs.len()).unwrap_or(u32::MAX)
    }

    /// The identity key that signs here.
    pub const fn identity(&self) -> Option<&VerifierKey> {
        self.identity.as_ref()
    }

    /// The frame that began the current epoch.
    pub fn began(&self) -> Option<u64> {
        self.epochs.last().map(|(frame, _)| *frame)
    }

    /// A frame that begins an epoch; `tree` holds all frames before it.
    pub fn begin(&mut self, number: u64, note: &Note, start: &EpochStart, tree: &Tree, trust: &Trust) -> Result<(), Broken> {
        let broken = |why: String| Broken { place: format!("frame {number}"), why, from: self.sealed, to: number + 1 };
        let identity = VerifierKey::new(&start.origin, start.identity).map_err(|error| broken(format!("its certificate {error}")))?;
        let expected = trust.identity.as_ref().or(self.identity.as_ref()).unwrap_or(&identity);
        if *expected != identity {
            return Err(broken(format!("it is of the journal `{identity}`, expected `{expected}`")));
        }
        if self.identity.as_ref().is_some_and(|own| *own != identity) {
            return Err(broken("it is of another journal than the epoch before".into()));
        }
        if start.epoch != self.epoch().saturating_add(1) {
            return Err(broken(format!("it begins epoch {}, expected {}", start.epoch, self.epoch().saturating_add(1))));
        }
        if note.signed_by(&identity) != Signed::Good(None) {
            return Err(broken("it is not signed with the identity key".into()));
        }
        if let Some((_, before)) = self.epochs.last()
            && note.signed_by(before) != Signed::Good(None)
        {
            return Err(broken("it is not signed with the key of the epoch before".into()));
        }
        if start.size != number || start.root != tree.root() {
            return Err(Broken { to: number, ..broken("the frames before it are not those that it was signed over".into()) });
        }
        let name = EpochStart::key_name(&start.origin, start.epoch);
        let key = VerifierKey::new(&name, start.key).map_err(|error| broken(format!("its certificate {error}")))?;
        self.identity = Some(identity);
        self.epochs.push((number, key));
        self.sealed = number;
        Ok(())
    }

    /// The key of the epoch that a tree of this size is in.
    fn key_at(&self, size: u64) -> Option<&VerifierKey> {
        self.epochs.iter().rev().find(|(frame, _)| *frame < size).map(|(_, key)| key)
    }

    /// A checkpoint of the journal's own file.
    pub fn checkpoint(&mut self, note: &str, frames: u64, roots: &BTreeMap<u64, Hash>) -> Result<(), Broken> {
        let sealed = self.sealed;
        let broken = |why: String, to: u64| Broken { place: "`checkpoints`".into(), why, from: sealed, to };
        let parsed = Note::parse(note).map_err(|error| broken(format!("one {error}"), frames))?;
        let checkpoint = Checkpoint::parse(parsed.text()).map_err(|error| broken(format!("one {error}"), frames))?;
        let size = checkpoint.size;
        let identity = self.identity.as_ref().ok_or_else(|| broken("there is one, and no epoch".into(), frames))?;
        if checkpoint.origin != identity.name() {
            return Err(broken(
                format!("the one over {size} frames is of `{}`, expected `{}`", checkpoint.origin, identity.name()),
                frames,
            ));
        }
        let epoch = self.key_at(size).ok_or_else(|| broken(format!("the one over {size} frames is older than the first epoch"), frames))?;
        for key in [identity, epoch] {
            if parsed.signed_by(key) != Signed::Good(None) {
                return Err(broken(format!("the one over {size} frames is not signed with `{}`", key.name()), frames));
            }
        }
        if size > frames {
            let why = format!("frames up to {size} were sealed, and there are {frames}");
            return Err(Broken { place: "the end".into(), why, from: frames, to: size });
        }
        if roots.get(&size).is_some_and(|root| *root != checkpoint.root) {
            return Err(broken(format!("the first {size} frames are not those that were sealed"), size));
        }
        // Between the frame that begins an epoch and the epoch's own file nothing is written: the file is that of the epoch before.
        let turning = self.began().is_some_and(|began| began + 1 == frames);
        let least = if turning { self.noted } else { self.sealed };
        if size < least {
            return Err(broken(format!("the one over {size} frames is behind one over {least}"), sealed));
        }
        self.noted = size;
        self.sealed = size.max(sealed);
        Ok(())
    }

    /// A checkpoint that was kept elsewhere. Returns how many frames it proves.
    pub fn anchor(&self, note: &Note, frames: u64, roots: &BTreeMap<u64, Hash>, trust: &Trust) -> Result<u64, Broken> {
        let broken = |why: String| Broken { place: "the anchor".into(), why, from: 0, to: frames };
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| broken(format!("it {error}")))?;
        let identity = self.identity.as_ref().ok_or_else(|| broken("the journal holds no seal".into()))?;
        if checkpoint.origin != identity.name() {
            return Err(broken(format!("it is of `{}`, the journal of `{}`", checkpoint.origin, identity.name())));
        }
        let keys = self.epochs.iter().map(|(_, key)| key).chain([identity]).chain(&trust.witnesses);
        if !keys.into_iter().any(|key| matches!(note.signed_by(key), Signed::Good(_))) {
            return Err(broken("it is signed with no key of this journal, nor of a witness that is trusted".into()));
        }
        self.holds("the anchor", checkpoint.size, &checkpoint.root, frames, roots)?;
        Ok(checkpoint.size)
    }

    /// What a running daemon has answered. Returns how many frames it proves.
    pub fn alive(&self, note: &Note, nonce: &[u8], frames: u64, roots: &BTreeMap<u64, Hash>) -> Result<u64, Broken> {
        let broken = |why: String| Broken { place: "the answer".into(), why, from: 0, to: frames };
        let answer = Liveness::parse(note.text()).map_err(|error| broken(format!("it {error}")))?;
        let identity = self.identity.as_ref().ok_or_else(|| broken("the journal holds no seal".into()))?;
        if answer.origin != identity.name() || note.signed_by(identity) != Signed::Good(None) {
            return Err(broken("it is not signed with this journal's identity key".into()));
        }
        if answer.nonce != nonce {
            return Err(broken("it answers another question: the nonce is not the one that was asked with".into()));
        }
        let Some((_, key)) = answer.epoch.checked_sub(1).and_then(|at| self.epochs.get(at as usize)) else {
            let why = format!("the daemon is in epoch {}, the journal ends in epoch {}: its end is gone", answer.epoch, self.epoch());
            return Err(Broken { from: frames, to: answer.size.max(frames), ..broken(why) });
        };
        if note.signed_by(key) != Signed::Good(None) {
            return Err(broken(format!("it is not signed with `{}`", key.name())));
        }
        self.holds("the answer", answer.size, &answer.root, frames, roots)?;
        Ok(answer.size)
    }

    fn holds(&self, place: &str, size: u64, root: &Hash, frames: u64, roots: &BTreeMap<u64, Hash>) -> Result<(), Broken> {
        if size > frames {
            let why = format!("it is over {size} frames, and there are {frames}: the end is gone");
            return Err(Broken { place: place.into(), why, from: frames, to: size });
        }
        if roots.get(&size).is_some_and(|found| found == root) {
            return Ok(());
        }
        Err(Broken {
            place: place.into(),
            why: format!("it is over other first {size} frames: this is another history"),
            from: 0,
            to: size,
        })
    }
}

/// The witnesses that have signed a checkpoint, each key once, and when they say they did.
pub(crate) fn cosigned(note: &Note, frames: u64, witnesses: &[VerifierKey]) -> Result<Vec<(String, u64)>, Broken> {
    let mut keys: Vec<&[u8; 32]> = Vec::new();
    let mut found = Vec::new();
    for witness in witnesses {
        match note.signed_by(witness) {
            Signed::Good(time) if !keys.contains(&witness.public()) => {
                keys.push(witness.public());
                found.push((witness.name().to_owned(), time.unwrap_or(0)));
            }
            Signed::Good(_) | Signed::Absent => {}
            Signed::Bad => {
                let why = format!("it says that the witness `{}` has signed it, which is not true", witness.name());
                return Err(Broken { place: "the anchor".into(), why, from: 0, to: frames });
            }
        }
    }
    Ok(found)
}

/// The journal's own checkpoints, and what stands behind the last whole one.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    pub notes: Vec<String>,
    pub torn: bool,
    pub there: bool,
}

impl Checkpoints {
    /// Reads the file, if it is there.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let text = match File::open(dir.join(seal::CHECKPOINTS)) {
            Ok(file) => seal::read(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let (notes, rest) = seal::split(&text);
        Ok(Self { notes: notes.into_iter().map(str::to_owned).collect(), torn: !rest.is_empty(), there: true })
    }

    /// The sizes that they are over, as far as they can be read; nothing of it is proven.
    pub fn sizes(&self) -> impl Iterator<Item = u64> {
        self.notes.iter().filter_map(|note| size_of(&Note::parse(note).ok()?))
    }
}

/// The number of frames that a statement is over.
pub(crate) fn size_of(note: &Note) -> Option<u64> {
    let checkpoint = Checkpoint::parse(note.text()).map(|checkpoint| checkpoint.size);
    checkpoint.or_else(|_| Liveness::parse(note.text()).map(|alive| alive.size)).ok()
}

/// The roots at these sizes, as far as there are so many leaves.
pub(crate) fn roots(leaves: &LeafReader, sizes: impl Iterator<Item = u64>) -> io::Result<BTreeMap<u64, Hash>> {
    let mut wanted: BTreeMap<u64, Option<Hash>> = sizes.map(|size| (size, None)).collect();
    let Some((last, _)) = wanted.last_key_value() else { return Ok(BTreeMap::new()) };
    let mut tree = Tree::default();
    leaves.each(*last, |leaf| {
        tree.push(leaf);
        if let Some(root) = wanted.get_mut(&tree.size()) {
            *root = Some(tree.root());
        }
    })?;
    Ok(wanted.into_iter().filter_map(|(size, root)| Some((size, root?))).collect())
}
