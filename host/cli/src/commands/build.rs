//! `lakemill build`: compiles a transform's crate to WebAssembly.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::exit::Failure;

/// The one script that finds a wasm toolchain by itself, the same that builds the shipped transforms.
const SCRIPT: &str = include_str!("../../../../scripts/build-guest.sh");

/// Compiles a Rust transform to WebAssembly; finds or installs what that needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill build\n  lakemill build transforms/my-orders --out components")]
pub struct Args {
    /// The transform's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the `.wasm` goes; `target/guests` in the folder if left out.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Builds it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let wasm = build(&args.folder, args.out.clone(), Speed::Best)?;
    if args.json {
        println!("{}", json!({"ok": true, "component": wasm}));
    } else {
        println!("built {}", wasm.display());
    }
    Ok(())
}

/// What a build is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// The fastest code.
    Best,
    /// The fastest build, after the first one.
    Quick,
}

/// Builds the crate in `folder`; returns the path of the module.
pub fn build(folder: &std::path::Path, out: Option<PathBuf>, speed: Speed) -> Result<PathBuf, Failure> {
    let manifest = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(|error| {
        Failure::invalid(format!("{}: {error}; `lakemill new NAME` makes a transform", manifest.display()))
    })?;
    let name = package_name(&text)
        .ok_or_else(|| Failure::invalid(format!("{}: no `name` under [package]", manifest.display())))?;
    let out = out.unwrap_or_else(|| folder.join("target/guests"));
    let mut script =
        tempfile::NamedTempFile::new().map_err(|e| Failure::runtime(format!("create a temporary file: {e}")))?;
    script.write_all(SCRIPT.as_bytes()).map_err(|e| Failure::runtime(format!("write a temporary file: {e}")))?;
    let status = Command::new("bash")
        .arg(script.path())
        .arg(folder)
        .arg("--out")
        .arg(&out)
        .args((speed == Speed::Quick).then_some("--quick"))
        .stdin(Stdio::null())
        // Standard output is ours.
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| Failure::unreachable(format!("run bash: {error}")))?;
    if !status.success() {
        return Err(Failure::invalid(format!(
            "the build of {} failed; the compiler's words are above",
            folder.display()
        )));
    }
    Ok(out.join(format!("{name}.wasm")))
}

/// The package's name in a Cargo manifest.
fn package_name(manifest: &str) -> Option<String> {
    let package = manifest.split("[package]").nth(1)?;
    let line = package.lines().map(str::trim).find(|line| line.starts_with("name"))?;
    Some(line.split('"').nth(1)?.to_owned())
}
