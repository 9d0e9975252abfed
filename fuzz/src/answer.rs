//! What a guest answers: the input is its memory from the place on where it says that its answer lies. What the host takes
//! must be what it promises to the sinks.

use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, BinaryArray, Int64Array};
use lakemill_model::{
    Answer, BatchClock, Cells, ChangeBatch, DataType, Envelope, Field, ImageData, Op, OutputSpec, RowSchema, Transform,
    TransformError,
};
use lakemill_runtime::{Engine, EngineOptions, Limits, LoadOptions, TransformComponent};

use crate::abi::{Memory, le_bytes};
use crate::{arrays, guest};

/// Gives the input to a batch's column, and has it answered.
pub fn answer(data: &[u8]) {
    let batch = Arc::new(batch(data));
    match component().transform(&batch, BatchClock { now_us: 0, watermark_us: None }) {
        Ok(answer) => check(&answer, &component().description().outputs, batch.len()),
        Err(TransformError::Trap { trap, .. }) => assert!(!trap.contains("the host panicked"), "{trap}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(answer: &Answer, outputs: &[OutputSpec], rows: usize) {
    let mut emitted = vec![false; rows];
    for emission in &answer.emissions {
        let made: Vec<&Field> = outputs[emission.output].made().collect();
        assert_eq!(emission.columns.len(), made.len());
        for (cells, field) in emission.columns.iter().zip(made) {
            arrays::check(cells, field, emission.rows.len());
            let told = |row: usize| cells.unchanged.as_ref().is_some_and(|bits| bits.value(row));
            let has_null = || (0..emission.rows.len()).any(|row| cells.array.is_null(row) && !told(row));
            assert!(field.nullable || !has_null(), "a null in {}", field.name);
        }
        assert!(emission.ops.as_ref().is_none_or(|ops| ops.len() == emission.rows.len()));
        emission.rows.iter().for_each(|row| emitted[*row as usize] = true);
    }
    for rejection in &answer.rejections {
        let twice = std::mem::replace(&mut emitted[rejection.row as usize], true);
        assert!(!twice, "row {} has two fates", rejection.row);
        assert!(rejection.reason.len() <= 1_024);
    }
}

fn component() -> &'static TransformComponent {
    static COMPONENT: OnceLock<TransformComponent> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let options = EngineOptions { calls_max: 1, memory_bytes_max: 1 << 20, ..EngineOptions::default() };
        // Lists may overlap: a few bytes can stand for an answer of any size.
        let (memory_bytes_max, output_bytes_max) = (options.memory_bytes_max, 1 << 16);
        let limits = Limits { memory_bytes_max, output_bytes_max, batch_ms_max: 5_000, ..Limits::default() };
        let engine = Engine::new(options).expect("an engine");
        engine.load(&guest::module(), LoadOptions { limits, ..LoadOptions::default() }).expect("loads")
    })
}

/// As many rows as the input fills, one at least.
fn batch(data: &[u8]) -> ChangeBatch {
    let mut padded = data.to_vec();
    padded.resize(data.len().next_multiple_of(8).max(8), 0);
    let values: Int64Array = padded.as_chunks().0.iter().map(|chunk| Some(i64::from_le_bytes(*chunk))).collect();
    let rows = padded.len() / 8;
    let all = |array: ArrayRef| vec![Some(Cells { array, unchanged: None })];
    ChangeBatch {
        schema: Arc::new(RowSchema { key: vec![], row: vec![Field::new(guest::COLUMN, DataType::Int64, false)] }),
        key: ImageData::default(),
        before: ImageData { columns: vec![None], present: Some((0..rows).map(|_| false).collect()) },
        after: ImageData { columns: all(Arc::new(values)), present: None },
        envelope: Envelope {
            topic: "t".into(),
            ops: vec![Op::Create; rows],
            event_time_us: vec![None; rows],
            partitions: vec![0; rows],
            offsets: (0..rows as i64).collect(),
            kafka_time_ms: vec![None; rows],
            positions: BinaryArray::new_null(rows),
            snapshots: vec![false; rows],
            records: (0..rows as u32).collect(),
            origins: None,
        },
    }
}

/// Answers of every shape that the host takes, an error, and memory that is no answer.
pub fn seeds() -> Vec<Vec<u8>> {
    let bits = [&[0xff][..], &[0b101], &[0]];
    let mut seeds: Vec<_> = [(3, bits[0]), (3, bits[1]), (1, bits[2])].map(|(rows, bits)| full(rows, bits)).into();
    seeds.push(full(9, &[0b1010_1010, 1]));
    seeds.push(full(0, &[]));
    let mut memory = Memory::new(guest::ANSWER, 5);
    let words = memory.bytes("no");
    seeds.push(memory.finish(&[1, words[0], words[1]]));
    seeds.push(vec![0; 20]);
    seeds.push(vec![0xff; 20]);
    seeds
}

