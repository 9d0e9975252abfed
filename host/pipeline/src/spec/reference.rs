//! References in the pipeline file's values: `${env:NAME}` and `${file:PATH}` stand for what a variable or a file holds, `$${` for a
//! literal `${`. What looks like one and is none is refused: taken literally, it would be a salt that everybody knows.

use std::borrow::Cow;
use std::path::Path;

/// What becomes of references to variables and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// They are replaced by what they stand for, which must be there.
    LookedUp,
    /// They stand for their own text: for a look at the file where nobody has its secrets.
    Kept,
}

/// What a reference is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// A text, whatever it looks like.
    Text,
    /// A number: `${env:NAME|number}`.
    Number,
    /// True or false: `${env:NAME|boolean}`.
    Boolean,
}

/// A reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'t> {
    /// As it is written.
    pub whole: &'t str,
    of: Of<'t>,
    pub becomes: As,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of<'t> {
    Variable(&'t str),
    File(&'t str),
}

/// A part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    /// Stands for itself.
    Literal(&'t str),
    /// Stands for something else.
    Reference(Reference<'t>),
}

/// Something that looks like a reference and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Its first byte in the value.
    pub at: usize,
    /// What is wrong, and what to write.
    pub message: String,
}

/// What is meant where nothing else is.
const WRITE: &str = "write ${env:NAME} or ${file:PATH}, or `$${` for a `${` that is meant literally";

/// Whether a value may have references, or escapes of them.
pub(crate) fn may_have(value: &str) -> bool {
    value.contains('$')
}

/// The parts of a value.
///
/// # Errors
/// The first thing that looks like a reference and is none.
pub(crate) fn parts(value: &str) -> Result<Vec<Part<'_>>, Wrong> {
    let (mut parts, mut literal, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = value[at..].find('$') {
        at += found;
        let rest = &value[at..];
        let wrong = |message: String| Err(Wrong { at, message });
        if rest.starts_with("$${") {
            // Without its first `$`.
            parts.push(Part::Literal(&value[literal..at]));
            (literal, at) = (at + 1, at + 3);
        } else if let Some(inner) = rest.strip_prefix("${") {
            let Some(end) = inner.find('}') else {
                return wrong(format!("`{}`: a `${{` without its `}}`; {WRITE}", shown(rest)));
            };
            let reference = match reference(&rest[..end + 3]) {
                Ok(reference) => reference,
                Err(message) => return wrong(message),
            };
            parts.push(Part::Literal(&value[literal..at]));
            parts.push(Part::Reference(reference));
            at += end + 3;
            literal = at;
        } else if let Some(meant) = near_miss(&rest[1..]) {
            return wrong(format!("`{}` is no reference: {}", shown(rest), meant));
        } else {
            at += 1;
        }
    }
    parts.push(Part::Literal(&value[literal..]));
    parts.retain(|part| *part != Part::Literal(""));
    Ok(parts)
}

/// A reference from its `$` to its `}`.
fn reference(whole: &str) -> Result<Reference<'_>, String> {
    let inner = &whole[2..whole.len() - 1];
    let (inner, becomes) = match inner.rsplit_once('|') {
        None => (inner, As::Text),
        Some((inner, "number")) => (inner, As::Number),
        Some((inner, "boolean")) => (inner, As::Boolean),
        Some((_, other)) => {
            return Err(format!(
                "`{whole}`: `|{other}` is nothing that a value can become; write `|number`, `|boolean`, or neither for a text"
            ));
        }
    };
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    match inner.split_once(':') {
        Some(("env" | "file", "")) => Err(format!("`{whole}` names nothing; {WRITE}")),
        Some(("env", name)) if is_name(name) => Ok(Reference { whole, of: Of::Variable(name), becomes }),
        Some(("env", name)) => {
            let known = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            Err(format!(
                "`{whole}`: `{name}` is not the name of a variable; write ${{env:{}}}; there are no defaults",
                if known.is_empty() { "NAME" } else { known }
            ))
        }
        Some(("file", path)) => Ok(Reference { whole, of: Of::File(path), becomes }),
        Some((kind, rest)) if matches!(kind.trim().to_ascii_lowercase().as_str(), "env" | "file") => {
            let kind = kind.trim().to_ascii_lowercase();
            Err(format!("`{whole}` names nothing: did you mean `${{{kind}:{}}}`?", rest.trim()))
        }
        _ => {
            let bare = inner.trim();
            let hint = match bare.is_empty() || !is_name(bare) {
                true => WRITE.to_owned(),
                false => format!("did you mean `${{env:{bare}}}`? A `${{` that is meant literally is written `$${{`"),
            };
            Err(format!("`{whole}` names nothing; {hint}"))
        }
    }
}

