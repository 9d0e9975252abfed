//! The decoder: takes the records of a batch in order and gives each one a fate: a row, a dead letter, or a control record.

mod key;
mod opening;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_model::{ChangeBatch, OutOfRange, RawBatch, RawRecord, RowSchema};

pub(crate) use self::key::{Alone, payload as key_payload};
use self::opening::Opened;
use crate::building::{Building, Key, Payload};
use crate::connect::{row_slots, slot, slots};
use crate::control::{self, ControlKind, Verdict};
use crate::convert::{PLACEHOLDER, Placeholder, Values};
use crate::declared::DeclaredColumns;
use crate::foreign;
use crate::image::Fault;
use crate::infer::{By, Sample, Shown, joined};
use crate::layout::{Layout, Projection, Slot};
use crate::reason::Reason;
use crate::scan::Cursor;

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

/// What became of a batch: every record is a row of one of the batches, or dead, or in `control`.
#[derive(Debug, Default)]
pub struct Decoded {
    /// One per topic and row schema; batches of one topic are in order.
    pub batches: Vec<ChangeBatch>,
    /// Records for the dead letters.
    pub dead: Vec<Undecodable>,
    /// Control records by their index into the batch's records: what they are.
    pub control: Vec<(u32, ControlKind)>,
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

enum Stop {
    Dead(Reason),
    /// It belongs to the stream and is no change; with its event time in microseconds since 1970, if it has one that counts.
    Control(ControlKind, Option<i64>),
    Error(DecoderError),
}

impl Stop {
    /// The same after so many bytes that were not looked at.
    fn after(self, bytes: usize) -> Self {
        match self {
            Stop::Dead(Reason::NotJson { at, what }) => Stop::Dead(Reason::NotJson { at: at + bytes, what }),
            stop => stop,
        }
    }
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

/// A byte order mark, which some programs write before UTF-8.
const BOM: char = '\u{feff}';

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
            let text = |bytes| std::str::from_utf8(bytes).ok().map(|text: &str| text.strip_prefix(BOM).unwrap_or(text));
            let Some(value) = raw.value(record).and_then(text) else { continue };
            let key = raw.key(record).filter(|key| !key.is_empty()).and_then(text);
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
                Err(Stop::Control(kind, event_time_us)) => {
                    run.decoded.control.push((index as u32, kind));
                    run.observe(index, event_time_us);
                }
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
        let Some(bytes) = self.raw.value(record).filter(|value| !value.is_empty()) else {
            return Err(Stop::Control(ControlKind::Tombstone, None));
        };
        let done = utf8(bytes).map_err(Stop::from).and_then(|value| match value.strip_prefix(BOM) {
            None => self.text(index, record, value),
            // RFC 8259, 8.1: a parser may skip it.
            Some(value) => self.text(index, record, value).map_err(|stop| stop.after(BOM.len_utf8())),
        });
        match done {
            // What it is instead says more than at which byte it is no JSON.
            Err(Stop::Dead(reason @ (Reason::NotJson { .. } | Reason::NotUtf8 { .. }))) => {
                Err(Stop::Dead(foreign::seen(bytes).map_or(reason, Reason::NotAChange)))
            }
            done => done,
        }
    }

    fn text(&mut self, index: usize, record: &RawRecord, value: &'a str) -> Result<(), Stop> {
        let key = self.key_text(record);
        if let Some(opened) = self.open_like_the_last(record, value, key) {
            match self.read(index, record, opened, key) {
                // Begins like the one before it, and goes on in another way: it is looked at for itself, as if it had come alone.
                Err(Stop::Dead(_) | Stop::Control(..)) => {}
                done => return done,
            }
        }
        let opened = self.open(index, record, value, key)?;
        self.read(index, record, opened, key)
    }

