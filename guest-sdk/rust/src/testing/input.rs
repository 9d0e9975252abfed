//! From Debezium JSON to a batch: what the host's decoder does with `schema: infer`, told once more in plain words. Knows no
//! transform.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Dead, Record};
use crate::column::{RareBits, Values, VarLength};
use crate::{BatchSource, Column, ColumnBuilder, DataType, Field, Image, Json, Op, Reads, Timestamp};

/// Debezium's text for a cell that the database did not send.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Records, sorted out.
pub(super) struct Input {
    pub rows: Rows,
    /// By row: its record.
    pub records: Vec<usize>,
    pub dead: Vec<Dead>,
}

/// A batch in memory.
#[derive(Default)]
pub(super) struct Rows {
    changes: Vec<Parsed>,
    key: Vec<Field>,
    row: Vec<Field>,
    reads: Vec<Reads>,
}

type Object = Map<String, Value>;

/// A change event.
struct Parsed {
    op: Op,
    key: Option<Object>,
    before: Option<Object>,
    after: Option<Object>,
    event_time_us: Option<i64>,
    snapshot: bool,
}

/// What a record is.
enum Kind {
    Change(Box<Parsed>),
    Control,
}

/// Reads records; `reads` is what the transform may ask for.
pub(super) fn read(records: &[Record], reads: &[Reads]) -> Result<Input, String> {
    let mut dead = Vec::new();
    let mut changes = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match parse(record) {
            Ok(Kind::Change(change)) => changes.push((at, *change)),
            Ok(Kind::Control) => {}
            Err(Refusal::Dead(reason)) => dead.push(Dead { record: at, reason, by_transform: false }),
            Err(Refusal::Unknown(what)) => return Err(format!("record {at}: {what}: try it with `lakemill test`")),
        }
    }
    let mut rows = Rows { reads: reads.to_vec(), ..Rows::default() };
    for (_, change) in &changes {
        let images = change.before.iter().chain(&change.after);
        images.for_each(|image| show(&mut rows.row, image));
        change.key.iter().for_each(|key| show(&mut rows.key, key));
    }
    for field in &mut rows.key {
        // A key shows one value at a time, and a number may be whole by chance.
        if let Some(of_row) = rows.row.iter().find(|row| row.name == field.name) {
            field.data_type = of_row.data_type;
        }
    }
    let mut of_rows = Vec::new();
    for (at, change) in changes {
        match change.misfit(&rows.key, &rows.row) {
            Some(reason) => dead.push(Dead { record: at, reason, by_transform: false }),
            None => {
                of_rows.push(at);
                rows.changes.push(change);
            }
        }
    }
    Ok(Input { rows, records: of_rows, dead })
}

