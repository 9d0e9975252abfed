//! Questions to the cluster: which partitions there are, where they begin and end, what was written when.
//! Each is answered in bounded time, or it is an error that says what to check. Never reads a record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lakemill_model::{NextOffset, Positions, SourceError, TopicIds, TopicPartition};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaOptions;
use super::connection::Witness;
use super::context::Context;
use super::edges::Edges;
use super::native::{IdsQuestion, ends};
use super::verdict::{Verdict, advice, verdict};

/// A question is asked again after this time: the client doesn't say by itself why nobody answers.
pub(super) const TRY: Duration = Duration::from_secs(1);
/// And no sooner than after this one.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A topic that was made a moment ago is not there for every broker yet (measured: 0.8 s in one that had just begun and keeps 900 partitions).
const UNSEEN: Duration = Duration::from_secs(3);

/// Someone to ask.
#[derive(Clone, Copy)]
pub(super) struct Inquiry<'a> {
    pub consumer: &'a BaseConsumer<Context>,
    pub options: &'a KafkaOptions,
}

impl Inquiry<'_> {
    /// All partitions of all topics, in order.
    ///
    /// # Errors
    /// [`SourceError::NoSuchTopic`] with names that look alike, [`SourceError::Unreachable`],
    /// [`SourceError::Config`].
    pub fn partitions(self) -> Result<Vec<TopicPartition>, SourceError> {
        let mut all = Vec::new();
        for topic in &self.options.topics {
            let count = self.ask(topic, |timeout| {
                let metadata = self.consumer.fetch_metadata(Some(topic), timeout)?;
                partition_count(&metadata, topic)
            })?;
            all.extend((0..count).map(|partition| TopicPartition::new(topic.as_str(), partition)));
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The ids of topics; those that have none are left out.
    ///
    /// # Errors
    /// As [`Self::partitions`].
    pub fn ids<'a>(
        self,
        witness: &Arc<Witness>,
        topics: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<TopicIds, SourceError> {
        let topics: BTreeSet<&Arc<str>> = topics.collect();
        let mut ids = TopicIds::new();
        // One by one, so that an error has a topic.
        for topic in topics {
            let id = self.ask(topic, |timeout| {
                let broker = leader(witness, topic, timeout)?;
                let question = IdsQuestion::ask(Arc::clone(witness), broker, std::iter::once(&**topic), timeout);
                let answer = question
                    .answer(timeout + PAUSE)
                    .unwrap_or_else(|| Err((RDKafkaErrorCode::OperationTimedOut, String::new())));
                let found = answer.map_err(|(code, _)| KafkaError::MetadataFetch(code))?;
                let id = found.into_iter().find(|(name, _)| **name == **topic).map(|(_, id)| id);
                id.unwrap_or(Err(RDKafkaErrorCode::UnknownTopicOrPartition)).map_err(KafkaError::MetadataFetch)
            })?;
            if !id.is_empty() {
                ids.insert(Arc::clone(topic), id.into());
            }
        }
        Ok(ids)
    }

    /// Where partitions begin and end, in their order.
    ///
    /// # Errors
    /// As [`Self::partitions`].
    pub fn edges(self, partitions: &[TopicPartition]) -> Result<Vec<Edges>, SourceError> {
        // Kafka's ListOffsets takes -2 and -1 for a time: the first offset, and the last stable one for
        // readers of what was committed. So two requests per broker answer for any number of partitions.
        let firsts = self.offsets(partitions, Offset::Beginning)?;
        let ends = self.offsets(partitions, Offset::End)?;
        let known = |(first, end): (Option<i64>, Option<i64>)| {
            let first = first.unwrap_or_default();
            Edges { first, end: end.unwrap_or(first).max(first) }
        };
        Ok(firsts.into_iter().zip(ends).map(known).collect())
    }

    /// The first records at or after a time, in milliseconds since 1970; ends where there is none.
    ///
    /// # Errors
    /// As [`Self::partitions`].
    pub fn at_time(self, partitions: &[TopicPartition], time_ms: i64) -> Result<Positions, SourceError> {
        let found = self.offsets(partitions, Offset::Offset(time_ms.max(0)))?;
        let edges = self.edges(partitions)?;
        let position = |((tp, found), edges): ((&TopicPartition, Option<i64>), Edges)| {
            (tp.clone(), NextOffset(found.unwrap_or(edges.end)))
        };
        Ok(partitions.iter().zip(found).zip(edges).map(position).collect())
    }

    fn offsets(self, partitions: &[TopicPartition], time: Offset) -> Result<Vec<Option<i64>>, SourceError> {
        let Some(first) = partitions.first() else { return Ok(Vec::new()) };
        self.ask(&first.topic, |timeout| {
            let mut times = TopicPartitionList::with_capacity(partitions.len());
            for tp in partitions {
                times.add_partition_offset(&tp.topic, tp.partition, time)?;
            }
            let answer = self.consumer.offsets_for_times(times, timeout)?;
            let offset = |tp: &TopicPartition| {
                let element = answer
                    .find_partition(&tp.topic, tp.partition)
                    .ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
                element.error()?;
                Ok(match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                })
            };
            partitions.iter().map(offset).collect()
        })
    }

    /// Asks until there is an answer, an error that waiting does not mend, or time is over.
    fn ask<T>(self, topic: &str, mut question: impl FnMut(Duration) -> KafkaResult<T>) -> Result<T, SourceError> {
        let (context, start) = (self.consumer.context(), Instant::now());
        loop {
            let left = self.options.connect_timeout.saturating_sub(start.elapsed());
            let error = match question(left.clamp(PAUSE, TRY)) {
                Ok(answer) => {
                    context.answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let mut code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let mut reason = context.redact(&error.to_string());
            // What the client knows about the connection comes as an event.
            serve_events(self.consumer, PAUSE);
            if let Some((why, words)) = context.trouble()
                && verdict(code) == Verdict::Passing
            {
                (code, reason) = (why, words);
            }
            let unseen = code == RDKafkaErrorCode::UnknownTopicOrPartition
                && start.elapsed() < UNSEEN.min(self.options.connect_timeout / 3);
            if !unseen && let Some(error) = self.failure(topic, code, &reason) {
                return Err(error);
            }
            if start.elapsed() >= self.options.connect_timeout {
                let waited = self.options.connect_timeout.as_secs_f32();
                let reason = format!("no answer in {waited} s ({reason})");
                return Err(SourceError::Unreachable { brokers: self.options.brokers.clone(), reason });
            }
        }
    }

    /// The error that `code` is for a person; `None` if waiting mends it.
    pub fn failure(self, what: &str, code: RDKafkaErrorCode, reason: &str) -> Option<SourceError> {
        match verdict(code) {
            Verdict::Passing | Verdict::OffsetGone => None,
            // Without a group nobody needs the group but the reports.
            Verdict::GroupForbidden if self.options.group.is_none() => None,
            Verdict::TopicGone => Some(SourceError::NoSuchTopic { topic: what.to_owned(), hint: self.hint(what) }),
            Verdict::Credentials | Verdict::Forbidden | Verdict::GroupForbidden => {
                // Credentials are everybody's; and librdkafka names the broker.
                let what = if verdict(code) == Verdict::Credentials { String::new() } else { format!("{what}: ") };
                let advice = advice(code).unwrap_or_default();
                Some(SourceError::Config(format!("{what}{reason}; {advice}")))
            }
            Verdict::Corrupt | Verdict::Fatal => {
                Some(SourceError::Read { what: what.to_owned(), reason: format!("{reason} ({code})") })
            }
        }
    }

    fn hint(self, topic: &str) -> String {
        let Ok(metadata) = self.consumer.fetch_metadata(None, TRY) else {
            return "check `topics`, or create it".to_owned();
        };
        let names = metadata.topics().iter().map(|topic| topic.name());
        similar(topic, names.filter(|name| !name.starts_with("__")))
    }
}

/// Answers what the client has to say: logs, rebalances, answers to commits. Errors of its are the context's;
/// the last one is also the result.
pub(super) fn serve_events(consumer: &BaseConsumer<Context>, wait: Duration) -> Option<RDKafkaErrorCode> {
    let mut last = None;
    // `None` is also what an event that was served leaves behind.
    for wait in [wait, Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO] {
        match consumer.poll(wait) {
            None => {}
            Some(Err(error)) => last = error.rdkafka_error_code().or(last),
            Some(Ok(_)) => consumer.context().stray(),
        }
    }
    last
}

/// Partitions with their ends, or why nobody says.
pub(super) type Ends = KafkaResult<Vec<(TopicPartition, i64)>>;

/// Asks where partitions end, as it is for readers of what was committed. The answer comes within `timeout`, and nobody waits for it; partitions
/// without a leader are left out, and a broker that does not answer is an error.
///
/// librdkafka's own question without waiting (`rd_kafka_ListOffsets`) may use memory that it has freed, if it hears of a leader just as it is
/// asked: so there is a thread.
pub(super) fn ask_ends(witness: &Arc<Witness>, partitions: Vec<TopicPartition>, timeout: Duration) -> Receiver<Ends> {
    let (answer, inbox) = channel();
    let witness = Arc::clone(witness);
    let ask = move || {
        let ends = ends(&witness, &partitions, timeout);
        drop(witness);
        // Whoever asked may be gone.
        answer.send(ends).unwrap_or_default();
    };
    if let Err(error) = std::thread::Builder::new().name("kafka-ends".to_owned()).spawn(ask) {
        tracing::warn!("where the partitions end is not asked: {error}");
    }
    inbox
}

/// A broker that leads a partition of a topic, now.
pub(super) fn leader(witness: &Witness, topic: &str, timeout: Duration) -> KafkaResult<i32> {
    let metadata = witness.fetch_metadata(Some(topic), timeout)?;
    let mut leaders = described(&metadata, topic)?.partitions().iter().map(|partition| partition.leader());
    leaders.find(|leader| *leader >= 0).ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable))
}

