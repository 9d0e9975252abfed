//! What only a real broker shows: transactions, compaction, times, deletion. Skipped, with a note, where
//! there is none.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lakemill_ingest::embedded::GroupPositions;
use lakemill_ingest::produce::{Compression, Outgoing, Producer, ProducerOptions};
use lakemill_ingest::topics::Topics;
use lakemill_ingest::{KafkaOptions, KafkaSource, OnDataLoss, Properties};
use lakemill_model::{NextOffset, Polled, PositionDelta, RawBatch, Source, SourceError, StartAt, source::range};

use crate::driver::{LIMITS, Reader, at, noise, numbers, options, outgoing, producer, read, tp, write};

/// A broker to test with, and one topic on it.
struct Lane {
    brokers: String,
    topics: Topics,
    topic: String,
}

impl Lane {
    /// `None` where there is no broker.
    fn open(test: &str, partitions: i32, configs: &[(&str, &str)]) -> Option<Self> {
        let Ok(brokers) = std::env::var("LAKEMILL_TEST_BROKERS") else {
            println!("skipped: LAKEMILL_TEST_BROKERS names no broker");
            return None;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let topic = format!("ingest-{test}-{now}");
        let topics = Topics::open(&brokers, &Properties::default()).expect("a client");
        topics.create(&topic, partitions, configs).expect("a topic");
        Some(Self { brokers, topics, topic })
    }

    fn transactional(&self) -> Producer {
        let id = Some(format!("{}-tx", self.topic));
        Producer::open(&ProducerOptions { transactional_id: id, ..ProducerOptions::new(&self.brokers) })
            .expect("a producer")
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Err(error) = self.topics.delete(&self.topic) {
            println!("{} stays: {error}", self.topic);
        }
    }
}

#[test]
fn only_what_was_committed_is_read_and_ends_are_found_behind_control_records() {
    let Some(lane) = Lane::open("transactions", 3, &[]) else { return };
    let producer = lane.transactional();
    let in_transaction = |partition, from, count| {
        producer.begin().expect("begun");
        write(&producer, &lane.topic, partition, from, count);
    };
    in_transaction(0, 0, 10);
    producer.commit().expect("committed");
    in_transaction(0, 500, 7);
    producer.abort().expect("aborted");
    in_transaction(0, 10, 5);
    producer.commit().expect("committed");
    // A partition of nothing but aborted records, and one that is empty.
    in_transaction(1, 900, 3);
    producer.abort().expect("aborted");

    let first = read(&lane.brokers, &[&lane.topic]);
    assert_eq!(first.values(&lane.topic, 0), numbers(0, 15));
    assert_eq!(first.count(), 15);
    let (zero, one) = (tp(&lane.topic, 0), tp(&lane.topic, 1));
    // 10 records and their commit, 7 and their abort, 5 and their commit; 3 and their abort.
    let expected = at(&[(&zero, 25), (&one, 4), (&tp(&lane.topic, 2), 0)]);
    assert_eq!(first.positions, expected, "control records and aborted ones are behind us");
    assert_eq!(first.source.lag(), Some(0));

    // From there on nothing is left, also for somebody new.
    let mut second = Reader::open(options(&lane.brokers, &[&lane.topic]), StartAt::Earliest).expect("topics");
    second.positions = first.positions.clone();
    second.run_to_end().expect("readable");
    assert_eq!(second.count(), 0);

    // What is open holds readers back, until it is decided.
    in_transaction(0, 15, 4);
    let mut third = read(&lane.brokers, &[&lane.topic]);
    assert_eq!((third.count(), &third.positions), (15, &expected));
    let latest = third.source.resolve(std::slice::from_ref(&zero), StartAt::Latest).expect("there");
    assert_eq!(latest.get(&zero), Some(NextOffset(25)), "the last stable offset");
    producer.commit().expect("committed");
    assert_eq!(read(&lane.brokers, &[&lane.topic]).values(&lane.topic, 0), numbers(0, 19));

    // Ranges that begin and end in the middle of it all.
    for (start, end, values) in
        [(5, 20, [numbers(5, 5), numbers(10, 1)].concat()), (11, 18, vec![]), (0, 25, numbers(0, 15))]
    {
        let mut batch = RawBatch::default();
        let ranges: PositionDelta = [(zero.clone(), range(start, end))].into_iter().collect();
        third.source.reread(&ranges, &mut batch).expect("there");
        let found: Vec<_> =
            batch.records().iter().map(|record| batch.value(record).expect("a value").to_vec()).collect();
        assert_eq!(found, values.iter().map(|value| value.clone().into_bytes()).collect::<Vec<_>>(), "{start}..{end}");
    }
}

#[test]
fn a_partition_that_has_nothing_for_us_has_not_stalled() {
    let Some(lane) = Lane::open("quiet", 2, &[]) else { return };
    let forever = KafkaOptions { until_caught_up: false, ..options(&lane.brokers, &[&lane.topic]) };
    let mut reader = Reader::open(forever, StartAt::Earliest).expect("topics");
    let producer = lane.transactional();
    producer.begin().expect("begun");
    write(&producer, &lane.topic, 0, 0, 10);
    producer.commit().expect("committed");
    reader.run(|reader, _| reader.count() == 10).expect("readable");
    // Three records and their abort, while we wait at the end; and a transaction that stays open.
    producer.begin().expect("begun");
    write(&producer, &lane.topic, 0, 900, 3);
    producer.abort().expect("aborted");
    producer.begin().expect("begun");
    write(&producer, &lane.topic, 1, 0, 5);
    // It takes three looks to find that something has stalled, 10 s apart.
    let start = Instant::now();
    reader.run(|_, _| start.elapsed() > Duration::from_secs(35)).expect("nobody missed anything");
    assert_eq!(reader.positions, at(&[(&tp(&lane.topic, 0), 15), (&tp(&lane.topic, 1), 0)]));
    producer.commit().expect("committed");
    reader.run(|reader, _| reader.count() == 15).expect("readable");
}

#[test]
fn gaps_of_compaction_are_crossed() {
    let compacting = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("min.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "1"),
    ];
    let Some(lane) = Lane::open("compacted", 1, &compacting) else { return };
    let producer = producer(&lane.brokers);
    let padding = noise(3, 20_000);
    for n in 0..200_u32 {
        producer.send(outgoing(&lane.topic, 0, &[(n % 10) as u8], &padding)).expect("taken");
    }
    producer.flush().expect("delivered");
    // The cleaner works when it likes: whenever we look, the end is found and steps have no holes.
    let end = Instant::now() + Duration::from_secs(90);
    let mut reader = read(&lane.brokers, &[&lane.topic]);
    while reader.rows[&tp(&lane.topic, 0)][0].0 == 0 && Instant::now() < end {
        // The segment that is written to is never compacted: go on to the next one.
        write(&producer, &lane.topic, 0, 0, 1);
        reader = read(&lane.brokers, &[&lane.topic]);
    }
    let rows = &reader.rows[&tp(&lane.topic, 0)];
    assert!(rows[0].0 > 0, "the first records were compacted away within 90 s");
    assert_eq!(
        reader.steps[0].get(&tp(&lane.topic, 0)).expect("moved").start,
        NextOffset(0),
        "the gap is part of the step"
    );
}

#[test]
fn starts_at_a_time() {
    let Some(lane) = Lane::open("times", 2, &[]) else { return };
    let producer = producer(&lane.brokers);
    for n in 0..10 {
        let record =
            Outgoing { timestamp_ms: Some(1_700_000_000_000 + n * 1000), ..outgoing(&lane.topic, 0, b"k", b"v") };
        producer.send(record).expect("taken");
    }
    producer.flush().expect("delivered");
    let mut source = KafkaSource::open(options(&lane.brokers, &[&lane.topic])).expect("topics");
    let tps = [tp(&lane.topic, 0), tp(&lane.topic, 1)];
    for (time, expected) in [(1_700_000_004_000, 4), (1_700_000_004_001, 5), (0, 0), (-5, 0), (1_800_000_000_000, 10)] {
        let found = source.resolve(&tps, StartAt::TimestampMs(time)).expect("there");
        assert_eq!(found, at(&[(&tps[0], expected), (&tps[1], 0)]), "{time}");
    }
}

#[test]
fn reads_every_compression() {
    let Some(lane) = Lane::open("compression", 1, &[]) else { return };
    for (n, compression) in Compression::ALL.into_iter().enumerate() {
        let options = ProducerOptions { compression, ..ProducerOptions::new(&lane.brokers) };
        write(&Producer::open(&options).expect("a producer"), &lane.topic, 0, n * 1000, 1000);
    }
    assert_eq!(read(&lane.brokers, &[&lane.topic]).values(&lane.topic, 0), numbers(0, 5000));
}

#[test]
fn a_record_of_ten_megabytes_passes() {
    let Some(lane) = Lane::open("large", 1, &[("max.message.bytes", "12000000")]) else { return };
    let options = ProducerOptions {
        record_bytes_max: 12_000_000,
        compression: Compression::None,
        ..ProducerOptions::new(&lane.brokers)
    };
    let producer = Producer::open(&options).expect("a producer");
    let large = noise(5, 10 << 20);
    for value in [&b"small"[..], &large, b"small"] {
        producer.send(outgoing(&lane.topic, 0, b"k", value)).expect("taken");
    }
    producer.flush().expect("delivered");
    let reader = read(&lane.brokers, &[&lane.topic]);
    let rows = &reader.rows[&tp(&lane.topic, 0)];
    assert_eq!(rows.len(), 3);
    assert!(rows[1].2.as_deref() == Some(&large), "it is the same");
}

#[test]
fn deleted_records_are_a_loss() {
    let Some(lane) = Lane::open("deleted", 1, &[]) else { return };
    let t = tp(&lane.topic, 0);
    write(&producer(&lane.brokers), &lane.topic, 0, 0, 100);
    // Next to nothing is fetched ahead, and reading goes on at 10.
    let little: Properties = [("queued.min.messages", "1"), ("max.partition.fetch.bytes", "100")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into_iter()
        .collect();
    for policy in [OnDataLoss::Fail, OnDataLoss::Continue] {
        let options =
            KafkaOptions { on_data_loss: policy, properties: little.clone(), ..options(&lane.brokers, &[&lane.topic]) };
        let mut reader = Reader::open(options, StartAt::Offset(NextOffset(0))).expect("topics");
        reader.positions = at(&[(&t, 10)]);
        if policy == OnDataLoss::Fail {
            lane.topics.cut(&at(&[(&t, 40)])).expect("cut");
        }
        let result = reader.run_to_end();
        if policy == OnDataLoss::Fail {
            let lost = result.expect_err("gone");
            let expected = (NextOffset(10), NextOffset(40), NextOffset(100));
            assert!(
                matches!(&lost, SourceError::DataLoss { wanted, first, end, .. } if (*wanted, *first, *end) == expected),
                "{lost}"
            );
        } else {
            result.expect("goes on");
            assert_eq!(reader.values(&lane.topic, 0), numbers(40, 60));
            assert_eq!(reader.steps[0].get(&t).expect("moved").start, NextOffset(10));
        }
    }
    let gone: PositionDelta = [(t, range(30, 50))].into_iter().collect();
    let mut source = KafkaSource::open(options(&lane.brokers, &[&lane.topic])).expect("topics");
    assert!(matches!(source.reread(&gone, &mut RawBatch::default()), Err(SourceError::DataLoss { .. })));
}

#[test]
fn a_topic_made_anew_stops_it_whatever_the_policy() {
    let Some(lane) = Lane::open("anew", 1, &[]) else { return };
    let t = tp(&lane.topic, 0);
    write(&producer(&lane.brokers), &lane.topic, 0, 0, 100);
    let brief = KafkaOptions { connect_timeout: Duration::from_secs(2), ..options(&lane.brokers, &[&lane.topic]) };
    let mut first = Reader::open(brief, StartAt::Earliest).expect("topics");
    first.run_to_end().expect("readable");
    let topic: std::sync::Arc<str> = lane.topic.as_str().into();
    first.source.identify(std::slice::from_ref(&topic)).expect("there");
    let step: PositionDelta = [(t.clone(), range(90, 100))].into_iter().collect();
    let mut vouch = || first.source.vouch(&step).expect("a known topic").answer(Duration::from_secs(30));
    assert!(matches!(vouch(), Some(Ok(()))));
    lane.topics.delete(&lane.topic).expect("deleted");
    let gone = until(|| match KafkaSource::open(options(&lane.brokers, &[&lane.topic])) {
        Err(error @ SourceError::NoSuchTopic { .. }) => Some(error),
        _ => None,
    });
    assert!(gone.to_string().starts_with(&lane.topic), "{gone}");
    // Who is not there may be there in a moment, with brokers that start again.
    let answer = vouch();
    assert!(matches!(&answer, Some(Err(SourceError::NoSuchTopic { topic, .. })) if *topic == lane.topic), "{answer:?}");
    until(|| lane.topics.create(&lane.topic, 1, &[]).ok());
    write(&producer(&lane.brokers), &lane.topic, 0, 0, 5);
    let answer = vouch();
    assert!(matches!(&answer, Some(Err(SourceError::MadeAnew { topic, .. })) if *topic == lane.topic), "{answer:?}");
    let answer = first.source.identify(&[topic]);
    assert!(matches!(&answer, Err(SourceError::MadeAnew { .. })), "{answer:?}");
    for policy in [OnDataLoss::Fail, OnDataLoss::Continue] {
        let options = KafkaOptions { on_data_loss: policy, ..options(&lane.brokers, &[&lane.topic]) };
        let mut again = Reader::open(options, StartAt::Earliest).expect("topics");
        again.positions = first.positions.clone();
        let lost = again.run_to_end().expect_err("it ends at 5");
        assert!(matches!(&lost, SourceError::WentBack { wanted: NextOffset(100), end: NextOffset(5), .. }), "{lost}");
        assert_eq!(again.positions, at(&[(&t, 100)]));
    }
}

/// Tries until there is something.
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < end, "not within 30 s");
        std::thread::yield_now();
    }
}

