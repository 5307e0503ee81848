//! Bytes as a TPM writes them: big-endian numbers, sized buffers, and the few commands of a counter index.
//!
//! Runs in: daemon, CLI.
//! Does not: believe a length. A read past the end is an error, and so is whatever is left over at the end.

/// The largest command or response, in bytes. The ones used here have less than 200; `TPM_PT_MAX_RESPONSE_SIZE` is 4096 in the TPMs that are sold.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// Tag, size, code.
pub(crate) const HEADER: usize = 10;

const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;
const RS_PW: u32 = 0x4000_0009;
const RH_OWNER: u32 = 0x4000_0001;
const ALG_SHA256: u16 = 0x000b;

/// What was wrong with bytes of a TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("{0} is cut short")]
    Short(&'static str),
    #[error("{found} bytes follow {after}")]
    Trailing { after: &'static str, found: usize },
    #[error("{what} has {found} bytes, expected at most {max}")]
    TooLong { what: &'static str, found: usize, max: usize },
    #[error("{what} is {found:#x}, expected {expected}")]
    Value { what: &'static str, expected: &'static str, found: u64 },
}

/// Reads from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Short(what))?;
        self.0 = rest;
        Ok(*front)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.array::<1>(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(WireError::Short(what))?;
        self.0 = rest;
        Ok(front)
    }

    /// A buffer after its 16-bit size (`TPM2B_…`), of at most `max` bytes.
    pub(crate) fn sized(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let size = usize::from(self.u16(what)?);
        if size > max {
            return Err(WireError::TooLong { what, found: size, max });
        }
        self.bytes(size, what)
    }

    /// A number that can only be one.
    pub(crate) fn expect(&mut self, found: u64, wanted: u64, what: &'static str, expected: &'static str) -> Result<(), WireError> {
        if found == wanted { Ok(()) } else { Err(WireError::Value { what, expected, found }) }
    }

    pub(crate) fn end(self, after: &'static str) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing { after, found: self.0.len() }) }
    }
}

/// The attributes of our index (`TPMA_NV`, TPM 2.0 Library, Part 2, §13.4): a counter that whoever may open the TPM may read and raise, with an empty
/// authorization that takes no part in the dictionary-attack lockout. No bit lets it be written, locked, or forgotten when the power goes.
pub(crate) const ATTRIBUTES: u32 = AUTHWRITE | NT_COUNTER | AUTHREAD | NO_DA;
/// Set by the TPM at the first increment.
pub(crate) const WRITTEN: u32 = 1 << 29;
const AUTHWRITE: u32 = 1 << 2;
const NT_COUNTER: u32 = 1 << 4;
const AUTHREAD: u32 = 1 << 18;
const NO_DA: u32 = 1 << 25;

/// The commands that a counter needs (TPM 2.0 Library, Part 3, §31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    DefineSpace { index: u32, owner_auth: &'a [u8] },
    Increment { index: u32 },
    Read { index: u32 },
    ReadPublic { index: u32 },
}

impl Command<'_> {
    /// Its name in the specification.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DefineSpace { .. } => "TPM2_NV_DefineSpace",
            Self::Increment { .. } => "TPM2_NV_Increment",
            Self::Read { .. } => "TPM2_NV_Read",
            Self::ReadPublic { .. } => "TPM2_NV_ReadPublic",
        }
    }

    /// Whether the response ends with an authorization area.
    fn has_session(self) -> bool {
        !matches!(self, Self::ReadPublic { .. })
    }

    pub(crate) fn to_bytes(self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut body = zeroize::Zeroizing::new(Vec::with_capacity(192));
        let code: u32 = match self {
            Self::DefineSpace { index, owner_auth } => {
                put(&mut body, &[&RH_OWNER.to_be_bytes()]);
                password(&mut body, owner_auth);
                // The index's own authorization is empty; its policy too.
                let public: [&[u8]; 5] =
                    [&index.to_be_bytes(), &ALG_SHA256.to_be_bytes(), &ATTRIBUTES.to_be_bytes(), &[0, 0], &8_u16.to_be_bytes()];
                put(&mut body, &[&[0, 0], &14_u16.to_be_bytes()]);
                put(&mut body, &public);
                0x12a
            }
            Self::Increment { index } => {
                put(&mut body, &[&index.to_be_bytes(), &index.to_be_bytes()]);
                password(&mut body, &[]);
                0x134
            }
            Self::Read { index } => {
                put(&mut body, &[&index.to_be_bytes(), &index.to_be_bytes()]);
                password(&mut body, &[]);
                put(&mut body, &[&8_u16.to_be_bytes(), &[0, 0]]);
                0x14e
            }
            Self::ReadPublic { index } => {
                put(&mut body, &[&index.to_be_bytes()]);
                0x169
            }
        };
        let tag = if self.has_session() { ST_SESSIONS } else { ST_NO_SESSIONS };
        // An authorization has at most 64 bytes (see `TpmCounter::with_owner_auth`), so a command is far below 4 GiB.
        let size = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let mut out = zeroize::Zeroizing::new(Vec::with_capacity(HEADER + body.len()));
        put(&mut out, &[&tag.to_be_bytes(), &size.to_be_bytes(), &code.to_be_bytes(), &body]);
        out
    }

    /// The parameters of a response whose size was checked, or the TPM's refusal.
    pub(crate) fn response(self, bytes: &[u8]) -> Result<Result<&[u8], u32>, WireError> {
        let mut from = Reader::new(bytes);
        let tag = from.u16("the response's tag")?;
        from.u32("the response's size")?;
        let code = from.u32("the response's code")?;
        if code != 0 {
            from.end("a refusal")?;
            return Ok(Err(code));
        }
        let wanted = if self.has_session() { ST_SESSIONS } else { ST_NO_SESSIONS };
        from.expect(tag.into(), wanted.into(), "the response's tag", "that of the command")?;
        if !self.has_session() {
            return Ok(Ok(from.0));
        }
        let size = usize::try_from(from.u32("the parameters' size")?).unwrap_or(usize::MAX);
        let parameters = from.bytes(size, "the parameters")?;
        // A password session answers with an empty nonce, its attributes, and no HMAC.
        from.sized(0, "the session's nonce")?;
        from.u8("the session's attributes")?;
        from.sized(0, "the session's HMAC")?;
        from.end("the response")?;
        Ok(Ok(parameters))
    }
}

