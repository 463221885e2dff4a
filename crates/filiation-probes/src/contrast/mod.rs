//! A candidate against the best of the others, paired by unit, and what controls take off: what
//! all probes of the teacher axis share.

mod common;
mod leads;
mod model_null;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
pub(crate) mod simulated;
mod table;

pub(crate) use common::{Common, Given, fewest, given};
pub(crate) use leads::{Lead, Leads, of_levels, tell_leads};
pub(crate) use model_null::log10_p;
pub(crate) use table::{Measured, Row, Seats, Table};

use filiation_core::{Abstention, CandidateScore, Power, Reason};
use filiation_stats::{Bootstrap, Clusters, clipped_mean, moments, smallest_effect};

/// Size and power at which the smallest effect is stated.
const SIZE: f64 = 0.01;
const POWER: f64 = 0.9;

/// Values of units (prompts, cells) by candidates: larger means that the suspect moved towards
/// the candidate.
pub(crate) struct Contrast<'a> {
    pub(crate) candidates: &'a [String],
    /// `values[unit][candidate]`.
    pub(crate) values: &'a [Vec<f64>],
    /// Differences are held to [−clip, clip].
    pub(crate) clip: f64,
    pub(crate) bootstrap: Bootstrap,
}

/// The scores of all candidates.
pub(crate) struct Scores {
    pub(crate) candidates: Vec<CandidateScore>,
    /// The other candidate that came closest, by candidate.
    pub(crate) rivals: Vec<usize>,
    /// Standard errors of the scores over units, by candidate.
    pub(crate) errors: Vec<f64>,
    pub(crate) power: Option<Power>,
}

impl Contrast<'_> {
    /// The score of candidate k is the least, over the others k', of the mean clipped difference
    /// between k and k'. At most one candidate can be above zero, and none can be helped by the
    /// choice of an easy rival.
    pub(crate) fn scores(&self) -> Result<Scores, Abstention> {
        let n = self.candidates.len();
        let mut scored = Vec::with_capacity(n);
        let mut rivals = Vec::with_capacity(n);
        let mut errors = Vec::with_capacity(n);
        let mut widest: f64 = 0.0;
        for k in 0..n {
            let rival = self.rival(k)?;
            let spread = moments(&self.differences(k, rival)).map_err(undefined)?;
            let score = self.score(k)?;
            widest = widest.max(spread.sd);
            rivals.push(rival);
            errors.push(score.standard_error);
            scored.push(CandidateScore {
                candidate: self.candidates[k].clone(),
                score: score.value,
                interval: Some(score.interval),
                effect: spread.effect(),
                units: self.values.len() as u32,
                exact: None,
            });
        }
        let smallest = smallest_effect(self.values.len(), widest, SIZE, POWER).ok();
        Ok(Scores {
            candidates: scored,
            rivals,
            errors,
            power: smallest.map(|smallest_effect| Power {
                smallest_effect,
                size: SIZE,
                power: POWER,
            }),
        })
    }

    /// Clipped differences of candidate `k` from `other`, by unit.
    pub(crate) fn differences(&self, k: usize, other: usize) -> Vec<f64> {
        let held = |row: &Vec<f64>| (row[k] - row[other]).clamp(-self.clip, self.clip);
        self.values.iter().map(held).collect()
    }

    fn others(&self, k: usize) -> impl Iterator<Item = usize> {
        (0..self.candidates.len()).filter(move |other| *other != k)
    }

    fn rival(&self, k: usize) -> Result<usize, Abstention> {
        let mut best: Option<(usize, f64)> = None;
        for other in self.others(k) {
            let raw: Vec<f64> = self.values.iter().map(|row| row[k] - row[other]).collect();
            let mean = clipped_mean(&raw, self.clip).map_err(undefined)?;
            if best.is_none_or(|(_, least)| mean < least) {
                best = Some((other, mean));
            }
        }
        best.map(|(other, _)| other).ok_or_else(|| {
            Abstention::new(
                Reason::TooFewTeachers,
                "one candidate has nothing to be held against",
            )
        })
    }

    // Units are resampled whole, and the closest rival is found anew in each resample.
    fn score(&self, k: usize) -> Result<filiation_stats::Estimate, Abstention> {
        let pairs: Vec<Vec<f64>> = self.others(k).map(|o| self.differences(k, o)).collect();
        let statistic = |units: &[usize]| {
            pairs
                .iter()
                .map(|d| units.iter().map(|&u| d[u]).sum::<f64>() / units.len() as f64)
                .fold(f64::INFINITY, f64::min)
        };
        self.bootstrap
            .percentile(&Clusters::singletons(self.values.len()), statistic)
            .map_err(undefined)
    }
}

pub(crate) fn undefined(error: filiation_stats::StatsError) -> Abstention {
    Abstention::new(Reason::Degenerate, error.to_string())
}

/// What may be said of the scores without a population.
fn finding(scores: &Scores, unit: &str, controls: usize) -> String {
    let ahead = scores
        .candidates
        .iter()
        .find(|c| c.interval.is_some_and(|i| i.lower > 0.0));
    let lead = match ahead {
        Some(c) => format!(
            "the suspect is closer to `{}` than to every other candidate",
            c.candidate
        ),
        None => "no candidate is ahead of all others by more than the interval".to_owned(),
    };
    let plural = if controls == 1 { "" } else { "s" };
    format!(
        "{lead}; {unit}s give precision, models give the null: how often innocent models show such \
         a lead cannot be told from {controls} control{plural}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Bootstrap = Bootstrap {
        draws: 200,
        level: 0.95,
        seed: 1,
    };

    #[test]
    fn one_candidate_at_most_is_above_zero_and_wild_units_are_held() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let mut values: Vec<Vec<f64>> = (0..50)
            .map(|i| {
                let noise = f64::from(i % 5) * 0.01;
                vec![0.2 + noise, 0.1, 0.15 - noise]
            })
            .collect();
        values[0] = vec![-1e6, 1e6, 0.0];
        let contrast = Contrast {
            candidates: &names,
            values: &values,
            clip: 1.0,
            bootstrap: PLAN,
        };
        let scores = contrast.scores().expect("fifty units");
        let above: Vec<_> = scores.candidates.iter().filter(|c| c.score > 0.0).collect();
        assert_eq!(above.len(), 1);
        assert_eq!(above[0].candidate, "a");
        assert_eq!(scores.rivals[0], 2);
        assert!(above[0].score < 0.1);
    }

    #[test]
    fn a_candidate_alone_has_no_score() {
        let names = ["a".to_owned()];
        let contrast = Contrast {
            candidates: &names,
            values: &[vec![1.0], vec![2.0]],
            clip: 1.0,
            bootstrap: PLAN,
        };
        let refused = contrast.scores().err().expect("no rival");
        assert_eq!(refused.reason, Reason::TooFewTeachers);
    }
}
