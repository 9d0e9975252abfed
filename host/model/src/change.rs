//! A micro-batch of decoded changes, in columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, StringArray, UInt32Array, cast::AsArray};
use arrow_buffer::BooleanBuffer;

use crate::{Op, RowSchema};

/// Where a column of a change lives (wit/types.wit, `image`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Image {
    /// The Kafka key.
    Key,
    /// The row before the change.
    Before,
    /// The row after it.
    After,
    /// The row that the change is about: `Before` for deletes, else `After`, with the other as fallback.
    Row,
    /// What Debezium and Kafka say about the change.
    Envelope,
}

impl Image {
    /// As wit/types.wit spells it.
    pub fn name(self) -> &'static str {
        match self {
            Image::Key => "key",
            Image::Before => "before",
            Image::After => "after",
            Image::Row => "row",
            Image::Envelope => "envelope",
        }
    }
}

/// The cells of one column: values and nulls in the array, the third state beside it.
#[derive(Clone, Debug)]
pub struct Cells {
    /// One entry per row, of the type that [`crate::DataType::to_arrow`] names. Null where the cell is null, where
    /// it is unchanged, and where the row lacks the image.
    pub array: ArrayRef,
    /// Set where the source left the cell out because the change did not touch it. `None`: nowhere.
    pub unchanged: Option<BooleanBuffer>,
}

/// One image of a batch.
#[derive(Clone, Debug, Default)]
pub struct ImageData {
    /// One per field of the schema; `None` if nobody reads the column, so that it was not decoded.
    pub columns: Vec<Option<Cells>>,
    /// Set where the row has the image. `None`: everywhere.
    pub present: Option<BooleanBuffer>,
}

/// What Debezium and Kafka say about each change; every list has one entry per row.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The one topic of the batch.
    pub topic: Arc<str>,
    /// The op.
    pub ops: Vec<Op>,
    /// `source.ts_ms` in microseconds since 1970; `None` where the source tells none.
    pub event_time_us: Vec<Option<i64>>,
    /// Kafka partition.
    pub partitions: Vec<i32>,
    /// Kafka offset.
    pub offsets: Vec<i64>,
    /// Kafka's timestamp in milliseconds since 1970.
    pub kafka_time_ms: Vec<Option<i64>>,
    /// The place in the source's log, byte-wise comparable within one source; null where there is none.
    pub positions: BinaryArray,
    /// True where the change comes from a snapshot.
    pub snapshots: Vec<bool>,
    /// Index of the record in the [`crate::RawBatch`] that the row was decoded from.
    pub records: Vec<u32>,
    /// Which tables the changes are of; `None` if nobody reads it, so that it was not decoded.
    pub origins: Option<Origins>,
}

/// Which table each change is of, as `source` says; null where it does not.
#[derive(Clone, Debug)]
pub struct Origins {
    /// `source.db`
    pub db: StringArray,
    /// `source.schema`
    pub schema: StringArray,
    /// `source.table`, of MongoDB `source.collection`
    pub table: StringArray,
}

/// Changes of one topic under one row schema, in the order of each partition. Never empty.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The columns.
    pub schema: Arc<RowSchema>,
    /// By [`RowSchema::key`].
    pub key: ImageData,
    /// By [`RowSchema::row`].
    pub before: ImageData,
    /// By [`RowSchema::row`].
    pub after: ImageData,
    /// The rest.
    pub envelope: Envelope,
}

impl Cells {
    /// The cells of these rows, in this order.
    ///
    /// # Panics
    /// If a row is not one of the column's.
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Cells {
        let indices = UInt32Array::from(rows.to_vec());
        let array = arrow_select::take::take(&self.array, &indices, None).expect("the rows are the column's own");
        Cells { array, unchanged: self.unchanged.as_ref().map(|bits| selected(bits, rows)) }
    }
}

fn selected(bits: &BooleanBuffer, rows: &[u32]) -> BooleanBuffer {
    rows.iter().map(|&row| bits.value(row as usize)).collect()
}

impl ChangeBatch {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.envelope.ops.len()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.envelope.ops.is_empty()
    }
}

