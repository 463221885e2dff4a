//! What the canaries of all teachers say, every file counted.

use std::collections::{BTreeMap, BTreeSet};

use filiation_core::{
    Abstention, Axis, Basis, CandidateScore, Exact, Observations, Party, Power, Reason, Statistic,
};
use filiation_stats::{Clusters, clopper_pearson, holm, moments};
use serde::Serialize;

use super::matches::{Matches, matches};
use super::places::{Place, places};
use super::{PlantedCanaries, Set, combined};
use crate::canaries::Chance;
use crate::contrast::undefined;

/// Size at which the finding names a teacher, all files counted, and at which power is stated.
const FOUND: f64 = 0.001;
const POWER: f64 = 0.9;

/// What one model shows of one file. Holds no prompt and no text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Canaries in the file.
    pub canaries: u32,
    /// Those that could be ranked, or, without decoys, asked for.
    pub used: u32,
    /// Mean of (decoys below − decoys above)/decoys; the share of matches where there are no decoys.
    pub score: f64,
    /// log10 p: of the ranks, or of the matches where there are no decoys.
    pub log10_p: f64,
    /// log10 of the e-value of the ranks.
    pub log10_e: Option<f64>,
    /// Smallest share of canaries, first among their decoys, that a test of size 0.001 finds nine
    /// times in ten.
    pub smallest_share: Option<f64>,
    /// Canaries that the model writes by itself.
    pub matched: Option<u32>,
    /// Of how many.
    pub asked: Option<u32>,
    /// log10 p of the matches alone.
    pub matches_log10_p: Option<f64>,
    /// The rate of matches by chance that this is taken at, an upper bound.
    pub matches_rate: Option<f64>,
    /// With decoy keys: log10 of the binomial p at the upper bound of their rate.
    pub matches_log10_p_binomial: Option<f64>,
    /// By how often canaries were planted, where that differs.
    pub by_repeats: Vec<ByRepeats>,
}

/// Canaries that were planted equally often.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ByRepeats {
    /// How often.
    pub repeats: u32,
    /// How many canaries.
    pub used: u32,
    /// Mean lead.
    pub lead: f64,
    /// log10 p of these alone, not counted among others.
    pub log10_p: f64,
    /// First of all.
    pub first: u32,
}

/// What `party` shows of the canaries of `teacher`. Decoy keys of `others` enter the bound on the
/// rate of matches.
///
/// # Errors
/// An [`Abstention`] where no canary can be used.
pub fn found(
    probe: &PlantedCanaries,
    teacher: &str,
    seen: &Observations<'_>,
    party: &Party,
    others: &[&Party],
) -> Result<Found, Abstention> {
    let set = probe.sets.iter().find(|set| set.of.teacher == teacher);
    let set = set.ok_or_else(|| {
        let detail = format!("no file of canaries is of `{teacher}`");
        Abstention::new(Reason::TooFewTeachers, detail)
    })?;
    Ok(Seen::of(set, seen, party, others)?.found)
}

/// The same with the places.
struct Seen {
    found: Found,
    leads: Vec<f64>,
}

impl Seen {
    fn of(
        set: &Set,
        seen: &Observations<'_>,
        party: &Party,
        others: &[&Party],
    ) -> Result<Self, Abstention> {
        let places = places(set, seen, party);
        let matches = matches(set, seen, party, others);
        let (leads, log10_p, log10_e, smallest_share) = if let Chance::Stated(rate) = set.of.chance
        {
            let matches = matches.ok_or_else(|| nothing(set, party))?;
            let hits = (0..matches.asked).map(|i| f64::from(u8::from(i < matches.matched)));
            (
                hits.collect(),
                matches.log10_p,
                None,
                smallest_rate(matches.asked, rate),
            )
        } else {
            if places.is_empty() {
                return Err(nothing(set, party));
            }
            (
                places.iter().map(|p| p.lead()).collect::<Vec<f64>>(),
                combined::log10_p(&places)?,
                Some(combined::log10_e(&places)),
                combined::smallest_share(&places, FOUND, POWER),
            )
        };
        let found = Found {
            canaries: set.of.canaries.len() as u32,
            used: leads.len() as u32,
            score: leads.iter().sum::<f64>() / leads.len() as f64,
            log10_p,
            log10_e,
            smallest_share,
            matched: matches.map(|m| m.matched),
            asked: matches.map(|m| m.asked),
            matches_log10_p: matches.map(|m| m.log10_p),
            matches_rate: matches.map(|m| m.rate),
            matches_log10_p_binomial: matches.and_then(|m: Matches| m.log10_p_binomial),
            by_repeats: by_repeats(&places)?,
        };
        Ok(Self { found, leads })
    }
}

