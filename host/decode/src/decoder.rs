//! The decoder: takes the records of a batch in order and gives each one a fate: a row, a dead letter, or a control record.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_model::{ChangeBatch, RawBatch, RawRecord, RowSchema, TopicPartition};

use crate::building::{Building, Payload};
use crate::convert::Placeholder;
use crate::framing::{Frame, split};
use crate::image::Fault;
use crate::layout::{Layout, Projection, Shown, Slot, row_slots, slot, slots};
use crate::reason::Reason;
use crate::scan::{Cursor, Kind};

/// Where column types come from where a record brings no schema part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// From the first records that show a column; from then on another type is a dead letter.
    #[default]
    Infer,
    /// From nowhere: such a record is a dead letter.
    Inline,
    /// From here.
    Declared(RowSchema),
}

/// How to decode.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Where column types come from.
    pub mode: SchemaMode,
    /// What is read; the rest is skipped.
    pub projection: Projection,
    /// What the source sends in place of a cell that the change left as it was (Debezium's
    /// `unavailable.value.placeholder`).
    pub placeholder: String,
    /// How deep JSON may nest within a record.
    pub depth_max: usize,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            mode: SchemaMode::Infer,
            projection: Projection::all(),
            placeholder: "__debezium_unavailable_value".into(),
            depth_max: 64,
        }
    }
}

/// Writes inferred columns down before they are used: takes a topic and what its records show, returns what holds.
pub type Settle = dyn Fn(&str, RowSchema) -> Result<RowSchema, String> + Send + Sync;

/// The decoder cannot go on: not a matter of single records.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// Inferred columns could not be written down.
    #[error("write down the inferred columns of topic {topic}: {reason}")]
    Settle {
        /// Whose.
        topic: String,
        /// Why.
        reason: String,
    },
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Index into the batch's records.
    pub record: u32,
    /// Why.
    pub reason: Reason,
}

/// What became of a batch: every record is a row of one of the batches, or dead, or counted in `control`.
#[derive(Debug, Default)]
pub struct Decoded {
    /// One per topic and row schema; batches of one topic are in order.
    pub batches: Vec<ChangeBatch>,
    /// Records for the dead letters.
    pub dead: Vec<Undecodable>,
    /// Tombstones, heartbeats, transaction and schema-change records, notifications.
    pub control: u64,
    /// The largest event time per partition, in microseconds since 1970, of changes that are no snapshot's, and of heartbeats.
    pub event_time_us_max: BTreeMap<TopicPartition, i64>,
}

/// Decodes batches; workers share one.
pub struct Decoder {
    config: DecoderConfig,
    placeholder: Placeholder,
    settle: Box<Settle>,
    /// Inferred layouts by topic.
    inferred: Mutex<HashMap<Arc<str>, Arc<Layout>>>,
    declared: Option<Arc<Layout>>,
}

/// A topic within one batch.
#[derive(Default)]
struct Topic {
    building: Option<Building>,
    /// The layout that is used for records without a schema part.
    bare: Option<Arc<Layout>>,
    /// The bytes before the payload that led to the layout of `inline`.
    prefix: Box<str>,
    /// The schema part of the key that led to it.
    key_schema: Box<str>,
    inline: Option<Arc<Layout>>,
}

/// A record whose payload was found.
struct Opened<'a> {
    payload: Cursor<'a>,
    /// What must follow it.
    closing: fn(&mut Cursor<'a>) -> Result<(), crate::scan::Broken>,
    layout: Arc<Layout>,
}

enum Stop {
    Dead(Reason),
    Error(DecoderError),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Stop::Dead(reason)
    }
}

impl From<crate::scan::Broken> for Stop {
    fn from(broken: crate::scan::Broken) -> Self {
        Stop::Dead(broken.into())
    }
}

/// How many records of a topic are looked at before its columns are settled.
const SAMPLE: usize = 500;

impl Decoder {
    /// A decoder. `settle` is asked before inferred columns are used.
    pub fn new(config: DecoderConfig, settle: Box<Settle>) -> Self {
        let declared = match &config.mode {
            SchemaMode::Declared(schema) => Some(Arc::new(Layout { checked: true, ..Layout::plain(schema) })),
            SchemaMode::Infer | SchemaMode::Inline => None,
        };
        let placeholder = Placeholder::new(&config.placeholder);
        Self { config, placeholder, settle, inferred: Mutex::default(), declared }
    }

