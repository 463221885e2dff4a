use std::fmt;

use filiation_core::{Axis, Basis, Proposition};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Candidature, DesignRatio, Evidence, Likelihood, Setting, Tier};

/// Where one probe puts a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRank {
    /// The probe's name.
    pub probe: String,
    /// The candidate's rank, 1 is best.
    pub rank: u32,
}

/// Where the probes of the teacher axis put one candidate. Ranks are set side by side: they are
/// neither multiplied nor averaged, because probes of one suspect depend on each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Party name.
    pub candidate: String,
    /// One entry a probe that scored it.
    pub ranks: Vec<ProbeRank>,
    /// How many probes put it first with an interval above zero.
    pub clearly_first: u32,
    /// How many probes put it first at all.
    pub first: u32,
}

/// All that may be said in a case, and the only type here with a rendering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    /// Who was compared.
    pub setting: Setting,
    /// The tier of the whole: of the population that likelihood ratios come from; 0 where there are none.
    pub tier: Tier,
    /// The evidence, one entry a probe that did not abstain.
    pub evidence: Vec<Evidence>,
    /// Likelihood ratios of the candidates, where the case names a population.
    pub likelihood: Option<Likelihood>,
    /// Agreement of the probes of the teacher axis, in the order of the case.
    pub agreement: Vec<Agreement>,
    /// What follows, sentence by sentence.
    pub statements: Vec<String>,
}

impl Opinion {
    /// The opinion on what the probes found.
    pub fn new(setting: Setting, evidence: Vec<Evidence>, likelihood: Option<Likelihood>) -> Self {
        let stated = likelihood.as_ref().filter(|l| l.withheld.is_none());
        let tier = stated.map_or(Tier::Tier0, |l| l.behind.tier);
        let agreement: Vec<_> = setting
            .teachers
            .iter()
            .map(|teacher| agree(teacher, &evidence))
            .collect();
        let statements = statements(&setting, &evidence, &agreement, likelihood.as_ref());
        Self {
            setting,
            tier,
            evidence,
            likelihood,
            agreement,
            statements,
        }
    }
}

fn agree(teacher: &str, evidence: &[Evidence]) -> Agreement {
    let places: Vec<_> = evidence
        .iter()
        .filter(|e| is_ranking(e))
        .filter_map(|e| Some((e, e.ranked.iter().find(|r| r.candidate == teacher)?)))
        .collect();
    let count = |wanted: &dyn Fn(&crate::Ranked) -> bool| {
        places.iter().filter(|(_, r)| wanted(r)).count() as u32
    };
    Agreement {
        candidate: teacher.to_owned(),
        clearly_first: count(&|r| r.rank == 1 && r.interval.is_some_and(|i| i.lower > 0.0)),
        first: count(&|r| r.rank == 1),
        ranks: places
            .iter()
            .map(|(e, r)| ProbeRank {
                probe: e.method.name().to_owned(),
                rank: r.rank,
            })
            .collect(),
    }
}

fn statements(
    setting: &Setting,
    evidence: &[Evidence],
    agreement: &[Agreement],
    likelihood: Option<&Likelihood>,
) -> Vec<String> {
    let scored = evidence.iter().filter(|e| is_ranking(e)).count();
    let mut all = Vec::new();
    match likelihood {
        Some(likelihood) => {
            all.extend(ratios(setting, likelihood));
            all.push(ranking(setting, agreement, scored));
        }
        None => all.push(ranking(setting, agreement, scored)),
    }
    all.extend(evidence.iter().filter_map(designed));
    all.extend(evidence.iter().flat_map(|e| by_design(&setting.suspect, e)));
    let unpopulated = || evidence.iter().find(|e| is_ranking(e));
    if likelihood.is_none()
        && let Some(e) = unpopulated()
    {
        all.push(e.limit.clone());
    }
    all.extend(unheld(evidence, likelihood));
    all.extend(
        evidence
            .iter()
            .filter(|e| e.axis == Axis::WeightLineage)
            .filter_map(|e| {
                let base = &e.ranked.first()?.candidate;
                Some(format!("weights against `{base}`: {}", e.finding.as_ref()?))
            }),
    );
    all.push(
        "a score near zero does not show that no teacher was used: a small share of teacher text, \
         or training after it, hides below the smallest effect that could be seen"
            .into(),
    );
    all
}

/// What is said of likelihood ratios: of the candidate with the largest, of the others together, and what
/// must be read with them.
fn ratios(setting: &Setting, likelihood: &Likelihood) -> Vec<String> {
    let suspect = &setting.suspect;
    let name = &likelihood.behind.name;
    if let Some(because) = &likelihood.withheld {
        return vec![format!(
            "no likelihood ratio can be stated by population `{name}`: {because}"
        )];
    }
    let Some(first) = likelihood.candidates.first() else {
        return vec![format!(
            "no likelihood ratio can be stated by population `{name}`: no candidate has all scores"
        )];
    };
    let mut all = vec![ratio(suspect, first)];
    if let Some(most) = likelihood.candidates[1..]
        .iter()
        .map(|c| c.headline.log10)
        .reduce(f64::max)
    {
        all.push(format!(
            "of every other candidate the likelihood ratio is at most {}",
            about(most)
        ));
    }
    let behind = &likelihood.behind;
    let [misled, clean] = behind.misleading_over_10;
    let cllr = behind
        .counts
        .left_out_cllr
        .map_or("-".into(), |c| format!("{c:.2}"));
    all.push(format!(
        "ratios come from population `{name}` ({} distilled and {} clean lineages, {} teachers), brought \
         to {} candidates and {} controls; with each teacher left out in turn, Cllr is {cllr} bits and \
         {misled} of {clean} clean lineages had a candidate above 10",
        behind.counts.distilled,
        behind.counts.other,
        behind.counts.teachers,
        behind.candidates,
        behind.controls
    ));
    all.extend(likelihood.remarks.iter().cloned());
    all
}

