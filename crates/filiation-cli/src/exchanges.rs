//! Exchanges with an endpoint, as a run keeps them.

use filiation_audit::BoxError;
use filiation_teacher::{Exchange, Kind, Store};
use serde::Serialize;

/// Tokens of inputs and of outputs, as the endpoint counted them.
pub(crate) fn tokens(exchanges: &[Exchange]) -> (u64, u64) {
    let counted = exchanges.iter().filter_map(|e| e.usage);
    counted.fold((0, 0), |(input, output), usage| {
        (input + usage.input, output + usage.output)
    })
}

// A line of `exchanges.jsonl`. JSON is UTF-8, so that bytes are text; what is not is written in
// hexadecimal.
#[derive(Serialize)]
struct Line<'a> {
    exchange: &'a Exchange,
    request: Bytes,
    response: Option<Bytes>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Bytes {
    Text(String),
    Hex(String),
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(
            |e| Self::Hex(e.as_bytes().iter().map(|b| format!("{b:02x}")).collect()),
            Self::Text,
        )
    }
}

/// A line each, with request and response byte for byte.
pub(crate) fn lines(store: &Store, exchanges: &[Exchange]) -> Result<Vec<u8>, BoxError> {
    let mut lines = Vec::new();
    for exchange in exchanges {
        let interrupted = exchange.kind == Kind::Interrupted;
        let request = if interrupted {
            Vec::new()
        } else {
            store.bytes(&exchange.request)?
        };
        let response = exchange
            .response
            .as_ref()
            .map(|digest| store.bytes(digest))
            .transpose()?;
        let line = Line {
            exchange,
            request: request.into(),
            response: response.map(Bytes::from),
        };
        lines.extend(filiation_core::canonical::to_bytes(&line));
        lines.push(b'\n');
    }
    Ok(lines)
}
