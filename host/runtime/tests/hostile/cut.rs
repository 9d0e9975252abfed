//! A compiler that ends while it answers: what it said so far is neither used nor kept.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lakemill_model::TransformError;
use lakemill_runtime::{COMPILE_VERB, Engine, EngineOptions, LoadOptions};

use crate::guests::options;
use crate::raw::Raw;

/// Nothing, the kind alone, half of the length, no code, some code.
const CUTS: [usize; 5] = [0, 1, 5, 9, 10_000];

/// After each of them the component loads, as soon as the compiler says all.
pub fn answers() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cache = folder.path().join("cache");
    let bytes = Raw::default().module();
    let load = |answer_bytes_max| {
        let compiler = Some(compiler(folder.path(), answer_bytes_max));
        let engine = Engine::new(EngineOptions { calls_max: 1, compiler, ..EngineOptions::default() });
        let given = LoadOptions { cache_dir: Some(cache.clone()), ..options("{}") };
        engine.map_err(|error| TransformError::Refused(error.to_string()))?.load(&bytes, given)
    };
    for cut in CUTS {
        match load(cut).map(drop) {
            Err(TransformError::Limit { limit, .. }) if limit.contains("for compiling a component") => {}
            other => return Err(format!("{cut} bytes of an answer: {other:?}")),
        }
        match kept(&cache) {
            0 => {}
            files => return Err(format!("{files} files were kept of {cut} bytes")),
        }
    }
    let compiled = |answer_bytes_max| {
        let loaded = load(answer_bytes_max).map_err(|error| error.to_string())?;
        Ok::<_, String>(loaded.report().compile_time.is_some())
    };
    match (compiled(usize::MAX >> 1)?, kept(&cache), compiled(0)?) {
        (true, 1, false) => Ok(()),
        other => Err(format!("compiled, kept, compiled again: {other:?}")),
    }
}

/// This program as the compiler, with the end of its answer cut off.
fn compiler(folder: &Path, answer_bytes_max: usize) -> PathBuf {
    let (path, this) = (folder.join("compiler"), std::env::current_exe().expect("is this program"));
    let script = format!("#!/bin/sh\n'{}' {COMPILE_VERB} \"$2\" | head -c {answer_bytes_max}\n", this.display());
    std::fs::write(&path, script).expect("a folder of ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a file of ours");
    path
}

/// Files of machine code in the cache.
fn kept(cache: &Path) -> usize {
    let files = std::fs::read_dir(cache).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|ext| ext == "code")).count()
}
