//! Event time: how far each partition has come, and how far all have.

use std::collections::BTreeMap;

use crate::TopicPartition;

/// The watermark of a pipeline: per partition the largest event time seen less the allowed delay, combined by the
/// minimum over partitions that are not idle. Pure: the caller brings the clock.
#[derive(Clone, Debug)]
pub struct Watermarks {
    delay_us: i64,
    idle_us: i64,
    future_us: i64,
    partitions: BTreeMap<TopicPartition, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    event_time_us: Option<i64>,
    at_us: i64,
}

impl Watermarks {
    /// No partition yet. All in microseconds: `delay_us` is how late a change may come, a partition silent for `idle_us`
    /// holds nobody back, and an event time more than `future_us` ahead of the clock counts as that much ahead: one
    /// wrong clock must not make a whole stream late.
    pub fn new(delay_us: i64, idle_us: i64, future_us: i64) -> Self {
        Self { delay_us, idle_us, future_us, partitions: BTreeMap::new() }
    }

    /// A partition is ours from now on: it holds the watermark back until it shows an event time or falls idle.
    pub fn assign(&mut self, tp: TopicPartition, now_us: i64) {
        self.partitions.entry(tp).or_insert(Seen { event_time_us: None, at_us: now_us });
    }

    /// A partition went elsewhere.
    pub fn revoke(&mut self, tp: &TopicPartition) {
        self.partitions.remove(tp);
    }

    /// The largest event time of a batch in a partition.
    pub fn observe(&mut self, tp: &TopicPartition, event_time_us: i64, now_us: i64) {
        let time = event_time_us.min(now_us.saturating_add(self.future_us));
        let seen = self.partitions.entry(tp.clone()).or_insert(Seen { event_time_us: None, at_us: now_us });
        seen.event_time_us = seen.event_time_us.max(Some(time));
        seen.at_us = now_us;
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
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn tp(n: i32) -> TopicPartition {
        TopicPartition::new("t", n)
    }

    #[test]
    fn the_slowest_partition_that_is_awake_decides() {
        let mut w = Watermarks::new(10 * SECOND, 60 * SECOND, 300 * SECOND);
        w.assign(tp(0), 0);
        w.assign(tp(1), 0);
        w.observe(&tp(0), 100 * SECOND, 0);
        assert_eq!(w.combined(0), None, "partition 1 has shown nothing");
        w.observe(&tp(1), 50 * SECOND, SECOND);
        assert_eq!(w.combined(SECOND), Some(40 * SECOND));
        w.observe(&tp(0), 120 * SECOND, 59 * SECOND);
        assert_eq!(w.combined(62 * SECOND), Some(110 * SECOND), "partition 1 fell idle");
        assert_eq!(w.of(&tp(1)), Some(40 * SECOND));
        w.revoke(&tp(0));
        assert_eq!(w.combined(2 * SECOND), Some(40 * SECOND));
    }

    #[test]
    fn it_never_goes_back_and_the_future_is_capped() {
        let mut w = Watermarks::new(0, 60 * SECOND, 5 * SECOND);
        w.observe(&tp(0), 10 * SECOND, 10 * SECOND);
        w.observe(&tp(0), 3 * SECOND, 11 * SECOND);
        assert_eq!(w.of(&tp(0)), Some(10 * SECOND));
        w.observe(&tp(0), 999_999 * SECOND, 12 * SECOND);
        assert_eq!(w.of(&tp(0)), Some(17 * SECOND));
    }

    #[test]
    fn all_idle_leaves_what_was_shown() {
        let mut w = Watermarks::new(0, SECOND, 5 * SECOND);
        assert_eq!(w.combined(0), None);
        w.observe(&tp(0), 10 * SECOND, 10 * SECOND);
        assert_eq!(w.combined(100 * SECOND), Some(10 * SECOND));
    }
}
