//! What every party makes of the teachers' texts, as movements from the base chunk by chunk.

use filiation_core::{Answer, Observations, Party, RequestId, ScoredText};

/// Nats to which the movement of one chunk is held: a few tokens that moved by many, as names and
/// numbers do in any training, would else outweigh all others.
pub(super) const CLIP: f64 = 1.0;

/// The scores that a party gave the texts of a prompt, teacher by teacher and sample by sample.
pub(super) type Scores<'a> = Vec<Option<&'a ScoredText>>;

/// The scores of `party` of all texts of one prompt; `None` where it gave none. A text with a token that
/// has no finite log-probability counts as not scored.
pub(super) fn scores<'a>(
    seen: &Observations<'a>,
    party: &Party,
    teachers: &[&Party],
    samples: &[RequestId],
) -> Option<Scores<'a>> {
    let one = |id: &RequestId, teacher: &Party| match seen.answer(party, &id.about(&teacher.name)) {
        Some(Answer::Scored(text)) => {
            let finite = text.tokens.iter().all(|t| t.logprob.is_finite());
            finite.then_some(text)
        }
        _ => None,
    };
    let each = teachers
        .iter()
        .flat_map(|t| samples.iter().map(move |id| one(id, t)));
    let all: Scores<'a> = each.collect();
    all.iter().any(Option::is_some).then_some(all)
}

/// Movements of everyone from the base, the first of `all`, over the chunks of the texts that all
/// scored: `moved[model][chunk]`. A chunk ends where a token of every model ends, so that models of
/// different tokenizers are asked about the same bytes.
pub(super) fn moved(all: &[&Scores<'_>]) -> Vec<Vec<f64>> {
    let models = all.len() - 1;
    let mut moved = vec![Vec::new(); models];
    for text in 0..all[0].len() {
        let scored: Option<Vec<&ScoredText>> = all.iter().map(|scores| scores[text]).collect();
        let Some(scored) = scored else { continue };
        let ends = common_ends(&scored);
        let of_base = chunks(scored[0], &ends);
        for (moved, scored) in moved.iter_mut().zip(&scored[1..]) {
            let both = chunks(scored, &ends).into_iter().zip(&of_base);
            moved.extend(both.map(|(a, b)| (a - b).clamp(-CLIP, CLIP)));
        }
    }
    moved
}

// Byte offsets at which a token of every text begins or ends, in order.
fn common_ends(scored: &[&ScoredText]) -> Vec<u32> {
    let cuts = |text: &ScoredText| -> Vec<u32> {
        let first = text.tokens.first().map(|t| t.start);
        first
            .into_iter()
            .chain(text.tokens.iter().map(|t| t.end))
            .collect()
    };
    let mut common = cuts(scored[0]);
    for text in &scored[1..] {
        let there = cuts(text);
        common.retain(|cut| there.binary_search(cut).is_ok());
    }
    common.dedup();
    common
}

/// Log-probabilities between successive cuts.
fn chunks(text: &ScoredText, ends: &[u32]) -> Vec<f64> {
    let mut sums = vec![0.0; ends.len().saturating_sub(1)];
    let mut at = 0;
    for token in &text.tokens {
        while at < sums.len() && token.start >= ends[at + 1] {
            at += 1;
        }
        if at < sums.len() && token.start >= ends[at] {
            sums[at] += token.logprob;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use filiation_core::ScoredToken;

    use super::*;

    fn text(ends: &[u32], logprobs: &[f64]) -> ScoredText {
        let starts = std::iter::once(&0).chain(ends);
        let tokens = starts.zip(ends).zip(logprobs);
        ScoredText {
            tokens: tokens
                .map(|((&start, &end), &logprob)| ScoredToken {
                    id: 0,
                    start,
                    end,
                    logprob,
                })
                .collect(),
            bytes: ends.last().copied().unwrap_or(0),
        }
    }

    #[test]
    fn chunks_end_where_all_tokens_do() {
        let base = text(&[2, 4, 6, 9], &[-1.0, -2.0, -3.0, -4.0]);
        let other = text(&[1, 4, 9], &[-0.5, -2.0, -6.5]);
        let (base, other) = (vec![Some(&base), None], vec![Some(&other), None]);
        // 0..4: −2.5 + 3, 4..9: −6.5 + 7.
        assert_eq!(moved(&[&base, &other]), [vec![0.5, 0.5]]);
        assert_eq!(moved(&[&base, &base]), [vec![0.0; 4]]);
    }

    #[test]
    fn a_chunk_is_held_and_a_text_that_one_did_not_score_is_left_out() {
        let base = text(&[1, 2], &[-9.0, -1.0]);
        let far = text(&[1, 2], &[-1.0, -9.0]);
        let (base, far) = (vec![Some(&base), Some(&base)], vec![Some(&far), None]);
        assert_eq!(moved(&[&base, &far]), [vec![1.0, -1.0]]);
        let empty = text(&[], &[]);
        assert_eq!(
            moved(&[&vec![Some(&empty)], &vec![Some(&empty)]]),
            [Vec::<f64>::new()]
        );
    }
}
