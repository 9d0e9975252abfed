//! Each bound has a file that passes it.

use wasm_encoder::{
    CodeSection, Component, CustomSection, DataSection, Function, FunctionSection, InstanceSection, Module,
    ModuleSection, NestedComponentSection, TypeSection, ValType,
};

use super::*;

#[track_caller]
fn limited(bytes: &[u8], says: &str) {
    match scan(bytes) {
        Err(TransformError::Limit { limit, .. }) => assert!(limit.contains(says), "{limit}"),
        other => panic!("{says}: {other:?}"),
    }
}

fn module_of(functions: impl Iterator<Item = Function>) -> Vec<u8> {
    let functions: Vec<Function> = functions.collect();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut declared = FunctionSection::new();
    let mut code = CodeSection::new();
    for function in &functions {
        declared.function(0);
        code.function(function);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    module.finish()
}

fn function(nops: usize, locals: u32) -> Function {
    let mut function = Function::new([(locals, ValType::I64)]);
    for _ in 0..nops {
        function.instructions().nop();
    }
    function.instructions().end();
    function
}

#[test]
fn functions() {
    assert!(scan(&module_of((0..FUNCTIONS_MAX).map(|_| function(0, 0)))).is_ok());
    limited(&module_of((0..=FUNCTIONS_MAX).map(|_| function(0, 0))), "20000 functions");
    assert!(scan(&module_of([function(FUNCTION_BYTES_MAX - 16, LOCALS_MAX)].into_iter())).is_ok());
    limited(&module_of([function(0, 1), function(FUNCTION_BYTES_MAX, 1)].into_iter()), "256 KiB for one function");
    limited(&module_of([function(0, LOCALS_MAX + 1)].into_iter()), "5000 local variables");
}

#[test]
fn locals_that_overflow_their_count() {
    let mut function = Function::new([(u32::MAX, ValType::I64), (u32::MAX, ValType::I32)]);
    function.instructions().end();
    let bytes = module_of([function].into_iter());
    assert!(scan(&bytes).is_err());
}

#[test]
fn segments_and_types() {
    let mut data = DataSection::new();
    for _ in 0..=DATA_SEGMENTS_MAX {
        data.passive([]);
    }
    let mut module = Module::new();
    module.section(&data);
    limited(&module.finish(), "1000 data segments");

    let mut types = TypeSection::new();
    for _ in 0..=TYPES_MAX {
        types.ty().function([], []);
    }
    let mut module = Module::new();
    module.section(&types);
    limited(&module.finish(), "5000 types");
}

#[test]
fn tables_and_memories() {
    let of = |minimum, pages| {
        let mut tables = wasm_encoder::TableSection::new();
        let element_type = wasm_encoder::RefType::FUNCREF;
        tables.table(wasm_encoder::TableType { element_type, table64: false, minimum, maximum: None, shared: false });
        let mut memories = wasm_encoder::MemorySection::new();
        let (memory64, shared, page_size_log2) = (false, false, None);
        let memory = wasm_encoder::MemoryType { minimum: pages, maximum: None, memory64, shared, page_size_log2 };
        memories.memory(memory).memory(memory);
        let mut module = Module::new();
        module.section(&tables).section(&memories);
        module.finish()
    };
    assert_eq!(scan(&of(20_000, 3)).expect("in bounds").memory_bytes, 6 << 16);
    assert_eq!(scan(&of(1, u64::MAX)).expect("in bounds").memory_bytes, usize::MAX);
    limited(&of(20_001, 1), "20000 elements in a table");
}

#[test]
fn modules_and_instances() {
    let mut component = Component::new();
    for _ in 0..=MODULES_MAX {
        component.section(&ModuleSection(&Module::new()));
    }
    limited(&component.finish(), "16 core modules");

    let mut component = Component::new();
    component.section(&ModuleSection(&Module::new()));
    let mut instances = InstanceSection::new();
    let none: [(&str, wasm_encoder::ModuleArg); 0] = [];
    for _ in 0..=SHAPE.instances {
        instances.instantiate(0, none);
    }
    component.section(&instances);
    limited(&component.finish(), "16 core instances");
}

#[test]
fn memories_and_tables_of_all_instances() {
    let of = |instances: usize, memories: usize, tables: usize| {
        let (element_type, table64, shared) = (wasm_encoder::RefType::FUNCREF, false, false);
        let table = wasm_encoder::TableType { element_type, table64, minimum: 1, maximum: None, shared };
        let mut table_section = wasm_encoder::TableSection::new();
        let memory =
            wasm_encoder::MemoryType { minimum: 1, maximum: None, memory64: false, shared, page_size_log2: None };
        let mut memory_section = wasm_encoder::MemorySection::new();
        for _ in 0..tables {
            table_section.table(table);
        }
        for _ in 0..memories {
            memory_section.memory(memory);
        }
        let mut module = Module::new();
        module.section(&table_section).section(&memory_section);
        let mut component = Component::new();
        component.section(&ModuleSection(&Module::new())).section(&ModuleSection(&module));
        let mut section = InstanceSection::new();
        for _ in 0..instances {
            section.instantiate(1, std::iter::empty::<(&str, wasm_encoder::ModuleArg)>());
        }
        component.section(&section);
        component.finish()
    };
    assert!(scan(&of(4, 1, 2)).is_ok());
    limited(&of(5, 1, 1), "4 memories");
    limited(&of(3, 1, 3), "8 tables");
}

#[test]
fn nested_components_with_code_are_refused() {
    let mut inner = Component::new();
    inner.section(&ModuleSection(&Module::new()));
    let mut outer = Component::new();
    outer.section(&NestedComponentSection(&inner));
    let error = scan(&outer.finish()).expect_err("is composed").to_string();
    assert!(error.contains("composed of several components"), "{error}");

    let mut outer = Component::new();
    for _ in 0..=SHIM_COMPONENTS_MAX {
        outer.section(&NestedComponentSection(&Component::new()));
    }
    limited(&outer.finish(), "64 nested components");
}

#[test]
fn cut_off_files_are_refused_at_every_byte() {
    let mut component = Component::new();
    component.section(&ModuleSection(&Module::new()));
    component.section(&CustomSection { name: "name".into(), data: b"xyz".into() });
    let whole = component.finish();
    assert!(scan(&whole).is_ok());
    let cut = (0..whole.len()).filter(|at| scan(&whole[..*at]).is_ok()).collect::<Vec<_>>();
    // What ends behind a whole section is whole.
    assert_eq!(cut.len(), 2, "{cut:?}");
}
