//! `reversed-typicality`: do a teacher's answers look to the suspect like its own?
//!
//! Suspect S draws m texts of its own to a prompt and ranks teacher k's text among them by its own
//! log-probability per byte: u in (0, 1). Where S writes as k does, u is uniform over prompts. The
//! distance from uniform is Cramér–von Mises' ∫ (F(t) − t)² dt, as a U-statistic; base B's own
//! distance, by texts of its own, is where S came from. The value of teacher k is by how much S is
//! nearer than B, controls' mean taken off, against the closest rival.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn made no
//! candidate's text more typical for it than another's.

use filiation_core::{
    Abstention, Answer, MethodId, Observations, Party, Probe, Request, RequestId, Role, Statistic,
    Want, Whose,
};
use filiation_stats::Bootstrap;

use crate::contrast::{Common, Given, Measured, Row, Seats, Table, given};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

/// Prompts that are asked, spread over the suites: each costs [`OWN`] texts a model.
const MOST_PROMPTS: usize = 60;
/// Texts of its own that a model ranks a teacher's among.
const OWN: u32 = 7;
/// Differences of two pseudo-values lie within: nothing is clipped.
const CLIP: f64 = 4.0;
const LEAST_BYTES: usize = 8;
const LEAST_PROMPTS: usize = 20;
/// Fewest own texts of a prompt for a rank to mean anything.
const LEAST_OWN: usize = 4;

/// The probe.
#[derive(Debug)]
pub struct ReversedTypicality {
    id: MethodId,
    plan: Vec<Request>,
    prompts: Vec<Asked>,
    bootstrap: Bootstrap,
}

/// Request ids of one prompt.
#[derive(Debug)]
struct Asked {
    text: RequestId,
    score: RequestId,
    /// Texts of its own and their scores.
    own: Vec<(RequestId, RequestId)>,
}

impl ReversedTypicality {
    /// Plans the probe over some open items of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(suites, "reversed-typicality", "open prompt", Item::is_open)?;
        let mut plan = Vec::new();
        let items = suite::spread(&chosen.items, MOST_PROMPTS);
        let prompts = items.iter().map(|i| ask(i, options, &mut plan)).collect();
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            prompts,
            bootstrap: options.bootstrap(),
        })
    }
}

fn ask(item: &Item, options: &ProbeOptions, plan: &mut Vec<Request>) -> Asked {
    let models = || vec![Role::Suspect, Role::Base, Role::Control];
    let generate = |sample| options.text_of(item, sample);
    let mut put = |what: String, to: Vec<Role>, want| {
        let id = RequestId::new(format!("reversed-typicality/{}/{what}", item.id));
        plan.push(Request {
            id: id.clone(),
            to,
            want,
        });
        id
    };
    let about = |of: &RequestId, whose| Want::ScoreAnswers {
        of: of.clone(),
        whose,
    };
    let text = put("text".into(), vec![Role::Teacher], generate(0));
    let score = put("score".into(), models(), about(&text, Whose::Teachers));
    let own = (0..OWN).map(|i| {
        let text = put(format!("{i}/own"), models(), generate(i));
        let score = put(format!("{i}/own-score"), models(), about(&text, Whose::Own));
        (text, score)
    });
    let own = own.collect();
    Asked { text, score, own }
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    options.method_of_texts(
        "reversed-typicality",
        1,
        suites,
        &[
            ("least_bytes", &LEAST_BYTES),
            ("max_tokens", &options.max_tokens),
            ("own", &OWN),
            ("prompts", &MOST_PROMPTS),
        ],
    )
}

impl Probe for ReversedTypicality {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        self.table(seen)?.statistic(&Measured {
            method: &self.id,
            unit: "Cramér–von Mises distance",
            counted: "prompt",
            what: "typicality",
            clip: CLIP,
            bootstrap: self.bootstrap,
        })
    }
}

