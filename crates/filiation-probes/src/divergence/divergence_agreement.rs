//! `divergence-agreement`: whom the suspect follows where the candidates part.
//!
//! Every party continues every prompt greedily; the first four characters are its answer. Where
//! the answers of teachers k and k' differ from each other and from that of base B, the suspect
//! follows k, or k', or neither. The lead of k over k' is the mean, over these prompts, of
//! \[S = k\] − \[S = k'\], less the mean of the same over controls. The score of k is its least lead.
//!
//! **Null hypothesis**: S learned from none of the candidates; where they part from the base and
//! from each other, what it did learn makes it follow no candidate more than another. Then every
//! score is 0 or below up to noise.

use std::collections::BTreeMap;

use filiation_core::{
    Abstention, Answer, Finish, MethodId, Observations, Party, Probe, Reason, Request, RequestId,
    Role, Sampling, Statistic, Want,
};
use filiation_stats::Bootstrap;

use crate::contrast::{Common, Given, Lead, Leads, Seats, fewest, given};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

/// Characters that are compared, white space before them left out.
const CHARACTERS: usize = 4;
/// Tokens asked for: enough for the characters where a token is one byte of two.
const TOKENS: u32 = 8;
/// Fewest prompts that all parties answered.
const LEAST_PROMPTS: usize = 20;
/// Fewest prompts at which two candidates part from each other and from the base.
const LEAST_DIVERGENT: usize = 10;

/// The probe.
#[derive(Debug)]
pub struct DivergenceAgreement {
    id: MethodId,
    plan: Vec<Request>,
    bootstrap: Bootstrap,
}

impl DivergenceAgreement {
    /// Plans the probe over all open prompts of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(suites, "divergence-agreement", "open prompt", Item::is_open)?;
        let request = |item: &&Item| Request {
            id: RequestId::new(format!("divergence-agreement/{}", item.id)),
            to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
            want: Want::Generate {
                prompt: options.prompt(item),
                max_tokens: TOKENS,
                sampling: Sampling::GREEDY,
            },
        };
        Ok(Self {
            id: options.method(
                "divergence-agreement",
                1,
                &chosen.suites,
                &[
                    ("characters", &CHARACTERS),
                    ("least_divergent", &LEAST_DIVERGENT),
                    ("max_tokens", &TOKENS),
                ],
            ),
            plan: chosen.items.iter().map(request).collect(),
            bootstrap: options.bootstrap(),
        })
    }
}

impl Probe for DivergenceAgreement {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "divergence is from a base")?;
        let said = Said::read(self, seen, &seats)?;
        said.require_divergent()?;
        let units = said.base.len();
        let all: Vec<usize> = (0..units).collect();
        let everyone: Vec<usize> = (0..said.controls.len()).collect();
        // A control is held against the other controls.
        let control = |c: usize| {
            let others: Vec<usize> = everyone.iter().copied().filter(|o| *o != c).collect();
            let control = &said.controls[c];
            let net = said.net(&control.answers, &others);
            (control.party.clone(), leads(&net, &all))
        };
        let controls: Vec<(String, Lead)> = everyone.iter().map(|&c| control(c)).collect();
        let suspect = said.net(&said.suspect, &everyone);
        let how = Leads {
            method: &self.id,
            unit: "net share of divergent prompts",
            counted: "prompt",
            units,
            candidates: seats.candidates(),
            pairwise: true,
            bootstrap: self.bootstrap,
        };
        let mut found = how.statistic(
            |units| leads(&suspect, units),
            &leads(&suspect, &all),
            &controls,
        )?;
        said.describe(&mut found);
        Ok(found)
    }
}

/// The mean over the divergent ones of `units`; 0 where a resample misses them all.
fn leads(net: &[Vec<Vec<Option<f64>>>], units: &[usize]) -> Lead {
    let mean = |prompts: &Vec<Option<f64>>| {
        let divergent = units.iter().filter_map(|&i| prompts[i]);
        let (sum, n) = divergent.fold((0.0, 0_u32), |(sum, n), v| (sum + v, n + 1));
        sum / f64::from(n.max(1))
    };
    let row = |row: &Vec<Vec<Option<f64>>>| row.iter().map(mean).collect();
    net.iter().map(row).collect()
}

struct Control {
    party: String,
    answers: Vec<usize>,
}

/// What everyone said, as numbers of distinct texts, over the prompts that suspect, base and
/// teachers all answered.
struct Said {
    suspect: Vec<usize>,
    base: Vec<usize>,
    candidates: Vec<String>,
    teachers: Vec<Vec<usize>>,
    controls: Vec<Control>,
    left_out: usize,
}

