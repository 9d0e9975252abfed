//! Sources of records: Kafka (this crate is the only door to rdkafka) and files of lines.
//!
//! A source delivers bytes with their places and says which offsets a batch covers. It never looks into a
//! record, never keeps a position for good (the tables do), and never guesses one: what isn't there any more
//! is an error, or, where the pipeline file says so, a loss that is counted and logged.

pub mod embedded;
pub mod file;
pub mod kafka;
pub mod produce;
pub mod topics;

mod batching;
mod progress;

pub use file::{FileOptions, FileSource, LineFormat};
pub use kafka::{KafkaOptions, KafkaSource, OnDataLoss, Properties};
