//! `wasi_snapshot_preview1`: every function of it, run by wasmtime-wasi and recorded by us.
//!
//! Runs in: worker, on guest threads.
//! Invariant: the linker's definitions are made from one table, so a call without a record cannot be added. A path is copied out
//! of the guest's memory before the call, bounded, so the record has what the guest asked even when the call fails.
//! Does not: decide. wasmtime-wasi checks paths and rights, Landlock checks them again.
//!
//! Two functions are not passed on: `proc_exit`, which is only an outcome, and a `poll_oneoff` that is nothing but a sleep,
//! because wasmtime-wasi would sleep where no deadline reaches it.

mod sleep;

use edgeguard_audit::CallId;
use edgeguard_audit::OpenFlags;
use edgeguard_audit::Outcome;
use edgeguard_audit::call_id;
use edgeguard_audit::rule_to_number;
use wasmtime::AsContextMut as _;
use wasmtime::Caller;
use wasmtime::Linker;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::wasi_snapshot_preview1 as preview1;
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1 as _;
use wiggle::GuestMemory;

use self::sleep::sleep_of;
use crate::guest::Guest;
use crate::limits::Files;
use crate::limits::Stop;
use crate::quota::Exceeded;
use crate::quota::Growth;
use crate::quota::Opening;
use crate::quota::Reservation;
use crate::record::Pending;

/// The import module.
const MODULE: &str = "wasi_snapshot_preview1";

/// What a record takes from a call's arguments. Numbers are argument positions.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// The descriptor that the call is about.
    fd: Option<usize>,
    /// Pointer and length of the path that it names.
    path: Option<(usize, usize)>,
    /// Pointer and length of the second path.
    to: Option<(usize, usize)>,
    /// Where the call stores how many bytes the guest gave.
    gave: Option<usize>,
    /// Where the call stores how many bytes, or events, the guest got.
    got: Option<usize>,
    /// How many bytes the guest wants, where the call gives all or none.
    wants: Option<usize>,
    /// With what it opens: `oflags`, the rights that the guest asks for, `fdflags`.
    flags: Option<(usize, usize, usize)>,
    /// The descriptor of the second path.
    to_fd: Option<usize>,
    /// What it may make a directory grow by.
    grows: Grows,
    /// The directory in which it takes a name away, or gives it to something else.
    unnames: Option<usize>,
    /// What it does to the guest's descriptors.
    effect: Effect,
}

/// What a call may make a directory grow by; arguments as in [`Shape`].
#[derive(Debug, Clone, Copy)]
enum Grows {
    Nothing,
    /// The file, by what these buffers hold: where they are, and how many.
    Buffers(usize, usize),
    /// The file, by so many bytes.
    Bytes(usize),
    /// The file, by a hole.
    Hole,
    /// The directory, by one more name.
    Name(usize),
    /// The directory, by a name that something has already.
    Entry(usize),
}

/// What a call does to the guest's descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    /// Opens one, whose number it stores where this argument points.
    Open(usize),
    /// Closes argument 0.
    Close,
    /// Moves argument 0 to argument 1.
    Renumber,
}

const PLAIN: Shape = Shape {
    fd: None,
    path: None,
    to: None,
    gave: None,
    got: None,
    wants: None,
    flags: None,
    to_fd: None,
    grows: Grows::Nothing,
    unnames: None,
    effect: Effect::None,
};
const FD: Shape = Shape { fd: Some(0), ..PLAIN };

impl Shape {
    const fn path(self, pointer: usize, length: usize) -> Self {
        Self { path: Some((pointer, length)), ..self }
    }

    const fn to(self, pointer: usize, length: usize) -> Self {
        Self { to: Some((pointer, length)), ..self }
    }

    const fn to_fd(self, argument: usize) -> Self {
        Self { to_fd: Some(argument), ..self }
    }

    const fn flags(self, oflags: usize, rights: usize, fdflags: usize) -> Self {
        Self { flags: Some((oflags, rights, fdflags)), ..self }
    }

    const fn fd(self, argument: usize) -> Self {
        Self { fd: Some(argument), ..self }
    }

