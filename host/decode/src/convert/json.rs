//! JSON columns: values as they come, text that holds JSON, and arrays, maps and structs whose elements have types of their own.

use serde::de::IgnoredAny;

use super::numbers::int;
use super::times::{day_of, instant_of, parse_timestamp, write_date_json, write_instant_json, write_time};
use super::{Refusal, Values, append_made, check_room, decimals, mismatch, shortened};
use crate::column::Builder;
use crate::scan::{Cursor, Kind};

/// What the parts of an array, a map or a struct are, by its schema part: a table keeps no schema part, so a value whose scale or unit
/// stands there is written so that it can be read without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// What says everything itself; it stays as it is.
    Plain,
    /// Days since 1970.
    Date,
    /// So many nanoseconds since 1970.
    Timestamp(i64),
    /// ISO 8601, or an infinity.
    Zoned,
    /// A time of day in so many nanoseconds.
    Time(i64),
    /// Connect's Decimal of this scale.
    Decimal(i32),
    /// Debezium's VariableScaleDecimal.
    VariableScale,
    /// Elements, and how Connect calls their type.
    Array(Box<Shape>, Box<str>),
    /// Values of a map; keys that are no text make an array of pairs of it.
    Map(Box<Shape>, Box<Shape>),
    /// Members of a struct that are not plain.
    Struct(Vec<(Box<str>, Shape)>),
}

/// A JSON column: text holds the JSON itself (Debezium's Json type). Text that holds none (MariaDB's JSON is text that nobody checks, MySQL
/// may have an empty one) becomes a JSON string, so that the cell is JSON and nothing is lost.
pub(super) fn json(cursor: &mut Cursor<'_>, kind: Kind, values: &Values, out: &mut Builder) -> Result<(), Refusal> {
    if kind == Kind::Text {
        let value = cursor.string()?;
        if values.placeholder.is_text(&value) {
            out.unchanged();
        } else if serde_json::from_str::<IgnoredAny>(&value).is_ok() {
            out.bytes(value.as_bytes());
        } else {
            append_made(out, &serde_json::to_string(&value).expect("text"))?;
        }
        return Ok(());
    }
    let value = cursor.skip()?;
    if values.placeholder.is_json(value, None) {
        out.unchanged();
    } else {
        out.bytes(value.as_bytes());
    }
    Ok(())
}

/// A JSON column whose parts have types.
pub(super) fn nested(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    shape: &Shape,
    values: &Values,
    out: &mut Builder,
) -> Result<(), Refusal> {
    let at = cursor.at();
    let elements = match shape {
        Shape::Array(_, of) => Some(&**of),
        _ => None,
    };
    let value = cursor.skip()?;
    if values.placeholder.is_json(value, elements)
        || (kind == Kind::Text && values.placeholder.is_text(value.trim_matches('"')))
    {
        out.unchanged();
        return Ok(());
    }
    cursor.seek(at);
    let mut text = String::with_capacity(value.len() * 2);
    let is_treated = write(cursor, shape, values, &mut text)?;
    check_room(out, text.len())?;
    if is_treated {
        out.treated(|out| out.bytes(text.as_bytes()));
    } else {
        out.bytes(text.as_bytes());
    }
    Ok(())
}

