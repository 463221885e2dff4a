//! `tlu-did`: uplift of teacher text, differenced between teachers.
//!
//! Each teacher writes one text (or more) to every prompt. The uplift of teacher k on prompt i is
//! v_ik = the mean over the tokens of y_ik of ln p_S − ln p_B, held to ±clip: what suspect S gained
//! over its base B. The mean uplift over controls (models that started from the same base) is taken off, because some text
//! is easier for anything that was trained further. The score of k is the least, over the other
//! teachers k', of the mean over prompts of v_ik − v_ik' held to ±clip.
//!
//! **Null hypothesis**: S learned from none of the candidates, and what it did learn makes no
//! candidate's text likelier than another's. Then the mean differences have expectation 0, and
//! every score is 0 or below up to noise.

use std::fmt::Display;

use filiation_core::{
    Abstention, Answer, MethodId, Observations, Party, Probe, Request, RequestId, Role, ScoredText,
    Statistic, Stream, Want, Whose,
};
use filiation_stats::Bootstrap;

use crate::contrast::Measured;
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod stream;
mod uplift;

use stream::Buying;
pub use stream::PLANNED_EFFECT;

/// Nats to which what one token gained is held, and the difference of two teachers at one prompt.
const CLIP: f64 = 1.0;
/// Shorter texts are left out: they say little and vary much.
const LEAST_BYTES: u32 = 8;
/// Fewest prompts with texts of all teachers.
const LEAST_PROMPTS: usize = 20;

/// The probe.
#[derive(Debug)]
pub struct TluDid {
    id: MethodId,
    plan: Vec<Request>,
    /// Scoring request ids: one list a prompt, one entry a sample.
    scoring: Vec<Vec<RequestId>>,
    bootstrap: Bootstrap,
    /// Where completions are bought until there is enough evidence.
    buying: Option<Buying>,
}

impl TluDid {
    /// Plans the probe over all items of `suites` that are no choice cells.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(suites, "tlu-did", "open prompt", Item::is_open)?;
        let mut plan = Vec::new();
        let mut scoring = Vec::new();
        let buying = options
            .stopping
            .map(|rule| Buying::plan(rule, &chosen.items, options, &mut plan));
        for item in &chosen.items {
            let mut of_prompt = Vec::new();
            for sample in 0..options.samples {
                let text = RequestId::new(format!("tlu-did/{}/{sample}/text", item.id));
                let score = RequestId::new(format!("tlu-did/{}/{sample}/score", item.id));
                plan.push(Request {
                    id: text.clone(),
                    to: vec![Role::Teacher],
                    want: options.text_of(item, sample),
                });
                plan.push(Request {
                    id: score.clone(),
                    to: vec![Role::Suspect, Role::Base, Role::Control],
                    want: Want::ScoreAnswers {
                        of: text,
                        whose: Whose::Teachers,
                    },
                });
                of_prompt.push(score);
            }
            scoring.push(of_prompt);
        }
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            scoring,
            bootstrap: options.bootstrap(),
            buying,
        })
    }
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    let mut more: Vec<(&str, &dyn Display)> = vec![
        ("clip", &CLIP),
        ("least_bytes", &LEAST_BYTES),
        ("max_tokens", &options.max_tokens),
        ("samples", &options.samples),
    ];
    // A score at a budget that stopped by itself is no score of the fixed one.
    if let Some(rule) = &options.stopping {
        more.push(("stop_at_e", &rule.at_e));
    }
    let below = options.stopping.and_then(|rule| rule.below);
    if let Some(below) = &below {
        more.push(("stop_below", below));
    }
    options.method_of_texts("tlu-did", 2, suites, &more)
}

impl Probe for TluDid {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let table = uplift::table(self, seen)?;
        let mut statistic = table.statistic(&Measured {
            method: &self.id,
            unit: "nats per token",
            counted: "prompt",
            what: "uplift",
            clip: CLIP,
            bootstrap: self.bootstrap,
        })?;
        if let Some(buying) = &self.buying {
            buying.tell(self, seen, &mut statistic);
        }
        Ok(statistic)
    }

    fn stream(&self) -> Option<&dyn Stream> {
        self.buying.as_ref().map(|_| self as &dyn Stream)
    }
}

fn scored<'a>(seen: &Observations<'a>, party: &Party, id: &RequestId) -> Option<&'a ScoredText> {
    match seen.answer(party, id)? {
        Answer::Scored(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
