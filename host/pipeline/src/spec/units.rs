//! Values with a unit, and values that name a secret.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// The text with its secrets in place. `folder` is where relative file paths start.
    ///
    /// # Errors
    /// Says which variable or file is missing; never what one holds.
    pub fn resolve(&self, folder: &Path) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), self.0.as_str());
        while let Some(start) = rest.find("${") {
            let (before, after) = (&rest[..start], &rest[start + 2..]);
            let (name, tail) =
                after.split_once('}').ok_or_else(|| format!("`{}`: a `${{` without its `}}`", self.0))?;
            out += before;
            out += &lookup(name, folder)?;
            rest = tail;
        }
        Ok(out + rest)
    }
}

fn lookup(name: &str, folder: &Path) -> Result<String, String> {
    match name.split_once(':') {
        Some(("env", variable)) => {
            std::env::var(variable).map_err(|_| format!("`${{env:{variable}}}`: the environment variable is not set"))
        }
        Some(("file", path)) => std::fs::read_to_string(folder.join(path))
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("`${{file:{path}}}`: {error}")),
        _ => Err(format!("`${{{name}}}` names nothing: write ${{env:NAME}} or ${{file:PATH}}")),
    }
}
