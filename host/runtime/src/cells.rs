//! One column of an answer: checked completely, then an Arrow array over the bytes that came. Pure; never trusts a
//! length.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use lakemill_model::{Cells, DataType, Field};

use crate::bindings::types::{Column, Values, VarLength};

/// The cells of `column`, which must fit `field` and have `rows` cells; or what is wrong, and in which row.
pub(crate) fn cells(column: Column, field: &Field, rows: usize) -> Result<Cells, String> {
    let validity = column.validity.map(|bits| bitmap("`validity`", bits, rows)).transpose()?;
    let unchanged = column.unchanged.map(|bits| bitmap("`unchanged`", bits, rows)).transpose()?;
    let unchanged = unchanged.filter(|bits| bits.count_set_bits() > 0);
    if !field.nullable {
        no_null(validity.as_ref(), unchanged.as_ref(), rows)?;
    }
    let nulls = nulls(validity, unchanged.as_ref());
    let array = array(column.values, field.data_type, rows, nulls)?;
    Ok(Cells { array, unchanged })
}

fn bitmap(what: &str, bits: Vec<u8>, rows: usize) -> Result<BooleanBuffer, String> {
    let wanted = rows.div_ceil(8);
    if bits.len() != wanted {
        return Err(format!("{what} has {} bytes, {rows} rows need {wanted}", bits.len()));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows))
}

/// Unchanged cells count as not null: they have a value that the source did not repeat.
fn no_null(validity: Option<&BooleanBuffer>, unchanged: Option<&BooleanBuffer>, rows: usize) -> Result<(), String> {
    let Some(validity) = validity else { return Ok(()) };
    let told = match unchanged {
        Some(unchanged) => &(validity | unchanged),
        None => validity,
    };
    if told.count_set_bits() == rows {
        return Ok(());
    }
    let row = (0..rows).find(|&row| !told.value(row)).unwrap_or_default();
    Err(format!("row {row} is null, but the description says `nullable: false`"))
}

/// The array is null where the cell is null and where it is unchanged (`lakemill_model::Cells`).
fn nulls(validity: Option<BooleanBuffer>, unchanged: Option<&BooleanBuffer>) -> Option<NullBuffer> {
    let bits = match (validity, unchanged) {
        (Some(validity), Some(unchanged)) => &validity & &!unchanged,
        (Some(validity), None) => validity,
        (None, Some(unchanged)) => !unchanged,
        (None, None) => return None,
    };
    Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0)
}

fn array(values: Values, wanted: DataType, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    Ok(match (values, wanted) {
        (Values::Boolean(bits), DataType::Boolean) => {
            Arc::new(BooleanArray::new(bitmap("`values`", bits, rows)?, nulls))
        }
        (Values::Int32(v), DataType::Int32) => Arc::new(fixed::<Int32Type>(v, rows, nulls)?),
        (Values::Int64(v), DataType::Int64) => Arc::new(fixed::<Int64Type>(v, rows, nulls)?),
        (Values::Float32(v), DataType::Float32) => Arc::new(fixed::<Float32Type>(v, rows, nulls)?),
        (Values::Float64(v), DataType::Float64) => Arc::new(fixed::<Float64Type>(v, rows, nulls)?),
        (Values::Date(v), DataType::Date) => Arc::new(fixed::<Date32Type>(v, rows, nulls)?),
        (Values::Timestamp(v), DataType::Timestamp) => {
            Arc::new(fixed::<TimestampMicrosecondType>(v, rows, nulls)?.with_timezone("UTC"))
        }
        (Values::Decimal(bytes), DataType::Decimal { precision, scale }) => {
            Arc::new(decimals(bytes, precision, scale, rows, nulls)?)
        }
        (Values::Text(text), DataType::Text) | (Values::Json(text), DataType::Json) => text_array(text, rows, nulls)?,
        (Values::Bytes(bytes), DataType::Bytes) => {
            let (offsets, data) = var_length(bytes, rows)?;
            Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(|wrong| wrong.to_string())?)
        }
        (values, wanted) => return Err(format!("the description says {wanted}, the values are {}", name(&values))),
    })
}

