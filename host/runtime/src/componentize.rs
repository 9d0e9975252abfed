//! From a core module to a component. What the module says of its own interface is not read: the contract is known
//! here, and the parser of such descriptions follows package references in a circle until the stack is gone
//! (wit-parser 0.254). Its strings are UTF-8, as Rust, C, Go and Zig have them; toolchains of other languages make
//! components themselves.

use std::panic::catch_unwind;

use lakemill_model::TransformError;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::scan::{Interfaces, broken};

/// The contract, version 0.1.0.
pub(crate) const CONTRACT: &str = include_str!("../../../wit/types.wit");
const VERSION: &str = "@0.1.0;";
const WORLD: &str = "transform";

/// The component of a module whose imports are those of the contract.
///
/// # Errors
/// If its imports and exports are not what the contract says.
pub(crate) fn componentize(module: &[u8], interfaces: &Interfaces) -> Result<Vec<u8>, TransformError> {
    let mut module = without_custom_sections(module)?;
    let patch = interfaces.patch().unwrap_or(0);
    let encode = move || {
        let mut resolve = Resolve::default();
        // The same contract under the module's patch version: that is how its imports are named.
        let package = resolve.push_str("types.wit", &CONTRACT.replacen(VERSION, &format!("@0.1.{patch};"), 1))?;
        let world = resolve.select_world(&[package], Some(WORLD))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    };
    let refused = |why: String| TransformError::Refused(format!("the module does not fit the contract: {why}"));
    // A bug there, met by a hostile module, must not end the process.
    match catch_unwind(encode) {
        Ok(encoded) => encoded.map_err(|why| refused(format!("{why:#}"))),
        Err(_) => Err(refused("the encoder gave up on it".into())),
    }
}

/// Only names stay of what is not code: they are for backtraces.
fn without_custom_sections(module: &[u8]) -> Result<Vec<u8>, TransformError> {
    let mut kept = Vec::with_capacity(module.len());
    let mut start = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(broken)?;
        let end = match (&payload, payload.as_section()) {
            (Payload::Version { range, .. }, _) => range.end,
            (_, Some((_, range))) => range.end,
            _ => continue,
        };
        let keep = match &payload {
            Payload::CustomSection(section) => section.name() == "name",
            _ => true,
        };
        if keep {
            kept.extend_from_slice(&module[start..end]);
        }
        start = end;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CustomSection, Module, TypeSection};

    use super::*;

    #[test]
    fn the_contract_is_all_of_it() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
        let files = std::fs::read_dir(wit).expect("lists").map(|entry| entry.expect("entry").file_name());
        assert_eq!(files.collect::<Vec<_>>(), ["types.wit"]);
        assert_eq!(CONTRACT.matches(VERSION).count(), 1);
    }

    #[test]
    fn only_names_stay() {
        let custom = |name: &'static str| CustomSection { name: name.into(), data: b"x".into() };
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut module = Module::new();
        module.section(&custom("component-type:a")).section(&types).section(&custom("producers"));
        module.section(&custom(".debug_info")).section(&custom("name"));
        let mut wanted = Module::new();
        wanted.section(&types).section(&custom("name"));
        assert_eq!(without_custom_sections(&module.finish()).expect("is whole"), wanted.finish());
    }
}
