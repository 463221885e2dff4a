//! Tokens that two models share, by their strings.

use std::cmp::Ordering;

use filiation_checkpoint::{CheckpointError, ModelWeights};

/// Embedding rows (in this, in other) of the tokens with equal strings, by row in this.
///
/// Where neither folder has a tokenizer and both embeddings have as many rows, row meets row.
pub(super) fn shared(
    this: &dyn ModelWeights,
    other: &dyn ModelWeights,
) -> Result<Vec<(u32, u32)>, CheckpointError> {
    let (mine, theirs) = rayon::join(|| this.vocabulary(), || other.vocabulary());
    let missing = |e: &CheckpointError| matches!(e, CheckpointError::MissingFile { .. });
    let (mine, theirs) = match (mine, theirs) {
        (Err(a), Err(b)) if missing(&a) && missing(&b) => {
            let rows = this.config().vocabulary;
            return if rows == other.config().vocabulary {
                Ok((0..rows as u32).map(|row| (row, row)).collect())
            } else {
                Err(a)
            };
        }
        (mine, theirs) => (mine?, theirs?),
    };
    let mut rows = joined(&mine, &theirs);
    rows.retain(|&(a, b)| {
        (a as usize) < this.config().vocabulary && (b as usize) < other.config().vocabulary
    });
    rows.sort_unstable();
    Ok(rows)
}

/// Ids of equal entries of two lists sorted by entry.
fn joined(mine: &[(String, u32)], theirs: &[(String, u32)]) -> Vec<(u32, u32)> {
    let (mut i, mut j) = (0, 0);
    let mut rows = Vec::new();
    while let (Some(a), Some(b)) = (mine.get(i), theirs.get(j)) {
        match a.0.cmp(&b.0) {
            Ordering::Less => i += 1,
            Ordering::Greater => j += 1,
            Ordering::Equal => {
                rows.push((a.1, b.1));
                i += 1;
                j += 1;
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_entries_meet() {
        let list = |entries: &[(&str, u32)]| -> Vec<_> {
            entries.iter().map(|(t, i)| ((*t).to_owned(), *i)).collect()
        };
        let got = joined(
            &list(&[("a", 3), ("b", 1), ("d", 0)]),
            &list(&[("b", 7), ("c", 2), ("d", 5)]),
        );
        assert_eq!(got, [(1, 7), (0, 5)]);
    }
}
