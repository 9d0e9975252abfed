//! Random histories of files, runs and crashes, and of a source that follows them, with all of that between two of its polls, against
//! an oracle: every line that was written is read exactly once, or the source refuses by name; and it refuses only if something was taken
//! away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

mod driving;

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
    /// The same, and the copy is looked at when so many eighths of it are there, and again when it is whole.
    SlowCopy(usize, usize),
    /// A copy with more lines takes its place.
    Save(usize, usize),
    /// It is compressed under a name of its own.
    Gzip(usize),
    /// The same, looked at when so many eighths of it are there, and again when all is; perhaps by a process that starts then.
    SlowGzip(usize, usize, bool),
    /// The lines in it are other ones now.
    Rewrite(usize, usize),
    /// It is deleted.
    Delete(usize),
    /// One poll of a source that follows the files.
    Poll,
    /// It looks for files, and is polled until there is nothing more to be had.
    Look,
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
        1 => (file(), 1..8usize).prop_map(|(f, part)| Act::SlowCopy(f, part)),
        1 => file().prop_map(Act::Gzip),
        1 => (file(), 1..8usize, any::<bool>()).prop_map(|(f, part, anew)| Act::SlowGzip(f, part, anew)),
        1 => (file(), lines()).prop_map(|(f, n)| Act::Rewrite(f, n)),
        1 => file().prop_map(Act::Delete),
        6 => Just(Act::Poll),
        6 => Just(Act::Look),
        2 => Just(Act::Run),
        2 => (0..6usize, 0..3usize).prop_map(|(planned, open)| Act::Crash(planned, open)),
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
    /// Follows the files, and whether it has taken its partitions.
    followed: Option<(FileSource, bool)>,
    /// Lines of files that were there at a look, in any state.
    seen: BTreeSet<u64>,
    /// The same, and those that a poll without one may have met.
    met: BTreeSet<u64>,
    /// Lines that are nowhere any more.
    gone: BTreeSet<u64>,
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
            followed: None,
            seen: BTreeSet::new(),
            met: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
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
        self.files.append(name, text.as_bytes());
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

    /// These lines are nowhere any more, unless they are in a table. Whoever has the file open may have met them.
    fn lose(&mut self, file: &Written) {
        self.gone.extend(file.visible());
        if self.followed.is_some() {
            self.met.extend(file.visible());
        }
    }

    /// Lines of these that are in no table and nowhere else.
    fn lost<'a>(&'a self, of: &'a BTreeSet<u64>) -> impl Iterator<Item = &'a u64> {
        self.gone.intersection(of).filter(|line| !self.rows.contains(line))
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
            Act::SlowCopy(file, part) if there(self, file) => self.slow_copy(&name(file), part)?,
            Act::SlowGzip(file, part, anew) if there(self, file) => self.slow_gzip(&name(file), part, anew)?,
            Act::Gzip(file) if there(self, file) => {
                let zipped = self.free_name(".jsonl.gz");
                let content = fs::read(self.path(&name(file))).expect("reads");
                // In two members, as `cat a.gz b.gz` makes it.
                let (one, two) = content.split_at(content.len() / 3);
                let packed = [gzip(one), gzip(two)].concat();
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
            Act::Poll => self.follow(false)?,
            Act::Look => self.look()?,
            Act::Run => self.run(usize::MAX, 0)?,
            Act::Crash(planned, open) => self.run(planned, open)?,
            _ => {}
        }
        Ok(())
    }

    fn slow_copy(&mut self, name: &str, part: usize) -> Result<(), TestCaseError> {
        let (old, content) = (self.free_name(".jsonl"), fs::read(self.path(name)).expect("reads"));
        if self.is_quiet()? && self.followed.is_some() {
            let (one, two) = content.split_at(content.len() * part / 8);
            self.files.append(&old, one);
            self.look()?;
            self.files.append(&old, two);
            self.look()?;
        } else {
            self.files.append(&old, &content);
        }
        fs::File::create(self.path(name)).expect("cuts");
        let moved = std::mem::take(self.written.get_mut(name).expect("there"));
        self.written.insert(old, moved);
        Ok(())
    }

    fn slow_gzip(&mut self, name: &str, part: usize, anew: bool) -> Result<(), TestCaseError> {
        let (zipped, content) = (self.free_name(".jsonl.gz"), fs::read(self.path(name)).expect("reads"));
        let packed = gzip(&content);
        let (one, two) = packed.split_at(packed.len() * part / 8);
        if !self.is_quiet()? {
            self.files.append(&zipped, &packed);
        } else if self.followed.is_some() {
            self.files.append(&zipped, one);
            self.followed.take_if(|_| anew);
            self.look()?;
            self.files.append(&zipped, two);
            self.look()?;
        } else {
            self.files.append(&zipped, one);
            let ended = self.try_run(usize::MAX, 0, OnDataLoss::Fail);
            let said = ended.err().map(|error| error.to_string());
            prop_assert!(said.as_ref().is_some_and(|said| said.contains(&zipped)), "half of it: {:?}", said);
            self.files.append(&zipped, two);
        }
        fs::remove_file(self.path(name)).expect("removes");
        let moved = self.written.remove(name).expect("there");
        self.written.insert(zipped, moved);
        Ok(())
    }

    /// Runs, and judges. A source that followed the files is killed before.
    fn run(&mut self, planned_max: usize, open_max: usize) -> Result<(), TestCaseError> {
        self.followed = None;
        if self.written.is_empty() && self.files.memory.known().is_empty() {
            return Ok(());
        }
        let ended = self.try_run(planned_max, open_max, OnDataLoss::Fail);
        if self.judge(ended)? { self.complete(true) } else { Ok(()) }
    }

    /// Looks for files, and reads all that is to be had.
    fn look(&mut self) -> Result<(), TestCaseError> {
        self.follow(true)?;
        self.complete(false)
    }

    /// Whether nothing is amiss, so that a run or a look does not refuse.
    fn is_quiet(&mut self) -> Result<bool, TestCaseError> {
        if self.followed.is_some() {
            self.look()?;
        } else {
            self.run(usize::MAX, 0)?;
        }
        Ok(self.lost(&self.met).next().is_none())
    }

    /// Polls a source that follows the files: once, or, with a look, until there is nothing more to be had; and judges.
    fn follow(&mut self, looks: bool) -> Result<(), TestCaseError> {
        let polled = self.try_follow(looks).map(|()| looks);
        self.judge(polled).map(drop)
    }

    /// Whether it is as it should be; true if it came to the end. After a refusal a person says that it is to go on.
    fn judge(&mut self, ended: Result<bool, SourceError>) -> Result<bool, TestCaseError> {
        let once: BTreeSet<_> = self.rows.iter().collect();
        prop_assert_eq!(once.len(), self.rows.len(), "a line was read twice");
        match ended {
            Ok(ended) => {
                let lost: Vec<_> = self.lost(&self.seen).filter(|_| ended).collect();
                prop_assert!(lost.is_empty(), "lines were taken away, and nobody said so: {:?}", lost);
                Ok(ended)
            }
            Err(error) => {
                self.followed = None;
                prop_assert!(
                    self.lost(&self.met).next().is_some(),
                    "it refuses, and nothing was taken away: {}",
                    error
                );
                let said = error.to_string();
                prop_assert!(said.contains(&self.files.directory.path().display().to_string()), "no name: {}", said);
                let ended = self.try_run(usize::MAX, 0, OnDataLoss::Continue);
                prop_assert!(matches!(ended, Ok(true)), "it does not go on: {ended:?}");
                self.gone.clear();
                self.complete(true)?;
                Ok(false)
            }
        }
    }

    /// All that is there was read; a last line without its end only in a run that ends with the files.
    fn complete(&self, ends: bool) -> Result<(), TestCaseError> {
        for (name, file) in &self.written {
            let waits = usize::from(file.bare && !ends);
            for line in &file.lines[..file.lines.len() - waits] {
                prop_assert!(self.rows.contains(line), "line {line} of {name} was not read");
            }
        }
        Ok(())
    }
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