/// An emission for each output, one of them with everything that may be left out, and two rejections.
fn full(rows: u32, bits: &[u8]) -> Vec<u8> {
    let mut memory = Memory::new(guest::ANSWER, 5);
    let count = rows as usize;
    let [bits_at, bits_len] = memory.bytes(&bits[..bits.len().min(count.div_ceil(8))]);
    let (none, some) = ([0, 0, 0], [1, bits_at, bits_len]);
    let numbers = memory.list(4, &le_bytes(&(0..rows).collect::<Vec<_>>()));
    let [ops_at, ops_len] = memory.bytes((0..rows).map(|row| row as u8 % 5).collect::<Vec<_>>());
    let made: Vec<_> = guest::made().iter().map(|field| column(&mut memory, field, count, none, none)).collect();
    let marked: Vec<_> = guest::made().iter().map(|field| column(&mut memory, field, count, some, some)).collect();
    let strict: Vec<_> = guest::strict().iter().map(|field| column(&mut memory, field, count, none, none)).collect();
    let emissions = [(0, none, made), (0, [1, ops_at, ops_len], marked), (1, none, strict), (2, none, vec![])].map(
        |(output, ops, columns)| {
            let columns = memory.records(&columns);
            [output, numbers[0], numbers[1], ops[0], ops[1], ops[2], columns[0], columns[1]]
        },
    );
    let emissions = memory.records(&emissions);
    let reason = memory.bytes("zu groß");
    // Rows that are there in any case, since the answer itself is longer than that.
    let rejections = memory.records(&[[rows, reason[0], reason[1]], [rows + 1, 0, 0]]);
    memory.finish(&[0, emissions[0], emissions[1], rejections[0], rejections[1]])
}

/// A column of plain values: case, payload, validity, unchanged.
fn column(memory: &mut Memory, field: &Field, rows: usize, validity: [u32; 3], unchanged: [u32; 3]) -> [u32; 11] {
    let text = match field.data_type {
        DataType::Json => "7",
        _ => "é",
    };
    let (case, width) = match field.data_type {
        DataType::Boolean => (0, 0),
        DataType::Int32 => (1, 4),
        DataType::Int64 => (2, 8),
        DataType::Float32 => (3, 4),
        DataType::Float64 => (4, 8),
        DataType::Decimal { .. } => (5, 16),
        DataType::Date => (6, 4),
        DataType::Timestamp => (7, 8),
        DataType::Text => (8, text.len()),
        DataType::Bytes => (9, text.len()),
        DataType::Json => (10, text.len()),
    };
    let payload = match (case, width) {
        (0, _) => [memory.bytes(vec![0x55; rows.div_ceil(8)]), [0, 0]],
        (8.., _) => {
            let offsets: Vec<u32> = (0..=rows).map(|row| (row * width) as u32).collect();
            [memory.list(4, &le_bytes(&offsets)), memory.bytes(text.repeat(rows))]
        }
        // Decimals are bytes to the contract.
        (5, _) => [memory.bytes(vec![0; rows * width]), [0, 0]],
        _ => [memory.list(width, &vec![1; rows * width]), [0, 0]],
    };
    let [[a, b], [c, d]] = payload;
    let ([v0, v1, v2], [u0, u1, u2]) = (validity, unchanged);
    [case, a, b, c, d, v0, v1, v2, u0, u1, u2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_reach_every_kind_of_answer() {
        let clock = BatchClock { now_us: 0, watermark_us: None };
        let answered = |seed: &Vec<u8>| component().transform(&Arc::new(batch(seed)), clock);
        let answers: Vec<_> = seeds().iter().map(answered).collect();
        for answer in &answers[..5] {
            let answer = answer.as_ref().expect("is one");
            assert_eq!((answer.emissions.len(), answer.rejections.len()), (4, 2));
        }
        assert!(matches!(&answers[5], Err(TransformError::Guest(words)) if words == "no"), "{:?}", answers[5]);
        assert!(matches!(&answers[6], Ok(answer) if answer.emissions.is_empty()), "{:?}", answers[6]);
        assert!(matches!(&answers[7], Err(TransformError::Trap { .. })), "{:?}", answers[7]);
    }
}
