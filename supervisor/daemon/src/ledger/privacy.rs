//! What a guest named, in the form in which its policy has it kept: said here once, before the journal or anybody else sees it.
//!
//! Runs in: daemon, wherever a ring is drained.
//! Invariant: a text of a class other than plain goes no further than [`Wording::apply`]: denials are told apart, told and kept by what comes out of it.
//! Does not: look at what the operator named; that is on record in any case.

use std::borrow::Cow;
use std::sync::Arc;

use edgeguard_audit::CallId;
use edgeguard_audit::DROPPED;
use edgeguard_audit::KEYED;
use edgeguard_audit::Named;
use edgeguard_audit::PrivacyKey;
use edgeguard_audit::Record;
use edgeguard_audit::TEXT;
use edgeguard_audit::TRUNCATED;
use edgeguard_policy::Class;
use edgeguard_policy::Privacy;

/// The classes of one module, and the key.
#[derive(Debug, Clone)]
pub(super) struct Wording {
    classes: Privacy,
    key: Arc<PrivacyKey>,
}

impl Wording {
    pub fn new(classes: Privacy, key: Arc<PrivacyKey>) -> Self {
        Self { classes, key }
    }

    /// What is kept of a text, and in the record, as what.
    pub fn apply<'t>(&self, record: &mut Record, text: Option<&'t [u8]>) -> Option<Cow<'t, [u8]>> {
        let text = text?;
        let named = named(record.call);
        let class = match named {
            Named::Path => self.classes.paths,
            Named::Graph => self.classes.graphs,
        };
        match class {
            Class::Plain => Some(Cow::Borrowed(text)),
            Class::Hmac => {
                record.flags |= KEYED;
                Some(Cow::Owned(self.key.code(named, text)))
            }
            Class::Drop => {
                record.flags = record.flags & !(TEXT | TRUNCATED) | DROPPED;
                None
            }
        }
    }
}

/// What the text of a call names. What is not known to be about a model counts as a path, so that no call's text is in no class.
fn named(call: CallId) -> Named {
    let interface = call.interface();
    let model = interface == "wasi_ephemeral_nn" || interface.starts_with("wasi:nn/") || interface.starts_with("edgeguard:language/");
    if model { Named::Graph } else { Named::Path }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use edgeguard_audit::INTERFACES;
    use edgeguard_audit::Outcome;
    use edgeguard_audit::TextClass;
    use edgeguard_audit::call_id;

    use super::*;

    fn record(interface: &str, function: &str) -> Record {
        let call = call_id(interface, function).unwrap();
        Record {
            time_ns: 1,
            call,
            outcome: Outcome::Ok,
            flags: TEXT | TRUNCATED,
            errno: 0,
            rule: 0,
            handle: 0,
            took_ns: 0,
            n_in: 0,
            n_out: 0,
        }
    }

    #[test]
    fn each_kind_of_text_has_its_own_class_and_the_record_says_which() {
        let dir = tempfile::tempdir().unwrap();
        let key = Arc::new(PrivacyKey::load(dir.path()).unwrap());
        let open = ("wasi_snapshot_preview1", "path_open");
        let load = ("wasi_ephemeral_nn", "load_by_name");
        let kept = |paths, graphs, (interface, function): (&str, &str)| {
            let mut record = record(interface, function);
            let text = Wording::new(Privacy { paths, graphs }, Arc::clone(&key)).apply(&mut record, Some(b"secret")).map(Cow::into_owned);
            (text, record.text_class(), record.flags & (TEXT | TRUNCATED))
        };
        let plain = (Some(b"secret".to_vec()), None, TEXT | TRUNCATED);
        let coded = |named| (Some(key.code(named, b"secret")), Some(TextClass::Hmac), TEXT | TRUNCATED);
        let gone = (None, Some(TextClass::Drop), 0);
        assert_eq!(kept(Class::Plain, Class::Drop, open), plain);
        assert_eq!(kept(Class::Drop, Class::Plain, load), plain);
        assert_eq!(kept(Class::Hmac, Class::Plain, open), coded(Named::Path));
        assert_eq!(kept(Class::Plain, Class::Hmac, load), coded(Named::Graph));
        assert_eq!(kept(Class::Drop, Class::Plain, open), gone);
        assert_eq!(kept(Class::Plain, Class::Drop, load), gone);
    }

    #[test]
    fn a_call_that_named_nothing_is_not_said_to_have_named_something() {
        let dir = tempfile::tempdir().unwrap();
        let wording = Wording::new(Privacy { paths: Class::Drop, graphs: Class::Hmac }, Arc::new(PrivacyKey::load(dir.path()).unwrap()));
        let mut record = Record { flags: 0, ..record("wasi_snapshot_preview1", "fd_read") };
        assert_eq!((wording.apply(&mut record, None), record.flags), (None, 0));
    }

    #[test]
    fn every_interface_of_models_is_known_as_one() {
        for interface in INTERFACES.iter().filter(|interface| ["nn", "language", "model"].iter().any(|word| interface.name.contains(word)))
        {
            let call = call_id(interface.name, interface.functions[0]).unwrap();
            assert_eq!(named(call), Named::Graph, "{}", interface.name);
        }
    }
}
