//! From what a transform declares and what a topic's rows look like to the columns of a table. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakemill_model::{DataType, EnvelopeColumn, Field, Image, OutputColumn, OutputSpec, RowSchema, TableSchema};

use crate::spec::written::Metadata;

/// Where the cells of an output column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// The n-th column that the transform made.
    Made(usize),
    /// A column of the key.
    Key(usize),
    /// A column of the row before the change.
    Before(usize),
    /// A column of the row after it.
    After(usize),
    /// A column of the row that the change is about.
    Row(usize),
    /// Of the envelope.
    Envelope(EnvelopeColumn),
    /// Which of the other columns are unchanged.
    Unchanged,
}

/// How the rows of one output are made from batches of one row schema.
#[derive(Debug)]
pub(crate) struct OutputPlan {
    pub table: Arc<TableSchema>,
    pub arrow: arrow_schema::SchemaRef,
    /// One per column of `table`.
    pub recipes: Vec<Recipe>,
}

/// The name that a metadata column has in a table.
pub(crate) fn metadata_name(column: Metadata) -> &'static str {
    match column {
        Metadata::Op => "_op",
        Metadata::EventTime => "_event_time",
        Metadata::KafkaTime => "_kafka_time",
        Metadata::Topic => "_topic",
        Metadata::Partition => "_partition",
        Metadata::Offset => "_offset",
        Metadata::Position => "_position",
        Metadata::SourceDb => "_source_db",
        Metadata::SourceSchema => "_source_schema",
        Metadata::SourceTable => "_source_table",
        Metadata::Unchanged => "_unchanged",
    }
}

fn metadata(column: Metadata) -> (Field, Recipe) {
    let envelope = match column {
        Metadata::Op => EnvelopeColumn::Op,
        Metadata::EventTime => EnvelopeColumn::EventTime,
        Metadata::KafkaTime => EnvelopeColumn::KafkaTime,
        Metadata::Topic => EnvelopeColumn::Topic,
        Metadata::Partition => EnvelopeColumn::Partition,
        Metadata::Offset => EnvelopeColumn::Offset,
        Metadata::Position => EnvelopeColumn::Position,
        Metadata::SourceDb => EnvelopeColumn::SourceDb,
        Metadata::SourceSchema => EnvelopeColumn::SourceSchema,
        Metadata::SourceTable => EnvelopeColumn::SourceTable,
        Metadata::Unchanged => return (Field::new("_unchanged", DataType::Text, true), Recipe::Unchanged),
    };
    let field = envelope.field();
    (Field::new(metadata_name(column), field.data_type, field.nullable), Recipe::Envelope(envelope))
}

impl OutputPlan {
    /// Resolves an output over the rows of a topic.
    ///
    /// The error is for whoever wired the transform to the topic: it names the output, the column and what there is.
    pub fn resolve(output: &OutputSpec, input: &RowSchema, topic: &str, added: &[Metadata]) -> Result<Self, String> {
        let mut columns: Vec<(Field, Recipe)> = Vec::new();
        let mut made = 0;
        for column in &output.columns {
            match column {
                OutputColumn::Made(field) => {
                    columns.push((field.clone(), Recipe::Made(made)));
                    made += 1;
                }
                OutputColumn::Copied { image, column, name } => {
                    let (field, recipe) = find(*image, column, input).ok_or_else(|| {
                        format!(
                            "output `{}` copies {}.{column}, which topic {topic} does not have; it has: {}",
                            output.name,
                            image.name(),
                            names(*image, input)
                        )
                    })?;
                    columns.push((Field::new(name.clone(), field.data_type, true), recipe));
                }
                OutputColumn::CopiedAll { image, prefix, except } => {
                    for (field, recipe) in all(*image, input) {
                        let is_more =
                            matches!(recipe, Recipe::Envelope(column) if !EnvelopeColumn::COPIED.contains(&column));
                        if !is_more && !except.contains(&field.name) {
                            let name = format!("{prefix}{}", field.name);
                            columns.push((Field::new(name, field.data_type, true), recipe));
                        }
                    }
                }
            }
        }
        columns.extend(added.iter().copied().map(metadata));
        let mut seen = BTreeMap::new();
        for (field, _) in &columns {
            // Readers of tables fold case, so two names that differ by case only are one name.
            if let Some(other) = seen.insert(field.name.to_lowercase(), field.name.clone()) {
                return Err(format!(
                    "output `{}` has the column `{}` twice (`{other}` as well) for topic {topic}: leave one out with \
                     `except`, rename it, or leave the column out of the sink's `metadata`",
                    output.name, field.name
                ));
            }
        }
        for key in &output.key {
            if !columns.iter().any(|(field, _)| field.name == *key) {
                return Err(format!(
                    "output `{}` has the key `{key}`, but no such column for topic {topic}",
                    output.name
                ));
            }
        }
        let (fields, recipes) = columns.into_iter().unzip();
        let table = Arc::new(TableSchema { fields, key: output.key.clone() });
        Ok(Self { arrow: table.to_arrow(), table, recipes })
    }
}

