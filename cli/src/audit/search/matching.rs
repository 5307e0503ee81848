//! Whether an entry is what is looked for, and how much can be said before it is read.
//!
//! Runs in: command line.
//!
//! An answer is yes, no, or not known yet, and `and`, `or`, `not` keep that apart (Kleene's logic): so one function decides over an entry, over
//! what thousands of calls have in common, and over all calls there are.

use edgeguard_audit::Event;
use edgeguard_audit::Outcome;
use edgeguard_audit::scan::CallView;
use serde_json::Value;

use super::grammar::Class;
use super::grammar::Comparison;
use super::grammar::Expr;
use super::grammar::NumberField;
use super::grammar::TextField;

/// What is asked about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// Any call, before one is looked at.
    AnyCall,
    /// A call, or what calls have in common.
    Call(&'a CallView<'a>),
    /// Any event, or entry of the journal's own.
    AnyEvent,
    /// An event: its JSON, and its time.
    Event(&'a Event, &'a Value, u64),
    /// What the journal says of itself at a time.
    Journal(u64),
}

/// Whether it is what is looked for; `None` if that is not known yet.
pub(super) fn matches(expr: &Expr, subject: Subject<'_>) -> Option<bool> {
    match expr {
        Expr::And(parts) => fold(parts, subject, false),
        Expr::Or(parts) => fold(parts, subject, true),
        Expr::Not(inner) => matches(inner, subject).map(|yes| !yes),
        Expr::Since(time) => subject.time().map(|at| at >= *time),
        Expr::Until(time) => subject.time().map(|at| at < *time),
        Expr::Is(class) => subject.is(*class),
        Expr::Text(field, pattern) => subject.text(*field, &|text| pattern.fits(text)),
        Expr::Number(field, comparison, wanted) => subject.number(*field, &|number| match comparison {
            Comparison::Equal => number == *wanted,
            Comparison::Below => number < *wanted,
            Comparison::AtMost => number <= *wanted,
            Comparison::Above => number > *wanted,
            Comparison::AtLeast => number >= *wanted,
        }),
        Expr::Outcome(wanted) => match subject {
            Subject::AnyCall | Subject::AnyEvent => None,
            Subject::Call(call) => Some(call.record.outcome == *wanted),
            Subject::Event(event, ..) => Some(matches!(event, Event::Denied { .. }) && *wanted == Outcome::Denied),
            Subject::Journal(_) => Some(false),
        },
    }
}

/// The first part that is `decisive` decides; one that is not known leaves it open.
fn fold(parts: &[Expr], subject: Subject<'_>, decisive: bool) -> Option<bool> {
    let mut all = Some(!decisive);
    for part in parts {
        match matches(part, subject) {
            Some(answer) if answer == decisive => return Some(decisive),
            Some(_) => {}
            None => all = None,
        }
    }
    all
}

/// The times between which everything lies that is looked for.
pub(super) fn bounds(expr: &Expr) -> (u64, u64) {
    match expr {
        Expr::Since(time) => (*time, u64::MAX),
        Expr::Until(time) => (0, *time),
        Expr::And(parts) => parts.iter().map(bounds).fold((0, u64::MAX), |(a, b), (c, d)| (a.max(c), b.min(d))),
        Expr::Or(parts) => parts.iter().map(bounds).fold((u64::MAX, 0), |(a, b), (c, d)| (a.min(c), b.max(d))),
        _ => (0, u64::MAX),
    }
}

