//! The source: one file after the other, each from where it is told to start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lakemill_model::{
    BatchLimits, NextOffset, Polled, PositionDelta, Positions, RawBatch, RecordRef, Source, SourceError, StartAt,
    TopicPartition,
};

use super::lines::Lines;
use super::{FileOptions, LineFormat, paths};
use crate::batching::{Filling, NO_LIMITS, fits, full, len};
use crate::progress::{Progress, Stand};

/// The clock is read once in so many lines.
const CLOCK_EVERY: i64 = 1024;

/// Reads files of lines to their ends, then says [`Polled::CaughtUp`] whenever it is polled.
pub struct FileSource {
    format: LineFormat,
    files: BTreeMap<TopicPartition, PathBuf>,
    unsaid: bool,
    open: BTreeMap<TopicPartition, Lines>,
    progress: Progress,
    filling: Filling,
}

impl FileSource {
    /// Looks for the files.
    ///
    /// # Errors
    /// [`SourceError::NoSuchTopic`] if one isn't there, or none fits a pattern.
    pub fn open(options: &FileOptions) -> Result<Self, SourceError> {
        Ok(Self {
            format: options.format,
            files: paths::find(options)?.into_iter().collect(),
            unsaid: true,
            open: BTreeMap::new(),
            progress: Progress::default(),
            filling: Filling::default(),
        })
    }

    fn path(&self, tp: &TopicPartition) -> Result<&Path, SourceError> {
        let hint = || SourceError::NoSuchTopic { topic: tp.to_string(), hint: "no such file is being read".to_owned() };
        self.files.get(tp).map(PathBuf::as_path).ok_or_else(hint)
    }

    fn lines(&self, tp: &TopicPartition) -> Result<Lines, SourceError> {
        Lines::open(tp.clone(), self.path(tp)?)
    }

    /// Appends lines of one file, up to line `end`; true if there is no more of them.
    fn fill(
        &mut self,
        tp: &TopicPartition,
        batch: &mut RawBatch,
        limits: &BatchLimits,
        until: Instant,
    ) -> Result<bool, SourceError> {
        let Some(lines) = self.open.get_mut(tp) else { return Ok(true) };
        let at = self.progress.find(&tp.topic, tp.partition);
        let at = at.expect("files that are open have a place");
        loop {
            let number = lines.number();
            let Some(line) = lines.peek()? else {
                self.progress.at(at).end = number;
                return Ok(true);
            };
            if let Some(record) = record(self.format, tp, number, line) {
                if !fits(batch, limits, len(&record)) {
                    return Ok(false);
                }
                self.filling.push(batch, record);
            }
            lines.advance();
            self.progress.reach(at, number + 1);
            let late = number % CLOCK_EVERY == 0 && Instant::now() >= self.filling.deadline(limits, until);
            if full(batch, limits) || late {
                return Ok(false);
            }
        }
    }
}

/// The record that a line is, if it is one.
fn record<'a>(format: LineFormat, tp: &'a TopicPartition, number: i64, line: &'a [u8]) -> Option<RecordRef<'a>> {
    let tab = line.iter().position(|byte| *byte == b'\t');
    let some = |bytes: &'a [u8]| (!bytes.is_empty()).then_some(bytes);
    let (key, value) = match (format, tab) {
        _ if line.trim_ascii().is_empty() && (format == LineFormat::Value || tab.is_none()) => return None,
        (LineFormat::KeyValue, Some(tab)) => (some(&line[..tab]), some(&line[tab + 1..])),
        (LineFormat::KeyValue, None) | (LineFormat::Value, _) => (None, Some(line)),
    };
    let (topic, partition) = (&*tp.topic, tp.partition);
    Some(RecordRef { topic, partition, offset: number, timestamp_ms: None, key, value })
}

impl Source for FileSource {
    fn poll(&mut self, batch: &mut RawBatch, limits: &BatchLimits, until: Instant) -> Result<Polled, SourceError> {
        if std::mem::take(&mut self.unsaid) {
            return Ok(Polled::Assigned(self.files.keys().cloned().collect()));
        }
        self.filling.resume(batch);
        let order: Vec<_> = self.open.keys().cloned().collect();
        for tp in order {
            if full(batch, limits) || !self.fill(&tp, batch, limits, until)? {
                return Ok(Polled::Records);
            }
            self.open.remove(&tp);
        }
        if batch.is_empty() && !self.progress.is_empty() {
            return Ok(Polled::CaughtUp);
        }
        if batch.is_empty() {
            // Nothing was started: there is nothing to come.
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
        }
        Ok(Polled::Records)
    }

    fn take_ranges(&mut self) -> PositionDelta {
        self.progress.take_ranges()
    }

    fn resolve(&mut self, partitions: &[TopicPartition], at: StartAt) -> Result<Positions, SourceError> {
        let position = |tp: &TopicPartition| {
            let next = match at {
                StartAt::Earliest => 0,
                StartAt::Latest => self.lines(tp)?.count()?,
                StartAt::Offset(next) => {
                    self.lines(tp)?.skip_to(next.0)?;
                    next.0
                }
                StartAt::TimestampMs(_) => {
                    let reason = "lines have no times: start at `earliest`, `latest` or a line number".to_owned();
                    return Err(SourceError::Read { what: self.path(tp)?.display().to_string(), reason });
                }
            };
            Ok((tp.clone(), NextOffset(next)))
        };
        partitions.iter().map(position).collect()
    }

    fn start(&mut self, positions: &Positions) -> Result<(), SourceError> {
        let mut open = Vec::new();
        for (tp, NextOffset(next)) in positions.iter() {
            let mut lines = self.lines(tp)?;
            lines.skip_to(next)?;
            open.push((tp.clone(), lines));
        }
        for (tp, lines) in open {
            let next = lines.number();
            // Where it ends is known when it does.
            self.progress.start(tp.clone(), Stand { from: next, next, end: i64::MAX });
            self.open.insert(tp, lines);
        }
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        for tp in partitions {
            self.progress.stop(tp);
            self.open.remove(tp);
        }
        Ok(())
    }

    fn reread(&mut self, ranges: &PositionDelta, batch: &mut RawBatch) -> Result<bool, SourceError> {
        for (tp, range) in ranges.iter() {
            let mut lines = self.lines(tp)?;
            lines.skip_to(range.start.0)?;
            while lines.number() < range.end.0 {
                let number = lines.number();
                let Some(line) = lines.peek()? else { return lines.skip_to(range.end.0).map(|()| true) };
                if let Some(record) = record(self.format, tp, number, line) {
                    if !fits(batch, &NO_LIMITS, len(&record)) {
                        let reason = "the ranges of one batch hold more than a batch can".to_owned();
                        return Err(SourceError::Read { what: tp.to_string(), reason });
                    }
                    batch.push(record);
                }
                lines.advance();
            }
            let next = range.end.0;
            self.progress.start(tp.clone(), Stand { from: next, next, end: i64::MAX });
            self.open.insert(tp.clone(), lines);
        }
        Ok(true)
    }

    fn report(&mut self, _: &Positions) {}

    fn lag(&self) -> Option<u64> {
        // How many lines are left is not known before the last one is.
        (!self.progress.is_empty() && self.progress.caught_up()).then_some(0)
    }
}

#[cfg(test)]
mod tests;
