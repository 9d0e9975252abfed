//! How new code takes over: at once, after a shadow run beside the old code, or by way of a canary; and by what it is judged.
//! Pure: numbers in, a verdict out.

use std::collections::BTreeMap;

use lakemill_model::RawRecord;
use serde::Serialize;

/// How new code takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mode {
    /// With the next batch.
    #[default]
    AtOnce,
    /// It runs on the live batches beside the old code, and what it makes is compared and thrown away.
    Shadow,
    /// It gets some of 100 keys.
    Canary(u8),
}

/// What new code must keep within to take over, and beyond which it is taken back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Rows after which it takes over by itself; `None`: only by command.
    pub promote_after_rows: Option<u64>,
    /// Shadow: the share of rows that may be added, missing or changed, from 0 to 1; `None`: it is only reported, but
    /// code that takes over by itself must differ in nothing.
    pub diff_share_max: Option<f64>,
    /// The share of its rows that may be dead, from 0 to 1, beyond what the old code has.
    pub error_share_max: f64,
    /// How many times the old code's time per row it may take.
    pub slowdown_max: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { promote_after_rows: None, diff_share_max: None, error_share_max: 0.01, slowdown_max: 5.0 }
    }
}

/// Rows and time of one version in a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// Rows that it was called with.
    pub rows: u64,
    /// Of them, those that are dead.
    pub dead: u64,
    /// Calls that failed, or whose rows make no table.
    pub traps: u64,
    /// Microseconds in its calls.
    pub call_us: u64,
    /// The most memory that one of its calls had, in bytes.
    pub memory_bytes_max: u64,
}

/// What a shadow run or a canary came to so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrialReport {
    /// `shadow` or `canary`.
    pub mode: &'static str,
    /// How many of 100 keys a canary gets.
    pub percent: Option<u8>,
    /// SHA-256 of the new components.
    pub digests: Vec<String>,
    /// SHA-256 of their settings: `config`, `grants` and `limits` of each.
    pub settings: Vec<String>,
    /// SHA-256 of the components that make the tables.
    pub old_digests: Vec<String>,
    /// And of their settings.
    pub old_settings: Vec<String>,
    /// The keys of the settings that differ.
    pub settings_changed: Vec<String>,
    /// The code that makes the tables.
    pub old: Side,
    /// The code on trial.
    pub new: Side,
    /// Shadow: rows that the old code made and the new one was compared on.
    pub rows_compared: u64,
    /// Shadow: rows that it was too busy for.
    pub rows_skipped: u64,
    /// Shadow: output rows that only the new code makes.
    pub rows_added: u64,
    /// Shadow: output rows that only the old code makes.
    pub rows_missing: u64,
    /// Shadow: output rows that differ.
    pub rows_changed: u64,
    /// Shadow: by `output.column`, how many of them differ there.
    pub columns_changed: BTreeMap<String, u64>,
    /// Shadow: the first few differences.
    pub samples: Vec<Difference>,
    /// What became of it.
    pub outcome: Option<String>,
}

/// A row that the new code makes otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The output.
    pub output: String,
    /// Kafka partition of the record that it was made of.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// `added`, `missing` or `changed`.
    pub kind: &'static str,
    /// The columns that differ, or all of them: the old cell and the new one.
    pub columns: BTreeMap<String, [Option<String>; 2]>,
}

/// Differences that are shown, and how many of them in the same columns.
pub(crate) const SAMPLES_MAX: usize = 20;
pub(crate) const SAMPLES_ALIKE_MAX: usize = 3;

