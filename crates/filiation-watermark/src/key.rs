//! Key files: a scheme by name, its parameters, its key; and commitments to them.

mod sealed;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::scheme::{
    Aar, Adfp, ExpShift, Kgw, Listed, MarkLlmDip, MarkLlmExp, MarkLlmKgw, Prf, Scheme, SgLang,
    SynthId, SynthIdHash, Table, TextSeal, ThreeBricks, Unigram, VLlm,
};
use crate::{How, Marker, Names, WatermarkError};

pub use sealed::SealedKey;

/// The schemes that a key file may name, as `scheme@implementation`.
pub const SCHEMES: [&str; 16] = [
    "kgw@lm-watermarking",
    "kgw@transformers",
    "kgw@three-bricks",
    "kgw@textseal",
    "kgw@adfp",
    "kgw@markllm",
    "unigram@zhao",
    "dip@markllm",
    "gumbel@three-bricks",
    "gumbel@textseal",
    "gumbel@aar",
    "gumbel@markllm",
    "gumbel@vllm",
    "gumbel@sglang",
    "synthid@transformers",
    "synthid@deepmind",
];

/// The scheme without windows.
const SEQUENCE: &str = "exp@kuditipudi";

/// A number of up to 64 bits, or text: decimal, or hexadecimal after `0x`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// As a number.
    Plain(i64),
    /// As text.
    Text(String),
}

