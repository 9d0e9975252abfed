//! A guest's words in the host's log: marked, bounded, harmless.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use lakemill_model::Transform;
use lakemill_runtime::{BatchLog, LoadOptions, LogLevel};

use crate::batches::{CLOCK, small};
use crate::guests::{engine, hostile, options, probe};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the host logs while a guest transforms one batch in so many calls.
fn logged(guest: &[u8], config: &str, log: LogLevel, calls: usize) -> Vec<serde_json::Value> {
    let lines = Lines::default();
    let sink = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || sink.clone())
        .finish();
    let options = LoadOptions { name: "clean_orders".into(), log, ..options(config) };
    let component = engine().load(guest, options).expect("loads");
    tracing::subscriber::with_default(subscriber, || {
        let _batch = BatchLog::begin();
        for _ in 0..calls {
            component.transform(&small(1), CLOCK).expect("answers");
        }
    });
    let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = String::from_utf8(bytes).expect("is text");
    text.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect()
}

#[test]
fn levels_and_names() {
    let lines = logged(&probe(), r#"{"do": "log"}"#, LogLevel::Debug, 1);
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!(
                (&line["target"], &line["fields"]["component"]),
                (&"lakemill::guest".into(), &"clean_orders".into())
            );
            (line["level"].as_str().expect("text"), line["fields"]["message"].as_str().expect("text"))
        })
        .collect();
    let wanted = [
        ("DEBUG", "Level::Debug\\nof probe"),
        ("INFO", "Level::Info\\nof probe"),
        ("WARN", "Level::Warn\\nof probe"),
        ("ERROR", "Level::Error\\nof probe"),
    ];
    assert_eq!(shown, wanted);
}

#[test]
fn a_level_lets_through_what_is_at_least_as_grave() {
    for (level, count) in
        [(LogLevel::Debug, 4), (LogLevel::Info, 3), (LogLevel::Warn, 2), (LogLevel::Error, 1), (LogLevel::Off, 0)]
    {
        let lines = logged(&probe(), r#"{"do": "log"}"#, level, 1);
        assert_eq!(lines.len(), count, "{level:?}: {lines:?}");
        assert!(
            lines.iter().all(|line| line["fields"]["dropped"].is_null()),
            "what is muted is not dropped: {lines:?}"
        );
    }
}

#[test]
fn the_calls_of_a_batch_share_its_lines() {
    let lines = logged(&probe(), r#"{"do": "log"}"#, LogLevel::Debug, 40);
    assert_eq!((lines.len(), &lines[100]["fields"]["dropped"]), (101, &60.into()));
    let twice: usize = (0..2).map(|_| logged(&probe(), r#"{"do": "log"}"#, LogLevel::Debug, 25).len()).sum();
    assert_eq!(twice, 200, "the next batch has its own");
}

#[test]
fn a_flood_is_cut() {
    let lines = logged(&hostile(), r#"{"mode": "chatter"}"#, LogLevel::Debug, 1);
    assert_eq!(lines.len(), 101);
    let (last, kept) = lines.split_last().expect("there are some");
    assert!(kept.iter().all(|line| line["fields"]["message"].as_str().is_some_and(|text| text.len() == 1_024)));
    assert_eq!(last["fields"]["dropped"], 900);
}
