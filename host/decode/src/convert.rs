//! From one JSON value to one cell: what each conversion takes, exactly, and what it refuses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lakemill_model::DataType;

use crate::column::Builder;
use crate::scan::{Broken, Cursor, Kind};

/// How the JSON of a column becomes its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conversion {
    /// The type's plain JSON form.
    Plain,
    /// Base64.
    Base64,
    /// Base64 of a two's complement, big endian: Connect's Decimal.
    Base64Decimal,
    /// `{"scale": n, "value": base64}`: Debezium's VariableScaleDecimal, as text.
    VariableScale,
    /// A decimal of more than 38 digits, as text: base64 like the former, or a number as it is written.
    WideDecimal(u16),
    /// A whole number of this many nanoseconds, as a timestamp.
    TimestampOf(i64),
    /// A whole number of this many nanoseconds, as int64 microseconds.
    TimeOf(i64),
}

/// Why a value is no cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The text is no JSON.
    Broken(Broken),
    /// The value is not what the column takes.
    Value(String),
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Refusal::Broken(broken)
    }
}

/// How deep JSON within text may nest.
const JSON_DEPTH_MAX: usize = 64;

/// PostgreSQL's infinities as Debezium sends them, in microseconds.
const INFINITIES_US: [i64; 2] = [9_223_372_036_825_200_000, -9_223_372_036_832_400_000];

/// Appends the next value to `out`.
#[inline]
pub(crate) fn append(
    cursor: &mut Cursor<'_>,
    data_type: DataType,
    conversion: Conversion,
    placeholder: &Placeholder,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let kind = cursor.kind()?;
    if kind == Kind::Null {
        cursor.null()?;
        out.null();
        return Ok(());
    }
    match (conversion, data_type) {
        (Conversion::Plain, DataType::Text) => text(cursor, kind, placeholder, out),
        (Conversion::Plain, DataType::Int64) => int(cursor, kind, i64::MIN, i64::MAX, "int64").map(|v| out.int64(v)),
        (Conversion::Plain, DataType::Int32) => {
            let value = int(cursor, kind, i64::from(i32::MIN), i64::from(i32::MAX), "int32")?;
            out.int32(value as i32);
            Ok(())
        }
        (Conversion::Plain, DataType::Float64) => float(cursor, kind).map(|v| out.float64(v)),
        (Conversion::Plain, DataType::Float32) => float(cursor, kind).map(|v| out.float32(v as f32)),
        (Conversion::Plain, DataType::Boolean) => match kind {
            Kind::Bool => {
                out.boolean(cursor.bool()?);
                Ok(())
            }
            _ => mismatch(cursor, kind, "true or false"),
        },
        (Conversion::Plain, DataType::Json) => json(cursor, placeholder, out),
        (Conversion::Plain, DataType::Date) => date(cursor, kind, out),
        (Conversion::Plain, DataType::Timestamp) => timestamp(cursor, kind, out),
        (Conversion::Plain, DataType::Decimal { precision, scale }) => decimal(cursor, kind, precision, scale, out),
        (Conversion::Plain | Conversion::Base64, DataType::Bytes) => bytes(cursor, kind, placeholder, out),
        (Conversion::Base64Decimal, DataType::Decimal { precision, scale }) => {
            base64_decimal(cursor, kind, precision, scale, out)
        }
        (Conversion::VariableScale, _) => variable_scale(cursor, kind, out),
        (Conversion::WideDecimal(scale), _) => wide_decimal(cursor, kind, usize::from(scale), out),
        (Conversion::TimestampOf(nanos), _) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a timestamp as a whole number")?;
            match scaled(value, nanos) {
                Some(us) if INFINITIES_US.contains(&us) => out.null(),
                Some(us) => out.int64(us),
                None => return Err(Refusal::Value(format!("{value} is out of range for a timestamp"))),
            }
            Ok(())
        }
        (Conversion::TimeOf(nanos), _) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a time as a whole number")?;
            let us =
                scaled(value, nanos).ok_or_else(|| Refusal::Value(format!("{value} is out of range for a time")))?;
            out.int64(us);
            Ok(())
        }
        (Conversion::Base64 | Conversion::Base64Decimal, _) => mismatch(cursor, kind, "a value of the declared type"),
    }
}

