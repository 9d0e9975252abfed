//! A component that misbehaves: `config.mode` says how, `config.at` from which Kafka offset on (before that it behaves).
//! It never uses the SDK, which would not let it do most of this. Well-behaved it writes one table, `out`, with the
//! columns `number` (the row's offset), `text` and the row's own columns.

#![cfg(target_arch = "wasm32")]

mod answers;
mod descriptions;

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

use exports::lakemill::transform::transformer::{Answer, Description, Guest};
use lakemill::transform::batches::Batch;
use lakemill::transform::config;
use lakemill::transform::types::{Image, Values};

struct Hostile;

/// A setting of the configuration.
fn setting(name: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(&config::json()).map(|mut all| all[name].take()).unwrap_or_default()
}

fn mode() -> String {
    setting("mode").as_str().unwrap_or("behave").to_owned()
}

fn offsets(batch: &Batch) -> Vec<i64> {
    match batch.column(Image::Envelope, "offset").map(|column| column.values) {
        Some(Values::Int64(offsets)) => offsets,
        _ => Vec::new(),
    }
}

impl Guest for Hostile {
    fn describe() -> Result<Description, String> {
        descriptions::of(&mode())
    }

    fn transform(batch: &Batch) -> Result<Answer, String> {
        let offsets = offsets(batch);
        let from = setting("at").as_i64().unwrap_or(0);
        let bad = offsets.iter().any(|offset| *offset >= from);
        let mode = if bad { mode() } else { "behave".to_owned() };
        answers::of(&mode, batch, &offsets)
    }
}

export!(Hostile);
