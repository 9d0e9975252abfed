//! Core modules put together by hand, for what no compiler lets a guest do. They describe themselves as `raw`, with
//! one output that copies the row, and answer every batch with nothing.

use std::borrow::Cow;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, HeapType, ImportSection, MemorySection, MemoryType, Module, NameMap,
    NameSection, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
};
use wit_component::StringEncoding;
use wit_parser::Resolve;

use crate::guests::root;

/// The component of a module, by what the module says of its own interface.
pub fn component(module: &[u8]) -> Vec<u8> {
    let encoder = wit_component::ComponentEncoder::default().validate(true);
    encoder.module(module).expect("is one").encode().expect("encodes")
}

#[derive(Clone, Debug)]
pub struct Raw {
    pub memory_pages: u64,
    pub table_elements: u64,
    /// Its start function never ends.
    pub start_loops: bool,
    /// `transform` grows a table until it cannot, then traps.
    pub table_grows: bool,
    /// `transform` makes handles of a resource of its own without end.
    pub floods_handles: bool,
    /// `transform` does not drop its borrow of the batch.
    pub keeps_borrow: bool,
    /// `transform` traps.
    pub traps: bool,
    /// `transform` fills its table to the last element, then traps.
    pub fills_table: bool,
    /// `transform` lets its table grow, and traps if a new element is not null.
    pub reads_table: bool,
    /// What cleans up after `transform` never ends.
    pub post_return_loops: bool,
    /// More functions, each of no parameters and no results.
    pub functions: Vec<Function>,
    /// More types.
    pub types: u32,
    /// More data segments, all of them empty.
    pub data_segments: u32,
    /// What its allocator does when the host wants room for a list; `transform` asks for one unless this is `Unused`.
    pub realloc: Realloc,
    /// The version of the contract that it was built for.
    pub version: &'static str,
    /// It imports the function `now` of that interface, by its whole name.
    pub import: Option<String>,
    /// It imports that many functions of nobody's.
    pub invented_imports: u32,
    /// It exports no transformer.
    pub exports_nothing: bool,
    /// What it calls its function `transform`, for a backtrace.
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realloc {
    Unused,
    /// Gives an address outside of memory.
    Lies,
    /// Calls the host back.
    CallsBack,
    /// Never ends.
    Loops,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            memory_pages: 1,
            table_elements: 1,
            start_loops: false,
            table_grows: false,
            floods_handles: false,
            keeps_borrow: false,
            traps: false,
            fills_table: false,
            reads_table: false,
            post_return_loops: false,
            functions: Vec::new(),
            types: 0,
            data_segments: 0,
            realloc: Realloc::Unused,
            version: "0.1.0",
            import: None,
            invented_imports: 0,
            exports_nothing: false,
            name: "_ZN3raw16transform_orders17h0123456789abcdefE".into(),
        }
    }
}

// Types of functions, by index.
const REALLOC: u32 = 0;
const DESCRIBE: u32 = 1;
const TRANSFORM: u32 = 2;
const NOTHING: u32 = 3;
const DROP: u32 = 4;
const NOW: u32 = 5;
const OPS: u32 = 6;

/// Where the static answers lie.
const DESCRIBED: i32 = 64;
const ANSWERED: i32 = 512;
/// Where the host puts a list's address and length.
const LISTED: i32 = 768;

impl Raw {
    /// The module, with the description of its interface in it.
    pub fn module(&self) -> Vec<u8> {
        let mut bytes = self.core().finish();
        let mut resolve = Resolve::default();
        let contract = std::fs::read_to_string(root().join("wit/types.wit")).expect("the contract");
        let package = contract.replace("lakemill:transform@0.1.0;", &format!("lakemill:transform@{};", self.version));
        resolve.push_str("types.wit", &package).expect("the contract");
        if let Some(name) = self.foreign() {
            let (interface, version) = name.split_once('@').expect("a version");
            let (package, interface) = interface.split_once('/').expect("a package");
            let source = format!("package {package}@{version}; interface {interface} {{ now: func() -> u64; }}");
            resolve.push_str("foreign.wit", &source).expect("wit");
        }
        let world = resolve.push_str("raw.wit", &self.wit()).expect("wit");
        let world = resolve.select_world(&[world], Some("raw")).expect("is there");
        wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("embeds");
        bytes
    }

