//! An endpoint as a model.

use std::sync::Arc;

use filiation_core::{
    Answer, ChoiceAnswer, Completion, Finish, Model, ModelError, ModelIdentity, Prompt, Request,
    Sampling, TokenProb, TopK, Want,
};

use crate::call::{Alternative, Call, Complete, Completed, End, Input, Reply};
use crate::client::{Client, Seen};
use crate::forced;
use crate::{Capability, Dialect, Endpoint, Failure, Finding, TeacherError};

/// Probabilities in single precision, summed over a list, may lie this far above 1.
const ABOVE_ONE: f64 = 1e-3;

/// A model behind an API, at the tier that it declares or was found to have.
///
/// Questions of a batch are asked side by side; answers come back in the order of the questions
/// and do not depend on which came first. A question that has no answer now ends the batch:
/// [`ModelError::Unavailable`], which no transcript keeps.
pub struct ApiModel {
    client: Arc<Client>,
    identity: ModelIdentity,
    capability: Capability,
    finding: Option<Finding>,
}

/// How one request is answered; numbers are places in the lists of calls and texts.
enum Job {
    Failed(ModelError),
    Generate(usize),
    TopK(usize, u32),
    ChoiceOfTop(usize, Vec<String>),
    Score(usize),
    Choice(std::ops::Range<usize>),
}

impl ApiModel {
    /// The model behind `client`, at its declared tier.
    pub fn new(client: impl Into<Arc<Client>>) -> Self {
        let client = client.into();
        let endpoint = client.endpoint();
        Self {
            identity: endpoint.identity(),
            capability: endpoint.declared(),
            finding: None,
            client,
        }
    }

    /// The same, at the tier that testing it proved.
    pub fn found(self, finding: Finding) -> Self {
        Self {
            capability: self.capability.found(&finding),
            finding: Some(finding),
            ..self
        }
    }

    /// The client, shared.
    pub fn shared(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What it does.
    pub const fn capability(&self) -> &Capability {
        &self.capability
    }

    /// What testing it found.
    pub const fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    fn job(&self, want: &Want, calls: &mut Vec<Call>, texts: &mut Vec<forced::Text>) -> Job {
        if !self.supports(want) {
            return Job::Failed(ModelError::Unsupported {
                want: want.kind().into(),
            });
        }
        let mut put = |call: Complete| {
            calls.push(call.into());
            calls.len() - 1
        };
        match want {
            Want::Generate {
                prompt,
                max_tokens,
                sampling,
            } => Job::Generate(put(generate(
                self.client.endpoint(),
                prompt,
                *max_tokens,
                sampling,
            ))),
            Want::TopK { prompt, k } => Job::TopK(put(self.next(prompt, *k)), *k),
            Want::Choice { prompt, options } if !self.capability.scores(prompt) => {
                let top = self.capability.top;
                Job::ChoiceOfTop(put(self.next(prompt, top)), options.clone())
            }
            Want::Choice { prompt, options } => {
                let first = texts.len();
                texts.extend(
                    options
                        .iter()
                        .map(|option| forced::Text::option(prompt, option)),
                );
                Job::Choice(first..texts.len())
            }
            Want::Score {
                prompt,
                continuation,
            } => {
                texts.push(forced::Text::joint(prompt, continuation));
                Job::Score(texts.len() - 1)
            }
            _ => Job::Failed(ModelError::Unsupported {
                want: want.kind().into(),
            }),
        }
    }

    /// One token after a prompt, with its alternatives, at the model's own temperature.
    fn next(&self, prompt: &Prompt, top: u32) -> Complete {
        let own = Sampling {
            temperature: 1.0,
            ..Sampling::GREEDY
        };
        let least = self.capability.least_tokens;
        Complete {
            top: Some(top),
            sample: 0,
            ..generate(self.client.endpoint(), prompt, least, &own)
        }
    }
}

impl Model for ApiModel {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn supports(&self, want: &Want) -> bool {
        self.capability.answers(want)
    }

