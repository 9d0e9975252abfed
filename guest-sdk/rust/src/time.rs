//! Dates and timestamps as columns hold them. No clock: "now" is the batch's, see [`crate::Batch::now`].

use std::fmt;
use std::str::FromStr;

use crate::Error;

const DAY_US: i64 = 86_400_000_000;

/// A day of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    /// Days since 1970-01-01.
    pub days: i32,
}

impl Date {
    /// The day of so many days since 1970-01-01.
    pub const fn from_days(days: i32) -> Self {
        Self { days }
    }

    /// A day by year, month (1 to 12) and day (1 to 31), if there is such a one.
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        let date = Self { days: i32::try_from(days_of(i64::from(year), month, day)).ok()? };
        (date.ymd() == (year, month, day)).then_some(date)
    }

    /// Year, month (1 to 12) and day (1 to 31).
    pub fn ymd(self) -> (i32, u32, u32) {
        // Years begin in March here, so that the leap day is a year's last; an era is 400 years, 146,097 days.
        let days = i64::from(self.days) + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        // An i32 of days spans fewer than 6 million years.
        ((year + era * 400 + next_year) as i32, month as u32, day as u32)
    }
}

/// Days since 1970-01-01; a day beyond the month's end runs on into the next month.
pub(crate) fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * i64::from(month) + 2) / 5 + i64::from(day) - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2026-01-31`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse_date(text).ok_or_else(|| Error::new(format_args!("`{text}` is no date; write it like 2026-01-31")))
    }
}

fn parse_date(text: &str) -> Option<Date> {
    let (rest, day) = text.rsplit_once('-')?;
    let (year, month) = rest.rsplit_once('-')?;
    Date::from_ymd(year.parse().ok()?, digits(month, 2)?, digits(day, 2)?)
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub micros: i64,
}

impl Timestamp {
    /// The moment of so many microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// The moment of so many milliseconds since 1970-01-01T00:00:00Z; the farthest one if that is out of range.
    pub const fn from_millis(millis: i64) -> Self {
        Self { micros: millis.saturating_mul(1_000) }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded towards the past.
    pub const fn millis(self) -> i64 {
        self.micros.div_euclid(1_000)
    }

    /// The day, in UTC.
    pub fn date(self) -> Date {
        Date { days: self.micros.div_euclid(DAY_US) as i32 }
    }
}

/// RFC 3339 in UTC, with microseconds if there are any: `2026-01-31T12:00:00Z`, `2026-01-31T12:00:00.000001Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.micros.rem_euclid(DAY_US);
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        write!(f, "{}T{:02}:{:02}:{:02}", self.date(), seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if micros > 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("Z")
    }
}

/// RFC 3339: `2026-01-31T12:00:00.5+01:00`; what is finer than a microsecond is cut off.
impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse_timestamp(text)
            .ok_or_else(|| Error::new(format_args!("`{text}` is no timestamp; write it like 2026-01-31T12:00:00Z")))
    }
}

fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, offset_minutes) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (hours, minutes) = time[at + 1..].split_once(':')?;
            let minutes = i64::from(digits(hours, 2)?) * 60 + i64::from(digits(minutes, 2)?);
            (&time[..at], if time[at..].starts_with('-') { -minutes } else { minutes })
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = time.split(':').map(|part| digits(part, 2).map(i64::from));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros = fraction.bytes().chain([b'0'; 6]).take(6).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let seconds = (hours * 60 + minutes - offset_minutes) * 60 + seconds;
    let days = i64::from(parse_date(date)?.days);
    days.checked_mul(DAY_US)?.checked_add(seconds * 1_000_000 + micros).map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for (text, days) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("1969-12-31", -1), ("0000-03-01", -719_468)] {
            assert_eq!(Date::from_days(days).to_string(), text);
            assert_eq!(text.parse(), Ok(Date::from_days(days)));
        }
        for days in (-800_000..800_000).step_by(97) {
            let date = Date::from_days(days);
            let (year, month, day) = date.ymd();
            assert_eq!(Date::from_ymd(year, month, day), Some(date));
        }
        assert_eq!(Date::from_ymd(2026, 2, 29), None);
        assert!("2026-1-01".parse::<Date>().is_err());
    }

    #[test]
    fn timestamps_round_trip() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2026-01-31T12:00:00.500000Z", 1_769_860_800_500_000),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp::from_micros(micros)));
        }
        let shifted = "2026-01-31T13:00:00.5+01:00".parse::<Timestamp>();
        assert_eq!(shifted, "2026-01-31T12:00:00.5Z".parse());
        for wrong in ["2026-01-31", "2026-01-31T12:00Z", "2026-01-31T12:00:00", "2026-01-31T24:00:00Z", "T+", ""] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }
}