    fn wit(&self) -> String {
        let lines = [
            (!self.exports_nothing, format!("include {}", self.named("transform"))),
            (self.exports_nothing, format!("import {}", self.named("batches"))),
            (self.foreign().is_some(), format!("import {}", self.foreign().unwrap_or_default())),
            (self.floods_handles, "export things: interface { resource thing { constructor(); } }".into()),
        ];
        let lines: Vec<String> = lines.into_iter().filter(|(wanted, _)| *wanted).map(|(_, line)| line).collect();
        let lines: String =
            lines.iter().map(|line| if line.ends_with('}') { line.clone() } else { format!("{line};") }).collect();
        format!("package test:raw; world raw {{ {lines} }}")
    }

    /// What it imports of another package: what it says of its own interface names that, too.
    fn foreign(&self) -> Option<&str> {
        self.import.as_deref().filter(|name| !name.starts_with("lakemill:transform/"))
    }

    /// An interface of the contract by its whole name.
    fn named(&self, interface: &str) -> String {
        format!("lakemill:transform/{interface}@{}", self.version)
    }

    fn core(&self) -> Module {
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32; 4], [ValType::I32]);
        types.ty().function([], [ValType::I32]);
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([], []);
        types.ty().function([ValType::I32], []);
        types.ty().function([], [ValType::I64]);
        types.ty().function([ValType::I32; 2], []);
        (0..self.types).for_each(|_| types.ty().function([], []));

        let mut imports = ImportSection::new();
        let batches = self.named("batches");
        let mut imported = vec![(&*batches, "[resource-drop]batch", DROP), (&*batches, "[method]batch.ops", OPS)];
        if self.floods_handles {
            imported.push(("[export]things", "[resource-new]thing", TRANSFORM));
        }
        if let Some(name) = &self.import {
            imported.push((name, "now", NOW));
        }
        let invented: Vec<String> = (0..self.invented_imports).map(|number| format!("function{number}")).collect();
        imported.extend(invented.iter().map(|name| ("nobodys", &**name, NOTHING)));
        for (module, name, index) in &imported {
            imports.import(module, name, EntityType::Function(*index));
        }
        let first = imported.len() as u32;

        let bodies = [
            (REALLOC, self.allocator()),
            (DESCRIBE, describes()),
            (TRANSFORM, self.transform(first)),
            (NOTHING, endless()),
            (DESCRIBE, returns(0)),
            (DROP, endless()),
        ];
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        let more = self.functions.iter().map(|body| (NOTHING, body));
        for (index, body) in bodies.iter().map(|(index, body)| (*index, body)).chain(more) {
            functions.function(index);
            code.function(body);
        }

        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&self.table());
        module.section(&self.memory()).section(&self.exports(first));
        if self.start_loops {
            module.section(&StartSection { function_index: first + 3 });
        }
        let mut elements = ElementSection::new();
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(Cow::Borrowed(&[first])));
        let mut functions = NameMap::new();
        functions.append(first + 2, &self.name);
        let mut names = NameSection::new();
        names.functions(&functions);
        let mut data = DataSection::new();
        describe_data(&mut data);
        for _ in 0..self.data_segments {
            data.active(0, &ConstExpr::i32_const(0), []);
        }
        module.section(&elements).section(&DataCountSection { count: data.len() }).section(&code);
        module.section(&data).section(&names);
        module
    }

    fn table(&self) -> TableSection {
        let mut tables = TableSection::new();
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: self.table_elements,
            maximum: None,
            shared: false,
        });
        tables
    }

    fn memory(&self) -> MemorySection {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: self.memory_pages,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        memories
    }

    fn exports(&self, first: u32) -> ExportSection {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        exports.export("cabi_realloc", ExportKind::Func, first);
        if !self.exports_nothing {
            let transformer = self.named("transformer");
            exports.export(&format!("{transformer}#describe"), ExportKind::Func, first + 1);
            exports.export(&format!("{transformer}#transform"), ExportKind::Func, first + 2);
            if self.post_return_loops {
                exports.export(&format!("cabi_post_{transformer}#transform"), ExportKind::Func, first + 5);
            }
        }
        if self.floods_handles {
            exports.export("things#[constructor]thing", ExportKind::Func, first + 4);
        }
        exports
    }

    fn transform(&self, first: u32) -> Function {
        let mut function = Function::new([(1, ValType::I32)]);
        let mut body = function.instructions();
        if self.realloc != Realloc::Unused {
            body.local_get(0).i32_const(LISTED).call(1);
        }
        if !self.keeps_borrow {
            body.local_get(0).call(0);
        }
        if self.floods_handles {
            body.loop_(BlockType::Empty).i32_const(7).call(2).drop().br(0).end();
        }
        if self.traps {
            body.unreachable();
        }
        if self.fills_table {
            body.ref_func(first).i32_const(19_999).table_grow(0).drop().unreachable();
        }
        if self.reads_table {
            // From the last element down.
            body.ref_null(HeapType::FUNC).i32_const(19_999).table_grow(0).drop();
            body.i32_const(19_999).local_set(1).loop_(BlockType::Empty);
            body.local_get(1).table_get(0).ref_is_null().i32_eqz().if_(BlockType::Empty).unreachable().end();
            body.local_get(1).i32_const(1).i32_sub().local_tee(1).br_if(0).end();
        }
        if self.table_grows {
            body.loop_(BlockType::Empty);
            body.ref_null(HeapType::FUNC).i32_const(1_000).table_grow(0).i32_const(-1).i32_ne().br_if(0);
            body.end().unreachable();
        }
        body.i32_const(ANSWERED).end();
        function
    }

    fn allocator(&self) -> Function {
        match self.realloc {
            Realloc::Unused => {
                let mut function = Function::new([]);
                function.instructions().unreachable().end();
                function
            }
            Realloc::Lies => returns(-16),
            Realloc::CallsBack => {
                let mut function = Function::new([]);
                function.instructions().i32_const(1).call(0).i32_const(0).end();
                function
            }
            Realloc::Loops => {
                let mut function = Function::new([]);
                function.instructions().loop_(BlockType::Empty).br(0).end().unreachable().end();
                function
            }
        }
    }
}

