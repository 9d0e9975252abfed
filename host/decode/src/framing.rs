//! The frame of Connect's JSON converter: `{"schema": …, "payload": …}`, or no frame at all. Detected record by record. Other programs
//! (TiCDC, RisingWave) leave the schema part out and write `{"payload": …}`.

use crate::decoder::Alone;
use crate::scan::{Broken, Cursor, Kind};

/// How a record is framed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Not: the text is the payload.
    Bare,
    /// It is.
    Framed {
        /// The text of the schema part; `None` if that is null or not there.
        schema: Option<&'a str>,
        /// Where the payload begins.
        payload: usize,
        /// True if nothing but the payload and a brace follows the schema part.
        schema_first: bool,
        /// True if there is no member `schema`.
        alone: Alone,
    },
}

/// Looks for a value's frame: an object with nothing but `payload`, and `schema` if that is an object or null. A row may have columns of these
/// names: its `schema` is no object.
pub(crate) fn split(text: &str, depth_max: usize) -> Result<Frame<'_>, Broken> {
    let mut cursor = Cursor::new(text, depth_max);
    if cursor.kind()? != Kind::Object {
        return Ok(Frame::Bare);
    }
    let mut members = cursor.object()?;
    let (mut schema, mut payload, mut order) = (None, None, 0);
    while let Some(name) = cursor.member(&mut members)? {
        let kind = cursor.kind()?;
        let at = cursor.at();
        match &*name {
            "schema" if matches!(kind, Kind::Object | Kind::Null) && schema.is_none() => {
                schema = Some(cursor.skip()?);
                order = order * 2 + 1;
            }
            "payload" if payload.is_none() => {
                payload = Some(at);
                cursor.skip()?;
                order *= 2;
            }
            _ => return Ok(Frame::Bare),
        }
    }
    let Some(payload) = payload else { return Ok(Frame::Bare) };
    cursor.end()?;
    let alone = Alone(schema.is_none());
    Ok(Frame::Framed { schema: schema.filter(|schema| *schema != "null"), payload, schema_first: order == 2, alone })
}

/// Looks for a key's frame. A table's key may have columns of these names, so its schema part must be a Connect schema, which has a `type`, or
/// null, which no column of a key is; and `payload` alone is a frame only if the value of the record is one, too.
pub(crate) fn split_key(text: &str, depth_max: usize, value: Alone) -> Result<Frame<'_>, Broken> {
    let frame = split(text, depth_max)?;
    let is_frame = match &frame {
        Frame::Bare => true,
        Frame::Framed { alone: Alone(true), .. } => value == Alone(true),
        Frame::Framed { schema, .. } => match schema {
            Some(schema) => is_connect_schema(schema, depth_max)?,
            None => true,
        },
    };
    Ok(if is_frame { frame } else { Frame::Bare })
}

fn is_connect_schema(text: &str, depth_max: usize) -> Result<bool, Broken> {
    Ok(text_member(text, "type", depth_max)?.is_some())
}

/// A member of an object, if it is text.
pub(crate) fn text_member<'a>(
    object: &'a str,
    wanted: &str,
    depth_max: usize,
) -> Result<Option<std::borrow::Cow<'a, str>>, Broken> {
    let mut cursor = Cursor::new(object, depth_max);
    let mut members = cursor.object()?;
    let mut found = None;
    while let Some(name) = cursor.member(&mut members)? {
        if name == wanted && cursor.kind()? == Kind::Text {
            found = Some(cursor.string()?);
        } else {
            cursor.skip()?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(schema: Option<&str>, payload: usize, schema_first: bool) -> Frame<'_> {
        Frame::Framed { schema, payload, schema_first, alone: Alone(false) }
    }

    fn alone(payload: usize) -> Frame<'static> {
        Frame::Framed { schema: None, payload, schema_first: false, alone: Alone(true) }
    }

    #[test]
    fn frames_are_told_from_payloads() {
        for (text, expected) in [
            (r#"{"schema":{"a":1},"payload":{"op":"c"}}"#, framed(Some(r#"{"a":1}"#), 28, true)),
            (r#"{ "payload" : 7, "schema" : {} }"#, framed(Some("{}"), 14, false)),
            (r#"{"schema":null,"payload":{}}"#, framed(None, 25, true)),
            (r#"{"payload":{}}"#, alone(11)),
            (r#"{"before":null,"op":"c"}"#, Frame::Bare),
            (r#"{"schema":{},"payload":{},"more":1}"#, Frame::Bare),
            (r#"{"schema":{}}"#, Frame::Bare),
            (r#"{"schema":"public","payload":"x"}"#, Frame::Bare),
            (r#"{"payload":1,"payload":2}"#, Frame::Bare),
            ("5", Frame::Bare),
        ] {
            assert_eq!(split(text, 9).expect(text), expected, "{text}");
        }
        assert!(split(r#"{"schema":{},"payload":{}"#, 9).is_err());
    }

    #[test]
    fn a_key_keeps_columns_that_are_called_schema_and_payload() {
        let schema = r#"{"type":"struct","fields":[]}"#;
        let whole = format!(r#"{{"schema":{schema},"payload":{{"id":1}}}}"#);
        for (text, value, expected) in [
            (whole.as_str(), false, framed(Some(schema), whole.len() - 9, true)),
            (r#"{"schema":null,"payload":{"id":1}}"#, false, framed(None, 25, true)),
            (r#"{"schema":"public","payload":7}"#, false, Frame::Bare),
            (r#"{"schema":{"a":1},"payload":7}"#, false, Frame::Bare),
            (r#"{"schema":{"type":1},"payload":7}"#, false, Frame::Bare),
            (r#"{"payload":{"id":1}}"#, true, alone(11)),
            (r#"{"payload":7}"#, false, Frame::Bare),
        ] {
            assert_eq!(split_key(text, 9, Alone(value)).expect(text), expected, "{text}");
        }
    }
}
