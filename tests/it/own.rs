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

#[test]
fn the_shipped_transforms_import_what_they_use_and_nothing_else() {
    for (name, interfaces) in
        [("clean", vec!["batches", "config"]), ("flatten", vec!["batches"]), ("split", vec!["batches"])]
    {
        let component = places::guest(name).expect("is built").display().to_string();
        let found: serde_json::Value =
            serde_json::from_str(&lakemill(Path::new("."), &["inspect", &component, "--json"])).expect("is JSON");
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
