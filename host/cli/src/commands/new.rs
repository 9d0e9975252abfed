//! `lakemill new`: a transform of one's own that builds and passes its tests.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use serde_json::json;

use crate::exit::Failure;

/// The SDK and the contract that this host was built with: a project carries them, so that they always match.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust");
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");
static SCAFFOLD: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scaffold");

/// Makes a transform of your own: a crate with tests, cases, events and a pipeline file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill new my-orders\n  lakemill new my-orders --into transforms")]
pub struct Args {
    /// Its name: lower-case letters, digits and hyphens. A folder of that name is made.
    name: String,
    /// Where the folder is made.
    #[arg(long, default_value = ".")]
    into: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Names that cargo refuses for a package, keywords and the crates of the project among them.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "lakemill-guest",
    "serde",
];

/// Makes it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !args.name.starts_with(|c: char| c.is_ascii_lowercase()) || !args.name.chars().all(fits) || args.name.len() > 64
    {
        return Err(Failure::invalid(format!(
            "`{}` is no name for a transform: a letter first, then lower-case letters, digits and hyphens, 64 at most",
            args.name
        )));
    }
    if RESERVED.contains(&args.name.as_str()) {
        return Err(Failure::invalid(format!(
            "`{0}` is a name that Rust or this project uses itself: choose another one, such as `my-{0}`",
            args.name
        )));
    }
    let folder = args.into.join(&args.name);
    if folder.exists() {
        return Err(Failure::invalid(format!("{} is there already: choose another name", folder.display())));
    }
    lay(&SCAFFOLD, &folder, &|text| {
        text.replace("{{name}}", &args.name).replace("{{function}}", &args.name.replace('-', "_"))
    })?;
    let sdk = folder.join("vendor/lakemill-guest");
    lay(&SDK, &sdk, &str::to_owned)?;
    lay(&WIT, &sdk.join("wit"), &str::to_owned)?;
    if args.json {
        println!("{}", json!({"ok": true, "folder": folder}));
        return Ok(());
    }
    println!("made {}; next:", folder.display());
    for line in [
        format!("cd {}", folder.display()),
        "cargo test                 # natively".into(),
        "lakemill test              # builds the component and runs its cases".into(),
        "lakemill run pipeline.yaml # a few events into a Delta table".into(),
    ] {
        println!("  {line}");
    }
    Ok(())
}

/// Writes a folder's files; names that end in `.in` lose it (cargo must not see a scaffold as a crate).
fn lay(from: &Dir<'_>, to: &Path, edit: &dyn Fn(&str) -> String) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| Failure::runtime(format!("write {}: {error}", path.display()));
    fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for entry in from.entries() {
        let name = entry.path().file_name().unwrap_or_default().to_string_lossy();
        let path = to.join(name.trim_end_matches(".in"));
        match entry {
            include_dir::DirEntry::Dir(dir) => lay(dir, &path, edit)?,
            include_dir::DirEntry::File(file) => {
                let text = file.contents_utf8().unwrap_or_default();
                fs::write(&path, edit(text)).map_err(|error| failed(&path, error))?;
            }
        }
    }
    Ok(())
}
