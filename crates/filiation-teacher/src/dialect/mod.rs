//! How calls are written and replies read, one file a family. Pure: bytes in, bytes out.

mod anthropic;
mod chat;
mod completions;
mod gemini;
mod llama_cpp;
mod ollama;
mod parse;
mod responses;
mod sglang;

use serde_json::{Map, Value};

use crate::call::{Call, Complete, Input, Reply};
use crate::key::canonical;
use crate::{Endpoint, Failure, TeacherError};

pub(crate) use parse::message;

/// How an endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// OpenAI Chat Completions, and all that copy it.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// OpenAI Completions with `echo`, as Together, vLLM and llama-cpp-python speak it.
    OpenAiCompletions,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini `generateContent`.
    Gemini,
    /// Mistral chat completions.
    Mistral,
    /// DeepSeek chat completions.
    DeepSeek,
    /// vLLM: chat and completions with `prompt_logprobs`.
    Vllm,
    /// SGLang: chat, and `/generate` for text and scores.
    Sglang,
    /// llama.cpp's server: chat, and `/completion` for text, tokens and scores.
    LlamaCpp,
    /// Ollama's own API.
    Ollama,
}

/// What a dialect can say at all.
pub(crate) struct Form {
    pub(crate) text: bool,
    pub(crate) chat: bool,
    pub(crate) chat_forced: bool,
    pub(crate) sampling: bool,
    pub(crate) seed: bool,
    pub(crate) least_tokens: u32,
}

/// A request as it will be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Canonical JSON (RFC 8785); empty where there is no body.
    pub(crate) body: Vec<u8>,
}

