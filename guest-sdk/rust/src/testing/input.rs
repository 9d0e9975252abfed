//! From Debezium JSON to a batch: what the host's decoder does, told once more in plain words, without what takes a schema part. Knows no
//! transform.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{Kind, Object, kind, text, whole};
use super::schema::{Schema, Slot};
use super::values::{Content, Shown, content};
use super::{Dead, Record};
use crate::column::{RareBits, Values, VarLength};
use crate::{
    BatchSource, Cell, Column, ColumnBuilder, DataType, Date, Decimal, Field, Image, Json, Op, Reads, Timestamp,
};

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
    changes: Vec<Change>,
    key: Vec<Slot>,
    row: Vec<Slot>,
    reads: Vec<Reads>,
}

/// A change event as it is written.
struct Parsed {
    op: Op,
    key: Option<Object>,
    before: Option<Object>,
    after: Option<Object>,
    event_time_us: Option<i64>,
    snapshot: bool,
}

/// A change event in cells: of the key's columns, and of the row's.
struct Change {
    op: Op,
    key: Option<Vec<Content>>,
    before: Option<Vec<Content>>,
    after: Option<Vec<Content>>,
    /// Where neither image is there: the row's columns that the key has.
    of_key: Option<Vec<Content>>,
    event_time_us: Option<i64>,
    snapshot: bool,
}

/// What a record is.
enum Sort {
    Change(Box<Parsed>),
    Control,
}

/// Reads records by a schema; `reads` is what the transform may ask for.
pub(super) fn read(records: &[Record], schema: &Schema, reads: &[Reads]) -> Result<Input, String> {
    let mut dead = Vec::new();
    let mut changes = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match parse(record) {
            Ok(Sort::Change(change)) => changes.push((at, *change)),
            Ok(Sort::Control) => {}
            Err(Refusal::Dead(reason)) => dead.push(Dead { record: at, reason, by_transform: false }),
            Err(Refusal::Unknown(what)) => {
                return Err(format!(
                    "record {at}: {what}, which `lakemill test` reads and `cargo test` does not: declare the columns in the case's \
                     `schema` and leave the schema part out, or write `native: false` in the case"
                ));
            }
        }
    }
    let (key, row) = match schema {
        Schema::Declared { key, row } => (key.clone(), row.clone()),
        Schema::Infer => inferred(changes.iter().map(|(_, change)| change)),
    };
    let mut rows = Rows { reads: reads.to_vec(), key, row, ..Rows::default() };
    let mut of_rows = Vec::new();
    for (at, change) in changes {
        match rows.cells_of(&change) {
            Ok(change) => {
                of_rows.push(at);
                rows.changes.push(change);
            }
            Err(reason) => dead.push(Dead { record: at, reason, by_transform: false }),
        }
    }
    Ok(Input { rows, records: of_rows, dead })
}

/// The columns of the keys and of the rows that changes show.
fn inferred<'c>(changes: impl Iterator<Item = &'c Parsed>) -> (Vec<Slot>, Vec<Slot>) {
    let (mut key, mut row) = (Shown::default(), Shown::default());
    for change in changes {
        change.before.iter().chain(&change.after).for_each(|image| row.add(image));
        change.key.iter().for_each(|image| key.add(image));
    }
    let (mut key, row) = (key.slots(), row.slots());
    for slot in &mut key {
        // A key shows one value at a time, and a number may be whole by chance.
        if let Some(of_row) = row.iter().find(|of_row| of_row.field.name == slot.field.name) {
            slot.field.data_type = of_row.field.data_type;
        }
    }
    (key, row)
}

