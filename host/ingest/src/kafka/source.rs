//! The source: fills batches, keeps count, and passes on what the group decides. Positions come from outside
//! and are never read from Kafka.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use lakemill_model::{
    BatchLimits, NextOffset, Polled, PositionDelta, Positions, RawBatch, Source, SourceError, StartAt, TopicIds,
    TopicPartition, Vouch,
};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::connection::{Connection, Witness};
use super::context::Signal;
use super::edges::{Entry, log_loss};
use super::identity::{Asked, Voucher, compare};
use super::inquiry::{Ends, Inquiry, TRY, leader};
use super::native::{Fetched, RecordQueue};
use super::stall::Watch;
use super::steering::PATIENCE;
use super::verdict::{Verdict, verdict};
use super::{KafkaOptions, OnDataLoss};
use crate::batching::{Carry, Filling, fits, full, len, wait};
use crate::progress::{Progress, Stand};

/// The clock is read once in so many records.
const CLOCK_EVERY: usize = 4096;

/// Reads topics of a Kafka cluster.
///
/// Without a group, one process reads all partitions and says [`Polled::Assigned`] once, and again when
/// partitions are added. With a group, the partitions are shared: each rebalance takes all partitions away
/// ([`Polled::Revoked`]) and deals them out anew, and nothing is read before [`Source::start`] says from
/// where. The group waits for [`Source::release`] and [`Source::start`] for up to `max.poll.interval.ms`, 5
/// minutes by default.
pub struct KafkaSource {
    pub(super) options: Arc<KafkaOptions>,
    // Goes before the consumer, which it holds as well.
    pub(super) queue: RecordQueue,
    pub(super) consumer: Arc<Connection>,
    pub(super) progress: Progress,
    filling: Filling,
    pub(super) carry: Option<Carry>,
    pub(super) trouble: Option<Trouble>,
    /// The topics as they were when they were first asked about.
    pub(super) ids: TopicIds,
    /// Whom to ask about them.
    pub(super) informants: Asked,
    /// Offsets that were gone, and were not told yet.
    pub(super) lost: u64,
    /// Without a group: partitions that are known, and those of them that were not said yet.
    pub(super) known: BTreeSet<TopicPartition>,
    pub(super) unsaid: Vec<TopicPartition>,
    /// With a group: what it waits for an answer to.
    pub(super) asked: Option<Signal>,
    /// True while we read what is ours, be it nothing.
    pub(super) reading: bool,
    pub(super) events_at: Instant,
    pub(super) topics_at: Instant,
    /// Whether what there is also comes.
    pub(super) watch: Watch,
    /// Where the answer comes that it waits for.
    pub(super) ends: Option<Receiver<Ends>>,
}

/// What stops a partition, or all.
#[derive(Debug)]
pub(super) enum Trouble {
    Client { partition: Option<TopicPartition>, code: RDKafkaErrorCode, reason: String },
    WentBack { partition: TopicPartition, offset: i64, next: i64 },
}

impl KafkaSource {
    /// Connects and looks for the topics.
    ///
    /// # Errors
    /// [`SourceError::Config`] for options that can't be and credentials that are refused,
    /// [`SourceError::Unreachable`] if nobody answers in time, [`SourceError::NoSuchTopic`].
    pub fn open(options: KafkaOptions) -> Result<Self, SourceError> {
        // A client that is asked before its threads run loses time.
        let (consumer, witness) = (Connection::open(&options)?, Witness::open(&options)?);
        let known = Inquiry { consumer: &consumer, options: &options }.partitions()?;
        let unsaid = if options.group.is_none() { known.clone() } else { Vec::new() };
        let source = Self {
            queue: RecordQueue::new(Arc::clone(&consumer)),
            consumer,
            progress: Progress::default(),
            filling: Filling::default(),
            carry: None,
            trouble: None,
            ids: TopicIds::new(),
            informants: Asked { witness, broker: Arc::default() },
            lost: 0,
            known: known.into_iter().collect(),
            unsaid,
            asked: None,
            reading: false,
            events_at: Instant::now(),
            topics_at: Instant::now(),
            watch: Watch::new(Instant::now(), options.answer_time()),
            ends: None,
            options: Arc::new(options),
        };
        if source.options.group.is_some() {
            let topics: Vec<_> = source.options.topics.iter().map(String::as_str).collect();
            source.client(source.consumer.subscribe(&topics))?;
        }
        Ok(source)
    }

