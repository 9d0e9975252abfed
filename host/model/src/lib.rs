//! What flows through Lakemill, and the traits that its rooms share. No I/O, no async, no clock.
//!
//! Read in this order: a [`record`] is what Kafka holds; a [`change`] is what it says; an [`answer`] is what
//! a transform makes of a batch of changes; a [`sink`] keeps the rows; [`position`] says how far.

pub mod answer;
pub mod change;
pub mod commit;
pub mod envelope;
pub mod error;
pub mod files;
pub mod op;
pub mod position;
pub mod range;
pub mod record;
pub mod row;
pub mod schema;
pub mod secrets;
pub mod sink;
pub mod source;
pub mod watermark;

pub use answer::{Answer, BatchClock, Description, Emission, OutputColumn, OutputSpec, Reads, Rejection, Transform};
pub use change::{Cells, ChangeBatch, Envelope, Image, ImageData, Origins};
pub use commit::{Commit, CommitDecision, CommitOutcome, SinkPositions};
pub use envelope::EnvelopeColumn;
pub use error::{Disposition, SinkError, SourceError, TransformError};
pub use files::{FileLook, FileMark, FileMemory, KnownFile};
pub use op::Op;
pub use position::{CheckpointId, Epoch, Epochs, NextOffset, OffsetRange, PositionDelta, Positions, TopicPartition};
pub use range::OutOfRange;
pub use record::{RawBatch, RawRecord, RecordRef};
pub use row::RowSource;
pub use schema::{DataType, Field, RowSchema, TableSchema};
pub use secrets::Secrets;
pub use sink::{OutputRows, Payload, Refusal, Sink, Stage, Staged, StagedColumn, StagedFile, TableIdentity};
pub use source::{BatchLimits, Polled, Source, StartAt, TopicIds, Vouch};
pub use watermark::{EventTime, Watermarks};
