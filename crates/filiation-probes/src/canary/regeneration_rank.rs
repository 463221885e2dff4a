//! `regeneration-rank`: a served response among fresh ones of the same teacher.
//!
//! A teacher's owner keeps a log of what it served. To the prompt of each pair the teacher writes m
//! fresh responses. A score that is the same function of every text (the suspect's log-probability
//! per byte, less the base's where there is one) ranks the served response among the m + 1.
//!
//! **Null hypothesis**: the suspect does not depend on which responses were served. Given the
//! suspect, served and fresh responses are then draws of one distribution, so that the rank of the
//! served one is uniform, pair by pair and independently. That is our own randomisation: p is
//! exact, whatever the suspect is and whatever else it learned.

use std::collections::BTreeSet;

use filiation_core::{
    Abstention, Finish, MethodId, Observations, Probe, Request, RequestId, Role, Sampling,
    Statistic, Want, Whose,
};
use filiation_stats::Bootstrap;

use crate::{ProbeError, ProbeOptions, Served, ServedLog, Suite};

mod drift;
mod ranks;
mod verdict;

/// Shorter responses, served or fresh, are left out: per byte they say little.
const LEAST_BYTES: usize = 8;
/// Fewest pairs of a log, and of an account that is tested by itself.
const LEAST_PAIRS: usize = 20;

/// The probe.
#[derive(Debug)]
pub struct RegenerationRank {
    id: MethodId,
    plan: Vec<Request>,
    logs: Vec<Log>,
    bootstrap: Bootstrap,
}

/// What is asked about one log.
#[derive(Debug)]
struct Log {
    teacher: String,
    pairs: Vec<Pair>,
    /// Pairs of the log that are not asked about.
    unusable: usize,
    repeated: usize,
}

/// What is asked about one pair.
#[derive(Debug)]
struct Pair {
    id: String,
    account: Option<String>,
    /// Whether no pair before it in the log has its prompt.
    first_of_prompt: bool,
    response_bytes: usize,
    /// Request ids: the served response under suspect and base, and under the teacher.
    served: RequestId,
    served_own: RequestId,
    fresh: Vec<Fresh>,
}

/// Request ids of one fresh response: its text, and scores of it under suspect and base, and under
/// the teacher, each about the teacher.
#[derive(Debug)]
struct Fresh {
    text: RequestId,
    score: RequestId,
    own: RequestId,
}

impl RegenerationRank {
    /// Plans the probe over the logs in `options`. The suites play no part.
    ///
    /// # Errors
    /// [`ProbeError::NoServed`] without a log, [`ProbeError::SharedTeacher`] for two of one
    /// teacher.
    pub fn new(_: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        if options.served.is_empty() {
            return Err(ProbeError::NoServed {
                probe: "regeneration-rank",
            });
        }
        let mut teachers = BTreeSet::new();
        let mut plan = Vec::new();
        let mut logs = Vec::new();
        for log in &options.served {
            if !teachers.insert(&log.teacher) {
                return Err(ProbeError::SharedTeacher {
                    teacher: log.teacher.clone(),
                });
            }
            logs.push(Log::plan(log, options, &mut plan));
        }
        Ok(Self {
            id: method(options),
            plan,
            logs,
            bootstrap: options.bootstrap(),
        })
    }
}

impl Log {
    // Of one account's pairs with one prompt the first is asked about: a second may be a copy of
    // it, from a cache or a log written twice, and would then be no draw of its own. Which one is
    // kept depends on prompts alone, so that the kept one is any draw.
    fn plan(log: &ServedLog, options: &ProbeOptions, plan: &mut Vec<Request>) -> Self {
        let mut planned = Self {
            teacher: log.teacher.clone(),
            pairs: Vec::new(),
            unusable: 0,
            repeated: 0,
        };
        let mut prompts = BTreeSet::new();
        let mut of_account = BTreeSet::new();
        for served in &log.pairs {
            let prompt = filiation_core::canonical::to_bytes(&served.prompt);
            let first_of_prompt = prompts.insert(prompt.clone());
            if !of_account.insert((&served.account, prompt)) {
                planned.repeated += 1;
            } else if is_usable(served) {
                let asked = Asked {
                    log,
                    served,
                    options,
                };
                planned.pairs.push(asked.pair(first_of_prompt, plan));
            } else {
                planned.unusable += 1;
            }
        }
        planned
    }
}

