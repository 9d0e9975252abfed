//! Where a guest was when it failed, as text for its author. The names are the guest's own, and it is put together outside of the
//! bounds of the call: so it is short whatever they are, and nothing is looked up in debug information.

use std::fmt::{Error, Result, Write};

use wasmtime::{FrameInfo, WasmBacktrace};

use crate::text::said;

/// What is kept of a name.
const NAME_BYTES_MAX: usize = 200;
/// What is kept of all: it goes into every dead letter.
const TEXT_BYTES_MAX: usize = 4_096;
/// A longer name is shown as it is. Reading a Rust name takes time by its length and by what is read of it, C++ names have no such
/// bound: a few hundred bytes of them mean gigabytes.
const MANGLED_BYTES_MAX: usize = 4_096;

/// Whole lines, one for each frame; `None` if no guest was running.
pub(crate) fn backtrace(error: &wasmtime::Error) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    (!frames.is_empty()).then(|| lines(frames.iter().map(line)))
}

fn lines(frames: impl Iterator<Item = String>) -> String {
    let mut text = "error while executing at wasm backtrace:".to_owned();
    for (number, frame) in frames.enumerate() {
        let line = format!("\n  {number:>3}: {frame}");
        if text.len() + line.len() > TEXT_BYTES_MAX {
            break;
        }
        text.push_str(&line);
    }
    text
}

/// Byte in the module, module, function.
fn line(frame: &FrameInfo) -> String {
    let at = frame.module_offset().map(|at| format!("{at:#8x} - ")).unwrap_or_default();
    let module = frame.module().name().map_or("<unknown>".to_owned(), name);
    let function = frame.func_name().map_or_else(|| format!("<wasm function {}>", frame.func_index()), name);
    format!("{at}{module}!{function}")
}

/// The beginning of a name, as its author wrote it if it is one of Rust's.
fn name(given: &str) -> String {
    let mut beginning = Beginning::default();
    let symbol = if given.len() > MANGLED_BYTES_MAX { None } else { rustc_demangle::try_demangle(given).ok() };
    // Fails where it is full; what was written is kept.
    match symbol {
        Some(symbol) => write!(beginning, "{symbol:#}").ok(),
        None => beginning.write_str(given).ok(),
    };
    said(beginning.0, NAME_BYTES_MAX)
}

/// Takes so much of a name and no more.
#[derive(Default)]
struct Beginning(String);

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> Result {
        let fits = text.floor_char_boundary(NAME_BYTES_MAX - self.0.len());
        self.0.push_str(&text[..fits]);
        if fits < text.len() { Err(Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_names_are_as_they_were_written() {
        assert_eq!(name("_ZN3raw16transform_orders17h0123456789abcdefE"), "raw::transform_orders");
        assert_eq!(name("_RNvCs1234_7mycrate3foo"), "mycrate::foo");
        assert_eq!(name("transform"), "transform");
    }

    #[test]
    fn names_of_others_stay_as_they_are() {
        assert_eq!(name("_Z1f1AIiiES_IS0_S0_E"), "_Z1f1AIiiES_IS0_S0_E");
    }

    #[test]
    fn a_name_is_short_and_on_one_line() {
        assert_eq!(name("a\n\u{1b}[2J"), "a\\n\\u{1b}[2J");
        assert_eq!(name(&"é".repeat(1 << 20)), "é".repeat(NAME_BYTES_MAX / 2));
        assert!(name(&"\0".repeat(1 << 20)).len() <= NAME_BYTES_MAX);
    }

    /// `a::f::<((), ()), …>`, where each type is a pair of the one before it: a few hundred bytes that stand for gigabytes. RFC 2603,
    /// "Symbol name mangling v2": `T…E` is a tuple, `u` is `()`, `B…_` is what stands at that byte after `_R`, in base 62.
    #[test]
    fn a_rust_name_that_grows_is_cut() {
        const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let digit = |n: usize| char::from(DIGITS[n % 62]);
        // It counts from 1, and has two digits here.
        let back = |at: usize| format!("B{}{}_", digit((at - 1) / 62), digit((at - 1) % 62));
        let mut mangled = "_RINvC1a1fTuuE".to_owned();
        let mut last = mangled.len() - "TuuE".len() - "_R".len();
        for _ in 0..30 {
            let pair = format!("T{0}{0}E", back(last));
            last = mangled.len() - "_R".len();
            mangled.push_str(&pair);
        }
        mangled.push('E');
        let name = name(&mangled);
        assert!(name.starts_with("a::f::<((), ()), (((), ()), ((), ())), ((((), "), "{name}");
        assert_eq!(name.len(), NAME_BYTES_MAX);
    }

    #[test]
    fn all_of_it_is_short_and_ends_with_a_line() {
        let frame = "x".repeat(2 * NAME_BYTES_MAX);
        let text = lines((0..16).map(|_| frame.clone()));
        assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with(&format!(": {frame}")), "{text}");
        assert!(text.starts_with("error while executing at wasm backtrace:\n    0: xxx"), "{text}");
    }
}
