//! What all workers of a pipeline share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_decode::Decoded;
use lakemill_model::{Stage, Watermarks};
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
    pub fn observe(&self, decoded: &Decoded, now_us: i64) {
        let mut watermarks = self.watermarks.lock().unwrap_or_else(PoisonError::into_inner);
        for (tp, event_time_us) in &decoded.event_time_us_max {
            watermarks.observe(tp, *event_time_us, now_us);
        }
    }
}
