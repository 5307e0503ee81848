//! `[http]`: where a module that serves is reached, and what its clients may ask.
//!
//! Runs in: daemon and command line.
//! Does not: open a socket. Whether the address can be had is for the daemon to find out.

use core::net::SocketAddr;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use crate::bounds;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::document::Found;
use crate::document::Table;
use crate::document::shorten;
use crate::names::Principal;
use crate::paths;
use crate::policy::Mode;
use crate::resolve::Resolver;

/// How a module serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where clients reach it.
    pub listen: Listen,
    /// Who may connect to a Unix socket, besides root and the daemon's own user; without a list whoever the host's file lets invoke modules. Of a port, none:
    /// nobody knows who connects.
    pub clients: Option<Vec<Principal>>,
    /// Connections at once; those that wait for an instance count.
    pub connections: u32,
    /// Requests in any minute, after as many at once: each leaves two events in the journal, and those are never deleted.
    pub requests_per_minute: u32,
    /// Bytes of a request's head.
    pub request_head: u64,
    /// Bytes of a request's body.
    pub request_body: u64,
    /// Bytes of an answer's body.
    pub response_body: u64,
    /// How long a client may take for the head of its request.
    pub read_timeout: Duration,
}

/// An address that the daemon listens at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listen {
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

impl Listen {
    /// As a policy writes it.
    ///
    /// # Errors
    /// What is wrong with it, for a label.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            // sockaddr_un(7): 108 bytes, the terminating zero included.
            return match path.len() {
                108.. => Err("a socket's path is at most 107 bytes long"),
                _ if !path.starts_with('/') => Err("`unix:` is followed by a whole path, from `/`"),
                _ => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        let address: SocketAddr = text.parse().map_err(|_| "neither `unix:` and a path, nor an IP address and a port")?;
        if address.port() == 0 { Err("port 0 is another one each time") } else { Ok(Self::Tcp(address)) }
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().is_loopback(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(feature = "tools")]
impl Http {
    /// In words, behind "answer ".
    pub(crate) fn words(&self) -> String {
        let [head, body, answer] = [self.request_head, self.request_body, self.response_body].map(crate::units::show_size);
        let (connections, requests) = (self.connections, self.requests_per_minute);
        let who = match (&self.listen, &self.clients) {
            (Listen::Tcp(_), _) => "of whoever reaches it".to_owned(),
            (Listen::Unix(_), None) => "of those who may invoke modules".to_owned(),
            (Listen::Unix(_), Some(list)) if list.is_empty() => "of root and the daemon's user alone".to_owned(),
            (Listen::Unix(_), Some(list)) => {
                format!("of root and {}", list.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", "))
            }
        };
        format!(
            "HTTP requests {who} at `{}`, up to {requests} in a minute and of {connections} clients at once, with heads of up to {head}, bodies of up to {body} and answers of up to {answer}",
            self.listen
        )
    }
}

/// `[http]`, and where its address stands.
pub(crate) type Placed = (Http, Range<usize>);

impl Resolver<'_> {
    /// `[http]` of a module that is run in this mode: there in `http`, and nowhere else.
    pub(crate) fn http(&mut self, root: &Table<'_>, mode: Option<(Mode, Range<usize>)>) -> Option<Option<Placed>> {
        let section = root.section("http");
        match (mode, section) {
            (None, section) => {
                // Whether it belongs here is not known; what is wrong within it is.
                section.map(|table| self.listener(&table));
                None
            }
            (Some((Mode::Command, _)), None) => Some(None),
            (Some((Mode::Http, _)), Some(table)) => self.listener(&table).map(Some),
            (Some((Mode::Http, mode)), None) => {
                let help = "add a section `[http]` with `listen = \"unix:/run/edgeguard/http/NAME.sock\"`";
                self.report(Code::NoListener, "module is to serve, and nothing says where", &mode, "needs a section `[http]`", help);
                None
            }
            (Some((Mode::Command, mode)), Some(table)) => {
                let message = "`[http]` has no meaning with `mode = \"command\"`";
                let diagnostic = Diagnostic::new(Code::Misplaced, message).at(self.source, table.span, "a command has no clients");
                let help = "write `mode = \"http\"`, or remove the section";
                self.found.push(diagnostic.also(self.source, mode, "run as a command").help(help));
                None
            }
        }
    }

