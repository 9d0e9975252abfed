//! The interface `log`: a guest's lines in the host's log, bounded in number and length. Granted as `log`.

use std::sync::Arc;

use wasmtime::Result;

use crate::bindings::log::{Host, Level};
use crate::call::Call;
use crate::text::{cut, one_line};

/// The log of one call.
#[derive(Debug)]
pub(crate) struct GuestLog {
    component: Arc<str>,
    lines_left: u32,
    line_bytes_max: usize,
    dropped: u64,
}

impl GuestLog {
    pub(crate) fn new(component: Arc<str>, lines_max: u32, line_bytes_max: usize) -> Self {
        Self { component, lines_left: lines_max, line_bytes_max, dropped: 0 }
    }

    fn write(&mut self, level: Level, message: String) {
        let Some(left) = self.lines_left.checked_sub(1) else {
            self.dropped += 1;
            return;
        };
        self.lines_left = left;
        let component = &*self.component;
        let message = one_line(cut(message, self.line_bytes_max));
        match level {
            Level::Debug => tracing::debug!(target: "lakemill::guest", component, "{message}"),
            Level::Info => tracing::info!(target: "lakemill::guest", component, "{message}"),
            Level::Warn => tracing::warn!(target: "lakemill::guest", component, "{message}"),
            Level::Error => tracing::error!(target: "lakemill::guest", component, "{message}"),
        }
    }
}

/// Says what is missing when the call is over, however it ended.
impl Drop for GuestLog {
    fn drop(&mut self) {
        if self.dropped > 0 {
            let (component, dropped) = (&*self.component, self.dropped);
            tracing::warn!(target: "lakemill::guest", component, dropped, "lines over the limit of a call");
        }
    }
}

impl Host for Call {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.log.write(level, message);
        Ok(())
    }
}
