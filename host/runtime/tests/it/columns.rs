//! What a guest reads is what the batch holds, and what it writes is what comes out.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array};
use lakemill_model::{Answer, Cells, ChangeBatch, DataType, EnvelopeColumn, Field, ImageData, Op, Transform};

use crate::batches::{CLOCK, all_types, inserts, plain, small};
use crate::guests::{load, probe, trap};

/// The columns of a batch, through the guest and back.
fn echo(batch: ChangeBatch, fields: &[Field], image: &str) -> Vec<Cells> {
    let columns: serde_json::Map<_, _> = fields
        .iter()
        .map(|field| {
            let name = match field.data_type {
                DataType::Decimal { .. } => "decimal".into(),
                other => other.to_string(),
            };
            (field.name.to_string(), serde_json::Value::from(name))
        })
        .collect();
    let config = serde_json::json!({"do": "echo", "columns": columns, "image": image}).to_string();
    let component = load(&probe(), &config).expect("loads");
    let made: Vec<&Field> = component.description().outputs[0].made().collect();
    let order: Vec<usize> =
        fields.iter().map(|field| made.iter().position(|made| made.name == field.name).expect("is declared")).collect();
    let Answer { mut emissions, rejections } = component.transform(&Arc::new(batch), CLOCK).expect("answers");
    assert!(rejections.is_empty());
    let emission = emissions.remove(0);
    order.into_iter().map(|place| emission.columns[place].clone()).collect()
}

#[track_caller]
fn same(name: &str, found: &Cells, wanted: &Cells) {
    assert_eq!(&found.array, &wanted.array, "{name}");
    assert_eq!(found.unchanged, wanted.unchanged, "{name}");
}

#[test]
fn every_type_with_nulls_whole_and_sliced() {
    let whole = all_types(1_000);
    for (offset, len) in [(0, 1_000), (0, 1), (1, 1), (3, 17), (8, 64), (501, 499)] {
        let cut: Vec<(Field, ArrayRef)> =
            whole.iter().map(|(field, array)| (field.clone(), array.slice(offset, len))).collect();
        let fields: Vec<Field> = cut.iter().map(|(field, _)| field.clone()).collect();
        let columns = plain(cut);
        let echoed = echo(inserts(columns.clone()), &fields, "row");
        for ((field, wanted), found) in columns.iter().zip(&echoed) {
            same(&format!("{} {offset}+{len}", field.name), found, wanted);
        }
    }
}

#[test]
fn unchanged_cells_keep_their_mark() {
    // Null where unchanged: that is how the host has them.
    let columns: Vec<(Field, Cells)> = all_types(100)
        .into_iter()
        .map(|(field, array)| (field, Cells { array, unchanged: Some((0..100).map(|row| row % 6 == 1).collect()) }))
        .collect();
    let fields: Vec<Field> = columns.iter().map(|(field, _)| field.clone()).collect();
    let echoed = echo(inserts(columns.clone()), &fields, "after");
    for ((field, wanted), found) in columns.iter().zip(&echoed) {
        same(&field.name, found, wanted);
    }
}

#[test]
fn the_envelope_by_name() {
    let batch = small(5);
    let fields: Vec<Field> = EnvelopeColumn::ALL.iter().map(|column| column.field()).collect();
    let echoed = echo((*batch).clone(), &fields, "envelope");
    let rows = [0, 1, 2, 3, 4];
    for (column, found) in EnvelopeColumn::ALL.iter().zip(&echoed) {
        let wanted = Cells { array: column.gather(&batch.envelope, &rows, None), unchanged: None };
        same(column.name(), found, &wanted);
    }
}

/// Two updates and a delete; the second update has no after, the delete no before.
fn mixed() -> ChangeBatch {
    let cells =
        |values: [Option<i64>; 3]| Cells { array: Arc::new(Int64Array::from(values.to_vec())), unchanged: None };
    let image = |values: [Option<i64>; 3]| ImageData {
        columns: vec![Some(cells(values))],
        present: Some(values.iter().map(Option::is_some).collect()),
    };
    let mut batch = (*small(3)).clone();
    batch.before = image([Some(1), Some(2), None]);
    batch.after = image([Some(10), None, None]);
    batch.envelope.ops = vec![Op::Update, Op::Update, Op::Delete];
    batch
}