#[test]
fn a_topic_that_is_deleted_while_it_is_read_is_an_error() {
    let Some(lane) = Lane::open("gone", 1, &[]) else { return };
    let other = Lane::open("stays", 1, &[]).expect("a broker");
    write(&producer(&lane.brokers), &lane.topic, 0, 0, 10);
    let mut forever = options(&lane.brokers, &[&lane.topic, &other.topic]);
    forever.until_caught_up = false;
    // By default librdkafka waits for 30 s whether the topic comes back.
    forever.properties = [("topic.metadata.refresh.interval.ms", "500"), ("topic.metadata.propagation.max.ms", "1000")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into_iter()
        .collect();
    let mut reader = Reader::open(forever, StartAt::Earliest).expect("topics");
    reader.run(|reader, _| reader.count() == 10).expect("readable");
    lane.topics.delete(&lane.topic).expect("deleted");
    let gone = reader.run(|_, _| false).expect_err("noticed");
    assert!(matches!(&gone, SourceError::NoSuchTopic { topic, .. } if *topic == lane.topic), "{gone}");
}

#[test]
fn partitions_that_are_added_are_read() {
    let Some(lane) = Lane::open("grown", 1, &[]) else { return };
    let producer = producer(&lane.brokers);
    write(&producer, &lane.topic, 0, 0, 10);
    let mut forever = options(&lane.brokers, &[&lane.topic]);
    forever.until_caught_up = false;
    forever.properties = [("topic.metadata.refresh.interval.ms".to_owned(), "300".to_owned())].into_iter().collect();
    let mut reader = Reader::open(forever, StartAt::Earliest).expect("topics");
    reader.run(|reader, _| reader.count() == 10).expect("readable");
    lane.topics.grow(&lane.topic, 3).expect("grown");
    // One that knows them.
    let producer = self::producer(&lane.brokers);
    write(&producer, &lane.topic, 2, 10, 10);
    write(&producer, &lane.topic, 0, 20, 10);
    reader.run(|reader, _| reader.count() == 30).expect("readable");
    assert_eq!(reader.assigned, [vec![tp(&lane.topic, 0)], vec![tp(&lane.topic, 1), tp(&lane.topic, 2)]]);
    assert_eq!(reader.values(&lane.topic, 2), numbers(10, 10));
}

#[test]
fn partitions_are_handed_over() {
    let Some(lane) = Lane::open("group", 4, &[]) else { return };
    crate::group::hand_over(&lane.brokers, &lane.topic, &lane.topic);
}

#[test]
fn partitions_that_were_lost_are_revoked() {
    let Some(lane) = Lane::open("lost", 2, &[]) else { return };
    write(&producer(&lane.brokers), &lane.topic, 0, 0, 10);
    let mut member = KafkaOptions { group: Some(lane.topic.clone()), ..options(&lane.brokers, &[&lane.topic]) };
    member.until_caught_up = false;
    member.properties =
        [("session.timeout.ms", "6000"), ("max.poll.interval.ms", "6000"), ("heartbeat.interval.ms", "500")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into_iter()
            .collect();
    let mut reader = Reader::open(member.clone(), StartAt::Earliest).expect("topics");
    reader.run(|reader, _| reader.count() == 10).expect("readable");
    // Silent for so long that the group gives its partitions to somebody else.
    let mut other = Reader::open(member, StartAt::Earliest).expect("topics");
    other.positions = reader.positions.clone();
    other.run(|other, _| other.assigned.iter().any(|partitions| partitions.len() == 2)).expect("taken over");
    let mut said = Vec::new();
    reader
        .run(|_, polled| {
            said.push(polled.clone());
            matches!(polled, Polled::Revoked(_))
        })
        .expect("told so");
    assert!(said.iter().all(|polled| !matches!(polled, Polled::Assigned(_))));
    assert_eq!(reader.count(), 10);
}

#[test]
fn reported_positions_are_seen_in_the_group() {
    let Some(lane) = Lane::open("reported", 1, &[]) else { return };
    write(&producer(&lane.brokers), &lane.topic, 0, 0, 30);
    let mut options = options(&lane.brokers, &[&lane.topic]);
    options.pipeline.clone_from(&lane.topic);
    let mut reader = Reader::open(options.clone(), StartAt::Earliest).expect("topics");
    reader.run_to_end().expect("readable");
    let done = reader.positions.clone();
    reader.source.report(&done);
    drop(reader);
    let group = GroupPositions::open(&lane.brokers, &options.report_group(), &lane.topic, 1).expect("a client");
    assert_eq!(group.read().expect("an answer"), done);
}

#[test]
fn credentials_for_a_broker_that_wants_none_are_an_error_in_time() {
    let Some(lane) = Lane::open("plain", 1, &[]) else { return };
    let mut options = options(&lane.brokers, &[&lane.topic]);
    options.connect_timeout = Duration::from_secs(3);
    options.properties = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "bob"),
        ("sasl.password", "hunter2"),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .into_iter()
    .collect();
    let start = Instant::now();
    let error = KafkaSource::open(options).err().expect("refused");
    println!("{error}");
    assert!(start.elapsed() < Duration::from_secs(10) && !error.to_string().contains("hunter2"));
    assert!(matches!(error, SourceError::Config(_) | SourceError::Unreachable { .. }));
}

#[test]
fn the_first_records_come_at_once() {
    let Some(lane) = Lane::open("first", 4, &[]) else { return };
    write(&producer(&lane.brokers), &lane.topic, 1, 0, 100);
    let start = Instant::now();
    let mut source = KafkaSource::open(options(&lane.brokers, &[&lane.topic])).expect("topics");
    source.start(&at(&[(&tp(&lane.topic, 1), 0)])).expect("there");
    let mut batch = RawBatch::default();
    while batch.is_empty() {
        source.poll(&mut batch, &LIMITS, Instant::now() + Duration::from_secs(5)).expect("readable");
    }
    // No group is joined: that alone takes 3 s by default.
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
}
