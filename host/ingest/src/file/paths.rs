//! Which files a list of paths and patterns means now. Reads directories, never files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use lakemill_model::{FileLook, SourceError};

use super::lines::{Identity, look_of};

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// To open it, and for people.
    pub path: PathBuf,
    /// The same without links, to know it again.
    pub real: String,
    /// What tells it from all others.
    pub identity: Identity,
    /// How it looks.
    pub look: FileLook,
}

/// The files, in the order of their paths; one that has several names once. `known` are names of files that were there once: a path or
/// pattern that only fitted those is no mistake; nor is one that may come to fit, if files are waited for.
///
/// # Errors
/// [`SourceError::NoSuchTopic`] for a path without a file and a pattern that fits none; [`SourceError::File`] for what is no file, and
/// for directories that cannot be read.
pub(super) fn find(paths: &[String], known: &[&str], waits: bool) -> Result<Vec<Found>, SourceError> {
    let mut files = BTreeMap::new();
    for path in paths {
        let mut any = false;
        for file in expand(Path::new(path))? {
            any = true;
            // Gone since it was listed, or a link that leads nowhere.
            let Ok(metadata) = std::fs::metadata(&file) else { continue };
            let real = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            let (identity, look) = ((metadata.dev(), metadata.ino()), look_of(&metadata));
            let real = real.to_string_lossy().into_owned();
            files.insert(file.clone(), Found { path: file, real, identity, look });
        }
        let pattern = real_pattern(path);
        let is_fine = any || (waits && is_pattern(path));
        if !is_fine && !known.iter().any(|known| fits_path(&pattern, Path::new(known))) {
            let hint = if Path::new(path).is_dir() {
                format!("it is a directory; for its files write `{}`", Path::new(path).join("*").display())
            } else if Path::new(path).exists() {
                "it is no regular file".to_owned()
            } else {
                "no file is there; check `paths`, and the directory that the process was started in".to_owned()
            };
            return Err(SourceError::NoSuchTopic { topic: path.clone(), hint });
        }
    }
    let mut seen = BTreeMap::<Identity, usize>::new();
    let mut found: Vec<Found> = Vec::with_capacity(files.len());
    for file in files.into_values() {
        match seen.get(&file.identity) {
            // The name that we know it by, or the first.
            Some(at) if known.contains(&file.real.as_str()) && !known.contains(&found[*at].real.as_str()) => {
                found[*at] = file;
            }
            Some(_) => {}
            None => {
                seen.insert(file.identity, found.len());
                found.push(file);
            }
        }
    }
    Ok(found)
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// A path or pattern as the names of files begin that were seen: from the root, without links where there is something.
fn real_pattern(path: &str) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let plain: PathBuf =
        path.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
    let there = plain.ancestors().find_map(|there| Some((there.to_owned(), std::fs::canonicalize(there).ok()?)));
    match there {
        Some((there, real)) => real.join(path.strip_prefix(&there).unwrap_or(&path)),
        None => path,
    }
}

fn fits_path(pattern: &Path, path: &Path) -> bool {
    let bytes = |part: Component<'_>| part.as_os_str().as_encoded_bytes().to_vec();
    let (pattern, path): (Vec<_>, Vec<_>) =
        (pattern.components().map(bytes).collect(), path.components().map(bytes).collect());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(pattern, name)| matches(pattern, name))
}

