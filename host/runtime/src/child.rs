//! The compiler in a process of its own, which may be killed: compiling is outside of what wasmtime promises about hostile input.
//! The parent sends a component's bytes, the child answers with machine code or with why not, within bounds of CPU time,
//! memory and wall time that the system enforces. It may be killed while it answers: the answer's length goes first.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use lakemill_model::TransformError;

use crate::artifact::Prepared;
use crate::compile::compile;
use crate::confine::{CPU_S_MAX, MEMORY_BYTES_MAX, confine};
use crate::engine::{Engine, EngineOptions, wasmtime_engine};
use crate::limits::{bytes as show, limit};

/// The verb by which the program of [`EngineOptions::compiler`] is started as a compiler; the number of bytes of
/// [`EngineOptions::memory_bytes_max`] follows it.
pub const COMPILE_VERB: &str = "compile-component";

const WALL_MAX: Duration = Duration::from_secs(20);
/// Of an answer. Machine code is larger than WebAssembly, but not by this.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

const COMPILED: u8 = b'+';
const REFUSED: u8 = b'-';

/// Compiles in a child process.
///
/// # Errors
/// If the component does not compile, or not within the bounds.
pub(crate) fn compile_in_child(program: &Path, engine: &Engine, component: &[u8]) -> Result<Vec<u8>, TransformError> {
    let failed = |what: &str, error: std::io::Error| {
        TransformError::Refused(format!("{what} the compiler ({}): {error}", program.display()))
    };
    let mut child = Command::new(program)
        .arg(COMPILE_VERB)
        .arg(engine.options().memory_bytes_max.to_string())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed("start", error))?;
    // It reads everything before it writes anything.
    let sent = child.stdin.take().map(|mut pipe| pipe.write_all(component));
    let answer = answer(&mut child);
    // Whatever it does now, nobody waits for it.
    child.kill().ok();
    let status = child.wait().map_err(|error| failed("wait for", error))?;
    match answer.as_deref().map(whole) {
        Some(Some((COMPILED, code))) => Ok(code.to_vec()),
        Some(Some((REFUSED, why))) => Err(TransformError::Refused(String::from_utf8_lossy(why).into_owned())),
        _ if status.signal() == Some(libc::SIGSYS) => Err(TransformError::Refused(
            "the compiler did what it has no right to do, and was ended; please report it with the component".into(),
        )),
        _ if sent.is_none_or(|sent| sent.is_err()) => {
            Err(TransformError::Refused("the compiler does not listen".into()))
        }
        None => Err(over(&format!("{} s", WALL_MAX.as_secs()))),
        _ if answer.as_ref().is_some_and(|answer| answer.len() as u64 >= ANSWER_BYTES_MAX) => {
            Err(over(&format!("{} of machine code", show(ANSWER_BYTES_MAX as usize))))
        }
        Some(_) => Err(over(&format!("{CPU_S_MAX} s of CPU time and {} ({status})", show(MEMORY_BYTES_MAX as usize)))),
    }
}

/// All that the child says; `None` if it takes too long.
fn answer(child: &mut Child) -> Option<Vec<u8>> {
    let pipe = child.stdout.take()?;
    let (tell, told) = channel();
    let read = move || {
        let mut answer = Vec::new();
        // What was read so far is looked at; nobody listens after the time is up.
        pipe.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).ok();
        tell.send(answer).ok();
    };
    std::thread::Builder::new().name("lakemill-compile".into()).spawn(read).ok()?;
    told.recv_timeout(WALL_MAX).ok()
}

/// The kind of an answer and what follows it; `None` if it was cut off. Half of the machine code must not be taken for all of it.
fn whole(answer: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = answer.split_first()?;
    let (length, content) = rest.split_first_chunk()?;
    (u64::from_le_bytes(*length) == content.len() as u64).then_some((*kind, content))
}

fn over(bound: &str) -> TransformError {
    limit(
        format!("{bound} for compiling a component"),
        "build it optimised (`opt-level`, `lto`) and with fewer dependencies; no usual transform comes near",
    )
}

/// What the child does: compiles standard input to standard output.
pub fn compile_child(memory_bytes_max: usize) -> ExitCode {
    let (kind, content) = match work(memory_bytes_max) {
        Ok(code) => (COMPILED, code),
        Err(why) => (REFUSED, why.into_bytes()),
    };
    match say(&mut std::io::stdout(), kind, &content) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What [`whole`] reads.
fn say(to: &mut impl Write, kind: u8, content: &[u8]) -> std::io::Result<()> {
    to.write_all(&[kind])?;
    to.write_all(&(content.len() as u64).to_le_bytes())?;
    to.write_all(content)?;
    to.flush()
}

fn work(memory_bytes_max: usize) -> Result<Vec<u8>, String> {
    let options = EngineOptions { calls_max: 1, memory_bytes_max, ..EngineOptions::default() };
    let engine = wasmtime_engine(&options).map_err(|error| error.to_string())?;
    confine().map_err(|error| format!("confine the compiler: {error}"))?;
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).map_err(|error| error.to_string())?;
    let words = |error: TransformError| error.to_string();
    let prepared = Prepared::new(&component).map_err(words)?;
    compile(&engine, &prepared).map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        let mut said = Vec::new();
        say(&mut said, COMPILED, b"code").expect("a buffer takes it");
        assert_eq!(whole(&said), Some((COMPILED, &b"code"[..])));
        for end in 0..said.len() {
            assert_eq!(whole(&said[..end]), None, "{end} bytes of it");
        }
        said.push(0);
        assert_eq!(whole(&said), None, "more than it says");
    }
}
