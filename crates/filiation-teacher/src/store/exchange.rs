use std::collections::BTreeMap;

use filiation_core::Digest;
use serde::{Deserialize, Serialize};

use crate::key::canonical;
use crate::{Key, Usage};

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An answer that can be used. One a key.
    Answer,
    /// A definite refusal of the question. One a key.
    Refused,
    /// No answer: the note says why.
    Fault,
    /// The process ended while it was asked. It may have been paid for.
    Interrupted,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Refused => "refused",
            Self::Fault => "fault",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One attempt, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) endpoint: Digest,
    pub(crate) provider: String,
    pub(crate) dialect: String,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) model_asked: String,
    pub(crate) model_returned: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) request: Digest,
    pub(crate) response: Option<Digest>,
    pub(crate) status: Option<u16>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
    pub(crate) attempt: u32,
    pub(crate) sample: String,
    pub(crate) epoch: String,
    pub(crate) usage: Option<Usage>,
    pub(crate) note: Option<String>,
    pub(crate) redacted: bool,
    pub(crate) version: String,
}

/// One attempt as it is recorded: a row of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Digest of the row before; of nothing for the first.
    pub previous: Digest,
    /// What it is addressed by.
    pub key: Key,
    /// What it came to.
    pub kind: Kind,
    /// Digest of the endpoint's identity.
    pub endpoint: Digest,
    /// Provider, as the case names it.
    pub provider: String,
    /// Dialect.
    pub dialect: String,
    /// HTTP method.
    pub method: String,
    /// Address, without a key.
    pub url: String,
    /// Model asked for.
    pub model_asked: String,
    /// Model that answered, in the endpoint's words.
    pub model_returned: Option<String>,
    /// `system_fingerprint` and the like.
    pub fingerprint: Option<String>,
    /// Digest of the request's bytes.
    pub request: Digest,
    /// Digest of the response's bytes, as far as they came.
    pub response: Option<Digest>,
    /// HTTP status.
    pub status: Option<u16>,
    /// Headers of the response that say something of the exchange. Those of the request are not kept.
    pub headers: BTreeMap<String, String>,
    /// When it was sent: milliseconds since 1970, UTC.
    pub began: u64,
    /// When the last byte came.
    pub ended: Option<u64>,
    /// Attempts at this question in one go, from 1.
    pub attempt: u32,
    /// Number of the sample, where requests of the same bytes are draws of their own.
    pub sample: String,
    /// What separates answers that are asked again later.
    pub epoch: String,
    /// Tokens counted by the endpoint.
    pub usage: Option<Usage>,
    /// Why there is no answer.
    pub note: Option<String>,
    /// Whether the response held the key, which was taken out.
    pub redacted: bool,
    /// Version of this crate.
    pub version: String,
}

impl Draft {
    pub(crate) fn at(self, seq: u64, previous: Digest) -> Exchange {
        Exchange {
            seq,
            previous,
            key: self.key,
            kind: self.kind,
            endpoint: self.endpoint,
            provider: self.provider,
            dialect: self.dialect,
            method: self.method,
            url: self.url,
            model_asked: self.model_asked,
            model_returned: self.model_returned,
            fingerprint: self.fingerprint,
            request: self.request,
            response: self.response,
            status: self.status,
            headers: self.headers,
            began: self.began,
            ended: self.ended,
            attempt: self.attempt,
            sample: self.sample,
            epoch: self.epoch,
            usage: self.usage,
            note: self.note,
            redacted: self.redacted,
            version: self.version,
        }
    }
}

impl Exchange {
    /// The row as it is hashed and kept: canonical JSON (RFC 8785).
    pub fn record(&self) -> Vec<u8> {
        canonical(self)
    }

    /// Digest of the row, which the next row names.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.record())
    }
}
