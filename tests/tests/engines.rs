//! The engines besides the one that is built into every graph host, from the guest's call to the engine and back: ONNX Runtime and OpenVINO by the operator's
//! libraries, and llama.cpp with a real language model.
//!
//! Runs in: tests, with the real daemon, real graph hosts and real models.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::path::PathBuf;

use edgeguard_tests::guest::assemble;
use edgeguard_tests::guest::nn_guest;
use edgeguard_tests::house::House;
use edgeguard_tests::house::Plan;
use edgeguard_tests::house::built;
use edgeguard_tests::house::skip;
use edgeguard_tests::policy::Policy;
use sha2::Digest as _;

/// A file that `cargo xtask models` makes, by its place in the build folder.
fn part(name: &str, how: &str) -> Option<PathBuf> {
    let file = built(name);
    if !file.exists() {
        skip(&format!("`{}` is not there; `cargo xtask models {how}` fetches it", file.display()));
        return None;
    }
    Some(file)
}

/// A sentence of five tokens, three inputs of 64-bit integers; prints the first numbers of the answer, in thousandths and above ten thousand.
fn bert() -> Vec<u8> {
    let row = |numbers: [u64; 5]| numbers.iter().flat_map(|n| n.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let tensor = |data: u32| {
        let words = [300u32, 2, 5, data, 40];
        words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect::<String>()
    };
    nn_guest(&format!(
        r#"(data (i32.const 1024) "model") (data (i32.const 300) "\01\00\00\00\05\00\00\00")
        (data (i32.const 400) "{}") (data (i32.const 440) "{}") (data (i32.const 480) "{}")
        (data (i32.const 600) "{}") (data (i32.const 620) "{}") (data (i32.const 640) "{}")
        (func $want (param $step i32) (param $errno i32)
          (if (local.get $errno) (then (call $proc_exit (i32.add (i32.mul (local.get $step) (i32.const 20)) (local.get $errno))))))
        (func (export "_start") (local $at i32)
          (call $want (i32.const 1) (call $load_by_name (i32.const 1024) (i32.const 5) (i32.const 100)))
          (call $want (i32.const 2) (call $init (i32.load (i32.const 100)) (i32.const 104)))
          (call $want (i32.const 3) (call $set_input (i32.load (i32.const 104)) (i32.const 0) (i32.const 600)))
          (call $want (i32.const 4) (call $set_input (i32.load (i32.const 104)) (i32.const 1) (i32.const 620)))
          (call $want (i32.const 5) (call $set_input (i32.load (i32.const 104)) (i32.const 2) (i32.const 640)))
          (call $want (i32.const 6) (call $compute (i32.load (i32.const 104))))
          (call $want (i32.const 7) (call $get_output (i32.load (i32.const 104)) (i32.const 0) (i32.const 8192) (i32.const 65536) (i32.const 112)))
          (call $say (i32.load (i32.const 112)))
          (local.set $at (i32.const 8192))
          (loop $next
            (call $say (i32.add (i32.const 10000) (i32.trunc_sat_f32_s (f32.mul (f32.const 1000) (f32.load (local.get $at))))))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 8448))))
        )"#,
        row([101, 7592, 2088, 999, 102]),
        row([1; 5]),
        row([0; 5]),
        tensor(400),
        tensor(440),
        tensor(480),
    ))
}

fn numbers(printed: &str) -> Vec<f64> {
    printed.lines().map(|line| line.parse::<f64>().unwrap()).collect()
}

