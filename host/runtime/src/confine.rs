//! What the compiler's process gives up before it sees a byte of a guest's: time, memory, files, and every system call that compiling
//! does not need.

use std::collections::BTreeMap;
use std::io::{Error, Result};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

/// Seconds of CPU time.
pub(crate) const CPU_S_MAX: u64 = 10;
/// Beyond what the engine has set aside.
pub(crate) const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// What a thread does that only computes and answers: memory, locks, its pipes, its end. It opens nothing, starts nothing, speaks to
/// nobody.
const CALLS: [libc::c_long; 25] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Gives up what the compiler does not need, before it sees a byte of the guest's.
///
/// # Errors
/// If the system does not take one of them.
pub(crate) fn confine() -> Result<()> {
    // The address space that the engine has set aside is not used.
    let held = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = held.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // What a page has at least, and so on the safe side of none.
    let held = pages * 4096;
    bound(libc::RLIMIT_CPU, CPU_S_MAX)?;
    bound(libc::RLIMIT_AS, held + MEMORY_BYTES_MAX)?;
    bound(libc::RLIMIT_CORE, 0)?;
    bound(libc::RLIMIT_FSIZE, 0)?;
    #[expect(unsafe_code, reason = "std has no call for it")]
    // SAFETY: plain system calls without pointers.
    let (free, nice) = unsafe {
        // No rights by way of a program that has more (prctl(2)).
        let free = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        (free, libc::nice(5))
    };
    if free != 0 || nice == -1 {
        return Err(Error::last_os_error());
    }
    only_compile().map_err(Error::other)
}

/// Any other system call ends the process, in all of its threads.
fn only_compile() -> std::result::Result<(), seccompiler::Error> {
    let allowed: BTreeMap<i64, Vec<_>> = CALLS.into_iter().map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(allowed, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter_all_threads(&program)
}

fn bound(what: libc::__rlimit_resource_t, most: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    #[expect(unsafe_code, reason = "std has no call for it")]
    // SAFETY: the struct lives as long as the call.
    let done = unsafe { libc::setrlimit(what, &raw const limit) };
    if done == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
