//! The dictionary: paths, graph names and sources, each written once for every segment. What a guest named can be [erased](crate::names).
//!
//! Runs in: daemon ([`Interner`]), CLI ([`Dictionary`]).
//! Invariant: a dictionary belongs to one segment, so that a segment can be deleted without making another one unreadable.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::columns::BadPayload;
use crate::keys::KeysError;
use crate::names;
use crate::names::KIND_NAME;
use crate::names::KIND_SOURCE;
use crate::names::Name;
use crate::names::SALT_LEN;

/// Who made a call: one guest thread of one worker, with what it was admitted as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    module: String,
    instance: Uuid,
    ring: u32,
    #[serde(with = "hex")]
    module_sha256: [u8; 32],
    #[serde(with = "hex")]
    policy_sha256: [u8; 32],
}

impl Source {
    /// A worker: its module's name, its own id, and the digests of module and policy. Its first ring, until [`Source::on_ring`].
    #[must_use]
    pub fn new(module: &str, instance: Uuid, module_sha256: [u8; 32], policy_sha256: [u8; 32]) -> Self {
        Self { module: module.to_owned(), instance, ring: 0, module_sha256, policy_sha256 }
    }

    /// The same worker's guest thread with this number.
    #[must_use]
    pub fn on_ring(&self, ring: u32) -> Self {
        Self { ring, ..self.clone() }
    }

    /// The module's name in its policy.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The worker's id.
    #[must_use]
    pub const fn instance(&self) -> Uuid {
        self.instance
    }

    /// The guest thread's number.
    #[must_use]
    pub const fn ring(&self) -> u32 {
        self.ring
    }

    /// SHA-256 of the module, in hex.
    #[must_use]
    pub fn module_sha256(&self) -> String {
        hex::encode(self.module_sha256)
    }

    /// SHA-256 of the policy, in hex.
    #[must_use]
    pub fn policy_sha256(&self) -> String {
        hex::encode(self.policy_sha256)
    }
}

/// Gives numbers to strings and sources; what is new goes into the next `Dict` frame.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashMap<Box<[u8]>, u32>,
    sources: HashMap<Source, u32>,
    bytes: usize,
    new: Vec<u8>,
    /// Names that stand in the segment already, though not in `texts`: written before the daemon was started.
    before: u32,
    salts: Salts,
}

impl Interner {
    /// Goes on in a segment that holds so many names.
    pub fn behind(names: u32) -> Self {
        Self { before: names, ..Self::default() }
    }

    /// The number of a text, from 1.
    ///
    /// # Errors
    /// The kernel gives no random bytes: then nothing that could be guessed takes their place.
    pub fn text(&mut self, text: &[u8]) -> Result<u32, KeysError> {
        if let Some(id) = self.texts.get(text) {
            return Ok(*id);
        }
        let salt = self.salts.next()?;
        let id = self.before.saturating_add(self.texts.len() as u32).saturating_add(1);
        self.texts.insert(text.into(), id);
        self.bytes += text.len() + ENTRY_COST;
        names::put_name(&mut self.new, &salt, text);
        Ok(id)
    }

    /// The number of a source, from 0.
    pub fn source(&mut self, source: &Source) -> u32 {
        if let Some(id) = self.sources.get(source) {
            return *id;
        }
        let id = self.sources.len() as u32;
        self.sources.insert(source.clone(), id);
        // A source is strings, a number and bytes: it always has a JSON form.
        let json = serde_json::to_vec(source).unwrap_or_default();
        self.bytes += json.len() + ENTRY_COST;
        names::put_entry(&mut self.new, KIND_SOURCE, &[&json]);
        id
    }

    /// What no `Dict` frame holds yet: the payload of the next one, or nothing.
    pub fn peek_new(&self) -> Option<&[u8]> {
        (!self.new.is_empty()).then_some(&*self.new)
    }

    /// What [`Interner::peek_new`] gave is in the segment now.
    pub fn written(&mut self) {
        self.new.clear();
    }

    /// Whether the segment should end, because its dictionary has become large.
    pub fn is_full(&self) -> bool {
        self.bytes > MAX_DICTIONARY / 2
    }
}

/// Random bytes for names, a handful at a time.
#[derive(Debug, Default)]
struct Salts(Vec<[u8; SALT_LEN]>);

impl Salts {
    fn next(&mut self) -> Result<[u8; SALT_LEN], KeysError> {
        if self.0.is_empty() {
            let mut random = [0; SALT_LEN * 64];
            aws_lc_rs::rand::fill(&mut random).map_err(|_| KeysError::Random)?;
            self.0.extend_from_slice(random.as_chunks().0);
        }
        self.0.pop().ok_or(KeysError::Random)
    }
}

/// The strings and sources of one segment, as read.
#[derive(Debug, Default, Clone)]
pub(crate) struct Dictionary {
    texts: Vec<Arc<[u8]>>,
    sources: Vec<Arc<Source>>,
    bytes: usize,
}

impl Dictionary {
    /// Adds what a `Dict` frame holds; the names are taken as they are if they were held against their hashes already.
    ///
    /// # Errors
    /// [`BadPayload`]
    pub fn add(&mut self, payload: &[u8], held: bool) -> Result<(), BadPayload> {
        for entry in names::entries(payload) {
            let (kind, body) = entry?;
            let bytes = payload.get(body).ok_or(BadPayload::Length)?;
            self.bytes += bytes.len() + ENTRY_COST;
            if self.bytes > MAX_DICTIONARY {
                return Err(BadPayload::Dictionary);
            }
            match kind {
                KIND_NAME if held => self.texts.push(Name::parse(bytes)?.shown_as_held().into()),
                KIND_NAME => self.texts.push(Name::parse(bytes)?.shown()?.into()),
                KIND_SOURCE => self.sources.push(Arc::new(serde_json::from_slice(bytes).map_err(|_| BadPayload::Reference)?)),
                _ => return Err(BadPayload::Reference),
            }
        }
        Ok(())
    }

    /// The text with this number; nothing for 0.
    ///
    /// # Errors
    /// [`BadPayload::Reference`]
    pub fn text(&self, id: u32) -> Result<Option<Arc<[u8]>>, BadPayload> {
        match id {
            0 => Ok(None),
            id => self.texts.get(id as usize - 1).map(|text| Some(Arc::clone(text))).ok_or(BadPayload::Reference),
        }
    }

    /// The source with this number.
    ///
    /// # Errors
    /// [`BadPayload::Reference`]
    pub fn source(&self, id: u32) -> Result<Arc<Source>, BadPayload> {
        self.sources.get(id as usize).cloned().ok_or(BadPayload::Reference)
    }
}

/// Most memory that one segment's dictionary may take, on either side.
const MAX_DICTIONARY: usize = 16 << 20;
/// What an entry costs beside its bytes, roughly.
const ENTRY_COST: usize = 64;
