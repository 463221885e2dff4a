//! `name-ensembles`: whom a model invents.
//!
//! Asked for invented people and places, a model returns to the same few names, and to the same
//! names together. From every answer the names are read by rule. The weight of a name for teacher k is
//! w_k = max(0, ln p_k/r_k) if k said it twice or more, else 0: p_k is how often the teacher says it to prompt i, backing off to all that it
//! says, to the pooled controls, to "any name alike", each parent weighing one observation; r_k is the
//! mean of p over the other teachers and the controls. v_ik is the mean over the answers of model M of
//! the weight of a name drawn from the answer and of another, given the first, drawn beside it; less
//! the same of base B. The mean over controls is taken off. The score of k is the least, over the
//! other teachers and over "none of these" (v = 0), of the mean over prompts of v_ik − v_ik' held to
//! ±clip.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn moved its names
//! towards no candidate more than towards another. Then every score is 0 or below up to noise.

use filiation_core::{Abstention, MethodId, Observations, Party, Probe, Request, Statistic};
use filiation_stats::Bootstrap;

use super::moved::Moved;
use super::said::Said;
use super::sampled::{Asked, Sampled, samples};
use super::{Common, against_none, require_moved};
use crate::contrast::{Measured, Seats};
use crate::{ProbeError, ProbeOptions, Suite, suite};

mod extract;

/// Answers of each party to a prompt.
const SAMPLES: u32 = 6;
/// Most tokens of an answer, or the options' if they allow fewer.
const MOST_TOKENS: u32 = 96;
/// Nats to which one prompt's difference is held: one rare name that two models share by chance
/// must not carry a case.
const CLIP: f64 = 4.0;
/// Fewest prompts to which all parties gave names.
const LEAST_PROMPTS: usize = 12;

/// The probe.
#[derive(Debug)]
pub struct NameEnsembles {
    id: MethodId,
    asked: Sampled,
    /// Texts of the prompts: a name that stands there is no invention.
    prompts: Vec<String>,
    bootstrap: Bootstrap,
}

impl NameEnsembles {
    /// Plans the probe over the items of domain `name`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(
            suites,
            "name-ensembles",
            "prompt for names (domain `name`)",
            |item| item.domain == "name",
        )?;
        let asked = Asked {
            probe: "name-ensembles",
            max_tokens: options.max_tokens.min(MOST_TOKENS),
            samples: samples(options, SAMPLES),
            more_of_teachers: 0,
        };
        let id = options.method_of_texts(
            "name-ensembles",
            1,
            &chosen.suites,
            &[
                ("clip", &CLIP),
                ("max_tokens", &asked.max_tokens),
                ("samples", &asked.samples),
            ],
        );
        Ok(Self {
            id,
            asked: Sampled::plan(&chosen.items, options, &asked),
            prompts: chosen.items.iter().map(|i| i.text.clone()).collect(),
            bootstrap: options.bootstrap(),
        })
    }

    // The answers with names.
    fn names(&self, seen: &Observations<'_>, party: &Party, prompt: usize) -> Vec<Vec<String>> {
        let texts = self.asked.texts(seen, party, prompt);
        texts
            .into_iter()
            .map(|text| extract::names(text, &self.prompts[prompt]))
            .filter(|names| !names.is_empty())
            .collect()
    }
}

impl Probe for NameEnsembles {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.asked.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "names move from those of a base")?;
        let common = Common::of(
            &seats,
            self.asked.prompts(),
            LEAST_PROMPTS,
            "prompt",
            |party, prompt| !self.names(seen, party, prompt).is_empty(),
        )?;
        let said = |party: &Party| -> Said {
            let prompts = common.units.iter();
            prompts.map(|&i| self.names(seen, party, i)).collect()
        };
        let cells: Vec<usize> = (0..common.units.len()).collect();
        let moved = Moved::of(&seats, &common, &cells, said);
        let table = moved.table(&common);
        require_moved(
            &table,
            "neither suspect nor base says, or both say alike, names that mark a teacher",
        )?;
        table.require(LEAST_PROMPTS, "prompt")?;
        let how = Measured {
            method: &self.id,
            unit: "nats a drawn pair of names",
            counted: "prompt",
            what: "movement",
            clip: CLIP,
            bootstrap: self.bootstrap,
        };
        let mut statistic = against_none(table, &how)?;
        for (party, tally) in &moved.teachers {
            let put = format!("answers-with-names/{}", party.name);
            statistic.details.insert(put, tally.answers());
            let most = tally.shares().first().map_or(0.0, |(_, share)| *share);
            let put = format!("share-of-commonest-name/{}", party.name);
            statistic.details.insert(put, most);
        }
        Ok(statistic)
    }
}

#[cfg(test)]
mod tests;
