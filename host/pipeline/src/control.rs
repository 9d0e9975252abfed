//! What people ask of a running pipeline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wishes, left by any thread and found by the pipeline.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    wish: Mutex<Option<Wish>>,
    changed: Condvar,
}

/// What a pipeline that waits is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Try again.
    Resume,
    /// Try again, and let the batch pass that was over the error budget.
    ResumeOverBudget,
}

impl Control {
    /// No wishes yet.
    pub const fn new() -> Self {
        Self { stop: AtomicBool::new(false), wish: Mutex::new(None), changed: Condvar::new() }
    }

    /// Asks for an end; planned batches are committed.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Whether an end was asked for.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks a pipeline that is parked, or waits after a failure, to go on now. `over_budget`: the batch that was over the
    /// error budget may pass.
    pub fn resume(&self, over_budget: bool) {
        let wish = if over_budget { Wish::ResumeOverBudget } else { Wish::Resume };
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = Some(wish);
        self.changed.notify_all();
    }

    /// Forgets what was asked for before.
    pub(crate) fn forget(&self) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits for a wish; `None`: a stop was asked for, or `most` is over.
    pub(crate) fn wait(&self, most: Option<Duration>) -> Option<Wish> {
        let until = most.map(|most| Instant::now() + most);
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(wish) = wish.take() {
                return Some(wish);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            // A stop may come without the lock: it is looked for now and then.
            let most = left.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1));
            wish = self.changed.wait_timeout(wish, most).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_wakes_and_is_gone() {
        let control = Control::new();
        control.resume(true);
        assert_eq!(control.wait(None), Some(Wish::ResumeOverBudget));
        assert_eq!(control.wait(Some(Duration::ZERO)), None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| control.wait(None));
            control.resume(false);
            assert_eq!(waiting.join().expect("no panic"), Some(Wish::Resume));
            let waiting = scope.spawn(|| control.wait(None));
            control.stop();
            assert_eq!(waiting.join().expect("no panic"), None);
        });
        control.resume(false);
        control.forget();
        assert_eq!(control.wait(Some(Duration::ZERO)), None);
    }
}
