//! The text of a pipeline file with what its references stand for, so that any value may be one. Not where secrets stand: there the
//! reference itself is kept, and looked up where it is used.

use std::collections::BTreeSet;
use std::path::Path;

use lakemill_model::Secrets;

use super::reference::{self, Part, Reference, References};
use super::tree::{Kind, Node};

/// A text and what was put into it.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub text: String,
    /// In the order of the text.
    moved: Vec<Moved>,
    /// Values that stand in the text now, and what stood there.
    pub values: Secrets,
}

/// A value that has taken the place of another: columns and lengths in characters.
#[derive(Clone, Copy, Debug)]
struct Moved {
    line: u64,
    column: u64,
    length: u64,
    was: u64,
}

/// Where something is wrong with a reference, and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub place: (u64, u64),
    pub message: String,
}

/// The text with what its references stand for. `references` says what is done for which value, by its path.
///
/// # Errors
/// What looks like a reference and is none, or stands for nothing.
pub(super) fn fill(
    text: &str,
    tree: Option<&Node>,
    folder: &Path,
    references: &dyn Fn(&[Step<'_>]) -> References,
) -> Result<Filled, Refused> {
    let mut filled = Filled::default();
    let mut done = 0;
    if let Some(tree) = tree.filter(|_| reference::may_have(text)) {
        let mut aliases = BTreeSet::new();
        find_aliases(tree, &mut Vec::new(), &mut aliases);
        let mut of =
            Filling { text, folder, references, aliases, anchors: Vec::new(), filled: &mut filled, done: &mut done };
        of.value(tree, &mut Vec::new())?;
    }
    filled.text += &text[done..];
    Ok(filled)
}

/// A step of the way to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'t> {
    Key(&'t str),
    Item,
}

/// Whether what stands here is never written down: what a transform is configured with, and how to log in. (The brokers are no
/// secret, but nobody but the client needs them.)
fn is_secret(path: &[Step<'_>]) -> bool {
    use Step::{Item, Key};
    matches!(
        path,
        [Key("transforms"), Item, Key("config"), ..] | [Key("source"), Key("kafka"), Key("properties" | "brokers"), ..]
    )
}

/// The numbers of what is referred to, each with whether that is where secrets stand.
fn find_aliases<'t>(node: &'t Node, path: &mut Vec<Step<'t>>, aliases: &mut BTreeSet<(usize, bool)>) {
    match &node.kind {
        Kind::Scalar { .. } => {}
        Kind::Alias(anchor) => drop(aliases.insert((*anchor, is_secret(path)))),
        Kind::List { items, .. } => {
            path.push(Step::Item);
            items.iter().for_each(|item| find_aliases(item, path, aliases));
            path.pop();
        }
        Kind::Map { entries, .. } => {
            for (key, value) in entries {
                path.push(Step::Key(key.text().unwrap_or_default()));
                find_aliases(value, path, aliases);
                path.pop();
            }
        }
    }
}

struct Filling<'t, 'f> {
    text: &'t str,
    folder: &'t Path,
    references: &'f dyn Fn(&[Step<'_>]) -> References,
    /// See [`find_aliases`].
    aliases: BTreeSet<(usize, bool)>,
    /// Numbers of the values that we are in.
    anchors: Vec<usize>,
    filled: &'f mut Filled,
    /// So many bytes of the text are in `filled`.
    done: &'f mut usize,
}

