//! What the probe can do with a batch.

use serde_json::Value;

use crate::exports::lakemill::transform::transformer::Answer;
use crate::lakemill::transform::batches::Batch;
use crate::lakemill::transform::log::{self, Level};
use crate::lakemill::transform::types::{Column, Emission, Image, Rejection, Values, VarLength};
use crate::{fields, image, raw};

pub fn act(what: &str, batch: &Batch, config: &Value) -> Result<Answer, String> {
    match what {
        "echo" => echo(batch, config),
        "shape" => Ok(shape(batch, config)),
        "filter_derive" => filter_derive(batch),
        "count_calls" => Ok(one_int64(batch, count_calls())),
        "find_ones" => Ok(one_int64(batch, find_ones(config))),
        "grow_and_go_on" => Ok(one_int64(batch, grow_until_refused())),
        "touch" => {
            let mut touched = vec![1_u8; config["bytes"].as_u64().unwrap_or(0) as usize];
            std::hint::black_box(&mut touched);
            Ok(Answer { emissions: Vec::new(), rejections: Vec::new() })
        }
        "dirty" => {
            let dirt = vec![1_u8; config["bytes"].as_u64().unwrap_or(0) as usize];
            std::hint::black_box(&dirt);
            core::arch::wasm32::unreachable()
        }
        "many_rows" => Ok(many_rows(batch, config)),
        "many_emissions" => Ok(many_emissions(batch, config)),
        "many_rejections" => Ok(many_rejections(config)),
        "flood_of_calls" => loop {
            std::hint::black_box(batch.ops());
        },
        "bulk_loop" => bulk_loop(),
        "huge_output" => Ok(huge_output(batch, config)),
        "huge_error" => Err("e".repeat(1 << 20)),
        "log" => {
            let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error];
            levels.into_iter().for_each(|level| log::log(level, &format!("{level:?}\nof probe")));
            Ok(Answer { emissions: Vec::new(), rejections: Vec::new() })
        }
        "reject_twice" => {
            let rejection = || Rejection { row: 0, reason: "no".into() };
            Ok(Answer { emissions: Vec::new(), rejections: vec![rejection(), rejection()] })
        }
        "bogus_handle" => Ok(one_int64(batch, i64::from(raw::len(99)))),
        "words_that_are_no_text" => {
            raw::say(&[0xff; 9]);
            core::arch::wasm32::unreachable()
        }
        "drop_the_borrow" => {
            raw::drop_batch(batch.handle());
            Ok(one_int64(batch, 0))
        }
        "bogus_image" => Ok(one_int64(batch, i64::from(raw::schema_of_image(batch.handle(), 77)))),
        _ => Ok(Answer { emissions: Vec::new(), rejections: Vec::new() }),
    }
}

fn everything(batch: &Batch, columns: Vec<Column>) -> Answer {
    let emission = Emission { output: 0, rows: (0..batch.len()).collect(), ops: None, columns };
    Answer { emissions: vec![emission], rejections: Vec::new() }
}

fn plain(values: Values) -> Column {
    Column { values, validity: None, unchanged: None }
}

fn one_int64(batch: &Batch, value: i64) -> Answer {
    everything(batch, vec![plain(Values::Int64(vec![value; batch.len() as usize]))])
}

/// Every declared column as it came.
fn echo(batch: &Batch, config: &Value) -> Result<Answer, String> {
    let column = |name: &str| batch.column(image(config), name).ok_or(format!("there is no column {name}"));
    let columns = fields(config).iter().map(|field| column(&field.name)).collect::<Result<_, _>>()?;
    Ok(everything(batch, columns))
}

/// What the batch says beside its columns, as one column of text: the same in every row.
fn shape(batch: &Batch, config: &Value) -> Answer {
    let image = image(config);
    let schema: Vec<String> = batch
        .schema(image)
        .iter()
        .map(|field| format!("{} {:?} {}", field.name, field.data_type, field.nullable))
        .collect();
    let said = format!(
        "len {} schema {schema:?} presence {:?} ops {:?} now {} watermark {:?} missing {}",
        batch.len(),
        batch.presence(image),
        batch.ops(),
        batch.now(),
        batch.watermark(),
        batch.column(image, "no such column").is_none(),
    );
    let rows = batch.len();
    let offsets = (0..=rows).map(|row| row * said.len() as u32).collect();
    everything(batch, vec![plain(Values::Text(VarLength { offsets, data: said.repeat(rows as usize).into_bytes() }))])
}

