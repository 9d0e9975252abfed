//! The columns that a table has, and whether rows fit them. Pure.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow_schema as arrow;
use lakemill_model::{DataType, Field, TableSchema};

/// What a column of a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of ours.
    Known(DataType),
    /// Something that no row of ours can hold, by its name in Delta: nested, or a type that only other writers use.
    Other(String),
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    /// Whether each file's log entry tells the column's smallest and largest value.
    pub(crate) stats: bool,
}

/// The columns of a table, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) columns: Vec<Column>,
    /// Names out of `columns`.
    pub(crate) partition_columns: Vec<Arc<str>>,
}

/// Delta's name of a type (PROTOCOL.md, "Primitive Types").
pub(crate) fn delta_type(data_type: DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int32 => "integer",
        DataType::Int64 => "long",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Decimal { precision, scale } => return format!("decimal({precision},{scale})"),
        DataType::Date => "date",
        DataType::Timestamp => "timestamp",
        DataType::Text | DataType::Json => "string",
        DataType::Bytes => "binary",
    }
    .to_owned()
}

/// Whether values of the type have one spelling as partition values.
fn makes_folders(data_type: DataType) -> bool {
    !matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Bytes)
}

/// Where the cells of a column of the file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The column of the rows; `None`: null everywhere.
    pub(crate) at: Option<usize>,
    pub(crate) field: Field,
    pub(crate) stats: bool,
}

/// How rows become the columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// The columns of the data file.
    pub(crate) data: Vec<Source>,
    /// The partition columns.
    pub(crate) partition: Vec<Source>,
}

/// Delta's default of `delta.dataSkippingNumIndexedCols`: statistics of wide rows would fill the log.
pub(crate) const STATS_COLUMNS: usize = 32;

impl Shape {
    /// The shape of a new table for rows of `schema`. The error says which column a table cannot have.
    pub(crate) fn of_new_table(schema: &TableSchema, partition_columns: &[String]) -> Result<Self, String> {
        let mut seen = std::collections::BTreeMap::new();
        for field in &schema.fields {
            if let Some(bad) = field.name.chars().find(|c| " ,;{}()\n\t=".contains(*c)) {
                return Err(format!(
                    "column `{}`: Delta allows no {bad:?} in names; rename it in the transform's output",
                    field.name
                ));
            }
            if let Some(other) = seen.insert(field.name.to_lowercase(), &field.name) {
                return Err(format!(
                    "columns `{other}` and `{}`: readers take them for one; rename one of them",
                    field.name
                ));
            }
        }
        for name in partition_columns {
            let Some(field) = schema.fields.iter().find(|field| *field.name == **name) else {
                let names: Vec<_> = schema.fields.iter().map(|field| &*field.name).collect();
                return Err(format!("partition column `{name}`: the rows have only {}", names.join(", ")));
            };
            // Of decimals, delta-rs 1.6.6 misreads the negative ones.
            if !makes_folders(field.data_type) || matches!(field.data_type, DataType::Decimal { .. }) {
                return Err(format!(
                    "partition column `{name}`: {} makes no good folder names; take another column",
                    field.data_type
                ));
            }
        }
        if partition_columns.len() >= schema.fields.len() {
            return Err("a table needs a column that is no partition column".to_owned());
        }
        Ok(Self::of_fields(&schema.fields, partition_columns.iter().map(|name| Arc::from(&**name)).collect()))
    }

    /// The shape of a table that has just these columns.
    pub(crate) fn of_fields(fields: &[Field], partition_columns: Vec<Arc<str>>) -> Self {
        let mut data = 0;
        let columns = fields.iter().map(|field| {
            data += usize::from(!partition_columns.contains(&field.name));
            let (name, nullable, stats) = (field.name.clone(), field.nullable, data <= STATS_COLUMNS);
            Column { name, kind: Kind::Known(field.data_type), nullable, stats }
        });
        Self { columns: columns.collect(), partition_columns: partition_columns.clone() }
    }

