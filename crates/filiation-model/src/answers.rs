//! From requests to rows of tokens, and from what the rows gave to answers.

use std::collections::BTreeMap;

use filiation_core::{
    Answer, ChoiceAnswer, HiddenStates, Mark, ModelError, Prompt, ReadText, ReadToken, Request,
    ScoredText, ScoredToken, TokenProb, TopK, Want,
};

use crate::decoder::Decoder;
use crate::generate::{Wanted, completions};
use crate::rows::{Logprobs, Outcome, Read, Row, hidden_states, read};
use crate::text::Text;

/// How one request will be answered; numbers are places in the lists of rows.
enum Job {
    Failed(ModelError),
    Generate(usize),
    Score {
        row: usize,
        spans: Vec<(u32, u32)>,
    },
    Empty,
    Read {
        row: usize,
        k: usize,
        spans: Vec<(u32, u32)>,
    },
    TopK(usize),
    Choice(Vec<Part>),
    Hidden(usize),
}

/// Where the log-probability of an option comes from.
enum Part {
    /// The token in this place of what was read after the prompt in this row.
    Next(usize, usize),
    /// The sum over a scored row.
    Row(usize),
}

/// All rows of a set of requests.
#[derive(Default)]
pub(crate) struct Plan {
    jobs: Vec<Job>,
    generate: Vec<Wanted>,
    read: Vec<Row>,
    hidden: Vec<(Vec<u32>, Vec<u32>)>,
}

impl Plan {
    pub(crate) fn new(text: &Text, requests: &[Request]) -> Self {
        let mut plan = Self::default();
        for request in requests {
            let job = plan.job(text, &request.want).unwrap_or_else(Job::Failed);
            plan.jobs.push(job);
        }
        plan
    }

    fn job(&mut self, text: &Text, want: &Want) -> Outcome<Job> {
        match want {
            Want::Generate {
                prompt,
                max_tokens,
                sampling,
            } => {
                self.generate.push(Wanted {
                    prompt: text.prompt(prompt)?,
                    max_tokens: *max_tokens as usize,
                    sampling: *sampling,
                });
                Ok(Job::Generate(self.generate.len() - 1))
            }
            Want::Score {
                prompt,
                continuation,
            } => {
                let joint = text.joint(prompt, continuation)?;
                if joint.spans.is_empty() {
                    return Ok(Job::Empty);
                }
                self.read.push((joint.ids, Read::From(joint.first)));
                Ok(Job::Score {
                    row: self.read.len() - 1,
                    spans: joint.spans,
                })
            }
            Want::Read {
                prompt,
                continuation,
                k,
            } => {
                let joint = text.joint(prompt, continuation)?;
                let k = *k as usize;
                if joint.spans.is_empty() {
                    self.read.push((text.prompt(prompt)?, Read::Best(0)));
                } else {
                    self.read.push((joint.ids, Read::Each(joint.first, k)));
                }
                Ok(Job::Read {
                    row: self.read.len() - 1,
                    k,
                    spans: joint.spans,
                })
            }
            Want::TopK { prompt, k } => {
                self.read
                    .push((text.prompt(prompt)?, Read::Best(*k as usize)));
                Ok(Job::TopK(self.read.len() - 1))
            }
            Want::Choice { prompt, options } => self.choice(text, prompt, options),
            Want::Hidden { text: read, layers } => {
                let ids = text.prompt(&Prompt::Text(read.clone()))?;
                self.hidden.push((ids, layers.clone()));
                Ok(Job::Hidden(self.hidden.len() - 1))
            }
            Want::ScoreAnswers { .. } | Want::CompareWeights { .. } | Want::Only { .. } => {
                Err(ModelError::Unsupported {
                    want: want.kind().into(),
                })
            }
        }
    }

    /// Options of one token are read off one distribution after the prompt; longer ones are scored.
    fn choice(&mut self, text: &Text, prompt: &Prompt, options: &[String]) -> Outcome<Job> {
        let before = text.prompt(prompt)?;
        let tails = options
            .iter()
            .map(|option| text.option(prompt, &before, option))
            .collect::<Outcome<Vec<_>>>()?;
        let single: Vec<u32> = tails
            .iter()
            .filter_map(|tail| <[u32; 1]>::try_from(&tail[..]).ok())
            .map(|[token]| token)
            .collect();
        let after = self.read.len();
        if !single.is_empty() {
            self.read.push((before.clone(), Read::Of(single)));
        }
        let mut parts = Vec::with_capacity(tails.len());
        let mut places = 0..;
        for tail in tails {
            if tail.len() == 1 {
                parts.extend(places.next().map(|place| Part::Next(after, place)));
            } else {
                parts.push(Part::Row(self.read.len()));
                let ids = [&before[..], &tail].concat();
                self.read.push((ids, Read::From(before.len())));
            }
        }
        Ok(Job::Choice(parts))
    }

