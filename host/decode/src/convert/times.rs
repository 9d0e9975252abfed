//! Dates, timestamps and times: in which forms Debezium writes them, PostgreSQL's infinities among them, and what becomes of those that no
//! table can hold.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use lakemill_model::range::{self, Treated};
use lakemill_model::{DataType, OutOfRange};

use super::numbers::int;
use super::{Refusal, Values, mismatch, shortened};
use crate::column::Builder;
use crate::scan::{Cursor, Kind};

const NS_PER_DAY: i128 = 86_400_000_000_000;
/// The Julian calendar's first day and more: no database has a date before it, so what is before it stands for something else.
const DAY_MIN: i64 = -2_440_588;
/// 5874897-12-31, PostgreSQL's last date.
const DAY_MAX: i64 = 2_145_042_905;
/// PostgreSQL's timestamps are of these years, 4713 BC being -4712.
const YEARS: RangeInclusive<i64> = -4_712..=294_276;

/// How a column's dates are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DateForm {
    /// Days since 1970 or ISO 8601 text, which cannot be taken for each other; and of which years days are that are believed.
    Either((i32, i32)),
    /// Days since 1970; the schema part says so.
    Days,
    /// Days since 1970; the pipeline file says so, and of which years they are.
    Declared((i32, i32)),
    /// ISO 8601 text.
    Iso,
}

/// How a column's timestamps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimestampForm {
    /// ISO 8601 text, or microseconds where they can be nothing else.
    Either,
    /// ISO 8601 text.
    Iso,
    /// So many nanoseconds; the schema part says so.
    Of(i64),
    /// So many nanoseconds; the pipeline file says so, and of which years they are.
    Declared {
        /// Of a unit.
        nanos: i64,
        /// The first and the last year that is believed.
        years: (i32, i32),
    },
}

/// Years that are believed of days, and of a timestamp of a declared unit, if the pipeline file does not say others.
pub(crate) const YEARS_BELIEVED: (i32, i32) = (1900, 2200);

