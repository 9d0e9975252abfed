//! A batch of one topic and one layout under construction.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use lakemill_model::{ChangeBatch, Envelope, Op, Origins, RawRecord, RowSource, range};

use crate::column::Builder;
use crate::control::PATCH;
use crate::convert::Values;
use crate::image::{Fault, Image, Pass, Reading};
use crate::layout::{Layout, Projection, Slot};
use crate::names::Names;
use crate::reason::Reason;
use crate::scan::{Cursor, EXPANSION_MAX, Kind};
use crate::source::{self, SourceInfo};

pub(crate) struct Building {
    pub layout: Arc<Layout>,
    rows: usize,
    key: Image,
    before: Image,
    after: Image,
    envelope: Envelope,
    positions: Builder,
    wants_positions: bool,
    wants_key: bool,
    wants_row: bool,
    /// Database, schema and table, if somebody reads them.
    origins: Option<[Builder; 3]>,
    scratch: Vec<u8>,
    /// See [`EXPANSION_MAX`].
    expansion_left: usize,
    names: Names<Member>,
    source_names: Names<source::Member>,
}

/// What a member of an envelope is.
#[derive(Clone, Copy, Debug)]
enum Member {
    Before,
    After,
    Op,
    Source,
    /// MongoDB's patch of an update.
    Patch,
    /// What a logical message says.
    Message,
    Other,
    /// A name that no envelope has.
    Stranger,
}

fn member(name: &str) -> Member {
    match name {
        "before" => Member::Before,
        "after" => Member::After,
        "op" => Member::Op,
        "source" => Member::Source,
        "patch" | "updateDescription" => Member::Patch,
        "message" => Member::Message,
        "ts_ms" | "ts_us" | "ts_ns" | "transaction" => Member::Other,
        _ => Member::Stranger,
    }
}

/// What a payload turned out to be.
pub(crate) enum Payload {
    Row {
        event_time_us: Option<i64>,
        snapshot: bool,
    },
    /// A logical message.
    Message,
    /// No change event.
    Other,
}

/// The key of a record.
pub(crate) enum Key<'a> {
    Absent,
    /// It is there, and nobody reads it.
    Unread,
    /// It is there, and no JSON.
    NotJson,
    /// Its payload.
    At(Cursor<'a>),
}

/// The members of an envelope, as far as they have been seen.
#[derive(Default)]
struct Seen<'a> {
    before: Option<usize>,
    has_after: bool,
    has_before: bool,
    /// An image is a text: MongoDB's documents are.
    text_image: Option<&'static str>,
    /// How many members are `before` or `after`, perhaps null.
    images: usize,
    /// There is a member that no envelope has.
    stranger: bool,
    patch: bool,
    /// There is a `message`, as Debezium writes one.
    message: bool,
    op: Option<std::borrow::Cow<'a, str>>,
    source: Option<SourceInfo<'a>>,
}

