//! Whether each sink still has the table that it wrote: a table that was deleted, or replaced, or is to be another one. Pure.

use std::collections::BTreeMap;

use lakemill_model::TableIdentity;
use lakemill_state::KnownTable;

/// A sink as it is now.
#[derive(Clone, Debug)]
pub(crate) struct SinkNow<'a> {
    pub name: &'a str,
    /// `None`: it keeps nothing.
    pub table: Option<TableIdentity>,
    /// Whether the table holds positions of ours.
    pub holds: bool,
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

/// Holds the tables against those that the journal knows. The error says which one is gone, and what to do.
pub(crate) fn compare(known: &BTreeMap<String, KnownTable>, sinks: &[SinkNow<'_>]) -> Result<Compared, String> {
    let mut compared = Compared { tables: known.clone(), moved: Vec::new() };
    for SinkNow { name, table, holds, is_side } in sinks {
        let Some(now) = table else { continue };
        let table = KnownTable { location: now.location.clone(), id: now.id.clone() };
        let before = known.get(*name);
        match before {
            Some(before) if before.location != now.location => compared.moved.push((*name).to_owned()),
            Some(KnownTable { id: Some(before), location }) if now.id.as_ref() != Some(before) => {
                if *is_side {
                    compared.moved.push((*name).to_owned());
                } else if !*holds {
                    return Err(gone(name, location, before, now.id.as_deref()));
                }
            }
            _ => {}
        }
        compared.tables.insert((*name).to_owned(), table);
    }
    Ok(compared)
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

    fn now(location: &str, id: Option<&str>) -> SinkNow<'static> {
        let table = Some(TableIdentity { location: location.into(), id: id.map(str::to_owned) });
        SinkNow { name: "orders", table, holds: false, is_side: false }
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
        let holds = SinkNow { holds: true, ..now("/lake/orders", Some("b")) };
        let compared = compare(&known(Some("a")), &[holds]).expect("its positions are there");
        assert_eq!((compared.moved, compared.tables["orders"].id.as_deref()), (vec![], Some("b")));
        let letters = SinkNow { is_side: true, ..now("/lake/orders", None) };
        assert_eq!(compare(&known(Some("a")), &[letters]).expect("nobody wants them back").moved, ["orders"]);
    }
}
