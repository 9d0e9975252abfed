//! What would be said again and again is said at once, and then now and then with the sum of what came since. Pure.

use std::time::{Duration, Instant};

/// Between two lines about the same.
const QUIET: Duration = Duration::from_secs(60);

/// What was not said yet.
#[derive(Debug, Default)]
pub(crate) struct Throttle<T> {
    said: Option<Instant>,
    held: T,
}

impl<T: Default> Throttle<T> {
    /// Adds something; all that there is to say by now, if it is time to say it.
    pub fn add(&mut self, now: Instant, add: impl FnOnce(&mut T)) -> Option<T> {
        add(&mut self.held);
        if self.said.is_some_and(|said| now.duration_since(said) < QUIET) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_nothing_is_left_out() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let mut add = |seconds, count| throttle.add(start + Duration::from_secs(seconds), |held| *held += count);
        assert_eq!(add(0, 3), Some(3));
        assert_eq!((add(1, 4), add(59, 5)), (None, None));
        assert_eq!(add(60, 6), Some(15));
        assert_eq!(add(61, 1), None);
    }
}
