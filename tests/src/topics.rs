//! What happens to topics behind a pipeline's back: records are deleted that it has read, or that it has not, and topics are deleted
//! and made anew under the same name.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::broker::Broker;
use crate::crash::{Marks, Outcome, PARTITIONS, Ring};
use crate::live::{Live, Load};
use crate::oracle::Gone;
use crate::orders::{self, Mix, Orders};
use crate::process::Lakemill;
use crate::wait;

/// Longer than any of it takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What of a partition was gone before it was read, as the log says it: from, to.
type Gaps = BTreeMap<i32, (i64, i64)>;

/// Records are deleted under live load. Those that are in all tables do not matter. Those that are not stop the pipeline, whether it is
/// dead or frozen meanwhile; with `on_data_loss: continue` it goes on with exactly the rows that are left.
///
/// # Errors
/// If anything is lost that was there, or it does not say what is gone.
pub fn deleted_records(broker: &Broker, seed: u64, rate: u64) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, rate)?;
    let lakemill = ring.begin()?;
    let lakemill = behind(broker, &mut ring, lakemill).context("records that were read")?;
    let mut gone = Vec::new();
    let lakemill = while_dead(broker, &mut ring, lakemill, &mut gone).context("while it was dead")?;
    let lakemill = while_frozen(broker, &mut ring, lakemill, &mut gone).context("while it was frozen")?;
    let lakemill = gone_over(broker, &mut ring, lakemill, &mut gone).context("gone over at once")?;
    lakemill.terminate()?.expect(0, &[])?;
    on_data_loss(&mut ring, "fail");
    ring.finish_without(&gone)
}

fn on_data_loss(ring: &mut Ring, policy: &str) {
    ring.spec()["source"]["kafka"]["on_data_loss"] = json!(policy);
}

/// What is in all tables may go, and nobody minds: neither who reads on, nor who starts again.
fn behind(broker: &Broker, ring: &mut Ring, mut lakemill: Lakemill) -> Result<Lakemill> {
    for _ in 0..2 {
        broker.truncate_all(ring.topic(), &ring.marks()?.done)?;
        let before = ring.newest()?;
        ensure!(ring.first_commit(&mut lakemill, before)?, "it ended:\n{}", lakemill.stderr_so_far());
        ring.count();
    }
    lakemill.kill()?;
    broker.truncate_all(ring.topic(), &ring.marks()?.done)?;
    ring.count();
    ring.begin()
}

fn while_dead(broker: &Broker, ring: &mut Ring, lakemill: Lakemill, gone: &mut Vec<Gone>) -> Result<Lakemill> {
    lakemill.kill()?;
    let marks = ring.marks()?;
    let ends = grown(broker, ring, &marks.done)?;
    // Some of it, or all that there is.
    let cut = ends.iter().map(|(partition, end)| {
        (*partition, marks.done[partition] + 1 + ring.random().i64(0..*end - marks.done[partition]))
    });
    let cut: BTreeMap<i32, i64> = cut.collect();
    broker.truncate_all(ring.topic(), &cut)?;
    let stopped = ring.start(None)?.finish()?;
    stopped.expect(1, &["data lost on", "on_data_loss"])?;
    let words = |(partition, first): (&i32, &i64)| {
        format!(
            "data lost on {}/{partition}: next to read is {}, the source has {first}..",
            ring.topic(),
            marks.done[partition]
        )
    };
    ensure!(
        cut.iter().map(words).any(|words| stopped.said().contains(&words)),
        "{marks:?} {cut:?}\n{}",
        stopped.said()
    );
    ring.count();
    let expected = cut.iter().map(|(partition, first)| (*partition, (marks.done[partition], *first))).collect();
    go_over(ring, &marks, &expected, gone)
}

