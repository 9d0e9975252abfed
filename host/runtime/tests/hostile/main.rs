//! Every way in which a guest may misbehave, again and again: contained, its author told, the host alive, memory back.
//!
//! `LAKEMILL_HOSTILE_ROUNDS` says how often (3 unless told); the long run is `make hostile`. Each test prints a line of what it
//! measured. Components are compiled as in production, in a process of its own: this program is that compiler, too.

mod bombs;
mod confined;
mod cut;
mod figures;
mod host;
mod imports;
mod kinds;
mod slots;
mod smith;

#[allow(dead_code, reason = "the other program of tests uses the rest")]
#[path = "../common/batches.rs"]
mod batches;
#[allow(dead_code, reason = "the other program of tests uses the rest")]
#[path = "../common/guests.rs"]
mod guests;
#[allow(dead_code, reason = "the other program of tests uses the rest")]
#[path = "../common/raw.rs"]
mod raw;

use std::path::Path;
use std::process::ExitCode;

use lakemill_runtime::{COMPILE_VERB, compile_child};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    if arguments.next().as_deref() == Some(COMPILE_VERB) {
        let memory_bytes_max = arguments.next().and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
        let is_rogue = Path::new(&program).ends_with(confined::ROGUE);
        return if is_rogue { confined::rogue_child(memory_bytes_max) } else { compile_child(memory_bytes_max) };
    }
    let mut arguments = Arguments::from_args();
    // Memory and time are the process's: one test at a time.
    arguments.test_threads = Some(1);
    let trials = kinds::all().into_iter().map(|kind| trial(kind.name, move || kind.check()));
    let more = [
        trial("the_compiler_is_confined", confined::compiler),
        trial("a_compiler_that_opens_a_socket_is_ended", confined::rogue),
        trial("a_cut_answer_of_the_compiler_is_not_kept", cut::answers),
        trial("import_probing", imports::only_the_list),
        trial("slots_show_nothing_of_their_last_owner", slots::memories),
        trial("tables_show_nothing_of_their_last_owner", slots::tables),
        trial("random_modules", smith::modules),
        trial("random_components", smith::components),
        trial("changed_transforms", smith::changed),
    ];
    libtest_mimic::run(&arguments, trials.chain(more).collect()).exit_code()
}

fn trial(name: &str, check: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test(name, move || check().map_err(Failed::from))
}
