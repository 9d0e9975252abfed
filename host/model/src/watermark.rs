//! Event time: how far each partition has come, and how far all have.

use std::collections::BTreeMap;

use crate::TopicPartition;

/// So many different event times in a row vouch for each other; fewer may be one wrong clock.
const WITNESSES: usize = 3;

/// The watermark of a pipeline: per partition the largest event time that counts less the allowed delay, combined by the
/// minimum over partitions that are not idle. Pure: the caller brings the clock.
///
/// **One wrong clock must not make a whole stream late.** With `future` as the most that a clock may be off, the event time of a record,
/// in the order of its partition,
///
/// | if it is | counts |
/// |---|---|
/// | more than `future` ahead of our clock, or of the record's Kafka timestamp | never: nothing is written before it happens |
/// | within `future` of both | at once: it is live, and a quiet stream goes on with it |
/// | anything else, as in a backlog or a file | with [`WITNESSES`] different times in a row: the least of them does |
///
/// So as long as fewer wrong times than that stand together, nothing counts that no honest time and no clock has reached.
#[derive(Clone, Debug)]
pub struct Watermarks {
    delay_us: i64,
    idle_us: i64,
    future_us: i64,
    partitions: BTreeMap<TopicPartition, Seen>,
}

/// An event time and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// Microseconds since 1970.
    pub us: i64,
    /// The Kafka timestamp of its record, in microseconds since 1970.
    pub kafka_us: Option<i64>,
}

#[derive(Clone, Debug)]
struct Seen {
    event_time_us: Option<i64>,
    at_us: i64,
    /// The different times that were seen last, the latest at the end; at most [`WITNESSES`].
    last_us: Vec<i64>,
}

impl Seen {
    fn at(at_us: i64) -> Self {
        Self { event_time_us: None, at_us, last_us: Vec::with_capacity(WITNESSES + 1) }
    }

    /// Takes the next time of the partition. True if one is known by now to be wrong.
    fn take(&mut self, EventTime { us, kafka_us }: EventTime, now_us: i64, future_us: i64) -> bool {
        let ahead_of = |clock_us: i64| us > clock_us.saturating_add(future_us);
        if ahead_of(now_us) || kafka_us.is_some_and(ahead_of) {
            return true;
        }
        self.at_us = now_us;
        if self.last_us.last() == Some(&us) {
            return false;
        }
        self.last_us.retain(|seen| *seen != us);
        self.last_us.push(us);
        let forgotten = (self.last_us.len() > WITNESSES).then(|| self.last_us.remove(0));
        let is_live = |clock_us: i64| us >= clock_us.saturating_sub(future_us);
        if is_live(now_us) && kafka_us.is_some_and(is_live) {
            self.event_time_us = self.event_time_us.max(Some(us));
        } else if self.last_us.len() == WITNESSES {
            self.event_time_us = self.event_time_us.max(self.last_us.iter().min().copied());
        }
        // Nothing came near it.
        let counts = self.event_time_us.unwrap_or(i64::MIN).saturating_add(future_us);
        forgotten.is_some_and(|forgotten| forgotten > counts)
    }
}

impl Watermarks {
    /// No partition yet. All in microseconds: `delay_us` is how late a change may come, a partition silent for `idle_us`
    /// holds nobody back, and `future_us` is how far a clock may be off.
    pub fn new(delay_us: i64, idle_us: i64, future_us: i64) -> Self {
        Self { delay_us, idle_us, future_us, partitions: BTreeMap::new() }
    }

    /// A partition is ours from now on: it holds the watermark back until it shows an event time or falls idle.
    pub fn assign(&mut self, tp: TopicPartition, now_us: i64) {
        self.partitions.entry(tp).or_insert(Seen::at(now_us));
    }

    /// A partition went elsewhere.
    pub fn revoke(&mut self, tp: &TopicPartition) {
        self.partitions.remove(tp);
    }

    /// The event times of a batch in a partition, in its order. The number of times that are known by now to be wrong: they move no
    /// watermark.
    pub fn observe(&mut self, tp: &TopicPartition, times: impl IntoIterator<Item = EventTime>, now_us: i64) -> u64 {
        // Assigned partitions are there: the name is copied for others only.
        if !self.partitions.contains_key(tp) {
            self.partitions.insert(tp.clone(), Seen::at(now_us));
        }
        let Some(seen) = self.partitions.get_mut(tp) else { return 0 };
        times.into_iter().filter(|time| seen.take(*time, now_us, self.future_us)).count() as u64
    }

    /// The watermark of one partition: changes older than it are late.
    pub fn of(&self, tp: &TopicPartition) -> Option<i64> {
        Some(self.partitions.get(tp)?.event_time_us?.saturating_sub(self.delay_us))
    }

    /// The watermark of the pipeline; `None` while a partition that is not idle has shown nothing.
    pub fn combined(&self, now_us: i64) -> Option<i64> {
        let awake = |seen: &&Seen| now_us.saturating_sub(seen.at_us) < self.idle_us;
        let (mut active, mut low) = (0, Some(i64::MAX));
        for seen in self.partitions.values().filter(awake) {
            active += 1;
            low = low.min(seen.event_time_us);
        }
        // Where all are idle, what they have shown stands.
        let low = if active == 0 { self.partitions.values().filter_map(|s| s.event_time_us).max() } else { low };
        Some(low?.saturating_sub(self.delay_us))
    }
}

#[cfg(test)]
mod tests;
