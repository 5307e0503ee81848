//! libtorch through the real host, locked, beside the same library in this process: every type, every shape, not one bit different.
//!
//! Models are made by the library itself. Run with `cargo test --release -p edgeguard-torch --features libtorch`.
#![cfg(feature = "libtorch")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../graph/tests/common/mod.rs"]
mod common;

use std::ffi::CString;
use std::sync::OnceLock;
use std::time::Duration;

use common::Blob;
use common::Host;
use common::Outcome;
use edgeguard_graph::engine::Data;
use edgeguard_graph::engine::Engine as _;
use edgeguard_graph::engine::Seat;
use edgeguard_graph::engine::Tensor;
use edgeguard_torch::engine::Torch;
use edgeguard_torch::sys;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::Engine;
use edgeguard_wire::graph::Load;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::TensorType;

/// The library in this process, with one thread.
fn native() -> &'static Torch {
    static NATIVE: OnceLock<Torch> = OnceLock::new();
    NATIVE.get_or_init(|| Torch::start(1, 1).unwrap())
}

/// A model with this method and a parameter `weight` of 64 by 64.
fn model(text: &str) -> Vec<u8> {
    native();
    sys::make(&CString::new(text).unwrap(), 64, 64).unwrap()
}

fn load(model: &[u8]) -> Load {
    Load { engine: Engine::PyTorch, encoding: Encoding::PyTorch, ..common::assignment(model) }
}

fn start() -> Host {
    Host::start_program("edgeguard-torch")
}

fn serving(model: &[u8]) -> Host {
    start().serve(model, &load(model)).0
}

const IDENTITY: &str = "def forward(self, x: Tensor) -> Tensor:\n    return x.clone()\n";
const LAYERS: &str = "def forward(self, x: Tensor, y: Tensor) -> Tuple[Tensor, Tensor]:\n    z = torch.relu(torch.matmul(x, self.weight) + y)\n    return torch.softmax(z, 1), torch.sum(z)\n";

#[test]
fn tensors_of_every_type_come_back_as_they_went() {
    let host = serving(&model(IDENTITY));
    for ty in [TensorType::Fp16, TensorType::Fp32, TensorType::Fp64, TensorType::Bf16, TensorType::U8, TensorType::I32, TensorType::I64] {
        for dims in [vec![4, 3], vec![], vec![0, 3]] {
            let len = usize::try_from(ty.bytes(&dims).unwrap()).unwrap();
            // Small numbers: no pattern of bits that is no number.
            let input = Blob { ty, dims, bytes: (0..len).map(|at| u8::from(at % 8 == 0)).collect() };
            assert_eq!(host.worker().compute(std::slice::from_ref(&input)).unwrap(), [input], "{ty:?}");
        }
    }
}

#[test]
fn a_model_computes_through_the_host_what_it_computes_here() {
    let bytes = model(LAYERS);
    let (host, loaded) = start().serve(&bytes, &load(&bytes));
    let names: Vec<&str> = loaded.model.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!((names, loaded.model.outputs.len()), (vec!["x", "y"], 2));
    assert!(loaded.engine.starts_with("pytorch "), "{}", loaded.engine);
    let graph = native().load(bytes).unwrap();
    for rows in [1u16, 7, 64] {
        let numbers: Vec<f32> = (0..rows * 64).map(|n| f32::from(n % 97) / 97.0).collect();
        let (dims, other) = (vec![u32::from(rows), 64], vec![0.25; 64]);
        let found = host.worker_with(4 << 20).compute(&[Blob::fp32(&dims, &numbers), Blob::fp32(&[64], &other)]).unwrap();
        let inputs = vec![Tensor { dims, data: Data::Fp32(numbers) }, Tensor { dims: vec![64], data: Data::Fp32(other) }];
        let expected: Vec<Blob> = graph
            .compute(Seat(0), inputs)
            .unwrap()
            .iter()
            .map(|tensor| Blob { ty: tensor.data.ty(), dims: tensor.dims.clone(), bytes: sys::bytes_of(&tensor.data).to_vec() })
            .collect();
        assert_eq!(found, expected, "{rows} rows");
        assert!(found[1].dims.is_empty() && found[1].elements()[0] > 0.0);
    }
}

