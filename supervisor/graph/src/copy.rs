//! Elements out of shared memory and into it, once.
//!
//! Runs in: graph host.
//! Invariant: each byte of a request is read from the region exactly once, so the peer cannot change what was looked at.
//!
//! A block on the stack stands between: it stays in the nearest cache, takes the bytes at any alignment, and makes the element
//! order little-endian on any machine.

use edgeguard_sandbox::OutOfRange;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::tensor::TensorType;

use crate::each_type;
use crate::engine::Data;

/// Bytes copied at a time; a multiple of every element's size.
const BLOCK: usize = 4096;

/// Copies `count` elements that begin at byte `offset`.
///
/// # Errors
/// [`OutOfRange`] when they do not lie within the region.
pub(crate) fn take(region: &SharedMemory, offset: usize, ty: TensorType, count: usize) -> Result<Data, OutOfRange> {
    Ok(match ty {
        TensorType::Fp16 => Data::Fp16(take_all(region, offset, count)?),
        TensorType::Fp32 => Data::Fp32(take_all(region, offset, count)?),
        TensorType::Fp64 => Data::Fp64(take_all(region, offset, count)?),
        TensorType::Bf16 => Data::Bf16(take_all(region, offset, count)?),
        TensorType::U8 => Data::U8(take_all(region, offset, count)?),
        TensorType::I32 => Data::I32(take_all(region, offset, count)?),
        TensorType::I64 => Data::I64(take_all(region, offset, count)?),
    })
}

/// Copies all elements to byte `offset` and following.
///
/// # Errors
/// [`OutOfRange`] when they do not fit there.
pub(crate) fn put(region: &SharedMemory, offset: usize, data: &Data) -> Result<(), OutOfRange> {
    each_type!(data, elements => put_all(region, offset, elements))
}

fn take_all<E: Element>(region: &SharedMemory, mut offset: usize, count: usize) -> Result<Vec<E>, OutOfRange> {
    let mut elements = Vec::with_capacity(count);
    let mut block = [0; BLOCK];
    while elements.len() < count {
        let bytes = (count - elements.len()).saturating_mul(size_of::<E>()).min(BLOCK);
        let block = block.split_at_mut(bytes).0;
        region.read(offset, block)?;
        E::decode(block, &mut elements);
        offset += bytes;
    }
    Ok(elements)
}

fn put_all<E: Element>(region: &SharedMemory, mut offset: usize, elements: &[E]) -> Result<(), OutOfRange> {
    let mut block = [0; BLOCK];
    for elements in elements.chunks(BLOCK / size_of::<E>()) {
        let block = block.split_at_mut(size_of_val(elements)).0;
        E::encode(elements, block);
        region.write(offset, block)?;
        offset += block.len();
    }
    Ok(())
}

/// A number with a little-endian form.
trait Element: Copy {
    /// Appends the elements that `bytes` holds.
    fn decode(bytes: &[u8], into: &mut Vec<Self>);

    /// Fills `bytes`, which is just as long as the elements.
    fn encode(elements: &[Self], bytes: &mut [u8]);
}

macro_rules! element {
    ($($ty:ty),*) => {$(
        impl Element for $ty {
            fn decode(bytes: &[u8], into: &mut Vec<Self>) {
                into.extend(bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)));
            }

            fn encode(elements: &[Self], bytes: &mut [u8]) {
                for (element, bytes) in elements.iter().zip(bytes.as_chunks_mut().0) {
                    *bytes = element.to_le_bytes();
                }
            }
        }
    )*};
}

element!(u8, u16, i32, i64, f32, f64);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn elements_of_every_type_come_back_from_any_offset() {
        let (region, _fd) = SharedMemory::create("copy", 64 * 1024).unwrap();
        for data in [
            Data::Fp16((0..5000).collect()),
            Data::Fp32((0..5000i16).map(f32::from).collect()),
            Data::Fp64((0..5000).map(f64::from).collect()),
            Data::Bf16((0..5000).collect()),
            Data::U8((0..5000u16).map(|n| n.to_le_bytes()[0]).collect()),
            Data::I32((-2500..2500).collect()),
            Data::I64((-2500..2500).collect()),
        ] {
            for offset in [0, 1, 7, 8, 4099] {
                put(&region, offset, &data).unwrap();
                assert_eq!(take(&region, offset, data.ty(), data.len()).unwrap(), data);
            }
        }
    }

    #[test]
    fn elements_are_little_endian() {
        let (region, _fd) = SharedMemory::create("copy", 64).unwrap();
        put(&region, 0, &Data::I32(vec![0x0403_0201])).unwrap();
        let mut bytes = [0; 4];
        region.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4]);
    }

    #[test]
    fn elements_beyond_the_region_are_refused() {
        let (region, _fd) = SharedMemory::create("copy", 64).unwrap();
        assert!(take(&region, 60, TensorType::I64, 1).is_err());
        assert!(put(&region, 60, &Data::I64(vec![1])).is_err());
    }
}
