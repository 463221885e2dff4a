use std::collections::BTreeMap;
use std::path::PathBuf;

use filiation_core::{Answer, Digest, ModelError, Request, RequestId, Role, Want, canonical};
use serde::{Deserialize, Serialize};

use crate::{AuditError, disk};

/// A question, and what came of it.
pub type Recorded = (Want, Result<Answer, ModelError>);

/// What a model said to one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Answer(Answer),
    Error(ModelError),
}

// One line of a transcript, addressed by the digest of what was asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Digest,
    want: Want,
    outcome: Outcome,
    // Of the three above: a line that lost bytes in the middle is found out.
    sum: Digest,
}

impl Line {
    fn new(want: &Want, key: Digest, outcome: Outcome) -> Self {
        let sum = Self::sum(&key, want, &outcome);
        Self {
            key,
            want: want.clone(),
            outcome,
            sum,
        }
    }

    // JSON has no infinity: an answer that would not read back is recorded as what it is.
    fn write(want: &Want, key: Digest, outcome: Outcome) -> (Self, Vec<u8>) {
        let line = Self::new(want, key, outcome);
        let bytes = canonical::to_bytes(&line);
        if Self::parse(&bytes).is_ok() {
            return (line, bytes);
        }
        let error = Outcome::Error(ModelError::NotFinite { position: 0 });
        let line = Self::new(want, key, error);
        let bytes = canonical::to_bytes(&line);
        (line, bytes)
    }

    fn sum(key: &Digest, want: &Want, outcome: &Outcome) -> Digest {
        Digest::of(&canonical::to_bytes(&(key, want, outcome)))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if line.sum != Self::sum(&line.key, &line.want, &line.outcome) {
            return Err("the line's digest does not fit its content".into());
        }
        if line.key != line.want.key() {
            return Err("the line's key is not that of its question".into());
        }
        Ok(line)
    }
}

/// One line of a transcript, its end of line included.
pub(crate) fn line(request: &Request, result: &Result<Answer, ModelError>) -> Vec<u8> {
    let outcome = match result {
        Ok(answer) => Outcome::Answer(answer.clone()),
        Err(error) => Outcome::Error(error.clone()),
    };
    let (_, mut bytes) = Line::write(&request.want, request.key(), outcome);
    bytes.push(b'\n');
    bytes
}

/// The answers of one party: an append-only log, read whole.
#[derive(Debug)]
pub(crate) struct Transcript {
    path: PathBuf,
    answers: BTreeMap<Digest, Result<Answer, ModelError>>,
    // Key, kind of question and first byte of each line, in the order of the file.
    lines: Vec<(Digest, &'static str, u64)>,
    bytes: u64,
}

impl Transcript {
    /// Opens a log to go on with it: a torn tail is cut off.
    pub(crate) fn resume(path: PathBuf) -> Result<Self, AuditError> {
        let (transcript, torn) = Self::load(path)?;
        if torn {
            disk::truncate(&transcript.path, transcript.bytes)?;
        }
        Ok(transcript)
    }

    /// Reads a log as it is. A torn tail is passed over.
    pub(crate) fn read(path: PathBuf) -> Result<Self, AuditError> {
        Self::load(path).map(|(transcript, _)| transcript)
    }

    fn load(path: PathBuf) -> Result<(Self, bool), AuditError> {
        let content = disk::read_if_there(&path)?.unwrap_or_default();
        let mut transcript = Self::empty(path);
        let torn = transcript.take_all(&content)?;
        Ok((transcript, torn))
    }

    fn empty(path: PathBuf) -> Self {
        Self {
            path,
            answers: BTreeMap::new(),
            lines: Vec::new(),
            bytes: 0,
        }
    }

    // Takes whole lines; says whether a torn tail follows them.
    fn take_all(&mut self, content: &[u8]) -> Result<bool, AuditError> {
        let mut rest = content;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (bytes, next) = (&rest[..end], &rest[end + 1..]);
            match Line::parse(bytes) {
                Ok(line) => self.take(line, end as u64 + 1),
                // A crash of the machine may leave a last line of the right length and wrong bytes.
                Err(_) if next.is_empty() => break,
                Err(reason) => {
                    return Err(AuditError::Damaged {
                        line: self.lines.len() + 1,
                        path: self.path.clone(),
                        reason,
                    });
                }
            }
            rest = next;
        }
        Ok(!rest.is_empty())
    }

