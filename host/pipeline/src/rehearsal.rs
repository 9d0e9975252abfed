//! A transform that reads a column as another type than it has fails on every row alike: it is found out before there is one, and no row is
//! looked for to blame.
//!
//! The contract has no word for the type that a transform expects; it finds out when it asks for the column. So it is called once with a
//! change that has no row (a truncate), over the columns that are declared or known.

use std::sync::Arc;

use lakemill_decode::{Decoder, DecoderConfig, SchemaMode};
use lakemill_model::{
    BatchClock, ChangeBatch, EnvelopeColumn, Field, Image, RawBatch, RecordRef, RowSchema, TransformError,
};

use crate::error::PipelineError;
use crate::projection::projection;
use crate::version::{BoundTransform, Version};

/// Debezium's event of a truncated table.
const TRUNCATE: &[u8] = br#"{"op":"t","before":null,"after":null}"#;

/// Calls the transforms of a version with no row of a topic that has these columns.
///
/// # Errors
/// If one reads a column as another type. Whatever else it does there is no matter: rows will tell.
pub(crate) fn rehearse(version: &Version, topic: &str, schema: &RowSchema) -> Result<(), PipelineError> {
    let config = DecoderConfig {
        mode: SchemaMode::Declared(schema.clone().into()),
        projection: projection(version),
        ..DecoderConfig::default()
    };
    let decoder = Decoder::new(config, Box::new(|_, schema| Ok(schema)));
    let mut raw = RawBatch::default();
    raw.push(RecordRef { topic, partition: 0, offset: 0, timestamp_ms: None, key: None, value: Some(TRUNCATE) });
    for batch in decoder.decode(&raw)?.batches.into_iter().map(Arc::new) {
        for bound in &version.transforms {
            let called = bound.call(&batch, BatchClock { now_us: 0, watermark_us: None });
            if let Some(wrong) = called.err().and_then(|error| wrong_type(bound, &error, &batch)) {
                return Err(wrong);
            }
        }
    }
    Ok(())
}

/// What is wrong if a call failed since the transform reads a column as another type, which no row can help.
pub(crate) fn wrong_type(bound: &BoundTransform, error: &TransformError, batch: &ChangeBatch) -> Option<PipelineError> {
    let TransformError::Guest(words) = error else { return None };
    let Told { column, image, found, wanted } = told(words)?;
    if type_of(batch, image, column)? != found {
        return None;
    }
    let topic = &batch.envelope.topic;
    let reason = format!(
        "it reads column `{column}` of `{image}` as {wanted}, and topic {topic} has it as {found}; change the type in the transform's code, \
         or declare the column as {wanted} in `source.schema` if its values are that"
    );
    Some(PipelineError::Output { component: bound.transform.description().name.clone(), reason })
}

/// What an error of the SDK says about a column's type.
#[derive(Debug, PartialEq, Eq)]
struct Told<'a> {
    column: &'a str,
    image: &'a str,
    found: &'a str,
    wanted: &'a str,
}

/// Reads `lakemill_guest::Error::WrongType` (guest-sdk/rust/src/error.rs), whose words are in published components.
fn told(words: &str) -> Option<Told<'_>> {
    let (place, types) = words.strip_prefix("column `")?.split_once("` is ")?;
    let (column, image) = place.rsplit_once("` of `")?;
    let (found, wanted) = types.split_once(", but the transform reads it as ")?;
    Some(Told { column, image, found, wanted: wanted.split(';').next().unwrap_or(wanted).trim() })
}

/// The type of a column as the SDK names it: a decimal without its digits.
fn type_of(batch: &ChangeBatch, image: &str, column: &str) -> Option<String> {
    let images = [Image::Key, Image::Before, Image::After, Image::Row, Image::Envelope];
    let fields: &[Field] = match images.into_iter().find(|known| known.name() == image)? {
        Image::Key => &batch.schema.key,
        Image::Before | Image::After | Image::Row => &batch.schema.row,
        Image::Envelope => {
            let name = EnvelopeColumn::named(column)?.field().data_type.to_string();
            return Some(name);
        }
    };
    let data_type = fields.iter().find(|field| *field.name == *column)?.data_type.to_string();
    Some(data_type.split('(').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_sdk_are_understood() {
        let words = "column `total` of `row` is float64, but the transform reads it as decimal; change the type in the transform's code";
        let total = Told { column: "total", image: "row", found: "float64", wanted: "decimal" };
        assert_eq!(told(words), Some(total));
        let odd = "column `a` of `b` of `key` is text, but the transform reads it as int32";
        assert_eq!(told(odd).map(|told| (told.column, told.image)), Some(("a` of `b", "key")));
        for other in [
            "",
            "column `a` is null",
            "the input has no column `a` in `row`",
            "total is float64, but the transform reads it as x",
        ] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
