//! Whether components and the pipeline file fit together: settings, outputs and sinks, columns. Pure; each refusal says where.

use std::collections::BTreeSet;
use std::sync::Arc;

use lakemill_model::{EnvelopeColumn, Image, OutputColumn, OutputSpec, Transform, TransformError};

use crate::error::PipelineError;
use crate::outputs::metadata_name;
use crate::spec::written::{self, Metadata, SinkSpec};
use crate::spec::{SpecFile, near::nearest};
use crate::version::Destination;

/// By transform and output: the sink's index and the columns that it adds.
pub(crate) fn wire(file: &SpecFile, transforms: &[Arc<dyn Transform>]) -> Result<Vec<Vec<Destination>>, PipelineError> {
    let sinks = &file.spec.sinks.0;
    let of_output = |(index, transform): (usize, &Arc<dyn Transform>), output: &OutputSpec| {
        let place = sinks.iter().position(|(name, _)| *name == *output.name);
        let place =
            place.ok_or_else(|| no_sink(file, transforms, index, &transform.description().name, &output.name))?;
        Ok((place, added(&sinks[place].1)))
    };
    let of_transform = |(index, transform): (usize, &Arc<dyn Transform>)| {
        let outputs = transform.description().outputs.iter();
        outputs.map(|output| of_output((index, transform), output)).collect()
    };
    transforms.iter().enumerate().map(of_transform).collect()
}

fn outputs(transforms: &[Arc<dyn Transform>]) -> Vec<&str> {
    transforms.iter().flat_map(|transform| transform.description().outputs.iter().map(|output| &*output.name)).collect()
}

fn no_sink(
    file: &SpecFile,
    transforms: &[Arc<dyn Transform>],
    index: usize,
    component: &str,
    output: &str,
) -> PipelineError {
    let outputs = outputs(transforms);
    let names = file.spec.sinks.0.iter().map(|(name, _)| name.as_str());
    let stray: Vec<&str> = names.filter(|name| !outputs.contains(name)).collect();
    if let Some(meant) = nearest(output, stray.iter().copied()) {
        let message = format!(
            "`sinks.{meant}`: no component writes an output of that name: did you mean `{output}`? There are: {}",
            outputs.join(", ")
        );
        return file.wrong_key(&format!("sinks.{meant}"), message).into();
    }
    let message = format!(
        "component {component} writes the output `{output}`, but `sinks` has no entry of that name: add one, or throw its rows away \
         with `{output}: discard`{}",
        match stray.as_slice() {
            [] => String::new(),
            stray => format!("; no component writes {}", stray.join(", ")),
        }
    );
    file.wrong_value(&format!("transforms[{index}].component"), message).into()
}

/// Checks what a pipeline file says of its sinks against what the components write. Not asked of code that only finishes a batch: the
/// file may have changed since.
///
/// # Errors
/// A sink that nothing feeds, or that is partitioned by a column that nothing makes.
pub(crate) fn check(file: &SpecFile, transforms: &[Arc<dyn Transform>]) -> Result<(), PipelineError> {
    wire(file, transforms)?;
    let outputs = outputs(transforms);
    for (name, sink) in &file.spec.sinks.0 {
        let key = format!("sinks.{name}");
        if !outputs.contains(&name.as_str()) {
            let meant = nearest(name, outputs.iter().copied()).map(|near| format!(": did you mean `{near}`?"));
            let message = format!(
                "`{key}`: no component writes an output of that name{} There are: {}",
                meant.unwrap_or_else(|| ".".into()),
                outputs.join(", ")
            );
            return Err(file.wrong_key(&key, message).into());
        }
        partitioned(file, name, sink, transforms)?;
    }
    Ok(())
}

/// Checks that every output of a sink has the columns that its table is partitioned by, as far as that is known before a record has come.
fn partitioned(
    file: &SpecFile,
    name: &str,
    sink: &SinkSpec,
    transforms: &[Arc<dyn Transform>],
) -> Result<(), PipelineError> {
    let (kind, table) = match (&sink.delta, &sink.parquet) {
        (Some(table), _) => ("delta", table),
        (_, Some(table)) => ("parquet", table),
        _ => return Ok(()),
    };
    let all = transforms.iter().flat_map(|transform| transform.description().outputs.iter());
    for output in all.filter(|output| *output.name == *name) {
        let Some(columns) = columns(output, &file.spec.source.schema, &table.metadata) else { continue };
        let unknown = table.partition_by.iter().enumerate().find(|(_, column)| !columns.contains(*column));
        if let Some((index, column)) = unknown {
            let meant = nearest(column, columns.iter().map(String::as_str));
            let message = format!(
                "`sinks.{name}.{kind}.partition_by`: the output `{name}` has no column `{column}`{} It has: {}",
                meant.map_or_else(|| ".".to_owned(), |near| format!(": did you mean `{near}`?")),
                columns.iter().cloned().collect::<Vec<_>>().join(", ")
            );
            return Err(file.wrong_value(&format!("sinks.{name}.{kind}.partition_by[{index}]"), message).into());
        }
    }
    Ok(())
}

