//! Which of the files that are there is which of those that are known.
//!
//! In this order: the same inode with the same content; the same name with the same content, which a file has after it was copied into
//! place; the same content anywhere, for a file whose place is empty or another's: moved to another disk, compressed, or copied away
//! before it was cut to nothing. What is left is new. The same content means: it begins with all that was read, as far as
//! checksums of its beginning and of what comes before the place where reading stopped can tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lakemill_model::{FileMark, FileMemory, KnownFile, SourceError, TopicPartition};

use super::lines::{Fit, HEAD_MIN, Identity, Lines, heads, settled};
use super::paths::Found;
use super::{FileOptions, kind, paths};

/// So many new files are named in the log one by one, more are counted.
const NAMED_MAX: usize = 20;

/// Files that are named in an error.
const REFUSED_MAX: usize = 10;

/// The files of a source.
pub(super) struct Catalog {
    options: FileOptions,
    memory: Box<dyn FileMemory>,
    files: BTreeMap<TopicPartition, Entry>,
    /// Known now, and not remembered yet.
    unkept: BTreeSet<TopicPartition>,
    /// New files that may be copies of others, which are about to be cut: they are new if they still are at the next look.
    postponed: BTreeSet<Identity>,
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
        let mut catalog =
            Self { options, memory, files, unkept: BTreeSet::new(), postponed: BTreeSet::new(), made: BTreeSet::new() };
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
    /// [`SourceError::File`] for those that were changed where they were read.
    pub fn look(&mut self) -> Result<Vec<TopicPartition>, SourceError> {
        let names: Vec<&str> = self.files.values().map(|entry| entry.known.path.as_str()).collect();
        let found = paths::find(&self.options.paths, &names, self.options.follow)?;
        let mut sorting = Sorting::default();
        let free = self.by_identity(found, &mut sorting)?;
        let free = self.by_name(free, &mut sorting)?;
        let mut free = self.by_content(free, &mut sorting)?;
        if self.options.follow {
            free = self.postpone(free, &sorting)?;
        }
        for (tp, (path, fit)) in &sorting.doubtful {
            if !sorting.placed.contains_key(tp) {
                return Err(self.unlike(tp, path, fit));
            }
        }
        self.check_topics(&sorting)?;
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

    /// Those that have the inode of one that is known, and its content; the others are returned.
    fn by_identity(&self, found: Vec<Found>, sorting: &mut Sorting) -> Result<Vec<Found>, SourceError> {
        let here = self.files.iter().filter(|(_, entry)| !entry.known.displaced);
        let by_identity: HashMap<_, _> =
            here.map(|(tp, entry)| ((entry.known.device, entry.known.inode), tp)).collect();
        let mut free = Vec::new();
        for found in found {
            match by_identity.get(&found.identity) {
                Some(tp) => free.extend(self.place(tp, found, sorting)?),
                None => free.push(found),
            }
        }
        Ok(free)
    }

    /// Those that have the name of one that is not found by its inode, and its content.
    fn by_name(&self, found: Vec<Found>, sorting: &mut Sorting) -> Result<Vec<Found>, SourceError> {
        let here = self.files.iter().filter(|(tp, entry)| !entry.known.displaced && !sorting.placed.contains_key(*tp));
        let by_name: HashMap<_, _> = here.map(|(tp, entry)| (entry.known.path.clone(), tp)).collect();
        let mut free = Vec::new();
        for found in found {
            match by_name.get(&found.real) {
                Some(tp) if self.files[*tp].known.inode != found.identity.1 => {
                    free.extend(self.place(tp, found, sorting)?);
                }
                _ => free.push(found),
            }
        }
        Ok(free)
    }

    /// Those that have the content of one that is not where it was.
    fn by_content(&self, found: Vec<Found>, sorting: &mut Sorting) -> Result<Vec<Found>, SourceError> {
        let mut by_head = HashMap::<(usize, u32), Vec<&TopicPartition>>::new();
        for (tp, entry) in &self.files {
            if let (false, Some(sum)) = (sorting.placed.contains_key(tp), entry.known.head.last()) {
                by_head.entry((entry.known.head.len(), *sum)).or_default().push(tp);
            }
        }
        if by_head.is_empty() {
            return Ok(found);
        }
        let mut free = Vec::new();
        'found: for found in found {
            if found.look.size > 0 {
                let head = Lines::open(&found.path)?.head().to_vec();
                for candidate in heads(&head).filter_map(|head| by_head.get(&head)).flatten() {
                    if !sorting.placed.contains_key(*candidate) && self.fit(candidate, &found)? == Fit::Same {
                        sorting.placed.insert((*candidate).clone(), found);
                        continue 'found;
                    }
                }
            }
            free.push(found);
        }
        Ok(free)
    }

