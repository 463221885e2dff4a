//! The uplift of each teacher's texts under the suspect and the controls, prompt by prompt.

use filiation_core::{Abstention, Observations, Party, Reason, RequestId, ScoredText};

use super::{LEAST_BYTES, LEAST_PROMPTS, TluDid, abstain, scored};

/// Smaller uplifts are rounding: the suspect scores as its base does.
const ROUNDING: f64 = 1e-9;
/// A control that can be compared with the base on fewer of the prompts is left out.
const LEAST_SHARE_OF_CONTROL: f64 = 0.9;

/// One model's uplift over the base.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) model: String,
    /// `values[prompt][teacher]`, nats per byte.
    pub(super) values: Vec<Vec<f64>>,
}

impl Row {
    /// Mean over prompts, by teacher.
    pub(super) fn means(&self) -> Vec<f64> {
        let teachers = self.values.first().map_or(0, Vec::len);
        let n = self.values.len() as f64;
        (0..teachers)
            .map(|k| self.values.iter().map(|v| v[k]).sum::<f64>() / n)
            .collect()
    }
}

/// All uplifts over the prompts that every model scored.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) teachers: Vec<String>,
    pub(super) suspect: Row,
    pub(super) controls: Vec<Row>,
    /// Prompts without usable texts of every teacher.
    pub(super) left_out: usize,
}

impl Table {
    /// Collects the uplifts, or says why they cannot be compared.
    pub(super) fn build(probe: &TluDid, seen: &Observations<'_>) -> Result<Self, Abstention> {
        let base = seen.base().ok_or_else(|| {
            abstain(
                Reason::NoBase,
                "no base is named, and uplift is over a base".into(),
            )
        })?;
        let suspect = seen
            .suspect()
            .ok_or_else(|| abstain(Reason::TooFewAnswers, "the case has no suspect".into()))?;
        let teachers: Vec<&Party> = seen.teachers().collect();
        if teachers.len() < 2 {
            let detail = format!(
                "{} candidate teacher, at least 2 are needed to difference between them",
                teachers.len()
            );
            return Err(abstain(Reason::TooFewTeachers, detail));
        }
        let reader = Reader {
            probe,
            seen,
            base,
            teachers: &teachers,
        };
        let of_suspect = reader.prompts(suspect);
        reader.require_comparable(&of_suspect)?;
        Self::over_common_prompts(&reader, suspect, &of_suspect)
    }

    fn over_common_prompts(
        reader: &Reader<'_>,
        suspect: &Party,
        of_suspect: &[PromptUplift],
    ) -> Result<Self, Abstention> {
        let usable = |u: &[PromptUplift]| u.iter().filter(|p| p.values.is_some()).count() as f64;
        let least = LEAST_SHARE_OF_CONTROL * usable(of_suspect);
        let controls: Vec<(&Party, Vec<PromptUplift>)> = reader
            .seen
            .controls()
            .map(|party| (party, reader.prompts(party)))
            .filter(|(_, uplift)| usable(uplift) >= least)
            .collect();
        let common: Vec<usize> = (0..of_suspect.len())
            .filter(|&i| of_suspect[i].values.is_some())
            .filter(|&i| controls.iter().all(|(_, u)| u[i].values.is_some()))
            .collect();
        if common.len() < LEAST_PROMPTS {
            let detail = format!(
                "{} of {} prompts have usable texts of all teachers scored by suspect, base and \
                 controls, at least {LEAST_PROMPTS} are needed",
                common.len(),
                of_suspect.len()
            );
            return Err(abstain(Reason::TooFewAnswers, detail));
        }
        let row = |party: &Party, uplift: &[PromptUplift]| Row {
            model: party.name.clone(),
            values: common
                .iter()
                .filter_map(|&i| uplift[i].values.clone())
                .collect(),
        };
        let table = Self {
            teachers: reader.teachers.iter().map(|t| t.name.clone()).collect(),
            suspect: row(suspect, of_suspect),
            controls: controls.iter().map(|(p, u)| row(p, u)).collect(),
            left_out: of_suspect.len() - common.len(),
        };
        if table
            .suspect
            .values
            .iter()
            .flatten()
            .all(|v| v.abs() <= ROUNDING)
        {
            let detail = "the suspect scores every text as the base does: they are one model";
            return Err(abstain(Reason::Degenerate, detail.into()));
        }
        Ok(table)
    }

