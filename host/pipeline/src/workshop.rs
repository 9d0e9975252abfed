//! What all workers of a pipeline share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_decode::Decoded;
use lakemill_model::{EventTime, RawBatch, RawRecord, Stage, Watermarks};
use lakemill_state::Journal;

use crate::budget::Allowance;
use crate::control::Control;
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

impl Workshop<'_> {
    /// Adds the event times of a batch to the watermarks.
    pub fn observe(&self, raw: &RawBatch, decoded: &Decoded, now_us: i64) {
        let records = raw.records();
        let place = |(record, _): &(u32, i64)| {
            let RawRecord { topic, partition, .. } = records[*record as usize];
            (topic, partition)
        };
        let mut wrong = Vec::new();
        let mut watermarks = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        for times in decoded.event_times_us.chunk_by(|a, b| place(a) == place(b)) {
            let tp = raw.topic_partition(&records[times[0].0 as usize]);
            let time = |&(record, us): &(u32, i64)| {
                let kafka_ms = records[record as usize].timestamp_ms;
                EventTime { us, kafka_us: kafka_ms.map(|ms| ms.saturating_mul(1000)) }
            };
            match watermarks.observe(&tp, times.iter().map(time), now_us) {
                0 => {}
                count => wrong.push((tp, count)),
            }
        }
        drop(watermarks);
        for (tp, count) in wrong {
            self.progress.wrong_times(&tp, count);
        }
    }
}
