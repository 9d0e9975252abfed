//! What the source does between records: it listens to the group and to the client, points the client at
//! positions, and ends trouble or itself. Never appends a record.

use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use lakemill_model::{Polled, RawBatch, SourceError};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::context::Signal;
use super::edges::{Entry, log_loss};
use super::identity::compare;
use super::inquiry::{Inquiry, ask_ends, serve_events};
use super::source::Trouble;
use super::stall::Place;
use super::verdict::{Verdict, verdict};
use super::{KafkaOptions, KafkaSource};

/// How often the client's events are served while records come.
const EVENTS_EVERY: Duration = Duration::from_millis(5);

/// How long the brokers may take to say where partitions end.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

impl KafkaSource {
    /// Lets the client do its work, and looks for new partitions.
    pub(super) fn attend(&mut self, now: Instant) -> Result<(), SourceError> {
        if now.duration_since(self.events_at) >= EVENTS_EVERY {
            self.events_at = now;
            if let Some(code) = serve_events(&self.consumer, Duration::ZERO) {
                let reason = self.consumer.context().trouble().map(|(_, why)| why).unwrap_or_default();
                // Credentials that worked once are the brokers' trouble: it is logged, and waited out.
                if !matches!(verdict(code), Verdict::Passing | Verdict::Credentials) {
                    self.trouble.get_or_insert(Trouble::Client { partition: None, code, reason });
                }
            }
            if self.consumer.context().take_strayed() {
                self.place()?;
            }
        }
        if self.options.group.is_none() && now.duration_since(self.topics_at) >= self.options.topics_every() {
            self.topics_at = now;
            // Trouble here is not worth a word: the client tells of brokers that are away.
            let brief = KafkaOptions { connect_timeout: Duration::from_secs(1), ..(*self.options).clone() };
            if let Ok(found) = (Inquiry { consumer: &self.consumer, options: &brief }).partitions() {
                let new = found.into_iter().filter(|tp| self.known.insert(tp.clone()));
                self.unsaid.extend(new);
            }
        }
        self.look(now)
    }

