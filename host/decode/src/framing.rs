//! The frame of Connect's JSON converter: `{"schema": …, "payload": …}`, or no frame at all. Detected record by record.

use crate::scan::{Broken, Cursor, Kind};

/// How a record is framed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Not: the text is the payload.
    Bare,
    /// It is.
    Framed {
        /// The text of the schema part; `None` if that is null.
        schema: Option<&'a str>,
        /// Where the payload begins.
        payload: usize,
        /// True if nothing but the payload and a brace follows the schema part.
        schema_first: bool,
    },
}

/// Looks for a frame: an object with exactly the members `schema` and `payload`.
pub(crate) fn split(text: &str, depth_max: usize) -> Result<Frame<'_>, Broken> {
    let mut cursor = Cursor::new(text, depth_max);
    if cursor.kind()? != Kind::Object {
        return Ok(Frame::Bare);
    }
    let mut members = cursor.object()?;
    let (mut schema, mut payload, mut order) = (None, None, 0);
    while let Some(name) = cursor.member(&mut members)? {
        cursor.space();
        let at = cursor.at();
        match &*name {
            "schema" => {
                schema = Some(cursor.skip()?);
                order = order * 2 + 1;
            }
            "payload" => {
                payload = Some(at);
                cursor.skip()?;
                order *= 2;
            }
            _ => return Ok(Frame::Bare),
        }
    }
    let (Some(schema), Some(payload)) = (schema, payload) else { return Ok(Frame::Bare) };
    cursor.end()?;
    Ok(Frame::Framed { schema: (schema != "null").then_some(schema), payload, schema_first: order == 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_payloads() {
        let framed = |schema, payload, schema_first| Frame::Framed { schema, payload, schema_first };
        for (text, expected) in [
            (r#"{"schema":{"a":1},"payload":{"op":"c"}}"#, framed(Some(r#"{"a":1}"#), 28, true)),
            (r#"{ "payload" : 7, "schema" : {} }"#, framed(Some("{}"), 14, false)),
            (r#"{"schema":null,"payload":{}}"#, framed(None, 25, true)),
            (r#"{"before":null,"op":"c"}"#, Frame::Bare),
            (r#"{"schema":{},"payload":{},"more":1}"#, Frame::Bare),
            (r#"{"schema":{}}"#, Frame::Bare),
            ("5", Frame::Bare),
        ] {
            assert_eq!(split(text, 9).expect(text), expected, "{text}");
        }
        assert!(split(r#"{"schema":{},"payload":{}"#, 9).is_err());
    }
}
