//! Which files a process has code of.
//!
//! Runs in: graph host, before it is hardened.
//! Does not: judge. Whoever asks knows which files it meant to map.

use std::io;

use rustix::fs::Mode;
use rustix::fs::OFlags;

/// The longest `/proc/self/maps` that is read.
const MAX_MAPS: usize = 16 << 20;

/// A file from which code is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// Where it lay when it was mapped; of a file that is gone by now, with the kernel's ` (deleted)` behind it.
    pub path: String,
    /// Its inode number.
    pub inode: u64,
}

/// The files from which this process has executable mappings.
///
/// # Errors
/// `/proc/self/maps` cannot be read, or is not as proc(5) has it.
pub fn mapped_code() -> io::Result<Vec<MappedFile>> {
    let maps = rustix::fs::open("/proc/self/maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match rustix::io::read(&maps, &mut block) {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(block.get(..read).unwrap_or_default()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if text.len() > MAX_MAPS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`/proc/self/maps` has more than {MAX_MAPS} bytes")));
        }
    }
    parse(&String::from_utf8_lossy(&text))
}

fn parse(text: &str) -> io::Result<Vec<MappedFile>> {
    let mut files = Vec::new();
    for line in text.lines() {
        let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("`/proc/self/maps` has the line `{}`", line.escape_debug()));
        // ADDRESSES RIGHTS OFFSET DEVICE INODE, then blanks and the path, if any.
        let mut fields = line.splitn(6, ' ');
        let rights = fields.nth(1).ok_or_else(strange)?;
        let inode: u64 = fields.nth(2).and_then(|inode| inode.parse().ok()).ok_or_else(strange)?;
        let path = fields.next().unwrap_or_default().trim_start();
        let file = MappedFile { path: path.to_owned(), inode };
        if rights.contains('x') && inode != 0 && !files.contains(&file) {
            files.push(file);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn files_with_code_are_named_once_and_nothing_else_is() {
        let text = "7f0-7f1 r-xp 00000000 08:01 42                         /usr/lib/a b.so\n\
                    7f1-7f2 r--p 00001000 08:01 42                         /usr/lib/a b.so\n\
                    7f2-7f3 r-xp 00002000 08:01 42                         /usr/lib/a b.so\n\
                    7f3-7f4 rwxp 00000000 00:00 0 \n\
                    7f5-7f6 r-xp 00000000 00:00 0                          [vdso]\n";
        assert_eq!(parse(text).unwrap(), [MappedFile { path: "/usr/lib/a b.so".into(), inode: 42 }]);
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn this_program_has_code_of_its_own_file() {
        let own = std::env::current_exe().unwrap().display().to_string();
        assert!(mapped_code().unwrap().iter().any(|file| file.path == own));
    }
}
