//! What became of the rows of a batch, and what that took: plain numbers, added up as batches are committed.

use lakemill_decode::ControlKind;
use lakemill_model::Answer;
use serde::{Serialize, Serializer};

/// Control records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlCounts([u64; ControlKind::ALL.len()]);

impl ControlCounts {
    /// Adds one.
    pub fn add(&mut self, kind: ControlKind) {
        self.0[kind as usize] += 1;
    }

    /// Every kind's name and count.
    pub fn by_kind(&self) -> [(&'static str, u64); ControlKind::ALL.len()] {
        ControlKind::ALL.map(|kind| (kind.name(), self.0[kind as usize]))
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Serialize for ControlCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_kind())
    }
}

/// Rows by what became of them: `rows_in = rows_out + rows_filtered + rows_late + rows_dead`; and records: `records_read = rows_in +
/// records_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Change events read, broken ones included.
    pub rows_in: u64,
    /// Of them, those that at least one transform emitted.
    pub rows_out: u64,
    /// Those that no transform wanted.
    pub rows_filtered: u64,
    /// Those that came after the watermark and went to the `late` table.
    pub rows_late: u64,
    /// Those in the dead letters.
    pub rows_dead: u64,
    /// Rows written to sinks: one input row may make several, or none.
    pub rows_written: u64,
    /// Records read.
    pub records_read: u64,
    /// Of them, those that are no change events and belong to the stream: control records.
    pub records_control: u64,
    /// The control records by kind.
    pub control: ControlCounts,
}

/// What became of a record; of two fates the later one in this list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Control,
    Filtered,
    Out,
    Late,
    Dead,
}

impl Counts {
    /// Of the records of a batch.
    pub(crate) fn of_fates(fates: &[Fate]) -> Self {
        let mut counts = Self { records_read: fates.len() as u64, ..Self::default() };
        for fate in fates {
            match fate {
                Fate::Control => counts.records_control += 1,
                Fate::Filtered => counts.rows_filtered += 1,
                Fate::Out => counts.rows_out += 1,
                Fate::Late => counts.rows_late += 1,
                Fate::Dead => counts.rows_dead += 1,
            }
        }
        counts.rows_in = counts.rows_filtered + counts.rows_out + counts.rows_late + counts.rows_dead;
        counts
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.rows_filtered += other.rows_filtered;
        self.rows_late += other.rows_late;
        self.rows_dead += other.rows_dead;
        self.rows_written += other.rows_written;
        self.records_read += other.records_read;
        self.records_control += other.records_control;
        self.control.0.iter_mut().zip(other.control.0).for_each(|(sum, more)| *sum += more);
    }
}

/// What one transform made of a batch, and what that took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub rows_in: u64,
    pub rows_filtered: u64,
    pub rows_dead: u64,
    pub call_us: u64,
    /// Of any call of its component so far.
    pub memory_bytes_max: u64,
}

impl Seen {
    /// What a call has answered about so many rows.
    pub fn count(&mut self, rows: usize, answer: &Answer) {
        let mut dropped = vec![true; rows];
        let emitted = answer.emissions.iter().flat_map(|emission| &emission.rows);
        for &row in emitted.chain(answer.rejections.iter().map(|rejection| &rejection.row)) {
            dropped[row as usize] = false;
        }
        self.rows_filtered += dropped.into_iter().filter(|dropped| *dropped).count() as u64;
        self.rows_dead += answer.rejections.len() as u64;
    }
}

/// Where a worker's time went, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub decode_us: u64,
    pub transform_us: u64,
    pub project_us: u64,
    pub stage_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        let mut one = ControlCounts::default();
        ControlKind::ALL.into_iter().for_each(|kind| one.add(kind));
        one.add(ControlKind::Heartbeat);
        let mut counts = Counts { control: one, ..Counts::default() };
        counts += counts;
        assert_eq!(counts.control.total(), 14);
        let shown = serde_json::to_string(&counts.control).expect("plain data");
        assert_eq!(
            shown,
            r#"{"tombstone":2,"heartbeat":4,"transaction":2,"schema_change":2,"notification":2,"message":2}"#
        );
    }
}
