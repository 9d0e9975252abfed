//! Edits of a YAML file that leave the rest of it as it is: comments, order and style. Pure: from a text and values to a text.

use std::ops::Range;

use lakemill_pipeline::spec::tree::{Kind, Node};
use serde_json::{Map, Value};

/// Edits of a text, to be made together.
#[derive(Debug)]
pub struct Edits<'t> {
    text: &'t str,
    list: Vec<(Range<usize>, String)>,
}

impl<'t> Edits<'t> {
    /// None so far.
    pub fn of(text: &'t str) -> Self {
        Self { text, list: Vec::new() }
    }

    /// `node`, which says `old`, is to say `new`.
    pub fn change(&mut self, node: &Node, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (&node.kind, old, new) {
            (Kind::List { flow, items }, Value::Array(old), Value::Array(new))
                if items.len() == old.len() && !items.is_empty() && !new.is_empty() =>
            {
                for ((item, old), new) in items.iter().zip(old).zip(new) {
                    self.change(item, old, new);
                }
                let kept = new.len().min(items.len());
                let (last_kept, last) = (end(&items[kept - 1]), end(&items[items.len() - 1]));
                if kept < items.len() {
                    self.list.push((self.after(last_kept, *flow)..self.after(last, *flow), String::new()));
                }
                for new in &new[kept..] {
                    let more = match flow {
                        true => format!(", {}", inline(new)),
                        false => format!("\n{}- {}", " ".repeat(self.dash(&items[0])), inline(new)),
                    };
                    let at = self.after(last, *flow);
                    self.list.push((at..at, more));
                }
            }
            (Kind::Map { flow, entries }, Value::Object(old), Value::Object(new)) => {
                let gone = entries.iter().any(|(key, _)| key.text().is_some_and(|key| !new.contains_key(key)));
                let added: Vec<_> = new.iter().filter(|(key, _)| !old.contains_key(*key)).collect();
                if gone || entries.is_empty() || (*flow && !added.is_empty()) {
                    self.replace(node, in_order(entries, new));
                    return;
                }
                for (key, value) in entries {
                    let key = key.text().unwrap_or_default();
                    if let (Some(old), Some(new)) = (old.get(key), new.get(key)) {
                        self.change(value, old, new);
                    }
                }
                for (key, value) in added {
                    self.add(node, key, value);
                }
            }
            _ => self.replace(node, inline(new)),
        }
    }

    /// One more entry for a mapping.
    pub fn add(&mut self, map: &Node, key: &str, value: &Value) {
        let Kind::Map { flow, entries } = &map.kind else { return };
        let Some((first, last)) = entries.first().zip(entries.last().map(|(_, value)| end(value))) else { return };
        let entry = format!("{}: {}", name(key), inline(value));
        let more = match flow {
            true => format!(", {entry}"),
            false => format!("\n{}{entry}", " ".repeat(usize::try_from(first.0.place.1).unwrap_or(1) - 1)),
        };
        let at = self.after(last, *flow);
        self.list.push((at..at, more));
    }

    /// The text with all edits.
    pub fn made(mut self) -> String {
        // Of those at one place, the first comes first.
        self.list.sort_by_key(|(range, _)| range.start);
        let (mut out, mut done) = (String::with_capacity(self.text.len()), 0);
        for (range, new) in self.list {
            out += &self.text[done..range.start.max(done)];
            out += &new;
            done = range.end.max(done);
        }
        out + &self.text[done..]
    }

    fn replace(&mut self, node: &Node, new: String) {
        let block = matches!(&node.kind, Kind::List { flow: false, items } if !items.is_empty());
        let start = if block { self.line(node.span.start) + self.first_dash(node) } else { node.span.start };
        let until = end(node);
        // A text by `|` ends with its line.
        let more = if self.text[start..until].ends_with('\n') { "\n" } else { "" };
        self.list.push((start..until, new + more));
    }

    /// Behind a value: at once, or where its line ends, after a comment.
    fn after(&self, end: usize, flow: bool) -> usize {
        let rest = &self.text[end..];
        if flow || self.text[..end].ends_with('\n') {
            return self.text[..end].trim_end_matches('\n').len();
        }
        end + rest.find('\n').unwrap_or(rest.len())
    }

