//! `clean`: drops rows by status, masks e-mail addresses, adds a gross total. The pattern: filter, mask, derive.

use lakemill_guest::{Change, Config, Emit, Output, Renames, Row, transform};

#[derive(Row)]
struct Order<'a> {
    status: Option<&'a str>,
    email: Option<&'a str>,
    total: Option<f64>,
}

/// What is read of the row before an update: only what the filter asks.
#[derive(Row)]
struct Before<'a> {
    status: Option<&'a str>,
}

#[derive(Output)]
#[output(name = "orders", key = ["id"], copy(row))]
struct Clean<'a> {
    /// `anna@example.com` as `a***@example.com`.
    email: Option<[&'a str; 3]>,
    gross: Option<f64>,
}

/// What the pipeline file may say under `config`.
#[derive(Config)]
struct Settings {
    /// Rows of these states are left out; one that gets such a state is deleted.
    #[config(default = ["cancelled"])]
    dropped: Vec<String>,
    /// Tax on top of the net total: 0.2 makes 120 of 100.
    #[config(default = 0.2)]
    tax_rate: f64,
    /// Other names of the columns `status`, `email`, `total`, `gross` and `id`.
    columns: Renames,
}

#[transform]
fn clean<'a>(change: &Change<'_, Order<'a>, Before<'a>>, settings: &Settings) -> Emit<Clean<'a>> {
    let kept =
        |status: Option<&str>| status.is_none_or(|status| settings.dropped.iter().all(|dropped| dropped != status));
    change.filter_by(|order| kept(order.status), |before| kept(before.status)).map(|order| Clean {
        email: order.email.map(masked),
        gross: order.total.map(|total| total * (1.0 + settings.tax_rate)),
    })
}

/// The first letter, three stars, and the domain from its `@` on.
fn masked(email: &str) -> [&str; 3] {
    let first = email.chars().next().map_or(0, char::len_utf8);
    let domain = email.find('@').map_or("", |at| &email[at..]);
    [if email.starts_with('@') { "" } else { &email[..first] }, "***", domain]
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn only_the_first_letter_and_the_domain_stay() {
        for (email, expected) in
            [("anna@x.de", "a***@x.de"), ("übel@x.de", "ü***@x.de"), ("@x", "***@x"), ("nobody", "n***"), ("", "***")]
        {
            assert_eq!(masked(email).concat(), expected);
        }
    }

    #[test]
    fn the_cases_hold_natively() {
        assert_eq!(lakemill_guest::testing::run_cases(&super::TRANSFORM, "cases"), 6);
    }
}
