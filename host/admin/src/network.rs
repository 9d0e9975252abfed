//! What anybody on the network may see of a pipeline: figures, and nothing that comes from rows. An error may quote a row, in the
//! words of whoever wrote the component, so that no error is shown; `lakemill status` shows all to the user who runs the process.

use std::collections::BTreeMap;

use lakemill_pipeline::{Circuit, DeadReason, Summary, TrialReport};

const PARKED: &str = "parked; `lakemill status` says why";
const WAITS: &str = "waits after a fault; `lakemill status` says which";

const REFUSED: &str = "components were refused; `lakemill status` says why";

/// The same without cells and without words of rows.
pub(crate) fn without_rows(all: Summary) -> Summary {
    let why = if all.parked { Some(PARKED) } else { (all.circuit != Circuit::Closed).then_some(WAITS) };
    // By stage only.
    let dead_reasons = by_stage(&all.dead_reasons).into_iter();
    let dead_reasons = dead_reasons.map(|(stage, rows)| DeadReason { stage, reason: String::new(), rows }).collect();
    // Of errors and paths nothing at all.
    let (refusal, next_start, dead_letters) = (all.refusal.map(|_| REFUSED.to_owned()), None, String::new());
    let (trouble, trial) = (why.map(str::to_owned), all.trial.map(figures));
    Summary { trouble, trial, dead_reasons, refusal, next_start, dead_letters, ..all }
}

/// Dead rows by the stage that they died in.
pub(crate) fn by_stage(reasons: &[DeadReason]) -> BTreeMap<&'static str, u64> {
    let mut stages = BTreeMap::new();
    for reason in reasons {
        *stages.entry(reason.stage).or_default() += reason.rows;
    }
    stages
}

fn figures(trial: TrialReport) -> TrialReport {
    // What follows a colon is a reason.
    let outcome = trial.outcome.as_deref().and_then(|outcome| outcome.split(':').next()).map(str::to_owned);
    TrialReport { samples: Vec::new(), outcome, ..trial }
}

#[cfg(test)]
mod tests {
    use lakemill_pipeline::trial::Difference;

    use super::*;

    const CELL: &str = "4111-1111";

    fn of_a_shadow() -> Summary {
        let cells = [Some(CELL.to_owned()), None];
        let sample = Difference {
            output: "out".into(),
            partition: 0,
            offset: 7,
            kind: "changed",
            columns: [("card".to_owned(), cells)].into(),
        };
        let trial = TrialReport {
            rows_changed: 1,
            columns_changed: [("out.card".to_owned(), 1)].into(),
            samples: vec![sample],
            outcome: Some(format!("taken back: one of them: no card {CELL}")),
            ..TrialReport::default()
        };
        let trouble = Some(format!("batch 2 is over the error budget; one of them: no card {CELL}"));
        let reason = |reason: &str, rows| DeadReason { stage: "transform", reason: reason.into(), rows };
        let dead_reasons = vec![reason(&format!("no card {CELL}"), 3), reason("no card", 1)];
        Summary { parked: true, trouble, trial: Some(trial), dead_reasons, ..Summary::default() }
    }

    #[test]
    fn nothing_of_a_row_is_left() {
        assert_eq!(serde_json::to_string(&of_a_shadow()).expect("plain data").matches(CELL).count(), 4);
        let shown = serde_json::to_value(without_rows(of_a_shadow())).expect("plain data");
        assert!(!shown.to_string().contains(CELL), "{shown}");
        assert_eq!(shown["trial"]["samples"], serde_json::json!([]));
    }

    #[test]
    fn figures_and_the_state_are_left() {
        let shown = serde_json::to_value(without_rows(of_a_shadow())).expect("plain data");
        assert_eq!(shown["trial"]["rows_changed"], 1);
        assert_eq!(shown["trial"]["columns_changed"]["out.card"], 1);
        assert_eq!(shown["trial"]["outcome"], "taken back");
        assert_eq!(shown["dead_reasons"], serde_json::json!([{ "stage": "transform", "reason": "", "rows": 4 }]));
        assert_eq!((&shown["parked"], &shown["trouble"]), (&true.into(), &PARKED.into()));
    }

    #[test]
    fn a_fault_is_named_as_one_and_no_trouble_is_none() {
        let fault = Summary { circuit: Circuit::Open, trouble: Some(CELL.to_owned()), ..Summary::default() };
        assert_eq!(without_rows(fault).trouble.as_deref(), Some(WAITS));
        assert_eq!(without_rows(Summary::default()).trouble, None);
    }
}
