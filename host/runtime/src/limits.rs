//! What a component may use, and the words for each limit when it is hit: its name, its value, what the author can do.

use lakemill_model::TransformError;

/// What one call of a component may use. The defaults are for Rust; interpreters (Python, JavaScript) need more of
/// `memory_bytes_max` and `component_bytes_max`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All memories and tables of an instance together, in bytes. At most
    /// [`EngineOptions::memory_bytes_max`](crate::EngineOptions).
    pub memory_bytes_max: usize,
    /// Time for a batch, and for `describe`, in milliseconds of the wall clock; exact to about 10 ms.
    pub batch_ms_max: u64,
    /// What one answer (or the description, or a log line) may copy into the host, in bytes.
    pub output_bytes_max: usize,
    /// Log lines of one batch that are kept, over all calls that it takes.
    pub log_lines_max: u32,
    /// Bytes of a log line that are kept.
    pub log_line_bytes_max: usize,
    /// Resource handles that an instance may hold.
    pub handles_max: usize,
    /// Size of the file, in bytes.
    pub component_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 << 20,
            batch_ms_max: 1_000,
            output_bytes_max: 64 << 20,
            log_lines_max: 100,
            log_line_bytes_max: 1_024,
            handles_max: 1_000,
            component_bytes_max: 4 << 20,
        }
    }
}

impl Limits {
    pub(crate) fn memory(&self, wanted: usize) -> TransformError {
        limit(
            format!("{} of memory (`limits.memory`)", bytes(self.memory_bytes_max)),
            format!(
                "it asked for {}; let it read fewer columns and free what it no longer needs, make batches smaller \
                 (`batch.rows_max`), or raise the limit",
                bytes(wanted)
            ),
        )
    }

    pub(crate) fn time(&self) -> TransformError {
        limit(
            format!("{} ms for one call (`limits.batch_ms_max`)", self.batch_ms_max),
            "look for a loop that does not end, make batches smaller (`batch.rows_max`), or raise the limit",
        )
    }

    pub(crate) fn output(&self) -> TransformError {
        limit(
            format!("{} of output in one call", bytes(self.output_bytes_max)),
            "let the host copy columns (`copied`, `copied-all`) instead of making them, or make batches smaller \
             (`batch.rows_max`)",
        )
    }

    pub(crate) fn handles(&self) -> TransformError {
        limit(format!("{} resource handles", self.handles_max), "drop the handles that it no longer needs")
    }

    pub(crate) fn size(&self, found: usize) -> TransformError {
        limit(
            format!("{} for a component's file", bytes(self.component_bytes_max)),
            format!(
                "it has {}; build it for release and without debug information (`opt-level`, `lto`, \
                 `strip = \"debuginfo\"`)",
                bytes(found)
            ),
        )
    }

    pub(crate) fn stack(stack_bytes: usize) -> TransformError {
        limit(
            format!("{} of call stack", bytes(stack_bytes)),
            "look for a recursion that does not end, or make it a loop; large local arrays belong on the heap",
        )
    }

    pub(crate) fn process_memory(max: usize) -> TransformError {
        limit(
            format!("{} of memory for all components of this process together", bytes(max)),
            "run fewer pipelines or workers in one process, or give transforms smaller memory limits",
        )
    }
}

/// The error of a limit.
pub(crate) fn limit(limit: impl Into<String>, hint: impl Into<String>) -> TransformError {
    TransformError::Limit { limit: limit.into(), hint: hint.into(), backtrace: None }
}

/// A number of bytes for people.
pub(crate) fn bytes(count: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) if count.is_multiple_of(*unit) => format!("{} {name}", count / unit),
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / *unit as f64),
        None => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable() {
        let shown = [0, 1023, 1024, 1536, 64 << 20, (64 << 20) + (13 << 16), 1 << 30].map(bytes);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1 KiB", "1.5 KiB", "64 MiB", "64.8 MiB", "1 GiB"]);
    }
}
