//! The types that columns of a table have, and which values of ours become which of theirs with nothing lost. Pure.
//!
//! | rows have | the table has |
//! |---|---|
//! | int32 | long, double, decimal with ten digits before the point; short or byte where the value fits, each row for itself |
//! | int64 | decimal with 19 digits before the point |
//! | float32 | double |
//! | decimal | decimal with as many digits, or more, on both sides of the point |
//! | timestamp | timestamp_ntz: the wall clock in UTC. Of a source type without zone that is its own value |
//! | boolean, numbers, date, timestamp | string: the text that they are written as |
//!
//! Everything else has the type that it has or does not fit: int64 is no integer, however small the values are today.

use std::fmt;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{self as arrow, ArrowError};
use lakemill_model::DataType;

/// The type of a table's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// One of ours.
    Own(DataType),
    /// Delta byte: 8 bits, which no row of ours has.
    Byte,
    /// Delta short: 16 bits, which no row of ours has.
    Short,
    /// Delta `timestamp_ntz`: a wall clock without a zone.
    TimestampNtz,
}

/// How cells become a column's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// They are.
    Same,
    /// Each of them has one.
    Exact,
    /// Some have none: those rows are refused.
    Checked,
}

impl ColumnType {
    /// The type that Delta calls `name` (PROTOCOL.md, "Primitive Types").
    pub(crate) fn of_delta(name: &str) -> Option<Self> {
        let plain = DataType::PLAIN.into_iter().map(Self::Own).chain([Self::Byte, Self::Short, Self::TimestampNtz]);
        // Our own notation of decimals is Delta's.
        plain.into_iter().find(|known| known.to_string() == name).or_else(|| match name.parse() {
            Ok(decimal @ DataType::Decimal { .. }) => Some(Self::Own(decimal)),
            _ => None,
        })
    }

    /// The Arrow type of its cells.
    pub(crate) fn to_arrow(self) -> arrow::DataType {
        match self {
            Self::Own(own) => own.to_arrow(),
            Self::Byte => arrow::DataType::Int8,
            Self::Short => arrow::DataType::Int16,
            Self::TimestampNtz => arrow::DataType::Timestamp(arrow::TimeUnit::Microsecond, None),
        }
    }

    /// How cells of `rows` get into it; `None`: they do not fit.
    pub(crate) fn takes(self, rows: DataType) -> Option<Conversion> {
        use DataType::{Boolean, Date, Decimal, Float32, Float64, Int32, Int64, Text, Timestamp};
        if self.to_string() == Self::Own(rows).to_string() {
            return Some(Conversion::Same);
        }
        let whole = |precision: u8, scale: u8| precision - scale;
        match (self, rows) {
            (Self::Byte | Self::Short, Int32) => Some(Conversion::Checked),
            (Self::TimestampNtz, Timestamp) | (Self::Own(Int64), Int32) | (Self::Own(Float64), Int32 | Float32) => {
                Some(Conversion::Exact)
            }
            (Self::Own(Text), Boolean | Int32 | Int64 | Float32 | Float64 | Decimal { .. } | Date | Timestamp) => {
                Some(Conversion::Exact)
            }
            (Self::Own(Decimal { precision, scale }), Int32) if whole(precision, scale) >= 10 => {
                Some(Conversion::Exact)
            }
            (Self::Own(Decimal { precision, scale }), Int64) if whole(precision, scale) >= 19 => {
                Some(Conversion::Exact)
            }
            (Self::Own(Decimal { precision, scale }), Decimal { precision: digits, scale: after })
                if scale >= after && whole(precision, scale) >= whole(digits, after) =>
            {
                Some(Conversion::Exact)
            }
            _ => None,
        }
    }

