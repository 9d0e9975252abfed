//! What a panic says to the host, for the dead letter of the row: in the module only, where it is done for every transform.

#[cfg(target_arch = "wasm32")]
use std::panic::PanicHookInfo;

/// What the host keeps of it.
const BYTES_MAX: usize = 1_024;

/// The message and the place: `total is -3 (src/lib.rs:23)`. Of a message that is too long the beginning.
#[cfg(target_arch = "wasm32")]
pub(crate) fn words(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
    said(panic.payload_as_str().unwrap_or("no message"), &place)
}

fn said(message: &str, place: &str) -> String {
    let room = BYTES_MAX.saturating_sub(place.len());
    format!("{}{place}", &message[..message.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_stays_however_long_the_message() {
        assert_eq!(said("total is -3", " (src/lib.rs:23)"), "total is -3 (src/lib.rs:23)");
        let long = said(&"é".repeat(5_000), " (src/lib.rs:23)");
        assert!(long.len() <= BYTES_MAX && long.ends_with("éé (src/lib.rs:23)"));
    }
}
