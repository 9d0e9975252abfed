//! A component's file before a compiler sees it: in bounds, or refused.

use lakemill_runtime::prescan;
use wasm_encoder::{
    CodeSection, Component, ComponentTypeSection, Function, FunctionSection, InstanceSection, MemorySection,
    MemoryType, Module, ModuleArg, ModuleSection, NestedComponentSection, PrimitiveValType, TypeSection, ValType,
};

use crate::guest;

/// Looks at it.
pub fn scan(data: &[u8]) {
    if let Err(error) = prescan(data) {
        assert!(!error.to_string().is_empty());
    }
}

/// A whole component and its module, small ones, and what is no WebAssembly.
pub fn seeds() -> Vec<Vec<u8>> {
    let module = guest::module();
    vec![
        guest::component(&module),
        module,
        small_module().finish(),
        small_component(),
        b"\0asm\x01\0".to_vec(),
        b"\0asm\x0e\0\x01\0".to_vec(),
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec(),
        b"(component)".to_vec(),
        b"PK\x03\x04".to_vec(),
        // Two sections of types, of which one says that it has as many as there are numbers.
        b"\0asm\x0d\0\x01\0\x07\x02\x01\x7d\x07\x05\xff\xff\xff\xff\x0f".to_vec(),
    ]
}

fn small_module() -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut code = CodeSection::new();
    let mut body = Function::new([(3, ValType::I64), (1, ValType::F32)]);
    body.instructions().end();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&code);
    module
}

/// With a module, its instance, and a component that only names a type.
fn small_component() -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types.defined_type().list(PrimitiveValType::U8);
    let mut inner = Component::new();
    inner.section(&types);
    let mut instances = InstanceSection::new();
    instances.instantiate(0, std::iter::empty::<(&str, ModuleArg)>());
    let mut component = Component::new();
    component.section(&types).section(&NestedComponentSection(&inner));
    component.section(&ModuleSection(&small_module())).section(&instances);
    component.finish()
}