/// A key with all that the scheme needs. TOML; unknown entries are refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// `scheme@implementation`, one of [`SCHEMES`].
    pub scheme: String,
    /// Version of the implementation, where its behaviour changed between versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Number>,
    /// The keys of schemes with several: one a layer, or two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Number>,
    /// Tokens of the vocabulary that lists are drawn over: often that of the logits, not of the
    /// tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<u32>,
    /// Share of green tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Tokens of a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// `kgw@lm-watermarking`, `kgw@transformers`: how a window seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeding: Option<String>,
    /// Share of positions of the second key (vLLM), or of windows of the first (SGLang).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// `exp@kuditipudi`: places of the key sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Green lists that the owner exports, beside the key file: needed where they were drawn on a CUDA
    /// device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What marking adds to the logits of green tokens; tests do not need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Where the lists were drawn: `cpu`, or `cuda`, whose generator gives others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// SHA-256 of the tokenizer that the ids are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Day on which the key was made, YYYY-MM-DD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Random text that keeps a commitment from being guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`WatermarkError::KeyFile`] for what is not one.
    pub fn parse(text: &str) -> Result<Self, WatermarkError> {
        toml::from_str(text).map_err(|e| WatermarkError::KeyFile {
            reason: e.message().to_owned(),
            line: e
                .span()
                .map(|at| 1 + text[..at.start].matches('\n').count()),
        })
    }

    /// SHA-256 of scheme, parameters, key and salt, canonical JSON: what is published before a model
    /// appears, so that nobody can choose the key afterwards.
    pub fn commitment(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        // Maps of this JSON library keep their keys sorted.
        let hash = Sha256::digest(value.to_string());
        hash.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The scheme under the key.
    ///
    /// # Errors
    /// [`WatermarkError::Scheme`] for an unknown name, [`WatermarkError::Field`] for a parameter that
    /// is missing or out of range, or a device whose lists cannot be drawn here.
    pub fn scheme(&self) -> Result<Box<dyn Scheme>, WatermarkError> {
        self.check_version()?;
        if self.table.is_some() {
            return Err(self.field("table", "named".into(), "its lists to be read with the key"));
        }
        Ok(match self.scheme.as_str() {
            "kgw@lm-watermarking" => Box::new(self.lm_watermarking()?),
            "kgw@transformers" => Box::new(self.transformers()?),
            "kgw@three-bricks" => {
                self.drawn_here()?;
                let (vocabulary, gamma) = (self.vocabulary()?, self.gamma()?);
                Box::new(ThreeBricks::maryland(
                    self.key()?,
                    self.width()?,
                    vocabulary,
                    gamma,
                ))
            }
            "gumbel@three-bricks" => {
                self.drawn_here()?;
                Box::new(ThreeBricks::openai(
                    self.key()?,
                    self.width()?,
                    self.vocabulary()?,
                ))
            }
            "kgw@textseal" | "gumbel@textseal" => Box::new(self.textseal()?),
            "kgw@adfp" => {
                let seed = self.key()? as i64;
                Box::new(Adfp::new(seed, self.vocabulary()?, self.gamma()?))
            }
            "kgw@markllm" => {
                self.drawn_here()?;
                let (vocabulary, gamma) = (self.vocabulary()?, self.gamma()?);
                Box::new(MarkLlmKgw::new(
                    self.key()?,
                    self.width()?,
                    vocabulary,
                    gamma,
                ))
            }
            "unigram@zhao" => {
                let key = self.key()? as i64;
                Box::new(Unigram::new(key, self.vocabulary()?, self.gamma()?))
            }
            "dip@markllm" => Box::new(self.dip()?),
            "gumbel@aar" => {
                self.drawn_here()?;
                Box::new(Aar::new(self.key()?, self.width()?, self.vocabulary()?))
            }
            "gumbel@markllm" => {
                self.drawn_here()?;
                Box::new(MarkLlmExp::new(
                    self.key()?,
                    self.width()?,
                    self.vocabulary()?,
                ))
            }
            "gumbel@vllm" => Box::new(match self.alpha {
                Some(_) => VLlm::dual(self.key()?, self.alpha()?, self.width()?),
                None => VLlm::new(self.key()?, self.width()?),
            }),
            "gumbel@sglang" => self.sglang()?,
            "synthid@transformers" => self.synthid(SynthIdHash::Table)?,
            "synthid@deepmind" => self.synthid(SynthIdHash::Steps)?,
            _ => {
                return Err(WatermarkError::Scheme {
                    found: self.scheme.clone(),
                    known: Names(SCHEMES.iter().copied().chain([SEQUENCE]).collect()),
                });
            }
        })
    }

    /// The sequence of `exp@kuditipudi`, which lies along a whole text; `None` for schemes with windows.
    ///
    /// # Errors
    /// As [`Self::scheme`].
    pub fn sequence(&self) -> Result<Option<ExpShift>, WatermarkError> {
        if self.scheme != SEQUENCE {
            return Ok(None);
        }
        self.check_version()?;
        self.drawn_here()?;
        let length = self.length.unwrap_or(256);
        if !(1..=1 << 16).contains(&length) {
            return Err(self.field("length", length.to_string(), "1 to 65536 places"));
        }
        Ok(Some(ExpShift::new(self.key()?, length, self.vocabulary()?)))
    }

    /// The scheme with the lists of a table that the key's owner exported, in place of its own. The key
    /// itself is not needed.
    ///
    /// # Errors
    /// As [`Self::scheme`], and [`WatermarkError::Table`].
    pub fn listed(&self, table: &str) -> Result<Listed, WatermarkError> {
        const LISTS: [&str; 4] = [
            "kgw@lm-watermarking",
            "kgw@transformers",
            "kgw@three-bricks",
            "kgw@markllm",
        ];
        if !LISTS.contains(&self.scheme.as_str()) {
            const EXPECTED: &str = "no table: of this scheme no lists can be exported";
            return Err(self.field("table", "named".into(), EXPECTED));
        }
        // How texts are read does not depend on where lists were drawn, nor on the key.
        let drawn = Self {
            device: Some("cpu".into()),
            table: None,
            key: self.key.clone().or(Some(Number::Plain(1))),
            ..self.clone()
        };
        let drawn = drawn.scheme()?;
        let (reading, how) = (drawn.reading(), drawn.how());
        let salted = matches!(how, How::SelfSalted { .. });
        let width = reading.width + usize::from(salted);
        let table = Table::parse(table, self.vocabulary()?, width)?;
        Ok(table.scheme(reading, how))
    }

    // An unknown version may hash in another way.
    fn check_version(&self) -> Result<(), WatermarkError> {
        let Some(version) = &self.version else {
            return Ok(());
        };
        let begins = |all: &[&str]| all.iter().any(|known| version.starts_with(known));
        let (known, expected) = match self.scheme.as_str() {
            "kgw@transformers" => (begins(&["4.", "5."]), "4.x or 5.x"),
            "synthid@transformers" => {
                let known = begins(&["4.", "5."]) || version == "0.2.1";
                (
                    known,
                    "4.x or 5.x of transformers, or 0.2.1 of synthid-text",
                )
            }
            "synthid@deepmind" => (begins(&["addb4a1"]), "addb4a1, the source of June 2025"),
            "kgw@lm-watermarking" => (begins(&["fb602de"]), "fb602de"),
            "kgw@textseal" | "gumbel@textseal" => (version == "0.0.5", "0.0.5"),
            "kgw@markllm" | "dip@markllm" | "gumbel@markllm" => (
                begins(&["112fa74", "0.1.5"]),
                "0.1.5, or its source at 112fa74",
            ),
            "gumbel@vllm" => {
                let known = begins(&["0.30", "0.31", "0.32", "0.33"]);
                (
                    known || version == "philox4x32-10-v1",
                    "0.30 to 0.33, or philox4x32-10-v1",
                )
            }
            "gumbel@sglang" => (begins(&["0.5."]), "0.5.x"),
            _ => (false, "none: the implementation has no versions"),
        };
        if known {
            return Ok(());
        }
        Err(self.field("version", format!("`{version}`"), expected))
    }

    /// What marks texts with the key: `delta` of green lists is 2 where nothing is said, `alpha` of
    /// `dip@markllm` 0.45.
    ///
    /// # Errors
    /// As [`Self::scheme`], and [`WatermarkError::Field`] for a `delta` or `alpha` that marks nothing.
    pub fn marker(&self) -> Result<Marker, WatermarkError> {
        let scheme = self.scheme()?;
        let strength = match scheme.how() {
            How::Green { .. } | How::SelfSalted { .. } => {
                let delta = self.delta.unwrap_or(2.0);
                if !(delta > 0.0 && delta <= 100.0) {
                    return Err(self.field("delta", delta.to_string(), "above 0 and at most 100"));
                }
                delta
            }
            How::Reweight => self.share("alpha", Some(self.alpha.unwrap_or(0.45)))?,
            How::Gumbel | How::Tournament => 0.0,
        };
        Ok(Marker::new(scheme, strength))
    }

    fn lm_watermarking(&self) -> Result<Kgw, WatermarkError> {
        self.drawn_here()?;
        const SEEDINGS: &str = "`simple_1`, `minhash`, `selfhash`, `skipgram`, or \
            `ff-<function>-<width>-<True|False>`";
        let seeding = self.seeding.as_deref().unwrap_or("simple_1");
        let bad = || self.field("seeding", format!("`{seeding}`"), SEEDINGS);
        let (prf, width, salted) = match seeding {
            "simple_1" | "lefthash" => (Prf::Additive, 1, false),
            "selfhash" | "algorithm-3" => (Prf::AnchoredMinHash, 4, true),
            "minhash" => (Prf::MinHash, 4, false),
            "skipgram" => (Prf::Skipgram, 5, false),
            free => {
                let parts: Vec<&str> = free.split('-').collect();
                let ["ff", function, width, salted] = parts[..] else {
                    return Err(bad());
                };
                let width = width.parse().ok().filter(|w| (1..=64).contains(w));
                let salted = ["False", "True"].iter().position(|s| *s == salted);
                let prf = free_form(function).ok_or_else(bad)?;
                (prf, width.ok_or_else(bad)?, salted.ok_or_else(bad)? == 1)
            }
        };
        let key = self.key()? as i64;
        let (vocabulary, gamma) = (self.vocabulary()?, self.gamma()?);
        Ok(Kgw::lm_watermarking(
            prf, width, salted, key, vocabulary, gamma,
        ))
    }

    fn transformers(&self) -> Result<Kgw, WatermarkError> {
        self.drawn_here()?;
        let key = self.key()? as i64;
        let (width, vocabulary, gamma) = (self.width()?, self.vocabulary()?, self.gamma()?);
        match self.seeding.as_deref().unwrap_or("lefthash") {
            "lefthash" => Ok(Kgw::transformers_lefthash(width, key, vocabulary, gamma)),
            "selfhash" => Ok(Kgw::transformers_selfhash(width, key, vocabulary, gamma)),
            other => Err(self.field("seeding", format!("`{other}`"), "`lefthash` or `selfhash`")),
        }
    }

    fn textseal(&self) -> Result<TextSeal, WatermarkError> {
        let (key, width) = (self.key()? as i64, self.width()?);
        if width > TextSeal::WIDEST {
            return Err(self.field("width", width.to_string(), "at most 10"));
        }
        let vocabulary = self.vocabulary()?;
        Ok(if self.scheme.starts_with("kgw") {
            TextSeal::greenlist(key, width, vocabulary, self.gamma()?)
        } else {
            TextSeal::gumbel(key, width, vocabulary)
        })
    }

    fn dip(&self) -> Result<MarkLlmDip, WatermarkError> {
        self.drawn_here()?;
        let hex = match &self.key {
            Some(Number::Text(text)) => text.strip_prefix("0x").unwrap_or(text),
            _ => return Err(self.field("key", "no text".into(), "bytes in hexadecimal")),
        };
        let byte = |i: usize| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
        let bytes = bytes
            .filter(|b| !b.is_empty())
            .ok_or_else(|| self.field("key", "no such text".into(), "bytes in hexadecimal"))?;
        Ok(MarkLlmDip::new(
            bytes,
            self.width()?,
            self.vocabulary()?,
            self.gamma()?,
        ))
    }

    fn sglang(&self) -> Result<Box<dyn Scheme>, WatermarkError> {
        let width = self.width()?;
        if self.keys.is_empty() {
            return Ok(Box::new(SgLang::new(self.key()?, width)));
        }
        let keys = self.keys()?;
        let [first, second] = keys[..] else {
            return Err(self.field("keys", format!("{} keys", keys.len()), "two keys"));
        };
        Ok(Box::new(SgLang::dual(first, second, self.alpha()?, width)))
    }

    fn synthid(&self, hash: SynthIdHash) -> Result<Box<dyn Scheme>, WatermarkError> {
        let keys = self.keys()?;
        if keys.is_empty() {
            return Err(self.field("keys", "missing".into(), "one key a layer"));
        }
        let ngram = self.width()? + 1;
        Ok(Box::new(SynthId::new(hash, keys, ngram)))
    }

    // Lists of `torch.randperm` and `torch.rand` depend on the device.
    fn drawn_here(&self) -> Result<(), WatermarkError> {
        const EXPECTED: &str = "`cpu`: lists drawn on a CUDA device come from another generator, \
            and need a table that the key's owner exports (`table`)";
        match self.device.as_deref() {
            Some("cpu") => Ok(()),
            None => Err(self.field("device", "missing".into(), "`cpu` or `cuda`")),
            Some(other) => Err(self.field("device", format!("`{other}`"), EXPECTED)),
        }
    }

    fn vocabulary(&self) -> Result<u32, WatermarkError> {
        match self.vocabulary {
            Some(n) if (2..1 << 24).contains(&n) => Ok(n),
            other => Err(self.field(
                "vocabulary",
                other.map_or("missing".into(), |n| n.to_string()),
                "the number of tokens that lists are drawn over",
            )),
        }
    }

    fn gamma(&self) -> Result<f64, WatermarkError> {
        self.share("gamma", self.gamma)
    }

    fn alpha(&self) -> Result<f64, WatermarkError> {
        self.share("alpha", self.alpha)
    }

    fn share(&self, name: &'static str, value: Option<f64>) -> Result<f64, WatermarkError> {
        value.filter(|v| *v > 0.0 && *v < 1.0).ok_or_else(|| {
            let found = value.map_or("missing".into(), |v| v.to_string());
            self.field(name, found, "a number between 0 and 1")
        })
    }

    fn width(&self) -> Result<usize, WatermarkError> {
        self.width.filter(|w| (1..=64).contains(w)).ok_or_else(|| {
            let found = self.width.map_or("missing".into(), |w| w.to_string());
            self.field("width", found, "1 to 64 tokens")
        })
    }

    fn key(&self) -> Result<u64, WatermarkError> {
        let number = self.key.as_ref().and_then(Number::value);
        let expected = "a number of 64 bits, as such or as text";
        number.ok_or_else(|| {
            let found = if self.key.is_some() {
                "not one"
            } else {
                "missing"
            };
            self.field("key", found.into(), expected)
        })
    }

    fn keys(&self) -> Result<Vec<u64>, WatermarkError> {
        let all: Option<Vec<u64>> = self.keys.iter().map(Number::value).collect();
        all.ok_or_else(|| self.field("keys", "no numbers".into(), "numbers of 64 bits"))
    }

    // The key itself never stands in a message.
    fn field(&self, field: &'static str, found: String, expected: &'static str) -> WatermarkError {
        WatermarkError::Field {
            scheme: self.scheme.clone(),
            field,
            found,
            expected,
        }
    }
}

fn free_form(function: &str) -> Option<Prf> {
    Some(match function {
        "additive_prf" => Prf::Additive,
        "multiplicative_prf" => Prf::Multiplicative,
        "minfunc_prf" => Prf::Minimum,
        "simple_skip_prf" => Prf::SimpleSkip,
        "skipgram_prf" => Prf::Skipgram,
        "anchored_skipgram_prf" => Prf::AnchoredSkipgram,
        "minhash_prf" => Prf::MinHash,
        "anchored_minhash_prf" => Prf::AnchoredMinHash,
        "minskipgram_prf" => Prf::MinSkipgram,
        "noncomm_prf" => Prf::NonCommutative,
        "position_prf" => Prf::Position,
        _ => return None,
    })
}

impl Number {
    // Negative numbers as two's complement.
    fn value(&self) -> Option<u64> {
        match self {
            Self::Plain(n) => Some(*n as u64),
            Self::Text(text) => match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok(),
                None => text.parse().ok(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
