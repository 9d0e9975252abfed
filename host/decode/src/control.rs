//! What a record is that is no change: one of Debezium's control records, or something else. A control record vanishes from the tables, so it is
//! known by what only such a record can be: the name of its schema, or all of its members and what their values are. A column that a table may
//! have says nothing. What could be both is no control record unless its key or its topic says so.
//!
//! Members and names: `io.debezium.heartbeat.HeartbeatImpl`, `io.debezium.pipeline.txmetadata.TransactionMonitor`,
//! `io.debezium.relational.history.ConnectTableChangeSerializer` and `HistoryRecord`, `io.debezium.pipeline.notification.Notification`.

use std::borrow::Cow;

use crate::decoder::{Alone, key_payload};
use crate::framing::text_member;
use crate::reason::Reason;
use crate::scan::{Broken, Cursor, Kind};

/// What a control record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ControlKind {
    /// No value: what follows a delete in a compacted topic.
    Tombstone,
    /// That the connector lives: `{ts_ms}`.
    Heartbeat,
    /// Where a transaction begins or ends.
    Transaction,
    /// DDL.
    SchemaChange,
    /// How far a snapshot is.
    Notification,
    /// What `pg_logical_emit_message` wrote: op `m`.
    Message,
}

impl ControlKind {
    /// Every one.
    pub const ALL: [ControlKind; 6] = [
        ControlKind::Tombstone,
        ControlKind::Heartbeat,
        ControlKind::Transaction,
        ControlKind::SchemaChange,
        ControlKind::Notification,
        ControlKind::Message,
    ];

    /// As metrics and summaries call it.
    pub fn name(self) -> &'static str {
        match self {
            ControlKind::Tombstone => "tombstone",
            ControlKind::Heartbeat => "heartbeat",
            ControlKind::Transaction => "transaction",
            ControlKind::SchemaChange => "schema_change",
            ControlKind::Notification => "notification",
            ControlKind::Message => "message",
        }
    }

    /// The kind of a schema: its name, without the version of a connector or of Debezium.
    fn of_schema(name: &str) -> Option<Self> {
        let last = name.strip_prefix("io.debezium.")?.rsplit('.').next()?;
        match last {
            "Heartbeat" => Some(ControlKind::Heartbeat),
            "TransactionMetadataValue" => Some(ControlKind::Transaction),
            "SchemaChangeValue" => Some(ControlKind::SchemaChange),
            "Notification" => Some(ControlKind::Notification),
            _ => None,
        }
    }
}

/// What there is beside a payload.
pub(crate) struct Beside<'a> {
    pub topic: &'a str,
    pub key: Option<&'a str>,
    /// The value's schema part.
    pub schema: Option<&'a str>,
    pub depth_max: usize,
}

/// What a record is.
pub(crate) enum Verdict {
    /// With its event time in microseconds since 1970, if it is one that says how far the stream is.
    Control(ControlKind, Option<i64>),
    Dead(Reason),
}

/// What a payload is that is no change event.
pub(crate) fn judge(mut payload: Cursor<'_>, beside: &Beside<'_>) -> Result<Verdict, Broken> {
    let kind = payload.kind()?;
    if kind != Kind::Object {
        return Ok(Verdict::Dead(no_object(&mut payload, kind)?));
    }
    let members = Members::read(&mut payload)?;
    let schema_name = match beside.schema {
        Some(schema) => text_member(schema, "name", beside.depth_max)?,
        None => None,
    };
    let by_schema = schema_name.as_deref().and_then(ControlKind::of_schema);
    // The schema of a table's row; see `io.debezium.relational.TableSchemaBuilder`.
    let is_row = schema_name.as_deref().is_some_and(|name| name.ends_with(".Value"));
    let by_members = if is_row { None } else { members.control(beside)? };
    Ok(match by_schema.or(by_members) {
        Some(ControlKind::Heartbeat) => Verdict::Control(ControlKind::Heartbeat, members.ts_us()),
        Some(kind) => Verdict::Control(kind, None),
        None => Verdict::Dead(Reason::NotAChange(members.instead(is_row, beside)?)),
    })
}

fn no_object(payload: &mut Cursor<'_>, kind: Kind) -> Result<Reason, Broken> {
    Ok(Reason::NotAChange(match kind {
        Kind::Array => {
            "expected a change event, found an array: each record must hold one event, that is one JSON object".into()
        }
        Kind::Null => {
            "expected a change event, found `payload` that is null, and a key that is no `{\"payload\": …}`".into()
        }
        Kind::Text if payload.string()?.trim_start().starts_with('{') => {
            format!("expected a change event, found a text that holds JSON: it was converted twice; {SET_CONVERTER}")
        }
        kind => format!("expected a change event, found {}", kind.name()),
    }))
}

