//! Seals: signed checkpoints over the tree, and the turn from one epoch's key to the next.
//!
//! Runs in: daemon, inside [`crate::Journal`].
//! Invariant: only frames that are on the disk are signed for, so a crash never leaves two histories with a signature. `checkpoints` holds at
//! least one checkpoint of the current epoch, or the journal ends with the frame that began it.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::disk::Disk;
use crate::disk::DiskFile;
use crate::error::JournalError;
use crate::frame::FrameType;
use crate::frame::HEADER_LEN;
use crate::frame::Header;
use crate::keys::Keys;
use crate::leaves::Leaves;
use crate::note;
use crate::note::Note;
use crate::note::Signed;
use crate::note::VerifierKey;
use crate::segment;
use crate::segment::Tier;
use crate::statement::Checkpoint;
use crate::statement::EpochStart;
use crate::statement::Liveness;
use crate::tree::Hash;
use crate::tree::Tree;

/// Frames that may be without a seal, at most: the journal seals before it writes one more.
pub(crate) const MAX_OPEN: u64 = 1024;
/// Time that frames may be without a seal, at most.
pub(crate) const SEAL_WITHIN: Duration = Duration::from_secs(1);
/// From so many frames on, a seal is due.
pub(crate) const SEAL_FRAMES: u64 = 256;
/// Name of the file in the journal's folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// What takes its place once it is whole.
const NEW_CHECKPOINTS: &str = "checkpoints.new";
/// The file is at most this long, in bytes; a reader looks at no more.
pub(crate) const MAX_CHECKPOINTS: u64 = 4 << 20;
/// Seals are not closer than this, if the frames without one are few.
const SEAL_EVERY: Duration = Duration::from_millis(100);
/// An epoch ends after so long under load,
const BUSY_EPOCH: Duration = Duration::from_secs(10);
/// after so long if there is anything new,
const QUIET_EPOCH: Duration = Duration::from_secs(60);
/// and after so long if what is new is a decision or a denial.
const URGENT_EPOCH: Duration = Duration::from_millis(100);
/// Beyond this, the file is begun anew with its last checkpoint.
const COMPACT: u64 = 1 << 20;

/// What the journal was last sealed with, as its files say.
#[derive(Debug, Default)]
pub(crate) struct Last {
    pub checkpoint: Option<Checkpoint>,
}

/// The last checkpoint that the identity key has signed.
pub(crate) fn last(dir: &Path, keys: &Keys) -> Result<Last, JournalError> {
    let path = dir.join(CHECKPOINTS);
    let text = match std::fs::File::open(&path) {
        Ok(file) => read(&file).map_err(JournalError::io("read the checkpoints", dir))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Last::default()),
        Err(error) => return Err(JournalError::io("read the checkpoints", dir)(error)),
    };
    let public = keys.public()?;
    let own = |note: &str| {
        let note = Note::parse(note).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        let key = VerifierKey::new(&checkpoint.origin, public).ok()?;
        (note.signed_by(&key) == Signed::Good(None)).then_some(checkpoint)
    };
    let checkpoint = split(&text).0.into_iter().filter_map(own).max_by_key(|checkpoint| checkpoint.size);
    Ok(Last { checkpoint })
}

