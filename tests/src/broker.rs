//! The real broker that the Kafka lane is given, through a client that has nothing of Lakemill (tests/kafka/client.py).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::places;
use crate::process::Lakemill;

/// The broker's address comes in this variable.
pub const VARIABLE: &str = "LAKEMILL_TEST_BROKERS";

/// A broker that answers.
#[derive(Clone, Debug)]
pub struct Broker {
    /// `host:port`.
    pub address: String,
}

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Which partition.
    pub partition: i32,
    /// `None`: a null key.
    pub key: Option<Vec<u8>>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// Kafka's timestamp, in milliseconds since 1970; `None`: now.
    pub time_ms: Option<i64>,
}

/// A record as it is in the topic.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Stored {
    /// Which partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Kafka's timestamp.
    pub time_ms: i64,
    /// The key, if it is UTF-8.
    pub key: Option<String>,
    /// The value, if it is UTF-8.
    pub value: Option<String>,
}

/// What a producer does.
#[derive(Clone, Debug)]
pub enum Send<'a> {
    /// Sends these.
    Records(&'a [Record]),
    /// Opens a transaction.
    Begin,
    /// Commits it.
    Commit,
    /// Aborts it, after all of it has been sent.
    Abort,
}

impl Broker {
    /// The broker of this run.
    ///
    /// # Errors
    /// If there is none, with the way to start one.
    pub fn of_environment() -> Result<Self> {
        let address = std::env::var(VARIABLE).with_context(|| {
            format!(
                "{VARIABLE} is not set: this lane needs a real broker. `make test` starts one; by hand: \
                 {VARIABLE}=$(scripts/kafka.sh up target/lanes/kafka) cargo test --release --workspace --test kafka; \
                 scripts/kafka.sh down target/lanes/kafka"
            )
        })?;
        Ok(Self { address })
    }

    /// Starts the client; what it says goes to `stdout` and `stderr`.
    fn start(&self, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Result<(Child, ChildStdin)> {
        let mut child = Command::new(places::python()?)
            .arg(places::root().join("tests/kafka/client.py"))
            .arg(&self.address)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .context("start the Kafka client")?;
        let stdin = child.stdin.take().context("its standard input")?;
        Ok((child, stdin))
    }

    fn client(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let (child, mut stdin) = self.start(arguments, Stdio::piped(), Stdio::piped())?;
        let sent = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kafka client {arguments:?}:\n{errors}");
        sent.context("write to the Kafka client")?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let answer = self.client(arguments, b"")?;
        serde_json::from_str(&answer).with_context(|| format!("kafka client {arguments:?} says {answer}"))
    }

    /// Makes a topic of this name and these settings, and a random ending so that no two tests share one.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn topic(&self, name: &str, partitions: i32, settings: &[&str]) -> Result<String> {
        let topic = format!("{name}-{:08x}", fastrand::u32(..));
        let partitions = partitions.to_string();
        self.client(&[&["create", &topic, &partitions], settings].concat(), b"")?;
        Ok(topic)
    }

    /// Sends records, with settings of the producer such as `compression.type=lz4`.
    ///
    /// # Errors
    /// If the broker does not take all of them.
    pub fn send(&self, topic: &str, records: &[Record], settings: &[&str]) -> Result<()> {
        self.produce(topic, &[Send::Records(records)], settings)
    }

    /// Sends records and orders of transactions.
    ///
    /// # Errors
    /// If the broker does not take all of them.
    pub fn produce(&self, topic: &str, steps: &[Send<'_>], settings: &[&str]) -> Result<()> {
        let mut lines = Vec::new();
        for step in steps {
            match step {
                Send::Begin => lines.extend(b"\"begin\"\n"),
                Send::Commit => lines.extend(b"\"commit\"\n"),
                Send::Abort => lines.extend(b"\"abort\"\n"),
                Send::Records(records) => {
                    for record in *records {
                        writeln!(lines, "{}", line(topic, record))?;
                    }
                }
            }
        }
        self.client(&[&["produce"], settings].concat(), &lines).map(drop)
    }

    /// A producer that stays.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn producer(&self, settings: &[&str]) -> Result<Producer> {
        // A file, since nobody reads it before the end: a pipe that is full would hold the client up.
        let errors = tempfile::tempfile()?;
        let arguments = [&["produce"], settings].concat();
        let (child, stdin) = self.start(&arguments, Stdio::null(), errors.try_clone()?.into())?;
        Ok(Producer { errors, child, input: BufWriter::new(stdin) })
    }

