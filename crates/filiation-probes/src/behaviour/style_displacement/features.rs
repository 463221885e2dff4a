//! A text as a sparse row: hashed n-grams of characters and words, and its form.

use std::collections::BTreeMap;

use filiation_stats::{SparseRows, StatsError};

use super::form::{self, FORMS};

/// Buckets of hashed n-grams.
pub(super) const BUCKETS: usize = 1 << 14;
const CHARACTERS: std::ops::RangeInclusive<usize> = 3..=5;
/// Standardised counts of form are held to this many standard deviations.
const MOST_DEVIATIONS: f64 = 3.0;

/// How the counts of form are standardised: by the texts that a classifier is fitted on.
pub(super) struct Features {
    mean: [f64; FORMS],
    sd: [f64; FORMS],
}

impl Features {
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let counted: Vec<[f64; FORMS]> = texts.map(form::of).collect();
        let n = counted.len().max(1) as f64;
        let mut features = Self {
            mean: [0.0; FORMS],
            sd: [0.0; FORMS],
        };
        for f in 0..FORMS {
            let mean = counted.iter().map(|c| c[f]).sum::<f64>() / n;
            let squares: f64 = counted.iter().map(|c| (c[f] - mean) * (c[f] - mean)).sum();
            features.mean[f] = mean;
            features.sd[f] = (squares / n).sqrt();
        }
        features
    }

    pub(super) fn rows(&self, texts: &[&str]) -> Result<SparseRows, StatsError> {
        let mut rows = SparseRows::new(BUCKETS + FORMS);
        for text in texts {
            rows.push(&self.row(text))?;
        }
        Ok(rows)
    }

    /// Three blocks of length at most about 1: characters, words, form.
    pub(super) fn row(&self, text: &str) -> Vec<(u32, f32)> {
        let mut row = hashed(character_grams(text));
        row.extend(hashed(word_grams(text)));
        let scale = (FORMS as f64).sqrt();
        for (f, count) in form::of(text).into_iter().enumerate() {
            if self.sd[f] > 0.0 {
                let z = (count - self.mean[f]) / self.sd[f];
                let z = z.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS) / scale;
                row.push(((BUCKETS + f) as u32, z as f32));
            }
        }
        row
    }
}

// Signed hashing (Weinberger et al. 2009): collisions cancel on average. ln(1 + count), length 1.
fn hashed(grams: Vec<u64>) -> Vec<(u32, f32)> {
    let mut counts: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for gram in grams {
        let sign = if gram >> 63 == 0 { 1.0 } else { -1.0 };
        let entry = counts.entry((gram % BUCKETS as u64) as u32).or_default();
        entry.0 += 1.0;
        entry.1 = sign;
    }
    let weighed: Vec<(u32, f64)> = counts
        .into_iter()
        .map(|(bucket, (count, sign))| (bucket, sign * f64::ln_1p(count)))
        .collect();
    let length = weighed.iter().map(|(_, v)| v * v).sum::<f64>().sqrt();
    let unit = weighed.into_iter();
    unit.map(|(bucket, v)| (bucket, (v / length) as f32))
        .collect()
}

/// FNV-1a, then mixed (the finaliser of MurmurHash3): buckets are the low bits.
fn hash(parts: &[&str]) -> u64 {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

fn character_grams(text: &str) -> Vec<u64> {
    let mut starts: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
    starts.push(text.len());
    let mut grams = Vec::new();
    for n in CHARACTERS {
        for ends in starts.windows(n + 1) {
            grams.push(hash(&["c", &text[ends[0]..ends[n]]]));
        }
    }
    grams
}

// Words and their pairs, and apart from them the first three words.
fn word_grams(text: &str) -> Vec<u64> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = form::words(&lower).collect();
    let mut grams: Vec<u64> = words.iter().map(|w| hash(&["w", w])).collect();
    grams.extend(words.windows(2).map(|p| hash(&["p", p[0], p[1]])));
    for n in 1..=words.len().min(3) {
        let first: Vec<&str> = std::iter::once("f")
            .chain(words[..n].iter().copied())
            .collect();
        grams.push(hash(&first));
    }
    grams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_length_one_and_texts_of_one_form_have_no_form() {
        let text = "A plain sentence, and another one.";
        let features = Features::of([text, text].into_iter());
        let row = features.row(text);
        let squares: f64 = row.iter().map(|(_, v)| f64::from(*v).powi(2)).sum();
        assert!((squares - 2.0).abs() < 1e-5, "{squares}");
        assert_eq!(row, features.row(text));
        let longer = features.row("A plain sentence, and another two.");
        assert_ne!(row, longer);
    }

    #[test]
    fn grams_are_counted_over_characters_not_bytes() {
        assert_eq!(character_grams("äöü").len(), 1);
        assert_eq!(character_grams("abcd").len(), 3);
        assert_eq!(character_grams("").len(), 0);
        // 3 words, 2 pairs, 3 beginnings.
        assert_eq!(word_grams("One two, three").len(), 8);
        assert_eq!(word_grams("ONE two"), word_grams("one Two"));
    }
}
