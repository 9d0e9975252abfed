//! Rows that a table cannot take while it takes others of the same columns: a null where it allows none, a number that is too large for
//! it. Pure.
//!
//! A record of which a sink cannot take a row is a dead letter for that sink: none of its rows goes there. Other sinks get theirs, as
//! they do of a record that one of two transforms refuses. What is refused is written down before anything of the batch is committed,
//! since the table may be another by the time of a replay.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow_array::UInt32Array;
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use lakemill_model::{OutputRows, RawBatch, Refusal};
use lakemill_state::Unfit;

/// Rows for a sink, and the record of each.
pub(crate) struct Made {
    pub rows: OutputRows,
    pub records: Vec<u32>,
}

/// What sinks do not take: sink and record, and why.
#[derive(Debug, Default)]
pub(crate) struct Refused(BTreeMap<(usize, u32), String>);

impl Refused {
    /// What was refused when the batch was prepared before.
    pub fn known(unfit: &[Unfit], sink_names: &[Arc<str>], raw: &RawBatch) -> Self {
        let mut refused = BTreeMap::new();
        if unfit.is_empty() {
            return Self(refused);
        }
        let places: BTreeMap<(&str, i32, i64), u32> = raw
            .records()
            .iter()
            .zip(0..)
            .map(|(record, n)| ((&**raw.topic(record), record.partition, record.offset), n))
            .collect();
        for Unfit { sink, reason, topic, records } in unfit {
            let Some(sink) = sink_names.iter().position(|name| **name == **sink) else { continue };
            for (partition, offset) in records {
                if let Some(record) = places.get(&(topic.as_str(), *partition, *offset)) {
                    refused.insert((sink, *record), reason.clone());
                }
            }
        }
        Self(refused)
    }

    /// Adds what a sink refuses of `made`; the records that it was not known of, and why.
    pub fn add(&mut self, sink: usize, made: &Made, refusals: Vec<Refusal>) -> Vec<(u32, String)> {
        let mut added = Vec::new();
        for Refusal { row, reason } in refusals {
            let record = made.records[row as usize];
            if let Entry::Vacant(place) = self.0.entry((sink, record)) {
                added.push((record, place.insert(reason).clone()));
            }
        }
        added
    }

    /// The rows of `made` that the sink takes; `None` if that is none.
    pub fn without(&self, sink: usize, made: Made) -> Result<Option<Made>, ArrowError> {
        let refused = |record: &u32| self.0.contains_key(&(sink, *record));
        if !made.records.iter().any(refused) {
            return Ok(Some(made));
        }
        let keep = (0u32..).zip(&made.records).filter(|(_, record)| !refused(record)).map(|(row, _)| row);
        let keep = UInt32Array::from_iter_values(keep);
        if keep.is_empty() {
            return Ok(None);
        }
        let Made { rows: OutputRows { schema, batch, ops }, records } = made;
        let batch = take_record_batch(&batch, &keep)?;
        let ops = keep.values().iter().map(|&row| ops[row as usize]).collect();
        let records = keep.values().iter().map(|&row| records[row as usize]).collect();
        Ok(Some(Made { rows: OutputRows { schema, batch, ops }, records }))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Record by record, what all sinks say of it.
    pub fn reasons(&self) -> BTreeMap<u32, String> {
        let mut reasons: BTreeMap<u32, String> = BTreeMap::new();
        for ((_, record), reason) in &self.0 {
            let all = reasons.entry(*record).or_default();
            if !all.is_empty() {
                all.push_str("; ");
            }
            all.push_str(reason);
        }
        reasons
    }

    /// As the journal has it.
    pub fn unfit(&self, sink_names: &[Arc<str>], raw: &RawBatch) -> Vec<Unfit> {
        let mut unfit = BTreeMap::new();
        for ((sink, record), reason) in &self.0 {
            let record = &raw.records()[*record as usize];
            let topic: &str = raw.topic(record);
            let of = unfit.entry((*sink, reason, topic)).or_insert_with(|| Unfit {
                sink: sink_names[*sink].to_string(),
                reason: reason.clone(),
                topic: topic.to_owned(),
                records: Vec::new(),
            });
            of.records.push((record.partition, record.offset));
        }
        unfit.into_values().collect()
    }
}

/// Joins neighbours of one schema, so that a commit has few files.
pub(crate) fn joined(parts: impl Iterator<Item = OutputRows>) -> Vec<OutputRows> {
    let mut out: Vec<OutputRows> = Vec::new();
    let mut rest = parts.peekable();
    while let Some(first) = rest.next() {
        let mut run = vec![first];
        while let Some(next) = rest.next_if(|next| next.schema == run[0].schema) {
            run.push(next);
        }
        if run.len() == 1 {
            out.append(&mut run);
            continue;
        }
        let Ok(batch) = concat_batches(&run[0].batch.schema(), run.iter().map(|rows| &rows.batch)) else {
            // A column of all of them would be more than 2 GiB.
            out.append(&mut run);
            continue;
        };
        let schema = run[0].schema.clone();
        out.push(OutputRows { schema, batch, ops: run.into_iter().flat_map(|rows| rows.ops).collect() });
    }
    out
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int32Array, RecordBatch};
    use lakemill_model::{DataType, Field, Op, RecordRef, TableSchema};

