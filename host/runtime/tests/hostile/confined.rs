//! What the process that compiles may still do, as the system says while it compiles.

use std::fs::read_to_string;
use std::time::{Duration, Instant};

use lakemill_runtime::LoadOptions;

use crate::guests::options;
use crate::{bombs, host};

const PATIENCE: Duration = Duration::from_secs(20);

/// It has no rights left to gain, a filter on its system calls, and bounds of time, memory and files.
pub fn compiler() -> Result<(), String> {
    let bytes = bombs::within_bounds();
    std::thread::scope(|scope| {
        let compiling = scope.spawn(|| {
            let given = LoadOptions { cache_dir: None, ..options("{}") };
            host::engine().load(&bytes, given).map(drop)
        });
        let seen = watch(|| !compiling.is_finished());
        compiling.join().map_err(|_| "a panic".to_owned())?.err().ok_or("the bomb compiled")?;
        seen
    })?;
    host::is_well()
}

/// Looks at the child until it is confined.
fn watch(is_compiling: impl Fn() -> bool) -> Result<(), String> {
    const WANTED: [&str; 2] = ["NoNewPrivs:\t1", "Seccomp:\t2"];
    const BOUNDS: [&str; 4] =
        ["Max cpu time              10 ", "Max file size             0 ", "Max core file size        0 ", "Max nice"];
    let started = Instant::now();
    let mut seen = String::new();
    while is_compiling() && started.elapsed() < PATIENCE {
        for child in children() {
            let (Ok(status), Ok(limits)) =
                (read_to_string(format!("/proc/{child}/status")), read_to_string(format!("/proc/{child}/limits")))
            else {
                continue;
            };
            if WANTED.iter().all(|line| status.contains(line)) && BOUNDS.iter().all(|line| limits.contains(line)) {
                return Ok(());
            }
            seen = format!("{status}{limits}");
        }
        std::thread::yield_now();
    }
    Err(format!("the compiler was never confined; it was last seen with\n{seen}"))
}

/// The processes that any thread of this one has started.
fn children() -> Vec<u32> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}
