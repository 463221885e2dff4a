//! `template-residue`: marks and formats that a student keeps.
//!
//! A mark is a short text that belongs to some models' formats and not to others': a tag around
//! thoughts, the head of a tool call, the name of a turn, a way to cite. Which teacher a mark
//! belongs to is measured: its log-probability per byte under each teacher after a few prompts, less
//! the mean over teachers; or, where a teacher does not score texts, how often it stands in the
//! teachers' own answers. With u_j = \[ln p_S − ln p_B\](mark j) per byte, the value of mark j for
//! teacher k is u_j times that belonging: S took up what k uses, or gave up what k does not.
//!
//! **Null hypothesis**: S learned from none of the candidates, and which marks it took up or gave up
//! does not go with which marks one candidate uses more than another.

use filiation_core::{
    Abstention, Answer, MethodId, Observations, Party, Probe, Reason, Request, RequestId, Role,
    Statistic, Want,
};
use filiation_stats::Bootstrap;

use crate::contrast::{Measured, Row, Seats, Table};
use crate::{Item, ProbeError, ProbeOptions, Suite, suite};

mod marks;

use marks::MARKS;

/// Prompts after which every mark is scored.
const PROMPTS: usize = 6;
/// Prompts whose answers by the teachers are searched for marks.
const MOST_TEXTS: usize = 300;
/// Squared nats per byte to which one mark's difference is held.
const CLIP: f64 = 1.0;
const LEAST_MARKS: usize = 10;
/// Belongings that spread less than this over teachers tell none from another.
const ROUNDING: f64 = 1e-9;

/// The probe.
#[derive(Debug)]
pub struct TemplateResidue {
    id: MethodId,
    plan: Vec<Request>,
    /// Scoring request ids, by mark and prompt.
    scoring: Vec<Vec<RequestId>>,
    texts: Vec<RequestId>,
    bootstrap: Bootstrap,
}

impl TemplateResidue {
    /// Plans the probe over some open items of `suites`.
    ///
    /// # Errors
    /// [`ProbeError::NoItems`] when there are none.
    pub fn new(suites: &[Suite], options: &ProbeOptions) -> Result<Self, ProbeError> {
        let chosen = suite::require(suites, "template-residue", "open prompt", Item::is_open)?;
        let mut plan = Vec::new();
        let prompts = suite::spread(&chosen.items, PROMPTS);
        let scoring = MARKS.iter().enumerate().map(|(j, mark)| {
            let ask = |item: &&Item| score(j, mark.text, item, options, &mut plan);
            prompts.iter().map(ask).collect()
        });
        let scoring = scoring.collect();
        let texts = suite::spread(&chosen.items, MOST_TEXTS);
        let texts = texts.iter().map(|i| text(i, options, &mut plan)).collect();
        Ok(Self {
            id: method(options, &chosen.suites),
            plan,
            scoring,
            texts,
            bootstrap: options.bootstrap(),
        })
    }
}

fn score(
    j: usize,
    mark: &str,
    item: &Item,
    options: &ProbeOptions,
    plan: &mut Vec<Request>,
) -> RequestId {
    let id = RequestId::new(format!("template-residue/{}/mark-{j}", item.id));
    plan.push(Request {
        id: id.clone(),
        to: vec![Role::Suspect, Role::Base, Role::Teacher, Role::Control],
        want: Want::Score {
            prompt: options.prompt(item),
            continuation: mark.to_owned(),
        },
    });
    id
}

// The first text of tlu-did to the prompt: asked once.
fn text(item: &Item, options: &ProbeOptions, plan: &mut Vec<Request>) -> RequestId {
    let id = RequestId::new(format!("template-residue/{}/text", item.id));
    plan.push(Request {
        id: id.clone(),
        to: vec![Role::Teacher],
        want: options.text_of(item, 0),
    });
    id
}

fn method(options: &ProbeOptions, suites: &str) -> MethodId {
    options.method_of_texts(
        "template-residue",
        1,
        suites,
        &[
            ("clip", &CLIP),
            ("marks", &MARKS.len()),
            ("max_tokens", &options.max_tokens),
            ("prompts", &PROMPTS),
            ("texts", &MOST_TEXTS),
        ],
    )
}

impl Probe for TemplateResidue {
    fn id(&self) -> &MethodId {
        &self.id
    }

    fn plan(&self) -> &[Request] {
        &self.plan
    }

    fn measure(&self, seen: &Observations<'_>) -> Result<Statistic, Abstention> {
        let seats = Seats::of(seen, "uplift is over a base")?;
        let (belonging, scored) = self.belonging(seen, &seats)?;
        let table = self.table(seen, &seats, &belonging)?;
        let mut statistic = table.statistic(&Measured {
            method: &self.id,
            unit: "squared nats per byte",
            counted: "mark",
            what: "residue",
            clip: CLIP,
            bootstrap: self.bootstrap,
        })?;
        let by_scores = f64::from(u8::from(scored));
        statistic
            .details
            .insert("belonging-by-scores".into(), by_scores);
        for (mark, of_mark) in MARKS.iter().zip(&belonging) {
            for (teacher, value) in table.teachers.iter().zip(of_mark.iter().flatten()) {
                let name = format!("belonging/{}/{teacher}", mark.name);
                statistic.details.insert(name, *value);
            }
        }
        Ok(statistic)
    }
}

