//! The journal: an append-only file of plans, one line a record, fsynced before the batch leaves the reader.
//!
//! A torn last record is cut off: its batch had not left the reader, so nothing is lost with it. A record that is whole
//! but does not match its checksum is never guessed at: the journal is refused and named.
//!
//! A write that fails is taken back, so that what comes next does not stand behind a part of it. Where that fails too, and after a sync
//! that failed, nobody knows what the disk holds: nothing more is written until the journal is opened again, which writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lakemill_failpoint::{Point, reach};
use lakemill_model::{CheckpointId, Epoch, Epochs, NextOffset, Positions, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::durable::{Lock, io_error, replace, sweep};
use crate::error::StateError;
use crate::plan::{Cut, Plan};
use crate::record::{Line, frame, split_first};

/// What it costs to delete a journal.
const REMEDY: &str = "restore it; it can be deleted if every sink of the pipeline has committed at least once, since positions \
                      are in the tables: that costs the plans of unfinished batches, which are made anew with other bounds and \
                      another clock, and the ids of the topics, so that one that was made anew meanwhile may not be noticed";

/// Records after which the file is written anew with what still matters.
const COMPACT_EVERY: usize = 4096;

/// The version of the journal's records; a reader refuses a newer one.
const FORMAT: u32 = 1;

/// How many processes of one pipeline may run on one machine.
const SLOTS_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Format {
        version: u32,
        pipeline: String,
    },
    /// Where partitions start that no sink knows.
    Start(Positions),
    /// A plan of a batch that is there already takes the place of the former one.
    Plan(Box<Plan>),
    /// How a batch was cut where a transform failed.
    Cuts(CheckpointId, Vec<Cut>),
    /// Partitions were taken.
    Owned(Vec<(String, i32, Owned)>),
    /// The code of this batch failed on it.
    Refused(CheckpointId),
    /// This batch is in every sink; those named have rows of it.
    Done(CheckpointId, Vec<String>),
    /// This plan is void.
    Void(CheckpointId),
    /// The tables that sinks write.
    Tables(BTreeMap<String, KnownTable>),
    /// How far tables are at least.
    Held(BTreeMap<String, Positions>),
}

/// What a journal knows when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Where partitions started that no sink knew at the time.
    pub start: Positions,
    /// Plans that are not known to be done, oldest first.
    pub plans: Vec<Plan>,
    /// The largest number that a batch has had; 0 if there was none.
    pub last: u64,
    /// By partition: how far it was when it was last ours.
    pub owned: BTreeMap<TopicPartition, Owned>,
    /// By sink: the table that it writes.
    pub tables: BTreeMap<String, KnownTable>,
    /// By sink: what its table holds at least. One that holds less was set back, to a copy of before.
    pub held: BTreeMap<String, Positions>,
}

/// The table of a sink, so that another one in its place is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTable {
    /// Where it is.
    pub location: String,
    /// What tells it from others; `None`: there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// How far a partition was while a process had it: what tables say under the same epoch must agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// The epoch that it was taken under.
    pub epoch: Epoch,
    /// The epoch under which it was to be taken again; some sinks may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Epoch>,
    /// Everything before is in every sink.
    pub done: NextOffset,
    /// No sink was further when it was taken.
    pub held_max: NextOffset,
    /// What tells its topic from another one of the same name, if the source can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

/// The journal of one process of a pipeline.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    pipeline: String,
    file: File,
    /// Bytes of the file: whole records.
    length: u64,
    /// Why nothing more may be written.
    broken: Option<String>,
    remembered: Remembered,
    records: usize,
    _lock: Lock,
}

