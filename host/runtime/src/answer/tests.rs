//! Every way in which an answer can be wrong beside its columns.

use lakemill_model::{DataType, Field, OutputColumn};

use super::*;

const ROWS: u32 = 3;

fn description() -> Description {
    let output = |name: &str| OutputSpec {
        name: name.into(),
        key: Vec::new(),
        columns: vec![
            OutputColumn::Made(Field::new("n", DataType::Int64, false)),
            OutputColumn::Copied { image: lakemill_model::Image::Row, column: "id".into(), name: "id".into() },
        ],
    };
    let outputs = vec![output("first"), output("second")];
    Description { name: "t".into(), version: "1".into(), outputs, reads: Vec::new(), config_schema: None }
}

fn column(rows: usize) -> types::Column {
    types::Column { values: types::Values::Int64(vec![1; rows]), validity: None, unchanged: None }
}

fn emission(rows: Vec<u32>) -> types::Emission {
    let columns = vec![column(rows.len())];
    types::Emission { output: 1, rows, ops: None, columns }
}

fn rejection(row: u32) -> types::Rejection {
    types::Rejection { row, reason: "r".repeat(2_000) }
}

fn check(emissions: Vec<types::Emission>, rejections: Vec<types::Rejection>) -> Result<Answer, String> {
    answer(types::Answer { emissions, rejections }, &description(), ROWS)
}

#[track_caller]
fn wrong(emissions: Vec<types::Emission>, rejections: Vec<types::Rejection>, says: &str) {
    let message = check(emissions, rejections).expect_err(says);
    assert!(message.contains(says), "{message}");
}

#[test]
fn rows_may_be_left_out_repeated_and_reordered() {
    let ops = types::Emission { ops: Some(vec![3, 0, 4]), ..emission(vec![2, 0, 2]) };
    let answer = check(vec![ops, emission(Vec::new())], vec![rejection(1)]).expect("is right");
    assert_eq!(answer.emissions[0].output, 1);
    assert_eq!(answer.emissions[0].rows, [2, 0, 2]);
    assert_eq!(answer.emissions[0].ops.as_deref(), Some(&[Op::Delete, Op::Read, Op::Truncate][..]));
    assert_eq!(answer.emissions[0].columns[0].array.len(), 3);
    assert_eq!(answer.rejections[0].reason.len(), REASON_BYTES_MAX);
    assert!(check(Vec::new(), Vec::new()).expect("all rows filtered").emissions.is_empty());
}

#[test]
fn emissions() {
    wrong(vec![types::Emission { output: 2, ..emission(vec![0]) }], vec![], "emission 0: there is no output 2");
    let second = vec![emission(vec![0]), emission(vec![0, 3])];
    wrong(second, vec![], "emission 1, output `second`: `rows[1]` is 3, the batch has rows 0 to 2");
    let with_ops = |ops: Vec<u8>| vec![types::Emission { ops: Some(ops), ..emission(vec![0, 1]) }];
    wrong(with_ops(vec![1]), vec![], "`ops` has 1 entries for 2 rows");
    wrong(with_ops(vec![1, 5]), vec![], "`ops[1]` is 5, ops are 0 to 4");
    let with_columns = |columns| vec![types::Emission { columns, ..emission(vec![0, 1]) }];
    wrong(with_columns(vec![]), vec![], "it has 0 columns, the description declares 1 that are made");
    wrong(with_columns(vec![column(2), column(2)]), vec![], "it has 2 columns");
    wrong(with_columns(vec![column(1)]), vec![], "emission 0, output `second`: column `n`: it has 1 values for 2 rows");
}

#[test]
fn rejections() {
    wrong(vec![], vec![rejection(0), rejection(3)], "rejection 1: row 3 is not one of the batch's rows 0 to 2");
    wrong(vec![], vec![rejection(0), rejection(0)], "rejection 1: row 0 is rejected twice");
    let emitted = vec![emission(vec![0]), emission(vec![2, 1])];
    wrong(emitted, vec![rejection(1)], "row 1 is both rejected and emitted (emission 1)");
}
