//! An entry as a syslog message.
//!
//! Runs in: exporter.
//! Does not: send a byte-order mark, although RFC 5424 wants one before UTF-8: what parses JSON at the other end does not.

use edgeguard_audit::encode::Encoded;
use edgeguard_audit::rfc3339;

/// RFC 5424's facility 13, "log audit".
const FACILITY: u8 = 13;

fn priority(entry: &Encoded) -> u8 {
    FACILITY * 8 + entry.level.syslog()
}

/// RFC 5424: `<PRI>1 TIMESTAMP HOSTNAME edgeguard - MSGID - JSON`.
#[must_use]
pub fn rfc5424(entry: &Encoded, host: &str) -> String {
    let time = rfc3339(entry.time_ns);
    format!("<{}>1 {time} {} edgeguard - {} - {}", priority(entry), field(host, 255), field(&entry.code, 32), entry.line)
}

/// As the C library writes it to `/dev/log`, without a time: local receivers take their own, and the JSON has the entry's.
#[must_use]
pub fn local(entry: &Encoded) -> String {
    format!("<{}>edgeguard: {}", priority(entry), entry.line)
}

/// RFC 6587's octet counting, which RFC 5425 demands.
#[must_use]
pub fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// Printable ASCII of a bounded length, or `-`.
fn field(text: &str, most: usize) -> &str {
    let good = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good { text } else { "-" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgeguard_audit::encode::Level;

    fn entry(level: Level, code: &str) -> Encoded {
        Encoded { uid: "u".into(), code: code.into(), time_ns: 1_764_000_000_123_456_789, level, line: "{\"a\":\"ü\"}".into() }
    }

    #[test]
    fn a_message_has_its_header() {
        let found = rfc5424(&entry(Level::Medium, "denied"), "gateway-7");
        assert_eq!(found, "<108>1 2025-11-24T16:00:00.123456Z gateway-7 edgeguard - denied - {\"a\":\"ü\"}");
        assert_eq!(local(&entry(Level::High, "x")), "<106>edgeguard: {\"a\":\"ü\"}");
    }

    #[test]
    fn the_count_is_of_octets() {
        assert_eq!(counted("ü"), "2 ü");
    }

    #[test]
    fn what_would_break_the_header_is_left_out_of_it() {
        let long = "h".repeat(256);
        for host in ["", "a b", "a\nb", "gerät", long.as_str()] {
            assert!(rfc5424(&entry(Level::Informational, "a b"), host).contains("Z - edgeguard - - - {"), "{host}");
        }
    }
}
