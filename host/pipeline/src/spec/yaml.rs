//! YAML into structs, with errors that say where, what was expected and what is there. The library's words stay inside.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

use super::fill::{Step, fill};
use super::near::nearest;
use super::reference::References;
use super::tree::Node;
use super::{SpecError, syntax};

/// How much of a wrong value is shown, in characters.
const SHOWN_MAX: usize = 40;

/// `tree` is that of the text; `folder` and `references` are those of [`fill`].
pub(super) fn parse<T: DeserializeOwned>(
    file: &str,
    text: &str,
    tree: Option<&Node>,
    folder: &Path,
    references: &dyn Fn(&[Step<'_>]) -> References,
) -> Result<T, SpecError> {
    let wrong = |place, message| SpecError { file: file.into(), place, message };
    if let Some(broken) = syntax::broken(text) {
        return Err(wrong(Some(broken.place), broken.message));
    }
    let filled = fill(text, tree, folder, references).map_err(|refused| wrong(Some(refused.place), refused.message))?;
    serde_saphyr::from_str(&filled.text).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(|at| filled.original((at.line(), at.column())));
        // What stands in the file is shown, and not what was put into its place.
        let message = message(error, found(text, place));
        wrong(place, filled.values.hide(&message).into_owned())
    })
}

fn message(error: &Error, found: Option<&str>) -> String {
    let expected = |what: &str| match found {
        Some(found) => format!("expected {what}, found `{found}`"),
        None => format!("expected {what}, found nothing"),
    };
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("choice", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is there twice: keep one"),
        Error::InvalidScalar { ty, .. } => expected(kind(ty)),
        Error::InvalidBooleanStrict { .. } => expected("true or false"),
        Error::NullIntoString { .. } => expected("a text"),
        Error::Unexpected { expected: what, .. } => expected(kind(what)),
        Error::Eof { .. } => "the file is empty, or ends too early".into(),
        Error::Message { msg, .. } => msg.lines().next().unwrap_or("not valid YAML").to_owned(),
        other => {
            let text = other.render();
            let first = text.lines().next().unwrap_or("not valid YAML").trim_start_matches("error: ");
            // The place is ours to print.
            first.rsplit_once(" at line ").map_or(first, |(text, _)| text).to_owned()
        }
    }
}

/// The library's names of what it wanted, for people.
fn kind(name: &str) -> &str {
    match name {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "floating point" => "a number",
        "boolean" => "true or false",
        "scalar" | "string scalar" => "one value",
        "sequence start" => "a list (`[...]` or lines with `- `)",
        "mapping start" | "mapping end" => "keys with values (`key: value`)",
        other => other,
    }
}

/// What the file has at a place, up to the end of the value.
fn found(text: &str, place: Option<(u64, u64)>) -> Option<&str> {
    let (line, column) = place?;
    let line = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let (start, _) = line.char_indices().nth(usize::try_from(column).ok()?.checked_sub(1)?)?;
    let rest = &line[start..];
    // What is quoted may hold what ends other values.
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''));
    let quoted = quote.and_then(|quote| rest[1..].find(quote)).map(|at| at + 2).filter(|end| *end <= SHOWN_MAX);
    let end = quoted.unwrap_or_else(|| {
        rest.char_indices().skip(1).find(|&(n, c)| n > SHOWN_MAX || ",}]".contains(c)).map_or(rest.len(), |(n, _)| n)
    });
    let value = rest[..end].split(" #").next().unwrap_or_default().trim();
    (!value.is_empty()).then_some(value)
}

fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    let best = nearest(found, expected.iter().copied());
    let list = expected.join(", ");
    match best {
        Some(best) => format!("unknown {what} `{found}`: did you mean `{best}`? Known here: {list}"),
        None => format!("unknown {what} `{found}`. Known here: {list}"),
    }
}
