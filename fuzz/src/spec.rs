//! The text of a pipeline file: a spec, or an error that says where.

use std::path::PathBuf;

use lakemill_pipeline::spec::{References, SpecFile};

/// Parses and checks it.
pub fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match SpecFile::of("p.yaml".into(), PathBuf::from("."), text, References::Kept) {
        Ok(file) => {
            assert!(!file.state_folder().as_os_str().is_empty());
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            if let Some((line, column)) = error.place {
                // After the last line there is another, empty one.
                let lines = 1 + text.split(['\n', '\r']).count() as u64;
                assert!((1..=lines).contains(&line) && column >= 1, "{error}: of {lines} lines");
            }
        }
    }
}

/// Pipeline files of the tests, good and bad.
pub fn seeds() -> Vec<Vec<u8>> {
    const FIXTURES: [&str; 7] = [
        include_str!("../../tests/fixtures/config/valid/everything.yaml"),
        include_str!("../../tests/fixtures/config/valid/files.yaml"),
        include_str!("../../tests/fixtures/config/valid/small.yaml"),
        include_str!("../../tests/fixtures/config/invalid/unknown-key.yaml"),
        include_str!("../../tests/fixtures/config/invalid/bad-start.yaml"),
        include_str!("../../tests/fixtures/config/invalid/wrong-type.yaml"),
        "a: &x [1, 'it''s', \"\\u00fc\\n\"]\nb: *x\nc: |-\n  text\n? {k: !!str 1}\n: ~\n---\n<<: {d: 0x1F}\n...\n",
    ];
    FIXTURES.map(|text| text.as_bytes().to_vec()).into()
}
