//! From a log to a pack: its answers put to the questions of a plan.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use filiation_core::{
    Answer, ChoiceAnswer, Completion, Digest, Finish, ModelError, ModelIdentity, Prompt, Request,
    Role, Want, canonical,
};
use serde::Serialize;

use super::{Decoding, EvalLog, Logged, Said, What};
use crate::owned::Owned;
use crate::pack::{ImportFacts, Pack, PackHead};
use crate::plan::Plan;
use crate::suites::{self, SuiteFile};
use crate::{Asking, AuditError, transcript};

/// What an answer that the log does not hold is recorded as.
const NOT_IN_LOG: &str = "not in the log that was imported";

/// What a log is to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOrder {
    /// Prompt suites (JSONL).
    pub suites: Vec<PathBuf>,
    /// How an audit must ask for the pack to answer. What the log says of an answer must agree.
    pub asking: Asking,
    /// The model, where the log does not say.
    pub model: Option<String>,
    /// Its version, in the words of its maker.
    pub version: Option<String>,
    /// Day of the log (UTC), `YYYY-MM-DD`.
    pub recorded: String,
}

/// What became of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Questions of the plan.
    pub asked: u64,
    /// Questions of the plan that the log answers.
    pub answered: u64,
    /// Answers of the log (a text, or a set of options).
    pub logged: u64,
    /// Of those, used.
    pub used: u64,
    /// The others, by reason; entries that could not be used at all are with them.
    pub unused: BTreeMap<&'static str, u64>,
    /// Texts used of which the log does not say why they ended: taken as ended by the model.
    pub finish_unstated: u64,
}

/// The texts of a log by what they answer.
pub(super) fn by_prompt(questions: &[Logged]) -> BTreeMap<Vec<u8>, Vec<(&Decoding, &Said)>> {
    let mut all: BTreeMap<Vec<u8>, Vec<(&Decoding, &Said)>> = BTreeMap::new();
    for question in questions {
        if let What::Texts(texts) = &question.what {
            let texts = texts.iter().map(|text| (&question.decoding, text));
            all.entry(canonical::to_bytes(&question.prompt))
                .or_default()
                .extend(texts);
        }
    }
    all
}

impl EvalLog {
    /// Seals what the log answers of the questions that an audit with these suites puts to a teacher. Paths
    /// are relative to `folder`.
    ///
    /// # Errors
    /// [`AuditError`]: a suite that cannot be used, a model that is named nowhere, a log that answers
    /// nothing, a pack that is there.
    pub fn seal(
        &self,
        order: &ImportOrder,
        folder: &Path,
        out: &Path,
    ) -> Result<(Pack, Imported), AuditError> {
        order.asking.check()?;
        if out.exists() {
            return Err(AuditError::PackExists {
                path: out.to_owned(),
            });
        }
        let model = order.model.as_deref().or(self.model());
        let model = model.ok_or_else(|| AuditError::ImportModel {
            path: self.path.clone(),
        })?;
        let suites = SuiteFile::of_case(&order.suites, folder)?;
        let asking = Asking {
            probes: suites::names(&order.asking, &suites, &Owned::default())?,
            ..order.asking.clone()
        };
        let chat = !asking.raw && self.is_chat();
        let plan = Plan::of(&suites::probes(
            &asking,
            None,
            &suites,
            &Owned::default(),
            chat,
        )?);
        let mut matching = Matching::of(self);
        let mut answers = Vec::new();
        for request in plan.every(Role::Teacher, "") {
            let answer = matching.answer(&request);
            answers.extend(transcript::line(&request, &answer));
        }
        let imported = matching.told(self);
        if imported.answered == 0 {
            return Err(AuditError::NothingImported {
                path: self.path.clone(),
                logged: imported.logged,
                asked: imported.asked,
            });
        }
        let head = PackHead {
            format: Pack::FORMAT.into(),
            model: self.identity(model),
            version: order.version.clone(),
            recorded: order.recorded.clone(),
            template: chat,
            chat,
            asking,
            suites: suites.iter().map(SuiteFile::facts).collect(),
            plan: Digest::of(plan.as_bytes()),
            endpoint: None,
            answers: 0,
            bytes: 0,
            sha256: Digest::of(&[]),
            imported: Some(ImportFacts {
                log: self.format.as_str().into(),
                sha256: self.digest,
                answered: imported.answered,
                asked: imported.asked,
            }),
        };
        Ok((Pack::write(out, head, &answers)?, imported))
    }

    // What a log says a model is called is all that is known of it: two logs are two models.
    fn identity(&self, model: &str) -> ModelIdentity {
        let format = self.format.as_str();
        ModelIdentity {
            source: model.to_owned(),
            digest: Digest::of(&canonical::to_bytes(&(format, model, self.digest))),
            architecture: format!("known by a log of {format} alone"),
            parameters: 0,
            tokenizer: None,
        }
    }

