//! Reads ranges again, with a client of its own that lives as long as the call: the partitions of the source
//! may be anywhere, and those outside the ranges are none of its business. It never goes over a loss.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakemill_model::{NextOffset, PositionDelta, RawBatch, SourceError, TopicPartition};
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaOptions;
use super::connection::Connection;
use super::inquiry::{Inquiry, serve_events};
use super::native::{Fetched, RecordQueue};
use super::verdict::{Verdict, verdict};
use crate::batching::{NO_LIMITS, fits, len, wait};
use crate::progress::{Progress, Stand};

/// Nothing has come for so long: there is nothing to come. Outages of the cluster are shorter, or else worth
/// a stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Appends the records of `ranges` to `batch`.
///
/// # Errors
/// [`SourceError::DataLoss`] if a range is not there any more, [`SourceError::WentBack`] if it is not there yet; what [`super::KafkaSource::open`] fails with.
pub(super) fn read(options: &KafkaOptions, ranges: &PositionDelta, batch: &mut RawBatch) -> Result<(), SourceError> {
    let wanted: Vec<_> = ranges.iter().filter(|(_, range)| range.start < range.end).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    // The last record may be one that nobody is to see: its end is found by asking for what comes after it.
    let options = KafkaOptions { until_caught_up: true, ..options.clone() };
    let consumer = Connection::open(&options)?;
    let ask = Inquiry { consumer: &consumer, options: &options };
    let partitions: Vec<_> = wanted.iter().map(|(tp, _)| (*tp).clone()).collect();
    let mut progress = Progress::default();
    let mut list = TopicPartitionList::with_capacity(wanted.len());
    for ((tp, range), edges) in wanted.iter().zip(ask.edges(&partitions)?) {
        let (start, end) = (range.start.0, range.end.0);
        if end > edges.end {
            // What is there now at these offsets, or will be, is something else.
            return Err(SourceError::WentBack {
                partition: (*tp).clone(),
                wanted: range.end,
                end: NextOffset(edges.end),
            });
        }
        if start < edges.first {
            return Err(edges.loss(tp, start));
        }
        progress.start((*tp).clone(), Stand { from: start, next: start, end });
        list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(start))
            .map_err(|error| refused(tp, error))?;
    }
    let queue = RecordQueue::new(Arc::clone(&consumer));
    partitions.iter().for_each(|tp| queue.feed_from(tp));
    consumer.assign(&list).map_err(|error| refused(&partitions[0], error))?;
    let mut moved = Instant::now();
    while !progress.caught_up() {
        let failed = step(&queue, &mut progress, batch, &mut moved);
        let failed = match failed {
            Some((tp, Trouble::Client(code, reason))) => {
                if verdict(code) == Verdict::OffsetGone {
                    let at = progress.find(&tp.topic, tp.partition).map_or(0, |at| progress.at(at).next);
                    return Err(ask.edges(std::slice::from_ref(&tp))?[0].loss(&tp, at));
                }
                ask.failure(&tp.to_string(), code, &reason)
            }
            Some((tp, Trouble::TooLarge)) => Some(SourceError::Read {
                what: tp.to_string(),
                reason: "the ranges of one batch hold more than a batch can".to_owned(),
            }),
            None if moved.elapsed() > PATIENCE => Some(SourceError::Unreachable {
                brokers: options.brokers.clone(),
                reason: format!("no record came in {} s", PATIENCE.as_secs()),
            }),
            None => None,
        };
        if let Some(error) = failed {
            return Err(error);
        }
        serve_events(&consumer, Duration::ZERO);
    }
    Ok(())
}

enum Trouble {
    Client(rdkafka::error::RDKafkaErrorCode, String),
    TooLarge,
}

fn refused(tp: &TopicPartition, error: rdkafka::error::KafkaError) -> SourceError {
    SourceError::Read { what: tp.to_string(), reason: error.to_string() }
}

/// Takes what there is. Records at or after a partition's end tell that all before has come.
fn step(
    queue: &RecordQueue,
    progress: &mut Progress,
    batch: &mut RawBatch,
    moved: &mut Instant,
) -> Option<(TopicPartition, Trouble)> {
    let mut failed = None;
    let now = Instant::now();
    queue.serve(wait(now, now + PATIENCE), |fetched| match fetched {
        Fetched::Record(record) => {
            let Some(at) = progress.find(record.topic, record.partition) else {
                return ControlFlow::Continue(());
            };
            let stand = *progress.at(at);
            if record.offset < stand.end {
                if !fits(batch, &NO_LIMITS, len(&record)) {
                    failed = Some((TopicPartition::new(record.topic, record.partition), Trouble::TooLarge));
                    return ControlFlow::Break(());
                }
                batch.push(record);
            }
            progress.reach(at, (record.offset + 1).min(stand.end));
            *moved = now;
            if progress.caught_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        Fetched::End { topic, partition, next } => {
            if let Some(at) = progress.find(topic, partition) {
                progress.reach(at, next);
            }
            ControlFlow::Continue(())
        }
        Fetched::Failed { topic, partition, code, reason } => {
            failed = Some((TopicPartition::new(topic, partition), Trouble::Client(code, reason.to_owned())));
            ControlFlow::Break(())
        }
    });
    failed
}
