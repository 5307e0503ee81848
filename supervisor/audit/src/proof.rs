//! Proofs that leave the machine: one frame, the hashes that lead from it to a signed checkpoint, and the frame itself (c2sp.org/tlog-proof).
//!
//! Runs in: CLI.
//! Does not: believe a proof that it reads; sizes are bounded before anything is decoded.

use std::fmt;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::frame;
use crate::frame::BadFrame;
use crate::frame::Header;
use crate::leaves::LeafReader;
use crate::note::BadNote;
use crate::note::Note;
use crate::note::Signed;
use crate::note::VerifierKey;
use crate::read::Frame;
use crate::seal;
use crate::statement::Checkpoint;
use crate::statement::EpochStart;
use crate::tree;
use crate::tree::Hash;

/// Why there is no proof, or it proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// A file cannot be read.
    #[error("cannot read the journal's `leaves` or `checkpoints`")]
    Io(#[from] io::Error),
    /// The frame has no seal yet.
    #[error("frame {0} is not sealed yet, or the journal is not sealed at all: there is no checkpoint over it")]
    Open(u64),
    /// The frame is not the one that was sealed.
    #[error("frame {0} does not lead to the checkpoint over it: `edgeguard audit verify` says more")]
    Broken(u64),
    /// Not a proof.
    #[error("expected `{FIRST}`, `extra`, `index`, hashes, an empty line and a checkpoint: {0}")]
    Form(&'static str),
    /// Its checkpoint is none.
    #[error("its checkpoint {0}")]
    Note(#[from] BadNote),
    /// Its frame is none.
    #[error("its frame does not parse")]
    Frame(#[source] BadFrame),
    /// The hashes do not lead to the checkpoint.
    #[error("its hashes lead from the frame to another root than the checkpoint's")]
    Root,
    /// The frame is not the one with this number.
    #[error("it is for frame {index}, and holds frame {found}")]
    Number {
        /// What it is for.
        index: u64,
        /// What it holds.
        found: u64,
    },
    /// The key has not signed it.
    #[error("its checkpoint is not signed with `{0}`")]
    Signature(String),
}

/// A proof for one frame, which it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    frame: Vec<u8>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: Note,
}

impl Proof {
    /// The proof for a frame of this journal, against its last checkpoint.
    ///
    /// # Errors
    /// [`ProofError::Io`], [`ProofError::Open`], [`ProofError::Broken`]
    pub fn of(journal: &Path, frame: &Frame) -> Result<Self, ProofError> {
        let index = frame.header.frame_no;
        let (checkpoint, note) = latest(journal)?.filter(|(checkpoint, _)| checkpoint.size > index).ok_or(ProofError::Open(index))?;
        let leaves = LeafReader::open(journal)?;
        let leaf = |number| leaves.get(number)?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
        let path = tree::path(index, checkpoint.size, &mut { leaf })?;
        if tree::root_by_path(&frame.leaf(), index, checkpoint.size, &path) != Some(checkpoint.root) {
            return Err(ProofError::Broken(index));
        }
        Ok(Self { frame: frame.bytes().to_vec(), index, path, checkpoint: note })
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError::Form`], [`ProofError::Note`]
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > MAX_PROOF {
            return Err(ProofError::Form("it is too long"));
        }
        let (head, note) = text.split_once("\n\n").ok_or(ProofError::Form("there is no empty line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(ProofError::Form("the first line is another"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra ")).ok_or(ProofError::Form("the frame is not in it"))?;
        let frame = STANDARD.decode(extra).map_err(|_| ProofError::Form("`extra` is not base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(ProofError::Form("there is no index"))?;
        let number: u64 = index.parse().map_err(|_| ProofError::Form("the index is no number"))?;
        if number.to_string() != index {
            return Err(ProofError::Form("the index is no number in its one form"));
        }
        let mut path = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok());
            path.push(hash.filter(|_| path.len() < 64).ok_or(ProofError::Form("a hash is none, or there are more than 64"))?);
        }
        Ok(Self { frame, index: number, path, checkpoint: Note::parse(note)? })
    }

    /// Checks it with the journal's identity key, or a witness's: the frame is in the journal, and the checkpoint is signed.
    ///
    /// # Errors
    /// [`ProofError`]
    pub fn verify(&self, key: &VerifierKey) -> Result<(Header, Checkpoint), ProofError> {
        let header = frame::check(&self.frame).map_err(ProofError::Frame)?;
        if header.len() != self.frame.len() {
            return Err(ProofError::Frame(BadFrame::Size));
        }
        if header.frame_no != self.index {
            return Err(ProofError::Number { index: self.index, found: header.frame_no });
        }
        let checkpoint = Checkpoint::parse(self.checkpoint.text())?;
        if !matches!(self.checkpoint.signed_by(key), Signed::Good(_)) {
            return Err(ProofError::Signature(key.name().to_owned()));
        }
        let root = tree::root_by_path(&frame::leaf(&self.frame), self.index, checkpoint.size, &self.path);
        if root == Some(checkpoint.root) { Ok((header, checkpoint)) } else { Err(ProofError::Root) }
    }

    /// The frame that is proven, once [`Proof::verify`] has said so.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\nextra {}\nindex {}", STANDARD.encode(&self.frame), self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The last checkpoint of a journal, as its file has it; nobody has checked it.
///
/// # Errors
/// The file cannot be read. A journal that is not sealed has none.
pub fn latest(journal: &Path) -> io::Result<Option<(Checkpoint, Note)>> {
    let text = match std::fs::File::open(journal.join(seal::CHECKPOINTS)) {
        Ok(file) => seal::read(&file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = |note: &str| {
        let note = Note::parse(note).ok()?;
        Some((Checkpoint::parse(note.text()).ok()?, note))
    };
    Ok(seal::split(&text).0.into_iter().filter_map(read).max_by_key(|(checkpoint, _)| checkpoint.size))
}

/// The identity key that a journal's last epoch names; nobody has checked it.
///
/// # Errors
/// The journal cannot be read. One that is not sealed has none.
pub fn identity(journal: &Path) -> io::Result<Option<VerifierKey>> {
    let start = seal::last_epoch(journal, u64::MAX)?.and_then(|note| EpochStart::parse(note.text()).ok());
    Ok(start.and_then(|start| VerifierKey::new(&start.origin, start.identity).ok()))
}

/// Writes the tree up to its last checkpoint as tiles (c2sp.org/tlog-tiles), for a web server or a witness: `checkpoint` and `tile/…`. Frames stay
/// where they are. Returns how many frames the tiles are over.
///
/// # Errors
/// [`ProofError::Open`] for a journal that is not sealed; [`ProofError::Io`].
pub fn write_tiles(journal: &Path, to: &Path) -> Result<u64, ProofError> {
    let (checkpoint, note) = latest(journal)?.ok_or(ProofError::Open(0))?;
    let mut hashes: Vec<Hash> = Vec::new();
    LeafReader::open(journal)?.each(checkpoint.size, |leaf| hashes.push(leaf))?;
    let mut level = 0;
    while !hashes.is_empty() {
        let mut above = Vec::new();
        for (tile, number) in hashes.chunks(TILE).zip(0u64..) {
            let path = to.join(tile_path(level, number, tile.len()));
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, tile.as_flattened())?;
            if tile.len() == TILE {
                let mut full = tree::Tree::default();
                tile.iter().for_each(|hash| full.push(*hash));
                above.push(full.root());
            }
        }
        (hashes, level) = (above, level + 1);
    }
    // Last, so that a reader never finds a checkpoint without its tiles.
    std::fs::write(to.join("checkpoint.new"), note.to_string())?;
    std::fs::rename(to.join("checkpoint.new"), to.join("checkpoint"))?;
    Ok(checkpoint.size)
}

/// `tile/LEVEL/x001/x234/067`, with `.p/WIDTH` for one that is not full.
fn tile_path(level: u32, number: u64, width: usize) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width < TILE { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{path}{partial}")
}

const FIRST: &str = "c2sp.org/tlog-proof@v1";
const MAX_PROOF: usize = 2 << 20;
/// Hashes of a full tile.
const TILE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_named_as_the_format_says() {
        assert_eq!(tile_path(0, 5, 256), "tile/0/005");
        assert_eq!(tile_path(1, 1_234_067, 256), "tile/1/x001/x234/067");
        assert_eq!(tile_path(2, 0, 1), "tile/2/000.p/1");
    }
}
