//! The demo's folder: what it finds, removes and writes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Marks a folder as one that a demo may remove.
const MARK: &str = ".lakemill-demo";

/// Finds the shipped components.
pub fn components(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let beside = || {
        let binary = std::env::current_exe().ok()?;
        // target/release/lakemill -> target/guests
        Some(binary.parent()?.parent()?.join("guests"))
    };
    let folder = given.map(Path::to_owned).or_else(beside).unwrap_or_else(|| PathBuf::from("target/guests"));
    for name in ["clean.wasm", "split.wasm"] {
        if !folder.join(name).is_file() {
            return Err(Failure::invalid(format!(
                "{} is not there: `make guests` builds the shipped transforms; or name their folder with --components",
                folder.join(name).display()
            )));
        }
    }
    Ok(folder)
}

/// Removes what an earlier demo left; true if there was something.
pub fn clear(out: &Path) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::runtime(format!("clear {}: {error}", out.display()));
    if !out.exists() {
        return Ok(false);
    }
    if out.join(MARK).exists() {
        fs::remove_dir_all(out).map_err(failed)?;
        return Ok(true);
    }
    if fs::read_dir(out).map_err(failed)?.next().is_some() {
        return Err(Failure::invalid(format!(
            "{} is not empty and not a demo's: name another folder with --out",
            out.display()
        )));
    }
    Ok(false)
}

/// Writes components and pipeline file; returns the latter's path.
pub fn write(out: &Path, components: &Path, brokers: &str, topic: &str) -> Result<PathBuf, Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::runtime(format!("write {}: {error}", path.display()));
    fs::create_dir_all(out).map_err(|error| failed(out, error))?;
    let put = |name: &str, text: &str| {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, error)).map(|()| path)
    };
    put(MARK, "")?;
    for name in ["clean.wasm", "split.wasm"] {
        fs::copy(components.join(name), out.join(name)).map_err(|error| failed(&out.join(name), error))?;
    }
    put("pipeline.yaml", &pipeline(brokers, topic))
}

fn pipeline(brokers: &str, topic: &str) -> String {
    format!(
        "\
# What `lakemill demo` runs. With a broker of your own: `lakemill run pipeline.yaml`.
pipeline: demo
source:
  kafka: {{ brokers: \"{brokers}\", topics: [{topic}], start: earliest }}
  format: debezium-json
batch: {{ latency_ms_max: 50 }}
transforms:
  - component: ./clean.wasm # drops cancelled orders, masks e-mail addresses, adds a gross total
  - component: ./split.wasm # inserts, updates and deletes apart
sinks:
  orders: {{ delta: {{ path: ./lake/orders }} }}
  inserts: {{ delta: {{ path: ./lake/inserts }} }}
  updates: {{ delta: {{ path: ./lake/updates }} }}
  deletes: {{ delta: {{ path: ./lake/deletes }} }}
dead_letters: {{ delta: {{ path: ./lake/_dead }} }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_demo_made_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out");
        assert!(!clear(&out).expect("nothing there"));
        fs::create_dir(&out).expect("creates");
        assert!(!clear(&out).expect("an empty one"));
        fs::write(out.join("mine"), "").expect("writes");
        assert_eq!(clear(&out).expect_err("not a demo's").code, 2);
        fs::write(out.join(MARK), "").expect("writes");
        assert!(clear(&out).expect("a demo's"));
        assert!(!out.exists());
    }

    #[test]
    fn the_pipeline_file_is_valid() {
        lakemill_pipeline::spec::parse("pipeline.yaml", &pipeline("h:1", "shop.public.orders")).expect("is valid");
    }
}
