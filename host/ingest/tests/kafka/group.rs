//! Several processes that share partitions.

use std::time::{Duration, Instant};

use lakemill_ingest::KafkaOptions;
use lakemill_ingest::embedded::EmbeddedBroker;
use lakemill_model::{Polled, Positions, StartAt};

use crate::driver::{Reader, options, producer, tp, write};

pub fn member(brokers: &str, topic: &str, group: &str) -> Reader {
    let mut member = KafkaOptions { group: Some(group.to_owned()), ..options(brokers, &[topic]) };
    member.until_caught_up = false;
    member.properties = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into_iter()
        .collect();
    Reader::open(member, StartAt::Earliest).expect("topics")
}

fn turn(reader: &mut Reader) -> Polled {
    reader.turn(Instant::now() + Duration::from_millis(50)).expect("readable")
}

/// One member, then two, then the other one: each record is read once.
pub fn hand_over(brokers: &str, topic: &str, group: &str) {
    let producer = producer(brokers);
    for partition in 0..4 {
        write(&producer, topic, partition, 0, 100);
    }
    let end = Instant::now() + Duration::from_secs(90);
    let mut first = member(brokers, topic, group);
    while first.count() < 400 {
        turn(&mut first);
        assert!(Instant::now() < end);
    }
    assert_eq!(first.assigned, [(0..4).map(|partition| tp(topic, partition)).collect::<Vec<_>>()]);

    // What the tables hold is common to both: here it is passed on at every turn.
    let mut second = member(brokers, topic, group);
    let share = |reader: &Reader| reader.assigned.last().cloned().unwrap_or_default();
    // The group may need more than one round until both are in.
    while share(&first).len() != 2 || share(&second).len() != 2 {
        let held = share(&first).len();
        let polled = turn(&mut first);
        assert!(!matches!(&polled, Polled::Revoked(partitions) if partitions.len() != held), "eager: all go");
        second.positions = first.positions.clone();
        turn(&mut second);
        assert!(Instant::now() < end);
    }
    let mut shares = [share(&first), share(&second)];
    shares.sort();
    assert_eq!(shares, [[tp(topic, 0), tp(topic, 1)], [tp(topic, 2), tp(topic, 3)]]);
    for partition in 0..4 {
        write(&producer, topic, partition, 100, 100);
    }
    while first.count() + second.count() < 800 {
        turn(&mut first);
        turn(&mut second);
        assert!(Instant::now() < end);
    }

    second.positions = all(&[&first, &second], topic);
    drop(first);
    let before = second.count();
    // The other one left: all is ours.
    while share(&second).len() != 4 {
        turn(&mut second);
        assert!(Instant::now() < end);
    }
    for partition in 0..4 {
        write(&producer, topic, partition, 200, 10);
    }
    while second.count() < before + 40 {
        turn(&mut second);
        assert!(Instant::now() < end);
    }
    turn(&mut second);
    assert_eq!(second.count(), before + 40);
}

/// How far all are together.
fn all(readers: &[&Reader], topic: &str) -> Positions {
    let furthest = |partition| {
        let tp = tp(topic, partition);
        let next = readers.iter().filter_map(|reader| reader.positions.get(&tp)).max();
        (tp, next.expect("read by somebody"))
    };
    (0..4).map(furthest).collect()
}

#[test]
fn partitions_are_handed_over() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 4).expect("a topic");
    hand_over(broker.servers(), "t", "g");
}

#[test]
fn nothing_is_read_before_the_start_and_closing_never_hangs() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 2).expect("a topic");
    write(&producer(broker.servers()), "t", 0, 0, 10);
    let poll = |reader: &mut Reader| {
        let mut batch = lakemill_model::RawBatch::default();
        let polled = lakemill_model::Source::poll(
            &mut reader.source,
            &mut batch,
            &reader.limits,
            Instant::now() + Duration::from_millis(50),
        );
        assert!(batch.is_empty());
        polled.expect("readable")
    };
    // Dropped before the group says anything.
    drop(member(broker.servers(), "t", "g"));
    // Dropped after it said what is ours, and nothing is read meanwhile.
    let mut asked = member(broker.servers(), "t", "g");
    while !matches!(poll(&mut asked), Polled::Assigned(_)) {}
    for _ in 0..5 {
        assert_eq!(poll(&mut asked), Polled::Records);
    }
    drop(asked);
    // Dropped after it took them away.
    let mut first = member(broker.servers(), "t", "g");
    while first.count() < 10 {
        turn(&mut first);
    }
    let second = member(broker.servers(), "t", "g");
    while !matches!(poll(&mut first), Polled::Revoked(_)) {}
    write(&producer(broker.servers()), "t", 0, 10, 10);
    for _ in 0..5 {
        assert_eq!(poll(&mut first), Polled::Records, "waits for the release");
    }
    drop(first);
    drop(second);
}

#[test]
fn closing_does_not_wait_for_a_cluster_that_is_away() {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("t", 2).expect("a topic");
    write(&producer(broker.servers()), "t", 0, 0, 10);
    let mut alone = Reader::open(options(broker.servers(), &["t"]), StartAt::Earliest).expect("topics");
    let mut shared = member(broker.servers(), "t", "g");
    while alone.count() < 10 || shared.count() < 10 {
        turn(&mut alone);
        turn(&mut shared);
    }
    broker.set_down(true).expect("down");
    for mut reader in [alone, shared] {
        let done = reader.positions.clone();
        lakemill_model::Source::report(&mut reader.source, &done);
        turn(&mut reader);
        let start = Instant::now();
        drop(reader);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
