//! The schema book: the columns that were inferred from the records of a topic. They are written down before the first batch
//! that uses them leaves its worker, so that a replay decodes as the first run did.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lakemill_failpoint::{Point, reach};
use lakemill_model::{Field, RowSchema};
use serde::{Deserialize, Serialize};

use crate::durable::{Lock, io_error, replace};
use crate::error::StateError;

/// The file in the state folder; all processes of a pipeline on one machine share it.
const FILE: &str = "schemas.json";

/// What it costs to delete the file.
const REMEDY: &str = "restore it; deleting it costs the types of the columns that were inferred so far: they are inferred anew from \
                      the records that come next, and may be others than those of the tables and of unfinished batches; declare \
                      the columns in `source.schema` to go on without the file";

/// Inferred columns by topic.
#[derive(Debug)]
pub struct SchemaBook {
    folder: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Pages {
    topics: BTreeMap<String, Page>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    key: Vec<Field>,
    row: Vec<Field>,
}

impl SchemaBook {
    /// The book in a state folder, which is created if need be.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        Ok(Self { folder: folder.into() })
    }

    /// The columns written down for `topic`.
    ///
    /// # Errors
    /// If the book cannot be read or is damaged.
    pub fn get(&self, topic: &str) -> Result<Option<RowSchema>, StateError> {
        Ok(self.pages()?.topics.remove(topic).map(|page| RowSchema { key: page.key, row: page.row }))
    }

    /// Writes the columns of `topic` down unless another process, or an earlier run, did so for more of them: returns the ones
    /// that hold. `merge` joins ours to those that are there.
    ///
    /// # Errors
    /// If the book cannot be written.
    pub fn settle(
        &self,
        topic: &str,
        ours: RowSchema,
        merge: impl FnOnce(RowSchema, RowSchema) -> RowSchema,
    ) -> Result<RowSchema, StateError> {
        let _lock = Lock::alone(&self.folder.join("schemas.lock"))?;
        let mut pages = self.pages()?;
        let settled = match pages.topics.remove(topic) {
            Some(page) => {
                let there = RowSchema { key: page.key, row: page.row };
                let merged = merge(there.clone(), ours);
                if merged == there {
                    return Ok(merged);
                }
                merged
            }
            None => ours,
        };
        let page = Page { key: settled.key.clone(), row: settled.row.clone() };
        pages.topics.insert(topic.into(), page);
        self.write(&pages)?;
        Ok(settled)
    }

    fn pages(&self) -> Result<Pages, StateError> {
        let path = self.folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| StateError::corrupt(path, &bytes, &error, REMEDY))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Pages::default()),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    fn write(&self, pages: &Pages) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(pages).expect("fields are plain data");
        replace(&self.folder.join(FILE), &text, || reach(Point::SchemasWritten))?;
        reach(Point::SchemasDurable);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lakemill_model::DataType;

    use super::*;

    fn schema(names: &[&str]) -> RowSchema {
        let field = |name: &&str| Field::new(*name, DataType::Decimal { precision: 9, scale: 2 }, true);
        RowSchema { key: vec![], row: names.iter().map(field).collect() }
    }

    #[test]
    fn the_first_one_settles_and_others_join() {
        let folder = tempfile::tempdir().expect("a folder");
        let book = SchemaBook::open(&folder.path().join("state")).expect("opens");
        assert_eq!(book.get("t").expect("reads"), None);
        let first = book.settle("t", schema(&["a"]), |_, _| panic!("nobody was here")).expect("settles");
        assert_eq!(first, schema(&["a"]));
        let second = book.settle("t", schema(&["a", "b"]), |there, ours| {
            assert_eq!(there, schema(&["a"]));
            ours
        });
        assert_eq!(second.expect("settles"), schema(&["a", "b"]));
        let again = SchemaBook::open(&folder.path().join("state")).expect("opens");
        assert_eq!(again.get("t").expect("reads"), Some(schema(&["a", "b"])));
        assert_eq!(again.get("u").expect("reads"), None);
    }

    #[test]
    fn a_damaged_book_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), "{\n  \"topics\": x").expect("writes");
        let book = SchemaBook::open(folder.path()).expect("opens");
        let error = book.get("t").expect_err("is damaged").to_string();
        let told =
            ["schemas.json is damaged at byte 15: ", "costs the types", "declare the columns in `source.schema`"];
        assert!(told.iter().all(|words| error.contains(words)), "{error}");
        assert!(!error.contains("can be deleted"), "{error}");
    }
}