impl Said {
    fn read(
        probe: &DivergenceAgreement,
        seen: &Observations<'_>,
        seats: &Seats<'_>,
    ) -> Result<Self, Abstention> {
        let mut texts: BTreeMap<String, usize> = BTreeMap::new();
        let mut all = |party: &Party| -> Vec<Option<usize>> {
            let ids = probe.plan.iter().map(|r| &r.id);
            ids.map(|id| {
                let text = answer(seen, party, id)?;
                let next = texts.len();
                Some(*texts.entry(text).or_insert(next))
            })
            .collect()
        };
        let parties = seats.core();
        let core: Vec<_> = parties.iter().map(|p| all(p)).collect();
        let controls: Vec<_> = seats.controls.iter().map(|c| all(c)).collect();
        let of_core: Vec<Given> = core.iter().map(|a| given(a)).collect();
        let of_controls: Vec<Given> = controls.iter().map(|a| given(a)).collect();
        let common = Common::of(&of_core, &of_controls);
        if common.units.len() < LEAST_PROMPTS {
            let (name, got) = fewest(parties, &of_core);
            let detail = format!(
                "{} of {} prompts have {CHARACTERS} characters of all parties (`{name}` gave \
                 {got}), at least {LEAST_PROMPTS} are needed",
                common.units.len(),
                probe.plan.len()
            );
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
        let kept = |answers: &Vec<Option<usize>>| -> Vec<usize> {
            common.units.iter().filter_map(|&i| answers[i]).collect()
        };
        let control = |&c: &usize| Control {
            party: seats.controls[c].name.clone(),
            answers: kept(&controls[c]),
        };
        Ok(Self {
            suspect: kept(&core[0]),
            base: kept(&core[1]),
            candidates: seats.candidates(),
            teachers: core[2..].iter().map(kept).collect(),
            controls: common.controls.iter().map(control).collect(),
            left_out: common.left_out,
        })
    }

    /// Whether `k` and `other` part from each other and from the base at prompt `i`.
    fn part(&self, k: usize, other: usize, i: usize) -> bool {
        let (a, b, base) = (self.teachers[k][i], self.teachers[other][i], self.base[i]);
        a != b && a != base && b != base
    }

    /// Prompts at which the model follows `k`, follows `other`, and at which the two part.
    fn tally(&self, answers: &[usize], k: usize, other: usize, units: &[usize]) -> [usize; 3] {
        let divergent = units.iter().filter(|&&i| self.part(k, other, i));
        divergent.fold([0; 3], |[mine, theirs, all], &i| {
            [
                mine + usize::from(answers[i] == self.teachers[k][i]),
                theirs + usize::from(answers[i] == self.teachers[other][i]),
                all + 1,
            ]
        })
    }

    /// By pair of candidates and prompt: whom the model follows where the two part, less the mean
    /// of `controls`.
    fn net(&self, answers: &[usize], controls: &[usize]) -> Vec<Vec<Vec<Option<f64>>>> {
        let prompt = |k: usize, other: usize, i: usize| {
            let of = |answers: &[usize]| {
                let follows = |t: usize| f64::from(answers[i] == self.teachers[t][i]);
                follows(k) - follows(other)
            };
            let usual = controls.iter().map(|&c| of(&self.controls[c].answers));
            let usual = usual.sum::<f64>() / controls.len().max(1) as f64;
            self.part(k, other, i).then(|| of(answers) - usual)
        };
        let n = self.teachers.len();
        let pair =
            |k: usize, other: usize| (0..self.base.len()).map(|i| prompt(k, other, i)).collect();
        let row = |k: usize| (0..n).map(|other| pair(k, other)).collect();
        (0..n).map(row).collect()
    }

    fn require_divergent(&self) -> Result<(), Abstention> {
        let all: Vec<usize> = (0..self.base.len()).collect();
        for k in 0..self.teachers.len() {
            for other in 0..k {
                let [_, _, divergent] = self.tally(&self.suspect, k, other, &all);
                if divergent < LEAST_DIVERGENT {
                    let detail = format!(
                        "`{}` and `{}` part from each other and from the base at {divergent} of {} \
                         prompts, at least {LEAST_DIVERGENT} are needed",
                        self.candidates[other],
                        self.candidates[k],
                        all.len()
                    );
                    return Err(Abstention::new(Reason::TooFewAnswers, detail));
                }
            }
        }
        if self.suspect == self.base {
            let detail = "the suspect answers as the base does at every prompt";
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        Ok(())
    }

    // The counts of the sign statistic, and how often each model says what each teacher says.
    fn describe(&self, found: &mut Statistic) {
        let all: Vec<usize> = (0..self.base.len()).collect();
        for (k, name) in self.candidates.iter().enumerate() {
            for (other, rival) in self.candidates.iter().enumerate().filter(|(o, _)| *o != k) {
                let [mine, _, divergent] = self.tally(&self.suspect, k, other, &all);
                let mut put = |what: &str, n: usize| {
                    let key = format!("{what}/{name}/{rival}");
                    found.details.insert(key, n as f64);
                };
                put("follows", mine);
                put("divergent", divergent);
            }
            let mut share = |who: &str, answers: &[usize]| {
                let same = answers.iter().zip(&self.teachers[k]);
                let same = same.filter(|(a, b)| a == b).count() as f64;
                let key = format!("agreement/{who}/{name}");
                found.details.insert(key, same / answers.len() as f64);
            };
            share("suspect", &self.suspect);
            share("base", &self.base);
            for control in &self.controls {
                share(&control.party, &control.answers);
            }
        }
        let left_out = self.left_out as f64;
        found.details.insert("prompts-left-out".into(), left_out);
    }
}

/// The first characters of the completion. `None` for no text, or one cut short before them.
fn answer(seen: &Observations<'_>, party: &Party, id: &RequestId) -> Option<String> {
    let Answer::Completion(completion) = seen.answer(party, id)? else {
        return None;
    };
    let first: String = completion
        .text
        .trim_start()
        .chars()
        .take(CHARACTERS)
        .collect();
    let whole = first.chars().count() == CHARACTERS || completion.finish == Finish::Stop;
    (whole && !first.is_empty()).then_some(first)
}

#[cfg(test)]
mod tests;
