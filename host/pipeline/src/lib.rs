//! The loop: plan, decode, transform, write, commit, recover.
