//! The clock of deadlines: a thread of its own that advances the engine's epoch. Does nothing else, so that nothing
//! holds it up.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::EngineWeak;

/// The time between two ticks. A deadline is exact to two of them.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let run = move || {
            hurry();
            // Late ticks are not made up for: whoever is late shares the machine with guests that are late, too.
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("lakemill-epoch".into()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// On a machine that is busy with guests, this thread comes first, where the system allows that: it needs next to nothing.
fn hurry() {
    const NICE: libc::c_int = -10;
    #[expect(unsafe_code, reason = "std has no call for it")]
    // SAFETY: a plain system call without pointers; of 0, Linux takes the calling thread.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if done != 0 {
        tracing::debug!("deadlines are watched at the usual priority: this user may not raise it");
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was shown already, and there is nothing to be saved.
            drop(thread.join());
        }
    }
}

/// The ticks from now after which `limit_ms` are over for sure: the running tick does not count.
pub(crate) fn ticks(limit_ms: u64) -> u64 {
    // wasmtime adds this to the current epoch without a check.
    const TICKS_MAX: u64 = 1 << 32;
    limit_ms.div_ceil(TICK.as_millis() as u64).saturating_add(1).min(TICKS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        assert_eq!([0, 1, 10, 11, 1000, u64::MAX].map(ticks), [1, 2, 3, 4, 201, 1 << 32]);
    }

    #[test]
    fn ends_with_its_owner() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config).expect("an engine");
        let ticker = Ticker::start(engine.weak()).expect("a thread");
        drop(ticker);
        assert!(engine.weak().upgrade().is_some());
    }
}