impl Building {
    pub fn new(layout: Arc<Layout>, topic: Arc<str>, projection: &Projection, rows: usize) -> Self {
        let envelope = Envelope {
            topic,
            ops: Vec::with_capacity(rows),
            event_time_us: Vec::with_capacity(rows),
            partitions: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            kafka_time_ms: Vec::with_capacity(rows),
            positions: arrow_array::BinaryArray::from_vec(Vec::new()),
            snapshots: Vec::with_capacity(rows),
            records: Vec::with_capacity(rows),
            origins: None,
        };
        let mut after = projection.after.clone();
        // Where there is an after, it is the row in all but odd cases: decoded at once.
        match &projection.row {
            crate::layout::Columns::None => {}
            crate::layout::Columns::All => after = crate::layout::Columns::All,
            crate::layout::Columns::Some(names) => names.iter().for_each(|name| after.add(name)),
        }
        Self {
            rows: 0,
            key: Image::new(
                "key",
                &layout.key,
                &projection.key,
                Some(&crate::layout::Columns::All).filter(|_| projection.row != crate::layout::Columns::None),
                rows,
            ),
            before: Image::new("before", &layout.row, &projection.before, Some(&projection.row), rows),
            after: Image::new("after", &layout.row, &after, None, rows),
            layout,
            envelope,
            positions: Builder::new(lakemill_model::DataType::Bytes, rows),
            wants_positions: projection.positions,
            wants_key: projection.key != crate::layout::Columns::None,
            wants_row: projection.row != crate::layout::Columns::None,
            origins: projection.origins.then(|| [(); 3].map(|()| Builder::new(lakemill_model::DataType::Text, rows))),
            scratch: Vec::new(),
            expansion_left: EXPANSION_MAX,
            names: Names::new(member),
            source_names: Names::new(source::member),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Reads one record's payload and key. On a fault nothing of it stays.
    pub fn read(
        &mut self,
        payload: &mut Cursor<'_>,
        key: Key<'_>,
        record: &RawRecord,
        index: u32,
        values: &Values,
    ) -> Result<Payload, Fault> {
        payload.set_expansion_left(self.expansion_left);
        let read = self.envelope(payload, key, record, index, values);
        self.expansion_left = payload.expansion_left();
        if !matches!(read, Ok(Payload::Row { .. })) {
            for image in [&mut self.key, &mut self.before, &mut self.after] {
                image.truncate(self.rows);
            }
        }
        read
    }

    fn envelope(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: Key<'_>,
        record: &RawRecord,
        index: u32,
        values: &Values,
    ) -> Result<Payload, Fault> {
        let layout = self.layout.clone();
        if cursor.kind()? != Kind::Object {
            cursor.skip()?;
            return Ok(Payload::Other);
        }
        let how = |pass| Reading { slots: &layout.row, values, grows: layout.grows, checked: false, pass };
        let mut seen = Seen::default();
        let wants = source::Wants { position: self.wants_positions, origin: self.origins.is_some() };
        let mut members = self.names.object(cursor)?;
        while let Some(member) = self.names.member(cursor, &mut members)? {
            match (member, cursor.kind()?) {
                (Member::Before, Kind::Object) => {
                    seen.before = Some(cursor.at());
                    seen.has_before = true;
                    if self.before.waits_for_row() && !layout.grows {
                        cursor.skip()?;
                    } else {
                        self.before.read(cursor, self.rows, &how(Pass::Always))?;
                    }
                }
                (Member::After, Kind::Object) => {
                    seen.has_after = true;
                    let how = Reading { checked: layout.checked, ..how(Pass::Both) };
                    self.after.read(cursor, self.rows, &how)?;
                }
                (Member::Op, Kind::Text) => seen.op = Some(cursor.string()?),
                (Member::Source, Kind::Object) => {
                    seen.source = Some(SourceInfo::read(cursor, wants, &mut self.source_names)?);
                }
                (member, kind) => {
                    match (member, kind) {
                        (Member::Before, Kind::Text) => seen.text_image = Some("before"),
                        (Member::After, Kind::Text) => seen.text_image = Some("after"),
                        (Member::Patch, Kind::Text | Kind::Object) => seen.patch = true,
                        (Member::Message, Kind::Object) => seen.message = true,
                        _ => {}
                    }
                    seen.images += usize::from(matches!(member, Member::Before | Member::After));
                    seen.stranger |= matches!(member, Member::Stranger);
                    cursor.skip()?;
                }
            }
        }
        // A row may have columns of these names: none of them is an object.
        let is_bare = seen.images == 2 && !seen.stranger;
        let is_envelope = seen.has_before || seen.has_after || seen.source.is_some() || is_bare;
        let Some(op) = seen.op.as_deref().filter(|_| is_envelope) else { return Ok(Payload::Other) };
        if op == "m" {
            // A table may have a column `op` with that letter.
            return Ok(if seen.message { Payload::Message } else { Payload::Other });
        }
        let op = Op::from_letter(op).ok_or_else(|| unknown_op(op))?;
        if let Some(reason) = &layout.unreadable {
            return Err(Reason::Schema(reason.clone()).into());
        }
        self.complete(cursor, key, &seen, op, &layout, values)?;
        Ok(self.push(record, index, op, &seen))
    }

    /// Everything that could not be read before the op was known.
    fn complete(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: Key<'_>,
        seen: &Seen<'_>,
        op: Op,
        layout: &Layout,
        values: &Values,
    ) -> Result<(), Fault> {
        let lacks = |image: &str| Fault::Dead(Reason::NotAChange(format!("op {op} without `{image}`")));
        if let Some(image) = seen.text_image {
            let what = format!("`{image}` is a text: MongoDB's documents as text are not supported yet");
            return Err(Reason::NotAChange(what).into());
        }
        match op {
            Op::Update if !seen.has_after && seen.patch => return Err(Reason::NotAChange(PATCH.into()).into()),
            Op::Read | Op::Create | Op::Update if !seen.has_after => return Err(lacks("after")),
            Op::Delete if !seen.has_before && matches!(key, Key::Absent) => {
                return Err(lacks("before` and without a key, that is without a `row"));
            }
            Op::Delete if !seen.has_before && matches!(key, Key::NotJson) => {
                return Err(lacks("before` and with a key that is not JSON, that is without a `row"));
            }
            _ => {}
        }
        let before_is_row = seen.has_before && (op == Op::Delete || !seen.has_after);
        if let Some(at) = seen.before.filter(|_| before_is_row && self.before.has_more_for_row()) {
            let end = cursor.at();
            cursor.seek(at);
            let how = Reading { slots: &layout.row, values, grows: layout.grows, checked: false, pass: Pass::Row };
            self.before.read(cursor, self.rows, &how)?;
            cursor.seek(end);
        }
        if layout.checked && seen.has_after {
            self.after.check_all_there(self.rows, &layout.row)?;
        }
        for (image, has) in [(&mut self.before, seen.has_before), (&mut self.after, seen.has_after)] {
            if !has {
                image.absent(self.rows);
            }
            image.close(self.rows);
        }
        match key {
            // It is asked for, or it is the row.
            Key::At(mut key) if self.wants_key || !(seen.has_before || seen.has_after) => {
                key.set_expansion_left(cursor.expansion_left());
                let how = Reading { slots: &layout.key, values, grows: layout.grows, checked: false, pass: Pass::Both };
                if key.kind()? == Kind::Object {
                    self.key.read(&mut key, self.rows, &how)?;
                } else {
                    self.key.read_single(&mut key, self.rows, &how)?;
                }
                cursor.set_expansion_left(key.expansion_left());
            }
            Key::At(_) | Key::Unread => {}
            Key::Absent | Key::NotJson => self.key.absent(self.rows),
        }
        if op == Op::Delete && !seen.has_before && !seen.has_after && self.wants_row {
            self.check_row_of_key(layout)?;
        }
        self.key.close(self.rows);
        Ok(())
    }

    /// Refuses a delete that is nothing but a key if the row has nothing of it: it would be a row of nulls.
    fn check_row_of_key(&self, layout: &Layout) -> Result<(), Reason> {
        let is_of_row = |slot: &Slot| {
            let column = layout.row.iter().find(|of_row| of_row.field.name == slot.field.name);
            column.is_some_and(|column| RowSource::takes_of_key(column.field.data_type, slot.field.data_type))
        };
        let mut slots = layout.key.iter().enumerate();
        if slots.any(|(n, slot)| is_of_row(slot) && self.key.has_value(n, self.rows)) {
            return Ok(());
        }
        Err(Reason::NotAChange(
            "a delete with nothing but a key, and the row has no column of it: declare the columns of `key` and `row` in `source.schema`, \
             with the same names and types"
                .into(),
        ))
    }

    fn push(&mut self, record: &RawRecord, index: u32, op: Op, seen: &Seen<'_>) -> Payload {
        let source = seen.source.as_ref();
        // A time that no table can hold is none.
        let event_time_us = source.and_then(|source| source.ts_ms);
        let event_time_us = event_time_us.and_then(|ms| range::timestamp(i128::from(ms) * 1000).ok());
        let snapshot = op == Op::Read || source.is_some_and(|source| source.snapshot);
        self.envelope.ops.push(op);
        self.envelope.event_time_us.push(event_time_us);
        self.envelope.partitions.push(record.partition);
        self.envelope.offsets.push(record.offset);
        self.envelope.kafka_time_ms.push(record.timestamp_ms);
        self.envelope.snapshots.push(snapshot);
        self.envelope.records.push(index);
        match source {
            Some(source) if self.wants_positions && source.position(&mut self.scratch) => {
                self.positions.bytes(&self.scratch);
            }
            _ => self.positions.null(),
        }
        for (place, column) in self.origins.iter_mut().flatten().enumerate() {
            match source.and_then(|source| source.origin[place].as_deref()) {
                Some(name) => column.bytes(name.as_bytes()),
                None => column.null(),
            }
        }
        self.rows += 1;
        Payload::Row { event_time_us, snapshot }
    }

    /// Takes back the last row.
    pub fn undo(&mut self) {
        self.rows -= 1;
        let rows = self.rows;
        for image in [&mut self.key, &mut self.before, &mut self.after] {
            image.truncate(rows);
        }
        let envelope = &mut self.envelope;
        envelope.ops.truncate(rows);
        envelope.event_time_us.truncate(rows);
        envelope.partitions.truncate(rows);
        envelope.offsets.truncate(rows);
        envelope.kafka_time_ms.truncate(rows);
        envelope.snapshots.truncate(rows);
        envelope.records.truncate(rows);
        self.positions.truncate(rows);
        self.origins.iter_mut().flatten().for_each(|column| column.truncate(rows));
    }

    /// Whose records they are.
    pub fn topic(&self) -> &Arc<str> {
        &self.envelope.topic
    }

    /// How many dates and timestamps of each column were out of range.
    pub fn out_of_range(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let (key, row) = (&self.layout.key, &self.layout.row);
        self.key.out_of_range(key).chain(self.before.out_of_range(row)).chain(self.after.out_of_range(row))
    }

    pub fn finish(mut self) -> ChangeBatch {
        self.envelope.positions = self.positions.finish().array.as_binary::<i32>().clone();
        self.envelope.origins = self.origins.map(|columns| {
            let [db, schema, table] = columns.map(|column| column.finish().array.as_string::<i32>().clone());
            Origins { db, schema, table }
        });
        ChangeBatch {
            schema: self.layout.schema.clone(),
            key: self.key.finish(self.rows),
            before: self.before.finish(self.rows),
            after: self.after.finish(self.rows),
            envelope: self.envelope,
        }
    }
}

fn unknown_op(op: &str) -> Reason {
    Reason::NotAChange(format!("unknown op `{}`: expected r, c, u, d, t or m", op.chars().take(20).collect::<String>()))
}
