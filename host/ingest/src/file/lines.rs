//! The lines of a file, one at a time, in memory for one line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use lakemill_model::{NextOffset, SourceError, TopicPartition};

/// A longer line is taken for damage.
const LINE_MAX: u64 = 256 << 20;
const BUFFER: usize = 256 << 10;

/// A file at one of its lines.
#[derive(Debug)]
pub(super) struct Lines {
    tp: TopicPartition,
    path: PathBuf,
    file: BufReader<File>,
    /// Size when it was opened.
    size: u64,
    /// Bytes before the line after `current`.
    read: u64,
    /// Lines before `current`.
    number: i64,
    current: Option<Vec<u8>>,
    /// The memory of lines that were taken.
    spare: Vec<u8>,
}

impl Lines {
    /// Before the first line.
    ///
    /// # Errors
    /// [`SourceError::Read`].
    pub fn open(tp: TopicPartition, path: &Path) -> Result<Self, SourceError> {
        let unreadable =
            |error: std::io::Error| SourceError::Read { what: path.display().to_string(), reason: error.to_string() };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let file = BufReader::with_capacity(BUFFER, file);
        Ok(Self { tp, path: path.to_owned(), file, size, read: 0, number: 0, current: None, spare: Vec::new() })
    }

    /// The number of the line that comes next.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The line that comes next, without its end; `None` after the last.
    ///
    /// # Errors
    /// [`SourceError::Read`] if it is too long or can't be read; [`SourceError::DataLoss`] if the file has
    /// become shorter.
    pub fn peek(&mut self) -> Result<Option<&[u8]>, SourceError> {
        if self.current.is_none() {
            let mut line = std::mem::take(&mut self.spare);
            line.clear();
            let got =
                (&mut self.file).take(LINE_MAX).read_until(b'\n', &mut line).map_err(|error| self.error(&error))?;
            if got == 0 {
                self.spare = line;
                return self.check_end().map(|()| None);
            }
            self.read += got as u64;
            if line.last() == Some(&b'\n') {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
            } else if got as u64 == LINE_MAX {
                return Err(self.error(&format!("the line is longer than {} MiB", LINE_MAX >> 20)));
            }
            self.current = Some(line);
        }
        Ok(self.current.as_deref())
    }

    /// Goes past the line that [`Self::peek`] showed.
    pub fn advance(&mut self) {
        if let Some(line) = self.current.take() {
            self.spare = line;
            self.number += 1;
        }
    }

    /// Goes forward to line `number`.
    ///
    /// # Errors
    /// [`SourceError::DataLoss`] if the file ends before it; what [`Self::peek`] fails with.
    pub fn skip_to(&mut self, number: i64) -> Result<(), SourceError> {
        while self.number < number {
            if self.current.is_some() {
                self.advance();
                continue;
            }
            let got = self.file.skip_until(b'\n').map_err(|error| self.error(&error))?;
            if got == 0 {
                self.check_end()?;
                return Err(self.loss(number));
            }
            self.read += got as u64;
            self.number += 1;
        }
        Ok(())
    }

    /// The number of lines in all.
    ///
    /// # Errors
    /// What [`Self::skip_to`] fails with.
    pub fn count(mut self) -> Result<i64, SourceError> {
        loop {
            let next = self.number + 1;
            match self.skip_to(next) {
                Ok(()) => {}
                Err(SourceError::DataLoss { wanted, .. }) if wanted.0 == next => return Ok(self.number),
                Err(error) => return Err(error),
            }
        }
    }

    /// At the end: was it the same one all the time?
    fn check_end(&self) -> Result<(), SourceError> {
        let size = self.file.get_ref().metadata().map_err(|error| self.error(&error))?.len();
        if size < self.size.max(self.read) || self.read < self.size {
            return Err(self.loss(self.number + 1));
        }
        Ok(())
    }

    fn loss(&self, wanted: i64) -> SourceError {
        SourceError::DataLoss {
            partition: self.tp.clone(),
            wanted: NextOffset(wanted),
            first: NextOffset(0),
            end: NextOffset(self.number),
        }
    }

    fn error(&self, reason: &dyn std::fmt::Display) -> SourceError {
        let what = format!("{} line {}", self.path.display(), self.number + 1);
        SourceError::Read { what, reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(content: &[u8]) -> (tempfile::TempDir, Lines) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.jsonl");
        std::fs::write(&path, content).expect("a file");
        let lines = Lines::open(TopicPartition::new("f", 0), &path).expect("opened");
        (directory, lines)
    }

    fn rest(lines: &mut Lines) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(line) = lines.peek().expect("readable") {
            all.push(line.to_vec());
            lines.advance();
        }
        all
    }

    #[test]
    fn ends_of_lines_are_not_part_of_them() {
        let (_directory, mut lines) = lines(b"a\r\nb\n\n\xff\r\r\nlast");
        assert_eq!(rest(&mut lines), [&b"a"[..], b"b", b"", b"\xff\r", b"last"]);
        assert_eq!(lines.number(), 5);
        let (_directory, mut none) = self::lines(b"");
        assert_eq!(rest(&mut none), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn it_goes_on_at_any_line() {
        for (content, count) in [(&b"0\n1\n2\n3"[..], 4), (b"0\n1\n2\n3\n", 4), (b"", 0), (b"\n", 1)] {
            let (_directory, lines) = lines(content);
            assert_eq!(lines.count().expect("readable"), count);
        }
        let (_directory, mut lines) = lines(b"0\n1\n2\n3");
        lines.peek().expect("readable");
        lines.skip_to(2).expect("there");
        assert_eq!(rest(&mut lines), [b"2", b"3"]);
        lines.skip_to(4).expect("the end is a place");
        assert!(matches!(
            lines.skip_to(5),
            Err(SourceError::DataLoss { wanted: NextOffset(5), end: NextOffset(4), .. })
        ));
    }

    #[test]
    fn long_lines_pass() {
        let long = vec![b'x'; 12 << 20];
        let content = [&long[..], b"\nshort\n"].concat();
        let (_directory, mut lines) = lines(&content);
        assert_eq!(rest(&mut lines), [&long[..], b"short"]);
    }

    #[test]
    fn a_file_that_became_shorter_is_a_loss() {
        let (_directory, mut lines) = lines(&b"0123456789\n".repeat(100_000));
        lines.peek().expect("readable");
        let file = File::options().write(true).open(&lines.path).expect("opened");
        file.set_len(500_000).expect("cut");
        let error = std::iter::from_fn(|| match lines.peek() {
            Ok(Some(_)) => {
                lines.advance();
                Some(None)
            }
            Ok(None) => None,
            Err(error) => Some(Some(error)),
        });
        let error = error.flatten().next().expect("noticed");
        assert!(matches!(error, SourceError::DataLoss { .. }), "{error}");
    }
}
