//! Whether each sink still has the table that it wrote: a table that was deleted, or replaced, or is to be another one. Pure.

use std::collections::BTreeMap;

use lakemill_model::{NextOffset, Positions, TableIdentity, TopicPartition};
use lakemill_state::KnownTable;

/// A sink as it is now.
#[derive(Clone, Debug)]
pub(crate) struct SinkNow<'a> {
    pub name: &'a str,
    /// `None`: it keeps nothing.
    pub table: Option<TableIdentity>,
    /// The positions of ours that the table holds.
    pub held: &'a Positions,
    /// The dead letters, or the late rows: who deletes them does not want them back.
    pub is_side: bool,
}

/// What the sinks' tables are, beside what the journal knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// What the journal is to know.
    pub tables: BTreeMap<String, KnownTable>,
    /// Sinks that have no longer the table that they wrote, as somebody wanted: they get the rows from now on.
    pub moved: Vec<String>,
}

/// Holds the tables against those that the journal knows, and what they hold against what they held. The error says which one is gone or
/// was set back, and what to do.
pub(crate) fn compare(
    known: &BTreeMap<String, KnownTable>,
    known_held: &BTreeMap<String, Positions>,
    sinks: &[SinkNow<'_>],
) -> Result<Compared, String> {
    let mut compared = Compared { tables: known.clone(), moved: Vec::new() };
    for SinkNow { name, table, held, is_side } in sinks {
        let Some(now) = table else { continue };
        let table = KnownTable { location: now.location.clone(), id: now.id.clone() };
        let before = known.get(*name);
        match before {
            Some(before) if before.location != now.location => compared.moved.push((*name).to_owned()),
            Some(KnownTable { id: Some(before), location }) if now.id.as_ref() != Some(before) => {
                if *is_side {
                    compared.moved.push((*name).to_owned());
                } else if held.is_empty() {
                    return Err(gone(name, location, before, now.id.as_deref()));
                }
            }
            _ => {}
        }
        let is_moved = compared.moved.iter().any(|moved| moved == name);
        if let Some(known) = known_held.get(*name).filter(|_| !is_moved && !is_side) {
            let is_behind = |(tp, next): &(&TopicPartition, NextOffset)| held.get(tp).is_none_or(|now| now < *next);
            if let Some((tp, next)) = known.iter().find(is_behind) {
                return Err(set_back(name, &now.location, tp, next, held.get(tp)));
            }
        }
        compared.tables.insert((*name).to_owned(), table);
    }
    Ok(compared)
}

fn set_back(sink: &str, location: &str, tp: &TopicPartition, was: NextOffset, now: Option<NextOffset>) -> String {
    let now = now.map_or("nothing".to_owned(), |now| format!("rows up to {now}"));
    format!(
        "sink {sink}: the table at {location} was set back, to a copy of before or by a log entry that is missing: it holds {now} of {tp}, \
         and held rows up to {was}. Put the newer one back; or give the sink another `path`, where a new table gets the rows from now on; \
         or, for a table with all rows, run the pipeline under another `pipeline` name, with new paths"
    )
}

fn gone(sink: &str, location: &str, before: &str, now: Option<&str>) -> String {
    let what = match now {
        None => "is gone".to_owned(),
        Some(now) => format!("is another one (id {now})"),
    };
    format!(
        "sink {sink}: the table at {location} {what}: Lakemill has written rows to it (id {before}) that would be missing. Put it back; \
         or give the sink another `path`, where a new table gets the rows from now on; or, for a table with all rows, run the pipeline \
         under another `pipeline` name, with new paths"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: Option<&str>) -> BTreeMap<String, KnownTable> {
        [("orders".to_owned(), KnownTable { location: "/lake/orders".into(), id: id.map(str::to_owned) })].into()
    }

    static NONE: Positions = Positions::new();

    fn now(location: &str, id: Option<&str>) -> SinkNow<'static> {
        let table = Some(TableIdentity { location: location.into(), id: id.map(str::to_owned) });
        SinkNow { name: "orders", table, held: &NONE, is_side: false }
    }

    fn at(next: i64) -> Positions {
        [(TopicPartition::new("t", 0), NextOffset(next))].into_iter().collect()
    }

    fn compare(known: &BTreeMap<String, KnownTable>, sinks: &[SinkNow<'_>]) -> Result<Compared, String> {
        super::compare(known, &BTreeMap::new(), sinks)
    }

    #[test]
    fn a_table_that_is_gone_or_another_one_is_an_error_and_a_new_path_is_not() {
        let same = now("/lake/orders", Some("a"));
        assert_eq!(compare(&known(Some("a")), std::slice::from_ref(&same)).expect("the same").moved, [""; 0]);
        let error = compare(&known(Some("a")), &[now("/lake/orders", None)]).expect_err("it is gone");
        assert!(
            error.starts_with("sink orders: the table at /lake/orders is gone: Lakemill has written rows to it (id a)"),
            "{error}"
        );
        let error = compare(&known(Some("a")), &[now("/lake/orders", Some("b"))]).expect_err("another one");
        assert!(error.contains("is another one (id b)"), "{error}");
        let compared = compare(&known(Some("a")), &[now("/lake/v2", None)]).expect("somebody wanted that");
        assert_eq!(compared.moved, ["orders"]);
        assert_eq!(compared.tables["orders"], KnownTable { location: "/lake/v2".into(), id: None });
    }

    #[test]
    fn what_was_never_written_is_not_missing() {
        for before in [BTreeMap::new(), known(None)] {
            for id in [None, Some("b")] {
                assert_eq!(compare(&before, &[now("/lake/orders", id)]).expect("nothing is missing").moved, [""; 0]);
            }
        }
        let keeps_nothing = SinkNow { table: None, ..now("", None) };
        assert_eq!(compare(&known(Some("a")), &[keeps_nothing]).expect("a console").tables, known(Some("a")));
    }

    #[test]
    fn a_table_made_anew_with_our_positions_and_side_tables_that_were_deleted_are_taken() {
        let three = at(3);
        let holds = SinkNow { held: &three, ..now("/lake/orders", Some("b")) };
        let compared = compare(&known(Some("a")), std::slice::from_ref(&holds)).expect("its positions are there");
        assert_eq!((compared.moved, compared.tables["orders"].id.as_deref()), (vec![], Some("b")));
        let letters = SinkNow { is_side: true, ..now("/lake/orders", None) };
        assert_eq!(compare(&known(Some("a")), &[letters]).expect("nobody wants them back").moved, ["orders"]);
    }
    #[test]
    fn a_table_that_holds_less_than_it_held_was_set_back() {
        let (three, five) = (at(3), at(5));
        let known_held = BTreeMap::from([("orders".to_owned(), at(4))]);
        let compare = |sink: SinkNow<'_>| super::compare(&known(Some("a")), &known_held, &[sink]);
        let same = now("/lake/orders", Some("a"));
        let error = compare(SinkNow { held: &three, ..same.clone() }).expect_err("a copy of before");
        assert!(
            error.contains("was set back") && error.contains("rows up to 3 of t/0, and held rows up to 4"),
            "{error}"
        );
        let error = compare(same.clone()).expect_err("one of before the first");
        assert!(error.contains("holds nothing of t/0"), "{error}");
        compare(SinkNow { held: &five, ..same.clone() }).expect("the journal may lag");
        compare(SinkNow { is_side: true, ..same }).expect("nobody wants the dead letters back");
        compare(now("/lake/v2", None)).expect("somebody wanted another one");
    }
}
