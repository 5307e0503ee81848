//! Standard input, output and error of one invocation: three pipes that came with it.
//!
//! Runs in: worker.
//! Invariant: no call here blocks the thread. What must wait, waits in the thread's runtime, where the deadline reaches it.
//! Output beyond its limit ends the guest, after what fits was written.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use edgeguard_wire::worker::Limit;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::IsTerminal;
use wasmtime_wasi::cli::StdinStream;
use wasmtime_wasi::cli::StdoutStream;
use wasmtime_wasi::p2::InputStream;
use wasmtime_wasi::p2::OutputStream;
use wasmtime_wasi::p2::Pollable;
use wasmtime_wasi::p2::StreamError;

use crate::deadline::Deadline;
use crate::limits::Stop;

/// The three descriptors of an invocation.
#[derive(Debug)]
pub struct Stdio {
    /// Read end.
    pub input: OwnedFd,
    /// Write end.
    pub output: OwnedFd,
    /// Write end.
    pub error: OwnedFd,
}

/// The most bytes that one read returns or one write takes.
const CHUNK: usize = 64 << 10;

/// A pipe, and what of the runtime it needs once it has to wait.
#[derive(Debug)]
struct Pipe {
    fd: Arc<OwnedFd>,
    /// Made at the first wait: most invocations never wait for their input.
    waiter: Mutex<Option<Arc<AsyncFd<Arc<OwnedFd>>>>>,
    interest: Interest,
}

impl Pipe {
    /// Makes the pipe non-blocking. It was made for this invocation, so nobody else reads or writes through it.
    fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { fd: Arc::new(fd), waiter: Mutex::new(None), interest })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether a read or write would do something now, if only to say that the other end is closed.
    fn is_ready(&self) -> bool {
        let events = if self.interest.is_readable() { PollFlags::IN } else { PollFlags::OUT };
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(rustix::event::poll(&mut [PollFd::new(&self.fd, events)], Some(&at_once)), Ok(0) | Err(Errno::INTR))
    }

    /// Waits until it is ready.
    async fn ready(&self) {
        while !self.is_ready() {
            let Some(waiter) = self.waiter() else { return };
            let Ok(mut guard) = waiter.ready(self.interest).await else { return };
            // What the runtime knows may be old: then it shall ask the kernel again.
            if !self.is_ready() {
                guard.clear_ready();
            }
        }
    }

    /// `None` for what cannot be waited for, such as a file: it is always ready.
    fn waiter(&self) -> Option<Arc<AsyncFd<Arc<OwnedFd>>>> {
        let mut waiter = lock(&self.waiter);
        if waiter.is_none() {
            *waiter = watch(Arc::clone(&self.fd), self.interest).ok().map(Arc::new);
        }
        waiter.clone()
    }
}

/// Makes the thread's runtime wait for a descriptor.
#[expect(deprecated, reason = "unsound only for a type that may close or change its descriptor, which an `Arc<OwnedFd>` never does")]
pub(crate) fn watch(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(fd, interest)
}

/// Standard input, as often as the guest asks for it.
#[derive(Debug, Clone)]
pub struct Input(Arc<Pipe>);

