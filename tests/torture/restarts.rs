//! The broker goes and comes back under load. Needs a broker that is ours: `LAKEMILL_TORTURE_KAFKA` is its folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Outcome, Ring};
use lakemill_tests::places;

/// Restarts the broker; the pipeline must not notice more than a pause.
pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let folder = std::env::var_os("LAKEMILL_TORTURE_KAFKA").map(PathBuf::from);
    let folder = folder.context("LAKEMILL_TORTURE_KAFKA is not set: scripts/torture.sh starts a broker of its own")?;
    let port = broker.address.rsplit(':').next().context("a port")?.to_owned();
    let kafka = |arguments: &[&str]| -> Result<()> {
        let status = Command::new(places::root().join("scripts/kafka.sh"))
            .arg(arguments[0])
            .arg(&folder)
            .args(&arguments[1..])
            .stdout(std::process::Stdio::null())
            .status()?;
        ensure!(status.success(), "kafka.sh {arguments:?}: {status}");
        Ok(())
    };
    let mut ring = Ring::new(broker, seed, rate)?;
    let mut lakemill = ring.begin()?;
    for round in 0..count {
        kafka(&["down"])?;
        // Not before: what it had read by then it may commit meanwhile.
        let before = ring.newest()?;
        kafka(&["up", &port])?;
        ring.first_commit(&mut lakemill, before).with_context(|| format!("round {round}"))?;
        ensure!(lakemill.is_running()?, "round {round}: it ended:\n{}", lakemill.stderr_so_far());
        ring.count();
    }
    lakemill.terminate()?.expect(0, &[])?;
    ring.finish()
}
