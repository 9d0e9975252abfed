//! A cluster that fails as it is told, for tests of the command: librdkafka's mock cluster in a process of its own.
//!
//! `mock_cluster [BROKERS]` prints its address, then reads a command a line and answers each with `ok`, or with `no` and the reason:
//!
//! ```text
//! topic NAME PARTITIONS        makes a topic
//! errors REQUEST ERROR...      answers the next requests of that kind with these errors, one each
//! no-errors                    forgets those that were not met
//! topic-error TOPIC ERROR      says so of the topic whenever it is asked about it; `none`: no longer
//! leader TOPIC PARTITION ID    another broker leads
//! down ID, up ID               a broker takes no connections, takes them again
//! delay ID MS                  answers come so much later
//! ```
//!
//! Brokers are numbered from 1; -1 is all of them. It ends with its standard input.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Request, RDKafkaRespErr as Error};

type Failed = Box<dyn std::error::Error>;

const REQUESTS: [(&str, Request); 7] = [
    ("fetch", Request::Fetch),
    ("list-offsets", Request::ListOffsets),
    ("offset-commit", Request::OffsetCommit),
    ("offset-for-leader-epoch", Request::OffsetForLeaderEpoch),
    ("find-coordinator", Request::FindCoordinator),
    ("offset-fetch", Request::OffsetFetch),
    ("api-version", Request::ApiVersion),
];

const ERRORS: [(&str, Error); 18] = [
    ("none", Error::RD_KAFKA_RESP_ERR_NO_ERROR),
    // The connection is closed in place of an answer.
    ("disconnect", Error::RD_KAFKA_RESP_ERR__TRANSPORT),
    ("broker-not-available", Error::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE),
    ("coordinator-load", Error::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
    ("coordinator-not-available", Error::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE),
    ("fenced-leader-epoch", Error::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH),
    ("leader-not-available", Error::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
    ("not-coordinator", Error::RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
    ("not-leader", Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
    ("offset-not-available", Error::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE),
    ("offset-out-of-range", Error::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE),
    ("replica-not-available", Error::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE),
    ("request-timed-out", Error::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
    ("storage", Error::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR),
    ("throttled", Error::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED),
    ("unknown", Error::RD_KAFKA_RESP_ERR_UNKNOWN),
    ("unknown-leader-epoch", Error::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH),
    ("unknown-topic", Error::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART),
];

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn main() -> Result<(), Failed> {
    let brokers = std::env::args().nth(1).map_or(Ok(1), |count| count.parse())?;
    let cluster = MockCluster::new(brokers)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", cluster.bootstrap_servers())?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        match obey(&cluster, &line?.split_whitespace().collect::<Vec<_>>()) {
            Ok(()) => writeln!(out, "ok")?,
            Err(error) => writeln!(out, "no: {error}")?,
        }
        out.flush()?;
    }
    Ok(())
}

fn obey(cluster: &Cluster, words: &[&str]) -> Result<(), Failed> {
    match words {
        ["topic", name, partitions] => cluster.create_topic(name, partitions.parse()?, 1)?,
        ["errors", request, errors @ ..] => {
            let errors: Vec<Error> = errors.iter().map(|name| find(&ERRORS, name)).collect::<Result<_, _>>()?;
            cluster.request_errors(find(&REQUESTS, request)?, &errors);
        }
        ["no-errors"] => REQUESTS.iter().for_each(|(_, request)| cluster.clear_request_errors(*request)),
        ["topic-error", topic, error] => cluster.topic_error(topic, find(&ERRORS, error)?)?,
        ["leader", topic, partition, id] => cluster.partition_leader(topic, partition.parse()?, Some(id.parse()?))?,
        ["down", id] => cluster.broker_down(id.parse()?)?,
        ["up", id] => cluster.broker_up(id.parse()?)?,
        ["delay", id, ms] => cluster.broker_round_trip_time(id.parse()?, Duration::from_millis(ms.parse()?))?,
        other => return Err(format!("no such command: {}", other.join(" ")).into()),
    }
    Ok(())
}

fn find<T: Copy>(list: &[(&str, T)], name: &str) -> Result<T, Failed> {
    let found = list.iter().find(|(known, _)| *known == name);
    Ok(found
        .ok_or_else(|| format!("{name} is none of {:?}", list.iter().map(|(known, _)| known).collect::<Vec<_>>()))?
        .1)
}
