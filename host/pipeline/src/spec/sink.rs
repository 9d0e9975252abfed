//! Where the rows of an output go: a mapping with one kind of sink, or the word `discard`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::written::{Console, Table};

/// Where rows go: exactly one of these.
#[derive(Clone, Debug, Default)]
pub struct SinkSpec {
    /// A Delta table.
    pub delta: Option<Table>,
    /// Parquet files with a manifest.
    pub parquet: Option<Table>,
    /// One JSON object a row on standard output. Keeps no positions.
    pub console: Option<Console>,
    /// Nowhere: the rows are counted and thrown away. The word `discard` in place of a mapping.
    pub discard: bool,
}

/// The word.
const DISCARD: &str = "discard";

/// Where rows go: exactly one of these.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sink {
    /// A Delta table.
    #[serde(default)]
    delta: Option<Table>,
    /// Parquet files with a manifest.
    #[serde(default)]
    parquet: Option<Table>,
    /// One JSON object a row on standard output. Keeps no positions.
    #[serde(default)]
    console: Option<Console>,
}

impl Serialize for SinkSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.discard {
            return serializer.serialize_str(DISCARD);
        }
        let Self { delta, parquet, console, .. } = self.clone();
        Sink { delta, parquet, console }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SinkSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = SinkSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sink such as `{ delta: { path: ./lake/orders } }`, or `discard`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SinkSpec, E> {
                match text {
                    DISCARD => Ok(SinkSpec { discard: true, ..SinkSpec::default() }),
                    _ => Err(E::custom(format!(
                        "`{text}` is no sink: write `{{ delta: {{ path: ./lake/orders }} }}`, or `discard` to throw the rows away"
                    ))),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<SinkSpec, A::Error> {
                let Sink { delta, parquet, console } = Sink::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SinkSpec { delta, parquet, console, discard: false })
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for SinkSpec {
    fn schema_name() -> Cow<'static, str> {
        "SinkSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let sink = generator.subschema_for::<Sink>();
        json_schema!({"anyOf": [sink, {"enum": [DISCARD]}]})
    }
}
