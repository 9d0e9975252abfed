//! Dates and timestamps that a transform made, in the ranges of tables: what is out of them is treated as the source's values are. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lakemill_decode::OtherColumns;
use lakemill_model::range::bounded;
use lakemill_model::{Answer, OutOfRange, OutputSpec, Rejection};
use serde::Serialize;

/// Values that were out of range, by what they are of, a topic or an output, and column.
pub(crate) type Counts = BTreeMap<(Arc<str>, Arc<str>), u64>;

/// Dates and timestamps of a column that were out of range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnOutOfRange {
    /// The topic whose records have it, or the output that a transform made it for.
    pub of: String,
    /// Its name.
    pub column: String,
    /// How many values.
    pub values: u64,
}

/// Adds counts to those that are shown.
pub(crate) fn add(shown: &mut Vec<ColumnOutOfRange>, counts: &Counts) {
    for ((of, column), values) in counts {
        match shown.iter_mut().find(|known| *known.of == **of && *known.column == **column) {
            Some(known) => known.values += values,
            None => shown.push(ColumnOutOfRange { of: of.to_string(), column: column.to_string(), values: *values }),
        }
    }
}

/// An answer with every value in range: the same one, mostly.
pub(crate) fn ranged<'a>(
    answer: &'a Answer,
    outputs: &[OutputSpec],
    policy: OutOfRange,
    counts: &mut Counts,
) -> Cow<'a, Answer> {
    let mut ranged = Cow::Borrowed(answer);
    let mut dead: BTreeMap<u32, String> = BTreeMap::new();
    for (place, emission) in answer.emissions.iter().enumerate() {
        let output = &outputs[emission.output];
        for ((n, cells), field) in emission.columns.iter().enumerate().zip(output.made()) {
            let Some(bounded) = bounded(&cells.array, field.data_type, policy) else { continue };
            if policy == OutOfRange::Dead {
                let reason = |row: &u32| (emission.rows[*row as usize], out_of_range(&output.name, &field.name));
                dead.extend(bounded.rows.iter().map(reason));
            } else {
                *counts.entry((output.name.clone(), field.name.clone())).or_default() += bounded.rows.len() as u64;
                ranged.to_mut().emissions[place].columns[n].array = bounded.array;
            }
        }
    }
    if !dead.is_empty() {
        let ranged = ranged.to_mut();
        let rows: BTreeSet<u32> = dead.keys().copied().collect();
        ranged.emissions.iter_mut().for_each(|emission| without(emission, &rows));
        ranged.rejections.extend(dead.into_iter().map(|(row, reason)| Rejection { row, reason }));
    }
    ranged
}

fn out_of_range(output: &str, column: &str) -> String {
    format!(
        "the transform made a value for column {column} of output {output} that is out of range: dates and timestamps are of the years 1 \
         to 9999; `source.out_of_range` may be clamp or null instead"
    )
}

/// Leaves out what an emission makes of input rows.
fn without(emission: &mut lakemill_model::Emission, dead: &BTreeSet<u32>) {
    let kept: Vec<u32> = (0..).zip(&emission.rows).filter(|(_, row)| !dead.contains(row)).map(|(n, _)| n).collect();
    if kept.len() == emission.rows.len() {
        return;
    }
    let pick = |n: &u32| *n as usize;
    emission.rows = kept.iter().map(|n| emission.rows[pick(n)]).collect();
    emission.ops = emission.ops.take().map(|ops| kept.iter().map(|n| ops[pick(n)]).collect());
    emission.columns.iter_mut().for_each(|cells| *cells = cells.select(&kept));
}

/// Says which topics' changes have other columns than the declared ones.
pub(crate) fn tell(others: &[OtherColumns]) {
    for other in others {
        tracing::warn!(topic = %other.topic, "{}", other_columns(other));
    }
}

