//! Pipeline files for tests, and the folder that a test works in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::process::{Finished, Lakemill};
use crate::table::Table;
use crate::{log, places};

/// A pipeline in a folder of its own, which is removed with it. JSON is YAML: the file is written as JSON.
pub struct Pipeline {
    folder: TempDir,
    /// What the pipeline file will say; change it as the test needs.
    pub spec: Value,
}

impl Pipeline {
    /// Events of files through a component of target/guests, each of `outputs` into a Delta table of its name.
    ///
    /// # Errors
    /// If there is no such component.
    pub fn of_files(component: &str, outputs: &[&str]) -> Result<Self> {
        let source = json!({
            "files": { "paths": ["events/*"], "topic": "shop.public.orders", "format": "key_value" },
            "format": "debezium-json",
            "schema": "infer",
        });
        Self::new(source, component, outputs)
    }

    /// Events of a topic.
    ///
    /// # Errors
    /// If there is no such component.
    pub fn of_kafka(brokers: &str, topic: &str, component: &str, outputs: &[&str]) -> Result<Self> {
        let source = json!({
            "kafka": { "brokers": brokers, "topics": [topic], "start": "earliest" },
            "format": "debezium-json",
            "schema": "infer",
        });
        Self::new(source, component, outputs)
    }

    fn new(source: Value, component: &str, outputs: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the pipeline")?;
        let sinks: Map<_, _> = outputs
            .iter()
            .map(|output| ((*output).to_owned(), json!({ "delta": { "path": format!("lake/{output}") } })))
            .collect();
        let spec = json!({
            "pipeline": "orders",
            "source": source,
            "state": { "path": "state" },
            "transforms": [{ "component": places::guest(component)? }],
            "sinks": sinks,
            "dead_letters": { "delta": { "path": "lake/_dead" } },
        });
        Ok(Self { folder, spec })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file of events.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn events(&self, name: &str, lines: &[u8]) -> Result<()> {
        let folder = self.folder().join("events");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join(name), lines)?)
    }

    /// Writes the pipeline file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&self) -> Result<PathBuf> {
        let file = self.folder().join("pipeline.yaml");
        std::fs::write(&file, serde_json::to_string_pretty(&self.spec)?)?;
        Ok(file)
    }

    /// Starts `lakemill run` until it is stopped.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> Result<Lakemill> {
        Lakemill::start(["run".as_ref(), self.file()?.as_os_str(), "--json".as_ref()])
    }

    /// Runs to the end that the source has now.
    ///
    /// # Errors
    /// If it cannot be started or does not end.
    pub fn run(&self) -> Result<Finished> {
        let file = self.file()?;
        Lakemill::start(["run".as_ref(), file.as_os_str(), "--until-caught-up".as_ref(), "--json".as_ref()])?.finish()
    }

    /// The table of an output.
    pub fn path(&self, output: &str) -> PathBuf {
        self.folder().join("lake").join(output)
    }

    /// Reads the table of an output.
    ///
    /// # Errors
    /// If it cannot be read, or its readers differ.
    pub fn table(&self, output: &str) -> Result<Table> {
        Table::read(&self.path(output))
    }

    /// Rows of an output's table, by its log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn rows(&self, output: &str) -> Result<u64> {
        log::rows(&self.path(output))
    }
}
