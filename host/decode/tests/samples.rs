//! Real events from other projects' test resources, where they lie beside the repository: every record has a fate, and it is the
//! expected one.

use std::path::{Path, PathBuf};

use lakemill_decode::{Decoder, DecoderConfig};
use lakemill_model::{RawBatch, RecordRef};

/// The folder of samples, if it is there.
fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("the samples are not beside the repository: nothing is compared");
    None
}

/// Rows, dead letters and control records of the lines of a file.
fn fates(path: &Path) -> (usize, Vec<String>, usize) {
    let text = std::fs::read_to_string(path).expect("reads");
    let mut raw = RawBatch::default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    for (offset, line) in lines.enumerate() {
        raw.push(RecordRef {
            topic: "t",
            partition: 0,
            offset: offset as i64,
            timestamp_ms: None,
            key: None,
            value: Some(line.as_bytes()),
        });
    }
    let decoder = Decoder::new(DecoderConfig::default(), Box::new(|_, schema| Ok(schema)));
    let decoded = decoder.decode(&raw).expect("decodes");
    let rows = decoded.batches.iter().map(|batch| batch.len()).sum();
    assert_eq!(rows + decoded.dead.len() + decoded.control.len(), raw.len(), "{}", path.display());
    (rows, decoded.dead.iter().map(|dead| dead.reason.to_string()).collect(), decoded.control.len())
}

#[test]
fn documented_events_of_every_connector() {
    let Some(folder) = samples() else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("debezium-docs")).expect("lists").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (rows, dead, control) = fates(&entry.path());
        let is_key = std::fs::read_to_string(entry.path()).expect("reads").contains("SchemaChangeKey");
        let is_change = ["-op-c", "-op-u", "-op-d", "-op-r", "-op-t"].iter().any(|op| name.contains(op));
        let is_control =
            ["-tx.", "-schemachange.", "-notification.", "-op-m"].iter().any(|kind| name.contains(kind)) && !is_key;
        match () {
            () if name.starts_with("mongodb") || name.starts_with("outbox") || name.contains("event-changes") => {}
            () if is_change && !name.starts_with("mysql-04") => {
                assert!(rows > 0 && dead.is_empty(), "{name}: {dead:?}")
            }
            () if is_control => assert!(control > 0 && dead.is_empty() && rows == 0, "{name}: {dead:?}"),
            () if name.contains("cloudevent") => assert!(!dead.is_empty() && rows == 0, "{name}"),
            () => {}
        }
        seen += 1;
    }
    assert!(seen > 50, "{seen} files");
}

#[test]
fn events_of_real_connectors() {
    let Some(folder) = samples() else { return };
    for (file, rows) in [
        ("seatunnel/debezium-mysql.txt", 1),
        ("seatunnel/debezium-postgresql.txt", 1),
        ("seatunnel/debezium-sqlserver.txt", 1),
        ("seatunnel/debezium-oracle.txt", 1),
        ("paimon/debezium/table/schema/alltype/debezium-data-1.txt", 1),
        ("paimon/debezium/table/schema/schemaevolution/debezium-data-1.txt", 1),
        ("paimon/debezium/table/schema/schemaevolution/debezium-data-3.txt", 1),
        ("paimon/debezium/table/nestedtype/debezium-data-1.txt", 1),
    ] {
        let (found, dead, _) = fates(&folder.join(file));
        assert_eq!((found, dead), (rows, vec![]), "{file}");
    }
}