/// Whether the counter was ever raised, from the parameters of `TPM2_NV_ReadPublic`. An index that is not exactly ours is none that can be counted on:
/// under the same number there could be an ordinary one, into which anything can be written.
pub(crate) fn written(parameters: &[u8], index: u32) -> Result<bool, WireError> {
    let mut from = Reader::new(parameters);
    let mut public = Reader::new(from.sized(14 + 64, "the index's public area")?);
    from.sized(2 + 64, "the index's name")?;
    from.end("the index's name")?;
    let found = public.u32("the index's number")?;
    public.expect(found.into(), index.into(), "the index's number", "the one that was asked for")?;
    let algorithm = public.u16("the index's hash algorithm")?;
    public.expect(algorithm.into(), ALG_SHA256.into(), "the index's hash algorithm", "SHA-256 (0xb)")?;
    let attributes = public.u32("the index's attributes")?;
    let expected = "those of a counter that `edgeguard` defined (0x2040014, and 0x20000000 once used)";
    public.expect((attributes & !WRITTEN).into(), ATTRIBUTES.into(), "the index's attributes", expected)?;
    public.sized(0, "the index's policy")?;
    let size = public.u16("the index's size")?;
    public.expect(size.into(), 8, "the index's size", "that of a counter (8)")?;
    public.end("the index's public area")?;
    Ok(attributes & WRITTEN != 0)
}

/// The counter's value, from the parameters of `TPM2_NV_Read`.
pub(crate) fn value(parameters: &[u8]) -> Result<u64, WireError> {
    let mut from = Reader::new(parameters);
    let mut data = Reader::new(from.sized(8, "the counter's value")?);
    from.end("the counter's value")?;
    let value = data.u64("the counter's value")?;
    data.end("the counter's value")?;
    Ok(value)
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// An authorization area with one password session.
fn password(out: &mut Vec<u8>, auth: &[u8]) {
    let length = u16::try_from(auth.len()).unwrap_or(u16::MAX);
    put(out, &[&(9 + u32::from(length)).to_be_bytes(), &RS_PW.to_be_bytes(), &[0, 0], &[0], &length.to_be_bytes(), auth]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const INDEX: u32 = 0x0180_4547;

    #[test]
    fn a_refusal_is_its_code() {
        let bytes = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x8b];
        assert_eq!(Command::ReadPublic { index: INDEX }.response(&bytes), Ok(Err(0x18b)));
    }

    #[test]
    fn a_value_of_another_size_is_none() {
        assert_eq!(value(&[0, 8, 0, 0, 0, 0, 0, 0, 1, 2]), Ok(0x102));
        assert_eq!(value(&[0, 7, 0, 0, 0, 0, 0, 0, 1]), Err(WireError::Short("the counter's value")));
        assert_eq!(value(&[0, 8, 0, 0, 0, 0, 0, 0, 1, 2, 3]), Err(WireError::Trailing { after: "the counter's value", found: 1 }));
    }

    fn public(attributes: u32) -> Vec<u8> {
        let mut out = vec![0, 14];
        put(&mut out, &[&INDEX.to_be_bytes(), &ALG_SHA256.to_be_bytes(), &attributes.to_be_bytes(), &[0, 0], &[0, 8], &[0, 0]]);
        out
    }

    #[test]
    fn only_a_counter_with_our_attributes_is_ours() {
        assert_eq!(written(&public(ATTRIBUTES), INDEX), Ok(false));
        assert_eq!(written(&public(ATTRIBUTES | WRITTEN), INDEX), Ok(true));
        for bit in (0..32).filter(|bit| *bit != 29) {
            assert!(written(&public(ATTRIBUTES ^ (1 << bit)), INDEX).is_err(), "bit {bit}");
        }
        assert!(written(&public(ATTRIBUTES), INDEX + 1).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_response_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..96), cut in 0_usize..96) {
            let mut near = public(ATTRIBUTES | WRITTEN);
            for (place, byte) in near.iter_mut().zip(&bytes) {
                *place ^= byte & 1;
            }
            near.truncate(cut);
            for index in [INDEX, 0] {
                for command in [Command::ReadPublic { index }, Command::Read { index }, Command::Increment { index }] {
                    let _ = command.response(&bytes);
                }
                let _ = (written(&bytes, index), written(&near, index), value(&bytes));
            }
        }
    }
}