/// `value` times `nanos` nanoseconds, in microseconds.
fn scaled(value: i64, nanos: i64) -> Option<i64> {
    if nanos >= 1000 { value.checked_mul(nanos / 1000) } else { Some(value.div_euclid(1000 / nanos)) }
}

fn mismatch<T>(cursor: &mut Cursor<'_>, kind: Kind, wanted: &str) -> Result<T, Refusal> {
    let text = cursor.skip()?;
    Err(Refusal::Value(format!("expected {wanted}, found {} {}", kind.name(), shortened(text))))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What stands for a cell that the source left out (TOAST and its kin).
#[derive(Clone, Debug)]
pub(crate) struct Placeholder {
    text: String,
    base64: String,
    array: String,
}

impl Placeholder {
    pub fn new(text: &str) -> Self {
        Self { base64: STANDARD.encode(text), array: format!("[\"{text}\"]"), text: text.to_owned() }
    }
}

#[inline]
fn text(cursor: &mut Cursor<'_>, kind: Kind, placeholder: &Placeholder, out: &mut Builder) -> Result<(), Refusal> {
    if kind != Kind::Text {
        return mismatch(cursor, kind, "text");
    }
    let value = cursor.string()?;
    if value.len() == placeholder.text.len() && *value == *placeholder.text {
        out.unchanged();
    } else {
        out.bytes(value.as_bytes());
    }
    Ok(())
}

fn json(cursor: &mut Cursor<'_>, placeholder: &Placeholder, out: &mut Builder) -> Result<(), Refusal> {
    let kind = cursor.kind()?;
    if kind == Kind::Text {
        // A string is the JSON itself (Debezium's Json type), unless it is the placeholder.
        let value = cursor.string()?;
        if *value == *placeholder.text {
            out.unchanged();
            return Ok(());
        }
        let mut inner = Cursor::new(&value, JSON_DEPTH_MAX);
        if inner.skip().and_then(|_| inner.end()).is_err() {
            return Err(Refusal::Value(format!("expected JSON, found the text {}", shortened(&value))));
        }
        out.bytes(value.as_bytes());
        return Ok(());
    }
    let value = cursor.skip()?;
    if value == placeholder.array {
        out.unchanged();
    } else {
        out.bytes(value.as_bytes());
    }
    Ok(())
}

fn bytes(cursor: &mut Cursor<'_>, kind: Kind, placeholder: &Placeholder, out: &mut Builder) -> Result<(), Refusal> {
    if kind != Kind::Text {
        return mismatch(cursor, kind, "base64 text");
    }
    let value = cursor.string()?;
    if *value == *placeholder.base64 {
        out.unchanged();
        return Ok(());
    }
    let decoded = STANDARD.decode(value.as_bytes());
    let decoded = decoded.map_err(|_| Refusal::Value(format!("expected base64, found {}", shortened(&value))))?;
    out.bytes(&decoded);
    Ok(())
}

#[inline]
fn int(cursor: &mut Cursor<'_>, kind: Kind, low: i64, high: i64, wanted: &str) -> Result<i64, Refusal> {
    if kind != Kind::Number {
        return mismatch(cursor, kind, wanted);
    }
    let text = cursor.number()?;
    match whole(text) {
        Some(value) if (low..=high).contains(&value) => Ok(value),
        _ if text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) => {
            Err(Refusal::Value(format!("{} is out of range for {wanted}", shortened(text))))
        }
        _ => Err(Refusal::Value(format!("expected {wanted}, found the fraction {}", shortened(text)))),
    }
}

