//! Waits between attempts: longer each time, never in step with others, and back to nothing after a success. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// A circuit breaker around the runs of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
}

/// Whether runs go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// All is well.
    #[default]
    Closed,
    /// The last run failed: waiting.
    Open,
    /// A run after a failure that has not committed yet.
    HalfOpen,
}

impl Breaker {
    /// A run failed, after it had committed something or not: how long to wait. `random` is from 0 to 1.
    pub fn failed(&mut self, committed: bool, random: f64) -> Duration {
        if committed {
            self.failures = 0;
        }
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        doubled.mul_f64(0.5 + random)
    }

    /// Failed runs since something was committed.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_start_anew_after_a_success() {
        let mut breaker = Breaker::default();
        let waits: Vec<u128> = (0..10).map(|_| breaker.failed(false, 0.5).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(breaker.failures(), 10);
        assert_eq!(breaker.failed(true, 0.0).as_millis(), 100, "half of the first one at least");
        assert_eq!(breaker.failed(false, 1.0).as_millis(), 600, "and half as much again at most");
    }
}
