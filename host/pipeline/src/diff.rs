//! What two versions make of the same rows, compared row by row and column by column. Pure.

use std::collections::{BTreeMap, HashMap};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use lakemill_model::{ChangeBatch, Emission};

use crate::error::PipelineError;
use crate::poison::Called;
use crate::project::project;
use crate::trial::{Difference, SAMPLES_ALIKE_MAX, SAMPLES_MAX, TrialReport};
use crate::version::Version;

/// Longer cells are cut.
const CELL_CHARS_MAX: usize = 120;

/// One transform's output rows of one call, and the input row of each.
struct Made {
    rows: RecordBatch,
    /// Partition, offset, and the number of the row among those of the same input row.
    of: Vec<(i32, i64, u32)>,
}

/// Adds what one transform of both versions made of the same rows of a topic to the report.
pub(crate) fn compare<'a>(
    index: usize,
    old: (&Version, impl Iterator<Item = &'a Called>),
    new: (&Version, impl Iterator<Item = &'a Called>),
    report: &mut TrialReport,
) -> Result<(), PipelineError> {
    let (old, new) = (made(index, old.0, old.1)?, made(index, new.0, new.1)?);
    let outputs: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for output in outputs {
        let none = Vec::new();
        compare_output(output, old.get(output).unwrap_or(&none), new.get(output).unwrap_or(&none), report);
    }
    Ok(())
}

/// By output.
fn made<'a>(
    index: usize,
    version: &Version,
    called: impl Iterator<Item = &'a Called>,
) -> Result<BTreeMap<String, Vec<Made>>, PipelineError> {
    let mut all: BTreeMap<String, Vec<Made>> = BTreeMap::new();
    let description = version.transforms[index].transform.description();
    for Called { batch, outcome } in called {
        let Ok(answer) = outcome else { continue };
        for emission in answer.emissions.iter().filter(|emission| !emission.rows.is_empty()) {
            let plan = version.plan(index, emission.output, batch)?;
            let invalid = |error: ArrowError| PipelineError::Invalid(error.to_string());
            let rows = project(batch, &plan, emission, None).map_err(invalid)?.batch;
            let name = description.outputs[emission.output].name.to_string();
            all.entry(name).or_default().push(Made { rows, of: places(batch, emission) });
        }
    }
    Ok(all)
}

fn places(batch: &ChangeBatch, emission: &Emission) -> Vec<(i32, i64, u32)> {
    let mut count: HashMap<u32, u32> = HashMap::new();
    let place = |row: &u32| {
        let nth = count.entry(*row).or_default();
        *nth += 1;
        (batch.envelope.partitions[*row as usize], batch.envelope.offsets[*row as usize], *nth - 1)
    };
    emission.rows.iter().map(place).collect()
}

fn compare_output(output: &str, old: &[Made], new: &[Made], report: &mut TrialReport) {
    report.rows_compared += old.iter().map(|made| made.of.len() as u64).sum::<u64>();
    if let ([one], [other]) = (old, new)
        && one.of == other.of
        && one.rows == other.rows
    {
        return;
    }
    let mut theirs: HashMap<(i32, i64, u32), (&RecordBatch, usize)> = HashMap::new();
    for made in new {
        theirs.extend(made.of.iter().enumerate().map(|(row, place)| (*place, (&made.rows, row))));
    }
    let sample = |report: &mut TrialReport, place: &(i32, i64, u32), kind, columns: BTreeMap<_, _>| {
        let (partition, offset, _) = *place;
        report.sample(Difference { output: output.to_owned(), partition, offset, kind, columns });
    };
    for made in old {
        for (row, place) in made.of.iter().enumerate() {
            match theirs.remove(place) {
                None => {
                    report.rows_missing += 1;
                    if report.samples.len() < SAMPLES_MAX {
                        sample(report, place, "missing", cells(&made.rows, row, 0));
                    }
                }
                Some((rows, other)) => {
                    let columns = changed(&made.rows, row, rows, other);
                    if columns.is_empty() {
                        continue;
                    }
                    report.rows_changed += 1;
                    for column in columns.keys() {
                        *report.columns_changed.entry(format!("{output}.{column}")).or_default() += 1;
                    }
                    sample(report, place, "changed", columns);
                }
            }
        }
    }
    report.rows_added += theirs.len() as u64;
    let mut added: Vec<_> = theirs.into_iter().collect();
    added.sort_by_key(|(place, _)| *place);
    for (place, (rows, row)) in added.iter().take(SAMPLES_ALIKE_MAX) {
        sample(report, place, "added", cells(rows, *row, 1));
    }
}

