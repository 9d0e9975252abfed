//! Rows for the dead letters and the late rows: the record as it came, with its place and the reason. Pure.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{BinaryBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use lakemill_model::{DataType, Field, Op, OutputRows, RawBatch, TableSchema, range};

/// Where a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetterStage {
    Decode,
    Transform,
    /// A sink's table cannot have it.
    Sink,
    Late,
}

impl LetterStage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            LetterStage::Decode => "decode",
            LetterStage::Transform => "transform",
            LetterStage::Sink => "sink",
            LetterStage::Late => "late",
        }
    }
}

/// A record that goes to the side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Index into the batch's records.
    pub record: u32,
    pub stage: LetterStage,
    pub reason: String,
    /// SHA-256 of the component that refused it.
    pub digest: Option<String>,
    /// Where the component was when it failed on it.
    pub backtrace: Option<String>,
}

/// Why one of those that are dead is.
pub(crate) fn example(letters: &[Letter]) -> Option<String> {
    letters.iter().find(|letter| letter.stage != LetterStage::Late).map(|letter| letter.reason.clone())
}

/// The columns of a dead-letter table.
pub(crate) fn schema() -> Arc<TableSchema> {
    static SCHEMA: LazyLock<Arc<TableSchema>> = LazyLock::new(|| {
        let fields = [
            ("topic", DataType::Text, false),
            ("partition", DataType::Int32, false),
            ("offset", DataType::Int64, false),
            ("kafka_time", DataType::Timestamp, true),
            ("key", DataType::Bytes, true),
            ("value", DataType::Bytes, true),
            ("stage", DataType::Text, false),
            ("reason", DataType::Text, false),
            ("digest", DataType::Text, true),
            ("backtrace", DataType::Text, true),
            ("processed_at", DataType::Timestamp, false),
        ];
        let fields = fields.map(|(name, data_type, nullable)| Field::new(name, data_type, nullable)).to_vec();
        Arc::new(TableSchema { fields, key: ["topic", "partition", "offset"].map(Into::into).to_vec() })
    });
    SCHEMA.clone()
}

/// The rows of `letters`, in their order. `now_us` is the batch's clock.
pub(crate) fn rows(raw: &RawBatch, letters: &[Letter], now_us: i64) -> OutputRows {
    let (mut topic, mut stage, mut reason) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut digest, mut backtrace) = (StringBuilder::new(), StringBuilder::new());
    let (mut partition, mut offset) = (Int32Builder::new(), Int64Builder::new());
    let (mut key, mut value) = (BinaryBuilder::new(), BinaryBuilder::new());
    let utc = || TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let (mut kafka_time, mut processed_at) = (utc(), utc());
    for letter in letters {
        let record = &raw.records()[letter.record as usize];
        topic.append_value(raw.topic(record));
        partition.append_value(record.partition);
        offset.append_value(record.offset);
        kafka_time.append_option(record.timestamp_ms.and_then(|ms| range::timestamp(i128::from(ms) * 1000).ok()));
        key.append_option(raw.key(record));
        value.append_option(raw.value(record));
        stage.append_value(letter.stage.name());
        reason.append_value(&letter.reason);
        digest.append_option(letter.digest.as_deref());
        backtrace.append_option(letter.backtrace.as_deref());
        processed_at.append_value(now_us);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(topic.finish()),
        Arc::new(partition.finish()),
        Arc::new(offset.finish()),
        Arc::new(kafka_time.finish()),
        Arc::new(key.finish()),
        Arc::new(value.finish()),
        Arc::new(stage.finish()),
        Arc::new(reason.finish()),
        Arc::new(digest.finish()),
        Arc::new(backtrace.finish()),
        Arc::new(processed_at.finish()),
    ];
    let schema = schema();
    let batch = RecordBatch::try_new(schema.to_arrow(), columns).expect("the builders follow the schema above");
    // A letter is about a record, not about a row: it has no op of its own.
    OutputRows { schema, batch, ops: vec![Op::Create; letters.len()] }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, cast::AsArray};
    use lakemill_model::RecordRef;

    use super::*;

    #[test]
    fn a_letter_holds_the_record_as_it_came() {
        let mut raw = RawBatch::default();
        let base =
            RecordRef { topic: "t", partition: 2, offset: 5, timestamp_ms: Some(7), key: None, value: Some(b"\xff{") };
        raw.push(base);
        raw.push(RecordRef { offset: 6, key: Some(b"k"), value: None, timestamp_ms: None, ..base });
        let letter =
            |record, stage| Letter { record, stage, reason: format!("r{record}"), digest: None, backtrace: None };
        let rows = rows(&raw, &[letter(1, LetterStage::Transform), letter(0, LetterStage::Decode)], 9);
        let bytes = |name: &str, row: usize| {
            let column = rows.batch[name].as_binary::<i32>();
            column.is_valid(row).then(|| column.value(row).to_vec())
        };
        assert_eq!((bytes("key", 0), bytes("value", 0)), (Some(b"k".to_vec()), None));
        assert_eq!((bytes("key", 1), bytes("value", 1)), (None, Some(b"\xff{".to_vec())));
        let stages: Vec<_> = rows.batch["stage"].as_string::<i32>().iter().flatten().collect();
        assert_eq!(stages, ["transform", "decode"]);
        assert_eq!(rows.batch["kafka_time"].null_count(), 1);
    }
}
