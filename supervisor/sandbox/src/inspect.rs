//! A look at a child from outside, through `/proc`: the supervisor believes this, not the child's report.
//!
//! Runs in: daemon; and in the children, on themselves, for the self-test.

use std::io;

/// What the kernel says of a process.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProcessStatus {
    /// `PR_SET_NO_NEW_PRIVS` is set.
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
    /// Number of filters of the main thread; 0 on kernels before 5.9, which do not say.
    pub seccomp_filters: u32,
    /// Number of threads.
    pub threads: u32,
    /// Effective user id.
    pub uid: u32,
    /// Effective capabilities, as a bit mask.
    pub capabilities: u64,
    /// Resident memory in bytes: private, file-backed and shared.
    pub resident: u64,
    /// Resident memory in bytes that is this process's alone (anonymous).
    pub private: u64,
    /// Resident memory in bytes that is in shared regions.
    pub shared: u64,
}

/// Reads `/proc/PID/status`.
///
/// # Errors
/// `NotFound` when there is no such process; `InvalidData` when a field is missing, as in a zombie, which has no memory.
pub fn inspect(pid: u32) -> io::Result<ProcessStatus> {
    ProcessStatus::parse(&crate::memory::read_small(&format!("/proc/{pid}/status"), 64 * 1024)?)
}

impl ProcessStatus {
    pub(crate) fn parse(text: &str) -> io::Result<Self> {
        let fields = Fields(text);
        Ok(Self {
            no_new_privs: fields.number("NoNewPrivs", 0)? == 1,
            seccomp_mode: fields.small("Seccomp", 0)?,
            seccomp_filters: fields.small("Seccomp_filters", 0).unwrap_or(0),
            threads: fields.small("Threads", 0)?,
            uid: fields.small("Uid", 1)?,
            capabilities: u64::from_str_radix(fields.word("CapEff", 0)?, 16).map_err(|_| missing("CapEff"))?,
            resident: fields.kibibytes("VmRSS")?,
            private: fields.kibibytes("RssAnon")?,
            shared: fields.kibibytes("RssShmem")?,
        })
    }
}

/// The `Name:\tvalue value` lines of a status file.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn word(&self, name: &str, index: usize) -> io::Result<&'a str> {
        self.0
            .lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| *key == name))
            .and_then(|(_, values)| values.split_whitespace().nth(index))
            .ok_or_else(|| missing(name))
    }

    fn number(&self, name: &str, index: usize) -> io::Result<u64> {
        self.word(name, index)?.parse().map_err(|_| missing(name))
    }

    fn small(&self, name: &str, index: usize) -> io::Result<u32> {
        self.word(name, index)?.parse().map_err(|_| missing(name))
    }

    fn kibibytes(&self, name: &str) -> io::Result<u64> {
        Ok(self.number(name, 0)?.saturating_mul(1024))
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("expected a number in field `{name}` of a process status"))
}
