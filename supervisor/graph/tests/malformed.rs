//! Two hundred malformed models for each engine: each gets an error or ends its own host, none makes one hang, and a neighbour computes on meanwhile.
//!
//! The seeds are fixed, so that what is found once is found again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;
use std::time::Instant;

use common::Blob;
use common::Host;
use common::Outcome;
use common::models;
use edgeguard_wire::graph::Load;
use rten_onnx::onnx::DataType;

const MODELS: u64 = 200;

/// Far more than any of them takes; a host that needs it hangs.
const BUDGET: Duration = Duration::from_secs(20);

/// What a host of these may have: more than the largest good one, less than an absurd dimension asks for.
const MEMORY: u64 = 1 << 30;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(drawn).unwrap() % below.max(1)
    }
}

/// A good model with something wrong: cut off, bits flipped, bytes repeated, lengths blown up, cyclic, absurdly large, or noise from the first byte.
fn malformed(seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut model = match random.next(6) {
        0 => models::identity(DataType::FLOAT, &[Some(1), models::FREE]),
        1 => models::add(),
        2 => models::matmul(),
        3 => models::expand(),
        4 => models::wide(16),
        _ => models::external_weights("/etc/passwd"),
    };
    match seed % 8 {
        0 => model.truncate(random.next(model.len())),
        1 => {
            for _ in 0..=random.next(8) {
                let at = random.next(model.len());
                model[at] ^= 1 << random.next(8);
            }
        }
        2 => {
            let at = random.next(model.len());
            let part = model[at..].to_vec();
            for _ in 0..random.next(64) {
                model.extend_from_slice(&part);
            }
        }
        3 => {
            // The longest number of a length or a tag.
            let at = random.next(model.len());
            model.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
        }
        4 => return models::cycle(),
        5 => return models::identity(DataType::FLOAT, &vec![Some(i64::MAX >> random.next(40)); 1 + random.next(8)]),
        6 => return models::bomb(1 + random.next(60)),
        _ => model = (0..random.next(4096)).map(|_| random.next(256).to_le_bytes()[0]).collect(),
    }
    model
}

fn none_disturbs(start: impl Fn() -> Host, load: impl Fn(&[u8]) -> Load) {
    let add = models::add();
    let (neighbour, _) = start().serve(&add, &load(&add));
    let mut worker = neighbour.worker();
    let two = Blob::fp32(&[2], &[1.0, 2.0]);
    let (mut loaded, mut failed, mut gone) = (0, 0, 0);
    for seed in 0..MODELS {
        let model = malformed(seed);
        let begun = Instant::now();
        let host = start();
        host.load(&model, &Load { memory: Some(MEMORY), ..load(&model) });
        match host.go() {
            // Some flips leave a model that is one: then it must compute or say why not.
            Outcome::Loaded(described) => {
                loaded += 1;
                let zeros: Option<Vec<Blob>> = described.model.inputs.iter().map(small).collect();
                if let Some(zeros) = zeros {
                    let mut worker = host.worker();
                    let placed = worker.place(&zeros);
                    worker.send(placed);
                    worker.settled(BUDGET);
                }
            }
            Outcome::Failed(_) => failed += 1,
            Outcome::Gone => gone += 1,
        }
        assert!(begun.elapsed() < BUDGET, "seed {seed} took {:?}", begun.elapsed());
        assert_eq!(worker.compute(&[two.clone(), two.clone()]).unwrap()[0].elements(), [2.0, 4.0], "after seed {seed}");
    }
    eprintln!("of {MODELS} models {failed} were refused, {gone} ended their host, and {loaded} loaded");
    assert!(failed + gone > MODELS / 2);
}

/// Zeros for an input, one where its shape is free; none where it would not fit the region.
fn small(input: &edgeguard_wire::graph::TensorInfo) -> Option<Blob> {
    let ty = input.ty?;
    let dims: Vec<u32> = input.dims.as_ref()?.iter().map(|dim| dim.unwrap_or(1)).collect();
    let bytes = ty.bytes(&dims).filter(|bytes| *bytes < 4096)?;
    Some(Blob { ty, dims, bytes: vec![0; usize::try_from(bytes).ok()?] })
}

#[test]
fn two_hundred_malformed_models_end_in_errors_with_rten() {
    none_disturbs(Host::start, common::assignment);
}

#[test]
fn two_hundred_malformed_models_end_in_errors_with_onnx_runtime() {
    let Some((library, sha256)) = common::library() else { return };
    none_disturbs(|| Host::onnxruntime(&library, sha256), common::on_onnxruntime);
}

/// `memory` of the policy: a compute that asks for more gets an error or ends the host, and what is within it is computed.
fn memory_is_capped(start: impl Fn() -> Host, load: impl Fn(&[u8]) -> Load) {
    let model = models::doubled(28);
    let (host, _) = start().serve(&model, &Load { memory: Some(256 << 20), ..load(&model) });
    let mut worker = host.worker();
    let placed = worker.place(&[Blob::fp32(&[1], &[0.0])]);
    worker.send(placed);
    // 2^28 numbers are a GiB.
    assert!(!worker.settled(BUDGET), "a compute took more memory than the policy allows");
    let model = models::doubled(4);
    let (host, _) = start().serve(&model, &Load { memory: Some(256 << 20), ..load(&model) });
    assert_eq!(host.worker().compute(&[Blob::fp32(&[1], &[1.0])]).unwrap()[0].elements(), [1.0]);
}

#[test]
fn a_compute_beyond_the_memory_of_its_graph_fails_with_rten() {
    memory_is_capped(Host::start, common::assignment);
}

#[test]
fn a_compute_beyond_the_memory_of_its_graph_fails_with_onnx_runtime() {
    let Some((library, sha256)) = common::library() else { return };
    memory_is_capped(|| Host::onnxruntime(&library, sha256), common::on_onnxruntime);
}

#[test]
fn two_hundred_malformed_models_end_in_errors_with_openvino() {
    let Some((folder, files)) = common::libraries() else { return };
    none_disturbs(|| Host::openvino(&folder, &files), common::on_openvino);
}

#[test]
fn a_compute_beyond_the_memory_of_its_graph_fails_with_openvino() {
    let Some((folder, files)) = common::libraries() else { return };
    memory_is_capped(|| Host::openvino(&folder, &files), common::on_openvino);
}