    /// First offset and end of every partition.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn ends(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>> {
        self.ask(&["ends", topic])
    }

    /// The offsets of all committed records of every partition.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn offsets(&self, topic: &str) -> Result<BTreeMap<i32, Vec<i64>>> {
        self.ask(&["offsets", topic])
    }

    /// All committed records.
    ///
    /// # Errors
    /// If the broker does not give them.
    pub fn read(&self, topic: &str) -> Result<Vec<Stored>> {
        let lines = self.client(&["read", topic], b"")?;
        Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Deletes the records of a partition before an offset.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn truncate(&self, topic: &str, partition: i32, before: i64) -> Result<()> {
        self.truncate_all(topic, &[(partition, before)].into())
    }

    /// Deletes the records of partitions before an offset in each.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn truncate_all(&self, topic: &str, before: &BTreeMap<i32, i64>) -> Result<()> {
        let pairs: Vec<String> = before.iter().map(|(partition, offset)| format!("{partition}={offset}")).collect();
        let arguments: Vec<&str> = ["truncate", topic].into_iter().chain(pairs.iter().map(String::as_str)).collect();
        self.client(&arguments, b"").map(drop)
    }

    /// Deletes a topic and makes another one of its name.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn recreate(&self, topic: &str, partitions: i32) -> Result<()> {
        self.client(&["recreate", topic, &partitions.to_string()], b"").map(drop)
    }

    /// The members of a consumer group and the partitions of each.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn members(&self, group: &str) -> Result<BTreeMap<String, Vec<(String, i32)>>> {
        self.ask(&["members", group])
    }

    /// Waits until a consumer group has that many members, each with a partition, while `of` runs.
    ///
    /// # Errors
    /// If the broker does not say, `of` ends before, or it takes too long.
    pub fn until_members(&self, group: &str, count: usize, of: &mut Lakemill) -> Result<()> {
        of.until(&format!("{count} members of the group"), || {
            let members = self.members(group)?;
            Ok((members.len() == count && members.values().all(|partitions| !partitions.is_empty())).then_some(()))
        })
    }

    /// What a consumer group has reported as its progress in a topic.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
        self.ask(&["committed", group, topic])
    }
}

/// A record as the client reads it.
fn line(topic: &str, record: &Record) -> serde_json::Value {
    json!({
        "topic": topic,
        "partition": record.partition,
        "key": record.key.as_deref().map(base64),
        "value": record.value.as_deref().map(base64),
        "time_ms": record.time_ms,
    })
}

/// Sends records as they come.
pub struct Producer {
    child: Child,
    input: BufWriter<ChildStdin>,
    errors: File,
}

impl Producer {
    /// Sends a record, sooner or later.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn send(&mut self, topic: &str, record: &Record) -> Result<()> {
        writeln!(self.input, "{}", line(topic, record)).context("write to the Kafka client")
    }

    /// Sends what is waiting.
    ///
    /// # Errors
    /// If the client is gone.
    pub fn flush(&mut self) -> Result<()> {
        self.input.flush().context("write to the Kafka client")
    }

    /// Waits until the broker has everything.
    ///
    /// # Errors
    /// If it did not take all of it.
    pub fn finish(self) -> Result<()> {
        let Self { mut child, input, mut errors } = self;
        drop(input.into_inner());
        let status = child.wait()?;
        let mut said = Vec::new();
        errors.rewind()?;
        errors.read_to_end(&mut said)?;
        ensure!(status.success(), "the Kafka client:\n{}", String::from_utf8_lossy(&said));
        Ok(())
    }
}

/// Base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0usize, |bits, i| bits << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * i) & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
