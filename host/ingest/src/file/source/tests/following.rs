//! Files that are followed, poll by poll: what happens to them between two looks, and between two polls.

use std::fs;

use super::*;

/// A source that is followed; time does not pass by itself.
struct Followed {
    source: FileSource,
    /// Where partitions go on.
    positions: Positions,
}

impl Followed {
    fn new(files: &Files) -> Self {
        let options = FileOptions { follow: true, ..files.options(LineFormat::Value, Some("t")) };
        let source = FileSource::open(options, Box::new(files.memory.clone())).expect("files");
        Self { source, positions: Positions::new() }
    }

    /// One poll: its rows, each of a range that the source says.
    fn poll(&mut self) -> Result<Vec<Row>, SourceError> {
        let mut batch = RawBatch::default();
        match self.source.poll(&mut batch, &LIMITS, Instant::now())? {
            Polled::Assigned(partitions) => {
                let wanted = self.source.wanted(&partitions, &self.positions)?;
                let at = |tp: TopicPartition| (tp.clone(), self.positions.get(&tp).unwrap_or(NextOffset(0)));
                self.source.start(&wanted.into_iter().map(at).collect())?;
            }
            Polled::Records => {}
            other => panic!("it is followed: {other:?}"),
        }
        let ranges = self.source.take_ranges();
        for record in batch.records() {
            let range = ranges.get(&batch.topic_partition(record)).expect("the range of a record");
            assert!((range.start.0..range.end.0).contains(&record.offset), "{ranges}");
        }
        self.positions.advance(&ranges);
        Ok(rows(&batch))
    }

    /// All that is to be had without a look.
    fn read(&mut self) -> Result<Vec<Row>, SourceError> {
        let mut all = self.poll()?;
        while !self.source.turns.is_empty() || !self.source.unsaid.is_empty() {
            all.extend(self.poll()?);
        }
        Ok(all)
    }

    /// The next poll looks for files.
    fn is_time(&mut self) {
        self.source.looked -= LOOK_EVERY;
    }

    /// All that is to be had after so many looks.
    fn look(&mut self, times: usize) -> Vec<Row> {
        let mut all = Vec::new();
        for _ in 0..times {
            self.is_time();
            all.extend(self.read().expect("reads"));
        }
        all
    }
}

fn lines(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).flat_map(|n| format!("{{\"id\":{n}}}\n").into_bytes()).collect()
}

/// The rows that lines are as a partition, from its line `at` on.
fn rows_of(tp: &str, at: i64, lines: &[u8]) -> Vec<Row> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    (at..).zip(lines).map(|(offset, line)| value(tp, offset, line)).collect()
}

#[test]
fn a_file_that_is_compressed_slowly_is_the_same_file() {
    for zip in [gzip, zstd] {
        for cut in [3, 9, 20, 2_000] {
            let content = lines(0, 3_000);
            let files = Files::new(&[("app.log", &content)]);
            let mut followed = Followed::new(&files);
            assert_eq!(followed.look(2), rows_of("t/0", 0, &content));
            let packed = zip(&content);
            files.append("app.log.x", &packed[..cut]);
            assert_eq!(followed.look(4), [], "cut at {cut}");
            files.append("app.log.x", &packed[cut..]);
            assert_eq!(followed.look(4), [], "the original is still there");
            fs::remove_file(files.path("app.log")).expect("removes");
            assert_eq!(followed.look(2), []);
            assert_eq!(files.memory.known().len(), 1);
            // And after a restart.
            let positions = followed.positions.clone();
            let mut followed = Followed { positions, ..Followed::new(&files) };
            assert_eq!(followed.look(2), []);
        }
    }
}

#[test]
fn a_restart_while_a_file_is_compressed_reads_nothing_twice() {
    let content = lines(0, 3_000);
    let files = Files::new(&[("app.log", &content)]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2).len(), 3_000);
    let (packed, positions) = (gzip(&content), followed.positions.clone());
    files.append("app.log.gz", &packed[..2_000]);
    assert_eq!(followed.look(3), []);
    drop(followed);
    files.append("app.log.gz", &packed[2_000..]);
    fs::remove_file(files.path("app.log")).expect("removes");
    assert_eq!(Followed { positions, ..Followed::new(&files) }.look(3), []);
}

#[test]
fn a_compressed_file_that_goes_on_is_waited_for_until_it_is_whole() {
    let (one, two) = (lines(0, 500), lines(500, 500));
    let files = Files::new(&[("a.gz", &gzip(&one)[..700])]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(4), [], "nobody knows how it goes on");
    files.append("a.gz", &gzip(&one)[700..]);
    assert_eq!(followed.look(2), rows_of("t/0", 0, &one));
    let member = gzip(&two);
    files.append("a.gz", &member[..500]);
    assert_eq!(followed.look(3), []);
    files.append("a.gz", &member[500..]);
    assert_eq!(followed.look(1), rows_of("t/0", 500, &two));
}