    /// The answers in `content`, the lines of a log without a torn tail. `path` is for errors,
    /// which count lines from `content` on.
    pub(crate) fn of_bytes(path: PathBuf, content: &[u8]) -> Result<Self, AuditError> {
        let mut transcript = Self::empty(path);
        if transcript.take_all(content)? {
            return Err(AuditError::Damaged {
                line: transcript.lines.len() + 1,
                path: transcript.path,
                reason: "the line is cut short".into(),
            });
        }
        Ok(transcript)
    }

    /// Takes in what others appended since; a tail that one of them tore is cut off.
    pub(crate) fn catch_up(&mut self) -> Result<(), AuditError> {
        let content = disk::read_from(&self.path, self.bytes)?;
        if self.take_all(&content)? {
            disk::truncate(&self.path, self.bytes)?;
        }
        Ok(())
    }

    /// Every answer by the key of its question.
    pub(crate) fn into_answers(self) -> BTreeMap<Digest, Result<Answer, ModelError>> {
        self.answers
    }

    /// The questions that were put, in the order of the log, as requests to `role`. They are read
    /// again, since nothing else needs them.
    pub(crate) fn requests(&self, role: Role) -> Result<Vec<Request>, AuditError> {
        let content = disk::read_if_there(&self.path)?.unwrap_or_default();
        let recorded = Self::recorded(&self.path, &content)?.into_iter();
        let request = |(i, (want, _)): (usize, (Want, _))| Request {
            id: RequestId::new(i.to_string()),
            to: vec![role],
            want,
        };
        Ok(recorded.enumerate().map(request).collect())
    }

    /// Questions and what came of them, in the order of `content`, the lines of a log.
    pub(crate) fn recorded(
        path: &std::path::Path,
        content: &[u8],
    ) -> Result<Vec<Recorded>, AuditError> {
        let lines = content.split(|b| *b == b'\n');
        let lines = lines.filter(|line| !line.is_empty()).enumerate();
        let read = |(i, bytes): (usize, &[u8])| {
            let line = Line::parse(bytes).map_err(|reason| AuditError::Damaged {
                path: path.to_owned(),
                line: i + 1,
                reason,
            })?;
            let outcome = match line.outcome {
                Outcome::Answer(answer) => Ok(answer),
                Outcome::Error(error) => Err(error),
            };
            Ok((line.want, outcome))
        };
        lines.map(read).collect()
    }

