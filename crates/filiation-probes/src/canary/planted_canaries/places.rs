//! The place of every planted text among its decoys.

use filiation_core::{Answer, Observations, Party, RequestId, ScoredText};

use super::{Asked, Set};

/// Where a planted text stands, by log-probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// One more than there are decoys at least as likely: 1 is the likeliest of all.
    pub(super) rank: u32,
    /// Decoys less likely.
    pub(super) below: u32,
    /// Decoys.
    pub(super) decoys: u32,
    /// How often the text was planted.
    pub(super) repeats: u32,
}

impl Place {
    /// From −1, below all, to 1, above all; mean 0 under the null.
    pub(super) fn lead(self) -> f64 {
        let above = f64::from(self.rank) - 1.0;
        (f64::from(self.below) - above) / f64::from(self.decoys)
    }
}

/// The places that `party` gives, in the order of the file. A canary with a text that was not scored
/// is left out whole: which of its texts was planted plays no part in that.
pub(super) fn places(set: &Set, seen: &Observations<'_>, party: &Party) -> Vec<Place> {
    let canaries = set.canaries.iter().zip(&set.of.canaries);
    let places = canaries.filter_map(|(asked, canary)| {
        let scores = scores(asked, seen, party)?;
        let own = *scores.get(canary.chosen)?;
        let decoys = scores.len() as u32 - 1;
        // The text itself is one of those at least as likely as it is.
        let rank = scores.iter().filter(|s| **s >= own).count() as u32;
        let below = scores.iter().filter(|s| **s < own).count() as u32;
        (decoys > 0).then_some(Place {
            rank,
            below,
            decoys,
            repeats: canary.repeats,
        })
    });
    places.collect()
}

fn scores(asked: &Asked, seen: &Observations<'_>, party: &Party) -> Option<Vec<f64>> {
    asked
        .scores
        .iter()
        .map(|id| total(seen, party, id))
        .collect()
}

fn total(seen: &Observations<'_>, party: &Party, id: &RequestId) -> Option<f64> {
    match seen.answer(party, id)? {
        Answer::Scored(text) if text.bytes > 0 => {
            Some(ScoredText::total(text)).filter(|v| v.is_finite())
        }
        _ => None,
    }
}