impl Dialect {
    /// The word used in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::OpenAiCompletions => "openai-completions",
            Self::Anthropic => "anthropic-messages",
            Self::Gemini => "gemini-generate-content",
            Self::Mistral => "mistral-chat",
            Self::DeepSeek => "deepseek-chat",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::LlamaCpp => "llama-cpp",
            Self::Ollama => "ollama",
        }
    }

    pub(crate) const fn form(self) -> Form {
        let chat_only = Form {
            text: false,
            chat: true,
            chat_forced: false,
            sampling: true,
            seed: true,
            least_tokens: 1,
        };
        match self {
            Self::OpenAiChat | Self::Gemini | Self::Mistral => chat_only,
            Self::OpenAiResponses => Form {
                seed: false,
                least_tokens: 16,
                ..chat_only
            },
            Self::OpenAiCompletions => Form {
                text: true,
                chat: false,
                ..chat_only
            },
            // Newer models refuse every parameter of sampling.
            Self::Anthropic => Form {
                sampling: false,
                seed: false,
                ..chat_only
            },
            Self::DeepSeek => Form {
                seed: false,
                ..chat_only
            },
            Self::Vllm | Self::LlamaCpp => Form {
                text: true,
                chat_forced: true,
                ..chat_only
            },
            Self::Sglang | Self::Ollama => Form {
                text: true,
                ..chat_only
            },
        }
    }

    /// What is added to every completion's body unless said otherwise.
    pub(crate) fn extra(self) -> Map<String, Value> {
        let mut extra = Map::new();
        if self == Self::DeepSeek {
            // Thinking is on by default, and then temperature has no effect and log-probabilities
            // are not those of the text.
            extra.insert("thinking".into(), serde_json::json!({ "type": "disabled" }));
        }
        extra
    }

    /// The path of a base address: that of the OpenAI dialects ends in a version, those of native
    /// ones do not.
    pub(crate) fn base_path(self, path: &str) -> String {
        match self {
            Self::OpenAiChat
            | Self::OpenAiResponses
            | Self::OpenAiCompletions
            | Self::Anthropic
            | Self::Mistral
            | Self::Vllm
                if path.is_empty() =>
            {
                "/v1".into()
            }
            Self::Gemini if path.is_empty() => "/v1beta".into(),
            Self::LlamaCpp | Self::Sglang | Self::Ollama => {
                path.strip_suffix("/v1").unwrap_or(path).into()
            }
            _ => path.into(),
        }
    }

    /// Headers that go with the key.
    pub(crate) const fn key_header(self) -> (&'static str, &'static str) {
        match self {
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
            _ => ("authorization", "Bearer "),
        }
    }

    /// Headers that go with every request.
    pub(crate) const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Anthropic => &[("anthropic-version", "2023-06-01")],
            _ => &[],
        }
    }

    /// Writes a call.
    ///
    /// # Errors
    /// [`TeacherError::Unsupported`] for what the dialect cannot say.
    pub(crate) fn encode(self, endpoint: &Endpoint, call: &Call) -> Result<Encoded, TeacherError> {
        let unsupported = |what: &str| TeacherError::Unsupported {
            provider: endpoint.provider().name,
            what: what.into(),
        };
        let (path, body) = match call {
            Call::Complete(complete) => {
                let (path, mut body) = self.complete(endpoint, complete).map_err(unsupported)?;
                for (key, value) in endpoint.extra() {
                    body.insert(key.clone(), value.clone());
                }
                (path, body)
            }
            Call::Tokenize {
                text,
                begin,
                special,
            } => match self {
                Self::LlamaCpp => llama_cpp::tokenize(text, *begin, *special),
                Self::Vllm => chat::vllm_tokenize(endpoint, text, *begin),
                _ => return Err(unsupported("the tokens of a text")),
            },
            Call::Render(messages) => match self {
                Self::LlamaCpp => llama_cpp::render(messages),
                _ => return Err(unsupported("the text of a conversation")),
            },
            Call::Models => {
                let path = match self {
                    Self::LlamaCpp | Self::Sglang => "/v1/models",
                    Self::Ollama => "/api/tags",
                    _ => "/models",
                };
                return Ok(Encoded {
                    method: "GET",
                    path: path.into(),
                    body: Vec::new(),
                });
            }
        };
        Ok(Encoded {
            method: "POST",
            path,
            body: canonical(&Value::Object(body)),
        })
    }

    fn complete(
        self,
        endpoint: &Endpoint,
        c: &Complete,
    ) -> Result<(String, Map<String, Value>), &'static str> {
        let local = matches!(self, Self::LlamaCpp | Self::Vllm | Self::Sglang);
        if c.draw.is_some() && self != Self::LlamaCpp {
            return Err("drawing a given token");
        }
        if c.continues && self != Self::Vllm {
            return Err("going on with an assistant's turn");
        }
        match (&c.input, self) {
            (Input::Tokens(_), _) if !local && self != Self::OpenAiCompletions => {
                Err("a prompt of tokens")
            }
            (Input::Chat(_), Self::OpenAiCompletions) => Err("a conversation"),
            (Input::Chat(messages), _) => match self {
                Self::OpenAiResponses => responses::encode(endpoint, messages, c),
                Self::Anthropic => anthropic::encode(endpoint, messages, c),
                Self::Gemini => gemini::encode(endpoint, messages, c),
                Self::Ollama => ollama::chat(endpoint, messages, c),
                _ => chat::encode(self, endpoint, messages, c),
            },
            (_, Self::OpenAiCompletions | Self::Vllm) => completions::encode(self, endpoint, c),
            (_, Self::Sglang) => sglang::encode(c),
            (_, Self::LlamaCpp) => llama_cpp::encode(c),
            (Input::Text(text), Self::Ollama) => ollama::text(endpoint, text, c),
            _ => Err("plain text"),
        }
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// [`Failure::Malformed`] for what is not the dialect's JSON, [`Failure::NotFinite`] for numbers
    /// that cannot be.
    pub(crate) fn decode(self, call: &Call, body: &[u8]) -> Result<Reply, Failure> {
        let value = parse::json(body)?;
        let reply = match call {
            Call::Complete(c) => {
                let completed = match (&c.input, self) {
                    (Input::Chat(_), Self::OpenAiResponses) => responses::decode(&value),
                    (Input::Chat(_), Self::Anthropic) => anthropic::decode(&value),
                    (Input::Chat(_), Self::Gemini) => gemini::decode(&value),
                    (_, Self::Ollama) => ollama::decode(&value),
                    (Input::Chat(_), _) => chat::decode(&value, c),
                    (_, Self::OpenAiCompletions | Self::Vllm) => completions::decode(&value, c),
                    (_, Self::Sglang) => sglang::decode(&value),
                    (_, _) => llama_cpp::decode(&value),
                }?;
                parse::check(&completed)?;
                Reply::Completed(completed)
            }
            Call::Tokenize { .. } if self == Self::Vllm => chat::vllm_pieces(&value)?,
            Call::Tokenize { .. } => llama_cpp::pieces(&value)?,
            Call::Render(_) => llama_cpp::rendered(&value)?,
            Call::Models => parse::models(&value)?,
        };
        Ok(reply)
    }
}

#[cfg(test)]
mod tests;
