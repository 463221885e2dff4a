//! What every party would say next, and what it makes of the teachers' texts, as inner products of
//! displacements from the base.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, Observations, Party, Reason, Request, RequestId, TopK, Want,
};

use super::texts::{self, Scores};
use super::{Asked, degenerate};
use crate::contrast::{Common, Given, Seats, fewest, given};
use crate::divergence::choice_priors::distribution;

/// Bytes that are told apart at a position; the others are one more outcome.
pub(super) const BYTES: usize = 8;
/// Added to every probability: what the most likely tokens leave unseen is not told apart.
pub(super) const FLOOR: f64 = 1e-3;
/// Fewest positions of a kind, and of both together.
const LEAST_OF_KIND: usize = 10;
const LEAST: usize = 20;
/// From here on the spread of the controls is the metric; each of them is held against the others.
pub(super) const LEAST_TO_WHITEN: usize = 4;
/// Smaller squares of displacements are rounding.
const ROUNDING: f64 = 1e-18;

/// What is asked at a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What comes first after a prompt.
    First,
    /// A choice cell.
    Choice,
    /// The teachers' texts to a prompt.
    Texts,
}

const KINDS: [Kind; 3] = [Kind::First, Kind::Choice, Kind::Texts];

/// One unit: a prompt, a choice cell, or a prompt's texts.
pub(super) struct Unit {
    /// Inner products of the displacements of suspect, teachers and controls: row-major.
    pub(super) gram: Vec<f64>,
    pub(super) features: usize,
    /// 1 where the teachers' texts are part of it.
    texts: usize,
    kind: Kind,
}

/// What one party gave at a unit.
enum Said<'a> {
    Outcomes(Outcomes),
    Scores(Scores<'a>),
}

/// The displacements of everyone, position by position.
pub(super) struct Displaced {
    pub(super) units: Vec<Unit>,
    /// Suspect, teachers and controls.
    pub(super) models: usize,
    pub(super) controls: Vec<String>,
    pub(super) left_out: usize,
}

/// A probability of each outcome, by what the outcome is called.
type Outcomes = BTreeMap<Vec<u8>, f64>;

