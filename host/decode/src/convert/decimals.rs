//! Decimals of any precision and scale: into a column's unscaled 128 bits where it holds them, into exact text where none does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lakemill_model::range;
use num_bigint::BigInt;

use super::numbers::whole;
use super::{Refusal, Values, append_made, mismatch, shortened};
use crate::column::Builder;
use crate::scan::{Cursor, EXPANSION_MAX, Kind};

/// How a column's decimals are written. A JSON number is a decimal in each of them (`decimal.format=NUMERIC` of the JSON converter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DecimalForm {
    /// As numbers, or as text that is no base64.
    Either,
    /// As numbers only.
    Number,
    /// As text.
    Text,
    /// Base64 of the unscaled value, a two's complement, big endian: Connect's Decimal. The value has so many zeros less than its column:
    /// the negated scale, where that is negative.
    Base64(u8),
}

/// The most bytes of an unscaled value: PostgreSQL's `numeric` has up to 131,072 digits before the point and 16,383 after it, which are
/// 61,229 bytes. Writing them in decimal takes time that grows with the square of it, so there is an end.
const BYTES_MAX: usize = 64 << 10;
/// How far the point may be from the last digit.
const SCALE_MAX: i64 = 150_000;

pub(super) fn decimal(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    (precision, scale): (u8, u8),
    form: DecimalForm,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let fits = |value: Option<i128>| value.and_then(|value| range::decimal(value, precision).ok());
    if kind == Kind::Number {
        let text = cursor.number()?;
        let value = fits(exact(text, scale)).ok_or_else(|| rounded(text, precision, scale))?;
        out.decimal(value);
        return Ok(());
    }
    if kind != Kind::Text || form == DecimalForm::Number {
        return mismatch(cursor, kind, if kind == Kind::Text { "a decimal as a number" } else { "a decimal" });
    }
    let text = cursor.string()?;
    if values.placeholder.is_text(&text) {
        out.unchanged();
        return Ok(());
    }
    let value = match form {
        DecimalForm::Base64(zeros) => {
            let value = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| two_complement(&bytes));
            let value = value.and_then(|value| value.checked_mul(10i128.checked_pow(zeros.into())?));
            fits(value).ok_or_else(|| {
                Refusal::Value(format!("{} is no base64 decimal({precision},{scale})", shortened(&text)))
            })?
        }
        DecimalForm::Either if STANDARD.decode(text.as_bytes()).is_ok() => return Err(ambiguous(&text, scale)),
        _ => fits(exact(&text, scale)).ok_or_else(|| rounded(&text, precision, scale))?,
    };
    out.decimal(value);
    Ok(())
}

fn rounded(text: &str, precision: u8, scale: u8) -> Refusal {
    Refusal::Value(format!(
        "{} is no decimal({precision},{scale}): it has more digits before or after the point",
        shortened(text)
    ))
}

/// Text that is base64 in a column whose form nobody has declared; digits may be a number as well.
fn ambiguous(text: &str, scale: u8) -> Refusal {
    let as_base64 = STANDARD.decode(text.as_bytes()).ok().map(|bytes| unscaled(&bytes, i64::from(scale)));
    let as_base64 = as_base64.flatten().unwrap_or_else(|| "a number that is too long".into());
    let hint = match exact(text, scale) {
        Some(_) => format!("declare `form: text` ({}) or `form: base64` ({as_base64})", shortened(text)),
        None => format!("declare `form: base64` ({as_base64})"),
    };
    Refusal::Value(format!("the text {} is base64 and the column has no form: {hint}", shortened(text)))
}

/// The unscaled value of decimal text, if it has no more digits than `scale` allows.
pub(crate) fn exact(text: &str, scale: u8) -> Option<i128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Zeros at the end say nothing.
    let fraction = fraction.trim_end_matches('0');
    let mut value = 0i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let shift = i32::from(scale).checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(exponent)?;
    let power = 10i128.checked_pow(shift.unsigned_abs());
    let value = match (value, shift) {
        (0, _) => 0,
        (_, 0..) => value.checked_mul(power?)?,
        (_, _) => {
            let power = power?;
            (value % power == 0).then(|| value / power)?
        }
    };
    Some(if negative { -value } else { value })
}

