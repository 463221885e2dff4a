//! Records of canaries: what is published, and the secret that opens it.

use filiation_core::{Digest, Prompt, canonical};
use serde::{Deserialize, Serialize};

use super::generator::{self, Form};
use super::{Canary, CanaryProblem, MOST_DECOYS, MOST_TEXTS, text};

const FORMAT: &str = "filiation-canaries/1";
const SECRET_FORMAT: &str = "filiation-canaries-secret/1";
const MOST_PLANTED: usize = 4096;
const LEAST_DECOYS: u32 = 9;
const MOST_REPEATS: u32 = 1_000_000;

/// What canaries are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name of the set.
    pub id: String,
    /// Day on which it is made, YYYY-MM-DD.
    pub created: String,
    /// What they look like.
    pub form: Form,
    /// How many.
    pub count: u32,
    /// Decoys of each.
    pub decoys: u32,
    /// How often each is planted: of the first the first number, and so on, from the start again.
    pub repeats: Vec<u32>,
}

/// What is published of a set of canaries: nothing that a student could be trained against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: String,
    /// What was made.
    pub spec: Spec,
    /// SHA-256 of the specification and the seed. Published, it shows later that no canary was chosen
    /// to fit a model.
    pub commitment: Digest,
    /// The same of each canary, under a salt of its own, so that one can be shown without the others.
    pub canaries: Vec<Digest>,
    /// Canaries in clear, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disclosed: Vec<Disclosed>,
}

/// A canary in clear, with what its commitment is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosed {
    /// Its id.
    pub id: String,
    /// What comes before.
    pub prompt: Prompt,
    /// The text.
    pub text: String,
    /// The salt.
    pub salt: Digest,
}

impl Disclosed {
    fn commitment(&self) -> Digest {
        Digest::of(&canonical::to_bytes(self))
    }
}

/// What makes the canaries of a record. Whoever has it can train them away.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    format: String,
    /// That of the record that it opens.
    commitment: Digest,
    /// 32 bytes in hexadecimal.
    seed: Digest,
}

// The seed stands in no message.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret(of {})", self.commitment)
    }
}

/// A text to plant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planting {
    /// The canary.
    pub id: String,
    /// The whole text, where the prompt is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The conversation, where the prompt is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<filiation_core::Message>,
}

impl Spec {
    /// Checks that it can be made.
    ///
    /// # Errors
    /// [`CanaryProblem::Value`] naming the first number out of range.
    pub fn check(&self) -> Result<(), CanaryProblem> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !(1..=64).contains(&self.id.len()) || !self.id.bytes().all(plain) {
            return Err(CanaryProblem::Value {
                name: "id",
                expected: "1 to 64 letters, digits, `.`, `_`, `-`",
            });
        }
        let day = self.created.as_bytes();
        let is_day = |(i, b): (usize, &u8)| match i {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        };
        if day.len() != 10 || !day.iter().enumerate().all(is_day) {
            return Err(CanaryProblem::Value {
                name: "created",
                expected: "a day as 2026-02-03",
            });
        }
        if !(1..=MOST_PLANTED).contains(&(self.count as usize)) {
            return Err(CanaryProblem::COUNT);
        }
        if !(LEAST_DECOYS..=MOST_DECOYS).contains(&self.decoys) {
            return Err(CanaryProblem::DECOYS);
        }
        if u64::from(self.count) * u64::from(self.decoys + 1) > MOST_TEXTS {
            return Err(CanaryProblem::TEXTS);
        }
        let sound = |n: &u32| (1..=MOST_REPEATS).contains(n);
        if self.repeats.is_empty() || !self.repeats.iter().all(sound) {
            return Err(CanaryProblem::Value {
                name: "repeats",
                expected: "1 to 1000000 each",
            });
        }
        Ok(())
    }

    fn commitment(&self, seed: &Digest) -> Digest {
        #[derive(Serialize)]
        struct Committed<'a> {
            format: &'static str,
            spec: &'a Spec,
            seed: &'a Digest,
        }
        Digest::of(&canonical::to_bytes(&Committed {
            format: FORMAT,
            spec: self,
            seed,
        }))
    }

    fn canary(&self, seed: &Digest, i: usize) -> Canary {
        Canary {
            repeats: self.repeats[i % self.repeats.len()],
            ..generator::canary(seed.as_bytes(), self.form, i, self.decoys as usize)
        }
    }

    fn disclosed(&self, seed: &Digest, i: usize) -> Disclosed {
        let canary = self.canary(seed, i);
        let chosen = &canary.candidates[canary.chosen];
        Disclosed {
            prompt: chosen.prompt.clone(),
            text: chosen.text.clone(),
            id: canary.id,
            salt: generator::salt(seed.as_bytes(), i),
        }
    }
}

