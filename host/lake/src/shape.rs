//! The columns that a table has, and those that it gets. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakemill_model::{DataType, Field, StagedColumn, StagedFile, TableSchema};

use crate::column_type::ColumnType;
use crate::names::{allowed, is_refused};
use crate::options::{SchemaPolicy, TableOptions};

/// What a column of a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something that rows of ours can hold.
    Known(ColumnType),
    /// Something that none can, by its name in Delta: nested, or a type that only other writers use.
    Other(String),
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: Arc<str>,
    /// What rows call it, where a table cannot have that name.
    pub(crate) source: Option<Arc<str>>,
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

/// Delta's default of `delta.dataSkippingNumIndexedCols`: statistics of wide rows would fill the log.
pub(crate) const STATS_COLUMNS: usize = 32;

impl Shape {
    /// The shape of a new table for rows of `schema`: their columns, and those that the pipeline file declares. The error says which
    /// column a table cannot have.
    pub(crate) fn of_new_table(schema: &TableSchema, options: &TableOptions) -> Result<Self, String> {
        let mut shape = Self { columns: Vec::new(), partition_columns: Vec::new() };
        let in_rows = |name: &str| schema.fields.iter().any(|field| *field.name == *name);
        let declared = options.columns.iter().filter(|(name, _)| !in_rows(name));
        let declared = declared.map(|(name, data_type)| Field::new(name.as_str(), *data_type, true));
        let fields: Vec<Field> = schema.fields.iter().cloned().chain(declared).collect();
        let by: Vec<Arc<str>> = options.partition_columns.iter().map(|name| allowed(name)).collect();
        for (name, asked) in by.iter().zip(&options.partition_columns) {
            let Some(field) = fields.iter().find(|field| allowed(&field.name) == *name) else {
                let names: Vec<_> = schema.fields.iter().map(|field| &*field.name).collect();
                return Err(format!("partition column `{asked}`: the rows have only {}", names.join(", ")));
            };
            let data_type = options.columns.get(&*field.name).copied().unwrap_or(field.data_type);
            if !can_partition(data_type) {
                return Err(format!(
                    "partition column `{asked}`: {data_type} makes no good folder names; take another column"
                ));
            }
        }
        if let Some(odd) = by.iter().find(|name| !crate::partition::makes_folder(name)) {
            return Err(format!(
                "partition column `{odd}`: polars does not read a table with such a folder name; rename the column in the transform's \
                 output, with letters, digits, `-`, `_` and `.` only"
            ));
        }
        if by.len() >= fields.len() {
            return Err("a table needs a column that is no partition column".to_owned());
        }
        shape.partition_columns = by;
        for field in &fields {
            if let Some(other) = shape.alike(&allowed(&field.name)) {
                return Err(clash(&field.name, other));
            }
            let column = shape.new_column(field, options)?;
            shape.columns.push(Column { nullable: field.nullable, ..column });
        }
        Ok(shape)
    }

    /// The shape of a table that has just these columns.
    pub(crate) fn of_fields(fields: &[Field], partition_columns: Vec<Arc<str>>) -> Self {
        let mut shape = Self { columns: Vec::with_capacity(fields.len()), partition_columns };
        for field in fields {
            let (name, nullable, stats) = (field.name.clone(), field.nullable, shape.has_stats(&field.name));
            let kind = Kind::Known(ColumnType::Own(field.data_type));
            shape.columns.push(Column { name, source: None, kind, nullable, stats });
        }
        shape
    }

    /// The table with the columns that rows of `schema` have beyond its own; `None` if it has them all, or is not to get any. What does
    /// not fit for another reason is left to [`Shape::fit`].
    pub(crate) fn grown(&self, schema: &TableSchema, options: &TableOptions) -> Result<Option<Self>, String> {
        if options.schema == SchemaPolicy::Strict {
            return Ok(None);
        }
        let mut grown = self.clone();
        for field in &schema.fields {
            if grown.of_rows(&field.name).is_none() && grown.alike(&allowed(&field.name)).is_none() {
                let column = grown.new_column(field, options)?;
                grown.columns.push(column);
            }
        }
        Ok((grown.columns.len() > self.columns.len()).then_some(grown))
    }

