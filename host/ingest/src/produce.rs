//! Writing records, for demos, benchmarks and tests: idempotent, compressed, in transactions if wanted. No
//! pipeline writes to Kafka.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use crate::Properties;

/// How batches of records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// DEFLATE.
    Gzip,
    /// Google's.
    Snappy,
    /// Fast both ways.
    #[default]
    Lz4,
    /// Small.
    Zstd,
}

impl Compression {
    /// Every one.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let named = Self::ALL.into_iter().find(|compression| compression.name() == text);
        named
            .ok_or_else(|| ClientError::Config(format!("compression {text}: expected none, gzip, snappy, lz4 or zstd")))
    }
}

/// A client that is no source failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It refuses its configuration.
    #[error("kafka refuses the configuration: {0}")]
    Config(String),
    /// The cluster does not do what it was asked to.
    #[error("{action} {what}: {reason}")]
    Refused {
        /// A verb.
        action: &'static str,
        /// A topic.
        what: String,
        /// In the client's words.
        reason: String,
    },
}

impl ClientError {
    pub(crate) fn config(error: &KafkaError, properties: &Properties) -> Self {
        // Not `Display`: it shows the value.
        Self::Config(properties.redact(&match error {
            KafkaError::ClientConfig(_, text, name, _) => format!("property `{name}`: {text}"),
            other => other.to_string(),
        }))
    }

    pub(crate) fn refused(action: &'static str, what: &str, error: &dyn fmt::Display) -> Self {
        Self::Refused { action, what: what.to_owned(), reason: error.to_string() }
    }
}

/// How to write.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Of batches of records.
    pub compression: Compression,
    /// Write in transactions of this id; other producers with it are fenced.
    pub transactional_id: Option<String>,
    /// The largest record; the topic's `max.message.bytes` must allow it, too.
    pub record_bytes_max: usize,
    /// How long records wait for others to share a batch with.
    pub linger: Duration,
    /// Anything else that librdkafka knows.
    pub properties: Properties,
}

impl ProducerOptions {
    /// LZ4, no transactions, 1 MB records.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            compression: Compression::default(),
            transactional_id: None,
            record_bytes_max: 1_000_000,
            linger: Duration::from_millis(5),
            properties: Properties::default(),
        }
    }
}

/// A record to write.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where to.
    pub topic: &'a str,
    /// `None`: by the key, as Java's clients do (murmur2), or at random without one.
    pub partition: Option<i32>,
    /// `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// In milliseconds since 1970; `None` is now.
    pub timestamp_ms: Option<i64>,
}

/// Writes records.
pub struct Producer {
    producer: BaseProducer<Deliveries>,
}

/// How long a broker may take for what it was asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts what arrived, keeps the first failure.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failure: Mutex<Option<(String, String)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "kafka producer: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("kafka producer: {error}: {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            // Of an aborted transaction nothing is delivered, as was asked for.
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PurgeQueue) => {}
            Err((error, record)) => {
                let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failure.get_or_insert_with(|| (record.topic().to_owned(), error.to_string()));
            }
        }
    }
}

impl Producer {
    /// Connects in the background; with a transactional id, waits until the cluster knows it.
    ///
    /// # Errors
    /// [`ClientError::Config`], [`ClientError::Refused`].
    pub fn open(options: &ProducerOptions) -> Result<Self, ClientError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &options.brokers)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", options.compression.name())
            .set("message.max.bytes", options.record_bytes_max.to_string())
            .set("linger.ms", options.linger.as_millis().to_string())
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "65536");
        if let Some(id) = &options.transactional_id {
            config.set("transactional.id", id);
        }
        options.properties.apply(&mut config, &[]).map_err(ClientError::Config)?;
        let producer: BaseProducer<Deliveries> = config
            .create_with_context(Deliveries::default())
            .map_err(|error| ClientError::config(&error, &options.properties))?;
        if let Some(id) = &options.transactional_id {
            producer
                .init_transactions(PATIENCE)
                .map_err(|error| ClientError::refused("open transactional id", id, &error))?;
        }
        Ok(Self { producer })
    }

    /// Takes a record over; waits while the buffers are full. That it arrived is known after [`Self::flush`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it is too large, or an earlier one did not arrive.
    pub fn send(&self, record: Outgoing<'_>) -> Result<(), ClientError> {
        let mut next: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(record.topic);
        next.partition = record.partition;
        next.key = record.key;
        next.payload = record.value;
        next.timestamp = record.timestamp_ms;
        loop {
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    next = back;
                    self.serve(Duration::from_millis(10))?;
                }
                Err((error, _)) => return Err(ClientError::refused("write to", record.topic, &error)),
            }
        }
    }

    /// Lets deliveries be counted, for up to `wait`. Worth a call now and then if little is sent.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if a record did not arrive.
    pub fn serve(&self, wait: Duration) -> Result<(), ClientError> {
        self.producer.poll(wait);
        let failure = self.producer.context().failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        failure.map_or(Ok(()), |(topic, error)| Err(ClientError::refused("write to", &topic, &error)))
    }

    /// Waits until all has arrived.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if something did not.
    pub fn flush(&self) -> Result<(), ClientError> {
        let start = Instant::now();
        while self.producer.in_flight_count() > 0 {
            self.serve(Duration::from_millis(10))?;
            if start.elapsed() > PATIENCE {
                let left = self.producer.in_flight_count();
                return Err(ClientError::refused("write", &format!("{left} records"), &"no answer in 60 s"));
            }
        }
        self.serve(Duration::ZERO)
    }

    /// Records that arrived, as far as was served.
    pub fn delivered(&self) -> u64 {
        self.producer.context().delivered.load(Ordering::Relaxed)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without a transactional id, or inside another transaction.
    pub fn begin(&self) -> Result<(), ClientError> {
        self.producer.begin_transaction().map_err(|error| ClientError::refused("begin", "the transaction", &error))
    }

    /// Makes all records since [`Self::begin`] visible to readers of what was committed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it can't be: the transaction is then aborted, or its id belongs to another
    /// producer.
    pub fn commit(&self) -> Result<(), ClientError> {
        self.flush()?;
        self.producer
            .commit_transaction(PATIENCE)
            .map_err(|error| ClientError::refused("commit", "the transaction", &error))
    }

    /// Leaves all records since [`Self::begin`] in the log, for nobody to see. They are sent first: an abort
    /// that leaves no traces would test nothing.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn abort(&self) -> Result<(), ClientError> {
        self.flush()?;
        self.producer
            .abort_transaction(PATIENCE)
            .map_err(|error| ClientError::refused("abort", "the transaction", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_are_read_as_they_are_written() {
        for compression in Compression::ALL {
            assert_eq!(compression.to_string().parse::<Compression>().expect("its own name"), compression);
        }
        assert!("brotli".parse::<Compression>().is_err());
    }

    #[test]
    fn a_refused_property_does_not_show_its_value() {
        let mut options = ProducerOptions::new("localhost:1");
        options.properties = [("sasl.pasword".to_owned(), "hunter2".to_owned())].into_iter().collect();
        let error = Producer::open(&options).err().expect("no such property").to_string();
        assert!(error.contains("sasl.pasword") && !error.contains("hunter2"), "{error}");
    }
}
