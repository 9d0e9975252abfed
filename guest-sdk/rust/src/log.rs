//! Lines for the host's log: `log::info!("{} rows", batch.len())`. Natively they go to standard error. A module that writes
//! none does not ask the host for `log`.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever debugs the transform.
    Debug,
    /// For whoever runs it.
    Info,
    /// Something that should be looked at.
    Warn,
    /// Something that is wrong.
    Error,
}

/// Writes a line. The host cuts it at 1,024 bytes, drops those after the first 100 of a batch, and says so.
pub fn write(level: Level, line: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::component::log(level, line);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {line}");
}

/// From now on a panic writes its message to the log as well, once for each call in which it happens. The dead letter has it anyway:
/// `the component panicked: total is -3 (src/lib.rs:23)`.
pub fn panics() {
    // Natively standard error has it already.
    #[cfg(target_arch = "wasm32")]
    {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            write(Level::Error, &panic.to_string());
        }));
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($message:tt)*) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($message)*))
    };
}

/// Writes a line for whoever debugs the transform.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($message:tt)*) => { $crate::__log!(Debug, $($message)*) };
}

/// Writes a line for whoever runs the transform.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($message:tt)*) => { $crate::__log!(Info, $($message)*) };
}

/// Writes a line about something that should be looked at.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($message:tt)*) => { $crate::__log!(Warn, $($message)*) };
}

/// Writes a line about something that is wrong.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($message:tt)*) => { $crate::__log!(Error, $($message)*) };
}

pub use crate::{__debug as debug, __error as error, __info as info, __warn as warn};
