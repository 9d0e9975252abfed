//! Columns in the making. Bitmaps come into being only when a cell is null or unchanged.

use std::borrow::Cow;

use crate::column::{RareBits, Values, VarLength};
use crate::{Cell, Column, Date, Decimal, Json, Timestamp};

/// A column in the making: `ColumnBuilder::<f64>::new()`, `ColumnBuilder::<str>::new()`, …
///
/// The kinds: bool, i32, i64, f32, f64, [`Decimal`], [`Date`], [`Timestamp`], `str`, `[u8]` and [`Json<String>`].
/// One push per row.
#[derive(Debug)]
pub struct ColumnBuilder<K: Kind + ?Sized> {
    store: K::Store,
    nulls: RareBits,
    unchanged: RareBits,
    len: usize,
}

/// A kind of column that can be made.
pub trait Kind {
    /// What a value is given as.
    type Value<'v>;
    /// Where the values gather.
    #[doc(hidden)]
    type Store: Default + std::fmt::Debug;
    /// Adds a value.
    #[doc(hidden)]
    fn push(store: &mut Self::Store, value: Self::Value<'_>);
    /// Adds the cell that says nothing.
    #[doc(hidden)]
    fn push_gap(store: &mut Self::Store);
    /// Makes room.
    #[doc(hidden)]
    fn reserve(store: &mut Self::Store, rows: usize);
    /// The layout of so many rows.
    #[doc(hidden)]
    fn finish(store: Self::Store) -> Values<'static>;
}

impl<K: Kind + ?Sized> Default for ColumnBuilder<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kind + ?Sized> ColumnBuilder<K> {
    /// A column without rows.
    pub fn new() -> Self {
        Self { store: K::Store::default(), nulls: RareBits::default(), unchanged: RareBits::default(), len: 0 }
    }

    /// A column without rows, with room for so many.
    pub fn with_capacity(rows: usize) -> Self {
        let mut builder = Self::new();
        K::reserve(&mut builder.store, rows);
        builder
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it has no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value.
    #[inline]
    pub fn push(&mut self, value: K::Value<'_>) {
        K::push(&mut self.store, value);
        self.len += 1;
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        self.nulls.set(self.len);
        self.push_gap();
    }

    /// Adds a cell that a sink which keeps rows leaves as it is.
    pub fn push_unchanged(&mut self) {
        self.unchanged.set(self.len);
        self.push_gap();
    }

    fn push_gap(&mut self) {
        K::push_gap(&mut self.store);
        self.len += 1;
    }

    /// Adds a cell in any of the three states.
    #[inline]
    pub fn push_cell(&mut self, cell: Cell<K::Value<'_>>) {
        match cell {
            Cell::Value(value) => self.push(value),
            Cell::Null => self.push_null(),
            Cell::Unchanged => self.push_unchanged(),
        }
    }

    /// The column.
    pub fn finish(self) -> Column<'static> {
        Column {
            values: K::finish(self.store),
            validity: self.nulls.finish_inverted(self.len).map(Cow::Owned),
            unchanged: self.unchanged.finish(self.len).map(Cow::Owned),
        }
    }
}

impl ColumnBuilder<str> {
    /// Adds text that is put together in place: `email.push_joined(&[&name[..1], "***", domain])`.
    #[inline]
    pub fn push_joined(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.store.data.extend_from_slice(piece.as_bytes());
        }
        self.store.end_row();
        self.len += 1;
    }
}

macro_rules! fixed {
    ($($kind:ty: $variant:ident, $native:ty, $value:ident => $store:expr;)*) => {$(
        impl Kind for $kind {
            type Value<'v> = $kind;
            type Store = Vec<$native>;

            #[inline]
            fn push(store: &mut Self::Store, $value: $kind) {
                store.push($store);
            }

            fn push_gap(store: &mut Self::Store) {
                store.push(<$native>::default());
            }

            fn reserve(store: &mut Self::Store, rows: usize) {
                store.reserve(rows);
            }

            fn finish(store: Self::Store) -> Values<'static> {
                Values::$variant(Cow::Owned(store))
            }
        }
    )*};
}

