//! The lines of a file, one at a time, in memory for little more than one line, compressed or not.
//!
//! Places are bytes of the content: of a compressed file, bytes as they come out.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lakemill_model::{FileLook, FileMark, KnownFile, SourceError, TopicPartition};

use super::input::{Input, read_at, read_before};

/// A longer line is taken for damage, or for a file that is not lines.
const LINE_MAX: usize = 64 << 20;

/// So much is read at once, and more of a long line.
const CHUNK: usize = 64 << 10;

/// Bytes of a line without an end that a warning shows.
const SHOWN_MAX: usize = 40;

/// So much of the content before a place tells whether it is the content that was read.
pub(super) const WINDOW: usize = 4096;

/// The shortest beginning that has a checksum of its own.
pub(super) const HEAD_MIN: usize = 16;

/// File systems tell times apart that are so far from each other.
const INSTANT_NS: i64 = 20_000_000;

/// What tells a file from all others of this machine, as long as it is there.
pub(super) type Identity = (u64, u64);

/// What the content of a file that was opened is, held against what was read of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All that was read, and perhaps more.
    Same,
    /// Something else from its beginning on.
    Other,
    /// As far as it goes what was read, but that went further.
    Shorter,
    /// What was read at its beginning, and something else before the place where reading stopped.
    Changed,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// The last bytes, which no end of a line follows.
    Open(&'a [u8]),
    /// Nothing.
    End,
}

/// A file at one of its lines.
pub(super) struct Lines {
    path: PathBuf,
    input: Input,
    /// What was read; of what comes before `start`, at least a window is kept.
    buffer: Vec<u8>,
    /// Where the line begins in `buffer` that comes next.
    start: usize,
    /// Up to here no end of it was found.
    searched: usize,
    /// Bytes of it with its end, once it was found.
    found: Option<usize>,
    /// Bytes of content before it.
    byte: u64,
    /// Lines before it.
    number: i64,
    /// The first bytes of the content, up to a window.
    head: Vec<u8>,
    /// Why there is no more to be had.
    failed: Option<io::Error>,
    /// The line that was read without its end, and where it stopped.
    open_end: Option<(i64, u64)>,
}