impl<'t> Filling<'t, '_> {
    fn value(&mut self, node: &'t Node, path: &mut Vec<Step<'t>>) -> Result<(), Refused> {
        self.anchors.extend(node.anchor);
        match &node.kind {
            Kind::Scalar { text, block } => self.scalar(node, text, *block, path)?,
            Kind::Alias(_) => {}
            Kind::List { items, .. } => {
                for item in items {
                    path.push(Step::Item);
                    self.value(item, path)?;
                    path.pop();
                }
            }
            Kind::Map { entries, .. } => {
                for (key, value) in entries {
                    let name = key.text().unwrap_or_default();
                    if name.contains("${env:") || name.contains("${file:") {
                        let message = format!("`{name}`: a key cannot be a reference, only a value can");
                        return Err(Refused { place: key.place, message });
                    }
                    path.push(Step::Key(name));
                    self.value(value, path)?;
                    path.pop();
                }
            }
        }
        if node.anchor.is_some() {
            self.anchors.pop();
        }
        Ok(())
    }

    fn scalar(&mut self, node: &Node, text: &str, block: bool, path: &[Step<'_>]) -> Result<(), Refused> {
        if !reference::may_have(text) {
            return Ok(());
        }
        let refused = |message: String| Err(Refused { place: node.place, message });
        let parts = reference::parts(text)
            .map_err(|wrong| Refused { place: self.place_of(node, &text[wrong.at..]), message: wrong.message })?;
        if parts.as_slice() == [Part::Literal(text)] {
            return Ok(());
        }
        reference::becomes(text).map_err(|message| Refused { place: node.place, message })?;
        let secret = is_secret(path);
        // What is a secret here must not be written out there, and the other way round.
        if self.anchors.iter().any(|anchor| self.aliases.contains(&(*anchor, !secret))) {
            return refused(format!(
                "`{}` is referred to (`&name`) where it is a secret, and where it is none: write it out in both places",
                first(&parts)
            ));
        }
        if !secret && (block || self.text[node.span.clone()].contains('\n')) {
            return refused(format!("`{}` stands in a text of several lines: write it on one line", first(&parts)));
        }
        let mut value = String::new();
        for part in &parts {
            match part {
                Part::Literal(literal) => value += literal,
                Part::Reference(reference) => value += &self.look_up(node, *reference, path)?,
            }
        }
        if !secret {
            self.put(node, &value);
        }
        Ok(())
    }

    fn look_up(&mut self, node: &Node, reference: Reference<'_>, path: &[Step<'_>]) -> Result<String, Refused> {
        if (self.references)(path) == References::Kept {
            return Ok(reference.whole.to_owned());
        }
        let value = reference.look_up(self.folder).map_err(|why| {
            let message = format!("{why}; `lakemill validate --no-env` checks the rest without it");
            Refused { place: self.place_of(node, reference.whole), message }
        })?;
        self.filled.values.add(&value, reference.whole);
        Ok(value)
    }

    /// A value in place of what stands there.
    fn put(&mut self, node: &Node, value: &str) {
        let is_plain = value == "true" || value == "false" || is_number(value);
        let value = if is_plain { value.to_owned() } else { serde_json::Value::from(value).to_string() };
        let was = &self.text[node.span.clone()];
        let chars = |text: &str| text.chars().count() as u64;
        self.filled.text += &self.text[*self.done..node.span.start];
        self.filled.text += &value;
        *self.done = node.span.end;
        let (line, column) = node.place;
        self.filled.moved.push(Moved { line, column, length: chars(&value), was: chars(was) });
    }

    /// Where a piece of a scalar stands.
    fn place_of(&self, node: &Node, piece: &str) -> (u64, u64) {
        let raw = &self.text[node.span.clone()];
        let piece = piece.lines().next().unwrap_or_default();
        let Some(at) = raw.find(piece).filter(|_| !piece.is_empty()) else { return node.place };
        let before = &raw[..at];
        match before.rsplit_once('\n') {
            None => (node.place.0, node.place.1 + before.chars().count() as u64),
            Some((lines, last)) => {
                (node.place.0 + 1 + lines.matches('\n').count() as u64, last.chars().count() as u64 + 1)
            }
        }
    }
}

fn first<'t>(parts: &[Part<'t>]) -> &'t str {
    let of = |part: &Part<'t>| match part {
        Part::Reference(reference) => Some(reference.whole),
        Part::Literal(_) => None,
    };
    parts.iter().find_map(of).unwrap_or("$${")
}

/// Digits, with a sign and a fraction perhaps: what YAML and people take for a number.
fn is_number(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = value.strip_prefix('-').unwrap_or(value);
    match value.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(value),
    }
}

