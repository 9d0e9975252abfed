//! The fuzz targets without a fuzzer: their seeds, and mutations of them, from a seed so that a failure comes again.
//! `LAKEMILL_FUZZ_CASES` makes it long.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;
use lakemill_fuzz::{Target, target};

fn cases() -> usize {
    std::env::var("LAKEMILL_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000)
}

fn short(name: &str) {
    let target = target(name);
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| run(target, seed));
    let mut random = Rng::with_seed(1);
    for _ in 0..cases() {
        let mut input = seeds[random.usize(..seeds.len())].clone();
        for _ in 0..random.usize(1..5) {
            mutate(&mut random, &mut input, &seeds);
        }
        run(target, &input);
    }
}

fn run(target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("target {} failed on {hex}", target.name);
        resume_unwind(panic);
    }
}

/// One change of a few bytes.
fn mutate(random: &mut Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    const INTERESTING: [u64; 11] =
        [0, 1, 7, 8, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff];
    if bytes.is_empty() {
        bytes.push(random.u8(..));
    }
    let at = random.usize(..bytes.len());
    let end = (at + random.usize(1..32)).min(bytes.len());
    match random.u8(..8) {
        0 => bytes[at] ^= 1 << random.u8(..8),
        1 => bytes[at] = random.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            let to = random.usize(..=bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        5 => {
            let other = &seeds[random.usize(..seeds.len())];
            let from = random.usize(..=other.len());
            let piece = &other[from..(from + random.usize(..64)).min(other.len())];
            drop(bytes.splice(at..end, piece.iter().copied()));
        }
        6 => {
            let number = INTERESTING[random.usize(..INTERESTING.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.usize(..4)].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        _ => {
            let number = INTERESTING[random.usize(..INTERESTING.len())].to_string();
            drop(bytes.splice(at..end, number.bytes()));
        }
    }
}

#[test]
fn answer() {
    short("answer");
}

#[test]
fn decode() {
    short("decode");
}

#[test]
fn lines() {
    short("lines");
}

#[test]
fn plan() {
    short("plan");
}

#[test]
fn scan() {
    short("scan");
}

#[test]
fn spec() {
    short("spec");
}
