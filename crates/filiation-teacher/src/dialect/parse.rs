//! Reading JSON that nobody vouches for.

use serde_json::Value;

use crate::Failure;
use crate::call::{Alternative, Completed, End, Reply, Token, Usage};

pub(crate) type Parsed<T> = Result<T, Failure>;

/// Sums of exponentials in single precision lie this far above 1.
const ABOVE_ZERO: f64 = 5e-4;

pub(crate) fn malformed(reason: impl Into<String>) -> Failure {
    Failure::Malformed {
        reason: reason.into(),
    }
}

pub(crate) fn ignored(what: &str) -> Failure {
    Failure::Ignored { what: what.into() }
}

/// JSON, and nothing after it. Python's `NaN` and `Infinity` are no JSON, and are told as what they
/// are.
pub(crate) fn json(body: &[u8]) -> Parsed<Value> {
    serde_json::from_slice(body).map_err(|e| {
        let at = offset(body, e.line(), e.column());
        for word in ["NaN", "Infinity"] {
            let from = at.saturating_sub(word.len() + 2);
            let to = body.len().min(at + word.len() + 2);
            let near = &body[from.min(to)..to];
            if near.windows(word.len()).any(|w| w == word.as_bytes()) {
                return Failure::NotFinite { found: word.into() };
            }
        }
        if e.is_eof() {
            return Failure::Cut {
                found: body.len() as u64,
                reason: "the JSON is cut short".into(),
            };
        }
        malformed(format!("not JSON at byte {at}: {e}"))
    })
}

fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let mut lines = body.split(|b| *b == b'\n');
    let before: usize = lines
        .by_ref()
        .take(line.saturating_sub(1))
        .map(|l| l.len() + 1)
        .sum();
    (before + column).min(body.len())
}

/// The field at a path.
pub(crate) fn field<'a>(value: &'a Value, path: &str) -> Parsed<&'a Value> {
    value
        .pointer(path)
        .filter(|v| !v.is_null())
        .ok_or_else(|| malformed(format!("no `{path}`")))
}

pub(crate) fn text_at<'a>(value: &'a Value, path: &str) -> Parsed<&'a str> {
    field(value, path)?
        .as_str()
        .ok_or_else(|| malformed(format!("`{path}` is no text")))
}

pub(crate) fn optional(value: &Value, path: &str) -> Option<String> {
    value.pointer(path)?.as_str().map(str::to_owned)
}

pub(crate) fn list_at<'a>(value: &'a Value, path: &str) -> Parsed<&'a Vec<Value>> {
    field(value, path)?
        .as_array()
        .ok_or_else(|| malformed(format!("`{path}` is no list")))
}

/// A list that may be missing.
pub(crate) fn maybe_list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A log-probability.
pub(crate) fn logprob(value: &Value) -> Parsed<f64> {
    value.as_f64().ok_or_else(|| match value {
        Value::Null => Failure::NotFinite {
            found: "null".into(),
        },
        Value::String(text) => Failure::NotFinite {
            found: text.chars().take(20).collect(),
        },
        _ => malformed("a log-probability is no number"),
    })
}

pub(crate) fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// Bytes of a token: its `bytes`, else its text.
pub(crate) fn bytes(entry: &Value) -> Parsed<Vec<u8>> {
    if let Some(list) = entry.get("bytes").and_then(Value::as_array) {
        let byte = |b: &Value| b.as_u64().and_then(|b| u8::try_from(b).ok());
        let all: Option<Vec<u8>> = list.iter().map(byte).collect();
        return all.ok_or_else(|| malformed("`bytes` of a token are no bytes"));
    }
    Ok(escaped(text_at(entry, "/token")?))
}

/// Text of a token as the Completions dialect writes it: `bytes:\xe2\x80` is two bytes.
pub(crate) fn escaped(text: &str) -> Vec<u8> {
    let Some(rest) = text.strip_prefix("bytes:") else {
        return text.as_bytes().to_vec();
    };
    let parts = rest.split("\\x").skip(1);
    let all: Result<Vec<u8>, _> = parts.map(|hex| u8::from_str_radix(hex, 16)).collect();
    match all {
        Ok(bytes) if !bytes.is_empty() && rest.starts_with("\\x") => bytes,
        _ => text.as_bytes().to_vec(),
    }
}

