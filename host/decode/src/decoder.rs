//! The decoder: takes the records of a batch in order and gives each one a fate: a row, a dead letter, or a control record.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_model::{ChangeBatch, OutOfRange, RawBatch, RawRecord, RowSchema};

use crate::building::{Building, Payload};
use crate::connect::{row_slots, slot, slots};
use crate::convert::{PLACEHOLDER, Placeholder, Values};
use crate::declared::DeclaredColumns;
use crate::framing::{Frame, split};
use crate::image::Fault;
use crate::infer::{Sample, Shown, joined};
use crate::layout::{Layout, Projection, Slot};
use crate::reason::Reason;
use crate::scan::{Cursor, Kind};

/// Where column types come from where a record brings no schema part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// From the records of the first batch that shows a column; from then on another type is a dead letter.
    #[default]
    Infer,
    /// From nowhere: such a record is a dead letter.
    Inline,
    /// From here.
    Declared(DeclaredColumns),
}

/// How to decode.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// Where column types come from.
    pub mode: SchemaMode,
    /// What is read; the rest is skipped.
    pub projection: Projection,
    /// What the source sends in place of a cell that the change left as it was: each text that is Debezium's
    /// `unavailable.value.placeholder` somewhere.
    pub placeholders: Vec<String>,
    /// What becomes of dates and timestamps that no table can hold.
    pub out_of_range: OutOfRange,
    /// How deep JSON may nest within a record.
    pub depth_max: usize,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self {
            mode: SchemaMode::Infer,
            projection: Projection::all(),
            placeholders: vec![PLACEHOLDER.into()],
            out_of_range: OutOfRange::default(),
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
    /// How many dates and timestamps were out of range, and are what the policy makes of them: by topic and column.
    pub out_of_range: BTreeMap<(Arc<str>, Arc<str>), u64>,
    /// Topics whose first changes have other columns than the declared ones; each topic is told once.
    pub other_columns: Vec<OtherColumns>,
    /// Index of a record and its event time in microseconds since 1970, in the order of the records: of changes that are no snapshot's,
    /// and of heartbeats.
    pub event_times_us: Vec<(u32, i64)>,
}

impl Decoded {
    /// Adds what has been built.
    fn take(&mut self, building: Building) {
        for (column, count) in building.out_of_range() {
            let topic = building.topic().clone();
            *self.out_of_range.entry((topic, column.clone())).or_default() += count;
        }
        self.batches.push(building.finish());
    }
}

/// Decodes batches; workers share one.
pub struct Decoder {
    config: DecoderConfig,
    values: Values,
    settle: Box<Settle>,
    /// Inferred layouts by topic.
    inferred: Mutex<HashMap<Arc<str>, Arc<Layout>>>,
    declared: Option<Arc<Layout>>,
    /// Topics whose columns have been compared with the declared ones.
    compared: Mutex<HashSet<Arc<str>>>,
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

/// How many records of a topic are compared with the declared columns.
const COMPARED: usize = 500;

impl Decoder {
    /// A decoder. `settle` is asked before inferred columns are used.
    pub fn new(config: DecoderConfig, settle: Box<Settle>) -> Self {
        let declared = match &config.mode {
            SchemaMode::Declared(columns) => Some(Arc::new(columns.layout(config.out_of_range))),
            SchemaMode::Infer | SchemaMode::Inline => None,
        };
        let placeholder = Placeholder::new(config.placeholders.iter().map(String::as_str));
        let values = Values { placeholder, out_of_range: config.out_of_range };
        Self { config, values, settle, inferred: Mutex::default(), declared, compared: Mutex::default() }
    }

    /// What becomes of dates and timestamps that no table can hold.
    pub fn out_of_range(&self) -> OutOfRange {
        self.config.out_of_range
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
        let mut run = self.run(raw)?;
        if run.grew {
            // Rows before a column was met and after it would be two batches, and are one in a replay, which knows the column from the
            // beginning: as they are now.
            run = self.run(raw)?;
        }
        let mut decoded = run.finish();
        if let Some(declared) = &self.declared {
            decoded.other_columns = self.compare(declared, raw);
        }
        Ok(decoded)
    }

    /// Compares the first changes of each topic with the declared columns, once a topic.
    fn compare(&self, declared: &Layout, raw: &RawBatch) -> Vec<OtherColumns> {
        let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let new = raw.topics().iter().zip(0..).filter(|(topic, _)| !compared.contains(*topic));
        let samples: Vec<_> = new.map(|(topic, at)| (topic.clone(), self.sample(raw, 0, at, COMPARED))).collect();
        let mut found = Vec::new();
        for (topic, sample) in samples.into_iter().filter(|(_, sample)| sample.changes > 0) {
            compared.insert(topic.clone());
            found.extend(OtherColumns::of(topic, declared, &sample));
        }
        found
    }

    /// What the records of a topic show, the first `most` of them from a place on.
    fn sample(&self, raw: &RawBatch, from: usize, topic: u16, most: usize) -> Sample {
        let mut sample = Sample::default();
        let records = raw.records()[from..].iter().filter(|record| record.topic == topic);
        for record in records.take(most) {
            let Some(value) = raw.value(record).and_then(|bytes| std::str::from_utf8(bytes).ok()) else { continue };
            let key = raw.key(record).and_then(|bytes| std::str::from_utf8(bytes).ok());
            sample.add(Cursor::new(value, self.config.depth_max), key, self.config.depth_max);
        }
        sample
    }

