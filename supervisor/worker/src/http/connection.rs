//! One client's connection, as the daemon accepted it.
//!
//! Runs in: worker, on guest threads.
//! Invariant: no call here blocks the thread. It reads and writes, and nothing else: to end the connection is the daemon's part, which holds it too.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Buf as _;
use bytes::Bytes;
use edgeguard_http_head::Head;
use edgeguard_http_head::Refused;
use rustix::io::Errno;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::io::ReadBuf;
use tokio::io::unix::AsyncFd;

use crate::stdio;

/// A client that left in the middle of a head.
const BROKEN_OFF: Refused = Refused(400);

/// The connection, and what was read of it before its time.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: AsyncFd<Arc<OwnedFd>>,
    /// Read already, and to be read again.
    ahead: Bytes,
}

impl Connection {
    /// Takes the descriptor.
    ///
    /// # Errors
    /// What the kernel says of a descriptor that is no socket.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let fd = stdio::watch(Arc::new(fd), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { fd, ahead: Bytes::new() })
    }

    /// Reads the head of a request, which is still there to be read afterwards. `None`: the client left without a word.
    ///
    /// # Errors
    /// It cannot be read, or [`Refused`].
    pub async fn head(&mut self, most: usize, most_body: u64) -> io::Result<Option<Result<Head, Refused>>> {
        let mut read = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let count = self.read(&mut buffer).await?;
            if count == 0 {
                return Ok((!read.is_empty()).then_some(Err(BROKEN_OFF)));
            }
            read.extend_from_slice(buffer.get(..count).unwrap_or_default());
            match edgeguard_http_head::read(&read, most, most_body) {
                Ok(None) => {}
                Ok(Some(head)) => {
                    self.ahead = read.into();
                    return Ok(Some(Ok(head)));
                }
                Err(refused) => return Ok(Some(Err(refused))),
            }
        }
    }

    /// Does this until it can be done.
    fn attempt(
        &self,
        cx: &mut Context<'_>,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
        mut call: impl FnMut(&OwnedFd) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match call(self.fd.get_ref()) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => ready!(ready(cx))?,
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.has_remaining() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let room = buffer.initialize_unfilled();
        let waits = |cx: &mut Context<'_>| self.fd.poll_read_ready(cx).map_ok(|mut guard| guard.clear_ready());
        let count = ready!(self.attempt(cx, waits, |fd| rustix::io::read(fd.as_fd(), &mut *room)))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let waits = |cx: &mut Context<'_>| self.fd.poll_write_ready(cx).map_ok(|mut guard| guard.clear_ready());
        self.attempt(cx, waits, |fd| rustix::io::write(fd.as_fd(), bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing: the daemon does it, once it has heard how the invocation ended.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
