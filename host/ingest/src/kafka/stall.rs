//! Whether the client has stopped to bring what the cluster has. librdkafka may lose sight of a partition's leader for good, without a word
//! (its issue 5430: an answer in which the leader is -1, as while a broker starts again). Pure: it is told, and judges.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakemill_model::{NextOffset, SourceError, TopicPartition};

/// Time between two looks. What the first one finds and the second one finds unchanged has stalled.
const EVERY: Duration = Duration::from_secs(10);

/// The client was idle for so long between the two: whoever takes records more slowly than they come lets some wait for any time.
const IDLE: Duration = Duration::from_secs(1);

/// Looks at the ends of partitions now and then.
#[derive(Debug)]
pub(super) struct Watch {
    looked_at: Instant,
    /// How long we waited for records since then.
    idle: Duration,
    /// Partitions that did not stand at their ends then, with the next offset.
    behind: BTreeMap<TopicPartition, i64>,
}

/// Where a partition stands, and its end.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub tp: TopicPartition,
    pub next: i64,
    pub end: i64,
}

impl Watch {
    /// Nobody has looked yet.
    pub fn new(now: Instant) -> Self {
        Self { looked_at: now, idle: Duration::ZERO, behind: BTreeMap::new() }
    }

    /// The client had nothing for us for so long.
    pub fn waited(&mut self, time: Duration) {
        self.idle = self.idle.saturating_add(time);
    }

    /// True if it is time to look; the next time is counted from now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = now.duration_since(self.looked_at) >= EVERY && self.idle >= IDLE;
        if due {
            (self.looked_at, self.idle) = (now, Duration::ZERO);
        }
        due
    }

    /// What a look has found: all partitions whose ends were told.
    ///
    /// # Errors
    /// [`SourceError::Stalled`] for one that stands where it stood at the last look, and has not reached its end.
    pub fn judge(&mut self, places: impl Iterator<Item = Place>) -> Result<(), SourceError> {
        let before = std::mem::take(&mut self.behind);
        for Place { tp, next, end } in places.filter(|place| place.next < place.end) {
            if before.get(&tp) == Some(&next) {
                return Err(SourceError::Stalled { partition: tp, next: NextOffset(next), end: NextOffset(end) });
            }
            self.behind.insert(tp, next);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(watch: &mut Watch, places: &[(i32, i64, i64)]) -> Result<(), SourceError> {
        let place = |(partition, next, end): &(i32, i64, i64)| Place {
            tp: TopicPartition::new("t", *partition),
            next: *next,
            end: *end,
        };
        watch.judge(places.iter().map(place))
    }

    #[test]
    fn a_partition_that_stands_still_before_its_end_has_stalled() {
        let mut watch = Watch::new(Instant::now());
        look(&mut watch, &[(0, 5, 5), (1, 3, 9)]).expect("the first look");
        look(&mut watch, &[(0, 5, 6), (1, 4, 9)]).expect("one moves, the other had nothing to bring");
        let error = look(&mut watch, &[(0, 5, 7), (1, 9, 9)]).expect_err("stalled").to_string();
        assert!(error.starts_with("t/0 has records up to 7, and none has come from 5 on"), "{error}");
    }

    #[test]
    fn what_nobody_tells_of_breaks_the_chain() {
        let mut watch = Watch::new(Instant::now());
        look(&mut watch, &[(0, 5, 6)]).expect("the first look");
        look(&mut watch, &[]).expect("its leader is away");
        look(&mut watch, &[(0, 5, 6)]).expect("it is back a moment ago");
        assert!(look(&mut watch, &[(0, 5, 6)]).is_err());
    }

    #[test]
    fn whoever_is_slow_does_not_look() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        watch.waited(IDLE);
        assert!(!watch.due(start + EVERY / 2), "too early");
        assert!(watch.due(start + EVERY));
        watch.waited(IDLE / 2);
        assert!(!watch.due(start + EVERY * 3), "records waited for us, not we for them");
        watch.waited(IDLE / 2);
        assert!(watch.due(start + EVERY * 3));
    }
}
