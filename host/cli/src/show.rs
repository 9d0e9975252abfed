//! Watches a run: a line that moves on a terminal, a log line now and then elsewhere; and the signals that end it.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use lakemill_pipeline::{Control, Pipeline, PipelineError, Progress, Summary};

use crate::exit::Failure;

/// The first SIGINT or SIGTERM stops through it; the run ends with its planned batches committed. A second signal ends the
/// process.
pub static CONTROL: Control = Control::new();

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(250);

/// Ticks between two log lines where there is no terminal.
const TICKS_PER_LOG_LINE: u32 = 40;

/// Lets SIGINT and SIGTERM end a run; once per process.
pub fn catch_signals() {
    let caught = ctrlc::set_handler(|| {
        if CONTROL.is_stopped() {
            std::process::exit(130);
        }
        CONTROL.stop();
    });
    if let Err(error) = caught {
        tracing::warn!(%error, "signals are not caught: the pipeline ends without finishing its batches");
    }
}

/// Runs a pipeline while showing where it is.
///
/// # Errors
/// What stopped it, with what was done before.
pub fn watched(pipeline: &Pipeline, progress: &Progress, quiet: bool) -> Result<Summary, Failure> {
    let result = std::thread::scope(|scope| {
        let (ended, ending) = channel::<()>();
        let shown = progress;
        if !quiet {
            scope.spawn(move || {
                let show = Show::new();
                let mut ticks = 0;
                while ending.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    ticks += 1;
                    show.tick(&shown.summary(), ticks);
                }
                show.bar.finish_and_clear();
            });
        }
        let result = pipeline.run(progress, &CONTROL);
        drop(ended);
        result
    });
    result.map_err(|error| failed(progress, error))
}

fn failed(progress: &Progress, error: PipelineError) -> Failure {
    Failure { summary: Some(Box::new(progress.summary())), ..Failure::from(error) }
}

struct Show {
    bar: ProgressBar,
    terminal: bool,
}

impl Show {
    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant"));
        Self { bar, terminal }
    }

    fn tick(&self, summary: &Summary, ticks: u32) {
        if self.terminal {
            self.bar.set_message(line(summary));
            self.bar.tick();
        } else if ticks.is_multiple_of(TICKS_PER_LOG_LINE) {
            tracing::info!("{}", line(summary));
        }
    }
}

/// Where a run is, in one line.
fn line(summary: &Summary) -> String {
    let lag = summary.lag.map_or("?".into(), |lag| lag.to_string());
    let watermark = summary.watermark_us.map_or("none yet".into(), timestamp);
    format!(
        "{} events  {}/s  lag {lag}  watermark {watermark}  {} commits  {} dead",
        summary.counts.rows_in, summary.events_per_s, summary.commits, summary.counts.rows_dead
    )
}

/// Microseconds since 1970 as RFC 3339, to the second.
pub fn timestamp(us: i64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_micros(u64::try_from(us).unwrap_or(0));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Control records by kind, those that there are.
pub fn kinds(by_kind: &[(&str, u64)]) -> String {
    let there: Vec<_> =
        by_kind.iter().filter(|(_, count)| *count > 0).map(|(kind, count)| format!("{kind} {count}")).collect();
    if there.is_empty() { "none".into() } else { there.join(", ") }
}
