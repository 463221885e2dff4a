//! What a population says of the candidates of one case.

use std::collections::BTreeMap;

use filiation_core::{BoundedLlr, Digest, Interval, Proposition, Statistic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::system::{
    Domain, Fragility, Frame, LeaveOut, Scores, Settings, Subject, Summary, Support, System, judge,
};
use crate::{LrError, Population, Tier};

mod domain;
mod fitted;

use domain::{Found, frame, measured, typicality};
use fitted::Fitted;

/// What a case outside validated conditions is held to, log10.
const DOUBTFUL: f64 = 1.0;
/// Share of the strongest stream above which an opinion hangs on it.
const CONCENTRATED: f64 = 0.8;

/// The case that is held against a population.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The statistics of its probes.
    pub statistics: &'a [Statistic],
    /// What it is like apart from them: [`crate::features`].
    pub features: &'a BTreeMap<String, f64>,
    /// Groups of candidates that are siblings.
    pub siblings: &'a [Vec<String>],
    /// Prior probability of Hd, where the reader states one.
    pub prior: Option<f64>,
}

/// The population behind likelihood ratios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// Its name.
    pub name: String,
    /// Digest of its scores.
    pub scores: Digest,
    /// The probes that are used.
    pub streams: Vec<String>,
    /// Lineages, teachers, and Cllr with each teacher left out (bits), at as many candidates and controls
    /// as the case has.
    pub counts: Population,
    /// The rung of the claim ladder.
    pub tier: Tier,
    /// Candidates of a case.
    pub candidates: u32,
    /// Controls of a case.
    pub controls: u32,
    /// Clean lineages of which some candidate had LR > 10, its teacher left out, and all of them.
    pub misleading_over_10: [u64; 2],
    /// Students whose teacher came first, left out, and all of them.
    pub teacher_first: [u64; 2],
}

/// The likelihood ratio of Hd over one alternative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Versus {
    /// The alternative.
    pub alternative: Proposition,
    /// Independent lineages for which it is true.
    pub lineages: u32,
    /// log10, with its bounds.
    pub llr: BoundedLlr,
    /// How the streams become one against this alternative.
    pub fusion: String,
}

/// A stream by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The probe.
    pub stream: String,
    /// log10 likelihood ratio of this stream alone against the alternative of the headline, before
    /// recalibration and bounds.
    pub alone: f64,
    /// The headline without this stream, everything fitted anew; absent where it is the only one.
    pub without: Option<f64>,
}

/// What is said of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidature {
    /// The candidate.
    pub candidate: String,
    /// By alternative.
    pub versus: Vec<Versus>,
    /// The least of them, log10.
    pub headline: BoundedLlr,
    /// Of the headline, over lineages of the population.
    pub interval: Interval,
    /// Least and greatest log10 likelihood ratio by Venn-Abers prediction, against the alternative of the
    /// headline; infinite ends are absent.
    pub venn_abers: [Option<f64>; 2],
    /// In words, from the end of the interval that claims least.
    pub support: Support,
    /// What it is made of.
    pub parts: Vec<Part>,
    /// Posterior probability of Hd under the prior of the case, from the headline.
    pub posterior: Option<f64>,
}

/// Likelihood ratios of a case, or why there are none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Likelihood {
    /// The population.
    pub behind: Behind,
    /// Conformal p of the case as one more draw of the population: small where it is unlike.
    pub typicality: Option<f64>,
    /// Why no ratio is stated.
    pub withheld: Option<String>,
    /// What must be read with the ratios.
    pub remarks: Vec<String>,
    /// By candidate, the largest headline first; empty where ratios are withheld.
    pub candidates: Vec<Candidature>,
}

impl Likelihood {
    /// Of a case, by a population.
    ///
    /// # Errors
    /// [`LrError`] of the fits. A case that the population cannot speak of is no error: it has its
    /// ratios withheld.
    pub fn of(calibration: &Calibration, claim: Claim<'_>) -> Result<Self, LrError> {
        let streams = &calibration.streams;
        let found = streams.iter().map(|s| measured(calibration, &claim, s));
        let found: Result<Vec<Found<'_>>, String> = found.collect();
        let frame = found.as_ref().map_or(Frame::WHOLE, |found| frame(found));
        let all: Vec<&Subject> = calibration.subjects.iter().collect();
        let known = frame.known(&all, &all);
        let settings = Settings::of(streams.clone());
        let system = System::fit(&known, &settings)?;
        let behind = Behind::of(calibration, &settings, frame, &system)?;
        let mut this = Self {
            behind,
            typicality: None,
            withheld: None,
            remarks: Vec::new(),
            candidates: Vec::new(),
        };
        let checked = found.and_then(|found| this.check(calibration, &claim, frame, found));
        let (scores, cap) = match checked {
            Ok(checked) => checked,
            Err(because) => {
                this.withheld = Some(because);
                return Ok(this);
            }
        };
        let fitted = Fitted {
            calibration,
            settings,
            known,
            system,
            scores,
            siblings: claim.siblings,
            cap,
        };
        this.candidates = fitted.candidatures(claim.prior)?;
        this.candidates.sort_by(|a, b| {
            let key = |c: &Candidature| c.headline.log10;
            key(b).total_cmp(&key(a))
        });
        this.remark(&claim);
        Ok(this)
    }