impl Displaced {
    pub(super) fn read(
        asked: &Asked,
        seen: &Observations<'_>,
        seats: &Seats<'_>,
    ) -> Result<Self, Abstention> {
        let answers = |party: &Party| -> Vec<Option<Said<'_>>> {
            let outcomes = asked.next.iter().map(|r| outcomes(seen, party, r));
            let scores = asked.texts.iter();
            let scores = scores.map(|(_, ids)| texts::scores(seen, party, &seats.teachers, ids));
            let outcomes = outcomes.map(|o| o.map(Said::Outcomes));
            outcomes
                .chain(scores.map(|s| s.map(Said::Scores)))
                .collect()
        };
        let mut core = vec![answers(seats.base), answers(seats.suspect)];
        core.extend(seats.teachers.iter().map(|t| answers(t)));
        let controls: Vec<_> = seats.controls.iter().map(|c| answers(c)).collect();
        let of_core: Vec<Given> = core.iter().map(|a| given(a)).collect();
        let of_controls: Vec<Given> = controls.iter().map(|a| given(a)).collect();
        let common = Common::of(&of_core, &of_controls);
        let mut used = common.units;
        let planned = asked.next.len() + asked.texts.len();
        let kind_of = |i: usize| match asked.next.get(i).map(|r| &r.want) {
            None => Kind::Texts,
            Some(Want::Choice { .. }) => Kind::Choice,
            Some(_) => Kind::First,
        };
        for kind in KINDS {
            if used.iter().filter(|&&i| kind_of(i) == kind).count() < LEAST_OF_KIND {
                used.retain(|&i| kind_of(i) != kind);
            }
        }
        if used.len() < LEAST {
            return Err(too_few(planned, used.len(), seats, &of_core));
        }
        let teachers = seats.teachers.len();
        let kept = common.controls.iter();
        let theirs = kept.clone().map(|&c| &controls[c]);
        let all: Vec<&Vec<Option<Said<'_>>>> = core.iter().chain(theirs).collect();
        let unit = |&i: &usize| {
            let there: Vec<&Said<'_>> = all.iter().filter_map(|a| a[i].as_ref()).collect();
            unit(&there, teachers, kind_of(i))
        };
        let mut displaced = Self {
            units: used.iter().map(unit).collect(),
            models: all.len() - 1,
            controls: kept.map(|&c| seats.controls[c].name.clone()).collect(),
            left_out: planned - used.len(),
        };
        displaced.scale(teachers)?;
        displaced.join(&used, asked);
        Ok(displaced)
    }

    /// Numbers that describe one model.
    pub(super) fn features(&self) -> usize {
        self.units.iter().map(|u| u.features).sum()
    }

    /// How many units are of the teachers' texts.
    pub(super) fn texts(&self) -> usize {
        self.units.iter().map(|u| u.texts).sum()
    }

    // What is asked at one prompt is one unit: it does not vary independently.
    fn join(&mut self, used: &[usize], asked: &Asked) {
        let place = |i: usize| match i.checked_sub(asked.next.len()) {
            Some(text) => asked.texts[text].0,
            None => i,
        };
        let mut joined: BTreeMap<usize, Unit> = BTreeMap::new();
        for (&i, unit) in used.iter().zip(std::mem::take(&mut self.units)) {
            match joined.get_mut(&place(i)) {
                None => {
                    joined.insert(place(i), unit);
                }
                Some(there) => {
                    let sums = there.gram.iter_mut().zip(&unit.gram);
                    sums.for_each(|(sum, g)| *sum += g);
                    there.features += unit.features;
                    there.texts += unit.texts;
                }
            }
        }
        self.units = joined.into_values().collect();
    }

    // Every kind of unit in units of what the controls vary by there (or, where they are too
    // few, of what the teachers do), so that neither rules by its scale.
    fn scale(&mut self, teachers: usize) -> Result<(), Abstention> {
        let m = self.models;
        let moved = self.units.iter().any(|u| u.gram[0] > ROUNDING);
        if !moved {
            return Err(degenerate(
                "the suspect says what the base says at every position: they are one model",
            ));
        }
        let group = if self.controls.len() >= LEAST_TO_WHITEN {
            1 + teachers..m
        } else {
            1..1 + teachers
        };
        for kind in KINDS {
            let n = group.len() as f64;
            let (mut spread, mut features) = (0.0, 0);
            for u in self.units.iter().filter(|u| u.kind == kind) {
                let whole: f64 = group.clone().map(|i| u.gram[i * m + i]).sum();
                let pairs = group
                    .clone()
                    .flat_map(|i| group.clone().map(move |j| (i, j)));
                let mean: f64 = pairs.map(|(i, j)| u.gram[i * m + j]).sum::<f64>() / n;
                spread += whole - mean;
                features += u.features;
            }
            if features == 0 {
                continue;
            }
            let variance = spread / (n * features as f64);
            if variance <= ROUNDING {
                return Err(degenerate(
                    "the models to compare with say the same throughout",
                ));
            }
            let units = self.units.iter_mut().filter(|u| u.kind == kind);
            for u in units {
                u.gram.iter_mut().for_each(|g| *g /= variance);
            }
        }
        Ok(())
    }
}

fn too_few(planned: usize, used: usize, seats: &Seats<'_>, core: &[Given]) -> Abstention {
    let parties = [seats.base, seats.suspect].into_iter();
    let (name, got) = fewest(parties.chain(seats.teachers.iter().copied()), core);
    let reason = if got == 0 {
        Reason::NotSupported
    } else {
        Reason::TooFewAnswers
    };
    let detail = format!(
        "{used} of {planned} positions have probabilities of all parties (`{name}` gave {got}), at \
         least {LEAST} are needed; with a teacher that gives text only, `divergence-agreement` and \
         `tlu-did` remain"
    );
    Abstention::new(reason, detail)
}

