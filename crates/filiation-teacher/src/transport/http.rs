//! One request, one response or the reason why there is none.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect};

use super::headers::kept;
use crate::dialect::Encoded;
use crate::{Endpoint, Failure, Key, Options, Secret, TeacherError};

/// Sends requests of one endpoint.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    secret: Option<Secret>,
    /// Header of the key, and what precedes it.
    key: (&'static str, &'static str),
    fixed: &'static [(&'static str, &'static str)],
    idle: Duration,
    whole: Duration,
    largest: u64,
}

/// What came of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) status: Option<u16>,
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as far as it came, with the key taken out.
    pub(crate) body: Vec<u8>,
    pub(crate) redacted: bool,
    pub(crate) failure: Option<Failure>,
}

impl Attempt {
    fn failed(failure: Failure) -> Self {
        Self {
            status: None,
            headers: BTreeMap::new(),
            body: Vec::new(),
            redacted: false,
            failure: Some(failure),
        }
    }
}

impl Http {
    pub(crate) fn new(
        endpoint: &Endpoint,
        secret: Option<Secret>,
        options: &Options,
    ) -> Result<Self, TeacherError> {
        // Another part of the process may have chosen already; either does.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = Client::builder()
            // What a redirect leads to was not agreed to, and the key must not follow it.
            .redirect(redirect::Policy::none())
            .connect_timeout(options.connect)
            .read_timeout(options.idle)
            .pool_max_idle_per_host(options.concurrency)
            .tcp_nodelay(true)
            .user_agent(concat!("filiation/", env!("CARGO_PKG_VERSION")));
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|e| TeacherError::Start { reason: chain(&e) })?;
        let dialect = endpoint.dialect();
        Ok(Self {
            client,
            secret,
            key: dialect.key_header(),
            fixed: dialect.headers(),
            idle: options.idle,
            whole: options.whole,
            largest: options.largest,
        })
    }

    pub(crate) const fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    pub(crate) async fn send(&self, url: &str, request: &Encoded, key: &Key) -> Attempt {
        let hung = || {
            Attempt::failed(Failure::Hung {
                seconds: self.whole.as_secs(),
            })
        };
        tokio::time::timeout(self.whole, self.exchange(url, request, key))
            .await
            .unwrap_or_else(|_| hung())
    }

    async fn exchange(&self, url: &str, request: &Encoded, key: &Key) -> Attempt {
        let method = if request.method == "GET" {
            Method::GET
        } else {
            Method::POST
        };
        let mut builder = self
            .client
            .request(method, url)
            .header(ACCEPT, "application/json")
            // What is kept is what was on the wire.
            .header(ACCEPT_ENCODING, "identity");
        if !request.body.is_empty() {
            builder = builder
                .header(CONTENT_TYPE, "application/json")
                // The same question again, in this process or the next, is the same to an endpoint
                // that looks at it.
                .header("idempotency-key", key.to_string())
                .body(request.body.clone());
        }
        for (name, value) in self.fixed {
            builder = builder.header(*name, *value);
        }
        if let Some(secret) = &self.secret {
            let (name, prefix) = self.key;
            let value = HeaderValue::from_str(&format!("{prefix}{}", secret.expose()));
            let Ok(mut value) = value else {
                return Attempt::failed(Failure::Connect {
                    reason: "the key cannot stand in a header".into(),
                });
            };
            value.set_sensitive(true);
            builder = builder.header(HeaderName::from_static(name), value);
        }
        match builder.send().await {
            Ok(response) => self.receive(response).await,
            Err(error) => Attempt::failed(self.failure(&error, 0)),
        }
    }

    async fn receive(&self, mut response: reqwest::Response) -> Attempt {
        let status = response.status().as_u16();
        let headers = kept(response.headers(), self.secret.as_ref());
        let mut body = Vec::new();
        let mut failure = None;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() as u64 + chunk.len() as u64 > self.largest => {
                    failure = Some(Failure::TooLarge {
                        limit: self.largest,
                    });
                    break;
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => {
                    failure = Some(self.failure(&error, body.len() as u64));
                    break;
                }
            }
        }
        let (body, redacted) = match &self.secret {
            Some(secret) => secret.redact(&body),
            None => (body, false),
        };
        let failure = failure.or_else(|| content(status, &headers, &body));
        Attempt {
            status: Some(status),
            headers,
            body,
            redacted,
            failure,
        }
    }

    fn failure(&self, error: &reqwest::Error, found: u64) -> Failure {
        let reason = chain(error);
        let reason = match &self.secret {
            Some(secret) => secret.redact_text(&reason),
            None => reason,
        };
        if error.is_timeout() {
            return Failure::Hung {
                seconds: self.idle.as_secs(),
            };
        }
        if error.is_connect() {
            return Failure::Connect { reason };
        }
        Failure::Cut { found, reason }
    }
}

// A successful status with a body that is not JSON by its own word, or by its first byte.
fn content(status: u16, headers: &BTreeMap<String, String>, body: &[u8]) -> Option<Failure> {
    if status != 200 {
        return None;
    }
    let first = body.iter().find(|b| !b.is_ascii_whitespace());
    if first == Some(&b'<') {
        return Some(Failure::Html);
    }
    let kind = headers.get("content-type").map_or("", String::as_str);
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return None;
    }
    Some(match essence.as_str() {
        "text/html" => Failure::Html,
        "" => Failure::ContentType {
            found: "nothing".into(),
        },
        _ => Failure::ContentType { found: essence },
    })
}

// The error and its causes; without the address, which stands elsewhere.
fn chain(error: &reqwest::Error) -> String {
    let mut text = Vec::new();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push(error.to_string());
        cause = error.source();
    }
    if text.is_empty() {
        return "the connection failed".into();
    }
    text.dedup();
    text.join(": ")
}
