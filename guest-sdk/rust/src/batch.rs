//! The input of one call. Columns are fetched when they are asked for, each once; nothing is computed here.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::cell::{CellType, Cells, Misfit};
use crate::{Column, DataType, Decimal, Error, Field, Image, Op, Timestamp};

/// Where a batch comes from: the host (in the module), a test, or native code that lends its own buffers.
///
/// The rules of the contract hold (wit/types.wit, `batch`): every column has a cell for every row, offsets are in order.
#[expect(clippy::len_without_is_empty, reason = "a batch has rows")]
pub trait BatchSource {
    /// The number of rows, at least 1.
    fn len(&self) -> usize;

    /// The columns that an image has. `Before`, `After` and `Row` have the same ones.
    fn schema(&self, image: Image) -> Vec<Field>;

    /// The column's cells; none if the image has no such column.
    fn column(&self, image: Image, name: &str) -> Option<Column<'_>>;

    /// Which rows have the image: one bit per row, least significant first, 1 = present. `None`: all of them.
    fn presence(&self, image: Image) -> Option<Cow<'_, [u8]>>;

    /// The op of every row, by [`Op::code`].
    fn ops(&self) -> Cow<'_, [u8]>;

    /// The batch's clock, in microseconds since 1970-01-01T00:00:00Z.
    fn now(&self) -> i64;

    /// The watermark before this batch, in microseconds since 1970-01-01T00:00:00Z.
    fn watermark(&self) -> Option<i64>;
}

/// A micro-batch of changes of one topic, all of one row schema, in the order of each Kafka partition.
///
/// The columnar view: ask for the columns that you read, go through the rows, make new columns with
/// [`ColumnBuilder`](crate::ColumnBuilder), and put both into an [`Answer`](crate::Answer).
pub struct Batch<'h> {
    source: &'h dyn BatchSource,
    len: usize,
    now: OnceCell<i64>,
    ops: OnceCell<Result<Vec<Op>, Error>>,
    fetched: Shelf<'h>,
    presence: [OnceCell<Option<Cow<'h, [u8]>>>; 5],
    envelope: EnvelopeColumns<'h>,
    topic: OnceCell<String>,
}

/// The envelope's columns, for reading row by row: each has its place, so that no name is looked up.
#[derive(Default)]
struct EnvelopeColumns<'h>([OnceCell<Option<Column<'h>>>; 6]);

impl<'h> Batch<'h> {
    /// A batch over a source. The module's entry and the test kit call it; a transform is given its batch.
    pub fn new(source: &'h dyn BatchSource) -> Self {
        Self {
            source,
            len: source.len(),
            now: OnceCell::new(),
            ops: OnceCell::new(),
            fetched: Shelf::default(),
            presence: Default::default(),
            envelope: EnvelopeColumns::default(),
            topic: OnceCell::new(),
        }
    }

    /// The number of rows, at least 1.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a batch has rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The row numbers.
    pub fn rows(&self) -> std::ops::Range<usize> {
        0..self.len
    }

    /// The columns that an image has in this batch, read or not.
    pub fn schema(&self, image: Image) -> Vec<Field> {
        self.source.schema(image)
    }

    /// A column, read as `T`: `batch.column::<f64>(Image::Row, "total")?`.
    ///
    /// # Errors
    /// [`Error::NoColumn`] if the image has none of that name (see [`column_if_any`](Self::column_if_any));
    /// [`Error::WrongType`] if it holds what `T` cannot read (see [`CellType`]).
    pub fn column<'b, T: CellType<'b>>(&'b self, image: Image, name: &str) -> Result<Cells<'b, T>, Error> {
        self.column_if_any(image, name)?.ok_or_else(|| Error::NoColumn { image, column: name.to_owned() })
    }

    /// A column, read as `T`; none if the image has none of that name, which happens when the source has dropped it, or
    /// not added it yet.
    ///
    /// # Errors
    /// [`Error::WrongType`] if it holds what `T` cannot read (see [`CellType`]).
    pub fn column_if_any<'b, T: CellType<'b>>(
        &'b self,
        image: Image,
        name: &str,
    ) -> Result<Option<Cells<'b, T>>, Error> {
        let fetch = || {
            let column = self.source.column(image, name)?;
            let scale = if column.values.type_name() == Decimal::NAME { self.scale(image, name) } else { 0 };
            Some((column, scale))
        };
        let Some(raw) = self.fetched.find_or_put(image, name, "", fetch) else { return Ok(None) };
        let misfit = match Cells::open(&raw.column, raw.scale) {
            Ok(cells) => return Ok(Some(cells)),
            Err(misfit) => misfit,
        };
        let wrong_type = || Error::WrongType {
            image,
            column: name.to_owned(),
            wanted: T::NAME,
            found: raw.column.values.type_name(),
        };
        if let Misfit::Utf8 = misfit {
            return Err(Error::BadBatch(format!("column `{name}` of `{image}` is not UTF-8")));
        }
        let widen = || {
            let values = T::widen(&raw.column.values, raw.scale)?;
            Some((Column { values, validity: raw.column.validity.clone(), unchanged: raw.column.unchanged.clone() }, 0))
        };
        let wide = self.fetched.find_or_put(image, name, T::NAME, widen).ok_or_else(wrong_type)?;
        Cells::open(&wide.column, wide.scale).map(Some).map_err(|_| wrong_type())
    }

