//! What needs no more than the embedded broker.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use lakemill_ingest::embedded::{EmbeddedBroker, Feed, GroupPositions, Offer};
use lakemill_ingest::produce::{Compression, Outgoing, Producer, ProducerOptions};
use lakemill_ingest::{KafkaOptions, KafkaSource, OnDataLoss};
use lakemill_model::{
    BatchLimits, Disposition, NextOffset, Polled, PositionDelta, RawBatch, Source, SourceError, StartAt, source::range,
};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::driver::{LIMITS, Reader, at, noise, numbers, options, outgoing, producer, read, tp, write};

fn broker(topics: &[(&str, i32)]) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start().expect("a broker");
    for (topic, partitions) in topics {
        broker.create_topic(topic, *partitions).expect("a topic");
    }
    broker
}

#[test]
fn reads_all_partitions_in_order_and_keeps_null_and_empty_apart() {
    let broker = broker(&[("a", 3), ("b", 1)]);
    let producer = producer(broker.servers());
    write(&producer, "a", 0, 0, 1000);
    write(&producer, "a", 2, 1000, 500);
    let whole = outgoing("b", 0, b"k", b"v");
    for record in [
        Outgoing { key: None, timestamp_ms: Some(1_700_000_000_123), ..whole },
        Outgoing { value: None, ..whole },
        Outgoing { value: Some(b""), ..whole },
        Outgoing { key: Some(b""), ..whole },
    ] {
        producer.send(record).expect("taken");
    }
    producer.flush().expect("delivered");
    let reader = read(broker.servers(), &["b", "a"]);
    assert_eq!(reader.assigned, [[tp("a", 0), tp("a", 1), tp("a", 2), tp("b", 0)]], "said once, in order");
    assert_eq!(reader.values("a", 0), numbers(0, 1000));
    assert_eq!(reader.values("a", 1), numbers(0, 0));
    assert_eq!(reader.values("a", 2), numbers(1000, 500));
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(
        reader.rows[&tp("b", 0)],
        [(0, None, some(b"v")), (1, some(b"k"), None), (2, some(b"k"), some(b"")), (3, some(b""), some(b"v")),]
    );
    assert_eq!(reader.source.lag(), Some(0));
}

#[test]
fn records_carry_their_time() {
    let broker = broker(&[("t", 1)]);
    let producer = producer(broker.servers());
    producer.send(Outgoing { timestamp_ms: Some(1_700_000_000_123), ..outgoing("t", 0, b"k", b"v") }).expect("taken");
    producer.flush().expect("delivered");
    let mut source = KafkaSource::open(options(broker.servers(), &["t"])).expect("a topic");
    source.start(&at(&[(&tp("t", 0), 0)])).expect("there");
    let mut batch = RawBatch::default();
    while batch.is_empty() {
        source.poll(&mut batch, &LIMITS, Instant::now() + Duration::from_secs(5)).expect("readable");
    }
    assert_eq!(batch.records()[0].timestamp_ms, Some(1_700_000_000_123));
}

#[test]
fn goes_on_from_given_positions() {
    let broker = broker(&[("t", 2)]);
    let producer = producer(broker.servers());
    write(&producer, "t", 0, 0, 300);
    write(&producer, "t", 1, 0, 200);
    let first = read(broker.servers(), &["t"]);
    write(&producer, "t", 0, 300, 40);
    let mut second = Reader::open(options(broker.servers(), &["t"]), StartAt::Earliest).expect("topics");
    second.positions = first.positions;
    second.run_to_end().expect("readable");
    assert_eq!(second.values("t", 0), numbers(300, 40));
    assert_eq!(second.values("t", 1), numbers(0, 0));
}

#[test]
fn reads_every_compression() {
    let broker = broker(&[("t", 1)]);
    for (n, compression) in Compression::ALL.into_iter().enumerate() {
        let options = ProducerOptions { compression, ..ProducerOptions::new(broker.servers()) };
        write(&Producer::open(&options).expect("a producer"), "t", 0, n * 100, 100);
    }
    assert_eq!(read(broker.servers(), &["t"]).values("t", 0), numbers(0, 500));
}

