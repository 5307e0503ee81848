//! What the product's worker runs: one fresh instance of the module for each invocation.
//!
//! Runs in: worker. [`GuestRunner::load`] and [`GuestRunner::begin`] before the lock, [`GuestRunner::invoke`] after it.
//! Invariant: nothing of one invocation is there for the next, but the thread's ring and its channels to graph hosts.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::time::Instant;

use edgeguard_audit::Producer;
use edgeguard_engine::Code;
use edgeguard_sandbox::Access;
use edgeguard_wire::Channel;
use edgeguard_wire::worker::Assignment;
use edgeguard_wire::worker::Dir;
use edgeguard_wire::worker::Http;
use edgeguard_wire::worker::Limit;
use edgeguard_wire::worker::Limits;
use edgeguard_wire::worker::Outcome;
use edgeguard_wire::worker::Timing;
use tokio::runtime::Runtime;
use wasmtime::Caller;
use wasmtime::Engine;
use wasmtime::Extern;
use wasmtime::InstancePre;
use wasmtime::Memory;
use wasmtime::Store;
use wasmtime::Trap;
use wasmtime::UpdateDeadline;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::WasiCtxView;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::WasiHttpCtx;
use wasmtime_wasi_http::WasiHttpCtxView;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::assignment::Grants;
use crate::clocks;
use crate::deadline::Deadline;
use crate::fault::Refusal;
use crate::http;
use crate::http::Exchange;
use crate::limits::Budget;
use crate::limits::Files;
use crate::limits::Stop;
use crate::nn::Link;
use crate::nn::Nn;
use crate::quota;
use crate::quota::Ledger;
use crate::quota::Ledgers;
use crate::record;
use crate::recorder;
use crate::serve::Ended;
use crate::serve::Lane;
use crate::serve::Runner;
use crate::stdio::Input;
use crate::stdio::Output;
use crate::stdio::Stdio;

/// Handles of a component at once, files not counted: streams, pollables, errors, tensors.
const HANDLES: usize = 4096;

/// The same of one that serves. Fields of requests and answers are memory of the host, each up to [`FIELDS`]; and so is a piece of a body.
const HANDLES_THAT_SERVE: usize = 512;

/// Bytes of one set of fields, as the host keeps them.
const FIELDS: usize = 16 << 10;

/// After the deadline, time for output that is already written to reach a slow reader.
pub(crate) const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// The state of one instance.
pub(crate) struct Guest {
    /// WASI, for both kinds of module.
    pub wasi: WasiP1Ctx,
    /// Descriptors of a core module.
    pub files: Files,
    /// Memory and tables.
    pub budget: Budget,
    /// wasi-nn.
    pub nn: Nn,
    /// Bytes of the tensors that a component holds.
    pub tensor_bytes: u64,
    /// The export `memory` of a core module, once it was looked up.
    memory: Option<Memory>,
    /// wasi:http, of a component that serves.
    http: WasiHttpCtx,
    hooks: http::link::Hooks,
    /// It does.
    pub serves: bool,
}

impl Guest {
    /// The guest's memory, for host functions of core modules.
    pub fn memory(caller: &mut Caller<'_, Self>) -> Option<Memory> {
        if caller.data().memory.is_none() {
            let Some(Extern::Memory(memory)) = caller.get_export("memory") else { return None };
            caller.data_mut().memory = Some(memory);
        }
        caller.data().memory
    }

    /// Everything a component has a handle to.
    pub fn table(&mut self) -> &mut ResourceTable {
        self.wasi.ctx().table
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}

/// One module, linked, with everything its instances have in common.
pub struct GuestRunner {
    engine: Engine,
    module: Linked,
    /// The granted directories, opened once: instances share the descriptors.
    filesystem: WasiFilesystemCtx,
    dirs: usize,
    /// The accounts of those that have a quota.
    ledgers: Ledgers,
    args: Vec<String>,
    env: Vec<(String, String)>,
    limits: Limits,
}

/// Resolved against WASI and wasi-nn: instantiating looks nothing up.
enum Linked {
    Core(InstancePre<Guest>),
    Component(CommandPre<Guest>),
    Service(ProxyPre<Guest>, Http),
}

/// What a guest thread keeps.
pub struct GuestThread {
    runtime: Runtime,
    links: Vec<Link>,
    control: Arc<Channel>,
}

impl Runner for GuestRunner {
    type Ready = Engine;
    type Thread = GuestThread;