/// Units by their names in the pipeline file, in nanoseconds.
pub(crate) const UNITS: [(&str, i64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// An instant, or a day, or one of PostgreSQL's infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment<T> {
    /// This one.
    At(T),
    /// `infinity`.
    After,
    /// `-infinity`.
    Before,
}

/// Days since 1970 as Debezium writes them.
///
/// PostgreSQL's infinities are no fixed numbers: a snapshot takes them through `java.sql.Date`, whose year loses its sign and whose day
/// depends on the JVM's time zone; the stream parses -5877611-06-21 for `infinity`, since dbz#2524 +5877611-06-21, and -5877611-06-22
/// for `-infinity`. No database has a real date where any of them is.
pub(crate) fn day_of(days: i64) -> Moment<i64> {
    match days {
        -622_191_235..=-622_191_233 | -2_147_472_693..=-2_147_472_692 => Moment::After,
        ..DAY_MIN => Moment::Before,
        _ if days > DAY_MAX => Moment::After,
        _ => Moment::At(days),
    }
}

/// `value` units of `nanos` nanoseconds since 1970 as nanoseconds.
///
/// PostgreSQL's infinities: Debezium takes the JDBC driver's milliseconds for microseconds (dbz#2524 mends it), and overflowed when it made
/// nanoseconds of them (dbz#1833 mends it, and writes the largest and smallest number). No real timestamp is at any of them.
pub(crate) fn instant_of(value: i64, nanos: i64) -> Moment<i128> {
    match (nanos, value) {
        (_, i64::MAX) | (1, -29_575_808_000) | (1_000, 9_223_372_036_825_200_000) => Moment::After,
        (_, i64::MIN) | (1, 22_375_808_000) | (1_000, -9_223_372_036_832_400_000) => Moment::Before,
        (1_000_000, 9_223_372_036_825_200 | 9_223_372_036_825_200_000) => Moment::After,
        (1_000_000, -9_223_372_036_832_400 | -9_223_372_036_832_400_000) => Moment::Before,
        _ => Moment::At(i128::from(value) * i128::from(nanos)),
    }
}

pub(super) fn date(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    data_type: DataType,
    form: DateForm,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let moment = match (kind, form) {
        (Kind::Text, DateForm::Either(_) | DateForm::Iso) => {
            let text = cursor.string()?;
            if values.placeholder.is_text(&text) {
                out.unchanged();
                return Ok(());
            }
            parse_date(&text)
                .ok_or_else(|| Refusal::Value(format!("expected a date like 2026-01-31, found {}", shortened(&text))))?
        }
        (Kind::Number, DateForm::Either(_) | DateForm::Days | DateForm::Declared(_)) => {
            let days = int(cursor, kind, i32::MIN.into(), i32::MAX.into(), "a date as days since 1970")?;
            let moment = day_of(days);
            if let DateForm::Either(years) | DateForm::Declared(years) = form {
                believed_day(days, moment, years).map_err(Refusal::Value)?;
            }
            moment
        }
        (_, DateForm::Either(_)) => return mismatch(cursor, kind, "a date as days since 1970 or text like 2026-01-31"),
        (_, DateForm::Days | DateForm::Declared(_)) => return mismatch(cursor, kind, "a date as days since 1970"),
        (_, DateForm::Iso) => return mismatch(cursor, kind, "a date as text like 2026-01-31"),
    };
    let shown = || {
        let mut text = String::new();
        write_day(moment, &mut text);
        text
    };
    if data_type == DataType::Text {
        out.bytes(shown().as_bytes());
        return Ok(());
    }
    let beyond = match moment {
        Moment::At(days) => match range::date(days) {
            Ok(days) => {
                out.int32(days);
                return Ok(());
            }
            Err(beyond) => beyond,
        },
        Moment::After => range::Beyond::Above,
        Moment::Before => range::Beyond::Below,
    };
    match values.out_of_range.date(beyond) {
        Treated::Value(days) => out.treated(|out| out.int32(days)),
        Treated::Null => out.treated(Builder::null),
        Treated::Dead => return Err(out_of_range(&shown(), "date")),
    }
    Ok(())
}

pub(super) fn timestamp(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    data_type: DataType,
    form: TimestampForm,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let moment = match (kind, form) {
        (Kind::Number, TimestampForm::Of(nanos)) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a timestamp as a whole number")?;
            match ordinary(value, nanos) {
                Some(us) if data_type == DataType::Timestamp => {
                    out.int64(us);
                    return Ok(());
                }
                _ => instant_of(value, nanos),
            }
        }
        (Kind::Number, TimestampForm::Declared { nanos, years }) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a timestamp as a whole number")?;
            let moment = instant_of(value, nanos);
            believed(value, nanos, moment, years).map_err(Refusal::Value)?;
            moment
        }
        (Kind::Number, TimestampForm::Either) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a timestamp as microseconds or ISO 8601 text")?;
            microseconds(value).map_err(Refusal::Value)?
        }
        (Kind::Text, TimestampForm::Either | TimestampForm::Iso) => {
            let text = cursor.string()?;
            if values.placeholder.is_text(&text) {
                out.unchanged();
                return Ok(());
            }
            parse_timestamp(&text).ok_or_else(|| {
                Refusal::Value(format!("expected a timestamp like 2026-01-31T12:00:00Z, found {}", shortened(&text)))
            })?
        }
        (_, TimestampForm::Either | TimestampForm::Iso) => {
            return mismatch(cursor, kind, "a timestamp as text like 2026-01-31T12:00:00Z");
        }
        (_, TimestampForm::Of(_) | TimestampForm::Declared { .. }) => {
            return mismatch(cursor, kind, "a timestamp as a whole number");
        }
    };
    if data_type == DataType::Text {
        let mut text = String::new();
        write_instant(moment, &mut text);
        out.bytes(text.as_bytes());
        return Ok(());
    }
    let beyond = match moment {
        Moment::At(ns) => match range::timestamp(ns.div_euclid(1000)) {
            Ok(us) => {
                out.int64(us);
                return Ok(());
            }
            Err(beyond) => beyond,
        },
        Moment::After => range::Beyond::Above,
        Moment::Before => range::Beyond::Below,
    };
    match values.out_of_range.timestamp(beyond) {
        Treated::Value(us) => out.treated(|out| out.int64(us)),
        Treated::Null => out.treated(Builder::null),
        Treated::Dead => {
            let mut text = String::new();
            write_instant(moment, &mut text);
            return Err(out_of_range(&text, "timestamp"));
        }
    }
    Ok(())
}

