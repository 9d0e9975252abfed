//! Components: compile, cache, limit, instantiate, call, validate (the only door to wasmtime).
