//! `directional-displacement`: which way the suspect went from its base.
//!
//! φ(M) holds what model M would say next: centred log-probabilities of the first byte after every
//! open prompt (eight bytes and anything else), and of the options of every choice cell; and what it
//! makes of the teachers' texts, chunk by chunk, where all score them. The
//! displacement of M is φ(M) − φ(B). What lies along the mean displacement of the controls, which is
//! what all further training does, is taken out of all. In the metric of the controls' spread
//! (Ledoit–Wolf), the suspect's displacement is the mixture Σ w_k (displacement of teacher k) with
//! w ≥ 0 that comes nearest. The lead of k over k' is w_k − w_k'. Without controls the mean over
//! teachers is taken out instead, and from each teacher. Among controls the suspect is
//! placed by what its lead exceeds the least w by: a foreign model goes towards all candidates.
//!
//! **Null hypothesis**: S learned from none of the candidates; but for what all further training
//! does, it moved towards no candidate more than another. Then every score is 0 or below up to
//! noise.

use filiation_core::{
    Abstention, MethodId, Observations, Probe, Reason, Request, RequestId, Role, Statistic, Want,
    Whose,
};
use filiation_stats::Bootstrap;

use crate::contrast::{Lead, Leads, Seats, log10_p, of_levels};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod direction;
mod features;
mod texts;

use direction::{Direction, Directions};
use features::Displaced;

/// Tokens asked for: what interfaces with log-probabilities commonly give.
const TOP: u32 = 20;

/// The probe.
#[derive(Debug)]
pub struct DirectionalDisplacement {
    id: MethodId,
    plan: Vec<Request>,
    asked: Asked,
    bootstrap: Bootstrap,
}

/// What is read of the answers.
#[derive(Debug)]
struct Asked {
    /// What comes next: prompts and choice cells.
    next: Vec<Request>,
    /// Scores of the teachers' texts, an entry a sample, and the place of their prompt in `next`.
    texts: Vec<(usize, Vec<RequestId>)>,
}

impl DirectionalDisplacement {
    /// Plans the probe over all open prompts and choice cells of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there is no open prompt.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        suite::require(
            suites,
            "directional-displacement",
            "open prompt",
            Item::is_open,
        )?;
        let chosen = suite::select(suites, |item| item.is_open() || item.is_choice());
        let request = |item: &&Item| Request {
            id: RequestId::new(format!("directional-displacement/{}", item.id)),
            to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
            want: match &item.options {
                Some(choices) => Want::Choice {
                    prompt: options.prompt(item),
                    options: choices.clone(),
                },
                None => Want::TopK {
                    prompt: options.prompt(item),
                    k: TOP,
                },
            },
        };
        let next: Vec<Request> = chosen.items.iter().map(request).collect();
        let (mut plan, mut texts) = (next.clone(), Vec::new());
        let open = chosen.items.iter().enumerate();
        for (place, item) in open.filter(|(_, item)| item.is_open()) {
            let of_prompt = (0..options.samples).map(|sample| {
                let name = |what: &str| {
                    RequestId::new(format!(
                        "directional-displacement/{}/{sample}/{what}",
                        item.id
                    ))
                };
                plan.push(Request {
                    id: name("text"),
                    to: vec![Role::Teacher],
                    want: options.text_of(item, sample),
                });
                plan.push(Request {
                    id: name("score"),
                    to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
                    want: Want::ScoreAnswers {
                        of: name("text"),
                        whose: Whose::Teachers,
                    },
                });
                name("score")
            });
            texts.push((place, of_prompt.collect()));
        }
        Ok(Self {
            id: options.method_of_texts(
                "directional-displacement",
                3,
                &chosen.suites,
                &[
                    ("bytes", &features::BYTES),
                    ("clip", &texts::CLIP),
                    ("floor", &features::FLOOR),
                    ("max_tokens", &options.max_tokens),
                    ("samples", &options.samples),
                    ("top", &TOP),
                ],
            ),
            plan,
            asked: Asked { next, texts },
            bootstrap: options.bootstrap(),
        })
    }
}

impl Probe for DirectionalDisplacement {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "displacement is from a base")?;
        let displaced = Displaced::read(&self.asked, seen, &seats)?;
        let directions = Directions::new(&displaced, seats.teachers.len());
        let all: Vec<usize> = (0..displaced.units.len()).collect();
        let suspect = directions.suspect(&all)?;
        let controls = (0..displaced.controls.len())
            .map(|c| Ok((displaced.controls[c].clone(), directions.control(c, &all)?)))
            .collect::<Result<Vec<(String, Direction)>, Abstention>>()?;
        let leads = Leads {
            method: &self.id,
            unit: "share of the way from the base",
            counted: "position",
            units: all.len(),
            candidates: seats.candidates(),
            pairwise: false,
            bootstrap: self.bootstrap,
        };
        let nowhere = vec![0.0; seats.teachers.len()];
        let weights = |units: &[usize]| directions.suspect(units).map(|d| d.weights);
        let theirs: Vec<_> = controls
            .iter()
            .map(|(name, d)| (name.clone(), of_levels(&d.weights)))
            .collect();
        let mut found = leads.statistic(
            |units| of_levels(&weights(units).unwrap_or_else(|_| nowhere.clone())),
            &beyond_alike(&suspect),
            &theirs,
        )?;
        describe(&mut found, &displaced, &suspect, &controls);
        Ok(found)
    }
}

/// The suspect's leads as they are placed among those of controls: less what it went towards all candidates
/// alike. A model that does not start from the base differs from it as every candidate does, and a part of
/// that is uneven by chance and by what it read; controls, which do start there, show nothing of it. What
/// lags behind stays.
fn beyond_alike(suspect: &Direction) -> Lead {
    let mut leads = of_levels(&suspect.weights);
    for lead in leads.iter_mut().flatten().filter(|lead| **lead > 0.0) {
        *lead -= suspect.alike();
    }
    leads
}

// Weights and cosines of suspect and controls, and where the suspect's cosines lie among theirs.
fn describe(
    found: &mut Statistic,
    displaced: &Displaced,
    suspect: &Direction,
    controls: &[(String, Direction)],
) {
    let teachers: Vec<String> = found
        .candidates
        .iter()
        .map(|c| c.candidate.clone())
        .collect();
    let mut put = |key: String, value: f64| found.details.insert(key, value);
    put("positions-left-out".into(), displaced.left_out as f64);
    put("prompts-with-texts".into(), displaced.texts() as f64);
    put("features".into(), displaced.features() as f64);
    put("shrinkage".into(), suspect.shrinkage);
    put("weight-alike/suspect".into(), suspect.alike());
    for (k, teacher) in teachers.iter().enumerate() {
        put(format!("weight/suspect/{teacher}"), suspect.weights[k]);
        put(format!("cos/suspect/{teacher}"), suspect.cosines[k]);
        for (name, control) in controls {
            put(format!("weight/{name}/{teacher}"), control.weights[k]);
            put(format!("cos/{name}/{teacher}"), control.cosines[k]);
        }
        let theirs: Vec<f64> = controls.iter().map(|(_, d)| d.cosines[k]).collect();
        if let Some(p) = log10_p(suspect.cosines[k], &theirs, 0.0) {
            put(format!("log10-p-of-cos-among-controls/{teacher}"), p);
        }
    }
}

fn degenerate(detail: impl Into<String>) -> Abstention {
    Abstention::new(Reason::Degenerate, detail)
}

#[cfg(test)]
mod tests;