fn while_frozen(broker: &Broker, ring: &mut Ring, lakemill: Lakemill, gone: &mut Vec<Gone>) -> Result<Lakemill> {
    on_data_loss(ring, "fail");
    lakemill.terminate()?.expect(0, &[])?;
    let lakemill = ring.begin()?;
    let cut = cut_while_frozen(broker, ring, &lakemill)?;
    let stopped = lakemill.finish()?;
    stopped.expect(1, &[&format!("data lost on {}/", ring.topic()), "on_data_loss"])?;
    ring.count();
    // What it had fetched by then it has committed.
    let marks = ring.marks()?;
    let expected = cut.iter().map(|(partition, first)| (*partition, (marks.done[partition], *first))).collect();
    go_over(ring, &marks, &expected, gone)
}

/// A process that may go over losses and finds one while it runs.
fn gone_over(broker: &Broker, ring: &mut Ring, mut lakemill: Lakemill, gone: &mut Vec<Gone>) -> Result<Lakemill> {
    let said_before = gaps(&lakemill.stderr_so_far(), ring.topic())?.len();
    let cut = cut_while_frozen(broker, ring, &lakemill)?;
    let before = ring.newest()?;
    ensure!(ring.first_commit(&mut lakemill, before)?, "it ended:\n{}", lakemill.stderr_so_far());
    lakemill.until("all gaps", || {
        let done = ring.done()?;
        Ok(cut.iter().all(|(partition, first)| done[partition] >= *first).then_some(()))
    })?;
    let all = gaps(&lakemill.stderr_so_far(), ring.topic())?;
    for (partition, from, to) in all.into_iter().skip(said_before) {
        ensure!(cut[&partition] == to, "partition {partition} is cut at {}, and it says {to}", cut[&partition]);
        // What came before it was read, and whoever wanted it has it.
        gone.extend(ring.marks()?.held.into_keys().map(|table| Gone { table, partition, from, to }));
    }
    ring.count();
    Ok(lakemill)
}

/// Deletes all records of a topic while its reader sleeps; where each partition begins then.
fn cut_while_frozen(broker: &Broker, ring: &mut Ring, lakemill: &Lakemill) -> Result<BTreeMap<i32, i64>> {
    ring.pause(200_000);
    lakemill.signal("STOP")?;
    // More than an answer that was on its way can hold.
    let ends = broker.ends(ring.topic())?.into_iter().map(|(partition, (_, end))| (partition, end)).collect();
    let cut = grown(broker, ring, &ends)?;
    broker.truncate_all(ring.topic(), &cut)?;
    lakemill.signal("CONT")?;
    Ok(cut)
}

/// Goes on with what is left, and says what is not.
fn go_over(ring: &mut Ring, marks: &Marks, expected: &Gaps, gone: &mut Vec<Gone>) -> Result<Lakemill> {
    on_data_loss(ring, "continue");
    let lakemill = ring.begin()?;
    let said: Gaps =
        gaps(&lakemill.stderr_so_far(), ring.topic())?.into_iter().map(|(p, from, to)| (p, (from, to))).collect();
    ensure!(said == *expected, "it says that {said:?} is gone, not {expected:?}:\n{}", lakemill.stderr_so_far());
    for (partition, (from, to)) in said {
        gone.extend(marks.gone(partition, from, to));
    }
    ring.count();
    Ok(lakemill)
}