fn all(image: Image, input: &RowSchema) -> Vec<(Field, Recipe)> {
    let row = |recipe: fn(usize) -> Recipe, fields: &[Field]| {
        fields.iter().cloned().enumerate().map(|(n, field)| (field, recipe(n))).collect()
    };
    match image {
        Image::Key => row(Recipe::Key, &input.key),
        Image::Before => row(Recipe::Before, &input.row),
        Image::After => row(Recipe::After, &input.row),
        Image::Row => row(Recipe::Row, &input.row),
        Image::Envelope => EnvelopeColumn::ALL.iter().map(|c| (c.field(), Recipe::Envelope(*c))).collect(),
    }
}

fn find(image: Image, name: &str, input: &RowSchema) -> Option<(Field, Recipe)> {
    all(image, input).into_iter().find(|(field, _)| &*field.name == name)
}

fn names(image: Image, input: &RowSchema) -> String {
    let names: Vec<_> = all(image, input).into_iter().map(|(field, _)| field.name.to_string()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> RowSchema {
        let field = |name: &str| Field::new(name, DataType::Int64, false);
        RowSchema { key: vec![field("id")], row: vec![field("id"), field("total")] }
    }

    fn output(columns: Vec<OutputColumn>) -> OutputSpec {
        OutputSpec { name: "orders".into(), key: vec!["id".into()], columns }
    }

    fn copied_all(image: Image, prefix: &str, except: &[&str]) -> OutputColumn {
        OutputColumn::CopiedAll { image, prefix: prefix.into(), except: except.iter().map(|&e| e.into()).collect() }
    }

    fn made(name: &str) -> OutputColumn {
        OutputColumn::Made(Field::new(name, DataType::Float64, false))
    }

    #[test]
    fn columns_come_in_the_declared_order_with_the_metadata_last() {
        let spec =
            output(vec![copied_all(Image::Row, "", &["total"]), made("total"), copied_all(Image::Before, "old_", &[])]);
        let plan = OutputPlan::resolve(&spec, &input(), "t", &[Metadata::Op, Metadata::Unchanged]).expect("resolves");
        let names: Vec<_> = plan.table.fields.iter().map(|f| f.name.to_string()).collect();
        assert_eq!(names, ["id", "total", "old_id", "old_total", "_op", "_unchanged"]);
        use Recipe::*;
        assert_eq!(plan.recipes, [Row(0), Made(0), Before(0), Before(1), Envelope(EnvelopeColumn::Op), Unchanged]);
        assert!(plan.table.fields[0].nullable, "a delete may lack what its row never lacked");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |columns, added: &[Metadata]| {
            OutputPlan::resolve(&output(columns), &input(), "shop.orders", added).expect_err("must be refused")
        };
        let missing = OutputColumn::Copied { image: Image::After, column: "note".into(), name: "note".into() };
        assert_eq!(
            refused(vec![missing], &[]),
            "output `orders` copies after.note, which topic shop.orders does not have; it has: id, total"
        );
        assert!(
            refused(vec![copied_all(Image::Row, "", &[]), made("Total")], &[]).contains("the column `Total` twice")
        );
        assert!(refused(vec![copied_all(Image::Row, "", &[]), made("_op")], &[Metadata::Op]).contains("`_op` twice"));
        assert!(refused(vec![made("x")], &[]).contains("has the key `id`, but no such column"));
    }
}
