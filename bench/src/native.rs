//! The native twin: the crate `clean` compiled into this process, in the place of its component. It lends the host's columns
//! as they are, so the difference to a run with the component is what the sandbox costs.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use lakemill_guest::{BatchSource, Column, Values, VarLength};
use lakemill_model::answer::BatchClock;
use lakemill_model::{
    Answer, Cells, ChangeBatch, DataType, Description, Emission, EnvelopeColumn, Field, Image, ImageData, Op,
    OutputColumn, OutputSpec, Reads, Rejection, RowSource, Transform, TransformError,
};
use lakemill_pipeline::spec::SpecFile;
use lakemill_pipeline::{Control, Options, Pipeline};

/// A pipeline file that names `clean`.
#[derive(clap::Args)]
pub struct Args {
    file: PathBuf,
}

/// Runs it until it is caught up; prints the summary.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let file = SpecFile::read(&args.file)?;
    let options = Options { until_caught_up: true, ..Options::default() };
    let pipeline = Pipeline::with_transforms(file, options, vec![Arc::new(Native::new()?)])?;
    let summary = pipeline.run(&pipeline.progress(), &Control::new())?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}

/// Configuration: none.
const CONFIG: &str = "{}";

struct Native {
    description: Description,
}

impl Native {
    fn new() -> anyhow::Result<Self> {
        let of = clean::TRANSFORM.describe(CONFIG).map_err(anyhow::Error::msg)?;
        Ok(Self { description: description(&of) })
    }
}

impl Transform for Native {
    fn description(&self) -> &Description {
        &self.description
    }

    fn digest(&self) -> &str {
        "native"
    }

    fn transform(&self, batch: &Arc<ChangeBatch>, clock: BatchClock) -> Result<Answer, TransformError> {
        let answer = clean::TRANSFORM.run(&Lent { batch, clock }, CONFIG).map_err(TransformError::Guest)?;
        let emissions = answer.emissions.into_iter().map(|emission| Emission {
            output: emission.output as usize,
            rows: emission.rows,
            ops: emission.ops.map(|ops| ops.into_iter().map(op).collect()),
            columns: emission.columns.into_iter().map(cells).collect(),
        });
        let rejections = answer.rejections.into_iter().map(|r| Rejection { row: r.row, reason: r.reason });
        Ok(Answer { emissions: emissions.collect(), rejections: rejections.collect() })
    }
}

fn op(op: lakemill_guest::Op) -> Op {
    Op::from_code(op as u8).unwrap_or(Op::Update)
}

/// The made columns of `clean` are text and float64.
fn cells(column: Column<'static>) -> Cells {
    let nulls = |rows: usize| {
        column.validity.as_deref().map(|bits| (0..rows).map(|row| bits[row / 8] >> (row % 8) & 1 == 1).collect())
    };
    let array: ArrayRef = match column.values {
        Values::Float64(values) => {
            let nulls = nulls(values.len());
            Arc::new(Float64Array::new(values.into_owned().into(), nulls))
        }
        Values::Int64(values) => {
            let nulls = nulls(values.len());
            Arc::new(Int64Array::new(values.into_owned().into(), nulls))
        }
        Values::Text(text) => {
            let nulls = nulls(text.offsets.len() - 1);
            let offsets: Vec<i32> = text.offsets.iter().map(|&at| at as i32).collect();
            let data = text.data.into_owned();
            let offsets = arrow_buffer::OffsetBuffer::new(offsets.into());
            Arc::new(StringArray::new(offsets, data.into(), nulls))
        }
        other => unreachable!("`clean` makes no column of {other:?}"),
    };
    Cells { array, unchanged: None }
}

/// The host's batch, lent.
struct Lent<'a> {
    batch: &'a ChangeBatch,
    clock: BatchClock,
}

impl Lent<'_> {
    fn image(&self, image: lakemill_guest::Image) -> Option<(&ImageData, &[Field])> {
        use lakemill_guest::Image as Of;
        match image {
            Of::Key => Some((&self.batch.key, &self.batch.schema.key)),
            Of::Before => Some((&self.batch.before, &self.batch.schema.row)),
            Of::After => Some((&self.batch.after, &self.batch.schema.row)),
            Of::Row | Of::Envelope => None,
        }
    }
}

impl BatchSource for Lent<'_> {
    fn len(&self) -> usize {
        self.batch.len()
    }

    fn schema(&self, image: lakemill_guest::Image) -> Vec<lakemill_guest::Field> {
        let of = |field: &Field| lakemill_guest::Field {
            name: field.name.to_string(),
            data_type: guest_type(field.data_type),
            nullable: field.nullable,
        };
        match image {
            lakemill_guest::Image::Envelope => EnvelopeColumn::ALL.iter().map(|column| of(&column.field())).collect(),
            lakemill_guest::Image::Key => self.batch.schema.key.iter().map(of).collect(),
            _ => self.batch.schema.row.iter().map(of).collect(),
        }
    }

    fn column(&self, image: lakemill_guest::Image, name: &str) -> Option<Column<'_>> {
        use lakemill_guest::Image as Of;
        if let Some((data, fields)) = self.image(image) {
            let place = fields.iter().position(|field| &*field.name == name)?;
            let cells = data.columns[place].as_ref()?;
            return Some(lend(&cells.array, fields[place].data_type));
        }
        if image == Of::Envelope {
            let column = EnvelopeColumn::named(name)?;
            let rows: Vec<u32> = (0..self.batch.len() as u32).collect();
            let array = column.gather(&self.batch.envelope, &rows, None);
            return Some(own(lend(&array, column.field().data_type)));
        }
        let place = self.batch.schema.row_index(name)?;
        let cells = RowSource::of(self.batch).cells(self.batch, place).ok()??;
        Some(own(lend(&cells.array, self.batch.schema.row[place].data_type)))
    }

    fn presence(&self, image: lakemill_guest::Image) -> Option<Cow<'_, [u8]>> {
        let bits = self.image(image)?.0.present.as_ref()?;
        Some(Cow::Owned(bits.sliced().as_slice().to_vec()))
    }

    fn ops(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.batch.envelope.ops.iter().map(|op| op.code()).collect())
    }

    fn now(&self) -> i64 {
        self.clock.now_us
    }

    fn watermark(&self) -> Option<i64> {
        self.clock.watermark_us
    }
}

