//! The guests that the tests run: built once per run of the tests by the script that users have, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lakemill_model::{Answer, TransformError};
use lakemill_runtime::{Engine, EngineOptions, Limits, LoadOptions, TransformComponent};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn built(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = Command::new("scripts/build-guest.sh")
            .args(["tests/guests/hostile", "tests/guests/probe"])
            .current_dir(root())
            .output()
            .expect("the script runs");
        assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    });
    root().join("target/guests").join(format!("{name}.wasm"))
}

/// Misbehaves as `config.mode` says.
pub fn hostile() -> Vec<u8> {
    std::fs::read(built("hostile")).expect("is built")
}

/// Does what `config.do` says.
pub fn probe() -> Vec<u8> {
    std::fs::read(built("probe")).expect("is built")
}

/// The engine of most tests.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineOptions::default()).expect("an engine"))
}

/// Compiled once: the tests of one run share a cache.
fn cache() -> PathBuf {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().expect("a folder")).path().to_owned()
}

pub fn options(config: &str) -> LoadOptions {
    LoadOptions { config_json: config.into(), cache_dir: Some(cache()), ..LoadOptions::default() }
}

pub fn load(bytes: &[u8], config: &str) -> Result<TransformComponent, TransformError> {
    engine().load(bytes, options(config))
}

pub fn load_limited(bytes: &[u8], config: &str, limits: Limits) -> Result<TransformComponent, TransformError> {
    engine().load(bytes, LoadOptions { limits, ..options(config) })
}

/// The limit that was hit.
#[track_caller]
pub fn limit<T: std::fmt::Debug>(result: Result<T, TransformError>, name: &str, hint: &str) {
    match result {
        Err(TransformError::Limit { limit, hint: found, backtrace }) => {
            assert!(limit.contains(name), "{limit}");
            let found = format!("{found}\n{}", backtrace.unwrap_or_default());
            assert!(found.contains(hint), "{found}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// The trap that it was, by a part of its words.
#[track_caller]
pub fn trap(result: Result<Answer, TransformError>, says: &str) {
    match result {
        Err(error @ TransformError::Trap { .. }) => assert!(error.to_string().contains(says), "{error}"),
        other => panic!("{says}: {other:?}"),
    }
}
