//! What is loaded, what is refused, what is kept.

use lakemill_model::Secrets;
use lakemill_model::{Image, OutputColumn, Transform, TransformError};
use lakemill_runtime::{Grant, Kind, Limits, LoadOptions, inspect};

use crate::batches::{CLOCK, small};
use crate::guests::{engine, hostile, load, options, probe};
use crate::raw::{Raw, component};

#[track_caller]
fn refused(bytes: &[u8], options: LoadOptions, says: &str) {
    match engine().load(bytes, options).map(|_| ()) {
        Err(TransformError::Refused(message)) => assert!(message.contains(says), "{message}"),
        other => panic!("{says}: {other:?}"),
    }
}

#[test]
fn a_module_and_its_component_do_the_same() {
    let module = Raw::default().module();
    let made = component(&module);
    for (bytes, kind) in [(&module, Kind::Module), (&made, Kind::Component)] {
        let loaded = load(bytes, "{}").expect("loads");
        assert_eq!((loaded.report().kind, loaded.report().bytes), (kind, bytes.len()));
        let description = loaded.description();
        assert_eq!((&*description.name, &*description.outputs[0].name), ("raw", "raw"));
        let row = OutputColumn::CopiedAll { image: Image::Row, prefix: String::new(), except: Vec::new() };
        assert_eq!(description.outputs[0].columns, [row]);
        assert!(loaded.transform(&small(2), CLOCK).expect("answers").emissions.is_empty());
    }
}

#[test]
fn the_digest_is_the_files() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), probe()).expect("writes");
    let loaded = engine().load_file(file.path(), options("{}")).expect("loads");
    let sum = std::process::Command::new("sha256sum").arg(file.path()).output().expect("is installed").stdout;
    assert_eq!(loaded.digest(), &String::from_utf8_lossy(&sum)[..64]);
}

#[test]
fn machine_code_is_kept_and_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let load = || {
        let options = LoadOptions { cache_dir: Some(dir.path().to_owned()), ..LoadOptions::default() };
        engine().load(&Raw::default().module(), options).expect("loads")
    };
    assert!(load().report().compile_time.is_some());
    assert_eq!(load().report().compile_time, None);
    let is_code = |path: &std::path::PathBuf| path.extension().is_some_and(|ext| ext == "code");
    let mut files = std::fs::read_dir(dir.path()).expect("lists").map(|entry| entry.expect("entry").path());
    let file = files.find(is_code).expect("is kept");
    let mut code = std::fs::read(&file).expect("reads");
    let last = code.len() - 1;
    code[last] ^= 1;
    std::fs::write(&file, code).expect("writes");
    let loaded = load();
    assert!(loaded.report().compile_time.is_some(), "what was changed is compiled anew");
    assert!(loaded.transform(&small(1), CLOCK).is_ok());
    assert_eq!(load().report().compile_time, None);
}

#[test]
fn a_cache_that_cannot_be_used_costs_nothing_but_time() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let options = LoadOptions { cache_dir: Some(file.path().to_owned()), ..LoadOptions::default() };
    assert!(engine().load(&Raw::default().module(), options).expect("loads").report().compile_time.is_some());
}

#[test]
fn grants() {
    let with = |grants: &[Grant]| LoadOptions { grants: grants.to_vec(), ..options("{}") };
    refused(
        &hostile(),
        with(&[]),
        "which the pipeline file does not grant: write `grants: [config]` for this transform",
    );
    refused(&hostile(), with(&[Grant::Config]), "write `grants: [config, log]` for this transform");
    assert!(engine().load(&hostile(), with(&[Grant::Log, Grant::Config])).is_ok());
    // What asks for nothing needs no grant.
    assert!(engine().load(&Raw::default().module(), with(&[])).is_ok());
}

#[test]
fn wasi_is_not_here() {
    let raw = Raw { import: Some("wasi:clocks/monotonic@0.2.0".into()), ..Raw::default() }.module();
    refused(&raw, options("{}"), "it imports `wasi:clocks/monotonic@0.2.0`: WASI is not available in this version");
}

#[test]
fn what_a_module_says_of_itself_is_not_read() {
    let mut bytes = Raw::default().module();
    // A second description of its interface, which is none.
    let nonsense = wasm_encoder::CustomSection { name: "component-type:nonsense".into(), data: b"nonsense".into() };
    bytes.push(0);
    wasm_encoder::Encode::encode(&nonsense, &mut bytes);
    assert!(load(&bytes, "{}").expect("loads").transform(&small(1), CLOCK).is_ok());
    let refused_by_encoder = wit_component::ComponentEncoder::default().module(&bytes).is_err();
    assert!(refused_by_encoder, "the encoder would have read it");
}

