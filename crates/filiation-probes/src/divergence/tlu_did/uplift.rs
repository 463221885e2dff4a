//! The uplift of each teacher's texts under the suspect and the controls, prompt by prompt.

use filiation_core::{Abstention, Observations, Party, Reason, RequestId, ScoredText};

use super::{CLIP, LEAST_BYTES, LEAST_PROMPTS, TluDid, scored};
use crate::contrast::{Common, Given, Row, Seats, Table};

/// All uplifts over the base, over the prompts that every model scored; or why they cannot be
/// compared.
pub(super) fn table(probe: &TluDid, seen: &Observations<'_>) -> Result<Table, Abstention> {
    let (table, _) = read(probe, seen)?;
    table.require(LEAST_PROMPTS, "prompt")?;
    Ok(table)
}

/// As [`table`], however few there are, and which prompts they are.
pub(super) fn read(
    probe: &TluDid,
    seen: &Observations<'_>,
) -> Result<(Table, Vec<usize>), Abstention> {
    let seats = Seats::of(seen, "uplift is over a base")?;
    let reader = Reader {
        probe,
        seen,
        seats: &seats,
    };
    let of_suspect = reader.prompts(seats.suspect);
    reader.require_comparable(&of_suspect)?;
    let usable =
        |u: &Vec<PromptUplift>| -> Given { u.iter().map(|p| p.values.is_some()).collect() };
    let controls: Vec<_> = seats.controls.iter().map(|c| reader.prompts(c)).collect();
    let of_controls: Vec<Given> = controls.iter().map(usable).collect();
    let common = Common::of(&[usable(&of_suspect)], &of_controls);
    let row = |party: &Party, uplift: &[PromptUplift]| Row {
        model: party.name.clone(),
        values: common
            .units
            .iter()
            .filter_map(|&i| uplift[i].values.clone())
            .collect(),
    };
    let kept = common.controls.iter();
    let table = Table {
        teachers: seats.candidates(),
        suspect: row(seats.suspect, &of_suspect),
        controls: kept
            .map(|&c| row(seats.controls[c], &controls[c]))
            .collect(),
        left_out: common.left_out,
    };
    Ok((table, common.units))
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
    seats: &'a Seats<'a>,
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
            .seats
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
                scored(self.seen, self.seats.base, &id),
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
                self.seats.base.name
            );
            return Err(Abstention::new(Reason::NotComparable, detail));
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

/// Mean over tokens of what each gained, held to ±[`CLIP`]: a few tokens that moved by many nats, as names
/// and numbers do in any training, would else outweigh all others.
fn uplift(this: &ScoredText, base: &ScoredText) -> Option<f64> {
    let both = this.tokens.iter().zip(&base.tokens);
    let gains = both.map(|(a, b)| (a.logprob - b.logprob).clamp(-CLIP, CLIP));
    let mean = gains.sum::<f64>() / this.tokens.len() as f64;
    (this.bytes >= LEAST_BYTES && mean.is_finite()).then_some(mean)
}
