//! The content of a file, unpacked if it is compressed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;

/// An open file, by how it is compressed, which its first bytes say.
pub(super) enum Input {
    Plain(File),
    Gzip(Box<MultiGzDecoder<Counted>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Counted>>>),
}

/// A file that counts what is read of it.
pub(super) struct Counted {
    file: File,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl Input {
    /// A file from its beginning on.
    pub fn of(file: File) -> io::Result<Self> {
        let mut magic = [0; 4];
        let count = read_at(&file, &mut magic, 0)?;
        let counted = |file| Counted { file, bytes: 0 };
        Ok(match &magic[..count] {
            [0x1f, 0x8b, ..] => Input::Gzip(Box::new(MultiGzDecoder::new(counted(file)))),
            // A frame, or one that is skipped.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                Input::Zstd(Box::new(zstd::Decoder::new(counted(file))?))
            }
            _ => Input::Plain(file),
        })
    }

    /// The file as it is on the disk.
    pub fn file(&self) -> &File {
        match self {
            Input::Plain(file) => file,
            Input::Gzip(decoder) => &decoder.get_ref().file,
            Input::Zstd(decoder) => &decoder.get_ref().get_ref().file,
        }
    }

    /// How it is compressed, if it is, and the bytes on the disk that were read.
    pub fn packed(&self) -> Option<(&'static str, u64)> {
        match self {
            Input::Plain(_) => None,
            Input::Gzip(decoder) => Some(("gzip", decoder.get_ref().bytes)),
            Input::Zstd(decoder) => Some(("zstd", decoder.get_ref().get_ref().bytes)),
        }
    }

    /// Appends what comes next, at most `chunk` bytes: fewer only at the end.
    pub fn read(&mut self, chunk: u64, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Input::Plain(file) => file.take(chunk).read_to_end(into),
            Input::Gzip(decoder) => decoder.take(chunk).read_to_end(into),
            Input::Zstd(decoder) => decoder.take(chunk).read_to_end(into),
        }
    }
}

/// What a file has before byte `upto`, at most `length` bytes: fewer if it is shorter.
pub(super) fn read_before(file: &File, upto: u64, length: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(upto).map_or(length, |upto| upto.min(length));
    let mut bytes = vec![0; length];
    let count = read_at(file, &mut bytes, upto - length as u64)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Reads until `into` is full or the file ends; how much there was.
pub(super) fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match file.read_at(&mut into[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
