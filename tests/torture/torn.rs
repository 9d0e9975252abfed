//! Damage: every durable file is cut, and has a bit flipped, at each multiple of 512 bytes. The pipeline recovers, or refuses with
//! the file's name; it never goes on in silence with rows lost or doubled.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use lakemill_tests::crash::{Outcome, failing};
use lakemill_tests::live::Sent;
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::process::Lakemill;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::{oracle, places, wasm};
use serde_json::json;

const STEP: usize = 512;

/// Tables that the oracle looks at together.
const JUDGED_TOGETHER: usize = 40;

/// What was done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Flip,
}

/// A pipeline that was killed with a batch under way, and what it is to make of its events.
struct Scene {
    folder: tempfile::TempDir,
    sent: Sent,
}

/// Damages every file at every place; `count` is not used but for 0, which is nothing.
pub fn run(seed: u64, count: u32) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    if count == 0 {
        return Ok(outcome);
    }
    let scene = Scene::new(seed)?;
    let files = scene.files()?;
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for file in &files {
        let whole = std::fs::read(scene.folder.path().join(file))?;
        let (mut done, mut told) = (0, 0);
        for at in (0..whole.len()).step_by(STEP) {
            for damage in [Damage::Cut, Damage::Flip] {
                let copy = scene.damaged(file, &whole, at, damage)?;
                let pipeline = copy.path().join("pipeline.yaml");
                let arguments = ["run".as_ref(), pipeline.as_os_str(), "--until-caught-up".as_ref()];
                let ended = Lakemill::start(arguments)?.finish()?;
                let said = ended.said();
                let of = || format!("{} {damage:?} at {at}: exit code {:?}:\n{said}", file.display(), ended.code);
                ensure!(!said.contains("panicked"), "{}", of());
                done += 1;
                if ended.code == Some(0) {
                    waiting.push(copy);
                } else {
                    let name = file.file_name().unwrap_or_default().to_string_lossy();
                    // A table's log is named by its sink.
                    let names_it = said.contains(&*name)
                        || said.contains("/lake/")
                        || said.contains("sink changes")
                        || said.contains("a sink's log was changed");
                    ensure!(names_it, "refused without a name: {}", of());
                    told += 1;
                }
                if waiting.len() == JUDGED_TOGETHER {
                    scene.judge(&mut outcome, &waiting)?;
                    waiting.clear();
                }
            }
        }
        refused += told;
        outcome.kills += done;
        println!(
            "{}",
            json!({ "file": file, "bytes": whole.len(), "damaged": done, "refused": told, "recovered": done - told })
        );
    }
    scene.judge(&mut outcome, &waiting)?;
    outcome.missed = refused;
    Ok(outcome)
}

impl Scene {
    fn new(seed: u64) -> Result<Self> {
        let mut pipeline = Pipeline::of_files("flatten", &["changes"])?;
        let events: Vec<Event> = Orders::new(seed, Mix { broken: 40, ..Mix::default() }).take(1_500).collect();
        // To the end of some, so that there is a log checkpoint; then killed in the others.
        pipeline.events("orders.jsonl", &orders::lines(&events[..1_200]))?;
        pipeline.spec["batch"] = json!({ "rows_max": 10 });
        // Small, so that the damage to it is many places and not thousands.
        std::fs::copy(places::guest("flatten")?, pipeline.folder().join("flatten.wasm"))?;
        pipeline.spec["transforms"] = json!([{ "component": "flatten.wasm" }]);
        pipeline.run()?.expect(0, &[])?;
        pipeline.events("orders.jsonl", &orders::lines(&events))?;
        let file = pipeline.file()?;
        let arguments = ["run".as_ref(), file.as_os_str(), "--until-caught-up".as_ref()];
        let killed = Lakemill::start_program(&failing()?, arguments, |command| {
            command.env("LAKEMILL_FAILPOINT", "sink-committed:3");
        })?
        .finish()?;
        ensure!(killed.code.is_none(), "it was to be killed: {}", killed.said());
        // The file is another one by now: the batch under way needs the component of the store.
        let module = std::fs::read(pipeline.folder().join("flatten.wasm"))?;
        wasm::replace(&pipeline.folder().join("flatten.wasm"), &wasm::version(&module, 1))?;
        let folder = tempfile::tempdir()?;
        copy(pipeline.folder(), folder.path())?;
        let expected = folder.path().join("expected.csv");
        std::fs::write(&expected, expectations(&events))?;
        let ends = [(0, i64::try_from(events.len())?)].into();
        Ok(Self { folder, sent: Sent { records: events.len() as u64, ends, expected } })
    }

    /// Everything durable but the data files, which nobody reads again.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for folder in ["state", "state/components", "lake/changes/_delta_log", "lake/_dead/_delta_log"] {
            for entry in std::fs::read_dir(self.folder.path().join(folder)).with_context(|| folder.to_owned())? {
                let name = entry?.file_name();
                let path = Path::new(folder).join(&name);
                let name = name.to_string_lossy().into_owned();
                let is_file =
                    self.folder.path().join(&path).is_file() && !name.ends_with(".lock") && !name.ends_with(".sock");
                // Of the log: the hint and the checkpoint; entries are other writers' as well.
                let is_ours = !folder.starts_with("lake") || name.contains("checkpoint");
                if is_file && is_ours {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    fn damaged(&self, file: &Path, whole: &[u8], at: usize, damage: Damage) -> Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        copy(self.folder.path(), folder.path())?;
        let mut bytes = whole.to_vec();
        match damage {
            Damage::Cut => bytes.truncate(at),
            Damage::Flip => bytes[at] ^= 1 << (at / STEP % 8),
        }
        std::fs::write(folder.path().join(file), bytes)?;
        Ok(folder)
    }

    fn judge(&self, outcome: &mut Outcome, folders: &[tempfile::TempDir]) -> Result<()> {
        for folder in folders {
            let (changes, dead) = (folder.path().join("lake/changes"), folder.path().join("lake/_dead"));
            let sums = oracle::expect_exact(&self.sent, &[(&changes, "rcud"), (&dead, "dead")], &[])?;
            outcome.sums.rows += sums.rows;
        }
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn expectations(events: &[Event]) -> String {
    let mut text = String::from("partition,offset,fate,op,id,total\n");
    for (offset, event) in events.iter().enumerate() {
        text += &format!("0,{offset},{}\n", lakemill_tests::live::fate(event));
    }
    text
}
