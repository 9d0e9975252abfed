//! Files that nobody knows yet, held back until it is clear what they are: a compressed one until it is whole, one that may be a copy
//! that is still being made until it goes its own way or has stood still for long.
//!
//! A run that ends with its files waits for nothing: what is not whole is an error, and a copy is a file of its own.

use std::collections::BTreeMap;

use lakemill_model::{FileLook, KnownFile, SourceError};

use super::lines::{Identity, Lines, heads};
use super::paths::Found;

/// A copy is a file of its own when it has stood still for so many looks: whoever copies or compresses a file to cut it or to delete it
/// is done by then.
const PATIENCE: u32 = 30;

/// What is known of files between looks.
pub(super) struct Newcomers {
    follow: bool,
    /// How compressed files looked when they were found to be whole.
    whole: BTreeMap<Identity, FileLook>,
    /// Those that were held back at the last look: how they looked, and for how many looks they have stood still.
    before: BTreeMap<Identity, (FileLook, u32)>,
    /// Those that are held back at this one.
    held: BTreeMap<Identity, (FileLook, u32)>,
}

/// What a new file is to one that is in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// It has other content.
    Other,
    /// It has the beginning, and may get the rest.
    Beginning,
    /// As far as can be told the same, and perhaps more.
    Same,
}

impl Newcomers {
    /// Of a source that is followed, or not.
    pub fn new(follow: bool) -> Self {
        Self { follow, whole: BTreeMap::new(), before: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// To be called before the files of a look are shown.
    pub fn look(&mut self) {
        self.before = std::mem::take(&mut self.held);
    }

    /// Unpacks a compressed file to its end, unless that was done.
    ///
    /// # Errors
    /// If it stops in the middle, is damaged, or is not lines.
    pub fn verify(&mut self, found: &Found) -> Result<(), SourceError> {
        if self.whole.get(&found.identity) != Some(&found.look) {
            Lines::open(&found.path)?.verify()?;
            self.whole.insert(found.identity, found.look);
        }
        Ok(())
    }

    /// Those that are whole, as all are that are not compressed. A file that is still being written is not unpacked at every look: only
    /// when it is seen first, and when it stands still.
    ///
    /// # Errors
    /// If one is not whole, and is not waited for.
    pub fn whole(&mut self, found: Vec<Found>) -> Result<Vec<Found>, SourceError> {
        let mut whole = Vec::with_capacity(found.len());
        for found in found {
            if found.look.size == 0 {
                whole.push(found);
                continue;
            }
            // Gone since it was listed.
            let Some(lines) = Lines::open_if_there(&found.path)? else { continue };
            let still = self.still(&found);
            if lines.grows() || self.whole.get(&found.identity) == Some(&found.look) {
                whole.push(found);
            } else if still.is_none_or(|looks| looks == 1) {
                match self.verify(&found) {
                    Ok(()) => whole.push(found),
                    Err(error) if !self.follow => return Err(error),
                    Err(error) => {
                        if still.is_some() {
                            tracing::warn!(%error, "a compressed file is not whole: it is waited for");
                        }
                        self.hold(&found, still);
                    }
                }
            } else {
                self.hold(&found, still);
            }
        }
        Ok(whole)
    }

    /// Those that are no copies of `originals` that may still be under way, or whose originals may be about to go.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn apart(&mut self, found: Vec<Found>, originals: &[(&KnownFile, &Found)]) -> Result<Vec<Found>, SourceError> {
        if !self.follow {
            return Ok(found);
        }
        let mut apart = Vec::with_capacity(found.len());
        for found in found {
            let Some((original, likeness)) = original_of(&found, originals)? else {
                apart.push(found);
                continue;
            };
            // One that goes further than its original grows by itself.
            let still = match likeness {
                Likeness::Beginning => self.still(&found),
                _ => self.before.get(&found.identity).map(|(_, looks)| looks + 1),
            };
            if still.is_some_and(|looks| looks >= PATIENCE) {
                apart.push(found);
                continue;
            }
            if still.is_none() {
                let (file, like) = (found.path.display().to_string(), original.path.display().to_string());
                tracing::info!(
                    file,
                    like,
                    looks = PATIENCE,
                    "it may be a copy in the making: a file of its own if it stays so"
                );
            }
            self.hold(&found, still);
        }
        Ok(apart)
    }

    /// For how many looks a file has stood still since it was held back first; `None` if it was not.
    fn still(&self, found: &Found) -> Option<u32> {
        let (look, looks) = self.before.get(&found.identity)?;
        Some(if *look == found.look { looks + 1 } else { 0 })
    }

    fn hold(&mut self, found: &Found, still: Option<u32>) {
        self.held.insert(found.identity, (found.look, still.unwrap_or(0)));
    }
}

/// The file that one may be a copy of.
fn original_of<'a>(
    found: &Found,
    originals: &[(&KnownFile, &'a Found)],
) -> Result<Option<(&'a Found, Likeness)>, SourceError> {
    if found.look.size == 0 {
        return Ok(None);
    }
    let Some(copy) = Lines::open_if_there(&found.path)? else { return Ok(None) };
    let sums: Vec<u32> = heads(copy.head()).map(|(_, sum)| sum).collect();
    for (known, original) in originals {
        if known.head.iter().zip(&sums).all(|(known, sum)| known == sum) {
            let likeness = likeness(&copy, known, original)?;
            if likeness != Likeness::Other {
                return Ok(Some((original, likeness)));
            }
        }
    }
    Ok(None)
}

fn likeness(copy: &Lines, known: &KnownFile, original: &Found) -> Result<Likeness, SourceError> {
    // Gone, or cut, since it was seen: the next look tells.
    let Some(original) = Lines::open_if_there(&original.path)? else { return Ok(Likeness::Same) };
    let both = copy.head().len().min(original.head().len());
    if copy.head()[..both] != original.head()[..both] {
        return Ok(Likeness::Other);
    }
    let copied = copy.look()?.1.size;
    // Of one that is compressed, as far as it was read.
    let read = known.marks.last().map_or(0, |mark| mark.byte);
    let all = if original.grows() { original.look()?.1.size } else { read };
    let upto = copied.min(all);
    Ok(match (copy.content_before(upto)?, original.content_before(upto)?) {
        (Some(copy), Some(original)) if copy != original => Likeness::Other,
        (Some(_), _) if copied <= all => Likeness::Beginning,
        _ => Likeness::Same,
    })
}
