//! The rank of every served response among its fresh ones.

use filiation_core::{
    Abstention, Answer, Digest, Observations, Party, Reason, RequestId, ScoredText,
};
use filiation_stats::uniform_sum_at_least;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{LEAST_BYTES, LEAST_PAIRS, Log, Pair, RegenerationRank, drift};
use crate::contrast::undefined;

/// How many of `fresh` responses lie below the served one: uniform over 0..=fresh under the null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) below: u32,
    pub(super) fresh: u32,
}

impl Place {
    /// From −1, below all, to 1, above all; mean 0 under the null.
    pub(super) fn lead(self) -> f64 {
        2.0 * f64::from(self.below) / f64::from(self.fresh) - 1.0
    }
}

/// log10 of the exact p that served responses stand so high among the fresh ones.
pub(super) fn log10_p_high(places: &[Place]) -> Result<f64, Abstention> {
    let lists: Vec<Vec<u32>> = places.iter().map(|p| (0..=p.fresh).collect()).collect();
    let sum = places.iter().map(|p| u64::from(p.below)).sum();
    uniform_sum_at_least(&lists, sum).map_err(undefined)
}

/// A pair with its place.
pub(super) struct Ranked<'a> {
    pub(super) pair: &'a Pair,
    pub(super) place: Place,
}

/// A log whose responses the teacher could have written today.
pub(super) struct RankedLog<'a> {
    pub(super) log: &'a Log,
    pub(super) pairs: Vec<Ranked<'a>>,
    /// Places that no tie decides.
    pub(super) told_apart: usize,
    pub(super) less_base: bool,
    pub(super) checks: Vec<drift::Check>,
}

/// The places in one log, or why it cannot be used.
pub(super) fn ranked<'a>(
    probe: &'a RegenerationRank,
    log: &'a Log,
    seen: &'a Observations<'a>,
) -> Result<RankedLog<'a>, Abstention> {
    let reader = Reader::of(probe, log, seen)?;
    let scores: Vec<(&Pair, Vec<f64>)> = log
        .pairs
        .iter()
        .filter_map(|pair| Some((pair, reader.under_suspect(pair)?)))
        .collect();
    let first = scores.iter().filter(|(pair, _)| pair.first_of_prompt);
    if first.count() < LEAST_PAIRS {
        return Err(too_few(log, &scores));
    }
    let told_apart = scores
        .iter()
        .filter(|(_, s)| s[1..].iter().all(|f| *f != s[0]));
    let told_apart = told_apart.count();
    if 2 * told_apart < scores.len() {
        let detail = format!(
            "in {} of {} pairs of `{}` a fresh response is the served one again: `{}` answers \
             with too little chance for ranks to tell anything",
            scores.len() - told_apart,
            scores.len(),
            log.teacher,
            log.teacher
        );
        return Err(Abstention::new(Reason::Degenerate, detail));
    }
    let checks = drift::check(&reader)?;
    let place = |(pair, scores): &(&'a Pair, Vec<f64>)| Ranked {
        pair,
        place: reader.place(pair, "suspect", scores),
    };
    Ok(RankedLog {
        log,
        pairs: scores.iter().map(place).collect(),
        told_apart,
        less_base: reader.base.is_some(),
        checks,
    })
}

fn too_few(log: &Log, scores: &[(&Pair, Vec<f64>)]) -> Abstention {
    let detail = format!(
        "{} of {} pairs of `{}` have a served and a fresh response that could be scored, from \
         distinct prompts, at least {LEAST_PAIRS} are needed ({} were empty, short or cut at an \
         unknown limit, {} repeat a prompt)",
        scores.iter().filter(|(p, _)| p.first_of_prompt).count(),
        log.pairs.len() + log.unusable + log.repeated,
        log.teacher,
        log.unusable,
        log.repeated
    );
    Abstention::new(Reason::TooFewAnswers, detail)
}

/// Reads the scores of one log.
pub(super) struct Reader<'a> {
    seed: u64,
    pub(super) log: &'a Log,
    seen: &'a Observations<'a>,
    suspect: &'a Party,
    pub(super) teacher: &'a Party,
    /// The base, where it scores.
    pub(super) base: Option<&'a Party>,
}

