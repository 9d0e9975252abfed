//! Lines, plain and compressed: one by one, from any place, and as far as they go.

use super::*;
use crate::file::packing::{gzip, zstd};

struct Scene {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scene {
    fn new(content: &[u8]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.jsonl");
        std::fs::write(&path, content).expect("a file");
        Self { _directory: directory, path }
    }

    fn lines(&self) -> Lines {
        Lines::open(&self.path).expect("opens")
    }
}

/// The rest, one that has no end included, and the error that stands there.
fn rest(lines: &mut Lines) -> (Vec<Vec<u8>>, Option<String>) {
    let mut all = Vec::new();
    loop {
        match lines.next() {
            Ok(Next::Line(line) | Next::Open(line)) => all.push(line.to_vec()),
            Ok(Next::End) => return (all, None),
            Err(error) => return (all, Some(error.to_string())),
        }
        lines.advance();
    }
}

fn whole(content: &[u8]) -> Vec<Vec<u8>> {
    let (all, error) = rest(&mut Scene::new(content).lines());
    assert_eq!(error, None);
    all
}

/// A file of which all before `line` was read.
fn known(lines: &mut Lines, line: i64) -> KnownFile {
    assert!(lines.skip_to(line).expect("reads"), "it has so many");
    KnownFile {
        topic: "t".into(),
        partition: 0,
        path: String::new(),
        device: 0,
        inode: 0,
        head: lines.head_sums().expect("reads"),
        marks: vec![lines.mark()],
        records: line,
        ended: None,
        open_end: None,
        displaced: false,
        given_up: false,
    }
}

#[test]
fn ends_of_lines_are_not_part_of_them() {
    let content = b"a\r\nb\n\n\xff\r\r\nlast";
    let expected = [&b"a"[..], b"b", b"", b"\xff\r", b"last"];
    assert_eq!(whole(content), expected);
    assert_eq!(whole(&gzip(content)), expected);
    assert_eq!(whole(&zstd(content)), expected);
    assert_eq!(
        whole(&[&gzip(b"a\r\nb"), &gzip(b""), &gzip(b"\n\n\xff\r\r\nlast")[..]].map(|m| m.to_vec()).concat()),
        expected
    );
    assert_eq!(whole(&[zstd(b"a\r\nb\n\n\xff"), zstd(b"\r\r\nlast")].concat()), expected);
    assert_eq!(whole(&[b"\xef\xbb\xbf", &content[..]].concat()), expected);
    assert_eq!(whole(&gzip(&[b"\xef\xbb\xbf", &content[..]].concat())), expected);
    assert_eq!(whole(b""), Vec::<Vec<u8>>::new());
    assert_eq!(whole(&gzip(b"")), Vec::<Vec<u8>>::new());
    assert_eq!(whole(b"\xef\xbb\xbf"), Vec::<Vec<u8>>::new());
}

#[test]
fn it_goes_on_at_any_line() {
    let long = "y".repeat(9_000);
    let content: String = (0..300).map(|n| format!("{n} {}\n", &long[..(n * 37) % 9_000])).collect();
    for packed in [content.clone().into_bytes(), gzip(content.as_bytes()), zstd(content.as_bytes())] {
        let scene = Scene::new(&packed);
        let all = rest(&mut scene.lines()).0;
        for line in [0, 1, 7, 150, 299, 300] {
            let known = known(&mut scene.lines(), line);
            let mut lines = scene.lines();
            assert_eq!(lines.recognise(&known, line).expect("reads"), Fit::Same);
            assert_eq!(lines.number(), line, "without a step");
            assert_eq!(rest(&mut lines).0, all[usize::try_from(line).expect("small")..]);
            // From before the place where reading stopped.
            let mut lines = scene.lines();
            assert_eq!(lines.recognise(&known, line / 2).expect("reads"), Fit::Same);
            assert!(lines.skip_to(line / 2).expect("reads"));
            assert_eq!(rest(&mut lines).0, all[usize::try_from(line / 2).expect("small")..]);
        }
        assert!(!scene.lines().skip_to(301).expect("reads"));
    }
}

#[test]
fn other_content_is_told_from_the_same() {
    let content: String = (0..500).map(|n| format!("{{\"id\":{n},\"pad\":\"abcdefghij\"}}\n")).collect();
    let content = content.as_bytes();
    let at = content.len() / 2;
    let changed = |at: usize| {
        let mut content = content.to_vec();
        content[at] ^= 1;
        content
    };
    for (line, other, fit) in [
        (500, content.to_vec(), Fit::Same),
        (500, [content, b"more\n"].concat(), Fit::Same),
        (250, content[..at + 5_000].to_vec(), Fit::Same),
        (500, content[..at].to_vec(), Fit::Shorter),
        (500, content[..20].to_vec(), Fit::Shorter),
        (500, Vec::new(), Fit::Shorter),
        (500, changed(3), Fit::Other),
        (500, changed(2_000), Fit::Other),
        (500, changed(content.len() - 10), Fit::Changed),
        (500, content[1..].to_vec(), Fit::Other),
        (0, changed(3), Fit::Other),
    ] {
        let known = known(&mut Scene::new(content).lines(), line);
        for other in [other.clone(), gzip(&other), zstd(&other)] {
            let found = Scene::new(&other).lines().recognise(&known, line).expect("reads");
            assert_eq!(found, fit, "{line}, {} bytes", other.len());
        }
    }
}

#[test]
fn long_lines_pass_and_endless_ones_do_not() {
    let long = vec![b'x'; 12 << 20];
    assert_eq!(whole(&[&long[..], b"\nshort\n"].concat()), [&long[..], b"short"]);
    let endless = gzip(&vec![0; LINE_MAX + CHUNK * 32]);
    let scene = Scene::new(&endless);
    assert!(scene.lines().verify().is_err_and(|error| error.to_string().contains("longer than 64 MiB")));
    let (all, error) = rest(&mut scene.lines());
    assert!(all.is_empty() && error.is_some_and(|error| error.contains("a line is longer than 64 MiB")));
}

#[test]
fn a_line_without_its_end_may_get_it_later_and_nothing_else() {
    let scene = Scene::new(b"{}\n{\"a\":1}");
    let mut lines = scene.lines();
    assert!(lines.skip_to(1).expect("reads"));
    assert_eq!(lines.next().expect("reads"), Next::Open(b"{\"a\":1}"));
    lines.advance();
    let mut known = known(&mut lines, 2);
    known.open_end = Some((1, 10));
    for (more, then, fails) in [
        ("", vec![], false),
        ("\n", vec![], false),
        ("\r\n", vec![], false),
        ("\n{}\n", vec!["{}"], false),
        ("\r\n\n", vec![""], false),
        (" ", vec![], true),
        (",\n", vec![], true),
        ("\rx\n", vec![], true),
    ] {
        std::fs::write(&scene.path, format!("{{}}\n{{\"a\":1}}{more}")).expect("writes");
        let mut lines = scene.lines();
        assert_eq!(lines.recognise(&known, 2).expect("reads"), Fit::Same);
        let (all, error) = rest(&mut lines);
        assert_eq!(all, then.iter().map(|line| line.as_bytes()).collect::<Vec<_>>(), "{more:?}");
        assert_eq!(error.is_some(), fails, "{more:?}: {error:?}");
        assert!(error.is_none_or(|error| error.contains("at byte 10: line 2 goes on here")));
        // Read again: it is the same line, or an error.
        let mut lines = scene.lines();
        assert_eq!(lines.recognise(&known, 0).expect("reads"), Fit::Same);
        let (all, error) = rest(&mut lines);
        assert_eq!((all.len() >= 2, error.is_some()), (!fails, fails), "{more:?}: {all:?} {error:?}");
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_told_after_what_is_whole() {
    let content: String = (0..20_000).map(|n| format!("{{\"id\":{n},\"pad\":\"{}\"}}\n", n * 7_919)).collect();
    for (packed, what) in [(gzip(content.as_bytes()), "gzip"), (zstd(content.as_bytes()), "zstd")] {
        let half = packed.len() / 2;
        let (all, error) = rest(&mut Scene::new(&packed[..half]).lines());
        let error = error.expect("is cut off");
        assert_eq!(Scene::new(&packed).lines().verify().ok(), Some(()));
        let found = Scene::new(&packed[..half]).lines().verify().expect_err("is cut off").to_string();
        assert!(found.contains(&format!("at byte {half}: the {what} data stops in")), "{found}");
        assert!(all.len() > 100 && error.contains(&format!("at byte {half}: the {what} data stops in")), "{error}");
    }
    // zstd's frames need not have a checksum.
    let mut damaged = gzip(content.as_bytes());
    let half = damaged.len() / 2;
    damaged[half] ^= 0xff;
    let found = Scene::new(&damaged).lines().verify().expect_err("is damaged").to_string();
    assert!(found.contains("the gzip data is damaged"), "{found}");
}

#[test]
fn a_file_that_becomes_shorter_is_told() {
    let scene = Scene::new(&b"0123456789\n".repeat(100_000));
    let mut lines = scene.lines();
    lines.next().expect("reads");
    File::options().write(true).open(&scene.path).expect("opens").set_len(5_000).expect("cuts");
    let (_, error) = rest(&mut lines);
    assert!(error.is_some_and(|error| error.contains("at byte 5000: the file has become shorter")), "told");
}