    fn run<'a>(&'a self, raw: &'a RawBatch) -> Result<Run<'a>, DecoderError> {
        let mut run = Run {
            decoder: self,
            raw,
            topics: raw.topics().iter().map(|_| Topic::default()).collect(),
            decoded: Decoded::default(),
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
        let layout = Arc::new(Layout::inferred(&settled));
        all.insert(topic.clone(), layout.clone());
        Ok(layout)
    }
}

/// Columns of a topic's first changes that are not the declared ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherColumns {
    /// Whose.
    pub topic: Arc<str>,
    /// How many changes were looked at.
    pub changes: usize,
    /// Declared, and in none of the changes.
    pub missing: Vec<Arc<str>>,
    /// In the changes, and not declared: they are left out.
    pub undeclared: Vec<Arc<str>>,
}

impl OtherColumns {
    fn of(topic: Arc<str>, declared: &Layout, sample: &Sample) -> Option<Self> {
        let names = || declared.row.iter().map(|slot| &slot.field.name);
        let missing: Vec<_> = names().filter(|name| !sample.row.names().any(|shown| shown == *name)).cloned().collect();
        let undeclared: Vec<_> =
            sample.row.names().filter(|shown| !names().any(|name| name == *shown)).cloned().collect();
        let is_other = !missing.is_empty() || !undeclared.is_empty();
        is_other.then_some(Self { topic, changes: sample.changes, missing, undeclared })
    }
}

struct Run<'a> {
    decoder: &'a Decoder,
    raw: &'a RawBatch,
    topics: Vec<Topic>,
    decoded: Decoded,
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
            let values = &self.decoder.values;
            let topic = &mut self.topics[usize::from(record.topic)];
            let Some(building) = &mut topic.building else { break };
            match building.read(&mut payload, key_cursor, record, index as u32, values) {
                Ok(read) => {
                    // What stands after the payload can still be broken.
                    if let Err(broken) = closing(&mut payload) {
                        if matches!(read, Payload::Row { .. }) {
                            building.undo();
                        }
                        return Err(broken.into());
                    }
                    self.count(index, &read);
                    return Ok(());
                }
                Err(Fault::Dead(reason)) if layout.grows || attempt == 2 => return Err(reason.inferred().into()),
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
                let layout = Arc::new(inline_layout(schema, key, self.decoder.config.out_of_range)?);
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
                    // All that the batch has: what an order of records shows first is to make no difference.
                    let sample = self.decoder.sample(self.raw, index, record.topic, usize::MAX);
                    self.decoder.inferred(&self.raw.topics()[at], sample.schema()).map_err(Stop::Error)?
                }
            },
        };
        self.topics[at].bare = Some(layout.clone());
        Ok(layout)
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
        let mut sample = Sample::default();
        sample.add(payload.clone(), key, self.decoder.config.depth_max);
        let shown = sample.schema();
        let wanted = Layout::inferred(&joined((*layout.schema).clone(), shown.clone()));
        let wanted = Arc::new(Layout { grows: false, ..wanted });
        let mut trial = Building::new(wanted, topic.clone(), &Projection::all(), 1);
        let key = key.map_or(Ok(None), |key| self.key_payload(key))?;
        match trial.read(&mut payload.clone(), key, record, 0, &self.decoder.values) {
            Ok(_) => {}
            Err(Fault::Dead(reason)) => return Err(reason.inferred().into()),
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
            self.decoded.take(done);
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

    fn count(&mut self, index: usize, read: &Payload) {
        let time = match read {
            Payload::Row { event_time_us, snapshot } => event_time_us.filter(|_| !snapshot),
            Payload::Control { event_time_us } => {
                self.decoded.control += 1;
                *event_time_us
            }
        };
        self.decoded.event_times_us.extend(time.map(|time| (index as u32, time)));
    }

    fn finish(mut self) -> Decoded {
        for topic in self.topics {
            if let Some(building) = topic.building.filter(|building| !building.is_empty()) {
                self.decoded.take(building);
            }
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

fn inline_layout(schema: &str, key: Option<&str>, policy: OutOfRange) -> Result<Layout, Reason> {
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
    let under = |slots: Vec<Slot>| slots.into_iter().map(|slot| slot.under(policy)).collect();
    Ok(Layout::new(under(key_slots), under(row)))
}

/// The columns of a key without a schema part: those of the row by their names, others by what they show.
fn bare_key(key: Option<&str>, row: &[Slot]) -> Vec<Slot> {
    let Some(shown) = key.and_then(|key| Shown::of_key(key, 64)) else { return Vec::new() };
    let of_row = |name: &str| row.iter().find(|slot| *slot.field.name == *name).cloned();
    shown.fields().into_iter().map(|field| of_row(&field.name).unwrap_or_else(|| Slot::inferred(field))).collect()
}

#[cfg(test)]
mod tests;
