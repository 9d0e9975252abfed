//! One file a verb.

pub mod blame;
pub mod build;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod inspect;
pub mod new;
pub mod promote;
pub mod reload;
pub mod resume;
pub mod rollback;
pub mod run;
pub mod status;
pub mod tap;
pub mod test;
pub mod validate;
