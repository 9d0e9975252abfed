//! Why rows are dead: their reasons without the values in them, counted. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::letters::{Letter, LetterStage};

/// Reasons that are told apart; what comes beyond is counted together.
const REASONS_MAX: usize = 50;

/// Longer reasons are cut.
const CHARS_MAX: usize = 200;

/// In place of a value.
const VALUE: char = '…';

/// What stands for reasons beyond [`REASONS_MAX`].
const OTHERS: &str = "other reasons";

/// Rows that are dead for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadReason {
    /// Where they died, as the dead letters have it: decode, transform, sink.
    pub stage: &'static str,
    /// Why, without the values: column and what is wrong with it.
    pub reason: String,
    /// How many.
    pub rows: u64,
}

/// Dead rows by stage and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(BTreeMap<(&'static str, String), u64>);

impl Reasons {
    /// Of what goes to the side; late rows are not dead.
    pub fn of(letters: &[Letter]) -> Self {
        let mut reasons = Self::default();
        for letter in letters.iter().filter(|letter| letter.stage != LetterStage::Late) {
            reasons.count(letter.stage.name(), pattern(&letter.reason), 1);
        }
        reasons
    }

    pub fn add(&mut self, other: &Self) {
        for ((stage, reason), rows) in &other.0 {
            self.count(stage, reason.clone(), *rows);
        }
    }

    fn count(&mut self, stage: &'static str, reason: String, rows: u64) {
        let key = (stage, reason);
        let is_others = !self.0.contains_key(&key) && self.0.len() >= REASONS_MAX;
        let key = if is_others { (stage, OTHERS.to_owned()) } else { key };
        *self.0.entry(key).or_default() += rows;
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The most frequent one first.
    pub fn sorted(&self) -> Vec<DeadReason> {
        let one = |((stage, reason), rows): (&(&'static str, String), &u64)| DeadReason {
            stage,
            reason: reason.clone(),
            rows: *rows,
        };
        let mut all: Vec<_> = self.0.iter().map(one).collect();
        all.sort_by_key(|reason| std::cmp::Reverse(reason.rows));
        all
    }
}

/// The first of `reasons` with their counts, in one line.
pub fn in_words(reasons: &[DeadReason], most: usize) -> String {
    let rest: u64 = reasons.iter().skip(most).map(|reason| reason.rows).sum();
    let mut words: Vec<_> =
        reasons.iter().take(most).map(|reason| format!("{} ({})", reason.reason, reason.rows)).collect();
    if rest > 0 {
        words.push(format!("{OTHERS} ({rest})"));
    }
    words.join("; ")
}

/// A reason without the values in it, so that those of one kind are one: what stands in double quotes, what begins with a digit, and what
/// was found in a cell. Names in backticks stay, and so do types.
pub(crate) fn pattern(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    let line = without_found(line);
    let mut pattern = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '`' | '"' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            _ if rest.starts_with("decimal(") => rest.find(')').map_or(rest.len(), |end| end + 1),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let token = &rest[..length];
        let is_number = token.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit());
        if first == '"' || is_number || token.contains('@') {
            if !pattern.ends_with(VALUE) {
                pattern.push(VALUE);
            }
            rest = &rest[if first == '"' { length } else { value_length(rest) }..];
        } else {
            pattern.push_str(token);
            rest = &rest[length..];
        }
    }
    match pattern.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}{VALUE}", &pattern[..end]),
        None => pattern,
    }
}

/// The length of a number, a time or an address: words with a dot or a colon between them.
fn value_length(text: &str) -> usize {
    let mut length = 0;
    loop {
        let rest = &text[length..];
        length += rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let mut next = text[length..].chars();
        if !(matches!(next.next(), Some('.' | ':')) && next.next().is_some_and(is_word)) {
            return length;
        }
        length += 1;
    }
}

/// Of a name, a number, a time or an address.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '+' | '-' | VALUE)
}

