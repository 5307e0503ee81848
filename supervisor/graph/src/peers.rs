//! The workers that this host serves: one channel and one region each.
//!
//! Runs in: graph host. The main thread adds, the serving threads wait and take away.
//! Invariant: a peer is in the hands of one thread at a time, because its event is armed for one delivery and rearmed after the reply.
//! Does not: hold a lock while anything is computed; the table is locked for one look-up.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;
use std::time::Instant;

use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

/// The most channels at once.
const MAX_PEERS: usize = 512;

/// One worker's instance, on its side of one graph.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) channel: Channel,
    pub(crate) region: SharedMemory,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Peers {
    epoll: OwnedFd,
    table: RwLock<Table>,
    /// Held by the one thread that waits without sleeping.
    awake: Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    peers: BTreeMap<u64, Arc<Peer>>,
    next: u64,
}

impl Peers {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, table: RwLock::default(), awake: Mutex::default() })
    }

    /// Takes up a channel whose region is `len` bytes long.
    ///
    /// # Errors
    /// The region is not sealed or has another size, or there are too many channels.
    pub(crate) fn add(&self, socket: OwnedFd, region: OwnedFd, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        // A peer that does not take its replies must not hold up the thread that sends them.
        rustix::io::ioctl_fionbio(&socket, true)?;
        let peer = Arc::new(Peer { channel: Channel::from_fd(socket), region: SharedMemory::map(region.as_fd(), len)? });
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

    /// Waits for a peer that has something to say, and keeps it from all other threads until [`Peers::rearm`]. For as long as `eager` it asks without
    /// sleeping, unless another thread does so already: a guest that streams through a small model comes back sooner than a sleeping thread wakes.
    pub(crate) fn wait(&self, eager: Duration) -> io::Result<(u64, Arc<Peer>)> {
        let mut space = Vec::with_capacity(1);
        let begun = Instant::now();
        let mut awake = if eager.is_zero() { None } else { self.awake.try_lock().ok() };
        loop {
            space.clear();
            if begun.elapsed() >= eager {
                awake = None;
            }
            let at_once = awake.is_some().then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut space), at_once.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let Some(event) = space.first() else {
                // Where processors are scarce, the peer may be waiting for this very one.
                std::thread::yield_now();
                continue;
            };
            let key = event.data.u64();
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(peer) = table.peers.get(&key) {
                return Ok((key, Arc::clone(peer)));
            }
        }
    }

    /// Lets the next frame of this peer wake a thread.
    pub(crate) fn rearm(&self, key: u64, peer: &Peer) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, &peer.channel, EventData::new_u64(key), ARMED)?)
    }

    /// Lets go of a peer: its socket is closed and its region unmapped once nobody holds it.
    pub(crate) fn remove(&self, key: u64) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).peers.remove(&key);
    }
}

const ARMED: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);