    /// How rows of `schema` become rows of the table. The error names every column that does not fit, what the table has, what
    /// the rows have, and what to do.
    pub(crate) fn fit(&self, schema: &TableSchema) -> Result<Fit, String> {
        let mut wrong = Vec::new();
        for field in &schema.fields {
            if let Some(reason) = self.misfit(field) {
                wrong.push(format!("column `{}`: {reason}", field.name));
            }
        }
        let (mut data, mut partition) = (Vec::new(), Vec::new());
        for column in &self.columns {
            let at = schema.fields.iter().position(|field| field.name == column.name);
            if at.is_none() && !column.nullable {
                wrong.push(format!(
                    "column `{}`: the table has it as {} not null, the rows do not have it; \
                     add it to the transform's output, or make it nullable in the table",
                    column.name,
                    column.type_name()
                ));
            }
            let partitions = self.partition_columns.contains(&column.name);
            if partitions && !matches!(column.kind, Kind::Known(known) if makes_folders(known)) {
                wrong.push(format!(
                    "column `{}`: the table is partitioned by it, which Lakemill does not write for {}; write to a new table",
                    column.name,
                    column.type_name()
                ));
                continue;
            }
            // A column of another type is null where a file does not have it.
            let Kind::Known(data_type) = column.kind else { continue };
            let field = Field::new(column.name.clone(), data_type, column.nullable);
            let source = Source { at, field, stats: column.stats };
            let place = if partitions { &mut partition } else { &mut data };
            place.push(source);
        }
        // Partition values are told in the table's partition order, which need not be the columns'.
        let order = |source: &Source| self.partition_columns.iter().position(|name| *name == source.field.name);
        partition.sort_by_key(order);
        if wrong.is_empty() { Ok(Fit { data, partition }) } else { Err(wrong.join("; ")) }
    }

    fn misfit(&self, field: &Field) -> Option<String> {
        let Some(column) = self.columns.iter().find(|column| column.name == field.name) else {
            let same = self.columns.iter().find(|column| column.name.to_lowercase() == field.name.to_lowercase());
            return Some(match same {
                Some(column) => {
                    format!("the table calls it `{}`; give it that name in the transform's output", column.name)
                }
                None => format!(
                    "the table does not have it, the rows have it as {}; add it to the table, \
                     or leave it out of the transform's output",
                    delta_type(field.data_type)
                ),
            });
        };
        let (table, rows) = (column.type_name(), delta_type(field.data_type));
        (table != rows).then(|| {
            format!("the table has it as {table}, the rows have it as {rows}; convert it in the transform, or write to a new table")
        })
    }

    /// The columns as Arrow fields' model, for the manifest of a Parquet table.
    pub(crate) fn known_fields(&self) -> Vec<Field> {
        let known = |column: &Column| match column.kind {
            Kind::Known(data_type) => Some(Field::new(column.name.clone(), data_type, column.nullable)),
            Kind::Other(_) => None,
        };
        self.columns.iter().filter_map(known).collect()
    }
}

impl Column {
    pub(crate) fn type_name(&self) -> String {
        match &self.kind {
            Kind::Known(data_type) => delta_type(*data_type),
            Kind::Other(name) => name.clone(),
        }
    }
}

impl Fit {
    /// The Arrow schema of the data file.
    pub(crate) fn file_schema(&self) -> arrow::SchemaRef {
        Arc::new(arrow::Schema::new(self.data.iter().map(|source| source.field.to_arrow()).collect::<Vec<_>>()))
    }

    /// The columns of the data file, all rows. The error names the column that has a null where the table allows none.
    pub(crate) fn data_columns(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        self.data.iter().chain(&self.partition).try_for_each(|source| source.check_nulls(rows))?;
        let column = |source: &Source| -> ArrayRef {
            match source.at {
                Some(at) => rows.column(at).clone(),
                None => new_null_array(&source.field.data_type.to_arrow(), rows.num_rows()),
            }
        };
        let columns: Vec<ArrayRef> = self.data.iter().map(column).collect();
        RecordBatch::try_new(self.file_schema(), columns).map_err(|error| error.to_string())
    }
}

