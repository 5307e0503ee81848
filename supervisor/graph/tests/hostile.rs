//! What a graph host does with models, workers and regions that mean harm: an error to the one who asked, and everybody else is served.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;

use common::Blob;
use common::Host;
use common::Outcome;
use common::PATIENCE;
use common::REGION;
use common::Worker;
use common::assignment;
use common::models;
use common::models::FREE;
use edgeguard_sandbox::SharedMemory;
use edgeguard_wire::Channel;
use edgeguard_wire::ChannelError;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::Placed;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::TensorType;
use rten_onnx::onnx::DataType;
use rustix::net::SendFlags;

/// What the host says of a file that is exactly what the policy names, and no good.
fn refusal(model: &[u8]) -> String {
    let host = Host::start();
    host.load(model, &assignment(model));
    match host.go() {
        Outcome::Failed(reason) => reason,
        Outcome::Loaded(_) => panic!("accepted"),
        Outcome::Gone => panic!("died"),
    }
}

/// What the host says of this descriptor in the model's place.
fn refusal_of(file: OwnedFd) -> String {
    let host = Host::start();
    host.control.send(&ToGraph::Load(Box::new(assignment(b""))), &[file.as_fd()]).unwrap();
    assert!(matches!(host.control.recv_within(PATIENCE).unwrap().0, FromGraph::Confined(_)));
    match host.go() {
        Outcome::Failed(reason) => reason,
        Outcome::Loaded(_) => panic!("accepted"),
        Outcome::Gone => panic!("died"),
    }
}

fn ones(worker: &mut Worker) {
    let sum = worker.compute(&[Blob::fp32(&[2], &[1.0, 2.0]), Blob::fp32(&[2], &[3.0, 4.0])]).unwrap();
    assert_eq!(sum[0].elements(), [4.0, 6.0]);
}

// Models.

#[test]
fn a_model_with_another_digest_is_refused_before_it_is_parsed() {
    let model = models::add();
    let host = Host::start();
    host.load(&model, &Load { sha256: [0xab; 32], ..assignment(&model) });
    let Outcome::Failed(reason) = host.go() else { panic!("accepted") };
    let found = assignment(&model).sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = "ab".repeat(32);
    assert_eq!(reason, format!("model digest differs from the policy: expected sha256 `{expected}`, found `{found}`"));
    let (status, log) = host.end();
    assert_eq!(status.code(), Some(1));
    assert!(log.starts_with("model refused: model digest differs"), "{log}");
}

#[test]
fn a_model_cut_short_anywhere_is_refused() {
    let model = models::add();
    // The last field of the file, four bytes, says which operators are meant. A file that ends just before it is as whole to protobuf as
    // any, so it is left out; the digest is what tells them apart.
    for len in (1..model.len()).filter(|len| *len != model.len() - 4) {
        let host = Host::start();
        let part = &model[..len];
        host.load(part, &assignment(part));
        let Outcome::Failed(reason) = host.go() else { panic!("accepted at {len} of {}", model.len()) };
        assert!(reason.starts_with("cannot load the model: "), "{reason}");
    }
}

#[test]
fn files_that_are_no_models_are_refused() {
    assert_eq!(refusal(b""), "expected a model of 1 to 4294967296 bytes, found 0");
    assert!(refusal(b"\0asm\x01\0\0\0").contains("does not parse"), "{}", refusal(b"\0asm\x01\0\0\0"));
    assert!(refusal(&[0xff; 100_000]).contains("does not parse"));
    assert!(refusal(b"RTEN\x02\0\0\0").contains("does not parse"));
}

#[test]
fn descriptors_that_are_no_model_files_are_refused() {
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(refusal_of(reader), "expected a model in a regular file, found Fifo");
    assert_eq!(refusal_of(std::fs::File::open("/").unwrap().into()), "expected a model in a regular file, found Directory");
    assert_eq!(refusal_of(std::fs::File::open("/dev/zero").unwrap().into()), "expected a model in a regular file, found CharacterDevice");
    let large = tempfile::tempfile().unwrap();
    large.set_len((4 << 30) + 1).unwrap();
    assert_eq!(refusal_of(large.into()), "expected a model of 1 to 4294967296 bytes, found 4294967297");
    let write_only = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(write_only.path(), b"x").unwrap();
    let write_only = std::fs::OpenOptions::new().write(true).open(write_only.path()).unwrap();
    assert!(refusal_of(write_only.into()).starts_with("cannot read the model: "));
}

