//! Modules that serve HTTP: the daemon listens and accepts, the module's worker does everything else.
//!
//! Runs in: daemon.
//! Invariant: not a byte that a client sent is interpreted here. A connection is passed on to the confined worker, and what it sends beyond its answer is
//! thrown away unread. Where no instance can be had, the client is told so by one of a few constant answers.

mod address;
mod client;
mod lines;
mod rate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use edgeguard_policy::Listen;

pub use self::address::ListenError;
pub use self::address::Sockets;
pub use self::address::clear;

use self::address::Socket;
use self::client::Client;
use self::client::Open;
use self::lines::Lines;
use self::rate::Rate;
use crate::modules::Modules;

/// Everything that listens, by its address.
#[derive(Debug)]
pub struct Services {
    /// Opened before this program by the service manager.
    inherited: Sockets,
    open: Mutex<BTreeMap<Listen, Service>>,
}

/// One address that is listened at.
#[derive(Debug)]
struct Service {
    /// Whose clients these are, as the policies in force have it.
    module: Arc<Mutex<String>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A socket that listens already, and answers nobody yet.
#[derive(Debug)]
pub struct Ready(Option<Socket>);

impl Services {
    /// Nothing listens yet.
    #[must_use]
    pub fn new(inherited: Sockets) -> Self {
        Self { inherited, open: Mutex::default() }
    }

    /// Sees to it that the address is listened at, before its module is in force: so a module whose address cannot be had is refused, and is not merely
    /// unreachable. A socket that is open already stays open.
    ///
    /// # Errors
    /// [`ListenError`]
    pub fn prepare(&self, listen: &Listen) -> Result<Ready, ListenError> {
        if self.lock().contains_key(listen) {
            return Ok(Ready(None));
        }
        self.inherited.take(listen).map_or_else(|| Socket::bind(listen), Ok).map(|socket| Ready(Some(socket)))
    }

    /// From now on exactly these are served. What is not among them is closed; what is, goes on with the socket that it has.
    pub fn serve(&self, modules: &Arc<Modules>, wanted: BTreeMap<Listen, (String, Ready)>) {
        let mut open = self.lock();
        open.retain(|listen, _| wanted.contains_key(listen));
        for (listen, (name, Ready(socket))) in wanted {
            match (open.get(&listen), socket) {
                (Some(service), _) => *lock(&service.module) = name,
                (None, Some(socket)) => {
                    tracing::info!(module = name, %listen, "listening");
                    let module = Arc::new(Mutex::new(name));
                    let accepting = tokio::spawn(accept(socket, listen.to_string(), Arc::clone(&module), Arc::downgrade(modules)));
                    open.insert(listen, Service { module, accepting });
                }
                // It was open when it was prepared, and only this function closes.
                (None, None) => tracing::error!(module = name, %listen, "the socket is gone"),
            }
        }
    }

    /// Closes everything.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Listen, Service>> {
        lock(&self.open)
    }
}

/// Accepts until it is aborted; then the socket is closed, and a Unix socket's path is removed with it.
async fn accept(socket: Socket, listener: String, module: Arc<Mutex<String>>, modules: Weak<Modules>) {
    let (open, rate, lines) = (Arc::<Open>::default(), Arc::<Mutex<Rate>>::default(), Arc::<Lines>::default());
    loop {
        match socket.accept().await {
            Ok((connection, peer)) => {
                let Some(modules) = modules.upgrade() else { return };
                let name = lock(&module).clone();
                let client = Client { modules, module: name, connection, peer, listener: listener.clone() };
                tokio::spawn(client.serve(Arc::clone(&open), Arc::clone(&rate), Arc::clone(&lines)));
            }
            Err(error) => {
                tracing::error!(listener, %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// After an error of accept(2), such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
