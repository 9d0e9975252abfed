//! What people give instead of a component, and what they are told.

use super::*;

#[track_caller]
fn refused(bytes: &[u8], says: &str) {
    let message = kind(bytes).expect_err(says).to_string();
    assert!(message.contains(says), "{message}");
}

#[test]
fn says_what_it_is_instead() {
    refused(b"", "the file is empty");
    refused(b"\0asm\x01", "it ends in the middle of its header");
    refused(b"\0asm\x02\0\0\0", "WebAssembly of an unknown version (02000000)");
    refused(b"\x7fELF\x02\x01\x01", "a native program or library (ELF)");
    refused(b"\x1f\x8b\x08\0", "compressed: unpack it first");
    refused(b"PK\x03\x04", "compressed");
    refused(b"(module)", "WebAssembly as text (.wat)");
    refused(b"  (component\n  (core module", "WebAssembly as text (.wat)");
    refused(b"package a:b;\nworld w {}", "an interface (.wit)");
    refused("fn main() { é }".as_bytes(), "text that begins with \"fn main() { é }\"");
    refused(b"\x80\x81\x82", "it begins with the bytes 808182");
}

#[test]
fn machine_code_is_not_taken_from_anybody() {
    let engine = wasmtime::Engine::default();
    let module = wasm_encoder::Module::new().finish();
    let code = engine.precompile_module(&module).expect("compiles");
    refused(&code, "machine code precompiled by wasmtime (.cwasm)");
}

#[test]
fn what_can_be_run() {
    assert_eq!(kind(&wasm_encoder::Module::new().finish()).expect("is one"), Kind::Module);
    assert_eq!(kind(&wasm_encoder::Component::new().finish()).expect("is one"), Kind::Component);
}

#[test]
fn the_digest_is_that_of_sha256sum() {
    assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