enum Refusal {
    Dead(String),
    Unknown(&'static str),
}

fn parse(record: &Record) -> Result<Kind, Refusal> {
    let Some(text) = record.value.as_deref().filter(|text| !text.is_empty()) else { return Ok(Kind::Control) };
    let value = payload(text)?;
    let Value::Object(mut event) = value else {
        return Err(Refusal::Dead("expected a change event, found something else".into()));
    };
    let mut image = |name: &str| match event.remove(name) {
        Some(Value::Object(image)) => Some(image),
        _ => None,
    };
    let (before, after) = (image("before"), image("after"));
    let source = image("source").unwrap_or_default();
    let Some(Value::String(op)) = event.get("op") else {
        return without_op(&event, before.is_none() && after.is_none());
    };
    let Some(op) = Op::from_letter(op) else {
        return Err(Refusal::Dead(format!("unknown op `{op}`: expected r, c, u, d or t")));
    };
    let key = match record.key.as_deref().filter(|key| !key.is_empty()).map(payload).transpose()? {
        None | Some(Value::Null) => None,
        Some(Value::Object(key)) => Some(key),
        Some(other) => Some(Map::from_iter([("key".to_owned(), other)])),
    };
    match op {
        Op::Read | Op::Create | Op::Update if after.is_none() => {
            return Err(Refusal::Dead(format!("op {op} without `after`")));
        }
        Op::Delete if before.is_none() && key.is_none() => {
            return Err(Refusal::Dead("op d without `before` and without a key, that is without a `row`".into()));
        }
        _ => {}
    }
    let event_time_us = source.get("ts_ms").and_then(Value::as_i64).and_then(|ms| ms.checked_mul(1000));
    let snapshot = match source.get("snapshot") {
        Some(Value::Bool(snapshot)) => *snapshot,
        Some(Value::String(word)) => !matches!(word.as_str(), "" | "false"),
        _ => false,
    };
    let snapshot = snapshot || op == Op::Read;
    Ok(Kind::Change(Box::new(Parsed { op, key, before, after, event_time_us, snapshot })))
}

/// The value, out of its frame if it has one.
fn payload(text: &str) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_str(text).map_err(|error| Refusal::Dead(format!("not JSON: {error}")))?;
    match value {
        Value::Object(mut frame) if frame.contains_key("schema") && frame.contains_key("payload") => {
            match frame.get("schema") {
                Some(Value::Null) | None => Ok(frame.remove("payload").unwrap_or_default()),
                Some(_) => Err(Refusal::Unknown("it has a schema part")),
            }
        }
        other => Ok(other),
    }
}

/// A heartbeat, the bounds of a transaction, a schema change; or nothing that Debezium sends.
fn without_op(event: &Object, no_images: bool) -> Result<Kind, Refusal> {
    let has = |name: &&str| event.contains_key(*name);
    let known = ["status", "ddl", "tableChanges", "historyRecord", "aggregate_type"].iter().any(has);
    let heartbeat = event.contains_key("ts_ms") && event.keys().all(|name| name.starts_with("ts_"));
    if no_images && (known || heartbeat) {
        return Ok(Kind::Control);
    }
    Err(Refusal::Dead("no `op`: not a Debezium change event".into()))
}

/// Adds what an object shows: the first type of a column counts, and whole numbers become fractions where there are any.
fn show(fields: &mut Vec<Field>, object: &Object) {
    for (name, value) in object {
        let Some(data_type) = shown(value) else { continue };
        match fields.iter_mut().find(|field| field.name == *name) {
            Some(field) if field.data_type == DataType::Int64 && data_type == DataType::Float64 => {
                field.data_type = DataType::Float64;
            }
            Some(_) => {}
            None => fields.push(Field { name: name.clone(), data_type, nullable: true }),
        }
    }
}

fn shown(value: &Value) -> Option<DataType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => DataType::Boolean,
        Value::Number(number) if number.is_i64() => DataType::Int64,
        Value::Number(_) => DataType::Float64,
        Value::String(_) => DataType::Text,
        Value::Array(_) | Value::Object(_) => DataType::Json,
    })
}

impl Parsed {
    /// Why it is no row of these columns.
    fn misfit(&self, key: &[Field], row: &[Field]) -> Option<String> {
        let images = [("key", &self.key, key), ("before", &self.before, row), ("after", &self.after, row)];
        images.into_iter().find_map(|(image, object, fields)| {
            let object = object.as_ref()?;
            fields.iter().find_map(|field| {
                let value = object.get(&field.name)?;
                let fits = match (value, field.data_type) {
                    (Value::Null, _) => true,
                    (Value::Number(_), DataType::Float64) => true,
                    (Value::String(word), DataType::Float64) => {
                        ["NaN", "Infinity", "-Infinity"].contains(&word.as_str())
                    }
                    (value, wanted) => shown(value) == Some(wanted),
                };
                (!fits).then(|| format!("column {image}.{}: expected {}, found {value}", field.name, field.data_type))
            })
        })
    }

