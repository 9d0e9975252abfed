//! Debezium change events of an orders table, made from a seed, with what must become of each: the oracle. Small and
//! plain on purpose; it shares no code with what it checks.

mod broken;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

pub use broken::{Breakage, broken};

use crate::broker::Record;
use crate::table::Row;

/// Orders of this total and more are poison: the component `vary` (tests/guests/vary) fails on them. A [`Mix`] has them only if it says so.
pub const POISON: f64 = 900.0;

/// Debezium's text for a column that the change left alone and the database did not send.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A row of the table, as Debezium writes it without a schema part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Order {
    /// The primary key.
    pub id: i64,
    /// Whose.
    pub customer_id: i64,
    /// Money.
    pub total: f64,
    /// new, paid, shipped, cancelled or returned.
    pub status: &'static str,
    /// Null now and then.
    pub email: Option<String>,
    /// A long text that PostgreSQL keeps apart (TOAST); [`UNAVAILABLE`] where a change did not touch it.
    pub note: String,
    /// Pieces.
    pub quantity: i32,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Whether the money came.
    pub paid: bool,
    /// What.
    pub sku: String,
    /// eu-west, us-east or ap-south.
    pub region: &'static str,
    /// From 0 to 1; null now and then.
    pub discount: Option<f64>,
}

/// What happened to a row.
#[derive(Clone, Debug)]
pub struct Change {
    /// r, c, u or d.
    pub op: char,
    /// The primary key.
    pub id: i64,
    /// The row before, if the event tells.
    pub before: Option<Order>,
    /// The row after, with [`UNAVAILABLE`] where the event does not tell.
    pub after: Option<Order>,
    /// The time of the commit at the database, in microseconds since 1970.
    pub event_time_us: i64,
    /// The row as it really is afterwards; `None` if it is gone.
    pub image: Option<Order>,
}

/// What must become of an event.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It reaches the transform.
    Change(Box<Change>),
    /// It is read and has no row: a tombstone, a heartbeat.
    Control,
    /// It goes to the dead letters.
    Dead(Breakage),
}

/// A record, and what must become of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The key; `None`: a null key.
    pub key: Option<Vec<u8>>,
    /// The value; `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// What must become of it.
    pub fate: Fate,
}

/// How often things happen, in 1 of this many events; 0: never.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Broken events.
    pub broken: u32,
    /// Updates that leave the note alone, so that the event does not tell it.
    pub toast: u32,
    /// Deletes.
    pub delete: u32,
    /// Changes to a total of [`POISON`] or more; a delete of such a row is poison, too.
    pub poison: u32,
    /// Snapshot rows at the start, in place of creates.
    pub snapshot_rows: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { broken: 200, toast: 10, delete: 10, poison: 0, snapshot_rows: 20 }
    }
}

/// The table, and the random choices of what happens to it.
#[derive(Clone, Debug)]
pub struct Orders {
    random: fastrand::Rng,
    mix: Mix,
    live: BTreeMap<i64, Order>,
    made: u32,
    next_id: i64,
    lsn: i64,
    time_ms: i64,
    /// A tombstone that follows a delete.
    tombstone_of: Option<i64>,
}

