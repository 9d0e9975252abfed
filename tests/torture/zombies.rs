//! Frozen processes: each is replaced while it sleeps, and awake again it must not write a row.

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Outcome, Ring};

/// Freezes, replaces and wakes a process, again and again.
pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, rate)?;
    let mut current = ring.begin()?;
    // One that sleeps is there.
    ring.options(&["--take-over"]);
    for round in 0..count {
        ring.pause(300_000);
        current.signal("STOP")?;
        let mut successor = ring.begin().with_context(|| format!("round {round}: the successor"))?;
        ring.pause(100_000);
        current.signal("CONT")?;
        let ended = current.finish()?;
        ensure!(ended.code == Some(1), "round {round}: the zombie ended with {:?}:\n{}", ended.code, ended.said());
        ensure!(ended.said().contains("another process writes as this pipeline"), "{}", ended.said());
        ensure!(successor.is_running()?, "round {round}: the successor ended:\n{}", successor.stderr_so_far());
        current = successor;
        ring.count();
    }
    current.terminate()?.expect(0, &[])?;
    ring.finish()
}
