//! How both sinks commit: a ledger of numbered entries, each of which one writer creates. Decides by what the ledger shows; never
//! writes on what it has not seen.
//!
//! An entry holds rows and positions. It is written as the number after the last one seen, so that it lands only where nothing was
//! written since: the number is the lock. Whoever finds it taken looks at what was written and decides anew. After any error the
//! entry may be there or not; again only a look can tell.

use std::collections::BTreeMap;

use lakemill_model::{
    Commit, CommitDecision, CommitOutcome, Epoch, NextOffset, Positions, SinkError, SinkPositions, StagedFile,
};

use crate::app_id::{AppId, AppIdKind, AppIds};
use crate::disk::Published;

/// Attempts after an error: the second one is on what the ledger shows after the first.
const ERRORS_MAX: u32 = 2;

/// Numbers that other writers may take before our entry gets one.
const OVERTAKEN_MAX: u32 = 1000;

/// The ledger at one entry, as far as an appender needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) version: u64,
    /// By application id: all of our pipeline.
    pub(crate) transactions: BTreeMap<String, i64>,
    /// What they say about our sink.
    pub(crate) positions: SinkPositions,
}

impl View {
    /// The ledger at `version`, which says `transactions`.
    pub(crate) fn new(version: u64, ids: &AppIds, transactions: impl IntoIterator<Item = (String, i64)>) -> Self {
        let mut view = Self { version, ..Self::default() };
        view.absorb(ids, transactions);
        view
    }

    /// Takes over what an entry says. What is not our pipeline's is left out.
    pub(crate) fn absorb(&mut self, ids: &AppIds, transactions: impl IntoIterator<Item = (String, i64)>) {
        let prefix = ids.prefix();
        for (id, number) in transactions {
            if !id.starts_with(&prefix) {
                continue;
            }
            if let Some(AppId { kind, partition, .. }) = AppId::parse(&id) {
                match kind {
                    AppIdKind::Held(_) if id == ids.held(&partition) => {
                        self.positions.held.set(partition, NextOffset(number))
                    }
                    AppIdKind::Held(_) => {}
                    AppIdKind::Done => self.positions.done.set(partition, NextOffset(number)),
                    AppIdKind::Epoch => self.positions.epochs.set(partition, Epoch(number)),
                }
            }
            self.transactions.insert(id, number);
        }
    }
}

/// What a commit loop needs of a Delta log or of a folder of manifests.
pub(crate) trait Ledger {
    /// The sink's name, for errors.
    fn sink(&self) -> &str;

    /// What was seen last; `None`: there is no table.
    fn view(&self) -> Option<&View>;

    /// Sees what is there now. `afresh`: trusts nothing seen before.
    fn look(&mut self, afresh: bool) -> Result<(), SinkError>;

    /// Whether the entry last seen is gone, so that one after it might be written into the past, where nobody reads it.
    fn lost_its_ground(&self) -> bool;

    /// Waits until the disk has what was seen last: an entry that landed while its writer was told of an error may be in memory only.
    fn settle(&self) -> Result<(), SinkError>;

    /// Writes the entry after the last one seen, or the first one, if nobody has. The view follows if it was created.
    fn append(&mut self, files: &[StagedFile], commit: &Commit) -> Result<Published, SinkError>;
}

/// What a ledger shows of our sink.
pub(crate) fn shown(ledger: &impl Ledger) -> SinkPositions {
    ledger.view().map(|view| view.positions.clone()).unwrap_or_default()
}

/// Makes `files` visible together with what `commit` says, or finds them there. `expected` is what the sink held after our last
/// look or commit; it moves on with the commit.
pub(crate) fn commit(
    ledger: &mut impl Ledger,
    expected: &mut Positions,
    files: &[StagedFile],
    commit: &Commit,
) -> Result<CommitOutcome, SinkError> {
    let (mut errors, mut overtaken, mut last_error) = (0, 0, None);
    loop {
        if ledger.lost_its_ground() {
            ledger.look(true)?;
        }
        match commit.decide(&shown(ledger), expected) {
            CommitDecision::Commit => {}
            CommitDecision::Skip => {
                if let Some(error) = last_error
                    && ledger.settle().is_err()
                {
                    return Err(error);
                }
                expected.advance(&commit.delta);
                return Ok(CommitOutcome::AlreadyThere);
            }
            CommitDecision::Fenced { partition, expected, found } => {
                return Err(SinkError::Fenced { sink: ledger.sink().to_owned(), partition, expected, found });
            }
        }
        if ledger.view().is_none() && files.is_empty() {
            return Ok(CommitOutcome::Deferred);
        }
        if overtaken == OVERTAKEN_MAX {
            let (sink, path) = (ledger.sink().to_owned(), "the next version".to_owned());
            let reason = format!("other writers were faster {overtaken} times in a row");
            return Err(SinkError::Storage { sink, action: "create", path, reason });
        }
        if errors == ERRORS_MAX
            && let Some(error) = last_error
        {
            return Err(error);
        }
        match ledger.append(files, commit) {
            Ok(Published::Created) => {
                expected.advance(&commit.delta);
                let version = ledger.view().and_then(|view| i64::try_from(view.version).ok());
                return Ok(CommitOutcome::Committed(version));
            }
            Ok(Published::Exists) => {
                overtaken += 1;
                ledger.look(false)?;
            }
            Err(error) => {
                errors += 1;
                // What keeps us from writing may keep us from looking: the first error says more.
                if ledger.look(true).is_err() {
                    return Err(error);
                }
                last_error = Some(error);
            }
        }
    }
}

/// The application transactions that bring a ledger that shows `shown` to what `commit` says of its own partitions. `held` is what was
/// decided on; `done` and epochs never go back: another process may know better.
pub(crate) fn changes(ids: &AppIds, shown: &SinkPositions, commit: &Commit) -> BTreeMap<String, i64> {
    let mut changes = BTreeMap::new();
    for (tp, range) in commit.delta.iter() {
        if shown.held.get(tp) != Some(range.end) {
            changes.insert(ids.held(tp), range.end.0);
        }
        if let Some(epoch) =
            commit.epochs.get(tp).filter(|epoch| shown.epochs.get(tp).is_none_or(|there| there < *epoch))
        {
            changes.insert(ids.epoch(tp), epoch.0);
        }
    }
    for (tp, done) in commit.done.iter().filter(|(tp, done)| shown.done.get(tp).is_none_or(|there| there < *done)) {
        changes.insert(ids.done(tp), done.0);
    }
    changes
}

#[cfg(test)]
mod tests;