#[test]
fn starts_where_it_is_told() {
    let broker = broker(&[("t", 1), ("empty", 1)]);
    write(&producer(broker.servers()), "t", 0, 0, 10);
    let mut source = KafkaSource::open(options(broker.servers(), &["t", "empty"])).expect("topics");
    let (t, empty) = (tp("t", 0), tp("empty", 0));
    for (start, expected) in [(StartAt::Earliest, 0), (StartAt::Latest, 10), (StartAt::Offset(NextOffset(7)), 7)] {
        let found = source.resolve(std::slice::from_ref(&t), start).expect("there");
        assert_eq!(found.get(&t), Some(NextOffset(expected)), "{start:?}");
    }
    for start in [StartAt::Earliest, StartAt::Latest] {
        assert_eq!(
            source.resolve(std::slice::from_ref(&empty), start).expect("there").get(&empty),
            Some(NextOffset(0))
        );
    }
    for wanted in [11, -1] {
        let lost = source.resolve(std::slice::from_ref(&t), StartAt::Offset(NextOffset(wanted)));
        assert!(matches!(lost, Err(SourceError::DataLoss { end: NextOffset(10), .. })), "{lost:?}");
    }
    assert_eq!(source.lag(), None, "nothing was started");
}

#[test]
fn batches_are_bounded_and_a_large_record_is_alone() {
    let broker = broker(&[("t", 1)]);
    let producer = producer(broker.servers());
    let large = noise(1, 900_000);
    for n in 0..300 {
        producer.send(outgoing("t", 0, b"", if n % 100 == 50 { &large } else { b"0123456789" })).expect("taken");
    }
    producer.flush().expect("delivered");
    let mut reader = Reader::open(options(broker.servers(), &["t"]), StartAt::Earliest).expect("topics");
    reader.limits = BatchLimits { rows_max: 7, bytes_max: 45, latency_max: Duration::from_secs(10) };
    let mut sizes = Vec::new();
    loop {
        let mut batch = RawBatch::default();
        match reader
            .source
            .poll(&mut batch, &reader.limits, Instant::now() + Duration::from_secs(10))
            .expect("readable")
        {
            Polled::Assigned(partitions) => reader.assign(&partitions).expect("there"),
            Polled::Records => sizes.push((batch.len(), batch.bytes())),
            _ => break,
        }
    }
    assert_eq!(sizes.iter().map(|(rows, _)| rows).sum::<usize>(), 300);
    assert!(sizes.iter().all(|(rows, bytes)| *bytes <= 45 || *rows == 1), "{sizes:?}");
    assert_eq!(sizes.iter().filter(|size| **size == (1, 900_000)).count(), 3);
    assert_eq!(sizes[0], (4, 40));
}

