//! Paths become handles, once.
//!
//! Runs in: daemon.
//! Invariant: nobody but root can lead an operator's path elsewhere. A symbolic link is followed only while every directory from `/` to it belongs to root and
//! to nobody else's pen, as `/var/run` and the `/var/lib/edgeguard` of a service with `DynamicUser=` do; any other is refused.
//! `edgeguard policy check --host` refuses the same paths (EG052).
//! What was opened is what is used, whatever happens to the path afterwards.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use cap_std::fs::Dir;
use cap_std::fs::File;
use edgeguard_policy::Trail;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;

/// Why a path did not become a handle.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {what} `{path}`{hint}")]
pub struct HandleError {
    what: &'static str,
    path: String,
    hint: String,
    #[source]
    source: std::io::Error,
}

/// Opens a regular file for reading.
///
/// # Errors
/// It is absent, unreadable, no regular file, or its path goes through a symbolic link that others than root could have made.
pub fn file(what: &'static str, path: &Path) -> Result<File, HandleError> {
    // Without waiting: opening a pipe that somebody put in the file's place would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = || -> std::io::Result<File> {
        let file = std::fs::File::from(open(path, flags)?);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(File::from_std(file))
    };
    open().map_err(|source| HandleError::new(what, path, source))
}

/// Opens a directory.
///
/// # Errors
/// It is absent, unreadable, no directory, or its path goes through a symbolic link that others than root could have made.
pub fn dir(what: &'static str, path: &Path) -> Result<Dir, HandleError> {
    let open = || open(path, OFlags::RDONLY | OFlags::DIRECTORY).map(|fd| Dir::from_std_file(fd.into()));
    open().map_err(|source| HandleError::new(what, path, source))
}

/// Where no part is a link the kernel itself sees to it: there is no moment between a look and an open.
fn open(path: &Path, flags: OFlags) -> std::io::Result<OwnedFd> {
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(rustix::fs::CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        // Some containers' filters know no `openat2` (systemd-nspawn of Debian 12).
        Err(Errno::LOOP | Errno::NOSYS) => step_by_step(path, flags),
        opened => Ok(opened?),
    }
}

/// Each part is opened from the one before it, and a link is followed only where none but root could have made it or led the way to it.
fn step_by_step(path: &Path, flags: OFlags) -> std::io::Result<OwnedFd> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(if path.is_absolute() { "/" } else { "." }, way, Mode::empty())?;
    let mut trail = Trail::begin(path.is_absolute());
    let mut ahead: Vec<OsString> = Vec::new();
    push(&mut ahead, path);
    while let Some(name) = ahead.pop() {
        let dir = rustix::fs::fstat(&here)?;
        trail.through(dir.st_uid, dir.st_mode);
        let how = if ahead.is_empty() { flags | OFlags::NOFOLLOW | OFlags::CLOEXEC } else { way };
        match rustix::fs::openat(&here, &name, how, Mode::empty()) {
            Ok(next) => here = next,
            // Where a directory was wanted the kernel says so of a link too.
            Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => {
                let link = rustix::fs::openat(&here, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                let stat = rustix::fs::fstat(&link)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                    return Err(errno.into());
                }
                if !trail.follows(stat.st_uid) {
                    return Err(Errno::LOOP.into());
                }
                let target = PathBuf::from(OsString::from_vec(rustix::fs::readlinkat(&link, "", Vec::new())?.into_bytes()));
                if target.is_absolute() {
                    here = rustix::fs::open("/", way, Mode::empty())?;
                }
                push(&mut ahead, &target);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(here)
}

/// Puts the parts of `path` on top of those ahead, the first uppermost.
fn push(ahead: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    ahead.extend(parts.rev().map(|part| part.as_os_str().to_owned()));
}

impl HandleError {
    fn new(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self { what, path: path.display().to_string(), hint: hint(path, &source), source }
    }
}

/// What to do next. Looks at the path again for its words alone; the refusal stands already.
fn hint(path: &Path, error: &std::io::Error) -> String {
    if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        let link = first_link(path).map_or_else(String::new, |link| format!("`{}` is one; ", link.display()));
        let real = std::fs::canonicalize(path).map_or_else(|_| "the path it leads to".to_owned(), |real| format!("`{}`", real.display()));
        return format!(": path goes through a symbolic link (EG052); {link}write {real}");
    }
    match error.kind() {
        std::io::ErrorKind::NotFound => ": it does not exist; check the path for a slip of the pen".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            ": the daemon's user may not; run `edgeguard policy check --host` as that user to see where".to_owned()
        }
        _ => String::new(),
    }
}

