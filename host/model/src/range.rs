//! What Delta tables and those who read them can hold, one pure function a type. Parquet takes any number of days; delta-rs and polars
//! fail on a date beyond the year 9999, some by a panic, and as a partition value such a date makes the whole table unreadable. So
//! nothing goes into a table that is not in these ranges.
//!
//! [`OutOfRange`] says what becomes of a value that is not: of a source's, when it is decoded; of a transform's, when its answer is
//! applied; of a partition value, when it is written.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Date32Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use serde::{Deserialize, Serialize};

use crate::schema::DataType;

/// 0001-01-01, in days since 1970-01-01.
pub const DATE_MIN: i32 = -719_162;
/// 9999-12-31, in days since 1970-01-01.
pub const DATE_MAX: i32 = 2_932_896;
/// 0001-01-01T00:00:00Z, in microseconds since 1970.
pub const TIMESTAMP_MIN: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z, in microseconds since 1970.
pub const TIMESTAMP_MAX: i64 = 253_402_300_799_999_999;

/// On which side of its type's range a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Before the first value that the type can hold.
    Below,
    /// After the last one.
    Above,
}

/// Days since 1970-01-01 as a date that every reader can read.
///
/// # Errors
/// On which side of 0001-01-01 to 9999-12-31 it is.
#[inline]
pub fn date(days: i64) -> Result<i32, Beyond> {
    match i32::try_from(days) {
        Ok(days) if (DATE_MIN..=DATE_MAX).contains(&days) => Ok(days),
        _ if days < 0 => Err(Beyond::Below),
        _ => Err(Beyond::Above),
    }
}

/// Microseconds since 1970 as a timestamp that every reader can read.
///
/// # Errors
/// On which side of 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z it is.
#[inline]
pub fn timestamp(us: i128) -> Result<i64, Beyond> {
    match i64::try_from(us) {
        Ok(us) if (TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(&us) => Ok(us),
        _ if us < 0 => Err(Beyond::Below),
        _ => Err(Beyond::Above),
    }
}

/// An unscaled value as one of a decimal of `precision` digits, 1 to 38.
///
/// # Errors
/// On which side of the numbers with so many digits it is.
#[inline]
pub fn decimal(unscaled: i128, precision: u8) -> Result<i128, Beyond> {
    match unscaled {
        _ if unscaled.unsigned_abs() < 10u128.pow(u32::from(precision)) => Ok(unscaled),
        ..0 => Err(Beyond::Below),
        _ => Err(Beyond::Above),
    }
}

/// What becomes of a date or timestamp that is out of range; PostgreSQL's infinities are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfRange {
    /// The nearest value that is in range.
    #[default]
    Clamp,
    /// Null.
    Null,
    /// The source's dates and timestamps become text columns, which hold every value: ISO 8601, `infinity`, `-infinity`. What a
    /// transform makes has the type that it declares, and is clamped.
    Text,
    /// The record is a dead letter.
    Dead,
}

/// What a policy makes of a value that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treated<T> {
    /// This value in its place.
    Value(T),
    /// Null in its place.
    Null,
    /// Nothing: the record is a dead letter.
    Dead,
}

impl<T> Treated<T> {
    /// The same of another type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Treated<U> {
        match self {
            Treated::Value(value) => Treated::Value(f(value)),
            Treated::Null => Treated::Null,
            Treated::Dead => Treated::Dead,
        }
    }
}

impl OutOfRange {
    /// A date beyond its range.
    pub fn date(self, beyond: Beyond) -> Treated<i32> {
        self.treat(beyond, DATE_MIN, DATE_MAX)
    }

    /// A timestamp beyond its range.
    pub fn timestamp(self, beyond: Beyond) -> Treated<i64> {
        self.treat(beyond, TIMESTAMP_MIN, TIMESTAMP_MAX)
    }

    fn treat<T>(self, beyond: Beyond, min: T, max: T) -> Treated<T> {
        match (self, beyond) {
            (OutOfRange::Clamp | OutOfRange::Text, Beyond::Below) => Treated::Value(min),
            (OutOfRange::Clamp | OutOfRange::Text, Beyond::Above) => Treated::Value(max),
            (OutOfRange::Null, _) => Treated::Null,
            (OutOfRange::Dead, _) => Treated::Dead,
        }
    }
}

/// Cells of a column that were not all in range.
#[derive(Clone, Debug)]
pub struct Bounded {
    /// The cells, those out of range as the policy has them; null where it says dead.
    pub array: ArrayRef,
    /// Which were out of range, in order.
    pub rows: Vec<u32>,
}

/// The cells of a column with those that are out of range treated; `None` if all are in range, and for types without one.
///
/// # Panics
/// If the array is not of the type.
pub fn bounded(array: &ArrayRef, data_type: DataType, policy: OutOfRange) -> Option<Bounded> {
    match data_type {
        DataType::Date => primitive::<Date32Type>(array, |days| date(days.into()), |beyond| policy.date(beyond)),
        DataType::Timestamp => {
            primitive::<TimestampMicrosecondType>(array, |us| timestamp(us.into()), |beyond| policy.timestamp(beyond))
        }
        _ => None,
    }
}

