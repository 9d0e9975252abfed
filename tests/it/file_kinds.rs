//! Files as tools write them: with a byte order mark, compressed, without an end, thousands of them; and files that are no lines, which
//! are refused once, by name, with what to do.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::orders::{self, Event, Mix, Orders};
use lakemill_tests::process::Lakemill;
use lakemill_tests::spec::Pipeline;
use lakemill_tests::verdict::{FLATTEN, Place, check};
use lakemill_tests::wait;
use serde_json::json;

fn events(seed: u64, count: usize) -> Vec<Event> {
    Orders::new(seed, Mix { broken: 0, ..Mix::default() }).take(count).collect()
}

/// A pipeline over `events/`, lines of values.
fn pipeline() -> Result<Pipeline> {
    Pipeline::of_files(FLATTEN.0, &[FLATTEN.1])
}

fn placed(partition: i32, events: &[Event]) -> Vec<(&Event, Place)> {
    events.iter().zip((0..).map(|offset| (partition, offset))).collect()
}

fn gzip(path: &Path) -> Result<()> {
    let status = Command::new("gzip").arg("-n").arg(path).status().context("gzip")?;
    ensure!(status.success());
    Ok(())
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_record() -> Result<()> {
    let (events, pipeline) = (events(221, 5), pipeline()?);
    pipeline.events("a.jsonl", &[b"\xef\xbb\xbf", &orders::lines(&events)[..]].concat())?;
    for _ in 0..2 {
        pipeline.run()?.expect(0, &[])?;
        check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(0, &events))?;
    }
    Ok(())
}

#[test]
fn compressed_files_are_read_whatever_they_are_called() -> Result<()> {
    let (all, pipeline) = (events(222, 300), pipeline()?);
    let folder = pipeline.folder().join("events");
    let (one, two, three) = (&all[..100], &all[100..150], &all[150..200]);
    pipeline.events("one.jsonl", &orders::lines(one))?;
    gzip(&folder.join("one.jsonl"))?;
    // Two members, in a file whose name says nothing.
    for (name, events) in [("x", two), ("y", three)] {
        pipeline.events(name, &orders::lines(events))?;
        gzip(&folder.join(name))?;
    }
    let members = [fs::read(folder.join("x.gz"))?, fs::read(folder.join("y.gz"))?].concat();
    ["x.gz", "y.gz"].iter().try_for_each(|name| fs::remove_file(folder.join(name)))?;
    fs::write(folder.join("two.jsonl"), members)?;
    pipeline.run()?.expect(0, &[])?;
    let mut expected = placed(0, one);
    expected.extend(placed(1, &all[100..200]));
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &expected)?;
    // A member is appended.
    pipeline.events("z", &orders::lines(&all[200..]))?;
    gzip(&folder.join("z"))?;
    let member = fs::read(folder.join("z.gz"))?;
    fs::remove_file(folder.join("z.gz"))?;
    File::options().append(true).open(folder.join("one.jsonl.gz"))?.write_all(&member)?;
    pipeline.run()?.expect(0, &[])?;
    expected.extend(all[200..].iter().zip((100..).map(|offset| (0, offset))));
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &expected)
}

#[test]
fn a_compressed_file_that_was_cut_off_is_named() -> Result<()> {
    let (all, pipeline) = (events(223, 2_000), pipeline()?);
    let folder = pipeline.folder().join("events");
    pipeline.events("a.jsonl", &orders::lines(&all))?;
    gzip(&folder.join("a.jsonl"))?;
    let path = folder.join("a.jsonl.gz");
    let whole = fs::read(&path)?;
    let half = whole.len() / 2;
    fs::write(&path, &whole[..half])?;
    for _ in 0..2 {
        pipeline.run()?.expect(1, &["a.jsonl.gz", &format!("at byte {half}"), "gzip data stops in the middle"])?;
    }
    let mut damaged = whole.clone();
    damaged[half] ^= 0x55;
    fs::write(&path, damaged)?;
    pipeline.run()?.expect(1, &["a.jsonl.gz", "the gzip data is damaged"])?;
    ensure!(!pipeline.path(FLATTEN.1).exists() && !pipeline.path("_dead").exists(), "what is damaged is not read");
    fs::write(&path, whole)?;
    pipeline.run()?.expect(0, &[])?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(0, &all))
}

