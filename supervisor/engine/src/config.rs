//! What the engine is and is not allowed to do.
//!
//! Runs in: compiler and worker.

use std::sync::Arc;

use wasmtime::Config;
use wasmtime::Engine;
use wasmtime::InstanceAllocationStrategy;
use wasmtime::OptLevel;
use wasmtime::Result;
use wasmtime::Strategy;

use crate::publish::SealedPages;

/// Bytes of stack that guest code may use. Deeper recursion traps.
pub const MAX_GUEST_STACK: usize = 1 << 20;

/// Bytes of one guest's whole stack: its own, and what host calls made from it need.
const STACK: usize = 2 << 20;

/// Address space for one linear memory. All of what 32-bit pointers can reach, so that guest loads need no bounds check and
/// growing never moves the memory. Address space is not memory: nothing is committed until the guest touches it.
const RESERVATION: u64 = 4 << 30;

/// Unmapped bytes on both sides of a linear memory, which catch constant offsets added to a pointer.
const GUARD: u64 = 32 << 20;

/// Version of this file's choices. Part of the fingerprint: raise it whenever a line below changes.
pub(crate) const VERSION: u32 = 1;

/// The engine of `edgeguard-compile`: makes native code.
///
/// # Errors
/// What the engine says: this processor or build lacks something the configuration needs.
pub fn compiler() -> Result<Engine> {
    let mut config = shared();
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    Engine::new(&config)
}

/// The engine of `edgeguard-worker`: runs native code, has no compiler, and never holds memory that is writable and executable.
///
/// # Errors
/// What the engine says: this processor or build lacks something the configuration needs.
pub fn worker() -> Result<Engine> {
    let mut config = shared();
    config.enable_compiler(false);
    config.with_custom_code_memory(Some(Arc::new(SealedPages)));
    Engine::new(&config)
}

/// What compiler and worker agree on. Spectre mitigations are on in the engine by default and nothing here reaches them; traps
/// are taken by signals because the other way needs those mitigations off.
fn shared() -> Config {
    let mut config = Config::new();

    // WebAssembly 2.0 and components. What guests do not need is surface that a mistake in the engine could hide in.
    config.wasm_simd(true);
    config.wasm_bulk_memory(true);
    config.wasm_multi_value(true);
    config.wasm_component_model(true);
    config.wasm_relaxed_simd(false);
    config.wasm_tail_call(false);
    config.wasm_extended_const(false);
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_wide_arithmetic(false);
    config.shared_memory(false);
    config.concurrency_support(false);

    // A deadline ends a guest's loop: code looks at the epoch at every loop head and function entry.
    config.epoch_interruption(true);
    config.consume_fuel(false);
    config.max_wasm_stack(MAX_GUEST_STACK);
    config.async_stack_size(STACK);

    // One module a process and few instances: memory is mapped when an instance begins and gone when it ends, so nothing of one
    // invocation can be left for the next, and an idle worker holds none.
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.memory_reservation(RESERVATION);
    config.memory_guard_size(GUARD);
    config.guard_before_linear_memory(true);
    config.memory_may_move(false);
    config.memory_init_cow(true);

    // Outcomes name the trap. Frames of somebody else's module would only make the code larger and slower to load.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    config.native_unwind_info(false);
    config.debug_info(false);
    config
}