fn primitive<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    check: impl Fn(T::Native) -> Result<T::Native, Beyond>,
    treat: impl Fn(Beyond) -> Treated<T::Native>,
) -> Option<Bounded> {
    let cells: &PrimitiveArray<T> = array.as_primitive();
    let beyond =
        |(row, cell): (usize, &T::Native)| (check(*cell).is_err() && cells.is_valid(row)).then_some(row as u32);
    let rows: Vec<u32> = cells.values().iter().enumerate().filter_map(beyond).collect();
    if rows.is_empty() {
        return None;
    }
    let treated = cells.iter().map(|cell| {
        let cell = cell?;
        match check(cell).map_err(&treat) {
            Ok(cell) | Err(Treated::Value(cell)) => Some(cell),
            Err(Treated::Null | Treated::Dead) => None,
        }
    });
    let treated: PrimitiveArray<T> = treated.collect();
    Some(Bounded { array: Arc::new(treated.with_data_type(array.data_type().clone())), rows })
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, TimestampMicrosecondArray};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_and_the_last_value_fit_and_their_neighbours_do_not() {
        assert_eq!(date(DATE_MIN.into()), Ok(DATE_MIN));
        assert_eq!(date(DATE_MAX.into()), Ok(DATE_MAX));
        assert_eq!(date(i64::from(DATE_MIN) - 1), Err(Beyond::Below));
        assert_eq!(date(i64::from(DATE_MAX) + 1), Err(Beyond::Above));
        assert_eq!((date(i64::MIN), date(i64::MAX)), (Err(Beyond::Below), Err(Beyond::Above)));
        assert_eq!(timestamp(TIMESTAMP_MIN.into()), Ok(TIMESTAMP_MIN));
        assert_eq!(timestamp(TIMESTAMP_MAX.into()), Ok(TIMESTAMP_MAX));
        assert_eq!(timestamp(i128::from(TIMESTAMP_MIN) - 1), Err(Beyond::Below));
        assert_eq!(timestamp(i128::from(TIMESTAMP_MAX) + 1), Err(Beyond::Above));
        assert_eq!((timestamp(i128::MIN), timestamp(i128::MAX)), (Err(Beyond::Below), Err(Beyond::Above)));
        // A timestamp fits exactly if its day does.
        let day_us = 86_400_000_000;
        assert_eq!(i64::from(DATE_MIN) * day_us, TIMESTAMP_MIN);
        assert_eq!((i64::from(DATE_MAX) + 1) * day_us - 1, TIMESTAMP_MAX);
        assert_eq!(decimal(999, 3), Ok(999));
        assert_eq!((decimal(1000, 3), decimal(-1000, 3)), (Err(Beyond::Above), Err(Beyond::Below)));
        assert_eq!(decimal(10i128.pow(38) - 1, 38), Ok(10i128.pow(38) - 1));
        assert_eq!((decimal(i128::MAX, 38), decimal(i128::MIN, 38)), (Err(Beyond::Above), Err(Beyond::Below)));
    }

    #[test]
    fn only_columns_with_a_cell_out_of_range_are_made_anew() {
        let of = |cells: Vec<Option<i32>>| -> ArrayRef { Arc::new(Date32Array::from(cells)) };
        assert!(bounded(&of(vec![Some(0), None, Some(DATE_MAX)]), DataType::Date, OutOfRange::Dead).is_none());
        let cells = of(vec![Some(i32::MAX), None, Some(1), Some(i32::MIN)]);
        for (policy, expected) in [
            (OutOfRange::Clamp, vec![Some(DATE_MAX), None, Some(1), Some(DATE_MIN)]),
            (OutOfRange::Text, vec![Some(DATE_MAX), None, Some(1), Some(DATE_MIN)]),
            (OutOfRange::Null, vec![None, None, Some(1), None]),
            (OutOfRange::Dead, vec![None, None, Some(1), None]),
        ] {
            let found = bounded(&cells, DataType::Date, policy).expect("two are out of range");
            assert_eq!((&found.array, found.rows), (&of(expected), vec![0, 3]), "{policy:?}");
        }
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX]).with_timezone("UTC"));
        let found = bounded(&times, DataType::Timestamp, OutOfRange::Clamp).expect("it is out of range");
        assert_eq!(found.array.data_type(), times.data_type());
        assert_eq!(found.array.as_primitive::<TimestampMicrosecondType>().value(0), TIMESTAMP_MAX);
    }

    #[test]
    fn what_is_under_a_null_does_not_count() {
        let nulls = arrow_buffer::NullBuffer::from(vec![false]);
        let cells: ArrayRef = Arc::new(Date32Array::new(vec![i32::MAX].into(), Some(nulls)));
        assert!(bounded(&cells, DataType::Date, OutOfRange::Dead).is_none());
    }

    proptest! {
        #[test]
        fn whatever_comes_what_is_kept_is_in_range(days in any::<Vec<Option<i32>>>(), times in any::<Vec<Option<i64>>>()) {
            for policy in [OutOfRange::Clamp, OutOfRange::Null, OutOfRange::Text, OutOfRange::Dead] {
                let (dates, stamps): (ArrayRef, ArrayRef) = (
                    Arc::new(Date32Array::from(days.clone())),
                    Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC")),
                );
                for (array, data_type) in [(dates, DataType::Date), (stamps, DataType::Timestamp)] {
                    let Some(found) = bounded(&array, data_type, policy) else { continue };
                    prop_assert!(bounded(&found.array, data_type, policy).is_none());
                    prop_assert_eq!(found.array.len(), array.len());
                }
            }
        }
    }
}
