//! Topics on a real broker, for tests, benchmarks and demos: made, cut, deleted. No pipeline does any of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use lakemill_model::Positions;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::Properties;
use crate::produce::ClientError;

/// A connection that manages topics.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
    patience: AdminOptions,
}

impl Topics {
    /// Does not connect yet.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn open(brokers: &str, properties: &Properties) -> Result<Self, ClientError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        properties.apply(&mut config, &[]).map_err(ClientError::Config)?;
        let admin = config.create().map_err(|error| ClientError::config(&error, properties))?;
        let patience = Some(Duration::from_secs(30));
        let patience = AdminOptions::new().request_timeout(patience).operation_timeout(patience);
        Ok(Self { admin, patience })
    }

    /// Makes a topic with one replica. `configs` by Kafka's names: `("cleanup.policy", "compact")`.
    ///
    /// # Errors
    /// [`ClientError::Refused`], also if the topic is there.
    pub fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<(), ClientError> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = configs.iter().fold(new, |new, (name, value)| new.set(name, value));
        let results = wait(self.admin.create_topics([&new], &self.patience));
        accepted("create", topic, results)
    }

    /// Adds partitions to a topic, up to `partitions` in all.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn grow(&self, topic: &str, partitions: usize) -> Result<(), ClientError> {
        let new = NewPartitions::new(topic, partitions);
        let results = wait(self.admin.create_partitions([&new], &self.patience));
        accepted("add partitions to", topic, results)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn delete(&self, topic: &str) -> Result<(), ClientError> {
        accepted("delete", topic, wait(self.admin.delete_topics(&[topic], &self.patience)))
    }

    /// Deletes the records before these positions, as retention does.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn cut(&self, before: &Positions) -> Result<(), ClientError> {
        let refused =
            |error: rdkafka::error::KafkaError| ClientError::refused("delete records of", "the topics", &error);
        let mut list = TopicPartitionList::new();
        for (tp, next) in before.iter() {
            list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(next.0)).map_err(refused)?;
        }
        let cut = wait(self.admin.delete_records(&list, &self.patience)).map_err(refused)?;
        cut.elements().iter().try_for_each(|element| element.error()).map_err(refused)
    }
}

fn accepted(action: &'static str, topic: &str, results: KafkaResult<Vec<TopicResult>>) -> Result<(), ClientError> {
    for result in results.map_err(|error| ClientError::refused(action, topic, &error))? {
        result.map_err(|(_, error)| ClientError::refused(action, topic, &error))?;
    }
    Ok(())
}

/// Waits for a future on this thread: rdkafka's own thread completes it.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