/// What the decoder says was found in a cell, or does not fit a type, may be any text.
fn without_found(line: &str) -> String {
    const KINDS: [&str; 8] =
        ["the fraction ", "the text ", "text ", "a boolean ", "a number ", "an object ", "an array ", "null "];
    if let Some((expected, found)) = line.split_once(", found ") {
        let kind = KINDS.iter().find(|kind| found.starts_with(**kind)).copied().unwrap_or_default();
        let is_kind = KINDS.iter().any(|kind| kind.trim_end() == found);
        return if is_kind { line.to_owned() } else { format!("{expected}, found {kind}{VALUE}") };
    }
    for what in [" is out of range for ", " is no "] {
        let cell = line.split_once(": ").and_then(|(column, rest)| Some((column, rest.rsplit_once(what)?.1)));
        if let Some((column, wanted)) = cell.filter(|_| line.starts_with("column ")) {
            return format!("{column}: {VALUE}{what}{wanted}");
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_one_kind_are_one() {
        for (reason, expected) in [
            (
                "column after.total: expected int32, found the fraction 11.48",
                "column after.total: expected int32, found the fraction …",
            ),
            (
                "column after.at: expected a date like 2026-01-31, found soon, or never",
                "column after.at: expected a date like …, found …",
            ),
            (
                "column after.note: expected int64, found text \"a, found b\"",
                "column after.note: expected int64, found text …",
            ),
            ("column after.x: 1e99 is out of range for a float", "column after.x: … is out of range for a float"),
            (
                "column after.d: 1 is no 2.5 is no decimal(12,2): it has more digits before or after the point",
                "column after.d: … is no decimal(12,2): it has more digits before or after the point",
            ),
            (
                "column `created_at` does not exist, but the transform needs it",
                "column `created_at` does not exist, but the transform needs it",
            ),
            (
                "column `item 2` is null, but the transform needs a value",
                "column `item 2` is null, but the transform needs a value",
            ),
            ("not JSON at byte 4794: expected a value", "not JSON at byte …: expected a value"),
            ("total is -12.5, and it may not be below 0", "total is …, and it may not be below …"),
            ("no customer \"Müller & Söhne\" for a@b.example", "no customer … for …"),
            ("expected a change event, found an array", "expected a change event, found an array"),
            (
                "the component trapped: wasm trap: unreachable\n  at f32::x",
                "the component trapped: wasm trap: unreachable",
            ),
            ("unbalanced \"quote", "unbalanced …"),
            ("", ""),
        ] {
            assert_eq!(pattern(reason), expected);
        }
        assert_eq!(pattern(&"x".repeat(1_000)).chars().count(), CHARS_MAX + 1);
    }

    fn letter(stage: LetterStage, reason: &str) -> Letter {
        Letter { record: 0, stage, reason: reason.into(), digest: None, backtrace: None }
    }

    #[test]
    fn the_most_frequent_comes_first_and_late_rows_are_not_dead() {
        let mut letters = vec![letter(LetterStage::Late, "event time is 7 ms behind")];
        letters.extend((0..3).map(|n| letter(LetterStage::Transform, &format!("total is {n}"))));
        letters.push(letter(LetterStage::Decode, "total is 7"));
        let mut reasons = Reasons::of(&letters);
        reasons.add(&reasons.clone());
        let told: Vec<_> = reasons.sorted().into_iter().map(|one| (one.stage, one.rows)).collect();
        assert_eq!(told, [("transform", 6), ("decode", 2)]);
        assert_eq!(in_words(&reasons.sorted(), 1), "total is … (6); other reasons (2)");
        assert!(Reasons::of(&letters[..1]).is_empty());
    }

    #[test]
    fn many_reasons_are_counted_together() {
        let letters: Vec<_> = (0..REASONS_MAX + 7).map(|n| letter(LetterStage::Decode, &"x".repeat(n + 1))).collect();
        let all = Reasons::of(&letters).sorted();
        assert_eq!((all.len(), all[0].reason.as_str(), all[0].rows), (REASONS_MAX + 1, OTHERS, 7));
    }
}
