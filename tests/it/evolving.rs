//! Sources whose columns change, and tables that somebody else made: what fits is written, one row that does not is one dead letter, and
//! where a person is needed the message's advice is followed, and works.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lakemill_tests::spec::Pipeline;
use lakemill_tests::table::Table;
use serde_json::{Map, Value, json};

/// A pipeline of Debezium events with their schema, in a file of values, through `split`.
fn pipeline() -> Result<Pipeline> {
    let mut pipeline = Pipeline::of_files("split", &["inserts", "updates", "deletes"])?;
    pipeline.spec["source"]["files"] =
        json!({ "paths": ["events/*"], "topic": "post.public.parcels", "format": "value" });
    Ok(pipeline)
}

/// A column of a Debezium schema: name, Connect type, and the name of a logical type or "".
type Column = (&'static str, &'static str, &'static str);

/// An insert with its schema part.
fn insert(columns: &[Column], cells: &[Value]) -> Vec<u8> {
    change("c", columns, cells)
}

fn change(op: &str, columns: &[Column], cells: &[Value]) -> Vec<u8> {
    let fields: Vec<Value> = columns
        .iter()
        .map(|(name, of, logical)| {
            let mut field = json!({ "field": name, "type": of, "optional": true });
            if !logical.is_empty() {
                field["name"] = json!(logical);
                field["version"] = json!(1);
            }
            field
        })
        .collect();
    let row: Map<String, Value> =
        columns.iter().zip(cells).map(|((name, ..), cell)| ((*name).to_owned(), cell.clone())).collect();
    let image = |of: &str| json!({ "field": of, "type": "struct", "optional": true, "fields": fields });
    let envelope = [image("before"), image("after"), json!({ "field": "op", "type": "string", "optional": false })];
    let message = json!({
        "schema": { "type": "struct", "name": "post.public.parcels.Envelope", "fields": envelope },
        "payload": { "before": null, "after": row, "op": op, "source": { "connector": "postgresql", "ts_ms": 1_770_000_000_000_i64 },
                     "ts_ms": 1_770_000_000_100_i64 },
    });
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

const ID: Column = ("id", "int64", "");
const WEIGHT: Column = ("grams", "int32", "");
const WEIGHT_WIDE: Column = ("grams", "int64", "");
const DAY: Column = ("sent_on", "int32", "io.debezium.time.Date");
const CITY: Column = ("city", "string", "");

/// Makes a Delta table by hand, as another writer would have.
fn foreign(path: &Path, columns: &[(&str, &str, bool)], protocol: &Value, more: &[Value]) -> Result<()> {
    let ours = [
        ("_op", "string", true),
        ("_event_time", "timestamp", true),
        ("_topic", "string", true),
        ("_partition", "integer", true),
        ("_offset", "long", true),
        ("_unchanged", "string", true),
    ];
    let fields: Vec<Value> = columns
        .iter()
        .chain(&ours)
        .map(|(name, of, nullable)| json!({ "name": name, "type": of, "nullable": nullable, "metadata": {} }))
        .collect();
    let metadata = json!({
        "id": "c0ffee00-0000-4000-8000-000000000001", "format": { "provider": "parquet", "options": {} },
        "schemaString": json!({ "type": "struct", "fields": fields }).to_string(),
        "partitionColumns": [], "configuration": {}, "createdTime": 1,
    });
    let mut actions = vec![json!({ "protocol": protocol }), json!({ "metaData": metadata })];
    actions.extend_from_slice(more);
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    std::fs::create_dir_all(path.join("_delta_log"))?;
    Ok(std::fs::write(path.join("_delta_log/00000000000000000000.json"), lines)?)
}

/// The cells of two columns, by the first one.
fn cells(table: &Table, column: &str) -> Result<Vec<(i64, Value)>> {
    let mut cells = Vec::new();
    for row in &table.rows {
        ensure!(row.contains_key(column), "no column {column}: {row:?}");
        cells.push((row["id"].as_i64().context("an id")?, row[column].clone()));
    }
    cells.sort_by_key(|(id, _)| *id);
    Ok(cells)
}

#[test]
fn a_column_that_comes_later_is_added_with_the_rows_that_need_it() -> Result<()> {
    for rows_max in [1, 100] {
        let mut pipeline = pipeline()?;
        pipeline.spec["batch"] = json!({ "rows_max": rows_max });
        let mut lines = insert(&[ID, CITY], &[json!(1), json!("Oslo")]);
        lines.extend(insert(&[ID, CITY, ("fragile", "boolean", "")], &[json!(2), json!("Rome"), json!(true)]));
        lines.extend(insert(&[ID, CITY], &[json!(3), json!("Kyiv")]));
        pipeline.events("1.jsonl", &lines)?;
        pipeline.run()?.expect(0, &[])?;
        let fragile = |pipeline: &Pipeline| cells(&pipeline.table("inserts")?, "fragile");
        ensure!(fragile(&pipeline)? == [(1, Value::Null), (2, json!(true)), (3, Value::Null)], "{rows_max}");
        // Once more, into a table that is there; names that Delta does not allow get other ones.
        let odd: Column = ("sender name", "string", "");
        pipeline.events("2.jsonl", &insert(&[ID, CITY, odd], &[json!(4), json!("Bonn"), json!("Ada")]))?;
        pipeline.run()?.expect(0, &["sender name"])?;
        ensure!(cells(&pipeline.table("inserts")?, "sender_name")?.pop() == Some((4, json!("Ada"))));
        ensure!(fragile(&pipeline)?.len() == 4);
    }
    Ok(())
}

#[test]
fn a_strict_table_gets_no_column() -> Result<()> {
    let mut pipeline = pipeline()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["schema"] = json!("strict");
    pipeline.events("1.jsonl", &insert(&[ID], &[json!(1)]))?;
    pipeline.run()?.expect(0, &[])?;
    pipeline.events("2.jsonl", &insert(&[ID, CITY], &[json!(2), json!("Lima")]))?;
    let stopped = pipeline.run()?;
    ensure!(stopped.code != Some(0) && stopped.said().contains("schema: additive"), "{}", stopped.said());
    pipeline.spec["sinks"]["inserts"]["delta"]["schema"] = json!("additive");
    pipeline.run()?.expect(0, &[])?;
    ensure!(cells(&pipeline.table("inserts")?, "city")? == [(1, Value::Null), (2, json!("Lima"))]);
    Ok(())
}

#[test]
fn a_column_without_a_value_at_first_comes_with_its_first_value() -> Result<()> {
    let pipeline = pipeline()?;
    let plain = |id: i64, returned: Value| {
        format!(
            "{}\n",
            json!({ "before": null, "after": { "id": id, "returned": returned }, "op": "c", "source": {}, "ts_ms": 1 })
        )
    };
    pipeline.events("1.jsonl", plain(1, Value::Null).as_bytes())?;
    pipeline.run()?.expect(0, &[])?;
    pipeline.events("2.jsonl", (plain(2, json!("no one home")) + &plain(3, Value::Null)).as_bytes())?;
    pipeline.run()?.expect(0, &[])?;
    let cells = cells(&pipeline.table("inserts")?, "returned")?;
    ensure!(cells == [(1, Value::Null), (2, json!("no one home")), (3, Value::Null)], "{cells:?}");
    Ok(())
}

/// What somebody does whose column has become wider: first nothing but another path, then what the message says.
#[test]
fn a_history_in_which_a_column_became_wider_makes_a_table_with_the_wider_type() -> Result<()> {
    let narrow = insert(&[ID, WEIGHT, DAY], &[json!(1), json!(7), json!(20_000)]);
    let wide = insert(&[ID, WEIGHT_WIDE, DAY], &[json!(2), json!(3_000_000_000_i64), json!(20_001)]);
    for lines in [[narrow.clone(), wide.clone(), narrow.clone()].concat(), [wide, narrow].concat()] {
        let mut pipeline = pipeline()?;
        pipeline.spec["sinks"]["inserts"]["delta"]["partition_by"] = json!(["sent_on"]);
        pipeline.events("1.jsonl", &lines)?;
        pipeline.run()?.expect(0, &[])?;
        let table = pipeline.table("inserts")?;
        let mut grams: Vec<i64> = table.rows.iter().filter_map(|row| row["grams"].as_i64()).collect();
        grams.sort_unstable();
        grams.dedup();
        ensure!(grams == [7, 3_000_000_000], "{:?}", table.rows);
        ensure!(table.types["grams"] == "int64", "{:?}", table.types);
    }
    Ok(())
}

#[test]
fn a_column_that_became_wider_has_two_ways_out() -> Result<()> {
    let (narrow, wide) = (
        insert(&[ID, WEIGHT], &[json!(1), json!(70)]),
        insert(&[ID, WEIGHT_WIDE], &[json!(2), json!(3_000_000_000_i64)]),
    );
    let stuck = || -> Result<Pipeline> {
        let pipeline = pipeline()?;
        pipeline.events("1.jsonl", &narrow)?;
        pipeline.run()?.expect(0, &[])?;
        pipeline.events("2.jsonl", &wide)?;
        let stopped = pipeline.run()?;
        ensure!(stopped.code != Some(0), "a long in an integer");
        let says = "give the sink a new `path` and declare the column there, `columns: { grams: int64 }`";
        ensure!(stopped.said().contains(says), "{}", stopped.said());
        Ok(pipeline)
    };
    // A new path: it goes on from where it stood, with what the rows have now.
    let mut pipeline = stuck()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["path"] = json!("lake/inserts_2");
    pipeline.run()?.expect(0, &["the rows from now on"])?;
    ensure!(cells(&pipeline.table("inserts_2")?, "grams")? == [(2, json!(3_000_000_000_i64))]);
    ensure!(cells(&pipeline.table("inserts")?, "grams")? == [(1, json!(70))]);
    // The type where the table is not new is told at once.
    let mut pipeline = stuck()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["columns"] = json!({ "grams": "int64" });
    pipeline.run()?.expect(2, &["has the column `grams` as integer", "a new `path`"])?;
    // All rows, whichever type comes first: another name and path, and the type declared.
    for first_narrow in [true, false] {
        let mut pipeline = self::pipeline()?;
        let (first, second) = if first_narrow { (&narrow, &wide) } else { (&wide, &narrow) };
        pipeline.events("1.jsonl", &[first.clone(), second.clone()].concat())?;
        let table = &mut pipeline.spec["sinks"]["inserts"]["delta"];
        (table["path"], table["columns"]) = (json!("lake/wide"), json!({ "grams": "int64" }));
        pipeline.run()?.expect(0, &[])?;
        let wide = pipeline.table("wide")?;
        ensure!(wide.types["grams"] == "int64", "{:?}", wide.types);
        ensure!(cells(&wide, "grams")? == [(1, json!(70)), (2, json!(3_000_000_000_i64))], "{first_narrow}");
    }
    Ok(())
}

#[test]
fn tables_of_others_take_what_fits_and_one_bad_row_is_one_dead_letter() -> Result<()> {
    let pipeline = pipeline()?;
    let columns = [
        ("id", "long", false),
        ("grams", "short", true),
        ("zone", "byte", true),
        ("at", "timestamp_ntz", true),
        ("price", "decimal(20,4)", true),
        ("ratio", "double", true),
    ];
    let ntz = json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz", "appendOnly", "invariants"] });
    foreign(&pipeline.path("inserts"), &columns, &ntz, &[])?;
    let source: [Column; 5] = [
        ID,
        ("grams", "int16", ""),
        ("zone", "int16", ""),
        ("at", "int64", "io.debezium.time.MicroTimestamp"),
        ("ratio", "float", ""),
    ];
    let at = 1_770_000_000_123_456_i64;
    let rows = [
        (json!(1), json!(70), json!(-128), json!(at), json!(0.5)),
        (json!(2), json!(7), json!(128), json!(at), json!(1.5)),
        (Value::Null, json!(8), json!(1), json!(at), json!(1.5)),
        (json!(4), Value::Null, Value::Null, Value::Null, Value::Null),
    ];
    let lines: Vec<u8> = rows
        .iter()
        .flat_map(|(a, b, c, d, e)| insert(&source, &[a.clone(), b.clone(), c.clone(), d.clone(), e.clone()]))
        .collect();
    pipeline.events("1.jsonl", &lines)?;
    let finished = pipeline.run()?;
    finished.expect(0, &[])?;
    let report = finished.report()?;
    ensure!(report["rows_in"] == 4 && report["rows_out"] == 2 && report["rows_dead"] == 2, "{report}");
    let table = pipeline.table("inserts")?;
    ensure!(cells(&table, "at")? == [(1, json!(at)), (4, Value::Null)], "{:?}", table.rows);
    ensure!(cells(&table, "ratio")? == [(1, json!(0.5)), (4, Value::Null)]);
    ensure!(
        (table.types["grams"].as_str(), table.types["zone"].as_str(), table.types["at"].as_str())
            == ("int16", "int8", "timestamp without zone"),
        "{:?}",
        table.types
    );
    let dead = pipeline.table("_dead")?;
    let mut reasons: Vec<&str> = dead.rows.iter().filter_map(|row| row["reason"].as_str()).collect();
    reasons.sort_unstable();
    ensure!(reasons.len() == 2, "{reasons:?}");
    ensure!(
        reasons[0].starts_with("sink inserts: column `id` is null, and the table has it as not null"),
        "{reasons:?}"
    );
    ensure!(reasons[1].starts_with("sink inserts: column `zone` is 128, and the table has it as byte"), "{reasons:?}");
    ensure!(
        dead.rows
            .iter()
            .all(|row| row["stage"] == "sink" && row["value"].as_str().is_some_and(|value| value.len() > 100))
    );
    Ok(())
}

#[test]
fn a_table_that_was_mended_takes_the_rows_that_it_had_refused() -> Result<()> {
    let mut pipeline = pipeline()?;
    pipeline.spec["error_budget"] = json!({ "share_max": 0.1 });
    let protocol = json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
    foreign(&pipeline.path("inserts"), &[("id", "long", true), ("city", "string", false)], &protocol, &[])?;
    let city = |id: i64| if id % 2 == 0 { json!("Oslo") } else { Value::Null };
    let lines: Vec<u8> = (0..1_500).flat_map(|id| insert(&[ID, CITY], &[json!(id), city(id)])).collect();
    pipeline.events("1.jsonl", &lines)?;
    pipeline
        .run()?
        .expect(1, &["`city` is null, and the table has it as not null", "make it nullable in the table"])?;
    // What was refused is written down; that somebody made the column nullable counts for more.
    let log = pipeline.path("inserts").join("_delta_log");
    let first = std::fs::read_to_string(log.join("00000000000000000000.json"))?;
    let mended = first.lines().find(|line| line.contains("metaData")).context("the columns")?;
    let mended = mended.replace(r#"\"name\":\"city\",\"nullable\":false"#, r#"\"name\":\"city\",\"nullable\":true"#);
    let next = std::fs::read_dir(&log)?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|of| of == "json"))
        .count();
    std::fs::write(log.join(format!("{next:020}.json")), mended)?;
    let finished = pipeline.run()?;
    finished.expect(0, &[])?;
    ensure!(finished.report()?["rows_dead"] == 0 && cells(&pipeline.table("inserts")?, "city")?.len() == 1_500);
    Ok(())
}

#[test]
fn a_clustered_table_gets_statistics_of_what_it_is_clustered_by() -> Result<()> {
    let pipeline = pipeline()?;
    let protocol = json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["clustering", "domainMetadata", "appendOnly", "invariants"] });
    let by = json!({ "domainMetadata": { "domain": "delta.clustering", "configuration": "{\"clusteringColumns\":[[\"grams\"]]}", "removed": false } });
    foreign(&pipeline.path("inserts"), &[("id", "long", true), ("grams", "integer", true)], &protocol, &[by])?;
    pipeline.events("1.jsonl", &insert(&[ID, WEIGHT], &[json!(1), json!(70)]))?;
    pipeline.run()?.expect(0, &[])?;
    let commits = lakemill_tests::log::commits(&pipeline.path("inserts"))?;
    let stats: Vec<String> = commits
        .iter()
        .flat_map(|commit| &commit.actions)
        .filter_map(|action| action["add"]["stats"].as_str().map(str::to_owned))
        .collect();
    ensure!(stats.len() == 1 && stats[0].contains("\"grams\":70"), "{stats:?}");
    ensure!(pipeline.table("inserts")?.rows.len() == 1);
    Ok(())
}

