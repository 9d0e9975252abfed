//! Random histories of files, runs and crashes, against an oracle: every line that was written is read exactly once, or a run refuses
//! by name; and it refuses only if something was taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// What happens, to the file of this number.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Lines are appended; a file that is not there is made.
    Append(usize, usize),
    /// Half a line, or the rest of one.
    Half(usize),
    /// A whole record without its end.
    Bare(usize),
    /// The file gets the name of another number, if that is free.
    Rename(usize, usize),
    /// It is renamed out of the way, and a new one of its name is made.
    Rotate(usize, usize),
    /// It is copied, and cut to nothing.
    CopyTruncate(usize),
    /// A copy with more lines takes its place.
    Save(usize, usize),
    /// It is compressed under a name of its own.
    Gzip(usize),
    /// The lines in it are other ones now.
    Rewrite(usize, usize),
    /// It is deleted.
    Delete(usize),
    /// A run that ends with the files.
    Run,
    /// A run that is killed when it has planned so many batches, of which it has committed so many less.
    Crash(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let file = || 0..4usize;
    let lines = || 1..6usize;
    prop_oneof![
        6 => (file(), lines()).prop_map(|(f, n)| Act::Append(f, n)),
        2 => file().prop_map(Act::Half),
        1 => file().prop_map(Act::Bare),
        2 => (file(), file()).prop_map(|(a, b)| Act::Rename(a, b)),
        1 => (file(), lines()).prop_map(|(f, n)| Act::Rotate(f, n)),
        1 => file().prop_map(Act::CopyTruncate),
        1 => (file(), lines()).prop_map(|(f, n)| Act::Save(f, n)),
        1 => file().prop_map(Act::Gzip),
        1 => (file(), lines()).prop_map(|(f, n)| Act::Rewrite(f, n)),
        1 => file().prop_map(Act::Delete),
        4 => Just(Act::Run),
        4 => (0..6usize, 0..3usize).prop_map(|(planned, open)| Act::Crash(planned, open)),
    ]
}

/// A file as its writer knows it.
#[derive(Clone, Debug, Default)]
struct Written {
    /// Whole lines, by their numbers.
    lines: Vec<u64>,
    /// Half a line was written.
    half: Option<u64>,
    /// The last line has no end.
    bare: bool,
}

impl Written {
    /// What a run sees of it. A few bytes alone are no file yet.
    fn visible(&self) -> impl Iterator<Item = &u64> {
        self.lines.iter().chain(self.half.as_ref().filter(|_| !self.lines.is_empty()))
    }
}

/// A batch that was planned: its step and its rows.
type Planned = (PositionDelta, Vec<u64>);

struct World {
    files: Files,
    /// By name.
    written: BTreeMap<String, Written>,
    lines: u64,
    names: u64,
    /// The tables.
    committed: Positions,
    rows: Vec<u64>,
    /// The journal.
    plans: Vec<Planned>,
    /// Lines of files that a run has seen, in any state.
    seen: BTreeSet<u64>,
    /// Something that was seen was taken away.
    taken: bool,
    runs: u64,
}

