//! Streams with wrong clocks among honest ones: no honest change is late because of one, and the watermark goes on.

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;
/// A day in 2026.
const NOW: i64 = 20_500 * DAY;
const FUTURE: i64 = 5 * MINUTE;

fn tp(n: i32) -> TopicPartition {
    TopicPartition::new("t", n)
}

/// Times of records that were written when they happened.
fn live(us: impl IntoIterator<Item = i64>) -> Vec<EventTime> {
    us.into_iter().map(|us| EventTime { us, kafka_us: Some(us) }).collect()
}

/// Times of records that tell nothing about when they were written.
fn bare(us: impl IntoIterator<Item = i64>) -> Vec<EventTime> {
    us.into_iter().map(|us| EventTime { us, kafka_us: None }).collect()
}

#[test]
fn the_slowest_partition_that_is_awake_decides() {
    let mut w = Watermarks::new(10 * SECOND, 60 * SECOND, 300 * SECOND);
    w.assign(tp(0), 0);
    w.assign(tp(1), 0);
    w.observe(&tp(0), live([100 * SECOND]), 0);
    assert_eq!(w.combined(0), None, "partition 1 has shown nothing");
    w.observe(&tp(1), live([50 * SECOND]), SECOND);
    assert_eq!(w.combined(SECOND), Some(40 * SECOND));
    w.observe(&tp(0), live([120 * SECOND]), 59 * SECOND);
    assert_eq!(w.combined(62 * SECOND), Some(110 * SECOND), "partition 1 fell idle");
    assert_eq!(w.of(&tp(1)), Some(40 * SECOND));
    w.revoke(&tp(0));
    assert_eq!(w.combined(2 * SECOND), Some(40 * SECOND));
}

#[test]
fn all_idle_leaves_what_was_shown() {
    let mut w = Watermarks::new(0, SECOND, 5 * SECOND);
    assert_eq!(w.combined(0), None);
    w.observe(&tp(0), live([10 * SECOND]), 10 * SECOND);
    assert_eq!(w.combined(100 * SECOND), Some(10 * SECOND));
}

#[test]
fn it_never_goes_back_and_a_clock_ahead_of_ours_moves_nothing() {
    let mut w = Watermarks::new(0, MINUTE, FUTURE);
    assert_eq!(w.observe(&tp(0), live([NOW, NOW - MINUTE]), NOW), 0);
    assert_eq!(w.of(&tp(0)), Some(NOW));
    assert_eq!(w.observe(&tp(0), live([NOW + 365 * DAY, NOW + FUTURE + SECOND, NOW + FUTURE]), NOW), 2);
    assert_eq!(w.of(&tp(0)), Some(NOW + FUTURE));
}

/// Nothing can be written before it happens, whatever the clock says by the time that it is read.
#[test]
fn a_time_after_its_own_record_was_written_moves_nothing() {
    let mut w = Watermarks::new(0, MINUTE, FUTURE);
    let written = NOW - 30 * DAY;
    let times = |us: &[i64]| us.iter().map(|&us| EventTime { us, kafka_us: Some(written) }).collect::<Vec<_>>();
    let wrong = times(&[written + DAY, written + DAY + 1, written + DAY + 2, written + DAY + 3]);
    assert_eq!((w.observe(&tp(0), wrong, NOW), w.of(&tp(0))), (4, None));
    assert_eq!(w.observe(&tp(0), times(&[written, written + 1, written + 2]), NOW), 0);
    assert_eq!(w.of(&tp(0)), Some(written));
}

#[test]
fn a_quiet_stream_goes_on_with_its_first_live_record_and_a_backlog_with_three_times() {
    let mut w = Watermarks::new(0, MINUTE, FUTURE);
    w.observe(&tp(0), live([NOW]), NOW);
    w.observe(&tp(0), live([NOW + DAY]), NOW + DAY);
    assert_eq!(w.of(&tp(0)), Some(NOW + DAY));
    let (mut w, old) = (Watermarks::new(0, MINUTE, FUTURE), NOW - 40 * DAY);
    for (day, expected) in [(0, None), (1, None), (2, Some(0)), (3, Some(1)), (9, Some(2)), (10, Some(3))] {
        w.observe(&tp(0), bare([old + day * DAY]), NOW);
        assert_eq!(w.of(&tp(0)), expected.map(|day: i64| old + day * DAY), "day {day}");
    }
}

/// The rows of a transaction have one time: they are one witness, however many there are.
#[test]
fn one_wrong_transaction_is_one_witness() {
    let mut w = Watermarks::new(0, MINUTE, FUTURE);
    let old = NOW - 40 * DAY;
    w.observe(&tp(0), bare((0..10).map(|n| old + n * SECOND)), NOW);
    let before = w.of(&tp(0));
    w.observe(&tp(0), bare(std::iter::repeat_n(old + 20 * DAY, 1_000)), NOW);
    assert_eq!((before, w.of(&tp(0))), (Some(old + 7 * SECOND), Some(old + 8 * SECOND)));
    assert_eq!(w.observe(&tp(0), bare((10..20).map(|n| old + n * SECOND)), NOW), 1);
    assert_eq!(w.of(&tp(0)), Some(old + 17 * SECOND));
}

/// An honest time that comes again is a witness again.
#[test]
fn honest_times_that_repeat_stand_between_wrong_ones() {
    let mut w = Watermarks::new(0, MINUTE, FUTURE);
    let (old, wrong) = (NOW - 40 * DAY, |n: i64| NOW - 10 * DAY + n);
    w.observe(&tp(0), bare([old, old + 1, old + 2, wrong(0), old + 2, wrong(1), wrong(2), old + 2, wrong(3)]), NOW);
    assert_eq!(w.of(&tp(0)), Some(old + 2));
}