impl Filled {
    /// Where a place of the filled text is in the original.
    pub fn original(&self, (line, column): (u64, u64)) -> (u64, u64) {
        let mut column = column;
        for moved in self.moved.iter().filter(|moved| moved.line == line) {
            if column < moved.column {
                break;
            }
            if column < moved.column + moved.length {
                return (line, moved.column);
            }
            // What comes after it has moved by as much as it is longer.
            column = column + moved.was - moved.length;
        }
        (line, column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<Filled, Refused> {
        fill(text, Node::of(text).as_ref(), Path::new("."), &|_| References::LookedUp)
    }

    #[test]
    fn values_are_filled_and_secrets_are_not() {
        // Cargo sets these for every test.
        let text = "\
pipeline: ${env:CARGO_PKG_NAME}   # ${env:NOT_THIS}
source:
  kafka: { brokers: \"${env:CARGO_PKG_NAME}:1\", topics: ['${env:CARGO_PKG_NAME}.x', b] }
batch: { rows_max: \"${env:CARGO_PKG_VERSION_MINOR}\", y: 2 }
transforms:
  - component: $${env:X}.wasm
    config: { salt: \"${env:CARGO_PKG_NAME}\" }
";
        let filled = filled(text).expect("is fine");
        let expected = text
            .replacen("${env:CARGO_PKG_NAME}", "\"lakemill-pipeline\"", 1)
            .replace("'${env:CARGO_PKG_NAME}.x'", "\"lakemill-pipeline.x\"")
            .replace("\"${env:CARGO_PKG_VERSION_MINOR}\"", env!("CARGO_PKG_VERSION_MINOR"))
            .replace("$${env:X}.wasm", "\"${env:X}.wasm\"");
        assert_eq!(filled.text, expected);
        // The places of what has moved, and of what came after it on its line.
        let place = |text: &str, word: &str| {
            let (n, line) = text.lines().enumerate().find(|(_, line)| line.contains(word)).expect(word);
            (n as u64 + 1, line.find(word).map(|at| line[..at].chars().count()).expect(word) as u64 + 1)
        };
        for word in ["pipeline:", "# ${env:NOT", "b] }", "y: 2", "config", "rows_max"] {
            assert_eq!(filled.original(place(&filled.text, word)), place(text, word), "{word}");
        }
        assert_eq!(filled.original(place(&filled.text, "lakemill-pipeline.x")), place(text, "'${env"));
    }

    #[test]
    fn what_cannot_be_filled_is_refused_where_it_stands() {
        for (text, place, expected) in [
            ("a: 1\nb: [x, 'ä ${foo}']", (2, 11), "`${foo}` names nothing"),
            ("b: \"${env:LAKEMILL_NOT_SET}\"", (1, 5), "is not set"),
            ("transforms: [{ config: { a: { b: ['${env:LAKEMILL_NOT_SET}'] } } }]", (1, 36), "is not set"),
            ("transforms:\n- config:\n    a: |\n      one\n      two $env{X}\n", (5, 11), "did you mean `${env:X}`?"),
            ("a: |\n  ${env:CARGO_PKG_NAME}\n", (1, 4), "several lines"),
            ("a: &x '${env:CARGO_PKG_NAME}'\ntransforms: [{ config: { b: *x } }]", (1, 7), "write it out in both"),
            ("transforms: [{ config: &x { b: '${env:CARGO_PKG_NAME}' } }]\na: *x", (1, 32), "write it out in both"),
            ("transforms: [{ config: { '${env:HOME}': 1 } }]", (1, 26), "a key cannot be a reference"),
        ] {
            let refused = filled(text).expect_err(text);
            assert!(refused.message.contains(expected), "{text}: {}", refused.message);
            assert_eq!(refused.place, place, "{text}: {}", refused.message);
        }
    }

    #[test]
    fn what_is_referred_to_is_filled_once() {
        let text = "a: &x '${env:CARGO_PKG_NAME}'\nb: *x";
        assert_eq!(filled(text).expect("is fine").text, "a: &x \"lakemill-pipeline\"\nb: *x");
        let text = "transforms: [{ config: &x { b: '${env:CARGO_PKG_NAME}' } }, { config: *x }]";
        assert_eq!(filled(text).expect("is fine").text, text);
    }

    #[test]
    fn without_the_environment_a_reference_stands_for_itself() {
        let text = "a: \"x ${env:LAKEMILL_NOT_SET}\"";
        let tolerant = fill(text, Node::of(text).as_ref(), Path::new("."), &|_| References::Kept).expect("is fine");
        assert_eq!(tolerant.text, text);
    }
}