#[test]
fn a_module_that_is_no_transform() {
    let empty = wasm_encoder::Module::new().finish();
    refused(&empty, options("{}"), "A Rust transform needs `crate-type = [\"cdylib\", \"rlib\"]`");
}

#[test]
fn nothing_to_call() {
    let raw = Raw { exports_nothing: true, ..Raw::default() }.module();
    refused(&raw, options("{}"), "it does not export `lakemill:transform/transformer@0.1.0`");
}

#[test]
fn configurations_are_objects() {
    for config in ["", "[]", "\"x\"", "{"] {
        refused(&probe(), options(config), "the transform's `config` must be a JSON object");
    }
}

#[test]
fn other_files() {
    refused(b"", options("{}"), "not a WebAssembly component: the file is empty");
    refused(b"hello", options("{}"), "text that begins with \"hello\"");
    let gone = engine().load_file("no/such/file.wasm".as_ref(), options("{}")).map(|_| ());
    assert!(gone.expect_err("is not there").to_string().contains("read no/such/file.wasm"));
}

#[test]
fn broken_components_are_refused_wherever_they_are_cut() {
    let whole = component(&Raw::default().module());
    let exports = |payload: wasmparser::Payload<'_>| match payload {
        wasmparser::Payload::ComponentExportSection(section) => Some(section.range().end),
        _ => None,
    };
    let payloads = wasmparser::Parser::new(0).parse_all(&whole).map(|payload| payload.expect("is whole"));
    // What follows its exports are names of things and of who made it: it is as good without.
    for at in 0..payloads.filter_map(exports).max().expect("has some") {
        match engine().load(&whole[..at], LoadOptions::default()).map(|_| ()) {
            Err(TransformError::Refused(_)) => {}
            other => panic!("cut at {at} of {}: {other:?}", whole.len()),
        }
    }
}

#[test]
fn changed_components_never_hurt_the_host() {
    let limits = Limits { batch_ms_max: 100, ..Limits::default() };
    let module = Raw::default().module();
    let whole = [component(&module), module];
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        // xorshift64*: the same changes in every run.
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d) as usize % below
    };
    let (mut loaded, mut called) = (0, 0);
    for round in 0..2_000 {
        let mut bytes = whole[round % 2].clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            bytes[at] = next(256) as u8;
        }
        let options = LoadOptions { limits: limits.clone(), ..LoadOptions::default() };
        if let Ok(component) = engine().load(&bytes, options) {
            loaded += 1;
            called += usize::from(component.transform(&small(3), CLOCK).is_ok());
        }
    }
    assert!(loaded > 100 && called > 100, "most changes hit names and data: {loaded} loaded, {called} called");
}

#[test]
fn later_patches_of_the_contract_are_the_same_contract() {
    let raw = Raw { version: "0.1.7", ..Raw::default() }.module();
    let loaded = load(&raw, "{}").expect("loads");
    assert!(loaded.transform(&small(1), CLOCK).is_ok());
    let raw = Raw { version: "0.2.0", ..Raw::default() }.module();
    refused(&raw, options("{}"), "it imports `lakemill:transform/");
}

#[test]
fn an_inspection() {
    let seen = inspect(&probe(), "{}", Secrets::default(), None).expect("is a component");
    assert_eq!((seen.kind, seen.bytes), (Kind::Module, probe().len()));
    assert_eq!(seen.grants, [Grant::Config, Grant::Log]);
    assert!(seen.unknown_imports.is_empty());
    assert_eq!(seen.exports, ["lakemill:transform/transformer@0.1.0"]);
    assert_eq!(seen.description.expect("describes itself").name, "probe");

    let seen = inspect(
        &Raw { import: Some("wasi:clocks/monotonic@0.2.0".into()), ..Raw::default() }.module(),
        "{}",
        Secrets::default(),
        None,
    )
    .expect("is a component");
    assert_eq!(seen.unknown_imports, ["wasi:clocks/monotonic@0.2.0"]);
    assert!(seen.description.is_none());
    assert!(seen.refusal.expect("says why").contains("WASI is not available"));
    assert!(inspect(b"hello", "{}", Secrets::default(), None).is_err());
}
