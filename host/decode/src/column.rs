//! A column under construction. Cells are appended one by one; a row that turns out to be broken is cut off again.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer, OffsetBuffer, ScalarBuffer};
use lakemill_model::{Cells, DataType};

#[derive(Debug)]
pub(crate) struct Builder {
    data_type: DataType,
    data: Data,
    len: usize,
    /// Rows that are null, in order; few, mostly.
    nulls: Vec<u32>,
    /// Rows that are unchanged, in order; they are null as well.
    unchanged: Vec<u32>,
    /// Rows whose value was out of range and is another one now, in order.
    treated: Vec<u32>,
}

#[derive(Debug)]
enum Data {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Var { ends: Vec<i32>, bytes: Vec<u8> },
}

impl Builder {
    pub fn new(data_type: DataType, rows: usize) -> Self {
        let data = match data_type {
            DataType::Boolean => Data::Boolean(Vec::with_capacity(rows)),
            DataType::Int32 | DataType::Date => Data::Int32(Vec::with_capacity(rows)),
            DataType::Int64 | DataType::Timestamp => Data::Int64(Vec::with_capacity(rows)),
            DataType::Float32 => Data::Float32(Vec::with_capacity(rows)),
            DataType::Float64 => Data::Float64(Vec::with_capacity(rows)),
            DataType::Decimal { .. } => Data::Decimal(Vec::with_capacity(rows)),
            DataType::Text | DataType::Bytes | DataType::Json => {
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                Data::Var { ends, bytes: Vec::with_capacity(rows * 16) }
            }
        };
        Self { data_type, data, len: 0, nulls: Vec::new(), unchanged: Vec::new(), treated: Vec::new() }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if another cell of `bytes` may go in: offsets have 31 bits.
    pub fn has_room(&self, bytes: usize) -> bool {
        match &self.data {
            Data::Var { bytes: data, .. } => data.len() + bytes <= i32::MAX as usize,
            _ => true,
        }
    }

    #[inline]
    pub fn null(&mut self) {
        self.nulls.push(self.len as u32);
        self.filler();
    }

    pub fn unchanged(&mut self) {
        self.unchanged.push(self.len as u32);
        self.null();
    }

    /// A cell in place of a value that was out of range.
    pub fn treated(&mut self, cell: impl FnOnce(&mut Self)) {
        self.treated.push(self.len as u32);
        cell(self);
    }

    /// How many of its values were out of range.
    pub fn treated_count(&self) -> usize {
        self.treated.len()
    }

    /// A cell that says nothing.
    fn filler(&mut self) {
        match &mut self.data {
            Data::Boolean(list) => list.push(false),
            Data::Int32(list) => list.push(0),
            Data::Int64(list) => list.push(0),
            Data::Float32(list) => list.push(0.0),
            Data::Float64(list) => list.push(0.0),
            Data::Decimal(list) => list.push(0),
            Data::Var { ends, bytes } => ends.push(bytes.len() as i32),
        }
        self.len += 1;
    }

    #[inline]
    pub fn boolean(&mut self, value: bool) {
        if let Data::Boolean(list) = &mut self.data {
            list.push(value);
            self.len += 1;
        }
    }

    #[inline]
    pub fn int32(&mut self, value: i32) {
        if let Data::Int32(list) = &mut self.data {
            list.push(value);
            self.len += 1;
        }
    }

    #[inline]
    pub fn int64(&mut self, value: i64) {
        if let Data::Int64(list) = &mut self.data {
            list.push(value);
            self.len += 1;
        }
    }

    #[inline]
    pub fn float32(&mut self, value: f32) {
        if let Data::Float32(list) = &mut self.data {
            list.push(value);
            self.len += 1;
        }
    }

    #[inline]
    pub fn float64(&mut self, value: f64) {
        if let Data::Float64(list) = &mut self.data {
            list.push(value);
            self.len += 1;
        }
    }

    pub fn decimal(&mut self, value: i128) {
        if let Data::Decimal(list) = &mut self.data {
            list.push(value);
            self.len += 1;
        }
    }

    #[inline]
    pub fn bytes(&mut self, value: &[u8]) {
        if let Data::Var { ends, bytes } = &mut self.data {
            bytes.extend_from_slice(value);
            ends.push(bytes.len() as i32);
            self.len += 1;
        }
    }

    /// Cuts off everything from row `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        if self.len <= rows {
            return;
        }
        match &mut self.data {
            Data::Boolean(list) => list.truncate(rows),
            Data::Int32(list) => list.truncate(rows),
            Data::Int64(list) => list.truncate(rows),
            Data::Float32(list) => list.truncate(rows),
            Data::Float64(list) => list.truncate(rows),
            Data::Decimal(list) => list.truncate(rows),
            Data::Var { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends[rows] as usize);
            }
        }
        for list in [&mut self.nulls, &mut self.unchanged, &mut self.treated] {
            while list.last().is_some_and(|&row| row as usize >= rows) {
                list.pop();
            }
        }
        self.len = rows;
    }

    /// True if the last cell is null although the source sent it: neither absent nor unchanged.
    pub fn ends_with_null(&self) -> bool {
        let last = self.len.wrapping_sub(1) as u32;
        self.nulls.last() == Some(&last) && self.unchanged.last() != Some(&last)
    }

    pub fn finish(self) -> Cells {
        let rows = self.len;
        let nulls = (!self.nulls.is_empty()).then(|| NullBuffer::new(!&bits(&self.nulls, rows)));
        let unchanged = (!self.unchanged.is_empty()).then(|| bits(&self.unchanged, rows));
        let array: ArrayRef = match (self.data, self.data_type) {
            (Data::Boolean(list), _) => Arc::new(BooleanArray::new(list.into(), nulls)),
            (Data::Int32(list), DataType::Date) => Arc::new(Date32Array::new(list.into(), nulls)),
            (Data::Int32(list), _) => Arc::new(Int32Array::new(list.into(), nulls)),
            (Data::Int64(list), DataType::Timestamp) => {
                Arc::new(TimestampMicrosecondArray::new(list.into(), nulls).with_timezone("UTC"))
            }
            (Data::Int64(list), _) => Arc::new(Int64Array::new(list.into(), nulls)),
            (Data::Float32(list), _) => Arc::new(Float32Array::new(list.into(), nulls)),
            (Data::Float64(list), _) => Arc::new(Float64Array::new(list.into(), nulls)),
            (Data::Decimal(list), of) => {
                Arc::new(Decimal128Array::new(list.into(), nulls).with_data_type(of.to_arrow()))
            }
            (Data::Var { ends, bytes }, of) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                match of {
                    DataType::Bytes => Arc::new(BinaryArray::new(offsets, bytes.into(), nulls)),
                    _ => Arc::new(StringArray::new(offsets, bytes.into(), nulls)),
                }
            }
        };
        Cells { array, unchanged }
    }
}

/// Bits that are set at `set`.
pub(crate) fn bits(set: &[u32], rows: usize) -> BooleanBuffer {
    let mut builder = BooleanBufferBuilder::new(rows);
    builder.append_n(rows, false);
    for &row in set {
        builder.set_bit(row as usize, true);
    }
    builder.finish()
}
