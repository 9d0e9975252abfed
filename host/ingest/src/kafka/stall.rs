//! Whether the client has stopped to bring what the cluster has. librdkafka may lose sight of a partition's leader for good, without a word
//! (as in its issue 5430: an answer in which the leader is -1, while a broker starts again). Pure: it is told, and judges.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakemill_model::{NextOffset, SourceError, TopicPartition};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// We waited for records for so long since the last look: whoever takes them more slowly than they come lets some wait for any time.
const IDLE: Duration = Duration::from_secs(1);

/// With so many looks in a row between which nothing came at all, 5 minutes, there is nothing on its way.
const SILENT: u32 = 30;

/// Looks at the ends of partitions now and then.
#[derive(Debug)]
pub(super) struct Watch {
    looked_at: Instant,
    /// How long we waited for records since then.
    idle: Duration,
    /// Whether any came.
    came: bool,
    /// Looks in a row before which none had come although some partition was behind.
    silent: u32,
    /// Partitions that did not stand at their ends at the last look: the next offset, and the end.
    behind: BTreeMap<TopicPartition, (i64, i64)>,
}

/// What is known of a partition.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub tp: TopicPartition,
    /// Where we stand.
    pub next: i64,
    /// Where it ends, as the second client was told.
    pub end: i64,
    /// Where it ended when the first client last had an answer to a fetch. Answers without records have it as well: those to a reader that is
    /// served other partitions first, or aborted transactions only.
    pub heard: Option<i64>,
}

impl Watch {
    /// Nobody has looked yet.
    pub fn new(now: Instant) -> Self {
        Self { looked_at: now, idle: Duration::ZERO, came: false, silent: 0, behind: BTreeMap::new() }
    }

    /// We waited for so long until something came, or nothing.
    pub fn waited(&mut self, time: Duration, came: bool) {
        self.idle = self.idle.saturating_add(time);
        self.came |= came;
    }

    /// True if it is time to look.
    pub fn due(&self, now: Instant) -> bool {
        now.duration_since(self.looked_at) >= EVERY && self.idle >= IDLE
    }

    /// What a look has found: all partitions whose ends were told.
    ///
    /// # Errors
    /// [`SourceError::Stalled`] for one that stands where it stood at the last look, short of its end, if no fetch was answered since then, or
    /// nothing came at all for a long time.
    pub fn judge(&mut self, now: Instant, places: impl Iterator<Item = Place>) -> Result<(), SourceError> {
        let before = std::mem::take(&mut self.behind);
        self.silent = if self.came || before.is_empty() { 0 } else { self.silent.saturating_add(1) };
        (self.looked_at, self.idle, self.came) = (now, Duration::ZERO, false);
        for Place { tp, next, end, heard } in places.filter(|place| place.next < place.end) {
            if let Some((_, end_before)) = before.get(&tp).filter(|(next_before, _)| *next_before == next) {
                let unheard = heard.is_none_or(|heard| heard < *end_before);
                if unheard || self.silent >= SILENT {
                    return Err(SourceError::Stalled { partition: tp, next: NextOffset(next), end: NextOffset(end) });
                }
            }
            self.behind.insert(tp, (next, end));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partition, next, end, heard.
    fn look(watch: &mut Watch, places: &[(i32, i64, i64, i64)]) -> Result<(), SourceError> {
        let place = |(partition, next, end, heard): &(i32, i64, i64, i64)| Place {
            tp: TopicPartition::new("t", *partition),
            next: *next,
            end: *end,
            heard: (*heard >= 0).then_some(*heard),
        };
        watch.judge(Instant::now(), places.iter().map(place))
    }

    #[test]
    fn a_partition_that_stands_still_unheard_of_has_stalled() {
        let mut watch = Watch::new(Instant::now());
        look(&mut watch, &[(0, 5, 5, 5), (1, 3, 9, -1)]).expect("the first look");
        look(&mut watch, &[(0, 5, 6, 5), (1, 4, 9, 9)]).expect("one moves, the other had nothing to bring");
        let error = look(&mut watch, &[(0, 5, 7, 5), (1, 9, 9, 9)]).expect_err("stalled").to_string();
        assert!(error.starts_with("t/0 has records up to 7, and none has come from 5 on"), "{error}");
        let mut watch = Watch::new(Instant::now());
        look(&mut watch, &[(0, 5, 6, -1)]).expect("the first look");
        assert!(look(&mut watch, &[(0, 5, 6, -1)]).is_err(), "never heard of");
    }

    #[test]
    fn a_partition_that_waits_for_its_turn_has_not() {
        let mut watch = Watch::new(Instant::now());
        for look_number in 0..1000 {
            watch.waited(IDLE, true);
            look(&mut watch, &[(0, 5, 100, 100), (1, look_number, 1000, 1000)]).expect("fetches are answered");
        }
        for _ in 1..SILENT {
            look(&mut watch, &[(0, 5, 100, 100)]).expect("aborted records, maybe");
        }
        assert!(look(&mut watch, &[(0, 5, 100, 100)]).is_err(), "not for so long");
    }

    #[test]
    fn what_nobody_tells_of_breaks_the_chain() {
        let mut watch = Watch::new(Instant::now());
        look(&mut watch, &[(0, 5, 6, 5)]).expect("the first look");
        look(&mut watch, &[]).expect("its leader is away");
        look(&mut watch, &[(0, 5, 6, 5)]).expect("it is back a moment ago");
        assert!(look(&mut watch, &[(0, 5, 6, 5)]).is_err());
    }

    #[test]
    fn whoever_is_slow_does_not_look() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        watch.waited(IDLE, true);
        assert!(!watch.due(start + EVERY / 2), "too early");
        assert!(watch.due(start + EVERY));
        watch.judge(start + EVERY, std::iter::empty()).expect("nothing found");
        watch.waited(IDLE / 2, true);
        assert!(!watch.due(start + EVERY * 3), "records waited for us, not we for them");
        watch.waited(IDLE / 2, true);
        assert!(watch.due(start + EVERY * 3));
    }
}
