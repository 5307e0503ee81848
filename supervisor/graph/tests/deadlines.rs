//! Deadlines in the real hosts, locked: what is cancelled, what ends with its host, and what is never begun.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::Blob;
use common::Host;
use common::PATIENCE;
use common::Worker;
use common::models;
use edgeguard_wire::ChannelError;
use edgeguard_wire::tensor::Compute;
use edgeguard_wire::tensor::NnCode;
use edgeguard_wire::tensor::Reply;
use edgeguard_wire::tensor::now_ns;

/// Far longer than any test waits, with the inputs of [`heavy`].
const LONG: usize = 1500;

/// Each multiplication takes some milliseconds.
fn heavy() -> Blob {
    Blob::fp32(&[512, 512], &vec![0.001; 512 * 512])
}

fn light() -> Blob {
    Blob::fp32(&[1, 1], &[1.0])
}

fn send(worker: &mut Worker, input: Blob, deadline_ns: u64) {
    worker.seq += 1;
    let compute = Compute { seq: worker.seq, deadline_ns, inputs: worker.place(&[input]) };
    worker.channel.send(&compute, &[]).unwrap();
}

fn soon() -> u64 {
    now_ns() + u64::try_from(Duration::from_millis(200).as_nanos()).unwrap()
}

fn refused(worker: &Worker) -> NnCode {
    match worker.channel.recv_within(PATIENCE).unwrap().0 {
        Reply::Failed { seq, error } => {
            assert_eq!(seq, worker.seq);
            error.code
        }
        Reply::Computed { .. } => panic!("expected no outputs"),
    }
}

#[test]
fn onnxruntime_ends_a_compute_at_its_deadline_and_computes_for_its_neighbour_and_the_next() {
    let Some((library, sha256)) = common::library() else { return };
    let model = models::chain(LONG);
    let (host, _) = Host::onnxruntime(&library, sha256).serve(&model, &common::on_onnxruntime(&model));
    let (mut late, mut neighbour) = (host.worker_with(4 << 20), host.worker());
    for _ in 0..2 {
        send(&mut late, heavy(), soon());
        // It waits behind the other for the only seat, and sees no error.
        assert_eq!(neighbour.compute(&[light()]).unwrap()[0].elements(), [1.0]);
        assert_eq!(refused(&late), NnCode::Timeout);
        assert_eq!(late.compute(&[light()]).unwrap()[0].elements(), [1.0], "nothing is left of the cancelled one");
    }
}

#[test]
fn rten_cannot_be_told_so_its_host_ends_at_the_deadline_and_says_why() {
    let (host, _) = Host::serving(&models::chain(LONG));
    let mut late = host.worker_with(4 << 20);
    send(&mut late, heavy(), soon());
    assert!(matches!(late.channel.recv_within::<Reply>(PATIENCE), Err(ChannelError::Closed | ChannelError::Io(_))));
    let (status, log) = host.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("beyond its deadline"), "{log}");
}

#[test]
fn what_is_too_late_already_is_not_begun_and_harms_nobody() {
    let (host, _) = Host::serving(&models::chain(LONG));
    let mut late = host.worker_with(4 << 20);
    send(&mut late, heavy(), now_ns());
    assert_eq!(refused(&late), NnCode::Timeout);
    assert_eq!(late.compute(&[light()]).unwrap()[0].elements(), [1.0]);
}
