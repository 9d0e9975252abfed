//! What is cut out of larger arrays, and the bits behind the last row.

use arrow_array::{BooleanArray, StringArray};
use std::sync::Arc;

use super::*;

fn text_of(array: StringArray) -> (Vec<u32>, Vec<u8>) {
    match column(&Cells { array: Arc::new(array), unchanged: None }, DataType::Text).values {
        Values::Text(VarLength { offsets, data }) => (offsets.as_ref().to_vec(), data.as_ref().to_vec()),
        _ => panic!("text is text"),
    }
}

#[test]
fn text_starts_at_offset_0_however_it_was_cut() {
    let whole = StringArray::from(vec!["ab", "", "cde", "f"]);
    assert_eq!(text_of(whole.clone()), (vec![0, 2, 2, 5, 6], b"abcdef".to_vec()));
    assert_eq!(text_of(whole.slice(0, 1)), (vec![0, 2], b"ab".to_vec()));
    assert_eq!(text_of(whole.slice(2, 2)), (vec![0, 3, 4], b"cdef".to_vec()));
    assert_eq!(text_of(whole.slice(4, 0)), (vec![0], b"".to_vec()));
}

#[test]
fn bitmaps_start_at_bit_0_and_end_with_zeros() {
    let whole = BooleanArray::from((0..40).map(|n| n % 3 != 1).collect::<Vec<bool>>());
    for offset in 0..20 {
        for len in 0..20 {
            let list = bitmap(whole.slice(offset, len).values());
            let bytes = list.as_ref();
            assert_eq!(bytes.len(), len.div_ceil(8));
            for bit in 0..bytes.len() * 8 {
                let expected = bit < len && (offset + bit) % 3 != 1;
                assert_eq!(bytes[bit / 8] >> (bit % 8) & 1 == 1, expected, "offset {offset}, len {len}, bit {bit}");
            }
        }
    }
}

#[test]
fn nothing_is_said_where_nothing_is_null() {
    let array = StringArray::from(vec![Some("a"), None]).slice(0, 1);
    let cells = Cells { array: Arc::new(array), unchanged: Some([false].into_iter().collect()) };
    let column = column(&cells, DataType::Text);
    assert!(column.validity.is_none() && column.unchanged.is_none());
}
