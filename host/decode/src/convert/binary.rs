//! Bytes as text: Debezium's `binary.handling.mode`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::{Refusal, Values, mismatch, shortened};
use crate::column::Builder;
use crate::scan::{Cursor, Kind};

/// How a column's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// Base64: what JSON makes of bytes.
    Base64,
    /// Base64 with `-` and `_`.
    Base64Url,
    /// Two hexadecimal digits a byte.
    Hex,
}

pub(super) fn bytes(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    encoding: Encoding,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let wanted = match encoding {
        Encoding::Base64 => "base64",
        Encoding::Base64Url => "base64url",
        Encoding::Hex => "hexadecimal digits",
    };
    if kind != Kind::Text {
        return mismatch(cursor, kind, &format!("bytes as {wanted}"));
    }
    let value = cursor.string()?;
    if values.placeholder.is_text(&value) {
        out.unchanged();
        return Ok(());
    }
    let decoded = match encoding {
        Encoding::Base64 => STANDARD.decode(value.as_bytes()).ok(),
        Encoding::Base64Url => URL_SAFE.decode(value.as_bytes()).ok(),
        Encoding::Hex => from_hex(&value),
    };
    let decoded = decoded.ok_or_else(|| Refusal::Value(format!("expected {wanted}, found {}", shortened(&value))))?;
    out.bytes(&decoded);
    Ok(())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(from_hex("00fFA1"), Some(vec![0, 255, 161]));
        assert_eq!(from_hex(""), Some(vec![]));
        assert_eq!((from_hex("0"), from_hex("0g"), from_hex("é")), (None, None, None));
    }
}
