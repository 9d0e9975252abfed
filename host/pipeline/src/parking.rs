//! Waiting with the place kept: for a command, for other code, or for a table that fits again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lakemill_model::{CheckpointId, Disposition};

use crate::assemble;
use crate::control::{Control, Wish};
use crate::error::PipelineError;
use crate::pipeline::Pipeline;
use crate::progress::Progress;

/// Between two looks at tables that do not fit. A look reads them and writes nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The longest wait after tables seemed to fit and did not take the rows: a run that fails leaves a commit without rows in each of them.
const LONGEST: Duration = Duration::from_secs(600);

/// What lets a parked pipeline go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unparked {
    /// Try again; the batch to forgive, if any.
    GoOn(Option<CheckpointId>),
    /// An end was asked for.
    Stop,
}

/// How long to wait for the next look, after so many runs in vain.
fn look_after(in_vain: u32) -> Duration {
    LOOK_EVERY.saturating_mul(1 << in_vain.min(16)).min(LONGEST)
}

impl Pipeline {
    /// Keeps the place until something changes. `in_vain` counts the runs that were tried since a batch was committed.
    pub(crate) fn park(
        &self,
        progress: &Progress,
        control: &Control,
        error: &PipelineError,
        in_vain: &mut u32,
    ) -> Unparked {
        let looks = matches!(error, PipelineError::Sink(_)) && error.disposition() == Disposition::Misfit;
        match error.disposition() {
            Disposition::Misfit if looks => {
                tracing::error!(%error, "parked: the pipeline keeps its place, and goes on by itself when the table fits");
            }
            Disposition::Misfit => tracing::error!(
                %error,
                "parked: the pipeline keeps its place; it goes on with other code (`lakemill reload`), or with `lakemill resume`"
            ),
            _ => tracing::error!(
                %error,
                "parked: the pipeline keeps its place; mend the component, or let the batch pass with `lakemill resume \
                 --over-budget`"
            ),
        }
        // What was asked for before is no answer to this; what is asked for from now on is.
        control.forget();
        self.looks.store(looks, Ordering::Relaxed);
        progress.parked(Some(error.to_string()));
        let unparked = self.until_it_may_go_on(control, error, looks.then(|| look_after(*in_vain)));
        self.looks.store(false, Ordering::Relaxed);
        progress.parked(None);
        *in_vain += 1;
        unparked
    }

    fn until_it_may_go_on(&self, control: &Control, error: &PipelineError, look: Option<Duration>) -> Unparked {
        let mut wait = look;
        loop {
            let wish = control.wait(wait);
            if control.is_stopped() {
                return Unparked::Stop;
            }
            if let Some(wish) = wish {
                tracing::info!("resumed");
                let refused = match error {
                    PipelineError::OverBudget(over) => Some(over.checkpoint),
                    _ => None,
                };
                return Unparked::GoOn(refused.filter(|_| wish == Wish::ResumeOverBudget));
            }
            if look.is_some() {
                match self.fits() {
                    Ok(()) => {
                        tracing::info!("the tables fit now: the pipeline goes on");
                        return Unparked::GoOn(None);
                    }
                    Err(error) => tracing::debug!(%error, "the tables do not fit yet"),
                }
                wait = Some(LOOK_EVERY);
            }
        }
    }

    /// Whether the tables, as they are now, take rows like those that came so far.
    fn fits(&self) -> Result<(), PipelineError> {
        let tables = assemble::tables(&self.file)?;
        let stages: Vec<_> = tables.sinks.iter().map(|sink| sink.stage()).collect();
        self.deployer.fits(&stages)?;
        for letters in [Some(tables.dead_letters), tables.late].into_iter().flatten() {
            stages[letters].fits(&crate::letters::schema())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_vain_come_less_and_less_often() {
        let waits: Vec<u64> = (0..10).map(|in_vain| look_after(in_vain).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert_eq!(look_after(u32::MAX), LONGEST);
    }
}
