//! Whether topics are the ones that were read. A topic that was deleted and made anew has the name of the old one and another id, and
//! librdkafka reads on from it at the old offsets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use lakemill_model::{SourceError, TopicIds, Vouch};
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaOptions;
use super::connection::{Connection, Witness};
use super::inquiry::{Inquiry, PAUSE, TRY, leader};
use super::native::{IdsAnswer, IdsQuestion};
use super::verdict::{Verdict, verdict};

/// How a source asks about its topics.
pub(super) struct Asked {
    pub witness: Arc<Witness>,
    /// The broker that is asked: one that leads a partition, or did; 0, which may be one, until somebody has said so.
    pub broker: Arc<AtomicI32>,
}

/// What an answer of the cluster comes to.
#[derive(Debug)]
enum Finding {
    /// They are the ones that are known.
    Same,
    /// One is not.
    MadeAnew(SourceError),
    /// There is no telling: ask again, unless it is for good.
    Unclear { topic: String, code: RDKafkaErrorCode, reason: String },
}

/// Asks about topics until the cluster has answered.
pub(super) struct Voucher {
    consumer: Arc<Connection>,
    options: Arc<KafkaOptions>,
    known: TopicIds,
    /// Of all vouchers of a source.
    broker: Arc<AtomicI32>,
    question: IdsQuestion,
    /// Since when the cluster says that there is no such topic.
    gone: Option<Instant>,
}

impl Voucher {
    pub fn new(consumer: &Arc<Connection>, options: &Arc<KafkaOptions>, known: TopicIds, asked: &Asked) -> Self {
        let Asked { witness, broker } = asked;
        let question = ask(witness, broker, &known);
        let (consumer, options, broker) = (Arc::clone(consumer), Arc::clone(options), Arc::clone(broker));
        Self { consumer, options, known, broker, question, gone: None }
    }

    fn inquiry(&self) -> Inquiry<'_> {
        Inquiry { consumer: &self.consumer, options: &self.options }
    }

    /// Asks again, whoever leads now.
    fn again(&mut self, topic: &str) {
        match leader(self.question.witness(), topic, TRY) {
            Ok(leader) => self.broker.store(leader, Ordering::Relaxed),
            Err(error) => tracing::debug!(topic, "who leads it is not known: {error}"),
        }
        std::thread::sleep(PAUSE);
        self.question = ask(self.question.witness(), &self.broker, &self.known);
    }

    /// The error that ends the asking; `None`: it may be answered yet.
    fn for_good(&mut self, topic: &str, code: RDKafkaErrorCode, reason: &str) -> Option<SourceError> {
        if verdict(code) == Verdict::TopicGone {
            // Brokers that start again may say so of a topic that is there.
            let since = *self.gone.get_or_insert_with(Instant::now);
            let for_good = since.elapsed() > self.options.connect_timeout;
            return if for_good { self.inquiry().failure(topic, code, reason) } else { None };
        }
        self.gone = None;
        self.inquiry().failure(topic, code, reason)
    }
}

fn ask(witness: &Arc<Witness>, broker: &AtomicI32, known: &TopicIds) -> IdsQuestion {
    let (broker, topics) = (broker.load(Ordering::Relaxed), known.keys().map(AsRef::as_ref));
    IdsQuestion::ask(Arc::clone(witness), broker, topics, TRY)
}

impl Vouch for Voucher {
    fn answer(&mut self, most: Duration) -> Option<Result<(), SourceError>> {
        let until = Instant::now() + most;
        loop {
            let answer = self.question.answer(until.saturating_duration_since(Instant::now()))?;
            match find(answer, &self.known) {
                Finding::Same => return Some(Ok(())),
                Finding::MadeAnew(error) => return Some(Err(error)),
                Finding::Unclear { topic, code, reason } => {
                    if let Some(error) = self.for_good(&topic, code, &reason) {
                        return Some(Err(error));
                    }
                    self.again(&topic);
                }
            }
        }
    }

    fn unanswered(&self) -> SourceError {
        let topics: Vec<&str> = self.known.keys().map(AsRef::as_ref).collect();
        let reason = format!("nobody says whether {} is what was read", topics.join(", "));
        SourceError::Unreachable { brokers: self.options.brokers.clone(), reason }
    }
}

fn find(answer: IdsAnswer, known: &TopicIds) -> Finding {
    let unclear = |topic: &str, code, reason| Finding::Unclear { topic: topic.to_owned(), code, reason };
    let found = match answer {
        Ok(found) => found,
        // Of all of them; one has to do.
        Err((code, reason)) => return unclear(known.keys().next().map_or("", AsRef::as_ref), code, reason),
    };
    for (topic, id) in known {
        match found.iter().find(|(name, _)| **name == **topic) {
            Some((_, Ok(there))) if **there == **id => {}
            Some((_, Ok(there))) if !there.is_empty() => return Finding::MadeAnew(made_anew(topic, id, there)),
            // A broker of before Kafka 2.8 among newer ones.
            Some((_, Ok(_))) | None => return unclear(topic, RDKafkaErrorCode::Fail, "no id was told".to_owned()),
            Some((_, Err(code))) => return unclear(topic, *code, code.to_string()),
        }
    }
    Finding::Same
}

pub(super) fn made_anew(topic: &str, known: &str, found: &str) -> SourceError {
    SourceError::MadeAnew { topic: topic.to_owned(), known: known.to_owned(), found: found.to_owned() }
}

/// The first of `known` that is another one in `found`.
pub(super) fn compare(known: &TopicIds, found: &TopicIds) -> Result<(), SourceError> {
    for (topic, id) in known {
        if let Some(there) = found.get(topic).filter(|there| *there != id) {
            return Err(made_anew(topic, id, there));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[(&str, &str)]) -> TopicIds {
        list.iter().map(|(topic, id)| (Arc::from(*topic), Arc::from(*id))).collect()
    }

    #[test]
    fn only_the_same_id_is_the_same_topic() {
        let known = ids(&[("a", "1"), ("b", "2")]);
        let there = |a: Result<&str, RDKafkaErrorCode>| {
            let b = ("b".to_owned(), Ok("2".to_owned()));
            find(Ok(vec![b, ("a".to_owned(), a.map(str::to_owned))]), &known)
        };
        assert!(matches!(there(Ok("1")), Finding::Same));
        let Finding::MadeAnew(error) = there(Ok("3")) else { panic!("another one") };
        assert!(error.to_string().starts_with("a was made anew: its id was 1 and is 3 now, "), "{error}");
        for unclear in [there(Ok("")), there(Err(RDKafkaErrorCode::UnknownTopicOrPartition))] {
            assert!(matches!(&unclear, Finding::Unclear { topic, .. } if topic == "a"), "{unclear:?}");
        }
        let nobody = find(Err((RDKafkaErrorCode::OperationTimedOut, "late".to_owned())), &known);
        assert!(matches!(&nobody, Finding::Unclear { topic, .. } if topic == "a"), "{nobody:?}");
        assert!(matches!(find(Ok(Vec::new()), &known), Finding::Unclear { .. }), "no answer is no yes");
    }

    #[test]
    fn ids_that_are_not_there_are_not_compared() {
        let known = ids(&[("a", "1"), ("b", "2")]);
        assert!(compare(&known, &ids(&[("a", "1"), ("c", "9")])).is_ok());
        assert!(compare(&known, &ids(&[("b", "1")])).is_err());
    }
}