impl std::ops::AddAssign for Side {
    fn add_assign(&mut self, more: Self) {
        self.rows += more.rows;
        self.dead += more.dead;
        self.traps += more.traps;
        self.call_us += more.call_us;
        self.memory_bytes_max = self.memory_bytes_max.max(more.memory_bytes_max);
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The new code takes over.
    Promote,
    /// The old code stays, for this reason.
    RollBack(String),
}

/// Rows below which a share says nothing.
const ROWS_MIN: u64 = 200;

/// Time that slower code must have cost, in microseconds, before it is taken back for that.
const LOST_US_MIN: f64 = 250_000.0;

impl TrialReport {
    /// The share of compared rows that differ in any way.
    pub fn diff_share(&self) -> f64 {
        let differ = self.rows_added + self.rows_missing + self.rows_changed;
        differ as f64 / self.rows_compared.max(1) as f64
    }

    /// Adds what one more batch came to.
    pub(crate) fn add(&mut self, more: TrialReport) {
        self.old += more.old;
        self.new += more.new;
        self.rows_compared += more.rows_compared;
        self.rows_skipped += more.rows_skipped;
        self.rows_added += more.rows_added;
        self.rows_missing += more.rows_missing;
        self.rows_changed += more.rows_changed;
        for (column, rows) in more.columns_changed {
            *self.columns_changed.entry(column).or_default() += rows;
        }
        for difference in more.samples {
            self.sample(difference);
        }
    }

    /// Keeps a difference to show, if there are not enough like it.
    pub(crate) fn sample(&mut self, difference: Difference) {
        let Difference { output, kind, columns, .. } = &difference;
        let is_alike = |known: &&Difference| {
            known.output == *output && known.kind == *kind && known.columns.keys().eq(columns.keys())
        };
        let alike = self.samples.iter().filter(is_alike).count();
        if self.samples.len() < SAMPLES_MAX && alike < SAMPLES_ALIKE_MAX {
            self.samples.push(difference);
        }
    }

