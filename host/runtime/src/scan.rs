//! A look at a component before any compiler sees it: is it of a size and shape that compiles in time, what does it
//! import and export? Parses, never validates: the compiler does that.
//!
//! The bounds are for compile bombs: a function body of 400 KB with many locals took 26 s to compile without
//! optimisation, one of 1 MB took 11 s with it (measured on wasmtime 48).

use lakemill_model::TransformError;
use wasmparser::{ComponentExternalKind, Encoding, Instance, Parser, Payload};

use crate::bindings::PACKAGE;
use crate::limits::{bytes as show, limit};
use crate::meter::{SHAPE, table_limit};

const FUNCTION_BYTES_MAX: usize = 256 << 10;
const LOCALS_MAX: u32 = 5_000;
const FUNCTIONS_MAX: u32 = 20_000;
const DATA_SEGMENTS_MAX: u32 = 1_000;
const TYPES_MAX: u32 = 5_000;
const MODULES_MAX: u32 = 16;
/// Imports, exports, globals, tables, element segments, instances, aliases: of each, over the whole file.
const ITEMS_MAX: u32 = 20_000;
/// wit-component makes one for each exported interface.
const SHIM_COMPONENTS_MAX: u32 = 64;

/// What a component or a core module imports and exports, by whole names, and what it needs from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interfaces {
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The first size of its memories together.
    pub memory_bytes: usize,
}

impl Interfaces {
    /// The patch version of the contract that it was built for; `None` if it names none.
    pub(crate) fn patch(&self) -> Option<u32> {
        self.imports.iter().chain(&self.exports).find_map(|name| Some(ours(name)?.1))
    }
}

/// Counts of the whole file, nested modules and components included.
#[derive(Default)]
struct Counts {
    functions: u32,
    data_segments: u32,
    types: u32,
    modules: u32,
    items: u32,
    components: u32,
    /// Memories and tables that each module defines, by its index.
    defined: Vec<[u32; 2]>,
    core_instances: u32,
    /// Memories and tables of all instances.
    memories: u32,
    tables: u32,
}

