//! Test kit for native tests.