    /// Where the line of a byte begins.
    fn line(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The column, from 0, of the dash before an item.
    fn dash(&self, item: &Node) -> usize {
        let line = self.line(item.span.start);
        let before = &self.text[line..item.span.start];
        before.rfind('-').unwrap_or(0)
    }

    fn first_dash(&self, list: &Node) -> usize {
        list.item(0).map_or(0, |item| self.dash(item))
    }
}

/// Where a value ends. A block ends with its last value: its span goes on to what comes next.
fn end(node: &Node) -> usize {
    match &node.kind {
        Kind::List { flow: false, items } => items.last().map_or(node.span.end, end),
        Kind::Map { flow: false, entries } => entries.last().map_or(node.span.end, |(_, value)| end(value)),
        _ => node.span.end,
    }
}

/// A mapping in one line: the keys that were there first, as they were.
fn in_order(entries: &[(Node, Node)], new: &Map<String, Value>) -> String {
    let known: Vec<&str> =
        entries.iter().filter_map(|(key, _)| key.text()).filter(|key| new.contains_key(*key)).collect();
    let more = new.keys().map(String::as_str).filter(|key| !known.contains(key));
    let all = known.iter().copied().chain(more);
    braces(all.map(|key| format!("{}: {}", name(key), inline(&new[key]))).collect())
}

fn braces(entries: Vec<String>) -> String {
    if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A value in one line.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            braces(entries.iter().map(|(key, value)| format!("{}: {}", name(key), inline(value))).collect())
        }
        other => other.to_string(),
    }
}

fn name(key: &str) -> String {
    if is_plain(key) { key.to_owned() } else { Value::from(key).to_string() }
}

/// Whether a text means itself without quotation marks.
fn is_plain(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.@/".contains(c);
    let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(fits)
        && !taken.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
# What the shop wants.
output:
  orders:
    - { id: 1, gross: 12.6 }   # with tax
    # This one is large.
    - id: 2
      gross: 100   # round
      note: |
        two
        lines
  flow: [ { a: 1 }, { a: 2 } ]   # both
last: x
";

    /// The text after a change of what stands under a key of `output`.
    fn changed(key: &str, change: impl FnOnce(&mut Value)) -> String {
        let old: Value = serde_saphyr::from_str(TEXT).expect("is YAML");
        let mut new = old.clone();
        change(&mut new["output"][key]);
        let tree = Node::of(TEXT).expect("is YAML");
        let mut edits = Edits::of(TEXT);
        edits.change(&tree, &old, &new);
        let made = edits.made();
        let read: Value = serde_saphyr::from_str(&made).unwrap_or_else(|error| panic!("{error}\n{made}"));
        assert_eq!(read, new, "\n{made}");
        made
    }

    #[test]
    fn a_cell_is_changed_and_nothing_else() {
        let made = changed("orders", |rows| rows[0]["gross"] = json!(13.5));
        assert_eq!(made, TEXT.replace("12.6", "13.5"));
        let made = changed("orders", |rows| rows[1]["gross"] = json!("a: b"));
        assert_eq!(made, TEXT.replace("gross: 100 ", "gross: \"a: b\" "));
        let made = changed("orders", |rows| rows[1]["note"] = json!("short"));
        assert!(made.contains("gross: 100   # round\n      note: short\n  flow"), "{made}");
    }

    #[test]
    fn rows_come_and_go_at_their_end() {
        let made = changed("orders", |rows| rows.as_array_mut().expect("rows").push(json!({"id": 3, "no": null})));
        assert!(made.contains("        lines\n    - { id: 3, \"no\": null }\n  flow"), "{made}");
        let made = changed("flow", |rows| rows.as_array_mut().expect("rows").push(json!({"a": 3})));
        assert_eq!(made, TEXT.replace("{ a: 2 } ]", "{ a: 2 }, { a: 3 } ]"));
        let made = changed("orders", |rows| drop(rows.as_array_mut().expect("rows").pop()));
        assert!(made.contains("# with tax\n  flow") && made.contains("# What the shop wants."), "{made}");
        let made = changed("flow", |rows| drop(rows.as_array_mut().expect("rows").pop()));
        assert_eq!(made, TEXT.replace("{ a: 1 }, { a: 2 } ]", "{ a: 1 } ]"));
        for key in ["orders", "flow"] {
            let made = changed(key, |rows| *rows = json!([]));
            assert!(made.contains("[]") && made.contains("last: x"), "{made}");
        }
    }

    #[test]
    fn columns_come_and_go() {
        let made = changed("orders", |rows| rows[0]["tax"] = json!(true));
        assert!(made.contains("- { id: 1, gross: 12.6, tax: true }   # with tax\n"), "{made}");
        let made = changed("orders", |rows| rows[1]["tax"] = json!([1, "x y"]));
        assert!(made.contains("        lines\n      tax: [1, \"x y\"]\n"), "{made}");
        let made = changed("orders", |rows| drop(rows[0].as_object_mut().expect("a row").remove("id")));
        assert!(made.contains("- { gross: 12.6 }   # with tax\n"), "{made}");
        changed("orders", |rows| drop(rows[1].as_object_mut().expect("a row").remove("gross")));
        changed("other", |rows| *rows = json!([{ "b": 1 }]));
    }
}