impl Source {
    fn check_nulls(&self, rows: &RecordBatch) -> Result<(), String> {
        let nulls = self.at.map_or(0, |at| rows.column(at).null_count());
        if self.field.nullable || nulls == 0 {
            return Ok(());
        }
        Err(format!(
            "column `{}`: the table has it as not null, and it is null in {nulls} of {} rows; \
             fill it in the transform, or make it nullable in the table",
            self.field.name,
            rows.num_rows()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(fields: &[(&str, DataType, bool)]) -> TableSchema {
        let fields =
            fields.iter().map(|(name, data_type, nullable)| Field::new(*name, *data_type, *nullable)).collect();
        TableSchema { fields, key: vec![] }
    }

    fn table(fields: &[(&str, DataType, bool)], partition: &[&str]) -> Shape {
        let partition: Vec<String> = partition.iter().map(|name| (*name).to_owned()).collect();
        Shape::of_new_table(&rows(fields), &partition).expect("a table")
    }

    const AMOUNT: DataType = DataType::Decimal { precision: 12, scale: 2 };

    #[test]
    fn order_is_free_and_missing_nullable_columns_are_null() {
        let table = table(
            &[("id", DataType::Int64, false), ("day", DataType::Date, true), ("note", DataType::Json, true)],
            &["day"],
        );
        let fit = table.fit(&rows(&[("day", DataType::Date, false), ("id", DataType::Int64, true)])).expect("fits");
        let places = |sources: &[Source]| sources.iter().map(|s| (s.field.name.to_string(), s.at)).collect::<Vec<_>>();
        assert_eq!(places(&fit.data), [("id".to_owned(), Some(1)), ("note".to_owned(), None)]);
        assert_eq!(places(&fit.partition), [("day".to_owned(), Some(0))]);
    }

    #[test]
    fn every_column_that_does_not_fit_is_named_with_what_to_do() {
        let mut table =
            table(&[("id", DataType::Int64, false), ("total", AMOUNT, true), ("Note", DataType::Text, true)], &[]);
        table.columns.push(Column {
            name: "tags".into(),
            kind: Kind::Other("array".into()),
            nullable: true,
            stats: true,
        });
        let error = table
            .fit(&rows(&[
                ("total", DataType::Float64, true),
                ("note", DataType::Text, true),
                ("tags", DataType::Json, true),
                ("extra", DataType::Boolean, true),
            ]))
            .expect_err("must be refused");
        assert_eq!(
            error,
            "column `total`: the table has it as decimal(12,2), the rows have it as double; convert it in the transform, or write \
             to a new table; \
             column `note`: the table calls it `Note`; give it that name in the transform's output; \
             column `tags`: the table has it as array, the rows have it as string; convert it in the transform, or write to a new \
             table; \
             column `extra`: the table does not have it, the rows have it as boolean; add it to the table, or leave it out of the \
             transform's output; \
             column `id`: the table has it as long not null, the rows do not have it; add it to the transform's output, or make \
             it nullable in the table"
        );
    }

    #[test]
    fn a_null_where_the_table_allows_none_is_refused_by_count() {
        let table = table(&[("id", DataType::Int64, false)], &[]);
        let schema = rows(&[("id", DataType::Int64, true)]);
        let fit = table.fit(&schema).expect("nulls are looked for in the rows");
        let batch = |ids: Vec<Option<i64>>| {
            RecordBatch::try_new(schema.to_arrow(), vec![Arc::new(arrow_array::Int64Array::from(ids))])
                .expect("a batch")
        };
        assert!(fit.data_columns(&batch(vec![Some(1)])).is_ok());
        let error = fit.data_columns(&batch(vec![Some(1), None, None])).expect_err("must be refused");
        assert!(error.contains("column `id`: the table has it as not null, and it is null in 2 of 3 rows"), "{error}");
    }

    #[test]
    fn a_table_that_readers_could_not_use_is_not_made() {
        let refused = |fields: &[(&str, DataType, bool)], partition: &[&str]| {
            let partition: Vec<String> = partition.iter().map(|name| (*name).to_owned()).collect();
            Shape::of_new_table(&rows(fields), &partition).expect_err("must be refused")
        };
        let id = ("id", DataType::Int64, false);
        assert!(refused(&[("a b", DataType::Int64, true)], &[]).contains("column `a b`: Delta allows no ' '"));
        assert!(refused(&[id, ("ID", DataType::Int64, true)], &[]).contains("columns `id` and `ID`"));
        assert!(refused(&[id], &["day"]).contains("partition column `day`: the rows have only id"));
        assert!(refused(&[id, ("x", DataType::Float64, true)], &["x"]).contains("partition column `x`: float64"));
        assert!(refused(&[id], &["id"]).contains("no partition column"));
    }

    #[test]
    fn a_table_partitioned_by_what_we_cannot_spell_takes_no_rows() {
        let id = Field::new("id", DataType::Int64, true);
        let by = |kind: Kind| Shape {
            columns: vec![
                Column { name: "p".into(), kind, nullable: true, stats: true },
                table(&[("id", DataType::Int64, true)], &[]).columns[0].clone(),
            ],
            partition_columns: vec!["p".into()],
        };
        let schema = TableSchema { fields: vec![id], key: vec![] };
        for (kind, name) in [(Kind::Known(DataType::Float64), "double"), (Kind::Other("short".into()), "short")] {
            let error = by(kind).fit(&schema).expect_err("must be refused");
            assert!(
                error.contains(&format!(
                    "column `p`: the table is partitioned by it, which Lakemill does not write for {name}"
                )),
                "{error}"
            );
        }
        by(Kind::Known(AMOUNT)).fit(&schema).expect("a table that others made so");
    }

    #[test]
    fn statistics_stop_after_32_data_columns() {
        let names: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), DataType::Int64, true)).collect();
        let table = table(&fields, &["c0"]);
        let with: Vec<_> = table.columns.iter().filter(|c| c.stats).map(|c| c.name.to_string()).collect();
        assert_eq!((with.first(), with.last()), (Some(&"c0".to_owned()), Some(&"c32".to_owned())));
    }
}
