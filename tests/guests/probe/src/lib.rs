//! A component that does one small thing: `config.do` names it. Never uses the SDK: what the runtime does is to be
//! seen as it is.

#![cfg(target_arch = "wasm32")]

mod acts;
mod raw;

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

use exports::lakemill::transform::transformer::{Answer, Description, Guest};
use lakemill::transform::batches::Batch;
use lakemill::transform::config;
use lakemill::transform::types::{
    ColumnRef, CopiedImage, DataType, DecimalType, Field, Image, Output, OutputColumn, Reads,
};
use serde_json::Value;

struct Probe;

impl Guest for Probe {
    fn describe() -> Result<Description, String> {
        let config = configuration();
        let fields = fields(&config);
        let image = image(&config);
        let named = config["reads"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let made = fields.iter().map(|field| field.name.clone()).filter(|_| config["reads"].is_null());
        let reads = made.chain(named).map(|name| Reads::Column(ColumnRef { image, name })).collect();
        let mut columns: Vec<OutputColumn> = fields.into_iter().map(OutputColumn::Made).collect();
        columns.push(OutputColumn::CopiedAll(CopiedImage {
            image: Image::Envelope,
            prefix: "envelope_".into(),
            except: Vec::new(),
        }));
        Ok(Description {
            name: "probe".into(),
            version: "1".into(),
            outputs: vec![Output { name: "out".into(), key: Vec::new(), columns }],
            reads,
            config_schema: None,
        })
    }

    fn transform(batch: &Batch) -> Result<Answer, String> {
        let config = configuration();
        acts::act(config["do"].as_str().unwrap_or("nothing"), batch, &config)
    }
}

fn configuration() -> Value {
    serde_json::from_str(&config::json()).unwrap_or_default()
}

/// What it makes: `config.columns`, `{"name": type}`, or `{"name": [type, "not null"]}`. It reads the same ones of
/// `config.image`, unless `config.reads` lists others.
fn fields(config: &Value) -> Vec<Field> {
    let Some(columns) = config["columns"].as_object() else { return Vec::new() };
    let field = |(name, wanted): (&String, &Value)| {
        let text = wanted.as_str().or_else(|| wanted[0].as_str()).unwrap_or_default();
        Field { name: name.clone(), data_type: data_type(text), nullable: wanted.is_string() }
    };
    columns.iter().map(field).collect()
}

fn data_type(text: &str) -> DataType {
    match text {
        "boolean" => DataType::Boolean,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "float32" => DataType::Float32,
        "float64" => DataType::Float64,
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp,
        "text" => DataType::Text,
        "bytes" => DataType::Bytes,
        "json" => DataType::Json,
        _ => DataType::Decimal(DecimalType { precision: 12, scale: 2 }),
    }
}

fn image(config: &Value) -> Image {
    match config["image"].as_str() {
        Some("key") => Image::Key,
        Some("before") => Image::Before,
        Some("after") => Image::After,
        Some("envelope") => Image::Envelope,
        _ => Image::Row,
    }
}

export!(Probe);