#[test]
fn models_that_wasi_nn_cannot_express_are_refused_by_name() {
    let reason = refusal(&models::identity(DataType::INT8, &[Some(1)]));
    assert_eq!(reason, "cannot load the model: model cannot be served: input 0 `x` is `tensor(i8)`, for which wasi-nn has no type");
    let reason = refusal(&models::identity(DataType::STRING, &[Some(1)]));
    assert_eq!(reason, "cannot load the model: model cannot be served: input 0 `x` is `STRING`, which rten does not have");
    assert!(refusal(&models::wide(65)).ends_with("65 inputs, at most 64 are served"));
    assert!(refusal(&models::identity(DataType::FLOAT, &[Some(1); 17])).ends_with("has 17 dimensions, expected at most 16"));
    assert!(refusal(&models::unknown_operator()).contains("rten refuses the model"));
}

#[test]
fn a_model_with_weights_in_another_file_is_refused() {
    let reason = refusal(&models::external_weights("/etc/hostname"));
    assert!(reason.contains("rten refuses the model") && reason.contains("external"), "{reason}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// A process for each case: what counts is that the daemon gets an answer or sees the end, and that what serves still computes.
    #[test]
    fn a_mutated_model_is_refused_or_served_and_never_hangs(
        base in 0usize..4,
        edits in proptest::collection::vec((0usize.., 0u8..), 1..6),
        cut in 0usize..8,
    ) {
        let mut model = [models::add(), models::expand(), models::matmul(), models::wide(3)][base].clone();
        for (at, byte) in edits {
            let at = at % model.len();
            model[at] = byte;
        }
        model.truncate(model.len() - cut);
        let host = Host::start();
        host.load(&model, &assignment(&model));
        if let Outcome::Loaded(loaded) = host.go() {
            let mut worker = host.worker();
            // Any answer will do.
            let missing = worker.ask(vec![]);
            proptest::prop_assert!(missing.is_err() || loaded.model.inputs.is_empty());
        }
    }
}

// Computes.

/// Two good inputs for `add`, one of them changed.
fn spoiled(worker: &mut Worker, spoil: impl FnOnce(&mut Vec<Placed>)) -> (NnCode, String) {
    let mut inputs = worker.place(&[Blob::fp32(&[2], &[1.0, 2.0]), Blob::fp32(&[2], &[3.0, 4.0])]);
    spoil(&mut inputs);
    let error = worker.ask(inputs).unwrap_err();
    (error.code, error.message)
}

#[test]
fn every_wrong_compute_is_an_error_that_says_what_is_wanted() {
    let (host, _) = Host::serving(&models::add());
    let worker = &mut host.worker();
    let half = REGION / 2;
    let invalid = |message: &str| (NnCode::InvalidArgument, message.to_owned());
    assert_eq!(spoiled(worker, |inputs| inputs[1].index = 2), invalid("input 2 does not exist; the model has 2 inputs: 0 `a`, 1 `b`"));
    assert_eq!(spoiled(worker, |inputs| inputs[1].index = u32::MAX).0, NnCode::InvalidArgument);
    assert_eq!(spoiled(worker, |inputs| inputs[1].index = 0), invalid("input 0 `a` is given twice"));
    assert_eq!(spoiled(worker, |inputs| drop(inputs.pop())), invalid("input 1 `b` (FP32 [2]) is missing"));
    assert_eq!(spoiled(worker, Vec::clear), invalid("input 0 `a` (FP32 [2]) is missing"));
    assert_eq!(spoiled(worker, |inputs| inputs[0].dims = vec![1, 2]), invalid("input 0 `a` wants FP32 [2]; got FP32 [1, 2]"));
    assert_eq!(spoiled(worker, |inputs| inputs[0].dims = vec![]), invalid("input 0 `a` wants FP32 [2]; got FP32 []"));
    assert_eq!(spoiled(worker, |inputs| inputs[0].ty = TensorType::I32), invalid("input 0 `a` wants FP32 [2]; got I32 [2]"));
    let unsupported = "input 0 `a` wants FP32 [2]; got FP16 [2]; the engine takes FP32, I32, I64, U8".to_owned();
    assert_eq!(spoiled(worker, |inputs| inputs[0].ty = TensorType::Fp16), (NnCode::UnsupportedOperation, unsupported));
    assert_eq!(spoiled(worker, |inputs| inputs[0].len = 7), invalid("input 0 `a`: FP32 [2] is 8 bytes long; got 7"));
    assert_eq!(spoiled(worker, |inputs| inputs[0].len = u64::MAX).0, NnCode::InvalidArgument);
    let outside = |offset: u64| invalid(&format!("input 0 `a`: 8 bytes at offset {offset} do not lie within the {half} bytes for inputs"));
    for offset in [half - 7, half, REGION - 8, REGION, u64::MAX - 7, u64::MAX] {
        assert_eq!(spoiled(worker, |inputs| inputs[0].offset = offset), outside(offset));
    }
    assert_eq!(spoiled(worker, |inputs| inputs[0].dims = vec![2; 17]).0, NnCode::TooLarge);
    assert_eq!(spoiled(worker, |inputs| *inputs = vec![inputs[0].clone(); 65]).0, NnCode::TooLarge);
    ones(worker);
}

#[test]
fn shapes_whose_product_overflows_are_refused() {
    let (host, _) = Host::serving(&models::identity(DataType::FLOAT, &[FREE; 4]));
    let worker = &mut host.worker();
    let max = u32::MAX;
    for dims in [[max, max, max, max], [0, max, max, max], [max, max, max, 0], [1 << 31, 2, 1, 1], [1, 1, 1, 1 << 20]] {
        let error = worker.ask(vec![Placed { index: 0, ty: TensorType::Fp32, dims: dims.into(), offset: 0, len: 0 }]).unwrap_err();
        assert_eq!(error.code, NnCode::TooLarge, "{error}");
    }
}

#[test]
fn an_output_beyond_the_region_is_too_large_and_leaves_the_channel_usable() {
    let (host, _) = Host::serving(&models::expand());
    let mut worker = host.worker();
    let x = Blob::fp32(&[1], &[1.0]);
    let fits = REGION / 2 / 4;
    let outputs = worker.compute(&[x.clone(), Blob::i64(&[1], &[fits as i64])]).unwrap();
    assert_eq!(outputs[0].dims, [fits as u32]);
    let error = worker.compute(&[x, Blob::i64(&[1], &[fits as i64 + 1])]).unwrap_err();
    assert_eq!(error.code, NnCode::TooLarge);
    assert_eq!(error.message, "output 0 is FP32 [131073], of 524292 bytes, and 524288 are left of the 524288 for outputs");
}

#[test]
fn an_engine_that_asks_for_more_memory_than_there_is_costs_its_own_process() {
    let (mut host, _) = Host::serving(&models::expand());
    let mut worker = host.worker();
    let inputs = worker.place(&[Blob::fp32(&[1], &[1.0]), Blob::i64(&[4], &[i64::from(i32::MAX); 4])]);
    worker.seq += 1;
    worker.channel.send(&Compute { deadline_ns: u64::MAX, seq: worker.seq, inputs }, &[]).unwrap();
    match worker.channel.recv_within::<Reply>(PATIENCE) {
        Ok((Reply::Failed { .. }, _)) => host.control.send(&ToGraph::Run, &[]).unwrap(),
        Err(ChannelError::Closed) => {}
        other => panic!("expected an error or the end, found {other:?}"),
    }
    assert!(!host.child.wait().unwrap().success());
}

#[test]
fn a_region_that_changes_while_it_is_used_changes_nothing_but_the_numbers() {
    let (host, _) = Host::serving(&models::identity(DataType::FLOAT, &[FREE]));
    let mut worker = host.worker();
    let blob = Blob::fp32(&[10_000], &[1.0; 10_000]);
    let placed = worker.place(std::slice::from_ref(&blob));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let words = worker.region.words();
        let writer = scope.spawn({
            let stop = &stop;
            move || {
                let mut value = 0u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    value = value.wrapping_add(0x0101_0101_0101_0101);
                    for word in words {
                        word.store(value, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            }
        });
        for seq in 1..200u64 {
            worker.channel.send(&Compute { deadline_ns: u64::MAX, seq, inputs: placed.clone() }, &[]).unwrap();
            let (Reply::Computed { outputs, .. }, _) = worker.channel.recv_within(PATIENCE).unwrap() else { panic!("failed") };
            assert_eq!((outputs[0].len, outputs[0].dims.as_slice()), (40_000, &[10_000][..]));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
    });
    worker.seq = 1000;
    assert_eq!(worker.compute(std::slice::from_ref(&blob)).unwrap(), [blob]);
}

// Channels.

#[test]
fn a_peer_that_sends_garbage_loses_its_own_channel_only() {
    let (host, _) = Host::serving(&models::add());
    let mut good = host.worker();
    for garbage in [&[0xff; 3][..], &[0; 1], &[0x80; 60_000], &vec![1; edgeguard_wire::MAX_FRAME + 1]] {
        let bad = host.worker();
        rustix::net::send(&bad.channel, garbage, SendFlags::empty()).unwrap();
        assert!(bad.is_lost());
        ones(&mut good);
    }
    let bad = host.worker();
    bad.channel.send(&Compute { deadline_ns: u64::MAX, seq: 1, inputs: vec![] }, &[std::io::stdin().as_fd()]).unwrap();
    assert!(bad.is_lost());
    ones(&mut good);
    let (status, log) = host.end();
    assert!(status.success());
    assert_eq!(log.lines().count(), 5, "{log}");
    assert!(log.lines().all(|line| line.contains("closed: peer misbehaved: ")), "{log}");
}

#[test]
fn a_peer_that_never_reads_its_replies_holds_up_nobody() {
    let (host, _) = Host::serving(&models::add());
    let silent = host.worker();
    let mut good = host.worker();
    // More than a socket's buffer holds; the host gives the channel up somewhere on the way.
    for seq in 0..100_000 {
        if silent.channel.send(&Compute { deadline_ns: u64::MAX, seq, inputs: vec![] }, &[]).is_err() {
            ones(&mut good);
            assert_eq!(host.end().1, "channel 0 closed: peer misbehaved: it does not take its replies\n");
            return;
        }
    }
    panic!("host took 100000 computes whose replies nobody reads");
}

#[test]
fn channels_whose_worker_is_gone_are_let_go() {
    let (host, _) = Host::serving(&models::add());
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", host.child.pid())).map(Iterator::count);
    let Ok(before) = descriptors() else {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to count the descriptors of a child");
        eprintln!("skipped: the descriptors of an undumpable child are root's to count");
        return;
    };
    for _ in 0..50 {
        ones(&mut host.worker());
    }
    // Served after all of them, so the last ones' ends were seen before or will be within moments.
    ones(&mut host.worker());
    let until = std::time::Instant::now() + PATIENCE;
    while descriptors().unwrap() > before {
        assert!(std::time::Instant::now() < until, "descriptors stay open");
        std::thread::yield_now();
    }
}

#[test]
fn a_region_that_can_shrink_or_has_another_size_is_refused() {
    let (host, _) = Host::serving(&models::add());
    let unsealed = edgeguard_sandbox::memfd("unsealed").unwrap();
    rustix::fs::ftruncate(&unsealed, 4096).unwrap();
    let (_memory, sealed) = SharedMemory::create("sealed", 4096).unwrap();
    for (fd, region) in [(&unsealed, 4096), (&sealed, 8192), (&sealed, 0), (&sealed, u64::MAX)] {
        let (ours, theirs) = Channel::pair().unwrap();
        host.control.send(&ToGraph::Channel { region }, &[theirs.as_fd(), fd.as_fd()]).unwrap();
        drop(theirs);
        assert!(matches!(ours.recv_within::<Reply>(PATIENCE), Err(ChannelError::Closed)));
    }
    // Descriptors are missing.
    let (ours, theirs) = Channel::pair().unwrap();
    host.control.send(&ToGraph::Channel { region: 4096 }, &[theirs.as_fd()]).unwrap();
    drop(theirs);
    assert!(matches!(ours.recv_within::<Reply>(PATIENCE), Err(ChannelError::Closed)));
    ones(&mut host.worker());
}

#[test]
fn a_host_that_is_killed_in_the_middle_is_a_closed_channel() {
    let (mut host, _) = Host::serving(&models::matmul());
    let worker = host.worker_with(256 << 20);
    // Some seconds of work.
    let dims = vec![4096, 4096];
    let input = |index, offset| Placed { index, ty: TensorType::Fp32, dims: dims.clone(), offset, len: 64 << 20 };
    worker.channel.send(&Compute { deadline_ns: u64::MAX, seq: 1, inputs: vec![input(0, 0), input(1, 64 << 20)] }, &[]).unwrap();
    assert!(matches!(worker.channel.recv_within::<Reply>(std::time::Duration::from_millis(50)), Err(ChannelError::TimedOut(_))));
    host.child.kill().unwrap();
    assert!(matches!(worker.channel.recv_within::<Reply>(PATIENCE), Err(ChannelError::Closed)));
    assert!(matches!(host.control.recv_within::<FromGraph>(PATIENCE), Err(ChannelError::Closed)));
    assert!(!host.child.wait().unwrap().success());
}

#[test]
fn the_reply_to_an_abandoned_compute_is_known_for_what_it_is() {
    let (host, _) = Host::serving(&models::add());
    let mut worker = host.worker();
    let inputs = worker.place(&[Blob::fp32(&[2], &[1.0, 2.0]), Blob::fp32(&[2], &[3.0, 4.0])]);
    worker.channel.send(&Compute { deadline_ns: u64::MAX, seq: 77, inputs: vec![] }, &[]).unwrap();
    worker.channel.send(&Compute { deadline_ns: u64::MAX, seq: 78, inputs }, &[]).unwrap();
    let first = worker.channel.recv_within(PATIENCE).unwrap().0;
    assert!(matches!(first, Reply::Failed { seq: 77, .. }), "{first:?}");
    let second = worker.channel.recv_within(PATIENCE).unwrap().0;
    assert!(matches!(second, Reply::Computed { seq: 78, .. }), "{second:?}");
    ones(&mut worker);
}

// The daemon's own dialogue.

#[test]
fn frames_out_of_phase_end_the_host() {
    let model = models::add();
    let expect_end = |host: Host, words: &str| {
        let (status, log) = host.end();
        assert_eq!((status.code(), log.trim_end()), (Some(1), words));
    };

    let host = Host::start();
    host.control.send(&ToGraph::Run, &[]).unwrap();
    expect_end(host, "daemon misbehaved: expected `load`, found `run`");

    let host = Host::start();
    host.control.send(&ToGraph::Load(Box::new(assignment(&model))), &[]).unwrap();
    expect_end(host, "daemon misbehaved: expected `load with a descriptor for each file`, found `load with another number`");

    let host = Host::start();
    host.load(&model, &assignment(&model));
    host.control.send(&ToGraph::Channel { region: 8 }, &[]).unwrap();
    expect_end(host, "daemon misbehaved: expected `run`, found `channel`");

    let (host, _) = Host::serving(&model);
    host.control.send(&ToGraph::Run, &[]).unwrap();
    expect_end(host, "daemon misbehaved: expected `channel`, found `run`");
}

#[test]
fn assignments_beyond_all_bounds_are_refused() {
    let model = models::add();
    for (load, words) in [
        (Load { computes: 0, ..assignment(&model) }, "`computes` is 0, expected 1 to 64"),
        (Load { threads: 4_000_000_000, ..assignment(&model) }, "`threads` is 4000000000, expected 1 to 64"),
    ] {
        let host = Host::start();
        host.control.send(&ToGraph::Load(Box::new(load)), &[common::file_with(&model).as_fd()]).unwrap();
        let (status, log) = host.end();
        assert_eq!((status.code(), log.trim_end()), (Some(1), words));
    }
}