/// The columns in which two rows differ; one that only one of them has differs.
fn changed(old: &RecordBatch, row: usize, new: &RecordBatch, other: usize) -> BTreeMap<String, [Option<String>; 2]> {
    let mut columns = BTreeMap::new();
    for field in old.schema().fields() {
        let ours = old[field.name().as_str()].slice(row, 1);
        let theirs = new.column_by_name(field.name()).map(|cells| cells.slice(other, 1));
        if theirs.as_ref().is_none_or(|theirs| ours.to_data() != theirs.to_data()) {
            columns.insert(field.name().clone(), [cell(old, field.name(), row), cell(new, field.name(), other)]);
        }
    }
    for field in new.schema().fields() {
        if old.column_by_name(field.name()).is_none() {
            columns.insert(field.name().clone(), [None, cell(new, field.name(), other)]);
        }
    }
    columns
}

/// All cells of a row, as the old ones (0) or the new ones (1).
fn cells(rows: &RecordBatch, row: usize, side: usize) -> BTreeMap<String, [Option<String>; 2]> {
    let of = |field: &arrow_schema::FieldRef| {
        let mut both = [None, None];
        both[side] = cell(rows, field.name(), row);
        (field.name().clone(), both)
    };
    rows.schema().fields().iter().map(of).collect()
}

/// A cell for people; `None`: there is no such column, or it is null.
fn cell(rows: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let cells = rows.column_by_name(column)?;
    if cells.is_null(row) {
        return None;
    }
    let text = arrow_cast::display::array_value_to_string(cells, row).unwrap_or_else(|error| error.to_string());
    Some(match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn made(offsets: &[i64], totals: &[i64], extra: Option<&str>) -> Made {
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(offsets.to_vec()))),
            ("total", Arc::new(Int64Array::from(totals.to_vec()))),
        ];
        if let Some(text) = extra {
            columns.push(("note", Arc::new(StringArray::from(vec![text; offsets.len()]))));
        }
        let rows = RecordBatch::try_from_iter(columns).expect("a batch");
        Made { rows, of: offsets.iter().map(|offset| (0, *offset, 0)).collect() }
    }

    #[test]
    fn the_same_rows_in_other_pieces_are_the_same() {
        let mut report = TrialReport::default();
        let new = [made(&[1], &[10], None), made(&[2, 3], &[20, 30], None)];
        compare_output("out", &[made(&[1, 2, 3], &[10, 20, 30], None)], &new, &mut report);
        assert_eq!((report.rows_compared, report.diff_share()), (3, 0.0));
    }

    #[test]
    fn rows_are_added_missing_and_changed() {
        let mut report = TrialReport::default();
        compare_output(
            "out",
            &[made(&[1, 2, 3], &[10, 20, 30], None)],
            &[made(&[2, 3, 4], &[20, 31, 40], None)],
            &mut report,
        );
        assert_eq!((report.rows_added, report.rows_missing, report.rows_changed), (1, 1, 1));
        assert_eq!(report.columns_changed, [("out.total".to_owned(), 1)].into());
        let kinds: Vec<_> = report.samples.iter().map(|s| (s.kind, s.offset)).collect();
        assert_eq!(kinds, [("missing", 1), ("changed", 3), ("added", 4)]);
        let total = &report.samples[1].columns["total"];
        assert_eq!(*total, [Some("30".into()), Some("31".into())]);
    }

    #[test]
    fn a_new_column_is_a_change() {
        let mut report = TrialReport::default();
        compare_output(
            "out",
            &[made(&[1], &[10], None)],
            &[made(&[1], &[10], Some("é".repeat(200).as_str()))],
            &mut report,
        );
        assert_eq!(report.columns_changed, [("out.note".to_owned(), 1)].into());
        let shown = report.samples[0].columns["note"][1].clone().expect("a cell");
        assert_eq!(shown.chars().count(), CELL_CHARS_MAX + 1);
    }
}
