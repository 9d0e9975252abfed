//! Rebalances: a second process joins a consumer group and leaves it, politely or not, again and again.

use anyhow::{Context, Result, ensure};
use lakemill_tests::broker::Broker;
use lakemill_tests::crash::{Outcome, Ring};
use serde_json::json;

/// Joins and leaves; each of them is a rebalance.
pub fn run(broker: &Broker, seed: u64, count: u32, rate: u64) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, rate)?;
    let group = format!("torture-{seed:x}-{:08x}", fastrand::u32(..));
    ring.spec()["source"]["kafka"]["group"] = json!(group);
    ring.spec()["source"]["kafka"]["properties"] = json!({ "session.timeout.ms": "6000" });
    let mut first = ring.begin()?;
    for round in 0..count.div_ceil(2) {
        let mut second = ring.start(None)?;
        broker.until_members(&group, 2, &mut second).with_context(|| format!("round {round}: join"))?;
        ring.count();
        ring.pause(300_000);
        if ring.random().u32(0..5) == 0 {
            second.kill()?;
        } else {
            second.terminate()?.expect(0, &[]).with_context(|| format!("round {round}: leave"))?;
        }
        broker.until_members(&group, 1, &mut first).with_context(|| format!("round {round}: after a leave"))?;
        ring.count();
        ensure!(first.is_running()?, "round {round}: the first process ended:\n{}", first.stderr_so_far());
    }
    first.terminate()?.expect(0, &[])?;
    ring.finish()
}