impl Journal {
    /// Opens the first journal under `folder` that no running process holds. Each process of a consumer group on one machine
    /// gets a slot of its own: `0.journal`, `1.journal`, … What the journals of processes that are gone know is taken
    /// over, since their partitions may come to any process.
    ///
    /// # Errors
    /// If the folder cannot be written, or the journal is damaged, newer, or another pipeline's.
    pub fn open(folder: &Path, pipeline: &str) -> Result<Self, StateError> {
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        sweep(folder);
        let mut slots = free_slots(folder)?;
        let mut journals = Vec::new();
        for (slot, _) in &slots {
            let path = journal_path(folder, *slot);
            match fs::read(&path) {
                Ok(bytes) => journals.push(read(&path, pipeline, &bytes)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("read", &path)(error)),
            }
        }
        let remembered = Remembered::together(journals);
        let (slot, lock) = slots.remove(0);
        let path = journal_path(folder, slot);
        let (file, length) = rewrite(&path, pipeline, &remembered)?;
        // Ours is on disk: what was taken over is no longer needed where it was.
        for (gone, _lock) in &slots {
            let path = journal_path(folder, *gone);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &path)(error)),
                _ => {}
            }
        }
        let pipeline = pipeline.into();
        Ok(Self { path, pipeline, file, length, broken: None, remembered, records: 0, _lock: lock })
    }

    /// What it knows now.
    pub fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers where partitions start, durably, before the first record of them is read.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn start(&mut self, positions: &Positions) -> Result<(), StateError> {
        self.append(&Record::Start(positions.clone()))?;
        self.sync()?;
        reach(Point::StartDurable);
        for (tp, next) in positions.iter() {
            self.remembered.start.set(tp.clone(), next);
        }
        Ok(())
    }

    /// Remembers a plan, durably: only then may the batch leave the reader.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn plan(&mut self, plan: Plan) -> Result<(), StateError> {
        self.append(&Record::Plan(Box::new(plan.clone())))?;
        reach(Point::PlanWritten);
        self.sync()?;
        reach(Point::PlanDurable);
        self.remembered.planned(plan);
        Ok(())
    }

    /// Remembers all of how a batch was cut, durably: only then may a part of it be committed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn cut(&mut self, checkpoint: CheckpointId, cuts: Vec<Cut>) -> Result<(), StateError> {
        self.append(&Record::Cuts(checkpoint, cuts.clone()))?;
        self.sync()?;
        reach(Point::CutsDurable);
        self.remembered.cut(checkpoint, cuts);
        Ok(())
    }

    /// Remembers under which epochs partitions are about to be taken, before any sink knows of it. Not fsynced: without it, what sinks have
    /// of unfinished batches is taken for somebody else's.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn claim(&mut self, epochs: &Epochs) -> Result<(), StateError> {
        let claimed = |(tp, epoch): (&TopicPartition, Epoch)| {
            let owned = self.remembered.owned.get(tp)?;
            Some((tp.clone(), Owned { claimed: Some(epoch), ..owned.clone() }))
        };
        let claimed: BTreeMap<_, _> = epochs.iter().filter_map(claimed).collect();
        if !claimed.is_empty() {
            self.append(&Record::Owned(listed(&claimed)))?;
            reach(Point::ClaimBegun);
            self.remembered.owned.extend(claimed);
        }
        Ok(())
    }

    /// Remembers how far partitions are that were taken. Not fsynced: without it, the tables' word is taken next time.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn own(&mut self, owned: &BTreeMap<TopicPartition, Owned>) -> Result<(), StateError> {
        self.append(&Record::Owned(listed(owned)))?;
        reach(Point::ClaimNoted);
        self.remembered.owned.extend(owned.iter().map(|(tp, owned)| (tp.clone(), owned.clone())));
        Ok(())
    }

    /// Remembers which tables sinks write. Not fsynced: without it, another table in the place of one is not noticed.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn tables(&mut self, tables: BTreeMap<String, KnownTable>) -> Result<(), StateError> {
        if self.remembered.tables != tables {
            self.append(&Record::Tables(tables.clone()))?;
            self.remembered.now_in(tables);
        }
        Ok(())
    }

    /// Remembers, durably, that the code of a batch failed on it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn refuse(&mut self, checkpoint: CheckpointId) -> Result<(), StateError> {
        self.append(&Record::Refused(checkpoint))?;
        self.sync()?;
        reach(Point::RefusalDurable);
        self.remembered.refuse(checkpoint);
        Ok(())
    }

    /// What the component store must keep for the plans of all journals in a pipeline's folder, those of other processes included.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn content(folder: &Path, pipeline: &str) -> Result<BTreeSet<String>, StateError> {
        let mut content = BTreeSet::new();
        for slot in 0..SLOTS_MAX {
            let path = journal_path(folder, slot);
            let remembered = match fs::read(&path) {
                Ok(bytes) => read(&path, pipeline, &bytes)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error("read", &path)(error)),
            };
            content.extend(remembered.plans.iter().flat_map(Plan::content).map(str::to_owned));
        }
        Ok(content)
    }

    /// Forgets a plan whose batch is in every sink; `sinks` are those that have rows of it. Not fsynced: a plan that comes back is seen to
    /// be void by the positions.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn done(&mut self, checkpoint: CheckpointId, sinks: Vec<String>) -> Result<(), StateError> {
        self.append(&Record::Done(checkpoint, sinks.clone()))?;
        reach(Point::PlanForgotten);
        self.remembered.done(checkpoint, sinks);
        Ok(())
    }

    /// Forgets a plan that is void: its records come again in another batch, or are in every sink already.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn void(&mut self, checkpoint: CheckpointId) -> Result<(), StateError> {
        self.append(&Record::Void(checkpoint))?;
        reach(Point::PlanVoided);
        self.remembered.plans.retain(|plan| plan.checkpoint != checkpoint);
        Ok(())
    }

    fn append(&mut self, record: &Record) -> Result<(), StateError> {
        if let Some(reason) = &self.broken {
            return Err(StateError::Broken { path: self.path.clone(), reason: reason.clone() });
        }
        if self.records >= COMPACT_EVERY {
            // The name may be the new file's by the time that it fails.
            let anew = rewrite(&self.path, &self.pipeline, &self.remembered);
            (self.file, self.length) = anew.inspect_err(|error| self.broken = Some(error.to_string()))?;
            self.records = 0;
        }
        self.records += 1;
        let line = frame(&to_json(record));
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let error = io_error("write", &self.path)(error);
            // A part of it may be there.
            if self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err() {
                self.broken = Some(error.to_string());
            }
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// The kernel tells of a write that it lost once, and forgets it: after a sync that failed, one that succeeds proves nothing.
    fn sync(&mut self) -> Result<(), StateError> {
        let synced = self.file.sync_data().map_err(io_error("sync", &self.path));
        synced.inspect_err(|error| self.broken = Some(error.to_string()))
    }
}

