//! What changed since an earlier examination.

use super::{Check, Examination, Verdict};
use crate::Fault;

impl Examination {
    /// Holds this examination against an earlier one of the same endpoint: who answers, by what system, with
    /// what tokenizer. Differences are faults that take no tier away, since an alias may move with
    /// notice; answers of two models are kept apart all the same.
    pub fn since(&mut self, before: &Self) {
        let listed = |all: &[String]| {
            let all: Vec<_> = all.iter().map(|name| format!("`{name}`")).collect();
            all.join(", ")
        };
        let named = [
            ("model-changed", &before.models, &self.models),
            (
                "fingerprint-changed",
                &before.fingerprints,
                &self.fingerprints,
            ),
        ];
        let mut found = Vec::new();
        for (name, then, now) in named {
            if !then.is_empty() && !now.is_empty() && then != now {
                found.push((name, format!("{} then, {} now", listed(then), listed(now))));
            }
        }
        match (before.tokenizer, self.tokenizer) {
            (Some(then), Some(now)) if then != now => {
                let detail = format!("tokens of a fixed text were {then} then, {now} now");
                found.push(("tokenizer-changed", detail));
            }
            _ => {}
        }
        let since = &before.finding.day;
        if found.is_empty() {
            self.checks.push(Check {
                name: "drift".into(),
                verdict: Verdict::Sound,
                detail: format!("nothing that names it changed since {since}"),
            });
        }
        for (name, detail) in found {
            let detail = format!("since {since}: {detail}");
            self.checks.push(Check {
                name: "drift".into(),
                verdict: Verdict::Faulty,
                detail: format!("{name}: {detail}"),
            });
            self.finding.faults.push(Fault {
                name: name.into(),
                detail,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use filiation_core::Digest;

    use super::*;
    use crate::{Endpoint, Finding, Tier};

    fn examination(model: &str, fingerprint: Option<&str>, tokens: &[u8]) -> Examination {
        let declared = Endpoint::new("llamacpp:m", None)
            .expect("an endpoint")
            .declared();
        Examination {
            endpoint: "llamacpp:m".into(),
            declared,
            finding: Finding {
                tier: Tier::Full,
                top: None,
                faults: Vec::new(),
                day: "2026-02-03".into(),
                responses: Vec::new(),
            },
            checks: Vec::new(),
            models: vec![model.into()],
            fingerprints: fingerprint.map(str::to_owned).into_iter().collect(),
            tokenizer: Some(Digest::of(tokens)),
            questions: 1,
            epoch: String::new(),
        }
    }

    #[test]
    fn each_thing_that_changed_is_named_and_no_tier_is_taken() {
        let before = examination("m-1", Some("fp_1"), b"1 2 3");
        let since = |mut now: Examination| {
            now.since(&before);
            let names = now.finding.faults.iter().map(|f| f.name.clone());
            assert_eq!(now.finding.tier, Tier::Full);
            (names.collect::<Vec<_>>(), now.checks[0].verdict)
        };
        let (none, verdict) = since(before.clone());
        assert_eq!((none, verdict), (Vec::new(), Verdict::Sound));
        let (all, verdict) = since(examination("m-2", Some("fp_2"), b"1 23"));
        assert_eq!(
            all,
            ["model-changed", "fingerprint-changed", "tokenizer-changed"]
        );
        assert_eq!(verdict, Verdict::Faulty);
        // What an endpoint says no more is not a change that was seen.
        let (silent, _) = since(examination("m-1", None, b"1 2 3"));
        assert_eq!(silent, Vec::<String>::new());
    }
}
