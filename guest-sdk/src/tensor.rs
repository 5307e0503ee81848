//! Typed tensors: a shape and the elements that fill it, borrowed from the guest.
//!
//! Runs in: the guest. Invariant: a [`Tensor`] exists only if its dimensions multiply to the number of its elements.

use std::fmt;

use crate::error::Error;
use crate::error::Result;

/// A type that a tensor can hold. Sealed: exactly the types of the two standards.
pub trait Element: Copy + Default + sealed::Sealed + 'static {
    /// Which of the standards' types this is.
    const TYPE: ElementType;
}

/// The element types that wasi-nn names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// The upper half of a single precision number. Components only: core modules have no number for it.
    Bf16,
    /// Unsigned bytes.
    U8,
    /// Signed 32-bit integers.
    I32,
    /// Signed 64-bit integers.
    I64,
}

/// A half-precision number as its bits; this crate moves it, and does no arithmetic on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F16(pub u16);

/// A bfloat16 number as its bits; this crate moves it, and does no arithmetic on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// Elements in row-major order, and the shape they fill.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a, T> {
    dimensions: &'a [u32],
    data: &'a [T],
}

impl<'a, T: Element> Tensor<'a, T> {
    /// Joins a shape to its elements. A scalar has the shape `[]` or `[1]`, as the model wants it.
    ///
    /// # Errors
    /// [`Error::Shape`] where the dimensions do not multiply to `data.len()`.
    ///
    /// ```
    /// use edgeguard_guest::Tensor;
    ///
    /// assert!(Tensor::new(&[2, 3], &[0_i64; 6]).is_ok());
    /// assert!(Tensor::new(&[2, 3], &[0_i64; 5]).is_err());
    /// assert!(Tensor::new(&[u32::MAX, u32::MAX, 2], &[0_u8; 2]).is_err());
    /// ```
    pub fn new(dimensions: &'a [u32], data: &'a [T]) -> Result<Self> {
        let expected = elements(dimensions);
        if expected == Some(data.len()) {
            Ok(Tensor { dimensions, data })
        } else {
            Err(Error::Shape { dimensions: dimensions.to_vec(), expected, found: data.len() })
        }
    }

    /// The size of each dimension, outermost first.
    #[must_use]
    pub fn dimensions(&self) -> &'a [u32] {
        self.dimensions
    }

    /// The elements, row-major.
    #[must_use]
    pub fn data(&self) -> &'a [T] {
        self.data
    }
}

/// How many elements a shape holds, unless that overflows.
fn elements(dimensions: &[u32]) -> Option<usize> {
    dimensions.iter().try_fold(1_usize, |product, &dimension| product.checked_mul(usize::try_from(dimension).ok()?))
}

impl ElementType {
    /// The core ABI's number (`wasi-nn.witx`, `$tensor_type`); bfloat16 has none.
    #[cfg_attr(not(all(target_family = "wasm", not(feature = "component"))), allow(dead_code, reason = "used by core modules only"))]
    pub(crate) fn witx(self) -> Option<u8> {
        Some(match self {
            ElementType::F16 => 0,
            ElementType::F32 => 1,
            ElementType::F64 => 2,
            ElementType::U8 => 3,
            ElementType::I32 => 4,
            ElementType::I64 => 5,
            ElementType::Bf16 => return None,
        })
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ElementType::F16 => "f16",
            ElementType::F32 => "f32",
            ElementType::F64 => "f64",
            ElementType::Bf16 => "bf16",
            ElementType::U8 => "u8",
            ElementType::I32 => "i32",
            ElementType::I64 => "i64",
        })
    }
}

mod sealed {
    /// Implemented for number types without padding, of which every bit pattern is a value: `sys` relies on both.
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty => $element:ident),+ $(,)?) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const TYPE: ElementType = ElementType::$element;
        }
    )+};
}

elements!(F16 => F16, f32 => F32, f64 => F64, Bf16 => Bf16, u8 => U8, i32 => I32, i64 => I64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_shape_is_a_scalar() {
        assert!(Tensor::new(&[], &[1.0_f32]).is_ok());
        assert!(Tensor::<f32>::new(&[], &[]).is_err());
    }

    #[test]
    fn a_zero_dimension_holds_nothing() {
        assert!(Tensor::<u8>::new(&[0, 5], &[]).is_ok());
    }

    #[test]
    fn a_product_beyond_the_address_space_is_refused() {
        let error = Tensor::new(&[u32::MAX, u32::MAX, u32::MAX], &[0_u8]).err();
        assert!(matches!(error, Some(Error::Shape { expected: None, .. })), "{error:?}");
    }
}
