//! How to read from Kafka, and the client's configuration that follows from it. Never connects.

use std::time::Duration;

use lakemill_model::SourceError;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::Properties;

/// What to do if records are gone before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDataLoss {
    /// Stop with [`SourceError::DataLoss`].
    #[default]
    Fail,
    /// Log how many are missing, go on with what is left.
    Continue,
}

/// How to read from Kafka.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// The pipeline's name: it names the client and, without `group`, the group that progress is reported to.
    pub pipeline: String,
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Topics to read, at least one.
    pub topics: Vec<String>,
    /// If records are gone.
    pub on_data_loss: OnDataLoss,
    /// The consumer group that shares the partitions among several processes. `None`: this process reads them
    /// all, and no group has to be joined.
    pub group: Option<String>,
    /// Say [`lakemill_model::Polled::CaughtUp`] once everything has been read that was there at the start.
    pub until_caught_up: bool,
    /// How the brokers' logs and quotas name this client; `lakemill-<pipeline>` by default.
    pub client_id: Option<String>,
    /// How long a question to the cluster may go unanswered: at the start, and when partitions are taken.
    pub connect_timeout: Duration,
    /// Anything else that librdkafka knows: SASL, TLS, buffer sizes.
    pub properties: Properties,
}

impl KafkaOptions {
    /// All partitions of `topics`, without a group, and defaults for the rest.
    pub fn new(pipeline: impl Into<String>, brokers: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            pipeline: pipeline.into(),
            brokers: brokers.into(),
            topics,
            on_data_loss: OnDataLoss::Fail,
            group: None,
            until_caught_up: false,
            client_id: None,
            connect_timeout: Duration::from_secs(10),
            properties: Properties::default(),
        }
    }

    /// The group that progress is reported to.
    pub fn report_group(&self) -> String {
        self.group.clone().unwrap_or_else(|| format!("lakemill.{}", self.pipeline))
    }

    /// How often partitions that were added to a topic are looked for.
    pub(super) fn topics_every(&self) -> Duration {
        let set = self.properties.get(TOPICS_EVERY.0).unwrap_or(TOPICS_EVERY.1);
        // -1 is never.
        set.parse().map_or(Duration::MAX, Duration::from_millis)
    }

    /// How long an answer to a fetch may take by the settings: none comes before there are records, or while the client waits to try again.
    pub(super) fn answer_time(&self) -> Duration {
        let names = ["fetch.wait.max.ms", "fetch.error.backoff.ms", "reconnect.backoff.max.ms"];
        let set = names.iter().filter_map(|name| self.properties.get(name)?.parse().ok());
        Duration::from_millis(set.max().unwrap_or_default())
    }

    /// Checks them as far as that is possible without a network: that there are such properties, and that they can have such values.
    ///
    /// # Errors
    /// [`SourceError::Config`].
    pub fn check(&self) -> Result<(), SourceError> {
        let config = self.client_config()?;
        config.create_native_config().map(drop).map_err(|error| self.refused(error))
    }

    /// The client has refused its configuration.
    pub(super) fn refused(&self, error: KafkaError) -> SourceError {
        // Not `Display`: it shows the value.
        let text = match error {
            KafkaError::ClientConfig(_, text, name, _) => format!("property `{name}`: {text}"),
            other => other.to_string(),
        };
        SourceError::Config(self.properties.redact(&text))
    }

    /// The client's configuration.
    ///
    /// # Errors
    /// [`SourceError::Config`] for options that can't be, and properties that are not to be set.
    pub(super) fn client_config(&self) -> Result<ClientConfig, SourceError> {
        if self.brokers.trim().is_empty() {
            return Err(SourceError::Config("`brokers` is empty: name at least one as host:port".to_owned()));
        }
        if self.topics.is_empty() {
            return Err(SourceError::Config("`topics` is empty: name at least one".to_owned()));
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in TUNED {
            config.set(name, value);
        }
        // An end is only told after a fetch that found nothing: whoever waits for it should not wait long.
        config.set("fetch.wait.max.ms", if self.until_caught_up { "10" } else { "100" });
        self.properties.apply(&mut config, &OWNED).map_err(SourceError::Config)?;
        for (name, value) in FIXED {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set("group.id", self.report_group());
        config.set("client.id", self.client_id.clone().unwrap_or_else(|| format!("lakemill-{}", self.pipeline)));
        Ok(config)
    }
}

const TOPICS_EVERY: (&str, &str) = ("topic.metadata.refresh.interval.ms", "30000");

/// Ours, but a property may say otherwise. Sizes: at most 4 MiB wait for us, twice that while a batch is being filled, and one
/// response of 8 MiB may be on its way; 1 MiB a partition and response is where throughput levels off. With 16 MiB
/// the records were no faster, and the client's arenas grew by what the broker was ahead: up to 820 MiB after 8M events.
const TUNED: [(&str, &str); 10] = [
    ("queued.max.messages.kbytes", "4096"),
    ("queued.min.messages", "10000000"),
    ("fetch.max.bytes", "8388608"),
    ("max.partition.fetch.bytes", "1048576"),
    // A full queue is empty again within milliseconds; the default of 1 s would halve the throughput.
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.error.backoff.ms", "100"),
    // A client that has just been made waits for half of it, and at least 11 ms, if its first question comes before its threads run
    // (`rd_kafka_connect_any`): 50 ms with the default of 100. It doubles with each try.
    ("reconnect.backoff.ms", "20"),
    ("reconnect.backoff.max.ms", "2000"),
    TOPICS_EVERY,
    ("socket.keepalive.enable", "true"),
];

/// What exactly-once rests on. librdkafka's own defaults lose records: it commits by itself, resets to the
/// end, and does not look at checksums (CONFIGURATION.md).
const FIXED: [(&str, &str); 9] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("enable.partition.eof", "true"),
    ("partition.assignment.strategy", "range"),
    ("group.protocol", "classic"),
    ("allow.auto.create.topics", "false"),
];

