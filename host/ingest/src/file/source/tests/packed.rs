//! Compressed files that are not whole: none is read, and none is passed over without a word.

use super::*;

/// So many bytes tell how a file is compressed.
type Packed = (Vec<u8>, usize, &'static str);

fn packed(content: &[u8]) -> [Packed; 2] {
    [(gzip(content), 2, "gzip"), (zstd(content), 4, "zstd")]
}

fn lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{{\"id\":{n},\"pad\":\"{}\"}}\n", n * 7_919 % 1_009).into_bytes()).collect()
}

fn refusal(files: &Files) -> String {
    let opened = FileSource::open(files.options(LineFormat::Value, None), Box::new(files.memory.clone()));
    let said = opened.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(files.memory.known(), [], "it is known: {said}");
    said
}

#[test]
fn one_that_was_cut_off_anywhere_is_an_error() {
    for content in [b"{}\n".to_vec(), lines(1), lines(40)] {
        for (whole, magic, what) in packed(&content) {
            for cut in magic..whole.len() {
                let said = refusal(&Files::new(&[("a.jsonl", b"{}\n"), ("b.jsonl.x", &whole[..cut])]));
                let words = format!("/b.jsonl.x at byte {cut}: the {what} data stops in the middle");
                assert!(said.contains(&words), "cut to {cut} of {}: {said}", whole.len());
            }
        }
    }
    // A block is up to 128 KiB: nothing comes out before the first one is there.
    for (whole, _, what) in packed(&lines(10_000)) {
        for cut in (100..whole.len()).step_by(whole.len() / 50) {
            let said = refusal(&Files::new(&[("b.jsonl.x", &whole[..cut])]));
            assert!(said.contains(&format!("the {what} data stops in the middle")), "cut to {cut}: {said}");
        }
    }
}

#[test]
fn one_that_is_damaged_from_its_beginning_on_is_an_error() {
    let header = &gzip(b"")[..10];
    let junk = [header, b"\xff\xff\xff this is no deflated data"].concat();
    let zeros = [&zstd(b"{}\n")[..5], &[0xff; 30]].concat();
    for (content, what) in [(junk, "gzip"), (zeros, "zstd")] {
        let said = refusal(&Files::new(&[("b.x", &content)]));
        assert!(said.contains(&format!("the {what} data is damaged")), "{said}");
    }
}

#[test]
fn one_with_nothing_in_it_is_no_file_yet() {
    let files = Files::new(&[("a.gz", &gzip(b"")), ("b.zst", &zstd(b"")), ("c.gz", &gzip(b"{}"))]);
    let (rows, _) = read(&mut files.source(LineFormat::Value, Some("t")), &LIMITS, StartAt::Earliest);
    assert_eq!(rows, [value("t/0", 0, b"{}")]);
}
