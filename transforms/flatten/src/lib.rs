//! `flatten`: the row before and the row after side by side, whatever their columns. The pattern: the host copies, the guest adds
//! what it knows of the change.

use lakemill_guest::{Change, Emit, Output, Timestamp, transform};

#[derive(Output)]
#[output(name = "changes", copy(before, prefix = "before_"), copy(after, prefix = "after_"))]
struct Flat {
    /// read, create, update, delete or truncate.
    _operation: &'static str,
    /// When the database committed the change.
    _cdc_timestamp: Option<Timestamp>,
    /// The batch's clock: the same again if the batch is replayed.
    _processed_at: Timestamp,
}

#[transform]
fn flatten(change: &Change<()>) -> Emit<Flat> {
    Emit::one(Flat { _operation: change.op().word(), _cdc_timestamp: change.event_time(), _processed_at: change.now() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cases_hold_natively() {
        assert_eq!(lakemill_guest::testing::run_cases(&super::TRANSFORM, "cases"), 2);
    }
}