    /// The row that the change is about; none: the key stands for it.
    fn row(&self) -> Option<&Object> {
        let (first, second) =
            if self.op == Op::Delete { (&self.before, &self.after) } else { (&self.after, &self.before) };
        first.as_ref().or(second.as_ref()).or(self.key.as_ref())
    }

    fn image(&self, image: Image) -> Option<&Object> {
        match image {
            Image::Key => self.key.as_ref(),
            Image::Before => self.before.as_ref(),
            Image::After => self.after.as_ref(),
            Image::Row => self.row(),
            Image::Envelope => None,
        }
    }
}

impl Rows {
    pub fn op(&self, row: usize) -> Op {
        self.changes[row].op
    }

    /// A column, whoever asks.
    pub fn cells(&self, image: Image, name: &str) -> Option<Column<'static>> {
        if image == Image::Envelope {
            return self.envelope(name);
        }
        let field = self.schema(image).into_iter().find(|field| field.name == name)?;
        let values = self.changes.iter().map(|change| change.image(image).and_then(|object| object.get(name)));
        Some(column(field.data_type, values))
    }

    fn envelope(&self, name: &str) -> Option<Column<'static>> {
        fn fill<K: crate::Kind + ?Sized, T>(
            of: impl Iterator<Item = T>,
            mut push: impl FnMut(&mut ColumnBuilder<K>, T),
        ) -> Column<'static> {
            let mut builder = ColumnBuilder::<K>::new();
            of.for_each(|value| push(&mut builder, value));
            builder.finish()
        }
        let changes = self.changes.iter();
        Some(match name {
            "op" => fill::<str, _>(changes, |out, change| out.push(change.op.letter())),
            "topic" => fill::<str, _>(changes, |out, _| out.push("case")),
            "partition" => fill::<i32, _>(changes, |out, _| out.push(0)),
            "offset" => fill::<i64, _>(0..self.changes.len(), |out, at| out.push(at as i64)),
            "kafka_time" => fill::<Timestamp, _>(changes, |out, _| out.push(Timestamp::from_micros(0))),
            "event_time" => fill::<Timestamp, _>(changes, |out, change| {
                out.push_cell(change.event_time_us.map(Timestamp::from_micros).into());
            }),
            "position" => fill::<[u8], _>(changes, |out, _| out.push_null()),
            "snapshot" => fill::<bool, _>(changes, |out, change| out.push(change.snapshot)),
            _ => return None,
        })
    }
}

impl BatchSource for Rows {
    fn len(&self) -> usize {
        self.changes.len()
    }

    fn schema(&self, image: Image) -> Vec<Field> {
        let field = |(name, data_type): (&str, DataType)| Field { name: name.into(), data_type, nullable: true };
        match image {
            Image::Key => self.key.clone(),
            Image::Before | Image::After | Image::Row => self.row.clone(),
            Image::Envelope => [
                ("op", DataType::Text),
                ("event_time", DataType::Timestamp),
                ("topic", DataType::Text),
                ("partition", DataType::Int32),
                ("offset", DataType::Int64),
                ("kafka_time", DataType::Timestamp),
                ("position", DataType::Bytes),
                ("snapshot", DataType::Boolean),
            ]
            .map(field)
            .to_vec(),
        }
    }

    fn column(&self, image: Image, name: &str) -> Option<Column<'_>> {
        let declared = self.reads.iter().any(|reads| match reads {
            Reads::Column(of, column) => *of == image && column == name,
            Reads::Image(of) => *of == image,
        });
        assert!(
            declared || image == Image::Envelope,
            "the transform reads `{name}` of `{image}`, which its description does not name: the host would stop it"
        );
        self.cells(image, name)
    }

    fn presence(&self, image: Image) -> Option<Cow<'_, [u8]>> {
        let mut absent = RareBits::default();
        let lacks = |change: &Parsed| image != Image::Envelope && change.image(image).is_none();
        let rows = self.changes.iter().enumerate().filter(|(_, change)| lacks(change));
        rows.for_each(|(row, _)| absent.set(row));
        absent.finish_inverted(self.changes.len()).map(Cow::Owned)
    }

    fn ops(&self) -> Cow<'_, [u8]> {
        self.changes.iter().map(|change| change.op as u8).collect()
    }

    fn now(&self) -> i64 {
        0
    }

    fn watermark(&self) -> Option<i64> {
        None
    }
}

