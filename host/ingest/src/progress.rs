//! How far a source is on each of its partitions. Pure: it counts what it is told, and never asks or waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakemill_model::{NextOffset, OffsetRange, PositionDelta, TopicPartition};

/// Where one partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    /// Where the batch that is being filled began.
    pub from: i64,
    /// The next offset to read.
    pub next: i64,
    /// The end as seen when reading started.
    pub end: i64,
}

/// The partitions that are being read.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    places: Vec<(TopicPartition, Stand)>,
    /// By topic, then partition number: index into `places`.
    index: BTreeMap<Arc<str>, Vec<Option<usize>>>,
    /// Where the last record was: records come in runs.
    last: usize,
}

impl Progress {
    /// Reads `tp` from `next` on. `from` is smaller where offsets before `next` are gone: they count as a
    /// gap.
    pub fn start(&mut self, tp: TopicPartition, stand: Stand) {
        match self.find(&tp.topic, tp.partition) {
            Some(at) => self.places[at].1 = stand,
            None => {
                self.places.push((tp, stand));
                self.rebuild();
            }
        }
    }

    /// Reads `tp` no longer.
    pub fn stop(&mut self, tp: &TopicPartition) {
        self.places.retain(|(other, _)| other != tp);
        self.rebuild();
    }

    fn rebuild(&mut self) {
        self.index.clear();
        self.last = 0;
        for (at, (tp, _)) in self.places.iter().enumerate() {
            let partitions = self.index.entry(tp.topic.clone()).or_default();
            let number = usize::try_from(tp.partition).unwrap_or_default();
            if partitions.len() <= number {
                partitions.resize(number + 1, None);
            }
            partitions[number] = Some(at);
        }
    }

    /// The place of a partition, if it is being read: valid until the next `start` of a new partition, or
    /// `stop`.
    pub fn find(&mut self, topic: &str, partition: i32) -> Option<usize> {
        if let Some((tp, _)) = self.places.get(self.last)
            && tp.partition == partition
            && &*tp.topic == topic
        {
            return Some(self.last);
        }
        let number = usize::try_from(partition).ok()?;
        let at = (*self.index.get(topic)?.get(number)?)?;
        self.last = at;
        Some(at)
    }

    /// Where the partition at `at` stands.
    pub fn at(&mut self, at: usize) -> &mut Stand {
        &mut self.places[at].1
    }

    /// Everything before `next` of the partition at `at` has been handed out, or is a gap. Never goes back.
    pub fn reach(&mut self, at: usize, next: i64) {
        let stand = &mut self.places[at].1;
        stand.next = stand.next.max(next);
    }

    /// All partitions with where they stand.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, Stand)> {
        self.places.iter().map(|(tp, stand)| (tp, *stand))
    }

    /// True if no partition is being read.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// True if every partition has been read to the end that it had when reading started.
    pub fn caught_up(&self) -> bool {
        self.places.iter().all(|(_, stand)| stand.next >= stand.end)
    }

    /// The steps since the last call; the next ones begin where these end.
    pub fn take_ranges(&mut self) -> PositionDelta {
        let moved = self.places.iter_mut().filter(|(_, stand)| stand.from != stand.next);
        moved
            .map(|(tp, stand)| {
                let range = OffsetRange { start: NextOffset(stand.from), end: NextOffset(stand.next) };
                stand.from = stand.next;
                (tp.clone(), range)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(topic, partition)
    }

    fn ranges(progress: &mut Progress) -> Vec<(String, i64, i64)> {
        progress.take_ranges().iter().map(|(tp, r)| (tp.to_string(), r.start.0, r.end.0)).collect()
    }

    fn started() -> Progress {
        let mut progress = Progress::default();
        progress.start(tp("a", 0), Stand { from: 5, next: 5, end: 9 });
        progress.start(tp("a", 3), Stand { from: 0, next: 0, end: 0 });
        progress.start(tp("b", 0), Stand { from: 2, next: 7, end: 7 });
        progress
    }

    #[test]
    fn ranges_are_contiguous_and_name_only_what_moved() {
        let mut progress = started();
        assert_eq!(ranges(&mut progress), [("b/0".to_owned(), 2, 7)], "a gap before the first record");
        let at = progress.find("a", 0).expect("read");
        progress.reach(at, 6);
        progress.reach(at, 9);
        progress.reach(at, 7);
        assert_eq!(ranges(&mut progress), [("a/0".to_owned(), 5, 9)]);
        assert_eq!(ranges(&mut progress), []);
        progress.reach(at, 11);
        assert_eq!(ranges(&mut progress), [("a/0".to_owned(), 9, 11)]);
    }

    #[test]
    fn it_finds_partitions_by_name_and_number() {
        let mut progress = started();
        assert_eq!(progress.find("a", 3), Some(1));
        assert_eq!(progress.find("a", 3), Some(1), "the same again");
        assert_eq!(progress.find("a", 1), None);
        assert_eq!(progress.find("a", 4), None);
        assert_eq!(progress.find("a", -1), None);
        assert_eq!(progress.find("c", 0), None);
        progress.stop(&tp("a", 0));
        assert_eq!(progress.find("a", 0), None);
        let at = progress.find("b", 0).expect("still read");
        assert_eq!(progress.at(at).next, 7);
    }

    #[test]
    fn it_is_caught_up_when_all_ends_are_reached() {
        let mut progress = started();
        assert!(!progress.caught_up());
        let at = progress.find("a", 0).expect("read");
        progress.reach(at, 8);
        assert!(!progress.caught_up());
        progress.reach(at, 12);
        assert!(progress.caught_up());
        assert!(Progress::default().caught_up(), "nothing to read is read");
    }
}
