//! Which tables are made for which rows, and which rows fit which tables.

use super::*;

fn rows(fields: &[(&str, DataType, bool)]) -> TableSchema {
    let fields = fields.iter().map(|(name, data_type, nullable)| Field::new(*name, *data_type, *nullable)).collect();
    TableSchema { fields, key: vec![] }
}

fn options(partition: &[&str]) -> TableOptions {
    let partition_columns = partition.iter().map(|name| (*name).to_owned()).collect();
    TableOptions { partition_columns, ..TableOptions::new("shop", "orders", "t") }
}

fn table(fields: &[(&str, DataType, bool)], partition: &[&str]) -> Shape {
    Shape::of_new_table(&rows(fields), &options(partition)).expect("a table")
}

fn column(name: &str, kind: Kind) -> Column {
    Column { name: name.into(), source: None, kind, nullable: true, stats: true }
}

const AMOUNT: DataType = DataType::Decimal { precision: 12, scale: 2 };

#[test]
fn order_is_free_and_missing_nullable_columns_are_null() {
    let table = table(
        &[("id", DataType::Int64, false), ("day", DataType::Date, true), ("note", DataType::Json, true)],
        &["day"],
    );
    let fit = table.fit(&rows(&[("day", DataType::Date, false), ("id", DataType::Int64, true)]), None).expect("fits");
    let places = |sources: &[crate::fit::Source]| {
        sources.iter().map(|s| (s.name.to_string(), s.at.map(|(at, _)| at))).collect::<Vec<_>>()
    };
    assert_eq!(places(&fit.data), [("id".to_owned(), Some(1)), ("note".to_owned(), None)]);
    assert_eq!(places(&fit.partition), [("day".to_owned(), Some(0))]);
}

#[test]
fn every_column_that_does_not_fit_is_named_with_what_to_do() {
    let mut table = table(
        &[
            ("id", DataType::Int64, false),
            ("total", AMOUNT, true),
            ("Note", DataType::Text, true),
            ("count", DataType::Int32, true),
        ],
        &[],
    );
    table.columns.push(column("tags", Kind::Other("array".into())));
    let error = table
        .fit(
            &rows(&[
                ("total", DataType::Float64, true),
                ("note", DataType::Text, true),
                ("tags", DataType::Json, true),
                ("extra", DataType::Boolean, true),
                ("count", DataType::Int64, true),
            ]),
            None,
        )
        .expect_err("must be refused");
    let phrases: Vec<&str> = error.split("; column ").collect();
    assert_eq!(
        phrases,
        [
            "column `total`: the table has it as decimal(12,2), the rows have it as double; give the sink a new `path` and declare the \
             column there, `columns: { total: text }`, which holds both",
            "`note`: the table calls it `Note`; give it that name in the transform's output",
            "`tags`: the table has it as array, the rows have it as string; convert it in the transform, or give the sink a new `path`",
            "`extra`: the table does not have it, the rows have it as boolean; add it to the table, let Lakemill add it (`schema: \
             additive`), or leave it out of the transform's output",
            "`count`: the table has it as integer, the rows have it as long; give the sink a new `path` and declare the column there, \
             `columns: { count: int64 }`, which holds both",
            "`id`: the table has it as long not null, the rows do not have it; add it to the transform's output, or make it nullable in \
             the table",
        ]
    );
}

#[test]
fn a_table_that_readers_could_not_use_is_not_made() {
    let refused = |fields: &[(&str, DataType, bool)], partition: &[&str]| {
        Shape::of_new_table(&rows(fields), &options(partition)).expect_err("must be refused")
    };
    let id = ("id", DataType::Int64, false);
    assert!(refused(&[("", DataType::Int64, true)], &[]).contains("no table can have a column of this name"));
    assert_eq!(
        refused(&[id, ("ID", DataType::Int64, true)], &[]),
        "columns `id` and `ID`: readers take them for one; rename one of them"
    );
    assert_eq!(
        refused(&[("a b", DataType::Int64, true), ("a,b", DataType::Int64, true)], &[]),
        "columns `a b` and `a,b`: both would be `a_b` in the table, which has no other name for them; rename one of them"
    );
    assert!(refused(&[id], &["day"]).contains("partition column `day`: the rows have only id"));
    assert!(refused(&[id, ("x", DataType::Float64, true)], &["x"]).contains("partition column `x`: float64"));
    assert!(refused(&[id], &["id"]).contains("no partition column"));
}