    fn ready() -> Result<Engine, Refusal> {
        edgeguard_engine::worker().map_err(Refusal::engine("make the engine"))
    }

    fn load(engine: Engine, grants: &Grants) -> Result<Self, Refusal> {
        let Grants { assignment, code, dirs, .. } = grants;
        let code = edgeguard_engine::load(&engine, assignment.kind, code)?;
        let module = link(&engine, &code, assignment.http)?;
        Ok(Self {
            engine,
            module,
            filesystem: open_dirs(assignment, dirs)?,
            dirs: dirs.len(),
            ledgers: open_ledgers(assignment, dirs)?,
            args: assignment.args.clone(),
            env: assignment.env.clone(),
            limits: assignment.limits,
        })
    }

    fn begin(&self, lane: Lane) -> Result<GuestThread, Refusal> {
        let ring = Producer::new(lane.ring, lane.doorbell);
        record::install(ring.map_err(|error| Refusal::Descriptor { what: "audit ring", source: io::Error::other(error) })?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
            .thread_stack_size(256 << 10)
            .build()
            .map_err(Refusal::Thread)?;
        // Streams over files read ahead on the runtime's helper thread. After the lock no thread can start, so it starts now.
        if self.dirs > 0 {
            runtime.block_on(runtime.spawn_blocking(|| ())).map_err(|error| Refusal::Thread(io::Error::other(error)))?;
        }
        Ok(GuestThread { runtime, links: lane.links, control: lane.control })
    }

    fn invoke(&self, thread: &mut GuestThread, stdio: Stdio, deadline: Deadline) -> Ended {
        let GuestThread { runtime, links, control } = thread;
        let taken = std::mem::take(links);
        let nn = Nn::new(taken, Arc::clone(control), deadline, self.limits.memory);
        let _within = runtime.enter();
        let (ended, back) = match self.guest(nn, stdio) {
            Ok((guest, streams, client)) => runtime.block_on(self.run(guest, streams, client, deadline)),
            Err((error, nn)) => (
                Ended {
                    outcome: Outcome::Trapped(format!("cannot use the standard streams: {error}")),
                    timing: Timing::default(),
                    produced: 0,
                },
                *nn,
            ),
        };
        *links = back.into_links();
        quota::stream::settle(runtime);
        Ended { produced: record::produced(), ..ended }
    }

    fn tick(&self) {
        self.engine.increment_epoch();
    }
}

impl GuestRunner {
    /// The state of a new instance. The thread's links come back in any case, so an error holds them too.
    /// Of a module that serves, its client comes back, too.
    fn guest(&self, mut nn: Nn, stdio: Stdio) -> Result<(Guest, [Output; 2], Option<OwnedFd>), (io::Error, Box<Nn>)> {
        let left = Arc::new(AtomicU64::new(self.limits.output));
        let Stdio { input, output, error } = stdio;
        let serves = matches!(self.module, Linked::Service(..));
        let (input, client) = if serves { (None, Some(input)) } else { (Some(input), None) };
        let streams = input.map(Input::new).transpose().and_then(|input| {
            let output = Output::new(output, Arc::clone(&left))?;
            Ok((input, output, Output::new(error, left)?))
        });
        let (input, output, error) = match streams {
            Ok(streams) => streams,
            Err(error) => return Err((error, Box::new(nn))),
        };
        nn.stdout = Some(output.clone());
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(output.clone()).stderr(error.clone());
        // Without one, it is at its end.
        if let Some(input) = input {
            builder.stdin(input);
        }
        builder.args(&self.args).envs(&self.env);
        clocks::in_steps(&mut builder, self.limits.clock_resolution);
        builder.allow_blocking_current_thread(true);
        // Not that a socket could be had: the process has none. But the guest is to get an error, not the end.
        builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        let mut wasi = builder.build_p1();
        *wasi.ctx().ctx.filesystem() = self.filesystem.clone();
        let handles = if serves { HANDLES_THAT_SERVE } else { HANDLES };
        wasi.ctx().table.set_max_capacity(handles.saturating_add(usize::try_from(self.limits.open_files).unwrap_or(usize::MAX)));
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let guest = Guest {
            wasi,
            files: Files::new(self.dirs, &self.limits, self.ledgers.clone()),
            budget: Budget::new(&self.limits),
            nn,
            tensor_bytes: 0,
            memory: None,
            http,
            hooks: http::link::Hooks,
            serves,
        };
        Ok((guest, [output, error], client))
    }

