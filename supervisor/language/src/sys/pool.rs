//! Threads that compute for one context at a time.
//!
//! Runs in: language host.
//! Invariant: all threads of a pool exist, and have computed once, when it is made: none starts later, when the lock would kill it.

use std::ptr::NonNull;
use std::sync::Mutex;

use llama_cpp_sys_2 as sys;

use super::Backend;

/// Memory of the trial's graph, far more than it takes.
const TRIAL: usize = 1 << 20;

/// A pool of threads; the one that asks counts as one of them.
#[derive(Debug)]
pub struct Pool {
    pool: NonNull<sys::ggml_threadpool>,
    threads: i32,
    /// Held while a context computes with it.
    pub(super) busy: Mutex<()>,
}

// SAFETY: the pool's own state is under its own locks, and whoever computes with it holds `busy`.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// Starts `threads` less one, and has all of them compute something. `None` if the engine could not.
    pub fn start(_: Backend, threads: u8) -> Option<Self> {
        let threads = i32::from(threads.max(1));
        // SAFETY: the parameters are filled in by the library before they are read; the pool is freed once, on drop.
        let pool = unsafe {
            let mut parameters = sys::ggml_threadpool_params_default(threads);
            sys::ggml_threadpool_new(&raw mut parameters)
        };
        let pool = Self { pool: NonNull::new(pool)?, threads, busy: Mutex::default() };
        pool.try_out().then_some(pool)
    }

    /// How many threads compute.
    pub fn threads(&self) -> i32 {
        self.threads
    }

    pub(super) fn as_ptr(&self) -> *mut sys::ggml_threadpool {
        self.pool.as_ptr()
    }

    /// Adds two small vectors on all threads.
    fn try_out(&self) -> bool {
        // SAFETY: the graph, its tensors and its numbers lie in the memory of `ctx`, which is freed last; it has room for far more. The work buffer is as
        // long as the plan asks for and outlives the compute. The tensors' numbers are written before they are read.
        unsafe {
            let ctx = sys::ggml_init(sys::ggml_init_params { mem_size: TRIAL, mem_buffer: std::ptr::null_mut(), no_alloc: false });
            if ctx.is_null() {
                return false;
            }
            let numbers = sys::ggml_set_f32(sys::ggml_new_tensor_1d(ctx, sys::GGML_TYPE_F32, 4096), 1.0);
            let graph = sys::ggml_new_graph(ctx);
            sys::ggml_build_forward_expand(graph, sys::ggml_add(ctx, numbers, numbers));
            let mut plan = sys::ggml_graph_plan(graph, self.threads, self.as_ptr());
            let mut work = vec![0_u8; plan.work_size];
            plan.work_data = work.as_mut_ptr();
            let all = plan.n_threads == self.threads;
            let status = sys::ggml_graph_compute(graph, &raw mut plan);
            sys::ggml_free(ctx);
            all && status == sys::GGML_STATUS_SUCCESS
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: made by `start`, freed here and nowhere else; the contexts that used it are gone, for they held the pool.
        unsafe { sys::ggml_threadpool_free(self.as_ptr()) };
    }
}
