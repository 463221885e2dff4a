//! One byte string a value: JSON with sorted keys and shortest round-trip floats.

use serde::Serialize;
use serde_json::Value;

/// Canonical JSON on one line, without a final newline. Keys are sorted at every level.
///
/// # Panics
/// When `value` does not serialise to JSON (a map with keys that are not strings): a defect of
/// the type, not of the data.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(&sorted(value)).expect("a JSON value serialises")
}

/// As [`to_bytes`], indented and with a final newline: for files that people read.
///
/// # Panics
/// As [`to_bytes`].
pub fn to_pretty<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(&sorted(value)).expect("a JSON value serialises");
    bytes.push(b'\n');
    bytes
}

fn sorted<T: Serialize + ?Sized>(value: &T) -> Value {
    sort(serde_json::to_value(value).expect("the type serialises to JSON"))
}

// Whether a map keeps insertion order depends on a feature that any dependency may turn on.
fn sort(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(k, v)| (k, sort(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sort).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_floats_are_shortest() {
        let value = serde_json::json!({ "b": 0.1, "a": { "d": 1e-320, "c": [1.0, 3] } });
        assert_eq!(
            to_bytes(&value),
            br#"{"a":{"c":[1.0,3],"d":1e-320},"b":0.1}"#
        );
    }
}
