//! Dates and timestamps as sources write them, told as the host's decoder takes them: what is out of a table's range is clamped.

use crate::Date;

const NS_PER_DAY: i128 = 86_400_000_000_000;
/// 0001-01-01 and 9999-12-31.
const DAYS: [i64; 2] = [-719_162, 2_932_896];
/// PostgreSQL's last date and the first day of the Julian calendar: what is beyond them is an infinity.
const DAYS_OF_ALL: [i64; 2] = [-2_440_588, 2_145_042_905];
/// PostgreSQL's timestamps are of these years.
const YEARS_OF_ALL: [i64; 2] = [-4_712, 294_276];

/// A moment, or one of PostgreSQL's infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment<T> {
    At(T),
    After,
    Before,
}

/// Days since 1970 in the range of a table.
pub(super) fn clamped_days(moment: Moment<i64>) -> i32 {
    let days = match moment {
        Moment::At(days) => days,
        Moment::After => i64::MAX,
        Moment::Before => i64::MIN,
    };
    days.clamp(DAYS[0], DAYS[1]) as i32
}

/// Microseconds since 1970 in the range of a table.
pub(super) fn clamped_micros(moment: Moment<i128>) -> i64 {
    let day_us = NS_PER_DAY / 1000;
    let micros = match moment {
        Moment::At(nanos) => nanos.div_euclid(1000),
        Moment::After => i128::MAX,
        Moment::Before => i128::MIN,
    };
    micros.clamp(i128::from(DAYS[0]) * day_us, (i128::from(DAYS[1]) + 1) * day_us - 1) as i64
}

/// Days since 1970 as Debezium writes them.
pub(super) fn day_of(days: i64) -> Moment<i64> {
    match days {
        -622_191_235..=-622_191_233 | -2_147_472_693..=-2_147_472_692 => Moment::After,
        _ if days < DAYS_OF_ALL[0] => Moment::Before,
        _ if days > DAYS_OF_ALL[1] => Moment::After,
        _ => Moment::At(days),
    }
}

/// So many units of so many nanoseconds since 1970, as nanoseconds; the infinities as Debezium writes them.
pub(super) fn instant_of(value: i64, nanos: i64) -> Moment<i128> {
    match (nanos, value) {
        (_, i64::MAX) | (1, -29_575_808_000) | (1_000, 9_223_372_036_825_200_000) => Moment::After,
        (_, i64::MIN) | (1, 22_375_808_000) | (1_000, -9_223_372_036_832_400_000) => Moment::Before,
        (1_000_000, 9_223_372_036_825_200 | 9_223_372_036_825_200_000) => Moment::After,
        (1_000_000, -9_223_372_036_832_400 | -9_223_372_036_832_400_000) => Moment::Before,
        _ => Moment::At(i128::from(value) * i128::from(nanos)),
    }
}

/// Whether a moment is of these years, or one that people write for "no end".
pub(super) fn is_of_years(moment: Moment<i128>, (first, last): (i64, i64)) -> bool {
    let Moment::At(nanos) = moment else { return true };
    DAYS.contains(&day(nanos)) || (first..=last).contains(&year(nanos))
}

/// 9999-12-31T23:59:59.999Z in milliseconds: people write it for "no end".
const MS_MAX: u128 = 253_402_300_799_999;

/// Whether a number of microseconds cannot be another unit as well: of the believed years, and not too near 1970.
pub(super) fn is_plausible(moment: Moment<i128>, (first, last): (i64, i64)) -> bool {
    let Moment::At(nanos) = moment else { return true };
    (first..=last).contains(&year(nanos)) && nanos.unsigned_abs() > MS_MAX * 1_000
}

/// Whether a day is of these years, or one that people write for "no end".
pub(super) fn is_day_of_years(day: Moment<i64>, (first, last): (i64, i64)) -> bool {
    let Moment::At(days) = day else { return true };
    DAYS.contains(&days) || (first..=last).contains(&year_of(days))
}

