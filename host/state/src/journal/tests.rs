//! The journal across restarts, cuts, flips and processes.

use std::process::Command;

use lakemill_model::{Disposition, NextOffset, OffsetRange, TopicPartition};

use super::*;
use crate::plan::{Canary, Code, Death, Piece};

fn plan(id: u64, start: i64, end: i64) -> Plan {
    let range = OffsetRange { start: NextOffset(start), end: NextOffset(end) };
    Plan {
        checkpoint: CheckpointId(id),
        delta: [(TopicPartition::new("shop.orders", 0), range)].into_iter().collect(),
        now_us: 1_700_000_000_000_000 + id as i64,
        watermark_us: Some(id as i64),
        code: Code { digests: vec!["ab".repeat(32)], settings: vec!["cd".repeat(32)] },
        canary: None,
        cuts: Vec::new(),
        refused: false,
        overtaken: Vec::new(),
        unfit: Vec::new(),
    }
}

fn start(next: i64) -> Positions {
    [(TopicPartition::new("shop.orders", 0), NextOffset(next))].into_iter().collect()
}

#[test]
fn remembers_what_is_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "p").expect("opens");
    assert_eq!(journal.remembered(), &Remembered::default());
    journal.start(&start(7)).expect("start");
    for id in 1..=3 {
        journal.plan(plan(id, id as i64 * 10, id as i64 * 10 + 10)).expect("plan");
    }
    journal.done(CheckpointId(1), Vec::new()).expect("done");
    let expected = journal.remembered().clone();
    drop(journal);

    let mut journal = Journal::open(folder.path(), "p").expect("opens again");
    assert_eq!(journal.remembered(), &expected);
    assert_eq!(
        expected,
        Remembered { start: start(7), plans: vec![plan(2, 20, 30), plan(3, 30, 40)], last: 3, ..Remembered::default() }
    );
    journal.done(CheckpointId(2), Vec::new()).expect("done");
    journal.done(CheckpointId(3), Vec::new()).expect("done");
    drop(journal);
    let journal = Journal::open(folder.path(), "p").expect("opens once more");
    assert_eq!(journal.remembered(), &Remembered { start: start(7), plans: vec![], last: 3, ..Remembered::default() });
}

/// Plans stand in the order in which they were taken over, not in that of their numbers.
#[test]
fn a_plan_of_the_highest_number_is_not_forgotten_when_another_one_follows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Journal::open(folder.path(), "p").expect("first");
    let mut second = Journal::open(folder.path(), "p").expect("second");
    first.plan(plan(5, 10, 20)).expect("plan");
    second.plan(plan(3, 20, 30)).expect("plan");
    drop((first, second));
    let wanted = vec![plan(5, 10, 20), plan(3, 20, 30)];
    for again in 0..3 {
        let journal = Journal::open(folder.path(), "p").expect("opens");
        assert_eq!(
            (&journal.remembered().plans, journal.remembered().last),
            (&wanted, 5),
            "opened {again} times before"
        );
    }
}

#[test]
fn a_second_process_gets_a_journal_of_its_own_and_the_next_one_takes_over_what_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Journal::open(folder.path(), "p").expect("first");
    let mut second = Journal::open(folder.path(), "p").expect("second");
    assert_ne!(first.path(), second.path());
    first.start(&start(3)).expect("start");
    first.plan(plan(2, 0, 5)).expect("plan");
    second.plan(plan(2, 5, 9)).expect("plan");
    drop(first);
    let again = Journal::open(folder.path(), "p").expect("the freed one");
    assert_eq!(again.remembered().plans, [plan(2, 0, 5)], "the second one is still running");
    drop((second, again));
    let alone = Journal::open(folder.path(), "p").expect("both are free");
    let renumbered = Plan { checkpoint: CheckpointId(3), ..plan(2, 5, 9) };
    assert_eq!(
        alone.remembered(),
        &Remembered { start: start(3), plans: vec![plan(2, 0, 5), renumbered], last: 3, ..Remembered::default() }
    );
    let journals = fs::read_dir(folder.path()).expect("lists").flatten();
    let journals = journals.filter(|entry| entry.path().extension().is_some_and(|e| e == "journal")).count();
    assert_eq!(journals, 1);
}

#[test]
fn another_pipeline_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(Journal::open(folder.path(), "p").expect("opens"));
    let error = Journal::open(folder.path(), "q").expect_err("p's journal");
    assert!(matches!(error, StateError::OtherPipeline { ref found, .. } if found == "p"), "{error}");
}

