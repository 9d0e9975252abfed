//! The interface `log`: a guest's lines in the host's log, bounded in number and length. Granted as `log`.
//!
//! A batch may take many calls (a failing one is halved until its guilty rows stand alone), all of them on one thread, so that the
//! allowance of a batch is the thread's while a [`BatchLog`] is there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use lakemill_model::Secrets;
use wasmtime::Result;

use crate::bindings::log::{Host, Level};
use crate::call::Call;
use crate::text::{cut, one_line};

/// Which lines of a component the host takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// All of them.
    #[default]
    Debug,
    /// Those for whoever runs it, and what is more.
    Info,
    /// Warnings and errors.
    Warn,
    /// Errors.
    Error,
    /// None.
    Off,
}

impl LogLevel {
    fn takes(self, level: Level) -> bool {
        self <= match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        }
    }
}

thread_local! {
    /// By component, while a batch is under way.
    static LINES: RefCell<Option<HashMap<Arc<str>, Lines>>> = const { RefCell::new(None) };
}

/// The lines of a component in one batch.
#[derive(Debug, Default)]
struct Lines {
    kept: u32,
    dropped: u64,
}

/// One batch: all calls on this thread, as long as it lives, share one allowance of log lines for each component. A call without a batch
/// around it is one of its own.
#[derive(Debug)]
#[must_use = "the batch ends when it is dropped"]
pub struct BatchLog {
    /// False within another one.
    is_outermost: bool,
}

impl BatchLog {
    /// Begins a batch.
    pub fn begin() -> Self {
        let is_outermost =
            LINES.with_borrow_mut(|lines| lines.is_none().then(|| *lines = Some(HashMap::new()))).is_some();
        Self { is_outermost }
    }
}

/// Says what is missing when the batch is over, however it ended.
impl Drop for BatchLog {
    fn drop(&mut self) {
        let lines = if self.is_outermost { LINES.take() } else { None };
        for (component, Lines { dropped, .. }) in lines.into_iter().flatten().filter(|(_, lines)| lines.dropped > 0) {
            let component = &*component;
            tracing::warn!(target: "lakemill::guest", component, dropped, "lines over the limit of a batch");
        }
    }
}

/// The log of one call.
#[derive(Debug)]
pub(crate) struct GuestLog {
    component: Arc<str>,
    secrets: Arc<Secrets>,
    level: LogLevel,
    lines_max: u32,
    line_bytes_max: usize,
    _batch: BatchLog,
}

impl GuestLog {
    pub(crate) fn new(
        component: Arc<str>,
        secrets: Arc<Secrets>,
        level: LogLevel,
        lines_max: u32,
        line_bytes_max: usize,
    ) -> Self {
        Self { component, secrets, level, lines_max, line_bytes_max, _batch: BatchLog::begin() }
    }

    fn write(&mut self, level: Level, message: String) {
        if !self.level.takes(level) || !self.has_room() {
            return;
        }
        let component = &*self.component;
        let message = self.secrets.hide(&message).into_owned();
        let message = one_line(cut(message, self.line_bytes_max));
        match level {
            Level::Debug => tracing::debug!(target: "lakemill::guest", component, "{message}"),
            Level::Info => tracing::info!(target: "lakemill::guest", component, "{message}"),
            Level::Warn => tracing::warn!(target: "lakemill::guest", component, "{message}"),
            Level::Error => tracing::error!(target: "lakemill::guest", component, "{message}"),
        }
    }

    /// Whether the batch may have one more line; counts it.
    fn has_room(&self) -> bool {
        LINES.with_borrow_mut(|lines| {
            let lines = lines.get_or_insert_default().entry(self.component.clone()).or_default();
            let has_room = lines.kept < self.lines_max;
            if has_room {
                lines.kept += 1
            } else {
                lines.dropped += 1
            }
            has_room
        })
    }
}

impl Host for Call {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.log.write(level, message);
        Ok(())
    }
}
