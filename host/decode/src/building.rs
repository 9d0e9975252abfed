//! A batch of one topic and one layout under construction.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use lakemill_model::{ChangeBatch, Envelope, Op, RawRecord, range};

use crate::column::Builder;
use crate::convert::Values;
use crate::image::{Fault, Image, Pass, Reading};
use crate::layout::{Layout, Projection};
use crate::names::Names;
use crate::reason::Reason;
use crate::scan::{Cursor, Kind};
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
    scratch: Vec<u8>,
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
    TsMs,
    /// A name that may tell what it is, as a mark; the second one if its value is null.
    Mark(u8, u8),
}

fn member(name: &str) -> Member {
    match name {
        "before" => Member::Before,
        "after" => Member::After,
        "op" => Member::Op,
        "source" => Member::Source,
        "ts_ms" => Member::TsMs,
        "status" => Member::Mark(STATUS, STATUS),
        "ddl" | "tableChanges" | "historyRecord" => Member::Mark(DDL, DDL),
        "aggregate_type" => Member::Mark(NOTIFICATION, NOTIFICATION),
        "__op" | "__deleted" => Member::Mark(FLAT, FLAT),
        "patch" | "updateDescription" => Member::Mark(MONGO, OTHER),
        "specversion" => Member::Mark(CLOUD, CLOUD),
        "transaction" | "ts_us" | "ts_ns" => Member::Mark(0, 0),
        _ => Member::Mark(OTHER, OTHER),
    }
}

/// What a payload turned out to be.
pub(crate) enum Payload {
    Row {
        event_time_us: Option<i64>,
        snapshot: bool,
    },
    /// No change, but something that belongs to the stream.
    Control {
        event_time_us: Option<i64>,
    },
}

/// The members of an envelope, as far as they have been seen.
#[derive(Default)]
struct Seen<'a> {
    before: Option<usize>,
    after: Option<usize>,
    has_after: bool,
    has_before: bool,
    op: Option<std::borrow::Cow<'a, str>>,
    source: Option<SourceInfo<'a>>,
    ts_ms: Option<i64>,
    /// Other names that tell what it is.
    marks: u8,
}

const STATUS: u8 = 1;
const DDL: u8 = 2;
const NOTIFICATION: u8 = 4;
const FLAT: u8 = 8;
const MONGO: u8 = 16;
const CLOUD: u8 = 32;
const OTHER: u8 = 64;

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
            scratch: Vec::new(),
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
        key: Option<Cursor<'_>>,
        record: &RawRecord,
        index: u32,
        values: &Values,
    ) -> Result<Payload, Fault> {
        let read = self.envelope(payload, key, record, index, values);
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
        key: Option<Cursor<'_>>,
        record: &RawRecord,
        index: u32,
        values: &Values,
    ) -> Result<Payload, Fault> {
        let layout = self.layout.clone();
        if cursor.kind()? != Kind::Object {
            return Err(Reason::NotAChange(format!("expected a change event, found {}", cursor.kind()?.name())).into());
        }
        let how = |pass| Reading { slots: &layout.row, values, grows: layout.grows, checked: false, pass };
        let mut seen = Seen::default();
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
                    seen.after = Some(cursor.at());
                    seen.has_after = true;
                    let how = Reading { checked: layout.checked, ..how(Pass::Both) };
                    self.after.read(cursor, self.rows, &how)?;
                }
                (Member::Op, Kind::Text) => seen.op = Some(cursor.string()?),
                (Member::Source, Kind::Object) => {
                    seen.source = Some(SourceInfo::read(cursor, self.wants_positions, &mut self.source_names)?);
                }
                (Member::TsMs, Kind::Number) => seen.ts_ms = crate::convert::whole(cursor.number()?),
                (member, kind) => {
                    seen.marks |= match member {
                        Member::Mark(_, mark) if kind == Kind::Null => mark,
                        Member::Mark(mark, _) => mark,
                        Member::Before | Member::After => 0,
                        Member::Op | Member::Source | Member::TsMs => OTHER,
                    };
                    cursor.skip()?;
                }
            }
        }
        let Some(op) = &seen.op else { return without_op(&seen) };
        let op = Op::from_letter(op).ok_or_else(|| unknown_op(op))?;
        self.complete(cursor, key, &seen, op, &layout, values)?;
        Ok(self.push(record, index, op, &seen))
    }

    /// Everything that could not be read before the op was known.
    fn complete(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: Option<Cursor<'_>>,
        seen: &Seen<'_>,
        op: Op,
        layout: &Layout,
        values: &Values,
    ) -> Result<(), Fault> {
        let lacks = |image: &str| Fault::Dead(Reason::NotAChange(format!("op {op} without `{image}`")));
        match op {
            Op::Read | Op::Create | Op::Update if !seen.has_after => return Err(lacks("after")),
            Op::Delete if !seen.has_before && key.is_none() => {
                return Err(lacks("before` and without a key, that is without a `row"));
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
        for (image, has) in [(&mut self.before, seen.has_before), (&mut self.after, seen.has_after)] {
            if !has {
                image.absent(self.rows);
            }
            image.close(self.rows);
        }
        match key {
            Some(mut key) => {
                let how = Reading { slots: &layout.key, values, grows: layout.grows, checked: false, pass: Pass::Both };
                if key.kind()? == Kind::Object {
                    self.key.read(&mut key, self.rows, &how)?;
                } else {
                    self.key.read_single(&mut key, self.rows, &how)?;
                }
            }
            None => self.key.absent(self.rows),
        }
        self.key.close(self.rows);
        Ok(())
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
        ChangeBatch {
            schema: self.layout.schema.clone(),
            key: self.key.finish(self.rows),
            before: self.before.finish(self.rows),
            after: self.after.finish(self.rows),
            envelope: self.envelope,
        }
    }
}

fn without_op(seen: &Seen<'_>) -> Result<Payload, Fault> {
    let event_time_us = seen.ts_ms.and_then(|ms| ms.checked_mul(1000));
    let none = !seen.has_before && !seen.has_after;
    let has = |mark: u8| seen.marks & mark != 0;
    if none && (has(STATUS) || has(DDL) || has(NOTIFICATION)) {
        return Ok(Payload::Control { event_time_us: None });
    }
    if none && seen.marks == 0 && event_time_us.is_some() && seen.source.is_none() {
        return Ok(Payload::Control { event_time_us });
    }
    let what = if has(CLOUD) {
        "a CloudEvent: this version reads Debezium's own envelope only (`format: debezium-json`)"
    } else if has(FLAT) {
        "a flattened row (ExtractNewRecordState): this version reads Debezium's own envelope only"
    } else if has(MONGO) {
        "a MongoDB patch: set the connector's `capture.mode` to one with full documents"
    } else {
        "no `op`: not a Debezium change event"
    };
    Err(Reason::NotAChange(what.into()).into())
}

fn unknown_op(op: &str) -> Reason {
    Reason::NotAChange(match op {
        "m" => "op m is a logical message, not a change of a row".into(),
        _ => format!("unknown op `{}`: expected r, c, u, d or t", op.chars().take(20).collect::<String>()),
    })
}