    fn scale(&self, image: Image, name: &str) -> u8 {
        let field = self.source.schema(image).into_iter().find(|field| field.name == name);
        match field.map(|field| field.data_type) {
            Some(DataType::Decimal { scale, .. }) => scale,
            _ => 0,
        }
    }

    /// The op of every row.
    ///
    /// # Errors
    /// [`Error::BadBatch`] if the host gave a code that is none.
    pub fn ops(&self) -> Result<&[Op], Error> {
        let ops = self.ops.get_or_init(|| {
            let known = |code: &u8| Op::from_code(*code).ok_or_else(|| Error::BadBatch(format!("{code} is no op")));
            self.source.ops().iter().map(known).collect()
        });
        ops.as_deref().map_err(Clone::clone)
    }

    /// True if the row has the image.
    pub fn has(&self, image: Image, row: usize) -> bool {
        let bits = self.presence[image as usize].get_or_init(|| self.source.presence(image));
        bits.as_deref().is_none_or(|bits| crate::column::bit(bits, row))
    }

    /// The batch's clock: one frozen moment, the same for all rows and the same again if the batch is replayed.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(*self.now.get_or_init(|| self.source.now()))
    }

    /// The watermark before this batch: changes older than it are late. None until every partition has shown an event
    /// time.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.source.watermark().map(Timestamp::from_micros)
    }

    /// The topic that all its changes come from.
    pub fn topic(&self) -> &str {
        self.topic.get_or_init(|| match self.column::<&str>(Image::Envelope, "topic") {
            Ok(topics) => topics.value(0).unwrap_or_default().to_owned(),
            Err(_) => String::new(),
        })
    }

    /// A cell of the envelope.
    pub(crate) fn envelope_cell<'b, T: CellType<'b>>(&'b self, column: EnvelopeColumn, row: usize) -> Option<T> {
        let slot = &self.envelope.0[column as usize];
        let fetched = slot.get_or_init(|| self.source.column(Image::Envelope, column.name())).as_ref()?;
        Cells::open(fetched, 0).ok()?.value(row)
    }
}

/// The columns of the envelope, but for `op` and `topic`, which have their own ways.
#[derive(Clone, Copy)]
pub(crate) enum EnvelopeColumn {
    EventTime,
    Partition,
    Offset,
    KafkaTime,
    Position,
    Snapshot,
}

impl EnvelopeColumn {
    fn name(self) -> &'static str {
        match self {
            EnvelopeColumn::EventTime => "event_time",
            EnvelopeColumn::Partition => "partition",
            EnvelopeColumn::Offset => "offset",
            EnvelopeColumn::KafkaTime => "kafka_time",
            EnvelopeColumn::Position => "position",
            EnvelopeColumn::Snapshot => "snapshot",
        }
    }
}

/// Columns that have been fetched, in a list that only grows: what is lent from it stays where it is.
#[derive(Default)]
struct Shelf<'h>(OnceCell<Box<Fetched<'h>>>);

struct Fetched<'h> {
    image: Image,
    name: String,
    /// The type that it was widened to; empty for what the source gave.
    widened_to: &'static str,
    column: Column<'h>,
    scale: u8,
    next: Shelf<'h>,
}

impl<'h> Shelf<'h> {
    fn find_or_put(
        &self,
        image: Image,
        name: &str,
        widened_to: &'static str,
        make: impl FnOnce() -> Option<(Column<'h>, u8)>,
    ) -> Option<&Fetched<'h>> {
        let mut shelf = self;
        while let Some(found) = shelf.0.get() {
            if found.image == image && found.widened_to == widened_to && found.name == name {
                return Some(found);
            }
            shelf = &found.next;
        }
        let (column, scale) = make()?;
        let name = name.to_owned();
        let fetched = Fetched { image, name, widened_to, column, scale, next: Shelf::default() };
        Some(shelf.0.get_or_init(|| Box::new(fetched)))
    }
}
