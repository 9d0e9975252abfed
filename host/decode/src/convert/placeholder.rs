//! What the source sends in place of a cell that a change left as it was (PostgreSQL's TOAST, MySQL's and Oracle's LOBs): Debezium's
//! `unavailable.value.placeholder`, and what it makes of that text for columns that hold no text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};

use super::numbers::whole;
use crate::scan::{Broken, Cursor, Kind};

/// The text that Debezium sends if nobody says another.
pub(crate) const DEFAULT: &str = "__debezium_unavailable_value";

/// The values of geometries that were not sent, of any placeholder: well-known binary of a point at (-99999999, -99999999), and of
/// one at (179.999999, 89.999999) for geographies.
const WKB: [&str; 2] = ["AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==", "AQEAACDmEAAADCHn/f9/ZkAYQs77/39WQA=="];
/// Both coordinates of a `point` that was not sent.
const POINT: f64 = -99_999_999.0;

/// What stands for a cell that the source left out.
#[derive(Clone, Debug)]
pub(crate) struct Placeholder {
    forms: Vec<Forms>,
    /// Bit n: one of the texts has n bytes; the last bit: one has 63 or more. Most texts are told apart by it.
    lengths: u64,
}

/// One text in all its forms: those of Debezium's `UnchangedToastedPlaceholder`.
#[derive(Clone, Debug)]
struct Forms {
    bytes: Vec<u8>,
    /// As text, its bytes as base64, base64url and hexadecimal (`binary.handling.mode`), and an `hstore` as JSON text
    /// (`hstore.handling.mode`).
    texts: Vec<String>,
    /// Its version 3 UUID, for `uuid[]`.
    uuid: String,
}

impl Forms {
    fn new(text: &str) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut texts = vec![text.to_owned()];
        let quoted = serde_json::to_string(text).expect("text");
        let hstore = format!("{{{quoted}:{quoted}}}");
        let encodings =
            [STANDARD.encode(text), URL_SAFE.encode(text), URL_SAFE_NO_PAD.encode(text), hex(text.as_bytes())];
        for encoded in encodings.into_iter().chain([hstore]) {
            if !texts.contains(&encoded) {
                texts.push(encoded);
            }
        }
        // `UUID.nameUUIDFromBytes`: MD5, with the version and the variant put in.
        let mut md5: [u8; 16] = Md5::digest(text).into();
        md5[6] = md5[6] & 0x0f | 0x30;
        md5[8] = md5[8] & 0x3f | 0x80;
        let md5 = hex(&md5);
        let uuid = [&md5[..8], &md5[8..12], &md5[12..16], &md5[16..20], &md5[20..]].join("-");
        Self { bytes: text.as_bytes().to_vec(), texts, uuid }
    }

    fn is_text(&self, value: &str) -> bool {
        self.texts.iter().any(|text| text == value)
    }
}

