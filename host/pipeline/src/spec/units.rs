//! Values with a unit, and values that name a secret.

use std::borrow::Cow;
use std::time::Duration;

use lakemill_model::Secrets;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::reference::{self, As, Lookup, Part, Reference};

/// A time span: `200ms`, `10s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Span)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a time span: write 200ms, 10s, 5m or 1h")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)", "examples": ["200ms", "10m"]})
    }
}

/// A number of bytes: `64MiB`, `500KB`, or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse::<bytesize::ByteSize>().map(|size| Size(size.as_u64())).map_err(|_| {
            serde::de::Error::custom(format!("`{text}` is not a size: write 64MiB, 500KB or a number of bytes"))
        })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A text, as it is read.
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "examples": ["64MiB", 1048576]})
    }
}

/// Text that may name secrets: `${env:NAME}` and `${file:PATH}`. Printed as written; what it resolves to is never
/// printed or kept in the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Template(pub String);

impl Template {
    /// The text with its secrets in place, which `secrets` learns.
    ///
    /// # Errors
    /// Says which variable or file is missing; never what one holds.
    pub fn resolve(&self, lookup: Lookup<'_>, secrets: &mut Secrets) -> Result<String, String> {
        let look_up = |reference: Reference<'_>| {
            let value = lookup.of(reference)?;
            secrets.add(&value, reference.whole);
            Ok(value)
        };
        reference::resolved(&self.0, look_up).map(Cow::into_owned)
    }
}

/// A transform's configuration with its secrets in place, which `secrets` learns.
///
/// # Errors
/// Says which variable or file is missing, or does not hold what it is to become; never what one holds.
pub fn configured(
    config: &Map<String, Value>,
    lookup: Lookup<'_>,
    secrets: &mut Secrets,
) -> Result<Map<String, Value>, String> {
    config.iter().map(|(key, value)| Ok((key.clone(), setting(value, lookup, secrets)?))).collect()
}

fn setting(value: &Value, lookup: Lookup<'_>, secrets: &mut Secrets) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => {
            let text = Template(text.clone());
            let resolved = text.resolve(lookup, secrets)?;
            match reference::becomes(&text.0)? {
                As::Text => Value::String(resolved),
                As::Number | As::Boolean => serde_json::from_str(&resolved).map_err(|error| error.to_string())?,
            }
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| setting(item, lookup, secrets)).collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => Value::Object(configured(entries, lookup, secrets)?),
        plain => plain.clone(),
    })
}

/// The references of a configuration, as they are written.
pub(crate) fn names(config: &Map<String, Value>) -> Vec<String> {
    fn add(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::String(text) => {
                for part in reference::parts(text).into_iter().flatten() {
                    if let Part::Reference(reference) = part {
                        names.push(reference.whole.to_owned());
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| add(item, names)),
            Value::Object(entries) => entries.values().for_each(|value| add(value, names)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut names = Vec::new();
    config.values().for_each(|value| add(value, &mut names));
    names
}
