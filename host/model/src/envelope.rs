//! The envelope's columns by name: what guests read and tables keep of what Debezium and Kafka say about a change.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};

use crate::{DataType, Envelope, Field, Op, Origins};

/// A column of [`Envelope`] (names and types: wit/types.wit, `image.envelope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EnvelopeColumn {
    /// `op`
    Op,
    /// `event_time`
    EventTime,
    /// `topic`
    Topic,
    /// `partition`
    Partition,
    /// `offset`
    Offset,
    /// `kafka_time`
    KafkaTime,
    /// `position`
    Position,
    /// `snapshot`
    Snapshot,
    /// `source_db`
    SourceDb,
    /// `source_schema`
    SourceSchema,
    /// `source_table`
    SourceTable,
}

impl EnvelopeColumn {
    /// All of them, in the order that `batch.schema` lists them.
    pub const ALL: [EnvelopeColumn; 11] = [
        EnvelopeColumn::Op,
        EnvelopeColumn::EventTime,
        EnvelopeColumn::Topic,
        EnvelopeColumn::Partition,
        EnvelopeColumn::Offset,
        EnvelopeColumn::KafkaTime,
        EnvelopeColumn::Position,
        EnvelopeColumn::Snapshot,
        EnvelopeColumn::SourceDb,
        EnvelopeColumn::SourceSchema,
        EnvelopeColumn::SourceTable,
    ];

    /// Those that an output has that copies all of the envelope: a component that is published is not to make other tables with a
    /// later host.
    pub const COPIED: [EnvelopeColumn; 8] = *Self::ALL.first_chunk().expect("there are more");

    /// True if the table of a change is what it tells: it is decoded only if somebody names it.
    pub fn is_origin(self) -> bool {
        matches!(self, EnvelopeColumn::SourceDb | EnvelopeColumn::SourceSchema | EnvelopeColumn::SourceTable)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            EnvelopeColumn::Op => "op",
            EnvelopeColumn::EventTime => "event_time",
            EnvelopeColumn::Topic => "topic",
            EnvelopeColumn::Partition => "partition",
            EnvelopeColumn::Offset => "offset",
            EnvelopeColumn::KafkaTime => "kafka_time",
            EnvelopeColumn::Position => "position",
            EnvelopeColumn::Snapshot => "snapshot",
            EnvelopeColumn::SourceDb => "source_db",
            EnvelopeColumn::SourceSchema => "source_schema",
            EnvelopeColumn::SourceTable => "source_table",
        }
    }

    /// The column of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    /// Its name and type.
    pub fn field(self) -> Field {
        let (data_type, nullable) = match self {
            EnvelopeColumn::Op | EnvelopeColumn::Topic => (DataType::Text, false),
            EnvelopeColumn::EventTime | EnvelopeColumn::KafkaTime => (DataType::Timestamp, true),
            EnvelopeColumn::Partition => (DataType::Int32, false),
            EnvelopeColumn::Offset => (DataType::Int64, false),
            EnvelopeColumn::Position => (DataType::Bytes, true),
            EnvelopeColumn::Snapshot => (DataType::Boolean, false),
            EnvelopeColumn::SourceDb | EnvelopeColumn::SourceSchema | EnvelopeColumn::SourceTable => {
                (DataType::Text, true)
            }
        };
        Field::new(self.name(), data_type, nullable)
    }

    /// Its cells at `rows`, in that order; `ops` overrides the ops of those rows.
    ///
    /// # Panics
    /// If a row is not one of the envelope's, or `ops` is shorter than `rows`.
    pub fn gather(self, envelope: &Envelope, rows: &[u32], ops: Option<&[Op]>) -> ArrayRef {
        let pick = rows.iter().map(|&row| row as usize);
        match self {
            EnvelopeColumn::Op => match ops {
                Some(ops) => Arc::new(op_letters(ops[..rows.len()].iter().copied())),
                None => Arc::new(op_letters(pick.map(|row| envelope.ops[row]))),
            },
            EnvelopeColumn::EventTime => timestamps(pick.map(|row| envelope.event_time_us[row])),
            EnvelopeColumn::KafkaTime => {
                // A producer writes what it likes: a time that no table can hold is none.
                let us = |ms: i64| crate::range::timestamp(i128::from(ms) * 1000).ok();
                timestamps(pick.map(|row| envelope.kafka_time_ms[row].and_then(us)))
            }
            EnvelopeColumn::Topic => Arc::new(repeat(&envelope.topic, rows.len())),
            EnvelopeColumn::Partition => {
                Arc::new(Int32Array::from_iter_values(pick.map(|row| envelope.partitions[row])))
            }
            EnvelopeColumn::Offset => Arc::new(Int64Array::from_iter_values(pick.map(|row| envelope.offsets[row]))),
            EnvelopeColumn::Position => {
                let at = &envelope.positions;
                let cells = pick.map(|row| at.is_valid(row).then(|| at.value(row)));
                Arc::new(cells.collect::<arrow_array::BinaryArray>())
            }
            EnvelopeColumn::Snapshot => {
                Arc::new(pick.map(|row| Some(envelope.snapshots[row])).collect::<BooleanArray>())
            }
            EnvelopeColumn::SourceDb => origin(envelope, pick, |origins| &origins.db),
            EnvelopeColumn::SourceSchema => origin(envelope, pick, |origins| &origins.schema),
            EnvelopeColumn::SourceTable => origin(envelope, pick, |origins| &origins.table),
        }
    }
}

