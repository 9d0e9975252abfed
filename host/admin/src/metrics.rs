//! Metrics in Prometheus' text format. Names are OpenTelemetry's where its conventions have one (dots as underscores, the unit at
//! the end), and begin with `lakemill` where they have none. docs/operating.md says what each one means for an operator.

use lakemill_pipeline::progress::rss_bytes;
use lakemill_pipeline::{Circuit, LATENCY_BOUNDS_MS, LatencyHistogram, Summary};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{CounterVec, Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

use crate::network::by_stage;

/// Prometheus' text format, version 0.0.4.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All of it, as of now. `guest_memory_bytes` is what components hold.
///
/// # Errors
/// If a name is not one that Prometheus takes: a defect of ours.
pub fn text(summary: &Summary, guest_memory_bytes: u64) -> prometheus::Result<String> {
    let all = All { registry: Registry::new(), pipeline: &summary.pipeline };
    let counts = &summary.counts;
    all.counters(
        "lakemill_rows",
        "Change events by what became of them: in = out + filtered + late + dead.",
        "fate",
        &[
            ("in", counts.rows_in),
            ("out", counts.rows_out),
            ("filtered", counts.rows_filtered),
            ("late", counts.rows_late),
            ("dead", counts.rows_dead),
        ],
    )?;
    all.counter(
        "messaging_client_consumed_messages",
        "Records read: change events and control records.",
        counts.records_read,
    )?;
    all.counters(
        "lakemill_control_records",
        "Records that belong to the stream and are no change events: read = in + control.",
        "kind",
        &counts.control.by_kind(),
    )?;
    let sinks: Vec<_> = summary.sinks.iter().map(|sink| (sink.name.as_str(), sink.rows)).collect();
    all.counters("lakemill_sink_rows", "Rows written, by sink.", "sink", &sinks)?;
    let beyond: Vec<_> = summary.out_of_range.iter().map(|c| (format!("{}.{}", c.of, c.column), c.values)).collect();
    let beyond: Vec<_> = beyond.iter().map(|(column, values)| (column.as_str(), *values)).collect();
    all.counters("lakemill_values_out_of_range", "Dates and timestamps out of range.", "column", &beyond)?;
    for (fate, of) in [("in", 0), ("filtered", 1), ("dead", 2)] {
        let rows: Vec<_> = summary
            .transforms
            .iter()
            .map(|t| (t.name.as_str(), [t.rows_in, t.rows_filtered, t.rows_dead][of]))
            .collect();
        let name = format!("lakemill_transform_rows_{fate}");
        all.counters(&name, "Rows that a transform saw, dropped or refused.", "transform", &rows)?;
    }
    let stages: Vec<_> = by_stage(&summary.dead_reasons).into_iter().collect();
    all.counters("lakemill_dead_rows", "Dead rows by the stage that refused them.", "stage", &stages)?;
    let seconds: Vec<_> = summary.transforms.iter().map(|t| (t.name.as_str(), t.call_us as f64 / 1e6)).collect();
    all.seconds("lakemill_transform_seconds", "Time in calls, summed over threads.", "transform", &seconds)?;
    let memory: Vec<_> = summary.transforms.iter().map(|t| (t.name.as_str(), t.memory_bytes_max as f64)).collect();
    all.gauges("lakemill_transform_memory_bytes_max", "The most memory of a call.", "transform", &memory)?;
    for (name, help, value) in [
        ("lakemill_batches", "Batches committed.", summary.batches),
        ("lakemill_commits", "Commits to sinks.", summary.commits),
        ("lakemill_swaps", "How often other components took over.", summary.swaps),
        ("lakemill_rollbacks", "How often new components were taken back.", summary.rollbacks),
        ("lakemill_traps", "Calls of components that failed.", summary.traps),
        ("lakemill_restarts", "How often the pipeline began again after a fault.", summary.restarts),
        ("lakemill_offsets_lost", "Offsets that were gone before they were read.", summary.offsets_lost),
        ("lakemill_event_times_ahead", "Event times too far ahead to move the watermark.", summary.event_times_ahead),
    ] {
        all.counter(name, help, value)?;
    }
    let stages = &summary.stages;
    all.seconds(
        "lakemill_stage_seconds",
        "Where the time went, summed over threads; transform is the time in components.",
        "stage",
        &[
            ("poll", stages.poll_s),
            ("plan", stages.plan_s),
            ("decode", stages.decode_s),
            ("transform", stages.transform_s),
            ("project", stages.project_s),
            ("stage", stages.stage_s),
            ("commit", stages.commit_s),
        ],
    )?;
    if let Some(lag) = summary.lag {
        all.gauge("lakemill_lag_records", "Records that are not read yet.", lag as f64)?;
    }
    if let Some(us) = summary.watermark_us {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        // The delay is allowed: a watermark that is behind by it is where it should be.
        let newest = us.saturating_add(summary.watermark_delay_us);
        let behind = (now.as_secs_f64() - newest as f64 / 1e6).max(0.0);
        let help = "How far the watermark is behind the clock, beyond the delay that is allowed.";
        all.gauge("lakemill_watermark_behind_seconds", help, behind)?;
    }
    let flag = |on: bool| f64::from(u8::from(on));
    all.gauge("lakemill_parked", "1 while the pipeline waits for a command.", flag(summary.parked))?;
    let waits = summary.circuit != Circuit::Closed;
    all.gauge("lakemill_circuit_open", "1 from a fault to the next commit.", flag(waits))?;
    all.gauge("process_memory_usage_bytes", "Resident memory.", rss_bytes() as f64)?;
    all.gauge("lakemill_guest_memory_bytes", "Memory of components.", guest_memory_bytes as f64)?;
    let mut text = Vec::new();
    let mut families = all.registry.gather();
    families.push(latency(&summary.pipeline, &summary.latency_histogram));
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The latency as a histogram, which can be added up over processes. It is counted where it happens, so that it is put together here by
/// hand.
fn latency(pipeline: &str, of: &LatencyHistogram) -> MetricFamily {
    let buckets = LATENCY_BOUNDS_MS.iter().zip(&of.up_to).map(|(bound_ms, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound_ms as f64 / 1e3);
        bucket.set_cumulative_count(*count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(of.count);
    histogram.set_sample_sum(of.sum_ms as f64 / 1e3);
    let mut label = LabelPair::default();
    label.set_name("pipeline".into());
    label.set_value(pipeline.into());
    let mut metric = Metric::default();
    metric.set_label(vec![label]);
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name("messaging_process_duration_seconds".into());
    family.set_help("From a record's Kafka timestamp to its commit.".into());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}

struct All<'a> {
    registry: Registry,
    pipeline: &'a str,
}

impl All<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).const_label("pipeline", self.pipeline)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
        let counter = IntCounter::with_opts(self.opts(&format!("{name}_total"), help))?;
        counter.inc_by(value);
        self.registry.register(Box::new(counter))
    }

    fn counters(&self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> prometheus::Result<()> {
        let counters = IntCounterVec::new(self.opts(&format!("{name}_total"), help), &[label])?;
        for (value, count) in values {
            counters.with_label_values(&[value]).inc_by(*count);
        }
        self.registry.register(Box::new(counters))
    }

    fn seconds(&self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) -> prometheus::Result<()> {
        let counters = CounterVec::new(self.opts(&format!("{name}_total"), help), &[label])?;
        for (value, of) in values {
            counters.with_label_values(&[value]).inc_by(*of);
        }
        self.registry.register(Box::new(counters))
    }

    fn gauge(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let gauge = Gauge::with_opts(self.opts(name, help))?;
        gauge.set(value);
        self.registry.register(Box::new(gauge))
    }

    fn gauges(&self, name: &str, help: &str, label: &str, values: &[(&str, f64)]) -> prometheus::Result<()> {
        let gauges = GaugeVec::new(self.opts(name, help), &[label])?;
        for (value, of) in values {
            gauges.with_label_values(&[value]).set(*of);
        }
        self.registry.register(Box::new(gauges))
    }
}

#[cfg(test)]
mod tests {
    use lakemill_pipeline::{ColumnOutOfRange, Counts, DeadReason, SinkCounts, TransformCounts};

    use super::*;

    #[test]
    fn every_number_of_a_summary_is_there() {
        let transform = TransformCounts {
            name: "clean".into(),
            rows_in: 5,
            rows_filtered: 2,
            rows_dead: 1,
            call_us: 1_500_000,
            memory_bytes_max: 65_536,
        };
        let control = lakemill_pipeline::ControlCounts::default();
        let summary = Summary {
            pipeline: "orders".into(),
            counts: Counts {
                rows_in: 9,
                rows_out: 5,
                rows_dead: 4,
                records_read: 11,
                records_control: 2,
                control,
                ..Counts::default()
            },
            transforms: vec![transform],
            sinks: vec![SinkCounts { name: "out".into(), rows: 5 }],
            lag: Some(7),
            offsets_lost: 3,
            out_of_range: vec![ColumnOutOfRange { of: "shop.orders".into(), column: "due".into(), values: 6 }],
            watermark_us: Some(0),
            watermark_delay_us: i64::MAX,
            event_times_ahead: 2,
            dead_reasons: vec![DeadReason { stage: "decode", reason: "x".into(), rows: 4 }],
            latency_histogram: LatencyHistogram { up_to: vec![1; LATENCY_BOUNDS_MS.len()], count: 2, sum_ms: 90_003 },
            parked: true,
            circuit: Circuit::Open,
            ..Summary::default()
        };
        let text = text(&summary, 64).expect("all names are good");
        for line in [
            r#"lakemill_rows_total{fate="dead",pipeline="orders"} 4"#,
            r#"messaging_client_consumed_messages_total{pipeline="orders"} 11"#,
            r#"lakemill_control_records_total{kind="heartbeat",pipeline="orders"} 0"#,
            r#"lakemill_sink_rows_total{pipeline="orders",sink="out"} 5"#,
            r#"lakemill_transform_rows_filtered_total{pipeline="orders",transform="clean"} 2"#,
            r#"lakemill_transform_seconds_total{pipeline="orders",transform="clean"} 1.5"#,
            r#"lakemill_transform_memory_bytes_max{pipeline="orders",transform="clean"} 65536"#,
            r#"lakemill_lag_records{pipeline="orders"} 7"#,
            r#"lakemill_offsets_lost_total{pipeline="orders"} 3"#,
            r#"lakemill_values_out_of_range_total{column="shop.orders.due",pipeline="orders"} 6"#,
            r#"lakemill_parked{pipeline="orders"} 1"#,
            r#"lakemill_circuit_open{pipeline="orders"} 1"#,
            r#"lakemill_guest_memory_bytes{pipeline="orders"} 64"#,
            "# TYPE lakemill_stage_seconds_total counter",
            "# TYPE lakemill_transform_seconds_total counter",
            r#"lakemill_dead_rows_total{pipeline="orders",stage="decode"} 4"#,
            r#"lakemill_event_times_ahead_total{pipeline="orders"} 2"#,
            r#"lakemill_watermark_behind_seconds{pipeline="orders"} 0"#,
            "# TYPE messaging_process_duration_seconds histogram",
            r#"messaging_process_duration_seconds_bucket{pipeline="orders",le="0.005"} 1"#,
            r#"messaging_process_duration_seconds_bucket{pipeline="orders",le="+Inf"} 2"#,
            r#"messaging_process_duration_seconds_sum{pipeline="orders"} 90.003"#,
            r#"messaging_process_duration_seconds_count{pipeline="orders"} 2"#,
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }
}