#[test]
fn a_partition_whose_clock_is_wrong_holds_nobody_back() {
    let mut w = Watermarks::new(0, MINUTE, FUTURE);
    w.assign(tp(0), NOW);
    w.assign(tp(1), NOW);
    for minute in 0..3 {
        let now = NOW + minute * MINUTE;
        w.observe(&tp(0), live([now + DAY]), now);
        w.observe(&tp(1), live([now]), now);
    }
    assert_eq!(w.combined(NOW + 2 * MINUTE), Some(NOW + 2 * MINUTE));
}

/// A stream: a step and a disorder for each honest record, wrong records among them, and cuts into batches.
#[derive(Clone, Debug)]
struct Stream {
    /// How long ago it begins.
    age_us: i64,
    /// Whether Kafka's timestamps are those of then (`Some(true)`), of now, or not there.
    written: Option<bool>,
    records: Vec<(Kind, i64)>,
    batch: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Later by this than the one before it.
    Honest,
    /// Ahead by this of all honest ones before it.
    Wrong,
}

const DELAY: i64 = 10 * MINUTE;

fn stream() -> impl Strategy<Value = Stream> {
    let step = prop_oneof![
        5 => 0..10 * SECOND,
        // In disorder, as far as it is allowed.
        2 => -DELAY..0,
        // A quiet night.
        1 => MINUTE..DAY,
    ];
    let honest = step.prop_map(|step| (Kind::Honest, step));
    let ahead = prop_oneof![FUTURE + 1..DAY, DAY..30 * DAY, Just(70 * 365 * DAY)];
    let wrong = ahead.prop_map(|ahead| (Kind::Wrong, ahead));
    // At most two together.
    let few = proptest::collection::vec(wrong, 0..WITNESSES);
    let group = (honest, few).prop_map(|(honest, few)| std::iter::once(honest).chain(few).collect::<Vec<_>>());
    let records = proptest::collection::vec(group, 1..120).prop_map(|groups| groups.concat());
    (200 * DAY..400 * DAY, prop_oneof![Just(None), Just(Some(true)), Just(Some(false))], records, 1..60_usize)
        .prop_map(|(age_us, written, records, batch)| Stream { age_us, written, records, batch })
}

proptest! {
    /// A backlog that is read now: no honest row is late because of a wrong one, and the watermark comes along.
    #[test]
    fn no_honest_row_is_late_for_a_wrong_clock(stream in stream()) {
        let mut w = Watermarks::new(DELAY, MINUTE, FUTURE);
        let (mut honest, mut largest) = (NOW - stream.age_us, i64::MIN);
        let mut seen = Vec::new();
        for batch in stream.records.chunks(stream.batch) {
            let low = w.combined(NOW);
            let mut times = Vec::new();
            for &(kind, by) in batch {
                let kafka = |us: i64| stream.written.map(|then| if then { us } else { NOW });
                match kind {
                    Kind::Honest => {
                        // Disorder is measured from the largest one: no row may be later than that.
                        let us = honest + by;
                        honest = honest.max(us);
                        largest = largest.max(us);
                        prop_assert!(low.is_none_or(|low| us >= low), "late by {:?} us", low.map(|low| low - us));
                        seen.push(us);
                        times.push(EventTime { us, kafka_us: kafka(honest) });
                    }
                    Kind::Wrong => {
                        times.push(EventTime { us: largest.max(honest) + by, kafka_us: kafka(honest) });
                    }
                }
            }
            w.observe(&tp(0), times, NOW);
        }
        let reached = w.of(&tp(0)).map(|low| low + DELAY);
        prop_assert!(reached.is_none_or(|reached| reached <= largest), "nothing honest is there");
        // Wrong ones do not hold it back either.
        seen.dedup();
        let together = seen.windows(WITNESSES).filter(|w| w[0] != w[2]).map(|w| w.iter().min().copied());
        prop_assert!(reached >= together.max().flatten(), "{reached:?} is behind");
    }

    /// However it is cut into batches, it comes to the same.
    #[test]
    fn batches_do_not_matter(stream in stream(), other in 1..60_usize) {
        let run = |size: usize| {
            let mut w = Watermarks::new(DELAY, MINUTE, FUTURE);
            let mut at = NOW - stream.age_us;
            let times: Vec<i64> = stream.records.iter().map(|&(kind, by)| {
                if matches!(kind, Kind::Honest) { at += by; at } else { at + by }
            }).collect();
            let wrong: u64 = times.chunks(size).map(|batch| w.observe(&tp(0), bare(batch.iter().copied()), NOW)).sum();
            (w.of(&tp(0)), wrong)
        };
        prop_assert_eq!(run(stream.batch), run(other));
    }

    /// Live, every honest record moves it at once.
    #[test]
    fn live_it_keeps_up(steps in proptest::collection::vec((0..DAY, proptest::option::of(FUTURE + 1..DAY)), 1..50)) {
        let (mut w, mut now) = (Watermarks::new(DELAY, MINUTE, FUTURE), NOW);
        for (step, wrong) in steps {
            now += step;
            if let Some(ahead) = wrong {
                let wrong = [EventTime { us: now + ahead, kafka_us: Some(now) }];
                prop_assert_eq!(w.observe(&tp(0), wrong, now), 1);
            }
            w.observe(&tp(0), live([now]), now);
            prop_assert_eq!(w.of(&tp(0)), Some(now - DELAY));
        }
    }
}
