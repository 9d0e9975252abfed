//! Where things lie in the checkout and in cargo's target folder. Reads nothing but the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The checkout.
pub fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().expect("the crate lies in the checkout").to_path_buf()
}

/// Cargo's target folder: the test runs from `<target>/release/deps/`.
///
/// # Errors
/// If the running program cannot be found.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find the running test")?;
    let target = program.ancestors().nth(3).context("find the target folder of the running test")?;
    Ok(target.to_path_buf())
}

/// The `lakemill` command, as built by `cargo build --release --workspace`.
///
/// # Errors
/// If it has not been built.
pub fn lakemill() -> Result<PathBuf> {
    there(target()?.join("release/lakemill"), "`make build`")
}

/// A component, by its package's name.
///
/// # Errors
/// If it has not been built.
pub fn guest(name: &str) -> Result<PathBuf> {
    there(target()?.join("guests").join(format!("{name}.wasm")), "`make guests`")
}

/// The cluster that fails as it is told (host/ingest/examples/mock_cluster.rs).
///
/// # Errors
/// If it has not been built.
pub fn mock_cluster() -> Result<PathBuf> {
    there(target()?.join("release/examples/mock_cluster"), "`cargo build --release --workspace --examples`")
}

/// The Python that has the readers.
///
/// # Errors
/// If it has not been set up.
pub fn python() -> Result<PathBuf> {
    there(target()?.join("tools/venv/bin/python"), "`scripts/readers.sh`")
}

fn there(path: PathBuf, made_by: &str) -> Result<PathBuf> {
    ensure!(path.is_file(), "{} is not there: run {made_by}, or `make test`, which runs all of it", path.display());
    Ok(path)
}
