//! The raw ABI, one file for each; the only place in the kit with `unsafe`.
//!
//! Runs in: the guest. Each backend offers the same two handles, `Graph` and `Context`, so that nothing above knows which one
//! it speaks to.
#![allow(unsafe_code, reason = "the imports of wasi-nn are foreign functions; nothing outside this folder may call one")]

use crate::tensor::Element;

#[cfg(all(target_family = "wasm", feature = "component"))]
mod component;
#[cfg(all(target_family = "wasm", not(feature = "component")))]
mod language;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(all(target_family = "wasm", not(feature = "component")))]
mod preview1;

#[cfg(all(target_family = "wasm", feature = "component"))]
pub(crate) use component::{Context, Graph, Language};
#[cfg(all(target_family = "wasm", not(feature = "component")))]
pub(crate) use language::Language;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{Context, Graph, Language};
#[cfg(all(target_family = "wasm", not(feature = "component")))]
pub(crate) use preview1::{Context, Graph};

/// How far reading an output got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "no host answers a native build"))]
pub(crate) enum Reading {
    /// All of it, in so many bytes.
    All(usize),
    /// It did not fit; the host may have said how many bytes it takes.
    Needs(Option<usize>),
}

/// The elements as the host sees them: wasm is little-endian, and so is the ABI.
pub(crate) fn bytes<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: `Element` is sealed to number types without padding, so each of the `size_of_val` bytes behind the slice is
    // initialised; `u8` asks for no alignment, and the borrow keeps the elements alive and unchanged.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The same, to be written to.
pub(crate) fn bytes_mut<T: Element>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes`; and every bit pattern is a value of a sealed `Element`, so whatever the host writes is one.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_seen_as_their_own_bytes() {
        assert_eq!(bytes(&[1_i32, -1]), [1_i32.to_ne_bytes(), (-1_i32).to_ne_bytes()].concat());
        let mut values = [0.0_f64; 2];
        bytes_mut(&mut values)[8..].copy_from_slice(&2.5_f64.to_ne_bytes());
        assert_eq!(values, [0.0, 2.5]);
    }
}
