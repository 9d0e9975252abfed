//! From one JSON value to one cell, told as the host's decoder takes it: what each type takes, and what it refuses.

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json::{Kind, Object, kind, text, whole};
use super::schema::{Form, Slot};
use super::times::{
    Moment, clamped_days, clamped_micros, day_of, instant_of, is_day_of_years, is_of_years, is_plausible, parse_date,
    parse_timestamp,
};
use crate::{DataType, Field};

/// Debezium's text for a cell that the database did not send, as text, as base64, as hexadecimal digits, and as an `hstore`.
const UNAVAILABLE: [&str; 4] = [
    "__debezium_unavailable_value",
    "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
    "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565",
    r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
];

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Null,
    Unchanged,
    Boolean(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    /// Unscaled.
    Decimal(i128),
    Date(i32),
    Timestamp(i64),
    Bytes(Vec<u8>),
    /// Also JSON.
    Text(String),
}

/// The cell of a value.
///
/// # Errors
/// What the column takes, and what came.
pub(super) fn content(value: &RawValue, slot: &Slot) -> Result<Content, String> {
    let kind = kind(value);
    let wrong = |wanted: &str| Err(format!("expected {wanted}, found {}", shortened(value.get())));
    if kind == Kind::Null {
        return Ok(Content::Null);
    }
    let of_text = if kind == Kind::Text { text(value) } else { String::new() };
    let takes_any_text = matches!(slot.field.data_type, DataType::Text | DataType::Json | DataType::Bytes);
    let takes_text = match slot.field.data_type {
        DataType::Decimal { .. } => !slot.inferred && slot.form != Some(Form::Number),
        DataType::Date => slot.form != Some(Form::Days),
        DataType::Timestamp => slot.form.is_none_or(|form| form == Form::Iso),
        _ => takes_any_text,
    };
    if kind == Kind::Text && takes_text && UNAVAILABLE.contains(&of_text.as_str()) {
        return Ok(Content::Unchanged);
    }
    match (slot.field.data_type, kind) {
        (DataType::Boolean, Kind::Bool) => Ok(Content::Boolean(value.get() == "true")),
        (DataType::Int64, Kind::Number) => whole(value).map(Content::Int64).map_or_else(|| wrong("int64"), Ok),
        (DataType::Int32, Kind::Number) => {
            let value = whole(value).and_then(|whole| i32::try_from(whole).ok());
            value.map(Content::Int32).map_or_else(|| wrong("int32"), Ok)
        }
        (DataType::Float64, Kind::Number) if slot.inferred && !is_exact(value.get()) => {
            wrong("a number that a float64, which was inferred, holds exactly; declare the column")
        }
        (DataType::Float64, Kind::Number | Kind::Text) => {
            float(value, kind, &of_text).map(Content::Float64).map_or_else(|| wrong("a number"), Ok)
        }
        (DataType::Float32, Kind::Number | Kind::Text) => {
            let narrow = float(value, kind, &of_text).map(|wide| (wide as f32, wide.is_infinite()));
            match narrow.filter(|(narrow, was_infinite)| narrow.is_finite() || narrow.is_nan() || *was_infinite) {
                Some((narrow, _)) => Ok(Content::Float32(narrow)),
                None => wrong("a number in the range of a float32"),
            }
        }
        (DataType::Decimal { precision, scale }, Kind::Number | Kind::Text) if kind == Kind::Number || takes_text => {
            let text = if kind == Kind::Number { value.get() } else { &of_text };
            decimal(text, kind, slot.form, precision, scale).map(Content::Decimal)
        }
        (DataType::Date, Kind::Number) if slot.form != Some(Form::Iso) => {
            let days = whole(value).filter(|days| i32::try_from(*days).is_ok());
            let Some(day) = days.map(day_of) else { return wrong("days since 1970") };
            if !is_day_of_years(day, slot.years) {
                let (first, last) = slot.years;
                return Err(format!(
                    "{} days since 1970 are not of the years {first} to {last}: declare other `years`",
                    value.get()
                ));
            }
            Ok(Content::Date(clamped_days(day)))
        }
        (DataType::Date, Kind::Text) if takes_text => {
            let date = parse_date(&of_text).map(|date| Content::Date(clamped_days(date)));
            date.map_or_else(|| wrong("a date like 2026-01-31"), Ok)
        }
        (DataType::Timestamp, Kind::Number) if slot.form != Some(Form::Iso) => {
            timestamp(value, slot).map(|moment| Content::Timestamp(clamped_micros(moment)))
        }
        (DataType::Timestamp, Kind::Text) if takes_text => {
            let moment = parse_timestamp(&of_text).map(|moment| Content::Timestamp(clamped_micros(moment)));
            moment.map_or_else(|| wrong("a timestamp like 2026-01-31T12:00:00Z"), Ok)
        }
        (DataType::Bytes, Kind::Text) => {
            let (bytes, wanted) = match slot.form {
                Some(Form::Hex) => (hexadecimal(&of_text), "hexadecimal digits"),
                Some(Form::Base64Url) => (base64(&of_text, b"-_"), "base64url"),
                _ => (base64(&of_text, b"+/"), "base64"),
            };
            bytes.map(Content::Bytes).map_or_else(|| wrong(wanted), Ok)
        }
        (DataType::Text, Kind::Text) => Ok(Content::Text(of_text)),
        (DataType::Json, Kind::Text) => {
            let is_json = serde_json::from_str::<IgnoredAny>(&of_text).is_ok();
            // Text that is no JSON becomes a JSON string.
            Ok(Content::Text(if is_json { of_text } else { serde_json::Value::from(of_text).to_string() }))
        }
        (DataType::Json, _) if is_unavailable(value) => Ok(Content::Unchanged),
        (DataType::Json, _) => Ok(Content::Text(value.get().to_owned())),
        (data_type, _) => wrong(&data_type.to_string()),
    }
}

