//! `split`: inserts, updates and deletes to a table each. The pattern: route by op.

use lakemill_guest::{Change, Emit, Op, Output, Unread, transform};

#[derive(Output)]
enum Table {
    /// Inserts, and rows that a snapshot has read.
    #[output(key = ["id"], copy(row))]
    Inserts,
    #[output(key = ["id"], copy(row))]
    Updates,
    /// Deletes, and the emptying of a table.
    #[output(copy(row))]
    Deletes,
}

#[transform]
fn split(change: &Change<(), Unread>) -> Emit<Table> {
    Emit::one(match change.op() {
        Op::Read | Op::Create => Table::Inserts,
        Op::Update => Table::Updates,
        Op::Delete | Op::Truncate => Table::Deletes,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cases_hold_natively() {
        assert_eq!(lakemill_guest::testing::run_cases(&super::TRANSFORM, "cases"), 1);
    }
}
