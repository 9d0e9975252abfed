//! A component whose behaviour is a number in its data, so that a test makes versions of it by changing the file
//! (`wasm::varied`): each of them writes every change to `out`, with one column of its own.

use lakemill_guest::{Change, Emit, Output, Reject, Row, reject, transform};

/// The number is in the last four digits.
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
#[output(name = "out", key = ["id"], copy(row))]
struct Out {
    /// The total, changed or not.
    sum: Option<f64>,
}

#[transform]
fn vary(change: &Change<Order>) -> Result<Emit<Out>, Reject> {
    let Some(order) = change.row() else { return Ok(Emit::bare()) };
    let same = || Out { sum: order.total };
    Ok(match variant() {
        // Every hundredth row is another.
        1 if order.id % 100 == 0 => Emit::one(Out { sum: order.total.map(|sum| sum + 1.0) }),
        // Every tenth row is dropped.
        2 if order.id % 10 == 0 => Emit::none(),
        3 if order.id % 50 == 0 => panic!("a row that nobody expects"),
        4 if order.id % 5 == 0 => reject!("one in five is refused"),
        5 => {
            slow();
            Emit::one(same())
        }
        _ => Emit::one(same()),
    })
}

/// Some 20 microseconds.
fn slow() {
    let sum = (0..20_000u64).fold(0, |sum: u64, n| std::hint::black_box(sum.wrapping_add(n)));
    std::hint::black_box(sum);
}