impl Subject<'_> {
    fn time(self) -> Option<u64> {
        match self {
            Self::Call(call) if call.whole => Some(call.time_real),
            Self::Event(_, _, time) | Self::Journal(time) => Some(time),
            Self::Call(_) | Self::AnyCall | Self::AnyEvent => None,
        }
    }

    fn is(self, class: Class) -> Option<bool> {
        match (self, class) {
            (Self::AnyCall | Self::Call(_), Class::Call) => Some(true),
            // A denied call is shown as the event that it is.
            (Self::AnyCall | Self::Call(_), Class::Event | Class::Journal | Class::Deny) => Some(false),
            (Self::AnyCall, _) => None,
            (Self::Call(call), Class::Error) => Some(!matches!(call.record.outcome, Outcome::Ok | Outcome::Denied)),
            (Self::Call(call), class) => Some(is_of(class, call.record.call.interface(), call.record.call.function())),
            (Self::AnyEvent, Class::Call | Class::Error) => Some(false),
            (Self::AnyEvent, _) => None,
            (Self::Event(..), Class::Event) | (Self::Journal(_), Class::Journal) => Some(true),
            (Self::Event(event, ..), Class::Deny) => Some(event.is_denial()),
            (Self::Event(Event::Denied { call, .. }, ..), class @ (Class::Fs | Class::Net | Class::Nn)) => {
                let (interface, function) = call.split_once('#').unwrap_or_default();
                Some(is_of(class, interface, function))
            }
            (Self::Event(..) | Self::Journal(_), _) => Some(false),
        }
    }

    /// Whether the field is there and its text passes.
    fn text(self, field: TextField, passes: &dyn Fn(&str) -> bool) -> Option<bool> {
        let call_passes = |whole: &str, function: &str| {
            passes(function) || passes(whole) || function.rsplit_once('.').is_some_and(|(_, method)| passes(method))
        };
        match self {
            Self::AnyCall if matches!(field, TextField::Kind | TextField::Code | TextField::Role) => Some(false),
            Self::AnyCall | Self::AnyEvent => None,
            Self::Journal(_) => Some(false),
            Self::Call(call) => Some(match field {
                TextField::Module => passes(call.source.module()),
                TextField::Instance => passes(&call.source.instance().to_string()),
                TextField::Call => call_passes(&call.record.call.to_string(), call.record.call.function()),
                TextField::Interface => passes(call.record.call.interface()),
                TextField::Text => call.text.is_some_and(|text| passes(&String::from_utf8_lossy(text))),
                TextField::Digest => passes(&call.source.module_sha256()),
                TextField::Kind | TextField::Code | TextField::Role => false,
            }),
            Self::Event(event, json, _) => {
                let (kind, fields) = parts(json);
                let own = |name: &str| fields.get(name).and_then(Value::as_str).is_some_and(passes);
                Some(match field {
                    TextField::Kind => passes(kind),
                    TextField::Module => event.module().is_some_and(passes),
                    TextField::Instance => own("instance"),
                    TextField::Text => own("text"),
                    TextField::Code => own("code"),
                    TextField::Role => own("role"),
                    TextField::Digest => own("digest") || own("sha256"),
                    TextField::Call | TextField::Interface => match event {
                        Event::Denied { call, .. } => {
                            let (interface, function) = call.split_once('#').unwrap_or_default();
                            if field == TextField::Interface { passes(interface) } else { call_passes(call, function) }
                        }
                        _ => false,
                    },
                })
            }
        }
    }

    fn number(self, field: NumberField, passes: &dyn Fn(u64) -> bool) -> Option<bool> {
        match self {
            Self::AnyCall if matches!(field, NumberField::User | NumberField::Pid) => Some(false),
            Self::AnyCall | Self::AnyEvent => None,
            Self::Journal(_) => Some(false),
            Self::Call(call) => {
                let record = call.record;
                match field {
                    NumberField::Out | NumberField::Took if !call.whole => None,
                    NumberField::Out => Some(passes(record.bytes_out().into())),
                    NumberField::Took => Some(passes(record.took_ns.into())),
                    NumberField::Errno => Some(passes(record.errno.into())),
                    NumberField::Handle => Some(passes(record.handle.into())),
                    NumberField::Rule => Some(passes(record.rule.into())),
                    NumberField::Ring => Some(passes(call.source.ring().into())),
                    NumberField::In => Some(passes(record.bytes_in().into())),
                    NumberField::User | NumberField::Pid => Some(false),
                }
            }
            Self::Event(_, json, _) => {
                let name = match field {
                    NumberField::Errno => "errno",
                    NumberField::Ring => "ring",
                    NumberField::User => "peer_uid",
                    NumberField::Pid => "pid",
                    NumberField::Took => "took_ns",
                    NumberField::Handle | NumberField::Rule | NumberField::In | NumberField::Out => return Some(false),
                };
                Some(parts(json).1.get(name).and_then(Value::as_u64).is_some_and(passes))
            }
        }
    }
}

/// An event's kind and its fields.
fn parts(json: &Value) -> (&str, &Value) {
    let event = json.as_object().and_then(|event| event.iter().next());
    event.map_or(("", &Value::Null), |(kind, fields)| (kind.as_str(), fields))
}

fn is_of(class: Class, interface: &str, function: &str) -> bool {
    let starts = |prefixes: &[&str], text: &str| prefixes.iter().any(|prefix| text.starts_with(prefix));
    match class {
        Class::Fs => interface.starts_with("wasi:filesystem/") || interface == PREVIEW1 && starts(&["fd_", "path_"], function),
        Class::Net => starts(&["wasi:sockets/", "wasi:http/"], interface) || interface == PREVIEW1 && function.starts_with("sock_"),
        Class::Nn => interface.starts_with("wasi:nn/") || interface.starts_with("edgeguard:language/") || interface == "wasi_ephemeral_nn",
        _ => false,
    }
}