fn origin(
    envelope: &Envelope,
    rows: impl ExactSizeIterator<Item = usize>,
    of: fn(&Origins) -> &StringArray,
) -> ArrayRef {
    Arc::new(match envelope.origins.as_ref().map(of) {
        Some(names) => rows.map(|row| names.is_valid(row).then(|| names.value(row))).collect::<StringArray>(),
        None => StringArray::new_null(rows.len()),
    })
}

fn timestamps(cells: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(cells.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Debezium's letters as a text column.
fn op_letters(ops: impl ExactSizeIterator<Item = Op>) -> StringArray {
    // Every letter is one byte, so offsets are row numbers.
    let rows = ops.len() as i32;
    let letters: Vec<u8> = ops.map(|op| op.letter().as_bytes()[0]).collect();
    let offsets = arrow_buffer::OffsetBuffer::new((0..=rows).collect::<Vec<i32>>().into());
    StringArray::new(offsets, letters.into(), None)
}

fn repeat(text: &str, rows: usize) -> StringArray {
    let offsets = (0..=rows).map(|row| (row * text.len()) as i32).collect::<Vec<_>>();
    let data = text.as_bytes().repeat(rows);
    StringArray::new(arrow_buffer::OffsetBuffer::new(offsets.into()), data.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_by_row_number() {
        let envelope = Envelope {
            topic: "shop".into(),
            ops: vec![Op::Create, Op::Delete],
            event_time_us: vec![Some(5), None],
            partitions: vec![3, 4],
            offsets: vec![10, 11],
            kafka_time_ms: vec![None, Some(2)],
            positions: vec![Some(&b"\x01"[..]), None].into(),
            snapshots: vec![true, false],
            records: vec![0, 1],
            origins: Some(Origins {
                db: vec![Some("shop"); 2].into(),
                schema: vec![None::<&str>; 2].into(),
                table: vec![Some("orders"), Some("items")].into(),
            }),
        };
        let show = |column: EnvelopeColumn, ops| format!("{:?}", column.gather(&envelope, &[1, 0, 1], ops));
        assert!(show(EnvelopeColumn::Op, None).contains("\"d\",\n  \"c\",\n  \"d\""));
        assert!(show(EnvelopeColumn::Op, Some(&[Op::Read; 3])).contains("\"r\",\n  \"r\",\n  \"r\""));
        assert!(show(EnvelopeColumn::Topic, None).contains("\"shop\",\n  \"shop\",\n  \"shop\""));
        assert!(show(EnvelopeColumn::Offset, None).contains("11,\n  10,\n  11"));
        assert!(show(EnvelopeColumn::SourceTable, None).contains("\"items\",\n  \"orders\",\n  \"items\""));
        for column in EnvelopeColumn::ALL {
            let array = column.gather(&envelope, &[1, 0, 1], None);
            assert_eq!(array.data_type(), &column.field().data_type.to_arrow());
            assert_eq!(array.len(), 3);
            assert_eq!(EnvelopeColumn::named(column.name()), Some(column));
        }
    }
}