/// Arrays and maps of a text that says "not sent".
fn is_unavailable(value: &RawValue) -> bool {
    let is_it = |value: &RawValue| kind(value) == Kind::Text && UNAVAILABLE.contains(&text(value).as_str());
    match kind(value) {
        Kind::Array => {
            let list: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
            matches!(list[..], [one] if is_it(one))
        }
        Kind::Object => Object::of(value).is_some_and(|object| {
            object.0.iter().any(|(name, value)| UNAVAILABLE.contains(&name.as_str()) && is_it(value))
        }),
        _ => false,
    }
}

fn float(value: &RawValue, kind: Kind, text: &str) -> Option<f64> {
    match kind {
        Kind::Number => value.get().parse().ok().filter(|value: &f64| value.is_finite()),
        _ => named(text),
    }
}

/// What JSON has no number for.
pub(super) fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Whether a number is written without a point and an exponent.
pub(super) fn is_whole(number: &str) -> bool {
    number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())
}

/// Whether a float64 keeps every digit of a number.
pub(super) fn is_exact(number: &str) -> bool {
    if is_whole(number) {
        return number.parse::<i128>().is_ok_and(|whole| (whole as f64) as i128 == whole);
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let all: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let trailing = all.iter().rev().take_while(|digit| **digit == b'0').count();
    let digits: Vec<u8> = all.into_iter().skip_while(|digit| *digit == b'0').collect();
    let significant = digits.len().saturating_sub(trailing);
    if significant == 0 {
        return true;
    }
    let Ok(value) = number.parse::<f64>() else { return false };
    if significant > 17 || !value.is_finite() || value == 0.0 {
        return false;
    }
    let written = format!("{:.*e}", significant - 1, value.abs());
    let kept = written.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit);
    kept.eq(digits.into_iter().take(significant))
}

