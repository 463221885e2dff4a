//! A byte model of a model's answers, for one that gives texts and no scores.

use std::collections::HashMap;
use std::ops::Range;

/// Bytes that the next one is told from.
pub(super) const ORDER: usize = 5;

/// Counts of bytes after up to [`ORDER`] bytes, blended by Witten and Bell.
#[derive(Debug)]
pub(super) struct ByteModel {
    after: HashMap<Vec<u8>, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: f64,
    of: HashMap<u8, f64>,
}

impl ByteModel {
    pub(super) fn of(texts: &[&str]) -> Self {
        let mut after: HashMap<Vec<u8>, Counts> = HashMap::new();
        for text in texts {
            let bytes = text.as_bytes();
            for (i, byte) in bytes.iter().enumerate() {
                for order in 0..=ORDER.min(i) {
                    let counts = after.entry(bytes[i - order..i].to_vec()).or_default();
                    counts.total += 1.0;
                    *counts.of.entry(*byte).or_default() += 1.0;
                }
            }
        }
        Self { after }
    }

    /// Log-probability, nats, of the bytes in `range` after those before them.
    pub(super) fn ln_p(&self, text: &str, range: Range<usize>) -> f64 {
        let bytes = text.as_bytes();
        range.map(|i| self.next(&bytes[..i], bytes[i]).ln()).sum()
    }

    // From the shortest context to the longest known: each gives up as much of its mass to the
    // shorter one as it has had different bytes.
    fn next(&self, before: &[u8], byte: u8) -> f64 {
        let mut p = 1.0 / 256.0;
        for order in 0..=ORDER.min(before.len()) {
            let Some(counts) = self.after.get(&before[before.len() - order..]) else {
                break;
            };
            let kinds = counts.of.len() as f64;
            let count = counts.of.get(&byte).copied().unwrap_or(0.0);
            p = (count + kinds * p) / (counts.total + kinds);
        }
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_distribution_and_knows_its_texts() {
        let model = ByteModel::of(&["abracadabra", "abrasive", "a bra"]);
        for before in ["", "a", "abr", "zzz", "xabra"] {
            let sum: f64 = (0..=255).map(|b| model.next(before.as_bytes(), b)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{before}: {sum}");
        }
        let own = model.ln_p("abracadabra", 0..11);
        assert!(own > model.ln_p("arbacadarba", 0..11) + 3.0);
        let parts = model.ln_p("abracadabra", 0..4) + model.ln_p("abracadabra", 4..11);
        assert!((own - parts).abs() < 1e-12);
        // No text at all: every byte alike.
        let blank = ByteModel::of(&[]);
        assert!((blank.ln_p("ab", 0..2) + 2.0 * 256_f64.ln()).abs() < 1e-12);
    }
}
