//! A strict scanner of JSON (RFC 8259) over bytes that are known to be UTF-8. It borrows, never allocates but for escaped
//! strings, and says at which byte something is wrong. It knows nothing of change events.

use std::borrow::Cow;

/// What is wrong, and at which byte of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub at: usize,
    pub what: &'static str,
}

/// The kind of a value, from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Object,
    Array,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::Object => "an object",
            Kind::Array => "an array",
        }
    }
}

/// How many bytes the values of a batch may become longer than they are written: what is beyond is refused, so that a few bytes of the
/// source cannot ask for the machine's memory.
pub(crate) const EXPANSION_MAX: usize = 64 << 20;

/// A place in a text.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
    /// How many bytes its values may become longer than they are written: `1e100000` is nine bytes, and text of 100,001 digits.
    expansion_left: usize,
}

pub(crate) type Scan<T> = Result<T, Broken>;

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, depth_max, expansion_left: EXPANSION_MAX }
    }

    /// What is left to a batch for values that become longer than they are written, in bytes.
    pub fn expansion_left(&self) -> usize {
        self.expansion_left
    }

    pub fn set_expansion_left(&mut self, bytes: usize) {
        self.expansion_left = bytes;
    }

    /// Takes from it what a value of `bytes`, written from `start` on, is longer; false if that is more than is left.
    pub fn expand(&mut self, start: usize, bytes: usize) -> bool {
        let longer = bytes.saturating_sub(self.at - start);
        match self.expansion_left.checked_sub(longer) {
            Some(left) => {
                self.expansion_left = left;
                true
            }
            None => false,
        }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Moves to a place that an earlier scan has seen.
    pub fn seek(&mut self, at: usize) {
        self.at = at;
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub fn broken<T>(&self, what: &'static str) -> Scan<T> {
        Err(Broken { at: self.at, what })
    }

    #[inline]
    fn peek_byte(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    #[inline]
    pub fn space(&mut self) {
        while matches!(self.peek_byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek_byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes these bytes if they come next.
    #[inline]
    pub fn take_exactly(&mut self, expected: &[u8]) -> bool {
        let found = self.bytes()[self.at..].starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Scan<()> {
        if self.take(byte) { Ok(()) } else { self.broken(what) }
    }

    /// What the next value is. Space before it is skipped.
    #[inline]
    pub fn kind(&mut self) -> Scan<Kind> {
        self.space();
        match self.peek_byte() {
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(_) => self.broken("expected a JSON value"),
            None => self.broken("the text ends where a JSON value was expected"),
        }
    }

    pub fn null(&mut self) -> Scan<()> {
        if self.take_exactly(b"null") { Ok(()) } else { self.broken("expected null") }
    }

    pub fn bool(&mut self) -> Scan<bool> {
        if self.take_exactly(b"true") {
            Ok(true)
        } else if self.take_exactly(b"false") {
            Ok(false)
        } else {
            self.broken("expected true or false")
        }
    }

    /// A string's bytes between its quotes, and whether they hold escapes.
    #[inline]
    pub fn raw_string(&mut self) -> Scan<(&'a str, bool)> {
        self.expect(b'"', "expected a string")?;
        let (start, mut escaped) = (self.at, false);
        loop {
            self.at += plain_run(&self.bytes()[self.at..]);
            match self.peek_byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                Some(_) => return self.broken("a control character in a string must be escaped"),
                None => return self.broken("the text ends within a string"),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok((raw, escaped))
    }

    /// Skips what follows a backslash.
    fn escape(&mut self) -> Scan<()> {
        match self.peek_byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let high = self.hex4()?;
                match high {
                    0xd800..=0xdbff => {
                        if !self.take(b'\\') || self.peek_byte() != Some(b'u') {
                            return self.broken("half of a surrogate pair");
                        }
                        match self.hex4()? {
                            0xdc00..=0xdfff => Ok(()),
                            _ => self.broken("half of a surrogate pair"),
                        }
                    }
                    0xdc00..=0xdfff => self.broken("half of a surrogate pair"),
                    _ => Ok(()),
                }
            }
            _ => self.broken("an unknown escape in a string"),
        }
    }

    fn hex4(&mut self) -> Scan<u32> {
        let digits = self.bytes().get(self.at + 1..self.at + 5);
        let value = digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit)).and_then(|d| std::str::from_utf8(d).ok());
        match value.and_then(|d| u32::from_str_radix(d, 16).ok()) {
            Some(value) => {
                self.at += 5;
                Ok(value)
            }
            None => self.broken("expected four hexadecimal digits"),
        }
    }

    /// A string; borrowed if it holds no escapes.
    #[inline]
    pub fn string(&mut self) -> Scan<Cow<'a, str>> {
        let (raw, escaped) = self.raw_string()?;
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// A number as it is written.
    #[inline]
    pub fn number(&mut self) -> Scan<&'a str> {
        let start = self.at;
        self.take(b'-');
        match self.peek_byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.broken("expected a digit"),
        }
        if self.take(b'.') {
            self.some_digits()?;
        }
        if matches!(self.peek_byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek_byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) {
        while matches!(self.peek_byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Scan<()> {
        let start = self.at;
        self.digits();
        if self.at > start { Ok(()) } else { self.broken("expected a digit") }
    }

    /// Skips a value; returns its text.
    #[inline]
    pub fn skip(&mut self) -> Scan<&'a str> {
        self.space();
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.text[start..self.at])
    }

    fn skip_value(&mut self, depth: usize) -> Scan<()> {
        if depth > self.depth_max {
            return self.broken("nested too deeply");
        }
        match self.kind()? {
            Kind::Null => self.null(),
            Kind::Bool => self.bool().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Text => self.raw_string().map(drop),
            Kind::Object => {
                let mut members = self.object()?;
                while self.raw_member(&mut members)? {
                    self.skip_value(depth + 1)?;
                }
                Ok(())
            }
            Kind::Array => {
                self.at += 1;
                self.space();
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_value(depth + 1)?;
                    self.space();
                    if self.take(b']') {
                        return Ok(());
                    }
                    self.expect(b',', "expected , or ] in an array")?;
                }
            }
        }
    }

    /// Enters an object.
    #[inline]
    pub fn object(&mut self) -> Scan<Members> {
        self.space();
        self.expect(b'{', "expected an object")?;
        Ok(Members { first: true })
    }

    /// Steps over what is between two members: true if one follows, whose key comes next.
    #[inline]
    pub fn next_key(&mut self, members: &mut Members) -> Scan<bool> {
        self.space();
        if self.take(b'}') {
            return Ok(false);
        }
        if !members.first {
            self.expect(b',', "expected , or } in an object")?;
            self.space();
        }
        members.first = false;
        Ok(true)
    }

    /// The colon after a key.
    #[inline]
    pub fn colon(&mut self) -> Scan<()> {
        self.space();
        self.expect(b':', "expected : after a key")
    }

    fn raw_member(&mut self, members: &mut Members) -> Scan<bool> {
        let more = self.next_key(members)?;
        if more {
            self.raw_string()?;
            self.colon()?;
        }
        Ok(more)
    }

    /// The key of the next member; the cursor then stands before its value.
    #[inline]
    pub fn member(&mut self, members: &mut Members) -> Scan<Option<Cow<'a, str>>> {
        if !self.next_key(members)? {
            return Ok(None);
        }
        let key = self.string()?;
        self.colon()?;
        Ok(Some(key))
    }

    /// Nothing but space may follow.
    pub fn end(&mut self) -> Scan<()> {
        self.space();
        if self.at == self.text.len() {
            return Ok(());
        }
        self.broken(if self.text[..self.at].ends_with('\t') {
            "more text after the end of the JSON value; if lines are a key, a tab and a value, set `format: key_value`"
        } else {
            "more text after the end of the JSON value"
        })
    }
}

