//! What somebody may have meant by a name that is not there.

use std::path::Path;

/// The name that is most like `wrong`, if one is like it at all.
pub fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |name: &str| strsim::damerau_levenshtein(wrong, name);
    let near = names.into_iter().filter(|name| distance(name) <= 1 + name.chars().count() / 3);
    near.min_by_key(|name| distance(name))
}

/// For a message about a file that is not there: which one of its folder may be meant, or which folder is not there. Begins with `; `;
/// nothing if the file is there, or if there is nothing to say.
pub fn hint(path: &Path) -> String {
    if path.exists() {
        return String::new();
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let Ok(listed) = std::fs::read_dir(folder) else {
        let there = folder.ancestors().find(|folder| folder.is_dir()).map(whole);
        return match there {
            Some(there) => format!("; there is no folder {}, only {there}", whole(folder)),
            None => format!("; there is no folder {}", whole(folder)),
        };
    };
    let kind = path.extension();
    let of_kind = |entry: std::fs::DirEntry| {
        let path = entry.path();
        (path.extension() == kind && path.is_file()).then(|| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = listed.flatten().filter_map(of_kind).collect();
    names.sort();
    // Their ending is the same.
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
    let stems: Vec<String> = names.iter().map(|name| stem(name)).collect();
    match nearest(&stem(&name), stems.iter().map(String::as_str)) {
        Some(near) => {
            let near = names.iter().find(|name| stem(name) == near).expect("it is one of their stems");
            format!("; did you mean {near}, which is in {}?", whole(folder))
        }
        None => format!("; it is looked for at {}", whole(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_may_be_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["clean.wasm", "flatten.wasm", "clean.yaml"] {
            std::fs::write(folder.path().join(name), "").expect("writes");
        }
        let said = |name: &str| hint(&folder.path().join(name));
        assert_eq!(said("claen.wasm"), format!("; did you mean clean.wasm, which is in {}?", folder.path().display()));
        assert_eq!(said("other.wasm"), format!("; it is looked for at {}", folder.path().join("other.wasm").display()));
        assert_eq!(said("clean.wasm"), "");
        let gone = said("a/b/clean.wasm");
        assert!(
            gone.contains("there is no folder") && gone.ends_with(&format!("only {}", folder.path().display())),
            "{gone}"
        );
    }
}