fn nothing(set: &Set, party: &Party) -> Abstention {
    let detail = format!(
        "`{}` answered for none of the {} canaries of `{}`, at least one is needed",
        party.name,
        set.of.canaries.len(),
        set.of.teacher
    );
    Abstention::new(Reason::TooFewAnswers, detail)
}

fn by_repeats(places: &[Place]) -> Result<Vec<ByRepeats>, Abstention> {
    let kinds: BTreeSet<u32> = places.iter().map(|p| p.repeats).collect();
    if kinds.len() < 2 {
        return Ok(Vec::new());
    }
    let of = |repeats: u32| {
        let own: Vec<Place> = places
            .iter()
            .copied()
            .filter(|p| p.repeats == repeats)
            .collect();
        Ok(ByRepeats {
            repeats,
            used: own.len() as u32,
            lead: own.iter().map(|p| p.lead()).sum::<f64>() / own.len() as f64,
            log10_p: combined::log10_p(&own)?,
            first: own.iter().filter(|p| p.rank == 1).count() as u32,
        })
    };
    kinds.into_iter().map(of).collect()
}

/// Smallest rate of matches that a binomial test of size 0.001 finds nine times in ten.
fn smallest_rate(n: u32, rate: f64) -> Option<f64> {
    let tail = |k: u64, p: f64| filiation_stats::tails::binomial_at_least(k, n.into(), p).ok();
    let critical =
        (0..=u64::from(n)).find(|k| tail(*k, rate).is_some_and(|t| t <= FOUND.log10()))?;
    // The rate at which P(X ≥ critical) is the power is a Clopper–Pearson bound.
    let interval = clopper_pearson(critical - 1, n.into(), 1.0 - 2.0 * (1.0 - POWER)).ok()?;
    Some(interval.upper)
}

pub(super) fn statistic(
    probe: &PlantedCanaries,
    seen: &Observations<'_>,
) -> Result<Statistic, Abstention> {
    let suspect = seen.suspect();
    let suspect =
        suspect.ok_or_else(|| Abstention::new(Reason::TooFewAnswers, "the case has no suspect"))?;
    let innocents: Vec<&Party> = seen.base().into_iter().chain(seen.controls()).collect();
    let mut shown = Vec::new();
    let mut refused = Vec::new();
    for set in &probe.sets {
        if !seen.teachers().any(|t| t.name == set.of.teacher) {
            let detail = format!(
                "canaries are of `{}`, which is no candidate",
                set.of.teacher
            );
            refused.push(Abstention::new(Reason::TooFewTeachers, detail));
            continue;
        }
        match Seen::of(set, seen, suspect, &innocents) {
            Ok(own) => shown.push((set, own)),
            Err(why) => refused.push(why),
        }
    }
    if shown.is_empty() {
        let none = || Abstention::new(Reason::TooFewTeachers, "no file of canaries");
        return Err(refused.pop().unwrap_or_else(none));
    }
    let raw: Vec<f64> = shown.iter().map(|(_, own)| own.found.log10_p).collect();
    let counted = holm(&raw);
    let files = shown.len() as f64;
    let candidates = shown
        .iter()
        .zip(&counted)
        .map(|((set, own), p)| candidate(probe, set, own, *p, files))
        .collect::<Result<Vec<_>, _>>()?;
    let mut details = BTreeMap::new();
    details.insert("files".to_owned(), files);
    for (set, own) in &shown {
        detail(&mut details, set, "suspect", &own.found);
        for party in &innocents {
            if let Ok(theirs) = Seen::of(set, seen, party, &[]) {
                detail(&mut details, set, &party.name, &theirs.found);
            }
        }
    }
    let mut finding = finding(&shown, &counted);
    for why in &refused {
        finding += &format!("; left out: {why}");
    }
    let shares = shown.iter().map(|(_, own)| own.found.smallest_share);
    // Of several files the weakest.
    let weakest = shares
        .reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
        .flatten();
    Ok(Statistic {
        method: probe.id.clone(),
        axis: Axis::TeacherIdentity,
        basis: Basis::Design,
        unit: "lead over decoys".into(),
        candidates,
        controls: Vec::new(),
        finding: Some(finding),
        power: weakest.map(|smallest_effect| Power {
            smallest_effect,
            size: FOUND,
            power: POWER,
        }),
        details,
    })
}