    fn answer(&self, requests: &[Request]) -> Vec<Result<Answer, ModelError>> {
        let (mut calls, mut texts) = (Vec::new(), Vec::new());
        let jobs: Vec<Job> = requests
            .iter()
            .map(|request| self.job(&request.want, &mut calls, &mut texts))
            .collect();
        let replies: Vec<Result<Completed, ModelError>> = self
            .client
            .ask_all(&calls)
            .into_iter()
            .map(completed)
            .collect();
        let scores = forced::score(&self.client, &texts);
        jobs.into_iter()
            .map(|job| match job {
                Job::Failed(error) => Err(error),
                Job::Generate(place) => completion(replies[place].clone()?),
                Job::TopK(place, k) => top_k(replies[place].clone()?, k),
                Job::ChoiceOfTop(place, options) => {
                    choice_of_top(replies[place].clone()?, &options)
                }
                Job::Score(place) => scores[place]
                    .clone()
                    .map(Answer::Scored)
                    .map_err(model_error),
                Job::Choice(places) => {
                    let logprobs = scores[places].iter().map(|score| match score {
                        Ok(score) => Ok(score.total()),
                        Err(error) => Err(model_error(error.clone())),
                    });
                    let logprobs = logprobs.collect::<Result<_, _>>()?;
                    Ok(Answer::Choice(ChoiceAnswer { logprobs }))
                }
            })
            .collect()
    }
}

fn generate(
    endpoint: &Endpoint,
    prompt: &Prompt,
    max_tokens: u32,
    sampling: &Sampling,
) -> Complete {
    let dialect = endpoint.dialect();
    // Models that reason refuse even the default, where it is the provider's own default too.
    let implied = match dialect {
        Dialect::OpenAiChat => endpoint.is_own(),
        Dialect::OpenAiResponses | Dialect::Anthropic => true,
        _ => false,
    };
    #[expect(clippy::float_cmp, reason = "the default, as it stands in the case")]
    let unless_default = |value: f64| (!implied || value != 1.0).then_some(value);
    Complete {
        temperature: unless_default(sampling.temperature),
        top_p: unless_default(sampling.top_p),
        seed: Some(sampling.seed),
        sample: sampling.seed,
        ..Complete::of(input(prompt), max_tokens)
    }
}

pub(crate) fn input(prompt: &Prompt) -> Input {
    match prompt {
        Prompt::Text(text) => Input::Text(text.clone()),
        Prompt::Chat(messages) => Input::Chat(messages.clone()),
    }
}

fn completed(result: Result<Seen, TeacherError>) -> Result<Completed, ModelError> {
    match result.map_err(model_error)?.reply {
        Reply::Completed(completed) => Ok(completed),
        _ => Err(ModelError::Engine {
            reason: "the reply is no completion".into(),
        }),
    }
}

fn completion(said: Completed) -> Result<Answer, ModelError> {
    let thought = said.reasoning.is_some() || said.usage.is_some_and(|u| u.reasoning > 0);
    let finish = match said.end {
        Some(End::Stop) => Finish::Stop,
        Some(End::Length) if said.text.is_empty() && thought => {
            return Err(ModelError::Refused {
                reason: "all tokens went into reasoning that is not shown".into(),
            });
        }
        Some(End::Length) => Finish::Length,
        Some(End::Filtered(reason)) => {
            return Err(ModelError::Refused {
                reason: format!("the endpoint ended the text by `{reason}`"),
            });
        }
        None => {
            return Err(ModelError::Engine {
                reason: "the endpoint does not say why the text ended".into(),
            });
        }
    };
    let ids: Option<Vec<u32>> = said.tokens.iter().map(|token| token.id).collect();
    Ok(Answer::Completion(Completion {
        text: said.text,
        tokens: ids.unwrap_or_default(),
        finish,
    }))
}

/// The alternatives of the first token, most likely first, the token itself among them.
fn first(said: Completed) -> Result<Vec<Alternative>, ModelError> {
    let none = || ModelError::Engine {
        reason: "the endpoint gave no alternatives".into(),
    };
    let token = said.tokens.into_iter().next().ok_or_else(none)?;
    let mut top = token.top;
    let there = top
        .iter()
        .any(|a| a.bytes == token.bytes && a.id == token.id);
    if let Some(logprob) = token.logprob.filter(|_| !there) {
        top.push(Alternative {
            id: token.id,
            bytes: token.bytes,
            logprob,
        });
    }
    top.sort_by(|a, b| {
        let order = b.logprob.total_cmp(&a.logprob);
        order
            .then(a.id.cmp(&b.id))
            .then_with(|| a.bytes.cmp(&b.bytes))
    });
    let sum: f64 = top.iter().map(|a| a.logprob.exp()).sum();
    if sum > 1.0 + ABOVE_ONE {
        return Err(ModelError::Engine {
            reason: format!("the endpoint's probabilities sum to {sum}"),
        });
    }
    if top.is_empty() { Err(none()) } else { Ok(top) }
}

fn top_k(said: Completed, k: u32) -> Result<Answer, ModelError> {
    let tokens = first(said)?.into_iter().take(k as usize).zip(0..);
    let tokens = tokens.map(|(token, rank)| TokenProb {
        // Where an endpoint gives no ids, the place in the list.
        id: token.id.unwrap_or(rank),
        text: String::from_utf8_lossy(&token.bytes).into_owned(),
        logprob: token.logprob,
    });
    Ok(Answer::TopK(TopK {
        tokens: tokens.collect(),
    }))
}

// An option that is one token and among the likeliest has its probability there. Of another nothing
// is known but that it is smaller, and a bound is no answer.
fn choice_of_top(said: Completed, options: &[String]) -> Result<Answer, ModelError> {
    let top = first(said)?;
    let of = |option: &String| {
        let found = top.iter().find(|a| a.bytes == option.as_bytes());
        found
            .map(|a| a.logprob)
            .ok_or_else(|| ModelError::Unsupported {
                want: "choice".into(),
            })
    };
    let logprobs = options.iter().map(of).collect::<Result<_, _>>()?;
    Ok(Answer::Choice(ChoiceAnswer { logprobs }))
}

pub(crate) fn model_error(error: TeacherError) -> ModelError {
    match error {
        TeacherError::Refused { status, message } => ModelError::Refused {
            reason: format!("status {status}: {message}"),
        },
        TeacherError::Unsupported { what, .. } => ModelError::Unsupported { want: what },
        TeacherError::Unusable {
            failure: Failure::NotFinite { .. },
            ..
        } => ModelError::NotFinite { position: 0 },
        TeacherError::Unusable { failure, .. } => ModelError::Engine {
            reason: failure.to_string(),
        },
        error => ModelError::Unavailable {
            reason: match error.hint() {
                Some(hint) => format!("{error} ({hint})"),
                None => error.to_string(),
            },
        },
    }
}
