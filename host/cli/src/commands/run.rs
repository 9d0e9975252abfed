//! `lakemill run`: runs a pipeline file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use lakemill_admin::{Server, Target};
use lakemill_pipeline::{Bounds, Mode, Options, Pipeline, Summary, in_words, spec::SpecFile};

use crate::compiler;
use crate::exit::Failure;
use crate::show::{self, CONTROL};
use crate::watch::{self, Watch, WatchMode};

/// Runs a pipeline until it is stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n\
\x20 lakemill run pipeline.yaml\n\
\x20 lakemill run pipeline.yaml --until-caught-up --json\n\
\x20 lakemill run --watch pipeline.yaml --shadow\n\
\x20 lakemill run pipeline.yaml --watch=poll --canary 10 --promote-after 100000\n\
\x20 lakemill run pipeline.yaml --listen 127.0.0.1:9464")]
pub struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Stop once everything has been read that was in the topics at the start.
    #[arg(long)]
    until_caught_up: bool,
    /// Let components that change on disk take over while the pipeline runs; `--watch=poll` where the file system does not tell.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, value_name = "HOW", default_missing_value = "notify")]
    watch: Option<WatchMode>,
    #[command(flatten)]
    trial: Trial,
    /// Answer /livez, /readyz and /metrics here, such as 127.0.0.1:9464; read-only and without authentication.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Take the place of a process that runs the pipeline out of the same state folder; it ends with its next commit. For Kafka only.
    #[arg(long)]
    take_over: bool,
    /// End with 1 if a row is dead, so that a job or a test is not green: they are in the dead letters either way.
    #[arg(long)]
    fail_on_dead: bool,
    /// Print the summary as one JSON object, the last line of standard output.
    #[arg(long)]
    pub json: bool,
}

/// How new components take over; they are the file's, where others are in use, and those that `--watch` sees.
#[derive(Debug, clap::Args)]
struct Trial {
    /// New components run on the live batches beside the old ones first; what they make is compared and thrown away.
    #[arg(long, conflicts_with = "canary")]
    shadow: bool,
    /// New components get this many of 100 keys first.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..100))]
    canary: Option<u8>,
    /// Let them take over by themselves after this many rows within the bounds; only `lakemill promote` does, if left out.
    #[arg(long, value_name = "ROWS")]
    promote_after: Option<u64>,
    /// Shadow: take them back if more than this share of rows differs, 0 to 1; without it a difference only keeps them from taking
    /// over by themselves.
    #[arg(long, value_name = "SHARE")]
    diff_max: Option<f64>,
    /// Take them back if this share of their rows dies beyond that of the old ones.
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().error_share_max)]
    error_share_max: f64,
    /// Take them back if they take this many times the old ones' time per row.
    #[arg(long, value_name = "TIMES", default_value_t = Bounds::default().slowdown_max)]
    slowdown_max: f64,
}

impl Trial {
    fn mode(&self) -> Mode {
        match self.canary {
            Some(percent) => Mode::Canary(percent),
            None if self.shadow => Mode::Shadow,
            None => Mode::AtOnce,
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            promote_after_rows: self.promote_after,
            diff_share_max: self.diff_max,
            error_share_max: self.error_share_max,
            slowdown_max: self.slowdown_max,
        }
    }
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let file = SpecFile::read(&args.file)?;
    show::catch_signals();
    let options = Options {
        file: Some(args.file.clone()),
        until_caught_up: args.until_caught_up,
        take_over: args.take_over,
        mode: args.trial.mode(),
        bounds: args.trial.bounds(),
        ..compiler::options()
    };
    let components: Vec<PathBuf> = file.spec.transforms.iter().map(|t| file.resolve(&t.component)).collect();
    // Before they are read, so that no change is missed.
    let watch = args.watch.map(|mode| Watch::of(&components, mode)).transpose()?;
    let state = file.state_folder();
    let pipeline = Arc::new(Pipeline::open(file, options)?);
    let progress = Arc::new(pipeline.progress());
    let target = Target { pipeline: pipeline.clone(), progress: progress.clone(), control: &CONTROL };
    let _server = Server::start(target, &state, args.listen).map_err(|error| {
        Failure::runtime(format!(
            "listen for metrics and health at {}: {error}",
            args.listen.map_or_else(String::new, |at| at.to_string())
        ))
    })?;
    let summary = std::thread::scope(|scope| {
        if let Some(watch) = watch {
            let (pipeline, progress) = (&*pipeline, &*progress);
            scope.spawn(move || watch::follow(&watch, pipeline, progress, &CONTROL));
        }
        let summary = show::watched(&pipeline, &progress, args.json);
        CONTROL.stop();
        summary
    })?;
    if args.fail_on_dead && summary.counts.rows_dead > 0 {
        if !args.json {
            print(&summary, false);
        }
        let message = format!("{}, and `--fail-on-dead` is set", dead(&summary));
        return Err(Failure { summary: Some(Box::new(summary)), ..Failure::runtime(message) });
    }
    print(&summary, args.json);
    Ok(())
}