impl Orders {
    /// An empty table; the same seed gives the same events.
    pub fn new(seed: u64, mix: Mix) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            mix,
            live: BTreeMap::new(),
            made: 0,
            next_id: 1,
            lsn: 10_000_000,
            time_ms: 1_760_000_000_000,
            tombstone_of: None,
        }
    }

    /// Events with the default mix.
    pub fn events(seed: u64, count: usize) -> Vec<Event> {
        Self::new(seed, Mix::default()).take(count).collect()
    }

    fn one_in(&mut self, n: u32) -> bool {
        n > 0 && self.random.u32(0..n) == 0
    }

    fn total(&mut self) -> f64 {
        let cents = if self.one_in(self.mix.poison) { 90_000..100_000 } else { 100..90_000 };
        f64::from(self.random.u32(cents)) / 100.0
    }

    fn fresh(&mut self, id: i64) -> Order {
        let (customer_id, total) = (self.random.i64(0..5_000), self.total());
        let r = &mut self.random;
        Order {
            id,
            customer_id,
            total,
            status: r.choice(&STATUS).unwrap_or(&STATUS[0]),
            email: (r.u32(0..20) > 0).then(|| format!("user{}@example.com", r.u32(..))),
            note: format!("leave it with the neighbour, häuser nr. {}", r.u32(..)),
            quantity: r.i32(1..20),
            created_at: self.time_ms * 1000,
            paid: r.bool(),
            sku: format!("SKU-{:06}", r.u32(0..100_000)),
            region: r.choice(&["eu-west", "us-east", "ap-south"]).unwrap_or(&"eu-west"),
            discount: (r.u32(0..10) > 0).then(|| f64::from(r.u32(0..1000)) / 1000.0),
        }
    }

    fn any_live(&mut self) -> Option<Order> {
        let from = self.random.i64(0..self.next_id);
        let (_, order) = self.live.range(from..).next().or_else(|| self.live.iter().next())?;
        Some(order.clone())
    }

    fn change(&mut self) -> Change {
        let change = self.draw();
        match &change.image {
            Some(order) => drop(self.live.insert(change.id, order.clone())),
            None => drop(self.live.remove(&change.id)),
        }
        change
    }

    /// A change that has not happened yet.
    fn draw(&mut self) -> Change {
        self.time_ms += self.random.i64(0..3);
        self.lsn += self.random.i64(8..200);
        let old = if self.random.u32(0..10) < 4 { None } else { self.any_live() };
        let mut change = match old {
            None => self.create(),
            Some(old) if self.one_in(self.mix.delete) => {
                Change { op: 'd', id: old.id, before: Some(old), after: None, event_time_us: 0, image: None }
            }
            Some(old) => self.update(old),
        };
        change.event_time_us = self.time_ms * 1000;
        change
    }

    fn create(&mut self) -> Change {
        let id = self.next_id;
        self.next_id += 1;
        let order = self.fresh(id);
        let op = if self.made <= self.mix.snapshot_rows { 'r' } else { 'c' };
        Change { op, id, before: None, after: Some(order.clone()), event_time_us: 0, image: Some(order) }
    }

    fn update(&mut self, old: Order) -> Change {
        let mut new = old.clone();
        new.total = self.total();
        new.status = self.random.choice(&STATUS).unwrap_or(&STATUS[0]);
        new.paid = self.random.bool();
        let (before, after) = if self.one_in(self.mix.toast) {
            // As PostgreSQL does by default: no old row, and not what is stored apart and did not change.
            (None, Order { note: UNAVAILABLE.into(), ..new.clone() })
        } else {
            new.note = format!("{} again", old.note.trim_end_matches(" again"));
            (Some(old), new.clone())
        };
        Change { op: 'u', id: new.id, before, after: Some(after), event_time_us: 0, image: Some(new) }
    }

    fn event(&mut self, change: Change) -> Event {
        if change.op == 'd' {
            self.tombstone_of = Some(change.id);
        }
        let value = envelope(&change, self.lsn, u64::from(self.made / 3));
        Event { key: Some(key(change.id)), value: Some(value.into_bytes()), fate: Fate::Change(Box::new(change)) }
    }
}

const STATUS: [&str; 5] = ["new", "paid", "shipped", "cancelled", "returned"];

fn key(id: i64) -> Vec<u8> {
    json!({ "id": id }).to_string().into_bytes()
}

/// The event's value as Debezium writes it, without a schema part.
pub fn envelope(change: &Change, lsn: i64, tx_id: u64) -> String {
    let image = |order: &Option<Order>| serde_json::to_string(order).unwrap_or_default();
    let (before, after) = (image(&change.before), image(&change.after));
    let (op, time_ms, sent_ms) = (change.op, change.event_time_us / 1000, change.event_time_us / 1000 + 5);
    let (snapshot, commit_lsn) = (op == 'r', lsn - 8);
    format!(
        r#"{{"before":{before},"after":{after},"source":{{"version":"3.3.1.Final","connector":"postgresql","name":"shop","#
    ) + &format!(
        r#""ts_ms":{time_ms},"snapshot":"{snapshot}","db":"shop","sequence":"[\"{commit_lsn}\",\"{lsn}\"]","schema":"public","#
    ) + &format!(
        r#""table":"orders","txId":{tx_id},"lsn":{lsn},"xmin":null}},"transaction":null,"op":"{op}","ts_ms":{sent_ms}}}"#
    )
}

