//! The rules of the house, checked: walls between crates, sizes, headers, and what must not be in a file.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use lakemill_tests::places;
use serde_json::Value;
use sources::{Source, sources, texts};

/// The most lines of code that a file has, its tests not counted.
const LINES_MAX: usize = 600;

/// Files that are longer, and how long they may be. A line goes when its file has become shorter; none is added.
const LONGER: &[(&str, usize)] = &[];

fn architecture() -> String {
    std::fs::read_to_string(places::root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there")
}

/// What every package of the workspace depends on, dev-dependencies included.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(places::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| (name(package), list(&package["dependencies"]).iter().map(name).collect()))
        .collect()
}

/// Every package that is not ours, with its features, as `cargo tree` has them under these kinds of dependencies.
fn features(kinds: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--workspace", "--prefix", "none", "--format", "{p} {f}", "--edges", kinds])
        .current_dir(places::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)").trim_end().to_owned());
    lines.filter(|line| !line.is_empty() && !line.contains("lakemill")).collect()
}

/// A feature that only tests ask for would make Cargo build a dependency, and all that stands on it, twice.
#[test]
fn dependencies_are_built_once() {
    let of_tests = features("normal,build,dev");
    let twice: Vec<String> =
        features("normal,build").into_iter().filter(|package| !of_tests.contains(package)).collect();
    assert!(twice.is_empty(), "with fewer features than the tests ask for: {twice:#?}");
}

/// The rooms by layer, as ARCHITECTURE.md says: `model <- {ingest, decode} <- pipeline`.
fn layers() -> Vec<Vec<String>> {
    let text = architecture();
    let rule = text.lines().find_map(|line| line.strip_prefix("Imports point one way: ")).expect("the rule is there");
    let rule = rule.split('.').next().unwrap_or_default();
    let room = |name: &str| format!("lakemill-{}", name.trim());
    rule.split("<-").map(|layer| layer.trim().trim_matches(['{', '}']).split(',').map(room).collect()).collect()
}

#[test]
fn imports_point_one_way() {
    let (layers, dependencies) = (layers(), dependencies());
    assert!(layers.len() >= 4, "{layers:?}");
    let height: BTreeMap<&str, usize> =
        layers.iter().enumerate().flat_map(|(n, layer)| layer.iter().map(move |room| (room.as_str(), n))).collect();
    for (package, uses) in &dependencies {
        for used in uses.iter().filter(|name| name.starts_with("lakemill-")) {
            let Some(from) = height.get(package.as_str()) else {
                // What is no room of the host: the SDK, transforms, tests and benchmarks. The first two know no host.
                let stands_outside = ["lakemill-tests", "lakemill-bench", "lakemill-fuzz"].contains(&package.as_str());
                assert!(stands_outside || !height.contains_key(used.as_str()), "{package} imports {used}");
                continue;
            };
            let to = height.get(used.as_str()).unwrap_or_else(|| panic!("{package} imports {used}, which is no room"));
            assert!(to < from, "{package} imports {used}: ARCHITECTURE.md says {layers:?}");
        }
    }
    for room in height.keys() {
        assert!(dependencies.contains_key(*room), "ARCHITECTURE.md names {room}, which is not there");
    }
    let host = std::fs::read_dir(places::root().join("host")).expect("host/ is there");
    for room in host.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let room = format!("lakemill-{room}");
        assert!(height.contains_key(room.as_str()), "ARCHITECTURE.md does not say where {room} stands");
    }
}

#[test]
fn every_heavy_dependency_has_one_door() {
    let (text, dependencies) = (architecture(), dependencies());
    let mut doors = 0;
    for line in text.lines().filter(|line| line.starts_with("host/")) {
        let Some((_, heavy)) = line.split_once("only door to ") else { continue };
        let heavy = heavy.split([')', ',', ';']).next().unwrap_or_default();
        let room = line.split_whitespace().next().unwrap_or_default().replace("host/", "lakemill-");
        let users: Vec<_> =
            dependencies.iter().filter(|(_, uses)| uses.contains(heavy)).map(|(name, _)| name).collect();
        assert_eq!(users, [&room], "{heavy} has one door");
        doors += 1;
    }
    assert!(doors >= 3, "ARCHITECTURE.md names {doors} doors");
}

