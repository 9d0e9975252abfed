//! What a description may say, and what it may not.

use super::*;
use crate::bindings::types::{ColumnRef, CopiedColumn, CopiedImage, DecimalType};

fn made(name: &str) -> types::OutputColumn {
    types::OutputColumn::Made(types::Field { name: name.into(), data_type: types::DataType::Int64, nullable: true })
}

fn from(image: types::Image, name: &str) -> ColumnRef {
    ColumnRef { image, name: name.into() }
}

fn copied(image: types::Image, column: &str, name: &str) -> types::OutputColumn {
    types::OutputColumn::Copied(CopiedColumn { from: from(image, column), name: name.into() })
}

fn all(image: types::Image, prefix: &str, except: &[&str]) -> types::OutputColumn {
    let except = except.iter().map(|name| name.to_string()).collect();
    types::OutputColumn::CopiedAll(CopiedImage { image, prefix: prefix.into(), except })
}

fn output(name: &str, key: &[&str], columns: Vec<types::OutputColumn>) -> types::Output {
    types::Output { name: name.into(), key: key.iter().map(|name| name.to_string()).collect(), columns }
}

fn of(outputs: Vec<types::Output>) -> types::Description {
    types::Description { name: "t".into(), version: "1".into(), outputs, reads: Vec::new(), config_schema: None }
}

fn good() -> types::Description {
    of(vec![output("orders", &["id"], vec![made("id"), copied(types::Image::Row, "total", "sum")])])
}

#[track_caller]
fn wrong(given: types::Description, says: &str) {
    let message = description(given).expect_err(says);
    assert!(message.contains(says), "{message}");
}

#[test]
fn a_good_one_comes_out_as_it_went_in() {
    let row = types::Image::Row;
    let given = types::Description {
        reads: vec![types::Reads::Image(types::Image::Key), types::Reads::Column(from(row, "total"))],
        config_schema: Some(r#"{"type": "object"}"#.into()),
        ..of(vec![output("o_1", &["before_id", "op"], vec![all(row, "before_", &["x"]), copied(row, "a", "op")])])
    };
    let made = description(given).expect("is right");
    assert_eq!((&*made.name, &*made.version), ("t", "1"));
    assert_eq!(made.reads, [Reads::Image(Image::Key), Reads::Column(Image::Row, "total".into())]);
    let columns = [
        OutputColumn::CopiedAll { image: Image::Row, prefix: "before_".into(), except: vec!["x".into()] },
        OutputColumn::Copied { image: Image::Row, column: "a".into(), name: "op".into() },
    ];
    assert_eq!(made.outputs[0].columns, columns);
    assert_eq!(made.outputs[0].key, ["before_id".into(), "op".into()] as [Arc<str>; 2]);
}

#[test]
fn names() {
    wrong(types::Description { name: String::new(), ..good() }, "`name` must be 1 to 64 characters");
    wrong(types::Description { name: "n".repeat(100_000), ..good() }, "it has 100000: \"nnn");
    wrong(types::Description { version: "a\nb".into(), ..good() }, "`version` must be");
    for name in ["", "../etc", "Orders", "a-b", &"o".repeat(65)] {
        wrong(
            of(vec![output(name, &[], vec![made("id")])]),
            "the name of output 0 must be 1 to 64 characters of [a-z0-9_]",
        );
    }
    wrong(of(vec![output("o", &[], vec![made("")])]), "output `o`: the name of a column must be 1 to 255 bytes");
    wrong(of(vec![output("o", &[], vec![made("a\u{7}")])]), "without control characters");
}

#[test]
fn counts() {
    wrong(of(vec![]), "`outputs` has 0 entries, allowed are 1 to 64");
    let many = (0..65).map(|n| output(&format!("o{n}"), &[], vec![made("id")])).collect();
    wrong(of(many), "`outputs` has 65 entries");
    wrong(of(vec![output("o", &[], vec![])]), "output `o`: `columns` has 0 entries");
    let many = (0..1001).map(|n| made(&format!("c{n}"))).collect();
    wrong(of(vec![output("o", &[], many)]), "`columns` has 1001 entries, allowed are 1 to 1000");
    let reads = (0..1001).map(|n| types::Reads::Column(from(types::Image::Row, &format!("c{n}")))).collect();
    wrong(types::Description { reads, ..good() }, "`reads` has 1001 entries");
}

#[test]
fn twins() {
    let twins = of(vec![output("o", &[], vec![made("id")]), output("o", &[], vec![made("id")])]);
    wrong(twins, "two outputs are called `o`");
    wrong(
        of(vec![output("o", &[], vec![made("id"), copied(types::Image::Row, "a", "id")])]),
        "two columns are called `id`",
    );
    let with_envelope = |except| vec![made("meta_op"), all(types::Image::Envelope, "meta_", except)];
    wrong(of(vec![output("o", &[], with_envelope(&[]))]), "two columns are called `meta_op`");
    assert!(description(of(vec![output("o", &[], with_envelope(&["op"]))])).is_ok());
    let twice = vec![all(types::Image::Row, "", &[]), all(types::Image::Row, "", &["a"])];
    wrong(of(vec![output("o", &[], twice)]), "all of `row` is copied twice under prefix ``");
}

#[test]
fn keys() {
    wrong(of(vec![output("o", &["nothing"], vec![made("id")])]), "the key names `nothing`, which is not a column");
    wrong(of(vec![output("o", &["id", "id"], vec![made("id")])]), "the key names `id` twice");
    let copied = |key: &str| of(vec![output("o", &[key], vec![made("n"), all(types::Image::Row, "b_", &["x"])])]);
    assert!(description(copied("b_id")).is_ok(), "the input may have it");
    wrong(copied("b_x"), "which is not a column of the output: it declares n");
    wrong(copied("id"), "the key names `id`");
}

#[test]
fn what_a_column_is_made_of() {
    for (precision, scale) in [(0, 0), (39, 0), (5, 6), (99, 100)] {
        let data_type = types::DataType::Decimal(DecimalType { precision, scale });
        let field = types::Field { name: "money".into(), data_type, nullable: true };
        let column = types::OutputColumn::Made(field);
        wrong(of(vec![output("o", &[], vec![column])]), &format!("column `money`: decimal({precision},{scale})"));
    }
    let envelope = copied(types::Image::Envelope, "nothing", "n");
    wrong(of(vec![output("o", &[], vec![envelope])]), "column `n`: the envelope has no column `nothing`, it has op, ");
    let reads = vec![types::Reads::Column(from(types::Image::Envelope, "nothing"))];
    wrong(types::Description { reads, ..good() }, "`reads`: the envelope has no column");
}

#[test]
fn the_config_schema_is_an_object() {
    let with = |schema: &str| types::Description { config_schema: Some(schema.into()), ..good() };
    wrong(with("[]"), "must be a JSON Schema");
    wrong(with("{"), "`config-schema` is not JSON");
    wrong(with(&" ".repeat(CONFIG_SCHEMA_BYTES_MAX + 1)), "allowed are 1048576");
}
