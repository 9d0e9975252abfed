//! A made-up shop: Debezium PostgreSQL change events of an `orders` table, for the demo and the benchmarks.
//!
//! 40 % inserts, 50 % updates, 10 % deletes over the rows that exist by then; about 740 bytes an event. The same seed gives
//! the same events.

use std::io::Write;

use fastrand::Rng;

const STATUS: [&str; 5] = ["new", "paid", "shipped", "cancelled", "returned"];
const REGION: [&str; 3] = ["eu-west", "us-east", "ap-south"];

/// What is generated.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Seed of everything random.
    pub seed: u64,
    /// At most this many orders exist at a time.
    pub keys_max: usize,
    /// One event in so many is broken, in turn in five ways; 0: none.
    pub broken_every: u64,
    /// Event time of the first event, in milliseconds since 1970; the following ones come 0 to 2 ms apart.
    pub start_ms: i64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { seed: 1, keys_max: 1_000_000, broken_every: 0, start_ms: 1_760_000_000_000 }
    }
}

/// What has been generated so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Events of op `c`.
    pub creates: u64,
    /// Events of op `u`.
    pub updates: u64,
    /// Events of op `d`.
    pub deletes: u64,
    /// Broken ones.
    pub broken: u64,
}

#[derive(Clone, Copy)]
struct Order {
    id: u64,
    customer: u32,
    total_cents: u32,
    status: u8,
    email: u32,
    note: u32,
    quantity: u8,
    created_ms: i64,
    paid: bool,
    sku: u32,
    region: u8,
    discount_milli: u16,
}

/// Makes events, one after the other.
pub struct Orders {
    rng: Rng,
    shape: Shape,
    live: Vec<Order>,
    next_id: u64,
    lsn: u64,
    now_ms: i64,
    count: u64,
    made: Made,
}

impl Orders {
    /// A shop without orders.
    pub fn new(shape: Shape) -> Self {
        let rng = Rng::with_seed(shape.seed);
        let (now_ms, made) = (shape.start_ms, Made::default());
        Self { rng, shape, live: Vec::new(), next_id: 1, lsn: 10_000_000, now_ms, count: 0, made }
    }

    /// What has been generated so far.
    pub fn made(&self) -> Made {
        self.made
    }

    /// Sets the event time of what follows, for a live stream.
    pub fn set_now_ms(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
    }

