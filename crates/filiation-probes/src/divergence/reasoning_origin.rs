//! `reasoning-origin`: steps of the suspect's own answers that came from a teacher.
//!
//! The suspect's answer to a prompt is cut into steps (sentences and lines). A step is *new* where
//! ln p_S − ln p_B of the whole step is at least ln 20: a text drawn from B reaches that with
//! probability at most 1/20 (Markov's inequality, as the ratio has mean 1 under B). It is
//! *teacher-like* for k where ln p_Tk − ln p_B is too. The value of k for a prompt is the share of
//! steps that are both. Where a candidate does not score texts, byte models of each candidate's and
//! the base's own answers stand in for all of them.
//!
//! **Null hypothesis**: S learned from none of the candidates, and the steps that it has and its base
//! has not are not more like one candidate than like another.

use filiation_core::{
    Abstention, Answer, MethodId, Observations, Party, Probe, Reason, Request, RequestId, Role,
    ScoredText, Statistic, Want, Whose,
};
use filiation_stats::Bootstrap;

use crate::contrast::{Measured, Row, Seats, Table};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod steps;
mod surrogate;

use surrogate::ByteModel;

/// Prompts that are asked, spread over the suites.
const MOST_PROMPTS: usize = 120;
/// A step counts where one model makes it so many times likelier than the base.
const ODDS: f64 = 20.0;
/// Shares differ by at most one: nothing is clipped.
const CLIP: f64 = 1.0;
const LEAST_PROMPTS: usize = 20;

/// The probe.
#[derive(Debug)]
pub struct ReasoningOrigin {
    id: MethodId,
    plan: Vec<Request>,
    prompts: Vec<Asked>,
    bootstrap: Bootstrap,
}

/// Request ids of one prompt.
#[derive(Debug)]
struct Asked {
    text: RequestId,
    own: RequestId,
    score: RequestId,
}

impl ReasoningOrigin {
    /// Plans the probe over some open items of `suites`, those about reasoning alone where there
    /// are enough.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let of_reasoning = suite::select(suites, |i: &Item| i.domain == "reasoning");
        let chosen = if of_reasoning.items.len() >= LEAST_PROMPTS {
            of_reasoning
        } else {
            suite::require(suites, "reasoning-origin", "open prompt", Item::is_open)?
        };
        let mut plan = Vec::new();
        let items = suite::spread(&chosen.items, MOST_PROMPTS);
        let prompts = items.iter().map(|i| ask(i, options, &mut plan)).collect();
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            prompts,
            bootstrap: options.bootstrap(),
        })
    }
}

fn ask(item: &Item, options: &ProbeOptions, plan: &mut Vec<Request>) -> Asked {
    let mut put = |what: &str, to: Vec<Role>, want| {
        let id = RequestId::new(format!("reasoning-origin/{}/{what}", item.id));
        plan.push(Request {
            id: id.clone(),
            to,
            want,
        });
        id
    };
    // Texts of base and teachers are what a byte model learns from; tlu-did asks teachers the same.
    let generate = options.text_of(item, 0);
    let text = put(
        "text",
        vec![Role::Suspect, Role::Base, Role::Teacher],
        generate,
    );
    let about = |whose| Want::ScoreAnswers {
        of: text.clone(),
        whose,
    };
    let own = put("own", vec![Role::Suspect], about(Whose::Own));
    let others = vec![Role::Base, Role::Teacher];
    let score = put("score", others, about(Whose::Suspect));
    Asked { text, own, score }
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    options.method_of_texts(
        "reasoning-origin",
        1,
        suites,
        &[
            ("least_step", &steps::LEAST_BYTES),
            ("max_tokens", &options.max_tokens),
            ("odds", &ODDS),
            ("order", &surrogate::ORDER),
            ("prompts", &MOST_PROMPTS),
        ],
    )
}

impl Probe for ReasoningOrigin {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "a step is new beside a base")?;
        let reader = Reader::of(self, seen, &seats)?;
        let prompts: Vec<Origins> = self.prompts.iter().filter_map(|p| reader.read(p)).collect();
        let table = Table {
            teachers: seats.candidates(),
            suspect: Row {
                model: seats.suspect.name.clone(),
                values: prompts.iter().map(|p| p.shares.clone()).collect(),
            },
            controls: Vec::new(),
            left_out: self.prompts.len() - prompts.len(),
        };
        let new: f64 = prompts.iter().map(|p| p.new).sum();
        if table.suspect.values.len() >= LEAST_PROMPTS && new == 0.0 {
            let detail = format!(
                "no step of {} answers is {ODDS} times likelier to the suspect than to its base: \
                 nothing that could have come from a teacher",
                prompts.len()
            );
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        let like_any = table
            .suspect
            .values
            .iter()
            .flatten()
            .any(|share| *share > 0.0);
        if table.suspect.values.len() >= LEAST_PROMPTS && !like_any {
            let detail = format!(
                "{new} steps of {} answers are new beside the base, and none of them is {ODDS} \
                 times likelier to a candidate than to the base: nothing to tell candidates by",
                prompts.len()
            );
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        table.require(LEAST_PROMPTS, "prompt")?;
        let mut statistic = table.statistic(&Measured {
            method: &self.id,
            unit: "share of steps",
            counted: "prompt",
            what: "teacher-like",
            clip: CLIP,
            bootstrap: self.bootstrap,
        })?;
        let steps: f64 = prompts.iter().map(|p| p.steps).sum();
        let own = f64::from(u8::from(reader.models.is_none()));
        let more = [
            ("steps", steps),
            ("steps-new", new),
            ("by-teachers-own-scores", own),
        ];
        let more = more.map(|(name, value)| (name.to_owned(), value));
        statistic.details.extend(more);
        if reader.models.is_some() {
            let said = "; not every candidate scores texts, so byte models of their answers stood \
                        in for all";
            statistic.finding = statistic.finding.map(|finding| finding + said);
        }
        Ok(statistic)
    }
}