    const fn gave(self, argument: usize) -> Self {
        Self { gave: Some(argument), ..self }
    }

    const fn got(self, argument: usize) -> Self {
        Self { got: Some(argument), ..self }
    }

    const fn wants(self, argument: usize) -> Self {
        Self { wants: Some(argument), ..self }
    }

    const fn grows(self, grows: Grows) -> Self {
        Self { grows, ..self }
    }

    const fn unnames(self, argument: usize) -> Self {
        Self { unnames: Some(argument), ..self }
    }

    const fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }
}

/// The table. A row is a function, whether it may wait, its arguments, and what its record takes from them.
macro_rules! preview1 {
    ($( $mode:ident $name:ident ( $($arg:ident : $ty:ty),* ) $shape:expr; )*) => {
        /// Adds all functions.
        pub fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
            $( define!($mode, linker, $name, ($($arg : $ty),*), $shape); )*
            add_proc_exit(linker)
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

macro_rules! define {
    (now, $linker:ident, $name:ident, ($($arg:ident : $ty:ty),*), $shape:expr) => {{
        const SHAPE: Shape = $shape;
        let call = number(stringify!($name))?;
        $linker.func_wrap(MODULE, stringify!($name), move |mut caller: Caller<'_, Guest>, $($arg: $ty),*| -> wasmtime::Result<i32> {
            let (mut hall, mut memory, guest) = match enter(&mut caller, call, SHAPE, &[$($arg as u64),*])? {
                Ok(entered) => entered,
                Err(errno) => return Ok(errno.into()),
            };
            let result = preview1::$name(&mut guest.wasi, &mut memory, $($arg),*);
            hall.leave(guest, &memory, result)
        })?;
    }};
    (wait, $linker:ident, $name:ident, ($($arg:ident : $ty:ty),*), $shape:expr) => {{
        const SHAPE: Shape = $shape;
        let call = number(stringify!($name))?;
        $linker.func_wrap_async(MODULE, stringify!($name), move |mut caller: Caller<'_, Guest>, ($($arg,)*): ($($ty,)*)| {
            Box::new(async move {
                let (mut hall, mut memory, guest) = match enter(&mut caller, call, SHAPE, &[$($arg as u64),*])? {
                    Ok(entered) => entered,
                    Err(errno) => return Ok(errno.into()),
                };
                let result = preview1::$name(&mut guest.wasi, &mut memory, $($arg),*).await;
                hall.leave(guest, &memory, result)
            })
        })?;
    }};
    (open, $linker:ident, $name:ident, ($fd:ident : $t0:ty, $dirflags:ident : $t1:ty, $path:ident : $t2:ty, $len:ident : $t3:ty, $oflags:ident : $t4:ty,
        $base:ident : $t5:ty, $inheriting:ident : $t6:ty, $fdflags:ident : $t7:ty, $opened:ident : $t8:ty), $shape:expr) => {{
        const SHAPE: Shape = $shape;
        let call = number(stringify!($name))?;
        $linker.func_wrap_async(
            MODULE,
            stringify!($name),
            move |mut caller: Caller<'_, Guest>,
                  ($fd, $dirflags, $path, $len, $oflags, $base, $inheriting, $fdflags, $opened): ($t0, $t1, $t2, $t3, $t4, $t5, $t6, $t7, $t8)| {
                Box::new(async move {
                    let args = [
                        $fd as u64, $dirflags as u64, $path as u64, $len as u64, $oflags as u64, $base as u64, $inheriting as u64, $fdflags as u64,
                        $opened as u64,
                    ];
                    let (mut hall, mut memory, guest) = match enter(&mut caller, call, SHAPE, &args)? {
                        Ok(entered) => entered,
                        Err(errno) => return Ok(errno.into()),
                    };
                    // Where there is no room for another name, what is there can be opened all the same.
                    let full = $oflags & CREATE != 0 && !hall.reserve(guest, $fd.cast_unsigned(), Growth::Name);
                    let oflags = if full { $oflags & !CREATE } else { $oflags };
                    let opened = preview1::$name(
                        &mut guest.wasi, &mut memory, $fd, $dirflags, $path, $len, oflags, $base, $inheriting, $fdflags, $opened,
                    );
                    let result = match opened.await {
                        Ok(errno) if full && errno == i32::from(NOENT) => Ok(DQUOT.into()),
                        result => result,
                    };
                    hall.leave(guest, &memory, result)
                })
            },
        )?;
    }};
    (poll, $linker:ident, $name:ident, ($($arg:ident : $ty:ty),*), $shape:expr) => {{
        const SHAPE: Shape = $shape;
        let call = number(stringify!($name))?;
        $linker.func_wrap_async(MODULE, stringify!($name), move |mut caller: Caller<'_, Guest>, ($($arg,)*): ($($ty,)*)| {
            Box::new(async move {
                let (mut hall, mut memory, guest) = match enter(&mut caller, call, SHAPE, &[$($arg as u64),*])? {
                    Ok(entered) => entered,
                    Err(errno) => return Ok(errno.into()),
                };
                let result = match sleep_of(bytes(&memory), $($arg),*) {
                    Some(sleep) => sleep.run(&mut memory, $($arg),*).await,
                    None => preview1::$name(&mut guest.wasi, &mut memory, $($arg),*).await,
                };
                hall.leave(guest, &memory, result)
            })
        })?;
    }};
}

