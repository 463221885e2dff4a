//! Leads that are no mean of unit values: recomputed as a whole on every resample.

use std::collections::BTreeMap;

use filiation_core::{Abstention, Axis, Basis, CandidateScore, MethodId, Power, Statistic};
use filiation_stats::{Bootstrap, Clusters, Estimate, smallest_effect};

use super::{POWER, SIZE, Scores, finding, log10_p, undefined};

/// `lead[k][other]`: how far the model is ahead towards candidate `k` of candidate `other`.
pub(crate) type Lead = Vec<Vec<f64>>;

/// The lead of every candidate over every other one, from the level of each.
pub(crate) fn of_levels(levels: &[f64]) -> Lead {
    let over = |a: &f64| levels.iter().map(|b| a - b).collect();
    levels.iter().map(over).collect()
}

/// How leads become a statistic.
pub(crate) struct Leads<'a> {
    pub(crate) method: &'a MethodId,
    pub(crate) unit: &'a str,
    /// What is counted, in the singular: `prompt`, `item`.
    pub(crate) counted: &'a str,
    /// How many of them.
    pub(crate) units: usize,
    pub(crate) candidates: Vec<String>,
    /// Whether the lead of one candidate over another is the same whoever else is a candidate.
    pub(crate) pairwise: bool,
    pub(crate) bootstrap: Bootstrap,
}

/// The leads of the suspect by itself, before controls are taken off, and those of each control: what
/// a population keeps, so that a case of fewer candidates or controls can be held against it.
pub(crate) fn tell_leads(
    details: &mut BTreeMap<String, f64>,
    candidates: &[String],
    own: &Lead,
    controls: &[(String, Lead)],
) {
    for (k, name) in candidates.iter().enumerate() {
        for (other, rival) in candidates.iter().enumerate().filter(|(o, _)| *o != k) {
            details.insert(format!("lead/{name}/{rival}"), own[k][other]);
            for (control, lead) in controls {
                details.insert(format!("lead/{name}/{rival}/{control}"), lead[k][other]);
            }
        }
    }
}

impl Leads<'_> {
    /// The statistic of a suspect whose leads over the units of a resample are `suspect`, each
    /// candidate by the least of its leads. `own` are those to lay beside the same of the named
    /// controls.
    pub(crate) fn statistic(
        &self,
        suspect: impl Fn(&[usize]) -> Lead,
        own: &Lead,
        controls: &[(String, Lead)],
    ) -> Result<Statistic, Abstention> {
        let all: Vec<usize> = (0..self.units).collect();
        let whole = suspect(&all);
        let scores = self.scores(&suspect, &whole)?;
        let mut details = BTreeMap::new();
        details.insert("controls".to_owned(), controls.len() as f64);
        details.insert(format!("{}s", self.counted), self.units as f64);
        if self.pairwise {
            tell_leads(&mut details, &self.candidates, own, controls);
        }
        for (k, name) in self.candidates.iter().enumerate() {
            let rival = scores.rivals[k];
            let margin = format!("margin/{name}/{}", self.candidates[rival]);
            details.insert(margin, scores.candidates[k].score);
            if let Some(p) = among_controls(k, own, controls, scores.errors[k]) {
                details.insert(format!("log10-p-among-controls/{name}"), p);
            }
        }
        Ok(Statistic {
            method: self.method.clone(),
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            unit: self.unit.into(),
            finding: Some(finding(&scores, self.counted, controls.len())),
            candidates: scores.candidates,
            controls: controls.iter().map(|(name, _)| name.clone()).collect(),
            power: scores.power,
            details,
        })
    }

    fn scores(
        &self,
        suspect: &impl Fn(&[usize]) -> Lead,
        all: &Lead,
    ) -> Result<Scores, Abstention> {
        let units = Clusters::singletons(self.units);
        let mut candidates = Vec::new();
        let mut rivals = Vec::new();
        let mut errors = Vec::new();
        let mut widest: f64 = 0.0;
        for (k, name) in self.candidates.iter().enumerate() {
            let estimate = self
                .bootstrap
                .percentile(&units, |resample| least(k, &suspect(resample)).1)
                .map_err(undefined)?;
            widest = widest.max(spread(&estimate, self.units));
            rivals.push(least(k, all).0);
            errors.push(estimate.standard_error);
            candidates.push(self.candidate(name, &estimate));
        }
        let smallest = smallest_effect(self.units, widest, SIZE, POWER).ok();
        Ok(Scores {
            candidates,
            rivals,
            errors,
            power: smallest.map(|smallest_effect| Power {
                smallest_effect,
                size: SIZE,
                power: POWER,
            }),
        })
    }

    fn candidate(&self, name: &str, estimate: &Estimate) -> CandidateScore {
        let sd = spread(estimate, self.units);
        CandidateScore {
            candidate: name.to_owned(),
            score: estimate.value,
            interval: Some(estimate.interval),
            effect: (sd > 0.0).then(|| estimate.value / sd),
            units: self.units as u32,
            exact: None,
        }
    }
}

