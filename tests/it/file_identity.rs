//! Files that appear, grow, move, are cut and go, between runs: each line is in the table once, at the place of the file that it came
//! in, or the run says which file is not what it was.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::process::Finished;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::{FLATTEN, Place, check};
use serde_json::json;

/// A folder of files, and where its events are to be found in the table.
struct Folder {
    pipeline: Pipeline,
    events: std::vec::IntoIter<Event>,
    placed: Vec<(Event, Place)>,
}

impl Folder {
    fn new(seed: u64) -> Result<Self> {
        let pipeline = Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])?;
        fs::create_dir(pipeline.folder().join("events"))?;
        let events: Vec<Event> = Orders::new(seed, Mix { broken: 0, delete: 0, ..Mix::default() }).take(400).collect();
        Ok(Self { pipeline, events: events.into_iter(), placed: Vec::new() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pipeline.folder().join("events").join(name)
    }

    /// The lines of events that come next, which are to become offsets `from` and on of a partition.
    fn lines(&mut self, partition: i32, from: i64, count: usize) -> Vec<u8> {
        let events: Vec<Event> = self.events.by_ref().take(count).collect();
        let lines = orders::lines(&events);
        self.placed.extend(events.into_iter().zip(from..).map(|(event, offset)| (event, (partition, offset))));
        lines
    }

    fn write(&mut self, name: &str, partition: i32, count: usize) -> Result<()> {
        let lines = self.lines(partition, 0, count);
        Ok(fs::write(self.path(name), lines)?)
    }

    fn append(&mut self, name: &str, partition: i32, from: i64, count: usize) -> Result<()> {
        let lines = self.lines(partition, from, count);
        Ok(File::options().append(true).open(self.path(name))?.write_all(&lines)?)
    }

    fn run(&self) -> Result<Finished> {
        self.pipeline.run()
    }

    /// A run that goes well, after which the table has all events.
    fn settle(&self) -> Result<()> {
        self.run()?.expect(0, &[])?;
        self.check()
    }

    fn check(&self) -> Result<()> {
        let placed: Vec<_> = self.placed.iter().map(|(event, place)| (event, *place)).collect();
        check(&self.pipeline.table(FLATTEN.1)?, &self.pipeline.path("_dead"), &placed)
    }
}

#[test]
fn new_files_take_no_others_place() -> Result<()> {
    let mut folder = Folder::new(201)?;
    folder.write("m.jsonl", 0, 4)?;
    folder.settle()?;
    folder.write("a.jsonl", 1, 7)?;
    folder.write("z.jsonl", 2, 2)?;
    folder.settle()?;
    folder.append("m.jsonl", 0, 4, 3)?;
    folder.write("b.jsonl", 3, 1)?;
    folder.settle()?;
    let nothing = folder.run()?.report()?;
    ensure!(nothing["rows_in"] == 0 && nothing["commits"] == 0, "{nothing}");
    folder.check()
}

#[test]
fn a_file_is_the_same_under_another_name() -> Result<()> {
    let mut folder = Folder::new(202)?;
    folder.write("now.jsonl", 0, 6)?;
    folder.settle()?;
    // As logrotate does it, and one that is copied into place.
    fs::rename(folder.path("now.jsonl"), folder.path("now.1.jsonl"))?;
    folder.append("now.1.jsonl", 0, 6, 2)?;
    folder.write("now.jsonl", 1, 3)?;
    folder.settle()?;
    fs::copy(folder.path("now.jsonl"), folder.path(".new"))?;
    fs::rename(folder.path(".new"), folder.path("now.jsonl"))?;
    folder.append("now.jsonl", 1, 3, 4)?;
    folder.settle()?;
    // Another folder, and another disk as far as anybody can tell.
    fs::create_dir(folder.path("old"))?;
    fs::copy(folder.path("now.1.jsonl"), folder.path("old/x.jsonl"))?;
    fs::remove_file(folder.path("now.1.jsonl"))?;
    folder.pipeline.spec["source"]["files"]["paths"] = json!(["events/*.jsonl", "events/*/*.jsonl"]);
    folder.append("old/x.jsonl", 0, 8, 1)?;
    folder.settle()
}

#[test]
fn a_file_that_is_copied_and_cut_is_read_on_in_the_copy() -> Result<()> {
    let mut folder = Folder::new(203)?;
    folder.write("log", 0, 5)?;
    folder.settle()?;
    folder.append("log", 0, 5, 5)?;
    fs::copy(folder.path("log"), folder.path("log.1"))?;
    File::create(folder.path("log"))?;
    folder.settle()?;
    folder.append("log", 1, 0, 9)?;
    folder.settle()?;
    // Once more, and compressed at once.
    folder.append("log", 1, 9, 1)?;
    fs::copy(folder.path("log"), folder.path("log.2"))?;
    ensure!(Command::new("gzip").arg(folder.path("log.2")).status()?.success());
    File::create(folder.path("log"))?;
    folder.append("log", 2, 0, 3)?;
    folder.settle()
}

