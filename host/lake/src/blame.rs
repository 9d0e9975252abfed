//! Which code made a row: the commits of a table from the newest back, and the rows of their files. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::{Array, BinaryArray, RecordBatch};
use arrow_cast::display::array_value_to_string;
use lakemill_model::SinkError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::history::{BlamedCommit, Seen, SeenFile};
use crate::options::local_path;
use crate::parquet::commits as parquet_commits;

/// A row, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Blamed {
    /// The commit that brought it.
    #[serde(flatten)]
    pub commit: BlamedCommit,
    /// The data file.
    pub file: String,
    /// Its cells as text; null cells are left out.
    pub row: BTreeMap<String, String>,
}

/// What was found of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blame {
    /// The newest first.
    pub rows: Vec<Blamed>,
    /// If there are none, and the conditions name a position in a topic: what became of it.
    pub why_none: Option<String>,
}

/// The rows whose cells, as text, are what `conditions` (column, text) say; the newest first, at most `rows_max`. Bytes that are UTF-8 are
/// text.
///
/// # Errors
/// [`SinkError::Unsupported`] if there is no table at `location`, or it has no such column; [`SinkError::Storage`] if it cannot be
/// read.
pub fn blame(location: &str, conditions: &[(String, String)], rows_max: usize) -> Result<Blame, SinkError> {
    let unsupported = |reason: String| SinkError::Unsupported { sink: location.to_owned(), reason };
    let root = local_path(location).map_err(unsupported)?;
    let mut commits = match delta_commits(&root).map_err(|error| storage(location, &root, &error))? {
        Some(commits) => commits,
        None => parquet_commits(location)?,
    };
    if commits.is_empty() {
        return Err(unsupported(format!("there is no table at {}", root.display())));
    }
    commits.sort_by_key(|seen| std::cmp::Reverse(seen.commit.version));
    let mut found = Vec::new();
    for Seen { commit, files } in &commits {
        for file in files.iter().rev() {
            if !may_hold(file, conditions) {
                continue;
            }
            for row in rows(&root, file, conditions, location)?.into_iter().rev() {
                if found.len() == rows_max {
                    return Ok(Blame { rows: found, why_none: None });
                }
                let mut commit = commit.clone();
                if !file.made_by.is_empty() {
                    commit.digests.clone_from(&file.made_by);
                }
                found.push(Blamed { commit, file: file.path.clone(), row });
            }
        }
    }
    let commits = commits.iter().map(|seen| &seen.commit);
    let why_none = if found.is_empty() { whereabouts(conditions, commits) } else { None };
    Ok(Blame { rows: found, why_none })
}

/// What became of the position that conditions on `_offset`, and perhaps `_partition` and `_topic`, name; `None` if they name none, or
/// the table's commits say nothing of positions. Of commits from the newest back.
fn whereabouts<'c>(
    conditions: &[(String, String)],
    commits: impl Iterator<Item = &'c BlamedCommit> + Clone,
) -> Option<String> {
    let of = |column: &str| conditions.iter().find(|(name, _)| name == column).map(|(_, text)| text.as_str());
    let offset: i64 = of("_offset")?.parse().ok()?;
    let is_meant = |topic: &str, partition: i32| {
        of("_topic").is_none_or(|wanted| wanted == topic)
            && of("_partition").is_none_or(|wanted| wanted.parse() == Ok(partition))
    };
    let ranges = commits.flat_map(|commit| commit.ranges.iter().map(move |range| (commit, range)));
    let meant: Vec<_> = ranges.filter(|(_, (topic, partition, ..))| is_meant(topic, *partition)).collect();
    let covers =
        |(_, (_, _, start, end)): &&(&BlamedCommit, &(String, i32, i64, i64))| (*start..*end).contains(&offset);
    if let Some((commit, (topic, partition, ..))) = meant.iter().find(covers) {
        return Some(format!(
            "offset {offset} of {topic}/{partition} was in the batch of commit {}, which wrote no such row here: the transform filtered it or \
             wrote it to another output, or it is a dead letter: ask for `_offset={offset}` or `offset={offset}` there",
            commit.version
        ));
    }
    let (topic, partition, done) =
        meant.iter().map(|(_, (topic, partition, _, end))| (topic, partition, *end)).max_by_key(|(.., end)| *end)?;
    match offset >= done {
        true => {
            Some(format!("offset {offset} is not there yet: the table's commits name {topic}/{partition} up to {done}"))
        }
        false => Some(format!("no commit that is still in the table's log names offset {offset}")),
    }
}

