//! Attempts on files: outside the grants, and beyond what the grants allow.
//!
//! Runs in: `edgeguard-redteam`.

use libc::*;

use crate::attack::Field;
use crate::attack::Gave;
use crate::attack::call;
use crate::attack::cwd;
use crate::attack::number;
use crate::attack::open_at;
use crate::attack::open_at_2;
use crate::attack::open_with_mode;
use crate::attack::text;

/// Makes the attempt of this name; `None` when it is not one of these.
pub fn attempt(name: &str, field: &Field) -> Option<Gave> {
    let (data, fixed) = (field.data(), field.fixed());
    let secret = field.path("secret");
    let outside = field.path("outside");
    let new = text(&format!("{}/new", field.order.get("outside")));
    let times = [1_u64; 4];
    let mut room = [0_u8; 256];
    let room = room.as_mut_ptr() as u64;
    Some(match name {
        "read-granted-file" => field.read_at(data, &text("granted"), O_RDONLY),
        "write-granted-file" => open_at(data, &text("written"), O_CREAT | O_WRONLY).and_then(|fd| call(SYS_write, [fd, secret.at(), 1])),
        "read-granted-read-only" => field.read_at(fixed, &text("fixed"), O_RDONLY),
        #[cfg(target_arch = "x86_64")]
        "open-secret" => call(SYS_open, [secret.at(), 0]),
        "openat-cwd-secret" => field.read_at(cwd(), &secret, O_RDONLY),
        "openat-directory-secret" => field.read_at(data, &secret, O_RDONLY),
        "openat2-directory-secret" => open_at_2(data, &secret, O_RDONLY, 0),
        "open-directory-outside" => open_at(data, &outside, O_RDONLY | O_DIRECTORY).map(ok),
        // Landlock lets an O_PATH descriptor be had, for it gives no access; what it is then good for is what counts.
        "open-o-path-outside-then-read" => {
            open_at(data, &outside, O_PATH | O_DIRECTORY).and_then(|fd| field.read_at(fd, &text("secret"), O_RDONLY))
        }
        "create-outside" => open_at(data, &new, O_CREAT | O_WRONLY).map(ok),
        "openat-dotdot-secret" => field.read_at(data, &text("../outside/secret"), O_RDONLY),
        "follow-symlink-out" => field.read_at(data, &text("link"), O_RDONLY),
        "make-symlink-out-and-follow" => {
            call(SYS_symlinkat, [secret.at(), data, text("made").at()]).and_then(|_| field.read_at(data, &text("made"), O_RDONLY))
        }
        "link-outside-file-in" => call(SYS_linkat, [data, secret.at(), data, text("linked").at(), 0]),
        "rename-outside-file-in" => call(SYS_renameat, [data, secret.at(), data, text("moved").at()]),
        "rename-granted-file-out" => call(SYS_renameat, [data, text("granted").at(), data, new.at()]),
        "rename-exchange" => call(SYS_renameat2, [data, text("granted").at(), data, text("other").at(), RENAME_EXCHANGE.into()]),
        "link-descriptor-follow" => {
            call(SYS_linkat, [cwd(), text("/proc/self/fd/0").at(), data, text("linked").at(), number(AT_SYMLINK_FOLLOW)])
        }
        "reopen-descriptor-writable" => {
            // With a number that no granted directory has, for theirs are paths in the worker's own root.
            let file = open_at(fixed, &text("fixed"), O_RDONLY).unwrap_or_default();
            let file = call(SYS_fcntl, [file, number(F_DUPFD_CLOEXEC), 500]).unwrap_or_default();
            open_at(data, &text(&format!("/proc/self/fd/{file}")), O_RDWR).map(ok)
        }
        "pread-inherited-descriptor" => call(SYS_pread64, [field.order.number("leaked"), room, 1, 0]),
        "supervisor-environ" => field.read_at(data, &field.of_supervisor("environ"), O_RDONLY),
        "supervisor-mem" => field.read_at(data, &field.of_supervisor("mem"), O_RDWR),
        "supervisor-root" => field.read_at(data, &field.of_supervisor("root/etc/hostname"), O_RDONLY),
        "supervisor-descriptors" => open_at(data, &field.of_supervisor("fd"), O_RDONLY | O_DIRECTORY).map(ok),
        "own-mem" => field.read_at(data, &text("/proc/self/mem"), O_RDWR),
        "own-maps" => field.read_at(data, &text("/proc/self/maps"), O_RDONLY),
        "core-pattern" => open_at(data, &text("/proc/sys/kernel/core_pattern"), O_WRONLY).map(ok),
        "device-null" => open_at(data, &text("/dev/null"), O_RDWR).map(ok),
        "device-disk-or-zero" => open_at(data, &field.path("device"), O_RDONLY).map(ok),
        "cgroup-procs" => open_at(data, &field.path("cgroup"), O_RDONLY).map(ok),
        "openat2-not-beneath" => open_at_2(data, &text("../outside/secret"), O_RDONLY, 0),
        "name-to-handle" => call(SYS_name_to_handle_at, [data, secret.at(), room, room + 64, 0]),
        "open-by-handle" => call(SYS_open_by_handle_at, [data, room, 0]),
        "stat-outside" => call(SYS_newfstatat, [data, secret.at(), room, 0]),
        "statx-outside" => call(SYS_statx, [data, secret.at(), 0, 0x7ff, room]),
        "readlink-outside" => call(SYS_readlinkat, [data, field.path("foreign-link").at(), room, 64]),
        "stat-cwd-outside" => call(SYS_newfstatat, [cwd(), secret.at(), room, 0]),
        "faccessat-outside" => call(SYS_faccessat, [data, secret.at(), 0]),
        "faccessat2-outside" => call(SYS_faccessat2, [data, secret.at(), 0, number(AT_EACCESS)]),
        "faccessat2-cwd-outside" => call(SYS_faccessat2, [cwd(), secret.at(), 0, number(AT_EACCESS)]),
        "statfs-outside" => call(SYS_statfs, [outside.at(), room]),
        "chdir-outside" => call(SYS_chdir, [outside.at()]),
        "fchdir-granted" => call(SYS_fchdir, [data]),
        "chmod-outside" => call(SYS_fchmodat, [data, secret.at(), 0o666]),
        "chown-outside" => call(SYS_fchownat, [data, secret.at(), u64::MAX, u64::MAX, 0]),
        "setxattr-outside" => call(SYS_setxattr, [secret.at(), text("user.red").at(), room, 1, 0]),
        "getxattr-outside" => call(SYS_getxattr, [secret.at(), text("user.red").at(), room, 1]),
        "utimensat-outside" => call(SYS_utimensat, [data, secret.at(), times.as_ptr() as u64, 0]),
        "utimensat-cwd-outside" => call(SYS_utimensat, [cwd(), secret.at(), times.as_ptr() as u64, 0]),
        "truncate-outside" => call(SYS_truncate, [secret.at(), 0]),
        "open-truncate-outside" => open_at(data, &secret, O_WRONLY | O_TRUNC).map(ok),
        "inotify" => call(SYS_inotify_init1, [0]),
        "fanotify" => call(SYS_fanotify_init, [0, 0]),
        "open-init-namespace" => open_at(data, &text("/proc/1/ns/mnt"), O_RDONLY).map(ok),
        "mknod-device" => call(SYS_mknodat, [data, text("device").at(), (S_IFCHR | 0o600).into(), 0x103]),
        "mkfifo" => call(SYS_mknodat, [data, text("fifo").at(), (S_IFIFO | 0o600).into(), 0]),
        "fchmodat-setuid" => call(SYS_fchmodat, [data, text("granted").at(), 0o4755]),
        "fchmod-setuid" => call(SYS_fchmod, [data, 0o4755]),
        "create-setuid-file" => open_with_mode(data, &text("suid"), O_CREAT | O_WRONLY, 0o4755).map(ok),
        "openat2-create-setuid-file" => open_at_2(data, &text("suid2"), O_CREAT | O_WRONLY, 0o4755),
        "write-in-read-only" => open_at(fixed, &text("fixed"), O_WRONLY).map(ok),
        "truncate-in-read-only" => open_at(fixed, &text("fixed"), O_RDONLY | O_TRUNC).map(ok),
        "create-in-read-only" => open_at(fixed, &text("new"), O_CREAT | O_WRONLY).map(ok),
        "mkdir-in-read-only" => call(SYS_mkdirat, [fixed, text("new").at(), 0o700]),
        "unlink-in-read-only" => call(SYS_unlinkat, [fixed, text("fixed").at(), 0]),
        "link-read-only-file-to-writable" => call(SYS_linkat, [fixed, text("fixed").at(), data, text("linked").at(), 0]),
        "rename-writable-file-to-read-only" => call(SYS_renameat, [data, text("granted").at(), fixed, text("new").at()]),
        "tmpfile-in-read-only" => open_at(fixed, &text("."), O_TMPFILE | O_RDWR).map(ok),
        "journal-key" => field.read_at(data, &field.path("journal-key"), O_RDONLY),
        "code-cache" => open_at(data, &field.path("code-cache"), O_RDONLY).map(ok),
        _ => return None,
    })
}

fn ok(fd: u64) -> i64 {
    i64::try_from(fd).unwrap_or_default()
}