    /// Writes the next event over `key` and `value`; returns the order's id.
    pub fn next(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> u64 {
        self.now_ms += self.rng.i64(0..3);
        self.lsn += self.rng.u64(8..200);
        self.count += 1;
        let dice = self.rng.f64();
        let (op, before, after) = if self.live.is_empty() || (dice < 0.4 && self.live.len() < self.shape.keys_max) {
            let order = self.new_order();
            self.live.push(order);
            self.made.creates += 1;
            ('c', None, Some(order))
        } else if dice < 0.9 {
            let place = self.rng.usize(..self.live.len());
            let before = self.live[place];
            let mut after = before;
            after.total_cents = self.rng.u32(100..90_000);
            after.status = self.rng.u8(0..5);
            self.live[place] = after;
            self.made.updates += 1;
            ('u', Some(before), Some(after))
        } else {
            let place = self.rng.usize(..self.live.len());
            self.made.deletes += 1;
            ('d', Some(self.live.swap_remove(place)), None)
        };
        let id = after.or(before).map_or(0, |order| order.id);
        key.clear();
        value.clear();
        put(key, format_args!("{{\"id\":{id}}}"));
        self.envelope(value, op, before, after);
        if self.shape.broken_every > 0 && self.count.is_multiple_of(self.shape.broken_every) {
            self.unmake(op);
            self.break_it(value);
        }
        id
    }

    fn new_order(&mut self) -> Order {
        let id = self.next_id;
        self.next_id += 1;
        let rng = &mut self.rng;
        Order {
            id,
            customer: rng.u32(0..200_000),
            total_cents: rng.u32(100..90_000),
            status: rng.u8(0..5),
            email: rng.u32(0..1_000_000),
            note: rng.u32(0..1_000_000_000),
            quantity: rng.u8(1..20),
            created_ms: self.now_ms,
            paid: rng.bool(),
            sku: rng.u32(0..100_000),
            region: rng.u8(0..3),
            discount_milli: rng.u16(0..1000),
        }
    }

    fn envelope(&self, out: &mut Vec<u8>, op: char, before: Option<Order>, after: Option<Order>) {
        for (name, image) in [("{\"before\":", before), (",\"after\":", after)] {
            out.extend_from_slice(name.as_bytes());
            match image {
                Some(order) => put_order(out, &order),
                None => out.extend_from_slice(b"null"),
            }
        }
        let (lsn, now, tx) = (self.lsn, self.now_ms, self.count / 3);
        put(
            out,
            format_args!(
                ",\"source\":{{\"version\":\"3.3.1.Final\",\"connector\":\"postgresql\",\"name\":\"shop\",\"ts_ms\":{now},\
                 \"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\"schema\":\"public\",\
                 \"table\":\"orders\",\"txId\":{tx},\"lsn\":{lsn},\"xmin\":null}},\"op\":\"{op}\",\"ts_ms\":{},\
                 \"transaction\":null}}",
                lsn - 8,
                now + 5
            ),
        );
    }

    /// A broken event changes nothing that counts.
    fn unmake(&mut self, op: char) {
        match op {
            'c' => self.made.creates -= 1,
            'u' => self.made.updates -= 1,
            _ => self.made.deletes -= 1,
        }
        self.made.broken += 1;
    }

    fn break_it(&self, value: &mut Vec<u8>) {
        match (self.count / self.shape.broken_every) % 5 {
            0 => value.truncate(value.len() / 2),
            1 => replace(value, "\"id\":", "\"id\":\"x\",\"_\":"),
            2 => replace(value, "\"op\":\"", "\"po\":\""),
            3 => replace(value, "\"op\":\"", "\"op\":\"q"),
            _ => replace(value, "\"quantity\":", "\"quantity\":9999999999999999999"),
        }
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes what it is given");
}

fn put_order(out: &mut Vec<u8>, order: &Order) {
    put(
        out,
        format_args!(
            "{{\"id\":{},\"customer_id\":{},\"total\":{}.{:02},\"status\":\"{}\",\"email\":\"user{}@example.com\",\
             \"note\":\"please leave the parcel at the back door no {}\",\"quantity\":{},\"created_at\":{},\"paid\":{},\
             \"sku\":\"SKU-{:06}\",\"region\":\"{}\",\"discount\":0.{:03}}}",
            order.id,
            order.customer,
            order.total_cents / 100,
            order.total_cents % 100,
            STATUS[usize::from(order.status)],
            order.email,
            order.note,
            order.quantity,
            order.created_ms * 1000,
            order.paid,
            order.sku,
            REGION[usize::from(order.region)],
            order.discount_milli,
        ),
    );
}

/// Replaces every `from`: in both images, since nobody may read one of them.
fn replace(value: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8_lossy(value).replace(from, to);
    *value = text.into_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_debezium_json_of_the_expected_size() {
        let mut orders = Orders::new(Shape::default());
        let (mut key, mut value, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..10_000 {
            let id = orders.next(&mut key, &mut value);
            bytes += value.len();
            let event: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
            let row = if event["op"] == "d" { &event["before"] } else { &event["after"] };
            assert_eq!(row["id"], id);
            assert_eq!(row.as_object().expect("a row").len(), 12);
            assert_eq!(event["before"].is_null(), event["op"] == "c");
            assert!(event["source"]["lsn"].is_u64());
        }
        let made = orders.made();
        assert_eq!(made.creates + made.updates + made.deletes, 10_000);
        assert!((650..800).contains(&(bytes / 10_000)), "{}", bytes / 10_000);
        assert!((3_500..4_500).contains(&made.creates) && (500..1_500).contains(&made.deletes), "{made:?}");
    }

    #[test]
    fn one_in_so_many_is_broken_and_counted() {
        let mut orders = Orders::new(Shape { broken_every: 10, ..Shape::default() });
        let (mut key, mut value, mut broken) = (Vec::new(), Vec::new(), 0);
        for _ in 0..1000 {
            orders.next(&mut key, &mut value);
            let event: Option<serde_json::Value> = serde_json::from_slice(&value).ok();
            let fine = event.is_some_and(|event| {
                let row = if event["op"] == "d" { &event["before"] } else { &event["after"] };
                matches!(event["op"].as_str(), Some("c" | "u" | "d"))
                    && row["quantity"].as_i64().is_some_and(|q| q < 100)
                    && ["before", "after"].iter().all(|i| event[i].is_null() || event[i]["id"].is_u64())
            });
            broken += u64::from(!fine);
        }
        assert_eq!((broken, orders.made().broken), (100, 100));
    }
}