#[test]
fn another_file_of_the_same_name_is_another_file() -> Result<()> {
    for shorter in [true, false] {
        let mut folder = Folder::new(204)?;
        folder.write("day.jsonl", 0, 20)?;
        folder.settle()?;
        // Deleted and made anew, and then cut and written anew in place.
        fs::remove_file(folder.path("day.jsonl"))?;
        folder.write("day.jsonl", 1, if shorter { 2 } else { 40 })?;
        folder.settle()?;
        folder.write("day.jsonl", 2, if shorter { 1 } else { 50 })?;
        folder.settle()?;
    }
    Ok(())
}

#[test]
fn files_of_one_name_in_several_folders_are_several() -> Result<()> {
    let mut folder = Folder::new(205)?;
    for (partition, name) in ["one", "two"].into_iter().enumerate() {
        fs::create_dir(folder.path(name))?;
        folder.write(&format!("{name}/orders.jsonl"), i32::try_from(partition)?, 3 + partition)?;
    }
    // No topic: it is the files' name.
    folder.pipeline.spec["source"]["files"] =
        json!({ "paths": ["events/one/*", "events/two/orders.jsonl"], "format": "key_value" });
    folder.settle()?;
    folder.append("one/orders.jsonl", 0, 3, 1)?;
    folder.append("two/orders.jsonl", 1, 4, 2)?;
    folder.settle()
}

#[test]
fn links_name_the_file_that_they_lead_to() -> Result<()> {
    let mut folder = Folder::new(206)?;
    folder.write("a.jsonl", 0, 3)?;
    fs::hard_link(folder.path("a.jsonl"), folder.path("b.jsonl"))?;
    std::os::unix::fs::symlink("a.jsonl", folder.path("c.jsonl"))?;
    std::os::unix::fs::symlink("nowhere", folder.path("d.jsonl"))?;
    fs::create_dir(folder.path("e.jsonl"))?;
    folder.settle()?;
    fs::remove_file(folder.path("a.jsonl"))?;
    folder.append("b.jsonl", 0, 3, 2)?;
    folder.settle()
}

#[test]
fn a_file_may_go_once_it_was_read() -> Result<()> {
    let mut folder = Folder::new(207)?;
    folder.write("a.jsonl", 0, 3)?;
    // Blank lines are nothing that could be lost.
    File::options().append(true).open(folder.path("a.jsonl"))?.write_all(b"\n\r\n")?;
    File::create(folder.path("empty.jsonl"))?;
    folder.settle()?;
    fs::remove_file(folder.path("a.jsonl"))?;
    fs::remove_file(folder.path("empty.jsonl"))?;
    folder.settle()?;
    folder.write("b.jsonl", 1, 3)?;
    folder.settle()
}

#[test]
fn a_file_that_goes_half_read_is_missed() -> Result<()> {
    let mut folder = Folder::new(208)?;
    folder.write("a.jsonl", 0, 30)?;
    let end = fs::metadata(folder.path("a.jsonl"))?.len();
    let line = Orders::events(209, 1).pop().map(|event| orders::lines(&[event])).unwrap_or_default();
    File::options().append(true).open(folder.path("a.jsonl"))?.write_all(&line[..line.len() / 2])?;
    folder.settle()?;
    fs::remove_file(folder.path("a.jsonl"))?;
    let upto = format!("up to line 30, byte {end} only");
    for _ in 0..2 {
        folder.run()?.expect(1, &["events/a.jsonl", "the file is gone", &upto, "on_data_loss: continue"])?;
    }
    folder.pipeline.spec["source"]["files"]["on_data_loss"] = json!("continue");
    folder.run()?.expect(0, &["a.jsonl", "going on without the rest"])?;
    // Said once: it is settled.
    folder.pipeline.spec["source"]["files"]["on_data_loss"] = json!("fail");
    folder.settle()
}

#[test]
fn a_last_line_waits_for_its_rest() -> Result<()> {
    let mut folder = Folder::new(209)?;
    folder.write("a.jsonl", 0, 3)?;
    folder.settle()?;
    let line = folder.lines(0, 3, 1);
    let (half, rest) = line.split_at(line.len() / 2);
    let put = |bytes: &[u8]| File::options().append(true).open(folder.path("a.jsonl"))?.write_all(bytes);
    put(half)?;
    let report = folder.run()?;
    report.expect(0, &["a.jsonl", "the last line has no end"])?;
    ensure!(report.report()?["rows_in"] == 0, "{}", report.said());
    put(rest)?;
    folder.settle()?;
    // A whole record is read, and then its end may come, but nothing else.
    let mut line = folder.lines(0, 4, 1);
    ensure!(line.pop() == Some(b'\n'));
    let put = |bytes: &[u8]| File::options().append(true).open(folder.path("a.jsonl"))?.write_all(bytes);
    put(&line)?;
    folder.settle()?;
    let end = fs::metadata(folder.path("a.jsonl"))?.len();
    put(b", and more\n")?;
    let advice = format!("truncate -s {end}");
    for _ in 0..2 {
        folder.run()?.expect(1, &["a.jsonl", &format!("at byte {end}: line 5 goes on here"), &advice])?;
    }
    // What it says helps.
    File::options().write(true).open(folder.path("a.jsonl"))?.set_len(end)?;
    folder.settle()?;
    put(b"\r\n")?;
    folder.append("a.jsonl", 0, 5, 2)?;
    folder.settle()
}