impl ReversedTypicality {
    fn table(&self, seen: &Observations<'_>) -> Result<Table, Abstention> {
        let seats = Seats::of(seen, "typicality is held against a base")?;
        let places = |party: &Party| -> Vec<Option<Vec<f64>>> {
            let of = |asked| places(seen, party, &seats.teachers, asked);
            self.prompts.iter().map(of).collect()
        };
        let (suspect, base) = (places(seats.suspect), places(seats.base));
        let controls: Vec<_> = seats.controls.iter().map(|c| places(c)).collect();
        let of_controls: Vec<Given> = controls.iter().map(|c| given(c)).collect();
        let common = Common::of(&[given(&suspect), given(&base)], &of_controls);
        let of_base = distances(&base, &common.units);
        let row = |party: &Party, places: &[Option<Vec<f64>>]| Row {
            model: party.name.clone(),
            values: distances(places, &common.units)
                .iter()
                .zip(&of_base)
                .map(|(own, base)| base.iter().zip(own).map(|(b, o)| b - o).collect())
                .collect(),
        };
        let kept = common.controls.iter();
        let table = Table {
            teachers: seats.candidates(),
            suspect: row(seats.suspect, &suspect),
            controls: kept
                .map(|&c| row(seats.controls[c], &controls[c]))
                .collect(),
            left_out: common.left_out,
        };
        table.require(LEAST_PROMPTS, "prompt")?;
        Ok(table)
    }
}

/// Where each teacher's text stands among the texts of `party`, in (0, 1).
fn places(
    seen: &Observations<'_>,
    party: &Party,
    teachers: &[&Party],
    asked: &Asked,
) -> Option<Vec<f64>> {
    let own: Vec<f64> = asked
        .own
        .iter()
        .filter(|(text, _)| is_long(seen, party, text))
        .filter_map(|(_, score)| per_byte(seen, party, &score.about(&party.name)))
        .collect();
    if own.len() < LEAST_OWN {
        return None;
    }
    let place = |teacher: &&Party| {
        if !is_long(seen, teacher, &asked.text) {
            return None;
        }
        let score = per_byte(seen, party, &asked.score.about(&teacher.name))?;
        let below = own.iter().filter(|o| **o < score).count() as f64;
        let equal = own.iter().filter(|o| **o == score).count() as f64;
        Some((below + 0.5 * equal + 0.5) / (own.len() as f64 + 1.0))
    };
    teachers.iter().map(place).collect()
}

/// Pseudo-values of the Cramér–von Mises U-statistic, `[prompt][teacher]`: their mean is the
/// statistic, and their spread its standard error.
fn distances(places: &[Option<Vec<f64>>], common: &[usize]) -> Vec<Vec<f64>> {
    let rows: Vec<&Vec<f64>> = common.iter().filter_map(|i| places[*i].as_ref()).collect();
    let n = rows.len();
    let teachers = rows.first().map_or(0, |row| row.len());
    let mut values = vec![vec![0.0; teachers]; n];
    if n < 2 {
        return values;
    }
    for k in 0..teachers {
        let of_unit: Vec<f64> = (0..n)
            .map(|i| {
                let others = (0..n).filter(|j| *j != i);
                let sum: f64 = others.map(|j| kernel(rows[i][k], rows[j][k])).sum();
                sum / (n - 1) as f64
            })
            .collect();
        let mean = of_unit.iter().sum::<f64>() / n as f64;
        for (row, d) in values.iter_mut().zip(of_unit) {
            row[k] = 2.0 * d - mean;
        }
    }
    values
}

// ∫ (1{u ≤ t} − t)(1{v ≤ t} − t) dt over [0, 1].
fn kernel(u: f64, v: f64) -> f64 {
    1.0 / 3.0 - u.max(v) + 0.5 * (u * u + v * v)
}

fn is_long(seen: &Observations<'_>, party: &Party, id: &RequestId) -> bool {
    let said = seen.answer(party, id);
    matches!(said, Some(Answer::Completion(c)) if c.text.len() >= LEAST_BYTES)
}

fn per_byte(seen: &Observations<'_>, party: &Party, id: &RequestId) -> Option<f64> {
    match seen.answer(party, id)? {
        Answer::Scored(text) => text.per_byte().filter(|v| v.is_finite()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
