//! The source: one file after the other, each from where it is told to start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lakemill_model::{
    BatchLimits, FileLook, FileMemory, NextOffset, OffsetRange, Polled, PositionDelta, Positions, RawBatch, RecordRef,
    Source, SourceError, StartAt, TopicIds, TopicPartition,
};

use super::catalog::{Catalog, Entry};
use super::lines::{Fit, Lines, Next, settled, warn_of_rest};
use super::{FileOptions, LineFormat, kind};
use crate::batching::{Filling, NO_LIMITS, fits, full, len};

/// The clock is read once in so many lines.
const CLOCK_EVERY: i64 = 1024;

/// Files that are followed stay open, the last ones read. Others are opened when it is their turn.
const OPEN_MAX: usize = 48;

/// How often files that are followed are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long it takes until they are looked at again.
const PAUSE: Duration = Duration::from_millis(20);

/// A file that is being read.
#[derive(Clone, Copy, Debug)]
struct Stand {
    /// Where the batch that is being filled began.
    from: i64,
    /// The next line.
    next: i64,
    /// How the file looked when its end was reached.
    seen: Option<FileLook>,
    /// Whether it has a place in [`FileSource::turns`].
    queued: bool,
}

/// Reads files of lines to their ends, then says [`Polled::CaughtUp`] whenever it is polled, or waits for more.
pub struct FileSource {
    format: LineFormat,
    follow: bool,
    catalog: Catalog,
    /// To be said: partitions that are ours.
    unsaid: BTreeSet<TopicPartition>,
    /// Files that were started.
    stands: BTreeMap<TopicPartition, Stand>,
    /// Those that have moved since [`Source::take_ranges`].
    moved: BTreeSet<TopicPartition>,
    /// Files that may have something to read, the next one first.
    turns: VecDeque<TopicPartition>,
    /// Open files, the one that was read last at the end.
    open: Vec<(TopicPartition, Lines)>,
    /// When files were looked for.
    looked: Instant,
    /// Something is not what the last look saw: the next one comes at once.
    stale: bool,
    /// To be said when what came before it has been delivered.
    failed: Option<SourceError>,
    filling: Filling,
}

impl FileSource {
    /// Looks for the files. `memory` knows those that were read before; nothing is written to it yet.
    ///
    /// # Errors
    /// [`SourceError::NoSuchTopic`] if one isn't there, or none fits a pattern; [`SourceError::NotLines`] for new files of another kind;
    /// [`SourceError::File`] for files that were changed where they were read.
    pub fn open(options: FileOptions, memory: Box<dyn FileMemory>) -> Result<Self, SourceError> {
        let (format, follow) = (options.format, options.follow);
        let catalog = Catalog::open(options, memory)?;
        Ok(Self {
            format,
            follow,
            unsaid: catalog.partitions().cloned().collect(),
            catalog,
            stands: BTreeMap::new(),
            moved: BTreeSet::new(),
            turns: VecDeque::new(),
            open: Vec::new(),
            looked: Instant::now(),
            stale: false,
            failed: None,
            filling: Filling::default(),
        })
    }

    /// Reads a file from line `next` on when it is its turn.
    fn begin(&mut self, tp: &TopicPartition, next: i64) {
        let queued = self.stands.get(tp).is_some_and(|stand| stand.queued);
        self.stands.insert(tp.clone(), Stand { from: next, next, seen: None, queued });
        self.open.retain(|(open, _)| open != tp);
        self.queue(tp);
    }

    fn queue(&mut self, tp: &TopicPartition) {
        if let Some(stand) = self.stands.get_mut(tp)
            && !stand.queued
        {
            stand.queued = true;
            self.turns.push_back(tp.clone());
        }
    }

