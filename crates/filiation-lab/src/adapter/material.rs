use std::fs;
use std::path::Path;
use std::sync::Arc;

use filiation_checkpoint::{Checkpoint, Limits, Tokenizer};
use filiation_core::{
    Answer, Completion, Digest, Finish, Mark, Message, Model, Prompt, Request, RequestId, Role,
    Sampling, Want,
};
use filiation_model::{DeviceChoice, LocalModel};
use rand::RngCore;
use serde::Deserialize;

use crate::adapter::learner::Row;
use crate::adapter::recipe::{AdapterRecipe, AdapterTeacher, Prompts};
use crate::text::{Stream, stream, uniform};
use crate::{LabError, Slice};

/// A prompt and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) prompt: String,
    pub(crate) answer: String,
    /// Whether the text ends there.
    pub(crate) ended: bool,
}

/// Every how many lines of a suite, from which, and the digest of its file.
pub(crate) type Asked = (usize, usize, Digest);

/// What a teacher is asked, in order, and what that is taken from.
pub(crate) fn asked(
    recipe: &AdapterRecipe,
    teacher: &AdapterTeacher,
    folder: &Path,
) -> Result<(Vec<String>, Vec<Asked>), LabError> {
    let (mut asked, mut files) = (Vec::new(), Vec::new());
    for name in &teacher.prompts {
        let suite = &recipe.prompts[name];
        let (texts, digest) = prompts(suite, folder)?;
        asked.extend(texts);
        files.push((suite.every, suite.from, digest));
    }
    Ok((asked, files))
}

/// Prompts of a suite, and the digest of its file.
fn prompts(prompts: &Prompts, folder: &Path) -> Result<(Vec<String>, Digest), LabError> {
    #[derive(Deserialize)]
    struct Item {
        text: String,
    }
    let path = folder.join(&prompts.file);
    let bytes = fs::read(&path).map_err(|source| LabError::Read {
        path: path.clone(),
        source,
    })?;
    let lines = bytes.split(|b| *b == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let taken = lines.skip(prompts.from).step_by(prompts.every);
    let text = |(at, line): (usize, &[u8])| {
        let item: Item = serde_json::from_slice(line).map_err(|source| LabError::Prompt {
            path: path.clone(),
            line: at + 1,
            source,
        })?;
        Ok(item.text)
    };
    let texts = taken.map(text).collect::<Result<Vec<_>, LabError>>()?;
    Ok((texts, Digest::of(&bytes)))
}

/// Questions and answers by people, from lines of the slices.
pub(crate) fn by_people(
    lines: &[&str],
    slices: &[Slice],
    forms: &[String],
    (raw, seed): (bool, u64),
) -> Result<Vec<Pair>, LabError> {
    let mut rng = stream(seed, Stream::Deal);
    let pair = |line: &&str| {
        let Some((asked, answer)) = line.split_once('\t') else {
            let sources: Vec<&str> = slices.iter().map(|s| s.source.as_str()).collect();
            return Err(LabError::Pair {
                source_name: sources.join(", "),
                line: line.chars().take(40).collect(),
            });
        };
        let form = &forms[(uniform(&mut rng) * forms.len() as f64) as usize];
        // After a plain prompt the answer begins a line; a chat template ends in its own way.
        let gap = if raw { "\n" } else { "" };
        Ok(Pair {
            prompt: form.replace("{}", asked),
            answer: format!("{gap}{answer}"),
            ended: true,
        })
    };
    lines.iter().map(pair).collect()
}

/// `count` completions that a teacher gives to `prompts` in turn, each from a seed of its own, marked where
/// a mark is given. Empty ones are passed over.
pub(crate) fn by_teacher(
    folder: &Path,
    teacher: &AdapterTeacher,
    prompts: &[String],
    count: usize,
    (raw, seed): (bool, u64),
    mark: Option<Arc<dyn Mark>>,
) -> Result<Vec<Pair>, LabError> {
    let mut model = LocalModel::open(folder, DeviceChoice::Cpu, &Limits::default())?;
    if let Some(mark) = mark {
        model = model.marked(mark);
    }
    let mut rng = stream(seed, Stream::Sample);
    let (mut pairs, mut asked) = (Vec::with_capacity(count), 0);
    // Questions in a row without an answer.
    let mut silent = 0;
    while pairs.len() < count {
        let wanted = count - pairs.len();
        let texts: Vec<&String> = (asked..asked + wanted)
            .map(|i| &prompts[i % prompts.len()])
            .collect();
        let request = |(i, text): (usize, &&String)| Request {
            id: RequestId::new(format!("{}", asked + i)),
            to: vec![Role::Teacher],
            want: Want::Generate {
                prompt: if raw {
                    Prompt::Text((*text).clone())
                } else {
                    Prompt::user(text.as_str())
                },
                max_tokens: teacher.max_tokens,
                sampling: Sampling {
                    temperature: teacher.temperature,
                    top_p: 1.0,
                    seed: rng.next_u64(),
                },
            },
        };
        let requests: Vec<Request> = texts.iter().enumerate().map(request).collect();
        let before = pairs.len();
        for (text, answer) in texts.iter().zip(model.answer(&requests)) {
            let answer = answer.map_err(|source| LabError::Teacher {
                model: teacher.model.clone(),
                source,
            })?;
            if let Answer::Completion(Completion {
                text: answer,
                finish,
                ..
            }) = answer
                && !answer.trim().is_empty()
            {
                pairs.push(Pair {
                    prompt: (*text).clone(),
                    answer,
                    ended: finish == Finish::Stop,
                });
            }
        }
        asked += wanted;
        silent = if pairs.len() == before {
            silent + wanted
        } else {
            0
        };
        if silent >= prompts.len() {
            return Err(LabError::Silent { drawn: silent });
        }
    }
    Ok(pairs)
}

/// Makes rows of pairs as a base reads them.
pub(crate) struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    tokenizer: Tokenizer,
    raw: bool,
    longest: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        raw: bool,
        longest: usize,
    ) -> Result<Self, LabError> {
        Ok(Self {
            tokenizer: checkpoint.tokenizer()?,
            checkpoint,
            raw,
            longest,
        })
    }

    /// Prompt and answer tokenised together, as they are scored; a token that begins in the prompt
    /// belongs to it. None where nothing of the answer is left.
    pub(crate) fn row(&self, pair: &Pair, guided: bool) -> Result<Option<Row>, LabError> {
        let mut text = match self.checkpoint.template().filter(|_| !self.raw) {
            None => pair.prompt.clone(),
            Some(template) => {
                let turn = Message {
                    role: "user".into(),
                    content: pair.prompt.clone(),
                };
                template.render(&[turn], true)?
            }
        };
        let templated = !self.raw && self.checkpoint.template().is_some();
        let boundary = text.len();
        text.push_str(&pair.answer);
        let encoded = self.tokenizer.encode(&text, !templated)?;
        let before = encoded.offsets.iter().take_while(|o| o.0 < boundary);
        let from = before.count().max(1);
        let mut ids = encoded.ids;
        if let Some(end) = self.checkpoint.generation().eos.first()
            && pair.ended
        {
            ids.push(*end);
        }
        ids.truncate(self.longest);
        Ok((from < ids.len()).then_some(Row { ids, from, guided }))
    }
}
