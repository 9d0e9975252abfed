//! `lakemill blame`: which code, batch and Kafka position are behind a row.

use lakemill_lake::{Blame, Blamed, blame};
use serde_json::json;

use crate::exit::Failure;
use crate::show::timestamp;

/// Names the code, the batch and the Kafka position behind rows of a table; without such a row it ends with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n\
\x20 lakemill blame ./lake/orders --where id=42\n\
\x20 lakemill blame ./lake/_dead --where partition=0 --where offset=1234")]
pub struct Args {
    /// The table's folder.
    table: String,
    /// A column and the text of its cell, `id=42`; several must all hold.
    #[arg(long = "where", value_name = "COLUMN=TEXT", required = true, value_parser = condition)]
    conditions: Vec<(String, String)>,
    /// Rows at most, the newest first.
    #[arg(long, default_value_t = 10)]
    rows_max: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

fn condition(text: &str) -> Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: write COLUMN=TEXT, such as id=42"))?;
    Ok((column.to_owned(), value.to_owned()))
}

/// Names them.
pub fn run(args: &Args) -> Result<(), Failure> {
    let Blame { rows, why_none } =
        blame(&args.table, &args.conditions, args.rows_max).map_err(|error| Failure::invalid(error.to_string()))?;
    if rows.is_empty() {
        let why = why_none.map(|why| format!(": {why}")).unwrap_or_default();
        return Err(Failure::runtime(format!("no such row in {}{why}", args.table)));
    }
    if args.json {
        println!("{}", json!({ "ok": true, "rows": rows }));
        return Ok(());
    }
    for row in &rows {
        print(row);
    }
    Ok(())
}

fn print(Blamed { commit, file, row }: &Blamed) {
    let cells: Vec<String> = row.iter().map(|(name, cell)| format!("{name}={cell}")).collect();
    println!("{}", cells.join(" "));
    match &commit.pipeline {
        Some(pipeline) => println!("  code      {} (pipeline {pipeline})", commit.digests.join(", ")),
        None => println!("  code      not Lakemill's, or somebody has rewritten the file since"),
    }
    println!("  commit    version {} at {}", commit.version, timestamp(commit.time_ms.saturating_mul(1000)));
    if let Some(checkpoint) = commit.checkpoint {
        let ranges: Vec<String> = commit
            .ranges
            .iter()
            .map(|(topic, partition, start, end)| format!("{topic}/{partition} {start}..{end}"))
            .collect();
        println!("  batch     {checkpoint}: {}", ranges.join(", "));
    }
    if let (Some(partition), Some(offset)) = (row.get("_partition"), row.get("_offset")) {
        println!("  position  partition {partition}, offset {offset}");
    }
    println!("  file      {file}");
}