    use super::*;

    fn raw() -> RawBatch {
        let mut raw = RawBatch::default();
        for offset in 0..4 {
            let (topic, partition, timestamp_ms) = ("t", 0, None);
            raw.push(RecordRef { topic, partition, offset, timestamp_ms, key: None, value: None });
        }
        raw
    }

    fn made(records: &[u32]) -> Made {
        let schema = Arc::new(TableSchema { fields: vec![Field::new("n", DataType::Int32, true)], key: vec![] });
        let cells: ArrayRef = Arc::new(Int32Array::from_iter_values(0..records.len() as i32));
        let batch = RecordBatch::try_new(schema.to_arrow(), vec![cells]).expect("rows");
        let ops = vec![Op::Create; records.len()];
        Made { rows: OutputRows { schema, batch, ops }, records: records.to_vec() }
    }

    fn refusal(row: u32, reason: &str) -> Refusal {
        Refusal { row, reason: reason.into() }
    }

    #[test]
    fn a_record_is_refused_with_all_of_its_rows_by_that_sink_alone() {
        let mut refused = Refused::default();
        let (first, second) = (made(&[0, 1, 1, 2]), made(&[1, 3]));
        assert_eq!(refused.add(0, &first, vec![refusal(2, "null")]), [(1, "null".to_owned())]);
        assert!(refused.add(0, &first, vec![refusal(1, "another")]).is_empty(), "it is known");
        let left = |sink, made| refused.without(sink, made).expect("rows").map(|made| made.records);
        assert_eq!(left(0, first), Some(vec![0, 2]));
        assert_eq!(left(0, second), Some(vec![3]));
        assert_eq!(left(0, made(&[1])), None);
        assert_eq!(left(1, made(&[1, 2])), Some(vec![1, 2]));
        assert_eq!(refused.reasons(), [(1, "null".to_owned())].into());
    }

    #[test]
    fn what_was_refused_is_known_again() {
        let (raw, names) = (raw(), ["a".into(), "b".into()]);
        let mut refused = Refused::default();
        refused.add(0, &made(&[0, 3]), vec![refusal(0, "x"), refusal(1, "x")]);
        refused.add(1, &made(&[3]), vec![refusal(0, "y")]);
        let unfit = refused.unfit(&names, &raw);
        assert_eq!(unfit.len(), 2, "one for each sink and reason");
        assert_eq!(unfit[0].records, [(0, 0), (0, 3)]);
        let known = Refused::known(&unfit, &names, &raw);
        assert_eq!(known.0, refused.0);
        assert_eq!(known.reasons()[&3], "x; y");
        assert!(Refused::known(&unfit, &["c".into()], &raw).is_empty(), "a sink that is gone refuses nothing");
    }
}
