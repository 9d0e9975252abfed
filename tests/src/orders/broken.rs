//! Events that are broken in one way each.

use super::{Change, Event, Fate, envelope};

/// The way in which an event is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The JSON ends in the middle.
    Cut,
    /// A number is a text.
    WrongType,
    /// There is no op.
    NoOp,
    /// The op is none of Debezium's.
    UnknownOp,
    /// A number has more digits than any integer type.
    OutOfRange,
    /// A text is not UTF-8.
    NotUtf8,
    /// A JSON value that is no object.
    NoObject,
    /// Arrays in arrays, 100,000 deep.
    Deep,
}

impl Breakage {
    /// All of them.
    pub const ALL: &[Breakage] = &[
        Breakage::Cut,
        Breakage::WrongType,
        Breakage::NoOp,
        Breakage::UnknownOp,
        Breakage::OutOfRange,
        Breakage::NotUtf8,
        Breakage::NoObject,
        Breakage::Deep,
    ];
}

/// The event of a change, broken.
pub fn broken(what: Breakage, change: &Change, lsn: i64) -> Event {
    let mut value = envelope(change, lsn, 0).into_bytes();
    match what {
        Breakage::Cut => value.truncate(value.len() / 2),
        Breakage::WrongType => replace(&mut value, b"\"customer_id\":", b",", b"\"a customer\""),
        Breakage::NoOp => replace(&mut value, b"\"transaction\":null,", b"\"ts_ms\":", b""),
        Breakage::UnknownOp => replace(&mut value, b",\"op\":", b",", b"\"x\""),
        Breakage::OutOfRange => replace(&mut value, b"\"customer_id\":", b",", b"123456789012345678901234567890"),
        Breakage::NotUtf8 => replace(&mut value, b"\"sku\":", b",", b"\"SKU-\xff\xfe\x80\""),
        Breakage::NoObject => value = b"[1,2,3]".to_vec(),
        Breakage::Deep => {
            let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
            replace(&mut value, b"\"sku\":", b",", &deep);
        }
    }
    Event { key: Some(super::key(change.id)), value: Some(value), fate: Fate::Dead(what) }
}

/// Replaces what stands between the last `from` and the next `to`.
fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8], by: &[u8]) {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let last = bytes.windows(from.len()).rposition(|window| window == from);
    let range = last.and_then(|at| {
        let start = at + from.len();
        Some(start..start + find(&bytes[start..], to)?)
    });
    bytes.splice(range.expect("every envelope has it"), by.iter().copied());
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::orders::{Mix, Orders};

    #[test]
    fn each_is_broken_as_it_says() {
        let change = Orders::new(1, Mix::default()).change();
        let whole: Value = serde_json::from_str(&envelope(&change, 9, 1)).expect("an envelope is JSON");
        assert!(whole["op"].is_string() && whole["after"]["customer_id"].is_i64(), "{whole}");
        for what in Breakage::ALL {
            let bytes = broken(*what, &change, 9).value.expect("a value");
            let value = serde_json::from_slice::<Value>(&bytes).ok();
            let as_said = match what {
                Breakage::Cut | Breakage::Deep => value.is_none(),
                Breakage::NotUtf8 => std::str::from_utf8(&bytes).is_err(),
                Breakage::NoObject => value.is_some_and(|v| v.is_array()),
                Breakage::NoOp => value.is_some_and(|v| v.get("op").is_none() && v["ts_ms"].is_i64()),
                Breakage::UnknownOp => value.is_some_and(|v| v["op"] == "x"),
                Breakage::WrongType => value.is_some_and(|v| v["after"]["customer_id"].is_string()),
                Breakage::OutOfRange => value.is_some_and(|v| v["after"]["customer_id"].as_f64() > Some(1e29)),
            };
            assert!(as_said, "{what:?}");
        }
    }
}