preview1! {
    now args_get(argv: i32, buf: i32) PLAIN;
    now args_sizes_get(count: i32, size: i32) PLAIN;
    now environ_get(environ: i32, buf: i32) PLAIN;
    now environ_sizes_get(count: i32, size: i32) PLAIN;
    now clock_res_get(id: i32, resolution: i32) PLAIN;
    now clock_time_get(id: i32, precision: i64, time: i32) PLAIN;
    wait fd_advise(fd: i32, offset: i64, len: i64, advice: i32) FD;
    now fd_allocate(fd: i32, offset: i64, len: i64) FD.grows(Grows::Bytes(2));
    wait fd_close(fd: i32) FD.effect(Effect::Close);
    wait fd_datasync(fd: i32) FD;
    wait fd_fdstat_get(fd: i32, stat: i32) FD;
    now fd_fdstat_set_flags(fd: i32, flags: i32) FD;
    now fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64) FD;
    wait fd_filestat_get(fd: i32, stat: i32) FD;
    wait fd_filestat_set_size(fd: i32, size: i64) FD.grows(Grows::Hole);
    wait fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, flags: i32) FD;
    wait fd_pread(fd: i32, iovs: i32, len: i32, offset: i64, read: i32) FD.got(4);
    now fd_prestat_get(fd: i32, stat: i32) FD;
    now fd_prestat_dir_name(fd: i32, path: i32, len: i32) FD;
    wait fd_pwrite(fd: i32, iovs: i32, len: i32, offset: i64, written: i32) FD.gave(4).grows(Grows::Buffers(1, 2));
    wait fd_read(fd: i32, iovs: i32, len: i32, read: i32) FD.got(3);
    wait fd_readdir(fd: i32, buf: i32, len: i32, cookie: i64, used: i32) FD.got(4);
    wait fd_renumber(fd: i32, to: i32) FD.effect(Effect::Renumber);
    wait fd_seek(fd: i32, offset: i64, whence: i32, position: i32) FD;
    wait fd_sync(fd: i32) FD;
    now fd_tell(fd: i32, position: i32) FD;
    wait fd_write(fd: i32, iovs: i32, len: i32, written: i32) FD.gave(3).grows(Grows::Buffers(1, 2));
    wait path_create_directory(fd: i32, path: i32, len: i32) FD.path(1, 2).grows(Grows::Name(0));
    wait path_filestat_get(fd: i32, flags: i32, path: i32, len: i32, stat: i32) FD.path(2, 3);
    wait path_filestat_set_times(fd: i32, flags: i32, path: i32, len: i32, atim: i64, mtim: i64, set: i32) FD.path(2, 3);
    wait path_link(fd: i32, flags: i32, path: i32, len: i32, to_fd: i32, to: i32, to_len: i32) FD.path(2, 3).to_fd(4).to(5, 6).grows(Grows::Name(4));
    open path_open(fd: i32, dirflags: i32, path: i32, len: i32, oflags: i32, base: i64, inheriting: i64, fdflags: i32, opened: i32)
        FD.path(2, 3).flags(4, 5, 7).effect(Effect::Open(8));
    wait path_readlink(fd: i32, path: i32, len: i32, buf: i32, buf_len: i32, used: i32) FD.path(1, 2).got(5);
    wait path_remove_directory(fd: i32, path: i32, len: i32) FD.path(1, 2);
    wait path_rename(fd: i32, path: i32, len: i32, to_fd: i32, to: i32, to_len: i32) FD.path(1, 2).to_fd(3).to(4, 5).grows(Grows::Entry(3)).unnames(3);
    wait path_symlink(target: i32, target_len: i32, fd: i32, path: i32, len: i32) FD.fd(2).path(0, 1).to(3, 4).grows(Grows::Name(2));
    wait path_unlink_file(fd: i32, path: i32, len: i32) FD.path(1, 2).unnames(0);
    poll poll_oneoff(subscriptions: i32, events: i32, count: i32, stored: i32) PLAIN.got(3);
    now proc_raise(signal: i32) PLAIN;
    now sched_yield() PLAIN;
    now random_get(buf: i32, len: i32) PLAIN.wants(1);
    now sock_accept(fd: i32, flags: i32, accepted: i32) FD;
    now sock_recv(fd: i32, iovs: i32, len: i32, flags: i32, read: i32, roflags: i32) FD.got(4);
    now sock_send(fd: i32, iovs: i32, len: i32, flags: i32, sent: i32) FD.gave(4);
    now sock_shutdown(fd: i32, how: i32) FD;
}