    /// What is to be done by the bounds; `None`: go on.
    pub(crate) fn judge(&self, bounds: &Bounds) -> Option<Verdict> {
        let roll_back = |why: String| Some(Verdict::RollBack(why));
        if self.new.traps > 0 {
            return roll_back(format!("{} of its calls failed", self.new.traps));
        }
        let share = |side: &Side| side.dead as f64 / side.rows.max(1) as f64;
        if self.new.rows >= ROWS_MIN {
            let (old, new) = (share(&self.old), share(&self.new));
            if new - old > bounds.error_share_max {
                return roll_back(format!(
                    "{:.1}% of its rows are dead, and {:.1}% of the old code's",
                    new * 1e2,
                    old * 1e2
                ));
            }
            let time = |side: &Side| side.call_us as f64 / side.rows.max(1) as f64;
            let (old, new) = (time(&self.old), time(&self.new));
            let lost_us = self.new.call_us as f64 - old * self.new.rows as f64;
            // Below this, the clock is coarser than the calls, or a busy machine stood still for a moment.
            if self.old.call_us > 10_000 && lost_us > LOST_US_MIN && new > old * bounds.slowdown_max {
                return roll_back(format!("it takes {new:.2} us a row, and the old code {old:.2}"));
            }
        }
        let differs = self.diff_share();
        if let Some(most) = bounds.diff_share_max.filter(|most| self.rows_compared >= ROWS_MIN && differs > *most) {
            return roll_back(format!("{:.2}% of the rows differ, and {:.2}% may", differs * 1e2, most * 1e2));
        }
        if bounds.promote_after_rows.is_none_or(|rows| self.new.rows < rows) {
            return None;
        }
        // Whether rows should differ is for somebody to say.
        (bounds.diff_share_max.is_some() || differs == 0.0).then_some(Verdict::Promote)
    }
}

/// Whether a record goes to the canary: the same for every record of a key, whoever asks. Records without a key, which nothing ties to each
/// other, go by their place.
pub(crate) fn is_canary(record: &RawRecord, key: Option<&[u8]>, percent: u8) -> bool {
    let hash = match key {
        Some(key) => crc32fast::hash(key),
        None => {
            let mut place = [0; 12];
            place[..4].copy_from_slice(&record.partition.to_be_bytes());
            place[4..].copy_from_slice(&record.offset.to_be_bytes());
            crc32fast::hash(&place)
        }
    };
    hash % 100 < u32::from(percent)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lakemill_model::{RawBatch, RecordRef};

    use super::*;

    fn report(rows: u64) -> TrialReport {
        let old = Side { rows, call_us: rows, ..Side::default() };
        TrialReport { old, new: old, rows_compared: rows, ..TrialReport::default() }
    }

    fn rolled_back(report: &TrialReport, bounds: &Bounds) -> String {
        match report.judge(bounds) {
            Some(Verdict::RollBack(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_worse_takes_over_when_it_has_seen_enough() {
        let bounds = Bounds { promote_after_rows: Some(1_000), ..Bounds::default() };
        assert_eq!(report(999).judge(&bounds), None);
        assert_eq!(report(1_000).judge(&bounds), Some(Verdict::Promote));
        assert_eq!(report(1_000).judge(&Bounds::default()), None, "only by command");
    }

    #[test]
    fn each_bound_takes_it_back() {
        let bounds = Bounds { promote_after_rows: Some(1), diff_share_max: Some(0.1), ..Bounds::default() };
        let with = |change: fn(&mut TrialReport)| {
            let mut report = report(100_000);
            change(&mut report);
            report
        };
        assert_eq!(rolled_back(&with(|r| r.new.traps = 1), &bounds), "1 of its calls failed");
        let dead = with(|r| r.new.dead = 2_000);
        assert_eq!(rolled_back(&dead, &bounds), "2.0% of its rows are dead, and 0.0% of the old code's");
        let slow = with(|r| r.new.call_us *= 6);
        assert_eq!(rolled_back(&slow, &bounds), "it takes 6.00 us a row, and the old code 1.00");
        let differs = with(|r| r.rows_changed = 10_001);
        assert_eq!(rolled_back(&differs, &bounds), "10.00% of the rows differ, and 10.00% may");
        let a_little = with(|r| r.rows_missing = 100);
        assert_eq!(a_little.judge(&bounds), Some(Verdict::Promote));
        let strict = Bounds { diff_share_max: None, ..bounds };
        assert_eq!(a_little.judge(&strict), None, "by command");
    }

    #[test]
    fn few_rows_are_no_share() {
        let mut report = report(100);
        report.new.dead = 100;
        assert_eq!(report.judge(&Bounds::default()), None);
    }

    /// Which of 10,000 records go to a canary, with keys or without.
    fn canaries(with_keys: bool, percent: u8) -> Vec<i64> {
        let mut batch = RawBatch::default();
        for offset in 0..10_000 {
            let key = format!("{{\"id\":{offset}}}");
            let key = with_keys.then_some(key.as_bytes());
            batch.push(RecordRef { topic: "t", partition: 0, offset, timestamp_ms: None, key, value: None });
        }
        let records = batch.records().iter();
        records.filter(|record| is_canary(record, batch.key(record), percent)).map(|record| record.offset).collect()
    }

    #[test]
    fn a_key_stays_on_its_side_and_sides_have_their_share() {
        for with_keys in [true, false] {
            let ten = canaries(with_keys, 10);
            assert!((800..1_200).contains(&ten.len()), "{}", ten.len());
            assert_eq!((canaries(with_keys, 0).len(), canaries(with_keys, 100).len()), (0, 10_000));
            let twenty = canaries(with_keys, 20);
            assert!(ten.iter().all(|offset| twenty.contains(offset)), "who is in at 10% is in at 20%");
        }
        let record = |partition, offset| RecordRef {
            topic: "t",
            partition,
            offset,
            timestamp_ms: None,
            key: Some(b"k"),
            value: None,
        };
        let mut batch = RawBatch::default();
        (0..1_000).for_each(|offset| batch.push(record(i32::from(offset % 2 == 0), offset)));
        let sides = batch.records().iter().map(|record| is_canary(record, batch.key(record), 50));
        assert_eq!(sides.collect::<BTreeSet<_>>().len(), 1, "a key is on one side");
    }
}