const PREVIEW1: &str = "wasi_snapshot_preview1";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use edgeguard_audit::Record;
    use edgeguard_audit::Source;
    use edgeguard_audit::call_id;

    use super::super::grammar::parse;
    use super::*;

    fn asked(text: &str, subject: Subject<'_>) -> Option<bool> {
        matches(&parse(text).unwrap(), subject)
    }

    #[test]
    fn a_call_is_matched_by_each_of_its_fields() {
        let source = Source::new("voice-gate", "0199f1d2-7c00-7000-8000-000000000001".parse().unwrap(), [0x4f; 32], [2; 32]).on_ring(2);
        let record = Record {
            time_ns: 5,
            call: call_id("wasi:filesystem/types", "[method]descriptor.open-at").unwrap(),
            outcome: Outcome::Error,
            flags: 0,
            errno: 44,
            rule: 1,
            handle: 3,
            took_ns: 6_100,
            n_in: 10,
            n_out: 20,
        };
        let call = CallView { record: &record, time_real: 2_000_000_000, source: &source, text: Some(b"front/a.wav"), whole: true };
        for (text, expected) in [
            ("module=voice-gate", true),
            ("module!=voice-gate", false),
            ("instance=0199f1d2*", true),
            ("call=open-at", true),
            ("call=\"[method]descriptor.open-at\"", true),
            ("call=wasi:filesystem/types#*", true),
            ("call=path_open", false),
            ("interface=wasi:filesystem/types", true),
            ("text~front", true),
            ("text=*.wav", true),
            ("text=*.mp3", false),
            ("digest=4f4f*", true),
            ("kind=*", false),
            ("errno=44 and rule=1 and handle=3 and ring=2 and in=10 and out>=20", true),
            ("took>6us and took<6.2us", true),
            ("outcome=error", true),
            ("error fs call", true),
            ("net or nn or deny or event or journal", false),
            ("since=1970-01-01T00:00:02Z and until=1970-01-01T00:00:03Z", true),
            ("until=1970-01-01T00:00:02Z", false),
        ] {
            assert_eq!(asked(text, Subject::Call(&call)), Some(expected), "{text}");
        }
        let common = CallView { whole: false, ..call };
        assert_eq!(asked("module=voice-gate and took>1s", Subject::Call(&common)), None);
        assert_eq!(asked("module=camera and took>1s", Subject::Call(&common)), Some(false));
        assert_eq!(asked("module=voice-gate or since=2h", Subject::Call(&common)), Some(true));
    }

    #[test]
    fn what_calls_cannot_be_is_known_before_one_is_read() {
        for (text, expected) in [
            ("deny and module=voice-gate", Some(false)),
            ("kind=module-refused", Some(false)),
            ("module=voice-gate", None),
            ("not deny", Some(true)),
            ("deny or call=path_open", None),
            ("event and not since=2h", Some(false)),
        ] {
            assert_eq!(asked(text, Subject::AnyCall), expected, "{text}");
        }
        assert_eq!(asked("call since=2h", Subject::AnyEvent), Some(false));
    }

    #[test]
    fn an_event_is_matched_by_its_kind_and_its_fields() {
        let refused =
            Event::ModuleRefused { module: "camera".into(), code: "EG3006".into(), reason: "revoked".into(), digest: Some("4f2a".into()) };
        let json = serde_json::to_value(&refused).unwrap();
        for (text, expected) in [
            ("deny", true),
            ("kind=module-refused and module=camera", true),
            ("code=EG3006", true),
            ("digest=4f*", true),
            ("code=EG3001", false),
            ("user=0", false),
            ("fs", false),
        ] {
            assert_eq!(asked(text, Subject::Event(&refused, &json, 0)), Some(expected), "{text}");
        }
        let denied = Event::Denied {
            module: "camera".into(),
            instance: "0199".into(),
            ring: 1,
            call: "wasi_snapshot_preview1#path_open".into(),
            text: Some("/etc/shadow".into()),
            text_class: None,
            errno: 76,
            call_ns: 1,
            count: 1,
            last_ns: None,
        };
        let json = serde_json::to_value(&denied).unwrap();
        for text in ["deny fs", "outcome=denied", "call=path_open", "interface=wasi_snapshot_preview1", "text~shadow", "errno=76", "ring=1"]
        {
            assert_eq!(asked(text, Subject::Event(&denied, &json, 0)), Some(true), "{text}");
        }
    }

    #[test]
    fn bounds_hold_all_that_can_match() {
        let of = |text| bounds(&parse(text).unwrap());
        let second = 1_000_000_000;
        assert_eq!(of("since=1970-01-01T00:00:01Z and until=1970-01-01T00:00:03Z deny"), (second, 3 * second));
        assert_eq!(of("since=1970-01-01T00:00:01Z or deny"), (0, u64::MAX));
        assert_eq!(of("since=1970-01-01T00:00:01Z or since=1970-01-01T00:00:02Z"), (second, u64::MAX));
        assert_eq!(of("not since=1970-01-01T00:00:01Z"), (0, u64::MAX));
    }
}