impl Lines {
    /// Opens a file before its first line.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        Self::open_if_there(path)?.ok_or_else(|| unreadable(path, None, &io::ErrorKind::NotFound.into()))
    }

    /// The same; `None` if nothing has this name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open_if_there(path: &Path) -> Result<Option<Self>, SourceError> {
        let input = match File::open(path).and_then(Input::of) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            input => input.map_err(|error| unreadable(path, None, &error))?,
        };
        let mut lines = Self {
            path: path.to_owned(),
            input,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            found: None,
            byte: 0,
            number: 0,
            head: Vec::new(),
            failed: None,
            open_end: None,
        };
        lines.read_head()?;
        Ok(Some(lines))
    }

    /// What the file system says of it now: what it is, and how it looks.
    ///
    /// # Errors
    /// If it says nothing.
    pub fn look(&self) -> Result<(Identity, FileLook), SourceError> {
        let metadata = self.input.file().metadata().map_err(|error| self.error(&error))?;
        Ok(((metadata.dev(), metadata.ino()), look_of(&metadata)))
    }

    /// True if more can come after its end.
    pub fn grows(&self) -> bool {
        matches!(self.input, Input::Plain(_))
    }

    /// The number of the line that comes next.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Bytes of content before it.
    pub fn byte(&self) -> u64 {
        self.byte
    }

    /// The first bytes of the content.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read_head(&mut self) -> Result<(), SourceError> {
        if let Input::Plain(file) = &self.input {
            self.head.resize(WINDOW, 0);
            let count = read_at(file, &mut self.head, 0).map_err(|error| self.error(&error))?;
            self.head.truncate(count);
        } else {
            // What is wrong with it is told when it is verified.
            while self.buffer.len() < WINDOW && self.fill() {}
            self.head = self.buffer[..self.buffer.len().min(WINDOW)].to_vec();
        }
        Ok(())
    }

    /// Checksums of the beginning, as [`KnownFile::head`] has them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn head_sums(&mut self) -> Result<Vec<u32>, SourceError> {
        if self.head.len() < WINDOW && self.byte > self.head.len() as u64 {
            self.read_head()?;
        }
        Ok(heads(&self.head).map(|(_, sum)| sum).collect())
    }

    /// This place, as it is remembered.
    pub fn mark(&self) -> FileMark {
        FileMark { line: self.number, byte: self.byte, tail: crc32fast::hash(self.window()) }
    }

    /// The line that was read without its end, and the byte where it stopped.
    pub fn open_end(&self) -> Option<(i64, u64)> {
        self.open_end
    }

    /// Whether what was read last is still there: otherwise the file was cut, and perhaps filled again.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_as_read(&self) -> Result<bool, SourceError> {
        let before = &self.buffer[self.buffer.len().saturating_sub(WINDOW)..];
        let upto = self.byte + (self.buffer.len() - self.start) as u64;
        Ok(self.content_before(upto)?.is_none_or(|now| now == before))
    }

    /// The window before a place, as it is now: `None` of a compressed file, which does not change while it is open.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn content_before(&self, byte: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let Input::Plain(file) = &self.input else { return Ok(None) };
        read_before(file, byte, WINDOW).map(Some).map_err(|error| unreadable(&self.path, Some(byte), &error))
    }

    fn window(&self) -> &[u8] {
        &self.buffer[self.start.saturating_sub(WINDOW)..self.start]
    }

    /// Holds the content against what was read of a file, and goes to the last of its marks that is not after `line`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn recognise(&mut self, known: &KnownFile, line: i64) -> Result<Fit, SourceError> {
        let read = known.marks.last().map_or(0, |mark| mark.byte);
        for (length, sum) in head_lengths().zip(&known.head) {
            if length > self.head.len() && read == 0 {
                // Nothing was read of it, and what there was to read is not in this one.
                return Ok(Fit::Other);
            }
            if length <= self.head.len() && crc32fast::hash(&self.head[..length]) != *sum {
                // What was read may still be there, and what was to be read next is not.
                return Ok(if length as u64 <= read || read == 0 { Fit::Other } else { Fit::Changed });
            }
        }
        let Some(last) = known.marks.last() else { return Ok(Fit::Same) };
        match self.go_to(last)? {
            Fit::Same => {}
            other => return Ok(other),
        }
        if last.line > line {
            self.begin_anew()?;
            if let Some(mark) = known.marks.iter().rev().find(|mark| mark.line <= line)
                && self.go_to(mark)? != Fit::Same
            {
                return Ok(Fit::Changed);
            }
        }
        self.open_end = known.open_end;
        Ok(Fit::Same)
    }

    /// Goes back to before the first line.
    fn begin_anew(&mut self) -> Result<(), SourceError> {
        if let Input::Plain(file) = &mut self.input {
            let rewound = file.rewind();
            rewound.map_err(|error| self.error(&error))?;
            self.buffer.clear();
            (self.start, self.searched, self.found, self.byte, self.number) = (0, 0, None, 0, 0);
        } else {
            let path = self.path.clone();
            *self = Self::open(&path)?;
        }
        Ok(())
    }

    /// Goes forward to a place that was remembered, if what comes before it is still the same.
    fn go_to(&mut self, mark: &FileMark) -> Result<Fit, SourceError> {
        if let Input::Plain(file) = &mut self.input {
            let before = read_before(file, mark.byte, WINDOW);
            let before = before.and_then(|before| file.seek(SeekFrom::Start(mark.byte)).map(|_| before));
            let before = before.map_err(|error| unreadable(&self.path, Some(mark.byte), &error))?;
            if (before.len() as u64) < mark.byte.min(WINDOW as u64) {
                return Ok(Fit::Shorter);
            }
            self.start = before.len();
            self.buffer = before;
        } else {
            while self.byte < mark.byte {
                let left = (self.buffer.len() - self.start) as u64;
                if left == 0 && !self.fill() {
                    self.give_up()?;
                    return Ok(Fit::Shorter);
                }
                let step = (mark.byte - self.byte).min((self.buffer.len() - self.start) as u64);
                self.start += usize::try_from(step).expect("a part of what is in memory");
                self.byte += step;
            }
        }
        (self.searched, self.found, self.byte, self.number) = (self.start, None, mark.byte, mark.line);
        let same = crc32fast::hash(self.window()) == mark.tail;
        Ok(if same { Fit::Same } else { Fit::Changed })
    }

    /// Reads on; false if there is nothing more, or no more to be had.
    fn fill(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let gone = self.start.saturating_sub(WINDOW);
        if gone > 0 {
            self.buffer.drain(..gone);
            self.start -= gone;
            self.searched = self.searched.saturating_sub(gone);
        }
        let chunk = CHUNK.max((self.buffer.len() - self.start).min(16 * CHUNK));
        match self.input.read(chunk as u64, &mut self.buffer) {
            Ok(count) => count > 0,
            // What came before it is whole.
            Err(error) => {
                self.failed = Some(error);
                self.buffer.len() > self.searched.max(self.start)
            }
        }
    }

    /// Why there is no more to be had, if that is not the end.
    fn give_up(&mut self) -> Result<(), SourceError> {
        if let Some(error) = &self.failed {
            let Some((what, bytes)) = self.input.packed() else { return Err(self.error(error)) };
            let content = self.byte;
            let reason = if error.kind() == io::ErrorKind::UnexpectedEof {
                format!(
                    "the {what} data stops in the middle, after {content} bytes of content: the file was cut off, or is still being written; \
                     nothing of it was read now; put a whole one in its place, with a rename"
                )
            } else {
                format!(
                    "the {what} data is damaged, after {content} bytes of content or before: {error}; nothing of it was read now; put a \
                     whole one in its place, with a rename"
                )
            };
            return Err(SourceError::File { path: self.path.display().to_string(), byte: Some(bytes), reason });
        }
        if let Input::Plain(file) = &self.input {
            let size = file.metadata().map_err(|error| self.error(&error))?.len();
            let read = self.byte + (self.buffer.len() - self.start) as u64;
            if size < read {
                let reason = format!("the file has become shorter while it was read: it ended at byte {read} before");
                return Err(SourceError::File { path: self.path.display().to_string(), byte: Some(size), reason });
            }
        }
        Ok(())
    }

    /// What comes next; [`Self::advance`] goes past it.
    ///
    /// # Errors
    /// If it cannot be read, is too long, became shorter, or goes on where a line was read to its end.
    pub fn next(&mut self) -> Result<Next<'_>, SourceError> {
        if self.byte == 0 {
            self.skip_byte_order_mark();
        }
        if self.open_end.is_some_and(|(line, byte)| (line + 1, byte) == (self.number, self.byte)) && !self.pass_end()? {
            return Ok(Next::End);
        }
        while self.found.is_none() {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                self.found = Some(self.searched + at + 1 - self.start);
                break;
            }
            self.searched = self.buffer.len();
            if self.searched - self.start > LINE_MAX {
                return Err(self.too_long());
            }
            if !self.fill() {
                self.give_up()?;
                return self.rest();
            }
        }
        let length = self.found.unwrap_or_default();
        let line = &self.buffer[self.start..self.start + length - 1];
        let stripped = line.strip_suffix(b"\r").unwrap_or(line);
        self.expect_end(&[stripped.len(), line.len()])?;
        Ok(Next::Line(&self.buffer[self.start..self.start + stripped.len()]))
    }

    fn rest(&self) -> Result<Next<'_>, SourceError> {
        let rest = &self.buffer[self.start..];
        if rest.is_empty() {
            return Ok(Next::End);
        }
        self.expect_end(&[rest.len()])?;
        Ok(Next::Open(rest))
    }

    /// A line that was read without its end has to end where it stopped then.
    fn expect_end(&self, lengths: &[usize]) -> Result<(), SourceError> {
        match self.open_end {
            Some((line, byte)) if line == self.number && !lengths.iter().any(|l| self.byte + *l as u64 == byte) => {
                Err(self.goes_on(line, byte))
            }
            _ => Ok(()),
        }
    }

    /// Goes past the end of a line that had none when it was read; false if it has not come yet.
    fn pass_end(&mut self) -> Result<bool, SourceError> {
        while self.buffer.len() - self.start < 2 && self.fill() {}
        let end = match &self.buffer[self.start..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [] | [b'\r'] => {
                self.give_up()?;
                return Ok(false);
            }
            _ => {
                let (line, byte) = self.open_end.unwrap_or_default();
                return Err(self.goes_on(line, byte));
            }
        };
        self.start += end;
        self.byte += end as u64;
        self.searched = self.start;
        Ok(true)
    }

    fn goes_on(&self, line: i64, byte: u64) -> SourceError {
        let reason = format!(
            "line {} goes on here, and it was read up to here as a whole record, since it stood at the end of the file and a run asked for \
             all that was there; put what follows into a file of its own and cut this one here (`truncate -s {byte}`)",
            line + 1
        );
        SourceError::File { path: self.path.display().to_string(), byte: Some(byte), reason }
    }

    fn skip_byte_order_mark(&mut self) {
        const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
        while self.buffer.len() < MARK.len() && self.fill() {}
        if self.buffer.starts_with(&MARK) {
            self.start = MARK.len();
            self.byte = MARK.len() as u64;
            self.searched = self.searched.max(self.start);
        }
    }

    /// Unpacks all that is left: checksums come last, and what is damaged must not be read as if it were not.
    ///
    /// # Errors
    /// If it is damaged, stops in the middle, or is not lines.
    pub fn verify(mut self) -> Result<(), SourceError> {
        // Where a line begins, as far as ends of lines tell.
        let mut line = self.byte;
        loop {
            self.byte += (self.buffer.len() - self.start) as u64;
            if let Some(end) = memchr::memrchr(b'\n', &self.buffer[self.start..]) {
                line = self.byte - (self.buffer.len() - self.start - end) as u64;
            }
            (self.start, self.searched) = (self.buffer.len(), self.buffer.len());
            if self.byte - line > LINE_MAX as u64 {
                return Err(self.too_long());
            }
            if !self.fill() {
                return self.give_up();
            }
        }
    }

    fn too_long(&self) -> SourceError {
        self.error(&format!("a line is longer than {} MiB: this is no file of lines", LINE_MAX >> 20))
    }

    /// Goes past what [`Self::next`] showed.
    pub fn advance(&mut self) {
        let rest = self.buffer.len() - self.start;
        if self.found.is_none() {
            self.open_end = Some((self.number, self.byte + rest as u64));
        }
        let length = self.found.take().unwrap_or(rest);
        self.start += length;
        self.searched = self.start;
        self.byte += length as u64;
        self.number += 1;
    }

    /// Goes forward to line `number`; false if the file ends before it.
    ///
    /// # Errors
    /// What [`Self::next`] fails with.
    pub fn skip_to(&mut self, number: i64) -> Result<bool, SourceError> {
        while self.number < number {
            let known_end = self.open_end.is_some_and(|(line, _)| line == self.number);
            match self.next()? {
                Next::Line(_) => self.advance(),
                Next::Open(_) if known_end => self.advance(),
                Next::Open(_) | Next::End => return Ok(false),
            }
        }
        Ok(true)
    }

    fn error(&self, reason: &dyn std::fmt::Display) -> SourceError {
        SourceError::File { path: self.path.display().to_string(), byte: Some(self.byte), reason: reason.to_string() }
    }
}

