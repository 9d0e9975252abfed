//! Counts the memory of guests: all memories and tables of one call, and those of all calls of the process. Refuses
//! what goes over, and remembers that it did: a guest that is refused memory usually traps with another story.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lakemill_model::TransformError;
use wasmtime::{ResourceLimiter, Result};

use crate::limits::limit;

/// The memory of all guests of a process.
#[derive(Debug)]
pub(crate) struct ProcessMemory {
    used: AtomicUsize,
    max: usize,
}

impl ProcessMemory {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Which limit a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its own; it would have used that many bytes.
    Own(usize),
    /// That of the process.
    Process,
    /// A table would have had that many elements.
    Table(usize),
}

/// The meter of one call.
#[derive(Debug)]
pub(crate) struct Meter {
    process: Arc<ProcessMemory>,
    used: usize,
    max: usize,
    table_elements_max: usize,
    instances: usize,
    memories: usize,
    tables: usize,
    refused: Option<Refused>,
}

/// What a component may hold, whatever its limits: the pool of instances is cut for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub instances: u32,
    pub memories: u32,
    pub tables: u32,
    pub table_elements: u32,
}

/// A component that the Rust tools make has three core instances, a memory and two tables.
pub(crate) const SHAPE: Shape = Shape { instances: 16, memories: 4, tables: 8, table_elements: 20_000 };

/// The error of a table that is too large.
pub(crate) fn table_limit(wanted: u64) -> TransformError {
    limit(
        format!("{} elements in a table", SHAPE.table_elements),
        format!("it wanted {wanted}; a table has one for each function that is called by pointer"),
    )
}

impl Meter {
    pub(crate) fn new(process: Arc<ProcessMemory>, memory_bytes_max: usize) -> Self {
        Self {
            process,
            used: 0,
            max: memory_bytes_max,
            table_elements_max: SHAPE.table_elements as usize,
            instances: SHAPE.instances as usize,
            memories: SHAPE.memories as usize,
            tables: SHAPE.tables as usize,
            refused: None,
        }
    }

    /// Bytes of all memories and tables.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// The last refusal of this call.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    fn grow(&mut self, by: usize) -> bool {
        let sum = self.used.saturating_add(by);
        if sum > self.max {
            self.refused = Some(Refused::Own(sum));
            return false;
        }
        if !self.process.take(by) {
            self.refused = Some(Refused::Process);
            return false;
        }
        self.used = sum;
        true
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // Over the module's own maximum it would not grow anyhow: that is not to be counted.
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum && maximum < self.table_elements_max) {
            return Ok(false);
        }
        if desired > self.table_elements_max {
            self.refused = Some(Refused::Table(desired));
            return Ok(false);
        }
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>())))
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.process.give_back(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_memories_and_tables_and_gives_back() {
        let process = ProcessMemory::new(1000);
        let mut meter = Meter::new(process.clone(), 600);
        assert!(meter.memory_growing(0, 200, None).expect("decides"));
        assert!(meter.memory_growing(200, 300, None).expect("decides"));
        assert!(meter.table_growing(0, 25, None).expect("decides"), "200 bytes");
        assert_eq!(process.used(), 500);
        assert!(!meter.memory_growing(0, 101, None).expect("decides"), "a second memory counts on top");
        assert_eq!(meter.refused(), Some(Refused::Own(601)));
        assert!(!meter.memory_growing(300, 400, Some(350)).expect("decides"), "over the module's own maximum");
        assert_eq!(process.used(), 500, "a refusal takes nothing");

        let mut other = Meter::new(process.clone(), 600);
        assert!(!other.memory_growing(0, 501, None).expect("decides"));
        assert_eq!(other.refused(), Some(Refused::Process));
        drop(meter);
        assert!(other.memory_growing(0, 501, None).expect("decides"));
        drop(other);
        assert_eq!(process.used(), 0);
    }

    #[test]
    fn refuses_large_tables() {
        let mut meter = Meter::new(ProcessMemory::new(usize::MAX), usize::MAX);
        let too_many = SHAPE.table_elements as usize + 1;
        assert!(!meter.table_growing(0, too_many, None).expect("decides"));
        assert_eq!(meter.refused(), Some(Refused::Table(too_many)));
    }
}
