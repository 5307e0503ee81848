//! libtorch, by the C interface of `torch.cpp`.
//!
//! Runs in: graph host for TorchScript. The only place of this crate with `unsafe`: libtorch is C++, and everything said to it is.
//! Invariant: no pointer is handed out; what hangs on a model or on outputs borrows them. No length or index reaches libtorch unchecked.
//! Still possible: libtorch ends the process where it finds itself in a state that should not be. The daemon sees a host that died.
#![allow(unsafe_code, reason = "a C interface; each call stands beside its reason")]

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_void;
use std::ptr::NonNull;

use edgeguard_graph::engine::Data;

/// As many as `torch.cpp` has room for.
const MAX_DIMS: usize = edgeguard_wire::tensor::MAX_DIMS;

/// The longest text that is taken from the library: a model of the tests' own.
const MAX_SAID: usize = 16 << 20;

#[repr(C)]
struct RawTensor {
    ty: i32,
    rank: u32,
    dims: [i64; MAX_DIMS],
    data: *const u8,
    bytes: u64,
}

type Say = unsafe extern "C" fn(*mut c_void, *const c_char, usize);

unsafe extern "C" {
    fn eg_version(say: Say, to: *mut c_void);
    fn eg_prepare(say: Say, to: *mut c_void) -> bool;
    fn eg_start(threads: i32, say: Say, to: *mut c_void) -> bool;
    fn eg_warm_up(say: Say, to: *mut c_void) -> bool;
    fn eg_load(bytes: *const u8, len: usize, say: Say, to: *mut c_void) -> *mut c_void;
    fn eg_model_free(model: *mut c_void);
    fn eg_model_inputs(model: *const c_void) -> usize;
    fn eg_model_outputs(model: *const c_void) -> usize;
    fn eg_model_input(model: *const c_void, index: usize, say: Say, to: *mut c_void);
    fn eg_compute(model: *const c_void, inputs: *const RawTensor, count: usize, say: Say, to: *mut c_void) -> *mut c_void;
    fn eg_outputs_free(outputs: *mut c_void);
    fn eg_output(outputs: *const c_void, index: usize, into: *mut RawTensor, say: Say, to: *mut c_void) -> bool;
    fn eg_make(text: *const c_char, rows: i64, columns: i64, say: Say, to: *mut c_void) -> bool;
}

/// What the library said, if it said anything.
#[derive(Debug, Default)]
struct Said(Vec<u8>);

impl Said {
    fn to(&mut self) -> *mut c_void {
        std::ptr::from_mut(self).cast()
    }