/// What the steps of one answer are.
struct Origins {
    /// By teacher: share of steps that are new and like it.
    shares: Vec<f64>,
    steps: f64,
    new: f64,
}

struct Reader<'a> {
    seen: &'a Observations<'a>,
    seats: &'a Seats<'a>,
    /// Byte models of the base and of each teacher, where they stand in.
    models: Option<(ByteModel, Vec<ByteModel>)>,
}

impl<'a> Reader<'a> {
    fn of(
        probe: &ReasoningOrigin,
        seen: &'a Observations<'a>,
        seats: &'a Seats<'a>,
    ) -> Result<Self, Abstention> {
        let scores = |party: &&Party| {
            let ids = probe
                .prompts
                .iter()
                .map(|p| p.score.about(&seats.suspect.name));
            ids.filter(|id| scored(seen, party, id).is_some()).count() >= LEAST_PROMPTS
        };
        if seats.teachers.iter().all(scores) {
            return Ok(Self {
                seen,
                seats,
                models: None,
            });
        }
        let model = |party: &Party| {
            let texts = probe
                .prompts
                .iter()
                .filter_map(|p| text(seen, party, &p.text));
            let texts: Vec<&str> = texts.collect();
            if texts.len() < LEAST_PROMPTS {
                let detail = format!(
                    "not every candidate scores texts, and `{}` gave {} answers to learn a byte \
                     model from, at least {LEAST_PROMPTS} are needed",
                    party.name,
                    texts.len()
                );
                return Err(Abstention::new(Reason::NotSupported, detail));
            }
            Ok(ByteModel::of(&texts))
        };
        let teachers = seats.teachers.iter().map(|t| model(t));
        let teachers = teachers.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            seen,
            seats,
            models: Some((model(seats.base)?, teachers)),
        })
    }

    fn read(&self, asked: &Asked) -> Option<Origins> {
        let suspect = self.seats.suspect;
        let said = text(self.seen, suspect, &asked.text)?;
        let cut = steps::cut(said);
        let id = asked.score.about(&suspect.name);
        let own = scored(self.seen, suspect, &asked.own.about(&suspect.name))?;
        let base = scored(self.seen, self.seats.base, &id)?;
        let (own, base) = (steps::sums(own, &cut), steps::sums(base, &cut));
        let gains: Vec<Vec<f64>> = match &self.models {
            None => {
                let gain = |teacher: &&Party| {
                    let scores = steps::sums(scored(self.seen, teacher, &id)?, &cut);
                    Some(scores.iter().zip(&base).map(|(t, b)| t - b).collect())
                };
                self.seats
                    .teachers
                    .iter()
                    .map(gain)
                    .collect::<Option<_>>()?
            }
            Some((of_base, of_teachers)) => {
                let gain = |model: &ByteModel| {
                    let of = |step: &std::ops::Range<usize>| {
                        model.ln_p(said, step.clone()) - of_base.ln_p(said, step.clone())
                    };
                    cut.iter().map(of).collect()
                };
                of_teachers.iter().map(gain).collect()
            }
        };
        let new: Vec<bool> = own
            .iter()
            .zip(&base)
            .map(|(s, b)| s - b >= ODDS.ln())
            .collect();
        let steps = cut.len() as f64;
        let share = |gain: &Vec<f64>| {
            let both = gain
                .iter()
                .zip(&new)
                .filter(|(g, new)| **new && **g >= ODDS.ln());
            both.count() as f64 / steps
        };
        Some(Origins {
            shares: gains.iter().map(share).collect(),
            new: new.iter().filter(|n| **n).count() as f64,
            steps,
        })
    }
}

fn text<'a>(seen: &Observations<'a>, party: &Party, id: &RequestId) -> Option<&'a str> {
    match seen.answer(party, id)? {
        Answer::Completion(said) if said.text.len() >= steps::LEAST_BYTES => Some(&said.text),
        _ => None,
    }
}

fn scored<'a>(seen: &Observations<'a>, party: &Party, id: &RequestId) -> Option<&'a ScoredText> {
    match seen.answer(party, id)? {
        Answer::Scored(text) if text.total().is_finite() && text.bytes > 0 => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
