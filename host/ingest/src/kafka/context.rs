//! What the client calls back with: rebalances become signals for the source, logs and outages become few
//! lines. It never assigns a partition (except away, when the source closes): positions come from the tables,
//! which only the pipeline reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lakemill_model::TopicPartition;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::Properties;

/// One line per facility of librdkafka in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What the group has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// These are ours, once we say from where.
    Assigned(Vec<TopicPartition>),
    /// These go elsewhere, once we let go; or they are lost already.
    Revoked(Vec<TopicPartition>),
}

/// The client's side of the source. librdkafka calls it while the source polls, on the source's thread.
pub(super) struct Context {
    properties: Properties,
    closing: AtomicBool,
    strayed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    signals: VecDeque<Signal>,
    /// The last error and the client's words for it.
    trouble: Option<(RDKafkaErrorCode, String)>,
    down: bool,
    report_failed: bool,
    logged: Limiter,
}

impl Context {
    pub fn new(properties: Properties) -> Self {
        Self { properties, closing: AtomicBool::default(), strayed: AtomicBool::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the group decided next, in order.
    pub fn next_signal(&self) -> Option<Signal> {
        self.state().signals.pop_front()
    }

    /// True if the group has decided something.
    pub fn has_signal(&self) -> bool {
        !self.state().signals.is_empty()
    }

    /// The last error, with the client's words for it.
    pub fn trouble(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.state().trouble.clone()
    }

    /// From now on revoked partitions are let go at once: nobody is left to be asked.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// A record came where none should: the source has to fetch it again.
    pub fn stray(&self) {
        self.strayed.store(true, Ordering::Relaxed);
    }

    /// True once after a record strayed.
    pub fn take_strayed(&self) -> bool {
        self.strayed.swap(false, Ordering::Relaxed)
    }

    /// Progress was reported, or could not be.
    pub fn reported(&self, result: &KafkaResult<()>) {
        let failed = result.is_err();
        if failed != std::mem::replace(&mut self.state().report_failed, failed) {
            match result {
                Err(error) => {
                    tracing::warn!("progress can't be reported to kafka, which harms nobody but onlookers: {error}")
                }
                Ok(()) => tracing::info!("progress is reported to kafka again"),
            }
        }
    }

    /// The cluster answered.
    pub fn answered(&self) {
        let mut state = self.state();
        state.trouble = None;
        if std::mem::take(&mut state.down) {
            tracing::info!("kafka answers again");
        }
    }

    /// `text` without secrets.
    pub fn redact(&self, text: &str) -> String {
        self.properties.redact(text)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let Some(left_out) = self.state().logged.admit(facility, Instant::now()) else { return };
        let message = self.redact(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, left_out, "kafka client: {message}");
            }
            // Connections that fail are librdkafka's errors and our daily bread: what matters of them is told
            // below.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(facility, left_out, "kafka client: {message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, left_out, "kafka client: {message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == RDKafkaErrorCode::PartitionEOF {
            return;
        }
        // What follows is about the connection's inner life: "(after 0ms in state CONNECT, 1 identical
        // error(s) suppressed)".
        let reason = self.redact(reason.split(" (after ").next().unwrap_or(reason));
        let mut state = self.state();
        let turned_away = super::verdict::advice(code).is_some();
        if code == RDKafkaErrorCode::AllBrokersDown {
            if !std::mem::replace(&mut state.down, true) {
                // librdkafka's words here count brokers that it is just about to count.
                let why = state.trouble.as_ref().map_or("all connections are closed", |(_, why)| why);
                tracing::warn!("kafka does not answer ({why}): waiting");
            }
        } else if turned_away && state.trouble.as_ref().is_none_or(|(last, _)| *last != code) {
            tracing::warn!("kafka turns us away: {reason}");
        }
        // Why a broker is away says more than that all are; being turned away says most.
        let said = state.trouble.as_ref().map(|(last, _)| super::verdict::advice(*last).is_some());
        if turned_away || said.is_none() || (said == Some(false) && code != RDKafkaErrorCode::AllBrokersDown) {
            state.trouble = Some((code, reason));
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let list = named(partitions);
        let assigned = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // The group waits for an answer.
            let answer = if assigned { consumer.assign(&TopicPartitionList::new()) } else { consumer.unassign() };
            if let Err(error) = answer {
                tracing::warn!("let go of all partitions while closing: {error}");
            }
        } else if assigned {
            self.state().signals.push_back(Signal::Assigned(list));
        } else {
            if consumer.assignment_lost() {
                tracing::warn!(
                    partitions = list.len(),
                    "the group took our partitions away: we were silent for too long"
                );
            }
            self.state().signals.push_back(Signal::Revoked(list));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.reported(&result);
    }
}

/// The partitions of a list.
fn named(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| TopicPartition::new(element.topic(), element.partition())).collect()
}

/// Bounds the number of log lines.
#[derive(Default)]
struct Limiter(BTreeMap<String, (Instant, u64)>);

impl Limiter {
    /// `Some` if a line of `facility` may be logged now, with the number that was left out since the last
    /// one.
    fn admit(&mut self, facility: &str, now: Instant) -> Option<u64> {
        let Some((last, left_out)) = self.0.get_mut(facility) else {
            self.0.insert(facility.to_owned(), (now, 0));
            return Some(0);
        };
        if now.duration_since(*last) < LOG_INTERVAL {
            *left_out += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::Global(code)
    }

    #[test]
    fn log_lines_are_bounded_and_counted() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        assert_eq!(limiter.admit("FAIL", start), Some(0));
        assert_eq!(limiter.admit("OFFSET", start), Some(0), "each facility for itself");
        for ms in 1..=5 {
            assert_eq!(limiter.admit("FAIL", start + Duration::from_millis(ms)), None);
        }
        assert_eq!(limiter.admit("FAIL", start + LOG_INTERVAL), Some(5));
        assert_eq!(limiter.admit("FAIL", start + LOG_INTERVAL * 2), Some(0));
    }

    #[test]
    fn the_most_telling_trouble_is_kept() {
        let secret = [("sasl.password".to_owned(), "hunter2".to_owned())];
        let context = Context::new(secret.into_iter().collect());
        context.error(global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        context.error(global(RDKafkaErrorCode::BrokerTransportFailure), "connection refused");
        context.error(global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(context.trouble().map(|(_, why)| why).as_deref(), Some("connection refused"));
        context.error(global(RDKafkaErrorCode::Authentication), "hunter2 is wrong");
        context.error(global(RDKafkaErrorCode::BrokerTransportFailure), "connection refused");
        assert_eq!(context.trouble(), Some((RDKafkaErrorCode::Authentication, "*** is wrong".to_owned())));
        context.answered();
        assert_eq!(context.trouble(), None);
    }
}