#[test]
fn every_cut_keeps_a_prefix_and_every_flip_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "p").expect("opens");
    for id in 1..=3 {
        journal.plan(plan(id, id as i64, id as i64 + 1)).expect("plan");
    }
    let path = journal.path().to_owned();
    drop(journal);
    let whole = fs::read(&path).expect("reads");
    for cut in 0..whole.len() {
        let remembered = read(&path, "p", &whole[..cut]).expect("a torn journal is a shorter one");
        let plans: Vec<u64> = remembered.plans.iter().map(|p| p.checkpoint.0).collect();
        assert!([1, 2, 3].starts_with(&plans), "cut at {cut}: {plans:?}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        match read(&path, "p", &bytes) {
            Err(StateError::Corrupt { .. }) => {}
            // The newline of the last record: it reads as torn.
            Ok(remembered) => assert!(at == whole.len() - 1 && remembered.plans.len() == 2, "flip at {at}"),
            Err(other) => panic!("flip at {at}: {other}"),
        }
    }
}

#[test]
fn a_damaged_journal_says_what_deleting_it_costs() {
    let header = frame(r#"{"format":{"version":1,"pipeline":"p"}}"#);
    let text = format!("{header}0123 nonsense\n");
    let error = read(Path::new("state/0.journal"), "p", text.as_bytes()).expect_err("is damaged").to_string();
    let at = format!("state/0.journal is damaged at byte {}: the checksum does not match; ", header.len());
    let told = ["can be deleted if every sink", "costs the plans of unfinished batches", "the ids of the topics"];
    assert!(error.starts_with(&at) && told.iter().all(|words| error.contains(words)), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = frame(r#"{"format":{"version":2,"pipeline":"p","more":true}}"#) + &frame(r#"{"unheard":1}"#);
    let error = read(&folder.path().join("0.journal"), "p", text.as_bytes()).expect_err("newer");
    assert!(matches!(error, StateError::Newer { found: 2, .. }), "{error}");
}

#[test]
fn it_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "p").expect("opens");
    for id in 1..=COMPACT_EVERY as u64 {
        journal.done(CheckpointId(id), Vec::new()).expect("done");
    }
    journal.plan(plan(9999, 0, 1)).expect("plan");
    let size = fs::metadata(journal.path()).expect("is there").len();
    assert!(size < 1000, "{size} bytes");
    drop(journal);
    let journal = Journal::open(folder.path(), "p").expect("opens");
    assert_eq!(journal.remembered().plans, [plan(9999, 0, 1)]);
}

#[test]
fn a_plan_that_is_made_anew_and_its_cuts_are_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "p").expect("opens");
    journal.plan(plan(1, 0, 5)).expect("plan");
    journal.plan(plan(2, 5, 9)).expect("plan");
    let code = Code { digests: vec!["ef".repeat(32)], settings: vec!["01".repeat(32)] };
    let anew = Plan { canary: Some(Canary { code: code.clone(), percent: 10 }), ..plan(1, 0, 5) };
    journal.plan(anew.clone()).expect("plan");
    let death = Death { reason: "it trapped".into(), backtrace: Some("frame 0".into()) };
    let pieces =
        vec![Piece { partition: 0, offset: 5, dead: None }, Piece { partition: 1, offset: 4, dead: Some(death) }];
    let cuts = vec![Cut { transform: 1, topic: "t".into(), pieces }];
    journal.cut(CheckpointId(2), cuts.clone()).expect("cuts");
    journal.refuse(CheckpointId(2)).expect("refuses");
    let expected = vec![anew, Plan { cuts, refused: true, ..plan(2, 5, 9) }];
    assert_eq!(journal.remembered().plans, expected);
    let content: Vec<String> = Journal::content(folder.path(), "p").expect("reads").into_iter().collect();
    assert_eq!(content, ["01", "ab", "cd", "ef"].map(|byte| byte.repeat(32)));
    drop(journal);
    assert_eq!(Journal::open(folder.path(), "p").expect("opens").remembered().plans, expected);
}

/// A process has the open files of the one that starts it, until it runs its program.
#[test]
fn a_journal_is_free_when_it_is_closed_whoever_is_being_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "p").expect("opens");
    journal.plan(plan(1, 0, 5)).expect("plan");
    let _inherited = journal._lock.try_clone().expect("one more of it");
    drop(journal);
    assert_eq!(Journal::open(folder.path(), "p").expect("opens").remembered().plans, [plan(1, 0, 5)]);
}

