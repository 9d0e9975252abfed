//! What of the input is read by anybody: the rest is not decoded. Pure.

use lakemill_decode::{Columns, Projection};
use lakemill_model::{EnvelopeColumn, Image, OutputColumn, Reads};

use crate::spec::written::Metadata;
use crate::version::{BoundTransform, Version};

/// What transforms read, outputs copy and sinks add.
pub(crate) fn projection(version: &Version) -> Projection {
    let mut all = Projection::default();
    for BoundTransform { transform, outputs } in &version.transforms {
        let description = transform.description();
        for reads in &description.reads {
            match reads {
                Reads::Column(image, name) => add(&mut all, *image, Some(name)),
                Reads::Image(image) => {
                    add(&mut all, *image, None);
                    all.origins |= *image == Image::Envelope;
                }
            }
        }
        for column in description.outputs.iter().flat_map(|output| &output.columns) {
            match column {
                OutputColumn::Made(_) => {}
                OutputColumn::Copied { image, column, .. } => add(&mut all, *image, Some(column)),
                OutputColumn::CopiedAll { image, .. } => add(&mut all, *image, None),
            }
        }
        for column in outputs.iter().flat_map(|(_, added)| added) {
            all.positions |= *column == Metadata::Position;
            all.origins |= matches!(column, Metadata::SourceDb | Metadata::SourceSchema | Metadata::SourceTable);
        }
    }
    all
}

fn add(all: &mut Projection, image: Image, name: Option<&str>) {
    let columns = match image {
        Image::Key => &mut all.key,
        Image::Before => &mut all.before,
        Image::After => &mut all.after,
        Image::Row => &mut all.row,
        Image::Envelope => {
            all.positions |= name.is_none_or(|name| name == EnvelopeColumn::Position.name());
            all.origins |= name.and_then(EnvelopeColumn::named).is_some_and(EnvelopeColumn::is_origin);
            return;
        }
    };
    match name {
        Some(name) => columns.add(name),
        None => *columns = Columns::All,
    }
}