/// The regular files that a path or pattern means.
fn expand(path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let name = part.as_os_str();
        if !is_pattern(&name.to_string_lossy()) {
            found.iter_mut().for_each(|found| found.push(name));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            if !listed.is_dir() {
                continue;
            }
            let unreadable = |error: std::io::Error| SourceError::File {
                path: listed.display().to_string(),
                byte: None,
                reason: format!("the directory cannot be read: {error}"),
            };
            for entry in std::fs::read_dir(listed).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?.file_name();
                if matches(name.as_encoded_bytes(), entry.as_encoded_bytes()) {
                    next.push(folder.join(entry));
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

/// True if `*` (anything) and `?` (one byte) can stand for what `name` has there. As in shells, neither finds hidden files.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Behind the last `*`, and how much of the name that stands for.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                p += 1;
                star = Some((p, n));
            }
            (Some(&byte), _) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
            (_, Some((behind, upto))) => {
                star = Some((behind, upto + 1));
                (p, n) = (behind, upto + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for inner in ["inner", "other"] {
            std::fs::create_dir(directory.path().join(inner)).expect("a directory");
        }
        for file in ["b.jsonl", "a.jsonl", "c.json", ".d.jsonl", "inner/a.jsonl", "other/a.jsonl"] {
            std::fs::write(directory.path().join(file), file).expect("a file");
        }
        directory
    }

    fn find_in(directory: &Path, paths: &[&str], known: &[&str], waits: bool) -> Result<Vec<String>, SourceError> {
        let paths: Vec<_> = paths.iter().map(|path| directory.join(path).display().to_string()).collect();
        let known: Vec<_> = known.iter().map(|path| directory.join(path).display().to_string()).collect();
        let found = find(&paths, &known.iter().map(String::as_str).collect::<Vec<_>>(), waits)?;
        let name = |found: Found| found.path.strip_prefix(directory).expect("in there").display().to_string();
        Ok(found.into_iter().map(name).collect())
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let directory = folder();
        let found = |paths: &[&str]| find_in(directory.path(), paths, &[], false).expect("found");
        assert_eq!(found(&["*.jsonl", "inner/a.jsonl", "a.jsonl"]), ["a.jsonl", "b.jsonl", "inner/a.jsonl"]);
        assert_eq!(found(&["?.js*"]), ["a.jsonl", "b.jsonl", "c.json"]);
        assert_eq!(found(&["*/a.jsonl"]), ["inner/a.jsonl", "other/a.jsonl"]);
        assert_eq!(found(&["*"]), ["a.jsonl", "b.jsonl", "c.json"], "directories are no files");
        for (nothing, words) in
            [("x*", "check `paths`"), ("nowhere/*", "check"), ("nowhere.jsonl", "check"), ("inner", "inner/*`")]
        {
            let missing = find_in(directory.path(), &[nothing], &[], false).expect_err("nothing is there");
            assert!(missing.to_string().contains(words), "{missing}");
        }
    }

    #[test]
    fn what_was_there_once_is_no_mistake() {
        let directory = folder();
        let find = |path: &str, known: &[&str], waits| find_in(directory.path(), &[path], known, waits).is_ok();
        assert!(find("gone.jsonl", &["gone.jsonl"], false) && !find("gone.jsonl", &["other.jsonl"], false));
        assert!(find("*.x", &["y.x"], false) && !find("*.x", &["y.z"], false) && find("*.x", &[], true));
        assert!(find("old/*.x", &["old/1.x"], false), "with its folder");
        assert!(!find("gone.jsonl", &[], true), "a file that is named has to be there");
    }

    #[test]
    fn a_file_with_several_names_is_one() {
        let directory = folder();
        let path = |name: &str| directory.path().join(name);
        std::fs::hard_link(path("b.jsonl"), path("a2.jsonl")).expect("a link");
        std::os::unix::fs::symlink(path("b.jsonl"), path("z.jsonl")).expect("a link");
        std::os::unix::fs::symlink(path("nowhere"), path("y.jsonl")).expect("a link");
        let find = |known: &[&str]| find_in(directory.path(), &["*.jsonl"], known, false).expect("found");
        assert_eq!(find(&[]), ["a.jsonl", "a2.jsonl"]);
        assert_eq!(find(&["b.jsonl"]), ["a.jsonl", "b.jsonl"]);
    }

    #[test]
    fn patterns_fit_as_in_shells() {
        for (pattern, name, fits) in [
            ("*", "abc", true),
            ("*", ".abc", false),
            (".*", ".abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "", true),
            ("*b*b", "abab", true),
            ("*b*c", "abab", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
        assert!(!matches("*a".repeat(40).as_bytes(), &[b'b'; 4_000]), "and in time");
    }
}
