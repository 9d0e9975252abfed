//! How rows become the columns of a table's files, and which rows do not. Pure.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow_schema as arrow;
use lakemill_model::range::{Bounded, OutOfRange, bounded};
use lakemill_model::{DataType, Refusal, StagedColumn, TableSchema};

use crate::column_type::{ColumnType, Conversion};
use crate::partition::{NULL_FOLDER, folder_bytes_over};
use crate::shape::{Kind, Shape, clash};

/// Where the cells of a column of the file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The column of the rows, and how it becomes the table's; `None`: null everywhere.
    pub(crate) at: Option<(usize, Conversion)>,
    pub(crate) name: Arc<str>,
    pub(crate) column_type: ColumnType,
    pub(crate) nullable: bool,
    pub(crate) stats: bool,
}

/// How rows become the columns of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// The columns of the data file.
    pub(crate) data: Vec<Source>,
    /// The partition columns, in the table's order of partitioning.
    pub(crate) partition: Vec<Source>,
    /// What a staged file says of its columns.
    pub(crate) staged: Arc<[StagedColumn]>,
}

/// Rows as a table has them.
pub(crate) struct Fitted {
    /// The columns of the data file.
    pub(crate) data: RecordBatch,
    /// By partition column.
    pub(crate) partition: Vec<ArrayRef>,
    /// The columns with values that no reader could read, which were brought to the nearest that all can.
    pub(crate) clamped: Vec<Arc<str>>,
}

impl Shape {
    /// How rows of `schema` become rows of the table, which has `own` so far. The error names every column that does not fit, what the
    /// table has, what the rows have, and what to do.
    pub(crate) fn fit(&self, schema: &TableSchema, own: Option<&Shape>) -> Result<Fit, String> {
        let mut wrong: Vec<String> = Vec::new();
        for (n, field) in schema.fields.iter().enumerate() {
            if let Some(reason) = self.misfit(field) {
                wrong.push(format!("column `{}`: {reason}", field.name));
            } else if let Some(column) = self.of_rows(&field.name)
                && let Some(other) = schema.fields[..n].iter().find(|other| column.is_for(&other.name))
            {
                let other = crate::shape::Column { name: other.name.clone(), source: None, ..column.clone() };
                wrong.push(clash(&field.name, &other));
            }
        }
        let (mut data, mut partition, mut staged) = (Vec::new(), Vec::new(), Vec::new());
        for column in &self.columns {
            let at = schema.fields.iter().position(|field| column.is_for(&field.name));
            if at.is_none() && !column.nullable {
                wrong.push(format!(
                    "column `{}`: the table has it as {} not null, the rows do not have it; \
                     add it to the transform's output, or make it nullable in the table",
                    column.name,
                    column.type_name()
                ));
            }
            let partitions = self.partition_columns.contains(&column.name);
            if partitions && !matches!(column.kind, Kind::Known(known) if known.makes_folders()) {
                wrong.push(format!(
                    "column `{}`: the table is partitioned by it, which Lakemill does not write for {}; write to a new table",
                    column.name,
                    column.type_name()
                ));
                continue;
            }
            // A column of another type is null where a file does not have it, and one that other rows are about to bring is none of
            // these.
            let Kind::Known(column_type) = column.kind else { continue };
            let is_new = own.is_some_and(|own| own.columns.iter().all(|other| other.name != column.name));
            if is_new && at.is_none() {
                continue;
            }
            let conversion = |at: usize| Some((at, column_type.takes(schema.fields[at].data_type)?));
            let (name, nullable) = (column.name.clone(), column.nullable);
            staged.push(StagedColumn {
                name: name.clone(),
                type_name: column_type.to_string(),
                nullable,
                source: column.source.clone(),
                is_new,
            });
            let source = Source { at: at.and_then(conversion), name, column_type, nullable, stats: column.stats };
            let place = if partitions { &mut partition } else { &mut data };
            place.push(source);
        }
        // Partition values are told in the table's partition order, which need not be the columns'.
        let order = |source: &Source| self.partition_columns.iter().position(|name| *name == source.name);
        partition.sort_by_key(order);
        if wrong.is_empty() { Ok(Fit { data, partition, staged: staged.into() }) } else { Err(wrong.join("; ")) }
    }
}

