//! What holds for llama.cpp as a whole: its start, its log, its end.
//!
//! Runs in: language host.

use std::ffi::CStr;
use std::ffi::c_char;
use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use llama_cpp_sys_2 as sys;

/// The longest that is kept of what the engine says, in bytes.
const MAX_WORDS: usize = 1024;

/// The last errors that the engine logged.
static WORDS: Mutex<String> = Mutex::new(String::new());

/// Proof that llama.cpp was started.
#[derive(Debug, Clone, Copy)]
pub struct Backend(());

impl Backend {
    /// Starts it, once; later calls find it started.
    pub fn start() -> Self {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| {
            // SAFETY: both callbacks are functions of this program that live as long as it, and neither unwinds. `llama_backend_init` is called once.
            unsafe {
                sys::llama_log_set(Some(logged), std::ptr::null_mut());
                sys::ggml_set_abort_callback(Some(aborted));
                sys::llama_backend_init();
            }
        });
        Self(())
    }
}

/// Version of the engine, as it says it.
pub fn version() -> String {
    // SAFETY: a string constant of the library.
    unsafe { CStr::from_ptr(sys::llama_version()) }.to_string_lossy().into_owned()
}

/// Instructions that the engine was built with and this processor lacks. With one of them missing the first compute would end the process.
pub fn missing_instructions() -> Vec<&'static str> {
    let mut missing = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! needs {
            ($($name:tt by $built:ident),*) => {$(
                // SAFETY: it takes nothing and returns a constant of the build.
                if unsafe { sys::$built() } != 0 && !std::is_x86_feature_detected!($name) {
                    missing.push($name);
                }
            )*};
        }
        needs!(
            "ssse3" by ggml_cpu_has_ssse3,
            "avx" by ggml_cpu_has_avx,
            "avx2" by ggml_cpu_has_avx2,
            "bmi2" by ggml_cpu_has_bmi2,
            "f16c" by ggml_cpu_has_f16c,
            "fma" by ggml_cpu_has_fma,
            "avxvnni" by ggml_cpu_has_avx_vnni,
            "avx512f" by ggml_cpu_has_avx512,
            "avx512vbmi" by ggml_cpu_has_avx512_vbmi,
            "avx512vnni" by ggml_cpu_has_avx512_vnni,
            "avx512bf16" by ggml_cpu_has_avx512_bf16
        );
    }
    missing
}

/// What the engine logged as errors since the last call, on one line: foreign text.
pub fn words() -> String {
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *words).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Keeps errors, drops everything else: a line for each tensor of a model is nothing for a log.
unsafe extern "C" fn logged(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if level != sys::GGML_LOG_LEVEL_ERROR || text.is_null() {
        return;
    }
    // SAFETY: the engine passes a string that ends with a zero and stays for the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    let left = MAX_WORDS.saturating_sub(words.len());
    words.push_str(text.get(..text.floor_char_boundary(left)).unwrap_or_default());
}

/// The engine is about to end the process: one line says why, instead of a debugger being called for.
unsafe extern "C" fn aborted(text: *const c_char) {
    if !text.is_null() {
        // SAFETY: as above.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        // Without the folder that it was built in.
        let text = text.rsplit_once("llama.cpp/").map_or(&*text, |(_, rest)| rest);
        crate::log(&format!("engine gives up: {}", text.escape_debug()));
    }
    std::process::abort();
}

/// How a tensor of this type lies in memory: elements of a block, and the block's bytes. `None` for a type that the engine does not have.
pub fn layout(ty: u32) -> Option<(u64, u64)> {
    if ty >= sys::GGML_TYPE_COUNT {
        return None;
    }
    // SAFETY: both read a table of constants at an index within it; types that were given up have zeros there.
    let (block, bytes) = unsafe { (sys::ggml_blck_size(ty), sys::ggml_type_size(ty)) };
    Some((u64::try_from(block).ok()?, u64::try_from(bytes).ok()?)).filter(|(block, bytes)| *block > 0 && *bytes > 0)
}

/// Keeps the engine from calling for a debugger when an exception ends the process: that would be a fork, which the lock answers with a kill, and the cause
/// would be lost. `hardened` stands for there being one thread.
pub fn no_debugger(_hardened: &edgeguard_sandbox::Hardened) {
    // SAFETY: a process has one thread when it is hardened, and starts none until its file system is restricted, which takes `Hardened` away.
    unsafe { std::env::set_var("GGML_NO_BACKTRACE", "1") };
}
