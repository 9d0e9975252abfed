//! What readers see: every type, every partition value, statistics, and what `table_info` tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray,
};
use deltalake::DeltaTableBuilder;
use lakemill_lake::{Compression, DeltaSink, TableInfo, TableKind, TableOptions, TableOwner, table_info};
use lakemill_model::{DataType, Field, Sink, SinkError};

use crate::common::*;

#[test]
fn every_type_reads_back_as_it_was() {
    let folder = Folder::new();
    let decimal = |precision: u8, scale: u8, cells: Vec<Option<i128>>| -> (DataType, ArrayRef) {
        let array =
            Decimal128Array::from(cells).with_precision_and_scale(precision, scale.cast_signed()).expect("fits");
        (DataType::Decimal { precision, scale }, Arc::new(array))
    };
    let (small, small_cells) = decimal(9, 2, vec![Some(-12_345), None, Some(0)]);
    let (large, large_cells) = decimal(38, 10, vec![Some(i128::from(i64::MAX) * 1_000_000), None, Some(-1)]);
    let times = TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_767_225_600_123_456)]).with_timezone("UTC");
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("boolean", DataType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("int32", DataType::Int32, Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]))),
        ("int64", DataType::Int64, Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("float32", DataType::Float32, Arc::new(Float32Array::from(vec![Some(f32::NAN), None, Some(-0.0)]))),
        ("float64", DataType::Float64, Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None, Some(0.1)]))),
        ("small", small, small_cells),
        ("large", large, large_cells),
        ("date", DataType::Date, Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896)]))),
        ("time", DataType::Timestamp, Arc::new(times)),
        ("text", DataType::Text, Arc::new(StringArray::from(vec![Some(""), None, Some("ü\u{1F980}\n\"")]))),
        ("json", DataType::Json, Arc::new(StringArray::from(vec![Some("{\"a\":[1,null]}"), None, Some("null")]))),
        ("bytes", DataType::Bytes, Arc::new(BinaryArray::from(vec![Some(&b""[..]), None, Some(&[0, 255])]))),
    ];
    let rows = rows_of(columns.iter().map(|(name, t, array)| (Field::new(*name, *t, true), array.clone())).collect());
    let mut sink = folder.sink();
    let staged = stage(&sink, rows.clone());
    sink.commit(staged, &step(0, 0, 3, 1)).expect("committed");
    let add = &adds(&folder.table())[0];
    let stats: serde_json::Value = serde_json::from_str(add["stats"].as_str().expect("text")).expect("JSON");
    for bound in ["minValues", "maxValues"] {
        assert!(
            stats[bound].get("float32").is_none() && stats[bound].get("int64").is_some(),
            "a NaN leaves no bound: {stats}"
        );
    }
    let read = read_parquet(&data_file(&folder.table(), add));
    for (name, _, array) in &columns {
        let seen = read[0].column_by_name(name).expect("the column");
        assert_eq!(seen.data_type(), array.data_type(), "{name}");
        assert_eq!(seen, array, "{name}");
    }
    let schema = log(&folder.table())[0].iter().find_map(|action| action.get("metaData").cloned()).expect("metadata");
    let schema: serde_json::Value = serde_json::from_str(schema["schemaString"].as_str().expect("text")).expect("JSON");
    let types: Vec<&str> =
        schema["fields"].as_array().expect("fields").iter().filter_map(|f| f["type"].as_str()).collect();
    assert_eq!(
        types,
        [
            "boolean",
            "integer",
            "long",
            "float",
            "double",
            "decimal(9,2)",
            "decimal(38,10)",
            "date",
            "timestamp",
            "string",
            "string",
            "binary"
        ]
    );
}

/// What partition values a reader could stumble over.
const VALUES: [Option<&str>; 14] = [
    Some("eu"),
    None,
    Some("a/b"),
    Some("a=b"),
    Some("a b"),
    Some("100%"),
    Some("ü"),
    Some("%2F"),
    Some(".."),
    Some("a\\b:c*?\"<>|"),
    Some("__HIVE_default_partition__"),
    Some("\u{1F980}"),
    Some("a+b&c#d?e"),
    Some("line\nbreak"),
];

fn partitioned(values: &[Option<&str>]) -> lakemill_model::OutputRows {
    let count = i64::try_from(values.len()).expect("few");
    rows_of(vec![
        (Field::new("id", DataType::Int64, false), Arc::new(Int64Array::from_iter_values(0..count))),
        (Field::new("p", DataType::Text, true), Arc::new(StringArray::from(values.to_vec()))),
    ])
}

