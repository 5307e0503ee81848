//! The dictionary: paths, graph names and sources, each written once for every segment.
//!
//! Runs in: daemon ([`Interner`]), CLI ([`Dictionary`]).
//! Invariant: a dictionary belongs to one segment, so that a segment can be deleted without making another one unreadable.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::columns::BadPayload;
use crate::columns::get;
use crate::columns::put;

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
}

impl Interner {
    /// The number of a text, from 1.
    pub fn text(&mut self, text: &[u8]) -> u32 {
        if let Some(id) = self.texts.get(text) {
            return *id;
        }
        let id = self.texts.len() as u32 + 1;
        self.texts.insert(text.into(), id);
        self.add(KIND_TEXT, text);
        id
    }

    /// The number of a source, from 0.
    pub fn source(&mut self, source: &Source) -> u32 {
        if let Some(id) = self.sources.get(source) {
            return *id;
        }
        let id = self.sources.len() as u32;
        self.sources.insert(source.clone(), id);
        // A source is strings, a number and bytes: it always has a JSON form.
        self.add(KIND_SOURCE, &serde_json::to_vec(source).unwrap_or_default());
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

    fn add(&mut self, kind: u8, bytes: &[u8]) {
        self.bytes += bytes.len() + ENTRY_COST;
        self.new.push(kind);
        put(&mut self.new, bytes.len() as u64);
        self.new.extend_from_slice(bytes);
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
    /// Adds what a `Dict` frame holds.
    ///
    /// # Errors
    /// [`BadPayload`]
    pub fn add(&mut self, mut payload: &[u8]) -> Result<(), BadPayload> {
        while let Some((kind, rest)) = payload.split_first() {
            payload = rest;
            let len = usize::try_from(get(&mut payload)?).map_err(|_| BadPayload::Length)?;
            let bytes;
            (bytes, payload) = payload.split_at_checked(len).ok_or(BadPayload::Length)?;
            self.bytes += bytes.len() + ENTRY_COST;
            if self.bytes > MAX_DICTIONARY {
                return Err(BadPayload::Dictionary);
            }
            match *kind {
                KIND_TEXT => self.texts.push(bytes.into()),
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

const KIND_TEXT: u8 = 1;
const KIND_SOURCE: u8 = 2;

/// Most memory that one segment's dictionary may take, on either side.
const MAX_DICTIONARY: usize = 16 << 20;
/// What an entry costs beside its bytes, roughly.
const ENTRY_COST: usize = 64;
