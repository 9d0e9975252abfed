//! What a file is, by its first bytes, if it is no file of lines: one refusal, instead of a dead letter for each of its lines. Pure.

use serde::de::IgnoredAny;

use super::LineFormat;

/// What files begin with that are no lines: the bytes, what they are, and what to do. `FILE` stands for the file.
const BEGINNINGS: &[(&[u8], &str, &str)] = &[
    (b"Obj\x01", "an Avro file", "write it as JSON, one record a line: `avro-tools tojson FILE > NEW.jsonl`"),
    (b"PAR1", "a Parquet file", "it is a table already, not a stream of changes: read it with your query engine"),
    (b"ORC", "an ORC file", "it is a table already, not a stream of changes: read it with your query engine"),
    (b"ARROW1", "an Arrow file", "it is a table already, not a stream of changes: read it with your query engine"),
    (b"SQLite format 3\0", "a SQLite database", "export its rows as JSON, one a line"),
    (b"\0asm", "a WebAssembly component", "name it under `transforms`, and let `paths` leave it out"),
    (b"\x7fELF", "a program", "let `paths` leave it out"),
    (b"PK\x03\x04", "a zip archive", "unpack it: `unzip FILE`"),
    (
        b"\x1e",
        "a JSON text sequence",
        "take its marks out, and write one record a line: `tr -d '\\036' < FILE | jq -c . > NEW.jsonl`",
    ),
    (b"BZh", "compressed with bzip2", "unpack it, or compress it with gzip or zstd: `bzip2 -d FILE`"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it, or compress it with gzip or zstd: `xz -d FILE`"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "unpack it, or compress it with gzip or zstd: `lz4 -d FILE`"),
    (b"\xff\x06\0\0sNaPpY", "compressed with snappy", "unpack it, or compress it with gzip or zstd"),
    (b"\x1f\x8b", "compressed with gzip twice", "unpack it once: `gzip -d FILE`"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd twice", "unpack it once: `zstd -d FILE`"),
    (b"\xff\xfe\0\0", "UTF-32 text", "make it UTF-8: `iconv -f UTF-32 -t UTF-8 FILE > NEW.jsonl`"),
    (b"\0\0\xfe\xff", "UTF-32 text", "make it UTF-8: `iconv -f UTF-32 -t UTF-8 FILE > NEW.jsonl`"),
    (b"\xff\xfe", "UTF-16 text", "make it UTF-8: `iconv -f UTF-16 -t UTF-8 FILE > NEW.jsonl`"),
    (b"\xfe\xff", "UTF-16 text", "make it UTF-8: `iconv -f UTF-16 -t UTF-8 FILE > NEW.jsonl`"),
];

/// Why a file that begins with `head` is not read, and what to do: what was seen comes first. `None`: it may be lines.
pub(super) fn refusal(head: &[u8], format: LineFormat) -> Option<String> {
    let say = |what: &str, remedy: &str| Some(format!("this is {what}; {remedy}"));
    if let Some((_, what, remedy)) = BEGINNINGS.iter().find(|(beginning, ..)| head.starts_with(beginning)) {
        return say(what, remedy);
    }
    if head.get(257..262) == Some(b"ustar") {
        return say("a tar archive", "unpack it: `tar -xf FILE`");
    }
    // A record begins with a brace, a bracket, a quote, or white space.
    let opens = |byte: u8| matches!(byte, b'{' | b'[' | b'"' | b' ' | b'\n');
    match *head {
        [first, 0, 0, 0, ..] if opens(first) => {
            return say("UTF-32 text", "make it UTF-8: `iconv -f UTF-32LE -t UTF-8 FILE > NEW.jsonl`");
        }
        [0, 0, 0, first, ..] if opens(first) && head.get(4..7) == Some(&[0, 0, 0]) => {
            return say("UTF-32 text", "make it UTF-8: `iconv -f UTF-32BE -t UTF-8 FILE > NEW.jsonl`");
        }
        [first, 0, second, ..] if opens(first) && second != 0 => {
            return say("UTF-16 text", "make it UTF-8: `iconv -f UTF-16LE -t UTF-8 FILE > NEW.jsonl`");
        }
        [0, first, 0, ..] if opens(first) => {
            return say("UTF-16 text", "make it UTF-8: `iconv -f UTF-16BE -t UTF-8 FILE > NEW.jsonl`");
        }
        _ => {}
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // The schema's id may be that of the end of a line.
    if let ([0, a, b, c, d, _, ..], LineFormat::Value) = (text, format)
        && text[1..5] != [0; 4]
    {
        return framed(u32::from_be_bytes([*a, *b, *c, *d]));
    }
    let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next()?;
    let value = match (format, first.iter().position(|byte| *byte == b'\t')) {
        (LineFormat::KeyValue, Some(tab)) => &first[tab + 1..],
        _ => first,
    };
    if let [0, a, b, c, d, _, ..] = *value
        && !value.iter().all(|byte| *byte == 0)
    {
        return framed(u32::from_be_bytes([a, b, c, d]));
    }
    let whole_line = text.contains(&b'\n');
    if first.trim_ascii_start().starts_with(b"[") && value.len() == first.len() {
        return say("one JSON array", "write its elements as lines: `jq -c '.[]' FILE > NEW.jsonl`");
    }
    if whole_line && value.len() == first.len() && spreads(first, lines.next()) {
        return say("JSON that is spread over several lines", "write one record a line: `jq -c . FILE > NEW.jsonl`");
    }
    if !whole_line && format == LineFormat::Value {
        return match after_the_first(first) {
            Some([b'\r', ..]) => say(
                "lines that end with a carriage return alone",
                "write one record a line: `tr '\\r' '\\n' < FILE > NEW.jsonl`",
            ),
            Some(rest) if rest.trim_ascii_start().starts_with(b"{") => {
                say("several records on one line", "write one record a line: `jq -c . FILE > NEW.jsonl`")
            }
            _ => None,
        };
    }
    None
}

/// What is said of a schema registry's frame.
fn framed(id: u32) -> Option<String> {
    Some(format!(
        "this is a record as a schema registry's serializer frames it (a byte 0, then schema {id}); write plain JSON, one record a line, with \
         Kafka Connect's JsonConverter for example; records with this frame are read from Kafka only, if at all"
    ))
}

/// What follows the first JSON object of a line; `None` if it is not whole, or nothing follows.
fn after_the_first(line: &[u8]) -> Option<&[u8]> {
    let mut values = serde_json::Deserializer::from_slice(line).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(&line[values.byte_offset()..])
        .filter(|rest| !rest.trim_ascii().is_empty() && line.trim_ascii_start().starts_with(b"{"))
}

/// Whether a record goes on in the next line, as it does where JSON is printed for people: the line is the beginning of an object, ends
/// behind a brace, a bracket or a comma, and what follows is not another record. A line that was cut off ends anywhere.
fn spreads(line: &[u8], next: Option<&[u8]>) -> bool {
    let line = line.trim_ascii();
    let unfinished = matches!(line.last(), Some(b'{' | b'[' | b',')) && line.starts_with(b"{");
    let goes_on = next.is_none_or(|next| matches!(next.trim_ascii_start().first(), Some(b'"' | b'}' | b']')));
    unfinished && goes_on && serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

/// Whether the last bytes of a file, which no end of a line follows, are a whole record all the same: a line that is still being written
/// is none, whatever comes of it.
pub(super) fn is_whole(format: LineFormat, line: &[u8]) -> bool {
    let value = match (format, line.iter().position(|byte| *byte == b'\t')) {
        (LineFormat::KeyValue, Some(tab)) => &line[tab + 1..],
        // A key whose value is still to come.
        (LineFormat::KeyValue, None) => return false,
        _ => line,
    };
    // More digits may follow a number, and a key without its value is none.
    let closes = matches!(value.trim_ascii_end().last(), Some(b'}' | b']' | b'"'));
    closes && std::str::from_utf8(value).is_ok_and(|value| serde_json::from_str::<IgnoredAny>(value).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(head: &[u8], format: LineFormat) -> String {
        refusal(head, format).unwrap_or_default()
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn what_is_no_lines_is_named_with_a_remedy() {
        let record = "{\"op\":\"c\"}\n";
        let wide: Vec<u8> = record.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        for (head, words) in [
            (utf16(record, u16::to_le_bytes), ["UTF-16", "iconv -f UTF-16LE"]),
            (utf16(record, u16::to_be_bytes), ["UTF-16", "iconv -f UTF-16BE"]),
            (utf16(&format!("\u{feff}{record}"), u16::to_le_bytes), ["UTF-16", "iconv -f UTF-16 "]),
            (utf16(&format!("\u{feff}{record}"), u16::to_be_bytes), ["UTF-16", "iconv -f UTF-16 "]),
            (wide, ["UTF-32", "iconv -f UTF-32LE"]),
            (b"Obj\x01\x04\x14avro.codec".to_vec(), ["Avro", "avro-tools"]),
            (b"PAR1\x15\x04".to_vec(), ["Parquet", "table"]),
            (b"\0\0\0\0\x2a{\"op\":\"c\"}\n".to_vec(), ["schema 42", "plain JSON"]),
            (b"[{\"op\":\"c\"},\n{\"op\":\"u\"}]\n".to_vec(), ["JSON array", "jq -c '.[]'"]),
            (b"\xef\xbb\xbf\n  [\n".to_vec(), ["JSON array", "jq -c '.[]'"]),
            (b"{\n  \"op\": \"c\"\n}\n".to_vec(), ["several lines", "jq -c ."]),
            (b"{\"op\": \"c\",\r\n \"after\": {}}\r\n".to_vec(), ["several lines", "jq -c ."]),
            (b"{\"after\": {\n\"id\": 1}}\n".to_vec(), ["several lines", "jq -c ."]),
            (b"BZh91AY".to_vec(), ["bzip2", "bzip2 -d"]),
            (b"\x1e{\"op\":\"c\"}\n".to_vec(), ["JSON text sequence", "tr -d '\\036'"]),
            (b"\0\0\0\0\n{\"op\":\"c\"}".to_vec(), ["schema 10", "plain JSON"]),
            (b"{\"op\":\"c\"}{\"op\":\"u\"}".to_vec(), ["several records on one line", "jq -c ."]),
            (b"{\"op\":\"c\"}\r{\"op\":\"u\"}\r".to_vec(), ["carriage return", "tr '\\r' '\\n'"]),
        ] {
            let seen = seen(&head, LineFormat::Value);
            assert!(words.iter().all(|word| seen.contains(word)), "{words:?}: {seen}");
        }
        let framed = b"{\"id\":1}\t\0\0\0\x01\0{\"op\":\"c\"}\n";
        assert!(seen(framed, LineFormat::KeyValue).contains("schema 256"));
        assert!(seen(b"{\n  \"op\": \"c\"\n}\n", LineFormat::KeyValue).contains("several lines"));
    }

    #[test]
    fn lines_are_lines_however_bad_the_first_one_is() {
        for head in [
            &b""[..],
            b"\n\n",
            b"{",
            b"{\"op\":\"c\"}",
            b"{\"op\":\"c\"}\n{\"op\":\"u\"}\n",
            // Cut off in the middle.
            b"{\"op\":\"c\",\"aft\n{\"op\":\"u\"}\n",
            b"{\"op\":\"c\",\n{\"op\":\"u\"}\n",
            b"{\"op\":\"c\",\"after\":{\"id\":1\n{\"op\":\"u\"}\n",
            b"rubbish\n{\"op\":\"u\"}\n",
            b"\xff\xff\xff\n{\"op\":\"u\"}\n",
            b"{\"op\":\"\0\"}\n",
            b"\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(refusal(head, LineFormat::Value), None, "{}", String::from_utf8_lossy(head));
        }
        assert_eq!(refusal(b"[1]\t{\"op\":\"c\"}\n", LineFormat::KeyValue), None, "a key may be an array");
    }

    #[test]
    fn a_last_line_is_whole_when_nothing_can_follow() {
        for (line, value, key_value) in [
            ("{\"a\":1}", true, false),
            ("{\"a\":{\"b\":\"}", false, false),
            ("{\"a\":1}  ", true, false),
            ("12", false, false),
            ("{\"a\":1}\t", true, false),
            ("{\"a\":1}\t{\"b\":", false, false),
            ("k\t{\"b\":2}", false, true),
            ("", false, false),
            ("\0\0\0", false, false),
        ] {
            assert_eq!(is_whole(LineFormat::Value, line.as_bytes()), value, "{line}");
            assert_eq!(is_whole(LineFormat::KeyValue, line.as_bytes()), key_value, "{line}");
        }
    }
}
