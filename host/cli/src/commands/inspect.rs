//! `lakemill inspect`: what a component is.

use std::path::{Path, PathBuf};

use lakemill_model::{Description, OutputColumn};
use serde_json::{Value, json};

use crate::compiler;
use crate::exit::Failure;
use crate::settings::{self, Settings};

/// Shows what a component imports, exports and writes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  lakemill inspect clean.wasm\n  lakemill inspect clean.wasm --config '{\"tax_rate\": 0.2}'"
)]
pub struct Args {
    /// A component, or a core module with embedded WIT.
    file: PathBuf,
    /// Its configuration, a JSON object; that of `pipeline.yaml` in this folder if left out, if that names the component.
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Inspects it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let bytes = std::fs::read(&args.file)
        .map_err(|error| Failure::invalid(format!("read {}: {error}", args.file.display())))?;
    let Settings { json: config, secrets, .. } = settings::of(args.config.as_deref(), Path::new("."), &args.file)?;
    let found = lakemill_runtime::inspect(&bytes, &config, secrets, compiler::program())
        .map_err(|error| Failure::invalid(format!("{}: {error}", args.file.display())))?;
    if args.json {
        let object = json!({
            "ok": true,
            "kind": found.kind.to_string(),
            "bytes": found.bytes,
            "digest": found.digest,
            "imports": found.imports,
            "exports": found.exports,
            "compile_ms": found.compile_ms,
            "description": found.description.as_ref().map(description),
            "refusal": found.refusal,
        });
        println!("{object}");
        return Ok(());
    }
    println!("{}: {}, {} bytes", args.file.display(), found.kind, found.bytes);
    println!("sha256   {}", found.digest);
    println!("imports  {}", or_none(&found.imports));
    println!("exports  {}", or_none(&found.exports));
    println!("compiles in {} ms", found.compile_ms);
    match &found.description {
        Some(of) => print!("{}", text(of)),
        None => println!("no description: {}", without(found.refusal.as_deref().unwrap_or_default(), &config)),
    }
    Ok(())
}

/// Why there is no description; if it is the configuration, what to do.
fn without(refusal: &str, config: &str) -> String {
    match refusal.contains("refuses its configuration") {
        true if config == "{}" => format!(
            "{refusal}\n  it was asked with an empty configuration: give it one with `--config '{{...}}'`, or run this in the folder of the \
             pipeline.yaml that has it"
        ),
        true => format!("{refusal}\n  it was asked with the configuration of `--config`, or else of pipeline.yaml"),
        false => refusal.to_owned(),
    }
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() { "none".into() } else { list.join(", ") }
}

fn text(of: &Description) -> String {
    let mut out = format!("{} {}\n", of.name, of.version);
    for output in &of.outputs {
        let key = if output.key.is_empty() { "no key".into() } else { format!("key {}", output.key.join(", ")) };
        out += &format!("output {} ({key})\n", output.name);
        for column in &output.columns {
            out += &format!("  {}\n", column_text(column));
        }
    }
    out
}

fn column_text(column: &OutputColumn) -> String {
    match column {
        OutputColumn::Made(field) => {
            format!("{} {}{}", field.name, field.data_type, if field.nullable { "" } else { " not null" })
        }
        OutputColumn::Copied { image, column, name } => format!("{name} = {}.{column}", image.name()),
        OutputColumn::CopiedAll { image, prefix, except } => {
            let except = if except.is_empty() { String::new() } else { format!(" except {}", except.join(", ")) };
            format!("{prefix}* = {}.*{except}", image.name())
        }
    }
}

fn description(of: &Description) -> Value {
    let outputs: Vec<Value> = of
        .outputs
        .iter()
        .map(|output| {
            let columns: Vec<_> = output.columns.iter().map(column_text).collect();
            json!({"name": &*output.name, "key": output.key.iter().map(|k| &**k).collect::<Vec<_>>(), "columns": columns})
        })
        .collect();
    let schema: Option<Value> = of.config_schema.as_deref().and_then(|text| serde_json::from_str(text).ok());
    json!({"name": of.name, "version": of.version, "outputs": outputs, "config_schema": schema})
}
