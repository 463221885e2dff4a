//! `representation`: whether the suspect came to arrange texts as a teacher does.
//!
//! Hidden states of suspect, base and open teachers after the last token of the same texts. The
//! likeness of two models is unbiased linear CKA, the mean over layers paired by assignment. The
//! gain of teacher k is CKA(S, k) − CKA(B, k), less the mean gain of controls; the score of k is
//! its least lead over another candidate. Texts are the units, by the jackknife: a text's value is
//! n times the gain of all texts less n − 1 times that without it.
//!
//! **Null hypothesis**: S learned from none of the candidates; what it did learn made its
//! arrangement of texts like that of no candidate more than another. Then every score is 0 or
//! below up to noise.

use filiation_core::{
    Abstention, Answer, HiddenStates, MethodId, Observations, Party, Probe, Reason, Request,
    RequestId, Role, Statistic, Want,
};
use filiation_stats::Bootstrap;

use crate::contrast::{Given, Measured, Row, Seats, Table, fewest, given};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod layers;

use layers::Arrangement;

/// Most texts that are read.
const TEXTS: usize = 64;
/// Fewest texts that all parties read.
const LEAST_TEXTS: usize = 30;
/// Depths at which layers are asked for: a model answers those that it has, and the deepest counts.
const DEPTHS: [u32; 5] = [2, 6, 12, 24, 48];
/// Layers of a depth, evenly spaced.
const LAYERS: u32 = 4;
/// Random pairings of texts, for the p of one likeness.
const PAIRINGS: usize = 999;

/// The probe.
#[derive(Debug)]
pub struct Representation {
    id: MethodId,
    plan: Vec<Request>,
    /// By text: one request a depth.
    texts: Vec<Vec<RequestId>>,
    bootstrap: Bootstrap,
}

impl Representation {
    /// Plans the probe over up to 64 open prompts of `suites`, evenly spaced.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(suites, "representation", "open prompt", Item::is_open)?;
        let n = chosen.items.len().min(TEXTS);
        let mut plan = Vec::new();
        let mut texts = Vec::new();
        for i in 0..n {
            let item = chosen.items[i * chosen.items.len() / n];
            let mut of_text = Vec::new();
            for depth in DEPTHS {
                let id = RequestId::new(format!("representation/{}/{depth}", item.id));
                of_text.push(id.clone());
                let parts = LAYERS.min(depth);
                plan.push(Request {
                    id,
                    to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
                    want: Want::Hidden {
                        text: item.text.clone(),
                        layers: (1..=parts).map(|part| part * depth / parts).collect(),
                    },
                });
            }
            texts.push(of_text);
        }
        Ok(Self {
            id: MethodId::new(
                "representation",
                1,
                &[
                    ("draws", &options.draws),
                    ("layers", &LAYERS),
                    ("level", &options.level),
                    ("pairings", &PAIRINGS),
                    ("seed", &options.seed),
                    ("suites", &chosen.suites),
                    ("texts", &TEXTS),
                ],
            ),
            plan,
            texts,
            bootstrap: options.bootstrap(),
        })
    }

    /// What `party` answered, text by text, at the deepest depth at which it answered most.
    fn states<'a>(&self, seen: &Observations<'a>, party: &Party) -> Vec<Option<&'a HiddenStates>> {
        let at = |depth: usize| -> Vec<Option<&'a HiddenStates>> {
            let hidden = |ids: &Vec<RequestId>| match seen.answer(party, &ids[depth])? {
                Answer::Hidden(states) => Some(states),
                _ => None,
            };
            self.texts.iter().map(hidden).collect()
        };
        let all = (0..DEPTHS.len()).map(at);
        let count = |s: &[Option<&HiddenStates>]| s.iter().flatten().count();
        all.reduce(|best, next| {
            if count(&next) >= count(&best) && count(&next) > 0 {
                next
            } else {
                best
            }
        })
        .unwrap_or_default()
    }
}

impl Probe for Representation {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "likeness is gained over a base")?;
        let mut core = vec![seats.suspect, seats.base];
        core.extend(&seats.teachers);
        let states: Vec<_> = core.iter().map(|p| self.states(seen, p)).collect();
        let common: Vec<usize> = (0..self.texts.len())
            .filter(|&i| states.iter().all(|s| s[i].is_some()))
            .collect();
        if common.len() < LEAST_TEXTS {
            return Err(too_few(&core, &states, common.len(), self.texts.len()));
        }
        let arrange = |name: &str, states: &[Option<&HiddenStates>]| {
            let kept: Vec<&HiddenStates> = common.iter().filter_map(|&i| states[i]).collect();
            Arrangement::new(&kept).ok_or_else(|| {
                Abstention::new(
                    Reason::Degenerate,
                    format!("the hidden states of `{name}` are constant or not finite"),
                )
            })
        };
        let arranged = core.iter().zip(&states).map(|(p, s)| arrange(&p.name, s));
        let arranged = arranged.collect::<Result<Vec<_>, _>>()?;
        let (suspect, base, teachers) = (&arranged[0], &arranged[1], &arranged[2..]);
        let of_base: Vec<_> = teachers.iter().map(|t| base.likeness(t)).collect();
        let row = |model: &str, arranged: &Arrangement| {
            let gains: Vec<Vec<f64>> = teachers
                .iter()
                .zip(&of_base)
                .map(|(t, before)| arranged.likeness(t).values_over(before))
                .collect();
            let text = |i: usize| gains.iter().map(|g| g[i]).collect();
            Row {
                model: model.to_owned(),
                values: (0..common.len()).map(text).collect(),
            }
        };
        // A control that misses a text is left out, rather than the text.
        let controls = seats.controls.iter().filter_map(|c| {
            let states = self.states(seen, c);
            let whole = common.iter().all(|&i| states[i].is_some());
            let arranged = whole.then(|| arrange(&c.name, &states).ok())??;
            Some(row(&c.name, &arranged))
        });
        let table = Table {
            teachers: seats.candidates(),
            suspect: row(&seats.suspect.name, suspect),
            controls: controls.collect(),
            left_out: self.texts.len() - common.len(),
        };
        table.require(LEAST_TEXTS, "text")?;
        let mut found = table.statistic(&Measured {
            method: &self.id,
            unit: "CKA",
            counted: "text",
            what: "gain",
            clip: f64::MAX,
            bootstrap: self.bootstrap,
        })?;
        for (t, name) in teachers.iter().zip(seats.candidates()) {
            let details = &mut found.details;
            details.insert(format!("cka/suspect/{name}"), suspect.likeness(t).whole);
            details.insert(format!("cka/base/{name}"), base.likeness(t).whole);
            if let Some(p) = suspect.log10_p(t, PAIRINGS, self.bootstrap.seed) {
                details.insert(format!("log10-p-of-cka-over-pairings/{name}"), p);
            }
        }
        Ok(found)
    }
}

fn too_few(
    core: &[&Party],
    states: &[Vec<Option<&HiddenStates>>],
    common: usize,
    texts: usize,
) -> Abstention {
    let given: Vec<Given> = states.iter().map(|s| given(s)).collect();
    let (name, got) = fewest(core.iter().copied(), &given);
    if got == 0 {
        let detail = format!(
            "`{name}` gives no hidden states: its weights would have to be at hand, and a contrast \
             without it would favour the others"
        );
        return Abstention::new(Reason::NotSupported, detail);
    }
    let detail = format!(
        "{common} of {texts} texts have hidden states of all parties (`{name}` gave {got}), at \
         least {LEAST_TEXTS} are needed"
    );
    Abstention::new(Reason::TooFewAnswers, detail)
}

#[cfg(test)]
mod tests;
