//! The vocabulary of the pipeline file, exactly as a user writes it. Doc comments here become the JSON Schema's descriptions.

use std::collections::BTreeMap;
use std::time::Duration;

use lakemill_model::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::sink::SinkSpec;
use super::units::{Size, Span, Template};
use super::values::{Declared, OutOfRange, Texts};

/// A pipeline: changes from one source, through transforms, into tables.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The pipeline's name: 1 to 64 of a-z, 0-9, `_`, `-`. It is part of the positions in the tables: do not change it later.
    pub pipeline: String,
    /// Where changes come from.
    pub source: Source,
    /// When a micro-batch is closed.
    #[serde(default)]
    pub batch: Batch,
    /// Event time.
    #[serde(default)]
    pub watermark: Watermark,
    /// What the pipeline remembers of its own.
    #[serde(default)]
    pub state: State,
    /// The components; each one sees every change.
    pub transforms: Vec<Transform>,
    /// For every output that a transform declares, where its rows go. The first one that keeps positions commits last.
    pub sinks: Ordered<SinkSpec>,
    /// Where rows go that could not be processed; a Delta table beside the state if left out.
    #[serde(default)]
    pub dead_letters: Option<TableSpec>,
    /// How many rows may be dead before the pipeline parks.
    #[serde(default)]
    pub error_budget: ErrorBudget,
    /// Where rows go that come later than the watermark allows. Left out: they are processed like the others.
    #[serde(default)]
    pub late: Option<TableSpec>,
}

/// Where changes come from: `kafka` or `files`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Kafka topics.
    #[serde(default)]
    pub kafka: Option<Kafka>,
    /// JSON-lines files; the pipeline ends with them, unless it is to follow them.
    #[serde(default)]
    pub files: Option<Files>,
    /// How a record is encoded.
    #[serde(default)]
    pub format: Format,
    /// Where column types come from where a record does not bring its own schema part.
    #[serde(default)]
    pub schema: Schema,
    /// What the source sends in place of a value that a change left as it was: Debezium's `unavailable.value.placeholder`, one text or a
    /// list of them; `__debezium_unavailable_value` if left out.
    #[serde(default)]
    pub unavailable_placeholder: Option<Texts>,
    /// What becomes of dates and timestamps that are not of the years 1 to 9999, PostgreSQL's infinities among them.
    #[serde(default)]
    pub out_of_range: OutOfRange,
}

/// Kafka topics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, several by comma.
    pub brokers: Template,
    /// Topic names.
    pub topics: Vec<String>,
    /// Where a partition starts that no table knows yet.
    #[serde(default)]
    pub start: Start,
    /// What happens if the source no longer has what comes next.
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
    /// A consumer group: several processes share the partitions. Without it, one process reads them all.
    #[serde(default)]
    pub group: Option<String>,
    /// Further librdkafka properties, such as `security.protocol` and `sasl.password`.
    #[serde(default)]
    pub properties: BTreeMap<String, Template>,
}

/// Where a partition starts: `earliest`, `latest`, `{offset: N}` or `{timestamp: "2026-01-01T00:00:00Z"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The first record that is there.
    #[default]
    Earliest,
    /// Only what comes from now on.
    Latest,
    /// This offset of every partition.
    Offset(u64),
    /// The first record with this Kafka timestamp or a later one: RFC 3339.
    Timestamp(String),
}

/// What happens if the source no longer has what comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDataLoss {
    /// Stop and say what is missing.
    #[default]
    Fail,
    /// Say what is missing and go on with what is left.
    Continue,
}

/// JSON-lines files, as they are or compressed with gzip or zstd.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Paths or globs: `*` and `?` in the names of files and folders.
    pub paths: Vec<String>,
    /// The topic that their records count as; the file's name without its ending if left out.
    #[serde(default)]
    pub topic: Option<String>,
    /// What a line is.
    #[serde(default)]
    pub format: LineFormat,
    /// Go on with files that appear and lines that are appended, until the pipeline is stopped.
    #[serde(default)]
    pub follow: bool,
    /// What happens if lines are gone that were not read.
    #[serde(default)]
    pub on_data_loss: OnDataLoss,
}

/// What a line of a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineFormat {
    /// The record's value.
    #[default]
    Value,
    /// Key, tab, value. Nothing after the tab is a tombstone.
    KeyValue,
}

/// How a record is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Debezium's envelope as JSON, with or without the schema part.
    #[default]
    DebeziumJson,
}

/// Where column types come from where a record does not bring them: `infer`, `inline`, or columns.
#[derive(Clone, Debug, Default)]
pub enum Schema {
    /// From the first batch, strictly: a value of another type later on is a dead letter.
    #[default]
    Infer,
    /// Every record must bring its schema part; one without is a dead letter.
    Inline,
    /// From here.
    Declared(Declared),
}

impl Serialize for Schema {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Schema::Infer => serializer.serialize_str("infer"),
            Schema::Inline => serializer.serialize_str("inline"),
            Schema::Declared(declared) => declared.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = Schema;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("infer, inline, or { row: [columns], key: [columns] }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Schema, E> {
                match text {
                    "infer" => Ok(Schema::Infer),
                    "inline" => Ok(Schema::Inline),
                    _ => Err(E::unknown_variant(text, &["infer", "inline"])),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Schema, A::Error> {
                Declared::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Schema::Declared)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for Schema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schema".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let declared = generator.subschema_for::<Declared>();
        schemars::json_schema!({"anyOf": [{"enum": ["infer", "inline"]}, declared]})
    }
}

/// When a micro-batch is closed: whichever comes first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Records, 1 to 1,000,000.
    pub rows_max: usize,
    /// Bytes of keys and values, up to 1GiB.
    pub bytes_max: Size,
    /// Milliseconds since the batch's first record, up to 3,600,000.
    pub latency_ms_max: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self { rows_max: 100_000, bytes_max: Size(8 << 20), latency_ms_max: 200 }
    }
}

