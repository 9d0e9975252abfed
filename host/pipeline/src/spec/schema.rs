//! What `source.schema` means: for the pipeline file, and for the cases of a transform, which say it in the same words.

use std::collections::BTreeSet;

use lakemill_decode::SchemaMode;

use super::written::Schema;

impl Schema {
    /// As the decoder takes it.
    pub(crate) fn mode(&self) -> SchemaMode {
        match self {
            Schema::Infer => SchemaMode::Infer,
            Schema::Inline => SchemaMode::Inline,
            Schema::Declared(declared) => SchemaMode::Declared(declared.columns()),
        }
    }

    /// Refuses a column that is declared twice, or whose form does not fit its type. `key` is where the schema stands.
    ///
    /// # Errors
    /// Which one.
    pub(crate) fn check(&self, key: &str) -> Result<(), String> {
        let Schema::Declared(declared) = self else { return Ok(()) };
        for (image, columns) in [("row", &declared.row), ("key", &declared.key)] {
            let mut seen = BTreeSet::new();
            for column in columns {
                let name = &column.name;
                if !seen.insert(name) {
                    return Err(format!("`{key}.{image}` declares the column `{name}` twice: leave one out"));
                }
                column.check().map_err(|what| format!("`{key}.{image}`, column `{name}`: {what}"))?;
            }
        }
        Ok(())
    }
}