// An answer that was cut at its limit is like fresh ones only where that limit is known.
fn is_usable(served: &Served) -> bool {
    let cut_somewhere = served.finish == Some(Finish::Length) && served.max_tokens.is_none();
    served.response.len() >= LEAST_BYTES && !cut_somewhere
}

struct Asked<'a> {
    log: &'a ServedLog,
    served: &'a Served,
    options: &'a ProbeOptions,
}

impl Asked<'_> {
    fn pair(&self, first_of_prompt: bool, plan: &mut Vec<Request>) -> Pair {
        let served = RequestId::new(self.name("served"));
        let served_own = RequestId::new(self.name("served-own"));
        let score = Want::Score {
            prompt: self.served.prompt.clone(),
            continuation: self.served.response.clone(),
        };
        plan.push(others(&served, score.clone()));
        plan.push(self.teacher(&served_own, score));
        let fresh = (0..self.log.regenerations).map(|i| self.fresh(i, plan));
        Pair {
            id: self.served.id.clone(),
            account: self.served.account.clone(),
            first_of_prompt,
            response_bytes: self.served.response.len(),
            fresh: fresh.collect(),
            served,
            served_own,
        }
    }

    fn fresh(&self, i: u32, plan: &mut Vec<Request>) -> Fresh {
        let fresh = Fresh {
            text: RequestId::new(self.name(&format!("{i}/text"))),
            score: RequestId::new(self.name(&format!("{i}/score"))),
            own: RequestId::new(self.name(&format!("{i}/own"))),
        };
        let about = |whose| Want::ScoreAnswers {
            of: fresh.text.clone(),
            whose,
        };
        plan.push(self.teacher(&fresh.text, self.generate(i)));
        plan.push(others(&fresh.score, about(Whose::Teachers)));
        plan.push(self.teacher(&fresh.own, about(Whose::Own)));
        fresh
    }

    // Each pair has seeds of its own, so that equal prompts have fresh draws each.
    fn generate(&self, i: u32) -> Want {
        let Served { id, prompt, .. } = self.served;
        let name = format!("regeneration-rank/{}/{id}", self.log.teacher);
        let drawn = self.options.sampling(&name, i);
        Want::Generate {
            prompt: prompt.clone(),
            max_tokens: self.served.max_tokens.unwrap_or(self.options.max_tokens),
            sampling: Sampling {
                temperature: self.served.temperature.unwrap_or(drawn.temperature),
                top_p: self.served.top_p.unwrap_or(drawn.top_p),
                seed: drawn.seed,
            },
        }
    }

    fn teacher(&self, id: &RequestId, want: Want) -> Request {
        Request {
            id: id.clone(),
            to: vec![Role::Teacher],
            want: Want::Only {
                party: self.log.teacher.clone(),
                want: Box::new(want),
            },
        }
    }

    fn name(&self, what: &str) -> String {
        let (teacher, pair) = (&self.log.teacher, &self.served.id);
        format!("regeneration-rank/{teacher}/{pair}/{what}")
    }
}

fn others(id: &RequestId, want: Want) -> Request {
    Request {
        id: id.clone(),
        to: vec![Role::Suspect, Role::Base],
        want,
    }
}

fn method(options: &ProbeOptions) -> MethodId {
    let logs: Vec<String> = options
        .served
        .iter()
        .map(|log| {
            let digest = log.digest.to_string();
            format!("{}:{}:{}", log.teacher, &digest[..16], log.regenerations)
        })
        .collect();
    MethodId::new(
        "regeneration-rank",
        1,
        &[
            ("draws", &options.draws),
            ("drift_size", &drift::SIZE),
            ("least_bytes", &LEAST_BYTES),
            ("least_pairs", &LEAST_PAIRS),
            ("level", &options.level),
            ("logs", &logs.join("+")),
            ("max_tokens", &options.max_tokens),
            ("seed", &options.seed),
            ("temperature", &options.temperature),
            ("top_p", &options.top_p),
        ],
    )
}

impl Probe for RegenerationRank {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let mut sound = Vec::new();
        let mut refused = Vec::new();
        for log in &self.logs {
            match ranks::ranked(self, log, seen) {
                Ok(ranked) => sound.push(ranked),
                Err(why) => refused.push(why),
            }
        }
        match refused.pop() {
            Some(why) if sound.is_empty() => Err(why),
            refused => verdict::statistic(self, &sound, refused.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests;