fn fixed<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<T>, String> {
    if values.len() != rows {
        return Err(format!("it has {} values for {rows} rows", values.len()));
    }
    Ok(PrimitiveArray::new(ScalarBuffer::from(values), nulls))
}

fn decimals(
    bytes: Vec<u8>,
    precision: u8,
    scale: u8,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<PrimitiveArray<Decimal128Type>, String> {
    const WIDTH: usize = size_of::<i128>();
    if bytes.len() != rows * WIDTH {
        return Err(format!("it has {} bytes, {rows} decimals need {}", bytes.len(), rows * WIDTH));
    }
    let buffer = if bytes.as_ptr().cast::<i128>().is_aligned() {
        Buffer::from_vec(bytes)
    } else {
        Buffer::from_slice_ref(&bytes)
    };
    let values = ScalarBuffer::<i128>::new(buffer, 0, rows);
    let bound = 10_u128.pow(u32::from(precision));
    let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    if let Some(row) = (0..rows).find(|&row| values[row].unsigned_abs() >= bound && valid(row)) {
        return Err(format!("row {row}: {} has more than the {precision} digits of the declared type", values[row]));
    }
    PrimitiveArray::new(values, nulls)
        .with_precision_and_scale(precision, i8::try_from(scale).unwrap_or(i8::MAX))
        .map_err(|wrong| wrong.to_string())
}

fn text_array(text: VarLength, rows: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef, String> {
    let (offsets, data) = var_length(text, rows)?;
    match StringArray::try_new(offsets.clone(), data.clone(), nulls) {
        Ok(array) => Ok(Arc::new(array)),
        Err(wrong) => Err(not_utf8(&offsets, &data).unwrap_or_else(|| wrong.to_string())),
    }
}

/// Which row it is that is not UTF-8.
fn not_utf8(offsets: &OffsetBuffer<i32>, data: &Buffer) -> Option<String> {
    offsets.windows(2).enumerate().find_map(|(row, ends)| {
        let wrong = std::str::from_utf8(&data[ends[0] as usize..ends[1] as usize]).err()?;
        let byte = wrong.valid_up_to();
        Some(format!("row {row} is not UTF-8 (from its byte {byte} on), text has to be, also where it is null"))
    })
}

fn var_length(given: VarLength, rows: usize) -> Result<(OffsetBuffer<i32>, Buffer), String> {
    let VarLength { offsets, data } = given;
    if offsets.len() != rows + 1 {
        return Err(format!("it has {} offsets, {rows} rows need {}: one more than rows", offsets.len(), rows + 1));
    }
    if offsets[0] != 0 {
        return Err(format!("its first offset is {}, it must be 0", offsets[0]));
    }
    let rises = |ends: &[u32]| ends[0] <= ends[1];
    // Without an early exit, so that the compiler can take several at once.
    if !offsets.windows(2).fold(true, |all, ends| all & rises(ends)) {
        let row = offsets.windows(2).position(|ends| !rises(ends)).unwrap_or_default();
        let (start, end) = (offsets[row], offsets[row + 1]);
        return Err(format!("row {row}: its offsets fall from {start} to {end}, they must never fall"));
    }
    let end = offsets[rows];
    if end as usize != data.len() {
        return Err(format!("its last offset is {end}, it must be the length of `data`, {}", data.len()));
    }
    if i32::try_from(end).is_err() {
        return Err(format!("it has {end} bytes, more than {} do not fit a batch", i32::MAX));
    }
    let count = offsets.len();
    let offsets = ScalarBuffer::<i32>::new(Buffer::from_vec(offsets), 0, count);
    Ok((OffsetBuffer::new(offsets), Buffer::from_vec(data)))
}

fn name(values: &Values) -> &'static str {
    match values {
        Values::Boolean(_) => "boolean",
        Values::Int32(_) => "int32",
        Values::Int64(_) => "int64",
        Values::Float32(_) => "float32",
        Values::Float64(_) => "float64",
        Values::Decimal(_) => "decimal",
        Values::Date(_) => "date",
        Values::Timestamp(_) => "timestamp",
        Values::Text(_) => "text",
        Values::Bytes(_) => "bytes",
        Values::Json(_) => "json",
    }
}

#[cfg(test)]
mod tests;