/// By mark and teacher, centred over teachers, nats per byte; `None` for a mark that cannot be told.
type Belonging = Vec<Option<Vec<f64>>>;

impl TemplateResidue {
    /// Which marks are whose, and whether by scores.
    fn belonging(
        &self,
        seen: &Observations<'_>,
        seats: &Seats<'_>,
    ) -> Result<(Belonging, bool), Abstention> {
        let by_scores: Belonging = (0..MARKS.len())
            .map(|j| {
                let of = |teacher: &&Party| self.per_byte(seen, teacher, j);
                seats.teachers.iter().map(of).collect::<Option<Vec<_>>>()
            })
            .collect();
        let scored = by_scores.iter().flatten().count() >= LEAST_MARKS;
        let raw = if scored {
            by_scores
        } else {
            self.by_counts(seen, seats)?
        };
        let centred = raw.into_iter().map(|of_mark| of_mark.map(centred));
        let kept: Belonging = centred.collect();
        let told = |row: &&Vec<f64>| row.iter().any(|v| v.abs() > ROUNDING);
        let telling = kept.iter().flatten().filter(told).count();
        if telling < LEAST_MARKS {
            let detail = format!(
                "{telling} of {} marks tell one candidate from another, at least {LEAST_MARKS} are \
                 needed: the candidates use the same formats, or none of these",
                MARKS.len()
            );
            return Err(Abstention::new(Reason::Degenerate, detail));
        }
        Ok((kept, scored))
    }

    /// ln of the share of a teacher's answers with the mark, per byte of the mark, half an answer
    /// added; marks that stand in no answer of anyone are left out.
    fn by_counts(
        &self,
        seen: &Observations<'_>,
        seats: &Seats<'_>,
    ) -> Result<Belonging, Abstention> {
        let texts: Vec<Vec<&str>> = seats.teachers.iter().map(|t| self.texts(seen, t)).collect();
        if let Some(silent) = texts.iter().position(Vec::is_empty) {
            let detail = format!(
                "`{}` neither scores marks nor gave an answer to search",
                seats.teachers[silent].name
            );
            return Err(Abstention::new(Reason::NotSupported, detail));
        }
        let of_mark = |mark: &marks::Mark| {
            let needle = mark.text.trim();
            let with = |t: &Vec<&str>| t.iter().filter(|text| text.contains(needle)).count();
            let counts: Vec<usize> = texts.iter().map(with).collect();
            let rate = |(count, texts): (&usize, &Vec<&str>)| {
                let share = (*count as f64 + 0.5) / (texts.len() as f64 + 1.0);
                share.ln() / mark.text.len() as f64
            };
            let rates = counts.iter().zip(&texts).map(rate);
            counts.iter().any(|n| *n > 0).then(|| rates.collect())
        };
        Ok(MARKS.iter().map(of_mark).collect())
    }

    fn texts<'a>(&self, seen: &Observations<'a>, teacher: &Party) -> Vec<&'a str> {
        let said = |id: &RequestId| match seen.answer(teacher, id) {
            Some(Answer::Completion(c)) if !c.text.is_empty() => Some(c.text.as_str()),
            _ => None,
        };
        self.texts.iter().filter_map(said).collect()
    }

    fn table(
        &self,
        seen: &Observations<'_>,
        seats: &Seats<'_>,
        belonging: &Belonging,
    ) -> Result<Table, Abstention> {
        let uplift = |party: &Party| -> Vec<Option<f64>> {
            let of = |j| Some(self.per_byte(seen, party, j)? - self.per_byte(seen, seats.base, j)?);
            (0..MARKS.len()).map(of).collect()
        };
        let suspect = uplift(seats.suspect);
        let there = |j: &usize| suspect[*j].is_some() && belonging[*j].is_some();
        let usable: Vec<usize> = (0..MARKS.len()).filter(there).collect();
        // A control that misses a mark is left out, rather than the mark.
        let controls = seats.controls.iter().map(|c| (*c, uplift(c)));
        let controls = controls.filter(|(_, u)| usable.iter().all(|j| u[*j].is_some()));
        let row = |party: &Party, uplift: &[Option<f64>]| Row {
            model: party.name.clone(),
            values: usable
                .iter()
                .filter_map(|j| {
                    let (u, of_mark) = (uplift[*j]?, belonging[*j].as_ref()?);
                    Some(of_mark.iter().map(|b| u * b).collect())
                })
                .collect(),
        };
        let table = Table {
            teachers: seats.candidates(),
            suspect: row(seats.suspect, &suspect),
            controls: controls.map(|(p, u)| row(p, &u)).collect(),
            left_out: MARKS.len() - usable.len(),
        };
        table.require(LEAST_MARKS, "mark")?;
        Ok(table)
    }

    /// Mean over prompts; `None` unless every prompt has a score.
    fn per_byte(&self, seen: &Observations<'_>, party: &Party, j: usize) -> Option<f64> {
        let of = |id: &RequestId| match seen.answer(party, id)? {
            Answer::Scored(text) => text.per_byte().filter(|v| v.is_finite()),
            _ => None,
        };
        let scores: Vec<f64> = self.scoring[j].iter().map(of).collect::<Option<_>>()?;
        Some(scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

fn centred(row: Vec<f64>) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(|v| v - mean).collect()
}

#[cfg(test)]
mod tests;