fn day(nanos: i128) -> i64 {
    i64::try_from(nanos.div_euclid(NS_PER_DAY)).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

fn year(nanos: i128) -> i64 {
    year_of(day(nanos))
}

fn year_of(days: i64) -> i64 {
    let days = days.clamp(i32::MIN.into(), i32::MAX.into());
    i64::from(Date::from_days(days as i32).ymd().0)
}

/// ISO 8601 with years of more than four digits, or an infinity; perhaps a `Z` after it.
pub(super) fn parse_date(text: &str) -> Option<Moment<i64>> {
    match text {
        "infinity" => return Some(Moment::After),
        "-infinity" => return Some(Moment::Before),
        _ => {}
    }
    let mut rest = Rest(text.as_bytes());
    let days = rest.days()?;
    rest.one_of(b"Zz");
    rest.0.is_empty().then(|| day_of(days))
}

/// ISO 8601 in every form that `java.time` prints, or an infinity. Without a zone it is UTC.
pub(super) fn parse_timestamp(text: &str) -> Option<Moment<i128>> {
    match text {
        "infinity" => return Some(Moment::After),
        "-infinity" => return Some(Moment::Before),
        _ => {}
    }
    let mut rest = Rest(text.as_bytes());
    let days = rest.days()?;
    rest.one_of(b"Tt ")?;
    let time = rest.nanos_of_day()?;
    let offset = rest.offset_seconds()?;
    if !rest.0.is_empty() {
        return None;
    }
    let midnight = i128::from(days) * NS_PER_DAY;
    Some(match year(midnight) {
        year if year < YEARS_OF_ALL[0] => Moment::Before,
        year if year > YEARS_OF_ALL[1] => Moment::After,
        _ => Moment::At(midnight + i128::from(time) - i128::from(offset) * 1_000_000_000),
    })
}

/// What is left of a text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| self.0 = rest)?;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> Option<u8> {
        self.one_of(&[byte])
    }

    /// A number of at least `low` and at most `high` digits.
    fn digits(&mut self, low: usize, high: usize) -> Option<i64> {
        let count = self.0.iter().take(high).take_while(|byte| byte.is_ascii_digit()).count();
        if count < low {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn days(&mut self) -> Option<i64> {
        let sign = self.one_of(b"+-");
        let year = self.digits(4, if sign.is_some() { 9 } else { 4 })?;
        self.take(b'-')?;
        let month = self.digits(2, 2)?;
        self.take(b'-')?;
        let day = self.digits(2, 2)?;
        days_from(if sign == Some(b'-') { -year } else { year }, month, day)
    }

    fn nanos_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2, 2).filter(|hour| *hour < 24)?;
        self.take(b':')?;
        let minute = self.digits(2, 2).filter(|minute| *minute < 60)?;
        let mut nanos = (hour * 60 + minute) * 60_000_000_000;
        if self.take(b':').is_none() {
            return Some(nanos);
        }
        nanos += self.digits(2, 2).filter(|second| *second <= 60)? * 1_000_000_000;
        if self.take(b'.').is_some() {
            let before = self.0.len();
            let fraction = self.digits(1, 9)?;
            nanos += fraction * 10_i64.pow(9 - (before - self.0.len()) as u32);
        }
        Some(nanos)
    }

    /// Nothing, `Z`, `+02`, `+0200`, `+02:00` or `+02:00:30`, and a zone's name in brackets.
    fn offset_seconds(&mut self) -> Option<i64> {
        let sign = self.one_of(b"Zz+-").filter(|sign| matches!(sign, b'+' | b'-'));
        let mut offset = 0;
        if let Some(sign) = sign {
            let hours = self.digits(2, 2).filter(|hours| *hours <= 18)?;
            let has_colon = self.take(b':').is_some();
            let minutes = if has_colon || !self.0.is_empty() { self.digits(2, 2) } else { None };
            let seconds = if has_colon && self.take(b':').is_some() { self.digits(2, 2)? } else { 0 };
            offset = (hours * 60 + minutes.unwrap_or(0)) * 60 + seconds;
            (!has_colon || minutes.is_some()).then_some(())?;
            offset *= if sign == b'-' { -1 } else { 1 };
        }
        if self.take(b'[').is_some() {
            let end = self.0.iter().position(|byte| *byte == b']')?;
            self.0 = &self.0[end + 1..];
        }
        Some(offset)
    }
}

/// Days since 1970 of a date, if there is such a one.
fn days_from(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=length).contains(&day).then(|| crate::time::days_of(year, month as u32, day as u32))
}
