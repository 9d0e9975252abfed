//! Rows as a body that goes on: made into JSON lines on a thread of their own.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow_json::LineDelimitedWriter;
use axum::body::Body;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use futures_core::Stream;
use lakemill_pipeline::Control;
use lakemill_pipeline::tap::Tapped;
use serde_json::Value;
use tokio::sync::mpsc;

/// How often it is looked whether anybody is still there.
const TICK: Duration = Duration::from_millis(200);

/// The rows as JSON lines, until the listener goes or the pipeline ends.
pub(crate) fn rows(tapped: Receiver<Tapped>, control: &'static Control) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let work = move || {
        while !control.is_stopped() && !sender.is_closed() {
            let chunk = match tapped.recv_timeout(TICK) {
                Ok(tapped) => text(&tapped),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if sender.blocking_send(chunk).is_err() {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("lakemill-tap".into()).spawn(work);
    if let Err(error) = started {
        return Body::from(format!("{error}\n"));
    }
    Body::from_stream(Lines(receiver))
}

fn text(tapped: &Tapped) -> Vec<u8> {
    let (of, rows) = match tapped {
        Tapped::Lines(lines) => return lines.clone(),
        Tapped::Rows { of, rows } => (of, rows),
    };
    let mut writer = LineDelimitedWriter::new(Vec::new());
    if let Err(error) = writer.write(rows).and_then(|()| writer.finish()) {
        return format!("{}\n", serde_json::json!({ "error": error.to_string() })).into_bytes();
    }
    // Whose they are goes first.
    let lines = writer.into_inner();
    let mut text = Vec::with_capacity(lines.len() * 2);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| line.len() > 1) {
        text.extend_from_slice(format!("{{\"_of\":{}", Value::from(&**of)).as_bytes());
        if line != b"{}" {
            text.push(b',');
        }
        text.extend_from_slice(&line[1..]);
        text.push(b'\n');
    }
    text
}

/// Chunks as they come.
struct Lines(mpsc::Receiver<Vec<u8>>);

impl Stream for Lines {
    type Item = Result<Vec<u8>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}
