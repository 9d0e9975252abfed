//! The files of the checkout, as the rules look at them.

use std::path::Path;

use lakemill_tests::places;

/// A Rust file, its code apart from the tests at its end.
pub struct Source {
    /// Relative to the checkout.
    pub path: String,
    /// What comes before `#[cfg(test)] mod tests`.
    pub code: String,
    /// What comes after.
    pub tests: String,
}

/// All Rust files.
pub fn sources() -> Vec<Source> {
    let rust = texts().into_iter().filter(|(path, _)| path.ends_with(".rs"));
    let sources: Vec<_> = rust
        .map(|(path, text)| {
            let at = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
            let (code, tests) = text.split_at(at);
            // A file of tests only has no code to count.
            let only_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
            let (code, tests) =
                if only_tests && !path.starts_with("tests/") { (header(code), text.as_str()) } else { (code, tests) };
            Source { path, code: code.to_owned(), tests: tests.to_owned() }
        })
        .collect();
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    sources
}

fn header(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// All files that are text: path relative to the checkout, and content.
pub fn texts() -> Vec<(String, String)> {
    let mut all = Vec::new();
    walk(&places::root(), "", &mut all);
    assert!(!all.is_empty(), "no files found");
    all
}

fn walk(folder: &Path, prefix: &str, all: &mut Vec<(String, String)>) {
    // What is made, not written.
    const MADE: [&str; 8] = ["target", ".git", "demo-out", ".lakemill", "__pycache__", "node_modules", ".venv", "lake"];
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{prefix}: {e}")).filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if entry.path().is_dir() {
            // host/lake is a crate; a folder `lake` elsewhere holds tables.
            let made = MADE.contains(&name.as_str()) && path != "host/lake";
            if !made {
                walk(&entry.path(), &path, all);
            }
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            all.push((path, text));
        }
    }
}