#[test]
fn a_wrong_tensor_gets_the_interpreters_error_and_the_next_one_is_computed() {
    let host = serving(&model(LAYERS));
    let mut worker = host.worker();
    let (good, other, wrong) = (Blob::fp32(&[1, 64], &[1.0; 64]), Blob::fp32(&[64], &[0.0; 64]), Blob::fp32(&[1, 3], &[1.0; 3]));
    let error = worker.compute(&[wrong, other.clone()]).unwrap_err();
    assert_eq!(error.code, NnCode::RuntimeError);
    assert!(error.message.starts_with("pytorch: "), "{}", error.message);
    assert_eq!(worker.compute(&[good, other]).unwrap().len(), 2);
}

#[test]
fn what_takes_or_gives_no_tensors_is_refused_by_name() {
    for (text, expected) in [
        ("def forward(self, x: int) -> Tensor:\n    return self.weight + x\n", "argument `x` of `forward` is `int`"),
        ("def forward(self, x: Tensor) -> List[Tensor]:\n    return [x]\n", "a tensor or a tuple of tensors is served"),
        ("def other(self, x: Tensor) -> Tensor:\n    return x\n", "no method `forward`"),
    ] {
        let bytes = model(text);
        let host = start();
        host.load(&bytes, &load(&bytes));
        let Outcome::Failed(reason) = host.go() else { panic!("served: {text}") };
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn the_host_is_locked_before_it_parses_and_has_all_its_threads() {
    let bytes = model(LAYERS);
    for (computes, threads) in [(1, 1), (2, 2)] {
        let host = start();
        let report = host.load(&bytes, &Load { computes, threads, ..load(&bytes) });
        // The main thread, the one that watches deadlines, the model's asynchronous one; for each compute a team; the helpers that all share for small operators.
        assert_eq!(report.threads, 3 + computes * threads + (threads - 1), "{report:?}");
        let Outcome::Loaded(_) = host.go() else { panic!("model refused") };
        let mut worker = host.worker_with(8 << 20);
        let rows: u16 = 4096;
        let input = Blob::fp32(&[u32::from(rows), 64], &vec![0.5; usize::from(rows) * 64]);
        assert_eq!(worker.compute(&[input, Blob::fp32(&[64], &[0.0; 64])]).unwrap().len(), 2);
        // Of the memory behind the lock none is code but what files brought.
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", host.child.pid())).unwrap();
        let made: Vec<&str> = maps.lines().filter(|line| line.contains("xp ") && !line.contains('/') && !line.contains("[v")).collect();
        assert_eq!(made, Vec::<&str>::new());
    }
}

#[test]
fn a_model_that_opens_a_file_gets_an_error_or_ends_its_host() {
    // TorchScript's one operator that reads a file by a name of the model's choice.
    let bytes = model("def forward(self, x: Tensor) -> Tensor:\n    return torch.from_file(\"/etc/passwd\", False, 16, dtype=0)\n");
    let host = serving(&bytes);
    let mut worker = host.worker();
    let placed = worker.place(&[Blob::fp32(&[1], &[0.0])]);
    worker.send(placed);
    assert!(!worker.settled(Duration::from_secs(20)), "a model has read a file");
}

/// Bits flipped, cut off, repeated: an error or the end of the host, and a neighbour computes on.
#[test]
fn two_hundred_malformed_models_end_in_errors() {
    let good = [model(LAYERS), model(IDENTITY)];
    let neighbour = serving(&good[1]);
    let mut worker = neighbour.worker();
    let (mut refused, mut gone, mut loaded) = (0, 0, 0);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for seed in 0..200 {
        let mut bytes = good[seed % 2].clone();
        match seed % 4 {
            0 => bytes.truncate(random(bytes.len())),
            1 => (0..=random(8)).for_each(|_| {
                let at = random(bytes.len());
                bytes[at] ^= 1 << random(8);
            }),
            2 => {
                let at = random(bytes.len());
                bytes.splice(at..at, [0xff; 8]);
            }
            _ => bytes = (0..random(4096) + 1).map(|_| random(256).to_le_bytes()[0]).collect(),
        }
        let host = start();
        host.load(&bytes, &Load { memory: Some(2 << 30), ..load(&bytes) });
        match host.go() {
            Outcome::Loaded(_) => loaded += 1,
            Outcome::Failed(_) => refused += 1,
            Outcome::Gone => gone += 1,
        }
        let two = Blob::fp32(&[2], &[1.0, 2.0]);
        assert_eq!(worker.compute(std::slice::from_ref(&two)).unwrap(), [two], "after {seed}");
    }
    eprintln!("of 200 models {refused} were refused, {gone} ended their host, and {loaded} loaded");
    assert!(refused + gone > 100);
}
