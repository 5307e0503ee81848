//! The instance: all authorities together, the trusted root that names them, and the strangers who would like to be them.
//!
//! Runs in: tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use crate::certificate::Validity;
use crate::ct::CtLog;
use crate::fulcio::Fulcio;
use crate::keys::Key;
use crate::rekor::Log;
use crate::spec::SIGNED_AT;
use crate::tsa::Tsa;

/// From 2025-01-01 to 2035: when the authorities' own certificates are good.
pub const AUTHORITIES: Validity = Validity { from: 1_735_689_600, until: 2_051_222_400 };

const ORGANIZATION: &str = "virtual.example";

/// A sigstore of one's own.
pub struct Instance {
    /// Issues certificates.
    pub fulcio: Fulcio,
    /// Another intermediate of it, with the same name.
    pub(crate) sibling: Fulcio,
    /// Lists certificates.
    pub ct: CtLog,
    /// Lists signatures, with promises.
    pub rekor1: Log,
    /// Lists signatures, in tiles.
    pub rekor2: Log,
    /// Says when.
    pub tsa: Tsa,
    pub(crate) stranger: Box<Strangers>,
    pub(crate) seed: String,
}

/// The same names with other keys, in no trusted root.
pub(crate) struct Strangers {
    pub(crate) fulcio: Fulcio,
    pub(crate) ct: CtLog,
    pub(crate) rekor1: Log,
    pub(crate) rekor2: Log,
    pub(crate) tsa: Tsa,
    pub(crate) key: Key,
}

impl Instance {
    /// The instance of this name: the same name gives the same keys.
    #[must_use]
    pub fn new(seed: &str) -> Self {
        let strange = format!("stranger to {seed}");
        Self {
            fulcio: Fulcio::new(seed, ORGANIZATION, AUTHORITIES),
            sibling: Fulcio::new(seed, ORGANIZATION, AUTHORITIES).sibling(seed, AUTHORITIES),
            ct: CtLog::new(seed),
            rekor1: Log::v1(seed),
            rekor2: Log::v2(seed),
            tsa: Tsa::new(seed, ORGANIZATION, AUTHORITIES),
            stranger: Box::new(Strangers {
                fulcio: Fulcio::new(&strange, ORGANIZATION, AUTHORITIES),
                ct: CtLog::new(&strange),
                rekor1: Log::v1(&strange),
                rekor2: Log::v2(&strange),
                tsa: Tsa::new(&strange, ORGANIZATION, AUTHORITIES),
                key: Key::p256(&strange),
            }),
            seed: seed.to_owned(),
        }
    }

    /// With a timestamp authority whose own certificate is good for this time only.
    #[must_use]
    pub fn with_tsa_certificate(mut self, validity: Validity) -> Self {
        self.tsa = Tsa::with_leaf(&self.seed, ORGANIZATION, AUTHORITIES, validity);
        self
    }

    /// The `trusted_root.json` that names all of it, good from 2025-01-01 on.
    #[must_use]
    pub fn trusted_root(&self) -> Value {
        let window = json!({ "start": rfc3339(AUTHORITIES.from) });
        let log = |url: String, key: &Key, id: [u8; 32]| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": { "rawBytes": STANDARD.encode(key.spki()), "keyDetails": key.details(), "validFor": window },
                "logId": { "keyId": STANDARD.encode(id) },
            })
        };
        let authority = |name: &str, chain: &[&[u8]]| {
            let certificates: Vec<Value> = chain.iter().map(|der| json!({ "rawBytes": STANDARD.encode(der) })).collect();
            json!({
                "subject": { "organization": ORGANIZATION, "commonName": name },
                "uri": format!("https://{name}.{ORGANIZATION}"),
                "certChain": { "certificates": certificates },
                "validFor": window,
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log(self.rekor1.url(), &self.rekor1.key, self.rekor1.id()),
                log(self.rekor2.url(), &self.rekor2.key, self.rekor2.id()),
            ],
            "certificateAuthorities": [authority("fulcio", &[&self.fulcio.intermediate, &self.fulcio.root])],
            "ctlogs": [log("https://ct.virtual.example".to_owned(), &self.ct.key, self.ct.id())],
            "timestampAuthorities": [authority("tsa", &[&self.tsa.leaf, &self.tsa.root])],
        })
    }

    /// [`trusted_root`](Self::trusted_root) with the second intermediate before the first, as an authority of its own.
    #[must_use]
    pub fn trusted_root_with_sibling(&self) -> Value {
        let mut root = self.trusted_root();
        let mut second = root["certificateAuthorities"][0].clone();
        second["certChain"]["certificates"][0] = json!({ "rawBytes": STANDARD.encode(&self.sibling.intermediate) });
        root["certificateAuthorities"].as_array_mut().unwrap().insert(0, second);
        root
    }
}

/// A time as trusted roots write it.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap().to_string()
}

const _: () = assert!(AUTHORITIES.from < SIGNED_AT && SIGNED_AT < AUTHORITIES.until);
