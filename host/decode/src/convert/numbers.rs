//! Whole numbers and floating-point numbers.

use super::decimals::exact;
use super::{Refusal, mismatch, shortened};
use crate::scan::{Cursor, Kind};

#[inline]
pub(super) fn int(cursor: &mut Cursor<'_>, kind: Kind, low: i64, high: i64, wanted: &str) -> Result<i64, Refusal> {
    if kind != Kind::Number {
        return mismatch(cursor, kind, wanted);
    }
    let text = cursor.number()?;
    match whole(text) {
        Some(value) if (low..=high).contains(&value) => Ok(value),
        _ if is_whole(text) => Err(Refusal::Value(format!("{} is out of range for {wanted}", shortened(text)))),
        // `3.0` and `1e2` are whole as well.
        _ => match exact(text, 0)
            .and_then(|value| i64::try_from(value).ok())
            .filter(|value| (low..=high).contains(value))
        {
            Some(value) => Ok(value),
            None => Err(Refusal::Value(format!("expected {wanted}, found the fraction {}", shortened(text)))),
        },
    }
}

/// Whether a number is written without a point and an exponent.
pub(crate) fn is_whole(number: &str) -> bool {
    number.bytes().all(|b| b == b'-' || b.is_ascii_digit())
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

/// A float64 as its type is declared: the nearest one to what is written.
#[inline]
pub(super) fn float(cursor: &mut Cursor<'_>, kind: Kind) -> Result<f64, Refusal> {
    match kind {
        Kind::Number => {
            let text = cursor.number()?;
            let value: f64 = text.parse().map_err(|_| Refusal::Value(format!("{} is no number", shortened(text))))?;
            if value.is_finite() { Ok(value) } else { Err(too_large(text, "float64")) }
        }
        Kind::Text => {
            let text = cursor.string()?;
            named(&text)
                .ok_or_else(|| Refusal::Value(format!("expected a number, found text \"{}\"", shortened(&text))))
        }
        _ => mismatch(cursor, kind, "a number"),
    }
}

/// The nearest float32; what rounds to an infinity is refused.
pub(super) fn float32(cursor: &mut Cursor<'_>, kind: Kind) -> Result<f32, Refusal> {
    let at = cursor.at();
    let value = float(cursor, kind)?;
    let narrow = value as f32;
    if narrow.is_infinite() && value.is_finite() {
        return Err(too_large(&cursor.text()[at..cursor.at()], "float32"));
    }
    Ok(narrow)
}

fn too_large(text: &str, of: &str) -> Refusal {
    Refusal::Value(format!("{} is out of range for a {of}", shortened(text)))
}

/// A float64 whose type was inferred: only what it holds exactly, since nobody has said that it may be rounded.
#[inline]
pub(super) fn exact_float(cursor: &mut Cursor<'_>, kind: Kind) -> Result<f64, Refusal> {
    let at = cursor.at();
    let value = float(cursor, kind)?;
    let text = &cursor.text()[at..cursor.at()];
    if kind == Kind::Number && !is_exact(text) {
        return Err(Refusal::Value(format!(
            "float64, which was inferred, cannot hold {} exactly: declare the columns in `source.schema`, all of them, this one as decimal(p,s), \
             or as float64 to have it rounded",
            shortened(text)
        )));
    }
    Ok(value)
}

/// What JSON has no number for, as Jackson writes it.
pub(crate) fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Whether a float64 keeps every digit of a JSON number: a whole one is the same number, and the nearest one to a fraction, written with
/// as many digits, is the fraction. So are all numbers of 15 digits and those that a program printed from a float64, but not
/// 9007199254740993.
#[inline]
pub(crate) fn is_exact(number: &str) -> bool {
    // Without an exponent, and with no more than 15 digits: all of them are kept.
    (number.len() <= 15 && !number.bytes().any(|b| b == b'e' || b == b'E')) || is_exact_slowly(number)
}

fn is_exact_slowly(number: &str) -> bool {
    if is_whole(number) {
        return number.parse::<i128>().is_ok_and(|whole| (whole as f64) as i128 == whole);
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    // `Double.toString` of Java before 19 now and then writes one digit more than the 17 that tell doubles apart.
    let digits_max = if mantissa.len() < number.len() { 18 } else { 17 };
    let all = || mantissa.bytes().filter(u8::is_ascii_digit);
    let trailing = all().rev().take_while(|digit| *digit == b'0').count();
    let digits = || all().skip_while(|digit| *digit == b'0');
    let significant = digits().count().saturating_sub(trailing);
    match significant {
        0 => return true,
        _ if significant <= digits_max => {}
        _ => return false,
    }
    let Ok(value) = number.parse::<f64>() else { return false };
    if !value.is_finite() || value == 0.0 {
        return false;
    }
    let written = format!("{:.*e}", significant - 1, value.abs());
    let kept = written.split('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit);
    kept.eq(digits().take(significant))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_up_to_the_last_bit() {
        assert_eq!(whole("9223372036854775807"), Some(i64::MAX));
        assert_eq!(whole("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("1.0"), None);
        assert_eq!(whole("-0"), Some(0));
    }

    #[test]
    fn a_float_keeps_what_it_can_give_back() {
        for exact in [
            "0",
            "-0.0",
            "0e999",
            "1",
            "-2.5",
            "0.1",
            "100000000000000000000",
            "4611686018427387904",
            "9007199254740992",
            "9007199254740994",
            "1e22",
            "123456789.012345",
            "1.7976931348623157e308",
            "2.2250738585072014E-308",
            "5e-324",
            "5.6843418860808015E-14",
            "0.30000000000000004",
            "-2.09189901893078502E18",
            "1.50000000000000000000000000",
        ] {
            assert!(is_exact(exact), "{exact}");
        }
        for inexact in [
            "9007199254740993",
            "-9007199254740993",
            "12345678901234567.89",
            "0.1234567890123456789",
            "12345678901234567",
            "1e400",
            "3e-324",
            "1e-400",
            "123456789012345678",
            "100000000000000000000000",
            "1.23456789012345678E5",
            "1.234567890123456789E18",
        ] {
            assert!(!is_exact(inexact), "{inexact}");
        }
    }

    proptest! {
        #[test]
        fn what_a_program_prints_of_a_float_is_exact(value in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            for text in [format!("{value:E}"), format!("{value:e}"), format!("{value:.16e}"), format!("{value:.17e}"), format!("{value:?}")] {
                prop_assert!(is_exact(&text), "{}", text);
            }
        }

        #[test]
        fn whole_numbers_are_exact_if_they_come_back(value in any::<i64>()) {
            prop_assert_eq!(is_exact(&value.to_string()), value as f64 as i128 == i128::from(value));
        }
    }
}
