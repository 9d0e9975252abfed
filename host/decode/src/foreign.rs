//! What bytes are that are not JSON: other encodings that are met in topics and files, by their first bytes. Only for the reason of a dead
//! letter.

use crate::control::SET_CONVERTER;

/// What the bytes are and what to do about it, if they are known.
pub(crate) fn seen(bytes: &[u8]) -> Option<String> {
    let registry = |whose: &str, rest: &[u8]| {
        let of = match rest.first() {
            Some(b'{' | b'[' | b'"') => "JSON",
            _ => "Avro or Protobuf",
        };
        format!("{whose} before {of}: this version reads plain JSON; {SET_CONVERTER}")
    };
    Some(match bytes {
        [0xff, 0xfe, ..]
        | [0xfe, 0xff, ..]
        | [b' '..=b'~', 0, b' '..=b'~', 0, ..]
        | [0, b' '..=b'~', 0, b' '..=b'~', ..] => {
            "UTF-16 text: this version reads JSON in UTF-8; write it in UTF-8".into()
        }
        [0x1f, 0x8b, ..] => compressed("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => compressed("Zstandard"),
        [b'P', b'K', 3, 4, ..] => compressed("ZIP"),
        [b'O', b'b', b'j', 1, ..] => format!("an Avro file: this version reads JSON; {SET_CONVERTER}"),
        // Confluent has no id 0; Apicurio's ids have 8 bytes.
        [0, 0, 0, 0, 0, a, b, c, d, rest @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            registry(&format!("the frame of Apicurio's registry (byte 0 and the id {id})"), rest)
        }
        [0, a, b, c, d, rest @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            registry(&format!("the frame of a schema registry (byte 0 and the schema's id {id})"), rest)
        }
        [1, rest @ ..] if rest.len() > 16 => {
            registry("the frame of a schema registry (byte 1 and a GUID)", &rest[16..])
        }
        _ => return None,
    })
}

fn compressed(how: &str) -> String {
    format!("{how} bytes: unpack them, or let Kafka compress (`compression.type`), which its client undoes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_known_by_their_first_bytes() {
        let utf16 = |of: fn(u16) -> [u8; 2]| "{\"op\":1}".encode_utf16().flat_map(of).collect::<Vec<u8>>();
        let with = |before: &[u8], rest: &[u8]| [before, rest].concat();
        for (bytes, expected) in [
            (with(&[0, 0, 0, 1, 2], b"{}"), "schema registry (byte 0 and the schema's id 258) before JSON: "),
            (with(&[0, 0, 0, 0, 7], &[2, 4, 6]), "(byte 0 and the schema's id 7) before Avro or Protobuf: "),
            (with(&[0, 0, 0, 0, 0, 0, 0, 0, 9], &[2, 4]), "Apicurio's registry (byte 0 and the id 9) before Avro"),
            (with(&[1], &[7; 20]), "(byte 1 and a GUID)"),
            (with(&[0x1f, 0x8b, 8], &[0; 9]), "gzip bytes: unpack them"),
            (with(&[0x28, 0xb5, 0x2f, 0xfd], &[0; 9]), "Zstandard bytes"),
            (b"Obj\x01\x04".to_vec(), "an Avro file"),
            (utf16(u16::to_le_bytes), "UTF-16 text"),
            (utf16(u16::to_be_bytes), "UTF-16 text"),
            (with(&[0xff, 0xfe], &utf16(u16::to_le_bytes)), "UTF-16 text"),
        ] {
            let said = seen(&bytes).unwrap_or_default();
            assert!(said.contains(expected), "{bytes:?}: {said}");
        }
        for bytes in [&b"{\"op\":"[..], b"nonsense", b"", b"{}x", &[0, 1], &[0xe2, 0x28], &[1, 2, 3]] {
            assert_eq!(seen(bytes), None, "{bytes:?}");
        }
    }
}
