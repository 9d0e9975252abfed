//! Columns on their way into the guest: Arrow cells as the contract's `column`. Copies nothing that it does not
//! have to: what is rebased or realigned is said below, everything else is the batch's own buffer.

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, cast::AsArray, types};
use arrow_buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use lakemill_model::{Cells, DataType};
use wasmtime::component::{ComponentType, Lower};

use crate::list::List;

#[cfg(target_endian = "big")]
compile_error!("columns cross the boundary as they lie in memory, and the contract says little-endian");

/// `column` of wit/types.wit.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Column {
    values: Values,
    validity: Option<List<u8>>,
    unchanged: Option<List<u8>>,
}

/// `var-length` of wit/types.wit.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct VarLength {
    offsets: List<u32>,
    data: List<u8>,
}

/// `values` of wit/types.wit.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(crate) enum Values {
    #[component(name = "boolean")]
    Boolean(List<u8>),
    #[component(name = "int32")]
    Int32(List<i32>),
    #[component(name = "int64")]
    Int64(List<i64>),
    #[component(name = "float32")]
    Float32(List<f32>),
    #[component(name = "float64")]
    Float64(List<f64>),
    #[component(name = "decimal")]
    Decimal(List<u8>),
    #[component(name = "date")]
    Date(List<i32>),
    #[component(name = "timestamp")]
    Timestamp(List<i64>),
    #[component(name = "text")]
    Text(VarLength),
    #[component(name = "bytes")]
    Bytes(VarLength),
    #[component(name = "json")]
    Json(VarLength),
}

/// The cells of a column as the guest gets them.
///
/// # Panics
/// If the array is not of the type that [`DataType::to_arrow`] names: whoever made the batch broke its promise.
pub(crate) fn column(cells: &Cells, data_type: DataType) -> Column {
    let array = &*cells.array;
    let values = match data_type {
        DataType::Boolean => Values::Boolean(bitmap(array.as_boolean().values())),
        DataType::Int32 => Values::Int32(fixed::<types::Int32Type>(array)),
        DataType::Int64 => Values::Int64(fixed::<types::Int64Type>(array)),
        DataType::Float32 => Values::Float32(fixed::<types::Float32Type>(array)),
        DataType::Float64 => Values::Float64(fixed::<types::Float64Type>(array)),
        DataType::Decimal { .. } => {
            Values::Decimal(List::bytes(array.as_primitive::<types::Decimal128Type>().values().inner().clone()))
        }
        DataType::Date => Values::Date(fixed::<types::Date32Type>(array)),
        DataType::Timestamp => Values::Timestamp(fixed::<types::TimestampMicrosecondType>(array)),
        DataType::Text => Values::Text(text(array)),
        DataType::Json => Values::Json(text(array)),
        DataType::Bytes => {
            let array = array.as_binary::<i32>();
            Values::Bytes(var_length(array.offsets(), array.values()))
        }
    };
    Column {
        values,
        validity: array.nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| bitmap(nulls.inner())),
        unchanged: cells.unchanged.as_ref().filter(|bits| bits.count_set_bits() > 0).map(bitmap),
    }
}

fn fixed<T: ArrowPrimitiveType>(array: &dyn Array) -> List<T::Native> {
    List::new(array.as_primitive::<T>().values().clone())
}

fn text(array: &dyn Array) -> VarLength {
    let array = array.as_string::<i32>();
    var_length(array.offsets(), array.values())
}

/// A slice's offsets begin where the slice does: they are rebased (copied); others are used as they are.
fn var_length(offsets: &OffsetBuffer<i32>, data: &Buffer) -> VarLength {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let rebased = if first == 0 {
        // Arrow's offsets are never negative, so that their bits are those of u32.
        ScalarBuffer::new(offsets.inner().inner().clone(), 0, offsets.len())
    } else {
        offsets.iter().map(|offset| (offset - first) as u32).collect()
    };
    let data = data.slice_with_length(first as usize, (last - first) as usize);
    VarLength { offsets: List::new(rebased), data: List::bytes(data) }
}

/// A bitmap that starts at its first bit and has zeros after its last one: what a guest sees must not depend on how
/// the batch was cut out of a larger one.
pub(crate) fn bitmap(bits: &BooleanBuffer) -> List<u8> {
    let bytes = bits.sliced();
    let used = bits.len().div_ceil(8);
    let spare = bits.len() % 8;
    let clean = spare == 0 || bytes[used - 1] >> spare == 0;
    if clean {
        return List::bytes(bytes.slice_with_length(0, used));
    }
    let mut copy = bytes[..used].to_vec();
    copy[used - 1] &= (1 << spare) - 1;
    List::from(copy)
}

#[cfg(test)]
mod tests;