impl Fit {
    /// The Arrow schema of the data file.
    pub(crate) fn file_schema(&self) -> arrow::SchemaRef {
        let field = |source: &Source| arrow::Field::new(&*source.name, source.column_type.to_arrow(), source.nullable);
        Arc::new(arrow::Schema::new(self.data.iter().map(field).collect::<Vec<_>>()))
    }

    /// The rows that the table cannot have, and why; of each its first reason. Most batches cost a look at a few counters.
    pub(crate) fn refusals(&self, rows: &RecordBatch) -> Result<Vec<Refusal>, String> {
        let mut refusals = Vec::new();
        for (source, partitions) in self.data.iter().map(|s| (s, false)).chain(self.partition.iter().map(|s| (s, true)))
        {
            source.refuse(rows, partitions, &mut refusals)?;
        }
        refusals.sort_by_key(|refusal: &Refusal| refusal.row);
        refusals.dedup_by_key(|refusal| refusal.row);
        Ok(refusals)
    }

    /// Rows as the table has them. The error names the first row that it cannot have.
    pub(crate) fn fitted(&self, rows: &RecordBatch) -> Result<Fitted, String> {
        let refusals = self.refusals(rows)?;
        if let Some(first) = refusals.first() {
            return Err(format!(
                "{} of {} rows have no place in it: {}",
                refusals.len(),
                rows.num_rows(),
                first.reason
            ));
        }
        let mut clamped = Vec::new();
        let mut column = |source: &Source| -> Result<ArrayRef, String> {
            let Some((at, conversion)) = source.at else {
                return Ok(new_null_array(&source.column_type.to_arrow(), rows.num_rows()));
            };
            let cells = match readable(rows.column(at)) {
                None => rows.column(at).clone(),
                Some(readable) => {
                    clamped.push(source.name.clone());
                    readable
                }
            };
            source.column_type.convert(&cells, conversion).map_err(|error| error.to_string())
        };
        let data = self.data.iter().map(&mut column).collect::<Result<Vec<_>, _>>()?;
        let partition = self.partition.iter().map(&mut column).collect::<Result<Vec<_>, _>>()?;
        let data = RecordBatch::try_new(self.file_schema(), data).map_err(|error| error.to_string())?;
        Ok(Fitted { data, partition, clamped })
    }
}

/// The cells with each date and timestamp that no reader could read brought to the nearest that all can; `None` if there is none such.
fn readable(cells: &ArrayRef) -> Option<ArrayRef> {
    let data_type = match cells.data_type() {
        arrow::DataType::Date32 => DataType::Date,
        arrow::DataType::Timestamp(..) => DataType::Timestamp,
        _ => return None,
    };
    bounded(cells, data_type, OutOfRange::Clamp).map(|Bounded { array, .. }| array)
}

