//! What a population says of the candidates of one case.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{BoundedLlr, Digest, Interval, Proposition, Statistic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calibrate::Bounds;
use crate::calibration::Calibration;
use crate::system::{
    Domain, Draws, Frame, Known, Leads, LeaveOut, Scores, Settings, Subject, Summary, Support,
    System, Typicality, intervals, judge, posterior,
};
use crate::{LrError, Population, Tier};

/// Neighbours that typicality looks at.
const NEIGHBOURS: usize = 5;
/// Features nearer than this (a tenth of a decade) are alike.
const ALIKE: f64 = 0.1;
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

/// Everything fitted for cases of one form.
struct Fitted<'a> {
    calibration: &'a Calibration,
    settings: Settings,
    known: Vec<Known>,
    system: System,
    scores: Scores,
    siblings: &'a [Vec<String>],
    /// Greatest log10 ratio that this case may have.
    cap: f64,
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
        let found: Result<Vec<(&str, Leads, Vec<Leads>)>, Option<String>> = found.collect();
        let (frame, found) = match found {
            Ok(found) => (frame(&found), Ok(found)),
            Err(because) => (Frame::WHOLE, Err(because.unwrap_or_default())),
        };
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
        found: Vec<(&str, Leads, Vec<Leads>)>,
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
            .map(|(stream, own, controls)| (stream.to_owned(), own.scores(&controls)));
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
            let total: f64 = first.parts.iter().map(|p| p.alone.max(0.0)).sum();
            let most = first
                .parts
                .iter()
                .max_by(|a, b| a.alone.total_cmp(&b.alone));
            if let Some(most) =
                most.filter(|m| first.parts.len() > 1 && m.alone > CONCENTRATED * total)
                && total > 0.0
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

/// The leads of suspect and controls in a stream, or why it cannot be used.
fn measured<'a>(
    calibration: &Calibration,
    claim: &Claim<'a>,
    stream: &'a str,
) -> Result<(&'a str, Leads, Vec<Leads>), Option<String>> {
    let statistic = claim.statistics.iter().find(|s| s.method.name() == stream);
    let statistic = statistic.ok_or_else(|| Some(format!("`{stream}` gave no score")))?;
    calibration.is_run_as(&statistic.method).map_err(Some)?;
    let leads = |control: Option<&str>| {
        let leads = Leads::of_case(statistic, control).map_err(|e| Some(e.to_string()))?;
        leads.ok_or_else(|| Some(format!("`{stream}` gave no leads between candidates")))
    };
    let controls: Result<Vec<Leads>, _> = statistic
        .controls
        .iter()
        .map(|name| leads(Some(name)))
        .collect();
    Ok((stream, leads(None)?, controls?))
}

/// The form of the case.
fn frame(found: &[(&str, Leads, Vec<Leads>)]) -> Frame {
    Frame {
        candidates: found.iter().map(|f| f.1.names().len()).max(),
        controls: found.iter().map(|f| f.2.len()).min(),
        ..Frame::WHOLE
    }
}