fn candidate(
    probe: &PlantedCanaries,
    set: &Set,
    own: &Seen,
    counted: f64,
    files: f64,
) -> Result<CandidateScore, Abstention> {
    let leads = &own.leads;
    let mean = |units: &[usize]| units.iter().map(|&u| leads[u]).sum::<f64>() / units.len() as f64;
    let estimate = probe
        .bootstrap
        .percentile(&Clusters::singletons(leads.len()), mean)
        .map_err(undefined)?;
    Ok(CandidateScore {
        candidate: set.of.teacher.clone(),
        score: estimate.value,
        interval: Some(estimate.interval),
        effect: moments(leads).ok().and_then(|m| m.effect()),
        units: leads.len() as u32,
        exact: Some(Exact {
            log10_p: counted,
            log10_e: own.found.log10_e.map(|e| e - files.log10()),
        }),
    })
}

fn finding(shown: &[(&Set, Seen)], counted: &[f64]) -> String {
    let files = shown.len();
    let named: Vec<String> = shown
        .iter()
        .zip(counted)
        .filter(|(_, p)| **p <= FOUND.log10())
        .map(|((set, own), p)| {
            let matched = match own.found.matched.zip(own.found.asked) {
                Some((k, n)) => format!(", {k} of {n} written out"),
                None => String::new(),
            };
            format!("`{}` (log10 p {p:.1}{matched})", set.of.teacher)
        })
        .collect();
    if named.is_empty() {
        let least = counted.iter().copied().fold(0.0, f64::min);
        return format!(
            "planted texts are to the suspect as their decoys are (least log10 p {least:.1}, \
             {files} files counted)"
        );
    }
    format!(
        "the suspect depends on what was planted by {}; {files} files counted",
        named.join(" and by ")
    )
}

fn detail(all: &mut BTreeMap<String, f64>, set: &Set, party: &str, found: &Found) {
    let teacher = &set.of.teacher;
    let mut put = |what: &str, value: Option<f64>| {
        if let Some(value) = value {
            all.insert(format!("{teacher}/{party}/{what}"), value);
        }
    };
    put("canaries", Some(f64::from(found.canaries)));
    put("used", Some(f64::from(found.used)));
    put("score", Some(found.score));
    put("log10-p", Some(found.log10_p));
    put("log10-e", found.log10_e);
    put("matched", found.matched.map(f64::from));
    put("matches-log10-p", found.matches_log10_p);
    put("matches-rate", found.matches_rate);
    put("matches-log10-p-binomial", found.matches_log10_p_binomial);
    for by in &found.by_repeats {
        put(&format!("planted-{}/lead", by.repeats), Some(by.lead));
        put(&format!("planted-{}/log10-p", by.repeats), Some(by.log10_p));
    }
    if party == "suspect" {
        let bound = if set.of.bound { 1.0 } else { 0.0 };
        all.insert(format!("{teacher}/choice-bound"), bound);
    }
}
