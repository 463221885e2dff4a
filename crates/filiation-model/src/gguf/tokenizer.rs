//! The vocabulary in a GGUF file as the `tokenizer.json` that it was made from.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::config::Metadata;
use super::header::Value;
use crate::error::GgufProblem;

/// Key of the list of tokens.
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";

const NORMAL: i128 = 1;
const UNKNOWN: i128 = 2;
const CONTROL: i128 = 3;
const USER_DEFINED: i128 = 4;
const BYTE: i128 = 6;

/// The pieces, by id.
struct Pieces<'a> {
    texts: Vec<&'a str>,
    kinds: Vec<i128>,
}

/// What goes into the sequence around a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    first: Option<u32>,
    last: Option<u32>,
}

/// The document that the `tokenizers` crate reads.
pub(super) fn tokenizer_json(metadata: &Metadata<'_>) -> Result<Json, GgufProblem> {
    let pieces = pieces(metadata)?;
    let model = metadata.text("tokenizer.ggml.model")?.unwrap_or_default();
    let mut document = match model {
        "gpt2" => byte_level(metadata, &pieces)?,
        "llama" => sentence_piece(metadata, &pieces)?,
        found => {
            return Err(GgufProblem::Value {
                what: "metadata `tokenizer.ggml.model`".into(),
                found: found.into(),
                expected: "`gpt2` (byte-level BPE) or `llama` (SentencePiece BPE)",
            });
        }
    };
    document.insert("version".into(), json!("1.0"));
    document.insert("truncation".into(), Json::Null);
    document.insert("padding".into(), Json::Null);
    document.insert("added_tokens".into(), added(&pieces));
    let ends = ends(metadata, model == "llama")?;
    document.insert("post_processor".into(), template(&pieces, ends, model)?);
    Ok(Json::Object(document))
}

fn pieces<'a>(metadata: &Metadata<'a>) -> Result<Pieces<'a>, GgufProblem> {
    let texts: Vec<&str> = strings(metadata, TOKENS)?;
    let kinds = match metadata.get("tokenizer.ggml.token_type") {
        None => vec![NORMAL; texts.len()],
        Some(Value::List(kinds)) if kinds.len() == texts.len() => kinds
            .iter()
            .map(|kind| match kind {
                Value::Int(kind) => Ok(*kind),
                other => Err(metadata.wrong("tokenizer.ggml.token_type", other, "an integer")),
            })
            .collect::<Result<_, _>>()?,
        Some(_) => {
            return Err(GgufProblem::Value {
                what: "length of `tokenizer.ggml.token_type`".into(),
                found: "another".into(),
                expected: "one entry a token",
            });
        }
    };
    Ok(Pieces { texts, kinds })
}

fn strings<'a>(metadata: &Metadata<'a>, key: &str) -> Result<Vec<&'a str>, GgufProblem> {
    let texts = metadata.list(key)?.iter().map(|value| match value {
        Value::Text(text) => Ok(text.as_str()),
        other => Err(metadata.wrong(key, other, "a list of texts")),
    });
    texts.collect()
}

// Control tokens are never split and never decoded; user-defined ones only never split.
fn added(pieces: &Pieces<'_>) -> Json {
    let entries = pieces.texts.iter().zip(&pieces.kinds).enumerate();
    entries
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED | UNKNOWN))
        .map(|(id, (text, kind))| {
            json!({
                "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                // A piece that holds the mark of a space can only be met after normalisation.
                "normalized": text.contains('▁'),
                "special": *kind != USER_DEFINED,
            })
        })
        .collect()
}

fn ends(metadata: &Metadata<'_>, sentence_piece: bool) -> Result<Ends, GgufProblem> {
    let id = |key: &str, flag: &str, default: bool| -> Result<Option<u32>, GgufProblem> {
        let wanted = metadata.flag(flag)?.unwrap_or(default);
        let id = metadata.count(key)?.and_then(|id| u32::try_from(id).ok());
        Ok(id.filter(|_| wanted))
    };
    let llama3 = metadata.text("tokenizer.ggml.pre")? == Some("llama-bpe");
    Ok(Ends {
        first: id(
            "tokenizer.ggml.bos_token_id",
            "tokenizer.ggml.add_bos_token",
            sentence_piece || llama3,
        )?,
        last: id(
            "tokenizer.ggml.eos_token_id",
            "tokenizer.ggml.add_eos_token",
            false,
        )?,
    })
}