impl Remembered {
    fn planned(&mut self, plan: Plan) {
        if plan.checkpoint.0 > self.last {
            // A new one: however many there are, none of them is looked at.
            self.last = plan.checkpoint.0;
            self.plans.push(plan);
            return;
        }
        match self.plans.iter_mut().find(|known| known.checkpoint == plan.checkpoint) {
            Some(known) => *known = plan,
            None => self.plans.push(plan),
        }
    }

    fn done(&mut self, checkpoint: CheckpointId, sinks: Vec<String>) {
        self.last = self.last.max(checkpoint.0);
        if let Some(at) = self.plans.iter().position(|plan| plan.checkpoint == checkpoint) {
            let ends = self.plans.remove(at).delta.ends();
            for (tp, end) in ends.iter() {
                if let Some(owned) = self.owned.get_mut(tp) {
                    owned.done = owned.done.max(end);
                }
            }
            for sink in sinks {
                self.held.entry(sink).or_default().raise(ends.iter());
            }
        }
    }

    /// Sinks write these tables: what another one held says nothing of it.
    fn now_in(&mut self, tables: BTreeMap<String, KnownTable>) {
        self.held.retain(|sink, _| match (self.tables.get(sink), tables.get(sink)) {
            (Some(before), Some(now)) => before.location == now.location,
            _ => true,
        });
        self.tables = tables;
    }

