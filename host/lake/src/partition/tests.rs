//! Partition values and folder names: what must read back, and what must never be one name.

use arrow_array::{Date32Array, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use lakemill_model::{Field, TableSchema};

use super::*;
use crate::shape::Shape;

fn batch(columns: Vec<(Field, Arc<dyn Array>)>) -> (TableSchema, RecordBatch) {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let schema = TableSchema { fields, key: vec![] };
    let batch = RecordBatch::try_new(schema.to_arrow(), arrays).expect("a batch");
    (schema, batch)
}

/// Folder, values, rows.
type Found = (String, Vec<Option<String>>, Vec<u32>);

fn parts(columns: Vec<(Field, Arc<dyn Array>)>, by: &[&str]) -> Result<Vec<Found>, String> {
    let (schema, batch) = batch(columns);
    let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
    // Any type: a table that exists may be partitioned as we would not make it.
    let shape = Shape::of_fields(&schema.fields, by.iter().map(|name| Arc::from(&**name)).collect());
    let fit = shape.fit(&schema, Some(&shape))?;
    let cells = fit.fitted(&batch)?.partition;
    let parts = split(&fit.partition, &cells, batch.num_rows());
    Ok(parts
        .into_iter()
        .map(|part| {
            let folder = part.folder();
            let rows = part.rows.map_or_else(Vec::new, |rows| rows.values().to_vec());
            (folder, part.values.into_iter().map(|(_, value)| value).collect(), rows)
        })
        .collect())
}

fn ids(rows: i32) -> (Field, Arc<dyn Array>) {
    (Field::new("id", DataType::Int32, false), Arc::new(Int32Array::from_iter_values(0..rows)))
}

fn text(name: &str, cells: &[Option<&str>]) -> (Field, Arc<dyn Array>) {
    (Field::new(name, DataType::Text, true), Arc::new(StringArray::from(cells.to_vec())))
}

#[test]
fn folders_hold_only_plain_letters_and_stay_apart() {
    let cells = [
        Some("eu"),
        None,
        Some("a/b"),
        Some("a=b"),
        Some("a b"),
        Some("100%"),
        Some("ü"),
        Some(""),
        Some("a%2Fb"),
        Some(".."),
        Some("__HIVE_default_partition__"),
        Some("eu"),
        Some("\u{1F980}"),
        Some("a:b*?\"<>|\n"),
    ];
    let found = parts(vec![ids(14), text("p", &cells)], &["p"]).expect("parts");
    let folders: Vec<_> = found.iter().map(|(folder, ..)| folder.as_str()).collect();
    assert_eq!(
        folders,
        [
            "p=eu",
            "p=__HIVE_DEFAULT_PARTITION__",
            "p=a%2Fb",
            "p=a%3Db",
            "p=a%20b",
            "p=100%25",
            "p=%C3%BC",
            "p=a%252Fb",
            "p=%2E%2E",
            "p=__HIVE_default_partition__",
            "p=%F0%9F%A6%80",
            "p=a%3Ab%2A%3F%22%3C%3E%7C%0A",
        ]
    );
    assert_eq!(found[0].2, [0, 11], "rows of one value come together in their order");
    assert_eq!((&found[1].1, &found[1].2), (&vec![None], &vec![1, 7]), "the empty text is null");
    assert_eq!(found[10].1, [Some("\u{1F980}".to_owned())]);
}

#[test]
fn a_value_that_readers_take_for_null_is_refused_and_names_stand_as_they_are() {
    let refused =
        parts(vec![ids(1), text("p", &[Some("__HIVE_DEFAULT_PARTITION__")])], &["p"]).expect_err("is null to some");
    assert!(refused.contains("polars and Hive read as null"), "{refused}");
    let found = parts(vec![ids(1), text("größe", &[Some("ü")])], &["größe"]).expect("parts");
    assert_eq!(found[0].0, "größe=%C3%BC");
}

#[test]
fn values_of_two_columns_do_not_run_together() {
    let found = parts(
        vec![ids(3), text("a", &[Some("x"), Some("xy"), Some("x")]), text("b", &[Some("yz"), Some("z"), None])],
        &["b", "a"],
    )
    .expect("parts");
    let folders: Vec<_> = found.iter().map(|(folder, ..)| folder.as_str()).collect();
    assert_eq!(folders, ["b=yz/a=x", "b=z/a=xy", "b=__HIVE_DEFAULT_PARTITION__/a=x"]);
}

#[test]
fn every_type_is_written_as_delta_reads_it() {
    let decimal = DataType::Decimal { precision: 5, scale: 2 };
    let cells: Vec<(Field, Arc<dyn Array>)> = vec![
        ids(2),
        (Field::new("d", DataType::Date, true), Arc::new(Date32Array::from(vec![-1, 20_454]))),
        (
            Field::new("n", decimal, true),
            Arc::new(Decimal128Array::from(vec![-5, 12_340]).with_precision_and_scale(5, 2).expect("fits")),
        ),
        (
            Field::new("t", DataType::Timestamp, true),
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 1_767_225_600_000_001]).with_timezone("UTC")),
        ),
        (Field::new("b", DataType::Boolean, true), Arc::new(arrow_array::BooleanArray::from(vec![true, false]))),
    ];
    let found = parts(cells, &["d", "n", "t", "b"]).expect("parts");
    let values: Vec<Vec<&str>> =
        found.iter().map(|part| part.1.iter().flatten().map(String::as_str).collect()).collect();
    assert_eq!(values[0], ["1969-12-31", "-0.05", "1969-12-31T23:59:59.999999Z", "true"]);
    assert_eq!(values[1], ["2026-01-01", "123.40", "2026-01-01T00:00:00.000001Z", "false"]);
    assert!(found[1].0.contains("t=2026-01-01T00%3A00%3A00.000001Z"), "{}", found[1].0);
}