    /// From a new store to an outcome.
    async fn run(&self, guest: Guest, streams: [Output; 2], client: Option<OwnedFd>, deadline: Deadline) -> (Ended, Nn) {
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.budget);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(
            move |_| if deadline.passed() { Err(Stop(Limit::Deadline).into()) } else { Ok(UpdateDeadline::Continue(1)) },
        );

        let mut timing = Timing::default();
        let outcome = match (&self.module, client) {
            (Linked::Service(service, limits), Some(client)) => {
                let _files = recorder::Files::begin(Files::new(0, &self.limits, self.ledgers.clone()));
                Exchange { service, limits: *limits, deadline }.run(&mut store, client, &mut timing).await
            }
            _ => self.command(&mut store, deadline, &mut timing).await,
        };

        let Guest { nn, budget, .. } = store.into_data();
        timing.compute_ns = nn.waited_ns;
        timing.engine_ns = nn.engine_ns;
        timing.memory = budget.memory();
        let patience = deadline.0.max(Instant::now() + LAST_OUTPUT);
        let drained = async {
            for stream in &streams {
                stream.drained().await;
            }
        };
        // A reader that does not read loses the end of the output, and the invocation is over all the same.
        let _ = tokio::time::timeout_at(patience.into(), drained).await;
        (Ended { outcome, timing, produced: 0 }, nn)
    }

    /// Runs a command to its end, or to its deadline.
    async fn command(&self, store: &mut Store<Guest>, deadline: Deadline, timing: &mut Timing) -> Outcome {
        // Guest code looks at the epoch; what waits in the host is dropped here.
        let end = tokio::time::timeout_at(deadline.0.into(), self.execute(store, timing)).await;
        match end {
            Ok(Ok(code)) => Outcome::Exited(code),
            Ok(Err(error)) => outcome(&error, store.data().budget.hit()),
            Err(_) => Outcome::Limit(Limit::Deadline),
        }
    }