#[test]
fn a_file_that_is_copied_slowly_and_cut_is_read_on_in_the_copy() {
    for step in [2, 7, 20, 5_000] {
        let content = lines(0, 3_000);
        let files = Files::new(&[("log", &content)]);
        let mut followed = Followed::new(&files);
        assert_eq!(followed.look(2).len(), 3_000);
        files.append("log.1", &content[..step]);
        assert_eq!(followed.look(3), [], "{step}");
        files.append("log.1", &content[step..2 * step]);
        assert_eq!(followed.look(2), [], "{step}");
        // What is written while it is copied comes into the copy.
        let more = lines(3_000, 1);
        files.append("log", &more);
        assert_eq!(followed.look(2), rows_of("t/0", 3_000, &more));
        files.append("log.1", &content[2 * step..]);
        files.append("log.1", &more);
        assert_eq!(followed.look(2), [], "{step}");
        fs::File::create(files.path("log")).expect("cuts");
        assert_eq!(followed.look(2), []);
        files.append("log", &lines(9_000, 2));
        assert_eq!(followed.look(2), rows_of("t/1", 0, &lines(9_000, 2)));
    }
}

#[test]
fn a_file_that_is_unpacked_slowly_is_the_same_file() {
    let content = lines(0, 3_000);
    let files = Files::new(&[("log.gz", &gzip(&content))]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2), rows_of("t/0", 0, &content));
    for part in content.chunks(content.len() / 60) {
        files.append("log", part);
        assert_eq!(followed.look(1), []);
    }
    fs::remove_file(files.path("log.gz")).expect("removes");
    assert_eq!(followed.look(2), []);
    files.append("log", &lines(3_000, 1));
    assert_eq!(followed.look(2), rows_of("t/0", 3_000, &lines(3_000, 1)));
}

#[test]
fn two_copies_are_two_files_when_both_stay() {
    let content = lines(0, 600);
    let half = &content[..4_500];
    let files = Files::new(&[("a", &content)]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2), rows_of("t/0", 0, &content));
    files.append("b", half);
    files.append("c", &content);
    files.append("d.gz", &gzip(&content));
    files.append("e", b"{\"id\":0}\n{\"other\":1}\n");
    assert_eq!(followed.look(2), rows_of("t/1", 0, b"{\"id\":0}\n{\"other\":1}\n"), "this one is no copy");
    let all: Vec<_> = followed.look(40);
    assert_eq!(all.len(), half.iter().filter(|byte| **byte == b'\n').count() + 2 * 600);
    // One that grows beyond its original is not put off for ever.
    files.append("f", &content);
    let mut seen = 0;
    for n in 0..40 {
        files.append("f", &lines(1_000 + n, 1));
        seen += followed.look(1).len();
    }
    assert!(seen >= 600 + 30, "{seen}");
}

/// As a version made it that took a copy in the making for a file.
#[test]
fn a_partition_of_which_nothing_was_read_yields_to_the_one_that_was() {
    let content = lines(0, 100);
    let files = Files::new(&[("log", &content)]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2).len(), 100);
    let positions = followed.positions.clone();
    drop(followed);
    files.append("log.gz", &gzip(&content));
    let mut source = files.source(LineFormat::Value, Some("t"));
    assert!(
        matches!(source.poll(&mut RawBatch::default(), &LIMITS, soon()), Ok(Polled::Assigned(all)) if all.len() == 2)
    );
    drop(source);
    fs::remove_file(files.path("log")).expect("removes");
    assert_eq!(Followed { positions: positions.clone(), ..Followed::new(&files) }.look(2), []);
    assert_eq!(Followed { positions, ..Followed::new(&files) }.look(2), [], "and it is remembered");
}

#[test]
fn a_file_that_goes_in_the_poll_in_which_it_was_read_keeps_its_range() {
    let files = Files::new(&[("a", &lines(0, 3))]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2).len(), 3);
    files.append("a", &lines(3, 2));
    assert_eq!(followed.poll().expect("sees that it has grown"), []);
    fs::remove_file(files.path("a")).expect("removes");
    followed.is_time();
    assert_eq!(followed.poll().expect("reads"), rows_of("t/0", 3, &lines(3, 2)));
    assert_eq!(followed.positions.get(&TopicPartition::new("t", 0)), Some(NextOffset(5)));
    assert_eq!(followed.look(2), []);
    assert!(followed.source.stands.is_empty() && followed.source.open.is_empty(), "it is let go");
}

