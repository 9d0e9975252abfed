//! What of a batch goes where: rows that a sink takes and does not hold yet, and letters that their table does not have yet.

use std::sync::PoisonError;

use lakemill_model::{NextOffset, Positions, RawBatch, SinkError};
use lakemill_state::Plan;

use super::Bench;
use crate::counts::Fate;
use crate::error::PipelineError;
use crate::letters::{Letter, LetterStage};
use crate::recover;
use crate::screening::Refused;

impl Bench<'_> {
    /// What a sink holds, if it holds part of this batch.
    pub(super) fn ahead(&self, sink: usize) -> Option<&Positions> {
        let held = &self.job.held[sink];
        let has_some = !recover::overtaken(&self.job.plan.delta, std::slice::from_ref(held)).is_empty();
        has_some.then_some(held)
    }

    /// Leaves out what sinks do not take, and remembers it before anything of the batch is committed.
    pub(super) fn screen(&mut self) -> Result<(), PipelineError> {
        let (names, raw, plan) = (&self.shop.sink_names, &self.job.raw, &self.job.plan);
        // Until a sink has some of the batch, the tables are asked anew: somebody may have mended one.
        let remembered = if self.job.begun { &*plan.unfit } else { &[] };
        let mut refused = Refused::known(remembered, names, raw);
        let letters_held = self.ahead(self.shop.dead_letters);
        for ((sink, side), parts) in &self.rows {
            for made in parts {
                let refusals =
                    self.shop.stages[*sink].refusals(&made.rows).map_err(|error| self.of_side(*side, error))?;
                for (record, reason) in refused.add(*sink, made, refusals) {
                    if self.is_held(letters_held, record) {
                        // Its dead letter would be left out, as everything that is before what that table holds.
                        let reason = format!(
                            "{reason}; the dead letters of its batch are written already, so that it cannot become one"
                        );
                        let sink = names[*sink].to_string();
                        return Err(self.of_side(*side, SinkError::Schema { sink, reason }));
                    }
                }
            }
        }
        let unfit = refused.unfit(names, raw);
        if unfit != plan.unfit {
            let anew = Plan { unfit, cuts: self.cuts.clone(), ..(**plan).clone() };
            self.shop.journal.lock().unwrap_or_else(PoisonError::into_inner).plan(anew)?;
        }
        if refused.is_empty() {
            return Ok(());
        }
        for ((sink, _), parts) in &mut self.rows {
            let kept = std::mem::take(parts).into_iter().filter_map(|made| refused.without(*sink, made).transpose());
            *parts = kept.collect::<Result<_, _>>().map_err(|error| PipelineError::Invalid(error.to_string()))?;
        }
        for (record, reason) in refused.reasons() {
            if std::mem::replace(&mut self.fates[record as usize], Fate::Dead) != Fate::Dead {
                self.letters.push(Letter { record, stage: LetterStage::Sink, reason, digest: None, backtrace: None });
            }
        }
        Ok(())
    }

    pub(super) fn new_letters(&self, sink: usize, mut letters: Vec<Letter>) -> Vec<Letter> {
        let held = self.ahead(sink);
        letters.retain(|letter| !self.is_held(held, letter.record));
        letters
    }

    /// Whether a record is before what a sink holds.
    fn is_held(&self, held: Option<&Positions>, record: u32) -> bool {
        let raw: &RawBatch = &self.job.raw;
        let record = &raw.records()[record as usize];
        let next = held.and_then(|held| held.get(&raw.topic_partition(record)));
        next.is_some_and(|next| NextOffset(record.offset) < next)
    }
}