#[test]
fn a_batch_waits_for_no_more_than_its_latency() {
    let broker = broker(&[("t", 1)]);
    let producer = producer(broker.servers());
    let forever = KafkaOptions { until_caught_up: false, ..options(broker.servers(), &["t"]) };
    let mut source = KafkaSource::open(forever).expect("topics");
    source.start(&at(&[(&tp("t", 0), 0)])).expect("there");
    assert!(matches!(source.poll(&mut RawBatch::default(), &LIMITS, Instant::now()), Ok(Polled::Assigned(_))));
    write(&producer, "t", 0, 0, 1);
    let (start, mut batch) = (Instant::now(), RawBatch::default());
    let limits = BatchLimits { latency_max: Duration::from_millis(50), ..LIMITS };
    let polled = source.poll(&mut batch, &limits, start + Duration::from_secs(30)).expect("readable");
    assert_eq!((polled, batch.len()), (Polled::Records, 1));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let start = Instant::now();
    let polled = source.poll(&mut RawBatch::default(), &limits, start + Duration::from_millis(50)).expect("readable");
    assert_eq!(polled, Polled::Records, "the time is over");
    assert!((50..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn reads_ranges_again_and_stands_at_their_ends() {
    let broker = broker(&[("t", 2)]);
    let producer = producer(broker.servers());
    write(&producer, "t", 0, 0, 100);
    write(&producer, "t", 1, 0, 100);
    let mut reader = read(broker.servers(), &["t"]);
    let (one, two) = (tp("t", 0), tp("t", 1));
    let ranges: PositionDelta = [(one.clone(), range(10, 30)), (two.clone(), range(100, 100))].into_iter().collect();
    let mut batch = RawBatch::default();
    reader.source.reread(&ranges, &mut batch).expect("there");
    let offsets: Vec<_> = batch.records().iter().map(|record| (record.partition, record.offset)).collect();
    assert_eq!(offsets, (10..30).map(|offset| (0, offset)).collect::<Vec<_>>());
    reader.rows.clear();
    reader.positions.set(one, NextOffset(30));
    reader.run_to_end().expect("readable");
    assert_eq!((reader.values("t", 0), reader.values("t", 1)), (numbers(30, 70), numbers(0, 0)));
    let beyond: PositionDelta = [(two, range(90, 101))].into_iter().collect();
    let lost = reader.source.reread(&beyond, &mut RawBatch::default());
    let expected = (NextOffset(101), NextOffset(100));
    assert!(matches!(&lost, Err(SourceError::WentBack { wanted, end, .. }) if (*wanted, *end) == expected), "{lost:?}");
}

#[test]
fn a_topic_that_is_not_there_is_named_with_those_alike() {
    let broker = broker(&[("shop.orders", 1), ("payments", 1)]);
    let error = KafkaSource::open(options(broker.servers(), &["shop.order"])).err().expect("not there");
    assert!(
        matches!(&error, SourceError::NoSuchTopic { topic, hint } if topic == "shop.order" && hint.ends_with(": shop.orders")),
        "{error}"
    );
    assert_eq!(error.disposition(), Disposition::HaltUnreachable);
}

#[test]
fn a_cluster_that_is_not_there_is_an_error_in_time() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let mut nowhere = options(&format!("127.0.0.1:{port}"), &["t"]);
    nowhere.connect_timeout = Duration::from_millis(1500);
    let start = Instant::now();
    let error = KafkaSource::open(nowhere).err().expect("nobody there");
    assert!(matches!(&error, SourceError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn an_outage_is_waited_out() {
    let broker = broker(&[("t", 1)]);
    let producer = producer(broker.servers());
    write(&producer, "t", 0, 0, 100);
    let forever = KafkaOptions { until_caught_up: false, ..options(broker.servers(), &["t"]) };
    let mut reader = Reader::open(forever, StartAt::Earliest).expect("topics");
    reader.run(|reader, _| reader.count() == 100).expect("readable");
    broker.set_down(true).expect("down");
    for _ in 0..5 {
        assert_eq!(reader.turn(Instant::now() + Duration::from_millis(200)).expect("waits"), Polled::Records);
    }
    broker.set_down(false).expect("up");
    write(&producer, "t", 0, 100, 100);
    reader.run(|reader, _| reader.count() == 200).expect("readable");
    assert_eq!(reader.values("t", 0), numbers(0, 200));
}

#[test]
fn whoever_asks_hears_that_a_topic_is_the_same_as_soon_as_somebody_can_tell() {
    let broker = broker(&[("t", 2), ("u", 1)]);
    let mut source = KafkaSource::open(options(broker.servers(), &["t", "u"])).expect("topics");
    let step: PositionDelta = [(tp("t", 0), range(0, 10)), (tp("u", 0), range(0, 1))].into_iter().collect();
    assert!(source.vouch(&step).is_none(), "nobody has asked which topics these are");
    let ids = source.identify(&["t".into(), "u".into()]).expect("there");
    assert!(ids.len() == 2 && ids["t"] != ids["u"] && ids["t"].len() == 22, "{ids:?}");
    assert_eq!(source.identify(&["t".into()]).expect("there"), [("t".into(), ids["t"].clone())].into());
    let long = Duration::from_secs(30);
    let mut vouch = source.vouch(&step).expect("known topics");
    assert!(matches!(vouch.answer(long), Some(Ok(()))));

    broker.set_down(true).expect("down");
    let mut vouch = source.vouch(&step).expect("known topics");
    assert!(vouch.answer(Duration::from_millis(1_500)).is_none(), "an outage is no answer");
    assert!(matches!(vouch.unanswered(), SourceError::Unreachable { reason, .. } if reason.contains("t, u")));
    broker.set_down(false).expect("up");
    assert!(matches!(vouch.answer(long), Some(Ok(()))));
}

/// Writes until the broker forgets the first records.
fn overflow(servers: &str, topic: &str) {
    let options = ProducerOptions { compression: Compression::None, ..ProducerOptions::new(servers) };
    let producer = Producer::open(&options).expect("a producer");
    for n in 0..100 {
        producer.send(outgoing(topic, 0, b"", &noise(n + 1, 100_000))).expect("taken");
    }
    producer.flush().expect("delivered");
}

#[test]
fn records_that_are_gone_before_the_start_are_a_loss() {
    let broker = broker(&[("t", 1)]);
    overflow(broker.servers(), "t");
    let t = tp("t", 0);
    let mut source = KafkaSource::open(options(broker.servers(), &["t"])).expect("topics");
    let first = source.resolve(std::slice::from_ref(&t), StartAt::Earliest).expect("there").get(&t).expect("named");
    assert!(first.0 > 10, "the broker forgot something: {first}");
    let lost = source.start(&at(&[(&t, 3)]));
    let expected = (NextOffset(3), first, NextOffset(100));
    assert!(
        matches!(&lost, Err(SourceError::DataLoss { wanted, first, end, .. }) if (*wanted, *first, *end) == expected),
        "{lost:?}"
    );
    let go_on = KafkaOptions { on_data_loss: OnDataLoss::Continue, ..options(broker.servers(), &["t"]) };
    let mut reader = Reader::open(go_on.clone(), StartAt::Earliest).expect("topics");
    reader.positions = at(&[(&t, 3)]);
    reader.run_to_end().expect("goes on");
    assert_eq!(reader.rows[&t][0].0, first.0);
    assert_eq!(reader.steps[0].get(&t).expect("moved").start, NextOffset(3), "the gap is part of the step");

    let mut source = KafkaSource::open(go_on).expect("topics");
    let back = source.start(&at(&[(&t, 1000)]));
    let expected = (NextOffset(1000), NextOffset(100));
    assert!(
        matches!(&back, Err(SourceError::WentBack { wanted, end, .. }) if (*wanted, *end) == expected),
        "what is written there now would be taken for what the tables hold: {back:?}"
    );
}

#[test]
fn retention_that_overtakes_the_reader_is_a_loss() {
    for policy in [OnDataLoss::Fail, OnDataLoss::Continue] {
        let broker = broker(&[("t", 1)]);
        write(&producer(broker.servers()), "t", 0, 0, 10);
        let mut slow =
            KafkaOptions { on_data_loss: policy, until_caught_up: false, ..options(broker.servers(), &["t"]) };
        // Next to nothing is fetched ahead.
        slow.properties = [("queued.min.messages".to_owned(), "1".to_owned())].into_iter().collect();
        let mut reader = Reader::open(slow, StartAt::Earliest).expect("topics");
        reader.limits.rows_max = 1;
        reader.run(|reader, _| reader.count() == 3).expect("readable");
        overflow(broker.servers(), "t");
        let result = reader.run(|reader, _| reader.positions.get(&tp("t", 0)) == Some(NextOffset(110)));
        let rows = &reader.rows[&tp("t", 0)];
        assert!(rows.iter().zip(0..).take(10).all(|((offset, _, _), n)| *offset == n), "what was fetched is delivered");
        match policy {
            OnDataLoss::Fail => {
                let lost = result.expect_err("gone");
                assert!(
                    matches!(&lost, SourceError::DataLoss { wanted: NextOffset(10), end: NextOffset(110), .. }),
                    "{lost}"
                );
            }
            OnDataLoss::Continue => {
                result.expect("goes on");
                assert!(rows.len() < 110 && rows.last().expect("some").0 == 109, "{}", rows.len());
            }
        }
    }
}

#[test]
fn reported_positions_are_seen_in_the_group() {
    let broker = broker(&[("t", 2)]);
    let producer = producer(broker.servers());
    write(&producer, "t", 0, 0, 30);
    write(&producer, "t", 1, 0, 7);
    let mut reader = read(broker.servers(), &["t"]);
    let elsewhere = (tp("elsewhere", 0), NextOffset(5));
    reader.positions.set(elsewhere.0, elsewhere.1);
    reader.source.report(&reader.positions.clone());
    drop(reader);
    let group = GroupPositions::open(broker.servers(), "lakemill.test", "t", 2).expect("a client");
    assert_eq!(group.read().expect("an answer"), at(&[(&tp("t", 0), 30), (&tp("t", 1), 7)]));
}

#[test]
fn keys_go_where_java_sends_them() {
    // Out of Apache Kafka's UtilsTest: key, murmur2.
    let hashes: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];
    let broker = broker(&[("t", 10)]);
    let producer = producer(broker.servers());
    for (key, _) in hashes {
        producer.send(Outgoing { partition: None, ..outgoing("t", 0, key, b"v") }).expect("taken");
    }
    producer.flush().expect("delivered");
    let reader = read(broker.servers(), &["t"]);
    for (key, hash) in hashes {
        let rows = &reader.rows[&tp("t", (hash & i32::MAX) % 10)];
        assert!(rows.iter().any(|(_, found, _)| found.as_deref() == Some(key)), "{key:?}");
    }
}

#[test]
fn a_feed_writes_far_more_than_the_broker_keeps() {
    const COUNT: usize = 200_000;
    let broker = broker(&[("t", 4)]);
    let mut feed = Feed::new(producer(broker.servers()), "t", 4);
    let group = GroupPositions::open(broker.servers(), "lakemill.test", "t", 4).expect("a client");
    let writer = std::thread::spawn(move || {
        let value = noise(7, 300);
        for n in 0..COUNT {
            while feed.offer(n % 4, Some(b"k"), Some(&value)).expect("delivered") == Offer::Ahead {
                feed.consumed(&group.read().expect("an answer"));
                feed.serve(Duration::from_millis(5)).expect("delivered");
            }
        }
        feed.flush().expect("delivered");
    });
    let forever = KafkaOptions { until_caught_up: false, ..options(broker.servers(), &["t"]) };
    let mut reader = Reader::open(forever, StartAt::Earliest).expect("topics");
    let end = Instant::now() + Duration::from_secs(60);
    while reader.count() < COUNT {
        assert!(Instant::now() < end, "at {:?}", reader.positions);
        reader.turn(Instant::now() + Duration::from_millis(50)).expect("nothing is lost");
        // As a pipeline does after every commit.
        let done = reader.positions.clone();
        reader.source.report(&done);
    }
    writer.join().expect("all written");
    assert_eq!(
        reader.positions,
        at(&[(&tp("t", 0), 50_000), (&tp("t", 1), 50_000), (&tp("t", 2), 50_000), (&tp("t", 3), 50_000)])
    );
}

#[test]
fn secrets_are_in_no_error() {
    let broker = broker(&[("t", 1)]);
    let with = |properties: &[(&str, &str)]| {
        let mut options = options(broker.servers(), &["t"]);
        options.connect_timeout = Duration::from_secs(2);
        options.properties = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        KafkaSource::open(options).err().expect("refused").to_string()
    };
    let user = [("sasl.mechanism", "PLAIN"), ("sasl.username", "bob"), ("sasl.password", "hunter2")];
    for error in [
        with(&[user[0], user[1], user[2], ("security.protocol", "SASL_PLAINTEXT")]),
        with(&[("sasl.pasword", "hunter2")]),
        with(&[("ssl.key.pem", "hunter2"), ("security.protocol", "SSL")]),
        with(&[("enable.auto.commit", "hunter2")]),
    ] {
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn records_that_do_not_come_although_they_are_there_are_an_error_that_may_pass() {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("t", 2, 1).expect("a topic");
    let servers = cluster.bootstrap_servers();
    let producer = producer(&servers);
    write(&producer, "t", 0, 0, 100);
    let forever = KafkaOptions { until_caught_up: false, ..options(&servers, &["t"]) };
    let mut reader = Reader::open(forever.clone(), StartAt::Earliest).expect("topics");
    reader.run(|reader, _| reader.count() == 100).expect("readable");
    // The connection is closed in place of an answer; there are enough for more than a minute.
    cluster.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT; 10_000]);
    write(&producer, "t", 0, 100, 1);
    let error = reader.run(|_, _| false).expect_err("nothing comes");
    let stalled =
        |next, end| SourceError::Stalled { partition: tp("t", 0), next: NextOffset(next), end: NextOffset(end) };
    assert_eq!(error.to_string(), stalled(100, 101).to_string());
    assert_eq!(error.disposition(), Disposition::Retry);

    cluster.clear_request_errors(RDKafkaApiKey::Fetch);
    let mut anew = Reader::open(forever, StartAt::Earliest).expect("topics");
    anew.positions = reader.positions;
    anew.run(|reader, _| reader.count() == 1).expect("readable");
    assert_eq!(anew.values("t", 0), numbers(100, 1));
}