fn described<'a>(metadata: &'a Metadata, topic: &str) -> KafkaResult<&'a MetadataTopic> {
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition))?;
    found.error().map_or(Ok(found), |error| Err(KafkaError::MetadataFetch(error.into())))
}

fn partition_count(metadata: &Metadata, topic: &str) -> KafkaResult<i32> {
    match i32::try_from(described(metadata, topic)?.partitions().len()) {
        // A topic that was made a moment ago.
        Ok(0) | Err(_) => Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable)),
        Ok(count) => Ok(count),
    }
}

/// What to do about a topic that isn't there, with those that look like it.
fn similar<'a>(topic: &str, names: impl Iterator<Item = &'a str>) -> String {
    let wanted = topic.to_lowercase();
    let mut names: Vec<_> = names.map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name)).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let alike: Vec<_> = names.iter().filter(|(score, _)| *score > 0.8).take(3).map(|(_, name)| *name).collect();
    match (names.len(), alike.is_empty()) {
        (0, _) => "the cluster has no topic that we may see; create it".to_owned(),
        (count, true) => {
            format!("none of the cluster's topics ({count}) looks like it; check `topics`, or create it")
        }
        (count, false) => {
            format!("of the cluster's topics ({count}) these look like it: {}", alike.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn topics_that_look_alike_are_named_best_first() {
        let names = ["shop.public.orders", "shop.public.order_items", "payments", "Shop.Public.Orders.v2"];
        assert_eq!(
            similar("shop.public.order", names.into_iter()),
            "of the cluster's topics (4) these look like it: shop.public.orders, Shop.Public.Orders.v2, shop.public.order_items"
        );
        assert_eq!(
            similar("zebra", ["payments"].into_iter()),
            "none of the cluster's topics (1) looks like it; check `topics`, or create it"
        );
        assert_eq!(similar("a", [].into_iter()), "the cluster has no topic that we may see; create it");
    }
}