#[test]
fn a_bert_with_64_bit_inputs_computes_by_the_operators_library_what_it_computes_by_the_engine_in_rust() {
    let (Some(library), Some(model)) =
        (part("engines/libonnxruntime.so.1.32.0", "--engines"), part("models/minilm_int8.onnx", "--engines"))
    else {
        return;
    };
    let mut house = House::with(Plan { onnxruntime: Some(library), ..Plan::default() });
    for engine in ["rten", "onnxruntime"] {
        let policy = Policy::new(engine).graph_by("model", &model, &format!("encoding = \"onnx\"\nengine = {engine:?}\n"));
        house.install(&policy.with(|policy| policy.memory = "64 MiB".into()), &bert());
    }
    house.start();
    assert_eq!((house.children_named("edgeguard-graph").len(), house.children_named("edgeguard-onnxruntime").len()), (1, 1));
    let [by_rten, by_library] = ["rten", "onnxruntime"].map(|engine| numbers(&house.run(engine)));
    assert_eq!((by_rten[0], by_library[0]), (7680.0, 7680.0), "five tokens of 384 numbers");
    assert!(by_library[1..].iter().any(|number| *number != 10000.0), "{by_library:?}");
    // Engines round in their own ways.
    let far = by_rten.iter().zip(&by_library).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
    assert!(far <= 50.0, "{far} thousandths apart: {by_rten:?} {by_library:?}");
    let loaded = house.events("graph-loaded");
    assert!(loaded.iter().any(|event| event["engine"].as_str().unwrap().starts_with("onnxruntime ")), "{loaded:?}");
}

#[test]
fn a_bert_computes_on_openvino_beside_the_engine_in_rust_and_the_journal_says_what_that_host_may_do() {
    let (Some(library), Some(model)) =
        (part("engines/openvino/libopenvino_c.so.2641", "--engines"), part("models/minilm_int8.onnx", "--engines"))
    else {
        return;
    };
    let mut house = House::with(Plan { openvino: library.parent().map(Into::into), ..Plan::default() });
    for engine in ["rten", "openvino"] {
        let policy = Policy::new(engine).graph_by("model", &model, &format!("encoding = \"onnx\"\nengine = {engine:?}\n"));
        house.install(&policy.with(|policy| policy.memory = "64 MiB".into()), &bert());
    }
    house.start();
    assert_eq!((house.children_named("edgeguard-graph").len(), house.children_named("edgeguard-openvino").len()), (1, 1));
    let [by_rten, by_library] = ["rten", "openvino"].map(|engine| numbers(&house.run(engine)));
    assert_eq!((by_rten[0], by_library[0]), (7680.0, 7680.0), "five tokens of 384 numbers");
    // Engines round in their own ways.
    let far = by_rten.iter().zip(&by_library).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
    assert!(far <= 50.0, "{far} thousandths apart: {by_rten:?} {by_library:?}");
    assert!(by_library[1..].iter().any(|number| *number != 10000.0), "{by_library:?}");
    let loaded = house.events("graph-loaded");
    let engine = loaded.iter().filter_map(|event| event["engine"].as_str()).find(|engine| engine.starts_with("openvino "));
    assert!(engine.is_some_and(|engine| engine.ends_with("making code for new shapes")), "{loaded:?}");
    let started = house.events("process-started");
    let report = |role: &str| started.iter().map(|event| &event["report"]).find(|report| report["role"] == role).cloned().unwrap();
    assert_eq!((&report("openvino")["mdwe"], &report("graph")["mdwe"]), (&false.into(), &true.into()));
    assert_eq!(report("openvino")["exceptions"][0], "makes machine code");
}

#[test]
fn a_graph_on_openvino_is_refused_where_the_host_names_no_folder() {
    let Some(model) = part("models/minilm_int8.onnx", "--engines") else { return };
    let mut house = House::new();
    house.install(&Policy::new("guest").graph_by("model", &model, "encoding = \"onnx\"\nengine = \"openvino\"\n"), &bert());
    house.start();
    let refused = house.invoke("guest");
    assert!(refused.ending.is_null() && refused.stderr.contains("[engines.openvino]"), "{refused:?}");
    assert!(house.children_named("edgeguard-graph").is_empty() && house.children_named("edgeguard-openvino").is_empty());
}

