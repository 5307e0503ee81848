//! What the service manager is told, over a socket that was opened before the process was confined.
//!
//! Runs in: exporter.
//! Source: `sd_notify(3)`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

/// The service manager, if one waits.
#[derive(Debug)]
pub struct Notify(Option<UnixDatagram>);

impl Notify {
    /// From the environment. Nobody waits if there is no such socket.
    #[must_use]
    pub fn open() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        let name = name.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(std::ffi::OsStr::new(&*String::from_utf8_lossy(name))),
        };
        let connected = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            Ok(socket)
        });
        Self(connected.ok())
    }

    /// Confined, and about to deliver.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, text: &str) {
        self.say(&format!("STATUS={}", text.replace('\n', "; ")));
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.0 {
            // A manager that does not listen is not a reason to stop.
            let _ = socket.send(text.as_bytes());
        }
    }
}
