use std::fmt::Display;

use filiation_core::{Digest, MethodId, Prompt, Sampling, Want};
use filiation_stats::Bootstrap;

use crate::{CanarySet, Item, MarkLog, ProbeError, ServedLog};

/// How items that are user turns are put. Every party is asked in the same form, because a
/// teacher's text is scored after the prompt that it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptForm {
    /// Rendered with each model's own chat template. Only where every party has one.
    Chat,
    /// As raw text.
    Text,
}

impl PromptForm {
    /// The word in method ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Text => "text",
        }
    }
}

/// What the probes of a run share. All of it enters the method ids.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeOptions {
    /// How user turns are put. Openings are raw text in either form.
    pub form: PromptForm,
    /// Most tokens that a teacher writes to a prompt.
    pub max_tokens: u32,
    /// Sampling temperature of the teachers.
    pub temperature: f64,
    /// Nucleus of the teachers.
    pub top_p: f64,
    /// Texts that each teacher writes to a prompt.
    pub samples: u32,
    /// Bootstrap resamples.
    pub draws: u32,
    /// Coverage of the intervals, in (0, 1).
    pub level: f64,
    /// Seed of sampling and bootstrap.
    pub seed: u64,
    /// What candidate teachers served, one log a teacher.
    pub served: Vec<ServedLog>,
    /// What was planted for candidate teachers, one file a teacher.
    pub canaries: Vec<CanarySet>,
    /// Texts of candidate teachers with the keys that they are read under; each key counts.
    pub marks: Vec<MarkLog>,
    /// When a probe that may stop does; none buys the whole budget.
    pub stopping: Option<Stopping>,
}

/// When a probe stops buying completions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stopping {
    /// At this e-value, above 1.
    pub at_e: f64,
    /// When every candidate's lead is below this, in the probe's unit: the smallest of interest.
    pub below: Option<f64>,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            form: PromptForm::Text,
            max_tokens: 48,
            temperature: 1.0,
            top_p: 1.0,
            samples: 1,
            draws: 2000,
            level: 0.95,
            seed: 0,
            served: Vec::new(),
            canaries: Vec::new(),
            marks: Vec::new(),
            stopping: None,
        }
    }
}

impl ProbeOptions {
    /// Refuses what no probe can work with.
    ///
    /// # Errors
    /// [`ProbeError::Option`] naming the first one out of range.
    pub fn validate(&self) -> Result<(), ProbeError> {
        let inner = |x: f64| x > 0.0 && x < 1.0;
        let checks = [
            (
                "max_tokens",
                f64::from(self.max_tokens),
                self.max_tokens > 0,
                "at least 1",
            ),
            (
                "temperature",
                self.temperature,
                self.temperature >= 0.0 && self.temperature.is_finite(),
                "at least 0",
            ),
            (
                "top_p",
                self.top_p,
                inner(self.top_p) || self.top_p == 1.0,
                "above 0 and at most 1",
            ),
            (
                "samples",
                f64::from(self.samples),
                self.samples > 0,
                "at least 1",
            ),
            (
                "draws",
                f64::from(self.draws),
                self.draws >= 100,
                "at least 100",
            ),
            (
                "level",
                self.level,
                inner(self.level),
                "above 0 and below 1",
            ),
            (
                "stop_at_e",
                self.stopping.map_or(f64::INFINITY, |s| s.at_e),
                self.stopping
                    .is_none_or(|s| s.at_e > 1.0 && s.at_e.is_finite()),
                "a number above 1",
            ),
            (
                "stop_below",
                self.stopping.and_then(|s| s.below).unwrap_or(0.0),
                self.stopping.and_then(|s| s.below).is_none_or(inner),
                "above 0 and below 1",
            ),
        ];
        match checks.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((name, got, _, expected)) => Err(ProbeError::Option {
                name,
                got,
                expected,
            }),
            None => Ok(()),
        }
    }

    /// The id of a method over items of `suites`: what enters every probe, and `more`.
    pub(crate) fn method(
        &self,
        name: &str,
        version: u32,
        suites: &str,
        more: &[(&str, &dyn Display)],
    ) -> MethodId {
        let form = self.form.as_str();
        let mut parameters: Vec<(&str, &dyn Display)> = vec![
            ("draws", &self.draws),
            ("form", &form),
            ("level", &self.level),
            ("seed", &self.seed),
            ("suites", &suites),
        ];
        parameters.extend(more);
        MethodId::new(name, version, &parameters)
    }

    /// As [`Self::method`], for a probe whose texts are drawn as these options say.
    pub(crate) fn method_of_texts(
        &self,
        name: &str,
        version: u32,
        suites: &str,
        more: &[(&str, &dyn Display)],
    ) -> MethodId {
        let mut parameters: Vec<(&str, &dyn Display)> =
            vec![("temperature", &self.temperature), ("top_p", &self.top_p)];
        parameters.extend(more);
        self.method(name, version, suites, &parameters)
    }

    /// The resampling of intervals.
    pub(crate) const fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            draws: self.draws,
            level: self.level,
            seed: self.seed,
        }
    }

    /// The prompt of an item.
    pub(crate) fn prompt(&self, item: &Item) -> Prompt {
        match self.form {
            PromptForm::Chat if !item.is_raw() => Prompt::user(&item.text),
            _ => Prompt::Text(item.text.clone()),
        }
    }

    /// Text `sample` to an item. All probes that read such texts ask for them in the same words, so that one
    /// answer serves them all.
    pub(crate) fn text_of(&self, item: &Item, sample: u32) -> Want {
        Want::Generate {
            prompt: self.prompt(item),
            max_tokens: self.max_tokens,
            sampling: self.sampling(&item.id, sample),
        }
    }

    /// How text `sample` to item `id` is drawn: the seed depends on nothing but these and the
    /// run's seed, so that adding an item changes no other text.
    pub(crate) fn sampling(&self, id: &str, sample: u32) -> Sampling {
        let name = format!("{}/{id}/{sample}", self.seed);
        let digest = Digest::of(name.as_bytes());
        let mut head = [0; 8];
        head.copy_from_slice(&digest.as_bytes()[..8]);
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            // 53 bits: readers of JSON that keep numbers as doubles see the same seed.
            seed: u64::from_le_bytes(head) >> 11,
        }
    }
}
