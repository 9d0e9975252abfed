//! Clients of the cluster from their making to their end, which is bounded in time.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use lakemill_model::SourceError;
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaType;

use super::KafkaOptions;
use super::context::Context;

/// How long a source may take to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// A client that reads nothing by itself.
pub(super) struct Connection(Option<BaseConsumer<Context>>);

impl Connection {
    /// Makes a client. It connects in the background.
    ///
    /// # Errors
    /// [`SourceError::Config`].
    pub fn open(options: &KafkaOptions) -> Result<Arc<Self>, SourceError> {
        let context = Context::new(options.properties.clone());
        let consumer = options.client_config()?.create_with_context(context).map_err(|error| options.refused(error))?;
        Ok(Arc::new(Self(Some(consumer))))
    }
}

/// A second client, which asks while the first one reads: on one connection a question waits until the answer to the last fetch has come,
/// which a broker holds back until there are records (measured: 11 ms instead of 0.2 with a `fetch.wait.max.ms` of 10; ours is 100).
pub(super) struct Witness(Client<Silent>);

/// Whatever it has to say, the other client says as well.
pub(super) struct Silent;

impl ClientContext for Silent {}

impl Witness {
    /// Makes a client. It connects in the background.
    ///
    /// # Errors
    /// [`SourceError::Config`].
    pub fn open(options: &KafkaOptions) -> Result<Arc<Self>, SourceError> {
        let refused = |error: KafkaError| options.refused(error);
        let mut config = options.client_config()?;
        // Nobody polls it.
        config.set_log_level(RDKafkaLogLevel::Emerg).set("log_level", "0");
        let native = config.create_native_config().map_err(refused)?;
        // A producer has no group to look after.
        let client = Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, Silent).map_err(refused)?;
        Ok(Arc::new(Self(client)))
    }
}

impl Deref for Witness {
    type Target = Client<Silent>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Deref for Connection {
    type Target = BaseConsumer<Context>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("the client is there until it is dropped")
    }
}

impl Drop for Connection {
    /// The client waits until the group knows that we left and where we were; if the cluster is away, for
    /// good. So it leaves on a thread of its own.
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        consumer.context().close();
        let (gone, left) = channel::<()>();
        let leave = move || {
            drop(consumer);
            drop(gone);
        };
        // Without a thread the closure is dropped, and the client with it, here.
        let thread = std::thread::Builder::new().name("kafka-farewell".to_owned()).spawn(leave);
        let waited = left.recv_timeout(FAREWELL);
        if thread.is_ok() && waited == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("kafka does not answer: left without a farewell, the group will notice");
        }
    }
}