fixed! {
    i32: Int32, i32, value => value;
    i64: Int64, i64, value => value;
    f32: Float32, f32, value => value;
    f64: Float64, f64, value => value;
    Date: Date, i32, value => value.days;
    Timestamp: Timestamp, i64, value => value.micros;
}

/// Bits, and how many of them count.
#[derive(Debug, Default)]
pub struct BitStore {
    bits: Vec<u8>,
    len: usize,
}

impl Kind for bool {
    type Value<'v> = bool;
    type Store = BitStore;

    #[inline]
    fn push(store: &mut BitStore, value: bool) {
        if store.len.is_multiple_of(8) {
            store.bits.push(0);
        }
        if let Some(last) = store.bits.last_mut() {
            *last |= u8::from(value) << (store.len % 8);
        }
        store.len += 1;
    }

    fn push_gap(store: &mut BitStore) {
        Self::push(store, false);
    }

    fn reserve(store: &mut BitStore, rows: usize) {
        store.bits.reserve(rows.div_ceil(8));
    }

    fn finish(store: BitStore) -> Values<'static> {
        Values::Boolean(Cow::Owned(store.bits))
    }
}

/// The values as they are given; the column's type says on which scale they must be.
impl Kind for Decimal {
    type Value<'v> = Decimal;
    type Store = Vec<u8>;

    #[inline]
    fn push(store: &mut Vec<u8>, value: Decimal) {
        store.extend_from_slice(&value.unscaled().to_le_bytes());
    }

    fn push_gap(store: &mut Vec<u8>) {
        store.extend_from_slice(&[0; 16]);
    }

    fn reserve(store: &mut Vec<u8>, rows: usize) {
        store.reserve(rows * 16);
    }

    fn finish(store: Vec<u8>) -> Values<'static> {
        Values::Decimal(Cow::Owned(store))
    }
}

/// Cells of any length, one after another.
#[derive(Debug)]
pub struct VarStore {
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl Default for VarStore {
    fn default() -> Self {
        Self { offsets: vec![0], data: Vec::new() }
    }
}

impl VarStore {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.end_row();
    }

    #[inline]
    fn end_row(&mut self) {
        // A module's memory cannot hold more than u32 counts; natively the host's batch limits keep far below.
        self.offsets.push(self.data.len() as u32);
    }

    fn finish(self) -> VarLength<'static> {
        VarLength { offsets: Cow::Owned(self.offsets), data: Cow::Owned(self.data) }
    }
}

macro_rules! variable {
    ($($kind:ty: $variant:ident, $lent:ty, $name:ident => $bytes:expr;)*) => {$(
        impl Kind for $kind {
            type Value<'v> = &'v $lent;
            type Store = VarStore;

            #[inline]
            fn push(store: &mut VarStore, $name: &$lent) {
                store.push($bytes);
            }

            fn push_gap(store: &mut VarStore) {
                store.end_row();
            }

            fn reserve(store: &mut VarStore, rows: usize) {
                store.offsets.reserve(rows);
            }

            fn finish(store: VarStore) -> Values<'static> {
                Values::$variant(store.finish())
            }
        }
    )*};
}

variable! {
    str: Text, str, value => value.as_bytes();
    [u8]: Bytes, [u8], value => value;
    Json<String>: Json, str, value => value.as_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_gaps_where_nothing_was_pushed() {
        let mut text = ColumnBuilder::<str>::new();
        text.push("ab");
        text.push_null();
        text.push_joined(&["c", "", "de"]);
        text.push_unchanged();
        let column = text.finish();
        assert_eq!(column.validity.as_deref(), Some(&[0b1101_u8][..]));
        assert_eq!(column.unchanged.as_deref(), Some(&[0b1000_u8][..]));
        let Values::Text(text) = column.values else { panic!("text") };
        assert_eq!((&*text.offsets, &*text.data), (&[0, 2, 2, 5, 5][..], &b"abcde"[..]));
    }

    #[test]
    fn bits_fill_bytes() {
        let mut bits = ColumnBuilder::<bool>::with_capacity(9);
        for row in 0..9 {
            bits.push(row % 2 == 0);
        }
        assert_eq!(bits.finish().values, Values::Boolean(Cow::Owned(vec![0b0101_0101, 1])));
    }
}
