//! `planted-canaries`: a planted text among decoys that were drawn like it.
//!
//! A teacher's owner put texts into its answers or data, each drawn by lot among many that are made
//! alike. The suspect's log-probability of every one ranks the planted one among its decoys.
//!
//! **Null hypothesis**: the suspect does not depend on which of the texts were planted. The place of
//! each planted text is then uniform, canary by canary and independently: our own randomisation, so
//! p is exact, whatever the suspect is and whatever else it learned.

use std::collections::BTreeSet;

use filiation_core::{
    Abstention, MethodId, Observations, Probe, Prompt, Request, RequestId, Role, Sampling,
    Statistic, Want,
};
use filiation_stats::Bootstrap;

use crate::canaries::{Canary, CanarySet, Chance};
use crate::{ProbeError, ProbeOptions, PromptForm, Suite};

mod combined;
mod matches;
mod places;
mod verdict;

pub use verdict::{ByRepeats, Found, found};

/// Who is asked: the suspect, and beside it those that cannot have learned the canaries.
const ASKED: [Role; 3] = [Role::Suspect, Role::Base, Role::Control];

/// The probe.
#[derive(Debug)]
pub struct PlantedCanaries {
    id: MethodId,
    plan: Vec<Request>,
    sets: Vec<Set>,
    bootstrap: Bootstrap,
}

/// What is asked about one file.
#[derive(Debug)]
struct Set {
    of: CanarySet,
    canaries: Vec<Asked>,
}

/// Request ids of one canary, in the order of its candidates.
#[derive(Debug)]
struct Asked {
    scores: Vec<RequestId>,
    /// What the model writes by itself: after the one prompt, or after each.
    said: Vec<RequestId>,
}

impl PlantedCanaries {
    /// Plans the probe over the canaries in `options`. The suites play no part.
    ///
    /// # Errors
    /// [`ProbeError::NoCanaries`] without a file, [`ProbeError::SharedCanaries`] for two of one
    /// teacher.
    pub fn new(_: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        if options.canaries.is_empty() {
            return Err(ProbeError::NoCanaries {
                probe: "planted-canaries",
            });
        }
        let mut teachers = BTreeSet::new();
        let mut plan = Vec::new();
        let mut sets = Vec::new();
        for of in &options.canaries {
            if !teachers.insert(&of.teacher) {
                return Err(ProbeError::SharedCanaries {
                    teacher: of.teacher.clone(),
                });
            }
            let canaries = of.canaries.iter();
            let canaries = canaries.map(|c| asked(of, c, options.form, &mut plan));
            sets.push(Set {
                canaries: canaries.collect(),
                of: of.clone(),
            });
        }
        Ok(Self {
            id: method(options),
            plan,
            sets,
            bootstrap: options.bootstrap(),
        })
    }
}

fn asked(set: &CanarySet, canary: &Canary, form: PromptForm, plan: &mut Vec<Request>) -> Asked {
    let name = |what: &str, i: usize| {
        let (teacher, id) = (&set.teacher, &canary.id);
        RequestId::new(format!("planted-canaries/{teacher}/{id}/{what}/{i}"))
    };
    let mut put = |id: RequestId, want: Want| {
        plan.push(Request {
            id: id.clone(),
            to: ASKED.to_vec(),
            want,
        });
        id
    };
    let texts = || canary.candidates.iter().enumerate();
    // A text alone has no place.
    let ranked = canary.candidates.len() > 1;
    let scores = texts().filter(|_| ranked).map(|(i, candidate)| {
        let want = Want::Score {
            prompt: in_form(&candidate.prompt, form),
            continuation: candidate.text.clone(),
        };
        put(name("score", i), want)
    });
    let scores = scores.collect();
    // A completion is one of the texts, or it is none: prompts alike are asked once.
    let all = set.chance == Chance::Decoys;
    let said = texts().filter(|(i, _)| all || *i == canary.chosen);
    let said = said.map(|(i, candidate)| {
        let longest = canary.candidates.iter().map(|c| c.text.len()).max();
        let want = Want::Generate {
            prompt: in_form(&candidate.prompt, form),
            // No token is less than a byte.
            max_tokens: longest.unwrap_or(1).min(256) as u32,
            sampling: Sampling::GREEDY,
        };
        put(name("said", i), want)
    });
    Asked {
        said: said.collect(),
        scores,
    }
}

/// A user turn as plain text is a line.
fn in_form(prompt: &Prompt, form: PromptForm) -> Prompt {
    match (prompt, form) {
        (Prompt::Chat(turns), PromptForm::Text) => {
            let lines = turns.iter().map(|turn| format!("{}\n", turn.content));
            Prompt::Text(lines.collect())
        }
        (prompt, _) => prompt.clone(),
    }
}

fn method(options: &ProbeOptions) -> MethodId {
    let files: Vec<String> = options
        .canaries
        .iter()
        .map(|set| {
            let digest = set.digest.to_string();
            let texts: usize = set.canaries.iter().map(|c| c.candidates.len()).sum();
            format!("{}:{}:{texts}", set.teacher, &digest[..16])
        })
        .collect();
    MethodId::new(
        "planted-canaries",
        1,
        &[
            ("canaries", &files.join("+")),
            ("draws", &options.draws),
            ("form", &options.form.as_str()),
            ("level", &options.level),
            ("scale", &combined::SCALE),
            ("seed", &options.seed),
        ],
    )
}

impl Probe for PlantedCanaries {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        verdict::statistic(self, seen)
    }
}

#[cfg(test)]
mod tests;