impl Record {
    /// The record and the secret of the canaries that `spec` and 32 random bytes make.
    ///
    /// # Errors
    /// [`CanaryProblem::Value`].
    pub fn plant(spec: Spec, seed: [u8; 32]) -> Result<(Self, Secret), CanaryProblem> {
        spec.check()?;
        let seed = Digest::from_bytes(seed);
        let commitment = spec.commitment(&seed);
        let count = spec.count as usize;
        let record = Self {
            format: FORMAT.into(),
            canaries: (0..count)
                .map(|i| spec.disclosed(&seed, i).commitment())
                .collect(),
            commitment,
            spec,
            disclosed: Vec::new(),
        };
        let secret = Secret {
            format: SECRET_FORMAT.into(),
            commitment,
            seed,
        };
        Ok((record, secret))
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`CanaryProblem`] for what is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, CanaryProblem> {
        let record: Self = super::json(text(bytes)?, "a record of planted canaries")?;
        require_format(&record.format, FORMAT)?;
        record.spec.check()?;
        if record.canaries.len() != record.spec.count as usize {
            return Err(CanaryProblem::COUNT);
        }
        Ok(record)
    }

    /// The canaries among their decoys. The record's commitments are checked, all of them.
    ///
    /// # Errors
    /// [`CanaryProblem::Commitment`] where one is not that of the secret.
    pub fn canaries(&self, secret: &Secret) -> Result<Vec<Canary>, CanaryProblem> {
        self.check_secret(secret)?;
        for (i, known) in self.canaries.iter().enumerate() {
            let disclosed = self.spec.disclosed(&secret.seed, i);
            if disclosed.commitment() != *known {
                return Err(CanaryProblem::Commitment {
                    of: "in the record",
                    entry: Some(i + 1),
                });
            }
            let shown = self.disclosed.iter().find(|d| d.id == disclosed.id);
            if shown.is_some_and(|shown| *shown != disclosed) {
                return Err(CanaryProblem::Commitment {
                    of: "of what is disclosed",
                    entry: Some(i + 1),
                });
            }
        }
        let canary = |i| self.spec.canary(&secret.seed, i);
        Ok((0..self.canaries.len()).map(canary).collect())
    }

    /// The same record with its canaries in clear.
    ///
    /// # Errors
    /// [`CanaryProblem::Commitment`].
    pub fn disclose(&self, secret: &Secret) -> Result<Self, CanaryProblem> {
        self.check_secret(secret)?;
        let shown = |i| self.spec.disclosed(&secret.seed, i);
        Ok(Self {
            disclosed: (0..self.canaries.len()).map(shown).collect(),
            ..self.clone()
        })
    }

    /// The texts to plant: all canaries once, then those planted twice or more, and so on, so that
    /// repetitions lie far apart.
    ///
    /// # Errors
    /// [`CanaryProblem::Commitment`].
    pub fn plantings(&self, secret: &Secret) -> Result<Vec<Planting>, CanaryProblem> {
        let canaries = self.canaries(secret)?;
        let most = canaries.iter().map(|c| c.repeats).max().unwrap_or(0);
        let rounds = (0..most).flat_map(|round| canaries.iter().filter(move |c| c.repeats > round));
        Ok(rounds.map(planting).collect())
    }

    fn check_secret(&self, secret: &Secret) -> Result<(), CanaryProblem> {
        let own = self.spec.commitment(&secret.seed);
        if own == self.commitment && secret.commitment == own {
            return Ok(());
        }
        Err(CanaryProblem::Commitment {
            of: "of the record",
            entry: None,
        })
    }
}

fn planting(canary: &Canary) -> Planting {
    let chosen = &canary.candidates[canary.chosen];
    let id = canary.id.clone();
    match &chosen.prompt {
        Prompt::Text(prompt) => Planting {
            id,
            text: Some(format!("{prompt}{}", chosen.text)),
            messages: Vec::new(),
        },
        Prompt::Chat(turns) => {
            let answer = filiation_core::Message {
                role: "assistant".into(),
                content: chosen.text.clone(),
            };
            Planting {
                id,
                text: None,
                messages: turns.iter().cloned().chain([answer]).collect(),
            }
        }
    }
}

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    /// [`CanaryProblem`] for what is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, CanaryProblem> {
        let secret: Self = super::json(text(bytes)?, "the secret of a record of canaries")?;
        require_format(&secret.format, SECRET_FORMAT)?;
        Ok(secret)
    }
}

fn require_format(found: &str, expected: &'static str) -> Result<(), CanaryProblem> {
    if found == expected {
        return Ok(());
    }
    Err(CanaryProblem::Format {
        found: found.chars().take(40).collect(),
        expected,
    })
}
