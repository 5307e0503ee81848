//! One end of a `SOCK_SEQPACKET` socket pair: whole frames, with file descriptors beside them (`unix(7)`, `SCM_RIGHTS`).
//!
//! Runs in: every process of the supervisor.
//! Invariant: a frame that is too long, carries too many descriptors, or does not parse is an error, never a part of a frame.

use std::cell::RefCell;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::ReturnFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame, in bytes. Well under the default socket buffer, so a frame is never refused for want of room in an idle socket.
pub const MAX_FRAME: usize = 64 * 1024;

/// The most descriptors beside one frame. The kernel's own limit is 253 (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 192;

/// Why a frame did not pass.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side closed its end, or its process is gone.
    #[error("the peer closed the channel")]
    Closed,
    /// Nothing arrived in time.
    #[error("no frame arrived within {0:?}")]
    TimedOut(Duration),
    /// The frame, or its descriptors, did not fit.
    #[error("frame refused: longer than {MAX_FRAME} bytes or more than {MAX_FDS} descriptors")]
    TooLarge,
    /// The bytes are no frame of this dialogue.
    #[error("frame does not parse")]
    Malformed(#[source] postcard::Error),
    /// The kernel refused the call.
    #[error("socket call failed")]
    Io(#[from] Errno),
}

/// One end of a socket pair that carries frames.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Takes a socket that another process made and passed on.
    #[must_use]
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Makes both ends.
    ///
    /// # Errors
    /// What `socketpair(2)` says.
    pub fn pair() -> Result<(Self, Self), ChannelError> {
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::from_fd(ours), Self::from_fd(theirs)))
    }

    /// Gives the socket up.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Sends one frame with the descriptors beside it. The descriptors are duplicated by the kernel; ours stay open.
    ///
    /// # Errors
    /// [`ChannelError::TooLarge`] before anything is sent; [`ChannelError::Closed`] when the peer is gone.
    pub fn send<T: Serialize>(&self, frame: &T, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let bytes = postcard::to_stdvec(frame).map_err(ChannelError::Malformed)?;
        if bytes.len() > MAX_FRAME || fds.len() > MAX_FDS {
            return Err(ChannelError::TooLarge);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(ChannelError::TooLarge);
        }
        let iov = [IoSlice::new(&bytes)];
        loop {
            match rustix::net::sendmsg(&self.socket, &iov, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Waits for one frame.
    ///
    /// # Errors
    /// [`ChannelError::Malformed`] or [`ChannelError::TooLarge`] mean that the peer misbehaved: end the dialogue.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        self.receive(RecvFlags::empty())
    }

    /// Takes a frame that has already arrived; `Ok(None)` when there is none.
    ///
    /// # Errors
    /// As [`Channel::recv`].
    pub fn try_recv<T: DeserializeOwned>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        match self.receive(RecvFlags::DONTWAIT) {
            Ok(frame) => Ok(Some(frame)),
            Err(ChannelError::Io(Errno::AGAIN)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for one frame, `limit` at most.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Channel::recv`].
    pub fn recv_within<T: DeserializeOwned>(&self, limit: Duration) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        self.recv_eagerly(limit, Duration::ZERO)
    }

    /// As [`Channel::recv_within`], but asks again and again for as long as `eager` before it sleeps. For an answer that is expected sooner than a sleeping
    /// thread wakes, which takes tens of microseconds where the processor has to be woken too.
    ///
    /// # Errors
    /// As [`Channel::recv_within`].
    pub fn recv_eagerly<T: DeserializeOwned>(&self, limit: Duration, eager: Duration) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let begun = Instant::now();
        loop {
            if let Some(frame) = self.try_recv()? {
                return Ok(frame);
            }
            let spent = begun.elapsed();
            let left = limit.saturating_sub(spent);
            if left.is_zero() {
                return Err(ChannelError::TimedOut(limit));
            }
            if spent < eager {
                // Where processors are scarce, the peer may be waiting for this very one.
                std::thread::yield_now();
            } else {
                self.wait_readable(left)?;
            }
        }
    }

    /// Waits until a frame or the end of the channel is there to be read, `limit` at most.
    ///
    /// # Errors
    /// What `poll(2)` says; an interrupted wait is no error.
    pub fn wait_readable(&self, limit: Duration) -> Result<(), ChannelError> {
        let timeout = Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive<T: DeserializeOwned>(&self, flags: RecvFlags) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        BUFFER.with_borrow_mut(|bytes| self.receive_into(bytes, flags))
    }

    fn receive_into<T: DeserializeOwned>(&self, bytes: &mut Vec<u8>, flags: RecvFlags) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        // Zeroed once for each thread: what an earlier frame left behind is never looked at, because only `message.bytes` of it are.
        bytes.resize(MAX_FRAME, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut reset = false;
        let message = loop {
            let mut iov = [IoSliceMut::new(bytes)];
            match rustix::net::recvmsg(&self.socket, &mut iov, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message,
                Err(Errno::INTR) => {}
                // The peer is gone and had not read all that was sent to it. The kernel says so once, before what the peer sent: its last words come next.
                Err(Errno::CONNRESET) if !reset => reset = true,
                Err(Errno::CONNRESET) => return Err(ChannelError::Closed),
                Err(errno) => return Err(errno.into()),
            }
        };
        // Taken in any case: descriptors of a refused frame are closed here, not leaked.
        let fds: Vec<OwnedFd> = ancillary
            .drain()
            .filter_map(|part| match part {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        // The buffer's alignment leaves room for one descriptor more than it was made for, so the count is looked at too.
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || fds.len() > MAX_FDS {
            return Err(ChannelError::TooLarge);
        }
        // An empty datagram is no frame of ours, so nothing read means the end.
        if message.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        let frame = bytes.get(..message.bytes).unwrap_or_default();
        let (value, rest) = postcard::take_from_bytes(frame).map_err(ChannelError::Malformed)?;
        if !rest.is_empty() {
            return Err(ChannelError::Malformed(postcard::Error::DeserializeBadEncoding));
        }
        Ok((value, fds))
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// For readiness only: whoever waits on the number borrows the channel.
impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_frame_arrives_whole_with_its_descriptors() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        ours.send(&("hello", 7u32), &[writer.as_fd()]).unwrap();
        let ((text, number), fds): ((String, u32), _) = theirs.recv().unwrap();
        assert_eq!((text.as_str(), number, fds.len()), ("hello", 7, 1));
        rustix::io::write(&fds[0], b"x").unwrap();
        let mut byte = [0; 1];
        rustix::io::read(&reader, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_closed_peer_is_closed_and_not_an_empty_frame() {
        let (ours, theirs) = Channel::pair().unwrap();
        drop(theirs);
        assert!(matches!(ours.recv::<u8>(), Err(ChannelError::Closed)));
        assert!(matches!(ours.send(&1u8, &[]), Err(ChannelError::Closed)));
    }

    #[test]
    fn the_last_words_of_a_peer_that_read_nothing_are_heard() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(&1u8, &[]).unwrap();
        theirs.send(&2u8, &[]).unwrap();
        drop(theirs);
        assert_eq!(ours.recv::<u8>().unwrap().0, 2);
        assert!(matches!(ours.recv::<u8>(), Err(ChannelError::Closed)));
    }

    #[test]
    fn an_oversized_frame_is_refused_on_both_sides() {
        let (ours, theirs) = Channel::pair().unwrap();
        assert!(matches!(ours.send(&vec![0u8; MAX_FRAME + 1], &[]), Err(ChannelError::TooLarge)));
        rustix::net::send(&ours, &vec![1u8; MAX_FRAME + 1], SendFlags::empty()).unwrap();
        assert!(matches!(theirs.recv::<Vec<u8>>(), Err(ChannelError::TooLarge)));
    }

    #[test]
    fn more_descriptors_than_allowed_are_refused_and_closed() {
        let (ours, theirs) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let many: Vec<BorrowedFd<'_>> = (0..MAX_FDS + 1).map(|_| writer.as_fd()).collect();
        assert!(matches!(ours.send(&0u8, &many), Err(ChannelError::TooLarge)));
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&many)));
        rustix::net::sendmsg(&ours, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::empty()).unwrap();
        assert!(matches!(theirs.recv::<u8>(), Err(ChannelError::TooLarge)));
        drop(writer);
        // All copies are closed, so the reader sees the end of the pipe.
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn trailing_bytes_are_malformed() {
        let (ours, theirs) = Channel::pair().unwrap();
        rustix::net::send(&ours, &[1, 2], SendFlags::empty()).unwrap();
        assert!(matches!(theirs.recv::<u8>(), Err(ChannelError::Malformed(_))));
    }

    #[test]
    fn a_wait_ends_at_its_limit() {
        let (ours, _theirs) = Channel::pair().unwrap();
        assert!(matches!(ours.recv_within::<u8>(Duration::from_millis(5)), Err(ChannelError::TimedOut(_))));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8.., 1..512)) {
            let (ours, theirs) = Channel::pair().unwrap();
            rustix::net::send(&ours, &bytes, SendFlags::empty()).unwrap();
            let _ = theirs.try_recv::<crate::worker::FromWorker>();
            rustix::net::send(&ours, &bytes, SendFlags::empty()).unwrap();
            let _ = theirs.try_recv::<crate::worker::ToWorker>();
            rustix::net::send(&ours, &bytes, SendFlags::empty()).unwrap();
            let _ = theirs.try_recv::<crate::graph::FromGraph>();
            rustix::net::send(&ours, &bytes, SendFlags::empty()).unwrap();
            let _ = theirs.try_recv::<crate::tensor::Reply>();
        }
    }
}
