//! Derives and attributes of the guest SDK. They only write impls of the SDK's traits; what those do is said there.

mod attr;
mod config;
mod output;
mod row;
mod transform;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a row that is read: see `lakemill_guest::Row`.
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    done(row::derive(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a struct, or an enum of several tables, an output: see `lakemill_guest::Output`.
#[proc_macro_derive(Output, attributes(output))]
pub fn derive_output(input: TokenStream) -> TokenStream {
    done(output::derive(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a struct, or an enum without fields, settings: see `lakemill_guest::Config`.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    done(config::derive(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a function the transform of its crate: natively a `TRANSFORM` beside it, in the module its exports.
///
/// - `#[transform]` on `fn(&Change<Order>) -> Emit<Clean>`: row by row.
/// - `#[transform(columns, describe = PATH)]` on `fn(&Batch) -> Result<Answer, Error>`: column by column; `PATH` is a function
///   that makes the `Description`.
///
/// Either may take `&Settings` as its last argument, and so does the function at `PATH` then.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as syn::ItemFn);
    done(transform::expand(arguments.into(), &function))
}

fn done(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}
