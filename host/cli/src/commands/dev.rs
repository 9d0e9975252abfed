//! `lakemill dev`: on every save, builds a transform, runs its cases, and shows what it makes of events now and what it made of
//! them before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lakemill_model::{RawBatch, RecordRef};
use lakemill_pipeline::tryout;
use serde_json::{Value, json};

use crate::commands::{build, test};
use crate::compiler;
use crate::exit::Failure;
use crate::rows::{Change, Rows, changes, rows};
use crate::settings::{self, Settings};
use crate::show::{CONTROL, catch_signals};
use crate::watch::{Watch, WatchMode};

/// On every save, builds a transform, runs its cases, and shows what it makes of events now and what it made before.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n\
\x20 lakemill dev\n\
\x20 lakemill dev my-orders --events captured.jsonl --last 100\n\
\x20 lakemill dev --config '{\"tax_rate\": 0.2}' --once")]
pub struct Args {
    /// The transform's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Events: JSON lines, a value each, or key, tab, value. All files of `events/` if left out.
    #[arg(long)]
    events: Vec<PathBuf>,
    /// The last so many of them.
    #[arg(long, default_value_t = 1_000)]
    last: usize,
    /// Its configuration, a JSON object; that of the folder's `pipeline.yaml` if left out.
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// How saves are noticed.
    #[arg(long, value_enum, default_value = "notify")]
    watch: WatchMode,
    /// One round, and no waiting for saves.
    #[arg(long)]
    once: bool,
    /// Print one JSON object a round.
    #[arg(long)]
    pub json: bool,
}

/// A key, or none, and a value, or none.
type Record = (Option<Vec<u8>>, Option<Vec<u8>>);

/// One round: what a version does.
struct Round {
    passed: usize,
    failed: Vec<String>,
    rows: Rows,
    dead: Vec<(u32, String)>,
    build: Duration,
    test: Duration,
    replay: Duration,
}

/// Rows that are shown of a round.
const SHOWN_MAX: usize = 10;

/// Between two looks for the end.
const TICK: Duration = Duration::from_millis(200);

/// Loops until Ctrl-C.
pub fn run(args: &Args) -> Result<(), Failure> {
    catch_signals();
    let watch = Watch::of_sources(std::slice::from_ref(&args.folder), args.watch)?;
    let mut before: Option<Rows> = None;
    let mut saved = Instant::now();
    loop {
        match round(args) {
            Ok(round) => {
                show(&round, before.as_ref(), saved.elapsed(), args.json);
                before = Some(round.rows);
            }
            Err(failure) if args.once => return Err(failure),
            Err(failure) if args.json => println!("{}", json!({ "ok": false, "error": failure.message })),
            Err(failure) => println!("{}\nwaiting for the next save", failure.message),
        }
        if args.once {
            return Ok(());
        }
        while !watch.wait(TICK) {
            if CONTROL.is_stopped() {
                return Ok(());
            }
        }
        saved = Instant::now();
    }
}

fn round(args: &Args) -> Result<Round, Failure> {
    let started = Instant::now();
    let component = build::build(&args.folder, Some(args.folder.join("target/dev")), build::Speed::Quick)?;
    let (build, started) = (started.elapsed(), Instant::now());
    let (passed, failed) = match args.folder.join("cases").is_dir() {
        true => test::run_cases(&args.folder, &component, false)?,
        false => (0, Vec::new()),
    };
    let (test, started) = (started.elapsed(), Instant::now());
    let Settings { json, secrets, schema } = settings::of(args.config.as_deref(), &args.folder, &component)?;
    let transform = tryout::load_hiding(&component, json, secrets, compiler::program())?;
    let records = records(args)?;
    let mut raw = RawBatch::default();
    for (offset, (key, value)) in (0..).zip(&records) {
        let (key, value) = (key.as_deref(), value.as_deref());
        raw.push(RecordRef { topic: "events", partition: 0, offset, timestamp_ms: Some(0), key, value });
    }
    let made = tryout::run(&*transform, &raw, &schema)?;
    Ok(Round { passed, failed, rows: rows(&made)?, dead: made.dead, build, test, replay: started.elapsed() })
}

