//! Words that come from a guest: cut to length, kept on one line. Never judges what they say.

/// At most `bytes_max` bytes of `text`, whole characters.
pub(crate) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// `text` without what would break a line of a log or move a terminal's cursor: control characters are escaped.
pub(crate) fn one_line(text: String) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\t') {
        return text;
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() && c != '\t' { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// The beginning of what a guest says, as one line of at most `bytes_max`. Cut first: escaped, a long text is several times as long.
pub(crate) fn said(text: String, bytes_max: usize) -> String {
    cut(one_line(cut(text, bytes_max)), bytes_max)
}

/// The beginning of `text`, quoted, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let cut: String = text.chars().take(CHARS_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_whole_characters() {
        assert_eq!(cut("aé".into(), 2), "a");
        assert_eq!(cut("aé".into(), 3), "aé");
        assert_eq!(cut("aé".into(), 99), "aé");
    }

    #[test]
    fn keeps_a_line_a_line() {
        assert_eq!(one_line("a\tb é".into()), "a\tb é");
        assert_eq!(one_line("a\n\u{1b}[2Jé".into()), "a\\n\\u{1b}[2Jé");
    }

    #[test]
    fn what_is_said_is_short_whatever_is_in_it() {
        assert_eq!(said("\0".repeat(1 << 20), 8), "\\u{0}\\u{");
        assert_eq!(said("ok\n".into(), 8), "ok\\n");
    }

    #[test]
    fn an_excerpt_says_that_it_is_one() {
        assert_eq!(excerpt("a\"b"), "\"a\\\"b\"");
        assert!(excerpt(&"x".repeat(81)).ends_with("x\"…"));
    }
}
