//! The framing of journal records: one line of `crc32 json`, so that a torn or flipped record is told from a whole one.

/// What a line of the journal turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Whole: the JSON of a record.
    Whole(&'a str),
    /// No newline at its end: the write was cut off.
    Torn,
    /// Its checksum does not match.
    Corrupt,
}

/// Frames one record. JSON has no raw newline, so a line is a record.
pub(crate) fn frame(json: &str) -> String {
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
}

/// Splits the first line off: what it is, and the bytes after it.
pub(crate) fn split_first(bytes: &[u8]) -> Option<(Line<'_>, &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let Some(end) = bytes.iter().position(|&b| b == b'\n') else {
        return Some((Line::Torn, &[]));
    };
    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
    let whole = || {
        let text = std::str::from_utf8(line).ok()?;
        let (crc, json) = text.split_once(' ')?;
        let crc = (crc.len() == 8).then(|| u32::from_str_radix(crc, 16).ok())??;
        (crc == crc32fast::hash(json.as_bytes())).then_some(json)
    };
    Some((whole().map_or(Line::Corrupt, Line::Whole), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flip_and_every_cut_shows() {
        let framed = frame(r#"{"plan":1}"#);
        assert_eq!(split_first(framed.as_bytes()), Some((Line::Whole(r#"{"plan":1}"#), &b""[..])));
        for at in 0..framed.len() - 1 {
            for bit in 0..8 {
                let mut bytes = framed.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let (line, _) = split_first(&bytes).expect("a line");
                // Upper-case hex digits differ from ours by one bit and mean the same.
                let same = matches!(line, Line::Whole(json) if json == r#"{"plan":1}"#);
                assert!(!matches!(line, Line::Whole(_)) || (same && at < 8), "byte {at} bit {bit}");
            }
            assert!(!matches!(split_first(&framed.as_bytes()[..=at]), Some((Line::Whole(_), _))), "cut at {at}");
        }
    }
}