#[test]
fn what_was_read_must_stay_as_it_was() -> Result<()> {
    let mut folder = Folder::new(210)?;
    folder.write("a.jsonl", 0, 60)?;
    folder.settle()?;
    let whole = fs::read(folder.path("a.jsonl"))?;
    let half = whole[..whole.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap_or_default() + 1;
    for changed in [whole[..half].to_vec(), [&whole[..half], &whole[half + 1..], b"{}\n"].concat()] {
        fs::write(folder.path("a.jsonl"), changed)?;
        let words = ["a.jsonl", &format!("at byte {}: 60 lines were read", whole.len()), "cp FILE NEW && rm FILE"];
        folder.run()?.expect(1, &words)?;
        fs::write(folder.path("a.jsonl"), &whole)?;
        folder.settle()?;
    }
    // As the advice says: what is left is a new file.
    fs::write(folder.path("b.jsonl"), &whole[..half])?;
    fs::remove_file(folder.path("a.jsonl"))?;
    let before = folder.pipeline.rows(FLATTEN.1)?;
    folder.run()?.expect(0, &[])?;
    ensure!(folder.pipeline.rows(FLATTEN.1)? > before);
    Ok(())
}

#[test]
fn positions_without_their_files_are_refused() -> Result<()> {
    let mut folder = Folder::new(211)?;
    folder.write("a.jsonl", 0, 3)?;
    folder.settle()?;
    let state = folder.pipeline.folder().join("state");
    let older = fs::read(state.join("files.log"))?;
    folder.append("a.jsonl", 0, 3, 3)?;
    folder.settle()?;
    let newest = fs::read(state.join("files.log"))?;
    fs::write(state.join("files.log"), older)?;
    folder.run()?.expect(1, &["files.log", "the tables have 6 lines of shop.public.orders/0", "an older copy"])?;
    fs::remove_file(state.join("files.log"))?;
    folder.run()?.expect(1, &["files.log", "6 lines of shop.public.orders/0", "another `pipeline` name"])?;
    // With all of the state.
    fs::rename(&state, folder.pipeline.folder().join("lost"))?;
    folder.run()?.expect(1, &["files.log", "6 lines of shop.public.orders/0"])?;
    fs::remove_dir_all(&state)?;
    fs::rename(folder.pipeline.folder().join("lost"), &state)?;
    fs::write(state.join("files.log"), newest)?;
    folder.settle()?;
    // The journal alone is no loss.
    fs::remove_file(state.join("0.journal"))?;
    folder.append("a.jsonl", 0, 6, 1)?;
    folder.settle()
}

#[test]
fn files_are_followed_until_the_pipeline_is_stopped() -> Result<()> {
    let mut folder = Folder::new(212)?;
    folder.write("a.jsonl", 0, 3)?;
    folder.pipeline.spec["source"]["files"]["follow"] = json!(true);
    let mut lakemill = folder.pipeline.start()?;
    let until = |folder: &Folder, lakemill: &mut lakemill_tests::process::Lakemill| {
        let wanted = u64::try_from(folder.placed.len())?;
        lakemill.until(&format!("{wanted} rows"), || Ok((folder.pipeline.rows(FLATTEN.1)? == wanted).then_some(())))
    };
    until(&folder, &mut lakemill)?;
    folder.append("a.jsonl", 0, 3, 2)?;
    folder.write("0.jsonl", 1, 2)?;
    until(&folder, &mut lakemill)?;
    // Renamed while it is open, and a new one in its place.
    fs::rename(folder.path("a.jsonl"), folder.path("a.1.jsonl"))?;
    folder.append("a.1.jsonl", 0, 5, 1)?;
    folder.write("a.jsonl", 2, 4)?;
    until(&folder, &mut lakemill)?;
    // Copied, and cut.
    fs::copy(folder.path("a.jsonl"), folder.path("a.2.jsonl"))?;
    File::create(folder.path("a.jsonl"))?;
    folder.append("a.jsonl", 3, 0, 1)?;
    until(&folder, &mut lakemill)?;
    lakemill.terminate()?.expect(0, &[])?;
    folder.check()?;
    folder.append("a.jsonl", 3, 1, 1)?;
    folder.settle()
}
