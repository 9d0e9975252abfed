//! Guests that nobody wrote: random modules and components (wasm-smith), and transforms with bytes changed, through load, compile,
//! instantiate and call.

use fastrand::Rng;
use lakemill_model::{Transform, TransformError};
use lakemill_runtime::{Limits, LoadOptions};
use serde_json::json;
use wasm_encoder::{CodeSection, DataCountSection, DataSection, RawSection};
use wasm_smith::{Config, Module};
use wasmparser::{Parser, Payload, TypeRef};

use crate::batches::{CLOCK, small};
use crate::figures::rounds;
use crate::guests::{hostile, options, probe};
use crate::raw::Raw;
use crate::{host, raw};

/// How many are made in each round.
const PER_ROUND: u32 = 40;
/// Bytes that a generator makes a guest of.
const SEED_BYTES: usize = 4_096;

/// What became of them.
#[derive(Default)]
struct Fates {
    /// Never ran.
    refused: u32,
    /// Ended while they were loaded.
    failed_at_load: u32,
    /// Ended while they were called.
    failed_at_call: u32,
    answered: u32,
}

impl Fates {
    fn report(&self, what: &str) {
        let Self { refused, failed_at_load, failed_at_call, answered } = self;
        println!(
            "{}",
            json!({
                "random": what,
                "refused": refused,
                "failed_at_load": failed_at_load,
                "failed_at_call": failed_at_call,
                "answered": answered,
            })
        );
    }

    /// Loads and calls a guest.
    fn meet(&mut self, bytes: &[u8]) -> Result<(), String> {
        let limits = Limits { batch_ms_max: 20, memory_bytes_max: 16 << 20, ..Limits::default() };
        let given = LoadOptions { limits, cache_dir: None, ..options("{}") };
        let (count, ended) = match host::engine().load(bytes, given) {
            Ok(guest) => match guest.transform(&small(3), CLOCK) {
                Ok(_) => (&mut self.answered, None),
                Err(error) => (&mut self.failed_at_call, Some(error)),
            },
            Err(error @ TransformError::Refused(_)) => (&mut self.refused, Some(error)),
            Err(error) => (&mut self.failed_at_load, Some(error)),
        };
        *count += 1;
        match ended.map(|error| error.to_string()) {
            Some(words) if words.contains("the host panicked") => Err(words),
            _ => host::is_well(),
        }
    }
}

fn of_seed(what: &str, mut make: impl FnMut(&mut Rng) -> Option<Vec<u8>>) -> Result<Fates, String> {
    let mut fates = Fates::default();
    for seed in 0..u64::from(PER_ROUND * rounds()) {
        let Some(bytes) = make(&mut Rng::with_seed(seed)) else { continue };
        fates.meet(&bytes).map_err(|wrong| format!("{what}, seed {seed}: {wrong}"))?;
    }
    fates.report(what);
    Ok(fates)
}

fn noise(random: &mut Rng) -> Vec<u8> {
    (0..SEED_BYTES).map(|_| random.u8(..)).collect()
}

/// Modules with the imports and exports of a transform and random code in them. In half of them `describe` is an honest one, so
/// that it comes to `transform`.
pub fn modules() -> Result<(), String> {
    let shape = Raw::default().module();
    let fates = of_seed("modules", |random| {
        let config = Config { module_shape: Some(shape.clone()), ..features() };
        let noise = noise(random);
        let module = Module::new(config, &mut arbitrary::Unstructured::new(&noise)).ok()?.to_bytes();
        Some(if random.bool() { module } else { honest_description(&module) })
    })?;
    if fates.failed_at_call + fates.answered == 0 { Err("none was called".into()) } else { Ok(()) }
}

/// What the engine has switched on: anything else would be refused at once.
fn features() -> Config {
    Config {
        custom_descriptors_enabled: false,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        extended_const_enabled: false,
        gc_enabled: false,
        max_memory32_bytes: 8 << 20,
        memory64_enabled: false,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

/// The module with an honest `describe` instead of its own.
fn honest_description(module: &[u8]) -> Vec<u8> {
    let payloads = || Parser::new(0).parse_all(module).map(|payload| payload.expect("is valid"));
    let (mut imported, mut describe, mut segments) = (0, None, 0);
    for payload in payloads() {
        match payload {
            Payload::ImportSection(section) => {
                let imports = section.into_imports().map(|import| import.expect("is valid"));
                imported = imports.filter(|import| matches!(import.ty, TypeRef::Func(_))).count() as u32;
            }
            Payload::ExportSection(section) => {
                let mut exports = section.into_iter().map(|export| export.expect("is valid"));
                describe = exports.find(|export| export.name.ends_with("#describe")).map(|export| export.index);
            }
            Payload::DataSection(section) => segments = section.count(),
            _ => {}
        }
    }
    let mut honest = wasm_encoder::Module::new();
    let (mut code, mut data) = (CodeSection::new(), DataSection::new());
    let mut left = 0;
    for payload in payloads() {
        match &payload {
            Payload::DataCountSection { .. } => {}
            Payload::CodeSectionStart { count, .. } => left = *count,
            Payload::CodeSectionEntry(body) => {
                if Some(imported + code.len()) == describe {
                    code.function(&raw::describes());
                } else {
                    code.raw(body.as_bytes());
                }
                left -= 1;
                if left == 0 {
                    honest.section(&DataCountSection { count: segments + raw::SEGMENTS }).section(&code);
                }
            }
            Payload::DataSection(section) => {
                for segment in section.clone() {
                    data.raw(&module[segment.expect("is valid").range]);
                }
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    honest.section(&RawSection { id, data: &module[range] });
                }
            }
        }
    }
    // Whatever the others write there, these come last.
    raw::describe_data(&mut data);
    honest.section(&data);
    honest.finish()
}

pub fn components() -> Result<(), String> {
    of_seed("components", |random| {
        let noise = noise(random);
        let component = wasm_smith::Component::new(Config::default(), &mut arbitrary::Unstructured::new(&noise));
        Some(component.ok()?.to_bytes())
    })
    .map(drop)
}

/// Real transforms with a few bytes changed: most of what a compiler sees is as it was.
pub fn changed() -> Result<(), String> {
    let whole = [probe(), hostile(), Raw::default().module(), raw::component(&Raw::default().module())];
    let fates = of_seed("changed transforms", |random| {
        let mut bytes = whole[random.usize(..whole.len())].clone();
        for _ in 0..random.u32(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        Some(bytes)
    })?;
    if fates.answered == 0 { Err("none answered".into()) } else { Ok(()) }
}
