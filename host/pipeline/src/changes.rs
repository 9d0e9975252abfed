//! Which keys differ between two configurations: names and no values, since those may be secret. Pure.

use serde::Serialize;
use serde_json::Value;

/// The keys that differ, as paths such as `batch.rows_max`; lists are compared as a whole.
pub(crate) fn changed_keys(before: &impl Serialize, after: &impl Serialize) -> Vec<String> {
    let value = |of: Result<Value, _>| of.expect("a configuration is plain data");
    let mut changed = Vec::new();
    compare(&value(serde_json::to_value(before)), &value(serde_json::to_value(after)), "", &mut changed);
    changed
}

fn compare(before: &Value, after: &Value, path: &str, changed: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        changed.push(path.to_owned());
        return;
    };
    let added = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(added) {
        let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(before.get(key).unwrap_or(&Value::Null), after.get(key).unwrap_or(&Value::Null), &at, changed);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_named_where_they_differ_and_values_are_not() {
        let before = json!({ "a": 1, "b": { "c": [1, 2], "d": null, "e": { "f": 1 } }, "g": 1 });
        let after = json!({ "a": 1, "b": { "c": [1, 3], "e": { "f": 2, "h": "secret" } }, "i": { "j": 1 } });
        assert_eq!(changed_keys(&before, &after), ["b.c", "b.e.f", "b.e.h", "g", "i"]);
        assert_eq!(changed_keys(&before, &before), [""; 0]);
    }
}