    /// The shape of a table that is not made yet, of which no file is written, with the types that rows of `schema` need beyond its own:
    /// a history may begin with an integer column that was altered to a bigint. `None` if there is nothing to widen.
    pub(crate) fn widened(&self, schema: &TableSchema, options: &TableOptions) -> Option<Self> {
        if options.schema == SchemaPolicy::Strict {
            return None;
        }
        let mut widened = self.clone();
        for field in schema.fields.iter().filter(|field| !options.columns.contains_key(&*field.name)) {
            let Some(column) = widened.columns.iter_mut().find(|column| column.is_for(&field.name)) else { continue };
            let Kind::Known(ColumnType::Own(has)) = column.kind else { continue };
            if let Some(common) = ColumnType::common(has, field.data_type) {
                let is_partition = self.partition_columns.contains(&column.name);
                if !is_partition || can_partition(common) {
                    column.kind = Kind::Known(ColumnType::Own(common));
                }
            }
        }
        (widened != *self).then_some(widened)
    }

    /// A column that the table does not have yet: nullable, since the rows before do not have it.
    fn new_column(&self, field: &Field, options: &TableOptions) -> Result<Column, String> {
        if is_refused(&field.name) {
            return Err(format!(
                "column `{}`: no table can have a column of this name; leave it out or rename it",
                field.name
            ));
        }
        let name = allowed(&field.name);
        let data_type = options.columns.get(&*field.name).copied().unwrap_or(field.data_type);
        let column_type = ColumnType::Own(data_type);
        if column_type.takes(field.data_type).is_none() {
            return Err(format!(
                "column `{}`: `columns` declares it as {data_type}, and the rows have it as {}, which does not always fit; declare \
                 a type that holds both, or take it out of `columns`",
                field.name, field.data_type
            ));
        }
        let source = (name != field.name).then(|| field.name.clone());
        let stats = self.has_stats(&name);
        Ok(Column { name, source, kind: Kind::Known(column_type), nullable: true, stats })
    }

    /// Whether one more column, of this name, gets statistics.
    fn has_stats(&self, name: &Arc<str>) -> bool {
        let is_data = |name: &Arc<str>| !self.partition_columns.contains(name);
        let before = self.columns.iter().filter(|column| is_data(&column.name)).count();
        before + usize::from(is_data(name)) <= STATS_COLUMNS
    }

