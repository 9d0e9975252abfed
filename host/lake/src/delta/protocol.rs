//! Which Delta tables we append to, and which we refuse. Pure decisions from the table's protocol and properties.
//!
//! | a table with | is |
//! |---|---|
//! | `delta.setTransactionRetentionDuration` | refused: our positions would expire |
//! | invariants, check constraints, generated, identity or default columns | refused if a column has one: we cannot check or compute them |
//! | column mapping | refused if the mode is not `none`: names in files differ from the table's |
//! | change data feed, `delta.appendOnly`, deletion vectors, `timestampNtz`, V2 checkpoints, domain metadata | written: an append needs nothing more |
//! | clustering | written, with statistics of the columns that it is clustered by (`schema::from_metadata`) |
//! | row tracking, in-commit timestamps, Iceberg compatibility, and what is not known here | refused by its name |

use std::collections::HashMap;

/// What a table asks of those who write it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    pub(crate) min_writer_version: i32,
    /// Of writer version 7; older ones imply theirs.
    pub(crate) writer_features: Vec<String>,
    pub(crate) configuration: HashMap<String, String>,
    /// What columns ask that we cannot do (`schema::from_metadata`).
    pub(crate) columns: Vec<String>,
}

/// Features that ask nothing of an append, or nothing while the table's metadata does not use them (which is looked at).
const HARMLESS: [&str; 13] = [
    "appendOnly",
    "invariants",
    "checkConstraints",
    "changeDataFeed",
    "generatedColumns",
    "identityColumns",
    "allowColumnDefaults",
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "v2Checkpoint",
    "domainMetadata",
    "clustering",
];

/// Why we must not write the table, and what to do; nothing if we may.
pub(crate) fn refusals(demands: &Demands) -> Vec<String> {
    let mut refusals = Vec::new();
    if demands.min_writer_version > 7 {
        refusals.push(format!("it needs writer version {}; this Lakemill knows up to 7", demands.min_writer_version));
    }
    for feature in &demands.writer_features {
        if !HARMLESS.contains(&feature.as_str()) {
            refusals.push(format!("its writer feature `{feature}` is not supported; drop it or write to a new table"));
        }
    }
    let set = |key: &str| demands.configuration.get(key).map(String::as_str);
    if let Some(duration) = set("delta.setTransactionRetentionDuration") {
        refusals.push(format!(
            "delta.setTransactionRetentionDuration is {duration}: the positions that Lakemill keeps in the table would expire, and rows \
             be written twice; unset it"
        ));
    }
    if let Some(mode) = set("delta.columnMapping.mode").filter(|mode| *mode != "none") {
        refusals.push(format!("column mapping by {mode} is not supported; write to a new table"));
    }
    let mut constraints: Vec<_> =
        demands.configuration.keys().filter_map(|key| key.strip_prefix("delta.constraints.")).collect();
    constraints.sort_unstable();
    for name in constraints {
        refusals.push(format!("it has the check constraint `{name}`, which Lakemill cannot check; drop it"));
    }
    refusals.extend(demands.columns.iter().cloned());
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands(version: i32, features: &[&str], configuration: &[(&str, &str)]) -> Demands {
        Demands {
            min_writer_version: version,
            writer_features: features.iter().map(|name| (*name).to_owned()).collect(),
            configuration: configuration.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            columns: Vec::new(),
        }
    }

    #[test]
    fn plain_tables_of_all_ages_are_written() {
        for version in 1..=6 {
            let plain = demands(version, &[], &[("delta.appendOnly", "true"), ("delta.enableChangeDataFeed", "true")]);
            assert_eq!(refusals(&plain), Vec::<String>::new());
        }
        let modern = demands(
            7,
            &["invariants", "appendOnly", "deletionVectors", "domainMetadata", "clustering"],
            &[("delta.columnMapping.mode", "none")],
        );
        assert_eq!(refusals(&modern), Vec::<String>::new());
    }

    #[test]
    fn each_refusal_says_what_and_why() {
        let refused = |demands: Demands| {
            let refusals = refusals(&demands);
            assert_eq!(refusals.len(), 1, "{refusals:?}");
            refusals[0].clone()
        };
        assert!(refused(demands(8, &[], &[])).contains("writer version 8"));
        assert!(refused(demands(7, &["rowTracking"], &[])).contains("`rowTracking`"));
        assert!(
            refused(demands(2, &[], &[("delta.setTransactionRetentionDuration", "interval 7 days")]))
                .contains("interval 7 days")
        );
        assert!(refused(demands(5, &[], &[("delta.columnMapping.mode", "name")])).contains("column mapping by name"));
        assert!(
            refused(demands(3, &[], &[("delta.constraints.positive", "x > 0")]))
                .contains("check constraint `positive`")
        );
        let columns = vec!["column `c` has an invariant".to_owned()];
        assert!(refused(Demands { columns, ..demands(2, &[], &[]) }).contains("column `c`"));
    }
}
