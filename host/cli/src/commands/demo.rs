//! `lakemill demo`: a made-up shop's changes through two shipped transforms into Delta tables, with nothing else installed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lakemill_ingest::embedded::EmbeddedBroker;
use lakemill_pipeline::{Pipeline, Progress, Summary, spec::SpecFile};
use serde_json::json;

use crate::demo::{feed, folder};
use crate::exit::Failure;
use crate::orders::{Made, Shape};
use crate::{commands, compiler, show};

/// Partitions of the demo's topic.
const PARTITIONS: i32 = 8;

/// Streams a made-up shop's changes through `clean` and `split` into Delta tables.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  lakemill demo\n  lakemill demo --brokers localhost:9092")]
pub struct Args {
    /// Change events, a few of them broken.
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// A Kafka of your own instead of the broker inside this process.
    #[arg(long)]
    brokers: Option<String>,
    /// Where tables and pipeline file go; what an earlier demo left there is removed.
    #[arg(long, default_value = "./demo-out")]
    out: PathBuf,
    /// Where `clean.wasm` and `split.wasm` are; beside the `lakemill` binary if left out.
    #[arg(long)]
    components: Option<PathBuf>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let components = folder::components(args.components.as_deref())?;
    if folder::clear(&args.out)? && !args.json {
        println!("{} is cleared: this demo starts from nothing", args.out.display());
    }
    let embedded = match &args.brokers {
        Some(_) => None,
        None => Some(EmbeddedBroker::start().map_err(|error| Failure::runtime(error.to_string()))?),
    };
    let brokers = match (&args.brokers, &embedded) {
        (Some(brokers), _) => brokers.clone(),
        (None, Some(broker)) => broker.servers().to_owned(),
        (None, None) => unreachable!("one of them is there"),
    };
    let topic = feed::create_topic(embedded.as_ref(), &brokers, PARTITIONS)?;
    let path = folder::write(&args.out, &components, &brokers, &topic)?;
    if !args.json {
        let place = if embedded.is_some() { "a broker inside this process".to_owned() } else { brokers.clone() };
        println!("{} change events -> {place} -> clean, split -> {}", args.events, args.out.join("lake").display());
    }
    let file = SpecFile::read(&path)?;
    show::catch_signals();
    let pipeline = Pipeline::open(file, compiler::options())?;
    let (summary, made) = stream(&pipeline, &brokers, &topic, args, embedded.is_some())?;
    finish(&summary, made, args)
}

/// Feeds the topic while the pipeline runs; ends when every event is committed.
fn stream(
    pipeline: &Pipeline,
    brokers: &str,
    topic: &str,
    args: &Args,
    embedded: bool,
) -> Result<(Summary, Made), Failure> {
    let shape = Shape { broken_every: 10_007, start_ms: now_ms(), ..Shape::default() };
    let progress = pipeline.progress();
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            let fed = feed::feed(brokers, topic, PARTITIONS, args.events, shape, embedded, &show::CONTROL);
            if fed.is_ok() {
                wait_until_committed(&progress, args.events);
            }
            show::CONTROL.stop();
            fed
        });
        let summary = show::watched(pipeline, &progress, args.json);
        show::CONTROL.stop();
        let made = feeding.join().map_err(|_| Failure::runtime("the demo's producer stopped"))?;
        Ok((summary?, made?))
    })
}

fn wait_until_committed(progress: &Progress, events: u64) {
    while progress.summary().counts.rows_in < events && !show::CONTROL.is_stopped() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn finish(summary: &Summary, made: Made, args: &Args) -> Result<(), Failure> {
    let counts = &summary.counts;
    let lake = args.out.join("lake");
    let tables: Vec<String> = ["orders", "inserts", "updates", "deletes", "_dead"]
        .map(|table| lake.join(table).display().to_string())
        .to_vec();
    if args.json {
        let mut object = serde_json::to_value(summary).expect("a summary is plain data");
        object["ok"] = json!(true);
        object["tables"] = json!(tables);
        println!("{object}");
    } else {
        commands::run::print(summary, false);
        println!("tables     {}", tables.join("\n           "));
        println!("read them  {}", read_line(&lake.join("orders")));
    }
    let sum = counts.rows_out + counts.rows_filtered + counts.rows_late + counts.rows_dead;
    if counts.rows_in != sum || counts.rows_in != args.events || counts.rows_dead != made.broken {
        return Err(Failure::runtime(format!(
            "the demo was interrupted, or its books do not balance: {} events made ({} broken), {} in, {sum} accounted for, {} dead",
            args.events, made.broken, counts.rows_in, counts.rows_dead
        )));
    }
    Ok(())
}

/// A command that reads a table with somebody else's reader.
fn read_line(table: &Path) -> String {
    format!(
        "pip install polars deltalake; python3 -c \"import polars; print(polars.read_delta('{}'))\"",
        table.display()
    )
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}
