//! The language host: one process for one GGUF model, with llama.cpp inside.
//!
//! Runs in: language host.
#![deny(unsafe_code)]
