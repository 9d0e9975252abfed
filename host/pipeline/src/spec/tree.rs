//! A YAML text as a tree whose nodes know where they stand: for messages that point at a line, and for edits that leave the rest of
//! a file as it is. Values are read elsewhere.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

/// Deeper than any file that means something. What is deeper has no tree.
const DEPTH_MAX: usize = 64;

/// A value of a YAML text.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its bytes in the text. Those of a block end after its last line.
    pub span: Range<usize>,
    /// Line and column of its first character, from 1.
    pub place: (u64, u64),
    /// Its number if other values may refer to it (`&name`).
    pub anchor: Option<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A text, a number, or what else is no list and no mapping; with its escapes resolved.
    Scalar {
        /// Its text.
        text: String,
        /// True if it goes over several lines by `|` or `>`.
        block: bool,
    },
    /// A list.
    List {
        /// True for `[...]`, false for lines with `- `.
        flow: bool,
        /// In order.
        items: Vec<Node>,
    },
    /// A mapping.
    Map {
        /// True for `{...}`.
        flow: bool,
        /// Keys and values in order.
        entries: Vec<(Node, Node)>,
    },
    /// Another value once more (`*name`), by its number.
    Alias(usize),
}

impl Node {
    /// The tree of a text's first document; `None` if it has none, or is no YAML.
    pub fn of(text: &str) -> Option<Self> {
        let mut parser = Parser::new_from_str(text);
        loop {
            let (event, span) = next(&mut parser)?;
            if matches!(event, Event::StreamEnd) {
                return None;
            }
            if let Some(node) = node(text, &mut parser, event, span, 0)? {
                return Some(node);
            }
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Key and value of an entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        match &self.kind {
            Kind::Map { entries, .. } => {
                entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(name, value)| (name, value))
            }
            _ => None,
        }
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// An item of a list, from 0.
    pub fn item(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            Kind::List { items, .. } => items.get(index),
            _ => None,
        }
    }

    /// What a message calls `transforms[0].limits.memory`. Of a path that is not there to its end, the last part that is; `None` if not even
    /// the first is. Keys may have dots in them.
    pub fn find(&self, path: &str) -> Option<Found> {
        let (mut at, mut rest, mut found) = (self, path, None);
        while !rest.is_empty() {
            if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let Some(item) = index.parse().ok().and_then(|index| at.item(index)) else { break };
                (at, rest, found) = (item, after, Some(Found { key: item.place, value: item.place }));
                continue;
            }
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let Kind::Map { entries, .. } = &at.kind else { break };
            // The longest key that fits: `security.protocol` before `security`.
            let fits = |name: &&str| {
                rest.strip_prefix(*name).is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
            };
            let fitting = entries.iter().filter_map(|(key, value)| Some((key.text().filter(|n| fits(n))?, key, value)));
            let Some((name, key, value)) = fitting.max_by_key(|(name, ..)| name.len()) else { break };
            (at, rest, found) = (value, &rest[name.len()..], Some(Found { key: key.place, value: value.place }));
        }
        found
    }
}

/// Where a key and its value stand; an item of a list is its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Line and column of the key.
    pub key: (u64, u64),
    /// Of the value.
    pub value: (u64, u64),
}

fn next<'t>(parser: &mut Parser<'t, granit_parser::StrInput<'t>>) -> Option<(Event<'t>, Span)> {
    loop {
        let (event, span) = parser.next_event()?.ok()?;
        if !matches!(event, Event::Comment(..)) {
            return Some((event, span));
        }
    }
}

/// The node that begins with an event; `Some(None)` if none does, `None` if the text breaks off.
fn node<'t>(
    text: &'t str,
    parser: &mut Parser<'t, granit_parser::StrInput<'t>>,
    event: Event<'t>,
    span: Span,
    depth: usize,
) -> Option<Option<Node>> {
    if depth > DEPTH_MAX {
        return None;
    }
    let bytes = span.byte_range()?;
    let (mut start, mut end) = (bytes.start, bytes.end);
    let mut place = (span.start.line() as u64, span.start.col() as u64 + 1);
    let anchor = event.anchor_id();
    let kind = match event {
        Event::Scalar(value, style, ..) => {
            let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            if block {
                // The parser's span goes from the first word to what comes next: ours, from the mark to the end of the last line.
                let header = text[..start].rfind(['|', '>'])?;
                place.0 -= text[header..start].matches('\n').count() as u64;
                let line = text[..header].rfind('\n').map_or(0, |newline| newline + 1);
                place.1 = text[line..header].chars().count() as u64 + 1;
                (start, end) = (header, text[..end].trim_end_matches(' ').len());
            }
            Kind::Scalar { text: value.into_owned(), block }
        }
        Event::Alias(anchor) => Kind::Alias(anchor),
        Event::SequenceStart(style, ..) => {
            let mut items = Vec::new();
            loop {
                let (event, span) = next(parser)?;
                if matches!(event, Event::SequenceEnd) {
                    end = span.byte_range()?.end;
                    break;
                }
                items.push(node(text, parser, event, span, depth + 1)??);
            }
            Kind::List { flow: style == StructureStyle::Flow, items }
        }
        Event::MappingStart(style, ..) => {
            let mut entries = Vec::new();
            loop {
                let (event, span) = next(parser)?;
                if matches!(event, Event::MappingEnd) {
                    end = span.byte_range()?.end;
                    break;
                }
                let key = node(text, parser, event, span, depth + 1)??;
                let (event, span) = next(parser)?;
                entries.push((key, node(text, parser, event, span, depth + 1)??));
            }
            Kind::Map { flow: style == StructureStyle::Flow, entries }
        }
        _ => return Some(None),
    };
    Some(Some(Node { span: start..end.max(start), place, anchor, kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment.
source:
  kafka: { brokers: 'h:1', properties: { security.protocol: SSL, security: x } }
transforms:
  - component: a.wasm   # one
    config:
      mask: [ email, \"phone\" ]
  - component: |
      b.wasm
";

    #[test]
    fn everything_has_its_place() {
        let tree = Node::of(TEXT).expect("is YAML");
        let place = |path: &str| tree.find(path).map(|found| found.value);
        assert_eq!(place("source.kafka.brokers"), Some((3, 21)));
        assert_eq!(place("source.kafka.properties.security.protocol"), Some((3, 61)));
        assert_eq!(place("transforms[0].config.mask[1]"), Some((7, 22)));
        assert_eq!(place("transforms[0].config.nothing"), Some((7, 7)), "as far as it goes");
        assert_eq!(place("sinks.orders"), None);
        assert_eq!(tree.find("source.kafka").map(|found| found.key), Some((3, 3)));
        let mask = tree.get("transforms").and_then(|t| t.item(0)?.get("config")?.get("mask")).expect("is there");
        assert_eq!(&TEXT[mask.span.clone()], "[ email, \"phone\" ]");
        assert_eq!(mask.item(1).and_then(Node::text), Some("phone"));
        let block = tree.get("transforms").and_then(|t| t.item(1)?.get("component")).expect("is there");
        assert!(matches!(&block.kind, Kind::Scalar { text, block: true } if text == "b.wasm\n"));
    }

    #[test]
    fn what_is_no_yaml_has_no_tree() {
        for text in ["", "a: [", "a: b: c", &"[".repeat(100_000), "# nothing"] {
            assert!(Node::of(text).is_none(), "{text:.20}");
        }
    }
}
