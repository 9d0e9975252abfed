//! Modules that are hard on a compiler: each just over a bound, or as bad as the bounds allow.

use wasm_encoder::{
    BlockType, Component, Function, InstanceSection, MemorySection, MemoryType, Module, ModuleArg, ModuleSection,
    NestedComponentSection, ValType,
};

use crate::raw::Raw;

/// What a function may have, from host/runtime/src/scan.rs.
const FUNCTION_BYTES_MAX: usize = 256 << 10;
const LOCALS_MAX: u32 = 5_000;

fn with(functions: Vec<Function>) -> Vec<u8> {
    Raw { functions, ..Raw::default() }.module()
}

/// One function with more variables than any author needs.
pub fn locals() -> Vec<u8> {
    let mut function = Function::new([(LOCALS_MAX + 1, ValType::I64)]);
    function.instructions().end();
    with(vec![function])
}

/// One function of blocks within blocks.
pub fn blocks() -> Vec<u8> {
    let mut function = Function::new([]);
    let mut body = function.instructions();
    let depth = FUNCTION_BYTES_MAX / 2;
    for _ in 0..depth {
        body.block(BlockType::Empty);
    }
    for _ in 0..=depth {
        body.end();
    }
    with(vec![function])
}

/// Functions of nothing.
pub fn functions() -> Vec<u8> {
    let mut nothing = Function::new([]);
    nothing.instructions().end();
    with(vec![nothing; 20_001])
}

/// The worst that the bounds let through: functions as large as may be, with as many variables as may be, each of which lives
/// through a loop of branches.
pub fn within_bounds() -> Vec<u8> {
    let mut function = Function::new([(LOCALS_MAX, ValType::I64)]);
    let mut body = function.instructions();
    body.loop_(BlockType::Empty);
    let mut at = 0;
    while body_bytes(at) < FUNCTION_BYTES_MAX - 200 {
        let [from, with, into] = [at, at * 7 + 3, at * 13 + 5].map(|local| local % LOCALS_MAX);
        body.local_get(from).i64_eqz().if_(BlockType::Empty);
        body.local_get(with).local_get(from).i64_add().local_set(into);
        body.end();
        at += 1;
    }
    body.local_get(0).i64_eqz().br_if(0).end().end();
    with(vec![function; 15])
}

/// An upper bound of what so many rounds of [`within_bounds`] take.
fn body_bytes(rounds: u32) -> usize {
    rounds as usize * (2 * 4 + 3 * 3 + 7)
}

/// More core modules' memories than a component may have.
pub fn memories() -> Vec<u8> {
    instances(5)
}

/// More core instances than a component may have.
pub fn many_instances() -> Vec<u8> {
    instances(17)
}

fn instances(count: u32) -> Vec<u8> {
    let mut memory = MemorySection::new();
    memory.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut module = Module::new();
    if count < 17 {
        module.section(&memory);
    }
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    let mut instances = InstanceSection::new();
    for _ in 0..count {
        instances.instantiate::<Vec<(&str, ModuleArg)>, &str>(0, Vec::new());
    }
    component.section(&instances);
    component.finish()
}

/// A component with another one in it.
pub fn nested() -> Vec<u8> {
    let mut inner = Component::new();
    inner.section(&ModuleSection(&Module::new()));
    let mut outer = Component::new();
    outer.section(&NestedComponentSection(&inner));
    outer.finish()
}

/// A module that waits on shared memory, which is how a thread sleeps.
pub fn waits() -> Vec<u8> {
    let mut function = Function::new([]);
    let at = wasm_encoder::MemArg { offset: 0, align: 2, memory_index: 0 };
    function.instructions().i32_const(0).i32_const(0).i64_const(-1).memory_atomic_wait32(at).drop().end();
    with(vec![function])
}