    fn cut(&mut self, checkpoint: CheckpointId, cuts: Vec<Cut>) {
        if let Some(plan) = self.plans.iter_mut().find(|plan| plan.checkpoint == checkpoint) {
            plan.cuts = cuts;
        }
    }

    fn refuse(&mut self, checkpoint: CheckpointId) {
        if let Some(plan) = self.plans.iter_mut().find(|plan| plan.checkpoint == checkpoint) {
            plan.refused = true;
        }
    }

    /// What several journals know. Of two plans for the same records, that of the process that took their partition later counts: it
    /// knew where the tables stood by then.
    fn together(mut all: Vec<Remembered>) -> Self {
        let counts = |plan: &&Plan, own: &Remembered| !all.iter().any(|other| other.overrules(plan, own));
        let kept: Vec<Vec<Plan>> =
            all.iter().map(|own| own.plans.iter().filter(|plan| counts(plan, own)).cloned().collect()).collect();
        for (one, plans) in all.iter_mut().zip(kept) {
            one.plans = plans;
        }
        let mut together = Self::default();
        all.into_iter().for_each(|one| together.absorb(one));
        together
    }

    /// Whether it has a plan for records of `plan`, which is of `of`, made under a later epoch.
    fn overrules(&self, plan: &Plan, of: &Remembered) -> bool {
        let epoch = |of: &Remembered, tp| of.owned.get(tp).map(|owned| owned.epoch);
        let meets = |ours: &Plan| {
            plan.delta.iter().any(|(tp, range)| {
                epoch(of, tp) < epoch(self, tp)
                    && ours.delta.get(tp).is_some_and(|r| r.start < range.end && range.start < r.end)
            })
        };
        self.plans.iter().any(meets)
    }

    /// Adds what another journal knew. Each process counts its batches for itself, so a number may have to change.
    fn absorb(&mut self, other: Remembered) {
        for (tp, next) in other.start.iter() {
            self.start.set(tp.clone(), self.start.get(tp).map_or(next, |ours| ours.min(next)));
        }
        for (tp, theirs) in other.owned {
            match self.owned.get(&tp) {
                Some(ours) if ours.epoch >= theirs.epoch => {}
                _ => drop(self.owned.insert(tp, theirs)),
            }
        }
        for (sink, table) in other.tables {
            // One that knows no table yet says nothing against one that does.
            match self.tables.get(&sink) {
                Some(KnownTable { id: Some(_), .. }) => {}
                _ => drop(self.tables.insert(sink, table)),
            }
        }
        for (sink, held) in other.held {
            self.held.entry(sink).or_default().raise(held.iter());
        }
        self.last = self.last.max(other.last);
        for mut plan in other.plans {
            if self.plans.iter().any(|ours| ours.checkpoint == plan.checkpoint) {
                self.last = self.last.saturating_add(1);
                plan.checkpoint = CheckpointId(self.last);
            }
            self.plans.push(plan);
        }
    }
}

fn journal_path(folder: &Path, slot: usize) -> PathBuf {
    folder.join(format!("{slot}.journal"))
}

/// Locks every slot that no running process holds, at least one.
fn free_slots(folder: &Path) -> Result<Vec<(usize, Lock)>, StateError> {
    let mut free = Vec::new();
    for slot in 0..SLOTS_MAX {
        let path = folder.join(format!("{slot}.lock"));
        if !free.is_empty() && !path.exists() {
            break;
        }
        if let Some(lock) = Lock::try_alone(&path)? {
            free.push((slot, lock));
        }
    }
    if free.is_empty() { Err(StateError::Busy { path: folder.into(), processes: SLOTS_MAX }) } else { Ok(free) }
}

