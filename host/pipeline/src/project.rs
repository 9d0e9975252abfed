//! From a transform's answer to the rows of a table: made columns from the answer, copied ones from the input by row
//! number. Pure.

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use lakemill_model::{Cells, ChangeBatch, Emission, ImageData, Op, OutputRows, RowSource};

use crate::outputs::{OutputPlan, Recipe};

/// Builds the rows of one emission; `keep` names the output rows to build, all if `None`.
///
/// # Errors
/// Only if our own checks let something through that Arrow refuses.
pub(crate) fn project(
    batch: &ChangeBatch,
    plan: &OutputPlan,
    emission: &Emission,
    keep: Option<&[u32]>,
) -> Result<OutputRows, ArrowError> {
    let gather = Gather::new(batch, emission, keep);
    let mut columns = Vec::with_capacity(plan.recipes.len());
    let mut unchanged = Vec::new();
    for (recipe, field) in plan.recipes.iter().zip(&plan.table.fields) {
        let (array, mask) = gather.column(*recipe, field)?;
        if let Some(mask) = mask {
            unchanged.push((&*field.name, mask));
        }
        columns.push(array);
    }
    if let Some(place) = plan.recipes.iter().position(|recipe| *recipe == Recipe::Unchanged) {
        columns[place] = unchanged_names(&unchanged, gather.rows.len());
    }
    let batch = RecordBatch::try_new(plan.arrow.clone(), columns)?;
    Ok(OutputRows { schema: plan.table.clone(), batch, ops: gather.ops })
}

/// Which of the output rows have the cell of a column unchanged.
type Mask = Vec<bool>;

struct Gather<'a> {
    batch: &'a ChangeBatch,
    emission: &'a Emission,
    keep: Option<UInt32Array>,
    rows: UInt32Array,
    /// True if the output rows are the input rows, all of them, in order.
    identity: bool,
    ops: Vec<Op>,
    /// Where the `row` images of the output rows are.
    row: RowSource,
}

impl<'a> Gather<'a> {
    fn new(batch: &'a ChangeBatch, emission: &'a Emission, keep: Option<&[u32]>) -> Self {
        let rows: Vec<u32> = match keep {
            Some(keep) => keep.iter().map(|&n| emission.rows[n as usize]).collect(),
            None => emission.rows.clone(),
        };
        let given = emission.ops.as_deref();
        let ops = match (given, keep) {
            (Some(ops), Some(keep)) => keep.iter().map(|&n| ops[n as usize]).collect(),
            (Some(ops), None) => ops.to_vec(),
            (None, _) => rows.iter().map(|&row| batch.envelope.ops[row as usize]).collect(),
        };
        let identity = rows.len() == batch.len() && rows.iter().enumerate().all(|(n, &row)| n == row as usize);
        let row = RowSource::of_rows(batch, rows.iter().map(|&row| row as usize));
        let keep = keep.map(|keep| UInt32Array::from(keep.to_vec()));
        Self { batch, emission, keep, rows: rows.into(), identity, ops, row }
    }

    fn column(&self, recipe: Recipe, field: &lakemill_model::Field) -> Result<(ArrayRef, Option<Mask>), ArrowError> {
        let batch = self.batch;
        match recipe {
            Recipe::Made(n) => {
                let cells = &self.emission.columns[n];
                match &self.keep {
                    Some(keep) => taken(cells, keep, false),
                    None => Ok((cells.array.clone(), mask(cells, 0..cells.array.len()))),
                }
            }
            Recipe::Key(n) => self.copied(&batch.key, n, field),
            Recipe::Before(n) => self.copied(&batch.before, n, field),
            Recipe::After(n) => self.copied(&batch.after, n, field),
            Recipe::Row(n) => self.row(n, field),
            Recipe::Envelope(column) => Ok((column.gather(&batch.envelope, self.rows.values(), Some(&self.ops)), None)),
            Recipe::Unchanged => Ok((new_null_array(&field.data_type.to_arrow(), self.rows.len()), None)),
        }
    }

    fn copied(
        &self,
        image: &ImageData,
        n: usize,
        field: &lakemill_model::Field,
    ) -> Result<(ArrayRef, Option<Mask>), ArrowError> {
        match &image.columns[n] {
            Some(cells) => taken(cells, &self.rows, self.identity),
            None => Ok((new_null_array(&field.data_type.to_arrow(), self.rows.len()), None)),
        }
    }

    fn row(&self, n: usize, field: &lakemill_model::Field) -> Result<(ArrayRef, Option<Mask>), ArrowError> {
        match &self.row {
            RowSource::After => self.copied(&self.batch.after, n, field),
            RowSource::Before => self.copied(&self.batch.before, n, field),
            RowSource::Mixed(_) => {
                let Some(cells) = self.row.cells(self.batch, n)? else {
                    return Ok((new_null_array(&field.data_type.to_arrow(), self.rows.len()), None));
                };
                let mask = mask(&cells, 0..cells.array.len());
                Ok((cells.array, mask))
            }
        }
    }
}

fn taken(cells: &Cells, rows: &UInt32Array, identity: bool) -> Result<(ArrayRef, Option<Mask>), ArrowError> {
    let mask = mask(cells, rows.values().iter().map(|&row| row as usize));
    if identity {
        return Ok((cells.array.clone(), mask));
    }
    Ok((take(&cells.array, rows, None)?, mask))
}

fn mask(cells: &Cells, rows: impl Iterator<Item = usize>) -> Option<Mask> {
    let bits = cells.unchanged.as_ref()?;
    Some(rows.map(|row| bits.value(row)).collect())
}

/// A JSON array of column names for every row that has unchanged cells, null for the others.
fn unchanged_names(masks: &[(&str, Mask)], rows: usize) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows, 0);
    for row in 0..rows {
        let names: Vec<&str> = masks.iter().filter(|(_, mask)| mask[row]).map(|(name, _)| *name).collect();
        if names.is_empty() {
            builder.append_null();
        } else {
            builder.append_value(serde_json::to_string(&names).expect("names are text"));
        }
    }
    std::sync::Arc::new(builder.finish())
}

#[cfg(test)]
mod tests;
