//! The boundary of the module: the host's types on one side, the SDK's on the other. Columns move, nothing is copied.
//! The only file that knows the generated bindings.

use std::borrow::Cow;

use bindings::lakemill::transform as wit;

use crate::log::Level;
use crate::{
    Answer, BatchSource, Column, DataType, Description, Emission, Field, Image, OutputColumn, OutputSpec, Reads,
    Transform, Values, VarLength,
};

#[doc(hidden)]
#[allow(missing_docs, unsafe_code, clippy::all, reason = "generated from wit/types.wit, where the words are")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "transform",
        pub_export_macro: true,
        default_bindings_module: "lakemill_guest::component::bindings",
    });
}

pub use bindings::export;
pub use bindings::exports::lakemill::transform::transformer::Guest;
pub use wit::batches::Batch;
pub use wit::types::{Answer as HostAnswer, Description as HostDescription};

/// The configuration, which only a transform with settings asks for.
pub fn config() -> String {
    wit::config::json()
}

/// A line for the host's log.
pub(crate) fn log(level: Level, line: &str) {
    let level = match level {
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    };
    wit::log::log(level, line);
}

/// From now on a panic tells the host why before it stops the module, after whatever a panic did before.
fn panics_say_why() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        wit::panic::say(&crate::panic::words(panic));
    }));
}

/// What `describe` answers.
///
/// # Errors
/// For the person who wrote the configuration.
pub fn describe(transform: &Transform, config: &str) -> Result<HostDescription, String> {
    panics_say_why();
    transform.describe(config).map(description)
}

/// What `transform` answers.
///
/// # Errors
/// What stops the pipeline.
pub fn run(transform: &Transform, batch: &Batch, config: &str) -> Result<HostAnswer, String> {
    panics_say_why();
    transform.run(batch, config).map(answer)
}

impl BatchSource for Batch {
    fn len(&self) -> usize {
        Batch::len(self) as usize
    }

    fn schema(&self, image: Image) -> Vec<Field> {
        Batch::schema(self, to_image(image)).into_iter().map(from_field).collect()
    }

    fn column(&self, image: Image, name: &str) -> Option<Column<'_>> {
        Batch::column(self, to_image(image), name).map(from_column)
    }

    fn presence(&self, image: Image) -> Option<Cow<'_, [u8]>> {
        Batch::presence(self, to_image(image)).map(Cow::Owned)
    }

    fn ops(&self) -> Cow<'_, [u8]> {
        Cow::Owned(Batch::ops(self))
    }

    fn now(&self) -> i64 {
        Batch::now(self)
    }

    fn watermark(&self) -> Option<i64> {
        Batch::watermark(self)
    }
}

fn to_image(image: Image) -> wit::types::Image {
    match image {
        Image::Key => wit::types::Image::Key,
        Image::Before => wit::types::Image::Before,
        Image::After => wit::types::Image::After,
        Image::Row => wit::types::Image::Row,
        Image::Envelope => wit::types::Image::Envelope,
    }
}

fn from_field(field: wit::types::Field) -> Field {
    use wit::types::DataType as Wit;
    let data_type = match field.data_type {
        Wit::Boolean => DataType::Boolean,
        Wit::Int32 => DataType::Int32,
        Wit::Int64 => DataType::Int64,
        Wit::Float32 => DataType::Float32,
        Wit::Float64 => DataType::Float64,
        Wit::Decimal(decimal) => DataType::Decimal { precision: decimal.precision, scale: decimal.scale },
        Wit::Date => DataType::Date,
        Wit::Timestamp => DataType::Timestamp,
        Wit::Text => DataType::Text,
        Wit::Bytes => DataType::Bytes,
        Wit::Json => DataType::Json,
    };
    Field { name: field.name, data_type, nullable: field.nullable }
}

fn to_field(field: Field) -> wit::types::Field {
    use wit::types::DataType as Wit;
    let data_type = match field.data_type {
        DataType::Boolean => Wit::Boolean,
        DataType::Int32 => Wit::Int32,
        DataType::Int64 => Wit::Int64,
        DataType::Float32 => Wit::Float32,
        DataType::Float64 => Wit::Float64,
        DataType::Decimal { precision, scale } => Wit::Decimal(wit::types::DecimalType { precision, scale }),
        DataType::Date => Wit::Date,
        DataType::Timestamp => Wit::Timestamp,
        DataType::Text => Wit::Text,
        DataType::Bytes => Wit::Bytes,
        DataType::Json => Wit::Json,
    };
    wit::types::Field { name: field.name, data_type, nullable: field.nullable }
}