fn other_columns(other: &OtherColumns) -> String {
    let list = |names: &[Arc<str>]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let missing = other.missing.iter().map(|name| {
        let near = other.undeclared.iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
        match near.min().filter(|(distance, _)| *distance <= 2.max(name.chars().count() / 3)) {
            Some((_, near)) => format!("`{name}` (did you mean `{near}`?)"),
            None => format!("`{name}`"),
        }
    });
    let missing: Vec<String> = missing.collect();
    let mut said = Vec::new();
    if !missing.is_empty() {
        said.push(format!("declared and in none of them, so null: {}", missing.join(", ")));
    }
    if !other.undeclared.is_empty() {
        said.push(format!("in them and not declared, so left out: {}", list(&other.undeclared)));
    }
    format!("the first {} changes have other columns than `source.schema`: {}", other.changes, said.join("; "))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Date32Type;
    use arrow_array::{Array, Date32Array, Int32Array};
    use lakemill_model::range::{DATE_MAX, DATE_MIN};
    use lakemill_model::{Cells, DataType, Emission, Field, OutputColumn};

    use super::*;

    fn outputs() -> Vec<OutputSpec> {
        let made = |name: &str, data_type| OutputColumn::Made(Field::new(name, data_type, true));
        let columns = vec![made("n", DataType::Int32), made("due", DataType::Date)];
        vec![OutputSpec { name: "bills".into(), key: vec![], columns }]
    }

    /// Output rows of the input rows 0, 0 and 1.
    fn answer(due: [i32; 3]) -> Answer {
        let cells = |array: arrow_array::ArrayRef| Cells { array, unchanged: None };
        let columns =
            vec![cells(Arc::new(Int32Array::from(vec![1, 2, 3]))), cells(Arc::new(Date32Array::from(due.to_vec())))];
        Answer { emissions: vec![Emission { output: 0, rows: vec![0, 0, 1], ops: None, columns }], rejections: vec![] }
    }

    fn due(answer: &Answer) -> Vec<Option<i32>> {
        answer.emissions[0].columns[1].array.as_primitive::<Date32Type>().iter().collect()
    }

    #[test]
    fn what_a_transform_makes_is_in_range_and_counted() {
        let sound = answer([0, 1, 2]);
        let mut counts = Counts::new();
        assert!(matches!(ranged(&sound, &outputs(), OutOfRange::Clamp, &mut counts), Cow::Borrowed(_)));
        assert!(counts.is_empty());
        let beyond = answer([i32::MAX, 5, i32::MIN]);
        let ours = ranged(&beyond, &outputs(), OutOfRange::Clamp, &mut counts);
        assert_eq!(due(&ours), [Some(DATE_MAX), Some(5), Some(DATE_MIN)]);
        let ours = ranged(&beyond, &outputs(), OutOfRange::Null, &mut counts);
        assert_eq!(due(&ours), [None, Some(5), None]);
        let mut shown = vec![ColumnOutOfRange { of: "bills".into(), column: "due".into(), values: 1 }];
        add(&mut shown, &counts);
        assert_eq!(shown, [ColumnOutOfRange { of: "bills".into(), column: "due".into(), values: 5 }]);
    }

    #[test]
    fn a_record_is_dead_with_all_its_rows_if_the_policy_says_so() {
        let mut counts = Counts::new();
        let beyond = answer([i32::MAX, 5, 6]);
        let ours = ranged(&beyond, &outputs(), OutOfRange::Dead, &mut counts);
        assert_eq!((due(&ours), &ours.emissions[0].rows), (vec![Some(6)], &vec![1]));
        assert_eq!(ours.emissions[0].columns[0].array.len(), 1);
        assert_eq!(ours.rejections.len(), 1);
        assert!(ours.rejections[0].reason.contains("column due of output bills"), "{:?}", ours.rejections);
        assert!(counts.is_empty());
    }

    #[test]
    fn other_columns_are_said_with_what_may_have_been_meant() {
        let names = |list: &[&str]| list.iter().map(|&name| name.into()).collect();
        let said = |missing: &[&str], undeclared: &[&str]| {
            other_columns(&OtherColumns {
                topic: "t".into(),
                changes: 7,
                missing: names(missing),
                undeclared: names(undeclared),
            })
        };
        assert_eq!(
            said(&["totl", "zip"], &["total", "country"]),
            "the first 7 changes have other columns than `source.schema`: declared and in none of them, so null: `totl` (did you mean \
             `total`?), `zip`; in them and not declared, so left out: `total`, `country`"
        );
        assert!(said(&[], &["note"]).ends_with("`source.schema`: in them and not declared, so left out: `note`"));
    }
}