/// One input of 64 numbers; prints how many bytes came and the first number, in thousandths.
fn row() -> Vec<u8> {
    nn_guest(
        r#"(data (i32.const 1024) "model") (data (i32.const 300) "\01\00\00\00\40\00\00\00")
        (data (i32.const 600) "\2c\01\00\00\02\00\00\00\01\00\00\00\00\08\00\00\00\01\00\00")
        (func $want (param $step i32) (param $errno i32)
          (if (local.get $errno) (then (call $proc_exit (i32.add (i32.mul (local.get $step) (i32.const 20)) (local.get $errno))))))
        (func (export "_start")
          (call $want (i32.const 1) (call $load_by_name (i32.const 1024) (i32.const 5) (i32.const 100)))
          (call $want (i32.const 2) (call $init (i32.load (i32.const 100)) (i32.const 104)))
          (call $want (i32.const 3) (call $set_input (i32.load (i32.const 104)) (i32.const 0) (i32.const 600)))
          (call $want (i32.const 4) (call $compute (i32.load (i32.const 104))))
          (call $want (i32.const 5) (call $get_output (i32.load (i32.const 104)) (i32.const 0) (i32.const 8192) (i32.const 65536) (i32.const 112)))
          (call $say (i32.load (i32.const 112)))
          (call $say (i32.trunc_sat_f32_s (f32.mul (f32.const 1000) (f32.load (i32.const 8192))))))"#,
    )
}

/// A model in OpenVINO's own format, and its weights: 64 numbers, to each of which one number is added.
fn in_two_files(house: &House, name: &str, added: f32) -> [PathBuf; 2] {
    const ROW: &str = "<dim>1</dim><dim>64</dim>";
    let layer = |id: u32, ty: &str, data: &str, ports: &str| {
        format!("<layer id=\"{id}\" name=\"n{id}\" type=\"{ty}\" version=\"opset1\"><data {data}/>{ports}</layer>")
    };
    let port = |id: u32, name: &str| format!("<port id=\"{id}\" precision=\"FP32\" names=\"{name}\">{ROW}</port>");
    let layers = [
        layer(0, "Parameter", "shape=\"1,64\" element_type=\"f32\"", &format!("<output>{}</output>", port(0, "x"))),
        layer(1, "Const", "element_type=\"f32\" shape=\"1, 64\" offset=\"0\" size=\"256\"", &format!("<output>{}</output>", port(0, "w"))),
        layer(
            2,
            "Add",
            "auto_broadcast=\"numpy\"",
            &format!("<input>{}{}</input><output>{}</output>", port(0, "a"), port(1, "b"), port(2, "y")),
        ),
        layer(3, "Result", "", &format!("<input>{}</input>", port(0, "y"))),
    ];
    let edges: String = [(0, 0, 2, 0), (1, 0, 2, 1), (2, 2, 3, 0)]
        .map(|(from, out, to, into)| format!("<edge from-layer=\"{from}\" from-port=\"{out}\" to-layer=\"{to}\" to-port=\"{into}\"/>"))
        .concat();
    let description = format!(
        "<?xml version=\"1.0\"?><net name=\"added\" version=\"11\"><layers>{}</layers><edges>{edges}</edges></net>",
        layers.concat()
    );
    let [xml, bin] = ["xml", "bin"].map(|ending| house.path("models").join(format!("{name}.{ending}")));
    fs::write(&xml, description).unwrap();
    fs::write(&bin, added.to_le_bytes().repeat(64)).unwrap();
    [xml, bin]
}

/// Grants a model in two files under the digests that they have now.
fn grant_of([xml, bin]: &[PathBuf; 2], name: &str) -> Policy {
    let digest = hex::encode(sha2::Sha256::digest(fs::read(bin).unwrap()));
    let weights = format!("weights = {:?}\nweights-sha256 = {digest:?}\n", bin.display().to_string());
    Policy::new(name).graph_by("model", xml, &format!("encoding = \"openvino\"\n{weights}"))
}

