//! OpenVINO's own format, a description and weights, through the real host: computed as the same model in ONNX is, to the bit; and two hundred malformed ones.
//!
//! The models are written by hand; with `EDGEGUARD_OPENVINO_PYTHON`, an interpreter that has the package `openvino`, real ones are converted besides.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd as _;
use std::time::Duration;
use std::time::Instant;

use common::Blob;
use common::Host;
use common::Outcome;
use common::ir;
use edgeguard_wire::graph::Encoding;
use edgeguard_wire::graph::FromGraph;
use edgeguard_wire::graph::Load;
use edgeguard_wire::graph::Loaded;
use edgeguard_wire::graph::TensorInfo;
use edgeguard_wire::graph::ToGraph;
use edgeguard_wire::tensor::TensorType;

const READER: &str = "libopenvino_ir_frontend.so";

/// A host on all libraries of the folder, the reader of this format among them.
fn start() -> Option<Host> {
    let (folder, files) = common::libraries()?;
    if !files.iter().any(|(name, _)| name.starts_with(READER)) {
        assert!(std::env::var_os("CI").is_none(), "CI must have `{READER}…`; `cargo xtask models --engines` fetches it");
        eprintln!("skipped: no `{READER}…` among the libraries; `cargo xtask models --engines` fetches it");
        return None;
    }
    Some(Host::openvino(&folder, &files))
}

fn outcome(host: &Host, description: &[u8], weights: &[u8]) -> Outcome {
    host.load_files(&[description, weights], &common::on_openvino_with(description, weights));
    host.go()
}

fn served(description: &[u8], weights: &[u8]) -> Option<(Host, Loaded)> {
    let host = start()?;
    match outcome(&host, description, weights) {
        Outcome::Loaded(loaded) => Some((host, loaded)),
        Outcome::Failed(reason) => panic!("model refused: {reason}"),
        Outcome::Gone => panic!("the host is gone: {}", host.end().1),
    }
}

fn refusal(description: &[u8], weights: &[u8]) -> Option<String> {
    match outcome(&start()?, description, weights) {
        Outcome::Failed(reason) => Some(reason),
        Outcome::Loaded(loaded) => panic!("expected a refusal, found {loaded:?}"),
        Outcome::Gone => panic!("expected a refusal, found the end of the host"),
    }
}

fn row(rows: u8) -> Blob {
    let elements: Vec<f32> = (0..3 * rows).map(|n| (f32::from(n) * 0.71).cos()).collect();
    Blob::fp32(&[rows.into(), 3], &elements)
}

#[test]
fn a_model_in_two_files_computes_what_the_same_model_in_onnx_does() {
    for (rows, lengths, engine) in [(None, &[1, 2, 7, 1][..], "making code for new shapes"), (Some(2), &[2, 2], "sealed without code")] {
        let (description, weights) = ir::dense(rows);
        let Some((host, loaded)) = served(description.as_bytes(), &weights) else { return };
        assert!(loaded.engine.ends_with(engine), "{}", loaded.engine);
        let onnx = ir::dense_onnx(rows);
        let (twin, in_onnx) = start().unwrap().serve(&onnx, &common::on_openvino(&onnx));
        assert_eq!(loaded.model, in_onnx.model);
        let (mut worker, mut other) = (host.worker(), twin.worker());
        for length in lengths {
            let found = worker.compute(&[row(*length)]).unwrap();
            assert_eq!(found, other.compute(&[row(*length)]).unwrap(), "{rows:?}, {length}");
            assert!(found[0].elements().iter().any(|element| *element != 0.0));
        }
    }
}

