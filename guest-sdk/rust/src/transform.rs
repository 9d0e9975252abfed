//! A transform as a value: what `#[transform]` makes of a function, for the module's exports, native tests and benchmarks.

use crate::change::{ChangeOf, Changes};
use crate::emit::IntoEmit;
use crate::output::Output;
use crate::{Answer, Batch, BatchSource, Change, Config, Description, Error, Renames};

/// A transform. `#[transform]` makes one named `TRANSFORM` beside the function.
#[derive(Clone, Copy)]
pub struct Transform {
    describe: fn(&str) -> Result<Description, String>,
    transform: for<'b> fn(&'b Batch<'b>, &str) -> Result<Answer, String>,
}

impl Transform {
    #[doc(hidden)]
    pub const fn new(
        describe: fn(&str) -> Result<Description, String>,
        transform: for<'b> fn(&'b Batch<'b>, &str) -> Result<Answer, String>,
    ) -> Self {
        Self { describe, transform }
    }

    /// What it is under a configuration, a JSON object.
    ///
    /// # Errors
    /// For the person who wrote the configuration.
    pub fn describe(&self, config: &str) -> Result<Description, String> {
        (self.describe)(config)
    }

    /// Transforms a batch under a configuration, a JSON object, as the module does for the host.
    ///
    /// # Errors
    /// What would stop the pipeline.
    pub fn run(&self, source: &dyn BatchSource, config: &str) -> Result<Answer, String> {
        let batch = Batch::new(source);
        (self.transform)(&batch, config)
    }
}

/// The settings of a configuration.
#[doc(hidden)]
pub fn settings<C: Config>(config: &str) -> Result<C, String> {
    crate::config::parse(config)
}

/// Puts into a description what the author need not write.
#[doc(hidden)]
pub fn finish_description<C: Config>(mut description: Description, name: &str, version: &str) -> Description {
    // The contract's limit; a package's name is ASCII.
    description.name = name.chars().take(64).collect();
    description.version = version.chars().take(64).collect();
    for output in &mut description.outputs {
        *output = output.clone().without_doubles().with_required_key();
    }
    // The settings of a transform without any are `()`, which has no properties.
    let schema = C::schema();
    description.config_schema = schema.get("properties").is_some().then(|| schema.to_string());
    description
}

/// The description of a transform of single changes.
#[doc(hidden)]
pub fn describe_rows<'b, C: ChangeOf<'b>, E: IntoEmit>(renames: &Renames) -> Result<Description, String> {
    let of = |renames: &Renames| Description {
        outputs: E::Output::specs(renames),
        reads: C::reads(renames),
        ..Description::default()
    };
    renames.check(&of(&Renames::NONE).column_names())?;
    Ok(of(renames))
}

/// Runs a transform of single changes over a batch.
#[doc(hidden)]
pub fn run_rows<'b, R, B, E>(
    batch: &'b Batch<'b>,
    renames: &Renames,
    mut transform: impl FnMut(Change<'b, R, B>) -> E,
) -> Result<Answer, Error>
where
    R: crate::Row<'b>,
    B: crate::row::Before<'b>,
    E: IntoEmit,
{
    let changes = Changes::<R, B>::open(batch, renames)?;
    let mut tables = E::Output::tables();
    let mut answer = Answer::new();
    for index in batch.rows() {
        let change = match changes.get(index) {
            Ok(change) => change,
            Err(lack) => {
                answer.reject(index, lack.reason(renames));
                continue;
            }
        };
        let op = change.op();
        match transform(change).into_emit().and_then(|emit| emit.check().map(|()| emit)) {
            Ok(emit) => emit.push(&mut tables, index as u32, op),
            Err(reject) => answer.reject(index, reject.into_reason()),
        }
    }
    E::Output::finish(tables, &mut answer.emissions);
    Ok(answer)
}
