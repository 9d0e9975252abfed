//! One image under construction: the columns of a key or a row, and which rows have it.

use std::sync::Arc;

use lakemill_model::{DataType, ImageData};

use crate::column::{Builder, bits};
use crate::convert::{Values, append};
use crate::layout::{Columns, Slot};
use crate::reason::Reason;
use crate::scan::{Broken, Cursor, Kind};

/// More bytes than a timestamp has as text.
const TIMESTAMP_TEXT_MAX: usize = 64;

/// When a column is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Never,
    /// Only where the image is the row.
    IfRow,
    Always,
}

/// Why a row stops.
pub(crate) enum Fault {
    Dead(Reason),
    /// An inferred layout lacks a column that is there.
    Grow,
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Fault::Dead(broken.into())
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Fault::Dead(reason)
    }
}

#[derive(Debug)]
pub(crate) struct Image {
    name: &'static str,
    needs: Vec<Need>,
    columns: Vec<Option<Builder>>,
    absent: Vec<u32>,
}

/// What one pass over an object takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The columns that are always needed.
    Always,
    /// Those that are needed because this image is the row.
    Row,
    /// Both.
    Both,
}

impl Pass {
    fn takes(self, need: Need) -> bool {
        match need {
            Need::Never => false,
            Need::IfRow => self != Pass::Always,
            Need::Always => self != Pass::Row,
        }
    }
}

/// How an object is read.
pub(crate) struct Reading<'a> {
    pub slots: &'a [Slot],
    pub values: &'a Values,
    pub grows: bool,
    pub checked: bool,
    pub pass: Pass,
}

impl Image {
    pub fn new(name: &'static str, slots: &[Slot], always: &Columns, if_row: Option<&Columns>, rows: usize) -> Self {
        let need = |slot: &Slot| {
            if always.contains(&slot.field.name) {
                Need::Always
            } else if if_row.is_some_and(|columns| columns.contains(&slot.field.name)) {
                Need::IfRow
            } else {
                Need::Never
            }
        };
        let needs: Vec<Need> = slots.iter().map(need).collect();
        let columns = slots
            .iter()
            .zip(&needs)
            .map(|(slot, need)| (*need != Need::Never).then(|| Builder::new(slot.field.data_type, rows)));
        Self { name, columns: columns.collect(), needs, absent: Vec::new() }
    }

    /// True if a first pass has nothing to take.
    pub fn waits_for_row(&self) -> bool {
        !self.needs.contains(&Need::Always)
    }

    /// True if a second pass would take more than the first.
    pub fn has_more_for_row(&self) -> bool {
        self.needs.contains(&Need::IfRow)
    }

    /// Reads an object into row `row`.
    #[inline]
    pub fn read(&mut self, cursor: &mut Cursor<'_>, row: usize, how: &Reading<'_>) -> Result<(), Fault> {
        let mut members = cursor.object()?;
        let mut expected = 0;
        while cursor.next_key(&mut members)? {
            let place = match how.slots.get(expected) {
                Some(slot) if cursor.take_exactly(slot.quoted.as_bytes()) => Some(expected),
                _ => {
                    let key = cursor.string()?;
                    how.slots.iter().position(|slot| *slot.field.name == *key)
                }
            };
            cursor.colon()?;
            match place {
                Some(place) => {
                    expected = place + 1;
                    self.cell(cursor, place, row, how)?;
                }
                None if how.grows && cursor.kind()? != Kind::Null => return Err(Fault::Grow),
                None => drop(cursor.skip()?),
            }
        }
        Ok(())
    }