#[test]
fn weights_of_another_digest_are_refused_before_a_byte_of_either_file_is_parsed() {
    let (description, weights) = ir::dense(None);
    let Some(host) = start() else { return };
    let load = Load { weights: Some([0xab; 32]), ..common::on_openvino_with(b"no XML", &weights) };
    host.load_files(&[b"no XML", &weights], &load);
    let Outcome::Failed(reason) = host.go() else { panic!("loaded") };
    assert!(reason.starts_with("weights digest differs from the policy: expected sha256 `abab"), "{reason}");
    // The other way round it is the description that is named.
    let host = start().unwrap();
    let load = Load { sha256: [0xab; 32], ..common::on_openvino_with(description.as_bytes(), &weights) };
    host.load_files(&[description.as_bytes(), &weights], &load);
    let Outcome::Failed(reason) = host.go() else { panic!("loaded") };
    assert!(reason.starts_with("model digest differs"), "{reason}");
}

#[test]
fn one_weight_changed_changes_what_is_computed() {
    let (description, mut weights) = ir::dense(Some(1));
    let Some((host, _)) = served(description.as_bytes(), &weights) else { return };
    weights[63] ^= 0x80;
    let (other, _) = served(description.as_bytes(), &weights).unwrap();
    let [mine, theirs] = [host, other].map(|host| host.worker().compute(&[row(1)]).unwrap()[0].elements());
    assert_eq!(mine[..3], theirs[..3]);
    assert_ne!(mine[3], theirs[3]);
}

#[test]
fn document_types_and_other_files_in_the_description_are_refused() {
    let (description, weights) = ir::dense(None);
    let with = |declared: &str| description.replacen("?>\n", &format!("?>{declared}\n"), 1);
    let outside = with("<!DOCTYPE net [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>").replacen("name=\"dense\"", "name=\"&a;\"", 1);
    for declared in [with("<!DOCTYPE net>"), outside] {
        let Some(reason) = refusal(declared.as_bytes(), &weights) else { return };
        assert!(reason.contains("expected no document type and no entities"), "{reason}");
    }
    let wide: Vec<u8> = with("<!DOCTYPE net>").encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refusal(&wide, &weights).unwrap().contains("expected XML in UTF-8"));
    let onnx = ir::dense_onnx(None);
    assert!(refusal(&onnx, &weights).unwrap().contains("expected"), "ONNX where the policy says `openvino`");
}

#[test]
fn weights_that_the_description_does_not_fit_are_refused() {
    let (description, weights) = ir::dense(None);
    let at =
        |offset: &str, size: &str| description.replacen("offset=\"48\" size=\"16\"", &format!("offset=\"{offset}\" size=\"{size}\""), 1);
    let cases = [
        (description.clone(), &weights[..63]),
        (description.clone(), &weights[..1]),
        (at("52", "16"), &weights[..]),
        (at("-16", "16"), &weights[..]),
        (at("48", "15"), &weights[..]),
        (at("48", "0"), &weights[..]),
        (at("18446744073709551600", "16"), &weights[..]),
        (at("18446744073709551615", "2"), &weights[..]),
        (at("9223372036854775807", "9223372036854775807"), &weights[..]),
    ];
    for (description, weights) in cases {
        let Some(reason) = refusal(description.as_bytes(), weights) else { return };
        assert!(reason.starts_with("cannot load the model: openvino refuses the model: ") && !reason.ends_with("stoll"), "{reason}");
    }
}

#[test]
fn without_the_pinned_reader_this_format_is_refused_by_name_and_onnx_is_computed() {
    let Some((folder, files)) = common::libraries() else { return };
    let other = tempfile::tempdir().unwrap();
    let files: Vec<_> = files.into_iter().filter(|(name, _)| !name.starts_with(READER)).collect();
    for (name, _) in &files {
        std::fs::copy(folder.join(name), other.path().join(name)).unwrap();
    }
    let folder = other.path().canonicalize().unwrap();
    let (description, weights) = ir::dense(None);
    let Outcome::Failed(reason) = outcome(&Host::openvino(&folder, &files), description.as_bytes(), &weights) else { panic!("loaded") };
    assert!(reason.contains(READER) && reason.contains("`files`"), "{reason}");
    let onnx = ir::dense_onnx(None);
    Host::openvino(&folder, &files).serve(&onnx, &common::on_openvino(&onnx));
}