/// Texts and ids of all tokens.
pub(super) fn entries(metadata: &Metadata<'_>) -> Result<Vec<(String, u32)>, GgufProblem> {
    let texts = strings(metadata, TOKENS)?;
    Ok(texts.into_iter().map(str::to_owned).zip(0..).collect())
}

/// Id and text of the token that metadata `tokenizer.ggml.{key}_token_id` names.
pub(super) fn named(
    metadata: &Metadata<'_>,
    key: &str,
) -> Result<Option<(u32, String)>, GgufProblem> {
    let key = format!("tokenizer.ggml.{key}_token_id");
    let Some(id) = metadata.count(&key)? else {
        return Ok(None);
    };
    let tokens = metadata.list(TOKENS)?;
    match usize::try_from(id).ok().and_then(|id| tokens.get(id)) {
        Some(Value::Text(text)) => Ok(Some((id as u32, text.clone()))),
        _ => Err(metadata.wrong(&key, &Value::Int(id.into()), "the id of a token")),
    }
}

fn template(pieces: &Pieces<'_>, ends: Ends, model: &str) -> Result<Json, GgufProblem> {
    let mut single = Vec::new();
    let mut special = Map::new();
    let mut put = |id: u32, single: &mut Vec<Json>| -> Result<(), GgufProblem> {
        let token = pieces.texts.get(id as usize).ok_or(GgufProblem::TooMany {
            what: "is the id of a token at the ends",
            found: id.into(),
            limit: pieces.texts.len() as u64,
        })?;
        single.push(json!({ "SpecialToken": { "id": token, "type_id": 0 } }));
        let entry = json!({ "id": token, "ids": [id], "tokens": [token] });
        special.insert((*token).into(), entry);
        Ok(())
    };
    if let Some(id) = ends.first {
        put(id, &mut single)?;
    }
    single.push(json!({ "Sequence": { "id": "A", "type_id": 0 } }));
    if let Some(id) = ends.last {
        put(id, &mut single)?;
    }
    if special.is_empty() {
        return Ok(match model {
            "gpt2" => json!({ "type": "ByteLevel", "add_prefix_space": false,
                "trim_offsets": false, "use_regex": false }),
            _ => Json::Null,
        });
    }
    let pair = json!([{ "Sequence": { "id": "A", "type_id": 0 } },
        { "Sequence": { "id": "B", "type_id": 1 } }]);
    Ok(
        json!({ "type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": special }),
    )
}

fn vocabulary(pieces: &Pieces<'_>) -> Json {
    let entries = pieces.texts.iter().enumerate();
    Json::Object(
        entries
            .map(|(id, text)| ((*text).to_owned(), json!(id)))
            .collect(),
    )
}

fn byte_level(
    metadata: &Metadata<'_>,
    pieces: &Pieces<'_>,
) -> Result<Map<String, Json>, GgufProblem> {
    let merges = strings(metadata, "tokenizer.ggml.merges")?;
    let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or("default");
    let split = |pattern: &str| {
        json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated",
            "invert": false })
    };
    let bytes = |regex: bool| {
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": regex })
    };
    let digits = json!({ "type": "Digits", "individual_digits": true });
    // One rule for words, parametrised by how many digits stay together.
    let words = |digits: &str| {
        [
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
            r"[^\r\n\p{L}\p{N}]?\p{L}+",
            digits,
            r" ?[^\s\p{L}\p{N}]+[\r\n]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
        .join("|")
    };
    let steps = match pre {
        "smollm" => vec![digits, bytes(true)],
        "gpt-2" | "olmo" => vec![bytes(true)],
        "llama-bpe" | "dbrx" => vec![split(&words(r"\p{N}{1,3}")), bytes(false)],
        "qwen2" => vec![split(&words(r"\p{N}")), bytes(false)],
        found => {
            return Err(GgufProblem::Value {
                what: "metadata `tokenizer.ggml.pre`".into(),
                found: found.into(),
                expected: "`gpt-2`, `smollm`, `llama-bpe`, `dbrx`, `qwen2` or `olmo`",
            });
        }
    };
    let normalizer = (pre == "qwen2").then(|| json!({ "type": "NFC" }));
    let model = json!({ "type": "BPE", "vocab": vocabulary(pieces), "merges": merges,
        "ignore_merges": pre == "llama-bpe" });
    Ok(parts([
        ("model", model),
        ("normalizer", normalizer.unwrap_or_default()),
        (
            "pre_tokenizer",
            json!({ "type": "Sequence", "pretokenizers": steps }),
        ),
        ("decoder", bytes(true)),
    ]))
}

