//! What the process that compiles may still do, as the system says while it compiles.

use std::fs::read_to_string;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use lakemill_model::TransformError;
use lakemill_runtime::{COMPILE_VERB, Engine, EngineOptions, LoadOptions, compile_child};

use crate::guests::options;
use crate::{bombs, host};

const PATIENCE: Duration = Duration::from_secs(20);
/// What the compiler may take beyond what it has set aside, from host/runtime/src/confine.rs.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// The name under which this program is [`rogue_child`].
pub const ROGUE: &str = "rogue";
/// How what the author is told begins: not with the component.
const TOLD: &str = "the compiler did what it has no right to do";

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
    const BOUNDS: [&str; 3] =
        ["Max cpu time              10 ", "Max file size             0 ", "Max core file size        0 "];
    let started = Instant::now();
    let mut seen = String::new();
    while is_compiling() && started.elapsed() < PATIENCE {
        for child in children() {
            let (Ok(status), Ok(limits)) =
                (read_to_string(format!("/proc/{child}/status")), read_to_string(format!("/proc/{child}/limits")))
            else {
                continue;
            };
            let is_bounded = BOUNDS.iter().all(|line| limits.contains(line)) && has_little_memory(&status, &limits);
            if is_bounded && WANTED.iter().all(|line| status.contains(line)) {
                return Ok(());
            }
            seen = format!("{status}{limits}");
        }
        std::thread::yield_now();
    }
    Err(format!("the compiler was never confined; it was last seen with\n{seen}"))
}

/// Whether the address space may grow by the bound, from what was set aside before.
fn has_little_memory(status: &str, limits: &str) -> bool {
    let number = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    // The peak may have come since, so it is at least what was held when the bound was set.
    match (number(status, "VmPeak:"), number(limits, "Max address space")) {
        (Some(peak_kib), Some(most)) => most > MEMORY_BYTES_MAX && most <= (peak_kib << 10) + MEMORY_BYTES_MAX,
        _ => false,
    }
}

/// A compiler that goes on opening sockets beside its work, as a guest might that has taken it over.
pub fn rogue_child(memory_bytes_max: usize) -> ExitCode {
    std::thread::spawn(|| {
        loop {
            drop(UnixDatagram::unbound());
        }
    });
    compile_child(memory_bytes_max)
}

/// The compiler that does what it has no right to do is ended by the system, and the author is told that it was the compiler.
pub fn rogue() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = folder.path().join(ROGUE);
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    symlink(this, &program).map_err(|error| error.to_string())?;
    ended_by_the_system(&program)?;

    let engine = Engine::new(EngineOptions { calls_max: 1, compiler: Some(program), ..EngineOptions::default() });
    let given = LoadOptions { cache_dir: None, ..options("{}") };
    // It would be busy with it for long.
    match engine.map_err(|error| error.to_string())?.load(&bombs::within_bounds(), given) {
        Err(TransformError::Refused(words)) if words.starts_with(TOLD) => host::is_well(),
        Err(error) => Err(format!("the author is told: {error}")),
        Ok(_) => Err("it compiled".to_owned()),
    }
}

/// Starts it with nothing to compile, which it waits for: nothing else can end it.
fn ended_by_the_system(program: &Path) -> Result<(), String> {
    let mut child = Command::new(program)
        .args([COMPILE_VERB, "65536"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdin = child.stdin.take();
    let status = child.wait().map_err(|error| error.to_string())?;
    drop(stdin);
    if status.signal() == Some(libc::SIGSYS) { Ok(()) } else { Err(format!("it ended with {status}")) }
}

/// The processes that any thread of this one has started.
fn children() -> Vec<u32> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}