    /// The column for what rows call `name`.
    pub(crate) fn of_rows(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.is_for(name))
    }

    /// The column whose name readers take for `name`.
    fn alike(&self, name: &str) -> Option<&Column> {
        let folded = name.to_lowercase();
        self.columns.iter().find(|column| column.name.to_lowercase() == folded)
    }

    /// Why a column of the rows does not fit.
    pub(crate) fn misfit(&self, field: &Field) -> Option<String> {
        let Some(column) = self.of_rows(&field.name) else {
            let name = allowed(&field.name);
            return Some(match self.alike(&name) {
                Some(Column { source: Some(source), .. }) => {
                    format!("the table has `{name}` for the column `{source}` of the rows; rename one of them")
                }
                Some(column) => {
                    format!("the table calls it `{}`; give it that name in the transform's output", column.name)
                }
                None => format!(
                    "the table does not have it, the rows have it as {}; add it to the table, let Lakemill add it (`schema: \
                     additive`), or leave it out of the transform's output",
                    ColumnType::Own(field.data_type)
                ),
            });
        };
        let rows = ColumnType::Own(field.data_type);
        if matches!(&column.kind, Kind::Known(known) if known.takes(field.data_type).is_some()) {
            return None;
        }
        let both = match &column.kind {
            Kind::Known(ColumnType::Own(table)) => ColumnType::holding(*table, field.data_type),
            _ => None,
        };
        let way_out = match both {
            Some(both) => format!(
                "give the sink a new `path` and declare the column there, `columns: {{ {}: {} }}`, which holds both",
                field.name,
                as_written(both)
            ),
            None => "convert it in the transform, or give the sink a new `path`".to_owned(),
        };
        Some(format!("the table has it as {}, the rows have it as {rows}; {way_out}", column.type_name()))
    }

    /// What the pipeline file declares and the table has otherwise.
    pub(crate) fn contradicts(&self, declared: &BTreeMap<String, DataType>) -> Option<String> {
        let differs = |(name, wanted): (&String, &DataType)| {
            let (column, wanted) = (self.of_rows(name)?, ColumnType::Own(*wanted));
            (column.type_name() != wanted.to_string()).then(|| {
                format!(
                    "has the column `{}` as {}, and `columns` declares it as {wanted}",
                    column.name,
                    column.type_name()
                )
            })
        };
        declared.iter().find_map(differs)
    }

    /// The table with the columns that files have beyond its own; `None` if it has them all. The error says what became of the
    /// table since they were written: they are not its files any more.
    pub(crate) fn with(&self, files: &[StagedFile]) -> Result<Option<Self>, String> {
        let mut with = self.clone();
        let mut seen: Option<&Arc<[StagedColumn]>> = None;
        for file in files {
            let partitions = file.partition_values.iter().map(|(name, _)| name.as_str());
            if !partitions.eq(self.partition_columns.iter().map(|name| &**name)) {
                return Err("it is partitioned by other columns".to_owned());
            }
            if seen.is_some_and(|seen| Arc::ptr_eq(seen, &file.columns)) {
                continue;
            }
            seen = Some(&file.columns);
            for column in file.columns.iter() {
                with.take_in(column)?;
            }
        }
        Ok((with.columns.len() > self.columns.len()).then_some(with))
    }

    fn take_in(&mut self, staged: &StagedColumn) -> Result<(), String> {
        let StagedColumn { name, type_name, nullable, source, is_new } = staged;
        if let Some(column) = self.columns.iter().find(|column| column.name == *name) {
            if column.type_name() != *type_name {
                return Err(format!("column `{name}` is {} and was {type_name}", column.type_name()));
            }
            return match *nullable && !column.nullable {
                true => Err(format!("column `{name}` takes no nulls any more")),
                false => Ok(()),
            };
        }
        let known = ColumnType::of_delta(type_name).filter(|_| *is_new && self.alike(name).is_none());
        let Some(known) = known else {
            return Err(format!("column `{name}` is gone, or has another name"));
        };
        let (name, source, stats) = (name.clone(), source.clone(), self.has_stats(name));
        self.columns.push(Column { name, source, kind: Kind::Known(known), nullable: true, stats });
        Ok(())
    }

    /// The columns that are ours, as the manifest of a Parquet table has them.
    pub(crate) fn known_fields(&self) -> Vec<Field> {
        let known = |column: &Column| match column.kind {
            Kind::Known(ColumnType::Own(own)) => Some(Field::new(column.name.clone(), own, column.nullable)),
            _ => None,
        };
        self.columns.iter().filter_map(known).collect()
    }
}

/// A type as it is written in a pipeline file: the comma of a decimal must not end it.
fn as_written(data_type: DataType) -> String {
    match data_type {
        DataType::Decimal { .. } => format!("\"{data_type}\""),
        _ => data_type.to_string(),
    }
}

/// Whether a new table can be partitioned by a column of this type: of decimals, delta-rs 1.6.6 misreads the negative ones.
fn can_partition(data_type: DataType) -> bool {
    ColumnType::Own(data_type).makes_folders() && !matches!(data_type, DataType::Decimal { .. })
}

/// Two columns of the rows that would be one in the table.
pub(crate) fn clash(name: &str, other: &Column) -> String {
    let other_name = other.source.as_ref().unwrap_or(&other.name);
    if allowed(name).to_lowercase() == name.to_lowercase() && other.source.is_none() {
        format!("columns `{other_name}` and `{name}`: readers take them for one; rename one of them")
    } else {
        let table = allowed(name);
        format!(
            "columns `{other_name}` and `{name}`: both would be `{table}` in the table, which has no other name for them; rename one of them"
        )
    }
}

impl Column {
    pub(crate) fn type_name(&self) -> String {
        match &self.kind {
            Kind::Known(column_type) => column_type.to_string(),
            Kind::Other(name) => name.clone(),
        }
    }

    /// Whether it is for what rows call `name`.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        match &self.source {
            Some(source) => **source == *name,
            None => *self.name == *name || self.name == allowed(name),
        }
    }
}

#[cfg(test)]
mod tests;
