//! A client of the cluster from its making to its end, which is bounded in time.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use lakemill_model::SourceError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

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
        let consumer = options.client_config()?.create_with_context(context).map_err(|error| {
            // Not `Display`: it shows the value.
            let text = match error {
                KafkaError::ClientConfig(_, text, name, _) => format!("property `{name}`: {text}"),
                other => other.to_string(),
            };
            SourceError::Config(options.properties.redact(&text))
        })?;
        Ok(Arc::new(Self(Some(consumer))))
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