/// Reasons that a person is shown.
const REASONS_SHOWN: usize = 5;

/// How many rows are dead, why, and where they are.
fn dead(summary: &Summary) -> String {
    let rows = summary.counts.rows_dead;
    let (reasons, table) = (in_words(&summary.dead_reasons, REASONS_SHOWN), &summary.dead_letters);
    format!("{rows} {} dead: {reasons}; see {table}", if rows == 1 { "row is" } else { "rows are" })
}

/// Says so if nothing of what was read was a change.
fn warn_of_nothing_but_control(summary: &Summary) {
    let counts = &summary.counts;
    if counts.records_read > 0 && counts.rows_in == 0 {
        tracing::warn!(
            read = counts.records_read,
            "no change was read: all records are control records ({}); are these the topics of the tables?",
            show::kinds(&counts.control.by_kind())
        );
    }
}

/// Prints how a run ended.
pub fn print(summary: &Summary, json: bool) {
    warn_of_nothing_but_control(summary);
    if json {
        let mut object = serde_json::to_value(summary).expect("a summary is plain data");
        object["ok"] = true.into();
        println!("{object}");
        return;
    }
    let counts = &summary.counts;
    println!("pipeline   {}", summary.pipeline);
    println!(
        "rows       {} in = {} out + {} filtered + {} late + {} dead",
        counts.rows_in, counts.rows_out, counts.rows_filtered, counts.rows_late, counts.rows_dead
    );
    println!(
        "records    {} read = {} in + {} control ({})",
        counts.records_read,
        counts.rows_in,
        counts.records_control,
        show::kinds(&counts.control.by_kind())
    );
    for transform in &summary.transforms {
        println!(
            "{:<10} {} seen, {} filtered, {} refused",
            transform.name, transform.rows_in, transform.rows_filtered, transform.rows_dead
        );
    }
    let sinks: Vec<String> = summary.sinks.iter().map(|sink| format!("{} {}", sink.name, sink.rows)).collect();
    println!("written    {} rows: {}", counts.rows_written, sinks.join(", "));
    for column in &summary.out_of_range {
        println!("range      {} values of {}.{} were out of range", column.values, column.of, column.column);
    }
    println!("commits    {} in {} batches", summary.commits, summary.batches);
    println!("speed      {} events/s over {:.2} s", summary.events_per_s, summary.seconds);
    let latency = &summary.latency_ms;
    // Records of files have no timestamp.
    if latency.max > 0 {
        println!(
            "latency    p50 {} ms, p99 {} ms, max {} ms (Kafka timestamp to commit)",
            latency.p50, latency.p99, latency.max
        );
    }
    println!("memory     {} MiB at most", summary.rss_bytes_max >> 20);
    if summary.event_times_ahead > 0 {
        println!("clock      {} event times are ahead and moved no watermark", summary.event_times_ahead);
    }
    if counts.rows_dead > 0 {
        println!("dead       {}", dead(summary));
    }
}
