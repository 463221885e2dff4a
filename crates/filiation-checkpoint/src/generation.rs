use std::path::Path;

use serde_json::Value;

use crate::CheckpointError;
use crate::error::shown;

/// What `generation_config.json` says, with `config.json` where it is silent.
///
/// Ids that the embedding has no row for are left out and reported as findings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GenerationConfig {
    /// Tokens that end a text, sorted.
    pub eos: Vec<u32>,
    /// Token that begins a text.
    pub bos: Option<u32>,
    /// Token that pads a batch.
    pub pad: Option<u32>,
}

/// An id of a configuration that the embedding has no row for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StrayId {
    pub(crate) file: String,
    pub(crate) key: &'static str,
    pub(crate) id: u64,
}

/// A JSON file by name: `(name, path, content)`.
pub(crate) type Named<'a> = (&'a str, &'a Path, &'a Value);

impl GenerationConfig {
    /// Reads `sources` in order of precedence, for an embedding of `rows` rows.
    pub(crate) fn read(
        sources: &[Named<'_>],
        rows: usize,
    ) -> Result<(Self, Vec<StrayId>), CheckpointError> {
        let mut strays = Vec::new();
        let mut ids = |key| -> Result<Vec<u32>, CheckpointError> {
            for &(name, path, value) in sources {
                if let Some(found) = token_ids(path, value, key)? {
                    let (inside, outside): (Vec<u64>, Vec<u64>) =
                        found.into_iter().partition(|&id| id < rows as u64);
                    strays.extend(outside.into_iter().map(|id| StrayId {
                        file: name.to_owned(),
                        key,
                        id,
                    }));
                    let mut inside: Vec<u32> = inside
                        .into_iter()
                        .filter_map(|id| id.try_into().ok())
                        .collect();
                    inside.sort_unstable();
                    inside.dedup();
                    return Ok(inside);
                }
            }
            Ok(Vec::new())
        };
        let config = Self {
            eos: ids("eos_token_id")?,
            bos: ids("bos_token_id")?.first().copied(),
            pad: ids("pad_token_id")?.first().copied(),
        };
        Ok((config, strays))
    }
}

/// An id, a list of ids, or nothing. `-1`, which some configurations write for "none", is nothing.
fn token_ids(
    file: &Path,
    value: &Value,
    key: &'static str,
) -> Result<Option<Vec<u64>>, CheckpointError> {
    let refuse = |found: &Value| CheckpointError::BadValue {
        file: file.to_owned(),
        key,
        found: shown(&found.to_string()),
        expected: "a token id or a list of token ids",
    };
    let one = |found: &Value| found.as_u64().ok_or_else(|| refuse(found));
    match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(n)) if n.as_i64() == Some(-1) => Ok(None),
        Some(Value::Array(items)) if items.len() <= 1024 => {
            items.iter().map(one).collect::<Result<_, _>>().map(Some)
        }
        Some(found) => one(found).map(|id| Some(vec![id])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(generation: Value, config: Value) -> Result<(GenerationConfig, Vec<StrayId>), String> {
        let (a, b) = (
            Path::new("generation_config.json"),
            Path::new("config.json"),
        );
        let sources = [
            ("generation_config.json", a, &generation),
            ("config.json", b, &config),
        ];
        GenerationConfig::read(&sources, 100).map_err(|e| e.to_string())
    }

    #[test]
    fn an_id_and_a_list_are_both_read() {
        let (found, strays) = read(
            json!({"eos_token_id": [9, 1, 9], "pad_token_id": -1}),
            json!({"eos_token_id": 3, "bos_token_id": 2, "pad_token_id": null}),
        )
        .expect("both are valid");
        assert_eq!(found.eos, [1, 9]);
        assert_eq!((found.bos, found.pad), (Some(2), None));
        assert_eq!(strays, []);
    }

    #[test]
    fn ids_beyond_the_embedding_are_left_out_and_told() {
        let (found, strays) = read(json!({"eos_token_id": [5, 100]}), json!({})).expect("valid");
        assert_eq!(found.eos, [5]);
        assert_eq!(strays.len(), 1);
        assert_eq!((strays[0].key, strays[0].id), ("eos_token_id", 100));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in [
            json!("1"),
            json!(1.5),
            json!(-2),
            json!([1, "x"]),
            json!({}),
        ] {
            let error = read(json!({ "eos_token_id": bad }), json!({})).expect_err("no id");
            assert!(
                error.contains("`generation_config.json`: `eos_token_id`"),
                "{error}"
            );
        }
    }
}
