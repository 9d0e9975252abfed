//! Debezium's `source` block: event time, snapshot flag, the table that the change is of, and the place in the source's log as bytes that compare as the log
//! does. Fields by connector: each connector's `SourceInfo` in Debezium.

use std::borrow::Cow;

use crate::names::Names;
use crate::scan::{Broken, Cursor, Kind};

/// What the block says.
#[derive(Debug, Default)]
pub(crate) struct SourceInfo<'a> {
    pub ts_ms: Option<i64>,
    pub snapshot: bool,
    /// Database, schema, table (of MongoDB, the collection).
    pub origin: [Option<Cow<'a, str>>; 3],
    connector: Cow<'a, str>,
    /// Values of fields that make positions, by place in [`FIELDS`]; numbers as written.
    values: [Option<Cow<'a, str>>; FIELDS.len()],
}

/// What somebody reads of the block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wants {
    pub position: bool,
    /// Database, schema and table.
    pub origin: bool,
}

/// What a member of the block is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member {
    TsMs,
    Snapshot,
    Connector,
    /// By place in [`SourceInfo::origin`].
    Origin(usize),
    /// By place in [`FIELDS`].
    Field(usize),
    Other,
}

/// The member of that name.
pub(crate) fn member(name: &str) -> Member {
    match name {
        "ts_ms" => Member::TsMs,
        "snapshot" => Member::Snapshot,
        "connector" => Member::Connector,
        "db" => Member::Origin(0),
        "schema" => Member::Origin(1),
        "table" | "collection" => Member::Origin(2),
        _ => FIELDS.iter().position(|field| *field == name).map_or(Member::Other, Member::Field),
    }
}

const FIELDS: [&str; 13] = [
    "lsn",
    "sequence",
    "file",
    "pos",
    "row",
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    "scn",
    "commit_scn",
    "rs_id",
    "ssn",
    "ord",
];
const LSN: usize = 0;
const SEQUENCE: usize = 1;
const FILE: usize = 2;
const POS: usize = 3;
const ROW: usize = 4;
const COMMIT_LSN: usize = 5;
const CHANGE_LSN: usize = 6;
const EVENT_SERIAL_NO: usize = 7;
const SCN: usize = 8;
const COMMIT_SCN: usize = 9;
const RS_ID: usize = 10;
const SSN: usize = 11;
const ORD: usize = 12;

impl<'a> SourceInfo<'a> {
    pub fn read(cursor: &mut Cursor<'a>, wants: Wants, names: &mut Names<Member>) -> Result<Self, Broken> {
        let mut info = SourceInfo::default();
        let mut members = names.object(cursor)?;
        while let Some(member) = names.member(cursor, &mut members)? {
            match (member, cursor.kind()?) {
                (Member::TsMs, Kind::Number) => info.ts_ms = crate::convert::whole(cursor.number()?),
                (Member::Snapshot, Kind::Text) => info.snapshot = !matches!(&*cursor.string()?, "false" | ""),
                (Member::Snapshot, Kind::Bool) => info.snapshot = cursor.bool()?,
                (Member::Connector, Kind::Text) if wants.position => info.connector = cursor.string()?,
                (Member::Field(place), Kind::Text) if wants.position => info.values[place] = Some(cursor.string()?),
                (Member::Field(place), Kind::Number) if wants.position => {
                    info.values[place] = Some(cursor.number()?.into());
                }
                (Member::Origin(place), Kind::Text) if wants.origin => info.origin[place] = Some(cursor.string()?),
                _ => drop(cursor.skip()?),
            }
        }
        Ok(info)
    }

    fn number(&self, place: usize) -> Option<u64> {
        self.values[place].as_deref()?.parse().ok()
    }

