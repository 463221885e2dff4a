use std::net::IpAddr;

use filiation_core::{Digest, ModelIdentity, canonical};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Capability, Dialect, TeacherError, Tier};

/// Who serves models, as far as it is the same for all of them.
#[derive(Debug)]
pub struct Provider {
    /// The word before the colon.
    pub name: &'static str,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Where, unless said otherwise.
    pub base_url: &'static str,
    /// Variable of the key; a local server needs none.
    pub key: Option<&'static str>,
    /// Most alternatives at a position, as declared.
    top: u32,
    tier: Tier,
}

const fn provider(
    name: &'static str,
    dialect: Dialect,
    base_url: &'static str,
    key: Option<&'static str>,
    tier: Tier,
    top: u32,
) -> Provider {
    Provider {
        name,
        dialect,
        base_url,
        key,
        top,
        tier,
    }
}

/// The providers by name. What they declare is a ceiling; what is so is found by testing.
pub const PROVIDERS: [Provider; 12] = {
    use Dialect as D;
    use Tier as T;
    const OPENAI: &str = "https://api.openai.com/v1";
    const OPENAI_KEY: Option<&str> = Some("OPENAI_API_KEY");
    [
        provider(
            "openai",
            D::OpenAiChat,
            OPENAI,
            OPENAI_KEY,
            T::TopOfOutput,
            20,
        ),
        provider(
            "openai-responses",
            D::OpenAiResponses,
            OPENAI,
            OPENAI_KEY,
            T::TopOfOutput,
            20,
        ),
        provider(
            "openai-completions",
            D::OpenAiCompletions,
            OPENAI,
            OPENAI_KEY,
            T::TeacherForced,
            5,
        ),
        provider(
            "anthropic",
            D::Anthropic,
            "https://api.anthropic.com/v1",
            Some("ANTHROPIC_API_KEY"),
            T::Samples,
            0,
        ),
        provider(
            "gemini",
            D::Gemini,
            "https://generativelanguage.googleapis.com/v1beta",
            Some("GEMINI_API_KEY"),
            T::TopOfOutput,
            20,
        ),
        provider(
            "mistral",
            D::Mistral,
            "https://api.mistral.ai/v1",
            Some("MISTRAL_API_KEY"),
            T::TopOfOutput,
            20,
        ),
        provider(
            "deepseek",
            D::DeepSeek,
            "https://api.deepseek.com",
            Some("DEEPSEEK_API_KEY"),
            T::TopOfOutput,
            20,
        ),
        provider(
            "together",
            D::OpenAiCompletions,
            "https://api.together.xyz/v1",
            Some("TOGETHER_API_KEY"),
            T::TeacherForced,
            20,
        ),
        provider(
            "vllm",
            D::Vllm,
            "http://127.0.0.1:8000/v1",
            None,
            T::TeacherForced,
            20,
        ),
        provider(
            "sglang",
            D::Sglang,
            "http://127.0.0.1:30000",
            None,
            T::TeacherForced,
            20,
        ),
        provider(
            "llamacpp",
            D::LlamaCpp,
            "http://127.0.0.1:8080",
            None,
            T::Full,
            1 << 20,
        ),
        provider(
            "ollama",
            D::Ollama,
            "http://127.0.0.1:11434",
            None,
            T::TopOfOutput,
            20,
        ),
    ]
};

/// A model at an address, in a dialect.
#[derive(Debug, Clone)]
pub struct Endpoint {
    provider: &'static Provider,
    model: String,
    base: Url,
    /// Variable of the key, where one is to be sent.
    key: Option<String>,
    /// What is added to every completion's body.
    extra: Map<String, Value>,
}

impl Endpoint {
    /// The endpoint that `PROVIDER:MODEL` names; `None` for a text of another shape, such as a path.
    pub fn is_named(text: &str) -> bool {
        provider_of(text).is_some()
    }

    /// The endpoint `PROVIDER:MODEL`, at the provider's own address or another.
    ///
    /// The provider's key goes to the provider's own address alone. Another address gets a key only
    /// from a variable that [`Self::key_from`] names.
    ///
    /// # Errors
    /// [`TeacherError::Endpoint`] for another shape or provider; [`TeacherError::BaseUrl`] for an
    /// address that is not `https` (plain `http` on this machine excepted), or that holds a user,
    /// a query or a fragment.
    pub fn new(text: &str, base_url: Option<&str>) -> Result<Self, TeacherError> {
        let Some((provider, model)) = provider_of(text) else {
            return Err(TeacherError::Endpoint {
                text: text.chars().take(200).collect(),
                expected: PROVIDERS.map(|p| format!("`{}`", p.name)).join(", "),
            });
        };
        let base = base(base_url.unwrap_or(provider.base_url), provider)?;
        let own = base_url.is_none() || base == self::base(provider.base_url, provider)?;
        Ok(Self {
            provider,
            model: model.to_owned(),
            base,
            key: provider.key.filter(|_| own).map(str::to_owned),
            extra: provider.dialect.extra(),
        })
    }

    /// The same, with its key from `variable`.
    pub fn key_from(self, variable: impl Into<String>) -> Self {
        Self {
            key: Some(variable.into()),
            ..self
        }
    }

    /// The same, with fields added to the body of every completion; they become part of what is
    /// asked.
    pub fn with_extra(mut self, extra: Map<String, Value>) -> Self {
        self.extra.extend(extra);
        self
    }

