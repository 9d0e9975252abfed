//! Good and bad descriptions of the component, by mode.

use crate::exports::lakemill::transform::transformer::Description;
use crate::lakemill::transform::config;
use crate::lakemill::transform::types::{
    ColumnRef, CopiedColumn, CopiedImage, DataType, DecimalType, Field, Image, Output, OutputColumn, Reads,
};

fn made(name: &str, data_type: DataType, nullable: bool) -> OutputColumn {
    OutputColumn::Made(Field { name: name.into(), data_type, nullable })
}

fn out() -> Output {
    let row = CopiedImage { image: Image::Row, prefix: String::new(), except: Vec::new() };
    Output {
        name: "out".into(),
        key: vec!["number".into()],
        columns: vec![
            made("number", DataType::Int64, false),
            made("text", DataType::Text, true),
            OutputColumn::CopiedAll(row),
        ],
    }
}

pub fn of(mode: &str) -> Result<Description, String> {
    let mut outputs = vec![out()];
    let mut name = "hostile".to_owned();
    match mode {
        "describe_error" => return Err("the config has no taste".into()),
        "describe_blurt" => return Err(format!("`config.deep` must be a number, not {}", config::json())),
        "describe_trap" => core::arch::wasm32::unreachable(),
        "describe_loop" => loop {
            std::hint::black_box(0);
        },
        "no_outputs" => outputs.clear(),
        "twin_outputs" => outputs.push(out()),
        "output_name" => outputs[0].name = "../../etc".into(),
        "many_outputs" => outputs = (0..65).map(|n| Output { name: format!("out{n}"), ..out() }).collect(),
        "twin_columns" => outputs[0].columns.push(made("number", DataType::Int64, false)),
        "key_of_nothing" => outputs[0].key = vec!["nothing".into()],
        "decimal" => {
            let impossible = DecimalType { precision: 99, scale: 100 };
            outputs[0].columns.push(made("money", DataType::Decimal(impossible), true));
        }
        "copy_of_nothing" => {
            let from = ColumnRef { image: Image::Envelope, name: "nothing".into() };
            outputs[0].columns.push(OutputColumn::Copied(CopiedColumn { from, name: "nothing".into() }));
        }
        "long_name" => name = "n".repeat(100_000),
        _ => {}
    }
    Ok(Description {
        name,
        version: "0.1.0".into(),
        outputs,
        reads: vec![Reads::Column(ColumnRef { image: Image::Row, name: "id".into() })],
        config_schema: None,
    })
}