fn storage(location: &str, path: &Path, error: &dyn std::fmt::Display) -> SinkError {
    SinkError::Storage {
        sink: location.to_owned(),
        action: "read",
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

/// The commits whose entries are there, with the files that are still the table's; `None` if it is no Delta table. PROTOCOL.md, "Delta Log
/// Entries".
fn delta_commits(root: &Path) -> std::io::Result<Option<Vec<Seen>>> {
    let dir = root.join("_delta_log");
    let names = match std::fs::read_dir(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut entries: Vec<(u64, PathBuf)> = Vec::new();
    for name in names {
        let path = name?.path();
        let version = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")?.parse().ok());
        entries.extend(version.map(|version| (version, path)));
    }
    entries.sort();
    let (mut commits, mut removed) = (Vec::new(), BTreeSet::new());
    // From the newest back: what was removed later is no longer the table's.
    for (version, path) in entries.into_iter().rev() {
        let text = std::fs::read_to_string(&path)?;
        let actions: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let info = actions.iter().find_map(|action| action.get("commitInfo")).cloned().unwrap_or_default();
        let files = actions.iter().filter_map(|action| seen_file(action.get("add")?));
        let files: Vec<SeenFile> = files.filter(|file| !removed.contains(&file.path)).collect();
        let gone = actions.iter().filter_map(|action| decode(action["remove"]["path"].as_str()?));
        removed.extend(gone);
        let commit = BlamedCommit {
            version,
            time_ms: info["timestamp"].as_i64().unwrap_or(0),
            pipeline: info["lakemill.pipeline"].as_str().map(str::to_owned),
            digests: serde_json::from_value(info["lakemill.digests"].clone()).unwrap_or_default(),
            checkpoint: info["lakemill.checkpoint"].as_u64(),
            ranges: serde_json::from_value(info["lakemill.ranges"].clone()).unwrap_or_default(),
        };
        commits.push(Seen { commit, files });
    }
    Ok(Some(commits))
}

fn seen_file(add: &Value) -> Option<SeenFile> {
    let stats = add["stats"].as_str().and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or_default();
    let made_by = add["tags"]["lakemill.digests"].as_str().unwrap_or_default();
    Some(SeenFile {
        path: decode(add["path"].as_str()?)?,
        partition: serde_json::from_value(add["partitionValues"].clone()).unwrap_or_default(),
        stats,
        made_by: made_by.split(',').filter(|digest| !digest.is_empty()).map(str::to_owned).collect(),
    })
}

/// A path of the log: percent-encoded once (RFC 3986). Unlike in `app_id::decode`, a `%` near its end may stand for itself: others write
/// paths, too.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether a file may hold such rows, by its statistics. True if they do not tell.
fn may_hold(file: &SeenFile, conditions: &[(String, String)]) -> bool {
    conditions.iter().all(|(column, text)| {
        if let Some(value) = file.partition.get(column) {
            return value.as_deref() == Some(text);
        }
        let (low, high) = (&file.stats["minValues"][column], &file.stats["maxValues"][column]);
        match (low.as_f64(), high.as_f64(), text.parse::<f64>()) {
            (Some(low), Some(high), Ok(wanted)) => (low..=high).contains(&wanted),
            _ => true,
        }
    })
}

fn rows(
    root: &Path,
    file: &SeenFile,
    conditions: &[(String, String)],
    location: &str,
) -> Result<Vec<BTreeMap<String, String>>, SinkError> {
    let path = root.join(&file.path);
    let failed = |error: &dyn std::fmt::Display| storage(location, &path, error);
    let open = File::open(&path).map_err(|error| failed(&error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(open).and_then(|builder| builder.build());
    let mut found = Vec::new();
    for batch in reader.map_err(|error| failed(&error))? {
        let batch = batch.map_err(|error| failed(&error))?;
        let in_file: Vec<&(String, String)> =
            conditions.iter().filter(|(column, _)| !file.partition.contains_key(column)).collect();
        if let Some((column, _)) = in_file.iter().find(|(column, _)| batch.column_by_name(column).is_none()) {
            let known: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
            let reason = format!("the table has no column `{column}`; it has: {}", known.join(", "));
            return Err(SinkError::Unsupported { sink: location.to_owned(), reason });
        }
        for row in 0..batch.num_rows() {
            if in_file.iter().all(|(column, text)| is_cell(&batch, column, row, text)) {
                found.push(cells(&batch, row, file));
            }
        }
    }
    Ok(found)
}

/// A cell as text; `None` if it is null.
fn cell(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let cells = batch.column_by_name(column)?;
    if cells.is_null(row) {
        return None;
    }
    // A dead letter's record is text more often than not.
    let bytes =
        cells.as_any().downcast_ref::<BinaryArray>().and_then(|bytes| std::str::from_utf8(bytes.value(row)).ok());
    match bytes {
        Some(text) => Some(text.to_owned()),
        None => array_value_to_string(cells, row).ok(),
    }
}

/// Whether a cell is what a condition says: as it is shown, or bytes as hex digits.
fn is_cell(batch: &RecordBatch, column: &str, row: usize, text: &str) -> bool {
    if cell(batch, column, row).as_deref() == Some(text) {
        return true;
    }
    let bytes = batch.column_by_name(column).filter(|cells| cells.data_type().is_binary() && !cells.is_null(row));
    bytes.is_some_and(|cells| array_value_to_string(cells, row).is_ok_and(|hex| hex.eq_ignore_ascii_case(text)))
}

fn cells(batch: &RecordBatch, row: usize, file: &SeenFile) -> BTreeMap<String, String> {
    let schema = batch.schema();
    let of = schema.fields().iter().filter_map(|field| Some((field.name().clone(), cell(batch, field.name(), row)?)));
    let partition = file.partition.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    of.chain(partition).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statistics_rule_files_out() {
        let file = |stats: Value| SeenFile {
            path: String::new(),
            partition: [("day".to_owned(), Some("1".to_owned()))].into(),
            stats,
            made_by: vec![],
        };
        let holds = |stats: Value, column: &str, text: &str| may_hold(&file(stats), &[(column.into(), text.into())]);
        let stats = json!({"minValues": {"id": 5, "name": "b"}, "maxValues": {"id": 9, "name": "d"}});
        assert!(holds(stats.clone(), "id", "5") && holds(stats.clone(), "id", "9"));
        assert!(!holds(stats.clone(), "id", "10") && !holds(stats.clone(), "id", "4.5"));
        assert!(holds(stats.clone(), "name", "z"), "text may be cut");
        assert!(holds(stats.clone(), "other", "1") && holds(Value::Null, "id", "1"));
        assert!(holds(stats.clone(), "day", "1") && !holds(stats, "day", "2"));
    }

    #[test]
    fn of_a_position_without_a_row_the_commits_say_what_became_of_it() {
        let commit = |version, start, end| BlamedCommit {
            version,
            time_ms: 0,
            pipeline: None,
            digests: vec![],
            checkpoint: None,
            ranges: vec![("orders".to_owned(), 1, start, end)],
        };
        let commits = [commit(7, 20, 30), commit(6, 10, 20)];
        let why = |conditions: &[(&str, &str)]| {
            let conditions: Vec<_> = conditions.iter().map(|(c, t)| ((*c).to_owned(), (*t).to_owned())).collect();
            whereabouts(&conditions, commits.iter()).unwrap_or_default()
        };
        assert!(why(&[("_offset", "15")]).contains("offset 15 of orders/1 was in the batch of commit 6"));
        assert!(
            why(&[("_offset", "30"), ("_partition", "1")])
                .contains("is not there yet: the table's commits name orders/1 up to 30")
        );
        assert!(why(&[("_offset", "5")]).contains("no commit that is still"));
        for nothing in [&[("_offset", "5"), ("_topic", "x")][..], &[("_offset", "x")], &[("id", "5")]] {
            assert_eq!(why(nothing), "");
        }
    }

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decode("a%20b/%C3%BC%252F").as_deref(), Some("a b/ü%2F"));
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("100%").as_deref(), Some("100%"));
    }
}
