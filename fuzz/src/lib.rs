//! Fuzz targets: everything that reads bytes which somebody else wrote. A target is a function of bytes that panics where there
//! is a defect. `scripts/fuzz.sh` lets libFuzzer look for one, `tests/short.rs` tries a few thousand mutations of the seeds.

pub mod answer;
pub mod decode;
pub mod lines;
pub mod plan;
pub mod scan;
pub mod spec;

mod abi;
mod arrays;
mod guest;

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of its module, and of its program after `fuzz-`.
    pub name: &'static str,
    /// Takes any bytes; panics where there is a defect.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "answer", run: answer::answer, seeds: answer::seeds },
    Target { name: "decode", run: decode::decode, seeds: decode::seeds },
    Target { name: "lines", run: lines::lines, seeds: lines::seeds },
    Target { name: "plan", run: plan::plan, seeds: plan::seeds },
    Target { name: "scan", run: scan::scan, seeds: scan::seeds },
    Target { name: "spec", run: spec::spec, seeds: spec::seeds },
];

/// Parts of inputs that have several stand between these bytes, which are in no JSON and in no YAML.
const PART: u8 = 0x1e;

/// The target of that name.
///
/// # Panics
/// If there is none.
pub fn target(name: &str) -> Target {
    TARGETS.into_iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}"))
}

/// Writes a target's seeds into the folder `LAKEMILL_FUZZ_SEEDS`, if that is set: libFuzzer reads its corpus from there next.
///
/// # Panics
/// If one cannot be written.
pub fn plant(name: &str) {
    let Some(folder) = std::env::var_os("LAKEMILL_FUZZ_SEEDS").map(std::path::PathBuf::from) else { return };
    for (n, seed) in (target(name).seeds)().into_iter().enumerate() {
        let path = folder.join(format!("seed-{n}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }
}

/// A folder for one input, in memory where the system has that.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder")
}