    #[inline]
    fn cell(&mut self, cursor: &mut Cursor<'_>, place: usize, row: usize, how: &Reading<'_>) -> Result<(), Fault> {
        if !how.pass.takes(self.needs[place]) {
            cursor.skip()?;
            return Ok(());
        }
        let Some(builder) = &mut self.columns[place] else {
            cursor.skip()?;
            return Ok(());
        };
        // A name that comes twice: the last value counts, as for Kafka Connect.
        builder.truncate(row);
        let Slot { field, conversion, .. } = &how.slots[place];
        let refused = |refusal| Reason::cell(self.name, &field.name, refusal);
        // A number may become a timestamp's text.
        crate::convert::check_room(builder, cursor.text().len() + TIMESTAMP_TEXT_MAX).map_err(refused)?;
        let at = cursor.at();
        if let Err(refusal) = append(cursor, field.data_type, conversion, how.values, builder) {
            // A whole number's column that meets a fraction takes it.
            let is_number = || matches!(cursor.text().as_bytes()[at..].trim_ascii_start(), [b'-' | b'0'..=b'9', ..]);
            let is_wider = how.grows && field.data_type == DataType::Int64 && is_number();
            return Err(if is_wider { Fault::Grow } else { refused(refusal).into() });
        }
        if how.checked && !field.nullable && builder.ends_with_null() {
            return Err(self.lacks(&field.name, "null").into());
        }
        Ok(())
    }

    /// Reads a value that is no object as the one column.
    pub fn read_single(&mut self, cursor: &mut Cursor<'_>, row: usize, how: &Reading<'_>) -> Result<(), Fault> {
        if how.slots.is_empty() {
            return if how.grows { Err(Fault::Grow) } else { cursor.skip().map(|_| ()).map_err(Fault::from) };
        }
        self.cell(cursor, 0, row, how)
    }

    /// How many values of each column were out of range.
    pub fn out_of_range<'a>(&'a self, slots: &'a [Slot]) -> impl Iterator<Item = (&'a Arc<str>, u64)> {
        let counts = self.columns.iter().map(|column| column.as_ref().map_or(0, Builder::treated_count) as u64);
        slots.iter().map(|slot| &slot.field.name).zip(counts).filter(|(_, count)| *count > 0)
    }

    /// The row has no such image.
    pub fn absent(&mut self, row: usize) {
        self.absent.push(row as u32);
    }

    /// Ends row `row`: what was not there is null.
    #[inline]
    pub fn close(&mut self, row: usize) {
        for builder in self.columns.iter_mut().flatten() {
            if builder.len() == row {
                builder.null();
            }
        }
    }

    /// Refuses row `row`, before it is closed, if it lacks a column that must have a value.
    pub fn check_all_there(&self, row: usize, slots: &[Slot]) -> Result<(), Reason> {
        let lacking = |(slot, builder): &(&Slot, &Option<Builder>)| {
            !slot.field.nullable && builder.as_ref().is_some_and(|builder| builder.len() == row)
        };
        match slots.iter().zip(&self.columns).find(lacking) {
            Some((slot, _)) => Err(self.lacks(&slot.field.name, "no such column")),
            None => Ok(()),
        }
    }

    fn lacks(&self, column: &str, found: &str) -> Reason {
        let what = format!("expected a value, found {found}; the pipeline file declares it `nullable: false`");
        Reason::cell(self.name, column, crate::convert::Refusal::Value(what))
    }

    /// Whether a column has a value in row `row`, the last one.
    pub fn has_value(&self, column: usize, row: usize) -> bool {
        self.columns[column].as_ref().is_some_and(|builder| builder.len() > row && !builder.ends_with_null())
    }

    /// Cuts off everything from row `row` on.
    pub fn truncate(&mut self, row: usize) {
        for builder in self.columns.iter_mut().flatten() {
            builder.truncate(row);
        }
        while self.absent.last().is_some_and(|&last| last as usize >= row) {
            self.absent.pop();
        }
    }

    pub fn finish(self, rows: usize) -> ImageData {
        let present = (!self.absent.is_empty()).then(|| !&bits(&self.absent, rows));
        ImageData { columns: self.columns.into_iter().map(|column| column.map(Builder::finish)).collect(), present }
    }
}