fn first_link(path: &Path) -> Option<PathBuf> {
    let mut here = PathBuf::new();
    path.components().find_map(|part| {
        here.push(part);
        std::fs::symlink_metadata(&here).ok()?.is_symlink().then(|| here.clone())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_link_out_of_its_directory_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("models")).unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", root.path().join("models/vad.onnx")).unwrap();
        assert!(file("model", &root.path().join("models/vad.onnx")).is_err());
    }

    /// `data/in/m.wasm`, with `current` as a link to `data` and `latest.wasm` as one to the module.
    fn with_links() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("data/in")).unwrap();
        std::fs::write(real.join("data/in/m.wasm"), "x").unwrap();
        std::os::unix::fs::symlink("data", real.join("current")).unwrap();
        std::os::unix::fs::symlink("m.wasm", real.join("data/in/latest.wasm")).unwrap();
        (root, real)
    }

    #[test]
    fn a_link_anywhere_on_the_way_is_refused_and_the_real_path_is_said() {
        let (_root, real) = with_links();
        assert!(dir("granted directory", &real.join("data/in")).is_ok() && file("module", &real.join("data/in/m.wasm")).is_ok());
        let through = dir("granted directory", &real.join("current/in")).unwrap_err().to_string();
        let said = |link: &str, to: &str| format!("(EG052); `{}` is one; write `{}`", real.join(link).display(), real.join(to).display());
        assert!(through.ends_with(&said("current", "data/in")), "{through}");
        let through = file("module", &real.join("current/in/m.wasm")).unwrap_err().to_string();
        assert!(through.ends_with(&said("current", "data/in/m.wasm")), "{through}");
        let last = file("module", &real.join("data/in/latest.wasm")).unwrap_err().to_string();
        assert!(last.ends_with(&said("data/in/latest.wasm", "data/in/m.wasm")), "{last}");
        assert!(dir("granted directory", &real.join("current")).is_err());
    }

    #[test]
    fn step_by_step_opens_what_the_kernel_opens_and_refuses_what_it_refuses() {
        let (_root, real) = with_links();
        for name in
            ["data/in/m.wasm", "data", "data/in", "current", "current/in/m.wasm", "data/in/latest.wasm", "absent", "data/in/m.wasm/x"]
        {
            let path = real.join(name);
            for flags in [OFlags::RDONLY, OFlags::RDONLY | OFlags::DIRECTORY] {
                let errno = |opened: std::io::Result<OwnedFd>| opened.map(drop).map_err(|error| error.raw_os_error());
                let resolve = ResolveFlags::NO_SYMLINKS;
                let kernel = rustix::fs::openat2(rustix::fs::CWD, &path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
                assert_eq!(errno(step_by_step(&path, flags)), errno(kernel.map_err(Into::into)), "{name} {flags:?}");
            }
        }
    }

    #[test]
    fn a_link_of_roots_in_directories_of_roots_alone_is_followed() {
        let links = ["/var/run", "/bin", "/lib"].map(Path::new);
        let Some(link) = links.into_iter().find(|link| link.is_symlink()) else {
            println!("skipped: this system has no link among {links:?}");
            return;
        };
        let (ours, real) = (dir("granted directory", link).unwrap(), dir("granted directory", &link.canonicalize().unwrap()).unwrap());
        let inode = |dir: &Dir| rustix::fs::fstat(dir).map(|stat| (stat.st_dev, stat.st_ino)).unwrap();
        assert_eq!(inode(&ours), inode(&real));
    }

    #[test]
    fn a_directory_is_no_file_and_an_absent_path_says_so() {
        let root = tempfile::tempdir().unwrap();
        assert!(file("model", root.path()).is_err());
        let error = file("model", &root.path().join("absent")).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }

    #[test]
    fn a_pipe_in_a_files_place_is_refused_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("m.wasm");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        assert!(file("module", &path).is_err());
    }

    #[test]
    fn a_handle_keeps_what_it_opened() {
        use std::io::Read as _;
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("m.wasm");
        std::fs::write(&path, "first").unwrap();
        let mut handle = file("module", &path).unwrap();
        std::fs::rename(&path, root.path().join("old")).unwrap();
        std::fs::write(&path, "second").unwrap();
        let mut text = String::new();
        handle.read_to_string(&mut text).unwrap();
        assert_eq!(text, "first");
    }
}