/// Conformal p of the case among lineages of the population.
fn typicality(
    calibration: &Calibration,
    features: &BTreeMap<String, f64>,
    frame: Frame,
    found: &[(&str, Leads, Vec<Leads>)],
) -> Result<f64, String> {
    let mut seen = BTreeSet::new();
    let mut members = Vec::new();
    let streams = &calibration.streams;
    let first = calibration
        .subjects
        .iter()
        .filter(|s| seen.insert(&s.known.lineage));
    for subject in first {
        let mut of: Vec<f64> = subject.features.values().copied().collect();
        let size = |stream: &String| {
            let leads = subject.leads.get(stream)?;
            Some(
                leads
                    .size(&frame.among(&subject.known, leads.names()))
                    .max(1e-12)
                    .log10(),
            )
        };
        if let Some(sizes) = streams.iter().map(size).collect::<Option<Vec<_>>>() {
            of.extend(sizes);
            members.push(of);
        }
    }
    let mut case: Vec<f64> = features.values().copied().collect();
    case.extend(found.iter().map(|(_, leads, _)| {
        let all = leads.names().iter().map(String::as_str).collect();
        leads.size(&all).max(1e-12).log10()
    }));
    let gate = Typicality::fit(&members, NEIGHBOURS, ALIKE);
    gate.and_then(|gate| gate.p(&case))
        .map_err(|e| e.to_string())
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

impl Fitted<'_> {
    fn candidates(&self) -> BTreeSet<String> {
        self.scores
            .values()
            .flat_map(|of| of.keys().cloned())
            .collect()
    }

    /// The alternatives that the headline of a candidate counts.
    fn alternatives(&self, candidate: &str) -> Vec<Proposition> {
        let among = |name: &String| self.scores.values().any(|of| of.contains_key(name));
        let sibling = self.siblings.iter().any(|group| {
            let others = group.iter().filter(|s| *s != candidate);
            group.iter().any(|s| s == candidate) && others.into_iter().any(among)
        });
        let counted = |p: &Proposition| *p != Proposition::Sibling || sibling;
        Proposition::ALTERNATIVES
            .into_iter()
            .filter(counted)
            .collect()
    }

    /// A ratio within what this case may have. Below 1 it says nothing where no student hides.
    fn held(&self, llr: BoundedLlr) -> Option<BoundedLlr> {
        let lower = if self.calibration.evasive {
            llr.lower
        } else {
            0.0
        };
        BoundedLlr::new(llr.log10, lower, llr.upper.min(self.cap)).ok()
    }

    fn versus(&self, system: &System, candidate: &str) -> Option<Vec<Versus>> {
        let counted = self.alternatives(candidate);
        let llrs = system.llrs(&self.scores, candidate)?;
        let of = |(alternative, llr): (Proposition, BoundedLlr)| {
            let against = system
                .against()
                .iter()
                .find(|a| a.alternative() == alternative)?;
            Some(Versus {
                alternative,
                lineages: against.lineages(),
                llr: self.held(llr)?,
                fusion: against.fusion().describe(system.streams()),
            })
        };
        llrs.into_iter()
            .filter(|(p, _)| counted.contains(p))
            .map(of)
            .collect()
    }

    fn headline(&self, system: &System, candidate: &str) -> Option<BoundedLlr> {
        let versus = self.versus(system, candidate)?;
        let llrs = versus.into_iter().map(|v| v.llr);
        llrs.min_by(|a, b| a.log10.total_cmp(&b.log10))
    }

    fn candidatures(&self, prior: Option<f64>) -> Result<Vec<Candidature>, LrError> {
        let candidates: Vec<String> = self.candidates().into_iter().collect();
        let log10 =
            |system: &System, candidate: &String| Some(self.headline(system, candidate)?.log10);
        let read = |system: &System| candidates.iter().map(|c| log10(system, c)).collect();
        let intervals = intervals(&self.known, &self.settings, read, Draws::default())?;
        let mut all = Vec::new();
        for (candidate, interval) in candidates.iter().zip(intervals) {
            let headline = self.headline(&self.system, candidate);
            let versus = self.versus(&self.system, candidate).unwrap_or_default();
            let least = versus
                .iter()
                .min_by(|a, b| a.llr.log10.total_cmp(&b.llr.log10));
            let (Some(headline), Some(interval), Some(least)) = (headline, interval, least) else {
                continue;
            };
            let of = least.alternative;
            let venn_abers = self.system.venn_abers(&self.scores, candidate, of);
            let finite = |end: f64| Some(end).filter(|e| e.is_finite());
            all.push(Candidature {
                candidate: candidate.clone(),
                headline,
                interval,
                venn_abers: venn_abers.map_or([None; 2], |ends| ends.map(finite)),
                support: Support::conservative(interval.lower, interval.upper),
                parts: self.parts(candidate, of)?,
                versus,
                posterior: prior.map(|p| posterior(p / (1.0 - p), headline.log10)),
            });
        }
        Ok(all)
    }

    fn parts(&self, candidate: &str, of: Proposition) -> Result<Vec<Part>, LrError> {
        let streams = &self.settings.streams;
        let alone = self
            .system
            .parts(&self.scores, candidate, of)
            .unwrap_or_default();
        let mut parts = Vec::new();
        for (stream, alone) in streams.iter().zip(alone) {
            let others: Vec<String> = streams.iter().filter(|s| *s != stream).cloned().collect();
            let without = match others.is_empty() {
                true => None,
                false => {
                    let system = System::fit(&self.known, &Settings::of(others))?;
                    self.headline(&system, candidate).map(|llr| llr.log10)
                }
            };
            parts.push(Part {
                stream: stream.clone(),
                alone,
                without,
            });
        }
        Ok(parts)
    }
}

/// The bounds that a ratio may have in words: for a renderer.
impl Candidature {
    /// What bounds the headline.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            lower: self.headline.lower,
            upper: self.headline.upper,
        }
    }
}
