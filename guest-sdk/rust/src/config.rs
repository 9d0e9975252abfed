//! The configuration of a transform: read from the JSON that the pipeline file gives, and described as a JSON Schema.
//! Every error names the key, what was expected there, and what was found.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A type of a setting. `#[derive(Config)]` implements it for structs and for enums without fields; bool, i32, i64, u32,
/// u64, f64, String, `Vec<_>`, `BTreeMap<String, _>`, `Option<_>` (may be left out) and [`Renames`] have it already.
pub trait Setting: Sized {
    /// The JSON Schema of what it is read from.
    fn schema() -> Value;

    /// Reads it. `at` names the place: `columns.total`.
    ///
    /// # Errors
    /// For the person who wrote the configuration: the place, what is expected there, and what was found.
    fn read(value: &Value, at: &str) -> Result<Self, String>;

    /// In place of a key that is not there.
    ///
    /// # Errors
    /// If it cannot do without.
    fn absent(at: &str) -> Result<Self, String> {
        Err(format!("`{at}` is missing: {}", expected(&Self::schema())))
    }
}

/// The whole configuration of a transform: a struct with `#[derive(Config)]`.
///
/// ```
/// # use lakemill_guest::Config;
/// /// What the pipeline file says under `config`.
/// #[derive(Config)]
/// struct Settings {
///     /// Added to every total: 0.2 makes 120 of 100.
///     #[config(default = 0.2)]
///     tax_rate: f64,
///     /// Orders with one of these are left out.
///     cancelled: Vec<String>,
///     note: Option<String>,
/// }
/// ```
///
/// Comments become the schema's descriptions; unknown keys are refused. On a field: `default = JSON`, `default` (that of
/// the type), `rename = "tax-rate"`. On the struct: `check = PATH`, a function from `&Settings` to `Result<(), String>`.
///
/// A field of the type [`Renames`] gives the columns of the transform's code other names in the data.
pub trait Config: Setting {
    /// The names that columns have in the data.
    fn renames(&self) -> &Renames {
        const { &Renames::NONE }
    }
}

/// A transform without settings.
impl Setting for () {
    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": false })
    }

    fn read(value: &Value, at: &str) -> Result<Self, String> {
        let empty = value.as_object().is_some_and(Map::is_empty);
        empty.then_some(()).ok_or_else(|| format!("`{at}` must be left out: this transform has no settings"))
    }
}

impl Config for () {}

/// Other names for columns: what the code calls `total` is called `amount` in the data. As a field of a [`Config`], it
/// holds for rows read and for columns made and copied alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames(BTreeMap<String, String>);

impl Renames {
    pub(crate) const NONE: Renames = Renames(BTreeMap::new());

    /// Refuses names that the code does not know.
    pub(crate) fn check(&self, known: &[String]) -> Result<(), String> {
        match self.0.keys().find(|name| !known.contains(name)) {
            Some(name) => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                Err(format!("`config` renames the column `{name}`; this transform knows {}", listed(&known)))
            }
            None => Ok(()),
        }
    }

    /// The name in the data of what the code calls `name`.
    pub fn name<'n>(&'n self, name: &'n str) -> &'n str {
        self.0.get(name).map_or(name, String::as_str)
    }
}

impl Setting for Renames {
    fn schema() -> Value {
        BTreeMap::<String, String>::schema()
    }

    fn read(value: &Value, at: &str) -> Result<Self, String> {
        BTreeMap::read(value, at).map(Self)
    }

    fn absent(_: &str) -> Result<Self, String> {
        Ok(Self::default())
    }
}

/// Reads a configuration from its JSON text.
pub(crate) fn parse<C: Config>(json: &str) -> Result<C, String> {
    let value = serde_json::from_str(json).map_err(|error| format!("`config` is no JSON: {error}"))?;
    C::read(&value, "config")
}

/// Refuses what is no object, or has keys that are not `known`. For the derive.
#[doc(hidden)]
pub fn object<'v>(value: &'v Value, at: &str, known: &[&str]) -> Result<&'v Map<String, Value>, String> {
    let object = value.as_object().ok_or_else(|| wrong(value, at, "an object"))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("`{at}` has no setting `{key}`; it has {}", listed(known))),
        None => Ok(object),
    }
}

