//! Whether cells are what the rest of the host takes them for.

use arrow_array::Array;
use lakemill_model::{Cells, Field};

/// # Panics
/// If they are not.
pub(crate) fn check(cells: &Cells, field: &Field, rows: usize) {
    let array = &cells.array;
    assert_eq!((array.len(), array.data_type()), (rows, &field.data_type.to_arrow()), "column {}", field.name);
    array.to_data().validate_full().unwrap_or_else(|wrong| panic!("column {}: {wrong}", field.name));
    if let Some(unchanged) = &cells.unchanged {
        assert_eq!(unchanged.len(), rows, "column {}", field.name);
        assert!(unchanged.set_indices().all(|row| array.is_null(row)), "column {}: unchanged but a value", field.name);
    }
}
