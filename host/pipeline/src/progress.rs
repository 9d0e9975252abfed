//! What a running pipeline shows, and what it says at the end.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use lakemill_model::TopicPartition;
use serde::Serialize;

use crate::breaker::Circuit;
use crate::counts::{Counts, Spent};
use crate::dead::{DeadReason, Reasons, in_words};
use crate::job::Prepared;
use crate::ranges::{self, ColumnOutOfRange};
use crate::throttle::Throttle;
use crate::trial::TrialReport;

/// What a transform did with the rows that it saw: each transform sees every row that is neither broken nor late.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransformCounts {
    /// What it calls itself.
    pub name: String,
    /// Rows that it saw.
    pub rows_in: u64,
    /// Of them, those that it dropped.
    pub rows_filtered: u64,
    /// Of them, those that it refused.
    pub rows_dead: u64,
    /// Time in its calls, summed over threads, in microseconds.
    pub call_us: u64,
    /// The most memory that a call of the present component had; 0 for native code.
    pub memory_bytes_max: u64,
}

/// What a sink got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkCounts {
    /// As in the pipeline file; `dead_letters` and `late` are sinks, too.
    pub name: String,
    /// Rows written.
    pub rows: u64,
}

/// How long records took from Kafka's timestamp to the commit, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// None took longer.
    pub max: u64,
}

/// How many records took how long from Kafka's timestamp to the commit; it can be added up over processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LatencyHistogram {
    /// Records that took at most as long as each of [`LATENCY_BOUNDS_MS`].
    pub up_to: Vec<u64>,
    /// All of them.
    pub count: u64,
    /// Of all of them, in milliseconds.
    pub sum_ms: u64,
}

/// The bounds of [`LatencyHistogram`] in milliseconds: those that OpenTelemetry's conventions advise for `messaging.process.duration`, and
/// some for a pipeline that was behind.
pub const LATENCY_BOUNDS_MS: [u64; 19] = [
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000, 30_000, 60_000, 300_000, 1_800_000,
    7_200_000,
];

impl LatencyHistogram {
    fn add(&mut self, took_ms: u64, count: u64) {
        self.up_to.resize(LATENCY_BOUNDS_MS.len(), 0);
        for (up_to, bound_ms) in self.up_to.iter_mut().zip(LATENCY_BOUNDS_MS) {
            *up_to += if took_ms <= bound_ms { count } else { 0 };
        }
        self.count += count;
        self.sum_ms = self.sum_ms.saturating_add(took_ms.saturating_mul(count));
    }
}

/// Where the time of a run went, in seconds, summed over threads.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stages {
    /// Reader: waiting for records and copying them.
    pub poll_s: f64,
    /// Reader: writing plans.
    pub plan_s: f64,
    /// Workers: bytes to columns.
    pub decode_s: f64,
    /// Workers: in components, with the check of their answers.
    pub transform_s: f64,
    /// Workers: building output rows.
    pub project_s: f64,
    /// Workers: encoding and writing files.
    pub stage_s: f64,
    /// Committer: commits.
    pub commit_s: f64,
}

/// The state of a run, at any time and at its end: the object that `--json` prints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// The pipeline's name.
    pub pipeline: String,
    /// Rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// By transform, in the order of the pipeline file.
    pub transforms: Vec<TransformCounts>,
    /// By sink, in the order of the pipeline file.
    pub sinks: Vec<SinkCounts>,
    /// Dates and timestamps that were out of range, by column.
    pub out_of_range: Vec<ColumnOutOfRange>,
    /// Batches committed.
    pub batches: u64,
    /// Commits to sinks.
    pub commits: u64,
    /// Since the run began.
    pub seconds: f64,
    /// From the start to the first commit that held rows; null if there was none.
    pub first_commit_s: Option<f64>,
    /// Change events per second of the run.
    pub events_per_s: u64,
    /// Kafka's timestamp to the commit.
    pub latency_ms: Latency,
    /// The same for metrics.
    #[serde(skip)]
    pub latency_histogram: LatencyHistogram,
    /// Records still to be read, as far as known.
    pub lag: Option<u64>,
    /// Offsets that were gone before they were read, and were gone over.
    pub offsets_lost: u64,
    /// Microseconds since 1970.
    pub watermark_us: Option<i64>,
    /// How late a change may come: the watermark is so much behind the newest event time, in microseconds.
    pub watermark_delay_us: i64,
    /// Event times that moved no watermark, since they are further ahead than `watermark.future_max` allows.
    pub event_times_ahead: u64,
    /// Why rows are dead, the most frequent reason first.
    pub dead_reasons: Vec<DeadReason>,
    /// Where they are.
    pub dead_letters: String,
    /// The most memory that the process has had, in bytes.
    pub rss_bytes_max: u64,
    /// Where the time went.
    pub stages: Stages,
    /// SHA-256 of the components, in the order of the pipeline file.
    pub digests: Vec<String>,
    /// How often other components took over.
    pub swaps: u64,
    /// How often new components were taken back.
    pub rollbacks: u64,
    /// Of new components: the trial under way, or the last one.
    pub trial: Option<TrialReport>,
    /// Why the components on disk were not used when they were last looked at.
    pub refusal: Option<String>,
    /// What a start would run now, if it is not what runs.
    pub next_start: Option<String>,
    /// Calls of transforms that failed, not counting those that looked for the rows to blame.
    pub traps: u64,
    /// How often the pipeline began again after a fault.
    pub restarts: u64,
    /// Whether it runs, waits after a fault, or tries.
    pub circuit: Circuit,
    /// Why it is parked, or what the last fault was while it has not committed again.
    pub trouble: Option<String>,
    /// Whether it is parked: it keeps its place and waits for a command.
    pub parked: bool,
}