/// A whole number that fits into 64 bits.
#[inline]
pub(crate) fn whole(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 || digits.is_empty() {
        return text.parse().ok();
    }
    let mut value = 0i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

#[inline]
fn float(cursor: &mut Cursor<'_>, kind: Kind) -> Result<f64, Refusal> {
    match kind {
        Kind::Number => {
            let text = cursor.number()?;
            let value: f64 = text.parse().map_err(|_| Refusal::Value(format!("{} is no number", shortened(text))))?;
            if value.is_finite() {
                Ok(value)
            } else {
                Err(Refusal::Value(format!("{} is out of range for a float", shortened(text))))
            }
        }
        Kind::Text => match &*cursor.string()? {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            other => Err(Refusal::Value(format!("expected a number, found text \"{}\"", shortened(other)))),
        },
        _ => mismatch(cursor, kind, "a number"),
    }
}

fn date(cursor: &mut Cursor<'_>, kind: Kind, out: &mut Builder) -> Result<(), Refusal> {
    if kind == Kind::Text {
        let text = cursor.string()?;
        let date: chrono::NaiveDate = text
            .parse()
            .map_err(|_| Refusal::Value(format!("expected a date like 2026-01-31, found {}", shortened(&text))))?;
        let days = date.signed_duration_since(chrono::NaiveDate::default()).num_days();
        out.int32(i32::try_from(days).unwrap_or(i32::MAX));
        return Ok(());
    }
    let days = int(cursor, kind, i64::from(i32::MIN), i64::from(i32::MAX), "a date as days since 1970")?;
    out.int32(days as i32);
    Ok(())
}

/// ISO 8601 with a zone, or without one (then it is UTC), or whole microseconds.
fn timestamp(cursor: &mut Cursor<'_>, kind: Kind, out: &mut Builder) -> Result<(), Refusal> {
    if kind != Kind::Text {
        let us = int(cursor, kind, i64::MIN, i64::MAX, "a timestamp as microseconds since 1970 or ISO 8601 text")?;
        out.int64(us);
        return Ok(());
    }
    let text = cursor.string()?;
    let zoned = chrono::DateTime::parse_from_rfc3339(&text).map(|time| time.timestamp_micros());
    let plain = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(&text, format).ok())
    };
    let us = zoned.ok().or_else(|| plain().map(|time| time.and_utc().timestamp_micros()));
    let us = us.ok_or_else(|| {
        Refusal::Value(format!("expected a timestamp like 2026-01-31T12:00:00Z, found {}", shortened(&text)))
    })?;
    out.int64(us);
    Ok(())
}

fn decimal(cursor: &mut Cursor<'_>, kind: Kind, precision: u8, scale: u8, out: &mut Builder) -> Result<(), Refusal> {
    let text = match kind {
        Kind::Number => std::borrow::Cow::Borrowed(cursor.number()?),
        Kind::Text => cursor.string()?,
        _ => return mismatch(cursor, kind, "a decimal as a number or text"),
    };
    match exact(&text, scale).filter(|value| value.unsigned_abs() < 10u128.pow(u32::from(precision))) {
        Some(value) => {
            out.decimal(value);
            Ok(())
        }
        None => {
            Err(Refusal::Value(format!("{} is no decimal({precision},{scale}) without rounding", shortened(&text))))
        }
    }
}

