use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer, TokenizerBuilder};

use crate::LabError;

/// Begins every document; the tokenizer adds it.
pub(crate) const BEGIN: &str = "<s>";
/// Ends every document.
pub(crate) const END: &str = "</s>";
/// Id of [`BEGIN`].
pub(crate) const BEGIN_ID: u32 = 0;
/// Id of [`END`].
pub(crate) const END_ID: u32 = 1;

/// Whether a token begins or ends documents.
pub(crate) const fn is_control(id: u32) -> bool {
    id == BEGIN_ID || id == END_ID
}

/// Trains a byte-level BPE tokenizer; [`BEGIN`] and [`END`] come first, then the 256 bytes.
pub(crate) fn train(lines: &[&str], vocabulary: usize) -> Result<Tokenizer, LabError> {
    let special = [BEGIN, END].map(|t| AddedToken::from(t, true));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocabulary)
        .show_progress(false)
        .special_tokens(special.to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut untrained = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::NormalizerWrapper>)
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_post_processor(Some(ByteLevel::default()))
        .with_decoder(Some(ByteLevel::default()))
        .build()?;
    untrained.train(&mut trainer, lines.iter().copied())?;
    let mut tokenizer = Tokenizer::from_bytes(untrained.to_string(false)?)?;
    tokenizer.with_post_processor(Some(begin_first()?));
    let got = tokenizer.get_vocab_size(true);
    if got != vocabulary {
        return Err(LabError::Vocabulary {
            got,
            expected: vocabulary,
        });
    }
    Ok(tokenizer)
}

fn begin_first() -> Result<TemplateProcessing, LabError> {
    let refuse = |reason: String| LabError::Tokenizer {
        source: reason.into(),
    };
    TemplateProcessing::builder()
        .try_single(format!("{BEGIN} $A"))
        .map_err(refuse)?
        .try_pair(format!("{BEGIN} $A $B"))
        .map_err(refuse)?
        .special_tokens(vec![(BEGIN, BEGIN_ID)])
        .build()
        .map_err(|e| refuse(e.to_string()))
}

/// A document as it is trained on: [`BEGIN`], its text, [`END`].
pub(crate) fn document(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, LabError> {
    let mut ids = tokenizer.encode(text, true)?.get_ids().to_vec();
    ids.push(END_ID);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Tokenizer {
        let lines: Vec<String> = (0..200)
            .map(|i| format!("a thing of kind {i}, used by some people in the {i}th house"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        train(&lines, 300).expect("trains")
    }

    #[test]
    fn same_text_same_bytes() {
        let bytes = |t: Tokenizer| t.to_string(true).expect("serialises");
        assert_eq!(bytes(small()), bytes(small()));
    }

    #[test]
    fn a_document_begins_and_ends_and_decodes_to_its_text() {
        let tokenizer = small();
        let text = "a thing; \u{e9}t\u{e9} \u{1f600}";
        let ids = document(&tokenizer, text).expect("encodes");
        assert_eq!((ids.first(), ids.last()), (Some(&BEGIN_ID), Some(&END_ID)));
        assert_eq!(tokenizer.decode(&ids, true).expect("decodes"), text);
    }

    #[test]
    fn too_little_text_is_refused() {
        let error = train(&["ab"], 300).expect_err("258 symbols and one pair");
        assert!(matches!(error, LabError::Vocabulary { got, expected: 300 } if got < 300));
    }
}