fn returns(value: i32) -> Function {
    let mut function = Function::new([]);
    function.instructions().i32_const(value).end();
    function
}

fn endless() -> Function {
    let mut function = Function::new([]);
    function.instructions().loop_(BlockType::Empty).br(0).end().end();
    function
}

/// A `describe` that returns what [`describe_data`] says.
pub fn describes() -> Function {
    returns(DESCRIBED)
}

/// The segments of [`describe_data`].
pub const SEGMENTS: u32 = 5;

/// The description and the answer as the canonical ABI lays them out: a result's tag, then the record.
pub fn describe_data(data: &mut DataSection) {
    const NAME: i32 = 8;
    const OUTPUT: i32 = 128;
    const COLUMN: i32 = 192;
    let words = |words: &[i32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    data.active(0, &ConstExpr::i32_const(NAME), *b"raw");
    // ok; name, version, outputs, reads; config-schema: none.
    data.active(0, &ConstExpr::i32_const(DESCRIBED), words(&[0, NAME, 3, NAME, 3, OUTPUT, 1, 0, 0, 0, 0, 0]));
    // name, key, columns.
    data.active(0, &ConstExpr::i32_const(OUTPUT), words(&[NAME, 3, 0, 0, COLUMN, 1]));
    // copied-all; image row, prefix, except.
    data.active(0, &ConstExpr::i32_const(COLUMN), words(&[2, 3, 0, 0, 0, 0]));
    // ok; emissions, rejections.
    data.active(0, &ConstExpr::i32_const(ANSWERED), words(&[0, 0, 0, 0, 0]));
}
