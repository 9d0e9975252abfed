//! The pipeline file: from text to a checked [`Spec`]. Pure: no network, no component is opened, no environment read.
//!
//! Start with [`written`], the file's vocabulary.

pub mod units;
pub mod values;
pub mod written;

mod check;
mod schema;

mod yaml;

use std::path::{Path, PathBuf};

pub(crate) use check::timestamp_ms;
pub use written::Spec;

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
    /// The file's folder.
    pub folder: PathBuf,
    /// What it says.
    pub spec: Spec,
}

impl SpecFile {
    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// If it cannot be read, is not YAML, has unknown keys or wrong values, or contradicts itself.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let file = path.display().to_string();
        let error = |message| SpecError { file: file.clone(), place: None, message };
        let text = std::fs::read_to_string(path).map_err(|e| error(format!("read the pipeline file: {e}")))?;
        let spec = parse(&file, &text)?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { folder, spec })
    }

    /// Where the pipeline remembers what is its own.
    pub fn state_folder(&self) -> PathBuf {
        match &self.spec.state.path {
            Some(path) => self.resolve(path),
            None => self.resolve(&format!(".lakemill/{}", self.spec.pipeline)),
        }
    }

    /// A path of the file, from where we are.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let joined = self.folder.join(path);
        joined.strip_prefix(".").map(Path::to_owned).unwrap_or(joined)
    }
}

/// Parses and checks the text of a pipeline file; `file` is for messages.
///
/// # Errors
/// Like [`SpecFile::read`].
pub fn parse(file: &str, text: &str) -> Result<Spec, SpecError> {
    let spec: Spec = yaml::parse(file, text)?;
    check::check(&spec).map_err(|message| SpecError { file: file.into(), place: None, message })?;
    Ok(spec)
}

/// The JSON Schema of the pipeline file, made from the same structs that read it.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Spec);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON")
}

#[cfg(test)]
mod tests;
