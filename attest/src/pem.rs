//! PEM with exactly one block (RFC 7468), for the few keys that an operator or a vendor hands over.
//!
//! Runs in: daemon, CLI.
//! Does not: skip what it does not understand. A file with two keys would leave open which one is meant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::keys::KeyError;
use crate::rejection::shown;

/// The largest key file that is accepted, in bytes.
pub const MAX_KEY_FILE: u64 = 16_384;

pub(crate) const PUBLIC: &str = "PUBLIC KEY";
pub(crate) const PRIVATE: &str = "PRIVATE KEY";

/// The DER inside the one block of `text`, which must be labelled `label`. Wiped when dropped, as it may be a private key.
pub(crate) fn decode(text: &[u8], label: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if text.len() as u64 > MAX_KEY_FILE {
        return Err(KeyError::TooBig { found: text.len() as u64 });
    }
    let text = std::str::from_utf8(text).map_err(|_| KeyError::NotPem { label })?;
    let mut lines = text.lines().map(str::trim_ascii).skip_while(|line| !line.starts_with("-----BEGIN "));
    let begin = lines.next().ok_or(KeyError::NotPem { label })?;
    let found = begin.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")).ok_or(KeyError::NotPem { label })?;
    if found != label {
        return Err(KeyError::Label { label, found: shown(found), next: advice(found) });
    }
    let mut body = Zeroizing::new(String::new());
    let end = loop {
        match lines.next() {
            Some(line) if line.starts_with("-----") => break line,
            Some(line) => body.push_str(line),
            None => return Err(KeyError::NotPem { label }),
        }
    };
    if end.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) != Some(label) {
        return Err(KeyError::NotPem { label });
    }
    if lines.any(|line| line.starts_with("-----BEGIN ")) {
        return Err(KeyError::SeveralBlocks { label });
    }
    STANDARD.decode(body.as_bytes()).map(Zeroizing::new).map_err(|_| KeyError::NotPem { label })
}

/// One block, lines of 64 characters.
pub(crate) fn encode(der: &[u8], label: &str) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // base64 is ASCII, so every index is a character's.
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// What to do with a block of another label, for those that people really have.
fn advice(found: &str) -> &'static str {
    match found {
        "PRIVATE KEY" => "this is the private key and stays with the signer; pass the `.pub` file",
        "PUBLIC KEY" => "this is the public key; pass the `.key` file",
        "EC PRIVATE KEY" => "convert it with `openssl pkcs8 -topk8 -nocrypt -in KEY.pem`",
        "ENCRYPTED PRIVATE KEY" => "decrypt it with `openssl pkcs8 -in KEY.pem`",
        "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
            "sign with `cosign sign-blob`, or make a key with `edgeguard keygen`"
        }
        "CERTIFICATE" => "extract its key with `openssl x509 -pubkey -noout -in CERT.pem`",
        _ => "make a key pair with `edgeguard keygen`",
    }
}