/// What somebody meant by what comes after a `$`: `$env{X}`, `$ENV:X`, `$(env:X)`, `$file:p`.
fn near_miss(rest: &str) -> Option<String> {
    let inner = rest.strip_prefix('(').unwrap_or(rest);
    let kind = ["env", "file"].into_iter().find(|kind| {
        inner.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
            && inner[kind.len()..].starts_with(['{', ':'])
    })?;
    let name = inner[kind.len() + 1..].trim_start_matches(':');
    let name = name.split(['}', ')', ' ', '/', '$', ':']).next().unwrap_or_default();
    let name = match (name.is_empty(), kind) {
        (false, _) => name,
        (true, "env") => "NAME",
        (true, _) => "PATH",
    };
    Some(format!("did you mean `${{{kind}:{name}}}`?"))
}

/// The beginning of something, for a message.
fn shown(text: &str) -> String {
    let first = text.split(['\n', ' ']).next().unwrap_or_default();
    if first.chars().count() <= 40 { first.to_owned() } else { first.chars().take(40).chain("...".chars()).collect() }
}

/// How references are looked up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'f> {
    /// Where relative paths of files start.
    pub folder: &'f Path,
    /// Whether they are.
    pub references: References,
}

impl Lookup<'_> {
    /// What a reference stands for, or something in its place that may stand there.
    pub(crate) fn of(self, reference: Reference<'_>) -> Result<String, String> {
        match (self.references, reference.becomes) {
            (References::LookedUp, _) => reference.look_up(self.folder),
            (References::Kept, As::Text) => Ok(reference.whole.to_owned()),
            (References::Kept, As::Number) => Ok("0".into()),
            (References::Kept, As::Boolean) => Ok("false".into()),
        }
    }
}