    fn is_chat(&self) -> bool {
        let texts = self
            .questions
            .iter()
            .filter(|q| matches!(q.what, What::Texts(_)));
        let mut prompts = texts
            .map(|q| matches!(q.prompt, Prompt::Chat(_)))
            .peekable();
        prompts.peek().is_some() && prompts.all(|chat| chat)
    }
}

struct Matching<'a> {
    texts: BTreeMap<Vec<u8>, VecDeque<(&'a Decoding, &'a Said)>>,
    options: Vec<(&'a Logged, bool)>,
    asked: u64,
    answered: u64,
    used_texts: u64,
    finish_unstated: u64,
}

impl<'a> Matching<'a> {
    fn of(log: &'a EvalLog) -> Self {
        let texts = by_prompt(&log.questions).into_iter();
        let options = log.questions.iter();
        let options = options.filter(|q| matches!(q.what, What::Options { .. }));
        Self {
            texts: texts.map(|(prompt, all)| (prompt, all.into())).collect(),
            options: options.map(|q| (q, false)).collect(),
            asked: 0,
            answered: 0,
            used_texts: 0,
            finish_unstated: 0,
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Answer, ModelError> {
        self.asked += 1;
        let found = match &request.want {
            Want::Generate { .. } => self.text(&request.want).map(Answer::Completion),
            Want::Choice { prompt, options } => self.choice(prompt, options).map(Answer::Choice),
            other => {
                return Err(ModelError::Unsupported {
                    want: other.kind().into(),
                });
            }
        };
        self.answered += u64::from(found.is_some());
        found.ok_or_else(|| ModelError::Engine {
            reason: NOT_IN_LOG.into(),
        })
    }

    // Every text answers one question: two draws are two draws.
    fn text(&mut self, want: &Want) -> Option<Completion> {
        let Want::Generate {
            prompt,
            max_tokens,
            sampling,
        } = want
        else {
            return None;
        };
        let texts = self.texts.get_mut(&canonical::to_bytes(prompt))?;
        let fits = |(how, _): &(&Decoding, &Said)| {
            how.temperature.is_none_or(|t| t == sampling.temperature)
                && how.top_p.is_none_or(|p| p == sampling.top_p)
                && how.max_tokens.is_none_or(|m| m == *max_tokens)
        };
        let at = texts.iter().position(fits)?;
        let (_, said) = texts.remove(at)?;
        self.used_texts += 1;
        self.finish_unstated += u64::from(said.finish.is_none());
        Some(Completion {
            text: said.text.clone(),
            tokens: said.tokens.clone(),
            finish: said.finish.unwrap_or(Finish::Stop),
        })
    }

    fn choice(&mut self, prompt: &Prompt, wanted: &[String]) -> Option<ChoiceAnswer> {
        for (question, used) in &mut self.options {
            let What::Options {
                options, logprobs, ..
            } = &question.what
            else {
                continue;
            };
            if question.prompt != *prompt || options.len() != wanted.len() {
                continue;
            }
            let place = |want: &String| options.iter().position(|o| o == want);
            let places: Option<Vec<usize>> = wanted.iter().map(place).collect();
            if let Some(places) = places {
                *used = true;
                let logprobs = places.into_iter().map(|i| logprobs[i]).collect();
                return Some(ChoiceAnswer { logprobs });
            }
        }
        None
    }

    fn told(&mut self, log: &EvalLog) -> Imported {
        let all = by_prompt(&log.questions);
        let logged_texts: usize = all.values().map(Vec::len).sum();
        // Of prompts that were asked, what is left was drawn otherwise, or is one sample too many.
        let left = self.texts.iter();
        let of_asked = left.filter(|(prompt, rest)| rest.len() < all[*prompt].len());
        let spare: usize = of_asked.map(|(_, rest)| rest.len()).sum();
        let used_options = self.options.iter().filter(|(_, used)| *used).count();
        let unasked_options = self.options.len() - used_options;
        let logged = (logged_texts + self.options.len()) as u64;
        let used = self.used_texts + used_options as u64;
        let unasked = logged - used - spare as u64 - unasked_options as u64;
        let mut unused = log.passed();
        for (why, n) in [
            ("more texts than are asked for", spare as u64),
            (
                "a prompt, or a way of sampling, that is not asked for",
                unasked,
            ),
            ("options that are not asked for", unasked_options as u64),
        ] {
            if n > 0 {
                unused.insert(why, n);
            }
        }
        Imported {
            asked: self.asked,
            answered: self.answered,
            logged,
            used,
            unused,
            finish_unstated: self.finish_unstated,
        }
    }
}
