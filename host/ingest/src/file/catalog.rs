//! The files of a source: what is known of each, and where it is now.
//!
//! At a look, those that are known are told from those that are new ([`super::matching`]); what is left is new, unless it is held back
//! ([`super::newcomers`]). The same content means: it begins with all that was read, as far as checksums of its beginning and of what
//! comes before the place where reading stopped can tell.

use std::collections::{BTreeMap, BTreeSet};

use lakemill_model::{FileMark, FileMemory, KnownFile, SourceError, TopicPartition};

use super::lines::{HEAD_MIN, Lines, settled, warn_of_rest};
use super::newcomers::Newcomers;
use super::paths::Found;
use super::{FileOptions, kind, paths};

/// So many new files are named in the log one by one, more are counted.
const NAMED_MAX: usize = 20;

/// Files that are named in an error.
const REFUSED_MAX: usize = 10;

/// The files of a source.
pub(super) struct Catalog {
    pub(super) options: FileOptions,
    memory: Box<dyn FileMemory>,
    pub(super) files: BTreeMap<TopicPartition, Entry>,
    /// Known now, and not remembered yet.
    unkept: BTreeSet<TopicPartition>,
    /// New files from look to look.
    pub(super) newcomers: Newcomers,
    /// Made known by this process: no table can have a line of them yet.
    made: BTreeSet<TopicPartition>,
}

/// A file.
pub(super) struct Entry {
    /// What is remembered.
    pub known: KnownFile,
    /// Where it is now.
    pub place: Option<Found>,
}

impl Entry {
    /// How far it was read.
    pub fn last(&self) -> FileMark {
        self.known.marks.last().copied().unwrap_or(FileMark { line: 0, byte: 0, tail: 0 })
    }

    /// Whether all that is in it, as far as is known, comes before line `next`.
    pub fn is_read(&self, next: i64) -> bool {
        let unchanged = self.place.as_ref().is_none_or(|place| Some(place.look) == self.known.ended);
        self.known.ended.is_some() && unchanged && next >= self.known.records
    }
}

impl Catalog {
    /// Looks for the files. Nothing is written.
    ///
    /// # Errors
    /// What [`Catalog::look`] fails with.
    pub fn open(options: FileOptions, memory: Box<dyn FileMemory>) -> Result<Self, SourceError> {
        let known = memory.known().into_iter().map(|known| (known.tp(), Entry { known, place: None }));
        let files = known.collect();
        let newcomers = Newcomers::new(options.follow);
        let mut catalog = Self { options, memory, files, unkept: BTreeSet::new(), newcomers, made: BTreeSet::new() };
        catalog.look()?;
        Ok(catalog)
    }