    pub(crate) fn carry_out(
        self,
        decoder: &Decoder,
        text: &Text,
        ends: &[u32],
        mark: Option<&dyn Mark>,
    ) -> Vec<Outcome<Answer>> {
        let done = Done {
            text,
            completions: completions(decoder, text, ends, mark, &self.generate),
            read: read(decoder, &self.read),
            hidden: hidden_states(decoder, &self.hidden),
        };
        self.jobs.into_iter().map(|job| done.answer(job)).collect()
    }
}

/// What every row gave.
struct Done<'a> {
    text: &'a Text,
    completions: Vec<Outcome<filiation_core::Completion>>,
    read: Vec<Outcome<Logprobs>>,
    hidden: Vec<Outcome<Vec<Vec<f32>>>>,
}

impl Done<'_> {
    fn answer(&self, job: Job) -> Outcome<Answer> {
        match job {
            Job::Failed(error) => Err(error),
            Job::Generate(row) => self.completions[row].clone().map(Answer::Completion),
            Job::Score { row, spans } => {
                let logprobs = self.read[row].clone()?;
                Ok(Answer::Scored(scored(&logprobs, &spans)))
            }
            Job::Empty => Ok(Answer::Scored(scored(&[], &[]))),
            Job::Read { row, k, spans } => self.read_text(row, k, &spans).map(Answer::Read),
            Job::TopK(row) => {
                let tokens = self.read[row].clone()?.into_iter().map(|(id, logprob)| {
                    let text = self.text.token(id)?;
                    Ok(TokenProb { id, text, logprob })
                });
                let tokens = tokens.collect::<Outcome<_>>()?;
                Ok(Answer::TopK(TopK { tokens }))
            }
            Job::Choice(parts) => {
                let logprobs = parts.iter().map(|part| self.part(part));
                let logprobs = logprobs.collect::<Outcome<_>>()?;
                Ok(Answer::Choice(ChoiceAnswer { logprobs }))
            }
            Job::Hidden(row) => {
                let layers = self.hidden[row].clone()?;
                Ok(Answer::Hidden(HiddenStates { layers }))
            }
        }
    }

    fn read_text(&self, row: usize, k: usize, spans: &[(u32, u32)]) -> Outcome<ReadText> {
        let logprobs = self.read[row].clone()?;
        // Fewer than `k` where the vocabulary has no more.
        let each = logprobs.len() / spans.len().max(1);
        let mut texts = BTreeMap::new();
        for (id, _) in &logprobs {
            if !texts.contains_key(id) {
                texts.insert(*id, self.text.token(*id)?);
            }
        }
        let places = logprobs.chunks(each.clamp(1, k.max(1)));
        // Five decimals are more than any reading needs, and half the length on disk.
        let short = |logprob: f64| (logprob * 1e5).round() / 1e5;
        let tokens = places.zip(spans).map(|(likely, (start, _))| ReadToken {
            start: *start,
            likely: likely.iter().map(|(id, p)| (*id, short(*p))).collect(),
        });
        Ok(ReadText {
            tokens: tokens.collect(),
            texts,
        })
    }

    fn part(&self, part: &Part) -> Outcome<f64> {
        match *part {
            Part::Next(row, place) => Ok(self.read[row].clone()?[place].1),
            Part::Row(row) => Ok(self.read[row]
                .clone()?
                .iter()
                .map(|(_, logprob)| logprob)
                .sum()),
        }
    }
}

fn scored(tokens: &[(u32, f64)], spans: &[(u32, u32)]) -> ScoredText {
    let tokens: Vec<ScoredToken> = tokens
        .iter()
        .zip(spans)
        .map(|(&(id, logprob), &(start, end))| ScoredToken {
            id,
            start,
            end,
            logprob,
        })
        .collect();
    let bytes = tokens.iter().map(|t| t.end - t.start).sum();
    ScoredText { tokens, bytes }
}
