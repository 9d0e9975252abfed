//! A column of cells in Arrow's physical layout, as it crosses the boundary (wit/types.wit, `column`). Borrowed natively,
//! owned in the module, where the host has copied it. Only layout: what a cell means is in `cell`.

use std::borrow::Cow;

use crate::DataType;

/// The cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column<'a> {
    /// One per row. The cell of a row that is null or unchanged is there but says nothing.
    pub values: Values<'a>,
    /// One bit per row, least significant first, 0 = null. `None`: no cell is null.
    pub validity: Option<Cow<'a, [u8]>>,
    /// One bit per row, 1 = unchanged (whatever `validity` says). `None`: no cell is unchanged.
    pub unchanged: Option<Cow<'a, [u8]>>,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values<'a> {
    /// One bit per row, least significant first: ceil(rows / 8) bytes.
    Boolean(Cow<'a, [u8]>),
    /// 4 bytes per row.
    Int32(Cow<'a, [i32]>),
    /// 8 bytes per row.
    Int64(Cow<'a, [i64]>),
    /// 4 bytes per row.
    Float32(Cow<'a, [f32]>),
    /// 8 bytes per row.
    Float64(Cow<'a, [f64]>),
    /// 16 bytes per row: the unscaled value as a little-endian two's complement.
    Decimal(Cow<'a, [u8]>),
    /// Days since 1970-01-01.
    Date(Cow<'a, [i32]>),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(Cow<'a, [i64]>),
    /// UTF-8.
    Text(VarLength<'a>),
    /// Bytes.
    Bytes(VarLength<'a>),
    /// One JSON value per row.
    Json(VarLength<'a>),
}

/// Text, bytes and JSON: row i is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct VarLength<'a> {
    /// One more than there are rows; starts at 0, never falls, ends at the length of `data`.
    pub offsets: Cow<'a, [u32]>,
    /// All cells, one after another.
    pub data: Cow<'a, [u8]>,
}

impl VarLength<'_> {
    /// The bytes of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl Values<'_> {
    /// The type of the cells; of a decimal the layout does not tell precision and scale.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
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

    /// The number of cells; of booleans the room for them, a multiple of 8.
    #[cfg(feature = "testing")]
    pub(crate) fn len(&self) -> usize {
        match self {
            Values::Boolean(bits) => bits.len() * 8,
            Values::Int32(values) | Values::Date(values) => values.len(),
            Values::Int64(values) | Values::Timestamp(values) => values.len(),
            Values::Float32(values) => values.len(),
            Values::Float64(values) => values.len(),
            Values::Decimal(bytes) => bytes.len() / 16,
            Values::Text(var) | Values::Bytes(var) | Values::Json(var) => var.offsets.len() - 1,
        }
    }

    /// True if the layout is the one of the type.
    pub fn fits(&self, data_type: DataType) -> bool {
        match data_type {
            DataType::Decimal { .. } => matches!(self, Values::Decimal(_)),
            other => other.to_string() == self.type_name(),
        }
    }
}

/// Bit `row` of a bitmap.
#[inline]
pub(crate) fn bit(bits: &[u8], row: usize) -> bool {
    bits[row / 8] >> (row % 8) & 1 == 1
}

/// A bitmap that comes into being with the first row that differs from all before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RareBits {
    bits: Vec<u8>,
}

impl RareBits {
    /// Sets the bit of a row; rows never touched are 0.
    pub(crate) fn set(&mut self, row: usize) {
        if self.bits.len() <= row / 8 {
            self.bits.resize(row / 8 + 1, 0);
        }
        self.bits[row / 8] |= 1 << (row % 8);
    }

    /// The bitmap of so many rows, if any bit is set.
    pub(crate) fn finish(mut self, rows: usize) -> Option<Vec<u8>> {
        if self.bits.is_empty() {
            return None;
        }
        self.bits.resize(rows.div_ceil(8), 0);
        Some(self.bits)
    }

    /// The bitmap with every bit turned round: what is set becomes 0 and the rest 1. Padding stays 0.
    pub(crate) fn finish_inverted(self, rows: usize) -> Option<Vec<u8>> {
        let mut bits = self.finish(rows)?;
        for byte in &mut bits {
            *byte = !*byte;
        }
        if let (Some(last), padding @ 1..) = (bits.last_mut(), (8 - rows % 8) % 8) {
            *last &= 0xff >> padding;
        }
        Some(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_bits_are_none_until_set_and_padded_with_zero() {
        assert_eq!(RareBits::default().finish(9), None);
        let mut bits = RareBits::default();
        bits.set(1);
        assert_eq!(bits.clone().finish(10), Some(vec![0b10, 0]));
        assert_eq!(bits.clone().finish_inverted(10), Some(vec![0b1111_1101, 0b11]));
        bits.set(8);
        assert_eq!(bits.finish_inverted(16), Some(vec![0b1111_1101, 0b1111_1110]));
    }
}