    /// Takes over the columns that another decoder has inferred, so that nothing is looked at anew when one follows the other.
    #[must_use]
    pub fn with_inferred_of(self, other: &Decoder) -> Self {
        let known = other.inferred.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { inferred: Mutex::new(known), ..self }
    }

    /// Decodes a batch.
    ///
    /// # Errors
    /// If inferred columns cannot be written down; never because of a record.
    pub fn decode(&self, raw: &RawBatch) -> Result<Decoded, DecoderError> {
        let run = self.run(raw)?;
        if !run.grew {
            return Ok(run.finish());
        }
        // Rows before a column was met and after it would be two batches, and are one in a replay, which knows the column from the
        // beginning: as they are now.
        Ok(self.run(raw)?.finish())
    }

    fn run<'a>(&'a self, raw: &'a RawBatch) -> Result<Run<'a>, DecoderError> {
        let mut run = Run {
            decoder: self,
            raw,
            topics: raw.topics().iter().map(|_| Topic::default()).collect(),
            decoded: Decoded::default(),
            times: HashMap::new(),
            grew: false,
        };
        for (index, record) in raw.records().iter().enumerate() {
            match run.record(index, record) {
                Ok(()) => {}
                Err(Stop::Dead(reason)) => run.decoded.dead.push(Undecodable { record: index as u32, reason }),
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        Ok(run)
    }

    fn known(&self, topic: &Arc<str>) -> Option<Arc<Layout>> {
        self.inferred.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// The inferred layout of a topic, with whatever `shown` adds to it.
    fn inferred(&self, topic: &Arc<str>, shown: RowSchema) -> Result<Arc<Layout>, DecoderError> {
        let mut all = self.inferred.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(topic).map(|layout| (*layout.schema).clone()).unwrap_or_default();
        let wanted = joined(known.clone(), shown);
        if let Some(layout) = all.get(topic).filter(|_| wanted == known) {
            return Ok(layout.clone());
        }
        let settled =
            (self.settle)(topic, wanted).map_err(|reason| DecoderError::Settle { topic: topic.to_string(), reason })?;
        let layout = Arc::new(Layout { grows: true, ..Layout::plain(&settled) });
        all.insert(topic.clone(), layout.clone());
        Ok(layout)
    }
}

/// `known` with the columns of `more` that it lacks: a type that is known stays.
pub fn joined(mut known: RowSchema, more: RowSchema) -> RowSchema {
    for (known, more) in [(&mut known.key, more.key), (&mut known.row, more.row)] {
        for field in more {
            if !known.iter().any(|there| there.name == field.name) {
                known.push(field);
            }
        }
    }
    known
}

struct Run<'a> {
    decoder: &'a Decoder,
    raw: &'a RawBatch,
    topics: Vec<Topic>,
    decoded: Decoded,
    /// By topic index and partition.
    times: HashMap<(u16, i32), i64>,
    /// A column was met that no record before had.
    grew: bool,
}

impl<'a> Run<'a> {
    fn record(&mut self, index: usize, record: &RawRecord) -> Result<(), Stop> {
        let Some(value) = self.raw.value(record).filter(|value| !value.is_empty()) else {
            self.decoded.control += 1;
            return Ok(());
        };
        let value = utf8(value)?;
        let key = match self.raw.key(record).filter(|key| !key.is_empty()) {
            Some(key) => Some(utf8(key)?),
            None => None,
        };
        if let Some(opened) = self.open_like_the_last(record, value, key) {
            match self.read(index, record, opened, key) {
                // Begins like the one before it, and goes on in another way: it is looked at for itself, as if it had come alone.
                Err(Stop::Dead(_)) => {}
                done => return done,
            }
        }
        let opened = self.open(index, record, value, key)?;
        self.read(index, record, opened, key)
    }

    /// Reads the payload of a record that was opened.
    fn read(&mut self, index: usize, record: &RawRecord, opened: Opened<'a>, key: Option<&'a str>) -> Result<(), Stop> {
        let Opened { mut payload, closing, mut layout } = opened;
        let payload_at = payload.at();
        // An inferred layout grows by all columns of the record at once. What does not help then is broken in itself, and is
        // read once more for the reason.
        for attempt in 0..3 {
            let key_cursor = match key {
                Some(key) => self.key_payload(key)?,
                None => None,
            };
            if attempt == 2 {
                layout = Arc::new(Layout { grows: false, ..(*layout).clone() });
            }
            self.switch(record, &layout);
            let placeholder = &self.decoder.placeholder;
            let topic = &mut self.topics[usize::from(record.topic)];
            let Some(building) = &mut topic.building else { break };
            match building.read(&mut payload, key_cursor, record, index as u32, placeholder) {
                Ok(read) => {
                    // What stands after the payload can still be broken.
                    if let Err(broken) = closing(&mut payload) {
                        if matches!(read, Payload::Row { .. }) {
                            building.undo();
                        }
                        return Err(broken.into());
                    }
                    self.count(record, &read);
                    return Ok(());
                }
                Err(Fault::Dead(reason)) => return Err(reason.into()),
                Err(Fault::Grow) => {
                    payload.seek(payload_at);
                    layout = self.grow(record, &layout, payload.clone(), key)?;
                }
            }
        }
        Err(Reason::NotAChange("it shows other columns each time it is read".into()).into())
    }

    /// Takes a frame that begins like the last one of its topic to be the same.
    fn open_like_the_last(&self, record: &RawRecord, value: &'a str, key: Option<&str>) -> Option<Opened<'a>> {
        let topic = &self.topics[usize::from(record.topic)];
        let is_alike = !topic.prefix.is_empty()
            && value.starts_with(&*topic.prefix)
            && key_schema(key).is_some_and(|schema| schema == &*topic.key_schema);
        let layout = topic.inline.clone().filter(|_| is_alike)?;
        let mut payload = Cursor::new(value, self.decoder.config.depth_max);
        payload.seek(topic.prefix.len());
        Some(Opened { payload, closing: close_frame, layout })
    }

    /// Finds the payload and the layout that fits it.
    fn open(
        &mut self,
        index: usize,
        record: &RawRecord,
        value: &'a str,
        key: Option<&'a str>,
    ) -> Result<Opened<'a>, Stop> {
        let depth_max = self.decoder.config.depth_max;
        let mut cursor = Cursor::new(value, depth_max);
        match split(value, depth_max)? {
            Frame::Bare => Ok(Opened { payload: cursor, closing: Cursor::end, layout: self.bare(index, record)? }),
            Frame::Framed { schema: None, payload, .. } => {
                cursor.seek(payload);
                Ok(Opened { payload: cursor, closing: nothing, layout: self.bare(index, record)? })
            }
            Frame::Framed { schema: Some(schema), payload, schema_first } => {
                let layout = Arc::new(inline_layout(schema, key)?);
                let topic = &mut self.topics[usize::from(record.topic)];
                let layout = topic.inline.clone().filter(|known| **known == *layout).unwrap_or(layout);
                topic.inline = Some(layout.clone());
                if schema_first {
                    topic.prefix = value[..payload].into();
                    topic.key_schema = key_schema(key).unwrap_or_default().into();
                }
                cursor.seek(payload);
                Ok(Opened { payload: cursor, closing: nothing, layout })
            }
        }
    }

    /// The layout of records without a schema part.
    fn bare(&mut self, index: usize, record: &RawRecord) -> Result<Arc<Layout>, Stop> {
        let at = usize::from(record.topic);
        if let Some(layout) = &self.topics[at].bare {
            return Ok(layout.clone());
        }
        let layout = match (&self.decoder.config.mode, &self.decoder.declared) {
            (SchemaMode::Inline, _) => {
                return Err(Reason::Schema(
                    "no schema part, but `source.schema: inline` says that every record brings one".into(),
                )
                .into());
            }
            (_, Some(declared)) => declared.clone(),
            (_, None) => match self.decoder.known(&self.raw.topics()[at]) {
                Some(known) => known,
                None => {
                    let shown = self.sample(index, record.topic);
                    self.decoder.inferred(&self.raw.topics()[at], shown).map_err(Stop::Error)?
                }
            },
        };
        self.topics[at].bare = Some(layout.clone());
        Ok(layout)
    }

    /// What the next records of a topic show.
    fn sample(&self, from: usize, topic: u16) -> RowSchema {
        let (mut key, mut row) = (Shown::default(), Shown::default());
        let records = self.raw.records()[from..].iter().filter(|record| record.topic == topic);
        for record in records.take(SAMPLE) {
            let text = |bytes: Option<&'a [u8]>| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            let (Some(value), of_key) = (text(self.raw.value(record)), text(self.raw.key(record))) else { continue };
            // A record that is broken shows nothing; its turn comes.
            let shown = shows(Cursor::new(value, self.decoder.config.depth_max), of_key, &self.decoder.config);
            if let Some((its_key, its_row)) = shown {
                let merge = |all: &mut Shown, its: Shown| its.0.into_iter().for_each(|field| all.merge(field));
                merge(&mut key, its_key);
                merge(&mut row, its_row);
            }
        }
        key_types(RowSchema { key: key.0, row: row.0 })
    }

    /// The layout with the columns that this record adds, if the record is sound with them: one that is broken adds nothing.
    fn grow(
        &mut self,
        record: &RawRecord,
        layout: &Layout,
        payload: Cursor<'a>,
        key: Option<&'a str>,
    ) -> Result<Arc<Layout>, Stop> {
        let topic = &self.raw.topics()[usize::from(record.topic)];
        let Some((its_key, its_row)) = shows(payload.clone(), key, &self.decoder.config) else {
            return Ok(Arc::new(Layout { grows: false, ..layout.clone() }));
        };
        let shown = key_types(RowSchema { key: its_key.0, row: its_row.0 });
        let wanted = Arc::new(Layout::plain(&joined((*layout.schema).clone(), shown.clone())));
        let mut trial = Building::new(wanted, topic.clone(), &Projection::all(), 1);
        let key = key.map_or(Ok(None), |key| self.key_payload(key))?;
        match trial.read(&mut payload.clone(), key, record, 0, &self.decoder.placeholder) {
            Ok(_) => {}
            Err(Fault::Dead(reason)) => return Err(reason.into()),
            Err(Fault::Grow) => return Ok(Arc::new(Layout { grows: false, ..layout.clone() })),
        }
        let layout = self.decoder.inferred(topic, shown).map_err(Stop::Error)?;
        self.topics[usize::from(record.topic)].bare = Some(layout.clone());
        self.grew = true;
        Ok(layout)
    }

    /// Makes sure that the topic's batch has this layout.
    fn switch(&mut self, record: &RawRecord, layout: &Arc<Layout>) {
        let topic = &mut self.topics[usize::from(record.topic)];
        if topic.building.as_ref().is_some_and(|building| Arc::ptr_eq(&building.layout, layout)) {
            return;
        }
        let name = self.raw.topics()[usize::from(record.topic)].clone();
        let rows = self.raw.len() / self.raw.topics().len().max(1);
        let next = Building::new(layout.clone(), name, &self.decoder.config.projection, rows);
        if let Some(done) = topic.building.replace(next).filter(|done| !done.is_empty()) {
            self.decoded.batches.push(done.finish());
        }
    }

    fn key_payload(&self, key: &'a str) -> Result<Option<Cursor<'a>>, Stop> {
        let depth_max = self.decoder.config.depth_max;
        let mut cursor = Cursor::new(key, depth_max);
        match split(key, depth_max) {
            Ok(Frame::Bare) => {
                cursor.skip().and_then(|_| cursor.end()).map_err(in_key)?;
                cursor.seek(0);
            }
            Ok(Frame::Framed { payload, .. }) => cursor.seek(payload),
            Err(broken) => return Err(in_key(broken).into()),
        }
        let is_null = cursor.kind().map_err(in_key)? == Kind::Null;
        Ok((!is_null).then_some(cursor))
    }

    fn count(&mut self, record: &RawRecord, read: &Payload) {
        let time = match read {
            Payload::Row { event_time_us, snapshot } => event_time_us.filter(|_| !snapshot),
            Payload::Control { event_time_us } => {
                self.decoded.control += 1;
                *event_time_us
            }
        };
        if let Some(time) = time {
            let known = self.times.entry((record.topic, record.partition)).or_insert(time);
            *known = time.max(*known);
        }
    }

    fn finish(mut self) -> Decoded {
        for topic in self.topics {
            if let Some(building) = topic.building.filter(|building| !building.is_empty()) {
                self.decoded.batches.push(building.finish());
            }
        }
        for ((topic, partition), time) in self.times {
            let tp = TopicPartition { topic: self.raw.topics()[usize::from(topic)].clone(), partition };
            self.decoded.event_time_us_max.insert(tp, time);
        }
        self.decoded
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Reason> {
    simdutf8::compat::from_utf8(bytes).map_err(|error| Reason::NotUtf8 { at: error.valid_up_to() })
}

fn in_key(broken: crate::scan::Broken) -> Reason {
    Reason::Cell { image: "key", column: "*".into(), what: format!("not JSON at byte {}: {}", broken.at, broken.what) }
}

/// After a payload that was found by its prefix: the end of the frame.
fn close_frame(cursor: &mut Cursor<'_>) -> Result<(), crate::scan::Broken> {
    cursor.space();
    if !cursor.take(b'}') {
        return cursor.broken("expected } after the payload");
    }
    cursor.end()
}

/// After a payload whose frame has been read to its end already.
#[allow(clippy::unnecessary_wraps, reason = "one of several that are chosen from")]
fn nothing(_: &mut Cursor<'_>) -> Result<(), crate::scan::Broken> {
    Ok(())
}

/// The text of a key's schema part; empty without one; `None` if it is broken.
fn key_schema(key: Option<&str>) -> Option<&str> {
    let Some(key) = key else { return Some("") };
    if !key.trim_start().starts_with('{') || !key.contains("\"schema\"") {
        return Some("");
    }
    match split(key, 64) {
        Ok(Frame::Framed { schema, .. }) => Some(schema.unwrap_or("")),
        Ok(Frame::Bare) => Some(""),
        Err(_) => None,
    }
}

fn inline_layout(schema: &str, key: Option<&str>) -> Result<Layout, Reason> {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).map_err(|e| Reason::Schema(format!("its schema part: {e}")))
    };
    let value_schema = parse(schema)?;
    // Records that are no envelopes have schemas of other shapes; they are recognised by their payload.
    let row = match row_slots(&value_schema) {
        Ok(row) => row,
        Err(_) if !schema.contains("Envelope") => Vec::new(),
        Err(reason) => return Err(Reason::Schema(reason)),
    };
    let key_slots = match key_schema(key).filter(|text| !text.is_empty()) {
        Some(text) => {
            let of = parse(text)?;
            if of["type"] == "struct" {
                slots(&of).map_err(Reason::Schema)?
            } else {
                vec![slot(&of).map_err(Reason::Schema)?]
            }
        }
        None => bare_key(key, &row),
    };
    Ok(Layout::new(key_slots, row))
}

/// The columns of a key without a schema part: those of the row by their names, others by what they show.
fn bare_key(key: Option<&str>, row: &[Slot]) -> Vec<Slot> {
    let mut shown = Shown::default();
    let Some(key) = key else { return Vec::new() };
    if shown.add(&mut Cursor::new(key, 64)).is_err() {
        return Vec::new();
    }
    let of_row = |name: &str| row.iter().find(|slot| *slot.field.name == *name).cloned();
    shown.0.into_iter().map(|field| of_row(&field.name).unwrap_or_else(|| Slot::plain(field))).collect()
}

/// What a payload and a key show.
fn shows(mut payload: Cursor<'_>, key: Option<&str>, config: &DecoderConfig) -> Option<(Shown, Shown)> {
    let mut row = Shown::default();
    if let Frame::Framed { payload: at, .. } = split(payload.text(), config.depth_max).ok()? {
        payload.seek(at);
    }
    let mut members = payload.object().ok()?;
    let mut is_change = false;
    while let Some(name) = payload.member(&mut members).ok()? {
        let kind = payload.kind().ok()?;
        is_change |= name == "op" && kind == Kind::Text;
        if matches!(&*name, "before" | "after") && kind == Kind::Object {
            row.add(&mut payload).ok()?;
        } else {
            payload.skip().ok()?;
        }
    }
    let mut its_key = Shown::default();
    if let Some(key) = key {
        let mut cursor = Cursor::new(key, config.depth_max);
        if let Frame::Framed { payload, .. } = split(key, config.depth_max).ok()? {
            cursor.seek(payload);
        }
        its_key.add(&mut cursor).ok()?;
    }
    row.0.retain(|_| is_change);
    its_key.0.retain(|_| is_change);
    Some((its_key, row))
}

/// Gives key columns the type of the row's column of that name: a key shows one value at a time, and a number may be whole by
/// chance.
fn key_types(mut schema: RowSchema) -> RowSchema {
    for field in &mut schema.key {
        if let Some(of_row) = schema.row.iter().find(|row| row.name == field.name) {
            field.data_type = of_row.data_type;
        }
    }
    schema
}

#[cfg(test)]
mod tests;