    /// The smallest type of ours that takes all cells of both; `None` if there is none.
    pub(crate) fn common(one: DataType, other: DataType) -> Option<DataType> {
        let takes_both = |wide: &DataType| [one, other].iter().all(|narrow| Self::Own(*wide).takes(*narrow).is_some());
        let digits = |data_type: DataType| match data_type {
            DataType::Int32 => Some((10, 0)),
            DataType::Int64 => Some((19, 0)),
            DataType::Decimal { precision, scale } => Some((precision - scale, scale)),
            _ => None,
        };
        let decimal = digits(one).zip(digits(other)).and_then(|((whole, scale), (other_whole, other_scale))| {
            let scale = scale.max(other_scale);
            let precision = whole.max(other_whole) + scale;
            (precision <= DataType::DECIMAL_PRECISION_MAX).then_some(DataType::Decimal { precision, scale })
        });
        [Some(one), Some(other), decimal, Some(DataType::Float64)].into_iter().flatten().find(takes_both)
    }

    /// A type that takes all cells of both, if only as text.
    pub(crate) fn holding(one: DataType, other: DataType) -> Option<DataType> {
        let takes = |narrow| Self::Own(DataType::Text).takes(narrow).is_some();
        Self::common(one, other).or_else(|| (takes(one) && takes(other)).then_some(DataType::Text))
    }

    /// Whether values of the type have one spelling as partition values.
    pub(crate) fn makes_folders(self) -> bool {
        !matches!(self, Self::Own(DataType::Float32 | DataType::Float64 | DataType::Bytes))
    }

    /// The cells as the column has them; those that it cannot have are null ([`Conversion::Checked`]).
    pub(crate) fn convert(self, cells: &ArrayRef, conversion: Conversion) -> Result<ArrayRef, ArrowError> {
        match (self, conversion) {
            (_, Conversion::Same) => Ok(cells.clone()),
            // A cast from a zone to none is none of the clock.
            (Self::TimestampNtz, _) => {
                let clock = cells.as_primitive::<TimestampMicrosecondType>().clone();
                Ok(std::sync::Arc::new(clock.with_timezone_opt(None::<&str>)))
            }
            _ => {
                let safe = conversion == Conversion::Checked;
                cast_with_options(cells, &self.to_arrow(), &CastOptions { safe, ..CastOptions::default() })
            }
        }
    }

    /// The rows whose cells have no place in it.
    pub(crate) fn misfits(self, cells: &ArrayRef, conversion: Conversion) -> Result<Vec<usize>, ArrowError> {
        if conversion != Conversion::Checked {
            return Ok(Vec::new());
        }
        let converted = self.convert(cells, conversion)?;
        if converted.null_count() == cells.null_count() {
            return Ok(Vec::new());
        }
        Ok((0..cells.len()).filter(|row| cells.is_valid(*row) && converted.is_null(*row)).collect())
    }
}

/// Delta's name.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own(own) => match own {
                DataType::Boolean => "boolean",
                DataType::Int32 => "integer",
                DataType::Int64 => "long",
                DataType::Float32 => "float",
                DataType::Float64 => "double",
                DataType::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
                DataType::Date => "date",
                DataType::Timestamp => "timestamp",
                DataType::Text | DataType::Json => "string",
                DataType::Bytes => "binary",
            },
            Self::Byte => "byte",
            Self::Short => "short",
            Self::TimestampNtz => "timestamp_ntz",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_type_of_two_holds_both_and_is_the_smallest() {
        use DataType::{Date, Float32, Float64, Int32, Int64, Text, Timestamp};
        let decimal = |precision, scale| DataType::Decimal { precision, scale };
        let cases = [
            (Int32, Int32, Some(Int32)),
            (Int32, Int64, Some(Int64)),
            (Float32, Float64, Some(Float64)),
            (Int32, Float32, Some(Float64)),
            (Int32, Float64, Some(Float64)),
            (decimal(10, 2), decimal(20, 4), Some(decimal(20, 4))),
            (decimal(10, 2), decimal(10, 4), Some(decimal(12, 4))),
            (decimal(10, 2), Int32, Some(decimal(12, 2))),
            (decimal(10, 2), Int64, Some(decimal(21, 2))),
            (decimal(38, 0), decimal(38, 38), None),
            (Int64, Float64, None),
            (Int32, Text, Some(Text)),
            (DataType::Bytes, Text, None),
            (Date, Timestamp, None),
        ];
        for (one, other, common) in cases {
            assert_eq!(ColumnType::common(one, other), common, "{one} and {other}");
            assert_eq!(ColumnType::common(other, one), common, "{other} and {one}");
        }
    }
}