/// Cells of one type; the values fit it, or are not there.
fn column<'v>(data_type: DataType, values: impl Iterator<Item = Option<&'v Value>>) -> Column<'static> {
    fn of<K: crate::Kind + ?Sized>(
        values: &[Option<&Value>],
        push: impl Fn(&mut ColumnBuilder<K>, &Value),
    ) -> Column<'static> {
        let mut builder = ColumnBuilder::<K>::new();
        for value in values {
            match value {
                None | Some(Value::Null) => builder.push_null(),
                Some(value) if is_unavailable(value) => builder.push_unchanged(),
                Some(value) => push(&mut builder, value),
            }
        }
        builder.finish()
    }
    let values: Vec<_> = values.collect();
    match data_type {
        DataType::Boolean => of::<bool>(&values, |out, value| out.push(value.as_bool().unwrap_or_default())),
        DataType::Int64 => of::<i64>(&values, |out, value| out.push(value.as_i64().unwrap_or_default())),
        DataType::Float64 => of::<f64>(&values, |out, value| {
            let word = value.as_str().and_then(|word| word.replace("Infinity", "inf").parse().ok());
            out.push(value.as_f64().or(word).unwrap_or_default());
        }),
        DataType::Json => of::<Json<String>>(&values, |out, value| out.push(&value.to_string())),
        _ => of::<str>(&values, |out, value| out.push(value.as_str().unwrap_or_default())),
    }
}

fn is_unavailable(value: &Value) -> bool {
    match value {
        Value::String(text) => text == UNAVAILABLE,
        Value::Array(list) => list.len() == 1 && is_unavailable(&list[0]),
        _ => false,
    }
}

/// A cell of a column that the host would copy, or that the transform made; none if it is null or unchanged.
pub(super) fn cell_json(column: &Column<'_>, scale: u8, row: usize) -> Option<Value> {
    let is_set = |bits: &Option<Cow<'_, [u8]>>| bits.as_deref().map(|bits| crate::column::bit(bits, row));
    if is_set(&column.validity) == Some(false) || is_set(&column.unchanged) == Some(true) {
        return None;
    }
    let text = |var: &VarLength<'_>| String::from_utf8_lossy(var.row(row)).into_owned();
    Some(match &column.values {
        Values::Boolean(bits) => crate::column::bit(bits, row).into(),
        Values::Int32(values) => values[row].into(),
        Values::Int64(values) => values[row].into(),
        // As it is written, not as the nearest double.
        Values::Float32(values) => serde_json::from_str(&values[row].to_string()).unwrap_or_default(),
        Values::Float64(values) => values[row].into(),
        Values::Decimal(bytes) => {
            let unscaled = bytes[row * 16..][..16].try_into().map(i128::from_le_bytes).unwrap_or_default();
            serde_json::from_str(&crate::Decimal::new(unscaled, scale).to_string()).unwrap_or_default()
        }
        Values::Date(days) => crate::Date { days: days[row] }.to_string().into(),
        Values::Timestamp(micros) => rfc3339(micros[row]).into(),
        Values::Text(var) | Values::Json(var) => text(var).into(),
        Values::Bytes(var) => var.row(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    })
}

/// With as many digits after the point as `lakemill test` shows: none, three or six.
fn rfc3339(micros: i64) -> String {
    let text = Timestamp::from_micros(micros).to_string();
    match text.strip_suffix("000Z") {
        Some(millis) if text.contains('.') => format!("{millis}Z"),
        _ => text,
    }
}
