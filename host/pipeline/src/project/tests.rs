//! Rows built from answers: images, order, ops, what is left out.

use std::sync::Arc;

use arrow_array::{Array, BinaryArray, Int64Array, StringArray, cast::AsArray, types::Int64Type};
use arrow_buffer::BooleanBuffer;
use lakemill_model::{DataType, Envelope, Field, Image, OutputColumn, OutputSpec, RowSchema};

use super::*;
use crate::spec::written::Metadata;

fn cells(array: impl Array + 'static, unchanged: Option<&[bool]>) -> Option<Cells> {
    Some(Cells { array: Arc::new(array), unchanged: unchanged.map(|bits| bits.iter().copied().collect()) })
}

fn bits(list: &[bool]) -> Option<BooleanBuffer> {
    Some(list.iter().copied().collect())
}

/// An insert, an update whose note is unchanged, a delete, and a delete of which only the key is known.
fn changes() -> ChangeBatch {
    let id = |nullable| Field::new("id", DataType::Int64, nullable);
    ChangeBatch {
        schema: Arc::new(RowSchema {
            key: vec![id(false)],
            row: vec![id(false), Field::new("note", DataType::Text, true)],
        }),
        key: ImageData { columns: vec![cells(Int64Array::from(vec![1, 2, 3, 4]), None)], present: None },
        before: ImageData {
            columns: vec![
                cells(Int64Array::from(vec![None, Some(2), Some(3), None]), None),
                cells(StringArray::from(vec![None, Some("old"), Some("gone"), None]), None),
            ],
            present: bits(&[false, true, true, false]),
        },
        after: ImageData {
            columns: vec![
                cells(Int64Array::from(vec![Some(1), Some(2), None, None]), None),
                cells(StringArray::from(vec![Some("new"), None, None, None]), Some(&[false, true, false, false])),
            ],
            present: bits(&[true, true, false, false]),
        },
        envelope: Envelope {
            topic: "t".into(),
            ops: vec![Op::Create, Op::Update, Op::Delete, Op::Delete],
            event_time_us: vec![Some(1); 4],
            partitions: vec![0; 4],
            offsets: vec![10, 11, 12, 13],
            kafka_time_ms: vec![None; 4],
            positions: BinaryArray::from(vec![None::<&[u8]>; 4]),
            snapshots: vec![false; 4],
            records: vec![0, 1, 2, 3],
            origins: None,
        },
    }
}

fn plan(columns: Vec<OutputColumn>) -> OutputPlan {
    let spec = OutputSpec { name: "o".into(), key: vec![], columns };
    let added = [Metadata::Op, Metadata::Offset, Metadata::Unchanged];
    OutputPlan::resolve(&spec, &changes().schema, "t", &added).expect("resolves")
}

fn row_columns() -> OutputColumn {
    OutputColumn::CopiedAll { image: Image::Row, prefix: String::new(), except: vec![] }
}

fn emission(rows: &[u32]) -> Emission {
    Emission { output: 0, rows: rows.to_vec(), ops: None, columns: vec![] }
}

fn ints(rows: &OutputRows, column: &str) -> Vec<Option<i64>> {
    rows.batch[column].as_primitive::<Int64Type>().iter().collect()
}

fn texts<'a>(rows: &'a OutputRows, column: &str) -> Vec<Option<&'a str>> {
    rows.batch[column].as_string::<i32>().iter().collect()
}

#[test]
fn the_row_is_after_or_before_or_what_the_key_tells() {
    let rows = project(&changes(), &plan(vec![row_columns()]), &emission(&[0, 1, 2, 3]), None).expect("rows");
    assert_eq!(ints(&rows, "id"), [Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(texts(&rows, "note"), [Some("new"), None, Some("gone"), None]);
    assert_eq!(texts(&rows, "_op"), [Some("c"), Some("u"), Some("d"), Some("d")]);
    assert_eq!(texts(&rows, "_unchanged"), [None, Some(r#"["note"]"#), None, None]);
    assert_eq!(ints(&rows, "_offset"), [Some(10), Some(11), Some(12), Some(13)]);
}

#[test]
fn rows_may_be_repeated_reordered_and_given_other_ops() {
    let mut emission = emission(&[1, 0, 1]);
    emission.ops = Some(vec![Op::Delete, Op::Read, Op::Create]);
    emission.columns = vec![Cells { array: Arc::new(Int64Array::from(vec![7, 8, 9])), unchanged: None }];
    let made = OutputColumn::Made(Field::new("made", DataType::Int64, false));
    let rows = project(&changes(), &plan(vec![row_columns(), made]), &emission, None).expect("rows");
    assert_eq!(ints(&rows, "id"), [Some(2), Some(1), Some(2)]);
    assert_eq!(ints(&rows, "made"), [Some(7), Some(8), Some(9)]);
    assert_eq!(texts(&rows, "_op"), [Some("d"), Some("r"), Some("c")]);
    assert_eq!(texts(&rows, "_unchanged"), [Some(r#"["note"]"#), None, Some(r#"["note"]"#)]);
}

#[test]
fn keep_drops_rows_with_all_that_belongs_to_them() {
    let mut emission = emission(&[3, 1, 0]);
    emission.ops = Some(vec![Op::Delete, Op::Update, Op::Create]);
    emission.columns = vec![Cells { array: Arc::new(Int64Array::from(vec![7, 8, 9])), unchanged: None }];
    let made = OutputColumn::Made(Field::new("made", DataType::Int64, false));
    let rows = project(&changes(), &plan(vec![row_columns(), made]), &emission, Some(&[0, 2])).expect("rows");
    assert_eq!(ints(&rows, "id"), [Some(4), Some(1)]);
    assert_eq!(ints(&rows, "made"), [Some(7), Some(9)]);
    assert_eq!(rows.ops, [Op::Delete, Op::Create]);
    assert_eq!(ints(&rows, "_offset"), [Some(13), Some(10)]);
}

#[test]
fn both_images_side_by_side() {
    let both = [(Image::Before, "before_"), (Image::After, "after_")];
    let columns =
        both.map(|(image, prefix)| OutputColumn::CopiedAll { image, prefix: prefix.into(), except: vec![] }).to_vec();
    let rows = project(&changes(), &plan(columns), &emission(&[1, 2]), None).expect("rows");
    assert_eq!(ints(&rows, "before_id"), [Some(2), Some(3)]);
    assert_eq!(ints(&rows, "after_id"), [Some(2), None]);
    assert_eq!(texts(&rows, "before_note"), [Some("old"), Some("gone")]);
    assert_eq!(texts(&rows, "_unchanged"), [Some(r#"["after_note"]"#), None]);
}