impl World {
    fn new() -> Self {
        Self {
            files: Files::new(&[]),
            written: BTreeMap::new(),
            lines: 0,
            names: 0,
            committed: Positions::new(),
            rows: Vec::new(),
            plans: Vec::new(),
            seen: BTreeSet::new(),
            taken: false,
            runs: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.directory.path().join(name)
    }

    fn line(&mut self) -> u64 {
        self.lines += 1;
        self.lines
    }

    /// A record of its own length, so that no two files look the same.
    fn text(line: u64) -> String {
        format!("{{\"id\":{line},\"pad\":\"{}\"}}", "x".repeat(usize::try_from(line * 7 % 97).unwrap_or(0)))
    }

    fn put(&self, name: &str, text: &str) {
        let mut file = fs::File::options().append(true).create(true).open(self.path(name)).expect("opens");
        file.write_all(text.as_bytes()).expect("writes");
    }

    fn append(&mut self, name: &str, count: usize) {
        let file = self.written.entry(name.to_owned()).or_default();
        let mut text = if std::mem::take(&mut file.bare) { "\n".to_owned() } else { String::new() };
        if let Some(half) = file.half.take() {
            text += &Self::text(half)[9..];
            text.push('\n');
            file.lines.push(half);
        }
        for _ in 0..count {
            let line = self.line();
            text += &Self::text(line);
            text.push('\n');
            self.written.get_mut(name).expect("there").lines.push(line);
        }
        self.put(name, &text);
    }

    /// These lines are nowhere any more.
    fn lose(&mut self, file: &Written) {
        let lost = |line: &u64| self.seen.contains(line) && !self.rows.contains(line);
        self.taken |= file.visible().any(lost);
    }

    fn free_name(&mut self, end: &str) -> String {
        self.names += 1;
        format!("old-{}{end}", self.names)
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        let name = |file: usize| format!("file-{file}.jsonl");
        let there = |world: &Self, file: usize| world.written.contains_key(&name(file));
        match act {
            Act::Append(file, count) => self.append(&name(file), count),
            Act::Half(file) if there(self, file) => match self.written[&name(file)].half {
                Some(_) => self.append(&name(file), 0),
                None => {
                    self.append(&name(file), 0);
                    let line = self.line();
                    self.put(&name(file), &Self::text(line)[..9]);
                    self.written.get_mut(&name(file)).expect("there").half = Some(line);
                }
            },
            Act::Bare(file) if there(self, file) => {
                self.append(&name(file), 0);
                let line = self.line();
                self.put(&name(file), &Self::text(line));
                let file = self.written.get_mut(&name(file)).expect("there");
                file.lines.push(line);
                file.bare = true;
            }
            Act::Rename(a, b) if there(self, a) && !there(self, b) => {
                fs::rename(self.path(&name(a)), self.path(&name(b))).expect("renames");
                let file = self.written.remove(&name(a)).expect("there");
                self.written.insert(name(b), file);
            }
            Act::Rotate(file, count) if there(self, file) => {
                let old = self.free_name(".jsonl");
                fs::rename(self.path(&name(file)), self.path(&old)).expect("renames");
                let moved = self.written.remove(&name(file)).expect("there");
                self.written.insert(old, moved);
                self.append(&name(file), count);
            }
            Act::CopyTruncate(file) if there(self, file) => {
                let old = self.free_name(".jsonl");
                fs::copy(self.path(&name(file)), self.path(&old)).expect("copies");
                fs::File::create(self.path(&name(file))).expect("cuts");
                let moved = std::mem::take(self.written.get_mut(&name(file)).expect("there"));
                self.written.insert(old, moved);
            }
            Act::Save(file, count) if there(self, file) => {
                fs::copy(self.path(&name(file)), self.path(".saved")).expect("copies");
                fs::rename(self.path(".saved"), self.path(&name(file))).expect("renames");
                self.append(&name(file), count);
            }
            Act::Gzip(file) if there(self, file) => {
                let zipped = self.free_name(".jsonl.gz");
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                let content = fs::read(self.path(&name(file))).expect("reads");
                // In two members, as `cat a.gz b.gz` makes it.
                let (one, two) = content.split_at(content.len() / 3);
                to.write_all(one).expect("packs");
                let mut packed = to.finish().expect("packs");
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                to.write_all(two).expect("packs");
                packed.extend(to.finish().expect("packs"));
                fs::write(self.path(&zipped), packed).expect("writes");
                fs::remove_file(self.path(&name(file))).expect("removes");
                let moved = self.written.remove(&name(file)).expect("there");
                self.written.insert(zipped, moved);
            }
            Act::Rewrite(file, count) if there(self, file) => {
                fs::File::create(self.path(&name(file))).expect("cuts");
                let old = std::mem::take(self.written.get_mut(&name(file)).expect("there"));
                self.lose(&old);
                self.append(&name(file), count);
            }
            Act::Delete(file) if there(self, file) => {
                fs::remove_file(self.path(&name(file))).expect("removes");
                let old = self.written.remove(&name(file)).expect("there");
                self.lose(&old);
            }
            Act::Run => self.run(usize::MAX, 0)?,
            Act::Crash(planned, open) => self.run(planned, open)?,
            _ => {}
        }
        Ok(())
    }

    /// Runs, and judges.
    fn run(&mut self, planned_max: usize, open_max: usize) -> Result<(), TestCaseError> {
        if self.written.is_empty() && self.files.memory.known().is_empty() {
            return Ok(());
        }
        self.runs += 1;
        let ended = self.try_run(planned_max, open_max, OnDataLoss::Fail);
        let once: BTreeSet<_> = self.rows.iter().collect();
        prop_assert_eq!(once.len(), self.rows.len(), "a line was read twice");
        match ended {
            Ok(true) => {
                prop_assert!(!self.taken, "lines were taken away, and nobody said so");
                self.complete()?;
            }
            Ok(false) => {}
            Err(error) => {
                prop_assert!(self.taken, "it refuses, and nothing was taken away: {}", error);
                let said = error.to_string();
                prop_assert!(said.contains(&self.files.directory.path().display().to_string()), "no name: {}", said);
                // A person says that it is to go on.
                let ended = self.try_run(usize::MAX, 0, OnDataLoss::Continue);
                prop_assert!(matches!(ended, Ok(true)), "it does not go on: {ended:?}");
                self.taken = false;
                self.complete()?;
            }
        }
        Ok(())
    }

    /// All that is there was read.
    fn complete(&self) -> Result<(), TestCaseError> {
        for (name, file) in &self.written {
            for line in &file.lines {
                prop_assert!(self.rows.contains(line), "line {line} of {name} was not read");
            }
        }
        Ok(())
    }

    /// True if it came to the end.
    fn try_run(&mut self, planned_max: usize, open_max: usize, on_data_loss: OnDataLoss) -> Result<bool, SourceError> {
        let options = FileOptions { on_data_loss, ..self.files.options(LineFormat::Value, Some("t")) };
        let mut source = match FileSource::open(options, Box::new(self.files.memory.clone())) {
            Err(SourceError::NoSuchTopic { .. }) if self.written.is_empty() => return Ok(false),
            opened => opened?,
        };
        let limits = BatchLimits { rows_max: 4, ..LIMITS };
        let (mut batch, mut step, mut planned) = (RawBatch::default(), PositionDelta::default(), 0);
        loop {
            let polled = source.poll(&mut batch, &limits, soon())?;
            for (tp, range) in source.take_ranges().iter() {
                let start = step.get(tp).map_or(range.start, |before: OffsetRange| before.start);
                step.set(tp.clone(), OffsetRange { start, end: range.end });
            }
            if !batch.is_empty() {
                if planned == planned_max {
                    return Ok(false);
                }
                planned += 1;
                self.plans.push((std::mem::take(&mut step), ids(&batch)));
                batch = RawBatch::default();
                while self.plans.len() > open_max {
                    self.commit(&mut source);
                }
            }
            match polled {
                Polled::Assigned(partitions) => self.take(&mut source, &partitions)?,
                Polled::CaughtUp => {
                    while !self.plans.is_empty() {
                        self.commit(&mut source);
                    }
                    return Ok(true);
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, source: &mut FileSource, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        self.seen.extend(self.written.values().flat_map(Written::visible));
        source.recognise(&self.committed)?;
        let wanted = source.wanted(partitions, &self.committed)?;
        let at = |tp: &TopicPartition, positions: &Positions| positions.get(tp).unwrap_or(NextOffset(0));
        for (step, rows) in std::mem::take(&mut self.plans) {
            // One before it may be void.
            let mut batch = RawBatch::default();
            if !step.iter().all(|(tp, range)| range.start == at(tp, &self.committed))
                || !source.reread(&step, &mut batch)?
            {
                continue;
            }
            assert_eq!(ids(&batch), rows, "a replay has other lines");
            self.plans.push((step, rows));
            self.commit(source);
        }
        source.start(&wanted.iter().map(|tp| (tp.clone(), at(tp, &self.committed))).collect())
    }

    fn commit(&mut self, source: &mut FileSource) {
        let (step, rows) = self.plans.remove(0);
        self.committed.advance(&step);
        self.rows.extend(rows);
        source.report(&step.ends());
    }
}

fn ids(batch: &RawBatch) -> Vec<u64> {
    let id = |record| {
        let value: serde_json::Value =
            serde_json::from_slice(batch.value(record).unwrap_or_default()).expect("a whole line");
        value["id"].as_u64().expect("a number")
    };
    batch.records().iter().map(id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_line_once_or_a_refusal(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::new();
        for act in acts {
            world.act(act)?;
        }
        world.run(usize::MAX, 0)?;
    }
}
