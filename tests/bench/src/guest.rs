//! Guests in the bare wasm engine, with the engine's own WASI.

use std::time::Instant;

use edgeguard_engine::Code;
use edgeguard_wire::worker::ModuleKind;
use serde_json::json;
use wasmtime::Engine;
use wasmtime::InstancePre;
use wasmtime::Linker;
use wasmtime::Module;
use wasmtime::Store;
use wasmtime_wasi::FsPerms;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::Measured;
use crate::nanos;

/// A fresh instance each round: how long making it took, and running it.
pub fn rounds(module: &str, rounds: &str, dir: Option<&str>) -> Measured {
    let engine = edgeguard_engine::compiler()?;
    let module = Module::from_file(&engine, module)?;
    module.initialize_copy_on_write_image()?;
    let prepared = prepare(&engine, &module)?;
    let (mut instantiate, mut run) = (Vec::new(), Vec::new());
    for _ in 0..rounds.parse::<usize>()? {
        let (made, ran) = once(&engine, &prepared, dir)?;
        instantiate.push(made);
        run.push(ran);
    }
    Ok(json!({ "instantiate_ns": instantiate, "run_ns": run }))
}

/// Native code for [`process`].
pub fn precompile(module: &str, out: &str) -> Measured {
    let native = edgeguard_engine::compiler()?.precompile_module(&std::fs::read(module)?)?;
    std::fs::write(out, &native)?;
    Ok(json!({ "bytes": native.len() }))
}

/// All that a process does for one run: engine, native code, linker, instance. Whoever starts it takes the time.
pub fn process(native: &str) -> Measured {
    let engine = edgeguard_engine::worker()?;
    let code = edgeguard_sandbox::sealed_memfd("native-code", &std::fs::read(native)?)?;
    let Code::Core(module) = edgeguard_engine::load(&engine, ModuleKind::Core, &code)? else {
        return Err("expected a core module".into());
    };
    let (made, ran) = once(&engine, &prepare(&engine, &module)?, None)?;
    Ok(json!({ "instantiate_ns": made, "run_ns": ran }))
}

fn prepare(engine: &Engine, module: &Module) -> wasmtime::Result<InstancePre<WasiP1Ctx>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_sync(&mut linker, |wasi| wasi)?;
    linker.instantiate_pre(module)
}

/// One instance and one run, in nanoseconds. The guest's output goes nowhere.
fn once(engine: &Engine, prepared: &InstancePre<WasiP1Ctx>, dir: Option<&str>) -> wasmtime::Result<(u64, u64)> {
    let begun = Instant::now();
    let mut wasi = WasiCtxBuilder::new();
    // As the product does: on the thread that calls.
    wasi.allow_blocking_current_thread(true);
    if let Some(dir) = dir {
        wasi.preopened_dir(dir, "/audio", FsPerms::ReadOnly)?;
    }
    let mut store = Store::new(engine, wasi.build_p1());
    // The engine's configuration has deadlines; this one never comes.
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = prepared.instantiate(&mut store)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    let made = begun.elapsed();
    let begun = Instant::now();
    match start.call(&mut store, ()) {
        Ok(()) => {}
        Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => {}
        Err(error) => return Err(error),
    }
    Ok((nanos(made), nanos(begun.elapsed())))
}