/// The lengths of beginnings that have a checksum.
fn head_lengths() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(HEAD_MIN), |length| Some(length * 2)).take_while(|length| *length <= WINDOW)
}

/// The beginnings of `head` that have a checksum: how many there are up to this one, and it.
pub(super) fn heads(head: &[u8]) -> impl Iterator<Item = (usize, u32)> + '_ {
    head_lengths()
        .enumerate()
        .take_while(|(_, length)| *length <= head.len())
        .map(|(n, length)| (n + 1, crc32fast::hash(&head[..length])))
}

/// How a file looks.
pub(super) fn look_of(metadata: &std::fs::Metadata) -> FileLook {
    let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    FileLook { size: metadata.len(), modified_ns }
}

/// A look that tells a file from what it may be later. One that was changed in this instant may be changed again in it, and look the same.
pub(super) fn settled(look: FileLook) -> FileLook {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ns = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
    let modified_ns = if now_ns.saturating_sub(look.modified_ns) < INSTANT_NS { i64::MIN } else { look.modified_ns };
    FileLook { modified_ns, ..look }
}

fn unreadable(path: &Path, byte: Option<u64>, error: &io::Error) -> SourceError {
    SourceError::File { path: path.display().to_string(), byte, reason: format!("it cannot be read: {error}") }
}

/// Says that the last bytes of a file were not read, which may not be known yet.
pub(super) fn warn_of_rest(lines: &mut Lines, tp: Option<&TopicPartition>) {
    let (file, byte) = (lines.path().display().to_string(), lines.byte());
    let Ok(Next::Open(rest)) = lines.next() else { return };
    let (bytes, shown) = (rest.len(), String::from_utf8_lossy(&rest[..rest.len().min(SHOWN_MAX)]).into_owned());
    if rest.iter().all(|byte| *byte == 0) {
        tracing::warn!(
            file,
            byte,
            bytes,
            partition = tp.map(tracing::field::display),
            "the file ends with NUL bytes, as one does whose writer's machine has crashed: they are not read; cut them off with \
             `truncate -s BYTE FILE`"
        );
    } else {
        tracing::warn!(
            file,
            byte,
            bytes,
            begins = shown,
            partition = tp.map(tracing::field::display),
            "the last line has no end and is no whole record: it is read when the rest of it has come"
        );
    }
}

#[cfg(test)]
mod tests;