fn two_complement(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let fill = if first & 0x80 == 0 { 0 } else { 0xff };
    let extra = bytes.len().saturating_sub(16);
    if bytes[..extra].iter().any(|&b| b != fill) {
        return None;
    }
    let bytes = &bytes[extra..];
    if extra > 0 && (bytes[0] ^ fill) & 0x80 != 0 {
        return None;
    }
    let mut all = [fill; 16];
    all[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

/// Takes a text that stands for a cell that the source left out; anything else stays where it is.
fn is_left_out(cursor: &mut Cursor<'_>, kind: Kind, values: &Values) -> Result<bool, Refusal> {
    if kind != Kind::Text {
        return Ok(false);
    }
    let at = cursor.at();
    let found = values.placeholder.is_text(&cursor.string()?);
    if !found {
        cursor.seek(at);
    }
    Ok(found)
}

/// Debezium's VariableScaleDecimal as exact text.
pub(super) fn variable_scale(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    if is_left_out(cursor, kind, values)? {
        out.unchanged();
        return Ok(());
    }
    append_made(out, &variable_scale_text(cursor, kind)?)
}

pub(super) fn variable_scale_text(cursor: &mut Cursor<'_>, kind: Kind) -> Result<String, Refusal> {
    let wanted = "a decimal as {scale, value} with a base64 value";
    if kind != Kind::Object {
        return mismatch(cursor, kind, wanted);
    }
    let start = cursor.at();
    let (mut scale, mut text) = (None, None);
    let mut members = cursor.object()?;
    let mut value = None;
    while let Some(key) = cursor.member(&mut members)? {
        match (&*key, cursor.kind()?) {
            ("scale", Kind::Number) => scale = whole(cursor.number()?),
            ("value", Kind::Text) => value = STANDARD.decode(cursor.string()?.as_bytes()).ok(),
            _ => drop(cursor.skip()?),
        }
    }
    if let (Some(scale), Some(value)) = (scale, value) {
        text = unscaled(&value, scale);
    }
    let text = text.ok_or_else(|| {
        Refusal::Value(format!("expected {wanted}, found {}", shortened(&cursor.text()[start..cursor.at()])))
    })?;
    within_bounds(cursor, start, text)
}

/// Refuses a text that is longer than what was written from `start` on, if the batch has too many of these.
fn within_bounds(cursor: &mut Cursor<'_>, start: usize, text: String) -> Result<String, Refusal> {
    if cursor.expand(start, text.len()) {
        return Ok(text);
    }
    let written = shortened(&cursor.text()[start..cursor.at()]);
    Err(Refusal::Value(format!(
        "{written} is {} characters of text, and the decimals of a batch may be {} MiB longer than they are written; allow smaller batches",
        text.len(),
        EXPANSION_MAX >> 20
    )))
}

/// A decimal that no column type holds, as exact text.
pub(super) fn wide(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    scale: i32,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    if is_left_out(cursor, kind, values)? {
        out.unchanged();
        return Ok(());
    }
    append_made(out, &wide_text(cursor, kind, scale)?)
}

/// Connect's Decimal as exact text: base64, or a number.
pub(super) fn wide_text(cursor: &mut Cursor<'_>, kind: Kind, scale: i32) -> Result<String, Refusal> {
    let start = cursor.at();
    let text = match kind {
        Kind::Number => {
            let text = cursor.number()?;
            plain(text).ok_or_else(|| Refusal::Value(format!("{} has too many digits", shortened(text))))?
        }
        Kind::Text => {
            let text = cursor.string()?;
            let value = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| unscaled(&bytes, scale.into()));
            value.ok_or_else(|| Refusal::Value(format!("{} is no base64 decimal", shortened(&text))))?
        }
        _ => return mismatch(cursor, kind, "a decimal as base64 text or a number"),
    };
    within_bounds(cursor, start, text)
}

/// A two's complement, big endian, divided by ten to the power of `scale`; `None` if it is empty or too long.
fn unscaled(bytes: &[u8], scale: i64) -> Option<String> {
    if bytes.is_empty() || bytes.len() > BYTES_MAX {
        return None;
    }
    let value = BigInt::from_signed_bytes_be(bytes).to_string();
    with_point(&value, scale)
}

/// A JSON number without its exponent.
fn plain(number: &str) -> Option<String> {
    let Some(at) = number.find(['e', 'E']) else { return Some(number.to_owned()) };
    let (mantissa, exponent) = (&number[..at], number[at + 1..].parse::<i64>().ok()?);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    with_point(&format!("{sign}{digits}"), i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?)
}

/// A whole number with its point moved to the left by `scale` places.
fn with_point(value: &str, scale: i64) -> Option<String> {
    if scale.unsigned_abs() > SCALE_MAX.unsigned_abs() {
        return None;
    }
    let (sign, digits) = value.strip_prefix('-').map_or(("", value), |digits| ("-", digits));
    let places = scale.unsigned_abs() as usize;
    Some(match scale {
        0 => value.to_owned(),
        ..0 if digits == "0" => value.to_owned(),
        ..0 => format!("{value}{}", "0".repeat(places)),
        _ => {
            let missing = (places + 1).saturating_sub(digits.len());
            let digits = format!("{}{digits}", "0".repeat(missing));
            let (whole, fraction) = digits.split_at(digits.len() - places);
            format!("{sign}{whole}.{fraction}")
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(exact("123.4567", 4), Some(1_234_567));
        assert_eq!(exact("-1.5e2", 1), Some(-1500));
        assert_eq!(exact("0.10", 1), Some(1));
        assert_eq!(exact("0.15", 1), None);
        assert_eq!(exact("1e-40", 2), None);
        assert_eq!(exact("0e-99", 2), Some(0));
        assert_eq!(exact("0e-2147483648", 2), Some(0));
        assert_eq!(exact("1e-2147483648", 2), None);
        assert_eq!(exact("1e2147483647", 2), None);
        assert_eq!(exact("1.50000000000000000000000000000000000000000000", 1), Some(15));
        assert_eq!(exact("99999999999999999999999999999999999999", 0), Some(10i128.pow(38) - 1));
        assert_eq!(exact("", 0), None);
        assert_eq!(exact("x", 0), None);
    }

    #[test]
    fn known_base64_decimals() {
        let decode = |text: &str| two_complement(&STANDARD.decode(text).expect("base64"));
        assert_eq!(decode("EtaH"), Some(1_234_567));
        assert_eq!(decode("AP//////////"), Some(18_446_744_073_709_551_615));
        assert_eq!(decode("/w=="), Some(-1));
        assert_eq!(two_complement(&[]), None);
    }

    #[test]
    fn what_no_column_holds_is_exact_text() {
        let text = |bytes: &[u8], scale| unscaled(bytes, scale).expect("is not too long");
        assert_eq!(text(&[0xff], 2), "-0.01");
        assert_eq!(text(&[0x80, 0], 1), "-3276.8");
        assert_eq!(text(&[0], 0), "0");
        assert_eq!(text(&[0], -3), "0");
        assert_eq!(text(&[0], 2), "0.00");
        assert_eq!(text(&[0x04, 0xd2], -2), "123400");
        let mut power = vec![0; 17];
        power[0] = 1;
        assert_eq!(text(&power, 0), "340282366920938463463374607431768211456");
        assert_eq!(text(&power, 40), "0.0340282366920938463463374607431768211456");
        assert_eq!(unscaled(&[], 0), None);
        assert_eq!(unscaled(&vec![1; BYTES_MAX + 1], 0), None);
        assert_eq!(unscaled(&[1], SCALE_MAX + 1), None);
        assert_eq!(unscaled(&[1], i64::MIN), None);
        assert_eq!(plain("-1.25e3").as_deref(), Some("-1250"));
        assert_eq!(plain("1.25E-3").as_deref(), Some("0.00125"));
        assert_eq!(plain("0e5").as_deref(), Some("0"));
        assert_eq!(plain("1e-999999"), None);
        assert_eq!(plain("1e99999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn text_and_unscaled_value_agree(value in any::<i128>(), scale in 0u8..=38) {
            let text = unscaled(&value.to_be_bytes(), scale.into()).expect("is short");
            prop_assert_eq!(exact(&text, scale), Some(value));
            prop_assert_eq!(two_complement(&value.to_be_bytes()), Some(value));
        }
    }
}
