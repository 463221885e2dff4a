//! Texts that every party writes to the same prompts.

use filiation_core::{Answer, Observations, Party, Request, RequestId, Role, Want};

use crate::{Item, ProbeOptions};

/// What is asked of whom.
pub(super) struct Asked {
    /// Name of the probe: the beginning of every id.
    pub(super) probe: &'static str,
    /// Most tokens of a text.
    pub(super) max_tokens: u32,
    /// Texts of each party to a prompt.
    pub(super) samples: u32,
    /// Further texts of the teachers.
    pub(super) more_of_teachers: u32,
}

/// Requests for texts.
#[derive(Debug)]
pub(super) struct Sampled {
    pub(super) plan: Vec<Request>,
    /// `ids[prompt][sample]`.
    ids: Vec<Vec<RequestId>>,
}

impl Sampled {
    pub(super) fn plan(items: &[&Item], options: &ProbeOptions, asked: &Asked) -> Self {
        let mut plan = Vec::new();
        let mut ids = Vec::new();
        for item in items {
            let mut of_prompt = Vec::new();
            for sample in 0..asked.samples + asked.more_of_teachers {
                let id = RequestId::new(format!("{}/{}/{sample}", asked.probe, item.id));
                let to = if sample < asked.samples {
                    vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control]
                } else {
                    vec![Role::Teacher]
                };
                plan.push(Request {
                    id: id.clone(),
                    to,
                    want: Want::Generate {
                        prompt: options.prompt(item),
                        max_tokens: asked.max_tokens,
                        sampling: options.sampling(&item.id, sample),
                    },
                });
                of_prompt.push(id);
            }
            ids.push(of_prompt);
        }
        Self { plan, ids }
    }

    /// How many prompts there are.
    pub(super) const fn prompts(&self) -> usize {
        self.ids.len()
    }

    /// What `party` wrote to a prompt, empty texts left out.
    pub(super) fn texts<'a>(
        &self,
        seen: &Observations<'a>,
        party: &Party,
        prompt: usize,
    ) -> Vec<&'a str> {
        let written = |id: &RequestId| match seen.answer(party, id)? {
            Answer::Completion(c) => Some(c.text.trim()).filter(|t| !t.is_empty()),
            _ => None,
        };
        self.ids[prompt].iter().filter_map(written).collect()
    }
}

/// The options' samples, but one where nothing is random: more would be copies.
pub(super) fn samples(options: &ProbeOptions, wanted: u32) -> u32 {
    if options.temperature == 0.0 {
        1
    } else {
        wanted
    }
}
