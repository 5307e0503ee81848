//! A model, its vocabulary, and the way from text to tokens and back.
//!
//! Runs in: language host.

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::io;
use std::os::fd::IntoRawFd as _;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Mutex;

use llama_cpp_sys_2 as sys;

use super::Backend;

/// A token's number, below [`Model::vocabulary`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Token(pub(super) sys::llama_token);

/// A model whose weights are mapped from its file.
#[derive(Debug)]
pub struct Model {
    model: NonNull<sys::llama_model>,
    vocabulary: NonNull<sys::llama_vocab>,
    /// Making a context writes to the model, so one is made at a time.
    pub(super) making: Mutex<()>,
}

// SAFETY: llama.cpp's models are read by any number of threads; the one thing that writes is under `making`.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

unsafe extern "C" {
    /// fdopen(3).
    fn fdopen(fd: c_int, mode: *const c_char) -> *mut c_void;
    /// fclose(3).
    fn fclose(file: *mut c_void) -> c_int;
    /// rewind(3).
    fn rewind(file: *mut c_void);
}

impl Model {
    /// Parses the model from the beginning of `file` and maps its weights. `Ok(None)` where the engine refuses it; [`super::words`] then says why.
    ///
    /// # Errors
    /// What the C library says.
    pub fn load(_: Backend, file: OwnedFd) -> io::Result<Option<Self>> {
        let fd = file.into_raw_fd();
        // SAFETY: the descriptor was given up for this and belongs to the stream from here on.
        let stream = unsafe { fdopen(fd, c"rb".as_ptr()) };
        if stream.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the stream is open until it is closed below, which the mapping of the file outlives. The parameters are the library's own defaults, with
        // no pointer of ours in them.
        let model = unsafe {
            rewind(stream);
            let mut parameters = sys::llama_model_default_params();
            parameters.load_mode = sys::LLAMA_LOAD_MODE_MMAP;
            parameters.n_gpu_layers = 0;
            let model = sys::llama_model_load_from_file_ptr(stream, parameters);
            fclose(stream);
            model
        };
        let Some(model) = NonNull::new(model) else { return Ok(None) };
        // SAFETY: the model was just loaded; its vocabulary lives as long as it.
        let vocabulary = unsafe { sys::llama_model_get_vocab(model.as_ptr()) };
        match NonNull::new(vocabulary.cast_mut()) {
            Some(vocabulary) => Ok(Some(Self { model, vocabulary, making: Mutex::default() })),
            None => {
                // SAFETY: nobody else has it.
                unsafe { sys::llama_model_free(model.as_ptr()) };
                Ok(None)
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_model {
        self.model.as_ptr()
    }

    pub(super) fn vocab(&self) -> *const sys::llama_vocab {
        self.vocabulary.as_ptr()
    }

    /// Number of tokens in the vocabulary.
    pub fn vocabulary(&self) -> u32 {
        // SAFETY: the vocabulary lives as long as the model.
        unsafe { sys::llama_vocab_n_tokens(self.vocab()) }.try_into().unwrap_or(0)
    }

    /// Whether it can take texts apart at all.
    pub fn reads_text(&self) -> bool {
        // SAFETY: it reads a number of the vocabulary.
        self.vocabulary() > 0 && unsafe { sys::llama_vocab_type(self.vocab()) } != sys::LLAMA_VOCAB_TYPE_NONE
    }

    /// The first token, with which a model is tried out: which one it is does not matter.
    pub fn any_token(&self) -> Token {
        Token(0)
    }

    /// Tokens of the context that it was trained with.
    pub fn trained_context(&self) -> u32 {
        // SAFETY: it reads a number of the model.
        unsafe { sys::llama_model_n_ctx_train(self.as_ptr()) }.try_into().unwrap_or(0)
    }

    /// Numbers in one embedding.
    pub fn embedding(&self) -> u32 {
        // SAFETY: it reads a number of the model.
        unsafe { sys::llama_model_n_embd_out(self.as_ptr()) }.try_into().unwrap_or(0)
    }

    /// Whether it reads the prompt with one network and writes with another.
    pub fn has_encoder(&self) -> bool {
        // SAFETY: it reads the model's architecture.
        unsafe { sys::llama_model_has_encoder(self.as_ptr()) }
    }

    /// What it is, in the engine's words: architecture, size, quantisation. Foreign text.
    pub fn description(&self) -> String {
        let mut buffer: [c_char; 128] = [0; 128];
        // SAFETY: the buffer's true length is passed, and the library ends the text with a zero within it.
        unsafe {
            sys::llama_model_desc(self.as_ptr(), buffer.as_mut_ptr(), buffer.len());
            CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
        }
    }

    /// Takes a text apart, with the special tokens that the model puts around a text, and with those that stand in it. `Err` has the number of tokens if
    /// they are more than `max`.
    pub fn tokens(&self, text: &str, max: u32) -> Result<Vec<Token>, u32> {
        let (Ok(len), Ok(room)) = (i32::try_from(text.len()), i32::try_from(max)) else { return Err(u32::MAX) };
        // A buffer for all of `max` would be large for a short text: a token is at least a byte, but for the few that are put around.
        let mut tokens = vec![Token(0); room.min(len.saturating_add(8)).unsigned_abs() as usize];
        let capacity = i32::try_from(tokens.len()).unwrap_or(0);
        // SAFETY: text and buffer are passed with their true lengths; a token is a `llama_token` in memory.
        let count =
            unsafe { sys::llama_tokenize(self.vocab(), text.as_ptr().cast(), len, tokens.as_mut_ptr().cast(), capacity, true, true) };
        match u32::try_from(count) {
            Ok(count) => {
                tokens.truncate(count as usize);
                Ok(tokens)
            }
            Err(_) => Err(count.unsigned_abs()),
        }
    }

    /// A token's text, special ones by their name; `None` if it has more than `max` bytes. It need not be whole characters.
    pub fn piece(&self, token: Token, max: usize) -> Option<Vec<u8>> {
        let mut piece = vec![0_u8; max];
        let room = i32::try_from(piece.len()).ok()?;
        // SAFETY: the token came from this model, and the buffer's true length is passed.
        let len = unsafe { sys::llama_token_to_piece(self.vocab(), token.0, piece.as_mut_ptr().cast(), room, 0, true) };
        piece.truncate(usize::try_from(len).ok()?);
        Some(piece)
    }

    /// Whether the model ends its answer with this token.
    pub fn ends(&self, token: Token) -> bool {
        // SAFETY: the token came from this model.
        unsafe { sys::llama_vocab_is_eog(self.vocab(), token.0) }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: contexts and samplers hold the model, so none is left.
        unsafe { sys::llama_model_free(self.as_ptr()) };
    }
}
