//! The interface `panic`: why a guest is about to trap, in its own words. Free to every component; believed only of a guest that then
//! aborts.

use wasmtime::{Result, Trap};

use crate::bindings::panic::Host;
use crate::call::Call;
use crate::text::said;

/// What is kept of the words: each dead letter has them.
const WORDS_BYTES_MAX: usize = 1_024;

/// What a guest said last of why it is about to trap.
#[derive(Debug, Default)]
pub(crate) struct LastWords(Option<String>);

impl LastWords {
    /// Keeps the beginning, in memory of its own: what the guest gave may be as large as the output of a call.
    fn say(&mut self, message: &str) {
        let beginning = &message[..message.floor_char_boundary(WORDS_BYTES_MAX)];
        self.0 = Some(said(beginning.to_owned(), WORDS_BYTES_MAX));
    }

    /// The words, if `trap` is how a guest aborts.
    pub(crate) fn of(&self, trap: Option<&Trap>) -> Option<String> {
        self.0.clone().filter(|_| trap == Some(&Trap::UnreachableCodeReached))
    }
}

impl Host for Call {
    fn say(&mut self, message: String) -> Result<()> {
        self.last_words.say(&message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_count_where_the_guest_aborts() {
        let mut words = LastWords::default();
        assert_eq!(words.of(Some(&Trap::UnreachableCodeReached)), None);
        words.say("first");
        words.say("too dear\n11");
        let abort = Trap::UnreachableCodeReached;
        assert_eq!(words.of(Some(&abort)).as_deref(), Some("too dear\\n11"));
        assert_eq!(words.of(Some(&Trap::IntegerDivisionByZero)), None);
        assert_eq!(words.of(None), None);
    }

    #[test]
    fn long_words_are_cut_and_take_no_more_room() {
        let mut words = LastWords::default();
        words.say(&"é".repeat(1 << 20));
        assert!(
            words.0.as_ref().is_some_and(|kept| kept.len() == WORDS_BYTES_MAX && kept.capacity() <= WORDS_BYTES_MAX)
        );
        words.say(&"\0".repeat(1 << 20));
        assert!(words.0.as_ref().is_some_and(|kept| kept.len() <= WORDS_BYTES_MAX));
    }
}
