//! What a component answers to a batch: checked completely before a row of it is used. Pure; the messages name output,
//! column and row for the author.

use arrow_buffer::BooleanBufferBuilder;
use lakemill_model::{Answer, Cells, Description, Emission, Op, OutputSpec, Rejection};

use crate::bindings::types;
use crate::cells::cells;
use crate::text::cut;

/// How many bytes of a rejection's reason are kept.
const REASON_BYTES_MAX: usize = 1_024;

/// The answer in the model's terms, or what is wrong with it and where. `rows` is the length of the batch.
pub(crate) fn answer(given: types::Answer, description: &Description, rows: u32) -> Result<Answer, String> {
    let emissions = given
        .emissions
        .into_iter()
        .enumerate()
        .map(|(n, given)| emission(given, &description.outputs, rows).map_err(|wrong| format!("emission {n}{wrong}")))
        .collect::<Result<Vec<_>, _>>()?;
    let rejections = rejections(given.rejections, &emissions, rows)?;
    Ok(Answer { emissions, rejections })
}

fn emission(given: types::Emission, outputs: &[OutputSpec], batch_rows: u32) -> Result<Emission, String> {
    let output = given.output as usize;
    let Some(spec) = outputs.get(output) else {
        return Err(format!(": there is no output {output}, the description declares {}", outputs.len()));
    };
    let named = |wrong: String| format!(", output `{}`: {wrong}", spec.name);
    row_numbers(&given.rows, batch_rows).map_err(named)?;
    let rows = given.rows.len();
    let ops = given.ops.map(|codes| ops(&codes, rows)).transpose().map_err(named)?;
    let columns = columns(given.columns, spec, rows).map_err(named)?;
    Ok(Emission { output, rows: given.rows, ops, columns })
}

fn row_numbers(numbers: &[u32], batch_rows: u32) -> Result<(), String> {
    if numbers.iter().max().is_none_or(|max| *max < batch_rows) {
        return Ok(());
    }
    let at = numbers.iter().position(|row| *row >= batch_rows).unwrap_or_default();
    Err(format!("`rows[{at}]` is {}, the batch has rows 0 to {}", numbers[at], batch_rows.saturating_sub(1)))
}

fn ops(codes: &[u8], rows: usize) -> Result<Vec<Op>, String> {
    if codes.len() != rows {
        return Err(format!("`ops` has {} entries for {rows} rows", codes.len()));
    }
    let op = |(at, code): (usize, &u8)| {
        Op::from_code(*code).ok_or_else(|| format!("`ops[{at}]` is {code}, ops are 0 to {}", Op::ALL.len() - 1))
    };
    codes.iter().enumerate().map(op).collect()
}

fn columns(given: Vec<types::Column>, spec: &OutputSpec, rows: usize) -> Result<Vec<Cells>, String> {
    let made = spec.made().count();
    if given.len() != made {
        return Err(format!("it has {} columns, the description declares {made} that are made", given.len()));
    }
    let check = |(column, field): (types::Column, &lakemill_model::Field)| {
        cells(column, field, rows).map_err(|wrong| format!("column `{}`: {wrong}", field.name))
    };
    given.into_iter().zip(spec.made()).map(check).collect()
}

fn rejections(given: Vec<types::Rejection>, emissions: &[Emission], rows: u32) -> Result<Vec<Rejection>, String> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let mut rejected = BooleanBufferBuilder::new(rows as usize);
    rejected.append_n(rows as usize, false);
    for (n, rejection) in given.iter().enumerate() {
        let row = rejection.row;
        if row >= rows {
            let last = rows.saturating_sub(1);
            return Err(format!("rejection {n}: row {row} is not one of the batch's rows 0 to {last}"));
        }
        if rejected.get_bit(row as usize) {
            return Err(format!("rejection {n}: row {row} is rejected twice"));
        }
        rejected.set_bit(row as usize, true);
    }
    for (n, emission) in emissions.iter().enumerate() {
        if let Some(row) = emission.rows.iter().find(|row| rejected.get_bit(**row as usize)) {
            return Err(format!("row {row} is both rejected and emitted (emission {n}): it must be one of them"));
        }
    }
    let keep = |given: types::Rejection| Rejection { row: given.row, reason: cut(given.reason, REASON_BYTES_MAX) };
    Ok(given.into_iter().map(keep).collect())
}

#[cfg(test)]
mod tests;