#[test]
fn names_that_delta_does_not_allow_are_replaced_and_found_again() {
    let named =
        [("first name", DataType::Text, true), ("id", DataType::Int64, false), ("by (day)", DataType::Date, true)];
    let shape = table(&named, &["by (day)"]);
    let names: Vec<&str> = shape.columns.iter().map(|column| &*column.name).collect();
    assert_eq!((names, &*shape.partition_columns[0]), (vec!["first_name", "id", "by__day_"], "by__day_"));
    let fit = shape.fit(&rows(&named), Some(&shape)).expect("the same rows");
    assert_eq!(fit.data[0].at.map(|(at, _)| at), Some(0));
    assert_eq!(shape.grown(&rows(&named), &options(&[])), Ok(None));
    // Another column that would get the name.
    let both = rows(&[
        ("first name", DataType::Text, true),
        ("first_name", DataType::Text, true),
        ("id", DataType::Int64, true),
    ]);
    let error = shape.fit(&both, Some(&shape)).expect_err("must be refused");
    assert_eq!(
        error,
        "column `first_name`: the table has `first_name` for the column `first name` of the rows; rename one of them"
    );
    // A table of somebody else's does not say what its column was called.
    let foreign = table(&[("first_name", DataType::Text, true), ("id", DataType::Int64, true)], &[]);
    foreign.fit(&rows(&[("first name", DataType::Text, true)]), Some(&foreign)).expect("the name is clear");
    let error = foreign.fit(&both, Some(&foreign)).expect_err("must be refused");
    assert!(
        error.contains("columns `first name` and `first_name`: both would be `first_name`")
            || error.contains("readers take them for one"),
        "{error}"
    );
}

#[test]
fn a_table_grows_by_what_rows_have_beyond_it_and_never_otherwise() {
    let shape = table(&[("id", DataType::Int64, false), ("Note", DataType::Text, true)], &[]);
    let more =
        rows(&[("id", DataType::Int64, false), ("phone", DataType::Text, false), ("at home", DataType::Boolean, true)]);
    let grown = shape.grown(&more, &options(&[])).expect("no clash").expect("two columns more");
    let names: Vec<(&str, bool)> = grown.columns.iter().map(|column| (&*column.name, column.nullable)).collect();
    assert_eq!(
        names,
        [("id", false), ("Note", true), ("phone", true), ("at_home", true)],
        "the rows before do not have them"
    );
    let fit = grown.fit(&more, Some(&shape)).expect("fits");
    let new: Vec<&str> = fit.staged.iter().filter(|column| column.is_new).map(|column| &*column.name).collect();
    assert_eq!(new, ["phone", "at_home"]);
    let strict = TableOptions { schema: SchemaPolicy::Strict, ..options(&[]) };
    assert_eq!(shape.grown(&more, &strict), Ok(None));
    // Readers would take them for one.
    let alike = rows(&[("id", DataType::Int64, false), ("note", DataType::Text, true)]);
    assert_eq!(shape.grown(&alike, &options(&[])), Ok(None));
    assert!(shape.fit(&alike, None).expect_err("must be refused").contains("the table calls it `Note`"));
    let declared = TableOptions { columns: [("phone".to_owned(), DataType::Int64)].into(), ..options(&[]) };
    let error = shape.grown(&more, &declared).expect_err("text is no number");
    assert!(
        error.starts_with("column `phone`: `columns` declares it as int64, and the rows have it as text"),
        "{error}"
    );
}

#[test]
fn a_table_that_is_not_made_yet_takes_the_wider_type() {
    let (int, long) = (DataType::Int32, DataType::Int64);
    let shape = table(&[("id", int, false), ("n", int, true), ("day", int, true)], &["day"]);
    let later = rows(&[("id", int, false), ("n", long, true), ("day", AMOUNT, true)]);
    let widened = shape.widened(&later, &options(&["day"])).expect("one is wider");
    let types: Vec<String> = widened.columns.iter().map(Column::type_name).collect();
    assert_eq!(types, ["integer", "long", "integer"], "no table is partitioned by a decimal");
    assert_eq!(widened.widened(&later, &options(&["day"])), None);
    let declared = TableOptions { columns: [("n".to_owned(), int)].into(), ..options(&[]) };
    assert_eq!(shape.widened(&later, &declared), None, "what is declared stays");
    let strict = TableOptions { schema: SchemaPolicy::Strict, ..options(&[]) };
    assert_eq!(shape.widened(&later, &strict), None);
    let other = rows(&[("n", DataType::Bytes, true)]);
    assert_eq!(shape.widened(&other, &options(&[])), None, "no type holds both");
}

