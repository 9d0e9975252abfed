//! Whether the client has stopped to bring what the cluster has. librdkafka may lose sight of a partition's leader for good, without a word
//! (as in its issue 5430: an answer in which the leader is -1, while a broker starts again). Pure: it is told, and judges.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lakemill_model::{NextOffset, SourceError, TopicPartition};

/// Time between two looks, at least.
const EVERY: Duration = Duration::from_secs(10);

/// We waited for records for so long since the last look: whoever takes them more slowly than they come lets some wait for any time.
const IDLE: Duration = Duration::from_secs(1);

/// So many looks in a row find a partition unmoved and no answer to a fetch that knows of what the look before had found.
const UNHEARD: u32 = 2;

/// So many find it unmoved, 5 minutes, whatever the answers know.
const UNMOVED: u32 = 30;

/// Looks at the ends of partitions now and then.
#[derive(Debug)]
pub(super) struct Watch {
    every: Duration,
    looked_at: Instant,
    /// How long we waited for records since then.
    idle: Duration,
    /// Partitions that did not stand at their ends at the last look.
    behind: BTreeMap<TopicPartition, Behind>,
}

#[derive(Debug)]
struct Behind {
    next: i64,
    end: i64,
    /// Looks in a row after which it had not moved.
    unmoved: u32,
    /// And of these the last ones that no answer to a fetch knew of.
    unheard: u32,
}

/// What is known of a partition.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub tp: TopicPartition,
    /// Where we stand.
    pub next: i64,
    /// The last stable offset, as the second client was told.
    pub end: i64,
    /// The high watermark in the last answer to a fetch of the first client, whenever it came. Answers without records have it as well: those to
    /// a reader that is served other partitions first, or that gets aborted transactions only.
    pub heard: Option<i64>,
}

impl Watch {
    /// Nobody has looked yet. An answer to a fetch may take `answer` by the client's settings.
    pub fn new(now: Instant, answer: Duration) -> Self {
        Self { every: EVERY.max(answer * 2), looked_at: now, idle: Duration::ZERO, behind: BTreeMap::new() }
    }

    /// Forgets what the looks have found.
    pub fn reset(&mut self, now: Instant) {
        self.behind.clear();
        self.missed(now);
    }

    /// We waited for so long until something came, or nothing.
    pub fn waited(&mut self, time: Duration) {
        self.idle = self.idle.saturating_add(time);
    }

    /// True if it is time to look.
    pub fn due(&self, now: Instant) -> bool {
        now.duration_since(self.looked_at) >= self.every && self.idle >= IDLE
    }

    /// A look had no answer.
    pub fn missed(&mut self, now: Instant) {
        (self.looked_at, self.idle) = (now, Duration::ZERO);
    }

    /// What a look has found: all partitions whose ends were told.
    ///
    /// # Errors
    /// [`SourceError::Stalled`] for one that stands where it stood at the looks before, short of its end, and of which the first client has heard
    /// nothing meanwhile; or which stands there for a long time.
    pub fn judge(&mut self, now: Instant, places: impl Iterator<Item = Place>) -> Result<(), SourceError> {
        self.missed(now);
        let before = std::mem::take(&mut self.behind);
        for Place { tp, next, end, heard } in places.filter(|place| place.next < place.end) {
            let (unmoved, unheard) = match before.get(&tp).filter(|before| before.next == next) {
                None => (0, 0),
                Some(before) if heard.is_some_and(|heard| heard >= before.end) => (before.unmoved + 1, 0),
                Some(before) => (before.unmoved + 1, before.unheard + 1),
            };
            if unheard >= UNHEARD || unmoved >= UNMOVED {
                return Err(SourceError::Stalled { partition: tp, next: NextOffset(next), end: NextOffset(end) });
            }
            self.behind.insert(tp, Behind { next, end, unmoved, unheard });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        Watch::new(Instant::now(), Duration::ZERO)
    }

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
        let mut watch = watch();
        look(&mut watch, &[(0, 5, 5, 5), (1, 3, 9, -1)]).expect("the first look");
        look(&mut watch, &[(0, 5, 6, 5), (1, 4, 9, 9)]).expect("one moves, the other had nothing to bring");
        look(&mut watch, &[(0, 5, 7, 5), (1, 9, 9, 9)]).expect("an answer may have been lost");
        let error = look(&mut watch, &[(0, 5, 7, 5), (1, 9, 9, 9)]).expect_err("stalled").to_string();
        assert!(error.starts_with("t/0 has records up to 7, and none has come from 5 on"), "{error}");
    }

    #[test]
    fn a_partition_that_waits_for_its_turn_has_not_for_long() {
        let mut watch = watch();
        for number in 0..UNMOVED {
            let heard = if number % 2 == 0 { 100 } else { -1 };
            look(&mut watch, &[(0, 5, 100, heard)]).expect("fetches are answered, if not each time");
        }
        assert!(look(&mut watch, &[(0, 5, 100, 100)]).is_err(), "not for so long");
    }

    #[test]
    fn what_nobody_tells_of_breaks_the_chain_and_a_look_without_an_answer_does_not() {
        let mut watch = watch();
        for _ in 0..10 {
            look(&mut watch, &[(0, 5, 6, 5)]).expect("the first look");
            look(&mut watch, &[(0, 5, 6, 5)]).expect("the second one");
            look(&mut watch, &[]).expect("its leader is away");
        }
        look(&mut watch, &[(0, 5, 6, 5)]).expect("the first look");
        look(&mut watch, &[(0, 5, 6, 5)]).expect("the second one");
        watch.missed(Instant::now());
        assert!(look(&mut watch, &[(0, 5, 6, 5)]).is_err());
    }

    #[test]
    fn whoever_is_slow_does_not_look() {
        let start = Instant::now();
        let mut watch = Watch::new(start, Duration::ZERO);
        watch.waited(IDLE);
        assert!(!watch.due(start + EVERY / 2), "too early");
        assert!(watch.due(start + EVERY));
        watch.missed(start + EVERY);
        watch.waited(IDLE / 2);
        assert!(!watch.due(start + EVERY * 3), "records waited for us, not we for them");
        watch.waited(IDLE / 2);
        assert!(watch.due(start + EVERY * 3));
        let mut patient = Watch::new(start, EVERY);
        patient.waited(IDLE);
        assert!(!patient.due(start + EVERY) && patient.due(start + EVERY * 2), "an answer may take that long");
    }
}
