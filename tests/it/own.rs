//! A transform of one's own, as README's second section has it; and the cases of the shipped ones, against their components.

use std::path::Path;
use std::process::Command;

use lakemill_tests::places;

fn lakemill(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(places::lakemill().expect("is built"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("lakemill starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "lakemill {arguments:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_new_transform_builds_passes_its_cases_and_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    lakemill(folder.path(), &["new", "my-orders"]);
    let own = folder.path().join("my-orders");
    let tested = lakemill(&own, &["test"]);
    assert!(tested.ends_with("3 passed, 0 failed\n"), "{tested}");
    let run = lakemill(&own, &["run", "pipeline.yaml", "--json"]);
    assert!(run.contains("\"rows_in\":3") && run.contains("\"rows_dead\":0"), "{run}");
}

#[test]
fn the_cases_of_the_shipped_transforms_hold_for_their_components() {
    for (name, cases) in [("clean", 6), ("flatten", 2), ("split", 1)] {
        let component = places::guest(name).expect("is built").display().to_string();
        let folder = places::root().join("transforms").join(name);
        let tested = lakemill(&folder, &["test", ".", "--component", &component]);
        assert_eq!(tested, format!("{cases} passed, 0 failed\n"), "{name}");
    }
}

/// The same files that its `cargo test` runs natively: what decodes and shows cells twice does both alike.
#[test]
fn the_cases_of_every_type_hold_for_the_component() {
    let component = places::guest("types").expect("is built").display().to_string();
    let folder = places::root().join("tests/guests/types");
    assert_eq!(lakemill(&folder, &["test", ".", "--component", &component]), "10 passed, 0 failed\n");
}

fn refused(folder: &Path, case: &str) -> (Option<i32>, String) {
    std::fs::create_dir_all(folder.join("cases")).expect("creates");
    std::fs::write(folder.join("cases/a.yaml"), case).expect("writes");
    let component = places::guest("types").expect("is built").display().to_string();
    let output = Command::new(places::lakemill().expect("is built"))
        .args(["test", ".", "--component", &component])
        .current_dir(folder)
        .output()
        .expect("lakemill starts");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn a_case_that_the_component_fails_on_is_one_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, said) = refused(
        folder.path(),
        "cases:
  - { name: it panics, config: { on_bad: panic }, input: [{ value: { op: c, after: { word: bad } } }] }
  - { name: its settings are refused, config: { on: 1 }, input: [] }
  - { name: nothing is expected, input: [], schema: { row: [{ name: a, type: int64 }, { name: a, type: text }] } }
  - { name: its row differs, input: [{ value: { op: d } }] }
  - { name: it is well, input: [{ value: null }] }
",
    );
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("1 passed, 4 failed"), "{said}");
    for words in [
        "FAIL ./cases/a.yaml: it panics",
        "the component panicked: the word is bad (",
        "types/src/lib.rs:",
        "has no setting `on`",
        "declares the column `a` twice",
    ] {
        assert!(said.contains(words), "no `{words}` in {said}");
    }
}

#[test]
fn a_key_that_is_none_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (case, key) in [
        ("cases: []\nshema: infer\n", "shema"),
        ("cases: [{ name: n, input: [], outputs: {} }]\n", "outputs"),
        ("cases: [{ name: n, input: [{ valeu: {} }] }]\n", "valeu"),
        ("cases: [{ name: n, input: [], dead: [{ record: 0, reason: r, at: 1 }] }]\n", "`at`"),
        ("cases: [{ name: n, input: [], schema: { rows: [] } }]\n", "rows"),
        ("cases: [{ name: n, input: [], schema: { row: [{ name: a, type: bigint }] } }]\n", "bigint"),
    ] {
        let (code, said) = refused(folder.path(), case);
        assert!(code == Some(2) && said.contains(key), "{case}: {said}");
    }
}

#[test]
fn the_shipped_transforms_import_what_they_use_and_nothing_else() {
    for (name, interfaces) in [
        ("clean", vec!["batches", "panic", "config"]),
        ("flatten", vec!["batches", "panic"]),
        ("split", vec!["batches", "panic"]),
    ] {
        let component = places::guest(name).expect("is built").display().to_string();
        let found: serde_json::Value =
            serde_json::from_str(&lakemill(Path::new("."), &["inspect", &component, "--json"])).expect("is JSON");
        // `panic` is where the SDK puts the words of one.
        let wanted: Vec<String> = interfaces.iter().map(|of| format!("lakemill:transform/{of}@0.1.0")).collect();
        assert_eq!(found["imports"], serde_json::json!(wanted), "{name}");
    }
}

#[test]
fn a_case_that_fails_shows_both_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("cases")).expect("creates");
    let case = "cases: [{ name: n, input: [{ value: { op: c, after: { id: 1 } } }], output: { inserts: [{ id: 2, _op: c }] } }]";
    std::fs::write(folder.path().join("cases/a.yaml"), case).expect("writes");
    let component = places::guest("split").expect("is built").display().to_string();
    let output = Command::new(places::lakemill().expect("is built"))
        .args(["test", ".", "--component", &component])
        .current_dir(folder.path())
        .output()
        .expect("lakemill starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(r#"expected {"_op":"c","id":2}"#) && text.contains(r#"found    {"_op":"c","id":1}"#),
        "{text}"
    );
}
