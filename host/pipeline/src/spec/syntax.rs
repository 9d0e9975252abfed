//! What is wrong with a text that is no YAML, in words for whoever wrote it: the line, a mark under the place, and what is usually the
//! cause. The parser's own words are those of its grammar.

use granit_parser::{ErrorKind, Parser};

/// Where a text stops being YAML, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub place: (u64, u64),
    /// With the line and a mark under the place.
    pub message: String,
}

/// The first thing that is wrong; `None` if the text is YAML.
pub(super) fn broken(text: &str) -> Option<Broken> {
    let error = Parser::new_from_str(text).find_map(Result::err)?;
    let lines: Vec<&str> = text.lines().collect();
    let (mut line, mut column) = (error.marker().line().max(1), error.marker().col() + 1);
    // What breaks off at the end of a text shows behind its last line.
    if line > lines.len() {
        line = lines.len().max(1);
        column = lines.last().map_or(0, |last| last.chars().count()) + 1;
    }
    // A tab at the beginning of a line may be noticed at the end of the one before.
    let tab = (line..=line + 1).find_map(|n| Some((n, tab_indentation(lines.get(n - 1)?)?)));
    let cause = match tab {
        Some((n, at)) => {
            line = n;
            Cause { words: "a tab in the indentation: YAML takes spaces only; replace it".into(), column: Some(at + 1) }
        }
        None => cause(error.kind(), &lines, line),
    };
    if let Some(at) = cause.column {
        column = at;
    }
    Some(Broken {
        place: (line as u64, column as u64),
        message: format!("{}{}", cause.words, excerpt(&lines, line, column)),
    })
}

/// What is wrong, and where in the line it shows better than where the parser gave up.
struct Cause {
    words: String,
    column: Option<usize>,
}

fn cause(kind: &ErrorKind, lines: &[&str], line: usize) -> Cause {
    let text = lines.get(line - 1).copied().unwrap_or_default();
    let plain = |words: &str| Cause { words: words.into(), column: None };
    match kind {
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::MappingValueNotAllowed
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey => {
            indentation(lines, line).or_else(|| second_colon(text)).or_else(|| no_colon(text)).unwrap_or_else(|| {
                plain("this does not go with the line before: write `key: value`, or `- item` for an item of a list")
            })
        }
        ErrorKind::UnclosedFlowCollection { open } => plain(&format!("a `{open}` is not closed")),
        ErrorKind::UnexpectedEofFlowSequence | ErrorKind::ExpectedFlowSequenceSeparator => {
            plain("a list `[...]` goes on here: a `,` or its `]` is missing")
        }
        ErrorKind::UnexpectedEofFlowMapping | ErrorKind::ExpectedFlowMappingSeparator => {
            let words = match text.contains("${") {
                true => {
                    "a mapping `{...}` goes on here: a `,` or its `}` is missing; within `{...}`, put quotes around \"${...}\""
                }
                false => "a mapping `{...}` goes on here: a `,` or its `}` is missing",
            };
            plain(words)
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            plain("a bracket that closes nothing: remove it, or write its other half")
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            plain(&format!("a `{open}` is closed by `{close}`: write the other half of `{open}`"))
        }
        ErrorKind::UnclosedQuotedScalar => plain("a quotation mark is not closed"),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            plain("text behind a closed quotation mark: put all of the value between the marks")
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            plain("a `\\` between double quotes begins an escape that is not known: write `\\\\`, or use single quotes")
        }
        ErrorKind::TabInIndentation | ErrorKind::TabInBlockIndentation | ErrorKind::TabNotAllowed => {
            plain("a tab: YAML takes spaces only; replace it")
        }
        ErrorKind::UnknownAnchor => {
            plain("`*name` refers to no `&name` above it; put quotes around a text that begins with `*`")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            plain(&format!("a text cannot begin with `{character}`: put quotes around it"))
        }
        other => plain(&other.to_string()),
    }
}

/// Where a line has a tab before its first word.
fn tab_indentation(line: &str) -> Option<usize> {
    line.find('\t').filter(|at| line[..*at].trim().is_empty() && !line.trim().is_empty())
}

/// A line that starts in a column in which no line above it does that it could belong to; or deeper than one that has its value already.
fn indentation(lines: &[&str], line: usize) -> Option<Cause> {
    let depth = |text: &str| text.len() - text.trim_start_matches(' ').len();
    let own = depth(lines.get(line - 1)?);
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (n, text) in lines[..line - 1].iter().enumerate().rev() {
        let words = text.trim();
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        // An item's first key stands behind its dash.
        let mut at = depth(text);
        let mut starts = vec![at];
        while text[at..].starts_with("- ") {
            at += 2;
            at += depth(&text[at..]);
            starts.push(at);
        }
        for at in starts.into_iter().rev() {
            if open.last().is_none_or(|(least, _)| at < *least) {
                open.push((at, n + 1));
            }
        }
    }
    let (deepest, above) = *open.first()?;
    if open.iter().any(|(at, _)| *at == own) {
        return None;
    }
    let spaces = |count: usize| if count == 1 { "1 space".to_owned() } else { format!("{count} spaces") };
    let is_open = lines[above - 1].split(" #").next().unwrap_or_default().trim_end().ends_with(':');
    if own > deepest && is_open {
        return None;
    }
    let words = if own > deepest {
        format!(
            "this line is indented by {}, and line {above} above it, by {deepest}, has its value already: {}",
            spaces(own),
            "indent both alike, or end line above with `:` alone".replace("line above", &format!("line {above}"))
        )
    } else {
        let places: Vec<String> = open.iter().map(|(at, n)| format!("{at} (as line {n})")).collect();
        format!(
            "this line is indented by {}: with the lines above it, it can only be {}",
            spaces(own),
            places.join(" or ")
        )
    };
    Some(Cause { words, column: Some(own + 1) })
}

/// `key: a: b`
fn second_colon(text: &str) -> Option<Cause> {
    let first = text.find(": ")?;
    let second = text[first + 2..].find(": ").map(|at| first + 2 + at)?;
    let words =
        "a second `: ` in one line: put quotes around a value that has one, or write it as `{ key: value }`".into();
    Some(Cause { words, column: Some(text[..second].chars().count() + 1) })
}

/// `key value`
fn no_colon(text: &str) -> Option<Cause> {
    let trimmed = text.trim();
    if trimmed.contains(':') && !trimmed.contains(": ") && !trimmed.ends_with(':') {
        let at = text.find(':')?;
        let words = "a space is missing behind the `:`".into();
        return Some(Cause { words, column: Some(text[..at].chars().count() + 1) });
    }
    (!trimmed.contains(':')).then(|| Cause { words: "a `:` is missing: write `key: value`".into(), column: None })
}

/// A line with the one before it, and a mark under a column.
fn excerpt(lines: &[&str], line: usize, column: usize) -> String {
    /// Characters of a line that are shown.
    const SHOWN_MAX: usize = 160;
    let width = line.to_string().len();
    let mut shown = String::new();
    for n in line.saturating_sub(1).max(1)..=line {
        let text: String = lines.get(n - 1).unwrap_or(&"").chars().take(SHOWN_MAX).collect();
        shown += &format!("\n  {n:>width$} | {}", text.replace('\t', "→"));
    }
    shown + &format!("\n  {:>width$} | {}^", "", " ".repeat(column.min(SHOWN_MAX + 1) - 1))
}
