//! YAML into structs, with errors that say where and what was probably meant.

use serde::de::DeserializeOwned;
use serde_saphyr::Error;

use super::SpecError;

pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SpecError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map(|at| (at.line(), at.column()));
        SpecError { file: file.into(), place, message: message(error) }
    })
}

fn message(error: &Error) -> String {
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("choice", variant, expected),
        other => {
            let text = other.render();
            let first = text.lines().next().unwrap_or("not valid YAML").trim_start_matches("error: ");
            // The place is ours to print.
            first.rsplit_once(" at line ").map_or(first, |(text, _)| text).to_owned()
        }
    }
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
