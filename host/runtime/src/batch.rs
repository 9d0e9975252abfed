//! The resource `batch` and the interface `batches`: what a guest may ask of its input, and how it is answered. Never
//! decides what a row means; never hands out what the description did not ask for.

use std::cell::OnceCell;
use std::sync::Arc;

use lakemill_model::{BatchClock, Cells, ChangeBatch, EnvelopeColumn, Field, Image, ImageData, RowSource};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut};

use crate::bindings::{self, types};
use crate::call::Call;
use crate::column::{self, Column, bitmap};
use crate::list::List;
use crate::reads::ReadSet;

/// One call's input. The batch is shared, never copied.
pub struct BatchView {
    batch: Arc<ChangeBatch>,
    clock: BatchClock,
    reads: Arc<ReadSet>,
    row: OnceCell<RowSource>,
}

/// The guest asked for what it must not have. It traps with these words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misuse {
    #[error("it asked for column `{name}` of image `{image}`, which its description does not name in `reads`: add it")]
    Undeclared { image: &'static str, name: String },
    #[error("the host has not decoded column `{name}` of image `{image}`, although `reads` names it")]
    NotDecoded { image: &'static str, name: String },
}

impl BatchView {
    pub(crate) fn new(batch: Arc<ChangeBatch>, clock: BatchClock, reads: Arc<ReadSet>) -> Self {
        Self { batch, clock, reads, row: OnceCell::new() }
    }

    fn schema(&self, image: Image) -> Vec<types::Field> {
        let field = |field: &Field| types::Field {
            name: field.name.to_string(),
            data_type: field.data_type.into(),
            nullable: field.nullable,
        };
        match image {
            Image::Key => self.batch.schema.key.iter().map(field).collect(),
            Image::Before | Image::After | Image::Row => self.batch.schema.row.iter().map(field).collect(),
            Image::Envelope => {
                let there = EnvelopeColumn::ALL.iter().filter(|column| self.has_envelope(**column));
                there.map(|column| field(&column.field())).collect()
            }
        }
    }

    fn column(&self, image: Image, name: &str) -> Result<Option<Column>> {
        let batch = &*self.batch;
        let schema = match image {
            Image::Envelope => return self.envelope(name),
            Image::Key => &batch.schema.key,
            Image::Before | Image::After | Image::Row => &batch.schema.row,
        };
        let Some(index) = schema.iter().position(|field| &*field.name == name) else { return Ok(None) };
        if !self.reads.allows(image, name) {
            return Err(Misuse::Undeclared { image: image.name(), name: name.to_owned() }.into());
        }
        let of = |image: &ImageData| image.columns[index].clone();
        let cells = match image {
            Image::Key => of(&batch.key),
            Image::Before => of(&batch.before),
            Image::After => of(&batch.after),
            Image::Row | Image::Envelope => self.row.get_or_init(|| RowSource::of(batch)).cells(batch, index)?,
        };
        let Some(cells) = cells else {
            return Err(Misuse::NotDecoded { image: image.name(), name: name.to_owned() }.into());
        };
        Ok(Some(column::column(&cells, schema[index].data_type)))
    }

    /// Columns that are there as they are wanted are shared; the others are made for the call.
    fn envelope(&self, name: &str) -> Result<Option<Column>> {
        let Some(wanted) = EnvelopeColumn::named(name) else { return Ok(None) };
        if !self.has_envelope(wanted) {
            return Err(Misuse::Undeclared { image: Image::Envelope.name(), name: name.to_owned() }.into());
        }
        let envelope = &self.batch.envelope;
        let array = match wanted {
            EnvelopeColumn::Position => Arc::new(envelope.positions.clone()),
            _ => {
                let rows: Vec<u32> = (0..self.len()).collect();
                wanted.gather(envelope, &rows, None)
            }
        };
        Ok(Some(column::column(&Cells { array, unchanged: None }, wanted.field().data_type)))
    }

    /// Columns that have come since the contract was published are there for who names them: the others see what they always saw.
    fn has_envelope(&self, column: EnvelopeColumn) -> bool {
        !column.is_origin() || self.reads.names(Image::Envelope, column.name())
    }

    fn presence(&self, image: Image) -> Option<List<u8>> {
        let present = match image {
            Image::Key => self.batch.key.present.clone(),
            Image::Before => self.batch.before.present.clone(),
            Image::After => self.batch.after.present.clone(),
            Image::Row => RowSource::presence(&self.batch),
            Image::Envelope => None,
        };
        present.filter(|bits| bits.count_set_bits() < bits.len()).as_ref().map(bitmap)
    }

    fn len(&self) -> u32 {
        // Batches are closed long before: see `batch.rows_max` of the pipeline.
        u32::try_from(self.batch.len()).unwrap_or(u32::MAX)
    }

    fn ops(&self) -> List<u8> {
        self.batch.envelope.ops.iter().map(|op| op.code()).collect::<Vec<u8>>().into()
    }
}

/// Links `batches`: every component may import it.
pub(crate) fn add_to_linker(linker: &mut Linker<Call>) -> Result<()> {
    let mut batches = linker.instance(bindings::BATCHES)?;
    // A guest only borrows batches, so that there is nothing to destroy.
    batches.resource("batch", ResourceType::host::<BatchView>(), |_, _| Ok(()))?;
    batches.func_wrap("[method]batch.len", |store: Store<'_>, (view,): (This,)| Ok((get(&store, &view)?.len(),)))?;
    batches.func_wrap("[method]batch.schema", |store: Store<'_>, (view, image): (This, types::Image)| {
        Ok((get(&store, &view)?.schema(image.into()),))
    })?;
    batches.func_wrap(
        "[method]batch.column",
        |store: Store<'_>, (view, image, name): (This, types::Image, String)| {
            Ok((get(&store, &view)?.column(image.into(), &name)?,))
        },
    )?;
    batches.func_wrap("[method]batch.presence", |store: Store<'_>, (view, image): (This, types::Image)| {
        Ok((get(&store, &view)?.presence(image.into()),))
    })?;
    batches.func_wrap("[method]batch.ops", |store: Store<'_>, (view,): (This,)| Ok((get(&store, &view)?.ops(),)))?;
    batches
        .func_wrap("[method]batch.now", |store: Store<'_>, (view,): (This,)| Ok((get(&store, &view)?.clock.now_us,)))?;
    batches.func_wrap("[method]batch.watermark", |store: Store<'_>, (view,): (This,)| {
        Ok((get(&store, &view)?.clock.watermark_us,))
    })
}

type Store<'a> = StoreContextMut<'a, Call>;
type This = Resource<BatchView>;

fn get<'a>(store: &'a Store<'_>, view: &This) -> Result<&'a BatchView> {
    Ok(store.data().table.get(view)?)
}
