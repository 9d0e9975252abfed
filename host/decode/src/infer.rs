//! Columns from the records themselves: what each column's values show, counted, so that the order of the records makes no difference; and
//! what becomes of a type when later records show more.

use std::sync::Arc;

use lakemill_model::{DataType, Field, RowSchema};

use crate::convert::{is_exact, is_whole, named, whole};
use crate::decoder::Alone;
use crate::framing::{Frame, split};
use crate::scan::{Broken, Cursor, Kind};

/// Digits before and after the point of the widest decimal.
const DIGITS_MAX: u64 = DataType::DECIMAL_PRECISION_MAX as u64;
/// The scale of an inferred decimal, where there is room for it: values that come later have room as well.
const SCALE: u64 = 18;

/// What the values of a column have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    booleans: u64,
    texts: u64,
    /// `NaN` and the infinities: text in JSON, and numbers.
    named: u64,
    objects: u64,
    numbers: u64,
    /// Of the numbers, those that are not written as whole ones.
    fractions: u64,
    /// Those that no float64 holds exactly.
    inexact: u64,
    /// Whole ones that take the sign's bit of 64, as unsigned columns have them.
    large: u64,
    /// Whole ones beyond 64 bits: a column's own, or one record's fault.
    huge: u64,
    /// The most digits before the point, and after it.
    digits: (u64, u64),
}

/// Who shows a type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The first batch that has the column.
    Batch,
    /// One record, later.
    Record,
}

impl Seen {
    fn add(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        let kind = cursor.kind()?;
        let text = cursor.skip()?;
        match kind {
            Kind::Null => {}
            Kind::Bool => self.booleans += 1,
            Kind::Text if named(text.trim_matches('"')).is_some() => self.named += 1,
            Kind::Text => self.texts += 1,
            Kind::Object | Kind::Array => self.objects += 1,
            Kind::Number => {
                self.numbers += 1;
                self.fractions += u64::from(!is_whole(text));
                self.inexact += u64::from(!is_exact(text));
                if is_whole(text) && whole(text).is_none() {
                    let is_unsigned = text.parse::<u64>().is_ok();
                    *(if is_unsigned { &mut self.large } else { &mut self.huge }) += 1;
                }
                let (before, after) = digits(text);
                self.digits = (self.digits.0.max(before), self.digits.1.max(after));
            }
        }
        Ok(())
    }

    /// The type that most values have; `None` if there was none but null. Of types that as many have, the one that takes more counts.
    fn data_type(&self, by: By) -> Option<DataType> {
        // A NaN stands beside numbers or beside texts; alone, it is what a program writes of a float.
        let is_number = self.numbers > 0 || self.texts == 0;
        let numbers = self.numbers + if is_number { self.named } else { 0 };
        let texts = self.texts + if is_number { 0 } else { self.named };
        let kinds = [
            (self.objects, DataType::Json),
            (texts, DataType::Text),
            (numbers, self.number(by)),
            (self.booleans, DataType::Boolean),
        ];
        let most = kinds.iter().map(|(count, _)| *count).max().filter(|most| *most > 0)?;
        kinds.into_iter().find(|(count, _)| *count == most).map(|(_, data_type)| data_type)
    }

    /// The type that keeps every digit of the numbers; float64 if none does: what it does not hold is refused.
    fn number(&self, by: By) -> DataType {
        let (before, after) = self.digits;
        if self.fractions == 0 && self.named == 0 {
            // Of one record it does not make another type of a column that thousands agree on.
            let are_huge = by == By::Batch && self.huge * 2 > self.numbers;
            let is_decimal = self.large > 0 || are_huge;
            return if is_decimal {
                DataType::Decimal { precision: DataType::DECIMAL_PRECISION_MAX, scale: 0 }
            } else {
                DataType::Int64
            };
        }
        if self.inexact == 0 || before.saturating_add(after) > DIGITS_MAX {
            return DataType::Float64;
        }
        let scale = after.max(SCALE.min(DIGITS_MAX - before));
        DataType::Decimal { precision: DataType::DECIMAL_PRECISION_MAX, scale: u8::try_from(scale).unwrap_or(u8::MAX) }
    }
}

/// How many digits a JSON number has before the point and after it, if it is written without an exponent and without zeros that say nothing.
fn digits(number: &str) -> (u64, u64) {
    let (mantissa, exponent) = match number.find(['e', 'E']) {
        // An exponent that is no number of 64 bits is out of every type's reach.
        Some(at) => (&number[..at], number[at + 1..].parse().unwrap_or(i64::from(i32::MAX))),
        None => (number, 0),
    };
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    let all = || whole.bytes().chain(fraction.bytes());
    let (Some(first), Some(last)) = (all().position(|b| b != b'0'), all().rev().position(|b| b != b'0')) else {
        return (0, 0);
    };
    // Places of the first and the last digit that counts, before the point: 1 is that of ones.
    let ones = whole.len() as i64;
    let first = (ones - first as i64).saturating_add(exponent);
    let last = (ones - (all().count() - 1 - last) as i64).saturating_add(exponent);
    (first.max(0).unsigned_abs(), last.saturating_sub(1).min(0).unsigned_abs())
}

