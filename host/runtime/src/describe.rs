//! A component's description, checked completely before anything is built on it. Pure; the messages are for the
//! author.

use std::collections::HashSet;
use std::sync::Arc;

use lakemill_model::{DataType, Description, EnvelopeColumn, Field, Image, OutputColumn, OutputSpec, Reads};

use crate::bindings::types;
use crate::text::excerpt;

/// How many outputs a transform may declare.
const OUTPUTS_MAX: usize = 64;
/// How many columns an output may declare, and how many names `except` and `reads` may list.
const COLUMNS_MAX: usize = 1_000;
/// How long the name of a column may be, in bytes.
const COLUMN_NAME_BYTES_MAX: usize = 255;
/// How long the JSON Schema of the configuration may be, in bytes.
const CONFIG_SCHEMA_BYTES_MAX: usize = 1 << 20;

/// The description in the model's terms, or what is wrong with it and where.
pub(crate) fn description(given: types::Description) -> Result<Description, String> {
    text_for_people("name", &given.name)?;
    text_for_people("version", &given.version)?;
    count("outputs", given.outputs.len(), 1, OUTPUTS_MAX)?;
    count("reads", given.reads.len(), 0, COLUMNS_MAX)?;
    if let Some(schema) = &given.config_schema {
        config_schema(schema)?;
    }
    let mut names = HashSet::new();
    let mut outputs = Vec::with_capacity(given.outputs.len());
    for (index, given) in given.outputs.into_iter().enumerate() {
        output_name(index, &given.name)?;
        if !names.insert(given.name.clone()) {
            return Err(format!("two outputs are called `{}`: give each a name of its own", given.name));
        }
        let name = given.name.clone();
        outputs.push(output(given).map_err(|wrong| format!("output `{name}`: {wrong}"))?);
    }
    let reads = given.reads.into_iter().map(reads).collect::<Result<_, _>>()?;
    Ok(Description { name: given.name, version: given.version, outputs, reads, config_schema: given.config_schema })
}

fn text_for_people(what: &str, text: &str) -> Result<(), String> {
    let chars = text.chars().count();
    if (1..=64).contains(&chars) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("`{what}` must be 1 to 64 characters without control characters, it has {chars}: {}", excerpt(text)))
}

fn count(what: &str, count: usize, min: usize, max: usize) -> Result<(), String> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(format!("`{what}` has {count} entries, allowed are {min} to {max}"))
}

fn output_name(index: usize, name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("the name of output {index} must be 1 to 64 characters of [a-z0-9_], it is {}", excerpt(name)))
}

fn config_schema(schema: &str) -> Result<(), String> {
    if schema.len() > CONFIG_SCHEMA_BYTES_MAX {
        return Err(format!("`config-schema` has {} bytes, allowed are {CONFIG_SCHEMA_BYTES_MAX}", schema.len()));
    }
    match serde_json::from_str::<serde_json::Value>(schema) {
        Ok(value) if value.is_object() => Ok(()),
        Ok(_) => Err("`config-schema` must be a JSON Schema, which is a JSON object".into()),
        Err(wrong) => Err(format!("`config-schema` is not JSON: {wrong}")),
    }
}

fn output(given: types::Output) -> Result<OutputSpec, String> {
    count("columns", given.columns.len(), 1, COLUMNS_MAX)?;
    count("key", given.key.len(), 0, COLUMNS_MAX)?;
    let columns = given.columns.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let key: Vec<Arc<str>> = given.key.into_iter().map(Arc::from).collect();
    let names = Names::of(&columns)?;
    let mut seen = HashSet::new();
    for name in &key {
        if !seen.insert(name) {
            return Err(format!("the key names `{name}` twice"));
        }
        if !names.may_have(name) {
            return Err(format!("the key names `{name}`, which is not a column of the output: {}", names.known()));
        }
    }
    Ok(OutputSpec { name: given.name.into(), key, columns })
}

