//! The `row` image, case by case of the contract's words.

use crate::{DataType, Envelope, Field, RowSchema};
use arrow_array::cast::AsArray;
use arrow_array::{BinaryArray, Int64Array, types};
use std::sync::Arc;

use super::*;

/// A batch of one row column `id`, one key column `id`.
fn batch(ops: &[Op], before: &[Option<i64>], after: &[Option<i64>], key: &[i64]) -> ChangeBatch {
    let rows = ops.len();
    let image = |cells: &[Option<i64>]| ImageData {
        columns: vec![Some(Cells { array: Arc::new(Int64Array::from(cells.to_vec())), unchanged: None })],
        present: Some(cells.iter().map(Option::is_some).collect()),
    };
    let id = Field::new("id", DataType::Int64, true);
    let key: Vec<Option<i64>> = key.iter().copied().map(Some).collect();
    ChangeBatch {
        schema: Arc::new(RowSchema { key: vec![id.clone()], row: vec![id] }),
        key: ImageData { present: None, ..image(&key) },
        before: image(before),
        after: image(after),
        envelope: Envelope {
            topic: "t".into(),
            ops: ops.to_vec(),
            event_time_us: vec![None; rows],
            partitions: vec![0; rows],
            offsets: vec![0; rows],
            kafka_time_ms: vec![None; rows],
            positions: BinaryArray::new_null(rows),
            snapshots: vec![false; rows],
            records: vec![0; rows],
            origins: None,
        },
    }
}

fn row(batch: &ChangeBatch) -> Cells {
    RowSource::of(batch).cells(batch, 0).expect("same types").expect("decoded")
}

fn numbers(cells: &Cells) -> Vec<Option<i64>> {
    cells.array.as_primitive::<types::Int64Type>().iter().collect()
}

const A: Option<i64> = Some(1);
const B: Option<i64> = Some(2);

#[test]
fn before_for_deletes_else_after_else_the_other_else_the_key() {
    let ops = [Op::Create, Op::Update, Op::Delete, Op::Delete, Op::Update, Op::Delete];
    let batch = batch(&ops, &[None, B, B, None, B, None], &[A, A, A, A, None, None], &[9; 6]);
    assert_eq!(numbers(&row(&batch)), [A, A, B, A, B, Some(9)]);
    assert!(RowSource::presence(&batch).is_none());
}

#[test]
fn one_image_alone_is_not_copied() {
    let inserts = batch(&[Op::Create, Op::Read], &[None, None], &[A, B], &[9; 2]);
    let after = inserts.after.columns[0].clone().expect("decoded").array;
    assert!(Arc::ptr_eq(&row(&inserts).array, &after));
    let deletes = batch(&[Op::Delete, Op::Delete], &[A, B], &[None, None], &[9; 2]);
    let before = deletes.before.columns[0].clone().expect("decoded").array;
    assert!(Arc::ptr_eq(&row(&deletes).array, &before));
}

#[test]
fn unchanged_goes_with_its_cell() {
    let mut batch = batch(&[Op::Update, Op::Delete], &[B, B], &[A, None], &[9; 2]);
    let after = batch.after.columns[0].as_mut().expect("decoded");
    after.unchanged = Some([true, true].into_iter().collect());
    let row = row(&batch);
    assert_eq!(row.unchanged, Some([true, false].into_iter().collect()));
}

#[test]
fn a_key_of_another_type_is_not_the_column() {
    let mut batch = batch(&[Op::Update, Op::Delete], &[None, None], &[A, None], &[9; 2]);
    let text = arrow_array::StringArray::from(vec!["9", "9"]);
    batch.key.columns[0] = Some(Cells { array: Arc::new(text), unchanged: None });
    assert_eq!(numbers(&row(&batch)), [A, None]);
}

#[test]
fn a_truncate_has_no_row() {
    let mut batch = batch(&[Op::Create, Op::Truncate], &[None, None], &[A, None], &[9; 2]);
    batch.key.present = Some([true, false].into_iter().collect());
    assert_eq!(RowSource::presence(&batch), Some([true, false].into_iter().collect()));
}