    /// The lines of a file from line `next` on, as far as the file goes. `None` if it is followed and is not what the last look saw, or
    /// not whole: the next look tells.
    fn lines(&mut self, tp: &TopicPartition, next: i64) -> Result<Option<Lines>, SourceError> {
        let place = self.catalog.get(tp).and_then(|entry| entry.place.clone());
        if let Some(at) = self.open.iter().position(|(open, lines)| open == tp && lines.number() <= next) {
            let (_, mut lines) = self.open.remove(at);
            let identity = lines.look()?.0;
            let is_as_read = lines.is_as_read()?;
            // A copy may have come into its place.
            if place.as_ref().is_none_or(|place| place.identity == identity) && is_as_read && lines.skip_to(next)? {
                return Ok(Some(lines));
            }
            if !is_as_read && self.follow {
                self.stale = true;
                return Ok(None);
            }
        }
        let place = place.ok_or_else(|| SourceError::NoSuchTopic {
            topic: tp.to_string(),
            hint: "no such file is being read".to_owned(),
        })?;
        let path = place.path.display().to_string();
        let opened = Lines::open_if_there(&place.path)?;
        let look = opened.as_ref().map(Lines::look).transpose()?;
        let (Some(mut lines), true) = (opened, look.is_some_and(|(identity, _)| identity == place.identity)) else {
            if self.follow {
                self.stale = true;
                return Ok(None);
            }
            let reason = "it is gone, or another file came into its place just now: run again".to_owned();
            return Err(SourceError::File { path, byte: None, reason });
        };
        if !lines.grows()
            && let Err(error) = self.catalog.verify(tp)
        {
            let Some(stand) = self.stands.get_mut(tp).filter(|_| self.follow) else { return Err(error) };
            tracing::warn!(%error, "a compressed file that was added to is not whole: it is waited for");
            stand.seen = Some(place.look);
            return Ok(None);
        }
        let Some(Entry { known, .. }) = self.catalog.get(tp) else { return Ok(None) };
        if lines.recognise(known, next)? != Fit::Same {
            // It was cut since the last look.
            if self.follow && look != Some((place.identity, place.look)) {
                self.stale = true;
                return Ok(None);
            }
            let reason = "what was read of it was changed just now: run again".to_owned();
            return Err(SourceError::File { path, byte: known.marks.last().map(|mark| mark.byte), reason });
        }
        if !lines.skip_to(next)? {
            let reason = format!("it ends before line {next}, which is the next to read of {tp}: it was cut");
            return Err(SourceError::File { path, byte: Some(lines.byte()), reason });
        }
        Ok(Some(lines))
    }

    /// Keeps a file open, and closes the one that was not read for longest if there are many.
    fn keep_open(&mut self, tp: &TopicPartition, lines: Lines) {
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((tp.clone(), lines));
    }

    /// Appends lines of the files whose turn it is; false if there may be more of them.
    fn fill_all(&mut self, batch: &mut RawBatch, limits: &BatchLimits, until: Instant) -> Result<bool, SourceError> {
        while let Some(tp) = self.turns.front().cloned() {
            if full(batch, limits) || !self.fill(&tp, batch, limits, until)? {
                return Ok(false);
            }
            self.turns.pop_front();
            if let Some(stand) = self.stands.get_mut(&tp) {
                stand.queued = false;
            }
        }
        Ok(true)
    }

    /// Appends lines of one file; true if there are no more of them now.
    fn fill(
        &mut self,
        tp: &TopicPartition,
        batch: &mut RawBatch,
        limits: &BatchLimits,
        until: Instant,
    ) -> Result<bool, SourceError> {
        let Some(Stand { next, .. }) = self.stands.get(tp).copied() else { return Ok(true) };
        let Some(mut lines) = self.lines(tp, next)? else { return Ok(true) };
        let mut reached = Reached { next, records: 0 };
        // What was read before something was wrong counts.
        let read = self.read(tp, &mut lines, &mut reached, batch, limits, until);
        self.note(tp, &mut lines, &reached, matches!(read, Ok(true)))?;
        let ended = read?;
        if !ended || (self.follow && lines.grows()) {
            self.keep_open(tp, lines);
        }
        Ok(ended)
    }

    fn read(
        &mut self,
        tp: &TopicPartition,
        lines: &mut Lines,
        reached: &mut Reached,
        batch: &mut RawBatch,
        limits: &BatchLimits,
        until: Instant,
    ) -> Result<bool, SourceError> {
        loop {
            let number = lines.number();
            let line = match lines.next()? {
                Next::Line(line) => line,
                Next::Open(line) if !self.follow && kind::is_whole(self.format, line) => line,
                Next::Open(_) | Next::End => {
                    if !self.follow {
                        warn_of_rest(lines, Some(tp));
                    }
                    return Ok(true);
                }
            };
            if let Some(record) = record(self.format, tp, number, line) {
                if !fits(batch, limits, len(&record)) {
                    return Ok(false);
                }
                self.filling.push(batch, record);
                reached.records = number + 1;
            }
            lines.advance();
            reached.next = number + 1;
            let late = number % CLOCK_EVERY == 0 && Instant::now() >= self.filling.deadline(limits, until);
            if full(batch, limits) || late {
                return Ok(false);
            }
        }
    }