    /// How many questions were put.
    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    /// How many were answered and how many failed, by kind of question.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, (u64, u64)> {
        let mut counts = BTreeMap::new();
        for (key, kind, _) in &self.lines {
            let count: &mut (u64, u64) = counts.entry(*kind).or_default();
            match self.answers.get(key) {
                Some(Ok(_)) => count.0 += 1,
                _ => count.1 += 1,
            }
        }
        counts
    }

    fn take(&mut self, line: Line, length: u64) {
        self.lines.push((line.key, line.want.kind(), self.bytes));
        self.bytes += length;
        let result = match line.outcome {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Error(error) => Err(error),
        };
        self.answers.insert(line.key, result);
    }

    /// What was answered to the question with this key.
    pub(crate) fn get(&self, key: &Digest) -> Option<&Result<Answer, ModelError>> {
        self.answers.get(key)
    }

    /// Appends a batch; on return it is on disk.
    pub(crate) fn append(
        &mut self,
        batch: &[(&Request, Result<Answer, ModelError>)],
    ) -> Result<(), AuditError> {
        let mut bytes = Vec::new();
        let mut taken = Vec::with_capacity(batch.len());
        for (request, result) in batch {
            let outcome = match result {
                Ok(answer) => Outcome::Answer(answer.clone()),
                Err(error) => Outcome::Error(error.clone()),
            };
            let (line, text) = Line::write(&request.want, request.key(), outcome);
            let start = bytes.len();
            bytes.extend(text);
            bytes.push(b'\n');
            taken.push((line, (bytes.len() - start) as u64));
        }
        disk::append(&self.path, &bytes)?;
        for (line, length) in taken {
            self.take(line, length);
        }
        Ok(())
    }

    /// Forgets a batch of which only a part is there, so that it is asked again as one: an answer
    /// then never depends on where an earlier run was stopped.
    pub(crate) fn keep_whole_batch(&mut self, batch: &[Request]) -> Result<(), AuditError> {
        let keys: Vec<Digest> = batch.iter().map(Request::key).collect();
        let there = keys.iter().filter(|k| self.answers.contains_key(k)).count();
        if there == 0 || there == keys.len() {
            return Ok(());
        }
        let Some(at) = self.lines.iter().position(|(key, ..)| keys.contains(key)) else {
            return Ok(());
        };
        self.bytes = self.lines[at].2;
        for (key, ..) in self.lines.drain(at..) {
            self.answers.remove(&key);
        }
        disk::truncate(&self.path, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use filiation_core::{Completion, Finish, Prompt, RequestId, Role, Sampling};

    use super::*;

    fn request(text: &str) -> Request {
        Request {
            id: RequestId::new(text),
            to: vec![Role::Teacher],
            want: Want::Generate {
                prompt: Prompt::Text(text.into()),
                max_tokens: 4,
                sampling: Sampling::GREEDY,
            },
        }
    }

    fn answer(text: &str) -> Result<Answer, ModelError> {
        Ok(Answer::Completion(Completion {
            text: text.into(),
            tokens: vec![1],
            finish: Finish::Stop,
        }))
    }

    fn filled(path: &std::path::Path) -> Vec<Request> {
        let requests: Vec<_> = ["a", "b", "c"].map(request).into();
        let mut log = Transcript::resume(path.to_owned()).expect("opens");
        for request in &requests {
            log.append(&[(request, answer(request.id.as_str()))])
                .expect("appends");
        }
        requests
    }

    #[test]
    fn a_tail_torn_anywhere_is_discarded_and_the_rest_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("answers.jsonl");
        let requests = filled(&path);
        let whole = fs::read(&path).expect("reads");
        let last = whole[..whole.len() - 1]
            .iter()
            .rposition(|b| *b == b'\n')
            .expect("three lines")
            + 1;
        for cut in last..whole.len() {
            fs::write(&path, &whole[..cut]).expect("tears");
            let mut log = Transcript::resume(path.clone()).expect("opens");
            assert!(log.get(&requests[1].key()).is_some(), "cut at {cut}");
            assert!(log.get(&requests[2].key()).is_none(), "cut at {cut}");
            log.append(&[(&requests[2], answer("c"))]).expect("goes on");
            assert_eq!(fs::read(&path).expect("reads"), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_changed_line_in_the_middle_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("answers.jsonl");
        filled(&path);
        let text = fs::read_to_string(&path).expect("reads");
        fs::write(&path, text.replacen("\"text\":\"b\"", "\"text\":\"x\"", 1)).expect("forges");
        let error = Transcript::read(path).expect_err("forged").to_string();
        assert!(error.contains("line 2 is damaged"), "{error}");
    }

    #[test]
    fn an_answer_that_is_not_finite_is_an_error_on_disk() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("answers.jsonl");
        let choice = filiation_core::ChoiceAnswer {
            logprobs: vec![f64::NEG_INFINITY],
        };
        let mut log = Transcript::resume(path.clone()).expect("opens");
        log.append(&[(&request("a"), Ok(Answer::Choice(choice)))])
            .expect("appends");
        let again = Transcript::read(path).expect("reads back");
        assert_eq!(
            again.get(&request("a").key()),
            Some(&Err(ModelError::NotFinite { position: 0 }))
        );
    }

    #[test]
    fn half_a_batch_is_asked_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("answers.jsonl");
        let requests = filled(&path);
        let mut log = Transcript::resume(path.clone()).expect("opens");
        log.keep_whole_batch(&requests).expect("whole already");
        assert!(log.get(&requests[1].key()).is_some());
        let longer = [requests[1].clone(), requests[2].clone(), request("d")];
        log.keep_whole_batch(&longer).expect("cuts");
        assert!(log.get(&requests[0].key()).is_some());
        assert!(log.get(&requests[1].key()).is_none());
        let again = Transcript::read(path).expect("reads");
        assert!(again.get(&requests[1].key()).is_none());
    }
}