impl Iterator for Orders {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(id) = self.tombstone_of.take() {
            return Some(Event { key: Some(key(id)), value: None, fate: Fate::Control });
        }
        self.made += 1;
        // The first events are whole, so that column types can be inferred from them.
        if self.made > 50 && self.one_in(self.mix.broken) {
            let what = *self.random.choice(Breakage::ALL).unwrap_or(&Breakage::Cut);
            // It never happens.
            let (random, next_id, time_ms, lsn) = (self.random.clone(), self.next_id, self.time_ms, self.lsn);
            let change = self.draw();
            (self.random, self.next_id, self.time_ms, self.lsn) = (random, next_id, time_ms, lsn);
            return Some(broken(what, &change, self.lsn));
        }
        let change = self.change();
        Some(self.event(change))
    }
}

/// What became of the table: its rows after all changes.
pub fn fold<'a>(changes: impl IntoIterator<Item = &'a Change>) -> BTreeMap<i64, Order> {
    let mut rows = BTreeMap::new();
    for change in changes {
        match &change.image {
            Some(order) => rows.insert(change.id, order.clone()),
            None => rows.remove(&change.id),
        };
    }
    rows
}

/// The changes among events.
pub fn changes(events: &[Event]) -> impl Iterator<Item = &Change> {
    events.iter().filter_map(|event| match &event.fate {
        Fate::Change(change) => Some(&**change),
        Fate::Control | Fate::Dead(_) => None,
    })
}

/// How many events there are of each fate: changes, control records, dead letters.
pub fn count(events: &[Event]) -> (u64, u64, u64) {
    events.iter().fold((0, 0, 0), |(changes, control, dead), event| match event.fate {
        Fate::Change(_) => (changes + 1, control, dead),
        Fate::Control => (changes, control + 1, dead),
        Fate::Dead(_) => (changes, control, dead + 1),
    })
}

/// The events as records of a topic, spread over partitions so that a row's changes keep together.
pub fn records(events: &[Event], partitions: i32) -> Vec<Record> {
    let place = |key: &Option<Vec<u8>>| {
        let sum = key.iter().flatten().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        i32::try_from(sum % partitions.unsigned_abs()).unwrap_or(0)
    };
    events
        .iter()
        .map(|event| Record {
            partition: place(&event.key),
            key: event.key.clone(),
            value: event.value.clone(),
            time_ms: None,
        })
        .collect()
}

/// The events as lines of a `key_value` file.
pub fn lines(events: &[Event]) -> Vec<u8> {
    let mut lines = Vec::new();
    for event in events {
        lines.extend_from_slice(event.key.as_deref().unwrap_or_default());
        lines.push(b'\t');
        lines.extend_from_slice(event.value.as_deref().unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

/// An order as a row of a table, each name with `prefix`; all null if there is none. Where the event does not tell
/// the note, it is null.
pub fn columns(prefix: &str, order: Option<&Order>, into: &mut Row) {
    let template = Order {
        id: 0,
        customer_id: 0,
        total: 0.0,
        status: "",
        email: None,
        note: String::new(),
        quantity: 0,
        created_at: 0,
        paid: false,
        sku: String::new(),
        region: "",
        discount: None,
    };
    let Ok(Value::Object(cells)) = serde_json::to_value(order.unwrap_or(&template)) else { return };
    for (name, cell) in cells {
        let told = order.is_some() && cell != UNAVAILABLE;
        into.insert(format!("{prefix}{name}"), if told { cell } else { Value::Null });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_events_and_another_one_others() {
        let bytes = |seed| lines(&Orders::events(seed, 500));
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    #[test]
    fn everything_happens() {
        let events = Orders::events(1, 5_000);
        let (alive, control, dead) = count(&events);
        assert_eq!(alive + control + dead, 5_000);
        assert!(dead > 10, "{dead} broken events");
        for op in ['r', 'c', 'u', 'd'] {
            assert!(changes(&events).filter(|c| c.op == op).count() > 5, "{op}");
        }
        let deletes = changes(&events).filter(|c| c.op == 'd').count() as u64;
        assert!(control == deletes || control + 1 == deletes, "a tombstone follows each delete");
        let untold = |c: &&Change| c.after.as_ref().is_some_and(|after| after.note == UNAVAILABLE);
        assert!(changes(&events).filter(untold).count() > 50);
    }

    #[test]
    fn the_fold_is_the_table() {
        let mut orders = Orders::new(3, Mix::default());
        let events: Vec<_> = orders.by_ref().take(3_000).collect();
        assert_eq!(fold(changes(&events)), orders.live);
        assert!(orders.live.values().all(|order| order.note != UNAVAILABLE));
    }
}