    /// Notes how far a file was read, to be remembered before anybody hears of it.
    fn note(
        &mut self,
        tp: &TopicPartition,
        lines: &mut Lines,
        reached: &Reached,
        ended: bool,
    ) -> Result<(), SourceError> {
        let Some(entry) = self.catalog.get(tp) else { return Ok(()) };
        let look = lines.look()?.1;
        // A line may have come since the end was reached, and a batch may be full just there. What is left without an end is not read.
        let (at_end, is_read) = match lines.next() {
            Ok(Next::End) => (true, true),
            Ok(Next::Open(_)) => (true, false),
            Ok(Next::Line(_)) => (false, false),
            Err(error) if ended => return Err(error),
            // It is told when it is to be read.
            Err(_) => (false, false),
        };
        let wholly = is_read.then_some(settled(look));
        let moved = lines.number() > entry.last().line;
        if moved || entry.known.ended != wholly {
            let (head, mark, open_end) = (lines.head_sums()?, lines.mark(), lines.open_end());
            if let Some(known) = self.catalog.change(tp) {
                if moved {
                    known.head = if head.len() > known.head.len() { head } else { std::mem::take(&mut known.head) };
                    known.marks.push(mark);
                    if open_end != known.open_end {
                        // Behind an older one, its end has come: without it, the mark there says too little.
                        let before = std::mem::replace(&mut known.open_end, open_end);
                        known.marks.retain(|mark| before != Some((mark.line - 1, mark.byte)));
                    }
                }
                known.records = known.records.max(reached.records);
                known.ended = wholly;
            }
        }
        if let Some(stand) = self.stands.get_mut(tp) {
            stand.seen = at_end.then_some(look);
            if reached.next > stand.next {
                stand.next = reached.next;
                self.moved.insert(tp.clone());
            }
        }
        Ok(())
    }

    /// Looks for what has grown, and now and then for what is new, or gone.
    fn look(&mut self) -> Result<(), SourceError> {
        let mut grown = Vec::new();
        let (stands, stale) = (&self.stands, &mut self.stale);
        self.open.retain(|(tp, lines)| {
            let seen = stands.get(tp).and_then(|stand| stand.seen);
            let unchanged = lines.look().is_ok_and(|(_, look)| seen == Some(look));
            if !unchanged && lines.is_as_read().unwrap_or_default() {
                grown.push(tp.clone());
            } else if !unchanged {
                *stale = true;
                return false;
            }
            true
        });
        grown.iter().for_each(|tp| self.queue(tp));
        if self.turns.is_empty() && (self.stale || self.looked.elapsed() >= LOOK_EVERY) {
            self.stale = false;
            self.unsaid.extend(self.catalog.look()?);
            self.looked = Instant::now();
            self.sort_out()?;
        }
        Ok(())
    }