/// Columns that values have shown, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown(Vec<(Arc<str>, Seen)>);

impl Shown {
    /// Adds what an object shows; other values show one column of the name `key`.
    fn add(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        if cursor.kind()? != Kind::Object {
            return self.column(0, "key").1.add(cursor);
        }
        let mut members = cursor.object()?;
        let mut expected = 0;
        while let Some(name) = cursor.member(&mut members)? {
            let (place, seen) = self.column(expected, &name);
            seen.add(cursor)?;
            expected = place + 1;
        }
        Ok(())
    }

    /// The column of that name, which is expected at a place.
    fn column(&mut self, expected: usize, name: &str) -> (usize, &mut Seen) {
        let is_it = |(known, _): &(Arc<str>, Seen)| **known == *name;
        let place = match self.0.get(expected) {
            Some(column) if is_it(column) => expected,
            _ => self.0.iter().position(is_it).unwrap_or_else(|| {
                self.0.push((name.into(), Seen::default()));
                self.0.len() - 1
            }),
        };
        (place, &mut self.0[place].1)
    }

    /// The columns that had a value, with the types that they show.
    pub fn fields(&self, by: By) -> Vec<Field> {
        let field = |(name, seen): &(Arc<str>, Seen)| Some(Field::new(name.clone(), seen.data_type(by)?, true));
        self.0.iter().filter_map(field).collect()
    }

    /// The names of all columns, with a value or without.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|(name, _)| name)
    }

    /// What a key without a schema part shows.
    pub fn of_key(key: &str, depth_max: usize) -> Option<Self> {
        let mut shown = Self::default();
        shown.add(&mut Cursor::new(key, depth_max)).ok()?;
        Some(shown)
    }
}

/// What the keys and the rows of records show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    key: Shown,
    /// The columns of `before` and `after`.
    pub row: Shown,
    /// How many changes it is of that have a row.
    pub changes: usize,
}

impl Sample {
    /// Adds a record, from its payload on. One that is broken, or is no change, shows nothing.
    pub fn add(&mut self, payload: Cursor<'_>, key: Option<&str>, depth_max: usize) {
        // Read twice: what is added is of records that are sound to their end.
        let Some((images, key)) = images(payload, key, depth_max) else { return };
        self.changes += usize::from(images.iter().any(Option::is_some));
        let added: Result<(), Broken> = images.into_iter().flatten().try_for_each(|mut image| self.row.add(&mut image));
        let added = added.and_then(|()| key.map_or(Ok(()), |mut key| self.key.add(&mut key)));
        debug_assert!(added.is_ok(), "they have been read");
    }

    /// The columns.
    pub fn schema(&self, by: By) -> RowSchema {
        let (key, mut row) = (self.key.fields(by), self.row.fields(by));
        if self.changes == 0 {
            // Deletes that say nothing but the key: it is the row.
            row.clone_from(&key);
        }
        with_key_types(RowSchema { key, row })
    }
}

/// Where a change's `before` and `after` are, and its key.
type Images<'a> = ([Option<Cursor<'a>>; 2], Option<Cursor<'a>>);

fn images<'a>(mut payload: Cursor<'a>, key: Option<&'a str>, depth_max: usize) -> Option<Images<'a>> {
    let mut alone = Alone(false);
    if let Frame::Framed { payload: at, alone: is_alone, schema, .. } = split(payload.text(), depth_max).ok()? {
        if schema.is_some() {
            // Its schema part says what it has.
            return None;
        }
        payload.seek(at);
        alone = is_alone;
    }
    let mut members = payload.object().ok()?;
    let (mut is_change, mut before, mut after) = (false, None, None);
    while let Some(name) = payload.member(&mut members).ok()? {
        let kind = payload.kind().ok()?;
        match &*name {
            "before" if kind == Kind::Object => before = Some(payload.clone()),
            "after" if kind == Kind::Object => after = Some(payload.clone()),
            "op" => is_change |= kind == Kind::Text,
            _ => {}
        }
        payload.skip().ok()?;
    }
    // A key that is not JSON has no columns.
    let key = key.and_then(|key| crate::decoder::key_payload(key, depth_max, alone));
    is_change.then_some(([before, after], key))
}

/// `known` with the columns of `more` that it lacks, and with the wider type of two numbers: a whole number's column takes a fraction. Any
/// other type that is known stays.
pub fn joined(mut known: RowSchema, more: RowSchema) -> RowSchema {
    for (known, more) in [(&mut known.key, more.key), (&mut known.row, more.row)] {
        for field in more {
            match known.iter_mut().find(|there| there.name == field.name) {
                Some(there) => there.data_type = wider(there.data_type, field.data_type),
                None => known.push(field),
            }
        }
    }
    with_key_types(known)
}

