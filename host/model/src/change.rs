//! A micro-batch of decoded changes, in columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray};
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
