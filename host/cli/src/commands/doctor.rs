//! `lakemill doctor`: would `build` and `run` work here?

use std::path::PathBuf;
use std::process::Command;

use lakemill_pipeline::spec::SpecFile;
use lakemill_pipeline::{assemble, loader};
use lakemill_runtime::{Engine, EngineOptions};
use serde_json::json;

use crate::compiler;
use crate::exit::Failure;

/// Checks whether `build` and `run` would work here; changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill doctor\n  lakemill doctor pipeline.yaml")]
pub struct Args {
    /// A pipeline file: its components, source and tables are checked as well.
    file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What a check found.
struct Finding {
    check: &'static str,
    /// What is there, or what is wrong and what to do, with the exit code that it is worth.
    found: Result<String, (u8, String)>,
}

/// Checks.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut findings = vec![engine(), cache(), cargo(), wasm()];
    if let Some(path) = &args.file {
        findings.extend(pipeline(path));
    }
    let worst = findings.iter().filter_map(|f| f.found.as_ref().err().map(|(code, _)| *code)).max();
    if args.json {
        let checks: Vec<_> = findings
            .iter()
            .map(|f| match &f.found {
                Ok(text) => json!({"check": f.check, "ok": true, "found": text}),
                Err((_, text)) => json!({"check": f.check, "ok": false, "found": text}),
            })
            .collect();
        println!("{}", json!({"ok": worst.is_none(), "checks": checks}));
        std::process::exit(i32::from(worst.unwrap_or(0)));
    }
    for finding in &findings {
        match &finding.found {
            Ok(text) => println!("ok    {:10} {text}", finding.check),
            Err((_, text)) => println!("FAIL  {:10} {text}", finding.check),
        }
    }
    match worst {
        None => Ok(()),
        Some(code) => Err(Failure { code, message: "not everything is in order, see above".into(), summary: None }),
    }
}

fn engine() -> Finding {
    let found = match Engine::new(EngineOptions::default()) {
        Ok(_) => Ok("the WebAssembly engine starts".into()),
        Err(error) => Err((3, error.to_string())),
    };
    Finding { check: "engine", found }
}

fn cache() -> Finding {
    let folder = loader::cache_folder();
    let tried = std::fs::create_dir_all(&folder).and_then(|()| tempfile::tempfile_in(&folder));
    let found = match tried {
        Ok(_) => Ok(format!("compiled components are kept in {}", folder.display())),
        Err(error) => Err((
            3,
            format!("{} cannot be written: {error}; set XDG_CACHE_HOME to a folder that can", folder.display()),
        )),
    };
    Finding { check: "cache", found }
}

fn cargo() -> Finding {
    let found = match output("cargo", &["--version"]) {
        Some(version) => Ok(version),
        None => Err((3, "cargo is not there: `lakemill build` and `new` need Rust (https://rustup.rs)".into())),
    };
    Finding { check: "rust", found }
}

fn wasm() -> Finding {
    let target = "wasm32-unknown-unknown";
    let sysroot = output("rustc", &["--print", "sysroot"]);
    let installed = sysroot.is_some_and(|root| PathBuf::from(root).join("lib/rustlib").join(target).exists());
    let debian = PathBuf::from("/usr/bin/cargo").exists() && PathBuf::from("/usr/src").exists() && debian_std();
    let found = match (installed, debian) {
        (true, _) => Ok(format!("the target {target} is installed")),
        (false, true) => Ok("Debian's rustc-web builds for WebAssembly".into()),
        (false, false) => Err((
            3,
            format!(
                "no compiler for WebAssembly yet: `rustup target add {target}`, or `lakemill build` installs Debian's rustc-web when it may"
            ),
        )),
    };
    Finding { check: "wasm", found }
}

fn debian_std() -> bool {
    output("dpkg-query", &["-W", "-f", "${Status}", "rustc-web"]).is_some_and(|status| status.contains("ok installed"))
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn pipeline(path: &std::path::Path) -> Vec<Finding> {
    let invalid = |error: &dyn std::fmt::Display| (2, error.to_string());
    let file = match SpecFile::read(path) {
        Ok(file) => file,
        Err(error) => return vec![Finding { check: "file", found: Err(invalid(&error)) }],
    };
    let mut findings = vec![Finding { check: "file", found: Ok(format!("{} is valid", path.display())) }];
    let components =
        loader::check(&file, &compiler::options()).map(|wired| format!("{} loaded and wired", wired.len()));
    findings.push(Finding { check: "components", found: components.map_err(|e| (e.exit_code(), e.to_string())) });
    for (check, reached) in assemble::reach(&file) {
        findings.push(Finding { check, found: reached.map_err(|error| (error.exit_code(), error.to_string())) });
    }
    findings
}