/// Event time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Watermark {
    /// How late a change may come.
    pub delay: Span,
    /// A partition silent for this long holds the watermark back no longer.
    pub idle: Span,
    /// How far a clock may be off: an event time that is further ahead of ours, or of its record's Kafka timestamp, moves no watermark.
    pub future_max: Span,
}

impl Default for Watermark {
    fn default() -> Self {
        let minutes = |n: u64| Span(Duration::from_secs(60 * n));
        Self { delay: minutes(10), idle: minutes(1), future_max: minutes(5) }
    }
}

/// How many rows may be dead before the pipeline parks: it keeps its place and waits for a command.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorBudget {
    /// The share of dead rows among the last 10,000 rows, from 0 to 1; fewer than 1,000 rows count as 1,000.
    pub share_max: f64,
    /// Dead rows within a minute.
    pub per_minute_max: u64,
}

impl Default for ErrorBudget {
    fn default() -> Self {
        Self { share_max: 0.2, per_minute_max: 100_000 }
    }
}

/// What the pipeline remembers of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// A folder; `.lakemill/<pipeline>` beside the pipeline file if left out.
    #[serde(default)]
    pub path: Option<String>,
}

/// A component.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// The path of a component, or of a core module with embedded WIT.
    pub component: String,
    /// What the component's `config` import gives it.
    #[serde(default)]
    pub config: Option<serde_json::Map<String, serde_json::Value>>,
    /// The interfaces that it may import.
    #[serde(default = "all_grants")]
    pub grants: Vec<Grant>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Which of its log lines are taken: those of this level and above.
    #[serde(default)]
    pub log: LogLevel,
}

/// Which log lines of a component are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// All of them.
    #[default]
    Debug,
    /// All but those for debugging.
    Info,
    /// Warnings and errors.
    Warn,
    /// Errors.
    Error,
    /// None.
    Off,
}

fn all_grants() -> Vec<Grant> {
    vec![Grant::Config, Grant::Log]
}

/// An interface that a component may import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// Its configuration.
    Config,
    /// A line in the log.
    Log,
}

/// What a component may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of an instance.
    pub memory: Size,
    /// Milliseconds for one batch.
    pub batch_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Size(64 << 20), batch_ms_max: 1000 }
    }
}

/// A table for dead letters or late rows: `delta`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// A Delta table.
    pub delta: PathOnly,
}

/// A table by its path.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathOnly {
    /// A folder.
    pub path: String,
}

/// A table that rows are appended to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// A folder.
    pub path: String,
    /// What a change does to the table.
    #[serde(default)]
    pub mode: Mode,
    /// Columns whose values make the folders of the table.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// What becomes of a column that the rows have and the table does not.
    #[serde(default)]
    pub schema: NewColumns,
    /// Types of columns in a table that Lakemill makes, where they are to be wider than the rows' are.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub columns: BTreeMap<String, DataType>,
    /// How data files are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Columns that Lakemill adds.
    #[serde(default = "default_metadata")]
    pub metadata: Vec<Metadata>,
}

/// What becomes of a column that the rows have and the table does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// The table gets it, nullable, with the first rows that have it.
    #[default]
    Additive,
    /// The rows do not fit.
    Strict,
}

/// What a change does to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It becomes a row.
    #[default]
    Append,
}

/// How data files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Zstandard, level 1: half the size of snappy at the same speed.
    #[default]
    Zstd,
    /// Snappy.
    Snappy,
    /// Gzip.
    Gzip,
    /// Not at all.
    None,
}

/// A column that Lakemill adds to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metadata {
    /// `_op`: r, c, u, d or t.
    Op,
    /// `_event_time`: when the source committed the change.
    EventTime,
    /// `_kafka_time`: Kafka's timestamp.
    KafkaTime,
    /// `_topic`.
    Topic,
    /// `_partition`.
    Partition,
    /// `_offset`.
    Offset,
    /// `_position`: the place in the source's log, byte-wise comparable.
    Position,
    /// `_source_db`: the database that the change comes from, as Debezium's `source` says.
    SourceDb,
    /// `_source_schema`: its schema, where the database has schemas.
    SourceSchema,
    /// `_source_table`: its table; of MongoDB, its collection.
    SourceTable,
    /// `_unchanged`: a JSON array of the columns that the source left out because the change did not touch them.
    Unchanged,
}

fn default_metadata() -> Vec<Metadata> {
    use Metadata::{EventTime, Offset, Op, Partition, Topic, Unchanged};
    vec![Op, EventTime, Topic, Partition, Offset, Unchanged]
}

/// Rows on standard output.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// At most this many rows, for a look; all if left out.
    #[serde(default)]
    pub rows_max: Option<u64>,
}

/// A mapping that keeps the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Ordered<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visit<T> {
            type Value = Ordered<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    list.push(entry);
                }
                Ok(Ordered(list))
            }
        }
        deserializer.deserialize_map(Visit(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}