#[test]
fn a_model_in_two_files_computes_with_the_weights_that_its_policy_pins_and_with_no_others() {
    let Some(reader) = part("engines/openvino/libopenvino_ir_frontend.so.2641", "--engines") else { return };
    let mut house = House::with(Plan { openvino: reader.parent().map(Into::into), ..Plan::default() });
    let (two, seven) = (in_two_files(&house, "two", 2.5), in_two_files(&house, "seven", 7.25));
    assert_eq!(fs::read(&two[0]).unwrap(), fs::read(&seven[0]).unwrap(), "the same description");
    for (name, files) in [("two", &two), ("seven", &seven), ("again", &two)] {
        house.install(&grant_of(files, name), &row());
    }
    let changed = in_two_files(&house, "changed", 1.0);
    house.install(&grant_of(&changed, "changed"), &row());
    fs::write(&changed[1], 1.5f32.to_le_bytes().repeat(64)).unwrap();
    house.start();
    // Same description and other weights are another graph; where both are the same it is one.
    assert_eq!(house.children_named("edgeguard-openvino").len(), 2);
    assert_eq!(numbers(&house.run("two")), [256.0, 2500.0]);
    assert_eq!(numbers(&house.run("seven")), [256.0, 7250.0]);
    assert_eq!(numbers(&house.run("again")), [256.0, 2500.0]);
    let refused = house.invoke("changed");
    assert!(refused.ending.is_null() && refused.stderr.contains("weights digest differs from the policy"), "{refused:?}");
    let loaded = house.events("graph-loaded");
    assert!(loaded.iter().all(|event| event["engine"].as_str().unwrap().ends_with("sealed without code")), "{loaded:?}");
    let digest = hex::encode(sha2::Sha256::digest(fs::read(&seven[1]).unwrap()));
    let given = house.events("grants-given");
    assert!(given.iter().any(|event| event["graphs"].to_string().contains(&format!(", weights {digest} (cpu)"))), "{given:?}");
}

#[test]
fn a_model_in_two_files_is_refused_where_the_folder_has_no_reader_of_that_format() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("libopenvino_c.so.1"), "not mapped").unwrap();
    let mut house = House::with(Plan { openvino: Some(folder.path().into()), ..Plan::default() });
    let files = in_two_files(&house, "two", 2.5);
    house.install(&grant_of(&files, "guest"), &row());
    house.start();
    let refused = house.invoke("guest");
    assert!(refused.ending.is_null() && refused.stderr.contains("libopenvino_ir_frontend.so"), "{refused:?}");
    assert!(house.children_named("edgeguard-openvino").is_empty());
}

#[test]
fn a_torchscript_model_computes_behind_the_wall_where_the_product_was_built_with_libtorch() {
    let (make, host) = (built("release/examples/torchscript"), built("release/edgeguard-torch"));
    if !make.exists() || !host.exists() {
        return skip("no `edgeguard-torch`: it is built with `--features edgeguard-torch/libtorch`, where libtorch is");
    }
    let mut house = House::new();
    let model = house.path("models/made.pt");
    assert!(std::process::Command::new(make).arg(&model).status().unwrap().success());
    house.install(&Policy::new("torch").graph_by("model", &model, "encoding = \"pytorch\"\n"), &row());
    house.start();
    assert_eq!(house.children_named("edgeguard-torch").len(), 1);
    // Zeros times the weights, and one: softmax gives each of 64 the same.
    assert_eq!(numbers(&house.run("torch")), [256.0, 15.0]);
    assert!(house.events("graph-loaded").iter().any(|event| event["engine"].as_str().unwrap().starts_with("pytorch ")));
}

#[test]
fn a_graph_whose_library_is_not_named_or_is_another_file_is_refused_and_no_other_engine_takes_its_place() {
    let Some(library) = part("engines/libonnxruntime.so.1.32.0", "--engines") else { return };
    let Some(model) = part("models/minilm_int8.onnx", "--engines") else { return };
    let policy = || Policy::new("guest").graph_by("model", &model, "encoding = \"onnx\"\nengine = \"onnxruntime\"\n");
    let mut house = House::new();
    house.install(&policy(), &bert());
    house.start();
    let refused = house.invoke("guest");
    assert!(refused.ending.is_null() && refused.stderr.contains("onnxruntime"), "{refused:?}");
    assert!(house.children_named("edgeguard-graph").is_empty() && house.children_named("edgeguard-onnxruntime").is_empty());

    let mut house = House::with(Plan { onnxruntime: Some(library), ..Plan::default() });
    let file = house.path("edgeguard.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (before, digest) = text.split_once("sha256 = \"").unwrap();
    let other = if digest.starts_with('0') { '1' } else { '0' };
    fs::write(&file, format!("{before}sha256 = \"{other}{}", &digest[1..])).unwrap();
    house.install(&policy(), &bert());
    house.start();
    let refused = house.invoke("guest");
    assert!(refused.ending.is_null() && refused.stderr.contains("expected"), "{refused:?}");
}