#[test]
fn files_are_short() {
    let longer: BTreeMap<_, _> = LONGER.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for Source { path, code, .. } in sources() {
        let lines = code.lines().count();
        match longer.get(path.as_str()) {
            Some(most) => {
                assert!(lines <= *most, "{path} has grown from {most} to {lines} lines: it must shrink");
                assert!(lines > LINES_MAX, "{path} is short enough: take it off the list");
                seen.insert(path);
            }
            None => assert!(lines <= LINES_MAX, "{path} has {lines} lines of code, {LINES_MAX} are the most"),
        }
    }
    assert_eq!(seen.len(), longer.len(), "a file of the list is gone");
}

#[test]
fn every_source_says_what_it_is() {
    let silent: Vec<_> = sources().into_iter().filter(|s| !s.code.starts_with("//! ")).map(|s| s.path).collect();
    assert!(silent.is_empty(), "without a `//!` header: {silent:?}");
}

#[test]
fn nothing_is_left_undone() {
    for Source { path, code, tests } in sources() {
        let both = code.clone() + &tests;
        for word in
            [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore"), concat!("dbg", "!(")]
        {
            assert!(!both.contains(word), "{path} has `{word}`");
        }
        // A test waits for what it tests, not for time to pass.
        let is_test = ["tests/", "bench/"].iter().any(|folder| path.starts_with(folder)) || path.ends_with("/tests.rs");
        let checked = if is_test { &both } else { &tests };
        let word = concat!("sle", "ep(");
        assert!(!checked.contains(word) || path.starts_with("bench/"), "{path} has `{word}` in a test");
    }
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let machines = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let registries = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("python", "hosted.org"),
        concat!("maven", ".org"),
        concat!("maven", ".apache.org"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("golang", ".org"),
        concat!("debian", ".org"),
        concat!("repo1", ".maven"),
    ];
    for (path, text) in texts() {
        // Cargo writes its registry into the lock file.
        if path == "Cargo.lock" {
            continue;
        }
        for word in machines.iter().chain(&registries) {
            assert!(!text.contains(word), "{path} names `{word}`");
        }
    }
}

#[test]
fn scripts_are_careful_and_explain_themselves() {
    let mut scripts = 0;
    for (path, text) in texts() {
        let is_script = text.starts_with("#!/usr/bin/env bash") || path.ends_with(".sh");
        if !is_script || path == "scripts/service.sh" {
            continue;
        }
        scripts += 1;
        assert!(text.contains("\nset -euo pipefail\n"), "{path} lacks `set -euo pipefail`");
        assert!(path == ".ci/run" || text.contains("--help"), "{path} has no --help");
    }
    assert!(scripts >= 6, "{scripts} scripts");
}

#[test]
fn examples_and_transforms_have_a_test() {
    let root = places::root();
    let all: String = texts()
        .into_iter()
        .filter(|(path, _)| path.starts_with("tests/") || path.starts_with("examples/"))
        .filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".yaml"))
        .map(|(_, text)| text)
        .collect();
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(root.join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let folders = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let golden = std::fs::read_to_string(root.join("tests/it/golden.rs")).expect("it is there");
    for example in names("examples") {
        let named = all.contains(&format!("examples/{example}")) || golden.contains(&format!("\"{example}\""));
        assert!(named, "no test runs examples/{example}");
    }
    for transform in names("transforms") {
        assert!(
            all.contains(&format!("/{transform}.wasm")),
            "no example and no pipeline of tests/fixtures/pipelines runs {transform}"
        );
    }
}

#[test]
fn every_way_to_misbehave_is_tested() {
    let (guest, tests): (Vec<_>, Vec<_>) = texts()
        .into_iter()
        .filter(|(path, _)| path.starts_with("tests/guests/hostile/") || path.starts_with("tests/it/"))
        .partition(|(path, _)| path.starts_with("tests/guests/hostile/"));
    let mut modes = 0;
    for (_, text) in guest {
        for arm in text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>")) {
            modes += 1;
            let quoted = format!("\"{}\"", arm.0);
            assert!(tests.iter().any(|(_, test)| test.contains(&quoted)), "no test of mode {quoted}");
        }
    }
    assert!(modes > 30, "{modes} modes");
}
