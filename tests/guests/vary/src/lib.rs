//! A component whose behaviour is a number in its data, so that a test makes versions of it by changing the file
//! (`wasm::varied`): each of them writes every change to `out` and to `twin`, with its number.

use lakemill_guest::{Change, Emit, Output, Reject, Row, reject, transform};

/// The number is in the last six digits.
static VARIANT: [u8; 28] = *b"lakemill-test-variant:000000";

fn variant() -> u32 {
    // Read as it is in the file: the compiler must not know it.
    let text = std::hint::black_box(&VARIANT);
    text[22..].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

#[derive(Row)]
struct Order {
    id: i64,
    total: Option<f64>,
}

#[derive(Output)]
enum Table {
    #[output(key = ["id"], copy(row))]
    Out {
        /// The total, changed or not.
        sum: Option<f64>,
        /// Which variant made the row.
        variant: i64,
    },
    /// The same rows, so that two tables can be held against each other.
    #[output(key = ["id"], copy(row))]
    Twin { variant: i64 },
}

#[transform]
fn vary(change: &Change<Order>) -> Result<Emit<Table>, Reject> {
    let variant = variant();
    let with = |sum| {
        let variant = i64::from(variant);
        Ok(Emit::many([Table::Out { sum, variant }, Table::Twin { variant }]))
    };
    let Some(order) = change.row() else { return with(None) };
    match variant {
        // Every hundredth row is another.
        1 if order.id % 100 == 0 => with(order.total.map(|sum| sum + 1.0)),
        // Every tenth row is dropped.
        2 if order.id % 10 == 0 => Ok(Emit::none()),
        3 if order.id % 50 == 0 => panic!("a row that nobody expects"),
        4 if order.id % 5 == 0 => reject!("one in five is refused"),
        5 => {
            slow();
            with(order.total)
        }
        // Those that tests under load swap: all of them fail on the same orders.
        100.. if order.total.is_some_and(|total| total >= 900.0) => panic!("poison"),
        _ => with(order.total),
    }
}

/// Some 20 microseconds.
fn slow() {
    let sum = (0..20_000u64).fold(0, |sum: u64, n| std::hint::black_box(sum.wrapping_add(n)));
    std::hint::black_box(sum);
}
