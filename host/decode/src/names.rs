//! Names of an object's members, remembered in the order in which they come: a connector writes the same ones again and again, and
//! comparing bytes is faster than reading a string and looking it up. What is not as expected is read as it is.

use crate::scan::{Cursor, Members, Scan};

/// Names beyond this many are read anew each time.
const NAMES_MAX: usize = 64;

/// The members of one kind of object; `T` is what a name means.
#[derive(Debug)]
pub(crate) struct Names<T> {
    meaning: fn(&str) -> T,
    /// The name in quotes as it was written, and what it means.
    known: Vec<(Box<str>, T)>,
    /// Where the next name is expected.
    next: usize,
}

impl<T: Copy> Names<T> {
    pub fn new(meaning: fn(&str) -> T) -> Self {
        Self { meaning, known: Vec::new(), next: 0 }
    }

    /// Enters an object.
    #[inline]
    pub fn object(&mut self, cursor: &mut Cursor<'_>) -> Scan<Members> {
        self.next = 0;
        cursor.object()
    }

    /// What the name of the next member means; the cursor then stands before its value.
    #[inline]
    pub fn member(&mut self, cursor: &mut Cursor<'_>, members: &mut Members) -> Scan<Option<T>> {
        if !cursor.next_key(members)? {
            return Ok(None);
        }
        let meaning = match self.known.get(self.next) {
            Some((quoted, meaning)) if cursor.take_exactly(quoted.as_bytes()) => *meaning,
            _ => self.look_up(cursor)?,
        };
        self.next += 1;
        cursor.colon()?;
        Ok(Some(meaning))
    }

    fn look_up(&mut self, cursor: &mut Cursor<'_>) -> Scan<T> {
        let start = cursor.at();
        let name = cursor.string()?;
        let quoted = &cursor.text()[start..cursor.at()];
        if let Some(place) = self.known.iter().position(|(known, _)| **known == *quoted) {
            self.next = place;
            return Ok(self.known[place].1);
        }
        let meaning = (self.meaning)(&name);
        if self.known.len() < NAMES_MAX {
            self.next = self.next.min(self.known.len());
            self.known.insert(self.next, (quoted.into(), meaning));
        }
        Ok(meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_the_same_in_any_order_and_spelling() {
        let mut names = Names::new(|name| match name {
            "a" => 1,
            "b" => 2,
            _ => 0,
        });
        let mut read = |text: &str| {
            let mut cursor = Cursor::new(text, 9);
            let mut members = names.object(&mut cursor).expect("an object");
            let mut found = Vec::new();
            while let Some(meaning) = names.member(&mut cursor, &mut members).expect("is JSON") {
                found.push((meaning, cursor.skip().expect("a value").to_owned()));
            }
            found.into_iter().map(|(meaning, value)| format!("{meaning}={value}")).collect::<Vec<_>>().join(" ")
        };
        for _ in 0..3 {
            assert_eq!(read(r#"{"a":1,"x":2,"b":3}"#), "1=1 0=2 2=3");
            assert_eq!(read(r#"{"b":1, "a" : 2}"#), "2=1 1=2");
            assert_eq!(read(r#"{"\u0061":1,"ab":2,"b":3}"#), "1=1 0=2 2=3");
            assert_eq!(read(r#"{}"#), "");
            assert_eq!(read(r#"{"a":1,"a":2}"#), "1=1 1=2");
        }
        let many: Vec<String> = (0..200).map(|n| format!("\"n{n}\":{n}")).collect();
        assert_eq!(read(&format!("{{{},\"b\":7}}", many.join(","))).split(' ').next_back(), Some("2=7"));
        assert!(names.known.len() <= NAMES_MAX);
    }
}