#[test]
fn files_and_format_that_do_not_belong_together_end_the_host() {
    let (description, weights) = ir::dense(None);
    let (description, onnx) = (description.into_bytes(), ir::dense_onnx(None));
    let with = common::on_openvino_with(&description, &weights);
    let cases: [(Load, &[&[u8]]); 5] = [
        (with.clone(), &[&description]),
        (with.clone(), &[&description, &weights, &weights]),
        (Load { weights: None, ..with.clone() }, &[&description]),
        (Load { weights: None, ..with.clone() }, &[&description, &weights]),
        (Load { encoding: Encoding::Onnx, ..with }, &[&onnx, &weights]),
    ];
    for (load, files) in cases {
        let Some(host) = start() else { return };
        let files: Vec<_> = files.iter().map(|bytes| common::file_with(bytes)).collect();
        let fds: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        host.control.send(&ToGraph::Load(Box::new(load)), &fds).unwrap();
        assert!(host.control.recv_within::<FromGraph>(common::PATIENCE).is_err());
        let (status, log) = host.end();
        assert!(!status.success() && log.contains("daemon misbehaved"), "{log}");
    }
}

const MODELS: u64 = 200;

/// Far more than any of them takes; a host that needs it hangs.
const BUDGET: Duration = Duration::from_secs(20);

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

/// A number of the description in another's place, absurd in most cases.
fn another_number(description: &mut String, random: &mut Random) {
    const ABSURD: [&str; 10] =
        ["-1", "0", "3", "99999999999", "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e9", "?", ""];
    let digits: Vec<usize> = description.match_indices(|c: char| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let at = digits[random.next(digits.len())];
    description.replace_range(at..=at, ABSURD[random.next(ABSURD.len())]);
}

/// A good model with something wrong in one of its files.
fn malformed(seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut description, mut weights) = ir::dense(if random.next(2) == 0 { None } else { Some(2) });
    match seed % 8 {
        0 => description.truncate(random.next(description.len()).max(1)),
        1 => {
            let mut bytes = description.into_bytes();
            for _ in 0..=random.next(8) {
                let at = random.next(bytes.len());
                bytes[at] ^= 1 << random.next(8);
            }
            return (bytes, weights);
        }
        2 => weights.truncate(random.next(weights.len()).max(1)),
        3 => (0..=random.next(4)).for_each(|_| another_number(&mut description, &mut random)),
        4 => {
            let from = random.next(4);
            description = description.replacen(&format!("from-layer=\"{from}\""), "from-layer=\"4\"", 1);
        }
        5 => {
            let lines: Vec<&str> = description.lines().collect();
            let line = lines[random.next(lines.len())];
            let times = random.next(64);
            description = description.replacen(line, &line.repeat(times), 1);
        }
        6 => {
            let tag = ["<a>", "<layers>", "<layer id=\"0\">", "<rt_info>"][random.next(4)];
            description = format!("<net version=\"11\">{}", tag.repeat(1 + random.next(200_000)));
        }
        _ => return ((0..1 + random.next(4096)).map(|_| random.next(256).to_le_bytes()[0]).collect(), weights),
    }
    if description.is_empty() {
        description.push(' ');
    }
    (description.into_bytes(), weights)
}