fn column(given: types::OutputColumn) -> Result<OutputColumn, String> {
    Ok(match given {
        types::OutputColumn::Made(field) => {
            column_name(&field.name)?;
            data_type(&field)?;
            OutputColumn::Made(Field::new(field.name, field.data_type.into(), field.nullable))
        }
        types::OutputColumn::Copied(copied) => {
            column_name(&copied.name)?;
            let (image, column) =
                column_ref(copied.from).map_err(|wrong| format!("column `{}`: {wrong}", copied.name))?;
            OutputColumn::Copied { image, column, name: copied.name.into() }
        }
        types::OutputColumn::CopiedAll(copied) => {
            count("except", copied.except.len(), 0, COLUMNS_MAX)?;
            if !copied.prefix.is_empty() {
                column_name(&copied.prefix)?;
            }
            let except = copied.except.into_iter().map(Arc::from).collect();
            OutputColumn::CopiedAll { image: copied.image.into(), prefix: copied.prefix, except }
        }
    })
}

fn column_name(name: &str) -> Result<(), String> {
    if (1..=COLUMN_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!(
        "the name of a column must be 1 to {COLUMN_NAME_BYTES_MAX} bytes without control characters, one is {}",
        excerpt(name)
    ))
}

fn data_type(field: &types::Field) -> Result<(), String> {
    let DataType::Decimal { precision, scale } = field.data_type.into() else { return Ok(()) };
    if (1..=38).contains(&precision) && scale <= precision {
        return Ok(());
    }
    Err(format!(
        "column `{}`: decimal({precision},{scale}) must have a precision of 1 to 38 and a scale up to the precision",
        field.name
    ))
}

fn column_ref(from: types::ColumnRef) -> Result<(Image, Arc<str>), String> {
    column_name(&from.name)?;
    let image = Image::from(from.image);
    if image == Image::Envelope && EnvelopeColumn::named(&from.name).is_none() {
        let names = EnvelopeColumn::ALL.map(EnvelopeColumn::name).join(", ");
        return Err(format!("the envelope has no column `{}`, it has {names}", from.name));
    }
    Ok((image, from.name.into()))
}

fn reads(given: types::Reads) -> Result<Reads, String> {
    Ok(match given {
        types::Reads::Image(image) => Reads::Image(image.into()),
        types::Reads::Column(from) => {
            let (image, name) = column_ref(from).map_err(|wrong| format!("`reads`: {wrong}"))?;
            Reads::Column(image, name)
        }
    })
}

/// What is known of an output's column names before the input's schema is: those of copied images only by prefix.
struct Names<'a> {
    known: HashSet<String>,
    open: Vec<(Image, &'a str, &'a [Arc<str>])>,
}

impl<'a> Names<'a> {
    fn of(columns: &'a [OutputColumn]) -> Result<Self, String> {
        let mut names = Self { known: HashSet::new(), open: Vec::new() };
        for column in columns {
            match column {
                OutputColumn::Made(field) => names.add(field.name.to_string())?,
                OutputColumn::Copied { name, .. } => names.add(name.to_string())?,
                OutputColumn::CopiedAll { image: Image::Envelope, prefix, except } => {
                    for envelope in EnvelopeColumn::COPIED.map(EnvelopeColumn::name) {
                        if !except.iter().any(|name| &**name == envelope) {
                            names.add(format!("{prefix}{envelope}"))?;
                        }
                    }
                }
                OutputColumn::CopiedAll { image, prefix, except } => {
                    if names.open.iter().any(|(other, same, _)| (other, same) == (image, &prefix.as_str())) {
                        let image = image.name();
                        return Err(format!("all of `{image}` is copied twice under prefix `{prefix}`"));
                    }
                    names.open.push((*image, prefix, except));
                }
            }
        }
        Ok(names)
    }

    fn add(&mut self, name: String) -> Result<(), String> {
        if self.known.contains(&name) {
            return Err(format!("two columns are called `{name}`"));
        }
        self.known.insert(name);
        Ok(())
    }

    fn may_have(&self, name: &str) -> bool {
        let copied = |(_, prefix, except): &(Image, &str, &[Arc<str>])| {
            name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && !except.iter().any(|e| &**e == rest))
        };
        self.known.contains(name) || self.open.iter().any(copied)
    }

    fn known(&self) -> String {
        let mut known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        known.sort_unstable();
        format!("it declares {}", known.join(", "))
    }
}

#[cfg(test)]
mod tests;