#[test]
fn a_value_that_is_too_long_for_a_folder_is_refused() {
    let fits = "x".repeat(253);
    let found = parts(vec![ids(1), text("p", &[Some(&fits)])], &["p"]).expect("parts");
    assert_eq!(found[0].0.len(), 255);
    let long = "ü".repeat(100);
    assert_eq!(
        parts(vec![ids(1), text("p", &[Some(&long)])], &["p"]).expect_err("must be refused"),
        "1 of 1 rows have no place in it: partition column `p`: the value that begins with `üüüüüüüüüüüüüüüüüüüü` would make a folder's name of 602 bytes, and 255 is \
         the most; partition by something shorter"
    );
}

#[test]
fn null_in_a_partition_column_that_must_not_be_null_is_refused() {
    let p = (Field::new("p", DataType::Text, false), Arc::new(StringArray::from(vec!["a", ""])) as Arc<dyn Array>);
    let error = parts(vec![ids(2), p], &["p"]).expect_err("must be refused");
    assert!(error.contains("column `p` is empty, which is null for a partition column"), "{error}");
}

#[test]
fn dates_and_times_of_any_size_become_values_that_readers_can_read() {
    let days: Vec<i32> = vec![i32::MIN, -719_163, -719_162, 0, 2_932_896, 2_932_897, i32::MAX];
    let times: Vec<i64> = vec![i64::MIN, -62_135_596_800_000_001, -1, 0, 1, 253_402_300_800_000_000, i64::MAX];
    let found = parts(
        vec![
            ids(7),
            (Field::new("d", DataType::Date, true), Arc::new(Date32Array::from(days))),
            (
                Field::new("t", DataType::Timestamp, true),
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            ),
        ],
        &["d", "t"],
    )
    .expect("parts");
    let values = |n: usize| found.iter().map(|part| part.1[n].as_deref().expect("no null")).collect::<Vec<_>>();
    // Rows of one folder come together: the first two, and the last two.
    assert_eq!(values(0), ["0001-01-01", "0001-01-01", "1970-01-01", "9999-12-31", "9999-12-31"]);
    assert_eq!(values(1)[0], "0001-01-01T00:00:00.000000Z");
    assert_eq!(values(1)[4], "9999-12-31T23:59:59.999999Z");
}

#[test]
fn dates_agree_with_the_calendar() {
    // Day numbers from `date -ud DATE +%s` divided by 86,400.
    let known = [
        (0, "1970-01-01"),
        (-719_162, "0001-01-01"),
        (2_932_896, "9999-12-31"),
        (11_016, "2000-02-29"),
        (11_017, "2000-03-01"),
        (-25_509, "1900-02-28"),
        (-25_508, "1900-03-01"),
        (19_782, "2024-02-29"),
        (-1, "1969-12-31"),
        (-719_528, "0000-01-01"),
    ];
    for (days, expected) in known {
        let mut text = String::new();
        write_date(days, &mut text);
        assert_eq!(text, expected, "day {days}");
    }
}
