//! Which rows come too late: behind the watermark that their batch was planned under. Pure.

use lakemill_model::ChangeBatch;

/// How far a row is behind the watermark `low`, in microseconds; `None`: it is on time. Rows of a snapshot and rows without a time
/// never are.
pub(crate) fn behind_us(batch: &ChangeBatch, row: usize, low: i64) -> Option<i64> {
    let time = batch.envelope.event_time_us[row]?;
    (time < low && !batch.envelope.snapshots[row]).then(|| low - time)
}

/// The rows that are on time.
pub(crate) fn on_time(batch: &ChangeBatch, low: i64) -> Vec<u32> {
    (0..batch.len()).filter(|row| behind_us(batch, *row, low).is_none()).map(|row| row as u32).collect()
}
