//! Transparency log entries at the gate: each field known, each kind with exactly the evidence that its kind has.
//!
//! Runs in: daemon, CLI; on what a vendor wrote, before any signature is checked.
//! Does not: believe an entry. Whether it is in the log is found out afterwards, from these same values.

use super::BundleVersions;
use super::Content;
use super::GatedBundle;
use super::checkpoint::Checkpoint;
use super::each_once;
use crate::json::Fields;
use crate::json::Json;
use crate::rejection::Code;
use crate::rejection::Rejection;
use crate::rejection::shown;

/// The largest entry body, in bytes. An `intoto` entry repeats the whole statement.
const MAX_BODY: usize = 196_608;
/// The largest signed entry timestamp, in bytes.
const MAX_PROMISE: usize = 1024;
/// The longest log id, in bytes; all that are known have 32.
const MAX_LOG_ID: usize = 64;

/// One entry of a log, as the bundle gives it.
#[derive(Debug)]
pub(crate) struct GatedEntry {
    pub(crate) log_id: Vec<u8>,
    pub(crate) index: u64,
    pub(crate) kind: EntryKind,
    /// Seconds since 1970; what a Rekor v1 log promises, and `None` in Rekor v2.
    pub(crate) integrated_time: Option<u64>,
    pub(crate) promised: bool,
    pub(crate) proved: bool,
    pub(crate) body: Vec<u8>,
}

/// The kinds of entries that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// `hashedrekord` 0.0.1, Rekor v1.
    HashedRekordV1,
    /// `dsse` 0.0.1, Rekor v1.
    DsseV1,
    /// `intoto` 0.0.2, Rekor v1.
    IntotoV1,
    /// `hashedrekord` 0.0.2, Rekor v2.
    HashedRekordV2,
}

impl EntryKind {
    fn parse(kind: &str, version: &str) -> Option<Self> {
        match (kind, version) {
            ("hashedrekord", "0.0.1") => Some(Self::HashedRekordV1),
            ("dsse", "0.0.1") => Some(Self::DsseV1),
            ("intoto", "0.0.2") => Some(Self::IntotoV1),
            ("hashedrekord", "0.0.2") => Some(Self::HashedRekordV2),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::HashedRekordV1 => "hashedrekord 0.0.1",
            Self::DsseV1 => "dsse 0.0.1",
            Self::IntotoV1 => "intoto 0.0.2",
            Self::HashedRekordV2 => "hashedrekord 0.0.2",
        }
    }

    /// A Rekor v1 log promises and dates each entry; a Rekor v2 log does neither.
    pub(crate) fn is_v1(self) -> bool {
        self != Self::HashedRekordV2
    }

    fn is_for(self, content: &Content) -> bool {
        match (self, content) {
            (Self::HashedRekordV2, _) => true,
            (Self::HashedRekordV1, Content::Message { .. }) => true,
            (Self::DsseV1 | Self::IntotoV1, Content::Dsse { .. }) => true,
            (Self::HashedRekordV1, Content::Dsse { .. }) | (Self::DsseV1 | Self::IntotoV1, Content::Message { .. }) => false,
        }
    }
}

/// Reads `tlogEntries`.
pub(super) fn entries(items: Vec<Json>, versions: BundleVersions) -> Result<Vec<GatedEntry>, Rejection> {
    each_once(&items, "log entry")?;
    if versions.strict() && items.len() > 1 {
        return Err(Rejection::new(Code::TooMany, "at most one log entry", items.len().to_string())
            .next("sign again with one log; with several it would be open which of them counts"));
    }
    items.into_iter().enumerate().map(|(place, item)| entry(item, place, versions)).collect()
}

/// What can be said only with the whole bundle at hand: the entry is of a kind that can be about such a signature.
pub(super) fn fit(bundle: &GatedBundle, versions: BundleVersions) -> Result<(), Rejection> {
    for entry in &bundle.entries {
        if versions.strict() && !entry.kind.is_for(&bundle.content) {
            let wanted = match bundle.content {
                Content::Message { .. } => "a log entry of kind `hashedrekord`, as for a message signature",
                Content::Dsse { .. } => "a log entry of kind `dsse`, `intoto` 0.0.2 or `hashedrekord` 0.0.2, as for a statement",
            };
            return Err(Rejection::new(Code::EntryMismatch, wanted, format!("`{}`", entry.kind.as_str())));
        }
    }
    Ok(())
}