fn number(name: &str) -> wasmtime::Result<CallId> {
    call_id(MODULE, name).ok_or_else(|| wasmtime::Error::msg(format!("the call `{MODULE}.{name}` has no number")))
}

/// The exit code is an outcome of ours, so any code that the guest chooses is good.
fn add_proc_exit(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let call = number("proc_exit")?;
    linker.func_wrap(MODULE, "proc_exit", move |code: i32| -> wasmtime::Result<()> {
        let mut pending = Pending::begin(call);
        pending.n_in = code.cast_unsigned();
        pending.end(Outcome::Ok, 0);
        Err(I32Exit(code).into())
    })?;
    Ok(())
}

/// A call under way: its record, and what it will have done to the guest's descriptors.
struct Hall<const N: usize> {
    pending: Option<Pending>,
    shape: Shape,
    args: [u64; N],
    /// Room for what it may do; given back when the call is over.
    room: Option<Reservation>,
    /// What it opens counts as open until the guest has it.
    _opening: Option<Opening>,
}

/// The way into a call: the guest's memory and state, and the record begun. Or the error that the guest gets, where a directory has no room for what it wants.
///
/// Inlined, because every shape is known where it is called: what a call does not need is not there. This halves what a record costs.
#[inline(always)]
fn enter<'a, const N: usize>(
    caller: &'a mut Caller<'_, Guest>,
    call: CallId,
    shape: Shape,
    args: &[u64; N],
) -> wasmtime::Result<Result<(Hall<N>, GuestMemory<'a>, &'a mut Guest), u16>> {
    let mut pending = Pending::begin(call);
    let Some(memory) = Guest::memory(caller) else {
        pending.end(Outcome::Trapped, 0);
        return Err(wasmtime::Error::msg("the module exports no memory that is called `memory`"));
    };
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (bytes, guest) = memory.data_and_store_mut(caller);
    guest.wasi.set_hostcall_fuel(fuel);

    let arg = |position: usize| args.get(position).map_or(0, |arg| low(*arg));
    if let Some(fd) = shape.fd {
        pending.handle = arg(fd);
        pending.rule = guest.files.rule(arg(fd));
    }
    for (pointer, length) in [shape.path, shape.to].into_iter().flatten() {
        pending.text(clip(bytes, arg(pointer), arg(length)));
    }
    if let Some(wants) = shape.wants {
        pending.n_out = arg(wants);
    }
    if let Some((oflags, rights, fdflags)) = shape.flags {
        pending.n_in = open_flags(arg(oflags), args.get(rights).copied().unwrap_or(0), arg(fdflags)).to_number();
    }
    if let Some(to) = shape.to_fd {
        pending.n_out = rule_to_number(guest.files.rule(arg(to)));
    }
    if matches!(shape.effect, Effect::Open(_))
        && let Err(stop) = guest.files.check()
    {
        pending.end(Outcome::Limit, 0);
        return Err(stop.into());
    }
    let room = match room(&guest.files, shape, bytes, &arg) {
        Ok(room) => room,
        Err(errno) => {
            pending.end(Outcome::Error, errno);
            return Ok(Err(errno));
        }
    };
    let opening = match shape.effect {
        Effect::Open(_) => guest.files.opening(arg(0)),
        _ => None,
    };
    if let Some(dir) = shape.unnames {
        guest.files.unnamed(arg(dir));
    }
    Ok(Ok((Hall { pending: Some(pending), shape, args: *args, room, _opening: opening }, GuestMemory::Unshared(bytes), guest)))
}

