//! Imports and exports, each in its case.

use super::*;

fn interfaces(imports: &[&str], exports: &[&str]) -> Interfaces {
    let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    Interfaces { imports: owned(imports), exports: owned(exports), memory_bytes: 0 }
}

const TRANSFORMER: &[&str] = &["lakemill:transform/transformer@0.1.0"];

#[track_caller]
fn refused(interfaces: &Interfaces, grants: &[Grant], says: &str) {
    let message = check_interfaces(interfaces, grants).expect_err(says).to_string();
    assert!(message.contains(says), "{message}");
}

#[test]
fn imports_are_the_allow_list() {
    let all: Vec<String> = ["types", "batches", "config", "log", "panic"]
        .iter()
        .flat_map(|name| [0, 7].map(|patch| format!("lakemill:transform/{name}@0.1.{patch}")))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert!(check_interfaces(&interfaces(&all, TRANSFORMER), &Grant::ALL).is_ok());
    let config = interfaces(&["lakemill:transform/config@0.1.0"], TRANSFORMER);
    refused(&config, &[], "does not grant: write `grants: [config]`");
    refused(&config, &[Grant::Log], "write `grants: [log, config]`");
    for name in [
        "lakemill:transform/config@0.2.0",
        "lakemill:transform/config@0.1.0-rc.1",
        "lakemill:transform/config@0.1.",
        "lakemill:transform/state@0.1.0",
        "lakemill:transform/config",
        "lakemill:transformer/config@0.1.0",
        "env",
        "wasi:cli/environment",
    ] {
        refused(&interfaces(&[name], TRANSFORMER), &Grant::ALL, &format!("it imports `{name}`"));
    }
}

#[test]
fn wasi_is_named_as_such() {
    let python = [
        "wasi:cli/environment@0.2.0",
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:io/poll@0.2.0",
        "wasi:a/b",
        "wasi:c/d",
        "wasi:e/f",
    ];
    refused(&interfaces(&python, TRANSFORMER), &Grant::ALL, "1 more: WASI is not available in this version");
    let mixed = ["wasi:cli/environment@0.2.0", "acme:db/query"];
    refused(&interfaces(&mixed, TRANSFORMER), &Grant::ALL, "available are `types`, `batches` and `panic`");
    let first_preview = ["wasi_snapshot_preview1"];
    refused(&interfaces(&first_preview, TRANSFORMER), &Grant::ALL, "WASI is not available in this version");
}

#[test]
fn the_export_must_be_there() {
    refused(&interfaces(&[], &[]), &[], "it exports nothing");
    let other = interfaces(&[], &["lakemill:transform/transformer@0.2.0"]);
    refused(&other, &[], "does not export `lakemill:transform/transformer@0.1.0`");
    refused(&other, &[], "it exports `lakemill:transform/transformer@0.2.0`");
}
