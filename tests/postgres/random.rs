//! Random SQL on the table of examples/postgres, and PostgreSQL's notation of times.

use std::fmt::Write;

/// Statements, a third of them in transactions of several, from a seed.
pub fn changes(seed: u64, count: usize) -> String {
    let mut r = fastrand::Rng::with_seed(seed);
    let mut sql = String::new();
    let (mut next, mut left) = (1_000, 0);
    for _ in 0..count {
        if left == 0 && r.u32(0..6) == 0 {
            left = r.i32(2..12);
            sql.push_str("begin;\n");
        }
        // Keys that are gone are no error: the statement changes nothing.
        let old = r.i32(1_000..next + 1);
        let statement = match r.u32(0..10) {
            0..=3 => {
                next += 1;
                insert(&mut r, next)
            }
            4..=5 => format!(
                "update orders set total = {}.{:02}, paid = not paid where id = {old}",
                r.u32(0..9_999),
                r.u32(0..100)
            ),
            6 => format!("update orders set note = {}, status = 'noted' where id = {old}", note(&mut r)),
            7 => {
                next += 1;
                format!("update orders set id = {next} where id = {old}")
            }
            8 => format!("update orders set email = null, details = '{{\"n\": {old}}}' where id = {old}"),
            _ => format!("delete from orders where id = {old}"),
        };
        // Writing to a string cannot fail.
        writeln!(sql, "{statement};").expect("writes");
        if left > 0 {
            left -= 1;
            if left == 0 {
                sql.push_str(if r.u32(0..4) == 0 { "rollback;\n" } else { "commit;\n" });
            }
        }
    }
    if left > 0 {
        sql.push_str("commit;\n");
    }
    // So that something is there whatever the seed.
    sql.push_str("update orders set status = 'last';\n");
    sql
}

fn note(r: &mut fastrand::Rng) -> String {
    match r.u32(0..4) {
        0 => "null".to_owned(),
        1 => format!("'short {}'", r.u32(..)),
        // Long enough to be stored apart.
        _ => format!("repeat('häuser {} ', {})", r.u32(..), r.u32(200..600)),
    }
}

fn insert(r: &mut fastrand::Rng, id: i32) -> String {
    let email = if r.bool() { format!("'user{}@example.com'", r.u32(..)) } else { "null".to_owned() };
    let due = if r.bool() { format!("date '2026-01-01' + {}", r.i32(-400_000..100_000)) } else { "null".to_owned() };
    let details = if r.bool() { format!("'{{\"a\": [{}, null, \"ü\"]}}'", r.i32(..)) } else { "null".to_owned() };
    let note = note(r);
    format!(
        "insert into orders values ({id}, {}, 'new', {}{}.{:02}, {email}, timestamptz '2026-01-01 00:00:00+00' + interval \
         '{} seconds', {due}, {}, {details}, {note})",
        r.u32(0..500),
        if r.bool() { "-" } else { "" },
        r.u64(0..9_999_999_999),
        r.u32(0..100),
        r.i32(..),
        r.bool(),
    )
}

/// Days since 1970 of `2026-01-31`.
pub fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    // March is the first month of a year here, so that the day that may be missing is the last one of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Seconds since 1970 of `2026-01-31T12:00:00+00:00`.
pub fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix("+00:00")?.split_once('T')?;
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(days(date)? * 86_400 + hours * 3_600 + minutes * 60 + seconds)
}

#[test]
fn times_are_read_as_postgres_writes_them() {
    assert_eq!(days("1970-01-01"), Some(0));
    assert_eq!(days("2026-11-20"), Some(20_777));
    assert_eq!(days("1600-02-29"), Some(-135_081));
    assert_eq!(seconds("2025-10-09T08:53:20+00:00"), Some(1_760_000_000));
    assert_eq!(seconds("1969-12-31T23:59:59+00:00"), Some(-1));
}