/// Room for what a call may do.
///
/// # Errors
/// What the guest is told: that it does not fit, that it cannot be counted, or that it comes from another directory, through nobody's account.
#[inline(always)]
fn room(files: &Files, shape: Shape, memory: &[u8], arg: &impl Fn(usize) -> u32) -> Result<Option<Reservation>, u16> {
    if let Some(to) = shape.to_fd
        && files.is_between(arg(0), arg(to))
    {
        return Err(XDEV);
    }
    let (fd, growth) = match shape.grows {
        Grows::Nothing => return Ok(None),
        Grows::Buffers(at, count) if files.ledger(arg(0)).is_some() => (0, Growth::Bytes(buffers(memory, arg(at), arg(count))?)),
        Grows::Buffers(..) => return Ok(None),
        Grows::Bytes(len) => (0, Growth::Bytes(arg(len).into())),
        Grows::Hole => (0, Growth::Bytes(0)),
        Grows::Name(dir) => (dir, Growth::Name),
        Grows::Entry(dir) => (dir, Growth::Entry),
    };
    files.reserve(files.rule(arg(fd)), growth).map_err(|Exceeded| DQUOT)
}

/// What so many buffers hold. Where they do not lie in the memory, the call fails by itself.
///
/// # Errors
/// More than are counted: the call is not made, for it might write one that was not.
fn buffers(memory: &[u8], at: u32, count: u32) -> Result<u64, u16> {
    if count > MAX_BUFFERS {
        return Err(INVAL);
    }
    let each = (0..count).map(|i| load(memory, at.checked_add(i.checked_mul(8)?)?.checked_add(4)?).map(u64::from));
    Ok(each.map_while(|len| len).sum())
}

/// Buffers of one write into a directory with a quota: `IOV_MAX` of Linux, whose `writev` refuses more in the same way.
const MAX_BUFFERS: u32 = 1024;

impl<const N: usize> Hall<N> {
    /// Room for what the call may do in this directory; whether there is.
    fn reserve(&mut self, guest: &Guest, dir: u32, growth: Growth) -> bool {
        let room = guest.files.reserve(guest.files.rule(dir), growth);
        let fits = room.is_ok();
        self.room = room.ok().flatten();
        fits
    }

    /// The way out: what the call did is counted, and recorded.
    fn leave(&mut self, guest: &mut Guest, memory: &GuestMemory<'_>, result: wasmtime::Result<i32>) -> wasmtime::Result<i32> {
        let Some(mut pending) = self.pending.take() else { return result };
        let errno = match &result {
            Ok(errno) => u16::try_from(*errno).unwrap_or(u16::MAX),
            Err(error) => {
                let stopped = error.downcast_ref::<Stop>().is_some();
                pending.end(if stopped { Outcome::Limit } else { Outcome::Trapped }, 0);
                return result;
            }
        };
        if errno == SUCCESS {
            let stored = |argument: Option<usize>| argument.and_then(|argument| load(bytes(memory), self.arg(argument)));
            if let Some(gave) = stored(self.shape.gave) {
                pending.n_in = gave;
            }
            if let Some(got) = stored(self.shape.got) {
                pending.n_out = got;
            }
            match self.shape.effect {
                Effect::None => {}
                Effect::Open(at) => {
                    if let Some(fd) = stored(Some(at)) {
                        guest.files.opened(self.arg(0), fd);
                        // What the call is about is, from here on, what it opened.
                        pending.handle = fd;
                    }
                }
                Effect::Close => guest.files.closed(self.arg(0)),
                Effect::Renumber => guest.files.renumbered(self.arg(0), self.arg(1)),
            }
        } else if self.shape.to_fd.is_none() {
            // What came out is nothing; where it was to go stays.
            pending.n_out = 0;
        }
        pending.end(self.outcome(errno), errno);
        result
    }