fn sentence_piece(
    metadata: &Metadata<'_>,
    pieces: &Pieces<'_>,
) -> Result<Map<String, Json>, GgufProblem> {
    let prefix = metadata
        .flag("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    let mark = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let unmark = json!({ "type": "Replace", "pattern": { "String": "▁" }, "content": " " });
    let normalizer = if prefix {
        let prepend = json!({ "type": "Prepend", "prepend": "▁" });
        json!({ "type": "Sequence", "normalizers": [prepend, mark] })
    } else {
        mark
    };
    let mut decoders = vec![
        unmark,
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    let unknown = metadata.count("tokenizer.ggml.unknown_token_id")?;
    let unknown = unknown.and_then(|id| pieces.texts.get(usize::try_from(id).ok()?));
    let model = json!({ "type": "BPE", "vocab": vocabulary(pieces),
        "merges": merges(metadata, pieces)?, "unk_token": unknown, "fuse_unk": true,
        "byte_fallback": pieces.kinds.contains(&BYTE) });
    Ok(parts([
        ("model", model),
        ("normalizer", normalizer),
        ("pre_tokenizer", Json::Null),
        (
            "decoder",
            json!({ "type": "Sequence", "decoders": decoders }),
        ),
    ]))
}

fn parts<const N: usize>(entries: [(&str, Json); N]) -> Map<String, Json> {
    entries
        .map(|(k, v)| (k.to_owned(), v))
        .into_iter()
        .collect()
}

/// SentencePiece merges the adjacent pair whose joined piece scores highest: every split of every
/// piece into two pieces is a merge, ranked by the score of the whole.
fn merges(metadata: &Metadata<'_>, pieces: &Pieces<'_>) -> Result<Json, GgufProblem> {
    let scores = metadata.list("tokenizer.ggml.scores")?;
    if scores.len() != pieces.texts.len() {
        return Err(GgufProblem::Value {
            what: "length of `tokenizer.ggml.scores`".into(),
            found: scores.len().to_string(),
            expected: "one entry a token",
        });
    }
    let ids: HashMap<&str, usize> = pieces
        .texts
        .iter()
        .zip(0..)
        .map(|(t, id)| (*t, id))
        .collect();
    let mut found = Vec::new();
    for ((whole, kind), score) in pieces.texts.iter().zip(&pieces.kinds).zip(scores) {
        let Value::Float(score) = score else {
            return Err(metadata.wrong("tokenizer.ggml.scores", score, "a number"));
        };
        if *kind != NORMAL && *kind != USER_DEFINED {
            continue;
        }
        for (at, _) in whole.char_indices().skip(1) {
            let (left, right) = whole.split_at(at);
            if let (Some(&l), Some(&r)) = (ids.get(left), ids.get(right)) {
                found.push((*score, l, r));
            }
        }
    }
    let order = |a: &(f64, usize, usize), b: &(f64, usize, usize)| {
        b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
    };
    found.sort_by(order);
    let pairs = found
        .iter()
        .map(|&(_, l, r)| json!([pieces.texts[l], pieces.texts[r]]));
    Ok(pairs.collect())
}
