//! Kafka as a source. What is public here is [`KafkaSource`] and its options; the rest is its organs.

mod connection;
mod context;
mod edges;
mod identity;
mod inquiry;
mod native;
mod options;
mod properties;
mod replay;
mod source;
mod stall;
mod steering;
mod verdict;

pub use options::{KafkaOptions, OnDataLoss};
pub use properties::Properties;
pub use source::KafkaSource;