    fn arg(&self, position: usize) -> u32 {
        self.args.get(position).map_or(0, |arg| low(*arg))
    }

    /// A refusal of the file system's guards is a denial; so is a path that is asked of a directory that was not granted.
    fn outcome(&self, errno: u16) -> Outcome {
        match errno {
            SUCCESS => Outcome::Ok,
            ACCES | PERM | NOTCAPABLE => Outcome::Denied,
            BADF if self.shape.path.is_some() => Outcome::Denied,
            _ => Outcome::Error,
        }
    }
}

/// What a guest asks for when it opens something. Of the rights it is these two that decide how wasmtime-wasi opens a file.
fn open_flags(oflags: u32, rights: u64, fdflags: u32) -> OpenFlags {
    const FD_READ: u64 = 1 << 1;
    const FD_WRITE: u64 = 1 << 6;
    OpenFlags::default()
        .with(OpenFlags::CREATE, oflags & 1 != 0)
        .with(OpenFlags::DIRECTORY, oflags & 2 != 0)
        .with(OpenFlags::EXCLUSIVE, oflags & 4 != 0)
        .with(OpenFlags::TRUNCATE, oflags & 8 != 0)
        .with(OpenFlags::READ, rights & FD_READ != 0)
        .with(OpenFlags::WRITE, rights & FD_WRITE != 0)
        .with(OpenFlags::APPEND, fdflags & 1 != 0)
}

/// `oflags` of preview 1.
const CREATE: i32 = 1;

/// `errno` of preview 1.
const SUCCESS: u16 = 0;
const ACCES: u16 = 2;
const BADF: u16 = 8;
const DQUOT: u16 = 19;
const INVAL: u16 = 28;
const NOENT: u16 = 44;
const XDEV: u16 = 75;
const PERM: u16 = 63;
const NOTCAPABLE: u16 = 76;

/// The guest's memory. It is never shared: modules with shared memory are refused when they are compiled.
fn bytes<'a>(memory: &'a GuestMemory<'_>) -> &'a [u8] {
    match memory {
        GuestMemory::Unshared(bytes) => bytes,
        GuestMemory::Shared(_) => &[],
    }
}

/// What of a path lies within the memory: for the record only. One byte more than a record takes, so that what was cut shows as cut.
fn clip(memory: &[u8], at: u32, len: u32) -> &[u8] {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(edgeguard_audit::MAX_TEXT + 1);
    let from = memory.get(at..).unwrap_or_default();
    from.get(..len).unwrap_or(from)
}

fn load(memory: &[u8], at: u32) -> Option<u32> {
    let window = window(memory, at.cast_signed(), 4)?;
    Some(u32::from_le_bytes(*window.first_chunk()?))
}

fn window(memory: &[u8], at: i32, len: usize) -> Option<&[u8]> {
    let at = usize::try_from(at.cast_unsigned()).ok()?;
    memory.get(at..at.checked_add(len)?)
}

/// The low half: what an `i32` argument was before it was widened.
fn low(arg: u64) -> u32 {
    (arg & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_table_has_every_function_that_has_a_number() {
        let interface = edgeguard_audit::INTERFACES.iter().find(|interface| interface.name == MODULE).unwrap();
        let mut numbered: Vec<&str> = interface.functions.to_vec();
        let mut ours: Vec<&str> = NAMES.iter().copied().chain(["proc_exit"]).collect();
        numbered.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, numbered);
    }
}