// What one unit's standard deviation would be, were the statistic a mean of units.
fn spread(estimate: &Estimate, units: usize) -> f64 {
    estimate.standard_error * (units as f64).sqrt()
}

/// The closest rival of candidate `k`, and the lead over it.
fn least(k: usize, lead: &Lead) -> (usize, f64) {
    let others = (0..lead.len()).filter(|other| *other != k);
    others.fold((k, f64::INFINITY), |best, other| {
        if lead[k][other] < best.1 {
            (other, lead[k][other])
        } else {
            best
        }
    })
}

// The candidate must be unusual against every rival, so the largest p counts.
fn among_controls(
    k: usize,
    suspect: &Lead,
    controls: &[(String, Lead)],
    error: f64,
) -> Option<f64> {
    let others = (0..suspect.len()).filter(|other| *other != k);
    let p = others.map(|other| {
        let theirs: Vec<f64> = controls.iter().map(|(_, lead)| lead[k][other]).collect();
        log10_p(suspect[k][other], &theirs, error)
    });
    let all: Option<Vec<f64>> = p.collect();
    all?.into_iter().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(units: usize) -> (MethodId, usize) {
        (MethodId::new("leads", 1, &[]), units)
    }

    #[test]
    fn agrees_with_the_contrast_where_the_leads_are_means() {
        let values: Vec<[f64; 3]> = (0..40)
            .map(|i| {
                let noise = f64::from(i % 7) * 0.1;
                [0.5 + noise, 0.2, 0.4 - noise]
            })
            .collect();
        let levels = |units: &[usize]| {
            let mean =
                |k: usize| units.iter().map(|&u| values[u][k]).sum::<f64>() / units.len() as f64;
            of_levels(&[mean(0), mean(1), mean(2)])
        };
        let (method, units) = leads(40);
        let bootstrap = Bootstrap {
            draws: 200,
            level: 0.95,
            seed: 1,
        };
        let names = ["a", "b", "c"].map(str::to_owned);
        let found = Leads {
            method: &method,
            unit: "units",
            counted: "item",
            units,
            candidates: names.to_vec(),
            pairwise: true,
            bootstrap,
        };
        let controls: Vec<(String, Lead)> = (0..4)
            .map(|c| {
                (
                    format!("c{c}"),
                    of_levels(&[0.0, 0.01 * f64::from(c), -0.02 * f64::from(c % 3)]),
                )
            })
            .collect();
        let all: Vec<usize> = (0..40).collect();
        let found = found.statistic(levels, &levels(&all), &controls);
        let found = found.expect("forty units");
        let rows: Vec<Vec<f64>> = values.iter().map(|v| v.to_vec()).collect();
        let contrast = crate::contrast::Contrast {
            candidates: &names,
            values: &rows,
            clip: 10.0,
            bootstrap,
        };
        let wanted = contrast.scores().expect("forty units").candidates;
        for (got, want) in found.candidates.iter().zip(&wanted) {
            assert!((got.score - want.score).abs() < 1e-12);
            let (got, want) = (got.interval.expect("one"), want.interval.expect("one"));
            assert!((got.lower - want.lower).abs() < 1e-12);
            assert!((got.upper - want.upper).abs() < 1e-12);
        }
        assert!(found.details["log10-p-among-controls/a"] < -3.0);
        assert!(found.details["log10-p-among-controls/b"] > -0.1);
        assert!(found.details["margin/a/b"] > 0.0 || found.details["margin/a/c"] > 0.0);
        assert!(found.power.is_some());
        // Of the units as they are: the mean of 0.5 + noise over that of 0.2.
        let lead = found.details["lead/a/b"];
        assert!(lead > 0.55 && lead < 0.65 && found.details["lead/b/a"] == -lead);
        assert!(found.details["lead/b/a/c1"] == 0.01);
    }
}