/// Reads a field of an object. For the derive.
#[doc(hidden)]
pub fn field<S: Setting>(object: &Map<String, Value>, at: &str, name: &str) -> Result<S, String> {
    let at = format!("{at}.{name}");
    object.get(name).map_or_else(|| S::absent(&at), |value| S::read(value, &at))
}

/// Reads a field of an object that has a default. For the derive.
#[doc(hidden)]
pub fn field_or<S: Setting>(
    object: &Map<String, Value>,
    at: &str,
    name: &str,
    default: impl FnOnce() -> Value,
) -> Result<S, String> {
    let at = format!("{at}.{name}");
    match object.get(name) {
        Some(value) => S::read(value, &at),
        None => S::read(&default(), &format!("the default of {at}")),
    }
}

/// Reads one of several words. For the derive.
#[doc(hidden)]
pub fn word(value: &Value, at: &str, words: &[&str]) -> Result<usize, String> {
    let found = value.as_str().and_then(|text| words.iter().position(|word| *word == text));
    found.ok_or_else(|| wrong(value, at, &format!("one of {}", listed(words))))
}

/// The message of a value that is not what is expected.
fn wrong(value: &Value, at: &str, expected: &str) -> String {
    format!("`{at}` must be {expected}, not {}", shortened(value))
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(", ") }
}

/// In words, what a schema asks for.
fn expected(schema: &Value) -> String {
    match schema.get("type").and_then(Value::as_str) {
        Some(kind) => format!("expected {} {kind}", if kind.starts_with(['a', 'i', 'o']) { "an" } else { "a" }),
        None => "expected a value".to_owned(),
    }
}

macro_rules! plain_settings {
    ($($rust:ty: $schema:tt, $expected:literal, $value:ident => $read:expr;)*) => {$(
        impl Setting for $rust {
            fn schema() -> Value {
                json!($schema)
            }

            fn read($value: &Value, at: &str) -> Result<Self, String> {
                let read: Option<Self> = $read;
                read.ok_or_else(|| wrong($value, at, $expected))
            }
        }
    )*};
}

plain_settings! {
    bool: { "type": "boolean" }, "true or false", value => value.as_bool();
    i32: { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }, "an integer of 32 bits",
        value => value.as_i64().and_then(|v| v.try_into().ok());
    i64: { "type": "integer" }, "an integer", value => value.as_i64();
    u32: { "type": "integer", "minimum": 0, "maximum": u32::MAX }, "an integer from 0 to 4294967295",
        value => value.as_u64().and_then(|v| v.try_into().ok());
    u64: { "type": "integer", "minimum": 0 }, "an integer from 0 on", value => value.as_u64();
    f64: { "type": "number" }, "a number", value => value.as_f64();
    String: { "type": "string" }, "text", value => value.as_str().map(str::to_owned);
}

impl<S: Setting> Setting for Vec<S> {
    fn schema() -> Value {
        json!({ "type": "array", "items": S::schema() })
    }

    fn read(value: &Value, at: &str) -> Result<Self, String> {
        let items = value.as_array().ok_or_else(|| wrong(value, at, "a list"))?;
        items.iter().enumerate().map(|(i, item)| S::read(item, &format!("{at}[{i}]"))).collect()
    }
}

impl<S: Setting> Setting for BTreeMap<String, S> {
    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": S::schema() })
    }

    fn read(value: &Value, at: &str) -> Result<Self, String> {
        let entries = value.as_object().ok_or_else(|| wrong(value, at, "an object"))?;
        entries.iter().map(|(key, value)| Ok((key.clone(), S::read(value, &format!("{at}.{key}"))?))).collect()
    }
}

impl<S: Setting> Setting for Option<S> {
    fn schema() -> Value {
        S::schema()
    }

    fn read(value: &Value, at: &str) -> Result<Self, String> {
        if value.is_null() { Ok(None) } else { S::read(value, at).map(Some) }
    }

    fn absent(_: &str) -> Result<Self, String> {
        Ok(None)
    }
}
