//! What a test measures of its own process.

use std::time::Duration;

/// How often each thing is done.
pub fn rounds() -> u32 {
    std::env::var("LAKEMILL_HOSTILE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

/// The most memory that the process had since the last [`forget_peak`], in bytes.
pub fn peak_bytes() -> usize {
    status("VmHWM:")
}

/// The memory that the process has, in bytes.
pub fn resident_bytes() -> usize {
    status("VmRSS:")
}

/// The peak is the present from here on (proc_pid_clear_refs(5)).
pub fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("a file of this process");
}

fn status(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a file of this process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// Median, 99th percentile and maximum in milliseconds, for a line of JSON.
pub fn milliseconds(mut times: Vec<Duration>) -> serde_json::Value {
    times.sort_unstable();
    let at = |share: f64| {
        let rank = (times.len() as f64 * share).ceil() as usize;
        let time = times.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        (time.as_secs_f64() * 1e5).round() / 1e2
    };
    serde_json::json!({ "p50": at(0.5), "p99": at(0.99), "max": at(1.0) })
}
