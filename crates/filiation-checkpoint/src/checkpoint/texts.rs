//! What templates need from the tokenizer's files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::TOKENIZER_CONFIG;
use crate::CheckpointError;
use crate::error::shown;
use crate::folder::{Folder, MappedFile};

/// Special tokens by the names that templates use; the first source that names one wins.
pub(super) fn special_tokens(tokenizer: &Value, map: &Value) -> BTreeMap<String, String> {
    let keys = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];
    let mut found = BTreeMap::new();
    for key in keys.map(|k| format!("{k}_token")) {
        // A plain string, or the whole added token.
        let text = |source: &Value| {
            let value = source.get(&key)?;
            value
                .as_str()
                .or_else(|| value.get("content")?.as_str())
                .map(str::to_owned)
        };
        if let Some(token) = text(tokenizer).or_else(|| text(map)) {
            found.insert(key, token);
        }
    }
    found
}

/// File and source of the template.
pub(super) fn read_template(
    folder: &Folder,
    jinja: Option<&MappedFile>,
    tokenizer: &Value,
) -> Result<Option<(PathBuf, String)>, CheckpointError> {
    if let Some(file) = jinja {
        let source = std::str::from_utf8(file.bytes()).map_err(|e| CheckpointError::Template {
            file: file.path.clone(),
            reason: e.to_string(),
        })?;
        return Ok(Some((file.path.clone(), source.to_owned())));
    }
    let file = folder.path(TOKENIZER_CONFIG);
    let refuse = |found: &Value| CheckpointError::BadValue {
        file: file.clone(),
        key: "chat_template",
        found: shown(&found.to_string()),
        expected: "a template or a list of named templates with one named `default`",
    };
    let source = match tokenizer.get("chat_template") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(source)) => source.clone(),
        Some(found) => found
            .as_array()
            .and_then(|all| {
                all.iter()
                    .find(|t| t.get("name") == Some(&"default".into()))
            })
            .and_then(|t| t.get("template")?.as_str())
            .ok_or_else(|| refuse(found))?
            .to_owned(),
    };
    Ok(Some((file, source)))
}