/// The last events of the files.
fn records(args: &Args) -> Result<Vec<Record>, Failure> {
    let mut files = args.events.clone();
    if let (true, Ok(listed)) = (files.is_empty(), std::fs::read_dir(args.folder.join("events"))) {
        files.extend(listed.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
        files.sort();
    }
    let mut records = Vec::new();
    for file in &files {
        let text =
            std::fs::read(file).map_err(|error| Failure::invalid(format!("read {}: {error}", file.display())))?;
        records.extend(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(record));
    }
    Ok(records.split_off(records.len().saturating_sub(args.last)))
}

fn record(line: &[u8]) -> Record {
    let some = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
    match line.iter().position(|byte| *byte == b'\t') {
        // A tab within JSON is written as `\t`: this one ends the key.
        Some(tab) => (some(&line[..tab]), some(&line[tab + 1..])),
        None => (None, some(line)),
    }
}

fn show(round: &Round, before: Option<&Rows>, took: Duration, json: bool) {
    let changes = before.map(|before| changes(before, &round.rows)).unwrap_or_default();
    let counts: BTreeMap<&String, usize> = round.rows.iter().map(|(output, rows)| (output, rows.len())).collect();
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if json {
        let shown = |change: &Change<'_>| json!({ "output": change.output, "row": change.row, "before": change.before, "after": change.after });
        let object = json!({
            "ok": round.failed.is_empty(),
            "passed": round.passed,
            "failed": round.failed,
            "rows": counts,
            "dead": round.dead,
            "changes": changes.iter().map(shown).collect::<Vec<_>>(),
            "took_ms": ms(took),
            "build_ms": ms(round.build),
            "test_ms": ms(round.test),
            "replay_ms": ms(round.replay),
        });
        println!("{object}");
        return;
    }
    round.failed.iter().for_each(|failure| println!("FAIL {failure}\n"));
    let rows: Vec<String> = counts.iter().map(|(output, count)| format!("{count} to {output}")).collect();
    println!("cases      {} passed, {} failed", round.passed, round.failed.len());
    println!("rows       {}; {} dead", rows.join(", "), round.dead.len());
    for (record, reason) in round.dead.iter().take(SHOWN_MAX) {
        println!("  dead     event {record}: {reason}");
    }
    match (before, changes.len()) {
        (None, _) => {}
        (Some(_), 0) => println!("changes    none"),
        (Some(_), count) => println!("changes    {count} rows"),
    }
    for change in changes.iter().take(SHOWN_MAX) {
        println!("  {}[{}]", change.output, change.row);
        for (column, [old, new]) in cells(change) {
            println!("    {column}: {old} -> {new}");
        }
    }
    println!(
        "took       {:.2} s: build {:.2}, cases {:.2}, events {:.2}",
        took.as_secs_f64(),
        round.build.as_secs_f64(),
        round.test.as_secs_f64(),
        round.replay.as_secs_f64()
    );
}

/// The columns in which the two rows differ.
fn cells(change: &Change<'_>) -> BTreeMap<String, [String; 2]> {
    let empty = serde_json::Map::new();
    let of = |row: Option<&Value>| row.and_then(Value::as_object).cloned().unwrap_or_else(|| empty.clone());
    let (old, new) = (of(change.before), of(change.after));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let text = |row: &serde_json::Map<String, Value>, name: &String| {
        row.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string)
    };
    let differ = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differ.map(|name| (name.clone(), [text(&old, name), text(&new, name)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_at_a_tab() {
        assert_eq!(record(b"{\"a\":1}"), (None, Some(b"{\"a\":1}".to_vec())));
        assert_eq!(record(b"k\t{}"), (Some(b"k".to_vec()), Some(b"{}".to_vec())));
        assert_eq!(record(b"k\t"), (Some(b"k".to_vec()), None), "a tombstone");
    }

    #[test]
    fn only_what_differs_is_shown() {
        let rows = |rows: Value| Rows::from([("out".to_owned(), rows.as_array().cloned().unwrap_or_default())]);
        let (old, new) =
            (rows(json!([{"a": 1, "b": 2}, {"a": 3}])), rows(json!([{"a": 1, "b": 5}, {"a": 3}, {"a": 4}])));
        let changes = changes(&old, &new);
        assert_eq!(changes.iter().map(|change| change.row).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(cells(&changes[0]), [("b".to_owned(), ["2".to_owned(), "5".to_owned()])].into());
        assert_eq!(cells(&changes[1]), [("a".to_owned(), ["nothing".to_owned(), "4".to_owned()])].into());
    }
}
