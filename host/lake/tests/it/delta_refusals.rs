//! Tables and rows that are refused, word by word; and foreign tables that are not.

use arrow_array::{ArrayRef, Int32Array, Int64Array, StringArray};
use lakemill_lake::{DeltaSink, TableOptions};
use lakemill_model::{CheckpointId, CommitOutcome, DataType, Disposition, Field, Sink, SinkError};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::common::*;

fn plain_protocol() -> Value {
    json!({"minReaderVersion": 1, "minWriterVersion": 2})
}

#[test]
fn a_foreign_table_takes_rows_that_fit() {
    let folder = Folder::new();
    let tags = json!({"name": "tags", "nullable": true, "metadata": {},
        "type": {"type": "array", "elementType": "string", "containsNull": true}});
    let fields =
        json!([field("note", "string", true), tags, field("id", "long", false), field("extra", "double", true)]);
    let protocol = json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors", "invariants", "appendOnly", "changeDataFeed"]});
    let configuration = json!({"delta.appendOnly": "true", "delta.enableChangeDataFeed": "true", "delta.enableDeletionVectors": "true"});
    foreign_table(&folder.table(), &fields, &protocol, &configuration, &[]);
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 5));
    assert_eq!(sink.commit(staged, &step(0, 0, 5, 1)).expect("committed"), CommitOutcome::Committed(Some(1)));
    assert_eq!(ids(&folder.table()), [0, 1, 2, 3, 4]);
    let file = data_file(&folder.table(), &adds(&folder.table())[0]);
    let columns: Vec<_> =
        read_parquet(&file)[0].schema().fields().iter().map(|f| (f.name().clone(), f.is_nullable())).collect();
    assert_eq!(
        columns,
        [("note".to_owned(), true), ("id".to_owned(), false), ("extra".to_owned(), true)],
        "the table's order"
    );
}

#[test]
fn rows_that_do_not_fit_are_refused_before_a_file_is_written() {
    let folder = Folder::new();
    foreign_table(
        &folder.table(),
        &json!([field("id", "integer", true), field("note", "string", true), field("must", "date", false)]),
        &plain_protocol(),
        &json!({}),
        &[],
    );
    let sink = folder.sink();
    let error = sink.stage().stage(CheckpointId(1), rows(0, 5)).expect_err("must be refused");
    assert_eq!(
        error.to_string(),
        "sink orders: the rows do not fit the table: column `id`: the table has it as integer, the rows have it as long; give the sink a \
         new `path` and declare the column there, `columns: { id: int64 }`, which holds both; column `must`: the table has it as date not null, the rows do not have it; add it to the \
         transform's output, or make it nullable in the table"
    );
    let names: Vec<_> =
        std::fs::read_dir(folder.table()).expect("a folder").map(|e| e.expect("a file").file_name()).collect();
    assert_eq!(names, ["_delta_log"]);
}

#[test]
fn a_null_where_the_table_allows_none_is_refused() {
    let folder = Folder::new();
    foreign_table(&folder.table(), &json!([field("id", "long", false)]), &plain_protocol(), &json!({}), &[]);
    let sink = folder.sink();
    let column = |cells: Vec<Option<i64>>| -> Vec<(Field, ArrayRef)> {
        vec![(Field::new("id", DataType::Int64, true), Arc::new(Int64Array::from(cells)))]
    };
    let error = sink.stage().stage(CheckpointId(1), rows_of(column(vec![Some(1), None]))).expect_err("must be refused");
    assert!(
        matches!(&error, SinkError::Schema { reason, .. } if reason.contains("column `id`") && reason.contains("1 of 2 rows")),
        "{error}"
    );
    sink.stage().stage(CheckpointId(1), rows_of(column(vec![Some(1)]))).expect("no null is there");
}