    /// Looks whether there is something that the client does not bring. The second client is asked: the first one may have lost a broker.
    fn look(&mut self, now: Instant) -> Result<(), SourceError> {
        if let Some(inbox) = &self.ends {
            let answer = match inbox.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => None,
                Ok(answer) => {
                    answer.inspect_err(|error| tracing::debug!("where the partitions end is not known: {error}")).ok()
                }
            };
            self.ends = None;
            let Some(ends) = answer else {
                self.watch.missed(now);
                return Ok(());
            };
            let Self { progress, watch, queue, .. } = self;
            return watch.judge(
                now,
                ends.into_iter().filter_map(|(tp, end)| {
                    let at = progress.find(&tp.topic, tp.partition)?;
                    Some(Place { next: progress.at(at).next, heard: queue.end_of(&tp), tp, end })
                }),
            );
        }
        if self.reading && !self.progress.is_empty() && self.watch.due(now) {
            let partitions = self.progress.iter().map(|(tp, _)| tp.clone()).collect();
            self.ends = Some(ask_ends(&self.informants.witness, partitions, PATIENCE));
        }
        Ok(())
    }

    /// What has to be said before more is read. A batch that holds something goes first: the word is then
    /// kept.
    pub(super) fn word(&mut self, batch: &RawBatch) -> Result<Option<Polled>, SourceError> {
        let caught_up = self.options.until_caught_up && self.reading && self.progress.caught_up();
        if !batch.is_empty() {
            let pending = self.trouble.is_some() || !self.unsaid.is_empty() || self.consumer.context().has_signal();
            return Ok((pending || caught_up).then_some(Polled::Records));
        }
        if !self.unsaid.is_empty() {
            return Ok(Some(Polled::Assigned(std::mem::take(&mut self.unsaid))));
        }
        while let Some(signal) = self.consumer.context().next_signal() {
            if let Some(polled) = self.hear(signal)? {
                return Ok(Some(polled));
            }
        }
        // After the group's word: trouble with a partition that went elsewhere is none of ours.
        if let Some(trouble) = self.trouble.take() {
            self.settle(trouble)?;
            return Ok(None);
        }
        Ok(caught_up.then_some(Polled::CaughtUp))
    }

    /// What the group decided; nothing to be said if it is about no partition.
    fn hear(&mut self, signal: Signal) -> Result<Option<Polled>, SourceError> {
        let (Signal::Assigned(list) | Signal::Revoked(list)) = &signal;
        let (mut list, revoked) = (list.clone(), matches!(signal, Signal::Revoked(_)));
        list.sort();
        self.asked = Some(signal);
        self.reading = false;
        if revoked {
            for tp in &list {
                self.progress.stop(tp);
            }
        }
        if list.is_empty() {
            self.answer()?;
            return Ok(None);
        }
        Ok(Some(if revoked { Polled::Revoked(list) } else { Polled::Assigned(list) }))
    }

    /// Tells the group that we did as it said.
    pub(super) fn answer(&mut self) -> Result<(), SourceError> {
        match self.asked.take() {
            Some(Signal::Assigned(_)) => {
                self.reading = true;
                self.place()
            }
            Some(Signal::Revoked(_)) => {
                self.carry = None;
                self.client(self.consumer.unassign())
            }
            None => Ok(()),
        }
    }

    /// Points the client at where the partitions stand: what it holds ready is fetched again.
    pub(super) fn place(&mut self) -> Result<(), SourceError> {
        self.carry = None;
        self.watch.reset(Instant::now());
        self.ends = None;
        if self.consumer.context().has_signal() {
            // The group has decided anew: what it hears from us now would be taken for the answer to that.
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (tp, stand) in self.progress.iter() {
            self.client(list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(stand.next)))?;
        }
        if self.consumer.assignment().is_ok_and(|held| held.count() > 0) {
            self.client(self.consumer.unassign())?;
        }
        self.progress.iter().for_each(|(tp, _)| self.queue.feed_from(tp));
        self.client(self.consumer.assign(&list))?;
        self.progress.iter().for_each(|(tp, _)| self.queue.feed_from(tp));
        Ok(())
    }

    /// Looks whether the topics are the ones that were read.
    fn recognize(&self) -> Result<(), SourceError> {
        compare(&self.ids, &self.ask().ids(&self.informants.witness, self.ids.keys())?)
    }

    /// Ends the trouble, or the source.
    fn settle(&mut self, trouble: Trouble) -> Result<(), SourceError> {
        let (partition, code, reason) = match trouble {
            Trouble::Client { partition, code, reason } => (partition, code, reason),
            Trouble::WentBack { partition, offset, next } => {
                let reason = format!("the brokers sent offset {offset} after {}: the log went back", next - 1);
                return Err(SourceError::Read { what: partition.to_string(), reason });
            }
        };
        if verdict(code) == Verdict::TopicGone {
            // Brokers that restart may say so of a topic that is there.
            self.ask().partitions()?;
            self.recognize()?;
            return self.place();
        }
        if let (Verdict::OffsetGone, Some(tp)) = (verdict(code), &partition) {
            let Some(at) = self.progress.find(&tp.topic, tp.partition) else { return Ok(()) };
            let wanted = self.progress.at(at).next;
            self.recognize()?;
            let edges = self.ask().edges(std::slice::from_ref(tp))?[0];
            let entry = edges.entry(tp, wanted, self.options.on_data_loss)?;
            self.lost += log_loss(tp, wanted, edges, entry);
            match entry {
                Entry::There => {}
                Entry::Skip { .. } => self.progress.reach(at, edges.first),
            }
            return self.place();
        }
        let what = partition.map_or_else(|| self.options.topics.join(", "), |tp| tp.to_string());
        self.ask().failure(&what, code, &reason).map_or(Ok(()), Err)
    }
}