    /// After a look: whose turn it is, and who is gone.
    fn sort_out(&mut self) -> Result<(), SourceError> {
        let all: Vec<_> = self.catalog.partitions().cloned().collect();
        for tp in all {
            let Some(entry) = self.catalog.get(&tp) else { continue };
            match (self.stands.get(&tp).copied(), entry.place.as_ref().map(|place| place.look)) {
                (Some(stand), Some(look)) if stand.seen != Some(look) => self.queue(&tp),
                // Its partition has become another one's.
                (Some(_), None) if self.catalog.is_given_up(&tp) => self.release(std::slice::from_ref(&tp))?,
                // A batch has lines of it whose range was not taken yet: it goes at the next look.
                (Some(stand), None) if stand.from < stand.next => {}
                (Some(stand), None) => {
                    if let Some(at) = self.open.iter().position(|(open, _)| *open == tp) {
                        // It has no name any more, or none of ours: what has come into it since is read now or never.
                        let (_, mut lines) = self.open.remove(at);
                        if !matches!(lines.next()?, Next::End | Next::Open(_)) {
                            self.open.push((tp.clone(), lines));
                            self.queue(&tp);
                            continue;
                        }
                    }
                    self.catalog.is_over(&tp, stand.next)?;
                    self.stands.remove(&tp);
                }
                (None, Some(look)) if entry.known.ended != Some(look) => drop(self.unsaid.insert(tp)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Appends what there is, and waits for more if files are followed.
    fn wait(&mut self, batch: &mut RawBatch, limits: &BatchLimits, until: Instant) -> Result<Polled, SourceError> {
        loop {
            if !self.fill_all(batch, limits, until)? {
                return Ok(Polled::Records);
            }
            if !self.follow {
                return Ok(if batch.is_empty() { Polled::CaughtUp } else { Polled::Records });
            }
            self.look()?;
            let now = Instant::now();
            if !self.unsaid.is_empty() || now >= until {
                return Ok(Polled::Records);
            }
            if self.turns.is_empty() {
                std::thread::sleep(PAUSE.min(until.saturating_duration_since(now)));
            }
        }
    }
}

/// How far a file was read.
struct Reached {
    /// The next line.
    next: i64,
    /// One past the last record.
    records: i64,
}

/// The record that a line is, if it is one.
fn record<'a>(format: LineFormat, tp: &'a TopicPartition, number: i64, line: &'a [u8]) -> Option<RecordRef<'a>> {
    let tab = memchr::memchr(b'\t', line);
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
        if !self.unsaid.is_empty() {
            self.catalog.keep()?;
            return Ok(Polled::Assigned(std::mem::take(&mut self.unsaid).into_iter().collect()));
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.filling.resume(batch);
        let polled = self.wait(batch, limits, until);
        self.catalog.keep()?;
        match polled {
            // What came before it is read.
            Err(error) if !batch.is_empty() => {
                self.failed = Some(error);
                Ok(Polled::Records)
            }
            polled => polled,
        }
    }

    fn take_ranges(&mut self) -> PositionDelta {
        let stands = &mut self.stands;
        let step = |tp: TopicPartition| {
            let stand = stands.get_mut(&tp)?;
            let range = OffsetRange { start: NextOffset(stand.from), end: NextOffset(stand.next) };
            stand.from = stand.next;
            Some((tp, range))
        };
        std::mem::take(&mut self.moved).into_iter().filter_map(step).collect()
    }

    fn resolve(&mut self, partitions: &[TopicPartition], at: StartAt) -> Result<Positions, SourceError> {
        let next = match at {
            StartAt::Earliest => 0,
            StartAt::Offset(NextOffset(next)) => next,
            StartAt::Latest | StartAt::TimestampMs(_) => {
                return Err(SourceError::Read {
                    what: "files".to_owned(),
                    reason: "a file starts at its first line, or at a line by its number".to_owned(),
                });
            }
        };
        Ok(partitions.iter().map(|tp| (tp.clone(), NextOffset(next))).collect())
    }

    fn identify(&mut self, topics: &[Arc<str>]) -> Result<TopicIds, SourceError> {
        // So that a topic of Kafka that has the same name is not taken for them.
        Ok(topics.iter().map(|topic| (topic.clone(), "files".into())).collect())
    }

    fn recognise(&mut self, shown: &Positions) -> Result<(), SourceError> {
        shown.iter().try_for_each(|(tp, next)| self.catalog.recognise(tp, next.0))
    }

    fn wanted(
        &mut self,
        partitions: &[TopicPartition],
        positions: &Positions,
    ) -> Result<Vec<TopicPartition>, SourceError> {
        let mut wanted = Vec::new();
        for tp in partitions {
            if !self.catalog.is_over(tp, positions.get(tp).map_or(0, |next| next.0))? {
                wanted.push(tp.clone());
            }
        }
        Ok(wanted)
    }

    fn start(&mut self, positions: &Positions) -> Result<(), SourceError> {
        for (tp, NextOffset(next)) in positions.iter() {
            self.catalog.start(tp, next);
            self.begin(tp, next);
        }
        // As a replay reads them, so that a batch has its records in the same order.
        self.turns.make_contiguous().sort_unstable();
        Ok(())
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        for tp in partitions {
            self.stands.remove(tp);
            self.open.retain(|(open, _)| open != tp);
        }
        self.turns.retain(|tp| !partitions.contains(tp));
        Ok(())
    }

    fn reread(&mut self, ranges: &PositionDelta, batch: &mut RawBatch) -> Result<bool, SourceError> {
        if ranges.iter().any(|(tp, _)| self.catalog.is_given_up(tp)) {
            return Ok(false);
        }
        for (tp, range) in ranges.iter() {
            let lines = self.lines(tp, range.start.0)?;
            let mut lines = lines.ok_or_else(|| SourceError::Read {
                what: tp.to_string(),
                reason: "its file was moved or changed just now: run again".to_owned(),
            })?;
            let open_end = self.catalog.get(tp).and_then(|entry| entry.known.open_end);
            while lines.number() < range.end.0 {
                let (number, byte, path) = (lines.number(), lines.byte(), lines.path().display().to_string());
                let line = match lines.next()? {
                    Next::Line(line) => line,
                    Next::Open(line) if open_end.is_some_and(|(open, _)| open == number) => line,
                    Next::Open(_) | Next::End => {
                        let reason =
                            format!("it ends before line {}, which an unfinished batch has: it was cut", range.end.0);
                        return Err(SourceError::File { path, byte: Some(byte), reason });
                    }
                };
                if let Some(record) = record(self.format, tp, number, line) {
                    if !fits(batch, &NO_LIMITS, len(&record)) {
                        let reason = "the ranges of one batch hold more than a batch can".to_owned();
                        return Err(SourceError::Read { what: tp.to_string(), reason });
                    }
                    batch.push(record);
                }
                lines.advance();
            }
            self.begin(tp, range.end.0);
        }
        Ok(true)
    }

    fn report(&mut self, upto: &Positions) {
        for (tp, NextOffset(next)) in upto.iter() {
            self.catalog.forget_before(tp, next);
        }
    }

    fn lag(&self) -> Option<u64> {
        // How many lines are left is not known before the last one is.
        (!self.stands.is_empty() && self.turns.is_empty() && self.unsaid.is_empty()).then_some(0)
    }
}

#[cfg(test)]
mod tests;
