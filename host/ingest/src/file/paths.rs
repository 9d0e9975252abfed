//! Which files a list of paths and patterns means, and which partition each of them is. Reads directories,
//! never files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lakemill_model::{SourceError, TopicPartition};

use super::FileOptions;

/// The files, each with its partition, in the order of the partitions.
///
/// # Errors
/// [`SourceError::NoSuchTopic`] for a file that isn't there and a pattern that fits none;
/// [`SourceError::Read`] for directories that can't be read.
pub(super) fn find(options: &FileOptions) -> Result<Vec<(TopicPartition, PathBuf)>, SourceError> {
    let mut files = Vec::new();
    for path in &options.paths {
        let before = files.len();
        expand(Path::new(path), &mut files)?;
        if files.len() == before {
            let hint = "no file is there; check `paths`, and the directory that the process was started in".to_owned();
            return Err(SourceError::NoSuchTopic { topic: path.clone(), hint });
        }
    }
    files.sort();
    files.dedup();
    let mut counts = BTreeMap::<String, i32>::new();
    let mut found: Vec<_> = files
        .into_iter()
        .map(|file| {
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let topic = options.topic.clone().unwrap_or(stem);
            let count = counts.entry(topic.clone()).or_default();
            *count += 1;
            (TopicPartition::new(topic, *count - 1), file)
        })
        .collect();
    found.sort();
    Ok(found)
}

fn expand(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let pattern = path.file_name().and_then(OsStr::to_str).filter(|name| name.contains(['*', '?']));
    let Some(pattern) = pattern else {
        if path.is_file() {
            files.push(path.to_owned());
        }
        return Ok(());
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unreadable =
        |error: std::io::Error| SourceError::Read { what: directory.display().to_string(), reason: error.to_string() };
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let fits = entry.file_name().to_str().is_some_and(|name| matches(pattern.as_bytes(), name.as_bytes()));
        if fits && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// True if `*` (anything) and `?` (one byte) can stand for what `name` has there. As in shells, neither finds
/// hidden files.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    fn rest(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', tail)), _) => (0..=name.len()).any(|skipped| rest(tail, &name[skipped..])),
            (Some((b'?', tail)), Some((_, name))) => rest(tail, name),
            (Some((a, tail)), Some((b, name))) => a == b && rest(tail, name),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
    name.first() != Some(&b'.') && rest(pattern, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(directory: &Path, paths: &[&str], topic: Option<&str>) -> FileOptions {
        FileOptions {
            paths: paths.iter().map(|path| directory.join(path).display().to_string()).collect(),
            topic: topic.map(str::to_owned),
            format: super::super::LineFormat::Value,
        }
    }

    fn names(found: &[(TopicPartition, PathBuf)]) -> Vec<(String, String)> {
        let name = |file: &PathBuf| file.file_name().expect("a file").to_string_lossy().into_owned();
        found.iter().map(|(tp, file)| (tp.to_string(), name(file))).collect()
    }

    #[test]
    fn files_become_partitions_in_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).expect("a directory");
        for file in ["b.jsonl", "a.jsonl", "c.json", ".d.jsonl", "inner/a.jsonl"] {
            std::fs::write(directory.path().join(file), "").expect("a file");
        }
        let pair = |tp: &str, file: &str| (tp.to_owned(), file.to_owned());
        let found = find(&options(directory.path(), &["*.jsonl", "inner/a.jsonl", "a.jsonl"], None)).expect("found");
        assert_eq!(names(&found), [pair("a/0", "a.jsonl"), pair("a/1", "a.jsonl"), pair("b/0", "b.jsonl")]);
        let found = find(&options(directory.path(), &["?.js*"], Some("t"))).expect("found");
        assert_eq!(names(&found), [pair("t/0", "a.jsonl"), pair("t/1", "b.jsonl"), pair("t/2", "c.json")]);
        for nothing in ["x*", "nowhere/*", "nowhere.jsonl", "inner"] {
            let missing = find(&options(directory.path(), &[nothing], None));
            assert!(matches!(missing, Err(SourceError::NoSuchTopic { .. })), "{missing:?}");
        }
    }

    #[test]
    fn patterns_fit_as_in_shells() {
        for (pattern, name, fits) in [
            ("*", "abc", true),
            ("*", ".abc", false),
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