/// The type of a column whose values were of one type and are of another now.
///
/// An int64 becomes a decimal and not a float64: it holds every int64 exactly, and it is what Delta may widen a long to.
fn wider(known: DataType, shown: DataType) -> DataType {
    match (known, shown) {
        (DataType::Int64, DataType::Float64) => {
            DataType::Decimal { precision: DataType::DECIMAL_PRECISION_MAX, scale: SCALE as u8 }
        }
        // 19 digits before the point are those of an int64.
        (DataType::Int64, DataType::Decimal { precision: DataType::DECIMAL_PRECISION_MAX, scale }) if scale <= 19 => {
            shown
        }
        _ => known,
    }
}

/// Gives key columns the type of the row's column of that name: a key shows one value at a time, and a number may be whole by
/// chance.
fn with_key_types(mut schema: RowSchema) -> RowSchema {
    for field in &mut schema.key {
        if let Some(of_row) = schema.row.iter().find(|row| row.name == field.name) {
            field.data_type = of_row.data_type;
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Option<String> {
        let mut seen = Seen::default();
        for value in values {
            seen.add(&mut Cursor::new(value, 9)).expect("is JSON");
        }
        seen.data_type(By::Batch).map(|data_type| data_type.to_string())
    }

    #[test]
    fn the_type_keeps_every_digit() {
        for (values, expected) in [
            (&["1", "-2", "null"][..], "int64"),
            (&["1", "2.5"], "float64"),
            (&["1.0", "2.0"], "float64"),
            (&["9223372036854775807"], "int64"),
            (&["9223372036854775808", "1"], "decimal(38,0)"),
            (&["18446744073709551616", "1"], "int64"),
            (&["18446744073709551616", "99999999999999999999", "1"], "decimal(38,0)"),
            (&["9007199254740993", "0.5"], "decimal(38,18)"),
            (&["9007199254740992", "0.5"], "float64"),
            (&["12345678901234567.89", "0.10"], "decimal(38,18)"),
            (&["0.1234567890123456789", "1"], "decimal(38,19)"),
            (&["1234567890123456789012345678.12", "1"], "decimal(38,10)"),
            (&["1e300", "9007199254740993"], "float64"),
            (&["1e300", "1e-300"], "float64"),
            (&["\"NaN\"", "1"], "float64"),
            (&["\"NaN\""], "float64"),
            (&["\"NaN\"", "\"x\""], "text"),
            (&["\"Infinity\"", "1.5", "\"-Infinity\""], "float64"),
            (&["\"NaN\"", "9007199254740993"], "decimal(38,18)"),
            (&["true", "false"], "boolean"),
            (&["{}", "[]"], "json"),
            (&["\"a\"", "1", "2"], "int64"),
            (&["\"a\"", "1"], "text"),
        ] {
            assert_eq!(of(values).as_deref(), Some(expected), "{values:?}");
        }
        assert_eq!(of(&["null"]), None);
    }

    #[test]
    fn digits_are_counted_around_the_point() {
        for (number, expected) in [
            ("0", (0, 0)),
            ("-0.000", (0, 0)),
            ("100", (3, 0)),
            ("1.50", (1, 1)),
            ("0.0015", (0, 4)),
            ("00.5e1", (1, 0)),
            ("1.25e-3", (0, 5)),
            ("-12.5e2", (4, 0)),
            ("1e400", (401, 0)),
        ] {
            assert_eq!(digits(number), expected, "{number}");
        }
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i32>().prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| n.to_string()),
            (any::<i32>(), 0u32..1000).prop_map(|(n, f)| format!("{n}.{f:03}")),
            any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:?}")),
            "[1-9][0-9]{0,30}(\\.[0-9]{1,12})?",
            Just("\"NaN\"".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn the_order_makes_no_difference(mut values in prop::collection::vec(prop_oneof![number(), Just("\"t\"".into()), Just("{}".into()), Just("true".into())], 1..12), seed in any::<u64>()) {
            let list = |values: &[String]| of(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let before = list(&values);
            fastrand::Rng::with_seed(seed).shuffle(&mut values);
            prop_assert_eq!(before, list(&values));
        }

        #[test]
        fn a_decimal_has_room_for_all_numbers_of_its_sample(values in prop::collection::vec("[1-9][0-9]{0,20}(\\.[0-9]{1,17})?", 1..8)) {
            let found = of(&values.iter().map(String::as_str).collect::<Vec<_>>()).expect("has a type");
            if let Ok(DataType::Decimal { precision, scale }) = found.parse() {
                for value in &values {
                    let (before, after) = digits(value);
                    prop_assert!(after <= scale.into() && before <= u64::from(precision - scale), "{value} in {found}");
                }
            }
        }
    }
}