#[test]
fn every_partition_value_reads_back_through_the_log() {
    let folder = Folder::new();
    let options = TableOptions { partition_columns: vec!["p".into()], ..folder.options() };
    let mut sink = DeltaSink::open(options).expect("opens");
    let staged = stage(&sink, partitioned(&VALUES));
    sink.commit(staged, &step(0, 0, 14, 1)).expect("committed");
    let mut seen = BTreeMap::new();
    for add in adds(&folder.table()) {
        let value = add["partitionValues"]["p"].as_str().map(str::to_owned);
        for id in ids_in(std::iter::once(data_file(&folder.table(), &add))) {
            seen.insert(id, value.clone());
        }
    }
    let expected: BTreeMap<i64, Option<String>> = (0..).zip(VALUES.iter().map(|v| v.map(str::to_owned))).collect();
    assert_eq!(seen, expected);
    // deltalake finds the same files under the paths that it decodes.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = url::Url::from_directory_path(folder.table()).expect("absolute");
    let table = runtime.block_on(DeltaTableBuilder::from_url(url).expect("a location").load()).expect("a table");
    let files: Vec<_> =
        table.snapshot().expect("loaded").log_data().iter().map(|file| file.object_store_path()).collect();
    assert_eq!(files.len(), VALUES.len());
    for file in files {
        assert!(folder.table().join(file.as_ref()).exists(), "{file}");
        assert!(file.as_ref().is_ascii(), "no reader meets anything but ASCII: {file}");
    }
}

#[test]
fn the_empty_text_is_null_as_a_partition_value() {
    let folder = Folder::new();
    let options = TableOptions { partition_columns: vec!["p".into()], ..folder.options() };
    let mut sink = DeltaSink::open(options).expect("opens");
    let staged = stage(&sink, partitioned(&[Some(""), None, Some("x")]));
    sink.commit(staged, &step(0, 0, 3, 1)).expect("committed");
    let values: Vec<_> = adds(&folder.table()).iter().map(|add| add["partitionValues"]["p"].clone()).collect();
    assert_eq!(values, [serde_json::Value::Null, "x".into()]);
}

#[test]
fn statistics_and_sizes_are_in_the_log() {
    let folder = Folder::new();
    for compression in [Compression::Zstd, Compression::Snappy, Compression::Gzip, Compression::None] {
        let mut sink = DeltaSink::open(TableOptions { compression, ..folder.options() }).expect("opens");
        let at = held(&sink.positions().expect("positions"), 0).unwrap_or(0);
        let staged = stage(&sink, rows(at, at + 100));
        assert_eq!(staged[0].rows, 100);
        sink.commit(staged, &step(0, at, at + 100, 1)).expect("committed");
        let add = adds(&folder.table()).pop().expect("a file");
        let file = data_file(&folder.table(), &add);
        assert_eq!(add["size"].as_u64(), Some(std::fs::metadata(&file).expect("a file").len()));
        let stats: serde_json::Value = serde_json::from_str(add["stats"].as_str().expect("text")).expect("JSON");
        let nulls = (at..at + 100).filter(|n| n % 3 == 0).count();
        assert_eq!(
            stats,
            serde_json::json!({"numRecords": 100, "minValues": {"id": at, "note": stats["minValues"]["note"]},
                "maxValues": {"id": at + 99, "note": stats["maxValues"]["note"]}, "nullCount": {"id": 0, "note": nulls}})
        );
    }
    assert_eq!(ids(&folder.table()), (0..400).collect::<Vec<_>>());
}

#[test]
fn table_info_tells_what_is_there_and_who_wrote_it() {
    let folder = Folder::new();
    let location = folder.table().display().to_string();
    let Err(SinkError::Unsupported { reason, .. }) = table_info(&location) else { panic!("there is no table") };
    assert!(reason.starts_with("there is no table at "), "{reason}");
    for (pipeline, sink) in [("shop", "orders"), ("shop", "late"), ("other", "orders")] {
        let options = TableOptions { sink: sink.into(), pipeline: pipeline.into(), ..folder.options() };
        let mut sink = DeltaSink::open(options).expect("opens");
        let staged = stage(&sink, rows(0, 10));
        sink.commit(staged, &step(0, 0, 10, 1)).expect("committed");
    }
    let TableInfo { kind, version, rows, files, bytes, columns, partition_columns, positions } =
        table_info(&location).expect("a table");
    assert_eq!((kind, version, rows, files), (TableKind::Delta, 2, Some(30), 3));
    assert!(bytes > 0 && partition_columns.is_empty());
    assert_eq!(columns, [("id".to_owned(), "long".to_owned()), ("note".to_owned(), "string".to_owned())]);
    let owner = |pipeline: &str, sink: &str| TableOwner {
        tenant: "default".into(),
        pipeline: pipeline.into(),
        sink: sink.into(),
    };
    let owners: Vec<_> = positions.keys().cloned().collect();
    assert_eq!(owners, [owner("other", "orders"), owner("shop", "late"), owner("shop", "orders")]);
    assert_eq!(held(&positions[&owner("shop", "late")], 0), Some(10));
}

/// Each look waits for files that other threads of the same pool read: too many at once would wait for each other for ever.
#[test]
fn many_looks_at_once_come_to_an_end() {
    let folder = Folder::new();
    let mut sink = folder.sink();
    for start in 0..20 {
        let staged = stage(&sink, rows(start, start + 1));
        sink.commit(staged, &step(0, start, start + 1, 1)).expect("committed");
    }
    let location = folder.table().display().to_string();
    let together = std::sync::Barrier::new(16);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                together.wait();
                for _ in 0..5 {
                    assert_eq!(table_info(&location).expect("reads").version, 19);
                }
            });
        }
    });
}
