//! The pipeline file: from text to a checked [`Spec`]. No network, no component is opened; of the environment only what the file refers to.
//!
//! Start with [`written`], the file's vocabulary.

pub mod near;
pub mod tree;
pub mod units;
pub mod values;
pub mod written;

mod check;
mod fill;
mod reference;
mod schema;
mod sink;
mod syntax;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

pub(crate) use check::timestamp_ms;
use fill::Step;
pub use reference::{Lookup, References};
use tree::{Found, Node};
pub use written::Spec;
use written::State;

/// A pipeline file that cannot be used, with the place where it shows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", .place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default())]
pub struct SpecError {
    /// As the user wrote it.
    pub file: String,
    /// Line and column, from 1.
    pub place: Option<(u64, u64)>,
    /// What was expected, what came, what to do.
    pub message: String,
}

/// A pipeline file and where it lies: its relative paths start there.
#[derive(Clone, Debug)]
pub struct SpecFile {
    /// As the user wrote its path.
    pub name: String,
    /// The file's folder.
    pub folder: PathBuf,
    /// What it says; secrets by their names.
    pub spec: Spec,
    /// Whether what it refers to is looked up.
    references: References,
    /// Where it says what.
    places: Option<Arc<Node>>,
}

impl SpecFile {
    /// Reads and checks a pipeline file, with what its references stand for.
    ///
    /// # Errors
    /// If it cannot be read, is not YAML, has unknown keys or wrong values, contradicts itself, or refers to what is not there.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        Self::read_with(path, References::LookedUp)
    }

    /// As [`SpecFile::read`]; `references` says whether what it refers to is looked up.
    ///
    /// # Errors
    /// Like [`SpecFile::read`].
    pub fn read_with(path: &Path, references: References) -> Result<Self, SpecError> {
        let (name, text) = text_of(path)?;
        Self::of(name, folder_of(path), &text, references)
    }

    /// A pipeline file by its text; `name` is for messages.
    ///
    /// # Errors
    /// Like [`SpecFile::read`].
    pub fn of(name: String, folder: PathBuf, text: &str, references: References) -> Result<Self, SpecError> {
        let places = Node::of(text).map(Arc::new);
        let spec: Spec = yaml::parse(&name, text, places.as_deref(), &folder, &|_| references)?;
        let file = Self { name, folder, spec, references, places };
        check::check(&file.spec).map_err(|message| file.wrong(message))?;
        Ok(file)
    }

    /// An error about the value that the message names first in backticks: `batch.rows_max`.
    pub(crate) fn wrong(&self, message: String) -> SpecError {
        let place = message.split('`').skip(1).step_by(2).find_map(|path| self.find(path));
        SpecError { file: self.name.clone(), place: place.map(|found| found.value), message }
    }

    /// An error about a key: `sinks.orders`.
    pub(crate) fn wrong_key(&self, path: &str, message: String) -> SpecError {
        SpecError { file: self.name.clone(), place: self.find(path).map(|found| found.key), message }
    }

    /// An error about a value: `transforms[0].component`.
    pub(crate) fn wrong_value(&self, path: &str, message: String) -> SpecError {
        SpecError { file: self.name.clone(), place: self.find(path).map(|found| found.value), message }
    }

    /// How its references are looked up.
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup { folder: &self.folder, references: self.references }
    }

    fn find(&self, path: &str) -> Option<Found> {
        self.places.as_ref()?.find(path)
    }

    /// Where the pipeline remembers what is its own.
    pub fn state_folder(&self) -> PathBuf {
        state_folder(&self.folder, &self.spec.pipeline, &self.spec.state)
    }

    /// A path of the file, from where we are.
    pub fn resolve(&self, path: &str) -> PathBuf {
        resolve(&self.folder, path)
    }
}

/// What a pipeline is called and where it remembers what is its own: all that a command needs which asks a pipeline that runs. The rest of
/// its file may be wrong, and may refer to what is there for that pipeline only.
#[derive(Clone, Debug)]
pub struct Home {
    /// The pipeline's name.
    pub pipeline: String,
    /// The state folder.
    pub folder: PathBuf,
}

impl Home {
    /// Reads it from a pipeline file.
    ///
    /// # Errors
    /// If the file cannot be read, is not YAML, or does not tell.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        #[derive(Deserialize)]
        struct Part {
            pipeline: String,
            #[serde(default)]
            state: State,
        }
        let (name, text) = text_of(path)?;
        let folder = folder_of(path);
        let references = |at: &[Step<'_>]| match at.first() {
            Some(Step::Key("pipeline" | "state")) => References::LookedUp,
            _ => References::Kept,
        };
        let part: Part = yaml::parse(&name, &text, Node::of(&text).as_ref(), &folder, &references)?;
        Ok(Self { folder: state_folder(&folder, &part.pipeline, &part.state), pipeline: part.pipeline })
    }
}

fn text_of(path: &Path) -> Result<(String, String), SpecError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => {
            let message = format!("this pipeline file cannot be read: {}{}", system_words(&error), near::hint(path));
            Err(SpecError { file, place: None, message })
        }
    }
}

/// The system's words without its number.
fn system_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn state_folder(folder: &Path, pipeline: &str, state: &State) -> PathBuf {
    match &state.path {
        Some(path) => resolve(folder, path),
        None => resolve(folder, &format!(".lakemill/{pipeline}")),
    }
}

fn resolve(folder: &Path, path: &str) -> PathBuf {
    if path.starts_with("file://") {
        return PathBuf::from(path);
    }
    let joined = folder.join(path);
    joined.strip_prefix(".").map(Path::to_owned).unwrap_or(joined)
}

/// Parses and checks the text of a pipeline file; `file` is for messages. What its references stand for is not asked for.
///
/// # Errors
/// Like [`SpecFile::read`].
pub fn parse(file: &str, text: &str) -> Result<Spec, SpecError> {
    SpecFile::of(file.into(), PathBuf::from("."), text, References::Kept).map(|file| file.spec)
}

/// The JSON Schema of the pipeline file, made from the same structs that read it.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Spec);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON")
}

#[cfg(test)]
mod tests;