fn entry(item: Json, place: usize, versions: BundleVersions) -> Result<GatedEntry, Rejection> {
    let mut fields = Fields::of(item, &format!("bundle.verificationMaterial.tlogEntries.{place}"))?;
    let index = fields.int64("logIndex")?;
    let mut log_id = fields.object("logId")?;
    let id = log_id.base64("keyId", MAX_LOG_ID)?;
    log_id.finish()?;
    let kind = kind(fields.object("kindVersion")?)?;
    let integrated_time = Some(fields.int64("integratedTime")?).filter(|time| *time != 0);
    let promised = fields.has("inclusionPromise");
    if promised {
        let mut promise = fields.object("inclusionPromise")?;
        promise.base64("signedEntryTimestamp", MAX_PROMISE)?;
        promise.finish()?;
    }
    let proved = fields.has("inclusionProof");
    let proof = if proved { Some(proof(fields.object("inclusionProof")?, versions)?) } else { None };
    let body = fields.base64("canonicalizedBody", MAX_BODY)?;
    fields.finish()?;

    let entry = GatedEntry { log_id: id, index, kind, integrated_time, promised, proved, body };
    if versions.strict() {
        complete(&entry, place, proof.as_ref())?;
    }
    Ok(entry)
}

fn kind(mut fields: Fields) -> Result<EntryKind, Rejection> {
    let (kind, version) = (fields.string("kind")?, fields.string("version")?);
    fields.finish()?;
    EntryKind::parse(&kind, &version).ok_or_else(|| {
        Rejection::new(
            Code::UncheckedEvidence,
            "a log entry `hashedrekord` 0.0.1 or 0.0.2, `dsse` 0.0.1 or `intoto` 0.0.2",
            shown(&format!("{kind} {version}")),
        )
    })
}

/// `inclusionProof`, and in it the log's checkpoint.
struct Proof {
    index: u64,
    tree_size: u64,
    root_hash: [u8; 32],
    checkpoint: Option<Checkpoint>,
}

fn proof(mut fields: Fields, versions: BundleVersions) -> Result<Proof, Rejection> {
    let index = fields.int64("logIndex")?;
    let tree_size = fields.int64("treeSize")?;
    let root_hash = fields.sha256("rootHash")?;
    let path = fields.path_of("hashes");
    for hash in fields.array_or_empty("hashes")? {
        // One hash has no fields of its own; as one it gets the same reader as all others.
        Fields::of(Json::Object(vec![("hash".into(), hash)]), &path)?.sha256("hash")?;
    }
    let checkpoint = if fields.has("checkpoint") {
        let mut note = fields.object("checkpoint")?;
        let envelope = note.string("envelope")?;
        note.finish()?;
        if versions.strict() { Some(Checkpoint::parse(&envelope)?) } else { None }
    } else {
        None
    };
    fields.finish()?;
    Ok(Proof { index, tree_size, root_hash, checkpoint })
}

/// An entry has everything that its kind has, nothing that its kind has not, and does not contradict itself.
fn complete(entry: &GatedEntry, place: usize, proof: Option<&Proof>) -> Result<(), Rejection> {
    let proof = proof.ok_or_else(|| {
        let found = if entry.promised { "only a promise (SET)" } else { "none" };
        Rejection::new(Code::NoInclusionProof, format!("an inclusion proof in log entry {place}"), found)
    })?;
    let checkpoint =
        proof.checkpoint.as_ref().ok_or_else(|| Rejection::new(Code::Checkpoint, format!("a checkpoint in log entry {place}"), "none"))?;
    if proof.index >= proof.tree_size {
        return Err(Rejection::new(
            Code::InclusionProof,
            format!("an index below the tree's size, {}", proof.tree_size),
            proof.index.to_string(),
        ));
    }
    if proof.tree_size != checkpoint.size || proof.root_hash != checkpoint.root {
        return Err(Rejection::new(
            Code::Checkpoint,
            format!("a checkpoint of the proof's tree: size {}, root `{}`", proof.tree_size, hex::encode(proof.root_hash)),
            format!("size {}, root `{}`", checkpoint.size, hex::encode(checkpoint.root)),
        ));
    }
    // The body is what the log lists; two readings of it would be two entries.
    Json::parse(&entry.body, "log entry")?;
    if entry.kind.is_v1() { complete_v1(entry, place) } else { complete_v2(entry, proof) }
}

fn complete_v1(entry: &GatedEntry, place: usize) -> Result<(), Rejection> {
    if !entry.promised {
        return Err(Rejection::new(Code::InclusionPromise, format!("the log's promise (SET) in log entry {place}"), "none"));
    }
    match entry.integrated_time {
        Some(_) => Ok(()),
        None => Err(Rejection::new(Code::NoTrustedTime, format!("an `integratedTime` in log entry {place}"), "none")),
    }
}

fn complete_v2(entry: &GatedEntry, proof: &Proof) -> Result<(), Rejection> {
    let foreign = match (entry.promised, entry.integrated_time) {
        (true, _) => Some("`inclusionPromise`"),
        (false, Some(_)) => Some("`integratedTime`"),
        (false, None) => None,
    };
    if let Some(foreign) = foreign {
        return Err(Rejection::new(Code::UncheckedEvidence, "a Rekor v2 entry without promise and time of its own", foreign));
    }
    if proof.index == entry.index {
        return Ok(());
    }
    Err(Rejection::new(Code::InclusionProof, format!("a proof for index {}", entry.index), proof.index.to_string()))
}
