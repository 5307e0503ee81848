//! Core modules: WasmEdge's functions for language models, in the import module of wasi-nn.
//!
//! A context is given back when its [`Language`] is dropped: a model has few.

use crate::error::Call;
use crate::error::Code;
use crate::error::Error;
use crate::error::Result;
use crate::graph::Port;
use crate::sys::Reading;
use crate::sys::preview1::Context;
use crate::sys::preview1::Graph;
use crate::sys::preview1::answer;
use crate::sys::preview1::reading;
use crate::tensor::ElementType;

#[link(wasm_import_module = "wasi_ephemeral_nn")]
unsafe extern "C" {
    fn load_by_name_with_config(name: *const u8, name_len: usize, config: *const u8, config_len: usize, graph: *mut u32) -> u32;
    safe fn compute_single(context: u32) -> u32;
    fn get_output_single(context: u32, index: u32, into: *mut u8, into_len: usize, written: *mut u32) -> u32;
    safe fn finalize_execution_context(context: u32) -> u32;
}

/// A context of a language model.
#[derive(Debug)]
pub(crate) struct Language {
    context: Context,
    /// The piece before filled the context.
    full: bool,
}

impl Language {
    pub(crate) fn open(name: &str, options: &str) -> Result<Language> {
        let mut graph = 0;
        // SAFETY: `name` and `options` are borrowed for the call and the host only reads them; `graph` is a live `u32` that the host may write.
        let errno = unsafe { load_by_name_with_config(name.as_ptr(), name.len(), options.as_ptr(), options.len(), &raw mut graph) };
        answer(Call::LoadByName, errno)?;
        Ok(Language { context: Graph(graph).context()?, full: false })
    }

    pub(crate) fn prompt(&mut self, text: &str) -> Result<()> {
        self.full = false;
        // Guests and hosts of this extension agree on this shape, whatever the length is.
        self.context.set_input(Port::from(0), ElementType::U8, &[1], text.as_bytes())
    }

    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        if std::mem::take(&mut self.full) {
            return Ok(None);
        }
        match answer(Call::Compute, compute_single(self.context.0)) {
            Ok(()) => {}
            // The token that ends an answer is a mark, and no text.
            Err(Error::Host { code: Code::EndOfSequence, .. }) => return Ok(None),
            Err(Error::Host { code: Code::ContextFull, .. }) => self.full = true,
            Err(error) => return Err(error),
        }
        let mut room = FIRST_PIECE;
        loop {
            let mut piece = vec![0; room];
            match self.piece(&mut piece)? {
                Reading::All(bytes) => {
                    piece.truncate(bytes);
                    return Ok(Some(piece));
                }
                Reading::Needs(_) if room == MAX_PIECE => return Err(Error::OutputTooLarge { room }),
                Reading::Needs(_) => room = MAX_PIECE,
            }
        }
    }

    fn piece(&self, into: &mut [u8]) -> Result<Reading> {
        let mut written = 0;
        // SAFETY: `into` is exclusively borrowed for the call and the host writes at most `into.len()` bytes of it; `written` is a live `u32` that the
        // host may write.
        let errno = unsafe { get_output_single(self.context.0, 0, into.as_mut_ptr(), into.len(), &raw mut written) };
        reading(errno, written, into.len())
    }
}

impl Drop for Language {
    fn drop(&mut self) {
        // A context that is gone already needs no closing.
        let _ = finalize_execution_context(self.context.0);
    }
}

/// Bytes that most tokens fit into.
const FIRST_PIECE: usize = 256;
/// Bytes that every token fits into.
const MAX_PIECE: usize = 64 << 10;
