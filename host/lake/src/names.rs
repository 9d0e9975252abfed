//! Names of columns: what a table can have in place of what the rows have. Pure.
//!
//! Delta allows none of ` ,;{}()\n\t=` in names without column mapping, which half of the readers do not know. Each of them becomes
//! `_`; the schema's metadata of the column remembers what the rows call it.

use std::sync::Arc;

/// The characters that Delta refuses (PROTOCOL.md, "Column Mapping"; the name check of all writers).
const REFUSED: &str = " ,;{}()\n\t=";

/// The key of a column's metadata under which a Delta schema keeps what the rows call it.
pub(crate) const SOURCE: &str = "lakemill.source";

/// `name`, or what a table has in its place.
pub(crate) fn allowed(name: &str) -> Arc<str> {
    if name.contains(|c| REFUSED.contains(c)) { name.replace(|c| REFUSED.contains(c), "_").into() } else { name.into() }
}

/// Whether nothing can be made of a name.
pub(crate) fn is_refused(name: &str) -> bool {
    name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refused_character_is_replaced_and_no_other() {
        for name in ["plain", "Größe", "a.b", "a-b", "a/b", "_", "名前"] {
            assert_eq!(*allowed(name), *name);
        }
        assert_eq!(&*allowed("first name (EUR)"), "first_name__EUR_");
        assert_eq!(&*allowed("a,b;c{d}e\nf\tg=h"), "a_b_c_d_e_f_g_h");
        assert!(is_refused("") && !is_refused(" "));
    }
}