fn out_of_range(shown: &str, of: &str) -> Refusal {
    Refusal::Value(format!(
        "{shown} is out of range for a {of}, which is of the years 1 to 9999; `source.out_of_range` may be clamp, null or text instead"
    ))
}

/// A time of day in units of `nanos` nanoseconds, as microseconds.
pub(super) fn time(cursor: &mut Cursor<'_>, kind: Kind, nanos: i64) -> Result<i64, Refusal> {
    let value = int(cursor, kind, i64::MIN, i64::MAX, "a time as a whole number")?;
    let us = if nanos >= 1000 { value.checked_mul(nanos / 1000) } else { Some(value.div_euclid(1000 / nanos)) };
    us.ok_or_else(|| Refusal::Value(format!("{value} is out of range for a time")))
}

/// The microseconds of nearly every timestamp; `None` for one that is out of range, or an infinity.
#[inline]
fn ordinary(value: i64, nanos: i64) -> Option<i64> {
    let us = if nanos >= 1000 { value.checked_mul(nanos / 1000)? } else { value.div_euclid(1000 / nanos) };
    // In units of less than a microsecond an infinity may be in range.
    let is_in = (range::TIMESTAMP_MIN..=range::TIMESTAMP_MAX).contains(&us);
    (is_in && (nanos >= 1000 || matches!(instant_of(value, nanos), Moment::At(_)))).then_some(us)
}

/// Whether `years` have a day, as [`believed`].
fn believed_day(days: i64, moment: Moment<i64>, years: (i32, i32)) -> Result<(), String> {
    let Moment::At(day) = moment else { return Ok(()) };
    let (year, ..) = civil(day);
    if is_of_years(day, years) {
        return Ok(());
    }
    let mut text = String::new();
    write_day(moment, &mut text);
    let (from, to) = years;
    Err(format!(
        "{days} days since 1970 are {text}, and the years {from} to {to} are believed: declare other `years: [{year}, …]` if it is right"
    ))
}

/// Of these years, or one of the ends that people write.
fn is_of_years(day: i64, (first, last): (i32, i32)) -> bool {
    let is_end = day == i64::from(range::DATE_MAX) || day == i64::from(range::DATE_MIN);
    is_end || (i64::from(first)..=i64::from(last)).contains(&civil(day).0)
}

/// Whether `years` have it. The last day of the year 9999 and the first of the year 1 are ends that people write, and infinities are no
/// mistake either.
fn believed(value: i64, nanos: i64, moment: Moment<i128>, years: (i32, i32)) -> Result<(), String> {
    let Moment::At(ns) = moment else { return Ok(()) };
    let day = day(ns);
    let (year, ..) = civil(day);
    if is_of_years(day, years) {
        return Ok(());
    }
    let (unit, _) = UNITS.iter().find(|(_, of)| *of == nanos).expect("of a form");
    let (from, to) = years;
    Err(format!(
        "{value} as {unit} is {}, and the years {from} to {to} are believed: declare {}, or other `years: [{year}, …]` if it is right",
        shown(ns),
        units_of(value)
    ))
}

/// A number without a declared unit: microseconds, unless it can be another unit as well.
fn microseconds(value: i64) -> Result<Moment<i128>, String> {
    let moment = instant_of(value, 1000);
    match moment {
        Moment::At(ns) if !is_plausible(ns) || value.unsigned_abs() <= MS_MAX => {
            Err(format!("{value} as microseconds is {}: declare the column's unit, {}", shown(ns), units_of(value)))
        }
        moment => Ok(moment),
    }
}

/// 9999-12-31T23:59:59.999Z in milliseconds: people write it for "no end".
const MS_MAX: u64 = 253_402_300_799_999;

/// Of the believed years, and not so near 1970 that it could be a number of a unit a thousand times as large.
fn is_plausible(ns: i128) -> bool {
    let (year, ..) = civil(day(ns));
    let days = day(ns).unsigned_abs();
    (i64::from(YEARS_BELIEVED.0)..=i64::from(YEARS_BELIEVED.1)).contains(&year) && days > 84
}