/// Tokens in the shape of Chat Completions: `{token, bytes, logprob, top_logprobs}`.
pub(crate) fn chat_tokens(list: &[Value]) -> Parsed<Vec<Token>> {
    list.iter()
        .map(|entry| {
            let top = maybe_list(entry, "/top_logprobs").iter().map(|other| {
                Ok(Alternative {
                    id: other.get("id").and_then(id),
                    bytes: bytes(other)?,
                    logprob: logprob(field(other, "/logprob")?)?,
                })
            });
            Ok(Token {
                id: entry.get("id").and_then(id),
                bytes: bytes(entry)?,
                logprob: Some(logprob(entry.get("logprob").unwrap_or(&Value::Null))?),
                top: top.collect::<Parsed<_>>()?,
            })
        })
        .collect()
}

pub(crate) fn end(reason: Option<&str>) -> Option<End> {
    Some(match reason? {
        "stop" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "STOP" | "completed"
        | "word" => End::Stop,
        "length" | "max_tokens" | "model_length" | "MAX_TOKENS" | "max_output_tokens" | "limit" => {
            End::Length
        }
        other => End::Filtered(other.chars().take(100).collect()),
    })
}

pub(crate) fn usage(value: &Value, input: &str, output: &str, reasoning: &str) -> Option<Usage> {
    let count = |path: &str| value.pointer(path).and_then(Value::as_u64);
    Some(Usage {
        input: count(input)?,
        output: count(output)?,
        reasoning: count(reasoning).unwrap_or(0),
    })
}

pub(crate) fn models(value: &Value) -> Parsed<Reply> {
    let list = ["/data", "/models"]
        .iter()
        .find_map(|path| value.pointer(path).and_then(Value::as_array))
        .ok_or_else(|| malformed("no list of models"))?;
    let name = |entry: &Value| {
        ["/id", "/name", "/model"]
            .iter()
            .find_map(|path| optional(entry, path))
    };
    Ok(Reply::Models(list.iter().filter_map(name).collect()))
}

/// What the body of a refusal says, in one line of bounded length.
pub(crate) fn message(body: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let found = value.as_ref().and_then(|value| {
        [
            "/error/message",
            "/error",
            "/detail",
            "/message",
            "/0/error/message",
        ]
        .iter()
        .find_map(|path| optional(value, path))
    });
    let text = found
        .unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(2000)]).into_owned());
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() || is_bidi(c) { ' ' } else { c })
        .take(300)
        .collect();
    if line.trim().is_empty() {
        line = "no reason given".into();
    }
    line.trim().to_owned()
}

const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Refuses numbers that are no log-probabilities.
pub(crate) fn check(completed: &Completed) -> Parsed<()> {
    let tokens = completed.tokens.iter().chain(&completed.input);
    let chosen = tokens.clone().filter_map(|t| t.logprob);
    let others = tokens.flat_map(|t| &t.top).map(|a| a.logprob);
    match chosen
        .chain(others)
        .find(|p| !p.is_finite() || *p > ABOVE_ZERO)
    {
        Some(found) => Err(Failure::NotFinite {
            found: found.to_string(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nan_is_told_as_such_and_a_cut_as_a_cut() {
        let nan = json(br#"{"logprob": NaN, "x": 1}"#).expect_err("no JSON");
        assert_eq!(
            nan,
            Failure::NotFinite {
                found: "NaN".into()
            }
        );
        let infinite = json(br#"{"logprob": -Infinity}"#).expect_err("no JSON");
        assert_eq!(
            infinite,
            Failure::NotFinite {
                found: "Infinity".into()
            }
        );
        assert!(matches!(
            json(br#"{"a": [1, 2"#),
            Err(Failure::Cut { found: 11, .. })
        ));
        assert!(matches!(
            json(b"{} trailing"),
            Err(Failure::Malformed { .. })
        ));
    }

    #[test]
    fn partial_characters_are_bytes() {
        assert_eq!(escaped("bytes:\\xe2\\x80"), [0xe2, 0x80]);
        assert_eq!(escaped("bytes:"), b"bytes:");
        assert_eq!(escaped(" Paris"), b" Paris");
    }

    #[test]
    fn what_a_refusal_says_is_one_line_without_controls() {
        let body = br#"{"error":{"message":"no\n\u001b[31mred\u202e way"}}"#;
        assert_eq!(message(body), "no  [31mred  way");
        assert_eq!(message(b""), "no reason given");
        assert!(message(&[b'x'; 100_000]).len() <= 300);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(json(&body));
            drop(message(&body));
        }
    }
}
