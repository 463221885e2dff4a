//! What a teacher's texts must be before anything is measured of them.
//!
//! A teacher that gives empty texts says nothing. One that declines most of what it is asked says the
//! same thing to everyone, and whoever was tuned to decline would look like its student: what marks
//! one teacher there is read by `refusal-difference`, prompt by prompt.

use filiation_core::{
    Abstention, Answer, MethodId, Observations, Party, Probe, Reason, Request, RequestId, Role,
    Statistic, Stream, Want,
};

use crate::behaviour::refusal_difference::declines;

/// A probe that is not measured where most texts of a teacher are empty or decline.
pub(crate) struct Guarded {
    probe: Box<dyn Probe>,
    texts: Vec<RequestId>,
}

impl Guarded {
    pub(crate) fn new(probe: Box<dyn Probe>) -> Self {
        let text =
            |r: &&Request| r.to.contains(&Role::Teacher) && matches!(r.want, Want::Generate { .. });
        let texts = probe.plan().iter().filter(text).map(|r| r.id.clone());
        let texts = texts.collect();
        Self { probe, texts }
    }

    fn check(&self, seen: &Observations<'_>, teacher: &Party) -> Result<(), Abstention> {
        let said = self
            .texts
            .iter()
            .filter_map(|id| match seen.answer(teacher, id) {
                Some(Answer::Completion(said)) => Some(said.text.trim()),
                _ => None,
            });
        let said: Vec<&str> = said.collect();
        let most = |count: usize| 2 * count > said.len();
        let empty = said.iter().filter(|text| text.is_empty()).count();
        let name = &teacher.name;
        let all = said.len();
        if most(empty) {
            let detail = format!("{empty} of {all} texts of `{name}` are empty");
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
        let declined = said.iter().filter(|text| declines(text)).count();
        if most(declined) {
            let detail = format!(
                "`{name}` declines in {declined} of {all} texts, and whoever learned to decline \
                 would look like its student; prompts are needed that it answers"
            );
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        Ok(())
    }
}

impl Probe for Guarded {
    fn id(&self) -> &MethodId {
        self.probe.id()
    }

    fn plan(&self) -> &[Request] {
        self.probe.plan()
    }

    fn stream(&self) -> Option<&dyn Stream> {
        self.probe.stream()
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        seen.teachers().try_for_each(|t| self.check(seen, t))?;
        self.probe.measure(seen)
    }
}

#[cfg(test)]
mod tests {
    use filiation_core::{Completion, Finish};

    use super::*;
    use crate::contrast::scripted::Script;
    use crate::{ProbeOptions, Suite, standard};

    const GUARDED: [&str; 6] = [
        "directional-displacement",
        "tlu-did",
        "reversed-typicality",
        "reasoning-origin",
        "style-displacement",
        "divergence-agreement",
    ];

    fn suite() -> Suite {
        let line = |i| {
            format!(
                r#"{{"id":"ask-{i}","text":"Question {i}?","domain":"reasoning","language":"en","licence":"Apache-2.0"}}"#
            )
        };
        let lines: Vec<String> = (0..40).map(line).collect();
        Suite::parse("written", lines.join("\n").as_bytes()).expect("good lines")
    }

    fn told(name: &str, strange: fn(usize) -> &'static str) -> String {
        let probes = standard(&[name.into()], &[suite()], &ProbeOptions::default());
        let probes = probes.expect("a probe");
        let text = |text: &str| {
            Some(Answer::Completion(Completion {
                text: text.to_owned(),
                tokens: Vec::new(),
                finish: Finish::Stop,
            }))
        };
        let plain = |_: usize, request: &Request| match request.want {
            Want::Generate { .. } => text("So it is, and so it was before."),
            _ => None,
        };
        let odd = |i: usize, request: &Request| match request.want {
            Want::Generate { .. } => text(strange(i)),
            _ => None,
        };
        let script = Script::new(probes[0].as_ref())
            .with("suspect", Role::Suspect, plain)
            .with("base", Role::Base, plain)
            .with("t1", Role::Teacher, plain)
            .with("t2", Role::Teacher, odd);
        script.measure().expect_err("nothing to say").to_string()
    }

    #[test]
    fn empty_texts_and_refusals_are_told_for_what_they_are() {
        for name in GUARDED {
            let said = told(name, |_| " \n");
            assert!(said.contains("texts of `t2` are empty"), "{name}: {said}");
            let said = told(name, |_| "I'm sorry, but I can't help with that.");
            assert!(said.contains("`t2` declines in"), "{name}: {said}");
            assert!(said.contains("prompts are needed"), "{name}: {said}");
            // A few of either are no reason by themselves.
            let said = told(name, |i| if i % 10 == 0 { "" } else { "It was." });
            assert!(!said.contains("are empty"), "{name}: {said}");
        }
    }
}