#[test]
fn declared_types_are_those_of_a_new_table_and_must_be_those_of_an_old_one() {
    let wide = TableOptions {
        columns: [("n".to_owned(), DataType::Int64), ("later".to_owned(), DataType::Date)].into(),
        ..options(&[])
    };
    let schema = rows(&[("id", DataType::Int32, false), ("n", DataType::Int32, true)]);
    let shape = Shape::of_new_table(&schema, &wide).expect("a table");
    let types: Vec<String> =
        shape.columns.iter().map(|column| format!("{} {}", column.name, column.type_name())).collect();
    assert_eq!(types, ["id integer", "n long", "later date"]);
    for fits in [DataType::Int32, DataType::Int64] {
        shape.fit(&rows(&[("id", DataType::Int32, false), ("n", fits, true)]), Some(&shape)).expect("both fit");
    }
    assert_eq!(shape.contradicts(&wide.columns), None);
    let before = table(&[("id", DataType::Int32, false), ("n", DataType::Int32, true)], &[]);
    let differs = before.contradicts(&wide.columns).expect("it does");
    assert_eq!(differs, "has the column `n` as integer, and `columns` declares it as long");
}

#[test]
fn files_of_before_are_held_against_the_table_of_now() {
    let shape = table(&[("id", DataType::Int64, true), ("note", DataType::Text, true)], &[]);
    let more = rows(&[("id", DataType::Int64, true), ("note", DataType::Text, true), ("phone", DataType::Text, true)]);
    let grown = shape.grown(&more, &options(&[])).expect("no clash").expect("grown");
    let file = |shape: &Shape, own: &Shape| StagedFile {
        path: "x".into(),
        bytes: 1,
        rows: 1,
        partition_values: vec![],
        columns: shape.fit(&more, Some(own)).expect("fits").staged,
        stats: None,
        modified_ms: 0,
        made_by: vec![],
    };
    let files = [file(&grown, &shape)];
    assert_eq!(shape.with(&files), Ok(Some(grown.clone())));
    assert_eq!(grown.with(&files), Ok(None), "somebody was faster, alike");
    let changed = |change: &dyn Fn(&mut Shape)| {
        let mut other = grown.clone();
        change(&mut other);
        other.with(&files).expect_err("must be refused")
    };
    let number = Kind::Known(ColumnType::Own(DataType::Int32));
    assert_eq!(changed(&|other| other.columns[2].kind = number.clone()), "column `phone` is integer and was string");
    assert_eq!(changed(&|other| drop(other.columns.remove(1))), "column `note` is gone, or has another name");
    assert_eq!(changed(&|other| other.columns[2].name = "Phone".into()), "column `phone` is gone, or has another name");
    assert_eq!(changed(&|other| other.columns[0].nullable = false), "column `id` takes no nulls any more");
    assert_eq!(changed(&|other| other.partition_columns = vec!["note".into()]), "it is partitioned by other columns");
}

#[test]
fn a_table_partitioned_by_what_we_cannot_spell_takes_no_rows() {
    let by = |kind: Kind| Shape {
        columns: vec![column("p", kind), column("id", Kind::Known(ColumnType::Own(DataType::Int64)))],
        partition_columns: vec!["p".into()],
    };
    let schema = rows(&[("id", DataType::Int64, true)]);
    let double = Kind::Known(ColumnType::Own(DataType::Float64));
    for (kind, name) in [(double, "double"), (Kind::Other("variant".into()), "variant")] {
        let error = by(kind).fit(&schema, None).expect_err("must be refused");
        assert!(
            error.contains(&format!(
                "column `p`: the table is partitioned by it, which Lakemill does not write for {name}"
            )),
            "{error}"
        );
    }
    for kind in [ColumnType::Own(AMOUNT), ColumnType::Short, ColumnType::Byte, ColumnType::TimestampNtz] {
        by(Kind::Known(kind)).fit(&schema, None).expect("a table that others made so");
    }
}

#[test]
fn statistics_stop_after_32_data_columns() {
    let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), DataType::Int64, true)).collect();
    let table = table(&fields, &["c0"]);
    let with: Vec<_> = table.columns.iter().filter(|c| c.stats).map(|c| c.name.to_string()).collect();
    assert_eq!((with.first(), with.last()), (Some(&"c0".to_owned()), Some(&"c32".to_owned())));
}