fn ratio(suspect: &str, of: &Candidature) -> String {
    let candidate = &of.candidate;
    let symbols: Vec<&str> = of.versus.iter().map(|v| v.alternative.symbol()).collect();
    let symbols = symbols.join(", ");
    if of.headline.log10 <= 0.0 {
        return format!(
            "the scores give no support to \"`{suspect}` learned from `{candidate}`\", the candidate with \
             the largest likelihood ratio: {} (log10 {:.1}) as the least over {symbols}",
            about(of.headline.log10),
            of.headline.log10
        );
    }
    let most = if of.headline.is_capped() {
        ", the most that this population can support"
    } else {
        ""
    };
    format!(
        "the scores are {} times as probable if `{suspect}` learned from `{candidate}` as under the alternative \
         that explains them best ({symbols}): log10 LR {:.1}, {:.0} % interval {:.1} to {:.1} over \
         lineages{most}; {}",
        about(of.headline.log10),
        of.headline.log10,
        100.0 * of.interval.level,
        of.interval.lower,
        of.interval.upper,
        of.support.words()
    )
}

/// A likelihood ratio to one figure.
fn about(log10: f64) -> String {
    let exponent = log10.floor();
    let unit = 10_f64.powf(exponent);
    let figure = (10_f64.powf(log10) / unit).round() * unit;
    let decimals = (-exponent).max(0.0) as usize;
    format!("about {figure:.decimals$}")
}

fn ranking(setting: &Setting, agreement: &[Agreement], scored: usize) -> String {
    let suspect = &setting.suspect;
    if scored == 0 {
        return format!("no probe could rank the candidate teachers of `{suspect}`");
    }
    let named = |pick: fn(&Agreement) -> u32| {
        agreement
            .iter()
            .filter(|a| pick(a) > 0)
            .map(|a| format!("`{}` ({} of {scored})", a.candidate, pick(a)))
            .collect::<Vec<_>>()
    };
    let clear = named(|a| a.clearly_first);
    if clear.is_empty() {
        return format!(
            "no candidate stands above the others for `{suspect}`: no probe of {scored} puts one \
             first with an interval above zero"
        );
    }
    format!(
        "for `{suspect}`, first among the candidates with an interval above zero: {} probes",
        clear.join(", ")
    )
}

// Scores that rank the candidates. An exact test speaks of one candidate at a time, and is told
// apart.
fn is_ranking(evidence: &Evidence) -> bool {
    evidence.axis == Axis::TeacherIdentity && evidence.basis == Basis::Population
}

fn designed(evidence: &Evidence) -> Option<String> {
    let exact = evidence.axis == Axis::TeacherIdentity && evidence.basis == Basis::Design;
    let finding = evidence.finding.as_ref().filter(|_| exact)?;
    Some(format!(
        "exact test `{}`: {finding}",
        evidence.method.name()
    ))
}

// The likelihood ratio of an exact test, apart from all others.
fn by_design(suspect: &str, evidence: &Evidence) -> Vec<String> {
    let name = evidence.method.name();
    let said = |d: &DesignRatio| {
        format!(
            "likelihood ratio of exact test `{name}`, apart from all others, that `{suspect}` was exposed to \
             what `{}` put out over that it was not: {} (log10 {:.1}; e-value log10 {:.1}, held to a stated \
             error rate of the procedure of {})",
            d.candidate,
            about(d.log10),
            d.log10,
            d.log10_e,
            d.epsilon
        )
    };
    evidence.design.iter().map(said).collect()
}

// An alternative that neither a likelihood ratio nor a probe was set up to exclude stays open, and is said
// to.
fn unheld(evidence: &[Evidence], likelihood: Option<&Likelihood>) -> Vec<String> {
    let stated = |alternative: &Proposition| {
        let candidates = likelihood.iter().flat_map(|l| &l.candidates);
        let mut versus = candidates.flat_map(|c| &c.versus);
        versus.any(|v| v.alternative == *alternative)
    };
    Proposition::ALTERNATIVES
        .iter()
        .filter(|alternative| !stated(alternative))
        .filter_map(|&alternative| {
            let contrasts: Vec<_> = evidence
                .iter()
                .filter(|e| is_ranking(e))
                .flat_map(|e| e.contrasts.iter().filter(|c| c.alternative == alternative))
                .collect();
            let open = !contrasts.is_empty() && contrasts.iter().all(|c| !c.present);
            open.then(|| {
                format!(
                    "{} is not contrasted: {}",
                    alternative.symbol(),
                    contrasts[0].because
                )
            })
        })
        .collect()
}

impl fmt::Display for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suspect = &self.setting.suspect;
        writeln!(f, "Propositions, for each candidate teacher T:")?;
        for p in [Proposition::Distilled]
            .iter()
            .chain(&Proposition::ALTERNATIVES)
        {
            writeln!(f, "  {}  {}", p.symbol(), p.sentence(suspect, "T"))?;
        }
        writeln!(f, "Claim ladder: tier {}.", self.tier.number())?;
        self.statements
            .iter()
            .try_for_each(|s| writeln!(f, "- {s}"))
    }
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn a_ratio_has_one_figure() {
        for (log10, said) in [
            (0.0, "about 1"),
            (1.0, "about 10"),
            (1.57, "about 40"),
            (1.99, "about 100"),
            (-0.52, "about 0.3"),
            (-1.2, "about 0.06"),
        ] {
            assert_eq!(about(log10), said);
        }
    }
}