fn decimal(text: &str, kind: Kind, form: Option<Form>, precision: u8, scale: u8) -> Result<i128, String> {
    let fits = |value: i128| value.unsigned_abs() < 10_u128.pow(precision.into());
    let as_base64 = || base64(text, b"+/").and_then(|bytes| two_complement(&bytes));
    if kind == Kind::Text && form == Some(Form::Base64) {
        let value = as_base64().filter(|value| fits(*value));
        return value.ok_or_else(|| format!("{} is no base64 decimal({precision},{scale})", shortened(text)));
    }
    if kind == Kind::Text && form.is_none() && base64(text, b"+/").is_some() {
        return Err(format!(
            "the text {} is base64 and the column has no form: declare `form: text` or `form: base64`",
            shortened(text)
        ));
    }
    let value = exact(text, scale).filter(|value| fits(*value));
    value.ok_or_else(|| {
        format!("{} is no decimal({precision},{scale}): it has more digits before or after the point", shortened(text))
    })
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
    let fraction = fraction.trim_end_matches('0');
    let mut value = 0_i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let shift = i32::from(scale).checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(exponent)?;
    let power = 10_i128.checked_pow(shift.unsigned_abs());
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

/// Big endian, of any length that says no more than 128 bits.
fn two_complement(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let extra = bytes.len().saturating_sub(16);
    let (extra, bytes) = bytes.split_at(extra);
    if extra.iter().any(|byte| *byte != fill) || (!extra.is_empty() && (bytes[0] ^ fill) & 0x80 != 0) {
        return None;
    }
    let mut all = [fill; 16];
    all[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(all))
}

fn timestamp(value: &RawValue, slot: &Slot) -> Result<Moment<i128>, String> {
    let Some(number) = whole(value) else {
        return Err(format!("expected a timestamp as a whole number, found {}", shortened(value.get())));
    };
    let moment = instant_of(number, slot.form.and_then(Form::nanos).unwrap_or(1_000));
    let is_believed = match slot.form {
        Some(_) => is_of_years(moment, slot.years),
        None => is_plausible(moment, slot.years),
    };
    if is_believed {
        return Ok(moment);
    }
    Err(format!("{number} is hardly of the years {} to {}: declare the column's unit", slot.years.0, slot.years.1))
}

/// RFC 4648 with its padding; `last` are the digits 62 and 63.
fn base64(text: &str, last: &[u8; 2]) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            _ => 62 + last.iter().position(|of| *of == digit)? as u8,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // What is left are zeros that say nothing.
    (bits == 0 && count == 2 * padding).then_some(bytes)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The type that numbers show which all have these digits, none of them lost.
fn number_type(seen: &Seen) -> DataType {
    let (before, after) = seen.digits;
    if seen.fractions == 0 && seen.named == 0 {
        let is_small = seen.large == 0;
        return if is_small { DataType::Int64 } else { DataType::Decimal { precision: 38, scale: 0 } };
    }
    if seen.inexact == 0 || before + after > 38 {
        return DataType::Float64;
    }
    DataType::Decimal { precision: 38, scale: after.max(18.min(38 - before)) as u8 }
}

/// What the values of a column have shown, counted.
#[derive(Clone, Debug, Default)]
struct Seen {
    booleans: u64,
    texts: u64,
    named: u64,
    objects: u64,
    numbers: u64,
    fractions: u64,
    inexact: u64,
    large: u64,
    digits: (u64, u64),
}

impl Seen {
    fn add(&mut self, value: &RawValue) {
        match kind(value) {
            Kind::Null => {}
            Kind::Bool => self.booleans += 1,
            Kind::Text if named(&text(value)).is_some() => self.named += 1,
            Kind::Text => self.texts += 1,
            Kind::Array | Kind::Object => self.objects += 1,
            Kind::Number => {
                let number = value.get();
                self.numbers += 1;
                self.fractions += u64::from(!is_whole(number));
                self.inexact += u64::from(!is_exact(number));
                self.large += u64::from(is_whole(number) && whole(value).is_none());
                let (before, after) = digits(number);
                self.digits = (self.digits.0.max(before), self.digits.1.max(after));
            }
        }
    }

    /// The type of most values; of types that as many have, the one that takes more.
    fn data_type(&self) -> Option<DataType> {
        let is_number = self.numbers > 0 || self.texts == 0;
        let (of_numbers, of_texts) = if is_number { (self.named, 0) } else { (0, self.named) };
        let kinds = [
            (self.objects, DataType::Json),
            (self.texts + of_texts, DataType::Text),
            (self.numbers + of_numbers, number_type(self)),
            (self.booleans, DataType::Boolean),
        ];
        let most = kinds.iter().map(|(count, _)| *count).max().filter(|most| *most > 0)?;
        kinds.into_iter().find(|(count, _)| *count == most).map(|(_, data_type)| data_type)
    }
}

/// How many digits a number has before the point and after it, written without an exponent.
fn digits(number: &str) -> (u64, u64) {
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        Some(at) => (&number[..at], number[at + 1..].parse().unwrap_or(i64::from(i32::MAX))),
        None => (number, 0),
    };
    let mantissa = mantissa.trim_start_matches('-');
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: Vec<u8> = before.bytes().chain(after.bytes()).collect();
    let (Some(first), Some(last)) = (all.iter().position(|b| *b != b'0'), all.iter().rposition(|b| *b != b'0')) else {
        return (0, 0);
    };
    let ones = before.len() as i64;
    let place = |at: usize| (ones - at as i64).saturating_add(exponent);
    (place(first).max(0).unsigned_abs(), place(last).saturating_sub(1).min(0).unsigned_abs())
}

/// Columns that values have shown, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Shown(Vec<(String, Seen)>);

impl Shown {
    pub fn add(&mut self, object: &Object) {
        for (name, value) in &object.0 {
            let place = self.0.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                self.0.push((name.clone(), Seen::default()));
                self.0.len() - 1
            });
            self.0[place].1.add(value);
        }
    }

    /// The columns that had a value.
    pub fn slots(&self) -> Vec<Slot> {
        let field = |(name, seen): &(String, Seen)| {
            Some(Slot::inferred(Field { name: name.clone(), data_type: seen.data_type()?, nullable: true }))
        };
        self.0.iter().filter_map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_it_is_written() {
        for (text, bytes) in
            [("", &b""[..]), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj", b"abc"), ("+/8=", &[0xfb, 0xff])]
        {
            assert_eq!(base64(text, b"+/").as_deref(), Some(bytes), "{text}");
        }
        for wrong in ["YQ=", "YQ", "YR==", "Y===", "====", "-_8=", "Y Q="] {
            assert_eq!(base64(wrong, b"+/"), None, "{wrong}");
        }
        assert_eq!(base64("-_8=", b"-_").as_deref(), Some(&[0xfb, 0xff][..]));
    }
}