    /// The scores of the case and the greatest ratio it may have, or why there can be none.
    fn check(
        &mut self,
        calibration: &Calibration,
        claim: &Claim<'_>,
        frame: Frame,
        found: Vec<Found<'_>>,
    ) -> Result<(Scores, f64), String> {
        if self.behind.tier == Tier::Tier0 {
            return Err("the population is too small for any likelihood ratio".into());
        }
        let most = calibration.subjects.iter().flat_map(|s| s.leads.values());
        let most = most.map(|l| l.names().len()).max().unwrap_or(0);
        if self.behind.candidates as usize > most {
            return Err(format!(
                "the case has {} candidates, and models of the population {most}: the largest of more \
                 is another thing",
                self.behind.candidates
            ));
        }
        let clean = self.behind.counts.other;
        if self.behind.controls >= clean {
            return Err(format!(
                "the case has {} controls, and the population {clean} clean lineages",
                self.behind.controls
            ));
        }
        let p = typicality(calibration, claim.features, frame, &found)?;
        self.typicality = Some(p);
        let cap = match Domain::of(p) {
            Domain::Inside => f64::INFINITY,
            Domain::Doubtful => {
                self.remarks.push(format!(
                    "outside validated conditions: the case is unlike the models of the population \
                     (p = {p:.3}), and ratios are held to 10"
                ));
                DOUBTFUL
            }
            Domain::Outside => {
                return Err(format!(
                    "the case is unlike the models of the population (p = {p:.3}): sizes of the models, or \
                     how far the suspect went from its base"
                ));
            }
        };
        let scores = found
            .into_iter()
            .map(|f| (f.stream.to_owned(), f.own.scores(&f.controls)));
        Ok((scores.collect(), cap))
    }

    /// What follows from all candidates together.
    fn remark(&mut self, claim: &Claim<'_>) {
        let stated = |p: Proposition| {
            self.candidates
                .iter()
                .all(|c| c.versus.iter().any(|v| v.alternative == p))
        };
        let without: Vec<String> = self
            .candidates
            .iter()
            .filter(|c| {
                c.versus
                    .iter()
                    .all(|v| v.alternative != Proposition::Sibling)
            })
            .map(|c| format!("`{}`", c.candidate))
            .collect();
        let mut remarks = Vec::new();
        for open in Proposition::ALTERNATIVES
            .into_iter()
            .filter(|p| !stated(*p))
        {
            remarks.push(match open {
                Proposition::Sibling if claim.siblings.is_empty() => {
                    "Hc is not in the headline: the case names no siblings among its candidates"
                        .into()
                }
                Proposition::Sibling => format!(
                    "Hc is not in the headline of {}: no sibling of theirs is a candidate",
                    without.join(", ")
                ),
                other => format!(
                    "{} is not in the headline: the population has too few models of that kind",
                    other.symbol()
                ),
            });
        }
        if let Some(first) = self.candidates.first() {
            let alone: Vec<f64> = first.parts.iter().map(|p| p.alone).collect();
            let most = first
                .parts
                .iter()
                .max_by(|a, b| a.alone.total_cmp(&b.alone));
            if let Some(most) = most
                .filter(|_| alone.len() > 1 && Fragility::of(&alone).concentration > CONCENTRATED)
            {
                remarks.push(format!(
                    "the ratio of `{}` hangs on `{}` alone",
                    first.candidate, most.stream
                ));
            }
        }
        self.remarks.extend(remarks);
    }
}

impl Behind {
    fn of(
        calibration: &Calibration,
        settings: &Settings,
        frame: Frame,
        system: &System,
    ) -> Result<Self, LrError> {
        let judged = judge(&calibration.subjects, settings, frame, LeaveOut::Teacher)?;
        let summary = Summary::of(&judged)?;
        let counts = Population {
            left_out_cllr: Some(summary.cllr),
            ..*system.counts()
        };
        let rate = |rate: Option<crate::system::Rate>| rate.map_or([0, 0], |r| [r.hits, r.of]);
        Ok(Self {
            name: calibration.name.clone(),
            scores: calibration.scores,
            streams: settings.streams.clone(),
            tier: Tier::of(&counts),
            candidates: frame.candidates.unwrap_or(system.candidates()) as u32,
            controls: frame.controls.unwrap_or(0) as u32,
            misleading_over_10: rate(summary.misleading_over_10),
            teacher_first: rate(summary.teacher_first),
            counts,
        })
    }
}