// The base comes first, then the suspect, the teachers and the controls.
fn unit(there: &[&Said<'_>], teachers: usize, kind: Kind) -> Unit {
    let outcomes = there.iter().filter_map(|said| match said {
        Said::Outcomes(outcomes) => Some(outcomes),
        Said::Scores(_) => None,
    });
    let scores = there.iter().filter_map(|said| match said {
        Said::Scores(scores) => Some(scores),
        Said::Outcomes(_) => None,
    });
    let moved = match kind {
        Kind::Texts => texts::moved(&scores.collect::<Vec<_>>()),
        _ => next(&outcomes.collect::<Vec<_>>(), teachers, kind),
    };
    let dot = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let gram = moved
        .iter()
        .flat_map(|a| moved.iter().map(move |b| dot(a, b)));
    Unit {
        gram: gram.collect(),
        features: moved.first().map_or(0, Vec::len),
        texts: usize::from(kind == Kind::Texts),
        kind,
    }
}

/// Movements of everyone but the base, which comes first, in what is said next.
fn next(there: &[&Outcomes], teachers: usize, kind: Kind) -> Vec<Vec<f64>> {
    let kept = if kind == Kind::Choice {
        there[0].keys().cloned().collect()
    } else {
        likeliest(there[0], &there[2..2 + teachers])
    };
    let all: Vec<Vec<f64>> = there.iter().map(|o| logs(o, &kept)).collect();
    let moved = all[1..].iter();
    moved
        .map(|v| v.iter().zip(&all[0]).map(|(a, b)| a - b).collect())
        .collect()
}

// By the base and the teachers: the suspect has no part in what it is measured by.
fn likeliest(base: &Outcomes, teachers: &[&Outcomes]) -> Vec<Vec<u8>> {
    let mut mass: Outcomes = base.clone();
    for (byte, p) in teachers.iter().copied().flatten() {
        *mass.entry(byte.clone()).or_insert(0.0) += p;
    }
    let mut order: Vec<(Vec<u8>, f64)> = mass.into_iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order
        .into_iter()
        .take(BYTES)
        .map(|(byte, _)| byte)
        .collect()
}

/// Centred log-probabilities of `kept` and of anything else.
fn logs(outcomes: &Outcomes, kept: &[Vec<u8>]) -> Vec<f64> {
    let of = |name: &Vec<u8>| outcomes.get(name).copied().unwrap_or(0.0);
    let mut p: Vec<f64> = kept.iter().map(of).collect();
    p.push((1.0 - p.iter().sum::<f64>()).max(0.0));
    let logs: Vec<f64> = p.iter().map(|p| (p + FLOOR).ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    logs.iter().map(|l| l - mean).collect()
}

/// The probabilities of one answer; `None` for none, or an impossible one.
fn outcomes(seen: &Observations<'_>, party: &Party, request: &Request) -> Option<Outcomes> {
    match &request.want {
        Want::Choice { options, .. } => {
            let p = distribution(seen, party, &request.id)?;
            let named = options.iter().map(|o| o.clone().into_bytes()).zip(p);
            Some(named.collect())
        }
        _ => bytes(top(seen, party, &request.id)?),
    }
}

fn top<'a>(seen: &Observations<'a>, party: &Party, id: &RequestId) -> Option<&'a TopK> {
    match seen.answer(party, id)? {
        Answer::TopK(top) => Some(top),
        _ => None,
    }
}

// By the first byte after white space, since tokenizers differ in where they keep a space. Tokens
// that are no text by themselves count as anything else.
fn bytes(top: &TopK) -> Option<Outcomes> {
    let mut all = Outcomes::new();
    let mut sum = 0.0;
    for token in &top.tokens {
        let p = token.logprob.exp();
        sum += p;
        let text = token.text.trim_start();
        let first = if text.is_empty() { &token.text } else { text };
        let byte = first.as_bytes().first();
        let known = byte.filter(|_| !first.starts_with(char::REPLACEMENT_CHARACTER));
        if let Some(&byte) = known {
            *all.entry(vec![byte]).or_insert(0.0) += p;
        }
    }
    let possible = sum.is_finite() && sum > 0.0 && sum <= 1.0 + 1e-3;
    possible.then_some(all)
}