    /// Leaves out, once, those that begin like a file that is in its place: whoever copies a file and cuts it then is not to be met in between.
    fn postpone(&mut self, found: Vec<Found>, sorting: &Sorting) -> Result<Vec<Found>, SourceError> {
        let mut beginnings = BTreeSet::new();
        for (tp, entry) in &self.files {
            if let (true, Some(sum)) = (sorting.placed.contains_key(tp), entry.known.head.last()) {
                beginnings.insert((entry.known.head.len(), *sum));
            }
        }
        let (mut free, mut postponed) = (Vec::new(), BTreeSet::new());
        for found in found {
            let lines = Lines::open(&found.path)?;
            if heads(lines.head()).any(|head| beginnings.contains(&head)) && !self.postponed.contains(&found.identity) {
                postponed.insert(found.identity);
            } else {
                free.push(found);
            }
        }
        self.postponed = postponed;
        Ok(free)
    }

    /// Puts a file in its place if it is the one; gives it back if not.
    fn place(&self, tp: &TopicPartition, found: Found, sorting: &mut Sorting) -> Result<Option<Found>, SourceError> {
        match self.fit(tp, &found)? {
            Fit::Same => {
                sorting.placed.insert(tp.clone(), found);
                return Ok(None);
            }
            Fit::Other => {}
            // One that was cut to nothing will be another one.
            Fit::Shorter | Fit::Changed if !has_begun(Lines::open(&found.path)?.head(), self.options.format) => {}
            doubtful => drop(sorting.doubtful.insert(tp.clone(), (found.path.display().to_string(), doubtful))),
        }
        Ok(Some(found))
    }

    /// Whether a file is the one that is known as `tp`.
    fn fit(&self, tp: &TopicPartition, found: &Found) -> Result<Fit, SourceError> {
        let Entry { known, place } = &self.files[tp];
        let as_before = place.as_ref().is_some_and(|p| (p.identity, p.look) == (found.identity, found.look));
        let as_read = (known.device, known.inode) == found.identity && known.ended == Some(found.look);
        if as_before || as_read {
            return Ok(Fit::Same);
        }
        Lines::open(&found.path)?.recognise(known, i64::MAX)
    }

    fn unlike(&self, tp: &TopicPartition, path: &str, fit: &Fit) -> SourceError {
        let FileMark { line, byte, .. } = self.files[tp].last();
        let what = match fit {
            Fit::Shorter => "it is shorter, and begins like what was read",
            _ => "what comes before that is not what was read any more",
        };
        let reason = format!(
            "{line} lines were read up to here, as {tp}, and {what}: it was cut or changed in place; put back what was there, or, if it is \
             to be read as a new file, from its first line on, give it another name: `cp FILE NEW && rm FILE`"
        );
        SourceError::File { path: path.to_owned(), byte: Some(byte), reason }
    }

    fn check_topics(&self, sorting: &Sorting) -> Result<(), SourceError> {
        let Some(topic) = &self.options.topic else { return Ok(()) };
        match sorting.placed.iter().find(|(tp, _)| *tp.topic != **topic) {
            None => Ok(()),
            Some((tp, found)) => Err(SourceError::File {
                path: found.path.display().to_string(),
                byte: None,
                reason: format!(
                    "it is known as {tp}, and `topic` says {topic} now: leave `topic` as it was, or read the files under another \
                     `pipeline` name, which begins anew"
                ),
            }),
        }
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

/// What was found out about files so far.
#[derive(Default)]
struct Sorting {
    placed: BTreeMap<TopicPartition, Found>,
    /// Files that begin like what they should be, and are not: their names, and how they differ.
    doubtful: BTreeMap<TopicPartition, (String, Fit)>,
}

/// Whether there is anything in a file that tells it from others, or that could be read: otherwise it is as good as not there yet.
fn has_begun(head: &[u8], format: super::LineFormat) -> bool {
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
