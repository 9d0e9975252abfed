//! The `lakemill` command as a process: started, watched, stopped, and what it said at the end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{places, wait};

/// Longer than any run of a test takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(300);

/// What Rust says of a panic of the host: a component's own is told in other words.
const PANICKED: &str = " panicked at ";

/// A running `lakemill`. Killed when dropped.
pub struct Lakemill {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

/// Collects a stream line by line, so that it never blocks the process.
struct Output {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = text.clone();
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                into.lock().expect("no reader panics").push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("no reader panics").clone()
    }

    fn all(mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no reader panics");
        }
        self.so_far()
    }
}

impl Lakemill {
    /// Starts the command.
    ///
    /// # Errors
    /// If it is not there.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        Self::start_with(arguments, |_| ())
    }

    /// Starts the command, after `setting` has changed its environment.
    ///
    /// # Errors
    /// If it is not there.
    pub fn start_with<S: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = S>,
        setting: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        Self::start_program(&places::lakemill()?, arguments, setting)
    }

    /// Starts another build of the command.
    ///
    /// # Errors
    /// If it is not there.
    pub fn start_program<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        setting: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        setting(&mut command);
        let mut child = command.spawn().context("start lakemill")?;
        let stdout = Output::of(child.stdout.take().context("its standard output")?);
        let stderr = Output::of(child.stderr.take().context("its standard error")?);
        Ok(Self { child, stdout, stderr })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error so far.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    /// What it has said on standard output, at any time: for questions while it is waited for.
    pub fn watched_stdout(&self) -> impl Fn() -> String + use<> {
        let text = self.stdout.text.clone();
        move || text.lock().expect("no reader panics").clone()
    }

    /// Waits until it has said something on standard error, `times` times.
    ///
    /// # Errors
    /// If it ends before, or it takes too long.
    pub fn until_it_says(&mut self, words: &str, times: usize) -> Result<()> {
        let said = self.stderr.text.clone();
        self.until(&format!("`{words}`"), || {
            let said = said.lock().expect("no reader panics");
            Ok((said.matches(words).count() >= times).then_some(()))
        })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Asks again and again while it runs, until there is an answer.
    ///
    /// # Errors
    /// If it ends before, or it takes too long.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait::until(LIMIT, what, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("lakemill ended ({status}) before {what}; it said:\n{}", self.stderr.so_far());
            }
            ask()
        })
        .with_context(|| format!("lakemill says:\n{}", self.stderr.so_far()))
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// If it does not stop.
    pub fn terminate(self) -> Result<Finished> {
        self.signal("TERM")?;
        self.finish()
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(mut self) -> Result<Finished> {
        self.child.kill().context("kill lakemill")?;
        self.finish()
    }

    /// Sends a signal by its name.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status()?;
        ensure!(status.success(), "kill -{name} {} failed: {status}", self.id());
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it takes too long: then it is killed.
    pub fn finish(mut self) -> Result<Finished> {
        let ended = wait::until(LIMIT, "lakemill to end", || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.child.kill().context("kill lakemill")?;
        }
        let status: ExitStatus = self.child.wait().context("wait for lakemill")?;
        let stdout = std::mem::replace(&mut self.stdout, Output::of(std::io::empty())).all();
        let stderr = std::mem::replace(&mut self.stderr, Output::of(std::io::empty())).all();
        ended.with_context(|| format!("lakemill says:\n{stderr}"))?;
        Ok(Finished { code: status.code(), stdout, stderr })
    }
}

impl Drop for Lakemill {
    fn drop(&mut self) {
        // It may have ended long ago; then both fail, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the command to its end.
///
/// # Errors
/// If it cannot be started or does not end.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Finished> {
    Lakemill::start(arguments)?.finish()
}

impl Finished {
    /// The object on the last line of standard output, of a run with `--json` that must have succeeded.
    ///
    /// # Errors
    /// If it failed, or the line is no JSON object.
    pub fn report(&self) -> Result<Value> {
        ensure!(self.code == Some(0), "lakemill ended with {:?}:\n{}\n{}", self.code, self.stdout, self.stderr);
        let line = self.stdout.lines().last().context("lakemill said nothing on standard output")?;
        let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        ensure!(value.is_object(), "no JSON object: {line}");
        Ok(value)
    }

    /// Everything that it said, for messages and searches.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Checks the exit code, and that it said all of `words`.
    ///
    /// # Errors
    /// If not.
    pub fn expect(&self, code: i32, words: &[&str]) -> Result<()> {
        let said = self.said();
        ensure!(self.code == Some(code), "exit code {:?} instead of {code}; it said:\n{said}", self.code);
        for word in words {
            ensure!(said.contains(word), "it does not say `{word}`, but:\n{said}");
        }
        ensure!(!said.contains(PANICKED), "it panicked:\n{said}");
        Ok(())
    }

    /// Checks that it warned of nothing but dead rows.
    ///
    /// # Errors
    /// The line.
    pub fn expect_quiet(&self) -> Result<()> {
        let warns = |line: &str| line.contains("WARN") && !line.contains("rows are dead");
        let loud = |line: &&str| warns(line) || line.contains("ERROR") || line.contains(PANICKED);
        match self.stderr.lines().find(loud) {
            Some(line) => bail!("a warning that nobody expects: {line}"),
            None => Ok(()),
        }
    }
}
