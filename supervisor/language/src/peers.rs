//! The workers that this host serves: one channel, one region, and the contexts opened over it.
//!
//! Runs in: language host. The main thread adds, the serving threads wait and take away.
//! Invariant: a peer is in the hands of one thread at a time, because its event is armed for one delivery and rearmed after the answer. Ready peers are served
//! in the order in which they became so, so whoever streams waits one step of each other.
//! Does not: hold the table's lock while anything is computed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::language::MAX_CONTEXTS;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::session::Session;

/// The most channels at once.
const MAX_PEERS: usize = 512;

/// One worker's instance, on its side of one graph.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) channel: Channel,
    pub(crate) region: SharedMemory,
    pub(crate) sessions: Mutex<Sessions>,
}

/// The contexts of one channel, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<u32, Session>);

impl Sessions {
    /// The lowest number that is free.
    pub(crate) fn free(&self) -> Option<u32> {
        (0..MAX_CONTEXTS).find(|number| !self.0.contains_key(number))
    }

    pub(crate) fn insert(&mut self, number: u32, session: Session) {
        self.0.insert(number, session);
    }

    pub(crate) fn get(&mut self, number: u32) -> Option<&mut Session> {
        self.0.get_mut(&number)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Session> {
        self.0.remove(&number)
    }
}

/// All peers.
#[derive(Debug)]
pub(crate) struct Peers {
    epoll: OwnedFd,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    peers: BTreeMap<u64, Arc<Peer>>,
    next: u64,
}

impl Peers {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, table: RwLock::default() })
    }

    /// Takes up a channel whose region is `len` bytes long.
    ///
    /// # Errors
    /// The region is not sealed or has another size, or there are too many channels.
    pub(crate) fn add(&self, socket: OwnedFd, region: OwnedFd, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // A peer that does not take its answers must not hold up the thread that sends them.
        rustix::io::ioctl_fionbio(&socket, true)?;
        let region = SharedMemory::map(region.as_fd(), len)?;
        let peer = Arc::new(Peer { channel: Channel::from_fd(socket), region, sessions: Mutex::default() });
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if table.peers.len() >= MAX_PEERS {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, format!("expected at most {MAX_PEERS} channels")));
        }
        let key = table.next;
        table.next += 1;
        epoll::add(&self.epoll, &peer.channel, EventData::new_u64(key), ARMED)?;
        table.peers.insert(key, peer);
        Ok(())
    }

    /// Waits for a peer that has something to say, and keeps it from all other threads until [`Peers::rearm`]. `None` if no peer has within `patience`.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> io::Result<Option<(u64, Arc<Peer>)>> {
        let mut space = Vec::with_capacity(1);
        let patience =
            patience.map(|patience| Timespec { tv_sec: 0, tv_nsec: patience.min(Duration::from_millis(999)).subsec_nanos().into() });
        loop {
            space.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut space), patience.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let Some(event) = space.first() else {
                if patience.is_some() {
                    return Ok(None);
                }
                continue;
            };
            let key = event.data.u64();
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(peer) = table.peers.get(&key) {
                return Ok(Some((key, Arc::clone(peer))));
            }
        }
    }

    /// Lets the next frame of this peer wake a thread.
    pub(crate) fn rearm(&self, key: u64, peer: &Peer) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, &peer.channel, EventData::new_u64(key), ARMED)?)
    }

    /// Lets go of a peer: its socket is closed, its region unmapped and its contexts freed once nobody holds it.
    pub(crate) fn remove(&self, key: u64) {
        let gone = self.table.write().unwrap_or_else(PoisonError::into_inner).peers.remove(&key);
        // Its contexts are freed after the table is free again.
        drop(gone);
    }
}

const ARMED: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);