/// Loads with a configuration, asks, and prints the answer token by token, or what was the matter.
fn chat(config: &str, prompt: &str) -> Vec<u8> {
    let hex = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    assemble(&format!(
        r#"(module
        (import "wasi_ephemeral_nn" "load_by_name_with_config" (func $load (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
        (import "wasi_ephemeral_nn" "set_input" (func $set (param i32 i32 i32) (result i32)))
        (import "wasi_ephemeral_nn" "compute_single" (func $single (param i32) (result i32)))
        (import "wasi_ephemeral_nn" "get_output_single" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi_ephemeral_nn" "fini_single" (func $fini (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2)
        (data (i32.const 100) "chat") (data (i32.const 200) "\01\00\00\00")
        (data (i32.const 400) "\c8\00\00\00\01\00\00\00\03\00\00\00\20\4e\00\00")
        (data (i32.const 10000) "{}") (data (i32.const 20000) "{}")
        (func $want (param $step i32) (param $errno i32)
          (if (local.get $errno) (then (call $exit (i32.add (i32.mul (local.get $step) (i32.const 20)) (local.get $errno))))))
        (func (export "_start") (local $left i32)
          (call $want (i32.const 1) (call $load (i32.const 100) (i32.const 4) (i32.const 10000) (i32.const {}) (i32.const 8)))
          (call $want (i32.const 2) (call $init (i32.load (i32.const 8)) (i32.const 12)))
          (i32.store (i32.const 416) (i32.const {}))
          (call $want (i32.const 3) (call $set (i32.load (i32.const 12)) (i32.const 0) (i32.const 400)))
          (local.set $left (i32.const 8))
          (loop $next
            (call $want (i32.const 4) (call $single (i32.load (i32.const 12))))
            (call $want (i32.const 5) (call $get (i32.load (i32.const 12)) (i32.const 0) (i32.const 30000) (i32.const 60000) (i32.const 16)))
            (i32.store (i32.const 20) (i32.const 30000)) (i32.store (i32.const 24) (i32.load (i32.const 16)))
            (drop (call $write (i32.const 1) (i32.const 20) (i32.const 1) (i32.const 28)))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $next (local.get $left)))
          (call $want (i32.const 6) (call $fini (i32.load (i32.const 12))))))"#,
        hex(config),
        hex(prompt),
        config.len(),
        prompt.len()
    ))
}

#[test]
fn a_guest_streams_from_a_real_language_model_and_what_names_something_of_the_host_is_denied_and_on_record() {
    let Some(model) = part("models/gemma-3-270m-q4_k_m.gguf", "--language") else { return };
    let mut house = House::new();
    let prompt = "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is";
    let policy = |name: &str| {
        let policy = Policy::new(name).graph_by("chat", &model, "encoding = \"gguf\"\ncontext = 256\ncontexts = 2\n");
        policy.with(|policy| policy.deadline = "60 s".into())
    };
    house.install(&policy("asks"), &chat(r#"{"temp":0,"enable-log":false}"#, prompt));
    house.install(&policy("tells"), &chat(r#"{"temp":0,"mmproj":"/etc/shadow"}"#, prompt));
    house.start();
    let answer = house.run("asks");
    assert!(answer.contains("Madrid"), "{answer}");
    assert_eq!(answer, house.run("asks"), "the likeliest token is the same each time");
    let hosts = house.children_named("edgeguard-language");
    assert_eq!(hosts.len(), 1, "one host for both modules: {hosts:?}");
    assert_eq!(house.calls("compute_single").len(), 16);
    assert_eq!(house.invoke("tells").ending["code"], 26, "loading is refused with `unsupported-operation`");
    let denied = house.wait_for_event("denied", |event| event["module"] == "tells");
    assert!(denied["text"].as_str().unwrap().contains("mmproj"), "{denied}");
}