impl ChangeBatch {
    /// The given rows, in that order.
    ///
    /// # Panics
    /// If a row is not one of the batch's.
    pub fn select(&self, rows: &[u32]) -> ChangeBatch {
        let indices = UInt32Array::from(rows.to_vec());
        let take =
            |array: &dyn Array| arrow_select::take::take(array, &indices, None).expect("the rows are the batch's own");
        let bits = |bits: &BooleanBuffer| selected(bits, rows);
        let image = |image: &ImageData| ImageData {
            columns: image.columns.iter().map(|cells| Some(cells.as_ref()?.select(rows))).collect(),
            present: image.present.as_ref().map(bits),
        };
        fn pick<T: Copy>(list: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| list[row as usize]).collect()
        }
        let from = &self.envelope;
        ChangeBatch {
            schema: self.schema.clone(),
            key: image(&self.key),
            before: image(&self.before),
            after: image(&self.after),
            envelope: Envelope {
                topic: from.topic.clone(),
                ops: pick(&from.ops, rows),
                event_time_us: pick(&from.event_time_us, rows),
                partitions: pick(&from.partitions, rows),
                offsets: pick(&from.offsets, rows),
                kafka_time_ms: pick(&from.kafka_time_ms, rows),
                positions: take(&from.positions).as_binary::<i32>().clone(),
                snapshots: pick(&from.snapshots, rows),
                records: pick(&from.records, rows),
                origins: from.origins.as_ref().map(|of| {
                    let text = |array: &StringArray| take(array).as_string::<i32>().clone();
                    Origins { db: text(&of.db), schema: text(&of.schema), table: text(&of.table) }
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Int64Array;

    use super::*;

    #[test]
    fn select_takes_every_part_of_a_row() {
        let cells = |values: Vec<i64>, unchanged: &[bool]| Cells {
            array: Arc::new(Int64Array::from(values)),
            unchanged: Some(unchanged.iter().copied().collect()),
        };
        let image = |values: Vec<i64>| ImageData {
            columns: vec![Some(cells(values, &[true, false, false])), None],
            present: Some([true, false, true].into_iter().collect()),
        };
        let batch = ChangeBatch {
            schema: Arc::new(RowSchema::default()),
            key: image(vec![1, 2, 3]),
            before: image(vec![4, 5, 6]),
            after: image(vec![7, 8, 9]),
            envelope: Envelope {
                topic: "t".into(),
                ops: vec![Op::Create, Op::Update, Op::Delete],
                event_time_us: vec![Some(1), None, Some(3)],
                partitions: vec![0, 1, 2],
                offsets: vec![10, 11, 12],
                kafka_time_ms: vec![None, Some(2), Some(3)],
                positions: BinaryArray::from(vec![Some(&b"a"[..]), None, Some(b"c")]),
                snapshots: vec![true, false, false],
                records: vec![5, 6, 7],
                origins: Some(Origins {
                    db: StringArray::from(vec![None::<&str>; 3]),
                    schema: StringArray::from(vec![Some("s"), None, Some("t")]),
                    table: StringArray::from(vec!["a", "b", "c"]),
                }),
            },
        };
        let some = batch.select(&[2, 0]);
        assert_eq!(some.len(), 2);
        assert_eq!(some.envelope.ops, [Op::Delete, Op::Create]);
        assert_eq!((some.envelope.offsets, some.envelope.records), (vec![12, 10], vec![7, 5]));
        assert_eq!(some.envelope.positions.iter().collect::<Vec<_>>(), [Some(&b"c"[..]), Some(b"a")]);
        let origins = some.envelope.origins.expect("they were there");
        assert_eq!(origins.table, StringArray::from(vec!["c", "a"]));
        assert_eq!((origins.db.null_count(), origins.schema.value(0)), (2, "t"));
        let after = some.after.columns[0].as_ref().expect("decoded");
        assert_eq!(after.array.as_ref(), &Int64Array::from(vec![9, 7]) as &dyn Array);
        assert_eq!(after.unchanged, Some([false, true].into_iter().collect()));
        assert!(some.after.columns[1].is_none());
        assert_eq!(some.key.present, Some([true, true].into_iter().collect()));
    }
}