    pub(super) fn ask(&self) -> Inquiry<'_> {
        Inquiry { consumer: &self.consumer, options: &self.options }
    }

    /// The error of a call that librdkafka refuses: it never depends on the cluster.
    pub(super) fn client(&self, result: KafkaResult<()>) -> Result<(), SourceError> {
        result.map_err(|error| SourceError::Read {
            what: self.options.topics.join(", "),
            reason: self.consumer.context().redact(&error.to_string()),
        })
    }

    /// True if the record that was kept back does not fit either.
    fn blocked(&self, batch: &RawBatch, limits: &BatchLimits) -> bool {
        self.carry.as_ref().is_some_and(|carry| !fits(batch, limits, len(&carry.record())))
    }

    /// Appends what there is, waiting for up to `patience` if there is nothing.
    fn fill(&mut self, batch: &mut RawBatch, limits: &BatchLimits, until: Instant, patience: Duration) {
        let Self { queue, progress, filling, carry, trouble, watch, .. } = self;
        if let Some(kept) = carry.take() {
            let record = kept.record();
            if let Some(at) = progress.find(record.topic, record.partition) {
                filling.push(batch, record);
                progress.reach(at, record.offset + 1);
            }
            return;
        }
        let (asked, mut came) = (Instant::now(), None);
        queue.serve(patience, |fetched| match fetched {
            Fetched::Record(record) => {
                came.get_or_insert_with(Instant::now);
                let Some(at) = progress.find(record.topic, record.partition) else {
                    return ControlFlow::Continue(());
                };
                let next = progress.at(at).next;
                if record.offset < next {
                    let partition = TopicPartition::new(record.topic, record.partition);
                    *trouble = Some(Trouble::WentBack { partition, offset: record.offset, next });
                    return ControlFlow::Break(());
                }
                if !fits(batch, limits, len(&record)) {
                    *carry = Some(Carry::from(record));
                    return ControlFlow::Break(());
                }
                filling.push(batch, record);
                progress.reach(at, record.offset + 1);
                let late =
                    || batch.len().is_multiple_of(CLOCK_EVERY) && Instant::now() >= filling.deadline(limits, until);
                if full(batch, limits) || late() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            Fetched::End { topic, partition, next } => {
                if let Some(at) = progress.find(topic, partition) {
                    progress.reach(at, next);
                }
                ControlFlow::Continue(())
            }
            Fetched::Failed { topic, partition, code, reason } => {
                if verdict(code) == Verdict::Passing || progress.find(topic, partition).is_none() {
                    tracing::debug!(topic, partition, "kafka client: {reason} ({code})");
                    return ControlFlow::Continue(());
                }
                let partition = Some(TopicPartition::new(topic, partition));
                *trouble = Some(Trouble::Client { partition, code, reason: reason.to_owned() });
                ControlFlow::Break(())
            }
        });
        watch.waited(came.unwrap_or_else(Instant::now).duration_since(asked));
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, batch: &mut RawBatch, limits: &BatchLimits, until: Instant) -> Result<Polled, SourceError> {
        self.filling.resume(batch);
        loop {
            self.attend(Instant::now())?;
            if let Some(polled) = self.word(batch)? {
                return Ok(polled);
            }
            if full(batch, limits) || self.blocked(batch, limits) {
                return Ok(Polled::Records);
            }
            let patience = wait(Instant::now(), self.filling.deadline(limits, until));
            self.fill(batch, limits, until, patience);
            if full(batch, limits) || Instant::now() >= self.filling.deadline(limits, until) {
                if !batch.is_empty() {
                    self.consumer.context().answered();
                }
                return Ok(Polled::Records);
            }
        }
    }

    fn take_ranges(&mut self) -> PositionDelta {
        self.progress.take_ranges()
    }

    fn resolve(&mut self, partitions: &[TopicPartition], at: StartAt) -> Result<Positions, SourceError> {
        if let StartAt::TimestampMs(time) = at {
            return self.ask().at_time(partitions, time);
        }
        let edges = self.ask().edges(partitions)?;
        let position = |(tp, edges): (&TopicPartition, super::edges::Edges)| {
            let next = match at {
                StartAt::Earliest => edges.first,
                StartAt::Latest | StartAt::TimestampMs(_) => edges.end,
                StartAt::Offset(wanted) => edges.start(tp, wanted.0, self.options.on_data_loss)?,
            };
            Ok((tp.clone(), NextOffset(next)))
        };
        partitions.iter().zip(edges).map(position).collect()
    }

    fn identify(&mut self, topics: &[Arc<str>]) -> Result<TopicIds, SourceError> {
        let Asked { witness, broker } = &self.informants;
        let found = self.ask().ids(witness, topics.iter())?;
        compare(&self.ids, &found)?;
        self.ids.extend(found.clone());
        if let Some(Ok(leader)) = found.keys().next().map(|topic| leader(witness, topic, TRY)) {
            broker.store(leader, Ordering::Relaxed);
        }
        Ok(found)
    }

    fn vouch(&mut self, step: &PositionDelta) -> Option<Box<dyn Vouch>> {
        let id = |(tp, _): (&TopicPartition, _)| Some((tp.topic.clone(), self.ids.get(&tp.topic)?.clone()));
        let known: TopicIds = step.iter().filter_map(id).collect();
        if known.is_empty() {
            return None;
        }
        Some(Box::new(Voucher::new(&self.consumer, &self.options, known, &self.informants)))
    }

    fn start(&mut self, positions: &Positions) -> Result<(), SourceError> {
        let partitions: Vec<_> = positions.iter().map(|(tp, _)| tp.clone()).collect();
        if let Some(Signal::Assigned(ours)) = &self.asked
            && let Some(missing) = ours.iter().find(|tp| positions.get(tp).is_none())
        {
            let reason = "it is ours, and nobody said from where to read it".to_owned();
            return Err(SourceError::Read { what: missing.to_string(), reason });
        }
        let mut stands = Vec::with_capacity(partitions.len());
        for ((tp, NextOffset(wanted)), edges) in positions.iter().zip(self.ask().edges(&partitions)?) {
            let entry = edges.entry(tp, wanted, self.options.on_data_loss)?;
            self.lost += log_loss(tp, wanted, edges, entry);
            let (from, next) = match entry {
                Entry::There => (wanted, wanted),
                // What is gone is part of the first step: the tables' positions have no hole.
                Entry::Skip { .. } => (wanted, edges.first),
            };
            stands.push((tp.clone(), Stand { from, next, end: edges.end }));
        }
        for (tp, stand) in stands {
            self.progress.start(tp, stand);
        }
        self.asked = None;
        self.reading = true;
        self.place()
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        for tp in partitions {
            self.progress.stop(tp);
        }
        if self.options.group.is_some() {
            // The eager protocol takes all partitions at once.
            return self.answer();
        }
        self.place()
    }

    fn reread(&mut self, ranges: &PositionDelta, batch: &mut RawBatch) -> Result<bool, SourceError> {
        match super::replay::read(&self.options, ranges, batch) {
            Err(error @ SourceError::DataLoss { .. }) if self.options.on_data_loss == OnDataLoss::Continue => {
                tracing::warn!(%error, "an unfinished batch is gone: going on with what is left of it");
                batch.clear();
                return Ok(false);
            }
            read => read?,
        }
        for (tp, range) in ranges.iter() {
            let end = range.end.0;
            let stand = match self.progress.find(&tp.topic, tp.partition) {
                Some(at) => Stand { from: end, next: end, ..*self.progress.at(at) },
                None => Stand { from: end, next: end, end },
            };
            self.progress.start(tp.clone(), stand);
        }
        if self.reading {
            self.place()?;
        }
        Ok(true)
    }

    fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn report(&mut self, upto: &Positions) {
        let mut list = TopicPartitionList::new();
        for (tp, NextOffset(next)) in upto.iter() {
            let ours = self.progress.find(&tp.topic, tp.partition).is_some();
            if ours && list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(next)).is_err() {
                return;
            }
        }
        if list.count() > 0 {
            let result = self.consumer.commit(&list, CommitMode::Async);
            if result.is_err() {
                self.consumer.context().reported(&result);
            }
        }
    }

    fn lag(&self) -> Option<u64> {
        if !self.reading {
            return None;
        }
        let behind = |(tp, stand): (&TopicPartition, Stand)| {
            let end = self.queue.end_of(tp).unwrap_or_default().max(stand.end);
            u64::try_from(end - stand.next).unwrap_or_default()
        };
        Some(self.progress.iter().map(behind).sum())
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        // Whoever asks holds the second client.
        if let Some(inbox) = self.ends.take()
            && inbox.recv_timeout(PATIENCE).is_err()
        {
            tracing::debug!("left before it was told where the partitions end");
        }
        // The client closes only after every question of the group is answered.
        self.consumer.context().close();
        self.progress = Progress::default();
        while let Some(signal) = self.consumer.context().next_signal() {
            self.asked = Some(signal);
        }
        if let Err(error) = self.answer() {
            tracing::debug!("let go of all partitions while closing: {error}");
        }
    }
}