    /// Makes the instance and runs it; gives its exit code.
    async fn execute(&self, store: &mut Store<Guest>, timing: &mut Timing) -> wasmtime::Result<i32> {
        let began = Instant::now();
        match &self.module {
            Linked::Core(module) => {
                let instance = module.instantiate_async(&mut *store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, START)?;
                timing.instantiate_ns = nanos(began.elapsed());
                let end = start.call_async(&mut *store, ()).await;
                timing.run_ns = nanos(began.elapsed()).saturating_sub(timing.instantiate_ns);
                end.map(|()| 0)
            }
            Linked::Component(component) => {
                let _files = recorder::Files::begin(Files::new(0, &self.limits, self.ledgers.clone()));
                let command = component.instantiate_async(&mut *store).await?;
                timing.instantiate_ns = nanos(began.elapsed());
                let end = command.wasi_cli_run().call_run(&mut *store).await;
                timing.run_ns = nanos(began.elapsed()).saturating_sub(timing.instantiate_ns);
                end.map(|result| i32::from(result.is_err()))
            }
            Linked::Service(..) => Err(wasmtime::Error::msg("a module that serves was to run without a client")),
        }
    }
}

/// Where a command begins.
const START: &str = "_start";

/// Resolves the module's imports.
fn link(engine: &Engine, code: &Code, serves: Option<Http>) -> Result<Linked, Refusal> {
    match code {
        Code::Core(_) if serves.is_some() => {
            let reason = "expected a component that exports `wasi:http/incoming-handler`, got a core module".into();
            Err(Refusal::Engine { step: "link the module", reason })
        }
        Code::Core(module) => {
            let starts = module.get_export(START).and_then(|export| export.func().map(|func| (func.params().len(), func.results().len())));
            if starts != Some((0, 0)) {
                let reason = format!("expected a command, which exports the function `{START}` without parameters and results");
                return Err(Refusal::Engine { step: "link the module", reason });
            }
            let mut linker = wasmtime::Linker::new(engine);
            crate::wasi_p1::add_to_linker(&mut linker).map_err(Refusal::engine("link WASI"))?;
            crate::nn::p1::add_to_linker(&mut linker).map_err(Refusal::engine("link wasi-nn"))?;
            linker.instantiate_pre(module).map(Linked::Core).map_err(Refusal::engine("link the module"))
        }
        Code::Component(component) => {
            let mut linker = wasmtime::component::Linker::new(engine);
            crate::wasi_p2::add_to_linker(&mut linker).map_err(Refusal::engine("link WASI"))?;
            crate::nn::p2::add_to_linker(&mut linker).map_err(Refusal::engine("link wasi-nn"))?;
            crate::nn::language::component::add_to_linker(&mut linker).map_err(Refusal::engine("link language models"))?;
            recorder::listen();
            let linked = match serves {
                None => linker.instantiate_pre(component).and_then(CommandPre::new).map(Linked::Component),
                Some(limits) => http::link::add_to_linker(&mut linker)
                    .and_then(|()| ProxyPre::new(linker.instantiate_pre(component)?))
                    .map(|service| Linked::Service(service, limits)),
            };
            linked.map_err(Refusal::engine("link the component"))
        }
    }
}

/// Opens the granted directories for WASI. By way of `/proc`, because WASI takes paths; the descriptors themselves were opened by
/// the daemon, and Landlock has been told of them and of nothing else.
fn open_dirs(assignment: &Assignment, fds: &[OwnedFd]) -> Result<WasiFilesystemCtx, Refusal> {
    let mut builder = WasiCtxBuilder::new();
    builder.allow_blocking_current_thread(true);
    for (dir, fd) in assignment.dirs.iter().zip(fds) {
        let perms = match dir.access {
            Access::Read => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        builder
            .preopened_dir(format!("/proc/self/fd/{}", fd.as_raw_fd()), &dir.guest, perms)
            .map_err(|error| Refusal::Directory(dir.guest.clone(), io::Error::other(edgeguard_engine::describe(&error))))?;
    }
    Ok(builder.build().filesystem().clone())
}

/// Measures the directories that have a quota.
fn open_ledgers(assignment: &Assignment, fds: &[OwnedFd]) -> Result<Ledgers, Refusal> {
    let ledger = |(dir, fd): (&Dir, &OwnedFd)| {
        let Some(quota) = dir.quota else { return Ok(None) };
        let ledger = fd.try_clone().and_then(|fd| Ledger::new(fd, quota));
        ledger.map(Some).map_err(|error| Refusal::Directory(dir.guest.clone(), error))
    };
    assignment.dirs.iter().zip(fds).map(ledger).collect::<Result<_, _>>().map(Ledgers::new)
}

/// What the guest's end means.
pub(crate) fn outcome(error: &wasmtime::Error, hit: Option<Limit>) -> Outcome {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Outcome::Exited(*code);
    }
    if let Some(Stop(limit)) = error.downcast_ref() {
        return Outcome::Limit(*limit);
    }
    if let Some(limit) = hit {
        return Outcome::Limit(limit);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Outcome::Trapped(edgeguard_engine::bounded(&trap.to_string()));
    }
    if error.downcast_ref::<wasmtime::component::ResourceTableError>().is_some() {
        return Outcome::Limit(Limit::OpenFiles);
    }
    let text = edgeguard_engine::describe(error);
    // The engine has no type for this one.
    if text.contains("resource limit exceeded") {
        return Outcome::Limit(Limit::Instances);
    }
    Outcome::Trapped(text)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