    /// Writes the position into `out` (cleared first); false if the block tells none.
    pub fn position(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        let found = match &*self.connector {
            "postgresql" => self.postgresql(out),
            "mysql" | "mariadb" => self.mysql(out),
            "sqlserver" | "db2" => self.sqlserver(out),
            "oracle" => self.oracle(out),
            "mongodb" => self.mongodb(out),
            _ => None,
        };
        found.is_some()
    }

    /// (last commit's LSN, LSN), 8 bytes each.
    fn postgresql(&self, out: &mut Vec<u8>) -> Option<()> {
        let pair = self.values[SEQUENCE].as_deref().and_then(sequence);
        let (commit, lsn) = match pair {
            Some((commit, lsn)) => (commit, lsn.or_else(|| self.number(LSN))?),
            None => (None, self.number(LSN)?),
        };
        out.extend_from_slice(&commit.unwrap_or(lsn).to_be_bytes());
        out.extend_from_slice(&lsn.to_be_bytes());
        Some(())
    }

    /// (number of the binlog file, position, row).
    fn mysql(&self, out: &mut Vec<u8>) -> Option<()> {
        let file = self.values[FILE].as_deref()?;
        let digits = file.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number: u64 =
            file.rsplit('.').next().and_then(|suffix| suffix.parse().ok()).or_else(|| digits.parse().ok())?;
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&self.number(POS)?.to_be_bytes());
        out.extend_from_slice(&self.number(ROW).unwrap_or(0).to_be_bytes());
        Some(())
    }

    /// (commit LSN, change LSN, serial number in the transaction): the LSNs are hexadecimal of fixed width.
    fn sqlserver(&self, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(self.values[COMMIT_LSN].as_deref()?.to_ascii_lowercase().as_bytes());
        out.push(0);
        out.extend_from_slice(self.values[CHANGE_LSN].as_deref().unwrap_or("").to_ascii_lowercase().as_bytes());
        out.push(0);
        out.extend_from_slice(&self.number(EVENT_SERIAL_NO).unwrap_or(0).to_be_bytes());
        Some(())
    }

    /// (commit SCN, SCN, rs_id, ssn): SCNs are decimal text that may exceed 64 bits.
    fn oracle(&self, out: &mut Vec<u8>) -> Option<()> {
        let scn = |place: usize| self.values[place].as_deref().and_then(|text| text.parse::<u128>().ok());
        let own = scn(SCN)?;
        out.extend_from_slice(&scn(COMMIT_SCN).unwrap_or(own).to_be_bytes());
        out.extend_from_slice(&own.to_be_bytes());
        out.extend_from_slice(self.values[RS_ID].as_deref().unwrap_or("").trim().as_bytes());
        out.push(0);
        out.extend_from_slice(&self.number(SSN).unwrap_or(0).to_be_bytes());
        Some(())
    }

    /// (seconds of the operation, its order within them).
    fn mongodb(&self, out: &mut Vec<u8>) -> Option<()> {
        let time = u64::try_from(self.ts_ms?).ok()?;
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&self.number(ORD).unwrap_or(0).to_be_bytes());
        Some(())
    }
}

