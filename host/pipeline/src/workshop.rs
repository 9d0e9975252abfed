//! What all workers of a pipeline share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_decode::Decoded;
use lakemill_model::{EventTime, RawRecord, Stage, TopicPartition, Watermarks};
use lakemill_state::Journal;

use crate::budget::Allowance;
use crate::control::Control;
use crate::job::Job;
use crate::progress::Progress;
use crate::tap::Taps;

/// What all workers of a pipeline share.
pub(crate) struct Workshop<'a> {
    /// By sink index; the dead letters are one of them.
    pub stages: Vec<Arc<dyn Stage>>,
    pub dead_letters: usize,
    /// Where late rows go; `None`: they are processed like the others.
    pub late: Option<usize>,
    pub watermarks: Arc<Mutex<Watermarks>>,
    /// Event times of batches that were decoded before their turn.
    pub observed: Mutex<InTurn<Vec<Observed>>>,
    pub journal: Arc<Mutex<Journal>>,
    pub taps: Arc<Taps>,
    /// By sink index.
    pub sink_names: Vec<Arc<str>>,
    pub budget: Allowance<'a>,
    pub progress: &'a Progress,
    pub control: &'a Control,
    /// The run comes to its end: reader or committer is gone.
    pub ended: &'a AtomicBool,
}

/// Event times of a partition, in its order, and the clock of the batch that has them, in microseconds since 1970.
#[derive(Debug)]
pub(crate) struct Observed {
    tp: TopicPartition,
    times: Vec<EventTime>,
    now_us: i64,
}

/// What several workers hand in as they come to it, and what is taken in the order of its numbers, from 0.
#[derive(Debug)]
pub(crate) struct InTurn<T> {
    next: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Default for InTurn<T> {
    fn default() -> Self {
        Self { next: 0, waiting: BTreeMap::new() }
    }
}

impl<T> InTurn<T> {
    /// Hands in the one with this number: what is to be taken now.
    fn hand_in(&mut self, number: u64, one: T) -> Vec<T> {
        if number >= self.next {
            self.waiting.insert(number, one);
        }
        let mut turn = Vec::new();
        while let Some(one) = self.waiting.remove(&self.next) {
            turn.push(one);
            self.next += 1;
        }
        turn
    }
}

impl Workshop<'_> {
    /// Adds the event times of a batch to the watermarks once those of all batches before it are there: which times are believed depends
    /// on what came before them.
    pub fn observe(&self, job: &Job, decoded: &Decoded) {
        let records = job.raw.records();
        let place = |(record, _): &(u32, i64)| {
            let RawRecord { topic, partition, .. } = records[*record as usize];
            (topic, partition)
        };
        let observed = |times: &[(u32, i64)]| {
            let time = |&(record, us): &(u32, i64)| {
                let kafka_ms = records[record as usize].timestamp_ms;
                EventTime { us, kafka_us: kafka_ms.map(|ms| ms.saturating_mul(1000)) }
            };
            Observed {
                tp: job.raw.topic_partition(&records[times[0].0 as usize]),
                times: times.iter().map(time).collect(),
                now_us: job.plan.now_us,
            }
        };
        let observed = decoded.event_times_us.chunk_by(|a, b| place(a) == place(b)).map(observed).collect();
        // Held until they are in, so that nobody with a later turn overtakes.
        let mut in_turn = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        for Observed { tp, times, now_us } in in_turn.hand_in(job.number, observed).into_iter().flatten() {
            let wrong = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner).observe(&tp, times, now_us);
            if wrong > 0 {
                self.progress.wrong_times(&tp, wrong);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_early_waits_for_its_turn() {
        let mut in_turn = InTurn::default();
        assert!(in_turn.hand_in(1, 'b').is_empty());
        assert!(in_turn.hand_in(3, 'd').is_empty());
        assert_eq!(in_turn.hand_in(0, 'a'), ['a', 'b']);
        assert_eq!(in_turn.hand_in(2, 'c'), ['c', 'd']);
        assert_eq!(in_turn.hand_in(4, 'e'), ['e']);
        assert!(in_turn.hand_in(4, 'e').is_empty(), "it was taken");
    }
}