    fn words(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

unsafe extern "C" fn hear(to: *mut c_void, text: *const c_char, len: usize) {
    // SAFETY: `to` is the `Said` that the caller of the library still holds, alone; `text` has `len` bytes, which the library keeps until this returns.
    let (said, text) = unsafe { (&mut *to.cast::<Said>(), std::slice::from_raw_parts(text.cast::<u8>(), len)) };
    said.0 = text.get(..len.min(MAX_SAID)).unwrap_or_default().to_vec();
}

/// The library's version, as its headers had it when this was built.
pub fn version() -> String {
    let mut said = Said::default();
    // SAFETY: `said` outlives the call.
    unsafe { eg_version(hear, said.to()) };
    said.words()
}

/// Has the library read what this machine's processor can, from files that nobody may open later. Starts no thread.
///
/// # Errors
/// In the library's words.
pub fn prepare() -> Result<(), String> {
    let mut said = Said::default();
    // SAFETY: `said` outlives the call; nothing else calls the library yet.
    if unsafe { eg_prepare(hear, said.to()) } { Ok(()) } else { Err(said.words()) }
}

/// Says how many threads a compute has, switches off what makes code, and starts the one thread for a model's asynchronous parts.
///
/// # Errors
/// In the library's words.
pub fn start(threads: u16) -> Result<(), String> {
    let mut said = Said::default();
    // SAFETY: `said` outlives the call; nothing else calls the library yet.
    if unsafe { eg_start(i32::from(threads), hear, said.to()) } { Ok(()) } else { Err(said.words()) }
}

/// Computes something on all threads of this thread's computes, so that they exist.
///
/// # Errors
/// In the library's words.
pub fn warm_up() -> Result<(), String> {
    let mut said = Said::default();
    // SAFETY: `said` outlives the call.
    if unsafe { eg_warm_up(hear, said.to()) } { Ok(()) } else { Err(said.words()) }
}

/// A model. Computing does not change it: its methods are read, and the interpreter's state is the compute's own.
#[derive(Debug)]
pub struct Model(NonNull<c_void>);

// SAFETY: libtorch allows a module's method to be run from several threads at once.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Model {
    /// Parses a model.
    ///
    /// # Errors
    /// In the library's words.
    pub fn load(bytes: &[u8]) -> Result<Self, String> {
        let mut said = Said::default();
        // SAFETY: the library copies the bytes before it returns; `said` outlives the call.
        let model = unsafe { eg_load(bytes.as_ptr(), bytes.len(), hear, said.to()) };
        NonNull::new(model).map(Self).ok_or_else(|| said.words())
    }

    /// The names of its inputs, in their order.
    pub fn inputs(&self) -> Vec<String> {
        // SAFETY: the model is alive.
        let count = unsafe { eg_model_inputs(self.0.as_ptr()) };
        let name = |index| {
            let mut said = Said::default();
            // SAFETY: the model is alive, `said` outlives the call, and an index beyond the last is looked at there.
            unsafe { eg_model_input(self.0.as_ptr(), index, hear, said.to()) };
            said.words()
        };
        (0..count).map(name).collect()
    }

    /// How many outputs it has.
    pub fn outputs(&self) -> usize {
        // SAFETY: the model is alive.
        unsafe { eg_model_outputs(self.0.as_ptr()) }
    }

    /// Computes.
    ///
    /// # Errors
    /// In the library's words.
    pub fn compute(&self, inputs: &[View<'_>]) -> Result<Outputs, String> {
        let raw: Vec<RawTensor> = inputs.iter().map(View::raw).collect::<Option<_>>().ok_or("an input has too many dimensions")?;
        let mut said = Said::default();
        // SAFETY: the model is alive; `raw` has as many tensors as are said, and each points at as many bytes as it says, which live until this returns.
        let outputs = unsafe { eg_compute(self.0.as_ptr(), raw.as_ptr(), raw.len(), hear, said.to()) };
        NonNull::new(outputs).map(Outputs).ok_or_else(|| said.words())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: made by `load`, freed here and nowhere else.
        unsafe { eg_model_free(self.0.as_ptr()) };
    }
}

/// A tensor as the library sees it: the type's number (`torch.cpp` has the same list), the shape, the numbers' bytes.
#[derive(Debug)]
pub struct View<'a> {
    /// FP16, FP32, FP64, BF16, U8, I32, I64, counted from 0.
    pub ty: i32,
    /// The shape.
    pub dims: Vec<i64>,
    /// The numbers, in this machine's order.
    pub bytes: &'a [u8],
}

impl View<'_> {
    fn raw(&self) -> Option<RawTensor> {
        let mut dims = [0; MAX_DIMS];
        dims.get_mut(..self.dims.len())?.copy_from_slice(&self.dims);
        Some(RawTensor {
            ty: self.ty,
            rank: u32::try_from(self.dims.len()).ok()?,
            dims,
            data: self.bytes.as_ptr(),
            bytes: self.bytes.len() as u64,
        })
    }
}

/// The bytes of a tensor's numbers, where they lie.
pub fn bytes_of(data: &Data) -> &[u8] {
    edgeguard_graph::each_type!(data, elements => {
        // SAFETY: numbers have no padding and any bytes are good to read; the length is theirs, and the borrow is theirs as well.
        unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), size_of_val(elements.as_slice())) }
    })
}

/// What a compute gave.
#[derive(Debug)]
pub struct Outputs(NonNull<c_void>);

impl Outputs {
    /// One of them.
    ///
    /// # Errors
    /// In the library's words: it is of a type that wasi-nn has not.
    pub fn get(&self, index: usize) -> Result<View<'_>, String> {
        let mut raw = RawTensor { ty: -1, rank: 0, dims: [0; MAX_DIMS], data: std::ptr::null(), bytes: 0 };
        let mut said = Said::default();
        // SAFETY: the outputs are alive, `raw` and `said` outlive the call.
        if !unsafe { eg_output(self.0.as_ptr(), index, &raw mut raw, hear, said.to()) } {
            return Err(said.words());
        }
        let dims = raw.dims.get(..raw.rank as usize).unwrap_or_default().to_vec();
        let len = usize::try_from(raw.bytes).map_err(|_| "an output beyond this machine")?;
        let bytes = match NonNull::new(raw.data.cast_mut()) {
            // SAFETY: the tensor is contiguous, has so many bytes, and lives as long as `self`, which the view borrows.
            Some(data) if len > 0 => unsafe { std::slice::from_raw_parts(data.as_ptr(), len) },
            _ => &[],
        };
        Ok(View { ty: raw.ty, dims, bytes })
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        // SAFETY: made by `compute`, freed here and nowhere else.
        unsafe { eg_outputs_free(self.0.as_ptr()) };
    }
}

/// A model from the text of its methods, with a parameter `weight` of `rows` and `columns`; for tests.
///
/// # Errors
/// In the library's words.
#[doc(hidden)]
pub fn make(text: &CStr, rows: u16, columns: u16) -> Result<Vec<u8>, String> {
    let mut said = Said::default();
    // SAFETY: the text ends with a zero, and `said` outlives the call.
    if unsafe { eg_make(text.as_ptr(), i64::from(rows), i64::from(columns), hear, said.to()) } { Ok(said.0) } else { Err(said.words()) }
}
