//! Cutting an answer into steps.

use std::ops::Range;

use filiation_core::ScoredText;

/// A shorter piece goes with the one before it.
pub(super) const LEAST_BYTES: usize = 12;

/// Byte ranges that together are `text`: a step ends after a line, or after `.`, `!`, `?`, `;`, `。`
/// with a space or the end behind.
pub(super) fn cut(text: &str) -> Vec<Range<usize>> {
    let mut steps: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let space_follows = chars.peek().is_none_or(|(_, next)| next.is_whitespace());
        let ends = c == '\n' || c == '。' || (".!?;".contains(c) && space_follows);
        if ends && end - start >= LEAST_BYTES {
            steps.push(start..end);
            start = end;
        }
    }
    match steps.last_mut() {
        Some(last) if text.len() - start < LEAST_BYTES => last.end = text.len(),
        _ => steps.push(start..text.len()),
    }
    steps
}

/// Log-probability of each step: of the tokens that begin in it.
pub(super) fn sums(scored: &ScoredText, steps: &[Range<usize>]) -> Vec<f64> {
    let inside = |step: &Range<usize>| {
        let tokens = scored.tokens.iter();
        let own = tokens.filter(|t| step.contains(&(t.start as usize)));
        own.map(|t| t.logprob).sum()
    };
    steps.iter().map(inside).collect()
}

#[cfg(test)]
mod tests {
    use filiation_core::ScoredToken;

    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        cut(text).into_iter().map(|r| &text[r]).collect()
    }

    #[test]
    fn steps_end_with_sentences_and_lines_and_lose_nothing() {
        let text = "First we add 1.5 and 2. Then, so: halve it!\nWell. The answer is two";
        assert_eq!(
            pieces(text),
            [
                "First we add 1.5 and 2.",
                " Then, so: halve it!",
                "\nWell. The answer is two"
            ]
        );
        assert_eq!(
            pieces("まず足します。次に割ります。"),
            ["まず足します。", "次に割ります。"]
        );
        assert_eq!(pieces("no end. Yes"), ["no end. Yes"]);
        assert_eq!(
            pieces("a sentence of some length. Yes"),
            ["a sentence of some length. Yes"]
        );
        assert_eq!(pieces(""), [""]);
        assert_eq!(pieces(text).concat(), text);
    }

    #[test]
    fn tokens_belong_to_the_step_that_they_begin_in() {
        let token = |start, end, logprob| ScoredToken {
            id: 0,
            start,
            end,
            logprob,
        };
        let scored = ScoredText {
            tokens: vec![token(0, 9, -1.0), token(9, 15, -2.0), token(15, 20, -4.0)],
            bytes: 20,
        };
        assert_eq!(sums(&scored, &[0..12, 12..20]), [-3.0, -4.0]);
    }
}
