//! Which file that was found is which that is known. In this order: the same inode with the same content; the same name with the same
//! content, which a file has after it was copied into place; the same content anywhere, for a file whose place is empty or another's:
//! moved to another disk, compressed, or copied away before it was cut to nothing.

use std::collections::{BTreeMap, HashMap};

use lakemill_model::{FileMark, SourceError, TopicPartition};

use super::catalog::{Catalog, Entry, has_begun};
use super::lines::{Fit, Lines, heads};
use super::paths::Found;

/// What was found out about files so far.
#[derive(Default)]
pub(super) struct Sorting {
    /// Where files are.
    pub placed: BTreeMap<TopicPartition, Found>,
    /// Files that begin like what they should be, and are not: their names, and how they differ.
    doubtful: BTreeMap<TopicPartition, (String, Fit)>,
}

/// Files that are missing, by the longest of their beginnings that has a checksum.
type Missing = HashMap<(usize, u32), Vec<TopicPartition>>;

impl Catalog {
    /// Finds the places of files that are known; and what is left.
    ///
    /// # Errors
    /// [`SourceError::File`] for those that were changed where they were read, and for what is not whole.
    pub(super) fn sort(&mut self, found: Vec<Found>) -> Result<(Sorting, Vec<Found>), SourceError> {
        let mut sorting = Sorting::default();
        let free = self.by_identity(found, &mut sorting)?;
        let free = self.newcomers.whole(free)?;
        let free = self.by_name(free, &mut sorting)?;
        self.yield_places(&mut sorting)?;
        let free = self.by_content(free, &mut sorting)?;
        for (tp, (path, fit)) in &sorting.doubtful {
            if !sorting.placed.contains_key(tp) {
                return Err(self.unlike(tp, path, fit));
            }
        }
        self.check_topics(&sorting)?;
        let originals: Vec<_> = sorting.placed.iter().map(|(tp, found)| (&self.files[tp].known, found)).collect();
        let free = self.newcomers.apart(free, &originals)?;
        Ok((sorting, free))
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

    /// A partition of which nothing was read yields to one that is missing, if its file has all that was read of that: it was taken for
    /// a new file when it was a copy in the making.
    fn yield_places(&mut self, sorting: &mut Sorting) -> Result<(), SourceError> {
        let mut missing = self.missing(sorting);
        missing.values_mut().for_each(|tps| tps.retain(|tp| !self.files[tp].known.marks.is_empty()));
        let unread = |(tp, _): &(&TopicPartition, &Found)| self.files[*tp].known.marks.is_empty();
        let unread: Vec<_> =
            sorting.placed.iter().filter(unread).map(|(tp, found)| (tp.clone(), found.clone())).collect();
        for (tp, found) in unread {
            let sums = (1..).zip(self.files[&tp].known.head.iter().copied());
            let Some(older) = self.missing_of(sums, &found, &missing, sorting)? else { continue };
            sorting.placed.remove(&tp);
            sorting.placed.insert(older, found);
            if let Some(known) = self.change(&tp) {
                known.head.clear();
                (known.displaced, known.given_up) = (true, true);
            }
        }
        Ok(())
    }

    /// Those that have the content of one that is not where it was.
    fn by_content(&self, found: Vec<Found>, sorting: &mut Sorting) -> Result<Vec<Found>, SourceError> {
        let missing = self.missing(sorting);
        if missing.is_empty() {
            return Ok(found);
        }
        let mut free = Vec::new();
        for found in found {
            if found.look.size > 0 {
                let head = Lines::open(&found.path)?.head().to_vec();
                if let Some(tp) = self.missing_of(heads(&head), &found, &missing, sorting)? {
                    sorting.placed.insert(tp, found);
                    continue;
                }
            }
            free.push(found);
        }
        Ok(free)
    }

    fn missing(&self, sorting: &Sorting) -> Missing {
        let mut missing = Missing::new();
        for (tp, entry) in &self.files {
            if let (false, Some(sum)) = (sorting.placed.contains_key(tp), entry.known.head.last()) {
                missing.entry((entry.known.head.len(), *sum)).or_default().push(tp.clone());
            }
        }
        missing
    }

    /// The missing file whose content a file with these beginnings has.
    fn missing_of(
        &self,
        beginnings: impl Iterator<Item = (usize, u32)>,
        found: &Found,
        missing: &Missing,
        sorting: &Sorting,
    ) -> Result<Option<TopicPartition>, SourceError> {
        for tp in beginnings.filter_map(|beginning| missing.get(&beginning)).flatten() {
            if !sorting.placed.contains_key(tp) && self.fit(tp, found)? == Fit::Same {
                return Ok(Some(tp.clone()));
            }
        }
        Ok(None)
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
        let mut lines = Lines::open(&found.path)?;
        match lines.recognise(known, i64::MAX) {
            // It is not whole, which is found out of all that are left.
            Err(_) if !lines.grows() => Ok(Fit::Other),
            fit => fit,
        }
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
}
