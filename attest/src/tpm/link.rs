//! The way to a TPM: a character device of the kernel, or the Unix socket of an emulator.
//!
//! Runs in: daemon, CLI.
//! Does not: interpret anything but a response's size, which it bounds, nor wait without end for a socket. The kernel bounds its own device's time.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wire::HEADER;
use super::wire::MAX_MESSAGE;

/// How long a socket may take for one command. A TPM makes no key here; the slowest of the commands takes some 100 ms.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a TPM is not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The system said no.
    #[error("cannot {step} it")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that is no TPM.
    #[error("expected a character device such as `/dev/tpmrm0`, or a socket; found another kind of file")]
    Kind,
    /// A response whose size cannot be.
    #[error("expected a response of {HEADER} to {MAX_MESSAGE} bytes, found one that says {found}")]
    Size {
        /// What its header says, or how many bytes came.
        found: u64,
    },
}

fn io(step: &'static str) -> impl FnOnce(io::Error) -> LinkError {
    move |source| LinkError::Io { step, source }
}

#[derive(Debug)]
pub(super) enum Link {
    Device(File),
    Socket(UnixStream),
}

impl Link {
    pub(super) fn open(path: &Path) -> Result<Self, LinkError> {
        let kind = std::fs::metadata(path).map_err(io("find"))?.file_type();
        if kind.is_socket() {
            let socket = UnixStream::connect(path).map_err(io("connect to"))?;
            socket.set_read_timeout(Some(PATIENCE)).and_then(|()| socket.set_write_timeout(Some(PATIENCE))).map_err(io("set up"))?;
            return Ok(Self::Socket(socket));
        }
        if !kind.is_char_device() {
            return Err(LinkError::Kind);
        }
        Ok(Self::Device(OpenOptions::new().read(true).write(true).open(path).map_err(io("open"))?))
    }

    /// One command and its whole response. After an error the link is to be dropped.
    pub(super) fn transact(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        match self {
            Self::Device(file) => exchange(file, command),
            Self::Socket(socket) => exchange(socket, command),
        }
    }
}

/// Written at once, because a TPM device takes each write for a command; read in pieces, because a socket may give it so.
/// The buffer is as large as a response can be: before Linux 4.20 the device forgets what one read does not take.
fn exchange(stream: &mut (impl Read + Write), command: &[u8]) -> Result<Vec<u8>, LinkError> {
    stream.write_all(command).map_err(io("write to"))?;
    let mut buffer = [0; MAX_MESSAGE];
    let mut have = 0;
    loop {
        let room = buffer.get_mut(have..).filter(|room| !room.is_empty()).ok_or(LinkError::Size { found: MAX_MESSAGE as u64 })?;
        match stream.read(room) {
            Ok(0) => return Err(LinkError::Io { step: "read from", source: io::ErrorKind::UnexpectedEof.into() }),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(LinkError::Io { step: "read from", source: error }),
        }
        let read = buffer.get(..have).unwrap_or_default();
        let Some(size) = read.get(2..6).and_then(|size| <[u8; 4]>::try_from(size).ok()).map(u32::from_be_bytes) else { continue };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(HEADER..=MAX_MESSAGE).contains(&size) || have > size {
            return Err(LinkError::Size { found: size.max(have) as u64 });
        }
        if have == size {
            return Ok(read.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// A TPM that says what it likes, in pieces.
    struct Hostile {
        answer: Vec<u8>,
        piece: usize,
    }

    impl Read for Hostile {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let count = self.piece.min(room.len()).min(self.answer.len());
            room[..count].copy_from_slice(&self.answer[..count]);
            self.answer.drain(..count);
            Ok(count)
        }
    }

    impl Write for Hostile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(answer: &[u8], piece: usize) -> Result<Vec<u8>, LinkError> {
        exchange(&mut Hostile { answer: answer.to_vec(), piece }, &[])
    }

    #[test]
    fn a_response_in_pieces_is_put_together() {
        let whole = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 7];
        for piece in 1..=12 {
            assert_eq!(answer(&whole, piece).unwrap(), whole);
        }
    }

    #[test]
    fn a_response_of_an_impossible_size_is_refused() {
        for size in [0_u32, 9, 4097, u32::MAX] {
            let mut bytes = vec![0x80, 1];
            bytes.extend(size.to_be_bytes());
            bytes.extend([0; 4]);
            assert!(matches!(answer(&bytes, 100), Err(LinkError::Size { .. })), "{size}");
        }
        let more = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0, 9];
        assert!(matches!(answer(&more, 100), Err(LinkError::Size { found: 11 })));
        assert!(matches!(answer(&more[..8], 100), Err(LinkError::Io { .. })), "cut short");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), size in 0_u8..80, piece in 1_usize..70) {
            let mut sized = bytes.clone();
            if let Some(head) = sized.get_mut(2..6) {
                head.copy_from_slice(&[0, 0, 0, size]);
            }
            let _ = (answer(&bytes, piece), answer(&sized, piece));
        }
    }
}
