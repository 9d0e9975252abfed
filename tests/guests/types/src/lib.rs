//! Reads a column of every type and makes one of it, beside the copy that the host makes: cases that hold natively and against the
//! component show that both decode alike and show cells alike.

use lakemill_guest::{
    Cell, Change, Config, Date, Decimal, Emit, Error, Json, Output, Reject, Row, Timestamp, reject, transform,
};

#[derive(Row)]
struct Every<'a> {
    flag: Cell<bool>,
    small: Cell<i32>,
    large: Cell<i64>,
    single: Cell<f32>,
    double: Cell<f64>,
    price: Cell<Decimal>,
    day: Cell<Date>,
    at: Cell<Timestamp>,
    word: Cell<&'a str>,
    raw: Cell<&'a [u8]>,
    more: Cell<Json<&'a str>>,
}

#[derive(Output)]
#[output(name = "every", copy(row))]
struct Made<'a> {
    made_flag: Cell<bool>,
    made_small: Cell<i32>,
    made_large: Cell<i64>,
    made_single: Cell<f32>,
    made_double: Cell<f64>,
    #[output(decimal(38, 4))]
    made_price: Cell<Decimal>,
    made_day: Cell<Date>,
    made_at: Cell<Timestamp>,
    made_word: Cell<&'a str>,
    made_raw: Cell<&'a [u8]>,
    made_more: Cell<Json<&'a str>>,
    /// What became of the cells, by their first letters: v, n, u.
    states: String,
}

/// How it ends a case.
#[derive(Config)]
struct Settings {
    /// `panic` or `reject` on the word `bad`.
    #[config(default)]
    on_bad: String,
}

fn state<T>(cell: &Cell<T>) -> char {
    match cell {
        Cell::Value(_) => 'v',
        Cell::Null => 'n',
        Cell::Unchanged => 'u',
    }
}

#[transform]
fn types<'a>(change: &Change<'_, Every<'a>>, settings: &Settings) -> Result<Emit<Made<'a>>, Reject> {
    change.try_map(|row| {
        if row.word == Cell::Value("bad") {
            match settings.on_bad.as_str() {
                "panic" => panic!("the word is bad"),
                "reject" => reject!("the word is bad"),
                other => return Err(Error::new(format_args!("on_bad is `{other}`")).into()),
            }
        }
        let states = [
            state(&row.flag),
            state(&row.small),
            state(&row.large),
            state(&row.single),
            state(&row.double),
            state(&row.price),
            state(&row.day),
            state(&row.at),
            state(&row.word),
            state(&row.raw),
            state(&row.more),
        ];
        Ok(Made {
            made_flag: row.flag,
            made_small: row.small,
            made_large: row.large,
            made_single: row.single,
            made_double: row.double,
            made_price: row.price,
            made_day: row.day,
            made_at: row.at,
            made_word: row.word,
            made_raw: row.raw,
            made_more: row.more,
            states: states.into_iter().collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cases_hold_natively() {
        assert_eq!(lakemill_guest::testing::run_cases(&super::TRANSFORM, "cases"), 9);
    }
}