#[test]
fn dates_that_no_reader_reads_do_not_get_into_a_table_or_its_folders() -> Result<()> {
    let mut pipeline = pipeline()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["partition_by"] = json!(["sent_on"]);
    let lines: Vec<u8> = [(1, 20_400), (2, 2_147_483_647), (3, -2_147_483_648), (4, 2_932_897), (5, -719_163), (6, -1)]
        .iter()
        .flat_map(|(id, day)| {
            insert(&[ID, DAY, ("also", "int32", "io.debezium.time.Date")], &[json!(id), json!(day), json!(day)])
        })
        .collect();
    pipeline.events("1.jsonl", &lines)?;
    pipeline.run()?.expect(0, &[])?;
    let table = pipeline.table("inserts")?;
    ensure!(table.rows.len() == 6, "{:?}", table.rows);
    for row in &table.rows {
        let day = row["sent_on"].as_i64().context("a day")?;
        ensure!((-719_162..=2_932_896).contains(&day) && row["also"] == row["sent_on"], "{row:?}");
    }
    Ok(())
}

#[test]
fn every_reader_finds_the_folders_of_a_table() -> Result<()> {
    let size: Column = ("größe", "string", "");
    let mut pipeline = pipeline()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["partition_by"] = json!(["größe"]);
    let mut lines = insert(&[ID, size], &[json!(1), json!("ü/x")]);
    lines.extend(insert(&[ID, size], &[json!(2), json!("__HIVE_DEFAULT_PARTITION__")]));
    lines.extend(insert(&[ID, size], &[json!(3), Value::Null]));
    pipeline.events("1.jsonl", &lines)?;
    pipeline.run()?.expect(0, &["polars and Hive read as null"])?;
    ensure!(cells(&pipeline.table("inserts")?, "größe")? == [(1, json!("ü/x")), (3, Value::Null)]);
    // A name that no folder can have for all of them.
    let odd: Column = ("a/b", "string", "");
    let mut pipeline = self::pipeline()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["partition_by"] = json!(["a/b"]);
    pipeline.events("1.jsonl", &insert(&[ID, odd], &[json!(1), json!("x")]))?;
    pipeline.run()?.expect(2, &["partition column `a/b`", "rename the column"])?;
    Ok(())
}