    /// The suspect first, then the controls.
    pub(super) fn rows(&self) -> Vec<&Row> {
        std::iter::once(&self.suspect)
            .chain(&self.controls)
            .collect()
    }

    /// The suspect's uplift less the mean over controls: what further training does to anything
    /// cancels. `[prompt][teacher]`.
    pub(super) fn corrected(&self) -> Vec<Vec<f64>> {
        let n = self.controls.len();
        let mean = |i: usize, k: usize| {
            let sum: f64 = self.controls.iter().map(|c| c.values[i][k]).sum();
            if n == 0 { 0.0 } else { sum / n as f64 }
        };
        let rows = self.suspect.values.iter().enumerate();
        rows.map(|(i, row)| {
            row.iter()
                .enumerate()
                .map(|(k, v)| v - mean(i, k))
                .collect()
        })
        .collect()
    }
}

/// What one prompt gave.
struct PromptUplift {
    /// By teacher; `None` unless every teacher has a usable text.
    values: Option<Vec<f64>>,
    /// Texts that both models scored.
    scored: u32,
    /// Of these, texts that the two cut into other tokens.
    cut_otherwise: u32,
}

struct Reader<'a> {
    probe: &'a TluDid,
    seen: &'a Observations<'a>,
    base: &'a Party,
    teachers: &'a [&'a Party],
}

impl Reader<'_> {
    fn prompts(&self, party: &Party) -> Vec<PromptUplift> {
        self.probe
            .scoring
            .iter()
            .map(|samples| self.prompt(party, samples))
            .collect()
    }

    fn prompt(&self, party: &Party, samples: &[RequestId]) -> PromptUplift {
        let mut tally = PromptUplift {
            values: None,
            scored: 0,
            cut_otherwise: 0,
        };
        let values: Vec<Option<f64>> = self
            .teachers
            .iter()
            .map(|teacher| self.of_teacher(party, teacher, samples, &mut tally))
            .collect();
        tally.values = values.into_iter().collect();
        tally
    }

    // Mean over the teacher's usable samples.
    fn of_teacher(
        &self,
        party: &Party,
        teacher: &Party,
        samples: &[RequestId],
        tally: &mut PromptUplift,
    ) -> Option<f64> {
        let mut uplifts = Vec::new();
        for id in samples {
            let id = id.about(&teacher.name);
            let both = (
                scored(self.seen, party, &id),
                scored(self.seen, self.base, &id),
            );
            let (Some(this), Some(base)) = both else {
                continue;
            };
            tally.scored += 1;
            if !same_cuts(this, base) {
                tally.cut_otherwise += 1;
                continue;
            }
            uplifts.extend(uplift(this, base));
        }
        let n = uplifts.len() as f64;
        (n > 0.0).then(|| uplifts.iter().sum::<f64>() / n)
    }

    // Two tokenizers show in the cuts, whatever their files look like: a file that was written
    // anew with the same tokens is no difference.
    fn require_comparable(&self, prompts: &[PromptUplift]) -> Result<(), Abstention> {
        let scored: u32 = prompts.iter().map(|p| p.scored).sum();
        let other: u32 = prompts.iter().map(|p| p.cut_otherwise).sum();
        if scored > 0 && 2 * other > scored {
            let detail = format!(
                "suspect and base `{}` cut {other} of {scored} texts into other tokens, and \
                 uplift needs one tokenizer",
                self.base.name
            );
            return Err(abstain(Reason::NotComparable, detail));
        }
        Ok(())
    }
}

fn same_cuts(a: &ScoredText, b: &ScoredText) -> bool {
    let cuts = |t: &ScoredText| {
        t.tokens
            .iter()
            .map(|t| [t.start, t.end])
            .collect::<Vec<_>>()
    };
    a.bytes == b.bytes && cuts(a) == cuts(b)
}

fn uplift(this: &ScoredText, base: &ScoredText) -> Option<f64> {
    let gain = this.per_byte()? - base.per_byte()?;
    (this.bytes >= LEAST_BYTES && gain.is_finite()).then_some(gain)
}
