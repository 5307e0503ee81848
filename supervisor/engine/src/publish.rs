//! How native code becomes executable in a worker: through a sealed file, never by changing written memory.
//!
//! Runs in: worker, before it is locked.

use wasmtime::CustomCodeMemory;
use wasmtime::Result;

/// Hands the engine's code pages to the sandbox.
pub(crate) struct SealedPages;

#[allow(unsafe_code, reason = "the engine gives bare addresses of pages that it owns")]
impl CustomCodeMemory for SealedPages {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, ptr: *const u8, len: usize) -> Result<()> {
        // A module without functions has no code.
        if len == 0 {
            return Ok(());
        }
        // SAFETY: the engine calls this once for a mapping of its own, when the code is complete and before anybody runs it.
        unsafe { edgeguard_sandbox::publish_code(ptr, len) }?;
        Ok(())
    }

    fn unpublish_executable(&self, ptr: *const u8, len: usize) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        // SAFETY: the engine calls this for what it published, when no code of it runs any more and the mapping is about to go.
        unsafe { edgeguard_sandbox::unpublish_code(ptr, len) }?;
        Ok(())
    }
}