    fn listener(&mut self, table: &Table<'_>) -> Option<Placed> {
        let listen = table.text("listen").and_then(|text| self.listen(&text));
        let clients = if table.has("clients") { self.principals(table, "clients").map(Some) } else { Some(None) };
        if let (Some(Found { value: Listen::Tcp(_), .. }), Some(span)) = (&listen, table.span_of("clients")) {
            let help = "remove the key, or listen at a Unix socket, where the kernel says who connects";
            self.report(Code::Misplaced, "`clients` has no meaning for a port", &span, "nobody knows the users behind an address", help);
        }
        let connections = self.count(table, "connections", bounds::CONNECTIONS, Some(bounds::DEFAULT_CONNECTIONS));
        let requests = self.count(table, "requests-per-minute", bounds::REQUESTS_PER_MINUTE, Some(bounds::DEFAULT_REQUESTS_PER_MINUTE));
        let mut size =
            |key, bounds, default| if table.has(key) { self.size(table, key, bounds).map(|size| size.value) } else { Some(default) };
        let request_head = size("request-head", bounds::REQUEST_HEAD, bounds::DEFAULT_REQUEST_HEAD);
        let request_body = size("request-body", bounds::HTTP_BODY, bounds::DEFAULT_REQUEST_BODY);
        let response_body = size("response-body", bounds::HTTP_BODY, bounds::DEFAULT_RESPONSE_BODY);
        let read_timeout = match table.has("read-timeout") {
            true => self.duration(table, "read-timeout", bounds::READ_TIMEOUT).map(|found| found.value),
            false => Some(bounds::DEFAULT_READ_TIMEOUT),
        };
        let listen = listen?;
        let http = Http {
            listen: listen.value,
            clients: clients?,
            connections: connections?.value,
            requests_per_minute: requests?.value,
            request_head: request_head?,
            request_body: request_body?,
            response_body: response_body?,
            read_timeout: read_timeout?,
        };
        Some((http, listen.span))
    }

    fn listen(&mut self, text: &Found<&str>) -> Option<Found<Listen>> {
        let listen = match Listen::parse(text.value) {
            Ok(listen) => listen,
            Err(why) => {
                let message = format!("`{}` is no address to listen at", shorten(text.value));
                let help = "write `\"unix:/run/edgeguard/http/NAME.sock\"`, or an address of this machine as `\"127.0.0.1:8080\"` or `\"[::1]:8080\"`";
                self.report(Code::Listen, message, &text.span, why, help);
                return None;
            }
        };
        if let Listen::Unix(path) = &listen {
            let path = Found { value: path.to_str()?, span: text.span.clone() };
            paths::absolute("path of the socket", Some(path), self.source, self.found)?;
        }
        if !listen.is_local() {
            let message = "module is reached from other machines, without encryption";
            let help = "listen at `127.0.0.1`, `[::1]` or a Unix socket, and let a proxy that speaks TLS stand before it";
            self.report(Code::WideListener, message, &text.span, "not an address of this machine alone", help);
        }
        Some(Found { value: listen, span: text.span.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_s_path_or_an_ip_address_with_a_port() {
        for text in ["unix:/run/edgeguard/http/a.sock", "127.0.0.1:8080", "[::1]:80", "0.0.0.0:1"] {
            assert_eq!(Listen::parse(text).map(|listen| listen.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "8080",
            ":8080",
            "localhost:8080",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "::1:80",
            "unix:",
            "unix:a",
            "tcp:127.0.0.1:1",
        ] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
        assert!(Listen::parse(&format!("unix:/{}", "a".repeat(106))).is_ok());
        assert!(Listen::parse(&format!("unix:/{}", "a".repeat(107))).is_err());
    }
}
