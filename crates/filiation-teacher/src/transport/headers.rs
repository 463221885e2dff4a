//! Which headers of a response are kept, and what they say about waiting.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

use crate::Secret;

/// Names that say something of the exchange. All others, cookies and account names among them, are
/// dropped before anything is kept.
const KEPT: [&str; 13] = [
    "cf-ray",
    "content-length",
    "content-type",
    "date",
    "location",
    "openai-processing-ms",
    "openai-version",
    "request-id",
    "retry-after",
    "server",
    "via",
    "x-request-id",
    "x-vllm-version",
];
const LONGEST: usize = 500;

pub(super) fn kept(headers: &HeaderMap, secret: Option<&Secret>) -> BTreeMap<String, String> {
    let is_kept = |name: &str| KEPT.contains(&name) || name.starts_with("x-ratelimit-");
    headers
        .iter()
        .filter(|(name, _)| is_kept(name.as_str()))
        .filter_map(|(name, value)| {
            let text = value.to_str().ok()?;
            let text = secret.map_or_else(|| text.to_owned(), |s| s.redact_text(text));
            // A redirect may carry a token in its query.
            let text = match name.as_str() {
                "location" => text.split(['?', '#']).next().unwrap_or_default().to_owned(),
                _ => text,
            };
            Some((
                name.as_str().to_owned(),
                text.chars().take(LONGEST).collect(),
            ))
        })
        .collect()
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(headers: &BTreeMap<String, String>, now: SystemTime) -> Option<Duration> {
    let text = headers.get("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let bounded = seconds.clamp(0.0, 1e6);
        return seconds
            .is_finite()
            .then(|| Duration::from_secs_f64(bounded));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_told_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        let after = |text: &str| {
            let headers = [("retry-after".to_owned(), text.to_owned())].into();
            retry_after(&headers, now)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(
            after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            after("Sun, 06 Nov 1994 08:00:00 GMT"),
            Some(Duration::ZERO),
            "past"
        );
        assert_eq!(after("-3"), Some(Duration::ZERO));
        for odd in ["", "soon", "NaN", "inf"] {
            assert_eq!(after(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_names_an_account_or_holds_a_key_is_dropped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-request-id", "req_1 sk-canary-0123"),
            ("set-cookie", "session=sk-canary-0123"),
            ("openai-organization", "acme"),
            ("authorization", "Bearer sk-canary-0123"),
            ("location", "https://example.org/a?key=sk-canary-0123"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let secret = Secret::new("KEY", "sk-canary-0123").expect("a key");
        let kept = kept(&headers, Some(&secret));
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        assert_eq!(names, ["location", "x-request-id"]);
        assert_eq!(kept["location"], "https://example.org/a");
        assert_eq!(kept["x-request-id"], "req_1 [redacted]");
    }
}
