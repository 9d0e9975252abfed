//! The key of a record: its payload, and its schema part. A key that is not JSON, or not UTF-8, is none: a `StringConverter` writes
//! what it likes, and the record's bytes are kept all the same.

use lakemill_model::RawRecord;

use super::Run;
use crate::building::Key;
use crate::framing::{Frame, split, split_key};
use crate::layout::Columns;
use crate::scan::{Cursor, Kind};

/// Tells a key `{"payload": …}` that is a frame from one of a column `payload`: it is one if the value is such a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone(pub bool);

impl<'a> Run<'a> {
    /// The text of a key; none if there is none, or if it is no text.
    pub(super) fn key_text(&self, record: &RawRecord) -> Option<&'a str> {
        let key = self.raw.key(record).filter(|key| !key.is_empty())?;
        simdutf8::basic::from_utf8(key).ok().map(|key| key.strip_prefix(super::BOM).unwrap_or(key))
    }

    /// The key as a change is read with it.
    pub(super) fn key_payload(&self, record: &RawRecord, key: Option<&'a str>, alone: Alone) -> Key<'a> {
        let Some(bytes) = self.raw.key(record).filter(|key| !key.is_empty()) else { return Key::Absent };
        let projection = &self.decoder.config.projection;
        // A row that is told by its key only is the key.
        if projection.key == Columns::None && projection.row == Columns::None {
            return if bytes == b"null" { Key::Absent } else { Key::Unread };
        }
        match key.and_then(|key| payload(key, self.decoder.config.depth_max, alone)) {
            None => Key::NotJson,
            Some(mut cursor) => match cursor.kind() {
                Ok(Kind::Null) => Key::Absent,
                _ => Key::At(cursor),
            },
        }
    }
}

/// Where the payload of a key begins, if the key is JSON.
pub(crate) fn payload(key: &str, depth_max: usize, alone: Alone) -> Option<Cursor<'_>> {
    let mut cursor = Cursor::new(key, depth_max);
    match split_key(key, depth_max, alone).ok()? {
        Frame::Bare => {
            cursor.skip().and_then(|_| cursor.end()).ok()?;
            cursor.seek(0);
        }
        Frame::Framed { payload, .. } => cursor.seek(payload),
    }
    Some(cursor)
}

/// The text of a key's schema part; empty without one.
pub(super) fn schema(key: Option<&str>) -> &str {
    let Some(key) = key.filter(|key| key.trim_start().starts_with('{') && key.contains("\"schema\"")) else {
        return "";
    };
    match split_key(key, 64, Alone(false)) {
        Ok(Frame::Framed { schema, .. }) => schema.unwrap_or(""),
        Ok(Frame::Bare) | Err(_) => "",
    }
}

/// Whether a key is `{"payload": …}` and nothing else.
pub(super) fn is_alone(key: Option<&str>, depth_max: usize) -> bool {
    key.is_some_and(|key| matches!(split(key, depth_max), Ok(Frame::Framed { alone: Alone(true), .. })))
}