/// Checks sizes and shape, collects the interfaces.
///
/// # Errors
/// If a bound is passed (it is named), if a component is nested in it, or if it cannot be parsed.
pub(crate) fn scan(bytes: &[u8]) -> Result<Interfaces, TransformError> {
    let mut interfaces = Interfaces::default();
    let mut counts = Counts::default();
    // What we are in: the outer component, then modules and shims.
    let mut inside = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(broken)?;
        match &payload {
            Payload::Version { encoding, .. } => inside.push(*encoding),
            Payload::End(_) => drop(inside.pop()),
            Payload::ComponentImportSection(imports) if inside.len() == 1 => {
                for import in imports.clone() {
                    interfaces.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if inside.len() == 1 => {
                for export in exports.clone() {
                    let export = export.map_err(broken)?;
                    if export.kind == ComponentExternalKind::Instance {
                        interfaces.exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::ImportSection(imports) if inside.len() == 1 => {
                for import in imports.clone().into_imports() {
                    add(&mut interfaces.imports, import.map_err(broken)?.module);
                }
            }
            Payload::ExportSection(exports) if inside.len() == 1 => {
                for export in exports.clone() {
                    // `interface#function`, and `cabi_post_` before it where there is something to clean up.
                    if let Some((interface, _)) = export.map_err(broken)?.name.split_once('#') {
                        add(&mut interfaces.exports, interface.strip_prefix("cabi_post_").unwrap_or(interface));
                    }
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let pages = memory.map_err(broken)?.initial;
                    let bytes = usize::try_from(pages.saturating_mul(1 << 16)).unwrap_or(usize::MAX);
                    interfaces.memory_bytes = interfaces.memory_bytes.saturating_add(bytes);
                }
            }
            _ => {}
        }
        let nested = inside.len() > 1 && inside.last() == Some(&Encoding::Component);
        if nested && brings_code(&payload) {
            return Err(TransformError::Refused(
                "it is composed of several components, which this version does not run; give the transform alone"
                    .into(),
            ));
        }
        counts.add(&payload)?;
        counts.check()?;
    }
    Ok(interfaces)
}

/// A module names an interface once for each function.
fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// A nested component that only renames types is how interfaces are exported; one with code is another program.
fn brings_code(payload: &Payload<'_>) -> bool {
    matches!(
        payload,
        Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. }
            | Payload::InstanceSection(_)
            | Payload::ComponentCanonicalSection(_)
            | Payload::ComponentStartSection { .. }
    )
}

impl Counts {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), TransformError> {
        match payload {
            Payload::TypeSection(types) => add_to(&mut self.types, types.count()),
            Payload::CoreTypeSection(types) => add_to(&mut self.types, types.count()),
            Payload::ComponentTypeSection(types) => add_to(&mut self.types, types.count()),
            Payload::FunctionSection(functions) => add_to(&mut self.functions, functions.count()),
            Payload::ComponentCanonicalSection(functions) => add_to(&mut self.functions, functions.count()),
            Payload::DataSection(segments) => add_to(&mut self.data_segments, segments.count()),
            Payload::CodeSectionEntry(body) => function(body)?,
            Payload::ModuleSection { .. } => {
                self.modules += 1;
                self.defined.push([0, 0]);
            }
            Payload::ComponentSection { .. } => self.components += 1,
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance.map_err(broken)? {
                        let [memories, tables] = self.defined.get(module_index as usize).copied().unwrap_or_default();
                        add_to(&mut self.core_instances, 1);
                        add_to(&mut self.memories, memories);
                        add_to(&mut self.tables, tables);
                    }
                    self.items += 1;
                }
            }
            Payload::ImportSection(items) => add_to(&mut self.items, items.count()),
            Payload::ExportSection(items) => add_to(&mut self.items, items.count()),
            Payload::GlobalSection(items) => add_to(&mut self.items, items.count()),
            Payload::TableSection(tables) => {
                for found in tables.clone() {
                    table(&found.map_err(broken)?)?;
                }
                self.define(1, tables.count());
            }
            Payload::MemorySection(memories) => self.define(0, memories.count()),
            Payload::ElementSection(items) => add_to(&mut self.items, items.count()),
            Payload::ComponentInstanceSection(items) => add_to(&mut self.items, items.count()),
            Payload::ComponentAliasSection(items) => add_to(&mut self.items, items.count()),
            Payload::ComponentImportSection(items) => add_to(&mut self.items, items.count()),
            Payload::ComponentExportSection(items) => add_to(&mut self.items, items.count()),
            _ => {}
        }
        Ok(())
    }

    fn define(&mut self, kind: usize, count: u32) {
        add_to(&mut self.items, count);
        if let Some(module) = self.defined.last_mut() {
            add_to(&mut module[kind], count);
        }
    }

    fn check(&self) -> Result<(), TransformError> {
        let bounds = [
            (self.functions, FUNCTIONS_MAX, "functions"),
            (self.data_segments, DATA_SEGMENTS_MAX, "data segments"),
            (self.types, TYPES_MAX, "types"),
            (self.modules, MODULES_MAX, "core modules"),
            (self.items, ITEMS_MAX, "imports, exports, globals and tables"),
            (self.core_instances, SHAPE.instances, "core instances"),
            (self.memories, SHAPE.memories, "memories"),
            (self.tables, SHAPE.tables, "tables"),
            (self.components, SHIM_COMPONENTS_MAX, "nested components"),
        ];
        match bounds.into_iter().find(|(count, max, _)| count > max) {
            Some((_, max, what)) => Err(limit(
                format!("{max} {what} in a component"),
                "build it optimised (`opt-level`, `lto`) and with fewer dependencies; no usual transform comes near",
            )),
            None => Ok(()),
        }
    }
}

/// What a section says of its length may be a lie.
fn add_to(count: &mut u32, more: u32) {
    *count = count.saturating_add(more);
}

fn table(table: &wasmparser::Table<'_>) -> Result<(), TransformError> {
    if table.ty.initial <= u64::from(SHAPE.table_elements) { Ok(()) } else { Err(table_limit(table.ty.initial)) }
}

fn function(body: &wasmparser::FunctionBody<'_>) -> Result<(), TransformError> {
    let size = body.range().len();
    if size > FUNCTION_BYTES_MAX {
        return Err(limit(
            format!("{} for one function", show(FUNCTION_BYTES_MAX)),
            format!(
                "the one at byte {} has {}, which takes long to compile; split it, or put large constants into data",
                body.range().start,
                show(size)
            ),
        ));
    }
    let mut locals = 0_u32;
    for group in body.get_locals_reader().map_err(broken)? {
        locals = locals.saturating_add(group.map_err(broken)?.0);
    }
    if locals > LOCALS_MAX {
        return Err(limit(
            format!("{LOCALS_MAX} local variables in one function"),
            format!("the one at byte {} has {locals}; split it", body.range().start),
        ));
    }
    Ok(())
}

/// The interface of our package, version 0.1, that a whole name means, and the patch version.
pub(crate) fn ours(name: &str) -> Option<(&str, u32)> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.strip_prefix('/')?.split_once('@')?;
    let patch = version.strip_prefix("0.1.").filter(|patch| patch.bytes().all(|b| b.is_ascii_digit()))?;
    Some((interface, patch.parse().ok()?))
}

/// The error of bytes that end or turn wrong somewhere.
pub(crate) fn broken(wrong: wasmparser::BinaryReaderError) -> TransformError {
    TransformError::Refused(format!(
        "broken WebAssembly at byte {}: {}; is the file whole?",
        wrong.offset(),
        wrong.message()
    ))
}

#[cfg(test)]
mod tests;
