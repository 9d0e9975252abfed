//! Good and bad answers to a batch, by mode.

use crate::exports::lakemill::transform::transformer::Answer;
use crate::lakemill::transform::batches::Batch;
use crate::lakemill::transform::types::{Column, Emission, Image, Rejection, Values, VarLength};
use crate::lakemill::transform::{config, log, panic as words};

fn text(offsets: Vec<u32>, data: &[u8]) -> Values {
    Values::Text(VarLength { offsets, data: data.to_vec() })
}

fn plain(values: Values) -> Column {
    Column { values, validity: None, unchanged: None }
}

/// Every row as it should be: its offset, and the text `t`.
fn emission(offsets: &[i64]) -> Emission {
    let rows = offsets.len() as u32;
    Emission {
        output: 0,
        rows: (0..rows).collect(),
        ops: None,
        columns: vec![
            plain(Values::Int64(offsets.to_vec())),
            plain(text((0..=rows).collect(), &vec![b't'; rows as usize])),
        ],
    }
}

pub fn of(mode: &str, batch: &Batch, offsets: &[i64]) -> Result<Answer, String> {
    let rows = offsets.len();
    let mut emission = emission(offsets);
    let mut rejections = Vec::new();
    match mode {
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("on purpose"),
        "last_words" => {
            words::say("first words");
            words::say(&format!("too dear\n\u{1b}[2J{}", "é".repeat(5_000)));
            core::arch::wasm32::unreachable()
        }
        "words_without_end" => {
            let much = "w".repeat(1 << 20);
            loop {
                words::say(&much);
            }
        }
        "words_taken_back" => words::say("never mind"),
        "words_before_another_end" => {
            words::say("never mind");
            return Err(deep(rows as u64).to_string());
        }
        "huge_words" => words::say(&"w".repeat(2 << 20)),
        "loop" => loop {
            std::hint::black_box(0);
        },
        "stack" => return Err(deep(rows as u64).to_string()),
        "eat" => eat(),
        "error" => return Err("I do not like these rows".into()),
        "undeclared" => drop(batch.column(Image::Row, "customer_id")),
        "chatter" => (0..1_000).for_each(|n| log::log(log::Level::Info, &format!("line {n} {}", "x".repeat(5_000)))),
        // Its configuration wherever it can say something, and as the text of a row.
        "blurt" => {
            let config = config::json();
            for level in [log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error] {
                log::log(level, &config);
            }
            rejections = (1..rows as u32).map(|row| Rejection { row, reason: config.clone() }).collect();
            emission.rows.truncate(1);
            let ends = vec![0, config.len() as u32];
            emission.columns = vec![plain(Values::Int64(offsets[..1].to_vec())), plain(text(ends, config.as_bytes()))];
        }
        "blurt_error" => return Err(config::json()),
        "no_such_output" => emission.output = 7,
        "no_such_row" => emission.rows[0] = rows as u32,
        "short_column" => emission.columns[0] = plain(Values::Int64(offsets[1..].to_vec())),
        "missing_column" => drop(emission.columns.pop()),
        "wrong_type" => emission.columns[0] = plain(Values::Int32(vec![1; rows])),
        "null" => emission.columns[0].validity = Some(vec![0; rows.div_ceil(8)]),
        "short_validity" => emission.columns[1].validity = Some(Vec::new()),
        "not_utf8" => emission.columns[1] = plain(text((0..=rows as u32).collect(), &vec![0xff; rows])),
        "falling_offsets" => emission.columns[1] = plain(text((0..=rows as u32).rev().collect(), &vec![b't'; rows])),
        "far_offsets" => emission.columns[1] = plain(text(vec![u32::MAX; rows + 1], b"t")),
        "split_character" => {
            // Each row is half of a character: the whole is UTF-8, the rows are not.
            let halves: Vec<u8> = "é".bytes().cycle().take(rows / 2 * 2).collect();
            let ends = (0..=rows as u32).map(|at| at.min(halves.len() as u32)).collect();
            emission.columns[1] = plain(text(ends, &halves));
        }
        "unknown_op" => emission.ops = Some(vec![9; rows]),
        "short_ops" => emission.ops = Some(Vec::new()),
        "both" => rejections.push(Rejection { row: 0, reason: "and emitted".into() }),
        "reject" => {
            rejections = (0..rows as u32).map(|row| Rejection { row, reason: "r".repeat(5_000) }).collect();
            emission.rows.clear();
            emission.columns = vec![plain(Values::Int64(Vec::new())), plain(text(vec![0], b""))];
        }
        "reject_nothing" => rejections.push(Rejection { row: u32::MAX, reason: "no such row".into() }),
        _ => {}
    }
    Ok(Answer { emissions: vec![emission], rejections })
}

/// Recursion that no compiler makes a loop of.
fn deep(n: u64) -> u64 {
    let below = if std::hint::black_box(n) == u64::MAX { 0 } else { deep(std::hint::black_box(n + 1)) };
    std::hint::black_box(below) + 1
}

fn eat() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1 << 20]);
        std::hint::black_box(&eaten);
    }
}