/// The unscaled value of decimal text, if it has no more digits than `scale` allows.
fn exact(text: &str, scale: u8) -> Option<i128> {
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
    let mut value = 0i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let shift = i32::from(scale) - i32::try_from(fraction.len()).ok()? + exponent;
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

fn base64_decimal(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    precision: u8,
    scale: u8,
    out: &mut Builder,
) -> Result<(), Refusal> {
    if kind == Kind::Number {
        // `decimal.format=NUMERIC` of the JSON converter.
        return decimal(cursor, kind, precision, scale, out);
    }
    if kind != Kind::Text {
        return mismatch(cursor, kind, "a decimal as base64 text");
    }
    let text = cursor.string()?;
    let value = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| two_complement(&bytes));
    match value.filter(|value| value.unsigned_abs() < 10u128.pow(u32::from(precision))) {
        Some(value) => {
            out.decimal(value);
            Ok(())
        }
        None => Err(Refusal::Value(format!("{} is no base64 decimal({precision},{scale})", shortened(&text)))),
    }
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

fn variable_scale(cursor: &mut Cursor<'_>, kind: Kind, out: &mut Builder) -> Result<(), Refusal> {
    if kind != Kind::Object {
        return mismatch(cursor, kind, "a decimal as {scale, value}");
    }
    let (mut scale, mut value) = (None, None);
    let mut members = cursor.object()?;
    while let Some(key) = cursor.member(&mut members)? {
        match (&*key, cursor.kind()?) {
            ("scale", Kind::Number) => scale = whole(cursor.number()?),
            ("value", Kind::Text) => {
                value = STANDARD.decode(cursor.string()?.as_bytes()).ok().and_then(|b| two_complement(&b))
            }
            _ => drop(cursor.skip()?),
        }
    }
    let (Some(scale), Some(value)) = (scale.and_then(|s| usize::try_from(s).ok()).filter(|s| *s <= 1000), value) else {
        return Err(Refusal::Value("expected {scale, value} with a base64 value of at most 128 bits".into()));
    };
    out.bytes(plain_decimal(value, scale).as_bytes());
    Ok(())
}

fn wide_decimal(cursor: &mut Cursor<'_>, kind: Kind, scale: usize, out: &mut Builder) -> Result<(), Refusal> {
    match kind {
        Kind::Number => out.bytes(cursor.number()?.as_bytes()),
        Kind::Text => {
            let text = cursor.string()?;
            let bytes = STANDARD.decode(text.as_bytes()).ok().filter(|bytes| (1..=1000).contains(&bytes.len()));
            let bytes = bytes.ok_or_else(|| Refusal::Value(format!("{} is no base64 decimal", shortened(&text))))?;
            let (negative, digits) = big(bytes);
            out.bytes(with_point(negative, &digits, scale).as_bytes());
        }
        _ => return mismatch(cursor, kind, "a decimal as base64 text or a number"),
    }
    Ok(())
}

/// Sign and decimal digits of a two's complement of any length, big endian.
fn big(mut bytes: Vec<u8>) -> (bool, String) {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    if negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while bytes.iter().any(|&byte| byte != 0) {
        let mut rest = 0u16;
        for byte in &mut bytes {
            let value = rest << 8 | u16::from(*byte);
            (*byte, rest) = ((value / 10) as u8, value % 10);
        }
        digits.push(b'0' + rest as u8);
    }
    digits.reverse();
    (negative, String::from_utf8(digits).unwrap_or_default())
}

fn plain_decimal(value: i128, scale: usize) -> String {
    with_point(value < 0, &value.unsigned_abs().to_string(), scale)
}

fn with_point(negative: bool, digits: &str, scale: usize) -> String {
    let sign = if negative { "-" } else { "" };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(exact("123.4567", 4), Some(1_234_567));
        assert_eq!(exact("-1.5e2", 1), Some(-1500));
        assert_eq!(exact("0.10", 1), Some(1));
        assert_eq!(exact("0.15", 1), None);
        assert_eq!(exact("1e-40", 2), None);
        assert_eq!(exact("0e-99", 2), Some(0));
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
        assert_eq!(plain_decimal(-5, 3), "-0.005");
        assert_eq!(plain_decimal(1234, 0), "1234");
        let wide = |bytes: &[u8], scale| {
            let (negative, digits) = big(bytes.to_vec());
            with_point(negative, &digits, scale)
        };
        assert_eq!(
            wide(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0),
            "340282366920938463463374607431768211456"
        );
        assert_eq!(wide(&[0xff], 2), "-0.01");
        assert_eq!(wide(&[0x80, 0], 1), "-3276.8");
        assert_eq!(wide(&[0], 0), "0");
    }

    #[test]
    fn whole_numbers_up_to_the_last_bit() {
        assert_eq!(whole("9223372036854775807"), Some(i64::MAX));
        assert_eq!(whole("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("1.0"), None);
        assert_eq!(whole("-0"), Some(0));
    }
}