#[test]
fn a_table_that_was_set_back_is_noticed_whichever_sink_it_is() -> Result<()> {
    let batch = |n: i64| {
        let mut lines = insert(&[ID, CITY], &[json!(n), json!("Oslo")]);
        lines.extend(change("u", &[ID, CITY], &[json!(n), json!("Rome")]));
        lines
    };
    for sink in ["inserts", "updates"] {
        let pipeline = pipeline()?;
        pipeline.events("1.jsonl", &batch(1))?;
        pipeline.run()?.expect(0, &[])?;
        let path = pipeline.path(sink);
        let newest = |path: &Path| -> Result<std::path::PathBuf> {
            let mut entries: Vec<_> = std::fs::read_dir(path.join("_delta_log"))?.flatten().map(|e| e.path()).collect();
            entries.retain(|entry| entry.extension().is_some_and(|of| of == "json"));
            entries.sort();
            entries.pop().context("an entry")
        };
        pipeline.events("2.jsonl", &batch(2))?;
        pipeline.run()?.expect(0, &[])?;
        ensure!(pipeline.table(sink)?.rows.len() == 2);
        // As if a copy of before was put in its place.
        std::fs::remove_file(newest(&path)?)?;
        pipeline.events("3.jsonl", &batch(3))?;
        let said = pipeline.run()?;
        ensure!(said.code != Some(0), "{sink}: {}", said.said());
        ensure!(said.said().contains("was set back") || said.said().contains("restored"), "{sink}: {}", said.said());
    }
    Ok(())
}

