//! A fixed-point number as decimal columns hold it: exact, small, without an arithmetic library.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::Error;

/// `unscaled / 10^scale`: 12.50 is 1250 with scale 2. Up to 38 digits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    unscaled: i128,
    scale: u8,
}

impl Decimal {
    /// `unscaled / 10^scale`. A scale above 38 counts as 38.
    pub const fn new(unscaled: i128, scale: u8) -> Self {
        Self { unscaled, scale: if scale > 38 { 38 } else { scale } }
    }

    /// The digits, without the point.
    pub const fn unscaled(self) -> i128 {
        self.unscaled
    }

    /// Digits after the point.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// The same number with another scale; none if digits would be lost, or if there would be too many.
    pub fn rescale(self, scale: u8) -> Option<Self> {
        let rounded = self.round(scale)?;
        (rounded == self).then_some(rounded)
    }

    /// The nearest number of that scale, halves away from zero; none if it would have too many digits.
    pub fn round(self, scale: u8) -> Option<Self> {
        if scale > 38 {
            return None;
        }
        let unscaled = if scale >= self.scale {
            self.unscaled.checked_mul(power(scale - self.scale))?
        } else {
            let divisor = power(self.scale - scale);
            let (quotient, rest) = (self.unscaled / divisor, self.unscaled % divisor);
            // No overflow: the divisor is at least 10.
            quotient + if rest.abs() >= divisor / 2 { self.unscaled.signum() } else { 0 }
        };
        Some(Self { unscaled, scale })
    }

    /// The sum, with the larger scale; none if it has too many digits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.round(scale)?, other.round(scale)?);
        Some(Self { unscaled: a.unscaled.checked_add(b.unscaled)?, scale })
    }

    /// The difference, with the larger scale; none if it has too many digits.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(Self { unscaled: other.unscaled.checked_neg()?, scale: other.scale })
    }

    /// The product, with the sum of the scales; none if it has too many digits.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let scale = self.scale.checked_add(other.scale).filter(|scale| *scale <= 38)?;
        Some(Self { unscaled: self.unscaled.checked_mul(other.unscaled)?, scale })
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        // Exact where both fit into a double, which is nearly always; elsewhere off by two roundings at most.
        self.unscaled as f64 / power(self.scale) as f64
    }

    /// True if a column of that precision can hold the digits.
    pub(crate) fn fits(self, precision: u8) -> bool {
        self.unscaled.unsigned_abs() < power(precision.min(38)).unsigned_abs()
    }
}

/// 10^exponent, for exponents up to 38.
fn power(exponent: u8) -> i128 {
    10_i128.pow(u32::from(exponent))
}

/// By value: 1.5 equals 1.50.
impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.unscaled.cmp(&other.unscaled);
        }
        // Whole parts first, then the rest on a common scale: neither can overflow.
        let parts = |d: &Self| (d.unscaled / power(d.scale), d.unscaled % power(d.scale));
        let scale = self.scale.max(other.scale);
        let ((a, rest_a), (b, rest_b)) = (parts(self), parts(other));
        let on_scale = |rest: i128, own: u8| rest * power(scale - own);
        a.cmp(&b).then_with(|| on_scale(rest_a, self.scale).cmp(&on_scale(rest_b, other.scale)))
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self { unscaled: value.into(), scale: 0 }
    }
}

/// All digits of the scale: `12.50`.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let (digits, scale) = (self.unscaled.unsigned_abs(), usize::from(self.scale));
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let divisor = power(self.scale).unsigned_abs();
        write!(f, "{sign}{}.{:0scale$}", digits / divisor, digits % divisor)
    }
}

/// The scale is the number of digits after the point. No exponents.
impl FromStr for Decimal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            Error::new(format_args!("`{text}` is no decimal of at most 38 digits; write it like -12.50"))
        })
    }
}

fn parse(text: &str) -> Option<Decimal> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut unscaled = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        unscaled = unscaled.checked_mul(10)?.checked_add(digit)?;
    }
    let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)?;
    Some(Decimal { unscaled: if negative { -unscaled } else { unscaled }, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    #[test]
    fn reads_and_writes() {
        for text in ["0", "-12.50", "0.07", "-0.01", "99999999999999999999999999999999999999"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        for wrong in ["", "-", ".", "1e3", "1.2.3", " 1", "999999999999999999999999999999999999999.9"] {
            assert!(wrong.parse::<Decimal>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn compares_by_value() {
        assert_eq!(decimal("1.5"), decimal("1.50"));
        assert!(decimal("-1.51") < decimal("-1.5"));
        assert!(
            decimal("99999999999999999999999999999999999999") > decimal("0.00000000000000000000000000000000000001")
        );
    }

    #[test]
    fn rounds_halves_away_from_zero_and_rescales_without_loss() {
        assert_eq!(decimal("1.005").round(2).map(|d| d.to_string()).as_deref(), Some("1.01"));
        assert_eq!(decimal("-1.005").round(2).map(|d| d.to_string()).as_deref(), Some("-1.01"));
        assert_eq!(decimal("1.004").round(2).map(|d| d.to_string()).as_deref(), Some("1.00"));
        assert_eq!(decimal("1.005").rescale(2), None);
        assert_eq!(decimal("1.5").rescale(2).map(|d| d.to_string()).as_deref(), Some("1.50"));
        assert!(decimal("999.99").fits(5) && !decimal("1000.00").fits(5));
    }

    #[test]
    fn computes() {
        let (a, b) = (decimal("10.00"), decimal("1.2"));
        assert_eq!(a.checked_mul(b).map(|d| d.to_string()).as_deref(), Some("12.000"));
        assert_eq!(a.checked_add(b).map(|d| d.to_string()).as_deref(), Some("11.20"));
        assert_eq!(b.checked_sub(a).map(|d| d.to_string()).as_deref(), Some("-8.80"));
        assert_eq!(Decimal::new(i128::MAX, 0).checked_mul(b), None);
        assert_eq!(decimal("12.50").to_f64(), 12.5);
    }
}
