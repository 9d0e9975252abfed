//! What the compiler says of mistakes in a transform: the SDK's words, which say what to write.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::process::Lakemill;

/// A mistake, by name; what is written; and what the compiler's words must have in them.
const MISTAKES: [(&str, &str, &[&str]); 11] = [
    (
        "row_of_u64",
        "#[derive(Row)] struct Order { id: u64 }",
        &["a row's field cannot be `u64`", "i64, f32, f64, Decimal"],
    ),
    (
        "row_of_a_list",
        "#[derive(Row)] struct Order { tags: Vec<String> }",
        &["`Vec<String>`", "a list of a Json<&str>"],
    ),
    (
        "output_of_u64",
        "#[derive(Output)] struct Made { id: u64 }",
        &["an output's field cannot be `u64`", "an i64 or a Decimal"],
    ),
    (
        "output_of_a_list",
        "#[derive(Output)] struct Made { tags: Option<Vec<String>> }",
        &["an output's field cannot be `Option<Vec<String>>`", "a Json<String>"],
    ),
    (
        "decimal_without_digits",
        "#[derive(Output)] struct Made { total: Option<Decimal> }",
        &["`total` is a Decimal", "#[output(decimal(12, 2))]"],
    ),
    (
        "decimal_without_digits_in_an_enum",
        "#[derive(Output)] enum Made<'a> { A { name: &'a str, total: Cell<Decimal> }, B }",
        &["`total` is a Decimal", "#[output(decimal(12, 2))]"],
    ),
    (
        "digits_of_no_decimal",
        "#[derive(Output)] struct Made { #[output(decimal(12, 2))] total: f64 }",
        &["`total` is no Decimal"],
    ),
    (
        "too_many_digits",
        "#[derive(Output)] struct Made { #[output(decimal(39, 2))] total: Decimal }",
        &["a decimal has 1 to 38 digits"],
    ),
    (
        "no_reference",
        "#[derive(Row)] struct Order { id: i64 } #[derive(Output)] struct Made { id: i64 }
         #[transform] fn clean(change: Change<Order>) -> Emit<Made> { change.map(|order| Made { id: order.id }) }",
        &["a transform borrows what it is given: write `&Change<Order>`"],
    ),
    (
        "no_result",
        "#[derive(Row)] struct Order { id: i64 } #[transform] fn clean(change: &Change<Order>) {}",
        &["a transform returns what it makes of a change: `-> Emit<Clean>`"],
    ),
    (
        "no_argument",
        "#[derive(Output)] struct Made { id: i64 } #[transform] fn clean() -> Emit<Made> { Emit::none() }",
        &["a transform takes a change, or a batch, and perhaps its settings"],
    ),
];

#[test]
fn mistakes_are_told_in_words_that_help() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let made = Lakemill::start_with(["new", "wrong"], |command| {
        command.current_dir(&folder);
    })?;
    made.finish()?.expect(0, &[])?;
    let home = folder.path().join("wrong");
    fs::create_dir(home.join("examples"))?;
    let head = "#![allow(dead_code, unused_imports, reason = \"only its mistake counts\")]\n\
                use lakemill_guest::{Cell, Change, Decimal, Emit, Output, Row, transform};\nfn main() {}\n";
    for (name, text, _) in MISTAKES {
        fs::write(home.join("examples").join(format!("{name}.rs")), format!("{head}{text}\n"))?;
    }
    // What is right must stay so, or all of this shows nothing.
    let right = "#[derive(Row)] struct Order { total: Decimal }
                 #[derive(Output)] struct Made<'a> { #[output(decimal(12, 2))] total: Cell<Decimal>, name: Option<&'a str> }";
    fs::write(home.join("examples/right.rs"), format!("{head}{right}\n"))?;
    let checked = Command::new("cargo")
        .args(["check", "--examples", "--keep-going", "--color", "never"])
        .current_dir(&home)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .context("cargo check")?;
    // Which `String` it is, the compiler says only where there are two.
    let said = String::from_utf8_lossy(&checked.stderr).replace("std::string::String", "String");
    ensure!(!checked.status.success(), "it compiles:\n{said}");
    ensure!(!said.contains("could not compile `wrong` (example \"right\")"), "what is right does not compile:\n{said}");
    for (name, _, words) in MISTAKES {
        ensure!(said.contains(&format!("could not compile `wrong` (example \"{name}\")")), "{name} compiles:\n{said}");
        // Messages of several examples come in any order: each says its file.
        let of_it: Vec<&str> =
            said.split("\nerror").filter(|part| part.contains(&format!("examples/{name}.rs"))).collect();
        let of_it = of_it.join("\n");
        for word in words {
            ensure!(of_it.contains(word), "{name}: no `{word}` in:\n{of_it}");
        }
    }
    Ok(())
}
