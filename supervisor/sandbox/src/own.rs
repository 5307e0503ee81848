//! What a process can still learn of itself once `/proc` is out of reach: descriptors opened while it was not.
//!
//! Runs in: worker, graph host, compiler. Closed by [`crate::Restricted::confine`], before anything untrusted runs.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::Unconfinable;
use crate::inspect::ProcessStatus;

/// `/proc/self/task` and `/proc/self/status`, open.
#[derive(Debug)]
pub(crate) struct OwnProcess {
    task: OwnedFd,
    status: OwnedFd,
}

impl OwnProcess {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let task = rustix::fs::open("/proc/self/task", flags | OFlags::DIRECTORY, Mode::empty())?;
        let status = rustix::fs::open("/proc/self/status", flags, Mode::empty())?;
        Ok(Self { task, status })
    }

    /// Number of threads in this process.
    pub(crate) fn threads(&self) -> io::Result<u32> {
        rustix::fs::seek(&self.task, rustix::fs::SeekFrom::Start(0))?;
        let mut space = [std::mem::MaybeUninit::uninit(); 1024];
        let mut entries = rustix::fs::RawDir::new(self.task.as_fd(), &mut space);
        let mut found = 0;
        while let Some(entry) = entries.next() {
            if !entry?.file_name().to_bytes().starts_with(b".") {
                found += 1;
            }
        }
        Ok(found)
    }

    pub(crate) fn require_single_thread(&self, step: &'static str) -> Result<(), Unconfinable> {
        match self.threads().map_err(Unconfinable::step("count threads"))? {
            1 => Ok(()),
            found => Err(Unconfinable::Threads { step, found }),
        }
    }

    /// The kernel's view of this process.
    pub(crate) fn status(&self) -> io::Result<ProcessStatus> {
        let mut text = vec![0; 16 * 1024];
        let read = rustix::io::pread(&self.status, &mut text, 0)?;
        text.truncate(read);
        ProcessStatus::parse(&String::from_utf8_lossy(&text))
    }
}