fn from_column(column: wit::types::Column) -> Column<'static> {
    use wit::types::Values as Wit;
    let var = |var: wit::types::VarLength| VarLength { offsets: Cow::Owned(var.offsets), data: Cow::Owned(var.data) };
    let values = match column.values {
        Wit::Boolean(bits) => Values::Boolean(Cow::Owned(bits)),
        Wit::Int32(values) => Values::Int32(Cow::Owned(values)),
        Wit::Int64(values) => Values::Int64(Cow::Owned(values)),
        Wit::Float32(values) => Values::Float32(Cow::Owned(values)),
        Wit::Float64(values) => Values::Float64(Cow::Owned(values)),
        Wit::Decimal(bytes) => Values::Decimal(Cow::Owned(bytes)),
        Wit::Date(values) => Values::Date(Cow::Owned(values)),
        Wit::Timestamp(values) => Values::Timestamp(Cow::Owned(values)),
        Wit::Text(text) => Values::Text(var(text)),
        Wit::Bytes(bytes) => Values::Bytes(var(bytes)),
        Wit::Json(json) => Values::Json(var(json)),
    };
    Column { values, validity: column.validity.map(Cow::Owned), unchanged: column.unchanged.map(Cow::Owned) }
}

fn to_column(column: Column<'static>) -> wit::types::Column {
    use wit::types::Values as Wit;
    let var = |var: VarLength<'static>| wit::types::VarLength {
        offsets: var.offsets.into_owned(),
        data: var.data.into_owned(),
    };
    let values = match column.values {
        Values::Boolean(bits) => Wit::Boolean(bits.into_owned()),
        Values::Int32(values) => Wit::Int32(values.into_owned()),
        Values::Int64(values) => Wit::Int64(values.into_owned()),
        Values::Float32(values) => Wit::Float32(values.into_owned()),
        Values::Float64(values) => Wit::Float64(values.into_owned()),
        Values::Decimal(bytes) => Wit::Decimal(bytes.into_owned()),
        Values::Date(values) => Wit::Date(values.into_owned()),
        Values::Timestamp(values) => Wit::Timestamp(values.into_owned()),
        Values::Text(text) => Wit::Text(var(text)),
        Values::Bytes(bytes) => Wit::Bytes(var(bytes)),
        Values::Json(json) => Wit::Json(var(json)),
    };
    wit::types::Column {
        values,
        validity: column.validity.map(Cow::into_owned),
        unchanged: column.unchanged.map(Cow::into_owned),
    }
}

fn description(description: Description) -> HostDescription {
    HostDescription {
        name: description.name,
        version: description.version,
        outputs: description.outputs.into_iter().map(output).collect(),
        reads: description.reads.into_iter().map(reads).collect(),
        config_schema: description.config_schema,
    }
}

fn output(spec: OutputSpec) -> wit::types::Output {
    wit::types::Output {
        name: spec.name,
        key: spec.key,
        columns: spec.columns.into_iter().map(output_column).collect(),
    }
}

fn output_column(column: OutputColumn) -> wit::types::OutputColumn {
    use wit::types::OutputColumn as Wit;
    match column {
        OutputColumn::Made(field) => Wit::Made(to_field(field)),
        OutputColumn::Copied { image, column, name } => Wit::Copied(wit::types::CopiedColumn {
            from: wit::types::ColumnRef { image: to_image(image), name: column },
            name,
        }),
        OutputColumn::CopiedAll { image, prefix, except } => {
            Wit::CopiedAll(wit::types::CopiedImage { image: to_image(image), prefix, except })
        }
    }
}

fn reads(reads: Reads) -> wit::types::Reads {
    match reads {
        Reads::Column(image, name) => wit::types::Reads::Column(wit::types::ColumnRef { image: to_image(image), name }),
        Reads::Image(image) => wit::types::Reads::Image(to_image(image)),
    }
}

fn answer(answer: Answer) -> HostAnswer {
    HostAnswer {
        emissions: answer.emissions.into_iter().map(emission).collect(),
        rejections: answer
            .rejections
            .into_iter()
            .map(|rejection| wit::types::Rejection { row: rejection.row, reason: rejection.reason })
            .collect(),
    }
}

fn emission(emission: Emission) -> wit::types::Emission {
    wit::types::Emission {
        output: emission.output,
        rows: emission.rows,
        ops: emission.ops.map(|ops| ops.into_iter().map(|op| op as u8).collect()),
        columns: emission.columns.into_iter().map(to_column).collect(),
    }
}
