//! Syslog over TLS to a receiver that is slow, and reads on after the exporter has ended: what was closed in order arrives whole.
//!
//! Runs in: tests, with the real exporter. The receiver is the test's own, since no other can be told how slow to be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod house;

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use edgeguard_audit::encode::Form;
use house::Certificates;
use house::House;
use house::tls;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::StreamOwned;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

/// Takes one connection and stands still before the first byte, as long as the exporter waits for a farewell and longer; then reads little at a time, to the end.
/// Returns what came, and whether the end was said and not only met.
fn receiver(dir: &Path) -> (u16, JoinHandle<(Vec<u8>, bool)>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_file(dir.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    #[allow(clippy::disallowed_methods, reason = "the receiver of the test listens")]
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).unwrap();
        }
        // Behind the handshake come the tickets.
        while connection.wants_write() {
            connection.write_tls(&mut tcp).unwrap();
        }
        std::thread::sleep(STILL);
        let mut stream = StreamOwned::new(connection, tcp);
        let (mut found, mut buffer) = (Vec::new(), [0; 8192]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return (found, true),
                Ok(read) => found.extend_from_slice(&buffer[..read]),
                Err(_) => return (found, false),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    (port, thread)
}

/// The messages of a stream with octet counting, RFC 5425, without what stands before their JSON.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
        let text = std::str::from_utf8(&bytes[space + 1..space + 1 + length]).unwrap();
        messages.push(text[text.find('{').unwrap()..].to_owned());
        bytes = &bytes[space + 1 + length..];
    }
    messages
}

#[test]
fn a_receiver_that_is_slower_than_the_farewell_still_gets_everything() {
    let mut house = House::new();
    Certificates::write(house.dir.path());
    // More than one end's buffers hold, so that the exporter waits for the receiver; and some is under way when it has ended.
    house.write(6000);
    let (port, receiver) = receiver(house.dir.path());
    house.configure(&format!("[[syslog]]\nname = \"slow\"\naddress = \"localhost:{port}\"\n{}", tls(house.dir.path())));
    house.drain();
    let (bytes, said) = receiver.join().unwrap();
    assert!(said, "the end of the connection was not said");
    assert_eq!(messages(&bytes), house.lines(Form::default()));
}

/// Longer than the exporter waits after its farewell.
const STILL: Duration = Duration::from_secs(7);