impl Source {
    fn refuse(&self, rows: &RecordBatch, partitions: bool, refusals: &mut Vec<Refusal>) -> Result<(), String> {
        let Some((at, conversion)) = self.at else { return Ok(()) };
        let (cells, name) = (rows.column(at), &self.name);
        let mut refuse = |row: usize, reason: String| {
            refusals.push(Refusal { row: u32::try_from(row).expect("a batch has fewer than 2^32 rows"), reason });
        };
        if !self.nullable && cells.null_count() > 0 {
            for row in (0..cells.len()).filter(|row| cells.is_null(*row)) {
                refuse(
                    row,
                    format!(
                        "column `{name}` is null, and the table has it as not null; fill it in the transform, or make it nullable in \
                         the table"
                    ),
                );
            }
        }
        for row in self.column_type.misfits(cells, conversion).map_err(|error| error.to_string())? {
            let value = arrow_cast::display::array_value_to_string(cells, row).unwrap_or_default();
            let table = self.column_type;
            refuse(
                row,
                format!("column `{name}` is {value}, and the table has it as {table}; write it to a wider column"),
            );
        }
        if let Some(texts) = cells.as_string_opt::<i32>().filter(|_| partitions) {
            for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
                let value = texts.value(row);
                if value.is_empty() && !self.nullable {
                    refuse(
                        row,
                        format!(
                            "column `{name}` is empty, which is null for a partition column, and the table has it as not null; fill \
                             it in the transform"
                        ),
                    );
                } else if value == NULL_FOLDER {
                    refuse(
                        row,
                        format!(
                            "partition column `{name}` is `{NULL_FOLDER}`, which polars and Hive read as null; write another text"
                        ),
                    );
                } else if let Some((bytes, most)) = folder_bytes_over(name, value) {
                    let start: String = value.chars().take(20).collect();
                    refuse(
                        row,
                        format!(
                            "partition column `{name}`: the value that begins with `{start}` would make a folder's name of {bytes} \
                             bytes, and {most} is the most; partition by something shorter"
                        ),
                    );
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int16Type;
    use arrow_array::{Date32Array, Int32Array, Int64Array, StringArray};
    use lakemill_model::Field;

    use super::*;
    use crate::shape::Column;

    fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
        Column { name: name.into(), source: None, kind: Kind::Known(column_type), nullable, stats: true }
    }

    fn batch(columns: Vec<(&str, DataType, ArrayRef)>) -> (TableSchema, RecordBatch) {
        let fields = columns.iter().map(|(name, data_type, _)| Field::new(*name, *data_type, true)).collect();
        let schema = TableSchema { fields, key: vec![] };
        let arrays = columns.into_iter().map(|(.., array)| array).collect();
        let batch = RecordBatch::try_new(schema.to_arrow(), arrays).expect("a batch");
        (schema, batch)
    }

    #[test]
    fn one_row_that_has_no_place_is_one_row() {
        let shape = Shape {
            columns: vec![
                column("id", ColumnType::Own(DataType::Int64), false),
                column("size", ColumnType::Short, true),
                column("region", ColumnType::Own(DataType::Text), false),
            ],
            partition_columns: vec!["region".into()],
        };
        let long = "x".repeat(300);
        let (schema, rows) = batch(vec![
            (
                "id",
                DataType::Int64,
                Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4), Some(5), Some(6)])),
            ),
            (
                "size",
                DataType::Int32,
                Arc::new(Int32Array::from(vec![Some(-32_768), Some(70_000), Some(32_768), None, Some(0), Some(7)])),
            ),
            ("region", DataType::Text, Arc::new(StringArray::from(vec!["eu", "eu", "eu", "", &long, "us"]))),
        ]);
        let fit = shape.fit(&schema, Some(&shape)).expect("fits");
        let refused = fit.refusals(&rows).expect("a look");
        let found: Vec<(u32, &str)> =
            refused.iter().map(|refusal| (refusal.row, refusal.reason.split(';').next().unwrap_or_default())).collect();
        assert_eq!(
            found,
            [
                (1, "column `id` is null, and the table has it as not null"),
                (2, "column `size` is 32768, and the table has it as short"),
                (3, "column `region` is empty, which is null for a partition column, and the table has it as not null"),
                (
                    4,
                    "partition column `region`: the value that begins with `xxxxxxxxxxxxxxxxxxxx` would make a folder's name of 307 bytes, and 255 is the most"
                ),
            ]
        );
        assert!(
            fit.fitted(&rows)
                .err()
                .expect("refused")
                .starts_with("4 of 6 rows have no place in it: column `id` is null")
        );
        let keep = arrow_array::UInt32Array::from(vec![0, 5]);
        let rest = arrow_select::take::take_record_batch(&rows, &keep).expect("two rows");
        let fitted = fit.fitted(&rest).expect("these have");
        assert_eq!(fitted.data["size"].as_primitive::<Int16Type>().values(), &[-32_768, 7]);
    }

    #[test]
    fn what_no_reader_could_read_is_brought_into_range_and_told() {
        let shape =
            Shape { columns: vec![column("d", ColumnType::Own(DataType::Date), true)], partition_columns: vec![] };
        let (schema, rows) =
            batch(vec![("d", DataType::Date, Arc::new(Date32Array::from(vec![i32::MAX, 0, i32::MIN])))]);
        let fitted = shape.fit(&schema, Some(&shape)).expect("fits").fitted(&rows).expect("rows");
        assert_eq!(*fitted.data["d"], Date32Array::from(vec![2_932_896, 0, -719_162]) as Date32Array);
        assert_eq!(fitted.clamped, ["d".into()]);
    }
}