/// Too little of it to unpack anything, and too few bytes for a file.
#[test]
fn a_file_of_few_bytes_is_not_passed_over_in_silence() -> Result<()> {
    let pipeline = pipeline()?;
    let folder = pipeline.folder().join("events");
    pipeline.events("a.jsonl", &orders::lines(&events(227, 20)))?;
    pipeline.events("b.jsonl", b"{\"op\":\"c")?;
    let finished = pipeline.run()?;
    finished.expect(0, &["WARN", "b.jsonl", "the last line has no end and is no whole record"])?;
    fs::remove_file(folder.join("b.jsonl"))?;
    pipeline.events("c", &orders::lines(&events(228, 20)))?;
    gzip(&folder.join("c"))?;
    let whole = fs::read(folder.join("c.gz"))?;
    for cut in [2, 10, 30] {
        fs::write(folder.join("c.gz"), &whole[..cut])?;
        pipeline.run()?.expect(1, &["c.gz", &format!("at byte {cut}"), "gzip data stops in the middle"])?;
    }
    fs::write(folder.join("c.gz"), whole)?;
    pipeline.run()?.expect(0, &[])
}

#[test]
fn what_unpacks_to_an_endless_line_is_bounded() -> Result<()> {
    let pipeline = pipeline()?;
    let folder = pipeline.folder().join("events");
    fs::create_dir(&folder)?;
    let zeros = File::create(folder.join("bomb.gz"))?;
    let mut unpacked =
        Command::new("head").args(["-c", "400000000", "/dev/zero"]).stdout(std::process::Stdio::piped()).spawn()?;
    let input = unpacked.stdout.take().context("its output")?;
    ensure!(Command::new("gzip").arg("-1").stdin(input).stdout(zeros).status()?.success());
    unpacked.wait()?;
    let finished = pipeline.run()?;
    finished.expect(1, &["bomb.gz", "longer than 64 MiB"])
}

#[test]
fn what_is_no_lines_is_refused_once() -> Result<()> {
    let text = "{\"before\":null,\"after\":{\"id\":1},\"op\":\"c\",\"ts_ms\":1760000000000}";
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let thousand = format!("{text}\n").repeat(1_000);
    for (name, content, words) in [
        ("a.jsonl", wide(&format!("\u{feff}{thousand}")), ["UTF-16", "iconv -f UTF-16 "]),
        ("a.jsonl", wide(&thousand), ["UTF-16", "iconv -f UTF-16LE"]),
        ("a.json", format!("[{text},\n{text}]\n").into_bytes(), ["one JSON array", "jq -c '.[]'"]),
        ("a.json", b"{\n  \"op\": \"c\",\n  \"after\": {}\n}\n".to_vec(), ["several lines", "jq -c ."]),
        ("a.avro", b"Obj\x01\x02\x16avro.schema".to_vec(), ["an Avro file", "avro-tools"]),
        ("a.parquet", b"PAR1\x15\x04\x15".to_vec(), ["a Parquet file", "table already"]),
        ("a.bin", [b"\0\0\0\0\x09", text.as_bytes(), b"\n"].concat(), ["schema registry", "schema 9"]),
        ("a.jsonl.xz", b"\xfd7zXZ\0\0\x04".to_vec(), ["compressed with xz", "xz -d"]),
    ] {
        let mut pipeline = pipeline()?;
        pipeline.spec["source"]["files"]["format"] = json!("value");
        pipeline.events(name, &content)?;
        let finished = pipeline.run()?;
        finished.expect(2, &[name, words[0], words[1]])?;
        ensure!(finished.stderr.lines().count() < 5, "{}", finished.stderr);
        ensure!(!pipeline.path("_dead").exists() && !pipeline.path(FLATTEN.1).exists(), "tables");
    }
    Ok(())
}