    /// All files that are known.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.files.keys()
    }

    /// A file.
    pub fn get(&self, tp: &TopicPartition) -> Option<&Entry> {
        self.files.get(tp)
    }

    /// Whether a file is gone, and the rest of it is not waited for.
    pub fn is_given_up(&self, tp: &TopicPartition) -> bool {
        self.get(tp).is_some_and(|entry| entry.place.is_none() && entry.known.given_up)
    }

    /// A file, of which something else is to be remembered.
    pub fn change(&mut self, tp: &TopicPartition) -> Option<&mut KnownFile> {
        self.unkept.insert(tp.clone());
        self.files.get_mut(tp).map(|entry| &mut entry.known)
    }

    /// Lines of a file are read from `next` on: from now on tables may have them. What was read of a last line without an end and is not
    /// in the tables was not read.
    pub fn start(&mut self, tp: &TopicPartition, next: i64) {
        self.made.remove(tp);
        let open = self.get(tp).and_then(|entry| entry.known.open_end);
        if let Some((line, _)) = open
            && next <= line
            && let Some(known) = self.change(tp)
        {
            known.marks.retain(|mark| mark.line <= line);
            (known.open_end, known.ended) = (None, None);
        }
    }

    /// Lines before these are in the tables: where they began is of no use any more.
    pub fn forget_before(&mut self, tp: &TopicPartition, line: i64) {
        if let Some(Entry { known, .. }) = self.files.get_mut(tp) {
            let first = known.marks.iter().rposition(|mark| mark.line <= line).unwrap_or(0);
            known.marks.drain(..first);
        }
    }

    /// Remembers what has changed.
    ///
    /// # Errors
    /// [`SourceError::Memory`].
    pub fn keep(&mut self) -> Result<(), SourceError> {
        if !self.unkept.is_empty() {
            let changed: Vec<_> =
                self.unkept.iter().filter_map(|tp| self.files.get(tp)).map(|entry| entry.known.clone()).collect();
            self.memory.keep(&changed)?;
            self.unkept.clear();
        }
        Ok(())
    }

    /// Looks for files, and which they are. The partitions of those that are new.
    ///
    /// # Errors
    /// [`SourceError::NoSuchTopic`] if one is not there, or none fits a pattern; [`SourceError::NotLines`] for files of another kind;
    /// [`SourceError::File`] for those that were changed where they were read, and for compressed ones that are not whole and not waited
    /// for.
    pub fn look(&mut self) -> Result<Vec<TopicPartition>, SourceError> {
        let names: Vec<&str> = self.files.values().map(|entry| entry.known.path.as_str()).collect();
        let found = paths::find(&self.options.paths, &names, self.options.follow)?;
        self.newcomers.look();
        let (mut sorting, free) = self.sort(found)?;
        let taken: Vec<(u64, u64)> = sorting.placed.values().map(|found| found.identity).collect();
        let taken: BTreeSet<_> = taken.into_iter().chain(free.iter().map(|found| found.identity)).collect();
        for (tp, entry) in &mut self.files {
            let place = sorting.placed.remove(tp);
            let known = &mut entry.known;
            match &place {
                Some(found) => {
                    let (device, inode) = found.identity;
                    if (known.path.as_str(), known.device, known.inode) != (&*found.real, device, inode) {
                        if known.path != found.real {
                            tracing::info!(file = %found.path.display(), was = known.path, partition = %tp, "a file that was read has another name");
                        }
                        (known.path, known.device, known.inode) = (found.real.clone(), device, inode);
                        known.displaced = false;
                        self.unkept.insert(tp.clone());
                    }
                    if let Some(ended) = known.ended.filter(|ended| *ended != found.look) {
                        // Of another size, there is more in it until it has been read.
                        known.ended = (ended.size == found.look.size).then(|| settled(found.look));
                        self.unkept.insert(tp.clone());
                    }
                }
                None if !known.displaced && taken.contains(&(known.device, known.inode)) => {
                    known.displaced = true;
                    self.unkept.insert(tp.clone());
                }
                None => {}
            }
            entry.place = place;
        }
        self.add(free)
    }

    /// Unpacks a file that is known to its end if it is compressed, unless that was done.
    ///
    /// # Errors
    /// If it stops in the middle, is damaged, or is not lines.
    pub fn verify(&mut self, tp: &TopicPartition) -> Result<(), SourceError> {
        let place = self.files.get(tp).and_then(|entry| entry.place.as_ref());
        place.map_or(Ok(()), |place| self.newcomers.verify(place))
    }

    /// Makes files known that are new.
    fn add(&mut self, found: Vec<Found>) -> Result<Vec<TopicPartition>, SourceError> {
        let mut refused = Vec::new();
        let mut new = Vec::new();
        for found in found {
            if found.look.size == 0 {
                continue;
            }
            let mut lines = Lines::open(&found.path)?;
            if let Some(why) = kind::refusal(lines.head(), self.options.format) {
                let name = found.path.display().to_string();
                refused.push(format!("{name}: {}", why.replace("FILE", &name)));
            } else if has_begun(lines.head(), self.options.format) {
                new.push((found, lines.head_sums()?));
            } else if !self.options.follow {
                warn_of_rest(&mut lines, None);
            }
        }
        if !refused.is_empty() {
            let more = refused.len().saturating_sub(REFUSED_MAX);
            refused.truncate(REFUSED_MAX);
            if more > 0 {
                refused.push(format!("and {more} more files are no lines"));
            }
            return Err(SourceError::NotLines(refused.join("\n")));
        }
        let mut next = BTreeMap::<String, i32>::new();
        for tp in self.files.keys() {
            let next = next.entry(tp.topic.to_string()).or_default();
            *next = (*next).max(tp.partition + 1);
        }
        let few = new.len() <= NAMED_MAX;
        let mut added = Vec::with_capacity(new.len());
        for (found, head) in new {
            let topic = self.options.topic.clone().unwrap_or_else(|| topic_of(&found));
            let partition = next.entry(topic.clone()).or_default();
            let (device, inode) = found.identity;
            let known = KnownFile {
                topic,
                partition: *partition,
                path: found.real.clone(),
                device,
                inode,
                head,
                marks: Vec::new(),
                records: 0,
                ended: None,
                open_end: None,
                displaced: false,
                given_up: false,
            };
            *partition += 1;
            let tp = known.tp();
            if few {
                tracing::info!(file = %found.path.display(), partition = %tp, "a new file");
            }
            self.files.insert(tp.clone(), Entry { known, place: Some(found) });
            self.unkept.insert(tp.clone());
            self.made.insert(tp.clone());
            added.push(tp);
        }
        if !few {
            tracing::info!(
                files = added.len(),
                place = self.memory.place(),
                "new files; the place says which is which"
            );
        }
        Ok(added)
    }

    /// Holds what is known against the positions that the tables show.
    ///
    /// # Errors
    /// [`SourceError::File`] if they have positions of files that nobody knows.
    pub fn recognise(&self, tp: &TopicPartition, next: i64) -> Result<(), SourceError> {
        let known = self.files.get(tp).filter(|_| !self.made.contains(tp)).map(Entry::last);
        let why = match known {
            Some(last) if next <= last.line => return Ok(()),
            None if next == 0 => return Ok(()),
            Some(last) => format!("it knows {} lines of the file that {tp} is", last.line),
            None => format!("it does not know which file {tp} is"),
        };
        let reason = format!(
            "the tables have {next} lines of {tp}, and {why}: it is lost or an older copy, and what the files hold cannot be told from \
             what was read; restore it, or read the files under another `pipeline` name into other tables"
        );
        Err(SourceError::File { path: self.memory.place(), byte: None, reason })
    }

    /// Whether a file that is known is lost: it is gone, and the tables have only the lines before `next`. `Ok(true)`: there is nothing of
    /// it to be read.
    ///
    /// # Errors
    /// [`SourceError::File`] if lines are lost and that is not to be gone over.
    pub fn is_over(&mut self, tp: &TopicPartition, next: i64) -> Result<bool, SourceError> {
        let Some(entry) = self.files.get(tp) else { return Ok(true) };
        if entry.place.is_some() {
            return Ok(entry.is_read(next));
        }
        if entry.known.given_up || entry.is_read(next) {
            return Ok(true);
        }
        let FileMark { line, byte, .. } = entry.last();
        let upto = if next < line { format!("line {next}") } else { format!("line {line}, byte {byte}") };
        let path = entry.known.path.clone();
        if self.options.on_data_loss == crate::OnDataLoss::Continue {
            tracing::warn!(file = path, partition = %tp, upto, "a file is gone that was not read to its end: going on without the rest");
            if let Some(known) = self.change(tp) {
                known.given_up = true;
            }
            return Ok(true);
        }
        let reason = format!(
            "the file is gone, or another one has its place, and it was read up to {upto} only, as {tp}; put it back under any name that \
             `paths` finds, or go on without the rest with `source.files.on_data_loss: continue`"
        );
        Err(SourceError::File { path, byte: None, reason })
    }
}

/// Whether there is anything in a file that tells it from others, or that could be read: otherwise it is as good as not there yet.
pub(super) fn has_begun(head: &[u8], format: super::LineFormat) -> bool {
    head.len() >= HEAD_MIN || head.contains(&b'\n') || kind::is_whole(format, head)
}

/// The name of a file without what says how it is written.
fn topic_of(found: &Found) -> String {
    let name = found.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match plain.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => plain.to_owned(),
    }
}