/// What to do about bytes that another converter wrote.
pub(crate) const SET_CONVERTER: &str =
    "set `value.converter=org.apache.kafka.connect.json.JsonConverter` in the connector's configuration";

/// The members of a payload, each with the kind of its value and the value as text: a text without its quotes and escapes, anything else as
/// written.
struct Members<'a>(Vec<(Cow<'a, str>, Kind, Cow<'a, str>)>);

/// A value that a control record has.
type Check = fn(Kind, &str) -> bool;

impl<'a> Members<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Broken> {
        let mut members = cursor.object()?;
        let mut all = Vec::new();
        while let Some(name) = cursor.member(&mut members)? {
            let kind = cursor.kind()?;
            let text = if kind == Kind::Text { cursor.string()? } else { cursor.skip()?.into() };
            all.push((name, kind, text));
        }
        Ok(Self(all))
    }

    fn get(&self, name: &str) -> Option<(Kind, &str)> {
        self.0.iter().find(|(is, ..)| is == name).map(|(_, kind, text)| (*kind, &**text))
    }

    fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.get(name).is_some())
    }

    fn has_kind(&self, name: &str, wanted: Kind) -> bool {
        self.get(name).is_some_and(|(kind, _)| kind == wanted)
    }

    /// True if these are all the members, each once and with such a value; the optional ones may be missing.
    fn are(&self, needed: &[(&str, Check)], optional: &[(&str, Check)]) -> bool {
        let is_as = |(name, check): &(&str, Check)| self.get(name).is_none_or(|(kind, text)| check(kind, text));
        let needed_are_there = needed.iter().all(|(name, _)| self.get(name).is_some());
        let there = needed.iter().chain(optional).filter(|(name, _)| self.get(name).is_some()).count();
        needed_are_there && self.0.len() == there && needed.iter().chain(optional).all(is_as)
    }

    fn ts_us(&self) -> Option<i64> {
        self.get("ts_ms").and_then(|(_, text)| crate::convert::whole(text)).and_then(|ms| ms.checked_mul(1000))
    }

    /// The control record that has these members and values.
    fn control(&self, beside: &Beside<'_>) -> Result<Option<ControlKind>, Broken> {
        let is_begin = self.are(
            &[
                ("status", |kind, text| kind == Kind::Text && text == "BEGIN"),
                ("id", is_text),
                ("event_count", is_null),
                ("data_collections", is_null),
            ],
            &[("ts_ms", is_whole)],
        );
        let is_end = self.are(
            &[
                ("status", |kind, text| kind == Kind::Text && text == "END"),
                ("id", is_text),
                ("event_count", is_whole),
                ("data_collections", is_array),
            ],
            &[("ts_ms", is_whole)],
        );
        let is_ddl = self.are(
            &[("source", is_connector), ("databaseName", is_text_or_null)],
            &[
                ("ts_ms", is_whole),
                ("schemaName", is_text_or_null),
                ("ddl", is_text_or_null),
                ("tableChanges", is_array_or_null),
            ],
        );
        let is_ddl = is_ddl && (self.has(&["ddl"]) || self.has(&["tableChanges"]));
        // Flink CDC, `io.debezium.relational.history.HistoryRecord` as text.
        let is_history =
            self.are(&[("source", is_connector), ("historyRecord", is_object_text)], &[("ts_ms", is_whole)]);
        let is_notification = self.are(
            &[
                ("id", is_uuid),
                ("type", is_upper_case),
                ("aggregate_type", is_text),
                ("additional_data", |kind, _| kind == Kind::Object),
            ],
            &[("timestamp", |kind, _| matches!(kind, Kind::Number | Kind::Text))],
        );
        let is_heartbeat = self.are(&[("ts_ms", is_whole)], &[]) && is_of_heartbeats(beside)?;
        let kinds = [
            (is_begin || is_end, ControlKind::Transaction),
            (is_ddl || is_history, ControlKind::SchemaChange),
            (is_notification, ControlKind::Notification),
            (is_heartbeat, ControlKind::Heartbeat),
        ];
        Ok(kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind))
    }

    /// Why it is dead, and what to do.
    fn instead(&self, is_row: bool, beside: &Beside<'_>) -> Result<String, Broken> {
        let is_marked =
            self.0.iter().any(|(name, ..)| matches!(&**name, "__op" | "__deleted" | "__table" | "__source_ts_ms"));
        Ok(if self.has(&["specversion"]) {
            "a CloudEvent: this version reads Debezium's own envelope only (`format: debezium-json`)".into()
        } else if self.has_kind("patch", Kind::Text) || self.has_kind("updateDescription", Kind::Object) {
            PATCH.into()
        } else if is_row || is_marked || self.has_key_of(beside)? {
            format!("a flattened row: {UNWRAP}")
        } else if self.has(&["database", "table", "type", "data"]) || self.has(&["op_type", "table"]) {
            format!("no Debezium envelope (no `op`): an event of Maxwell, Canal or GoldenGate; {ENVELOPE_ONLY}")
        } else if self.has_kind("source", Kind::Object) && self.has(&["before", "after"]) {
            "no `op` in Debezium's envelope: expected r, c, u, d, t or m".into()
        } else if self.are(&[("ts_ms", is_whole)], &[]) {
            "nothing but `ts_ms`: a heartbeat has a key `{\"serverName\": …}`, or comes in a topic \
             `__debezium-heartbeat…`; a row must not be flattened"
                .into()
        } else if self.has_kind("op", Kind::Text) {
            format!(
                "no Debezium envelope (an `op`, but neither `before` nor `after`): if it is a flattened row, {UNWRAP}"
            )
        } else {
            format!("no Debezium envelope (no `op`): if it is a flattened row, {UNWRAP}")
        })
    }

    /// True if all columns of the key are among the members, with these values: a flattened row.
    fn has_key_of(&self, beside: &Beside<'_>) -> Result<bool, Broken> {
        let Some(mut key) = beside.key.and_then(|key| key_payload(key, beside.depth_max, Alone(false))) else {
            return Ok(false);
        };
        if key.kind()? != Kind::Object {
            return Ok(false);
        }
        let Members(key) = Members::read(&mut key)?;
        // No table has a key of so many columns, and two objects of a hundred thousand members are not compared for a message.
        Ok((1..=KEY_COLUMNS_MAX).contains(&key.len())
            && key.iter().all(|(name, kind, text)| self.get(name) == Some((*kind, &**text))))
    }
}

