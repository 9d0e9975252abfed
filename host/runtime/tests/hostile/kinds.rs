//! The kinds of hostile guests, as a table: what each is, and how it must end.

use std::time::{Duration, Instant};

use lakemill_model::{Answer, Transform, TransformError};
use lakemill_runtime::{Limits, LoadOptions};
use serde_json::json;

use crate::batches::{CLOCK, small};
use crate::figures::{forget_peak, milliseconds, peak_bytes, resident_bytes, rounds};
use crate::guests::{hostile, options, probe};
use crate::raw::{Raw, Realloc, component};
use crate::{bombs, host};

/// How a guest must end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It runs into a limit, whose words these are part of.
    Limit(&'static str),
    /// It traps.
    Trap(&'static str),
    /// It traps, and these are part of the words that the host has of it.
    Panic(&'static str),
    /// It is refused before it runs.
    Refused(&'static str),
    /// Its answer is thrown away.
    Answer(&'static str),
    /// It is allowed to, and does no harm.
    Harmless,
}

/// A kind of guest.
pub struct Kind {
    pub name: &'static str,
    guest: fn() -> Vec<u8>,
    config: &'static str,
    limits: Limits,
    end: End,
    /// Compiled once, not in every round.
    cached: bool,
}

const MIB: usize = 1 << 20;
const ROWS: usize = 100;

/// Doublings of a name.
const LEVELS: usize = 24;

/// What a guest may cost the host beyond its limits.
const TOLERANCE: f64 = 0.1;
/// How late a guest may be stopped on a busy machine. Usual are 10 ms.
const LATE_MAX: Duration = Duration::from_secs(1);
/// What compiling may take, from host/runtime/src/child.rs.
const COMPILE_MAX: Duration = Duration::from_secs(20);
/// What a guest may let its host say, in bytes: each dead letter has it.
const WORDS_MAX: usize = 10_000;

fn limits() -> Limits {
    Limits { batch_ms_max: 100, ..Limits::default() }
}

/// For guests that need long for what they do.
fn patient() -> Limits {
    Limits { batch_ms_max: 10_000, ..Limits::default() }
}

fn kind(name: &'static str, guest: fn() -> Vec<u8>, config: &'static str, end: End) -> Kind {
    Kind { name, guest, config, limits: limits(), end, cached: true }
}

fn hand_made(name: &'static str, guest: fn() -> Vec<u8>, end: End) -> Kind {
    kind(name, guest, "{}", end)
}

/// What the compiler sees in each round anew.
fn bomb(name: &'static str, guest: fn() -> Vec<u8>, end: End) -> Kind {
    Kind { cached: false, ..hand_made(name, guest, end) }
}

/// All of them.
pub fn all() -> Vec<Kind> {
    [against_the_host(), against_the_compiler()].into_iter().flatten().collect()
}

/// Those that never run.
fn against_the_compiler() -> Vec<Kind> {
    use End::{Limit, Refused};
    vec![
        bomb("compile_bomb_of_locals", bombs::locals, Limit("5000 local variables in one function")),
        bomb("compile_bomb_of_blocks", bombs::blocks, Limit("256 KiB for one function")),
        bomb("compile_bomb_of_functions", bombs::functions, Limit("20000 functions in a component")),
        bomb(
            "compile_bomb_of_data_segments",
            || Raw { data_segments: 1_000, ..Raw::default() }.module(),
            Limit("1000 data segments in a component"),
        ),
        bomb(
            "compile_bomb_of_types",
            || Raw { types: 5_000, ..Raw::default() }.module(),
            Limit("5000 types in a component"),
        ),
        bomb("compile_bomb_within_bounds", bombs::within_bounds, Limit("10 s of CPU time")),
        hand_made("nested_component", bombs::nested, Refused("composed of several components")),
        hand_made(
            "ten_thousand_imports",
            || Raw { invented_imports: 10_000, ..Raw::default() }.module(),
            Refused("it imports `nobodys`"),
        ),
        bomb("sleep", bombs::waits, Refused("does not compile")),
    ]
}

/// Those that are loaded, or refused for what they would do.
fn against_the_host() -> Vec<Kind> {
    use End::{Answer, Harmless, Limit, Panic, Refused, Trap};
    const TIME: End = Limit("100 ms for one call (`limits.batch_ms_max`)");
    vec![
        kind("endless_loop", hostile, r#"{"mode": "loop"}"#, TIME),
        kind("endless_loop_in_describe", hostile, r#"{"mode": "describe_loop"}"#, TIME),
        hand_made("endless_start_function", || Raw { start_loops: true, ..Raw::default() }.module(), TIME),
        hand_made("endless_clean_up", || Raw { post_return_loops: true, ..Raw::default() }.module(), TIME),
        kind("endless_bulk_copies", probe, r#"{"do": "bulk_loop"}"#, TIME),
        kind("flood_of_calls_to_the_host", probe, r#"{"do": "flood_of_calls"}"#, TIME),
        hand_made("endless_allocator", || realloc(Realloc::Loops), TIME),
        kind("memory_bomb", hostile, r#"{"mode": "eat"}"#, Limit("64 MiB of memory (`limits.memory`)")),
        hand_made(
            "large_first_memory",
            || Raw { memory_pages: 1_025, ..Raw::default() }.module(),
            Limit("64 MiB of memory"),
        ),
        hand_made("many_memories", bombs::memories, Limit("4 memories in a component")),
        hand_made("many_instances", bombs::many_instances, Limit("16 core instances in a component")),
        hand_made(
            "table_bomb",
            || Raw { table_grows: true, ..Raw::default() }.module(),
            Limit("20000 elements in a table"),
        ),
        hand_made(
            "large_first_table",
            || Raw { table_elements: 20_001, ..Raw::default() }.module(),
            Limit("20000 elements in a table"),
        ),
        kind("endless_recursion", hostile, r#"{"mode": "stack"}"#, Limit("512 KiB of call stack")),
        kind("trap", hostile, r#"{"mode": "trap"}"#, Trap("unreachable")),
        kind("panic", hostile, r#"{"mode": "panic"}"#, Trap("unreachable")),
        kind("last_words", hostile, r#"{"mode": "last_words"}"#, Panic("too dear\\n\\u{1b}[2Jééé")),
        kind("last_words_without_end", hostile, r#"{"mode": "words_without_end"}"#, TIME),
        kind("last_words_of_two_mebibytes", hostile, r#"{"mode": "huge_words"}"#, Limit("1 MiB of output in one call"))
            .with(Limits { output_bytes_max: MIB, ..patient() }),
        kind("last_words_that_are_taken_back", hostile, r#"{"mode": "words_taken_back"}"#, Harmless),
        kind(
            "last_words_that_are_not_true",
            hostile,
            r#"{"mode": "words_before_another_end"}"#,
            Limit("512 KiB of call stack"),
        ),
        kind("last_words_that_are_no_text", probe, r#"{"do": "words_that_are_no_text"}"#, Trap("utf-8")),
        hand_made("name_that_grows", || trap_in(grown_name()), Trap("unreachable")),
        hand_made("name_of_a_mebibyte", || trap_in("\u{1b}é".repeat(MIB / 3)), Trap("unreachable")),
        kind(
            "large_output",
            probe,
            r#"{"do": "huge_output", "columns": {"t": "text"}, "bytes": 20000000}"#,
            Limit("1 MiB of output in one call"),
        )
        .with(Limits { output_bytes_max: MIB, ..patient() }),
        kind("large_error", probe, r#"{"do": "huge_error"}"#, Limit("512 KiB of output in one call"))
            .with(Limits { output_bytes_max: MIB / 2, ..patient() }),
        kind(
            "more_rows_than_came",
            probe,
            r#"{"do": "many_rows", "columns": {"n": "int64"}, "count": 8000000}"#,
            Answer("column"),
        )
        .with(patient()),
        kind(
            "flood_of_emissions",
            probe,
            r#"{"do": "many_emissions", "count": 700000}"#,
            Answer("there is no output 100"),
        )
        .with(patient()),
        kind("flood_of_rejections", probe, r#"{"do": "many_rejections", "count": 1000000}"#, Answer("rejected twice"))
            .with(patient()),
        kind("text_beyond_memory", hostile, r#"{"mode": "far_offsets"}"#, Answer("its first offset is 4294967295")),
        kind("text_that_is_none", hostile, r#"{"mode": "not_utf8"}"#, Answer("is not UTF-8")),
        kind("unknown_enum", probe, r#"{"do": "bogus_image"}"#, Trap("discriminant")),
        kind("unknown_op", hostile, r#"{"mode": "unknown_op"}"#, Answer("ops are 0 to 4")),
        kind("rows_that_are_not_there", hostile, r#"{"mode": "no_such_row"}"#, Answer("the batch has rows 0 to")),
        kind("columns_that_do_not_fit", hostile, r#"{"mode": "short_column"}"#, Answer("it has")),
        kind("log_flood", hostile, r#"{"mode": "chatter"}"#, Harmless),
        hand_made(
            "handle_leak",
            || component(&Raw { floods_handles: true, ..Raw::default() }.module()),
            Limit("1000 resource handles"),
        ),
        hand_made("kept_borrow", || Raw { keeps_borrow: true, ..Raw::default() }.module(), Trap("borrow")),
        kind("handles_of_others", probe, r#"{"do": "bogus_handle"}"#, Trap("unknown handle index")),
        kind("dropped_borrow", probe, r#"{"do": "drop_the_borrow"}"#, Trap("handle")),
        hand_made("lying_allocator", || realloc(Realloc::Lies), Trap("realloc return: beyond end of memory")),
        hand_made("allocator_that_calls_back", || realloc(Realloc::CallsBack), Trap("cannot leave component instance")),
        kind("description_of_a_path", hostile, r#"{"mode": "output_name"}"#, Refused("../../etc")),
        kind("description_without_end", hostile, r#"{"mode": "many_outputs"}"#, Refused("65 entries")),
        kind("endless_name", hostile, r#"{"mode": "long_name"}"#, Refused("`name` must be 1 to 64 characters")),
        hand_made("machine_code", machine_code, Refused("not a WebAssembly component")),
    ]
}

fn realloc(realloc: Realloc) -> Vec<u8> {
    Raw { realloc, ..Raw::default() }.module()
}

/// A guest that traps in a function of that name.
fn trap_in(name: String) -> Vec<u8> {
    Raw { traps: true, name, ..Raw::default() }.module()
}

/// A C++ name whose types are each made of two of the one before: 300 bytes that mean 300 MB.
fn grown_name() -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let doubled = |level: usize| format!("S_IS{0}_S{0}_E", char::from(DIGITS[level]));
    format!("_Z1f1AIiiE{}", (0..LEVELS).map(doubled).collect::<String>())
}

/// Code for this very machine, which a host that took it would run unchecked.
fn machine_code() -> Vec<u8> {
    std::fs::read("/proc/self/exe").expect("is this program")[..MIB].to_vec()
}

impl Kind {
    fn with(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// All its rounds.
    ///
    /// # Errors
    /// If it is not contained in one of them.
    pub fn check(&self) -> Result<(), String> {
        host::is_well()?;
        let bytes = (self.guest)();
        if self.cached {
            // Compiled once and for all: what is measured is the guest.
            drop(self.run(&bytes));
        }
        let mut times = Vec::new();
        let mut grown_max = 0;
        for round in 0..rounds() {
            let before = resident_bytes();
            forget_peak();
            let (ended, took) = self.run(&bytes);
            times.push(took);
            if took > self.time_max() {
                return Err(format!("round {round}: it took {took:?} instead of at most {:?}", self.time_max()));
            }
            grown_max = grown_max.max(peak_bytes().saturating_sub(before));
            self.judge(ended).and_then(|()| host::is_well()).map_err(|wrong| format!("round {round}: {wrong}"))?;
        }
        // What it was granted: memory, and the copy of its output.
        let granted = self.limits.memory_bytes_max + self.limits.output_bytes_max + bytes.len();
        if grown_max as f64 > granted as f64 * (1.0 + TOLERANCE) {
            return Err(format!("it cost the host {grown_max} bytes, with {granted} granted"));
        }
        let late: Vec<Duration> = times.iter().map(|time| time.saturating_sub(self.time())).collect();
        let (what, times) = if self.is_endless() { ("stopped_late_ms", late) } else { ("ms", times) };
        let grown = (grown_max as f64 / MIB as f64 * 10.0).round() / 10.0;
        println!(
            "{}",
            json!({ "kind": self.name, "rounds": rounds(), what: milliseconds(times), "grown_mib_max": grown })
        );
        Ok(())
    }

    fn time(&self) -> Duration {
        Duration::from_millis(self.limits.batch_ms_max)
    }

    /// What [`Kind::run`] may take: a call, and the compiler before it if it is asked each time.
    fn time_max(&self) -> Duration {
        LATE_MAX + if self.cached { self.time() } else { COMPILE_MAX }
    }

    fn is_endless(&self) -> bool {
        matches!(self.end, End::Limit(words) if words.contains("batch_ms_max"))
    }

    /// Loads and calls it; the time is that of the call, if it came to one.
    fn run(&self, bytes: &[u8]) -> (Result<Answer, TransformError>, Duration) {
        let options = options(self.config);
        let cache_dir = options.cache_dir.clone().filter(|_| self.cached);
        let started = Instant::now();
        let loaded = host::engine().load(bytes, LoadOptions { limits: self.limits.clone(), cache_dir, ..options });
        match loaded {
            Ok(guest) => {
                let started = Instant::now();
                (guest.transform(&small(ROWS), CLOCK), started.elapsed())
            }
            Err(error) => (Err(error), started.elapsed()),
        }
    }

    fn judge(&self, ended: Result<Answer, TransformError>) -> Result<(), String> {
        let said = ended.as_ref().err().map_or(0, |error| error.to_string().len());
        if said > WORDS_MAX {
            return Err(format!("its error has {said} bytes"));
        }
        let (words, expected) = match (&self.end, &ended) {
            (End::Harmless, Ok(_)) => return Ok(()),
            (End::Limit(expected), Err(TransformError::Limit { limit, .. })) => (limit, expected),
            (End::Trap(expected), Err(TransformError::Trap { trap, .. })) => (trap, expected),
            (End::Panic(expected), Err(TransformError::Panic { words, .. })) => (words, expected),
            (End::Refused(expected), Err(TransformError::Refused(words))) => (words, expected),
            (End::Answer(expected), Err(TransformError::Answer(words))) => (words, expected),
            _ => return Err(format!("{:?} was expected, it ended with {:.300}", self.end, format!("{ended:?}"))),
        };
        if words.contains(expected) { Ok(()) } else { Err(format!("no `{expected}` in `{words}`")) }
    }
}