#[test]
fn a_journal_of_before_topics_had_ids_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = frame(r#"{"format":{"version":1,"pipeline":"p"}}"#)
        + &frame(r#"{"owned":[["shop.orders",0,{"epoch":3,"done":40,"held_max":7}]]}"#);
    let remembered = read(&folder.path().join("0.journal"), "p", text.as_bytes()).expect("readable");
    let owned = Owned { epoch: Epoch(3), claimed: None, done: NextOffset(40), held_max: NextOffset(7), topic_id: None };
    assert_eq!(remembered.owned, [(TopicPartition::new("shop.orders", 0), owned)].into());
}

#[test]
fn how_far_partitions_are_is_remembered_under_the_latest_epoch() {
    let tp = TopicPartition::new("shop.orders", 0);
    let owned = |epoch, done| Owned {
        epoch: Epoch(epoch),
        claimed: None,
        done: NextOffset(done),
        held_max: NextOffset(7),
        topic_id: Some(format!("id {epoch}")),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Journal::open(folder.path(), "p").expect("opens");
    let mut second = Journal::open(folder.path(), "p").expect("opens");
    first.own(&[(tp.clone(), owned(3, 10))].into()).expect("owns");
    first.plan(plan(1, 10, 20)).expect("plan");
    first.plan(plan(2, 20, 30)).expect("plan");
    first.done(CheckpointId(1), Vec::new()).expect("done");
    first.void(CheckpointId(2)).expect("void");
    assert_eq!(first.remembered().owned[&tp], owned(3, 20));
    second.own(&[(tp.clone(), owned(2, 90))].into()).expect("owns");
    drop((first, second));
    let both = Journal::open(folder.path(), "p").expect("opens");
    assert_eq!(both.remembered().owned[&tp], owned(3, 20));
    drop(both);
    let mut again = Journal::open(folder.path(), "p").expect("opens");
    assert_eq!(again.remembered().owned[&tp], owned(3, 20));
    again.claim(&[(tp.clone(), Epoch(4))].into_iter().collect()).expect("claims");
    drop(again);
    let claimed = Owned { claimed: Some(Epoch(4)), ..owned(3, 20) };
    assert_eq!(Journal::open(folder.path(), "p").expect("opens").remembered().owned[&tp], claimed);
}

/// Set in the process whose files may not have more than a KiB.
const SMALL: &str = "LAKEMILL_TEST_SMALL_FILES";

#[test]
fn a_record_without_room_leaves_no_part_of_itself() {
    if std::env::var_os(SMALL).is_none() {
        // Without the signal, a write beyond the limit is answered as one on a full disk: it is cut, and the next one fails.
        let child = Command::new("bash")
            .args(["-c", r#"trap '' XFSZ; ulimit -f 1; exec "$0" --exact "$1""#])
            .arg(std::env::current_exe().expect("this program"))
            .arg("journal::tests::a_record_without_room_leaves_no_part_of_itself")
            .env(SMALL, "1")
            .output()
            .expect("starts");
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "p").expect("opens");
    let mut planned = 0;
    let error = loop {
        match journal.plan(plan(planned + 1, planned as i64, planned as i64 + 1)) {
            Ok(()) => planned += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StateError::Io { action: "write", .. }), "{error}");
    assert_eq!(error.disposition(), Disposition::Retry);
    let whole = fs::read(journal.path()).expect("reads");
    assert!(planned > 0 && whole.len() < 1024 && whole.ends_with(b"\n"), "a part would fill it: {}", whole.len());
    // What is smaller has room, and stands on a line of its own.
    journal.done(CheckpointId(1), Vec::new()).expect("done");
    let expected = journal.remembered().clone();
    assert_eq!((expected.plans.len() as u64, expected.last), (planned - 1, planned));
    drop(journal);
    assert_eq!(Journal::open(folder.path(), "p").expect("opens").remembered(), &expected);
}

/// A journal with one plan, and `device` in its file's place.
fn on_device(folder: &Path, device: &str) -> Journal {
    let mut journal = Journal::open(folder, "p").expect("opens");
    journal.plan(plan(1, 0, 5)).expect("plan");
    journal.file = OpenOptions::new().append(true).open(device).expect("opens");
    journal
}

/// Nothing gets into the file, whatever it would take by now, until it is opened again.
fn assert_broken(mut journal: Journal, folder: &Path) {
    let path = journal.path().to_owned();
    journal.file = OpenOptions::new().append(true).open(&path).expect("opens");
    let before = fs::read(&path).expect("reads");
    let mut all = vec![journal.plan(plan(2, 5, 9)), journal.start(&start(3)), journal.cut(CheckpointId(1), vec![])];
    all.extend([journal.own(&BTreeMap::new()), journal.refuse(CheckpointId(1)), journal.void(CheckpointId(1))]);
    all.push(journal.done(CheckpointId(1), Vec::new()));
    for refused in all {
        let error = refused.expect_err("it is broken");
        assert!(matches!(error, StateError::Broken { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Retry);
    }
    assert_eq!(fs::read(&path).expect("reads"), before);
    let expected = Remembered { plans: vec![plan(1, 0, 5)], last: 1, ..Remembered::default() };
    assert_eq!(journal.remembered(), &expected);
    drop(journal);
    let mut journal = Journal::open(folder, "p").expect("opens again");
    assert_eq!(journal.remembered(), &expected);
    journal.plan(plan(2, 5, 9)).expect("plan");
    drop(journal);
    assert_eq!(Journal::open(folder, "p").expect("opens").remembered().plans, [plan(1, 0, 5), plan(2, 5, 9)]);
}

#[test]
fn a_part_that_cannot_be_taken_back_stays_the_last_thing_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    // No write to it succeeds, and its length cannot be set.
    let mut journal = on_device(folder.path(), "/dev/full");
    let error = journal.done(CheckpointId(1), Vec::new()).expect_err("it is full");
    assert!(matches!(error, StateError::Io { action: "write", .. }), "{error}");
    let part = &frame(&to_json(&Record::Done(CheckpointId(1), Vec::new())))[..12];
    let mut file = OpenOptions::new().append(true).open(journal.path()).expect("opens");
    file.write_all(part.as_bytes()).expect("writes");
    assert_broken(journal, folder.path());
}

#[test]
fn after_a_sync_that_failed_nothing_is_claimed() {
    let folder = tempfile::tempdir().expect("a folder");
    // It takes every write and can be synced never.
    let mut journal = on_device(folder.path(), "/dev/null");
    let error = journal.plan(plan(2, 5, 9)).expect_err("it is not on a disk");
    assert!(matches!(error, StateError::Io { action: "sync", .. }), "{error}");
    assert_broken(journal, folder.path());
}

#[test]
fn a_journal_that_could_not_be_written_anew_takes_nothing_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(&folder.path().join("state"), "p").expect("opens");
    journal.records = COMPACT_EVERY;
    fs::remove_dir_all(folder.path().join("state")).expect("removes");
    assert!(matches!(journal.done(CheckpointId(1), Vec::new()), Err(StateError::Io { .. })));
    // The file that it holds has no name any more.
    assert!(matches!(journal.plan(plan(1, 0, 5)), Err(StateError::Broken { .. })));
}

/// A process died over a batch; another one took the partition, died over its own batch of the same records, and both journals are
/// found.
#[test]
fn of_two_plans_for_the_same_records_that_of_the_later_owner_counts() {
    let tp = TopicPartition::new("shop.orders", 0);
    let owned = |epoch| Owned {
        epoch: Epoch(epoch),
        claimed: None,
        done: NextOffset(40),
        held_max: NextOffset(40),
        topic_id: None,
    };
    for later_is_first in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = Journal::open(folder.path(), "p").expect("opens");
        let mut second = Journal::open(folder.path(), "p").expect("opens");
        let (later, earlier) = if later_is_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
        earlier.own(&[(tp.clone(), owned(3))].into()).expect("owns");
        earlier.plan(plan(1, 30, 40)).expect("plan");
        earlier.plan(plan(2, 40, 50)).expect("plan");
        later.own(&[(tp.clone(), owned(4))].into()).expect("owns");
        later.plan(plan(7, 40, 45)).expect("plan");
        drop((first, second));
        let both = Journal::open(folder.path(), "p").expect("opens");
        let mut ranges: Vec<_> =
            both.remembered().plans.iter().map(|plan| plan.delta.get(&tp).map(|r| (r.start.0, r.end.0))).collect();
        ranges.sort();
        assert_eq!(ranges, [Some((30, 40)), Some((40, 45))], "the later is first: {later_is_first}");
    }
}
