//! `identity-claims`: who a model says it is.
//!
//! Asked who it is, without a system prompt, a model names itself, a rival, or nobody. The claim is
//! read from each answer by rule (`claims.rs`). Answers are counted by language and by family of
//! prompt: `plain`, and `context`, where unrelated text precedes the question. The weight of a claim
//! for teacher k is w_k = max(0, ln p_k/r_k) if k said it twice or more, else 0: p_k is what the teacher itself claims in that language and
//! family, backing off to all that it claims, to the pooled controls, to "any claim alike", each
//! parent weighing one observation; r_k is the mean of p over the other teachers and the controls. An
//! answer that claims nobody weighs nothing. v_ik is the mean weight of the answers of model M to
//! prompt i, less that of base B. The mean over controls is taken off. The score of k is the least,
//! over the other teachers and over "none of these" (v = 0), of the mean over prompts of v_ik − v_ik'
//! held to ±1.5 nats: so no score exceeds 1.5 nats either.
//!
//! Prompts of the family `named` put another name before the model; whoever repeats it is
//! suggestible. They enter no score.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn moved its
//! claims towards no candidate more than towards another.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, MethodId, Observations, Party, Probe, Reason, Request, Statistic,
};
use filiation_stats::Bootstrap;

use super::moved::Moved;
use super::said::{NOBODY, Said, Tally};
use super::sampled::{Asked, Sampled, samples};
use super::{Common, against_none, require_moved};
use crate::contrast::{Measured, Seats};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod claims;

/// Answers of each party to a prompt.
const SAMPLES: u32 = 4;
/// Most tokens of an answer, or the options' if they allow fewer.
const MOST_TOKENS: u32 = 48;
/// Nats to which one prompt's difference is held, and with it the score: misnaming is too common
/// among models that were never distilled for more (see the page).
const CLIP: f64 = 1.5;
/// Fewest prompts that all parties answered.
const LEAST_PROMPTS: usize = 12;

/// The probe.
#[derive(Debug)]
pub struct IdentityClaims {
    id: MethodId,
    asked: Sampled,
    prompts: Vec<Prompt>,
    bootstrap: Bootstrap,
}

#[derive(Debug)]
struct Prompt {
    /// Language and family: prompts of one cell are counted together.
    cell: String,
    text: String,
    named: bool,
}

impl Prompt {
    /// The family is the second word of the id: `identity-named-en-001`.
    fn of(item: &Item) -> Self {
        let family = item.id.split('-').nth(1).unwrap_or("plain");
        Self {
            cell: format!("{}-{family}", item.language),
            text: item.text.clone(),
            named: family == "named",
        }
    }
}

impl IdentityClaims {
    /// Plans the probe over the items of domain `identity`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(
            suites,
            "identity-claims",
            "question of identity (domain `identity`)",
            |item| item.domain == "identity",
        )?;
        let asked = Asked {
            probe: "identity-claims",
            max_tokens: options.max_tokens.min(MOST_TOKENS),
            samples: samples(options, SAMPLES),
            more_of_teachers: 0,
        };
        let id = options.method_of_texts(
            "identity-claims",
            2,
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
            prompts: chosen.items.iter().map(|i| Prompt::of(i)).collect(),
            bootstrap: options.bootstrap(),
        })
    }

    /// One list of claims an answer; one that claims nobody says so.
    fn claims(&self, seen: &Observations<'_>, party: &Party, prompt: usize) -> Vec<Vec<String>> {
        let texts = self.asked.texts(seen, party, prompt);
        let of = |text: &str| {
            let claims = claims::of(text, &self.prompts[prompt].text);
            if claims.is_empty() {
                vec![NOBODY.to_owned()]
            } else {
                claims
            }
        };
        texts.into_iter().map(of).collect()
    }

    // Share of the answers to prompts that name another, in which the model takes that name.
    fn echo(&self, seen: &Observations<'_>, party: &Party) -> Option<f64> {
        let (mut echoed, mut answered) = (0, 0);
        for (i, prompt) in self.prompts.iter().enumerate().filter(|(_, p)| p.named) {
            for text in self.asked.texts(seen, party, i) {
                answered += 1;
                echoed += u32::from(claims::echoes(text, &prompt.text));
            }
        }
        (answered > 0).then(|| f64::from(echoed) / f64::from(answered))
    }
}