/// Writes the next value so that it can be read without its schema part: whether one was out of range.
fn write(cursor: &mut Cursor<'_>, shape: &Shape, values: &Values, out: &mut String) -> Result<bool, Refusal> {
    let kind = cursor.kind()?;
    if kind == Kind::Null || *shape == Shape::Plain {
        out.push_str(cursor.skip()?);
        return Ok(false);
    }
    match shape {
        Shape::Date => {
            let days = int(cursor, kind, i32::MIN.into(), i32::MAX.into(), "a date as days since 1970")?;
            write_date_json(day_of(days), values.out_of_range, out)
        }
        Shape::Timestamp(nanos) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a timestamp as a whole number")?;
            write_instant_json(instant_of(value, *nanos), values.out_of_range, out)
        }
        Shape::Zoned if kind == Kind::Text => {
            let at = cursor.at();
            let text = cursor.string()?;
            let moment = parse_timestamp(&text).ok_or_else(|| {
                Refusal::Value(format!("expected a timestamp like 2026-01-31T12:00:00Z, found {}", shortened(&text)))
            })?;
            let (written, mut bounded) = (&cursor.text()[at..cursor.at()], String::new());
            // What is in range stays as it is written, with its zone.
            let is_treated = write_instant_json(moment, values.out_of_range, &mut bounded)?;
            out.push_str(if is_treated { &bounded } else { written });
            Ok(is_treated)
        }
        Shape::Zoned => mismatch(cursor, kind, "a timestamp as text like 2026-01-31T12:00:00Z"),
        Shape::Time(nanos) => {
            let value = int(cursor, kind, i64::MIN, i64::MAX, "a time as a whole number")?;
            let ns = value.checked_mul(*nanos);
            let ns = ns.ok_or_else(|| Refusal::Value(format!("{value} is out of range for a time")))?;
            out.push('"');
            write_time(ns, out);
            out.push('"');
            Ok(false)
        }
        Shape::Decimal(scale) => {
            out.push_str(&decimals::wide_text(cursor, kind, *scale)?);
            Ok(false)
        }
        Shape::VariableScale => {
            out.push_str(&decimals::variable_scale_text(cursor, kind)?);
            Ok(false)
        }
        Shape::Array(element, _) => {
            write_array(cursor, kind, out, |cursor, _, out| write(cursor, element, values, out))
        }
        Shape::Map(_, value) if kind == Kind::Object => {
            write_object(cursor, out, |cursor, _, out| write(cursor, value, values, out))
        }
        Shape::Map(key, value) => write_array(cursor, kind, out, |cursor, _, out| {
            let kind = cursor.kind()?;
            let of = [&**key, &**value];
            write_array(cursor, kind, out, |cursor, place, out| {
                write(cursor, of.get(place).unwrap_or(&&Shape::Plain), values, out)
            })
        }),
        Shape::Struct(members) if kind == Kind::Object => write_object(cursor, out, |cursor, name, out| {
            let of = members.iter().find(|(member, _)| **member == *name).map_or(&Shape::Plain, |(_, of)| of);
            write(cursor, of, values, out)
        }),
        Shape::Struct(_) => mismatch(cursor, kind, "an object"),
        Shape::Plain => unreachable!("is written above"),
    }
}

/// Writes an array; `each` gets the place of an element, and writes it.
fn write_array(
    cursor: &mut Cursor<'_>,
    kind: Kind,
    out: &mut String,
    mut each: impl FnMut(&mut Cursor<'_>, usize, &mut String) -> Result<bool, Refusal>,
) -> Result<bool, Refusal> {
    if kind != Kind::Array {
        return mismatch(cursor, kind, "an array");
    }
    cursor.take(b'[');
    cursor.space();
    out.push('[');
    let (mut place, mut is_treated) = (0, false);
    while !cursor.take(b']') {
        if place > 0 {
            cursor.take(b',');
            out.push(',');
        }
        is_treated |= each(cursor, place, out)?;
        cursor.space();
        place += 1;
    }
    out.push(']');
    Ok(is_treated)
}

/// Writes an object; `each` gets the name of a member, and writes its value.
fn write_object(
    cursor: &mut Cursor<'_>,
    out: &mut String,
    mut each: impl FnMut(&mut Cursor<'_>, &str, &mut String) -> Result<bool, Refusal>,
) -> Result<bool, Refusal> {
    let mut members = cursor.object()?;
    let (mut is_first, mut is_treated) = (true, false);
    out.push('{');
    while cursor.next_key(&mut members)? {
        if !is_first {
            out.push(',');
        }
        is_first = false;
        let at = cursor.at();
        let name = cursor.string()?;
        out.push_str(&cursor.text()[at..cursor.at()]);
        cursor.colon()?;
        out.push(':');
        is_treated |= each(cursor, &name, out)?;
    }
    out.push('}');
    Ok(is_treated)
}
