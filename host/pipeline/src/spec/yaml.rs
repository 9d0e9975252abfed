//! YAML into structs, with errors that say where, what was expected and what is there. The library's words stay inside.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

use super::SpecError;

/// How much of a wrong value is shown, in characters.
const SHOWN_MAX: usize = 40;

pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SpecError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(|at| (at.line(), at.column()));
        SpecError { file: file.into(), place, message: message(error, found(text, place)) }
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
    let end =
        rest.char_indices().skip(1).find(|&(n, c)| n > SHOWN_MAX || ",}]".contains(c)).map_or(rest.len(), |(n, _)| n);
    let value = rest[..end].split(" #").next().unwrap_or_default().trim();
    (!value.is_empty()).then_some(value)
}

fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    let near = |name: &&&str| strsim::damerau_levenshtein(found, name) <= 1 + name.len() / 3;
    let best = expected.iter().filter(near).min_by_key(|name| strsim::damerau_levenshtein(found, name));
    let list = expected.join(", ");
    match best {
        Some(best) => format!("unknown {what} `{found}`: did you mean `{best}`? Known here: {list}"),
        None => format!("unknown {what} `{found}`. Known here: {list}"),
    }
}
