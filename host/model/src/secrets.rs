//! Values that are not to be shown, and what is shown in their place.

use std::borrow::Cow;
use std::fmt;

/// Shorter values are looked for between quotation marks only: they are too often a part of something else.
const SHORT_CHARS: usize = 4;

/// The beginning of a long value, in characters, is as good as the value: somebody may have cut it.
const BEGINNING_CHARS: usize = 12;

/// Values that are not to be shown, each with what is shown in its place, such as `${env:SALT}`. They never get into its own `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// One more.
    pub fn add(&mut self, value: &str, shown: &str) {
        let mut forms = vec![value.to_owned()];
        // As it stands in a JSON text, and in one line.
        forms.push(value.escape_debug().collect());
        forms.push(
            value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
                .replace('\r', "\\r")
                .replace('\t', "\\t"),
        );
        // Of several lines, each may be shown alone.
        forms.extend(value.lines().filter(|line| line.chars().count() >= BEGINNING_CHARS).map(str::to_owned));
        for form in forms.into_iter().filter(|form| !form.is_empty()) {
            if !self.0.iter().any(|(known, _)| *known == form) {
                self.0.push((form, shown.to_owned()));
            }
        }
        // The longest first: one may be a part of another.
        self.0.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// All of another.
    pub fn extend(&mut self, other: &Secrets) {
        self.0.extend(other.0.iter().cloned());
        self.0.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `text` without them.
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for (value, shown) in &self.0 {
            match value.chars().count() {
                ..SHORT_CHARS => {
                    for mark in ['"', '\'', '`'] {
                        let quoted = format!("{mark}{value}{mark}");
                        if text.contains(&quoted) {
                            text = text.replace(&quoted, &format!("{mark}{shown}{mark}")).into();
                        }
                    }
                }
                BEGINNING_CHARS.. => text = without_beginnings(text, value, shown),
                _ if text.contains(value.as_str()) => text = text.replace(value, shown).into(),
                _ => {}
            }
        }
        text
    }
}

/// A text without a long value, and without the beginnings of it.
fn without_beginnings<'t>(text: Cow<'t, str>, value: &str, shown: &str) -> Cow<'t, str> {
    let end = value.char_indices().nth(BEGINNING_CHARS).map_or(value.len(), |(at, _)| at);
    let beginning = &value[..end];
    if !text.contains(beginning) {
        return text;
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(at) = rest.find(beginning) {
        out += &rest[..at];
        out += shown;
        let same = |(a, b): &(char, char)| a == b;
        let length: usize = rest[at..].chars().zip(value.chars()).take_while(same).map(|(c, _)| c.len_utf8()).sum();
        rest = &rest[at + length..];
    }
    (out + rest).into()
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, shown)| shown)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(list: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        list.iter().for_each(|(value, shown)| secrets.add(value, shown));
        secrets
    }

    #[test]
    fn values_are_hidden_however_they_are_shown() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----";
        let secrets = secrets(&[
            ("hunter2", "<a>"),
            ("pass\"wo\\rd", "<b>"),
            (key, "<c>"),
            ("7", "<d>"),
            ("ünïcödé-sécrét", "<e>"),
        ]);
        for (text, expected) in [
            ("my hunter2 and hunter22", "my <a> and <a>2"),
            ("must be a number, not \"pass\\\"wo\\\\rd\"", "must be a number, not \"<b>\""),
            ("pass\"wo\\rd", "<b>"),
            ("not \"-----BEGIN KEY-----\\nMIIEvQ...", "not \"<c>..."),
            ("line MIIEvQIBADANBg of it", "line <c> of it"),
            ("17 of 7, not \"7\", `7`", "17 of 7, not \"<d>\", `<d>`"),
            ("ünïcödé-sécrX", "<e>X"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(secrets.hide(text), expected);
        }
        assert!(matches!(secrets.hide("nothing"), Cow::Borrowed(_)));
        assert_eq!(format!("{secrets:?}").matches("hunter2").count(), 0);
    }
}