fn read(path: &Path, pipeline: &str, bytes: &[u8]) -> Result<Remembered, StateError> {
    let corrupt =
        |at, reason: &str| StateError::Corrupt { path: path.into(), at, reason: reason.into(), remedy: REMEDY };
    let (mut remembered, mut records, mut rest) = (Remembered::default(), 0, bytes);
    while let Some((line, after)) = split_first(rest) {
        let at = bytes.len() - rest.len();
        let json = match line {
            Line::Whole(json) => json,
            Line::Torn => {
                tracing::info!(path = %path.display(), at, "cut a torn record off the journal");
                break;
            }
            Line::Corrupt => return Err(corrupt(at, "the checksum does not match")),
        };
        let record: Record = serde_json::from_str(json).map_err(|error| match newer(json) {
            Some(found) => StateError::Newer { path: path.into(), found, known: FORMAT },
            None => corrupt(at, &error.to_string()),
        })?;
        match record {
            Record::Format { version, .. } if version > FORMAT => {
                return Err(StateError::Newer { path: path.into(), found: version, known: FORMAT });
            }
            Record::Format { pipeline: found, .. } if found != pipeline => {
                return Err(StateError::OtherPipeline { path: path.into(), found });
            }
            Record::Format { .. } => {}
            _ if records == 0 => return Err(corrupt(at, "the first record is not the format")),
            Record::Start(positions) => {
                for (tp, next) in positions.iter() {
                    remembered.start.set(tp.clone(), next);
                }
            }
            Record::Plan(plan) => remembered.planned(*plan),
            Record::Cuts(checkpoint, cuts) => remembered.cut(checkpoint, cuts),
            Record::Refused(checkpoint) => remembered.refuse(checkpoint),
            Record::Done(done, sinks) => remembered.done(done, sinks),
            Record::Void(void) => remembered.plans.retain(|plan| plan.checkpoint != void),
            Record::Owned(list) => {
                let owned =
                    |(topic, partition, owned): (String, i32, Owned)| (TopicPartition::new(topic, partition), owned);
                remembered.owned.extend(list.into_iter().map(owned));
            }
            Record::Tables(tables) => remembered.now_in(tables),
            Record::Held(held) => remembered.held = held,
        }
        records += 1;
        rest = after;
    }
    Ok(remembered)
}

/// The format of a header that this version cannot read otherwise.
fn newer(json: &str) -> Option<u32> {
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    let version = u32::try_from(value.get("format")?.get("version")?.as_u64()?).ok()?;
    (version > FORMAT).then_some(version)
}

/// Writes a journal with what is remembered in place of the old one, durably, and opens it for appending; also its length.
fn rewrite(path: &Path, pipeline: &str, remembered: &Remembered) -> Result<(File, u64), StateError> {
    let mut text = frame(&to_json(&Record::Format { version: FORMAT, pipeline: pipeline.into() }));
    if !remembered.start.is_empty() {
        text += &frame(&to_json(&Record::Start(remembered.start.clone())));
    }
    if !remembered.owned.is_empty() {
        text += &frame(&to_json(&Record::Owned(listed(&remembered.owned))));
    }
    if !remembered.tables.is_empty() {
        text += &frame(&to_json(&Record::Tables(remembered.tables.clone())));
    }
    if !remembered.held.is_empty() {
        text += &frame(&to_json(&Record::Held(remembered.held.clone())));
    }
    // Before the plans: of them it would take the one of that number away.
    if remembered.last > 0 && remembered.plans.iter().all(|plan| plan.checkpoint.0 < remembered.last) {
        text += &frame(&to_json(&Record::Done(CheckpointId(remembered.last), Vec::new())));
    }
    for plan in &remembered.plans {
        text += &frame(&to_json(&Record::Plan(Box::new(plan.clone()))));
    }
    replace(path, text.as_bytes(), || ())?;
    let file = OpenOptions::new().append(true).open(path).map_err(io_error("open", path))?;
    Ok((file, text.len() as u64))
}

fn listed(owned: &BTreeMap<TopicPartition, Owned>) -> Vec<(String, i32, Owned)> {
    owned.iter().map(|(tp, owned)| (tp.topic.to_string(), tp.partition, owned.clone())).collect()
}

fn to_json(record: &Record) -> String {
    serde_json::to_string(record).expect("records are plain data with string keys")
}

#[cfg(test)]
mod tests;
