//! Journals of batch plans, as a crash, a bad disk or another version may leave them: opened or refused, never changed by a
//! refusal, and the same again when they are opened once more.

use std::path::Path;

use lakemill_state::{Journal, Remembered};

use crate::PART;

/// The pipeline that the journals belong to.
const PIPELINE: &str = "p";

/// Journals of as many processes.
const JOURNALS_MAX: usize = 3;

/// Opens them; the first byte says whether they are files as they are, or records whose checksums are still to be made.
pub fn plan(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let folder = crate::folder();
    let of = |bytes: &[u8]| if how % 2 == 0 { framed(bytes) } else { bytes.to_vec() };
    let journals: Vec<_> = rest.split(|byte| *byte == PART).take(JOURNALS_MAX).map(of).collect();
    for (slot, journal) in journals.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{slot}.lock")), []).expect("writes");
        std::fs::write(folder.path().join(format!("{slot}.journal")), journal).expect("writes");
    }
    let mut journal = match Journal::open(folder.path(), PIPELINE) {
        Ok(journal) => journal,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            for (slot, journal) in journals.iter().enumerate() {
                let left = std::fs::read(folder.path().join(format!("{slot}.journal"))).expect("is left");
                assert_eq!(left, *journal, "refused, but changed");
            }
            return;
        }
    };
    let remembered = journal.remembered().clone();
    Journal::content(folder.path(), PIPELINE).expect("what it wrote");
    drop(journal);
    assert_eq!(reopened(folder.path()), remembered, "another time");

    let Some(first) = remembered.plans.first() else { return };
    journal = Journal::open(folder.path(), PIPELINE).expect("what it wrote");
    journal.done(first.checkpoint, Vec::new()).expect("writes");
    journal.plan(first.clone()).expect("writes");
    let remembered = journal.remembered().clone();
    drop(journal);
    assert_eq!(reopened(folder.path()), remembered, "after more");
}

fn reopened(folder: &Path) -> Remembered {
    Journal::open(folder, PIPELINE).expect("what it wrote").remembered().clone()
}

/// A record of each line, after the one that says what the file is.
fn framed(lines: &[u8]) -> Vec<u8> {
    let mut file = frame(br#"{"format":{"version":1,"pipeline":"p"}}"#);
    lines.split(|byte| *byte == b'\n').for_each(|line| file.extend(frame(line)));
    file
}

fn frame(json: &[u8]) -> Vec<u8> {
    [format!("{:08x} ", crc32fast::hash(json)).as_bytes(), json, b"\n"].concat()
}

/// Every kind of record, in one journal and in several, as files and as records.
pub fn seeds() -> Vec<Vec<u8>> {
    let plan = |id: u32, start: u32| {
        let range = format!(r#"[["t",0,{{"start":{start},"end":{}}}]]"#, start + 10);
        format!(
            r#"{{"plan":{{"checkpoint":{id},"delta":{range},"now_us":1700000000000000,"watermark_us":null,"digests":["ab"],"settings":["cd"]}}}}"#
        )
    };
    let start = r#"{"start":[["t",0,7],["t",1,0]]}"#;
    let owned = r#"{"owned":[["t",0,{"epoch":3,"done":10,"held_max":12}]]}"#;
    let cuts = r#"{"cuts":[2,[{"transform":1,"topic":"t","pieces":[{"partition":0,"offset":0},{"partition":0,"offset":4,"dead":{"reason":"it trapped","backtrace":"frame 0"}}]}]]}"#;
    let canary = plan(1, 0)
        .replace("]}}", r#"],"canary":{"code":{"digests":["ef"],"settings":[]},"percent":10},"refused":true}}"#);
    let full = [start, owned, &plan(1, 10), &plan(2, 20), cuts, r#"{"done":1}"#, r#"{"refused":2}"#, &canary];
    let full = full.join("\n");
    let void = [&*plan(3, 30), r#"{"void":3}"#, r#"{"done":9}"#].join("\n");
    let newer = r#"{"format":{"version":2,"pipeline":"p","more":true}}"#.to_owned();
    let other = r#"{"format":{"version":1,"pipeline":"q"}}"#.to_owned();
    let two = [&*full, &*void].join("\x1e");
    let three = [&*full, &*plan(1, 40), &*owned.replace('3', "4")].join("\x1e");
    let mut seeds: Vec<Vec<u8>> =
        [&full, &void, &newer, &other, &two, &three].map(|records| [b"0", records.as_bytes()].concat()).into();
    let file = framed(full.as_bytes());
    seeds.push([b"1", &file[..]].concat());
    seeds.push([b"1", &file[..file.len() - 9]].concat());
    seeds.push([b"1", &file[..], &[PART], &framed(void.as_bytes())].concat());
    seeds
}