/// Where we are among the members of an object.
pub(crate) struct Members {
    first: bool,
}

/// How many bytes from the start are neither quote, backslash nor control character. Eight at a time.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let stop = control | zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if stop != 0 {
            return at + stop.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\').unwrap_or(rest.len())
}

/// A string's text from its checked escapes.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(place) = rest.find('\\') {
        out.push_str(&rest[..place]);
        let escape = rest.as_bytes()[place + 1];
        rest = &rest[place + 2..];
        let hex = |text: &str| u32::from_str_radix(&text[..4], 16).unwrap_or(0xfffd);
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let mut code = hex(rest);
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&code) {
                    code = 0x10000 + ((code - 0xd800) << 10) + (hex(&rest[2..]) - 0xdc00);
                    rest = &rest[6..];
                }
                out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ours and serde_json's verdict on a text.
    fn verdicts(text: &str) -> (bool, bool) {
        let mut cursor = Cursor::new(text, 60);
        let ours = cursor.skip().and_then(|_| cursor.end()).is_ok();
        // A number too large for a float is JSON all the same.
        let theirs = serde_json::from_str::<serde_json::Value>(text);
        (ours, theirs.is_ok() || is_out_of_range(text))
    }

    fn is_out_of_range(text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text).is_err_and(|error| error.to_string().contains("out of range"))
    }

    #[test]
    fn accepts_and_refuses_like_serde_json() {
        for text in [
            "",
            " ",
            "null",
            "nul",
            "true",
            "-",
            "-0",
            "01",
            "1.",
            "1.e1",
            "1e",
            "1e+",
            "-1.5E-7",
            "\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"a\tb\"",
            "{}",
            "{,}",
            "{\"a\":1,}",
            "{\"a\" : [1 , 2 ] }",
            "[1 2]",
            "[",
            "{\"a\"}",
            "{\"a\":}",
            "{} x",
            "\u{feff}1",
            "\"ü€😀\"",
            "[[[]]]",
            "\"\\x\"",
            "\"12345678\\n1234567\"",
        ] {
            let (ours, theirs) = verdicts(text);
            assert_eq!(ours, theirs, "{text:?}");
        }
    }

    #[test]
    fn strings_are_unescaped_as_serde_json_does() {
        for text in [r#""plain""#, r#""\"\\\/\b\f\n\r\t""#, r#""\u00fc\ud83d\ude00x""#, r#""ends\\""#] {
            let theirs: String = serde_json::from_str(text).expect(text);
            assert_eq!(Cursor::new(text, 9).string().expect(text), theirs);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_judged_otherwise(text in r#"[ \[\]{}:,"\\0-9eEu.a-ctrfnulsd+\-ü\n]{0,24}"#) {
            let (ours, theirs) = verdicts(&text);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn what_serde_json_writes_is_read_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("text");
            prop_assert_eq!(Cursor::new(&json, 9).string().expect("ours"), text);
        }
    }
}
