//! Closed questions, and what every party picked.

use filiation_core::{
    Abstention, Answer, Observations, Party, Reason, Request, RequestId, Role, Want,
};

use crate::contrast::{Common, Given, Seats, fewest, given};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

/// Probabilities of the options may sum to more than 1 by rounding, not by more than this.
const SLACK: f64 = 1e-3;

/// What is asked, with the keys.
#[derive(Debug)]
pub(super) struct Questions {
    pub(super) plan: Vec<Request>,
    pub(super) suites: String,
    /// By question: the place of the right option, and the number of options.
    keys: Vec<(usize, usize)>,
}

impl Questions {
    /// All closed questions of `suites`, put to everyone.
    pub(super) fn new(
        probe: &'static str,
        suites: &[Suite],
        options: &ProbeOptions,
    ) -> Result<Self, ProbeError> {
        let chosen = suite::require(
            suites,
            probe,
            "closed question (an item with a `key`)",
            Item::is_question,
        )?;
        let mut plan = Vec::new();
        let mut keys = Vec::new();
        for item in &chosen.items {
            let all = item.options.iter().flatten();
            let Some(key) = all.clone().position(|o| Some(o) == item.key.as_ref()) else {
                continue;
            };
            keys.push((key, all.clone().count()));
            plan.push(Request {
                id: RequestId::new(format!("{probe}/{}", item.id)),
                to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
                want: Want::Choice {
                    prompt: options.prompt(item),
                    options: all.cloned().collect(),
                },
            });
        }
        Ok(Self {
            plan,
            suites: chosen.suites,
            keys,
        })
    }
}

/// What one party picked at a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pick {
    /// The likeliest option; of equals the first.
    pub(super) option: usize,
    /// Its share of what lies on the options.
    pub(super) share: f64,
}

/// A party's picks.
pub(super) struct Sheet {
    pub(super) party: String,
    pub(super) picks: Vec<Pick>,
}

/// The picks of everyone at the questions that all answered.
pub(super) struct Sheets {
    pub(super) suspect: Sheet,
    pub(super) base: Sheet,
    pub(super) teachers: Vec<Sheet>,
    pub(super) controls: Vec<Sheet>,
    /// By question: the place of the right option, and the number of options.
    pub(super) keys: Vec<(usize, usize)>,
    pub(super) left_out: usize,
}

impl Sheets {
    /// Reads all answers; fewer than `least` common questions are an abstention that names the
    /// party with the fewest.
    pub(super) fn read(
        questions: &Questions,
        seen: &Observations<'_>,
        seats: &Seats<'_>,
        least: usize,
    ) -> Result<Self, Abstention> {
        let answers = |party: &Party| -> Vec<Option<Pick>> {
            let asked = questions.plan.iter().zip(&questions.keys);
            asked
                .map(|(r, (_, n))| pick(seen, party, &r.id, *n))
                .collect()
        };
        let parties = seats.core();
        let core: Vec<_> = parties.iter().map(|p| answers(p)).collect();
        let controls: Vec<_> = seats.controls.iter().map(|p| answers(p)).collect();
        let of_core: Vec<Given> = core.iter().map(|a| given(a)).collect();
        let of_controls: Vec<Given> = controls.iter().map(|a| given(a)).collect();
        let common = Common::of(&of_core, &of_controls);
        let used = &common.units;
        if used.len() < least {
            let fewest = fewest(parties.iter().copied(), &of_core);
            return Err(too_few(questions.plan.len(), used.len(), least, fewest));
        }
        let sheet = |party: &Party, answers: &[Option<Pick>]| Sheet {
            party: party.name.clone(),
            picks: used.iter().filter_map(|&i| answers[i]).collect(),
        };
        let teachers = seats.teachers.iter().zip(&core[2..]);
        let kept = common.controls.iter();
        Ok(Self {
            suspect: sheet(seats.suspect, &core[0]),
            base: sheet(seats.base, &core[1]),
            teachers: teachers.map(|(p, a)| sheet(p, a)).collect(),
            controls: kept
                .map(|&c| sheet(seats.controls[c], &controls[c]))
                .collect(),
            keys: used.iter().map(|&i| questions.keys[i]).collect(),
            left_out: common.left_out,
        })
    }

    /// Whether `sheet` has question `i` right.
    pub(super) fn right(&self, sheet: &Sheet, i: usize) -> bool {
        sheet.picks[i].option == self.keys[i].0
    }
}

fn too_few(planned: usize, used: usize, least: usize, (name, got): (&str, usize)) -> Abstention {
    let reason = if got == 0 {
        Reason::NotSupported
    } else {
        Reason::TooFewAnswers
    };
    let detail = format!(
        "{used} of {planned} questions have answers of all parties (`{name}` gave {got}), at least \
         {least} are needed"
    );
    Abstention::new(reason, detail)
}

/// `None` for no answer, or an impossible one.
fn pick(seen: &Observations<'_>, party: &Party, id: &RequestId, options: usize) -> Option<Pick> {
    let Answer::Choice(choice) = seen.answer(party, id)? else {
        return None;
    };
    let p: Vec<f64> = choice.logprobs.iter().map(|l| l.exp()).collect();
    let sum: f64 = p.iter().sum();
    if p.len() != options || !sum.is_finite() || sum > 1.0 + SLACK {
        return None;
    }
    let best = |best: usize, i: usize| {
        if choice.logprobs[i] > choice.logprobs[best] {
            i
        } else {
            best
        }
    };
    let option = (0..options).fold(0, best);
    // Where all options are too unlikely for a probability, logs still tell them apart.
    let most = choice.logprobs[option];
    let all: f64 = choice.logprobs.iter().map(|l| (l - most).exp()).sum();
    all.is_finite().then(|| Pick {
        option,
        share: 1.0 / all,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use filiation_core::ChoiceAnswer;

    use super::*;

    /// A suite of `n` questions of four options, of which the first is right.
    pub(in crate::knowledge) fn suite_of_questions(n: usize) -> Suite {
        let line = |i: usize| {
            format!(
                r#"{{"id":"q-{i}","text":"x","domain":"question","options":["a","b","c","d"],"key":"a","language":"en","licence":"Apache-2.0"}}"#
            )
        };
        let lines: Vec<String> = (0..n).map(line).collect();
        Suite::parse("questions", lines.join("\n").as_bytes()).expect("good lines")
    }

    /// The answer of one that is sure of `option`.
    pub(in crate::knowledge) fn certain(option: usize, options: usize) -> Answer {
        let of = |i: usize| if i == option { -0.1 } else { -4.0 };
        Answer::Choice(ChoiceAnswer {
            logprobs: (0..options).map(of).collect(),
        })
    }
}
