//! How fast a topic is read into batches: `consume BROKERS [TOPIC]`. A topic that isn't there is made first,
//! with 1,000,000 records of 741 bytes, LZ4, on 4 partitions.

use std::time::{Duration, Instant};

use lakemill_ingest::produce::{Outgoing, Producer, ProducerOptions};
use lakemill_ingest::topics::Topics;
use lakemill_ingest::{KafkaOptions, KafkaSource, Properties};
use lakemill_model::{BatchLimits, Polled, RawBatch, Source, SourceError, StartAt};

#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
const RECORDS: usize = 1_000_000;
const PARTITIONS: i32 = 4;
const LIMITS: BatchLimits =
    BatchLimits { rows_max: 50_000, bytes_max: 64 << 20, latency_max: Duration::from_millis(500) };

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let brokers = arguments.next().ok_or("usage: consume BROKERS [TOPIC]")?;
    let topic = arguments.next().unwrap_or_else(|| "lakemill-consume".to_owned());
    let mut options = KafkaOptions::new("consume", &brokers, vec![topic.clone()]);
    options.until_caught_up = true;
    let source = match KafkaSource::open(options.clone()) {
        Err(SourceError::NoSuchTopic { .. }) => {
            write(&brokers, &topic)?;
            KafkaSource::open(options)
        }
        other => other,
    };
    read(source?)
}

fn read(mut source: KafkaSource) -> Result<(), Failed> {
    let (start, cpu, thread) = (Instant::now(), cpu("/proc/self/stat")?, cpu("/proc/thread-self/stat")?);
    let (mut records, mut bytes, mut batches, mut last) = (0, 0, 0, 0);
    loop {
        let mut batch = RawBatch::with_capacity(last, last * 768);
        match source.poll(&mut batch, &LIMITS, Instant::now() + Duration::from_secs(1))? {
            Polled::Assigned(partitions) => {
                let positions = source.resolve(&partitions, StartAt::Earliest)?;
                source.start(&positions)?;
            }
            Polled::Revoked(partitions) => source.release(&partitions)?,
            Polled::Records => {
                source.take_ranges();
                records += batch.len();
                bytes += batch.bytes();
                batches += 1;
                last = batch.len();
            }
            Polled::CaughtUp => break,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let micros = |before: f64, after: f64| (after - before) * 1e6 / records as f64;
    println!(
        "{records} events, {batches} batches in {seconds:.2} s: {:.0} events/s, {:.0} MB/s, \
         {:.2} us of CPU per event, {:.2} of them on this thread, {} MB at most",
        records as f64 / seconds,
        bytes as f64 / seconds / 1e6,
        micros(cpu, self::cpu("/proc/self/stat")?),
        micros(thread, self::cpu("/proc/thread-self/stat")?),
        peak_mb()?,
    );
    Ok(())
}

/// Makes the topic.
fn write(brokers: &str, topic: &str) -> Result<(), Failed> {
    println!("making {topic}");
    Topics::open(brokers, &Properties::default())?.create(topic, PARTITIONS, &[])?;
    let producer =
        Producer::open(&ProducerOptions { linger: Duration::from_millis(50), ..ProducerOptions::new(brokers) })?;
    let mut seed = 88_172_645_463_325_252_u64;
    for n in 0..RECORDS {
        let mut value = format!("{{\"before\":null,\"after\":{{\"id\":{n:08}");
        while value.len() < 719 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            value.push_str(&format!(",\"column_{:02}\":\"{:08x}\"", value.len() % 100, seed as u32));
        }
        value.truncate(726);
        value.push_str("}}");
        let key = format!("{{\"id\":{:06}}}", n % 1_000_000);
        let partition = Some(i32::try_from(n % PARTITIONS as usize)?);
        let record =
            Outgoing { topic, partition, key: Some(key.as_bytes()), value: Some(value.as_bytes()), timestamp_ms: None };
        producer.send(record)?;
    }
    producer.flush()?;
    Ok(())
}

/// CPU seconds so far, out of a `stat` file of Linux's proc(5): fields 14 and 15, in hundredths.
fn cpu(path: &str) -> Result<f64, Failed> {
    let text = std::fs::read_to_string(path)?;
    // The second field, in parentheses, may hold anything.
    let after = text.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<&str> = after.split(' ').collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn peak_mb() -> Result<u64, Failed> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).unwrap_or_default().parse::<u64>()? / 1024)
}