    /// Reads the payload of a record that was opened.
    fn read(&mut self, index: usize, record: &RawRecord, opened: Opened<'a>, key: Option<&'a str>) -> Result<(), Stop> {
        let Opened { mut payload, closing, mut layout, schema, alone } = opened;
        let payload_at = payload.at();
        // An inferred layout grows by all columns of the record at once. What does not help then is broken in itself, and is
        // read once more for the reason.
        for attempt in 0..3 {
            let key_cursor = self.key_payload(record, key, alone);
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
                    return match read {
                        Payload::Row { event_time_us, snapshot } => {
                            self.observe(index, event_time_us.filter(|_| !snapshot));
                            Ok(())
                        }
                        Payload::Message => Err(Stop::Control(ControlKind::Message, None)),
                        Payload::Other => {
                            payload.seek(payload_at);
                            Err(self.other(record, payload, schema, key)?)
                        }
                    };
                }
                Err(Fault::Dead(reason)) if layout.grows || attempt == 2 => return Err(reason.inferred().into()),
                Err(Fault::Dead(reason)) => return Err(reason.into()),
                Err(Fault::Grow) => {
                    payload.seek(payload_at);
                    layout = self.grow(record, &layout, payload.clone(), (key, alone))?;
                }
            }
        }
        Err(Reason::NotAChange("it shows other columns each time it is read".into()).into())
    }

    /// The layout with the columns that this record adds, if the record is sound with them: one that is broken adds nothing.
    fn grow(
        &mut self,
        record: &RawRecord,
        layout: &Layout,
        payload: Cursor<'a>,
        (key, alone): (Option<&'a str>, Alone),
    ) -> Result<Arc<Layout>, Stop> {
        let topic = &self.raw.topics()[usize::from(record.topic)];
        let mut sample = Sample::default();
        sample.add(payload.clone(), key, self.decoder.config.depth_max);
        let shown = sample.schema(By::Record);
        let wanted = Layout::inferred(&joined((*layout.schema).clone(), shown.clone()));
        let wanted = Arc::new(Layout { grows: false, ..wanted });
        let mut trial = Building::new(wanted, topic.clone(), &Projection::all(), 1);
        let key =
            key.and_then(|key| key_payload(key, self.decoder.config.depth_max, alone)).map_or(Key::NotJson, Key::At);
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

    /// What a payload is that is no change.
    fn other(
        &self,
        record: &RawRecord,
        payload: Cursor<'a>,
        schema: Option<&'a str>,
        key: Option<&str>,
    ) -> Result<Stop, Stop> {
        let topic = &self.raw.topics()[usize::from(record.topic)];
        Ok(
            match control::judge(
                payload,
                &control::Beside { topic, key, schema, depth_max: self.decoder.config.depth_max },
            )? {
                Verdict::Control(kind, event_time_us) => Stop::Control(kind, event_time_us),
                Verdict::Dead(reason) => Stop::Dead(reason),
            },
        )
    }

    fn observe(&mut self, index: usize, event_time_us: Option<i64>) {
        self.decoded.event_times_us.extend(event_time_us.map(|time| (index as u32, time)));
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

fn inline_layout(schema: &str, key: Option<&str>, policy: OutOfRange) -> Result<Layout, Reason> {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Value>(text).map_err(|e| Reason::Schema(format!("its schema part: {e}")))
    };
    let value_schema = parse(schema)?;
    // Records that are no changes have schemas of other shapes, and are recognised by their payload.
    let (row, unreadable) = match row_slots(&value_schema) {
        Ok(row) => (row, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let key_slots = match Some(key::schema(key)).filter(|text| !text.is_empty()) {
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
    Ok(Layout { unreadable, ..Layout::new(under(key_slots), under(row)) })
}

/// The columns of a key without a schema part: those of the row by their names, others by what they show.
fn bare_key(key: Option<&str>, row: &[Slot]) -> Vec<Slot> {
    let Some(shown) = key.and_then(|key| Shown::of_key(key, 64)) else { return Vec::new() };
    let of_row = |name: &str| row.iter().find(|slot| *slot.field.name == *name).cloned();
    shown
        .fields(By::Record)
        .into_iter()
        .map(|field| of_row(&field.name).unwrap_or_else(|| Slot::inferred(field)))
        .collect()
}

#[cfg(test)]
mod tests;
