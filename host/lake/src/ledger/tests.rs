//! The commit loop over a ledger in memory that fails as it is told. The real ones are tested over real files in `tests/`.

use lakemill_model::{CheckpointId, OffsetRange, TopicPartition};

use super::*;

/// What the next `append` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    /// The entry lands, its reply does not.
    LandsAndFails,
    /// Nothing lands.
    Fails,
    /// Somebody else's entry takes the number.
    Overtaken,
}

struct Memory {
    ids: AppIds,
    entries: Vec<BTreeMap<String, i64>>,
    view: Option<View>,
    fates: Vec<Fate>,
    blind: bool,
    /// The disk does not take what is in memory.
    volatile: bool,
}

impl Memory {
    fn new(fates: &[Fate]) -> Self {
        let mut fates = fates.to_vec();
        fates.reverse();
        let (ids, entries) = (AppIds::new("t", "p", "s"), vec![BTreeMap::new()]);
        let mut memory = Self { ids, entries, view: None, fates, blind: false, volatile: false };
        memory.look(true).expect("not blind");
        memory
    }
}

impl Ledger for Memory {
    fn sink(&self) -> &str {
        "s"
    }

    fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    fn look(&mut self, _: bool) -> Result<(), SinkError> {
        if self.blind {
            return Err(trouble("look"));
        }
        let Some(last) = self.entries.len().checked_sub(1) else {
            self.view = None;
            return Ok(());
        };
        let all = self.entries.iter().flatten().map(|(id, number)| (id.clone(), *number));
        self.view = Some(View::new(last as u64, &self.ids, all));
        Ok(())
    }

    fn lost_its_ground(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.version >= self.entries.len() as u64)
    }

    fn settle(&self) -> Result<(), SinkError> {
        if self.volatile { Err(trouble("sync")) } else { Ok(()) }
    }

    fn append(&mut self, _: &[StagedFile], commit: &Commit) -> Result<Published, SinkError> {
        let fate = self.fates.pop().unwrap_or(Fate::Works);
        if fate == Fate::Fails {
            return Err(trouble("append"));
        }
        if fate == Fate::Overtaken {
            self.entries.push(BTreeMap::new());
            return Ok(Published::Exists);
        }
        self.entries.push(changes(&self.ids, &shown(self), commit));
        if fate == Fate::LandsAndFails {
            return Err(trouble("reply"));
        }
        self.look(true)?;
        Ok(Published::Created)
    }
}

fn trouble(what: &'static str) -> SinkError {
    SinkError::Storage { sink: "s".into(), action: what, path: "memory".into(), reason: "told so".into() }
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn step(start: i64, end: i64, epoch: i64) -> Commit {
    let delta = [(tp(), OffsetRange { start: NextOffset(start), end: NextOffset(end) })].into_iter().collect();
    let done = [(tp(), NextOffset(end))].into_iter().collect();
    let epochs = [(tp(), Epoch(epoch))].into_iter().collect();
    Commit { checkpoint: CheckpointId(1), delta, done, epochs, digests: vec![] }
}

/// Commits a step of ten rows from what the ledger holds.
fn run(memory: &mut Memory) -> Result<CommitOutcome, SinkError> {
    let mut expected = shown(memory).held;
    let file = StagedFile {
        path: "x".into(),
        bytes: 1,
        rows: 10,
        partition_values: vec![],
        columns: Vec::new().into(),
        stats: None,
        modified_ms: 0,
        made_by: vec![],
    };
    commit(memory, &mut expected, &[file], &step(0, 10, 1))
}

#[test]
fn a_lost_reply_is_found_and_not_written_again() {
    let mut memory = Memory::new(&[Fate::LandsAndFails]);
    assert_eq!(run(&mut memory).expect("found"), CommitOutcome::AlreadyThere);
    assert_eq!(memory.entries.len(), 2);
    // Also if it was the second attempt.
    let mut memory = Memory::new(&[Fate::Fails, Fate::LandsAndFails]);
    assert_eq!(run(&mut memory).expect("found"), CommitOutcome::AlreadyThere);
    assert_eq!(memory.entries.len(), 2);
}

#[test]
fn what_was_found_is_no_commit_before_the_disk_has_it() {
    let mut memory = Memory::new(&[Fate::LandsAndFails]);
    memory.volatile = true;
    assert!(matches!(run(&mut memory), Err(SinkError::Storage { action: "reply", .. })));
    memory.volatile = false;
    assert_eq!(run(&mut memory).expect("found"), CommitOutcome::AlreadyThere);
    assert_eq!(memory.entries.len(), 2);
}

#[test]
fn an_error_is_tried_once_more_and_then_told() {
    let mut memory = Memory::new(&[Fate::Fails]);
    assert_eq!(run(&mut memory).expect("second attempt"), CommitOutcome::Committed(Some(1)));
    let mut memory = Memory::new(&[Fate::Fails, Fate::Fails]);
    assert!(matches!(run(&mut memory), Err(SinkError::Storage { action: "append", .. })));
    assert_eq!(memory.entries.len(), 1);
}

#[test]
fn the_first_error_is_told_when_nothing_can_be_seen() {
    let mut memory = Memory::new(&[Fate::Fails]);
    memory.blind = true;
    assert!(matches!(run(&mut memory), Err(SinkError::Storage { action: "append", .. })));
}

#[test]
fn others_who_are_faster_do_not_matter() {
    let mut memory = Memory::new(&[Fate::Overtaken; 50]);
    assert_eq!(run(&mut memory).expect("in the end"), CommitOutcome::Committed(Some(51)));
    let mut memory = Memory::new(&[Fate::Overtaken; 2000]);
    assert!(matches!(run(&mut memory), Err(SinkError::Storage { .. })), "not for ever");
}

#[test]
fn a_ledger_that_vanished_fences() {
    let mut memory = Memory::new(&[]);
    run(&mut memory).expect("works");
    memory.entries.clear();
    let mut expected = shown(&memory).held;
    let error = commit(&mut memory, &mut expected, &[], &step(10, 20, 1)).expect_err("must stop");
    assert!(
        matches!(&error, SinkError::Fenced { expected, found, .. } if expected == "offset 10" && found == "no offset"),
        "{error}"
    );
}

#[test]
fn without_a_table_and_without_rows_nobody_is_told() {
    let mut memory = Memory::new(&[]);
    memory.entries.clear();
    memory.look(true).expect("not blind");
    let mut expected = Positions::new();
    assert_eq!(commit(&mut memory, &mut expected, &[], &step(0, 10, 1)).expect("deferred"), CommitOutcome::Deferred);
    assert_eq!((memory.entries.len(), expected), (0, Positions::new()));
}

#[test]
fn a_commit_speaks_for_its_own_partitions_and_never_sets_back_what_others_know() {
    let ids = AppIds::new("t", "p", "s");
    let mut commit = step(5, 5, 3);
    commit.epochs.set(TopicPartition::new("t", 1), Epoch(9));
    let shown = SinkPositions {
        held: Positions::new(),
        done: [(tp(), NextOffset(8))].into_iter().collect(),
        epochs: [(tp(), Epoch(4))].into_iter().collect(),
    };
    assert_eq!(changes(&ids, &shown, &commit), [(ids.held(&tp()), 5)].into());
    let fresh = changes(&ids, &SinkPositions::default(), &commit);
    assert_eq!(fresh, [(ids.held(&tp()), 5), (ids.done(&tp()), 5), (ids.epoch(&tp()), 3)].into());
}