    /// The provider.
    pub const fn provider(&self) -> &'static Provider {
        self.provider
    }

    /// The dialect.
    pub const fn dialect(&self) -> Dialect {
        self.provider.dialect
    }

    /// The model, as it is asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The address, without a final slash.
    pub fn base_url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Variable of the key, where one is sent.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What is added to every completion's body.
    pub const fn extra(&self) -> &Map<String, Value> {
        &self.extra
    }

    /// Whether the address is the provider's own.
    pub fn is_own(&self) -> bool {
        base(self.provider.base_url, self.provider).is_ok_and(|own| own == self.base)
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// The address of a path below the base.
    pub(crate) fn url(&self, path: &str) -> String {
        let joined = format!("{}{path}", self.base_url());
        Url::parse(&joined).map_or(joined, String::from)
    }

    /// `PROVIDER:MODEL`, with the address where it is not the provider's own.
    pub fn shown(&self) -> String {
        let id = format!("{}:{}", self.provider.name, self.model);
        if self.is_own() {
            return id;
        }
        format!("{id} at {}", self.base_url())
    }

    /// What is declared of it.
    pub fn declared(&self) -> Capability {
        let form = self.dialect().form();
        Capability {
            tier: self.provider.tier,
            top: self.provider.top,
            text: form.text,
            chat: form.chat,
            chat_forced: form.chat_forced,
            sampling: form.sampling,
            seed: form.seed,
            least_tokens: form.least_tokens,
            context: None,
        }
    }

    /// What it is in a case: named by what is asked for, since nobody sees its weights.
    pub fn identity(&self) -> ModelIdentity {
        #[derive(Serialize)]
        struct Named<'a> {
            provider: &'a str,
            model: &'a str,
            base_url: &'a str,
            extra: &'a Map<String, Value>,
        }
        let named = Named {
            provider: self.provider.name,
            model: &self.model,
            base_url: self.base_url(),
            extra: &self.extra,
        };
        ModelIdentity {
            source: self.shown(),
            digest: Digest::of(&canonical::to_bytes(&named)),
            architecture: format!("endpoint ({})", self.provider.name),
            parameters: 0,
            tokenizer: None,
        }
    }
}

fn provider_of(text: &str) -> Option<(&'static Provider, &str)> {
    let (name, model) = text.split_once(':')?;
    let provider = PROVIDERS.iter().find(|p| p.name == name)?;
    let plain =
        !model.is_empty() && model.len() <= 300 && model.chars().all(|c| c.is_ascii_graphic());
    plain.then_some((provider, model))
}

fn base(text: &str, provider: &Provider) -> Result<Url, TeacherError> {
    let refuse = |reason: &str| TeacherError::BaseUrl {
        // A user or a query may hold a key.
        url: text
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .rsplit('@')
            .next()
            .unwrap_or_default()
            .into(),
        reason: reason.into(),
    };
    let mut url = Url::parse(text).map_err(|e| refuse(&e.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a user, expected a key in the environment"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it holds a query or a fragment, expected none"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(refuse("it is not `https`, and not on this machine")),
        _ => return Err(refuse("expected `https`")),
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&provider.dialect.base_path(&path));
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        for (text, named) in [
            ("openai:gpt-4o", true),
            ("llamacpp:smollm2", true),
            ("ollama:llama3:8b", true),
            ("vllm:org/model", true),
            ("models/t1", false),
            ("C:models", false),
            ("openai:", false),
            ("openai:a b", false),
            ("nobody:x", false),
        ] {
            assert_eq!(Endpoint::is_named(text), named, "{text}");
        }
    }

    #[test]
    fn a_key_goes_to_its_own_address_alone() {
        let own = Endpoint::new("openai:m", None).expect("an endpoint");
        assert_eq!(own.key(), Some("OPENAI_API_KEY"));
        let same =
            Endpoint::new("openai:m", Some("https://api.openai.com/v1/")).expect("an endpoint");
        assert_eq!(same.key(), Some("OPENAI_API_KEY"));
        assert_eq!(same.identity(), own.identity());
        let other = Endpoint::new("openai:m", Some("https://example.org/v1")).expect("an endpoint");
        assert_eq!(other.key(), None);
        assert_eq!(other.clone().key_from("MINE").key(), Some("MINE"));
        assert_ne!(other.identity().digest, own.identity().digest);
        assert_eq!(other.shown(), "openai:m at https://example.org/v1");
    }

    #[test]
    fn addresses_that_leak_or_lie_are_refused() {
        for (url, reason) in [
            ("http://example.org/v1", "not `https`"),
            ("https://user:secret@example.org", "a user"),
            ("https://example.org/?key=secret", "a query"),
            ("ftp://example.org", "expected `https`"),
            ("example.org", "base"),
            ("http://127.0.0.1.example.org", "not `https`"),
        ] {
            let text = Endpoint::new("openai:m", Some(url))
                .expect_err(url)
                .to_string();
            assert!(text.contains(reason), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        for url in [
            "http://127.0.0.1:1/v1",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert!(Endpoint::new("openai:m", Some(url)).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_address_without_a_path_gets_that_of_the_dialect() {
        let at = |id, url| {
            Endpoint::new(id, Some(url))
                .expect("an endpoint")
                .base_url()
                .to_owned()
        };
        assert_eq!(
            at("openai:m", "http://127.0.0.1:8"),
            "http://127.0.0.1:8/v1"
        );
        assert_eq!(
            at("openai:m", "http://127.0.0.1:8/api/"),
            "http://127.0.0.1:8/api"
        );
        assert_eq!(
            at("llamacpp:m", "http://127.0.0.1:8/v1/"),
            "http://127.0.0.1:8"
        );
        assert_eq!(at("ollama:m", "http://127.0.0.1:8"), "http://127.0.0.1:8");
    }
}
