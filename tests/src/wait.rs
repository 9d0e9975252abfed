//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks again and again until there is an answer.
///
/// # Errors
/// The question's own, or that `limit` is over.
pub fn until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= end {
            bail!("waited {} s for {what}", limit.as_secs());
        }
        // Between two looks, so that the one who is waited for has the core.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
