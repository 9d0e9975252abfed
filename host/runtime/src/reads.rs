//! Which input columns a transform may ask for: `description.reads`, made for a look-up per column and call.

use std::collections::HashSet;
use std::sync::Arc;

use lakemill_model::{Image, Reads};

/// The columns and images that a description names in `reads`.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    images: HashSet<Image>,
    columns: HashSet<(Image, Arc<str>)>,
}

impl ReadSet {
    pub(crate) fn new(reads: &[Reads]) -> Self {
        let mut set = Self::default();
        for entry in reads {
            match entry {
                Reads::Image(image) => drop(set.images.insert(*image)),
                Reads::Column(image, name) => drop(set.columns.insert((*image, name.clone()))),
            }
        }
        set
    }

    /// The envelope is always there.
    pub(crate) fn allows(&self, image: Image, name: &str) -> bool {
        image == Image::Envelope || self.names(image, name)
    }

    /// Whether the description names the column, or all of its image.
    pub(crate) fn names(&self, image: Image, name: &str) -> bool {
        self.images.contains(&image) || self.columns.contains(&(image, Arc::from(name)))
    }
}
