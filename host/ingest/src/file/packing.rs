//! Compressed content for tests.

use std::io::Write as _;

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(content).expect("packs");
    to.finish().expect("packs")
}

pub(super) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).expect("packs")
}