/// Waits until there is something after these offsets in every partition; the ends by then.
fn grown(broker: &Broker, ring: &Ring, after: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>> {
    wait::until(LIMIT, "the load", || {
        let ends = broker.ends(ring.topic())?;
        let far = after.iter().all(|(partition, after)| ends[partition].1 > after + 50);
        Ok(far.then(|| ends.into_iter().map(|(partition, (_, end))| (partition, end)).collect()))
    })
}

/// What a process says that is gone: partition, from, to.
fn gaps(said: &str, topic: &str) -> Result<Vec<(i32, i64, i64)>> {
    let mut gaps = Vec::new();
    for line in said.lines().filter(|line| line.contains("records are gone before they were read")) {
        let word = |name: &str| {
            let rest = line.split(&format!(" {name}=")).nth(1).with_context(|| format!("no {name} in {line}"))?;
            Ok::<_, anyhow::Error>(rest.split(' ').next().unwrap_or_default())
        };
        let (of, partition) = word("tp")?.rsplit_once('/').with_context(|| line.to_owned())?;
        let (from, to, missing): (i64, i64, i64) =
            (word("wanted")?.parse()?, word("first")?.parse()?, word("missing")?.parse()?);
        ensure!(of == topic && to - from == missing, "{line}");
        gaps.push((partition.parse()?, from, to));
    }
    Ok(gaps)
}

/// How a topic is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anew {
    /// While the pipeline is down: the new one ends before its position.
    Shorter,
    /// While it is down: the new one goes on after its position.
    Longer,
    /// Under a pipeline that reads it; then somebody writes to the new one.
    Running,
    /// Under one that is frozen, and goes on after its position when that wakes up: nothing shows but the topic's id.
    Frozen,
}

/// Every way.
pub const ANEW: [Anew; 4] = [Anew::Shorter, Anew::Longer, Anew::Running, Anew::Frozen];

/// A topic is deleted and made anew: the pipeline stops, says so, stays stopped, and has nothing of the new one.
///
/// # Errors
/// If it goes on, or a row is not of the old topic.
pub fn made_anew(broker: &Broker, seed: u64, rate: u64, how: Anew) -> Result<Outcome> {
    let mut ring = Ring::new(broker, seed, rate)?;
    let lakemill = ring.begin()?;
    ring.pause(300_000);
    let running = match how {
        Anew::Shorter | Anew::Longer => {
            if ring.random().bool() {
                lakemill.kill()?
            } else {
                lakemill.terminate()?
            };
            None
        }
        Anew::Running => Some(lakemill),
        Anew::Frozen => {
            lakemill.signal("STOP")?;
            Some(lakemill)
        }
    };
    // A producer cannot go on either.
    ring.stop_load()?;
    let topic = ring.topic().to_owned();
    broker.recreate(&topic, PARTITIONS)?;
    let of_new = seed ^ 0x5eed;
    let send = |count: usize| {
        let events: Vec<_> = Orders::new(of_new, Mix::default()).take(count).collect();
        broker.send(&topic, &orders::records(&events, PARTITIONS), &[])
    };
    let sent = ring.records();
    match how {
        Anew::Shorter => send(20)?,
        Anew::Longer | Anew::Frozen => send(usize::try_from(sent)? * 3 + 2_000)?,
        Anew::Running => {}
    }
    let stopped = match running {
        None => ring.start(None)?.finish()?,
        Some(lakemill) if how == Anew::Frozen => {
            lakemill.signal("CONT")?;
            lakemill.finish()?
        }
        Some(lakemill) => {
            let load = Load { topic: topic.clone(), partitions: PARTITIONS, seed: of_new, mix: Mix::default(), rate };
            let folder = tempfile::tempdir()?;
            let live = Live::start(broker, load, folder.path())?;
            let stopped = lakemill.finish()?;
            live.finish()?;
            stopped
        }
    };
    let said = stopped.said();
    // A topic that is not there for a moment is that, to who asks just then.
    let moment = how == Anew::Running && stopped.code == Some(3) && said.contains(&format!("{topic} is not there"));
    ensure!(moment || stopped.code == Some(1) && said.contains(&anew(&topic)), "{how:?}: {:?}\n{said}", stopped.code);
    ring.count();
    // It stays stopped, whatever may be gone over.
    on_data_loss(&mut ring, "continue");
    ring.start(None)?.finish()?.expect(1, &[&anew(&topic), "another `pipeline` name"])?;
    ring.finish_as_it_is().with_context(|| format!("{how:?}"))
}

fn anew(topic: &str) -> String {
    format!("{topic} was made anew: its id was ")
}
