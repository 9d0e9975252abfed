//! A transform of a hundred lines, for `lakemill-bench save`: what a team writes in its first week.

use lakemill_guest::{Change, Config, Emit, Output, Row, transform};

/// The columns that it reads.
#[derive(Row)]
struct Order<'a> {
    status: Option<&'a str>,
    email: Option<&'a str>,
    total: Option<f64>,
    quantity: Option<i64>,
}

/// The columns that it makes, beside a copy of the row.
#[derive(Output)]
#[output(name = "orders", key = ["id"], copy(row))]
struct Enriched<'a> {
    /// `anna@example.com` as `a***@example.com`.
    masked: Option<String>,
    /// The mailbox's host, in lower case.
    host: Option<String>,
    gross: Option<f64>,
    /// Of the gross total.
    band: Option<&'a str>,
    /// Per piece.
    price: Option<f64>,
    is_bulk: Option<bool>,
}

/// What the pipeline file may say under `config`.
#[derive(Config)]
struct Settings {
    /// Tax on top of the net total.
    #[config(default = 0.2)]
    tax_rate: f64,
    /// Rows of these states are left out.
    #[config(default = ["cancelled"])]
    dropped: Vec<String>,
    /// Pieces from which on an order is one in bulk.
    #[config(default = 10)]
    bulk: i64,
}

/// This line is what `lakemill-bench save` changes.
const ROUND: f64 = 0.0;

#[transform]
fn hundred<'a>(change: &Change<'_, Order<'a>>, settings: &Settings) -> Emit<Enriched<'a>> {
    change.filter(|order| is_kept(order.status, &settings.dropped)).map(|order| {
        let gross = order.total.map(|total| cents(total * (1.0 + settings.tax_rate)) + ROUND);
        Enriched {
            masked: order.email.map(masked),
            host: order.email.and_then(host),
            gross,
            band: gross.map(band),
            price: price(gross, order.quantity),
            is_bulk: order.quantity.map(|quantity| quantity >= settings.bulk),
        }
    })
}

fn is_kept(status: Option<&str>, dropped: &[String]) -> bool {
    status.is_none_or(|status| dropped.iter().all(|dropped| dropped != status))
}

/// To the nearest cent.
fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

/// The first letter, three stars, and the host.
fn masked(email: &str) -> String {
    let first: String = email.chars().take(1).collect();
    match email.split_once('@') {
        Some((_, host)) => format!("{first}***@{host}"),
        None => format!("{first}***"),
    }
}

/// What comes after the `@`.
fn host(email: &str) -> Option<String> {
    let (_, host) = email.split_once('@')?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// What the sales team calls it.
fn band(gross: f64) -> &'static str {
    match gross {
        gross if gross < 50.0 => "small",
        gross if gross < 500.0 => "medium",
        gross if gross < 5_000.0 => "large",
        _ => "account manager",
    }
}

/// Nothing for orders without pieces.
fn price(gross: Option<f64>, quantity: Option<i64>) -> Option<f64> {
    let quantity = quantity.filter(|quantity| *quantity > 0)?;
    gross.map(|gross| cents(gross / quantity as f64))
}