/// The most columns that PostgreSQL's, MySQL's, Oracle's and SQL Server's keys have.
const KEY_COLUMNS_MAX: usize = 32;

const ENVELOPE_ONLY: &str = "this version reads Debezium's envelope only";
const UNWRAP: &str = "this version reads Debezium's envelope only; take the unwrap SMT (ExtractNewRecordState) or `after.state.only` \
                      out of the connector's configuration";
/// Why an update of MongoDB without its document is dead.
pub(crate) const PATCH: &str = "a MongoDB patch: set the connector's `capture.mode` to one with full documents";

/// A heartbeat's key is `{"serverName": …}`, and its topic begins with `topic.heartbeat.prefix`.
fn is_of_heartbeats(beside: &Beside<'_>) -> Result<bool, Broken> {
    if beside.topic.starts_with("__debezium-heartbeat") {
        return Ok(true);
    }
    let Some(key) = beside.key else { return Ok(false) };
    // As a `StringConverter` writes it.
    if key.starts_with("Struct{serverName=") {
        return Ok(true);
    }
    let cursors = [Alone(false), Alone(true)].map(|alone| key_payload(key, beside.depth_max, alone));
    for mut cursor in cursors.into_iter().flatten() {
        if cursor.kind()? == Kind::Object && Members::read(&mut cursor)?.are(&[("serverName", is_text)], &[]) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_text(kind: Kind, _: &str) -> bool {
    kind == Kind::Text
}

fn is_null(kind: Kind, _: &str) -> bool {
    kind == Kind::Null
}

fn is_text_or_null(kind: Kind, _: &str) -> bool {
    matches!(kind, Kind::Text | Kind::Null)
}

fn is_array(kind: Kind, _: &str) -> bool {
    kind == Kind::Array
}

fn is_array_or_null(kind: Kind, _: &str) -> bool {
    matches!(kind, Kind::Array | Kind::Null)
}

fn is_whole(kind: Kind, text: &str) -> bool {
    kind == Kind::Number && crate::convert::whole(text).is_some()
}

/// Debezium's `source` block: no column of a table is an object that names a connector.
fn is_connector(kind: Kind, text: &str) -> bool {
    let has = |name| matches!(text_member(text, name, usize::MAX), Ok(Some(_)));
    kind == Kind::Object && (has("connector") || has("server"))
}

fn is_object_text(kind: Kind, text: &str) -> bool {
    kind == Kind::Text && text.starts_with('{')
}

/// `STARTED`, `TABLE_SCAN_COMPLETED`.
fn is_upper_case(kind: Kind, text: &str) -> bool {
    kind == Kind::Text && !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

fn is_uuid(kind: Kind, text: &str) -> bool {
    let is_hex = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    kind == Kind::Text && parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, len)| is_hex(part, len))
}
