//! The lines of a Delta log entry that we write, and the ones that we read. No I/O.
//!
//! PROTOCOL.md, "Actions". We write our own lines instead of deltalake's: its paths come out encoded twice for what is not
//! ASCII, and its commit holds every file of the table in memory. An append needs neither.

use std::collections::BTreeMap;

use lakemill_model::{Commit, OffsetRange, StagedFile, TopicPartition};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use crate::app_id::percent_encode;
use crate::shape::Shape;

/// An action that we write.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Action<'a> {
    CommitInfo(serde_json::Value),
    Protocol(Protocol),
    MetaData(&'a serde_json::Value),
    Add(Add<'a>),
    Txn(Txn<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Protocol {
    min_reader_version: u8,
    min_writer_version: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Add<'a> {
    path: String,
    #[serde(serialize_with = "as_map")]
    partition_values: &'a [(String, Option<String>)],
    size: u64,
    modification_time: i64,
    data_change: bool,
    stats: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Txn<'a> {
    app_id: &'a str,
    version: i64,
    last_updated: i64,
}

fn as_map<S: Serializer>(pairs: &[(String, Option<String>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// What a commit says about who made it and of what.
pub(crate) struct Origin<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) pipeline: &'a str,
    pub(crate) sink: &'a str,
    pub(crate) now_ms: i64,
}

/// A log entry: one JSON object a line.
pub(crate) struct Entry(String);

impl Entry {
    /// An entry of this origin. `commit` is `None` for a table that is made before it has rows.
    pub(crate) fn new(
        origin: &Origin<'_>,
        commit: Option<&Commit>,
        files: &[StagedFile],
        partition_by: &[impl AsRef<str>],
    ) -> Self {
        let mut entry = Self(String::with_capacity(1024 + files.len() * 1024));
        entry.push(&Action::CommitInfo(commit_info(origin, commit, files, partition_by)));
        entry
    }

    /// Makes it the first entry of a table, whose metadata is `metadata`.
    ///
    /// Reader version 1 and writer version 2 without features: what every Delta reader and writer understands. deltalake's own builder
    /// would list the `invariants` feature, to which a build without `datafusion` then refuses to write.
    pub(crate) fn create_table(&mut self, metadata: &serde_json::Value) {
        self.push(&Action::Protocol(Protocol { min_reader_version: 1, min_writer_version: 2 }));
        self.push(&Action::MetaData(metadata));
    }

    /// The table's metadata changes to `metadata`, with the rows that need it.
    pub(crate) fn change_metadata(&mut self, metadata: &serde_json::Value) {
        self.push(&Action::MetaData(metadata));
    }

    /// Adds data files.
    pub(crate) fn add_files(&mut self, files: &[StagedFile]) {
        for file in files {
            self.push(&Action::Add(Add {
                path: to_uri(&file.path),
                partition_values: &file.partition_values,
                size: file.bytes,
                modification_time: file.modified_ms,
                data_change: true,
                stats: file.stats.as_deref(),
                tags: tags(file),
            }));
        }
    }

    /// Sets application transactions.
    pub(crate) fn set(&mut self, transactions: &BTreeMap<String, i64>, now_ms: i64) {
        for (app_id, version) in transactions {
            self.push(&Action::Txn(Txn { app_id, version: *version, last_updated: now_ms }));
        }
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn push(&mut self, action: &Action<'_>) {
        self.0.push_str(&serde_json::to_string(action).expect("actions hold nothing that JSON does not"));
        self.0.push('\n');
    }
}

/// The metadata of a table that we make.
pub(crate) fn new_metadata(shape: &Shape, created_ms: i64) -> serde_json::Value {
    json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "format": { "provider": "parquet", "options": {} },
        "schemaString": super::schema::to_schema_string(shape),
        "partitionColumns": shape.partition_columns.iter().map(|name| &**name).collect::<Vec<_>>(),
        "configuration": {},
        "createdTime": created_ms,
    })
}

fn commit_info(
    origin: &Origin<'_>,
    commit: Option<&Commit>,
    files: &[StagedFile],
    partition_by: &[impl AsRef<str>],
) -> serde_json::Value {
    let partition_by: Vec<&str> = partition_by.iter().map(AsRef::as_ref).collect();
    let mut info = json!({
        "timestamp": origin.now_ms,
        "operation": if commit.is_some() { "WRITE" } else { "CREATE TABLE" },
        // Delta's writers put each of these as a text.
        "operationParameters": { "mode": "Append", "partitionBy": json!(partition_by).to_string() },
        "isBlindAppend": true,
        "engineInfo": concat!("lakemill/", env!("CARGO_PKG_VERSION")),
        "lakemill.tenant": origin.tenant,
        "lakemill.pipeline": origin.pipeline,
        "lakemill.sink": origin.sink,
    });
    if let Some(commit) = commit {
        info["operationMetrics"] = json!({
            "numFiles": files.len().to_string(),
            "numOutputRows": files.iter().map(|file| file.rows).sum::<u64>().to_string(),
            "numOutputBytes": files.iter().map(|file| file.bytes).sum::<u64>().to_string(),
        });
        info["lakemill.checkpoint"] = json!(commit.checkpoint.0);
        info["lakemill.digests"] = json!(commit.digests);
        let range =
            |(tp, range): (&TopicPartition, OffsetRange)| json!([tp.topic, tp.partition, range.start.0, range.end.0]);
        info["lakemill.ranges"] = commit.delta.iter().map(range).collect();
    }
    info
}

/// Which code made a file, where the commit alone does not tell.
fn tags(file: &StagedFile) -> Option<serde_json::Value> {
    // Values of tags are texts (PROTOCOL.md, "Add File").
    (!file.made_by.is_empty()).then(|| json!({ "lakemill.digests": file.made_by.join(",") }))
}

/// A relative path as the URI that the log holds (RFC 3986): readers decode it once.
fn to_uri(path: &str) -> String {
    percent_encode(path, |byte| byte.is_ascii_alphanumeric() || b"-._~/=".contains(&byte))
}

/// What of a log entry concerns somebody who appends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Application transactions, the last of each id.
    pub(crate) transactions: BTreeMap<String, i64>,
    /// The table's columns, properties, clustering or protocol changed.
    pub(crate) table_changed: bool,
}

/// Reads a log entry that anybody wrote.
pub(crate) fn read_entry(bytes: &[u8]) -> Result<Seen, serde_json::Error> {
    #[derive(Deserialize)]
    struct Line {
        txn: Option<TxnSeen>,
        protocol: Option<serde::de::IgnoredAny>,
        #[serde(rename = "metaData")]
        metadata: Option<serde::de::IgnoredAny>,
        #[serde(rename = "domainMetadata")]
        domain_metadata: Option<DomainSeen>,
    }
    #[derive(Deserialize)]
    struct DomainSeen {
        domain: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct TxnSeen {
        app_id: String,
        version: i64,
    }
    let mut seen = Seen::default();
    for line in serde_json::Deserializer::from_slice(bytes).into_iter::<Line>() {
        let line = line?;
        let clustered = line.domain_metadata.is_some_and(|domain| domain.domain == "delta.clustering");
        seen.table_changed |= line.protocol.is_some() || line.metadata.is_some() || clustered;
        if let Some(txn) = line.txn {
            seen.transactions.insert(txn.app_id, txn.version);
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use lakemill_model::{CheckpointId, DataType, Epochs, Field, NextOffset, Positions, TableSchema};

    use super::*;

    fn entry() -> Entry {
        let origin = Origin { tenant: "t", pipeline: "p", sink: "s", now_ms: 7 };
        let tp = TopicPartition::new("orders", 3);
        let commit = Commit {
            checkpoint: CheckpointId(42),
            delta: [(tp, OffsetRange { start: NextOffset(5), end: NextOffset(9) })].into_iter().collect(),
            done: Positions::new(),
            epochs: Epochs::default(),
            digests: vec!["abc".to_owned()],
        };
        let files = [StagedFile {
            path: "p=a%2Fb/part ü.parquet".to_owned(),
            bytes: 10,
            rows: 2,
            partition_values: vec![("p".to_owned(), Some("a/b".to_owned())), ("q".to_owned(), None)],
            columns: Vec::new().into(),
            stats: Some(r#"{"numRecords":2}"#.to_owned()),
            modified_ms: 8,
            made_by: vec!["abc".to_owned(), "def".to_owned()],
        }];
        let schema = TableSchema { fields: vec![Field::new("id", DataType::Int64, false)], key: vec![] };
        let mut entry = Entry::new(&origin, Some(&commit), &files, &["p", "q"]);
        let options = crate::options::TableOptions::new("p", "s", "t");
        entry.create_table(&new_metadata(&Shape::of_new_table(&schema, &options).expect("a table"), 7));
        entry.add_files(&files);
        entry.set(&[("lakemill/t/p/s/orders/3".to_owned(), 9)].into(), 7);
        entry
    }

    #[test]
    fn lines_are_what_the_protocol_says() {
        let entry = entry();
        let text = std::str::from_utf8(entry.bytes()).expect("UTF-8");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let info = &lines[0]["commitInfo"];
        assert_eq!(info["operation"], "WRITE");
        assert_eq!(info["lakemill.checkpoint"], 42);
        assert_eq!(info["lakemill.digests"], json!(["abc"]));
        assert_eq!(info["lakemill.ranges"], json!([["orders", 3, 5, 9]]));
        assert_eq!(lines[1], json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}));
        assert_eq!(lines[2]["metaData"]["format"]["provider"], "parquet");
        assert_eq!(
            lines[3],
            json!({"add": {"path": "p=a%252Fb/part%20%C3%BC.parquet", "partitionValues": {"p": "a/b", "q": null}, "size": 10,
                "modificationTime": 8, "dataChange": true, "stats": "{\"numRecords\":2}", "tags": {"lakemill.digests": "abc,def"}}})
        );
        assert_eq!(lines[4], json!({"txn": {"appId": "lakemill/t/p/s/orders/3", "version": 9, "lastUpdated": 7}}));
    }

    #[test]
    fn what_an_appender_needs_is_read_back() {
        let seen = read_entry(entry().bytes()).expect("readable");
        assert_eq!(
            seen,
            Seen { transactions: [("lakemill/t/p/s/orders/3".to_owned(), 9)].into(), table_changed: true }
        );
        let others = r#"{"add":{"path":"x","stats":"{}"}}
            {"remove":{"path":"y"}}
            {"txn":{"appId":"spark","version":1}}
            {"txn":{"appId":"spark","version":2,"lastUpdated":3}}
            {"domainMetadata":{"domain":"d","configuration":"","removed":false}}"#;
        let seen = read_entry(others.as_bytes()).expect("readable");
        assert_eq!(seen, Seen { transactions: [("spark".to_owned(), 2)].into(), table_changed: false });
        let clustered = r#"{"domainMetadata":{"domain":"delta.clustering","configuration":"{}","removed":false}}"#;
        assert!(read_entry(clustered.as_bytes()).expect("readable").table_changed);
        assert!(read_entry(&entry().bytes()[..300]).is_err(), "a torn entry is not an empty one");
        assert_eq!(read_entry(b"").expect("an empty file holds no action"), Seen::default());
    }
}