#[test]
fn a_snapshot_of_three_years_by_day_is_one_batch() -> Result<()> {
    let mut pipeline = pipeline()?;
    pipeline.spec["sinks"]["inserts"]["delta"]["partition_by"] = json!(["sent_on"]);
    let lines: Vec<u8> = (0..1_100).flat_map(|n| insert(&[ID, DAY], &[json!(n), json!(19_000 + n)])).collect();
    pipeline.events("1.jsonl", &lines)?;
    pipeline.run()?.expect(0, &["partition by something coarser"])?;
    let table = pipeline.table("inserts")?;
    ensure!(table.rows.len() == 1_100 && table.counts("sent_on")?.len() == 1_100);
    Ok(())
}

#[test]
fn a_table_that_was_deleted_is_noticed_whichever_sink_it_is() -> Result<()> {
    let cells_of = |id: i64| [json!(id), json!("Oslo")];
    let changes = |from: i64| -> Vec<u8> {
        ["c", "u", "c"].iter().zip(from..).flat_map(|(op, id)| change(op, &[ID, CITY], &cells_of(id))).collect()
    };
    for deleted in ["inserts", "updates"] {
        let mut pipeline = pipeline()?;
        pipeline.events("1.jsonl", &changes(1))?;
        pipeline.run()?.expect(0, &[])?;
        let aside = pipeline.folder().join("aside");
        std::fs::rename(pipeline.path(deleted), &aside)?;
        pipeline.events("2.jsonl", &changes(4))?;
        for _ in 0..2 {
            pipeline.run()?.expect(2, &["is gone", deleted, "Put it back", "another `path`"])?;
            ensure!(!pipeline.path(deleted).exists());
        }
        // One way out: it is put back.
        std::fs::rename(&aside, pipeline.path(deleted))?;
        pipeline.run()?.expect(0, &[])?;
        ensure!(pipeline.table("inserts")?.rows.len() == 4 && pipeline.table("updates")?.rows.len() == 2);
        // The other: a new table, which gets what comes now.
        std::fs::remove_dir_all(pipeline.path(deleted))?;
        pipeline.events("3.jsonl", &changes(7))?;
        pipeline.spec["sinks"][deleted]["delta"]["path"] = json!("lake/anew");
        pipeline.run()?.expect(0, &["the rows from now on"])?;
        let (anew, other) =
            (pipeline.table("anew")?.rows.len(), if deleted == "inserts" { "updates" } else { "inserts" });
        ensure!(anew == if deleted == "inserts" { 2 } else { 1 }, "{deleted}: {anew}");
        ensure!(pipeline.table(other)?.rows.len() == if other == "inserts" { 6 } else { 3 });
        // Nothing more is missing, and nothing is written again.
        let report = pipeline.run()?.report()?;
        ensure!(report["rows_in"] == 0, "{report}");
        // Dead letters that somebody deletes are not wanted back.
        pipeline.events("4.jsonl", b"nonsense\n")?;
        pipeline.run()?.expect(0, &[])?;
        std::fs::remove_dir_all(pipeline.path("_dead"))?;
        pipeline.events("5.jsonl", &changes(10))?;
        pipeline.run()?.expect(0, &[])?;
        ensure!(pipeline.table(other)?.rows.len() == if other == "inserts" { 8 } else { 4 });
    }
    Ok(())
}