#[test]
fn two_hundred_malformed_models_in_two_files_end_in_errors_with_openvino() {
    let (description, weights) = ir::dense(None);
    let Some((neighbour, _)) = served(description.as_bytes(), &weights) else { return };
    let mut worker = neighbour.worker();
    let good = worker.compute(&[row(2)]).unwrap();
    let (mut loaded, mut failed, mut gone) = (0, 0, 0);
    for seed in 0..MODELS {
        let (description, weights) = malformed(seed);
        let begun = Instant::now();
        let host = start().unwrap();
        let load = Load { memory: Some(1 << 30), ..common::on_openvino_with(&description, &weights) };
        host.load_files(&[&description, &weights], &load);
        match host.go() {
            // Some changes leave a model that is one: then it must compute or say why not.
            Outcome::Loaded(described) => {
                loaded += 1;
                if let Some(zeros) = described.model.inputs.iter().map(zeros).collect::<Option<Vec<_>>>() {
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
        assert_eq!(worker.compute(&[row(2)]).unwrap(), good, "after seed {seed}");
    }
    eprintln!("of {MODELS} models {failed} were refused, {gone} ended their host, and {loaded} loaded");
    assert!(failed + gone > MODELS / 2);
}

/// Zeros for an input, one where its shape is free; none where it would not fit the region.
fn zeros(input: &TensorInfo) -> Option<Blob> {
    let ty = input.ty?;
    let dims: Vec<u32> = input.dims.as_ref()?.iter().map(|dim| dim.unwrap_or(1)).collect();
    let bytes = ty.bytes(&dims).filter(|bytes| *bytes < 4096)?;
    Some(Blob { ty, dims, bytes: vec![0; usize::try_from(bytes).ok()?] })
}

/// What the package itself makes of a model in ONNX, in the model's own precision.
fn converted(python: &std::ffi::OsStr, onnx: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.onnx"), onnx).unwrap();
    let script = "import openvino as ov; ov.save_model(ov.Core().read_model('m.onnx'), 'm.xml', compress_to_fp16=False)";
    let ran = std::process::Command::new(python).args(["-c", script]).current_dir(folder.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let [description, weights] = ["m.xml", "m.bin"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    (description, weights)
}

#[test]
fn real_models_that_the_package_converts_compute_what_they_do_in_onnx() {
    let Some(python) = std::env::var_os("EDGEGUARD_OPENVINO_PYTHON") else {
        return eprintln!("skipped: `EDGEGUARD_OPENVINO_PYTHON` names no interpreter with the package `openvino`");
    };
    for (file, lengths) in
        [("silero_vad_openvino_16k.onnx", &[1][..]), ("magika_standard_v3_3.onnx", &[1]), ("minilm_int8.onnx", &[1, 7, 32, 128])]
    {
        let Some(onnx) = common::fetched(file) else { return };
        let (description, weights) = converted(&python, &onnx);
        let Some((host, loaded)) = served(&description, &weights) else { return };
        let (twin, in_onnx) = start().unwrap().serve(&onnx, &common::on_openvino(&onnx));
        assert_eq!(loaded.model, in_onnx.model, "{file}");
        let (mut worker, mut other) = (host.worker_with(8 << 20), twin.worker_with(8 << 20));
        for length in lengths {
            let inputs: Vec<Blob> = loaded.model.inputs.iter().map(|input| filled(input, *length)).collect();
            assert_eq!(worker.compute(&inputs).unwrap(), other.compute(&inputs).unwrap(), "{file}, {length}");
        }
        eprintln!("{file}: description {} bytes, weights {} bytes, equal for {lengths:?}", description.len(), weights.len());
    }
}

/// Something for an input of this name and shape, with `free` in the place of free dimensions but the first.
fn filled(input: &TensorInfo, free: u32) -> Blob {
    let dims = input.dims.as_ref().unwrap().iter().enumerate();
    let dims: Vec<u32> = dims.map(|(at, dim)| dim.unwrap_or(if at == 0 { 1 } else { free })).collect();
    let count: u32 = dims.iter().product();
    match (input.ty.unwrap(), input.name.as_str()) {
        (TensorType::I64, "input_ids") => Blob::i64(&dims, &(0..count).map(|n| 1000 + 37 * i64::from(n)).collect::<Vec<_>>()),
        (TensorType::I64, "token_type_ids") => Blob::i64(&dims, &vec![0; count as usize]),
        (TensorType::I64, _) => Blob::i64(&dims, &vec![1; count as usize]),
        (TensorType::I32, _) => Blob::i32(&dims, &(0..count).map(|n| (n % 251).cast_signed()).collect::<Vec<_>>()),
        (TensorType::Fp32, _) => Blob::fp32(&dims, &(0..count).map(|n| (n as f32 * 0.37).sin()).collect::<Vec<_>>()),
        other => panic!("unexpected input {other:?}"),
    }
}
