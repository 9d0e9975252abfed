//! JSON as it is written: an object's members with the text of their values, so that no digit and no space is lost on the way.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What kind of value a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

/// The kind of a value, by its first byte.
pub(super) fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

/// What a text says.
pub(super) fn text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_default()
}

/// A whole number that fits into 64 bits.
pub(super) fn whole(value: &RawValue) -> Option<i64> {
    value.get().parse().ok()
}

/// The members of an object, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Object(pub Vec<(String, Box<RawValue>)>);

impl Object {
    /// The members of a value; none if it is no object.
    pub fn of(value: &RawValue) -> Option<Self> {
        if kind(value) == Kind::Object { serde_json::from_str(value.get()).ok() } else { None }
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| &**value)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