/// The columns of an output's table; `None` if they depend on the records.
fn columns(output: &OutputSpec, schema: &written::Schema, metadata: &[Metadata]) -> Option<BTreeSet<String>> {
    let mut columns: BTreeSet<String> = metadata.iter().map(|column| metadata_name(*column).to_owned()).collect();
    for column in &output.columns {
        match column {
            OutputColumn::Made(field) => drop(columns.insert(field.name.to_string())),
            OutputColumn::Copied { name, .. } => drop(columns.insert(name.to_string())),
            OutputColumn::CopiedAll { image, prefix, except } => {
                let of_image: Vec<&str> = match (image, schema) {
                    (Image::Envelope, _) => EnvelopeColumn::ALL.map(EnvelopeColumn::name).into(),
                    (Image::Key, written::Schema::Declared(declared)) => {
                        declared.key.iter().map(|column| column.name.as_str()).collect()
                    }
                    (_, written::Schema::Declared(declared)) => {
                        declared.row.iter().map(|column| column.name.as_str()).collect()
                    }
                    _ => return None,
                };
                let copied = of_image.into_iter().filter(|name| !except.iter().any(|left_out| **left_out == **name));
                columns.extend(copied.map(|name| format!("{prefix}{name}")));
            }
        }
    }
    Some(columns)
}

/// The metadata columns of a sink.
fn added(sink: &SinkSpec) -> Vec<Metadata> {
    match sink.delta.as_ref().or(sink.parquet.as_ref()) {
        Some(table) => table.metadata.clone(),
        None => vec![Metadata::Op, Metadata::Partition, Metadata::Offset],
    }
}

/// The error of a component that cannot be loaded. If it refuses its configuration, with the place in the pipeline file and the setting that
/// may be meant: a component names settings as `config.columns.total`.
pub(crate) fn refused(file: &SpecFile, index: Option<usize>, component: &str, source: TransformError) -> PipelineError {
    let component = component.to_owned();
    let (Some(index), TransformError::Refused(words)) = (index, &source) else {
        return PipelineError::Load { component, source };
    };
    let quoted: Vec<&str> = words.split('`').skip(1).step_by(2).collect();
    let Some(setting) = quoted.iter().find(|word| **word == "config" || word.starts_with("config.")) else {
        let key = if words.contains("write `grants: ") { "grants" } else { "component" };
        return file
            .wrong_value(&format!("transforms[{index}].{key}"), format!("component {component}: {words}"))
            .into();
    };
    let key = format!("transforms[{index}].{setting}");
    match unknown_setting(words, &quoted) {
        Some((name, known)) => {
            let meant = nearest(name, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let message = format!("component {component}: {words}{}", meant.unwrap_or_default());
            file.wrong_key(&format!("{key}.{name}"), message).into()
        }
        None => file.wrong_value(&key, format!("component {component}: {words}{}", of_other_type(words))).into(),
    }
}

/// For a setting that is a text because it comes from outside, and should be something else: what to write.
fn of_other_type(words: &str) -> String {
    let Some(start) = words.find("${env:").or_else(|| words.find("${file:")) else { return String::new() };
    let Some(end) = words[start..].find('}') else { return String::new() };
    let becomes = match words {
        _ if words.contains("must be a number") || words.contains("must be an integer") => "number",
        _ if words.contains("must be true or false") => "boolean",
        _ => return String::new(),
    };
    let inner = words[start..start + end].split('|').next().unwrap_or_default();
    format!("; what comes from outside is a text: write {inner}|{becomes}}}")
}

/// The name of a setting that there is not, and those that there are: in the SDK's words, "`config` has no setting `a`; it has `b`, `c`".
fn unknown_setting<'w>(words: &str, quoted: &[&'w str]) -> Option<(&'w str, Vec<&'w str>)> {
    let name = quoted.iter().position(|word| words.contains(&format!("has no setting `{word}`")))?;
    Some((quoted[name], quoted[name + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_setting_is_found_in_what_the_component_says() {
        let words =
            "the component refuses its configuration: `config.a` has no setting `taxrate`; it has `tax_rate`, `b`";
        let quoted: Vec<&str> = words.split('`').skip(1).step_by(2).collect();
        assert_eq!(unknown_setting(words, &quoted), Some(("taxrate", vec!["tax_rate", "b"])));
        assert_eq!(unknown_setting("`config.a` must be a number", &["config.a"]), None);
        let words = "`config.a` must be a number, not \"${env:RATE}\"";
        assert_eq!(of_other_type(words), "; what comes from outside is a text: write ${env:RATE|number}");
        assert_eq!(of_other_type("`config.a` must be a number, not \"x\""), "");
    }
}