#[test]
fn a_line_that_comes_between_the_end_and_the_look_is_read() {
    let files = Files::new(&[("a", &lines(0, 3))]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2).len(), 3);
    let tp = TopicPartition::new("t", 0);
    let mut lines = followed.source.lines(&tp, 3).expect("reads").expect("is as it was");
    assert_eq!(lines.next().expect("reads"), Next::End);
    files.append("a", &self::lines(3, 1));
    let reached = Reached { next: 3, records: 3 };
    followed.source.note(&tp, &mut lines, &reached, true).expect("notes");
    followed.source.keep_open(&tp, lines);
    assert_eq!(followed.read().expect("reads"), rows_of("t/0", 3, &self::lines(3, 1)));
}

#[test]
fn a_file_that_is_cut_and_filled_beyond_its_old_end_is_another_one() {
    for unread in [0, 5] {
        let files = Files::new(&[("a", &lines(0, 300))]);
        let mut followed = Followed::new(&files);
        assert_eq!(followed.look(2).len(), 300);
        files.append("a", &b"{\"half\":"[..unread]);
        assert_eq!(followed.read().expect("reads"), []);
        let other = lines(5_000, 900);
        fs::write(files.path("a"), &other).expect("cuts and fills");
        let read = followed.read();
        if unread == 0 {
            assert_eq!(read.expect("reads"), rows_of("t/1", 0, &other));
            assert_eq!(followed.look(2), []);
        } else {
            let said = read.expect_err("half a line is lost").to_string();
            assert!(said.contains("/a: the file is gone, or another one has its place"), "{said}");
        }
    }
}

#[test]
fn a_file_that_is_cut_while_it_waits_for_its_turn_is_missed() {
    let files = Files::new(&[("a", &lines(0, 2_500))]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.poll().expect("says what there is"), []);
    let read = followed.poll().expect("reads").len();
    assert!((1..2_000).contains(&read), "{read}");
    fs::write(files.path("a"), lines(9_000, 4_000)).expect("cuts and fills");
    let said = followed.read().expect_err("lines are lost").to_string();
    assert!(
        said.contains("/a") && (said.contains("it was cut") || said.contains("another one has its place")),
        "{said}"
    );
}

#[test]
fn a_copy_that_takes_the_place_of_a_file_that_is_open_is_read_on() {
    let files = Files::new(&[("a", &lines(0, 3))]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.look(2).len(), 3);
    fs::write(files.path(".saved"), lines(0, 4)).expect("writes");
    fs::rename(files.path(".saved"), files.path("a")).expect("renames");
    files.append("a", &lines(4, 1));
    assert_eq!(followed.look(1), rows_of("t/0", 3, &lines(3, 2)));
}

#[test]
fn a_file_that_is_renamed_between_a_look_and_its_turn_is_read() {
    let files = Files::new(&[("a", &lines(0, 3))]);
    let mut followed = Followed::new(&files);
    assert_eq!(followed.poll().expect("says what there is"), []);
    fs::rename(files.path("a"), files.path("b")).expect("renames");
    files.append("a", &lines(10, 2));
    let mut read = followed.read().expect("reads");
    read.sort();
    assert_eq!(read, [rows_of("t/0", 0, &lines(0, 3)), rows_of("t/1", 0, &lines(10, 2))].concat());
}

/// Not followed, but between two polls, too.
#[test]
fn a_last_line_that_fills_a_batch_may_get_its_end_before_the_next() {
    let files = Files::new(&[("t", b"{\"id\":0}\n{\"id\":1}")]);
    let mut source = files.source(LineFormat::Value, None);
    let limits = BatchLimits { rows_max: 2, ..LIMITS };
    let mut batch = RawBatch::default();
    assert!(matches!(source.poll(&mut batch, &limits, soon()), Ok(Polled::Assigned(_))));
    source.start(&[(TopicPartition::new("t", 0), NextOffset(0))].into_iter().collect()).expect("starts");
    assert_eq!(source.poll(&mut batch, &limits, soon()).expect("reads"), Polled::Records);
    assert_eq!(batch.len(), 2);
    files.append("t", b"\n{\"id\":2}\n");
    let (rows, _) = read(&mut source, &limits, StartAt::Earliest);
    assert_eq!(rows, [value("t/0", 2, b"{\"id\":2}")]);
    // Read again, the lines have the same numbers.
    let mut again = RawBatch::default();
    let all = [(TopicPartition::new("t", 0), lakemill_model::source::range(0, 3))].into_iter().collect();
    source.reread(&all, &mut again).expect("reads again");
    assert_eq!(self::rows(&again).len(), 3);
}