impl Input {
    /// Takes the read end.
    ///
    /// # Errors
    /// What the kernel says of a descriptor that is not open.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Pipe::new(fd, Interest::READABLE).map(|pipe| Self(Arc::new(pipe)))
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    /// For preview 3 alone, which this worker does not link: what is linked takes [`Self::p2_stream`].
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.0.ready().await;
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> Result<Bytes, StreamError> {
        let mut buffer = vec![0; size.min(CHUNK)];
        match rustix::io::read(self.0.fd(), &mut buffer) {
            Ok(0) if !buffer.is_empty() => Err(StreamError::Closed),
            Ok(read) => {
                buffer.truncate(read);
                Ok(buffer.into())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Bytes::new()),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Standard output or standard error, as often as the guest asks for it.
#[derive(Debug, Clone)]
pub struct Output {
    sink: Arc<Sink>,
}

#[derive(Debug)]
struct Sink {
    pipe: Pipe,
    /// Taken from the guest, not yet taken by the pipe.
    pending: Mutex<Bytes>,
    /// Bytes that output and error may still write together.
    left: Arc<AtomicU64>,
}

impl Output {
    /// Takes the write end. `left` is shared by the streams that have one limit together.
    ///
    /// # Errors
    /// What the kernel says of a descriptor that is not open.
    pub fn new(fd: OwnedFd, left: Arc<AtomicU64>) -> io::Result<Self> {
        let pipe = Pipe::new(fd, Interest::WRITABLE)?;
        Ok(Self { sink: Arc::new(Sink { pipe, pending: Mutex::new(Bytes::new()), left }) })
    }

    /// Writes for the guest, on its own thread and no longer than its deadline. Where nobody reads any more, what it writes is gone.
    ///
    /// # Errors
    /// The guest ends: it met its limit of output, or its deadline.
    pub fn write_out(&self, mut bytes: &[u8], deadline: Deadline) -> Result<(), Stop> {
        let fits = self.sink.take(bytes.len());
        let over = fits < bytes.len();
        bytes = bytes.get(..fits).unwrap_or_default();
        while !bytes.is_empty() {
            // What it wrote before goes first.
            let written = match self.sink.push() {
                Ok(true) => rustix::io::write(self.sink.pipe.fd(), bytes),
                Ok(false) => Err(Errno::AGAIN),
                Err(_) => break,
            };
            match written {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = deadline.left();
                    if left.is_zero() {
                        return Err(Stop(Limit::Deadline));
                    }
                    // Below a second at a time, so that no deadline is beyond what the clock can say.
                    let patience = Timespec { tv_sec: 0, tv_nsec: left.min(Duration::from_millis(999)).subsec_nanos().into() };
                    let _ = rustix::event::poll(&mut [PollFd::new(&self.sink.pipe.fd, PollFlags::OUT)], Some(&patience));
                }
                Err(_) => break,
            }
        }
        if over { Err(Stop(Limit::Output)) } else { Ok(()) }
    }

    /// Waits until all that the guest has written is in the pipe, or nobody reads it any more.
    pub async fn drained(&self) {
        while matches!(self.sink.push(), Ok(false)) {
            self.sink.pipe.ready().await;
        }
    }
}

impl Sink {
    /// Moves what is pending into the pipe, as far as it takes it. True when nothing is left.
    fn push(&self) -> Result<bool, StreamError> {
        let mut pending = lock(&self.pending);
        while !pending.is_empty() {
            match rustix::io::write(self.pipe.fd(), &pending) {
                Ok(written) => {
                    let written = written.min(pending.len());
                    drop(pending.split_to(written));
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    pending.clear();
                    return Err(failed(errno));
                }
            }
        }
        Ok(true)
    }

    /// Takes `wanted` bytes off the limit, or what is left of it.
    fn take(&self, wanted: usize) -> usize {
        let wanted = wanted as u64;
        let before = self.left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(wanted))).unwrap_or(0);
        usize::try_from(before.min(wanted)).unwrap_or(usize::MAX)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    /// For preview 3 alone, which this worker does not link: what is linked takes [`Self::p2_stream`].
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(Unlinked)
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.drained().await;
        self.sink.pipe.ready().await;
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        let fits = self.sink.take(bytes.len());
        let over = fits < bytes.len();
        bytes.truncate(fits);
        {
            let mut pending = lock(&self.sink.pending);
            // The permit came from another stream of the same output, or not at all.
            if !pending.is_empty() {
                let joined = [&**pending, &*bytes].concat();
                if joined.len() > 2 * CHUNK {
                    return Err(StreamError::trap("write without a permit"));
                }
                *pending = joined.into();
            } else {
                *pending = bytes;
            }
        }
        let pushed = self.sink.push();
        if over {
            return Err(StreamError::Trap(Stop(Limit::Output).into()));
        }
        pushed.map(drop)
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        self.sink.push().map(drop)
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(if self.sink.push()? { CHUNK } else { 0 })
    }
}

fn failed(errno: Errno) -> StreamError {
    match errno {
        Errno::PIPE | Errno::CONNRESET => StreamError::Closed,
        other => StreamError::LastOperationFailed(io::Error::from(other).into()),
    }
}

/// Takes nothing: nobody links the interface that would write here.
struct Unlinked;

impl tokio::io::AsyncWrite for Unlinked {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A poisoned lock means that a thread panicked between two plain moves of bytes; they are still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