impl Placeholder {
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let forms: Vec<Forms> = texts.into_iter().map(Forms::new).collect();
        let lengths = forms.iter().flat_map(|form| &form.texts).fold(0, |bits, text| bits | 1 << text.len().min(63));
        Self { forms, lengths }
    }

    /// Whether a text is one, or its bytes in a form of text.
    #[inline]
    pub fn is_text(&self, value: &str) -> bool {
        self.lengths >> value.len().min(63) & 1 == 1 && self.forms.iter().any(|form| form.is_text(value))
    }

    /// Whether an array, an object, or an `hstore` as text is one. `elements`: what the elements of an array are, where a schema part says
    /// so: for `boolean[]` a placeholder is as many `true` as it has bytes, which without a schema part is taken for a value.
    pub fn is_json(&self, value: &str, elements: Option<&str>) -> bool {
        let longest = self.forms.iter().map(|form| 60 * form.bytes.len().max(8)).max();
        // No form takes more bytes for one of the text's, and what begins otherwise is none: most values are not looked at.
        if longest.is_none_or(|longest| value.len() > longest) {
            return false;
        }
        let mut cursor = Cursor::new(value, 4);
        match cursor.kind() {
            Ok(Kind::Array) => self.forms.iter().any(|form| form.is_array(value, elements).unwrap_or(false)),
            Ok(Kind::Object) => self.is_object(cursor).unwrap_or(false),
            _ => false,
        }
    }

    /// `{p: p}`, or a geometry.
    fn is_object(&self, mut cursor: Cursor<'_>) -> Result<bool, Broken> {
        let mut members = cursor.object()?;
        let mut coordinates = 0;
        while let Some(key) = cursor.member(&mut members)? {
            match (&*key, cursor.kind()?) {
                ("wkb", Kind::Text) => {
                    let wkb = cursor.string()?;
                    if WKB.contains(&&*wkb) {
                        return Ok(true);
                    }
                }
                ("x" | "y", Kind::Number) => {
                    coordinates += usize::from(cursor.number()?.parse() == Ok(POINT));
                    if coordinates == 2 {
                        return Ok(true);
                    }
                }
                (key, Kind::Text) if self.is_text(key) => return Ok(*cursor.string()? == *key),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(false)
    }
}

impl Forms {
    /// One element that is text, or one for each byte.
    fn is_array(&self, array: &str, elements: Option<&str>) -> Result<bool, Broken> {
        let mut cursor = Cursor::new(array, 4);
        cursor.take(b'[');
        let mut count = 0;
        loop {
            match cursor.kind() {
                Ok(Kind::Text) => {
                    let value = cursor.string()?;
                    let is_all = count == 0 && (self.is_text(&value) || *value == *self.uuid);
                    if is_all {
                        cursor.space();
                        return Ok(cursor.take(b']'));
                    }
                    // A decimal whose unscaled value is the byte.
                    let of_byte = self.bytes.get(count).map(|byte| STANDARD.encode([*byte]));
                    if of_byte.as_deref() != Some(&*value) {
                        return Ok(false);
                    }
                }
                Ok(kind) => {
                    let is_byte = self.bytes.get(count).is_some_and(|byte| {
                        cursor.skip().is_ok_and(|value| is_byte(value, kind, *byte as i8, elements))
                    });
                    if !is_byte {
                        return Ok(false);
                    }
                }
                Err(broken) => return Err(broken),
            }
            count += 1;
            cursor.space();
            if cursor.take(b']') {
                return Ok(count == self.bytes.len());
            }
            if !cursor.take(b',') {
                return Ok(false);
            }
        }
    }
}

/// Whether an element says this byte: as a number, as a decimal of any scale with this unscaled value, or as a boolean.
fn is_byte(value: &str, kind: Kind, byte: i8, elements: Option<&str>) -> bool {
    match kind {
        Kind::Number => {
            let unscaled: String = value.chars().filter(|c| *c != '.').collect();
            whole(&unscaled) == Some(byte.into()) || value.parse() == Ok(f64::from(byte))
        }
        Kind::Bool => elements == Some("boolean") && (value == "true") == (byte != 0),
        Kind::Object => {
            let of_byte = STANDARD.encode([byte as u8]);
            value.contains(&format!("\"{of_byte}\"")) && value.contains("\"scale\"")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, each: impl Fn(u8) -> String) -> String {
        format!("[{}]", text.bytes().map(each).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn the_uuid_is_that_of_java() {
        assert_eq!(Forms::new(DEFAULT).uuid, "b68a35a7-17ad-35b3-af2a-ae46edb4545a");
    }

    #[test]
    fn every_form_is_known_and_its_neighbours_are_values() {
        for text in
            [DEFAULT, "__left_out__", "ü", "a fairly long text of more than sixty-three bytes, as nobody writes one"]
        {
            let placeholder = Placeholder::new([text, "another"]);
            for form in [text.to_owned(), STANDARD.encode(text), URL_SAFE.encode(text), URL_SAFE_NO_PAD.encode(text)] {
                assert!(placeholder.is_text(&form), "{form}");
                assert!(placeholder.is_json(&format!("[ \"{form}\" ]"), None), "{form}");
                assert!(
                    !placeholder.is_text(&format!("{form} ")) && !placeholder.is_text(&format!("x{form}")),
                    "{form}"
                );
                assert!(!placeholder.is_json(&format!("[\"{form}\",\"x\"]"), None), "{form}");
                assert!(!placeholder.is_json(&format!("[\"x\",\"{form}\"]"), None), "{form}");
            }
            let json = |elements| move |value: &String| placeholder_of(text).is_json(value, elements);
            for array in [
                numbers(text, |byte| (byte as i8).to_string()),
                numbers(text, |byte| format!("{}.0", byte as i8)),
                numbers(text, |byte| format!("\"{}\"", STANDARD.encode([byte]))),
                numbers(text, |byte| format!("{{\"scale\":0,\"value\":\"{}\"}}", STANDARD.encode([byte]))),
                format!("[\"{}\"]", Forms::new(text).uuid),
                format!("{{\"{text}\": \"{text}\"}}"),
            ] {
                assert!(json(None)(&array), "{array}");
            }
            let booleans = numbers(text, |_| "true".into());
            assert!(json(Some("boolean"))(&booleans) && !json(None)(&booleans), "{booleans}");
            for value in [
                numbers(text, |byte| (i16::from(byte as i8) + 1).to_string()),
                numbers(&text[..0], |_| String::new()),
                numbers(&format!("{text}x"), |byte| (byte as i8).to_string()),
                format!("{{\"{text}\":\"x\"}}"),
                format!("{{\"x\":\"{text}\"}}"),
                "{}".into(),
                "[[]]".into(),
                "[\"".into(),
                "[1,".into(),
            ] {
                assert!(!json(None)(&value), "{value}");
            }
        }
    }

    fn placeholder_of(text: &str) -> Placeholder {
        Placeholder::new([text])
    }

    #[test]
    fn geometries_have_values_of_their_own() {
        let placeholder = placeholder_of(DEFAULT);
        for wkb in WKB {
            assert!(placeholder.is_json(&format!("{{\"wkb\":\"{wkb}\",\"srid\":4326}}"), None));
        }
        assert!(placeholder.is_json(r#"{"x":-9.9999999E7,"y":-99999999,"wkb":null,"srid":null}"#, None));
        assert!(!placeholder.is_json(r#"{"x":-99999999,"y":0,"wkb":"AQ==","srid":null}"#, None));
        assert!(!placeholder.is_json(&format!("{{\"wkb\":\"{}\"}}", "A".repeat(10_000)), None));
    }
}
