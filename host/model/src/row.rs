//! The `row` image: per row the one image that the change is about, by the words of wit/types.wit. Pure.

use std::sync::Arc;

use crate::{Cells, ChangeBatch, DataType, ImageData, Op};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int64Array, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, DataType as arrow};
use arrow_select::interleave::interleave;

/// Where the cells of each row come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowSource {
    /// All from `after`: nothing is copied.
    After,
    /// All from `before`.
    Before,
    /// Row by row: (0 after, 1 before, 2 key; the row).
    Mixed(Vec<(usize, usize)>),
}

const AFTER: usize = 0;
const BEFORE: usize = 1;
const KEY: usize = 2;

impl RowSource {
    /// Whether a row that is told by its key only has the key's value of a column: if its type is the same, or wider in the row.
    pub fn takes_of_key(row: DataType, key: DataType) -> bool {
        row == key || (row, key) == (DataType::Int64, DataType::Int32)
    }

    /// Of all rows, in order.
    pub fn of(batch: &ChangeBatch) -> Self {
        Self::of_rows(batch, 0..batch.len())
    }

    /// Of these rows, in this order.
    ///
    /// # Panics
    /// If a row is not one of the batch's.
    pub fn of_rows(batch: &ChangeBatch, rows: impl Iterator<Item = usize>) -> Self {
        let place = |row: usize| {
            let source = match (has(&batch.before, row), has(&batch.after, row)) {
                (true, true) if batch.envelope.ops[row] == Op::Delete => BEFORE,
                (_, true) => AFTER,
                (true, false) => BEFORE,
                (false, false) => KEY,
            };
            (source, row)
        };
        let places: Vec<_> = rows.map(place).collect();
        let all = |wanted| places.iter().all(|(source, _)| *source == wanted);
        if all(AFTER) {
            RowSource::After
        } else if all(BEFORE) {
            RowSource::Before
        } else {
            RowSource::Mixed(places)
        }
    }

    /// The cells of the row column at `index`, of the rows that this was made of; where they are all of one image, the
    /// cells of all rows of that image. `None` if the host did not decode it.
    ///
    /// # Errors
    /// If the images have columns of different types, which would be a defect of the decoder.
    pub fn cells(&self, batch: &ChangeBatch, index: usize) -> Result<Option<Cells>, ArrowError> {
        let (after, before) = (&batch.after.columns[index], &batch.before.columns[index]);
        let places = match self {
            RowSource::After => return Ok(after.clone()),
            RowSource::Before => return Ok(before.clone()),
            RowSource::Mixed(places) => places,
        };
        let (Some(after), Some(before)) = (after, before) else { return Ok(None) };
        let field = &batch.schema.row[index];
        let key = key_cells(batch, &field.name, &after.array);
        let sources = [after, before, &key];
        let array = interleave(&sources.map(|cells| &*cells.array as &dyn Array), places)?;
        let any = sources.iter().any(|cells| cells.unchanged.is_some());
        let is_unchanged = |&(source, row): &(usize, usize)| {
            let bits: &Option<BooleanBuffer> = &sources[source].unchanged;
            bits.as_ref().is_some_and(|bits| bits.value(row))
        };
        Ok(Some(Cells { array, unchanged: any.then(|| places.iter().map(is_unchanged).collect()) }))
    }

    /// Which rows have the image at all; `None`: all of them.
    pub fn presence(batch: &ChangeBatch) -> Option<BooleanBuffer> {
        let key_counts = !batch.schema.key.is_empty();
        let present = |row| has(&batch.after, row) || has(&batch.before, row) || (key_counts && has(&batch.key, row));
        let bits = BooleanBuffer::collect_bool(batch.len(), present);
        (bits.count_set_bits() < batch.len()).then_some(bits)
    }
}

fn has(image: &ImageData, row: usize) -> bool {
    image.present.as_ref().is_none_or(|bits| bits.value(row))
}

/// The key's column of that name, or nulls: a key column of a type that the row's does not hold is not the same thing.
fn key_cells(batch: &ChangeBatch, name: &str, like: &ArrayRef) -> Cells {
    let key = batch.schema.key_index(name).and_then(|index| batch.key.columns[index].clone());
    let widened = key.map(|cells| match (cells.array.data_type(), like.data_type()) {
        (arrow::Int32, arrow::Int64) => {
            let wide: Int64Array = cells.array.as_primitive::<Int32Type>().unary(i64::from);
            Cells { array: Arc::new(wide), ..cells }
        }
        _ => cells,
    });
    widened
        .filter(|cells| cells.array.data_type() == like.data_type())
        .unwrap_or_else(|| Cells { array: new_null_array(like.data_type(), like.len()), unchanged: None })
}

#[cfg(test)]
mod tests;