impl<'a> Reader<'a> {
    fn of(
        probe: &RegenerationRank,
        log: &'a Log,
        seen: &'a Observations<'a>,
    ) -> Result<Self, Abstention> {
        let suspect = seen.suspect();
        let suspect = suspect
            .ok_or_else(|| Abstention::new(Reason::TooFewAnswers, "the case has no suspect"))?;
        let teacher = seen.teachers().find(|t| t.name == log.teacher);
        let teacher = teacher.ok_or_else(|| {
            let detail = format!("a log is of `{}`, which is no candidate", log.teacher);
            Abstention::new(Reason::TooFewTeachers, detail)
        })?;
        let scores = |party: &&Party| {
            let mut served = log.pairs.iter().map(|pair| &pair.served);
            served.any(|id| per_byte(seen, party, id).is_some())
        };
        Ok(Self {
            seed: probe.bootstrap.seed,
            log,
            seen,
            suspect,
            teacher,
            base: seen.base().filter(scores),
        })
    }

    /// The score of the served response, then of every usable fresh one. What is left out is left
    /// out for what it is, served or fresh, so that the rest are draws of one distribution still.
    pub(super) fn scores(
        &self,
        pair: &Pair,
        served: impl Fn() -> Option<f64>,
        fresh: impl Fn(&super::Fresh) -> Option<f64>,
    ) -> Option<Vec<f64>> {
        let mut all = vec![served()?];
        let usable = pair.fresh.iter().filter(|f| self.fresh_bytes(f).is_some());
        all.extend(usable.filter_map(fresh));
        (all.len() > 1).then_some(all)
    }

    fn under_suspect(&self, pair: &Pair) -> Option<Vec<f64>> {
        let score = |id: &RequestId| {
            let own = per_byte(self.seen, self.suspect, id)?;
            match self.base {
                Some(base) => Some(own - per_byte(self.seen, base, id)?),
                None => Some(own),
            }
        };
        self.scores(
            pair,
            || score(&pair.served),
            |fresh| score(&fresh.score.about(&self.teacher.name)),
        )
    }

    pub(super) fn under(&self, party: &Party, pair: &Pair) -> Option<Vec<f64>> {
        let own = party.name == self.teacher.name;
        let served = if own { &pair.served_own } else { &pair.served };
        self.scores(
            pair,
            || per_byte(self.seen, party, served),
            |fresh| {
                let id = if own { &fresh.own } else { &fresh.score };
                per_byte(self.seen, party, &id.about(&self.teacher.name))
            },
        )
    }

    pub(super) fn lengths(&self, pair: &Pair) -> Option<Vec<f64>> {
        self.scores(
            pair,
            || Some(pair.response_bytes as f64),
            |fresh| self.fresh_bytes(fresh).map(|bytes| bytes as f64),
        )
    }

    fn fresh_bytes(&self, fresh: &super::Fresh) -> Option<usize> {
        match self.seen.answer(self.teacher, &fresh.text)? {
            Answer::Completion(said) if said.text.len() >= LEAST_BYTES => Some(said.text.len()),
            _ => None,
        }
    }

    /// Equal scores are put in an order by lot: their place is uniform still.
    pub(super) fn place(&self, pair: &Pair, by: &str, scores: &[f64]) -> Place {
        let (served, fresh) = (scores[0], &scores[1..]);
        let below = fresh.iter().filter(|f| **f < served).count() as u32;
        let equal = fresh.iter().filter(|f| **f == served).count() as u64;
        let name = format!("{}/{}/{}/{by}", self.seed, self.log.teacher, pair.id);
        let mut rng = ChaCha8Rng::from_seed(*Digest::of(name.as_bytes()).as_bytes());
        // The high half of a product is uniform but for a bias of a ten-quintillionth.
        let lot = (u128::from(rng.next_u64()) * u128::from(equal + 1)) >> 64;
        Place {
            below: below + lot as u32,
            fresh: fresh.len() as u32,
        }
    }
}

fn per_byte(seen: &Observations<'_>, party: &Party, id: &RequestId) -> Option<f64> {
    match seen.answer(party, id)? {
        Answer::Scored(text) => ScoredText::per_byte(text).filter(|v| v.is_finite()),
        _ => None,
    }
}