/// PostgreSQL's `sequence`: a JSON array of two decimal texts, each of which may be null.
fn sequence(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (commit, lsn) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    let number = |part: &str| part.trim().trim_matches('"').parse().ok();
    Some((number(commit), number(lsn)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(json: &str) -> Option<Vec<u8>> {
        let info = SourceInfo::read(
            &mut Cursor::new(json, 9),
            Wants { position: true, origin: true },
            &mut Names::new(member),
        )
        .expect("JSON");
        let mut out = Vec::new();
        info.position(&mut out).then_some(out)
    }

    /// Positions in the order in which their logs have them.
    fn ascending(list: &[&str]) {
        let positions: Vec<_> = list.iter().map(|json| position(json).expect(json)).collect();
        assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    }

    #[test]
    fn positions_compare_as_the_logs_do() {
        ascending(&[
            r#"{"connector":"postgresql","lsn":99}"#,
            r#"{"connector":"postgresql","lsn":100,"sequence":"[null,\"100\"]"}"#,
            r#"{"connector":"postgresql","lsn":90,"sequence":"[\"101\",\"90\"]"}"#,
            r#"{"connector":"postgresql","lsn":95,"sequence":"[\"101\",\"95\"]"}"#,
            r#"{"connector":"postgresql","lsn":18446744073709551615}"#,
        ]);
        ascending(&[
            r#"{"connector":"mysql","file":"mysql-bin.000009","pos":900,"row":0}"#,
            r#"{"connector":"mysql","file":"mysql-bin.000010","pos":4,"row":0}"#,
            r#"{"connector":"mysql","file":"mysql-bin.000010","pos":4,"row":1}"#,
            r#"{"connector":"mysql","file":"mysql-bin.1000000","pos":4,"row":0}"#,
        ]);
        ascending(&[
            r#"{"connector":"sqlserver","commit_lsn":"00000027:00000758:0003","change_lsn":null}"#,
            r#"{"connector":"sqlserver","commit_lsn":"00000027:00000758:0003","change_lsn":"00000027:00000758:0002","event_serial_no":1}"#,
            r#"{"connector":"sqlserver","commit_lsn":"00000027:00000758:0003","change_lsn":"00000027:00000758:0002","event_serial_no":2}"#,
        ]);
        ascending(&[
            r#"{"connector":"oracle","scn":"9","commit_scn":"10","ssn":1}"#,
            r#"{"connector":"oracle","scn":"8","commit_scn":"99999999999999999999","ssn":1}"#,
        ]);
        ascending(&[
            r#"{"connector":"mongodb","ts_ms":1000,"ord":2}"#,
            r#"{"connector":"mongodb","ts_ms":1000,"ord":10}"#,
        ]);
    }

    #[test]
    fn what_tells_no_position_has_none() {
        for json in [
            "{}",
            r#"{"connector":"postgresql"}"#,
            r#"{"connector":"vitess","lsn":1}"#,
            r#"{"connector":"mysql","pos":1}"#,
        ] {
            assert_eq!(position(json), None, "{json}");
        }
    }

    #[test]
    fn snapshot_flags_of_all_releases() {
        for (json, expected) in [
            (r#"{"snapshot":"true"}"#, true),
            (r#"{"snapshot":"last"}"#, true),
            (r#"{"snapshot":"incremental"}"#, true),
            (r#"{"snapshot":true}"#, true),
            (r#"{"snapshot":false}"#, false),
            (r#"{"snapshot":"false"}"#, false),
            (r#"{"snapshot":null}"#, false),
            ("{}", false),
        ] {
            let info =
                SourceInfo::read(&mut Cursor::new(json, 9), Wants::default(), &mut Names::new(member)).expect("JSON");
            assert_eq!(info.snapshot, expected, "{json}");
        }
    }

    #[test]
    fn the_table_by_connector() {
        for (json, expected) in [
            (r#"{"connector":"postgresql","db":"shop","schema":"public","table":"orders"}"#, "shop public orders"),
            (r#"{"connector":"mysql","db":"shop","table":"orders"}"#, "shop - orders"),
            (r#"{"connector":"mongodb","db":"shop","collection":"orders"}"#, "shop - orders"),
            (r#"{"connector":"mysql","db":null,"schema":7,"table":"ord\u00e9rs"}"#, "- - ordérs"),
            ("{}", "- - -"),
        ] {
            let mut names = Names::new(member);
            let wants = Wants { origin: true, ..Wants::default() };
            let info = SourceInfo::read(&mut Cursor::new(json, 9), wants, &mut names).expect("JSON");
            assert_eq!(info.origin.map(|name| name.unwrap_or("-".into())).join(" "), expected, "{json}");
            let info = SourceInfo::read(&mut Cursor::new(json, 9), Wants::default(), &mut names).expect("JSON");
            assert_eq!(info.origin, [None, None, None], "nobody reads it");
        }
    }
}