/// Shared by the threads of a run and whoever watches it.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    summary: Summary,
    latency: Histogram<u64>,
    dead: Reasons,
    dead_unsaid: Throttle<Reasons>,
    ahead_unsaid: Throttle<u64>,
}

impl Inner {
    /// Rows died; it is said as it happens, and then once a minute.
    fn died(&mut self, reasons: &Reasons) {
        self.dead.add(reasons);
        if let Some(unsaid) = self.dead_unsaid.add(Instant::now(), |held| held.add(reasons)) {
            let reasons = unsaid.sorted();
            let rows: u64 = reasons.iter().map(|reason| reason.rows).sum();
            let table = &self.summary.dead_letters;
            tracing::warn!(rows, reasons = in_words(&reasons, REASONS_SAID), table, "rows are dead");
        }
    }
}

/// Reasons in a log line.
const REASONS_SAID: usize = 5;

/// The longest latency that is told apart: a day.
const LATENCY_MS_MAX: u64 = 86_400_000;

impl Progress {
    /// Nothing yet; the clock starts.
    pub(crate) fn new(pipeline: &str, digests: Vec<String>, transforms: &[String], sinks: &[&str]) -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MS_MAX, 3).expect("the bounds are constants");
        let transform = |name: &String| TransformCounts { name: name.clone(), ..TransformCounts::default() };
        let sink = |name: &&str| SinkCounts { name: (*name).into(), rows: 0 };
        let summary = Summary {
            pipeline: pipeline.into(),
            digests,
            transforms: transforms.iter().map(transform).collect(),
            sinks: sinks.iter().map(sink).collect(),
            ..Summary::default()
        };
        let inner = Inner {
            summary,
            latency,
            dead: Reasons::default(),
            dead_unsaid: Throttle::default(),
            ahead_unsaid: Throttle::default(),
        };
        Self { started: Instant::now(), inner: Mutex::new(inner) }
    }

    /// With what the pipeline file says: where dead letters are, and how late a change may come, in microseconds.
    #[must_use]
    pub(crate) fn with(mut self, dead_letters: String, watermark_delay_us: i64) -> Self {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        (inner.summary.dead_letters, inner.summary.watermark_delay_us) = (dead_letters, watermark_delay_us);
        self
    }

    /// Where the run is now.
    pub fn summary(&self) -> Summary {
        let inner = self.lock();
        let mut summary = inner.summary.clone();
        summary.seconds = self.started.elapsed().as_secs_f64();
        summary.events_per_s = (summary.counts.rows_in as f64 / summary.seconds.max(1e-9)) as u64;
        let at = |quantile| inner.latency.value_at_quantile(quantile);
        if !inner.latency.is_empty() {
            summary.latency_ms = Latency { p50: at(0.5), p99: at(0.99), max: inner.latency.max() };
        }
        summary.rss_bytes_max = rss_bytes_max();
        summary.dead_reasons = inner.dead.sorted();
        summary
    }

    pub(crate) fn committed(&self, prepared: &Prepared, commits: u64, commit_us: u64, now_ms: i64) {
        let mut inner = self.lock();
        for &(at_ms, count) in &prepared.kafka_times_ms {
            let took = u64::try_from(now_ms - at_ms).unwrap_or(0).clamp(1, LATENCY_MS_MAX);
            inner.latency.saturating_record_n(took, count);
            inner.summary.latency_histogram.add(took, count);
        }
        if !prepared.reasons.is_empty() {
            inner.died(&prepared.reasons);
        }
        let summary = &mut inner.summary;
        summary.counts += prepared.counts;
        for (sum, seen) in summary.transforms.iter_mut().zip(&prepared.seen) {
            sum.rows_in += seen.rows_in;
            sum.rows_filtered += seen.rows_filtered;
            sum.rows_dead += seen.rows_dead;
            sum.call_us += seen.call_us;
            sum.memory_bytes_max = sum.memory_bytes_max.max(seen.memory_bytes_max);
        }
        for (sink, rows) in &prepared.rows_staged {
            summary.sinks[*sink].rows += rows;
        }
        ranges::add(&mut summary.out_of_range, &prepared.out_of_range);
        summary.batches += 1;
        (summary.circuit, summary.trouble) = (Circuit::Closed, None);
        summary.commits += commits;
        if prepared.counts.rows_written > 0 {
            summary.first_commit_s.get_or_insert(self.started.elapsed().as_secs_f64());
        }
        let Spent { decode_us, transform_us, project_us, stage_us } = prepared.spent;
        let add = |sum: &mut f64, us: u64| *sum += us as f64 / 1e6;
        add(&mut summary.stages.decode_s, decode_us);
        add(&mut summary.stages.transform_s, transform_us);
        add(&mut summary.stages.project_s, project_us);
        add(&mut summary.stages.stage_s, stage_us);
        add(&mut summary.stages.commit_s, commit_us);
    }

    /// So many event times of a partition are ahead of the clocks, or of the times beside them.
    pub(crate) fn wrong_times(&self, tp: &TopicPartition, count: u64) {
        let mut inner = self.lock();
        inner.summary.event_times_ahead += count;
        if let Some(event_times) = inner.ahead_unsaid.add(Instant::now(), |held| *held += count) {
            tracing::warn!(
                partition = %tp,
                event_times,
                "a clock of the source is ahead: event times beyond `watermark.future_max` move no watermark"
            );
        }
    }

    /// A call of a transform failed.
    pub(crate) fn trapped(&self) {
        self.lock().summary.traps += 1;
    }

    /// Whether the pipeline waits for a command.
    pub(crate) fn is_parked(&self) -> bool {
        self.lock().summary.parked
    }

    /// Batches committed.
    pub(crate) fn batches(&self) -> u64 {
        self.lock().summary.batches
    }

    /// Other components took over.
    pub(crate) fn swapped(&self, digests: Vec<String>, names: &[String]) {
        let summary = &mut self.lock().summary;
        summary.swaps += 1;
        summary.digests = digests;
        for (transform, name) in summary.transforms.iter_mut().zip(names) {
            transform.name.clone_from(name);
            transform.memory_bytes_max = 0;
        }
    }

    /// New components were taken back.
    pub(crate) fn rolled_back(&self) {
        self.lock().summary.rollbacks += 1;
    }

    /// The pipeline waits after a fault, or tries again.
    pub(crate) fn restarting(&self, circuit: Circuit, trouble: Option<String>) {
        let summary = &mut self.lock().summary;
        summary.restarts += u64::from(circuit == Circuit::HalfOpen);
        (summary.circuit, summary.trouble) = (circuit, trouble);
    }

    /// The pipeline waits for a command, or goes on.
    pub(crate) fn parked(&self, why: Option<String>) {
        let summary = &mut self.lock().summary;
        summary.parked = why.is_some();
        summary.trouble = why;
    }

    pub(crate) fn read(&self, poll_us: u64, plan_us: u64, lag: Option<u64>, watermark_us: Option<i64>) {
        let mut inner = self.lock();
        inner.summary.watermark_us = watermark_us;
        inner.summary.stages.poll_s += poll_us as f64 / 1e6;
        inner.summary.stages.plan_s += plan_us as f64 / 1e6;
        inner.summary.lag = lag;
    }

    pub(crate) fn lost(&self, offsets: u64) {
        if offsets > 0 {
            self.lock().summary.offsets_lost += offsets;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process's largest resident set so far; 0 where the system does not tell.
fn rss_bytes_max() -> u64 {
    of_status("VmHWM:")
}

/// The process's resident set now; 0 where the system does not tell.
pub fn rss_bytes() -> u64 {
    of_status("VmRSS:")
}

/// A size of proc_pid_status(5), in bytes.
fn of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Seen;

    #[test]
    fn adds_up_and_shows_latency() {
        let progress = Progress::new("p", vec![], &["clean".into()], &["orders", "dead_letters"]);
        let counts =
            Counts { rows_in: 4, rows_out: 1, rows_filtered: 1, rows_late: 1, rows_dead: 1, ..Counts::default() };
        let seen = vec![Seen { rows_in: 2, rows_filtered: 1, call_us: 30, memory_bytes_max: 70, ..Seen::default() }];
        let kafka_times_ms = vec![(1000, 3), (1500, 1)];
        let prepared =
            Prepared { counts, kafka_times_ms, seen, rows_staged: vec![(0, 1), (1, 1)], ..Prepared::default() };
        progress.committed(&prepared, 2, 7, 2000);
        progress.committed(&prepared, 1, 7, 2000);
        let summary = progress.summary();
        assert_eq!((summary.counts.rows_in, summary.batches, summary.commits), (8, 2, 3));
        assert_eq!((summary.transforms[0].rows_in, summary.transforms[0].rows_filtered), (4, 2));
        assert_eq!((summary.transforms[0].call_us, summary.transforms[0].memory_bytes_max), (60, 70));
        assert_eq!(summary.sinks, ["orders", "dead_letters"].map(|name| SinkCounts { name: name.into(), rows: 2 }));
        assert_eq!((summary.latency_ms.p50, summary.latency_ms.max), (1000, 1000));
        assert!(summary.rss_bytes_max > 0);
        let LatencyHistogram { up_to, count, sum_ms } = summary.latency_histogram;
        assert_eq!((up_to[7], up_to[8], up_to[9], count, sum_ms), (2, 2, 8, 8, 7_000));
    }
}