/// A column as the guest sees it, borrowed from the array. Text offsets become unsigned, which copies them.
fn lend(array: &ArrayRef, data_type: DataType) -> Column<'_> {
    let values = match data_type {
        DataType::Int32 => Values::Int32(Cow::Borrowed(array.as_primitive::<Int32Type>().values())),
        DataType::Int64 => Values::Int64(Cow::Borrowed(array.as_primitive::<Int64Type>().values())),
        DataType::Float64 => Values::Float64(Cow::Borrowed(array.as_primitive::<Float64Type>().values())),
        DataType::Timestamp => {
            Values::Timestamp(Cow::Borrowed(array.as_primitive::<TimestampMicrosecondType>().values()))
        }
        DataType::Text | DataType::Json => {
            let text = array.as_string::<i32>();
            let offsets = text.offsets().iter().map(|&at| at as u32).collect();
            Values::Text(VarLength { offsets: Cow::Owned(offsets), data: Cow::Borrowed(text.values().as_slice()) })
        }
        other => unreachable!("the benchmark's guests read no column of {other}"),
    };
    let validity = array.nulls().map(|nulls| Cow::Owned(nulls.inner().sliced().as_slice().to_vec()));
    Column { values, validity, unchanged: None }
}

fn own(column: Column<'_>) -> Column<'static> {
    let values = match column.values {
        Values::Int32(v) => Values::Int32(Cow::Owned(v.into_owned())),
        Values::Int64(v) => Values::Int64(Cow::Owned(v.into_owned())),
        Values::Float64(v) => Values::Float64(Cow::Owned(v.into_owned())),
        Values::Timestamp(v) => Values::Timestamp(Cow::Owned(v.into_owned())),
        Values::Text(text) => Values::Text(VarLength {
            offsets: Cow::Owned(text.offsets.into_owned()),
            data: Cow::Owned(text.data.into_owned()),
        }),
        other => unreachable!("`lend` makes no {other:?}"),
    };
    Column { values, validity: column.validity.map(|bits| Cow::Owned(bits.into_owned())), unchanged: None }
}

fn guest_type(of: DataType) -> lakemill_guest::DataType {
    use lakemill_guest::DataType as To;
    match of {
        DataType::Boolean => To::Boolean,
        DataType::Int32 => To::Int32,
        DataType::Int64 => To::Int64,
        DataType::Float32 => To::Float32,
        DataType::Float64 => To::Float64,
        DataType::Decimal { precision, scale } => To::Decimal { precision, scale },
        DataType::Date => To::Date,
        DataType::Timestamp => To::Timestamp,
        DataType::Text => To::Text,
        DataType::Bytes => To::Bytes,
        DataType::Json => To::Json,
    }
}

fn host_type(of: lakemill_guest::DataType) -> DataType {
    use lakemill_guest::DataType as From;
    match of {
        From::Boolean => DataType::Boolean,
        From::Int32 => DataType::Int32,
        From::Int64 => DataType::Int64,
        From::Float32 => DataType::Float32,
        From::Float64 => DataType::Float64,
        From::Decimal { precision, scale } => DataType::Decimal { precision, scale },
        From::Date => DataType::Date,
        From::Timestamp => DataType::Timestamp,
        From::Text => DataType::Text,
        From::Bytes => DataType::Bytes,
        From::Json => DataType::Json,
    }
}

fn host_image(of: lakemill_guest::Image) -> Image {
    use lakemill_guest::Image as From;
    match of {
        From::Key => Image::Key,
        From::Before => Image::Before,
        From::After => Image::After,
        From::Row => Image::Row,
        From::Envelope => Image::Envelope,
    }
}

fn description(of: &lakemill_guest::Description) -> Description {
    let column = |column: &lakemill_guest::OutputColumn| match column {
        lakemill_guest::OutputColumn::Made(field) => {
            OutputColumn::Made(Field::new(field.name.as_str(), host_type(field.data_type), field.nullable))
        }
        lakemill_guest::OutputColumn::Copied { image, column, name } => OutputColumn::Copied {
            image: host_image(*image),
            column: column.as_str().into(),
            name: name.as_str().into(),
        },
        lakemill_guest::OutputColumn::CopiedAll { image, prefix, except } => OutputColumn::CopiedAll {
            image: host_image(*image),
            prefix: prefix.clone(),
            except: except.iter().map(|name| name.as_str().into()).collect(),
        },
    };
    let outputs = of.outputs.iter().map(|output| OutputSpec {
        name: output.name.as_str().into(),
        key: output.key.iter().map(|name| name.as_str().into()).collect(),
        columns: output.columns.iter().map(column).collect(),
    });
    let reads = of.reads.iter().map(|reads| match reads {
        lakemill_guest::Reads::Column(image, name) => Reads::Column(host_image(*image), name.as_str().into()),
        lakemill_guest::Reads::Image(image) => Reads::Image(host_image(*image)),
    });
    Description {
        name: of.name.clone(),
        version: of.version.clone(),
        outputs: outputs.collect(),
        reads: reads.collect(),
        config_schema: of.config_schema.clone(),
    }
}
