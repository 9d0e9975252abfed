//! How fast events are decoded on one thread: events/s by what is read of them, with and without the schema part.
//!
//! `cargo run --release -p lakemill-decode --example throughput [ROUNDS]`

use std::time::Instant;

use lakemill_decode::{Columns, Decoder, DecoderConfig, Projection};
use lakemill_model::{RawBatch, RecordRef};

const ROWS: usize = 40_000;

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(9);
    let some = |names: &[&str]| Columns::Some(names.iter().map(|&name| name.to_owned()).collect());
    // What `clean` reads: three columns of before, and the row.
    let clean = Projection {
        key: Columns::None,
        before: some(&["status", "email", "total"]),
        after: some(&["status", "email", "total"]),
        row: Columns::All,
        positions: false,
        origins: false,
    };
    for (name, projection) in [("everything", Projection::all()), ("what `clean` reads", clean)] {
        for schema in [false, true] {
            let batch = batch(schema);
            let decoder = Decoder::new(
                DecoderConfig { projection: projection.clone(), ..DecoderConfig::default() },
                Box::new(|_, s| Ok(s)),
            );
            let mut best = f64::MAX;
            for _ in 0..rounds {
                let started = Instant::now();
                let decoded = decoder.decode(&batch).expect("decodes");
                best = best.min(started.elapsed().as_secs_f64());
                assert_eq!(decoded.batches.iter().map(|b| b.len()).sum::<usize>(), ROWS);
            }
            println!(
                "{name}, {} the schema part: {:.0} events/s, {:.0} ns each, {:.0} MB/s ({} B an event)",
                if schema { "with" } else { "without" },
                ROWS as f64 / best,
                best * 1e9 / ROWS as f64,
                batch.bytes() as f64 / best / 1e6,
                batch.bytes() / ROWS
            );
        }
    }
}

/// 40 % inserts, 50 % updates, 10 % deletes of a row of 12 columns.
fn batch(with_schema: bool) -> RawBatch {
    let mut batch = RawBatch::default();
    let schema = schema();
    for n in 0..ROWS as u64 {
        let key = format!("{{\"id\":{n}}}");
        let row = |total: u64| {
            format!(
                "{{\"id\":{n},\"customer_id\":{},\"total\":{}.{:02},\"status\":\"{}\",\"email\":\"user{}@example.com\",\"note\":\"please \
                 leave the parcel at the back door no {}\",\"quantity\":{},\"created_at\":{},\"paid\":{},\"sku\":\"SKU-{:06}\",\
                 \"region\":\"eu-west\",\"discount\":0.{:03}}}",
                n * 7 % 200_000,
                total / 100,
                total % 100,
                ["new", "paid", "shipped", "cancelled"][n as usize % 4],
                n * 31 % 1_000_000,
                n * 977 % 1_000_000_000,
                n % 19 + 1,
                1_760_000_000_000_000u64 + n * 1000,
                n % 2 == 0,
                n % 100_000,
                n % 1000
            )
        };
        let (op, before, after) = match n % 10 {
            0..4 => ("c", "null".into(), row(n % 90_000)),
            4..9 => ("u", row(n % 90_000), row(n % 80_000)),
            _ => ("d", row(n % 90_000), "null".into()),
        };
        let lsn = 10_000_000 + n * 100;
        let payload = format!(
            "{{\"before\":{before},\"after\":{after},\"source\":{{\"version\":\"3.3.0.Final\",\"connector\":\"postgresql\",\"name\":\"shop\",\
             \"ts_ms\":{ts},\"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\"schema\":\"public\",\"table\":\
             \"orders\",\"txId\":{n},\"lsn\":{lsn},\"xmin\":null}},\"op\":\"{op}\",\"ts_ms\":{ts},\"transaction\":null}}",
            lsn - 8,
            ts = 1_760_000_000_000u64 + n
        );
        let value = if with_schema { format!("{{\"schema\":{schema},\"payload\":{payload}}}") } else { payload };
        batch.push(RecordRef {
            topic: "shop.public.orders",
            partition: 0,
            offset: n as i64,
            timestamp_ms: Some(0),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
        });
    }
    batch
}

fn schema() -> String {
    let fields = [
        ("id", "int64"),
        ("customer_id", "int64"),
        ("total", "double"),
        ("status", "string"),
        ("email", "string"),
        ("note", "string"),
        ("quantity", "int32"),
        ("created_at", "int64"),
        ("paid", "boolean"),
        ("sku", "string"),
        ("region", "string"),
        ("discount", "double"),
    ];
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, of)| format!("{{\"type\":\"{of}\",\"optional\":{},\"field\":\"{name}\"}}", *name != "id"))
        .collect();
    let row = |name: &str| {
        format!(
            "{{\"type\":\"struct\",\"fields\":[{}],\"optional\":true,\"name\":\"shop.public.orders.Value\",\"field\":\"{name}\"}}",
            fields.join(",")
        )
    };
    format!(
        "{{\"type\":\"struct\",\"fields\":[{},{},{{\"type\":\"string\",\"optional\":false,\"field\":\"op\"}}],\"optional\":false,\
         \"name\":\"shop.public.orders.Envelope\"}}",
        row("before"),
        row("after")
    )
}