/// More than any secret has.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Reference<'_> {
    /// What it stands for. `folder` is where relative paths start.
    ///
    /// # Errors
    /// Says which variable or file is missing, or what it holds that cannot be; never what it holds.
    pub fn look_up(self, folder: &Path) -> Result<String, String> {
        let whole = self.whole;
        let value = match self.of {
            Of::Variable(name) => std::env::var_os(name)
                .ok_or_else(|| format!("`{whole}`: the environment variable {name} is not set"))?
                .into_string()
                .map_err(|_| format!("`{whole}`: what the environment variable {name} holds is not UTF-8"))?,
            Of::File(path) => read(&folder.join(path)).map_err(|error| format!("`{whole}`: {error}"))?,
        };
        if value.is_empty() {
            let of = match self.of {
                Of::Variable(name) => format!("the environment variable {name}"),
                Of::File(path) => format!("the file {path}"),
            };
            return Err(format!("`{whole}`: {of} is empty: set it, or write an empty text in its place"));
        }
        if value.contains('\0') {
            return Err(format!("`{whole}` holds a byte 0, which no setting can have"));
        }
        match self.becomes {
            As::Number if serde_json::from_str::<serde_json::Number>(&value).is_err() => {
                Err(format!("`{whole}`: what it stands for is not a number"))
            }
            As::Boolean if value != "true" && value != "false" => {
                Err(format!("`{whole}`: what it stands for is neither true nor false"))
            }
            _ => Ok(value),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = std::io::Read::read_to_string(&mut std::io::Read::take(file, FILE_BYTES_MAX + 1), &mut text);
    read.map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

/// A value with its references looked up by `look_up`.
///
/// # Errors
/// What is no reference, or what `look_up` says.
pub(crate) fn resolved<'v>(
    value: &'v str,
    mut look_up: impl FnMut(Reference<'v>) -> Result<String, String>,
) -> Result<Cow<'v, str>, String> {
    if !may_have(value) {
        return Ok(value.into());
    }
    let mut text = String::with_capacity(value.len());
    for part in parts(value).map_err(|wrong| wrong.message)? {
        match part {
            Part::Literal(literal) => text += literal,
            Part::Reference(reference) => text += &look_up(reference)?,
        }
    }
    Ok(text.into())
}

/// What a value becomes: a number or a boolean only if it is one reference, which says so.
///
/// # Errors
/// If a reference that says so is not the whole value.
pub(crate) fn becomes(value: &str) -> Result<As, String> {
    if !may_have(value) {
        return Ok(As::Text);
    }
    let parts = parts(value).map_err(|wrong| wrong.message)?;
    match parts.as_slice() {
        [Part::Reference(only)] => Ok(only.becomes),
        parts => {
            let typed = parts.iter().find_map(|part| match part {
                Part::Reference(reference) if reference.becomes != As::Text => Some(reference.whole),
                _ => None,
            });
            match typed {
                None => Ok(As::Text),
                Some(whole) => Err(format!("`{whole}` must stand alone: with other text it can only be a text")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value with each reference in angle brackets; or what is wrong.
    fn seen(value: &str) -> Result<String, String> {
        resolved(value, |reference| Ok(format!("<{}>", reference.whole))).map(Cow::into_owned)
    }

    #[test]
    fn references_are_found_and_the_rest_stands_for_itself() {
        for (value, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a ${env:X} b${file:/run/my secret}", "a <${env:X}> b<${file:/run/my secret}>"),
            ("${env:N|number}", "<${env:N|number}>"),
            ("$${env:X}", "${env:X}"),
            ("a$${b}c$${", "a${b}c${"),
            ("^a$", "^a$"),
            ("$.items[0].$ref costs $5 $env $files $filed:x", "$.items[0].$ref costs $5 $env $files $filed:x"),
        ] {
            assert_eq!(seen(value).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_looks_like_one_is_refused_with_what_was_meant() {
        for (value, expected) in [
            ("${SALT}", "did you mean `${env:SALT}`?"),
            ("${foo bar}", "write ${env:NAME} or ${file:PATH}, or `$${`"),
            ("${}", "write ${env:NAME}"),
            ("${env:}", "names nothing; write ${env:NAME}"),
            ("${file:}", "names nothing; write ${env:NAME}"),
            ("${ENV:X}", "did you mean `${env:X}`?"),
            ("${ env: X }", "did you mean `${env:X}`?"),
            ("${File:a/b}", "did you mean `${file:a/b}`?"),
            ("${env:X:-none}", "`X:-none` is not the name of a variable; write ${env:X}; there are no defaults"),
            ("${env:X|int}", "write `|number`, `|boolean`"),
            ("${vault:x}", "`${vault:x}` names nothing; write ${env:NAME}"),
            ("a${env:X", "a `${` without its `}`"),
            ("$env{X}", "did you mean `${env:X}`?"),
            ("p$ENV{X}", "did you mean `${env:X}`?"),
            ("$env:X", "did you mean `${env:X}`?"),
            ("$(env:X)", "did you mean `${env:X}`?"),
            ("$file{pw}", "did you mean `${file:pw}`?"),
        ] {
            let message = seen(value).expect_err(value);
            assert!(message.contains(expected), "{value}: {message}");
        }
        assert_eq!(parts("ab ${x").map_err(|wrong| wrong.at), Err(3));
    }

    /// Follows what the messages say to write.
    #[test]
    fn what_is_meant_is_what_is_accepted() {
        let mistakes =
            ["${SALT}", "${ENV:X}", "${ env: X }", "${File:a/b}", "$env{X}", "$ENV:X", "$(env:X)", "$file{pw}"];
        for value in mistakes {
            let message = seen(value).expect_err(value);
            let meant = message.split("did you mean `").nth(1).and_then(|rest| rest.split('`').next()).expect(value);
            assert_eq!(seen(meant), Ok(format!("<{meant}>")), "{value}: {message}");
        }
    }

    fn looked_up(value: &str, folder: &Path) -> Result<String, String> {
        resolved(value, |reference| reference.look_up(folder)).map(Cow::into_owned)
    }

    #[test]
    fn values_come_from_variables_and_files_and_are_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("pw", "s3cret\r\n"), ("empty", "\n"), ("zero", "a\0b"), ("two", "a\nb\n")] {
            std::fs::write(folder.path().join(name), text).expect("writes");
        }
        std::fs::write(folder.path().join("latin"), b"caf\xe9").expect("writes");
        std::fs::write(folder.path().join("large"), "x".repeat((1 << 20) + 1)).expect("writes");
        let look = |value: &str| looked_up(value, folder.path());
        assert_eq!(look("a-${file:pw}-${file:two}"), Ok("a-s3cret-a\nb".into()));
        // Cargo sets it for every test.
        assert_eq!(look("${env:CARGO_PKG_NAME}"), Ok("lakemill-pipeline".into()));
        for (value, expected) in [
            ("${env:LAKEMILL_SURELY_NOT_SET}", "LAKEMILL_SURELY_NOT_SET is not set"),
            ("${file:none}", "No such file"),
            ("${file:empty}", "the file empty is empty"),
            ("${file:zero}", "a byte 0"),
            ("${file:latin}", "UTF-8"),
            ("${file:large}", "larger than 1 MiB"),
            ("${file:pw|number}", "is not a number"),
            ("${file:pw|boolean}", "neither true nor false"),
        ] {
            let message = look(value).expect_err(value);
            assert!(message.contains(expected) && !message.contains("s3cret"), "{value}: {message}");
        }
    }
}
