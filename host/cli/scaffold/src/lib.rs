//! {{name}}: drops cancelled orders, masks e-mail addresses and adds the gross total.

use lakemill_guest::{Change, Config, Emit, Output, Row, transform};

/// The columns that this transform reads; the others pass through on the host.
#[derive(Row)]
struct Order<'a> {
    status: &'a str,
    email: &'a str,
    total: f64,
}

/// The columns that it makes, beside a copy of the row.
#[derive(Output)]
#[output(name = "orders", key = ["id"], copy(row))]
struct Clean {
    email: String,
    gross: f64,
}

/// What the pipeline file may say under `config`.
#[derive(Config)]
struct Settings {
    /// Tax on top of the net total.
    #[config(default = 0.2)]
    tax_rate: f64,
}

/// One change in, none, one or several out. A row that leaves the filter becomes a delete.
#[transform]
fn {{function}}(change: &Change<Order>, settings: &Settings) -> Emit<Clean> {
    change.filter(|order| order.status != "cancelled").map(|order| Clean {
        email: masked(order.email),
        gross: order.total * (1.0 + settings.tax_rate),
    })
}

/// `anna@example.com` becomes `a***@example.com`.
fn masked(email: &str) -> String {
    let (name, host) = email.split_once('@').unwrap_or((email, ""));
    let first: String = name.chars().take(1).collect();
    if host.is_empty() { format!("{first}***") } else { format!("{first}***@{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_masked_and_the_host_is_not() {
        assert_eq!(masked("anna@example.com"), "a***@example.com");
        assert_eq!(masked("nonsense"), "n***");
    }

    #[test]
    fn the_cases_hold() {
        lakemill_guest::testing::run_cases(&TRANSFORM, "cases");
    }
}