enum Refusal {
    Dead(String),
    Unknown(&'static str),
}

fn parse(record: &Record) -> Result<Sort, Refusal> {
    let Some(value) = record.value.as_deref().filter(|text| !text.is_empty()) else { return Ok(Sort::Control) };
    let event = payload(value)?;
    let Some(event) = Object::of(&event) else {
        return Err(Refusal::Dead("expected a change event, found something else".into()));
    };
    let image = |name: &str| event.get(name).and_then(Object::of);
    let (before, after) = (image("before"), image("after"));
    let source = image("source").unwrap_or_default();
    let Some(op) = event.get("op").filter(|op| kind(op) == Kind::Text).map(text) else {
        return without_op(&event, before.is_none() && after.is_none());
    };
    let Some(op) = Op::from_letter(&op) else {
        return Err(Refusal::Dead(format!("unknown op `{op}`: expected r, c, u, d or t")));
    };
    let key = match record.key.as_deref().filter(|key| !key.is_empty()).map(payload).transpose()? {
        Some(key) if kind(&key) == Kind::Object => Object::of(&key),
        Some(key) if kind(&key) != Kind::Null => Some(Object(vec![("key".to_owned(), key)])),
        _ => None,
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
    let event_time_us = source.get("ts_ms").and_then(whole).and_then(|ms| ms.checked_mul(1000));
    let snapshot = match source.get("snapshot") {
        Some(word) if kind(word) == Kind::Text => !matches!(text(word).as_str(), "" | "false"),
        Some(word) => word.get() == "true",
        None => false,
    };
    let snapshot = snapshot || op == Op::Read;
    Ok(Sort::Change(Box::new(Parsed { op, key, before, after, event_time_us, snapshot })))
}

/// The value, out of its frame if it has one.
fn payload(text: &str) -> Result<Box<RawValue>, Refusal> {
    let value: Box<RawValue> =
        serde_json::from_str(text).map_err(|error| Refusal::Dead(format!("not JSON: {error}")))?;
    let Some(frame) = Object::of(&value) else { return Ok(value) };
    match (frame.get("schema"), frame.get("payload")) {
        (Some(schema), Some(payload)) if frame.0.len() == 2 => match kind(schema) {
            Kind::Null => Ok(payload.to_owned()),
            _ => Err(Refusal::Unknown("it has a schema part")),
        },
        _ => Ok(value),
    }
}

/// A heartbeat, the bounds of a transaction, a schema change; or nothing that Debezium sends.
fn without_op(event: &Object, no_images: bool) -> Result<Sort, Refusal> {
    let has = |name: &&str| event.get(name).is_some();
    let known = ["status", "ddl", "tableChanges", "historyRecord", "aggregate_type"].iter().any(has);
    let heartbeat = has(&"ts_ms") && event.0.iter().all(|(name, _)| name.starts_with("ts_"));
    if no_images && (known || heartbeat) {
        return Ok(Sort::Control);
    }
    Err(Refusal::Dead("no `op`: not a Debezium change event".into()))
}

/// An image in cells of these columns.
fn cells(image: &str, object: &Object, slots: &[Slot]) -> Result<Vec<Content>, String> {
    let cell = |slot: &Slot| match object.get(&slot.field.name) {
        Some(value) => content(value, slot).map_err(|wrong| format!("column {image}.{}: {wrong}", slot.field.name)),
        None => Ok(Content::Null),
    };
    slots.iter().map(cell).collect()
}

impl Rows {
    /// A change in cells, or why it is none of these columns.
    fn cells_of(&self, change: &Parsed) -> Result<Change, String> {
        let of = |name: &str, object: &Option<Object>, slots: &[Slot]| {
            object.as_ref().map(|object| cells(name, object, slots)).transpose()
        };
        let after = of("after", &change.after, &self.row)?;
        for (slot, cell) in self.row.iter().zip(after.iter().flatten()) {
            if !slot.field.nullable && *cell == Content::Null {
                return Err(format!("column after.{}: it is null, and declared as not nullable", slot.field.name));
            }
        }
        let key = of("key", &change.key, &self.key)?;
        let of_row = |slot: &Slot| {
            let place = self.key.iter().position(|of_key| of_key.field.name == slot.field.name);
            place.zip(key.as_ref()).map_or(Content::Null, |(place, cells)| cells[place].clone())
        };
        let of_key = key.as_ref().map(|_| self.row.iter().map(of_row).collect());
        Ok(Change {
            op: change.op,
            before: of("before", &change.before, &self.row)?,
            after,
            key,
            of_key,
            event_time_us: change.event_time_us,
            snapshot: change.snapshot,
        })
    }
}

impl Change {
    /// The row that the change is about; none: the key stands for it.
    fn row(&self) -> Option<&Vec<Content>> {
        let (first, second) =
            if self.op == Op::Delete { (&self.before, &self.after) } else { (&self.after, &self.before) };
        first.as_ref().or(second.as_ref()).or(self.of_key.as_ref())
    }

    fn image(&self, image: Image) -> Option<&Vec<Content>> {
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
        let slots = if image == Image::Key { &self.key } else { &self.row };
        let place = slots.iter().position(|slot| slot.field.name == name)?;
        let cells = self.changes.iter().map(|change| change.image(image).map_or(&Content::Null, |cells| &cells[place]));
        Some(column(slots[place].field.data_type, cells))
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
            Image::Key => fields(&self.key),
            Image::Before | Image::After | Image::Row => fields(&self.row),
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
        let lacks = |change: &Change| image != Image::Envelope && change.image(image).is_none();
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

fn fields(slots: &[Slot]) -> Vec<Field> {
    slots.iter().map(|slot| slot.field.clone()).collect()
}

/// The column of cells of one type.
fn column<'c>(data_type: DataType, cells: impl Iterator<Item = &'c Content>) -> Column<'static> {
    fn of<'c, K: crate::Kind + ?Sized>(
        cells: impl Iterator<Item = &'c Content>,
        value: impl Fn(&'c Content) -> Option<K::Value<'c>>,
    ) -> Column<'static> {
        let mut builder = ColumnBuilder::<K>::new();
        for cell in cells {
            builder.push_cell(match cell {
                Content::Unchanged => Cell::Unchanged,
                cell => value(cell).into(),
            });
        }
        builder.finish()
    }
    macro_rules! of {
        ($kind:ty, $variant:ident, $value:ident => $cell:expr) => {
            of::<$kind>(cells, |cell| if let Content::$variant($value) = cell { Some($cell) } else { None })
        };
    }
    match data_type {
        DataType::Boolean => of!(bool, Boolean, value => *value),
        DataType::Int32 => of!(i32, Int32, value => *value),
        DataType::Int64 => of!(i64, Int64, value => *value),
        DataType::Float32 => of!(f32, Float32, value => *value),
        DataType::Float64 => of!(f64, Float64, value => *value),
        DataType::Decimal { scale, .. } => of!(Decimal, Decimal, value => Decimal::new(*value, scale)),
        DataType::Date => of!(Date, Date, value => Date::from_days(*value)),
        DataType::Timestamp => of!(Timestamp, Timestamp, value => Timestamp::from_micros(*value)),
        DataType::Text => of!(str, Text, value => value),
        DataType::Bytes => of!([u8], Bytes, value => value),
        DataType::Json => of!(Json<String>, Text, value => value),
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
        Values::Float32(values) if !values[row].is_finite() => word(values[row].into()).into(),
        Values::Float64(values) if !values[row].is_finite() => word(values[row]).into(),
        // As it is written, not as the nearest double.
        Values::Float32(values) => serde_json::from_str(&values[row].to_string()).unwrap_or_default(),
        Values::Float64(values) => values[row].into(),
        Values::Decimal(bytes) => {
            // As text: as a JSON number, one of many digits would be another.
            let unscaled = bytes[row * 16..][..16].try_into().map(i128::from_le_bytes).unwrap_or_default();
            Decimal::new(unscaled, scale).to_string().into()
        }
        Values::Date(days) => crate::Date { days: days[row] }.to_string().into(),
        Values::Timestamp(micros) => rfc3339(micros[row]).into(),
        Values::Text(var) | Values::Json(var) => text(var).into(),
        Values::Bytes(var) => var.row(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    })
}

/// What JSON has no number for.
fn word(float: f64) -> &'static str {
    match float {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

/// With as many digits after the point as `lakemill test` shows: none, three or six.
fn rfc3339(micros: i64) -> String {
    let text = Timestamp::from_micros(micros).to_string();
    match text.strip_suffix("000Z") {
        Some(millis) if text.contains('.') => format!("{millis}Z"),
        _ => text,
    }
}