const TABLES: &str = "positions live in the tables, next to the rows";
const SOURCE: &str = "the source depends on it";

/// Properties that the source owns: librdkafka's names and aliases.
const OWNED: [(&str, &str); 21] = [
    ("bootstrap.servers", "set `brokers`"),
    ("metadata.broker.list", "set `brokers`"),
    ("group.id", "set `group`"),
    ("client.id", "it is `lakemill-` and the name of the pipeline"),
    ("auto.offset.reset", "set `start`, and `on_data_loss` for what is gone"),
    ("enable.auto.commit", TABLES),
    ("auto.commit.enable", TABLES),
    ("auto.commit.interval.ms", TABLES),
    ("enable.auto.offset.store", TABLES),
    ("offset.store.method", TABLES),
    ("offset.store.path", TABLES),
    ("isolation.level", "only what was committed is read"),
    ("check.crcs", "damaged records are never read"),
    ("enable.partition.eof", SOURCE),
    ("partition.assignment.strategy", SOURCE),
    ("group.protocol", SOURCE),
    ("log.queue", SOURCE),
    ("enabled_events", SOURCE),
    ("allow.auto.create.topics", "a topic that isn't there is an error"),
    ("statistics.interval.ms", "nobody would read them"),
    ("plugin.library.paths", "no code is loaded into this process"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn options(properties: &[(&str, &str)]) -> KafkaOptions {
        let mut options = KafkaOptions::new("p", "localhost:1", vec!["t".to_owned()]);
        options.properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        options
    }

    #[test]
    fn what_exactly_once_rests_on_can_not_be_changed() {
        for (name, value) in FIXED {
            let refused = options(&[(name, value)]).client_config();
            assert!(matches!(&refused, Err(SourceError::Config(text)) if text.contains(name)), "{refused:?}");
        }
        let config =
            options(&[("fetch.wait.max.ms", "7"), ("ssl.ca.location", "ca")]).client_config().expect("allowed");
        for (name, value) in FIXED {
            assert_eq!(config.get(name), Some(value));
        }
        assert_eq!(config.get("fetch.wait.max.ms"), Some("7"), "tuning is free");
        assert_eq!(config.get("group.id"), Some("lakemill.p"));
        assert_eq!(config.get("client.id"), Some("lakemill-p"));
    }

    #[test]
    fn properties_are_checked_without_a_network() {
        let refused = |name: &str, value: &str| options(&[(name, value)]).check().expect_err(name).to_string();
        assert!(refused("sasl.pasword", "hunter2").contains("property `sasl.pasword`: No such configuration property"));
        let wrong = refused("fetch.min.bytes", "hunter2");
        assert!(wrong.contains("property `fetch.min.bytes`") && !wrong.contains("hunter2"), "{wrong}");
        options(&[("fetch.min.bytes", "5"), ("security.protocol", "ssl")]).check().expect("is fine");
    }

    #[test]
    fn whoever_sets_long_waits_is_waited_for() {
        assert_eq!(options(&[]).answer_time(), Duration::ZERO);
        let slow = options(&[("fetch.wait.max.ms", "30000"), ("reconnect.backoff.max.ms", "1000")]);
        assert_eq!(slow.answer_time(), Duration::from_secs(30));
    }

    #[test]
    fn debug_shows_no_values_of_properties() {
        let text = format!("{:?}", options(&[("sasl.password", "hunter2")]));
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_source_of_nothing_is_refused() {
        let mut none = options(&[]);
        none.topics.clear();
        assert!(matches!(none.client_config(), Err(SourceError::Config(_))));
        let mut nowhere = options(&[]);
        nowhere.brokers = " ".to_owned();
        assert!(matches!(nowhere.client_config(), Err(SourceError::Config(_))));
    }
}