#[test]
fn tables_that_must_not_be_written_are_refused_at_the_start() {
    let refused = |protocol: Value, configuration: Value, metadata: Value| {
        let folder = Folder::new();
        let mut id = field("id", "long", true);
        id["metadata"] = metadata;
        foreign_table(&folder.table(), &json!([id]), &protocol, &configuration, &[]);
        match DeltaSink::open(folder.options()) {
            Err(error @ SinkError::Unsupported { .. }) => {
                error.to_string().replace(&folder.table().display().to_string(), "TABLE")
            }
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("it was opened"),
        }
    };
    assert_eq!(
        refused(plain_protocol(), json!({"delta.setTransactionRetentionDuration": "interval 7 days"}), json!({})),
        "sink orders: Lakemill must not append to TABLE: delta.setTransactionRetentionDuration is interval 7 days: the positions that \
         Lakemill keeps in the table would expire, and rows be written twice; unset it"
    );
    let seven = |feature: &str| json!({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [feature]});
    assert!(
        refused(seven("rowTracking"), json!({}), json!({}))
            .contains("its writer feature `rowTracking` is not supported")
    );
    assert!(refused(seven("inCommitTimestamp"), json!({}), json!({})).contains("`inCommitTimestamp`"));
    let invariant = json!({"delta.invariants": "{\"expression\":{\"expression\":\"id > 3\"}}"});
    assert!(refused(plain_protocol(), json!({}), invariant).contains("column `id` has an invariant"));
    let generated = json!({"delta.generationExpression": "1 + 1"});
    let four = json!({"minReaderVersion": 1, "minWriterVersion": 4});
    assert!(refused(four, json!({}), generated).contains("column `id` is generated"));
    let three = json!({"minReaderVersion": 1, "minWriterVersion": 3});
    assert!(
        refused(three, json!({"delta.constraints.positive": "id > 0"}), json!({}))
            .contains("check constraint `positive`")
    );
    let five = json!({"minReaderVersion": 2, "minWriterVersion": 5});
    let mapped = json!({"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "c1"});
    let mapping = json!({"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"});
    assert!(refused(five, mapping, mapped).contains("column mapping by name is not supported"));
}

#[test]
fn partition_columns_are_the_tables_own() {
    let folder = Folder::new();
    let fields = json!([field("id", "long", true), field("note", "string", true)]);
    foreign_table(&folder.table(), &fields, &plain_protocol(), &json!({}), &["note"]);
    let open = |columns: &[&str]| {
        let partition_columns = columns.iter().map(|c| (*c).to_owned()).collect();
        DeltaSink::open(TableOptions { partition_columns, ..folder.options() })
    };
    let Err(error) = open(&["id"]) else { panic!("it was opened") };
    assert!(
        error.to_string().contains("is partitioned by note, the pipeline wants id; leave the partition columns out"),
        "{error}"
    );
    open(&["note"]).expect("the same");
    let mut sink = open(&[]).expect("none named");
    let staged = stage(&sink, rows(0, 6));
    sink.commit(staged, &step(0, 0, 6, 1)).expect("committed");
    assert_eq!(adds(&folder.table()).len(), 5, "four notes and null");
}

#[test]
fn a_table_that_came_about_meanwhile_must_take_what_was_staged() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 5));
    foreign_table(&folder.table(), &json!([field("id", "binary", true)]), &plain_protocol(), &json!({}), &[]);
    let error = sink.commit(staged, &step(0, 0, 5, 1)).expect_err("must be refused");
    // Staged anew, they might fit: a run that begins again tries that.
    assert_eq!(error.disposition(), Disposition::Retry, "{error}");
    assert!(error.to_string().contains("column `id` is binary and was long; they are made anew"), "{error}");
    let error = sink.stage().stage(CheckpointId(1), rows(0, 5)).expect_err("must be refused");
    assert!(error.to_string().contains("column `id`: the table has it as binary, the rows have it as long"), "{error}");
    assert_eq!(log(&folder.table()).len(), 1);
}

#[test]
fn columns_that_somebody_adds_later_are_null_in_our_rows() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    let staged = stage(&sink, rows(0, 2));
    sink.commit(staged, &step(0, 0, 2, 1)).expect("committed");
    let before = stage(&sink, rows(2, 4));
    // ALTER TABLE ADD COLUMN, as Spark writes it.
    let mut metadata =
        log(&folder.table())[0].iter().find_map(|action| action.get("metaData").cloned()).expect("metadata");
    let fields = json!([field("id", "long", false), field("note", "string", true), field("later", "integer", true)]);
    metadata["schemaString"] = json!({"type": "struct", "fields": fields}).to_string().into();
    let entry = json!({"metaData": metadata}).to_string();
    std::fs::write(folder.table().join("_delta_log/00000000000000000001.json"), entry).expect("written");
    sink.commit(before, &step(0, 2, 4, 1)).expect("the old rows still fit");
    let column = |n: i32| -> (Field, ArrayRef) {
        (Field::new("later", DataType::Int32, true), Arc::new(Int32Array::from(vec![n])))
    };
    let id: (Field, ArrayRef) = (Field::new("id", DataType::Int64, true), Arc::new(Int64Array::from(vec![4])));
    let staged = stage(&sink, rows_of(vec![column(7), id]));
    sink.commit(staged, &step(0, 4, 5, 1)).expect("committed");
    assert_eq!(ids(&folder.table()), [0, 1, 2, 3, 4]);
}

#[test]
fn a_table_that_cannot_be_is_not_made() {
    let folder = Folder::new();
    let sink = folder.sink();
    let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let rows = rows_of(vec![
        (Field::new("customer name", DataType::Text, true), column.clone()),
        (Field::new("customer,name", DataType::Text, true), column),
    ]);
    let error = sink.stage().stage(CheckpointId(1), rows).expect_err("must be refused");
    assert_eq!(
        error.to_string(),
        "sink orders: the rows do not fit the table: columns `customer name` and `customer,name`: both would be \
         `customer_name` in the table, which has no other name for them; rename one of them"
    );
    let Err(error) = DeltaSink::open(TableOptions::new("p", "orders", "s3://bucket/x")) else {
        panic!("it was opened")
    };
    assert!(error.to_string().contains("s3 is not supported yet"), "{error}");
}