impl Probe for IdentityClaims {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.asked.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "claims move from those of a base")?;
        let asked: Vec<usize> = (0..self.prompts.len())
            .filter(|&i| !self.prompts[i].named)
            .collect();
        let common = Common::of(&seats, asked.len(), LEAST_PROMPTS, "prompt", |party, i| {
            !self.asked.texts(seen, party, asked[i]).is_empty()
        })?;
        let units: Vec<usize> = common.units.iter().map(|&u| asked[u]).collect();
        let said = |party: &Party| -> Said {
            units.iter().map(|&i| self.claims(seen, party, i)).collect()
        };
        let mut cells: Vec<&str> = units
            .iter()
            .map(|&i| self.prompts[i].cell.as_str())
            .collect();
        let of_unit = cells.clone();
        cells.sort_unstable();
        cells.dedup();
        let place = |cell: &&str| cells.binary_search(cell).unwrap_or_default();
        let moved = Moved::of(
            &seats,
            &common,
            &of_unit.iter().map(place).collect::<Vec<_>>(),
            said,
        );
        require_claims(&moved)?;
        let table = moved.table(&common);
        require_moved(
            &table,
            "neither suspect nor base claims, or both claim alike, what marks a teacher",
        )?;
        table.require(LEAST_PROMPTS, "prompt")?;
        let how = Measured {
            method: &self.id,
            unit: "nats a claim",
            counted: "prompt",
            what: "movement",
            clip: CLIP,
            bootstrap: self.bootstrap,
        };
        let mut statistic = against_none(table, &how)?;
        hold_p(&mut statistic.details, common.controls.len());
        statistic.details.extend(shares(&moved));
        let everyone = [seats.base, seats.suspect].into_iter();
        for party in everyone.chain(seats.teachers).chain(common.controls) {
            if let Some(echo) = self.echo(seen, party) {
                let name = format!("takes-a-name-put-to-it/{}", party.name);
                statistic.details.insert(name, echo);
            }
        }
        Ok(statistic)
    }
}

/// A claim is made in nearly all answers or in hardly any, so that its share varies between models as no
/// normal distribution does: beside K controls none of which makes it, one that does is one in K + 1.
fn hold_p(details: &mut BTreeMap<String, f64>, controls: usize) {
    let least = -((controls + 1) as f64).log10();
    for (name, p) in details.iter_mut() {
        if name.starts_with("log10-p-among-controls/") {
            *p = p.max(least);
        }
    }
}

fn require_claims(moved: &Moved<'_>) -> Result<(), Abstention> {
    let of_teacher = |tally: &Tally| {
        let shares = tally.shares();
        shares.iter().any(|(claim, _)| *claim != NOBODY)
    };
    if moved.teachers.iter().any(|(_, tally)| of_teacher(tally)) {
        return Ok(());
    }
    let detail = "no teacher claims to be anybody: there is no claim for the suspect to have taken \
                  over";
    Err(Abstention::new(Reason::Degenerate, detail))
}

/// Each model's claims that make up at least a twentieth of its answers, and those of nobody.
fn shares(moved: &Moved<'_>) -> BTreeMap<String, f64> {
    const LEAST_SHARE: f64 = 0.05;
    let mut all = BTreeMap::new();
    let mut put = |name: &str, tally: &Tally| {
        for (claim, share) in tally.shares() {
            if share >= LEAST_SHARE {
                all.insert(format!("claims/{name}/{claim}"), share);
            }
        }
    };
    for (party, tally) in &moved.teachers {
        put(&party.name, tally);
    }
    let one = vec![0; moved.base.1.len()];
    for (party, said) in [&moved.base, &moved.suspect]
        .into_iter()
        .chain(&moved.controls)
    {
        put(&party.name, &Tally::of([said], &one));
    }
    all
}

#[cfg(test)]
mod tests;
