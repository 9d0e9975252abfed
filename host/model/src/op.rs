//! What happened to a row.

use std::fmt;

/// The op of a change event, by Debezium's names (`Envelope.Operation`). Logical messages (`m`) are not
/// changes of a row: the decoder refuses them by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Op {
    /// `r`: a row seen by a snapshot.
    Read = 0,
    /// `c`: an insert.
    Create = 1,
    /// `u`: an update.
    Update = 2,
    /// `d`: a delete.
    Delete = 3,
    /// `t`: the table was emptied. No row, no images, no key.
    Truncate = 4,
}

impl Op {
    /// Every op, by code.
    pub const ALL: [Op; 5] = [Op::Read, Op::Create, Op::Update, Op::Delete, Op::Truncate];

    /// The code that crosses the component boundary (wit/types.wit, `batch.ops`).
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The op of a code, if it is one.
    pub fn from_code(code: u8) -> Option<Op> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Debezium's letter.
    pub fn letter(self) -> &'static str {
        match self {
            Op::Read => "r",
            Op::Create => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Truncate => "t",
        }
    }

    /// The op of a Debezium letter, if it is one of ours.
    pub fn from_letter(letter: &str) -> Option<Op> {
        Self::ALL.into_iter().find(|op| op.letter() == letter)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_letters_round_trip() {
        for op in Op::ALL {
            assert_eq!(Op::from_code(op.code()), Some(op));
            assert_eq!(Op::from_letter(op.letter()), Some(op));
        }
        assert_eq!(Op::from_code(5), None);
        assert_eq!(Op::from_letter("m"), None);
    }
}
