//! How much of its batch an answer has the host copy. A guest names rows by their numbers, four bytes each: an answer within its own limit
//! can name a large row millions of times. Pure.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use lakemill_model::{Answer, Cells, ChangeBatch, Emission, TransformError};

/// What one answer may have the host copy, if it names rows more than once.
const COPIED_BYTES_MAX: u64 = 256 << 20;

/// What a row costs whatever is in it.
const ROW_BYTES: u64 = 64;

/// Refuses an answer that names rows so often that their copies for one output are more than [`COPIED_BYTES_MAX`]. `outputs` is how many
/// the component has: each row once to each of them is always allowed.
///
/// # Errors
/// [`TransformError::Limit`].
pub(crate) fn bounded(batch: &ChangeBatch, answer: &Answer, outputs: usize) -> Result<(), TransformError> {
    let mut named = vec![false; outputs];
    let mut once = |emission: &Emission| {
        !std::mem::replace(&mut named[emission.output], true) && emission.rows.is_sorted_by(|a, b| a < b)
    };
    if answer.emissions.iter().all(&mut once) {
        return Ok(());
    }
    let sizes = row_bytes(batch);
    let mut copied = vec![0u64; outputs];
    for emission in &answer.emissions {
        let bytes = emission.rows.iter().fold(0u64, |sum, row| sum.saturating_add(sizes[*row as usize]));
        copied[emission.output] = copied[emission.output].saturating_add(bytes);
    }
    let (most, all) = (copied.into_iter().max().unwrap_or(0), sizes.iter().sum());
    if most <= COPIED_BYTES_MAX.max(all) {
        return Ok(());
    }
    Err(TransformError::Limit {
        limit: format!("{} MiB of rows to copy", COPIED_BYTES_MAX >> 20),
        hint: format!("its answer names rows of {} MiB for one output: name each row fewer times", most >> 20),
        backtrace: None,
    })
}

/// About what the copy of each row takes.
fn row_bytes(batch: &ChangeBatch) -> Vec<u64> {
    let mut sizes = vec![ROW_BYTES; batch.len()];
    for image in [&batch.key, &batch.before, &batch.after] {
        for Cells { array, .. } in image.columns.iter().flatten() {
            let length: &dyn Fn(usize) -> i32 = match array.data_type() {
                DataType::Utf8 => &|row| array.as_string::<i32>().value_length(row),
                DataType::Binary => &|row| array.as_binary::<i32>().value_length(row),
                _ => &|_| 16,
            };
            for (row, size) in sizes.iter_mut().enumerate() {
                *size += u64::from(length(row).unsigned_abs());
            }
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BinaryArray, StringArray};
    use lakemill_model::{Envelope, ImageData, Op, RowSchema};

    use super::*;

    /// A small row, and one of 1 MiB.
    fn batch() -> ChangeBatch {
        let large = "x".repeat(1 << 20);
        let cells = Cells { array: Arc::new(StringArray::from(vec!["small", &large])), unchanged: None };
        ChangeBatch {
            schema: Arc::new(RowSchema::default()),
            key: ImageData::default(),
            before: ImageData::default(),
            after: ImageData { columns: vec![None, Some(cells)], present: None },
            envelope: Envelope {
                topic: "t".into(),
                ops: vec![Op::Create; 2],
                event_time_us: vec![None; 2],
                partitions: vec![0; 2],
                offsets: vec![0, 1],
                kafka_time_ms: vec![None; 2],
                positions: BinaryArray::from(vec![None::<&[u8]>; 2]),
                snapshots: vec![false; 2],
                records: vec![0, 1],
                origins: None,
            },
        }
    }

    /// Emissions: output and rows.
    fn says(emissions: Vec<(usize, Vec<u32>)>) -> Option<String> {
        let emission = |(output, rows)| Emission { output, rows, ops: None, columns: Vec::new() };
        let answer = Answer { emissions: emissions.into_iter().map(emission).collect(), rejections: Vec::new() };
        bounded(&batch(), &answer, 300).err().map(|error| error.reason())
    }

    #[test]
    fn a_row_may_be_named_again_and_again_as_long_as_it_is_not_too_much() {
        assert_eq!(says(vec![(0, vec![0, 1])]), None);
        assert_eq!(says(vec![(0, vec![1; 255])]), None, "255 MiB");
        assert_eq!(says(vec![(0, vec![0; 1_000_000])]), None, "small ones");
        let words = "the component went over its limit of 256 MiB of rows to copy: its answer names rows of 300 MiB for one output: \
                     name each row fewer times";
        assert_eq!(says(vec![(0, vec![1; 300])]).as_deref(), Some(words));
        assert_eq!(says(vec![(0, vec![0, 1]); 300]).as_deref(), Some(words), "by many emissions");
        assert!(says(vec![(0, vec![0; 16 << 20])]).is_some(), "small ones, too");
    }

    #[test]
    fn each_row_once_to_each_output_is_never_too_much() {
        assert_eq!(says((0..300).map(|output| (output, vec![0, 1])).collect()), None);
        assert_eq!(says((0..300).map(|output| (output, vec![1, 0])).collect()), None, "in whatever order");
    }
}