/// What the refusals say helps, as far as the tools are here.
#[test]
fn the_remedies_help() -> Result<()> {
    let events: Vec<Event> = events(224, 10);
    let values = events.iter().filter_map(|event| event.value.clone()).collect::<Vec<_>>().join(&b'\n');
    let text = String::from_utf8(values)?;
    let remedied = |name: &str, content: &[u8]| -> Result<()> {
        let mut pipeline = pipeline()?;
        pipeline.spec["source"]["files"]["format"] = json!("value");
        pipeline.spec["source"]["files"]["paths"] = json!(["events/*.jsonl"]);
        pipeline.events(name, content)?;
        let said = pipeline.run()?.said();
        let command = said.split('`').nth(1).context("a command")?.replace("NEW.jsonl", "events/new.jsonl");
        let status = Command::new("sh").arg("-c").arg(&command).current_dir(pipeline.folder()).status()?;
        ensure!(status.success(), "{command}");
        fs::remove_file(pipeline.folder().join("events").join(name))?;
        let report = pipeline.run()?.report()?;
        let seen =
            report["rows_in"].as_u64().unwrap_or_default() + report["records_control"].as_u64().unwrap_or_default();
        ensure!(report["rows_dead"] == 0 && seen == text.lines().count() as u64, "{command}: {report}");
        Ok(())
    };
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        remedied("a.jsonl", &format!("{text}\n").encode_utf16().flat_map(bytes).collect::<Vec<u8>>())?;
    }
    if Command::new("jq").arg("--version").output().is_ok() {
        let array = format!("[{}]", text.lines().collect::<Vec<_>>().join(",\n"));
        remedied("a.jsonl", array.as_bytes())?;
        remedied("a.jsonl", text.replace('{', "{\n  ").as_bytes())?;
    }
    Ok(())
}

#[test]
fn nul_bytes_at_the_end_are_not_read() -> Result<()> {
    let (events, pipeline) = (events(225, 4), pipeline()?);
    let lines = orders::lines(&events);
    pipeline.events("a.jsonl", &[&lines[..], &[0; 300]].concat())?;
    pipeline.run()?.expect(0, &["a.jsonl", "NUL bytes", "truncate -s"])?;
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &placed(0, &events))?;
    File::options().write(true).open(pipeline.folder().join("events/a.jsonl"))?.set_len(lines.len() as u64)?;
    pipeline.run()?.expect(0, &[])
}

#[test]
fn a_folder_is_no_file() -> Result<()> {
    let mut pipeline = pipeline()?;
    fs::create_dir(pipeline.folder().join("events"))?;
    pipeline.spec["source"]["files"]["paths"] = json!(["events"]);
    pipeline.run()?.expect(3, &["events", "it is a directory", "events/*`"])?;
    pipeline.spec["source"]["files"]["paths"] = json!(["events/*.jsonl"]);
    pipeline.run()?.expect(3, &["events/*.jsonl", "no file is there"])
}

/// Thousands of files with the usual limit of open ones; and a restart that reads none of them.
#[test]
fn three_thousand_files_are_read_one_after_the_other() -> Result<()> {
    let (all, pipeline) = (events(226, 3_000), pipeline()?);
    for (n, event) in all.iter().enumerate() {
        pipeline.events(&format!("{n:05}.jsonl"), &orders::lines(std::slice::from_ref(event)))?;
    }
    let file = pipeline.file()?;
    let limited = |limit: &str| -> Result<Lakemill> {
        let lakemill = lakemill_tests::places::lakemill()?;
        let script = format!(
            "ulimit -n {limit}; exec '{}' run '{}' --until-caught-up --json",
            lakemill.display(),
            file.display()
        );
        Lakemill::start_program(Path::new("/bin/sh"), ["-c".to_owned(), script], |_| ())
    };
    let mut lakemill = limited("1024")?;
    let (id, mut most) = (lakemill.id(), 0);
    wait::until(std::time::Duration::from_secs(120), "its end", || {
        let open = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let events = open.filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.parent().is_some_and(|p| p.ends_with("events")))
        });
        most = most.max(events.count());
        Ok((!lakemill.is_running()?).then_some(()))
    })?;
    let report = lakemill.finish()?.report()?;
    ensure!(most <= 64, "{most} files were open at once");
    ensure!(report["rss_bytes_max"].as_u64().is_some_and(|bytes| bytes < 200 << 20), "{report}");
    let place = |n: usize| (i32::try_from(n).unwrap_or_default(), 0);
    let expected: Vec<_> = all.iter().enumerate().map(|(n, event)| (event, place(n))).collect();
    check(&pipeline.table(FLATTEN.1)?, &pipeline.path("_dead"), &expected)?;
    let again = limited("256")?.finish()?.report()?;
    ensure!(again["rows_in"] == 0 && again["commits"] == 0, "{again}");
    Ok(())
}