/// The file's text up to its bound; what is not text ends it.
pub(crate) fn read(file: &std::fs::File) -> io::Result<String> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_CHECKPOINTS), &mut bytes)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The notes in the file, each with its last line feed, and what is behind the last whole one.
pub(crate) fn split(text: &str) -> (Vec<&str>, &str) {
    let mut notes = Vec::new();
    let mut rest = text;
    // A note is text, an empty line, signatures; another empty line ends it.
    while let Some(end) = rest.find("\n\n").and_then(|middle| Some(middle + 2 + rest.get(middle + 2..)?.find("\n\n")?)) {
        notes.push(rest.get(..=end).unwrap_or_default());
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    (notes, rest)
}

/// Frames below this are sealed by the frame that began the last epoch; 0 if there is none that the identity key has signed.
pub(crate) fn by_epoch(dir: &Path, keys: &Keys) -> Result<u64, JournalError> {
    let public = keys.public()?;
    let note = last_epoch(dir, u64::MAX).map_err(JournalError::io("look for seals", dir))?;
    let size = note.and_then(|note| {
        let start = EpochStart::parse(note.text()).ok()?;
        let key = VerifierKey::new(&start.origin, public).ok()?;
        (note.signed_by(&key) == Signed::Good(None)).then_some(start.size)
    });
    Ok(size.unwrap_or(0))
}

/// The frame that began the last epoch below this frame.
pub(crate) fn last_epoch(dir: &Path, below: u64) -> io::Result<Option<Note>> {
    for (_, path) in segment::list(dir, Tier::Security)?.into_iter().rev() {
        let bytes = segment::read(&path)?;
        let scan = segment::scan(&bytes);
        let is_epoch = |(_, header): &&(usize, Header)| header.kind == FrameType::Epoch && header.frame_no < below;
        if let Some((at, header)) = scan.frames.iter().rfind(is_epoch) {
            let payload = bytes.get(at + HEADER_LEN..at + header.len()).unwrap_or_default();
            return Ok(std::str::from_utf8(payload).ok().and_then(|text| Note::parse(text).ok()));
        }
    }
    Ok(None)
}

/// Who seals the journal.
#[derive(Debug)]
pub(crate) struct Sealer {
    dir: PathBuf,
    disk: Disk,
    keys: Keys,
    origin: String,
    tree: Tree,
    /// Frames below this are sealed.
    sealed: u64,
    open_since: Option<Instant>,
    last_seal: Option<Instant>,
    file: Option<DiskFile>,
    end: u64,
    unsynced: bool,
    /// Frames below this are older than the current epoch's first news.
    turned_at: u64,
    last_turn: Option<Instant>,
    urgent: bool,
    /// The next file of checkpoints, empty, with its space.
    reserved: Option<DiskFile>,
}

impl Sealer {
    /// Takes up the keys where the journal's last epoch left them. Returns what is not as it should be, in words, or nothing.
    pub fn open(
        dir: &Path,
        disk: &Disk,
        mut keys: Keys,
        origin: &str,
        leaves: &Leaves,
        next: u64,
        last: &Last,
    ) -> Result<(Self, String), JournalError> {
        keys.persist(disk)?;
        let io = JournalError::io("read the last epoch", dir);
        let note = last_epoch(dir, next).map_err(io)?;
        let start = note.as_ref().and_then(|note| EpochStart::parse(note.text()).ok());
        let mut damage = String::new();
        let origin = start.as_ref().map_or_else(|| note::key_name(origin), |start| start.origin.clone());
        let found = start.as_ref().map_or(0, |start| start.epoch);
        let key = start.as_ref().map(|start| start.key);
        if found == keys.epoch().saturating_add(1) && found > 0 && key == Some(*keys.next(&origin)?.public()) {
            // The frame was written, and the key's turn was not.
            keys.advance()?;
        } else if found < keys.epoch() {
            damage = format!("the journal ends in epoch {found}, and its key has reached epoch {}: its end is gone", keys.epoch());
        } else if found != keys.epoch() || key != keys.current(&origin)?.map(|key| *key.verifier().public()) {
            return Err(JournalError::OtherKeys { dir: dir.to_owned(), journal: found, keys: keys.epoch() });
        }
        let mut tree = Tree::default();
        let mut at_last = None;
        let size = last.checkpoint.as_ref().map(|checkpoint| checkpoint.size);
        let read = leaves.each(next, |leaf| {
            tree.push(leaf);
            if Some(tree.size()) == size {
                at_last = Some(tree.root());
            }
        });
        read.map_err(JournalError::io("read the leaves", dir))?;
        if let Some(checkpoint) = &last.checkpoint
            && damage.is_empty()
            && at_last.is_some_and(|root| root != checkpoint.root)
        {
            damage = format!("the first {} frames are not those that were sealed", checkpoint.size);
        }
        let sealer = Self {
            dir: dir.to_owned(),
            disk: disk.clone(),
            keys,
            origin,
            tree,
            sealed: 0,
            open_since: None,
            last_seal: None,
            file: None,
            end: 0,
            unsynced: false,
            turned_at: 0,
            last_turn: None,
            urgent: false,
            reserved: None,
        };
        Ok((sealer, damage))
    }

    /// The current epoch.
    pub const fn epoch(&self) -> u32 {
        self.keys.epoch()
    }

    /// The identity key's public half, by the journal's name.
    pub fn verifier(&self) -> Result<VerifierKey, JournalError> {
        Ok(self.keys.identity(&self.origin)?.verifier().clone())
    }

    /// A frame was written.
    pub fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf);
        self.open_since.get_or_insert_with(Instant::now);
    }

    /// What is new should not wait long for the end of its epoch.
    pub const fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Whether no frame may be written before the next seal.
    pub fn must_seal(&self) -> bool {
        self.file.is_some()
            && (self.tree.size() - self.sealed >= MAX_OPEN || self.open_since.is_some_and(|since| since.elapsed() >= SEAL_WITHIN))
    }

    /// Whether a seal would be timely, all frames being on the disk.
    pub fn may_seal(&self) -> bool {
        self.tree.size() - self.sealed >= SEAL_FRAMES || self.last_seal.is_none_or(|last| last.elapsed() >= SEAL_EVERY)
    }

    /// After how long the epoch should end; nothing if there is nothing new.
    pub fn turn_due(&self) -> Option<Duration> {
        let news = self.tree.size().saturating_sub(self.turned_at);
        let after = match (self.urgent, news) {
            (_, 0) => return None,
            (true, _) => URGENT_EPOCH,
            (false, SEAL_FRAMES..) => BUSY_EPOCH,
            (false, _) => QUIET_EPOCH,
        };
        Some(self.last_turn.map_or(Duration::ZERO, |last| after.saturating_sub(last.elapsed())))
    }

    /// Signs for all frames, which must be on the disk.
    pub fn seal(&mut self) -> Result<(), JournalError> {
        if self.tree.size() == self.sealed || self.file.is_none() {
            return Ok(());
        }
        let note = format!("{}\n", self.checkpoint()?);
        if self.end + note.len() as u64 > COMPACT {
            return self.begin_file();
        }
        let Some(file) = &self.file else { return Ok(()) };
        file.write_all_at(note.as_bytes(), self.end).map_err(JournalError::io("write a checkpoint", &self.dir))?;
        self.end += note.len() as u64;
        self.unsynced = true;
        self.is_sealed();
        Ok(())
    }

    /// Brings the seals to the disk.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.unsynced
            && let Some(file) = &self.file
        {
            file.sync().map_err(JournalError::io("sync the checkpoints", &self.dir))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// The payload of the frame that begins the next epoch.
    pub fn certificate(&self) -> Result<Note, JournalError> {
        let key = *self.keys.next(&self.origin)?.public();
        let epoch = self.keys.epoch().saturating_add(1);
        let start = EpochStart {
            origin: self.origin.clone(),
            epoch,
            key,
            identity: self.keys.public()?,
            size: self.tree.size(),
            root: self.tree.root(),
        };
        self.signed(start.text())
    }

    /// That frame is on the disk: the old key goes, and the new one signs.
    pub fn turn(&mut self) -> Result<(), JournalError> {
        self.keys.advance()?;
        self.begin_file()?;
        self.turned_at = self.tree.size();
        self.last_turn = Some(Instant::now());
        self.urgent = false;
        Ok(())
    }

    /// The answer to who asks whether the journal is alive. All frames are on the disk.
    pub fn answer(&self, nonce: &[u8], time: u64) -> Result<Note, JournalError> {
        let alive = Liveness {
            origin: self.origin.clone(),
            nonce: nonce.to_owned(),
            epoch: self.keys.epoch(),
            size: self.tree.size(),
            root: self.tree.root(),
            time,
        };
        self.signed(alive.text())
    }

    fn checkpoint(&self) -> Result<Note, JournalError> {
        self.signed(Checkpoint { origin: self.origin.clone(), size: self.tree.size(), root: self.tree.root() }.text())
    }

    fn signed(&self, text: String) -> Result<Note, JournalError> {
        let mut note = Note::new(text);
        note.sign(&self.keys.identity(&self.origin)?);
        if let Some(key) = self.keys.current(&self.origin)? {
            note.sign(&key);
        }
        Ok(note)
    }

    /// Finds the space that [`Sealer::turn`] will need.
    pub fn reserve(&mut self) -> Result<(), JournalError> {
        if self.reserved.is_none() {
            self.reserved = Some(self.new_file().map_err(JournalError::io("begin a file of checkpoints", &self.dir))?);
        }
        Ok(())
    }

    /// An empty file with space, which is not yet the one that counts.
    fn new_file(&self) -> io::Result<DiskFile> {
        let file = self.disk.open_or_create(&self.dir.join(NEW_CHECKPOINTS), 0o600)?;
        file.set_len(0)?;
        file.allocate_behind(0, 64 << 10)?;
        Ok(file)
    }

    /// The file anew, with one checkpoint; the old one is there until the new one is.
    fn begin_file(&mut self) -> Result<(), JournalError> {
        let text = format!("{}\n", self.checkpoint()?);
        let (beside, path) = (self.dir.join(NEW_CHECKPOINTS), self.dir.join(CHECKPOINTS));
        let reserved = self.reserved.take();
        let written = || -> io::Result<DiskFile> {
            let file = reserved.map_or_else(|| self.new_file(), Ok)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.sync()?;
            self.disk.rename(&beside, &path)?;
            self.disk.sync_dir(&self.dir)?;
            self.disk.open(&path)
        };
        self.file = Some(written().map_err(JournalError::io("write a checkpoint", &self.dir))?);
        self.end = text.len() as u64;
        self.unsynced = false;
        self.is_sealed();
        Ok(())
    }

    fn is_sealed(&mut self) {
        self.sealed = self.tree.size();
        self.open_since = None;
        self.last_seal = Some(Instant::now());
    }
}
