//! Attempts on the kernel, on other processes, on memory and on sockets.
//!
//! Runs in: `edgeguard-redteam`. Arguments are such that the attempt would do no lasting harm if nothing stopped it.

use libc::*;

use crate::attack::Field;
use crate::attack::Gave;
use crate::attack::call;
use crate::attack::number;
use crate::attack::open_at;
use crate::attack::text;

/// Makes the attempt of this name; `None` when it is not one of these.
pub fn attempt(name: &str, field: &Field) -> Option<Gave> {
    process(name, field).or_else(|| memory(name, field)).or_else(|| system(name, field)).or_else(|| socket(name, field))
}

const NONE: u64 = u64::MAX;

fn process(name: &str, field: &Field) -> Option<Gave> {
    let supervisor = field.supervisor();
    let mut room = [0_u64; 32];
    let room = room.as_mut_ptr() as u64;
    let own = u64::from(std::process::id());
    let program = text("/bin/true");
    Some(match name {
        "own-process-id" => call(SYS_getpid, []),
        // Flags and no stack: a plain fork.
        "fork" => call(SYS_clone, [number(SIGCHLD), 0, 0, 0, 0]),
        "new-thread" => call(SYS_clone, [number(CLONE_THREAD | CLONE_VM | CLONE_SIGHAND), 0, 0, 0, 0]),
        "unshare-user" => call(SYS_unshare, [number(CLONE_NEWUSER)]),
        "clone-user" => call(SYS_clone, [number(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0]),
        "clone3" => call(SYS_clone3, [room, 64]),
        "setns" => call(SYS_setns, [field.data(), 0]),
        "execve" => call(SYS_execve, [program.at(), 0, 0]),
        "memfd" => call(SYS_memfd_create, [text("code").at(), 0]),
        "memfd-secret" => call(SYS_memfd_secret, [0]),
        "execveat" => call(SYS_execveat, [field.data(), text("").at(), 0, 0, number(AT_EMPTY_PATH)]),
        "ptrace-supervisor" => call(SYS_ptrace, [PTRACE_SEIZE.into(), supervisor, 0, 0]),
        "read-supervisor-memory" => call(SYS_process_vm_readv, [supervisor, room, 1, room, 1, 0]),
        "write-supervisor-memory" => call(SYS_process_vm_writev, [supervisor, room, 1, room, 1, 0]),
        "pidfd-open-supervisor" => call(SYS_pidfd_open, [supervisor, 0]),
        "pidfd-getfd" => call(SYS_pidfd_getfd, [0, 0, 0]),
        "kcmp-supervisor" => call(SYS_kcmp, [own, supervisor, 0, 0, 0]),
        "kill-supervisor" => call(SYS_kill, [supervisor, 0]),
        "tgkill-supervisor" => call(SYS_tgkill, [supervisor, supervisor, number(SIGABRT)]),
        "tgkill-self-other-signal" => call(SYS_tgkill, [own, own, number(SIGCONT)]),
        "pidfd-send-signal" => call(SYS_pidfd_send_signal, [0, 0, 0, 0]),
        "sigqueue-supervisor" => call(SYS_rt_sigqueueinfo, [supervisor, number(SIGCONT), room]),
        "kill-everybody" => call(SYS_kill, [NONE, 0]),
        "prlimit-supervisor" => call(SYS_prlimit64, [supervisor, RLIMIT_NOFILE.into(), 0, room]),
        "setpriority-supervisor" => call(SYS_setpriority, [PRIO_PROCESS.into(), supervisor, 19]),
        "setaffinity-supervisor" => call(SYS_sched_setaffinity, [supervisor, 0, room]),
        "getaffinity-supervisor" => call(SYS_sched_getaffinity, [supervisor, 128, room]),
        "ioprio-supervisor" => call(SYS_ioprio_set, [1, supervisor, 0]),
        "move-pages-supervisor" => call(SYS_move_pages, [supervisor, 0, 0, 0, 0, 0]),
        "process-madvise-other" => call(SYS_process_madvise, [0, room, 1, number(MADV_COLD), 0]),
        "sched-fifo" => call(SYS_sched_setscheduler, [0, number(SCHED_FIFO), room]),
        "setuid" => call(SYS_setuid, [0]),
        "setgroups" => call(SYS_setgroups, [0, 0]),
        "capset" => call(SYS_capset, [room, 0]),
        "prctl-dumpable" => call(SYS_prctl, [number(PR_SET_DUMPABLE), 1]),
        "prctl-ptracer" => call(SYS_prctl, [number(PR_SET_PTRACER), NONE]),
        "own-filter" => call(SYS_seccomp, [SECCOMP_SET_MODE_FILTER.into(), 0, 0]),
        "own-landlock" => call(SYS_landlock_create_ruleset, [0, 0, 1]),
        "own-signal-handler" => call(SYS_rt_sigaction, [number(SIGUSR1), 0, room, 8]),
        _ => return None,
    })
}

fn memory(name: &str, field: &Field) -> Option<Gave> {
    const PAGE: u64 = 4096;
    let anonymous = number(MAP_PRIVATE | MAP_ANONYMOUS);
    let page = || call(SYS_mmap, [0, PAGE, number(PROT_READ | PROT_WRITE), anonymous, NONE, 0]).map(i64::unsigned_abs);
    Some(match name {
        "mmap-write-execute" => call(SYS_mmap, [0, PAGE, number(PROT_READ | PROT_WRITE | PROT_EXEC), anonymous, NONE, 0]),
        "mprotect-read-execute" => page().and_then(|page| call(SYS_mprotect, [page, PAGE, number(PROT_READ | PROT_EXEC)])),
        "pkey-mprotect" => page().and_then(|page| call(SYS_pkey_mprotect, [page, PAGE, number(PROT_READ | PROT_EXEC), NONE])),
        "mmap-granted-file-execute" => {
            // Without a directory there is no file: the control socket stands in, for it is the filter that must answer.
            let file = field.directories.first().map_or(Ok(0), |_| open_at(field.data(), &text("granted"), O_RDONLY));
            file.and_then(|file| call(SYS_mmap, [0, PAGE, number(PROT_READ | PROT_EXEC), number(MAP_PRIVATE), file, 0]))
        }
        // Memory that is a file, and on no mount that forbids executing.
        "mmap-memory-execute" => call(SYS_mmap, [0, PAGE, number(PROT_READ | PROT_EXEC), number(MAP_SHARED), field.ring(), 0]),
        "remap-file-pages" => call(SYS_remap_file_pages, [0, PAGE, 0, 0, 0]),
        "personality" => call(SYS_personality, [0x0040_0000]),
        "userfaultfd" => call(SYS_userfaultfd, [0]),
        "mlockall" => call(SYS_mlockall, [1]),
        "membarrier" => call(SYS_membarrier, [0, 0]),
        #[cfg(target_arch = "x86_64")]
        "modify-ldt" => call(SYS_modify_ldt, [0, 0, 0]),
        "shmat" => call(SYS_shmat, [0, 0, number(SHM_EXEC)]),
        "shmget" => call(SYS_shmget, [0, PAGE, number(IPC_CREAT | 0o600)]),
        "msgget" => call(SYS_msgget, [0, number(IPC_CREAT | 0o600)]),
        "semget" => call(SYS_semget, [0, 1, number(IPC_CREAT | 0o600)]),
        "shrink-audit-ring" => call(SYS_ftruncate, [field.ring(), 0]),
        "grow-audit-ring" => call(SYS_ftruncate, [field.ring(), 1 << 40]),
        "seal-audit-ring" => call(SYS_fcntl, [field.ring(), number(F_ADD_SEALS), number(F_SEAL_WRITE)]),
        _ => return None,
    })
}

fn system(name: &str, field: &Field) -> Option<Gave> {
    let data = field.data();
    let here = text("/");
    let (tmpfs, empty) = (text("tmpfs"), text(""));
    let mut room = [0_u64; 32];
    let room = room.as_mut_ptr() as u64;
    Some(match name {
        "quotactl" => call(SYS_quotactl, [0, 0, 0, 0]),
        "syslog" => call(SYS_syslog, [3, room, 64]),
        // The magic numbers are wrong, so that nothing restarts.
        "reboot" => call(SYS_reboot, [0, 0, 0, 0]),
        "swapon" => call(SYS_swapon, [empty.at(), 0]),
        "kexec" => call(SYS_kexec_load, [0, 0, 0, NONE]),
        "init-module" => call(SYS_init_module, [0, 0, 0]),
        "settimeofday" => call(SYS_settimeofday, [0, 0]),
        "sethostname" => call(SYS_sethostname, [0, NONE]),
        "chroot" => call(SYS_chroot, [here.at()]),
        "mount" => call(SYS_mount, [tmpfs.at(), here.at(), tmpfs.at(), 0, 0]),
        "pivot-root" => call(SYS_pivot_root, [here.at(), here.at()]),
        "umount" => call(SYS_umount2, [empty.at(), 0]),
        "fsopen" => call(SYS_fsopen, [tmpfs.at(), 0]),
        "open-tree" => call(SYS_open_tree, [data, empty.at(), number(AT_EMPTY_PATH)]),
        "move-mount" => call(SYS_move_mount, [data, empty.at(), data, empty.at(), 0]),
        "io-uring" => call(SYS_io_uring_setup, [1, room]),
        "io-setup" => call(SYS_io_setup, [1, room]),
        "bpf" => call(SYS_bpf, [0, 0, 0]),
        "perf-event" => call(SYS_perf_event_open, [room, 0, NONE, NONE, 0]),
        "keyctl" => call(SYS_keyctl, [0, NONE, 0, 0, 0]),
        "add-key" => call(SYS_add_key, [empty.at(), empty.at(), 0, 0, NONE]),
        "mq-open" => call(SYS_mq_open, [text("red").at(), number(O_CREAT | O_RDWR), 0o600, 0]),
        "fcntl-set-owner" => call(SYS_fcntl, [0, number(F_SETOWN), field.supervisor()]),
        "fcntl-async" => call(SYS_fcntl, [0, number(F_SETFL), number(O_ASYNC)]),
        "fcntl-notify" => call(SYS_fcntl, [data, number(F_NOTIFY), 1]),
        "tiocsti" => call(SYS_ioctl, [0, TIOCSTI, room]),
        "tioclinux" => call(SYS_ioctl, [0, TIOCLINUX, room]),
        "vmsplice" => call(SYS_vmsplice, [2, room, 0, 0]),
        "splice" => call(SYS_splice, [0, 0, 2, 0, 1, 0]),
        "sendfile" => call(SYS_sendfile, [2, 0, 0, 1]),
        "copy-file-range" => call(SYS_copy_file_range, [0, 0, 2, 0, 1, 0]),
        "dup3" => call(SYS_dup3, [0, 100, 0]),
        "pipe2" => call(SYS_pipe2, [room, 0]),
        "epoll-create" => call(SYS_epoll_create1, [0]),
        "timerfd" => call(SYS_timerfd_create, [1, 0]),
        #[cfg(target_arch = "x86_64")]
        "int80" => crate::attack::int80_getpid(),
        // Bit 30 is the x32 interface; 39 is getpid.
        #[cfg(target_arch = "x86_64")]
        "x32" => call(0x4000_0000 + SYS_getpid, []),
        _ => return None,
    })
}

fn socket(name: &str, field: &Field) -> Option<Gave> {
    // What must not be had is the socket; connecting it comes after.
    let open = |family: i32, kind: i32| call(SYS_socket, [number(family), number(kind), 0]).map(i64::unsigned_abs);
    let connect = |socket: u64, address: &[u8]| call(SYS_connect, [socket, address.as_ptr() as u64, address.len() as u64]);
    let loopback = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let unix = |path: &[u8]| [&1_u16.to_ne_bytes(), path].concat();
    Some(match name {
        "tcp-connect" => open(AF_INET, SOCK_STREAM).and_then(|socket| connect(socket, &loopback)),
        "tcp-bind" => {
            open(AF_INET, SOCK_STREAM).and_then(|socket| call(SYS_bind, [socket, loopback.as_ptr() as u64, loopback.len() as u64]))
        }
        "connect-control-descriptor" => connect(0, &unix(field.order.get("control").as_bytes())),
        "udp-sendto" => open(AF_INET, SOCK_DGRAM)
            .and_then(|socket| call(SYS_sendto, [socket, 0, 0, 0, loopback.as_ptr() as u64, loopback.len() as u64])),
        "sendto-address" => call(SYS_sendto, [0, 0, 0, 0, loopback.as_ptr() as u64, loopback.len() as u64]),
        "raw-socket" => open(AF_INET, SOCK_RAW).map(u64::cast_signed),
        "packet-socket" => open(AF_PACKET, SOCK_RAW).map(u64::cast_signed),
        "netlink-socket" => open(AF_NETLINK, SOCK_RAW).map(u64::cast_signed),
        "vsock-socket" => open(AF_VSOCK, SOCK_STREAM).map(u64::cast_signed),
        "control-socket-connect" => {
            open(AF_UNIX, SOCK_STREAM).and_then(|socket| connect(socket, &unix(field.order.get("control").as_bytes())))
        }
        "abstract-socket-connect" => open(AF_UNIX, SOCK_STREAM).and_then(|socket| connect(socket, &unix(b"\0edgeguard"))),
        "socketpair" => {
            let mut pair = [0_i32; 2];
            call(SYS_socketpair, [number(AF_UNIX), number(SOCK_STREAM), 0, pair.as_mut_ptr() as u64])
        }
        "accept" => call(SYS_accept4, [0, 0, 0, 0]),
        "setsockopt" => call(SYS_setsockopt, [0, number(SOL_SOCKET), number(SO_RCVBUF), 0, 4]),
        _ => return None,
    })
}