/// The forms to declare for a number, with what it is in each.
fn units_of(value: i64) -> String {
    let plausible = |(unit, nanos): &(&str, i64)| {
        let ns = i128::from(value) * i128::from(*nanos);
        is_plausible(ns).then(|| format!("`form: {unit}` ({})", shown(ns)))
    };
    let found: Vec<String> = UNITS.iter().filter_map(plausible).collect();
    if found.is_empty() { "`form: s`, `ms`, `us` or `ns`".into() } else { found.join(" or ") }
}

fn shown(ns: i128) -> String {
    let mut text = String::new();
    write_instant(Moment::At(ns), &mut text);
    text
}

fn day(ns: i128) -> i64 {
    i64::try_from(ns.div_euclid(NS_PER_DAY)).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// Year, month and day of the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u8, u8) {
    // Years that begin in March, in eras of 400: the leap day is the last of its year.
    let since_march = days.saturating_add(719_468);
    let (era, day) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

/// Days since 1970 of a date of the proleptic Gregorian calendar; `None` if there is no such date.
fn days_from(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let march = year - i64::from(month <= 2);
    let (era, of_era) = (march.div_euclid(400), march.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// ISO 8601: years of more than four digits have a sign.
pub(crate) fn write_day(moment: Moment<i64>, out: &mut String) {
    let written = match moment {
        Moment::After => out.write_str("infinity"),
        Moment::Before => out.write_str("-infinity"),
        Moment::At(days) => {
            let (year, month, day) = civil(days);
            let written = match year {
                0..=9999 => write!(out, "{year:04}"),
                ..0 => write!(out, "-{:04}", year.unsigned_abs()),
                _ => write!(out, "+{year}"),
            };
            written.and_then(|()| write!(out, "-{month:02}-{day:02}"))
        }
    };
    written.expect("a String takes everything");
}

/// ISO 8601 in UTC, with as many groups of three digits after the point as it takes.
pub(crate) fn write_instant(moment: Moment<i128>, out: &mut String) {
    let ns = match moment {
        Moment::After => return write_day(Moment::After, out),
        Moment::Before => return write_day(Moment::Before, out),
        Moment::At(ns) => ns,
    };
    write_day(Moment::At(day(ns)), out);
    out.push('T');
    write_time(ns.rem_euclid(NS_PER_DAY) as i64, out);
    out.push('Z');
}

/// A time of day, or a span of less than 100 hours, from its nanoseconds.
pub(crate) fn write_time(ns: i64, out: &mut String) {
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    write!(out, "{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        .and_then(|()| match fraction {
            0 => Ok(()),
            _ if fraction % 1_000_000 == 0 => write!(out, ".{:03}", fraction / 1_000_000),
            _ if fraction % 1_000 == 0 => write!(out, ".{:06}", fraction / 1_000),
            _ => write!(out, ".{fraction:09}"),
        })
        .expect("a String takes everything");
}

/// What is left of a text that is being parsed.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, byte: u8) -> Option<()> {
        self.one_of(&[byte]).map(drop)
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| self.0 = rest)?;
        Some(*first)
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

    /// A date: a year of four digits, or of more with a sign.
    fn days(&mut self) -> Option<i64> {
        let sign = self.one_of(b"+-");
        let year = self.digits(4, if sign.is_some() { 9 } else { 4 })?;
        self.take(b'-')?;
        let month = self.digits(2, 2)?;
        self.take(b'-')?;
        let day = self.digits(2, 2)?;
        days_from(if sign == Some(b'-') { -year } else { year }, month, day)
    }

    /// A time of day; its seconds and their fraction may be left out.
    fn time_ns(&mut self) -> Option<i64> {
        let hour = self.digits(2, 2).filter(|hour| *hour < 24)?;
        self.take(b':')?;
        let minute = self.digits(2, 2).filter(|minute| *minute < 60)?;
        let mut ns = (hour * 60 + minute) * 60_000_000_000;
        if self.take(b':').is_none() {
            return Some(ns);
        }
        // A leap second counts as the first second of the next minute, as chrono and PostgreSQL have it.
        ns += self.digits(2, 2).filter(|second| *second <= 60)? * 1_000_000_000;
        if self.take(b'.').is_some() {
            let before = self.0.len();
            let fraction = self.digits(1, 9)?;
            ns += fraction * 10i64.pow(9 - (before - self.0.len()) as u32);
        }
        Some(ns)
    }

    /// How far local time is ahead of UTC, in seconds: nothing, `Z`, `+02`, `+0200`, `+02:00` or `+02:00:30`, and the zone's name in brackets.
    fn offset_s(&mut self) -> Option<i64> {
        let sign = match self.one_of(b"Zz+-") {
            None | Some(b'Z' | b'z') => None,
            Some(sign) => Some(sign),
        };
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

/// A date as text: ISO 8601, with years that have a sign, or an infinity. Debezium's `isostring` mode adds a `Z`.
pub(crate) fn parse_date(text: &str) -> Option<Moment<i64>> {
    match text {
        "infinity" => return Some(Moment::After),
        "-infinity" => return Some(Moment::Before),
        _ => {}
    }
    let mut rest = Rest(text.as_bytes());
    let days = rest.days()?;
    let _ = rest.one_of(b"Zz");
    rest.0.is_empty().then(|| day_of(days))
}

/// A timestamp as text, in every form that `java.time` prints one, or an infinity. Without a zone it is UTC.
pub(crate) fn parse_timestamp(text: &str) -> Option<Moment<i128>> {
    match text {
        "infinity" => return Some(Moment::After),
        "-infinity" => return Some(Moment::Before),
        _ => {}
    }
    let mut rest = Rest(text.as_bytes());
    let days = rest.days()?;
    rest.one_of(b"Tt ")?;
    let time = rest.time_ns()?;
    let offset = rest.offset_s()?;
    if !rest.0.is_empty() {
        return None;
    }
    let (year, ..) = civil(days);
    Some(match year {
        // Debezium prints the `-infinity` of a timestamptz[] without its sign.
        292_269_055 => Moment::Before,
        _ if year < *YEARS.start() => Moment::Before,
        _ if year > *YEARS.end() => Moment::After,
        _ => Moment::At(i128::from(days) * NS_PER_DAY + i128::from(time) - i128::from(offset) * 1_000_000_000),
    })
}

/// Writes a date into JSON text, as the policy has it if it is out of range: whether it was.
pub(super) fn write_date_json(moment: Moment<i64>, policy: OutOfRange, out: &mut String) -> Result<bool, Refusal> {
    let is_in = |days: i64| range::date(days).map(drop);
    let bound = |treated: Treated<i32>| treated.map(i64::from);
    write_json(moment, policy, is_in, |beyond| bound(policy.date(beyond)), write_day, "date", out)
}

/// Writes an instant into JSON text, as the policy has it if it is out of range: whether it was.
pub(super) fn write_instant_json(moment: Moment<i128>, policy: OutOfRange, out: &mut String) -> Result<bool, Refusal> {
    let is_in = |ns: i128| range::timestamp(ns.div_euclid(1000)).map(drop);
    let bound = |treated: Treated<i64>| treated.map(|us| i128::from(us) * 1000);
    write_json(moment, policy, is_in, |beyond| bound(policy.timestamp(beyond)), write_instant, "timestamp", out)
}

fn write_json<T: Copy>(
    moment: Moment<T>,
    policy: OutOfRange,
    is_in: impl Fn(T) -> Result<(), range::Beyond>,
    treat: impl Fn(range::Beyond) -> Treated<T>,
    write: impl Fn(Moment<T>, &mut String),
    of: &str,
    out: &mut String,
) -> Result<bool, Refusal> {
    let beyond = match moment {
        Moment::At(value) => is_in(value).err(),
        Moment::After => Some(range::Beyond::Above),
        Moment::Before => Some(range::Beyond::Below),
    };
    let (moment, is_treated) = match beyond {
        Some(beyond) if policy != OutOfRange::Text => match treat(beyond) {
            Treated::Value(value) => (Moment::At(value), true),
            Treated::Null => {
                out.push_str("null");
                return Ok(true);
            }
            Treated::Dead => {
                let mut shown = String::new();
                write(moment, &mut shown);
                return Err(out_of_range(&shown, of));
            }
        },
        _ => (moment, false),
    };
    out.push('"');
    write(moment, out);
    out.push('"');
    Ok(is_treated)
}
