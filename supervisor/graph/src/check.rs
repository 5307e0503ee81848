//! Whether a compute fits the model and the region: every index, type, shape, length and offset of the frame.
//!
//! Runs in: graph host, before a byte of the region is read.
//! Invariant: what [`check`] returns has one input for each of the model's, in its order, of a type and shape that it takes, lying in the
//! region's first half, with a length that is the shape's.
//! Does not: look at the tensors' bytes.

use std::fmt;

use edgeguard_wire::graph::ModelInfo;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::MAX_DIMS;
use edgeguard_wire::tensor::MAX_TENSORS;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::NnError;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::TensorType;

use crate::error::nn_error;

/// An input that may be copied out of the region.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) ty: TensorType,
    pub(crate) dims: &'a [u32],
    pub(crate) offset: usize,
    pub(crate) elements: usize,
}

/// Checks a compute against the model, the engine's types and the bytes in which inputs may lie.
pub(crate) fn check<'a>(compute: &'a Compute, model: &ModelInfo, types: &[TensorType], half: u64) -> Result<Vec<Input<'a>>, NnError> {
    if compute.inputs.len() > MAX_TENSORS {
        let message = format!("{} inputs in one compute, expected at most {MAX_TENSORS}", compute.inputs.len());
        return Err(nn_error(NnCode::TooLarge, message));
    }
    let mut found: Vec<Option<Input<'a>>> = vec![None; model.inputs.len()];
    for placed in &compute.inputs {
        let index = placed.index as usize;
        let (Some(wanted), Some(slot)) = (model.inputs.get(index), found.get_mut(index)) else {
            return Err(invalid(format!("input {index} does not exist; the model has {}", Names(&model.inputs))));
        };
        let name = Name(index, wanted);
        if slot.is_some() {
            return Err(invalid(format!("{name} is given twice")));
        }
        fits(name, placed, types)?;
        *slot = Some(lies(name, placed, half)?);
    }
    let missing = |index| match model.inputs.get(index) {
        Some(wanted) => invalid(format!("{} ({}) is missing", Name(index, wanted), Wanted(wanted))),
        None => invalid(format!("input {index} is missing")),
    };
    found.into_iter().enumerate().map(|(index, input)| input.ok_or_else(|| missing(index))).collect()
}

/// Type and shape.
fn fits(name: Name<'_>, placed: &Placed, types: &[TensorType]) -> Result<(), NnError> {
    let Name(_, wanted) = name;
    if placed.dims.len() > MAX_DIMS {
        return Err(nn_error(NnCode::TooLarge, format!("{name} has {} dimensions, expected at most {MAX_DIMS}", placed.dims.len())));
    }
    let found = Found(placed.ty, &placed.dims);
    if !types.contains(&placed.ty) {
        let names: Vec<&str> = types.iter().map(|ty| ty.name()).collect();
        let message = format!("{name} wants {}; got {found}; the engine takes {}", Wanted(wanted), names.join(", "));
        return Err(nn_error(NnCode::UnsupportedOperation, message));
    }
    let shape_fits = wanted.dims.as_ref().is_none_or(|dims| {
        dims.len() == placed.dims.len() && dims.iter().zip(&placed.dims).all(|(wanted, dim)| wanted.is_none_or(|wanted| wanted == *dim))
    });
    if wanted.ty.is_some_and(|ty| ty != placed.ty) || !shape_fits {
        return Err(invalid(format!("{name} wants {}; got {found}", Wanted(wanted))));
    }
    Ok(())
}

/// Length and place.
fn lies<'a>(name: Name<'_>, placed: &'a Placed, half: u64) -> Result<Input<'a>, NnError> {
    let found = Found(placed.ty, &placed.dims);
    let too_large = || nn_error(NnCode::TooLarge, format!("{name}: {found} is larger than the {half} bytes for inputs"));
    // A zero hides how large the other dimensions are, and the engine multiplies them.
    let without_zeros: Vec<u32> = placed.dims.iter().map(|dim| (*dim).max(1)).collect();
    placed.ty.bytes(&without_zeros).and_then(|bytes| isize::try_from(bytes).ok()).ok_or_else(too_large)?;
    let bytes = placed.ty.bytes(&placed.dims).filter(|bytes| *bytes <= half).ok_or_else(too_large)?;
    if placed.len != bytes {
        return Err(invalid(format!("{name}: {found} is {bytes} bytes long; got {}", placed.len)));
    }
    if placed.offset.checked_add(bytes).is_none_or(|end| end > half) {
        let message = format!("{name}: {bytes} bytes at offset {} do not lie within the {half} bytes for inputs", placed.offset);
        return Err(invalid(message));
    }
    let offset = usize::try_from(placed.offset).map_err(|_| too_large())?;
    let elements = usize::try_from(bytes / placed.ty.size()).map_err(|_| too_large())?;
    Ok(Input { ty: placed.ty, dims: &placed.dims, offset, elements })
}

fn invalid(message: String) -> NnError {
    nn_error(NnCode::InvalidArgument, message)
}

/// "input 0 `state`"
#[derive(Clone, Copy)]
struct Name<'a>(usize, &'a TensorInfo);

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "input {} `{}`", self.0, self.1.name.escape_debug())
    }
}

/// "2 inputs: 0 `input`, 1 `state`"
struct Names<'a>(&'a [TensorInfo]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => write!(out, "no inputs")?,
            1 => write!(out, "1 input")?,
            more => write!(out, "{more} inputs")?,
        }
        for (index, info) in self.0.iter().enumerate() {
            write!(out, "{} {index} `{}`", if index == 0 { ":" } else { "," }, info.name.escape_debug())?;
        }
        Ok(())
    }
}

/// "FP32 [?, 576]"
struct Wanted<'a>(&'a TensorInfo);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ", self.0.ty.map_or("any type", TensorType::name))?;
        let Some(dims) = &self.0.dims else { return write!(out, "of any shape") };
        let dims: Vec<String> = dims.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
        write!(out, "[{}]", dims.join(", "))
    }
}

/// "I64 [1, 512]"
struct Found<'a>(TensorType, &'a [u32]);

impl fmt::Display for Found<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}", self.0.name(), self.1)
    }
}
