//! This program as the compiler of components, in a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use lakemill_pipeline::Options;
use lakemill_runtime::{COMPILE_VERB, compile_child};

/// Options under which components are compiled by a child process that runs this program.
pub fn options() -> Options {
    Options { compiler: program(), ..Options::default() }
}

/// This program.
pub fn program() -> Option<PathBuf> {
    let program = std::env::current_exe().inspect_err(|error| {
        tracing::warn!(%error, "this program does not find itself: components are compiled in this process");
    });
    program.ok()
}

/// Compiles, if this process was started for it: before anything else happens in it.
pub fn child() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != COMPILE_VERB {
        return None;
    }
    Some(compile_child(arguments.next()?.parse().ok()?))
}
