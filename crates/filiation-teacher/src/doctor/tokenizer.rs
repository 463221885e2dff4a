//! The tokenizer, where the endpoint shows it.

use filiation_core::{Digest, canonical};

use super::Notes;
use super::seen::Asking;
use crate::{Dialect, TeacherError};

const CHECK: &str = "tokenizer";
/// What tokenizers differ on: spaces, digits, capitals, accents, other scripts, emoji, code.
const TEXT: &str = "  The price rose 1,234.5 % in DÉCEMBRE;\n\tif (x_1 >= 10) { return naïve; } 你好 мир 🙂 http://a.b/c?d=e";

pub(super) fn check(
    asking: &mut Asking<'_>,
    notes: &mut Notes,
) -> Result<Option<Digest>, TeacherError> {
    if !matches!(
        asking.client().endpoint().dialect(),
        Dialect::LlamaCpp | Dialect::Vllm
    ) {
        return Ok(None);
    }
    let pieces = match asking.pieces(TEXT)? {
        Ok(pieces) => pieces,
        Err(why) => {
            notes.unproved(CHECK, why);
            return Ok(None);
        }
    };
    let spelled: Vec<u8> = pieces
        .iter()
        .flat_map(|p| p.bytes.iter().copied())
        .collect();
    if spelled != TEXT.as_bytes() {
        let detail = format!(
            "the tokens of a text of {} bytes spell {} others",
            TEXT.len(),
            spelled.len()
        );
        notes.odd(CHECK, "tokenizer-loses-text", detail);
        return Ok(None);
    }
    let ids: Vec<u32> = pieces.iter().map(|p| p.id).collect();
    let digest = Digest::of(&canonical::to_bytes(&ids));
    notes.sound(
        CHECK,
        format!(
            "{} tokens spell the text; digest of their ids {digest}",
            ids.len()
        ),
    );
    Ok(Some(digest))
}