/// What a small transform does: keeps some rows by a text column, derives a number.
fn filter_derive(batch: &Batch) -> Result<Answer, String> {
    let text = match batch.column(Image::Row, "status").map(|column| column.values) {
        Some(Values::Text(text)) => text,
        _ => return Err("no status".into()),
    };
    let totals = match batch.column(Image::Row, "total").map(|column| column.values) {
        Some(Values::Float64(totals)) => totals,
        _ => return Err("no total".into()),
    };
    let cell = |row: usize| &text.data[text.offsets[row] as usize..text.offsets[row + 1] as usize];
    let rows: Vec<u32> = (0..totals.len() as u32).filter(|row| cell(*row as usize) != b"cancelled").collect();
    let gross = rows.iter().map(|row| totals[*row as usize] * 1.2).collect();
    let emission = Emission { output: 0, rows, ops: None, columns: vec![plain(Values::Float64(gross))] };
    Ok(Answer { emissions: vec![emission], rejections: Vec::new() })
}

/// 1 in every call, or the instance has seen another one.
fn count_calls() -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static CALLS: AtomicI64 = AtomicI64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Bytes that another call may have left: fresh memory is zero.
fn find_ones(config: &Value) -> i64 {
    const PAGE_BYTES: usize = 1 << 16;
    let pages = config["pages"].as_u64().unwrap_or(400) as usize;
    let first = core::arch::wasm32::memory_grow(0, pages);
    if first == usize::MAX {
        return -1;
    }
    let fresh = (first * PAGE_BYTES) as *const u64;
    (0..pages * PAGE_BYTES / 8).filter(|at| unsafe { fresh.add(*at).read_volatile() } != 0).count() as i64
}

/// How many pages there were to be had.
fn grow_until_refused() -> i64 {
    let mut pages = core::arch::wasm32::memory_size(0);
    while core::arch::wasm32::memory_grow(0, 16) != usize::MAX {
        pages += 16;
    }
    pages as i64
}

/// Deadlines are checked between instructions, and each of these is one.
fn bulk_loop() -> ! {
    let mut block = vec![0_u8; 32 << 20];
    loop {
        let fill = std::hint::black_box(1);
        block.fill(fill);
        std::hint::black_box(&mut block);
    }
}

fn count(config: &Value) -> usize {
    config["count"].as_u64().unwrap_or(0) as usize
}

/// The first row again and again.
fn many_rows(batch: &Batch, config: &Value) -> Answer {
    let rows = count(config);
    let emission = Emission {
        output: 0,
        rows: vec![0; rows],
        ops: None,
        columns: vec![plain(Values::Int64(vec![0; batch.len() as usize]))],
    };
    Answer { emissions: vec![emission], rejections: Vec::new() }
}

/// Emissions of nothing.
fn many_emissions(batch: &Batch, config: &Value) -> Answer {
    let none = || Emission { output: batch.len(), rows: Vec::new(), ops: None, columns: Vec::new() };
    Answer { emissions: (0..count(config)).map(|_| none()).collect(), rejections: Vec::new() }
}

/// Rejections without a reason.
fn many_rejections(config: &Value) -> Answer {
    let none = || Rejection { row: 0, reason: String::new() };
    Answer { emissions: Vec::new(), rejections: (0..count(config)).map(|_| none()).collect() }
}

/// Many columns' worth of bytes from one place in memory.
fn huge_output(batch: &Batch, config: &Value) -> Answer {
    let bytes = config["bytes"].as_u64().unwrap_or(0) as usize;
    let values = Values::Text(VarLength { offsets: vec![0], data: vec![b'x'; bytes] });
    everything(batch, vec![plain(values)])
}
