//! The table of codes: what went wrong, what to do next, and why the check is there. Text for people, kept stable for machines.
//!
//! Runs in: daemon (admission), CLI (`verify`, `explain`).
//! Does not: change the meaning of a number that was ever published. A new meaning gets a new number.

use super::Check;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal in $check:ident : $what:literal, next $next:literal, explain $explain:literal;)+) => {
        /// The stable codes of refusals. The first digit says whose evidence failed:
        /// 1 the input, 2 the signature and its evidence, 3 the signer, 4 the statement, 5 time and state, 6 what was granted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// `EGnnnn`.
            #[must_use]
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $id,)+ } }

            /// What went wrong, in a few words.
            #[must_use]
            pub fn what(self) -> &'static str { match self { $(Self::$name => $what,)+ } }

            /// The long explanation: what the check protects, and how to pass it.
            #[must_use]
            pub fn explain(self) -> &'static str { match self { $(Self::$name => $explain,)+ } }

            /// The check this code belongs to.
            #[must_use]
            pub fn check(self) -> Check { match self { $(Self::$name => Check::$check,)+ } }

            pub(super) fn next(self) -> &'static str { match self { $(Self::$name => $next,)+ } }
        }
    };
}

codes! {
    /// Module or bundle larger than its bound.
    TooBig = "EG1001" in Bundle: "file is larger than its bound",
        next "check that this is the right file; a bundle is a few kilobytes",
        explain "A bundle may have 256 KiB and a module 256 MiB. The size is checked before the file is read, so a huge file costs no memory. \
A real bundle has 1 to 8 KiB: one that is larger is padded, or is another file.";
    /// A JSON object names a key twice.
    DuplicateKey = "EG1002" in Bundle: "a field stands twice",
        next "sign the module again; do not edit bundles by hand",
        explain "Two parsers may pick different ones of two equal keys, so that what was checked is not what is used. A document with a repeated key is refused wherever in it the key stands.";
    /// Not exactly one of several alternatives.
    OneOf = "EG1003" in Bundle: "bundle must hold exactly one of several things",
        next "sign the module again with `edgeguard sign` or `cosign sign-blob`",
        explain "A bundle has exactly one of `certificate` and `publicKey`, exactly one of `messageSignature` and `dsseEnvelope`, and a DSSE envelope has exactly one signature. \
With two, it would be open which of them was checked.";
    /// A field outside the format.
    UnknownField = "EG1004" in Bundle: "a field is not part of the format",
        next "remove the field, or sign the module again",
        explain "Every field of a bundle is either checked or refused. A field that this version does not know might change the meaning of those it knows.";
    /// Not a v0.3 bundle.
    BundleVersion = "EG1005" in Bundle: "bundle is not of format v0.3",
        next "sign again; with cosign 2 add `--new-bundle-format`",
        explain "Only `application/vnd.dev.sigstore.bundle.v0.3+json` is accepted. The older formats ask less of a bundle, so a relabelled one could drop evidence that v0.3 requires.";
    /// Not a wasm binary.
    NotWasm = "EG1006" in Module: "file is not a wasm module",
        next "build the module for a wasm target, and check that the file was copied whole",
        explain "A module starts with `\\0asm` and version 1 (a core module) or 0x0d with layer 1 (a component). Text (`.wat`), an empty file and native libraries are refused before anything else looks at them.";
    /// Not JSON, or a field of the wrong kind.
    Malformed = "EG1007" in Bundle: "bundle or statement cannot be read",
        next "sign the module again, and check that the bundle was copied whole",
        explain "The bundle, or the statement in it, is not JSON, lacks a required field, or has one of the wrong type, length or base64 alphabet (standard, padded). The message names the field.";
    /// Nesting or item counts beyond what a bundle needs.
    Shape = "EG1008" in Bundle: "nested too deep, or too many items",
        next "sign the module again",
        explain "A bundle needs at most 8 levels and a dozen items a level; 16 levels and 64 items are accepted. More is an attempt to make the parser work.";
    /// An input could not be read.
    Unreadable = "EG1009" in Module: "file cannot be read",
        next "check the path and its permissions",
        explain "The module or the bundle could not be read, is not a regular file, or changed its size while it was read. Nothing is admitted from a file that moves.";
    /// No bundle beside the module.
    Unsigned = "EG1010" in Bundle: "module is not signed",
        next "sign it with `edgeguard sign --key VENDOR.key MODULE.wasm` and ship the bundle beside it",
        explain "A module is admitted only with a sigstore bundle. It lies beside the module and has its name with `.sigstore.json` appended: `voice-gate.wasm.sigstore.json`.";
    /// The same transparency log entry twice.
    RepeatedEntry = "EG1011" in Bundle: "bundle repeats a log entry",
        next "sign the module again",
        explain "One log entry given twice could be counted as two proofs.";
    /// More bundles, signers or proofs than are looked at.
    TooMany = "EG1012" in Bundle: "too many bundles, signers or proofs",
        next "ship fewer bundles beside the module; the message says how many are accepted",
        explain "A module has at most 8 bundles, a policy at most 64 signers, a bundle one log entry and at most 4 timestamps. Every one is verified and none may ride along unchecked, so their number is bounded.";
    /// The signature does not verify.
    Signature = "EG2001" in Signature: "signature does not verify",
        next "get module and bundle from the vendor again; if it persists, the key or the bundle is not the vendor's",
        explain "The bundle names a trusted key, but the signature was not made with that key over this content: it was damaged, or made by somebody who copied the key's hint. The hint only selects a key and is never itself trusted.";
    /// The signed digest is not the module's.
    Digest = "EG2002" in Digest: "file is not the one that was signed",
        next "ship the file and the bundle that belong together, or sign the file as it is",
        explain "The SHA-256 of the module differs from the one the bundle was made for: the module was changed after signing, or module and bundle are of different builds. One changed byte suffices.";
    /// The signing certificate was not issued by a trusted authority.
    CertificateChain = "EG2003" in Certificate: "signing certificate is not from a trusted authority",
        next "see with `edgeguard trust status` which authorities are trusted; a bundle from a private or staging sigstore needs that instance's trusted root",
        explain "A keyless bundle carries a certificate that a Fulcio authority issued for one signature. It must chain to an authority of the trusted root in use, be for code signing, and name exactly one identity. A bundle that was made with another sigstore instance (staging, a company's own) fails here.";
    /// The certificate's issuing was not logged.
    Sct = "EG2004" in Certificate: "issuing of the certificate was not logged",
        next "sign the module again; if it persists, update the trusted root with `edgeguard trust import`",
        explain "A Fulcio certificate carries exactly one signed certificate timestamp (RFC 6962), by which a certificate transparency log promises to list it, so that a certificate that was issued behind its owner's back can be found. It is missing, was changed, or is from a log that the trusted root does not name.";
    /// The log's promise does not verify.
    InclusionPromise = "EG2005" in Log: "the log's promise (SET) does not verify",
        next "sign the module again, and check that the bundle was not edited",
        explain "A Rekor v1 entry carries the log's signature over its content, its place and its time (signed entry timestamp). It is missing or does not verify: entry, place, time or signature were changed, or the log is not one of the trusted root. Without it the entry's time is only somebody's word.";
    /// The proof does not lead to the log's root.
    InclusionProof = "EG2006" in Log: "inclusion proof does not lead to the log's root",
        next "sign the module again, and check that the bundle was not edited",
        explain "The hashes of the inclusion proof, beginning with the entry, must give the root hash that the log has signed in its checkpoint. They give another one: entry, hashes, place or tree size were changed.";
    /// No proof that the signature was logged.
    NoInclusionProof = "EG2007" in Log: "no proof that the signature was logged",
        next "sign again with a transparency log and current tools, which write the inclusion proof into the bundle (with cosign 2: `--new-bundle-format`)",
        explain "A keyless signature, and a key's whose policy says `evidence = \"log\"`, is accepted only with a transparency log entry in the bundle, and every entry only with an inclusion proof and a checkpoint. A promise (SET) alone says that the log will list the entry, not that it did.";
    /// The log's signed tree head does not verify.
    Checkpoint = "EG2008" in Log: "the log's checkpoint does not verify",
        next "sign the module again; if it persists, update the trusted root with `edgeguard trust import`",
        explain "A checkpoint is the log's signature over the size and root hash of its tree. It is missing, not signed by the log that the entry names, of another tree than the proof, or its log is not in the trusted root.";
    /// The log entry is of another signature, key or artifact.
    EntryMismatch = "EG2009" in Log: "log entry is not this bundle's",
        next "sign the module again; do not combine bundles by hand",
        explain "The logged entry must hold the same signature, the same key or certificate and the same digest as the bundle. It holds another: a genuine entry of another signature was attached.";
    /// Nothing proves when the signature was made.
    NoTrustedTime = "EG2010" in Time: "nothing proves when the signature was made",
        next "sign again with a timestamp authority, or with a log that dates its entries",
        explain "The time of a signature is proved by a Rekor v1 log (its signed entry timestamp) or by a timestamp authority (RFC 3161) of the trusted root, never by the clock of signer or gateway. A keyless bundle needs one, because its certificate is valid for minutes; a key's bundle needs a timestamp if the policy says `evidence = \"timestamp\"`. A Rekor v2 entry proves no time.";
    /// A proved time lies outside a window.
    TimeOutside = "EG2011" in Time: "proved time lies outside a window",
        next "sign the module again; if the log or authority is right, update the trusted root with `edgeguard trust import`",
        explain "Each proved time must lie within the certificate's validity, within the time in which the trusted root lets the certificate authority, the log and the timestamp authority speak. A signature that was made after a certificate expired, or with a key of a log that was retired, fails here.";
    /// An algorithm that is not accepted for this key or form.
    Algorithm = "EG2012" in Algorithm: "algorithm is not accepted",
        next "sign with an ECDSA P-256 key (SHA-256), or with an Ed25519 key",
        explain "Accepted are ECDSA P-256 with SHA-256, ECDSA P-384 with SHA-384, and Ed25519 (pure). Another digest than the key's own is refused, so that nobody can choose a weaker one.";
    /// Evidence that is not understood, or that no signer of the policy may bring.
    UncheckedEvidence = "EG2013" in Evidence: "bundle carries evidence that cannot be checked",
        next "sign the module again with current tools, or name the signer that this bundle is of in the policy",
        explain "Every part of a bundle is checked or the bundle is refused, so that a reader of the journal can take every part of an admitted bundle as proved. This one carries a kind of log entry that is not known, fields that its kind does not have, or evidence for which no trust material is loaded.";
    /// An RFC 3161 timestamp does not verify.
    Timestamp = "EG2014" in Time: "timestamp does not verify",
        next "sign the module again; if the timestamp authority is your own, add it to the trusted root",
        explain "An RFC 3161 timestamp must be over this bundle's signature and from a timestamp authority of the trusted root. A certificate that comes with the timestamp is not trusted for being there. A timestamp that does not verify refuses the bundle, even if another one would do.";
    /// A trusted root that cannot be used.
    TrustMaterial = "EG2015" in State: "trust material cannot be used",
        next "import a whole and current trusted root with `edgeguard trust import`",
        explain "The trusted root (sigstore's `trusted_root.json`) names the certificate authorities, logs and timestamp authorities and when each may speak. This one cannot be read, names a log twice, has a window that ends before it starts or has no start, holds a key that is not understood, or is not the one that is pinned by its SHA-256.";
    /// The certificate's identity is not a signer's.
    Identity = "EG3001" in Identity: "signed by an identity that the policy does not name",
        next "if the signer is right, correct `identity` of its `[[module.signer]]`; `*` stands for one whole segment",
        explain "The identity of a keyless signature is the one name in its certificate: a workflow's address or somebody's e-mail. It is compared with the policy's pattern from the first to the last character, case counts, and `*` stands for exactly one segment between `/` and `@`. No other issuer, no prefix and no regular expression matches.";
    /// The certificate's issuer is not the signer's.
    Issuer = "EG3002" in Identity: "identity comes from another issuer",
        next "if the issuer is right, correct `issuer` of the `[[module.signer]]`, character by character",
        explain "The issuer is the service that vouched for the identity when the certificate was made, such as `https://token.actions.githubusercontent.com`. The same identity from another issuer is somebody else. The comparison is exact: a trailing `/` differs.";
    /// A claim in the certificate is not the signer's.
    Claim = "EG3003" in Identity: "certificate makes another claim than the policy requires",
        next "build and sign where the policy says, or correct `claims` of the `[[module.signer]]`",
        explain "A certificate for a build service says more than its identity: which repository by its number, which workflow, which kind of runner. What the policy names must be there and match.";
    /// The bundle names a key that is not trusted.
    UnknownKey = "EG3004" in Key: "bundle was signed with a key that is not trusted",
        next "if the signer is right, add its public key as a `[[module.signer]]` of the policy",
        explain "The bundle's hint, which is base64(sha256(SubjectPublicKeyInfo)), names none of the keys the policy trusts for this module. Only the key that the hint names is tried. \
`edgeguard verify --key KEY.pub MODULE.wasm` shows whether a key is the right one.";
    /// A key before or after its time of use.
    KeyWindow = "EG3005" in Validity: "key is outside its time of use",
        next "sign with the key that is in use now; the policy's `usable-from` and `retire-at` say from when to when",
        explain "A policy gives a key a time of use, so that keys can be rotated with two alive at once. Where a log or a timestamp authority proved when the signature was made, that time must lie within; \
where nothing did, the time of arrival must, because a time that the signer wrote could have been set back.";
    /// A key, an identity, a digest or a version that was taken back.
    Revoked = "EG3006" in Revocation: "signer or module was revoked",
        next "get a new release from the vendor; `edgeguard trust status` shows the revocation list and its reasons",
        explain "The revocation list names this key, identity, module digest or version. Evidence that a log or timestamp authority dates before the revocation's `since` stays good; without such a proof nothing by that signer is accepted any more.";
    /// Too few distinct signers.
    Threshold = "EG3007" in Threshold: "too few signers, or a required statement is missing",
        next "get the missing signatures; the message says who has signed and who still can",
        explain "The policy requires statements of a kind from so many distinct signers. A signer counts once, however many bundles it made and under however many names its key stands in the policy.";
    /// A DSSE envelope that is not an in-toto statement.
    PayloadType = "EG4001" in Statement: "envelope does not hold an in-toto statement",
        next "sign with `edgeguard sign`",
        explain "The `payloadType` of a DSSE envelope must be `application/vnd.in-toto+json`. It is part of what is signed, so a document of another type cannot be passed off as a statement.";
    /// Not an in-toto Statement v1.
    StatementType = "EG4002" in Statement: "statement is not an in-toto Statement v1",
        next "sign with `edgeguard sign`",
        explain "`_type` must be `https://in-toto.io/Statement/v1`.";
    /// A statement of a kind that is not understood.
    PredicateType = "EG4003" in Statement: "statement is of a kind that is not understood",
        next "sign with `edgeguard sign`",
        explain "A key may sign many kinds of statements about a module: what a scanner found, even that it must not be run. Understood are a signature (`https://sigstore.dev/cosign/sign/v1`, with an empty predicate), a release (`https://edgeguard.dev/module-release/v1`), \
SLSA provenance (`https://slsa.dev/provenance/v1`) and an approval (`https://edgeguard.dev/module-approval/v1`). Whatever else is signed admits nothing.";
    /// Not exactly one subject with exactly one sha256.
    Subject = "EG4004" in Statement: "statement must have the module as its only subject",
        next "sign each module by itself",
        explain "A statement has exactly one subject, with exactly one digest, its sha256. With several, a module could be admitted by a digest that the signer did not mean for it, or by a weaker one beside the right one.";
    /// A provenance by a builder that the policy does not name.
    Builder = "EG4005" in Statement: "built by a builder that the policy does not name",
        next "build where the policy says, or add the builder to the requirement's `builder`",
        explain "A provenance statement says who built the module (`runDetails.builder.id`). It is compared exactly with the builders of the requirement that asks for the provenance.";
    /// A build of another kind, or with other parameters.
    BuildParameters = "EG4006" in Statement: "built in another way than the policy requires",
        next "build with the parameters that the policy names, or correct the requirement",
        explain "A provenance statement says how the module was built (`buildDefinition.buildType`) and what the builder's user could choose (`externalParameters`). If the policy gives parameters they must be the same, none more and none fewer: \
an extra parameter can change what is built.";
    /// A statement that is about another module.
    NameNotSlot = "EG4007" in Statement: "statement is about a module of another name",
        next "install the module under its own policy, or correct `name` in the policy",
        explain "A release or approval names the module it is about. It must be the name in the policy, so that a genuine module of the same vendor cannot be put in another one's place.";
    /// A kind of statement that nobody asked this signer for.
    UnwantedStatement = "EG4008" in Statement: "policy does not ask this signer for such a statement",
        next "remove the bundle, or add a requirement to the policy that asks for the statement",
        explain "A signature proves who said something, and each signer is asked for certain statements only: who may approve may not release. A statement of another kind is refused rather than ignored.";
    /// Statements about one module that state different versions.
    Disagreement = "EG4009" in Statement: "statements about the module disagree",
        next "get statements about one version of the module",
        explain "Releases and approvals that state a version must state the same. With two, nobody could say which version was admitted, and an approval of one would serve for the other.";
    /// An older version than the floor.
    VersionBelowFloor = "EG5001" in Version: "version is older than the floor",
        next "install a newer release; to go back on purpose see `edgeguard explain EG5001`",
        explain "The floor of a module is the greater of the policy's `min-version` and the highest version that this host has admitted. An old release is still signed, so only the floor keeps a known hole from coming back. \
To go back on purpose, have the vendor release the old code under a new version.";
    /// Trust material or revocation list too old to admit something new.
    Stale = "EG5002" in Freshness: "trust material is too old to admit anything new",
        next "bring newer trust material with `edgeguard trust import`",
        explain "Revocations reach a host without a network only by import. When the list is older than the host's limit, a module that was never admitted here is refused; modules that were admitted keep running, and revocation still counts.";
    /// The clock does not allow the judgement.
    Clock = "EG5003" in Time: "clock cannot be trusted for this",
        next "set the clock, then try again; `edgeguard trust status` shows what is believed and why",
        explain "The time that this host believes never goes below what was proved to it, and a clock that jumped is not followed. A bound in the future can then not be judged, and what cannot be judged is refused.";
    /// Something older than what was seen before.
    Rollback = "EG5004" in State: "older than what was accepted before",
        next "bring the newest trust material, revocation list or policy; the message names the version that was seen",
        explain "Trust packs, revocation lists and policy revisions have versions that only rise. An older one is genuine but was replaced for a reason.";
    /// The state on disk is not what was written.
    StateDamaged = "EG5005" in State: "remembered state is damaged or was set back",
        next "find out who changed it; then `edgeguard trust status` says how to begin anew and what that costs",
        explain "Version floors, believed time and revocation floors are kept with a check against damage and, where the host has one, a hardware counter that shows a restored backup. Nothing new is admitted on state that cannot be believed.";
    /// A statement before or after its validity.
    OutsideValidity = "EG5006" in Validity: "statement is outside its validity",
        next "get a statement that is valid now from the vendor",
        explain "A release or approval may say from when and until when it holds (`notBefore`, `expires`), and the policy may limit its age. The time that this host believes lies outside.";
    /// A version that was used for another module.
    VersionReused = "EG5007" in Version: "same version, other module",
        next "have the vendor release the module under a new version",
        explain "This version of the module was admitted with another digest. A version stands for one build; two builds under one number cannot be told apart later.";
    /// A TPM's quote that is not the one that was asked for.
    Quote = "EG5008" in Quote: "quote does not prove the expected state",
        next "find out what the host booted; if it was updated on purpose, expect the new values",
        explain "A quote is what a TPM has measured of a host's boot, signed by its attestation key over the nonce that was sent with the question. Key, nonce and the set of registers must be exactly those that were asked for: \
an old quote, one by another TPM, and one that leaves a register out say nothing about this host now. `edgeguard quote verify` makes no exception.";
    /// The policy grants more than what was signed.
    Capabilities = "EG6001" in Capabilities: "policy grants more than the release allows",
        next "remove the grant from the policy, or get a release that allows it",
        explain "A release may list the directories, graphs and variables that its module needs. The policy may grant less, never more: a grant beyond the list was not meant by the vendor who tested it.";
}
