//! A guest whose answer is its input: `transform` asks for a column of 64-bit integers, its allocator has the host put them
//! where it wants the answer to lie, and it returns that place.

use std::sync::Arc;

use lakemill_model::{DataType, Field};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::abi::Memory;

/// Where the answer lies.
pub(crate) const ANSWER: u32 = 4096;

/// The column that it reads.
pub(crate) const COLUMN: &str = "bytes";

/// Where it describes itself.
const DESCRIBED: u32 = 64;
/// Where the host puts the column: tag, then three fields.
const RETURNED: i32 = 3072;
/// Where the name of the column lies.
const NAME: i32 = 3328;
const PAGES: u64 = 4;

/// Images and cases of variants, by place in wit/types.wit.
const AFTER: u32 = 2;
const MADE: u32 = 0;
const COPIED: u32 = 1;
const COPIED_ALL: u32 = 2;

/// The columns that its first output wants made: one of every type.
pub(crate) fn made() -> Vec<Field> {
    let types = [
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal { precision: 12, scale: 2 },
        DataType::Date,
        DataType::Timestamp,
        DataType::Text,
        DataType::Bytes,
        DataType::Json,
    ];
    types.into_iter().map(|data_type| Field::new(data_type.to_string(), data_type, true)).collect()
}

/// The ones of its second output, where nothing may be null. Its third output makes none.
pub(crate) fn strict() -> Vec<Field> {
    let field = |name: &str, data_type| Field::new(Arc::from(name), data_type, false);
    vec![field("id", DataType::Int32), field("name", DataType::Text)]
}

/// Its component, as a toolchain would make it.
pub(crate) fn component(module: &[u8]) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("types.wit", include_str!("../../wit/types.wit")).expect("the contract");
    let world = resolve.select_world(&[package], Some("transform")).expect("is there");
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embeds");
    ComponentEncoder::default().module(&module).expect("is one").encode().expect("encodes")
}

/// Its module.
pub(crate) fn module() -> Vec<u8> {
    // Types of functions, by index.
    const REALLOC: u32 = 0;
    const DESCRIBE: u32 = 1;
    const TRANSFORM: u32 = 2;
    const DROP: u32 = 3;
    const READ: u32 = 4;
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32], []);
    types.ty().function([ValType::I32; 5], []);

    let batches = "lakemill:transform/batches@0.1.0";
    let mut imports = ImportSection::new();
    imports.import(batches, "[resource-drop]batch", EntityType::Function(DROP));
    imports.import(batches, "[method]batch.column", EntityType::Function(READ));

    let mut transform = Function::new([]);
    let mut body = transform.instructions();
    body.local_get(0)
        .i32_const(AFTER as i32)
        .i32_const(NAME)
        .i32_const(COLUMN.len() as i32)
        .i32_const(RETURNED)
        .call(1);
    body.local_get(0).call(0).i32_const(ANSWER as i32).end();
    let bodies = [(REALLOC, returns(ANSWER)), (DESCRIBE, returns(DESCRIBED)), (TRANSFORM, transform)];
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for (index, body) in &bodies {
        functions.function(*index);
        code.function(body);
    }

    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: PAGES, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let transformer = "lakemill:transform/transformer@0.1.0";
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("cabi_realloc", ExportKind::Func, 2);
    exports.export(&format!("{transformer}#describe"), ExportKind::Func, 3);
    exports.export(&format!("{transformer}#transform"), ExportKind::Func, 4);

    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(DESCRIBED as i32), description());
    data.active(0, &ConstExpr::i32_const(NAME), COLUMN.bytes());
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports);
    module.section(&code).section(&data);
    module.finish()
}

fn returns(address: u32) -> Function {
    let mut function = Function::new([]);
    function.instructions().i32_const(address as i32).end();
    function
}

/// What `describe` returns: a result's tag, then the record.
fn description() -> Vec<u8> {
    let mut memory = Memory::new(DESCRIBED, 12);
    let all: Vec<_> = made().iter().map(|field| made_column(&mut memory, field)).collect();
    let strict: Vec<_> = strict().iter().map(|field| made_column(&mut memory, field)).collect();
    let column = memory.bytes(COLUMN);
    let copies = [
        [COPIED, AFTER, column[0], column[1], column[0], column[1]],
        // A prefix, and no names to leave out.
        [COPIED_ALL, AFTER, column[0], column[1], 0, 0],
    ];
    let key = memory.bytes("id");
    let key = memory.records(&[key]);
    let outputs = [("all", [0, 0], all), ("strict", key, strict), ("copies", [0, 0], copies.to_vec())].map(
        |(name, key, columns)| {
            let (name, columns) = (memory.bytes(name), memory.records(&columns));
            [name[0], name[1], key[0], key[1], columns[0], columns[1]]
        },
    );
    let outputs = memory.records(&outputs);
    // A column, not an image.
    let reads = memory.records(&[[0, AFTER, column[0], column[1]]]);
    let name = memory.bytes("fuzz");
    let bytes =
        memory.finish(&[0, name[0], name[1], name[0], name[1], outputs[0], outputs[1], reads[0], reads[1], 0, 0, 0]);
    assert!(DESCRIBED as usize + bytes.len() <= RETURNED as usize, "the description has {} bytes", bytes.len());
    bytes
}

fn made_column(memory: &mut Memory, field: &Field) -> [u32; 6] {
    let (case, precision, scale) = match field.data_type {
        DataType::Boolean => (0, 0, 0),
        DataType::Int32 => (1, 0, 0),
        DataType::Int64 => (2, 0, 0),
        DataType::Float32 => (3, 0, 0),
        DataType::Float64 => (4, 0, 0),
        DataType::Decimal { precision, scale } => (5, precision, scale),
        DataType::Date => (6, 0, 0),
        DataType::Timestamp => (7, 0, 0),
        DataType::Text => (8, 0, 0),
        DataType::Bytes => (9, 0, 0),
        DataType::Json => (10, 0, 0),
    };
    let name = memory.bytes(&*field.name);
    let data_type = u32::from_le_bytes([case, precision, scale, u8::from(field.nullable)]);
    [MADE, name[0], name[1], data_type, 0, 0]
}
