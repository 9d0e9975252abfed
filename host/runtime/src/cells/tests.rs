//! Every way in which a column can be wrong, and what a right one becomes.

use arrow_array::cast::AsArray;
use arrow_array::{Array, types};

use super::*;

fn field(data_type: DataType) -> Field {
    Field::new("c", data_type, true)
}

fn plain(values: Values) -> Column {
    Column { values, validity: None, unchanged: None }
}

fn text(offsets: &[u32], data: &[u8]) -> VarLength {
    VarLength { offsets: offsets.to_vec(), data: data.to_vec() }
}

#[track_caller]
fn wrong(column: Column, data_type: DataType, rows: usize, says: &str) {
    let message = cells(column, &field(data_type), rows).expect_err(says);
    assert!(message.contains(says), "{message}");
}

#[test]
fn every_type_becomes_its_arrow_array() {
    let decimal = DataType::Decimal { precision: 12, scale: 2 };
    let unscaled = [-1_i128, 999_999_999_999].map(i128::to_le_bytes).concat();
    let columns = [
        (Values::Boolean(vec![0b10]), DataType::Boolean),
        (Values::Int32(vec![1, -2]), DataType::Int32),
        (Values::Int64(vec![1, i64::MIN]), DataType::Int64),
        (Values::Float32(vec![1.5, f32::NAN]), DataType::Float32),
        (Values::Float64(vec![1.5, -0.0]), DataType::Float64),
        (Values::Decimal(unscaled), decimal),
        (Values::Date(vec![0, -1]), DataType::Date),
        (Values::Timestamp(vec![0, -1]), DataType::Timestamp),
        (Values::Text(text(&[0, 2, 2], "é".as_bytes())), DataType::Text),
        (Values::Json(text(&[0, 2, 4], b"{}[]")), DataType::Json),
        (Values::Bytes(text(&[0, 1, 2], b"\xff\x00")), DataType::Bytes),
    ];
    for (values, data_type) in columns {
        let made = cells(plain(values), &field(data_type), 2).expect("is right");
        assert_eq!(made.array.data_type(), &data_type.to_arrow());
        assert_eq!((made.array.len(), made.array.null_count()), (2, 0));
        assert!(made.unchanged.is_none());
    }
    let made = cells(plain(Values::Boolean(vec![0b10])), &field(DataType::Boolean), 2).expect("is right");
    assert_eq!(made.array.as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
}

#[test]
fn a_column_of_no_rows() {
    for (values, data_type) in [
        (Values::Int64(Vec::new()), DataType::Int64),
        (Values::Text(text(&[0], b"")), DataType::Text),
        (Values::Decimal(Vec::new()), DataType::Decimal { precision: 1, scale: 0 }),
    ] {
        assert_eq!(cells(plain(values), &field(data_type), 0).expect("is right").array.len(), 0);
    }
}

#[test]
fn null_and_unchanged_are_null_in_the_array() {
    let column = Column {
        values: Values::Int64(vec![7; 10]),
        validity: Some(vec![0b1111_1110, 0b11]),
        unchanged: Some(vec![0b0000_0011, 0]),
    };
    let made = cells(column, &field(DataType::Int64), 10).expect("is right");
    let array = made.array.as_primitive::<types::Int64Type>();
    assert_eq!((array.null_count(), array.is_null(0), array.is_null(1), array.is_null(2)), (2, true, true, false));
    assert_eq!(made.unchanged.expect("some are").set_indices().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn marks_of_nothing_are_dropped() {
    let values = Values::Int64(vec![7; 3]);
    let column = Column { values, validity: Some(vec![0b111]), unchanged: Some(vec![0]) };
    let made = cells(column, &field(DataType::Int64), 3).expect("is right");
    assert!(made.array.nulls().is_none() && made.unchanged.is_none());
}

#[test]
fn not_null_is_kept_and_unchanged_is_not_null() {
    let strict = Field::new("c", DataType::Int64, false);
    let of = |validity: u8, unchanged: Option<u8>| {
        let unchanged = unchanged.map(|bits| vec![bits]);
        let column = Column { values: Values::Int64(vec![7; 3]), validity: Some(vec![validity]), unchanged };
        cells(column, &strict, 3)
    };
    assert!(of(0b111, None).is_ok());
    assert!(of(0b101, Some(0b010)).is_ok());
    let message = of(0b001, Some(0b010)).expect_err("row 2 is null");
    assert!(message.contains("row 2 is null"), "{message}");
}

#[test]
fn lengths() {
    wrong(plain(Values::Int64(vec![1])), DataType::Int64, 2, "1 values for 2 rows");
    wrong(plain(Values::Boolean(vec![0])), DataType::Boolean, 9, "1 bytes, 9 rows need 2");
    let decimal = DataType::Decimal { precision: 9, scale: 0 };
    wrong(plain(Values::Decimal(vec![0; 17])), decimal, 2, "17 bytes, 2 decimals need 32");
    let of = |validity, unchanged| Column { values: Values::Int32(vec![1; 9]), validity, unchanged };
    wrong(of(Some(vec![255]), None), DataType::Int32, 9, "`validity` has 1 bytes, 9 rows need 2");
    wrong(of(None, Some(vec![0; 3])), DataType::Int32, 9, "`unchanged` has 3 bytes, 9 rows need 2");
}

#[test]
fn types() {
    wrong(plain(Values::Int32(vec![1])), DataType::Int64, 1, "the description says int64, the values are int32");
    wrong(plain(Values::Text(text(&[0, 1], b"t"))), DataType::Json, 1, "says json, the values are text");
    let decimal = DataType::Decimal { precision: 9, scale: 2 };
    wrong(plain(Values::Float64(vec![1.0])), decimal, 1, "says decimal(9,2), the values are float64");
}

#[test]
fn offsets() {
    let of = |offsets: &[u32], data: &[u8]| plain(Values::Bytes(text(offsets, data)));
    wrong(of(&[], b""), DataType::Bytes, 0, "0 offsets, 0 rows need 1");
    wrong(of(&[0, 1], b"a"), DataType::Bytes, 2, "2 offsets, 2 rows need 3");
    wrong(of(&[1, 1], b"a"), DataType::Bytes, 1, "first offset is 1");
    wrong(of(&[0, 2, 1, 3], b"abc"), DataType::Bytes, 3, "row 1: its offsets fall from 2 to 1");
    wrong(
        of(&[0, u32::MAX], b"abc"),
        DataType::Bytes,
        1,
        "last offset is 4294967295, it must be the length of `data`, 3",
    );
    wrong(of(&[0, 2], b"abc"), DataType::Bytes, 1, "last offset is 2");
}

#[test]
fn utf8() {
    let of = |offsets: &[u32], data: &[u8]| plain(Values::Text(text(offsets, data)));
    wrong(of(&[0, 1, 3, 4], b"a\xc3\x28b"), DataType::Text, 3, "row 1 is not UTF-8 (from its byte 0 on)");
    // The whole is UTF-8, the rows are not.
    wrong(of(&[0, 1, 2], "é".as_bytes()), DataType::Text, 2, "row 0 is not UTF-8");
    wrong(plain(Values::Json(text(&[0, 2], b"\xff\xff"))), DataType::Json, 1, "row 0 is not UTF-8");
}

#[test]
fn decimals_fit_their_precision() {
    let decimal = DataType::Decimal { precision: 3, scale: 1 };
    let of = |values: &[i128], validity| {
        let values = Values::Decimal(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        Column { values, validity, unchanged: None }
    };
    assert!(cells(of(&[999, -999], None), &field(decimal), 2).is_ok());
    wrong(of(&[0, 1000], None), decimal, 2, "row 1: 1000 has more than the 3 digits");
    wrong(of(&[i128::MIN], None), decimal, 1, "row 0");
    assert!(cells(of(&[0, 1000], Some(vec![0b01])), &field(decimal), 2).is_ok(), "a null cell says nothing");
    let widest = DataType::Decimal { precision: 38, scale: 38 };
    assert!(cells(of(&[10_i128.pow(38) - 1], None), &field(widest), 1).is_ok());
    wrong(of(&[10_i128.pow(38)], None), widest, 1, "row 0");
}

#[test]
fn decimals_at_any_address() {
    // A list of bytes may lie anywhere; 128-bit numbers may not.
    for rows in 1..40 {
        let bytes: Vec<u8> = (0..rows).flat_map(|n| (n as i128).to_le_bytes()).collect();
        let column = plain(Values::Decimal(bytes));
        let made = cells(column, &field(DataType::Decimal { precision: 9, scale: 0 }), rows).expect("is right");
        let array = made.array.as_primitive::<types::Decimal128Type>();
        assert_eq!(array.value(rows - 1), rows as i128 - 1);
    }
}