#[test]
fn images() {
    let id = [Field::new("id", DataType::Int64, true)];
    let numbers = |image: &str| {
        let echoed = echo(mixed(), &id, image);
        echoed[0].array.as_primitive::<arrow_array::types::Int64Type>().iter().collect::<Vec<_>>()
    };
    assert_eq!(numbers("before"), [Some(1), Some(2), None]);
    assert_eq!(numbers("after"), [Some(10), None, None]);
    assert_eq!(numbers("key"), [Some(0), Some(1), Some(2)]);
    assert_eq!(numbers("row"), [Some(10), Some(2), Some(2)], "the delete's row is its key");
}

fn shape(batch: ChangeBatch, image: &str) -> String {
    let config =
        serde_json::json!({"do": "shape", "columns": {"said": "text"}, "reads": [], "image": image}).to_string();
    let component = load(&probe(), &config).expect("loads");
    let answer = component.transform(&Arc::new(batch), CLOCK).expect("answers");
    answer.emissions[0].columns[0].array.as_string::<i32>().value(0).to_owned()
}

#[test]
fn what_the_batch_says_beside_its_columns() {
    let said = shape(mixed(), "after");
    let wanted = "len 3 schema [\"id DataType::Int64 false\"] presence Some([1]) ops [2, 2, 3] \
                  now 1700000000000000 watermark Some(1600000000000000) missing true";
    assert_eq!(said, wanted);
    assert!(shape(mixed(), "key").contains("presence None"));
    assert!(shape(mixed(), "row").contains("presence None"), "the delete's key is its row");
    assert!(shape(mixed(), "before").contains("presence Some([3])"));
    let envelope = shape(mixed(), "envelope");
    assert!(envelope.contains("\"position DataType::Bytes true\", \"snapshot DataType::Boolean false\""), "{envelope}");
}

#[test]
fn only_declared_columns() {
    let config = r#"{"do": "echo", "columns": {"id": "int64"}, "reads": [], "image": "after"}"#;
    let component = load(&probe(), config).expect("loads");
    let result = component.transform(&small(3), CLOCK);
    trap(result, "it asked for column `id` of image `after`, which its description does not name in `reads`: add it");
    // The envelope need not be named.
    let config = r#"{"do": "echo", "columns": {"offset": "int64"}, "reads": [], "image": "envelope"}"#;
    assert!(load(&probe(), config).expect("loads").transform(&small(3), CLOCK).is_ok());
}

#[test]
fn a_column_that_is_not_there_is_none() {
    let config = r#"{"do": "echo", "columns": {"dropped": "int64"}, "image": "after"}"#;
    let component = load(&probe(), config).expect("loads");
    let error = component.transform(&small(3), CLOCK).expect_err("the guest wants it").to_string();
    assert!(error.contains("gave up on the batch: there is no column dropped"), "{error}");
}

#[test]
fn a_column_that_was_not_decoded_is_the_hosts_fault() {
    let config = r#"{"do": "echo", "columns": {"id": "int64"}, "image": "after"}"#;
    let mut batch = (*small(3)).clone();
    batch.after.columns = vec![None];
    let result = load(&probe(), config).expect("loads").transform(&Arc::new(batch), CLOCK);
    trap(result, "the host has not decoded column `id` of image `after`, although `reads` names it");
}

#[test]
fn a_panic_of_the_host_stays_in_the_call() {
    let config = r#"{"do": "echo", "columns": {"id": "int64"}, "image": "after"}"#;
    let component = load(&probe(), config).expect("loads");
    let mut batch = (*small(3)).clone();
    // A batch that breaks its promise: the schema says int64.
    let lie: ArrayRef = Arc::new(BinaryArray::from(vec![&b"a"[..], b"b", b"c"]));
    batch.after.columns = vec![Some(Cells { array: lie, unchanged: None })];
    trap(component.transform(&Arc::new(batch), CLOCK), "the host panicked");
    assert!(component.transform(&small(3), CLOCK).is_ok());
}
