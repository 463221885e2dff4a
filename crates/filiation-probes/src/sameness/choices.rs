//! One-word answers beside the distribution that was recorded.

use filiation_core::{Answer, Prompt, Request, Want};
use filiation_stats::StatsError;
use filiation_stats::anytime::Categorical;

use super::{Ask, BetsFound, Outcome, SamenessOptions, request};

/// Tokens that a one-word answer may take.
const WORD: u32 = 8;
/// Answers to a choice: fewer questions asked often say more than many asked a few times, since another
/// model's answers must be learned.
const OFTEN: usize = 16;
/// Least probability of an answer in a reference: none is impossible.
const FLOOR: f64 = 1e-4;

/// The cells, and how they are asked.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    cells: Vec<Cell>,
    options: SamenessOptions,
}

#[derive(Debug, Clone)]
struct Cell {
    prompt: Prompt,
    options: Vec<String>,
    reference: Vec<f64>,
}

impl Choices {
    pub(super) fn plan(recorded: &[(Want, Outcome)], options: SamenessOptions) -> Self {
        Self {
            cells: cells(recorded, options.choices / OFTEN),
            options,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Asks a round of all cells at a time, until all rounds are asked or the answers have said enough; what
    /// failed is counted in `failed`.
    pub(super) fn compare<E: From<StatsError>>(
        &self,
        answer: Ask<'_, E>,
        failed: &mut usize,
    ) -> Result<Option<BetsFound>, E> {
        if self.cells.is_empty() {
            return Ok(None);
        }
        // Of one model by two engines a bet gains at most this by the noise between them.
        let tolerance = (0.5 + 0.5 * self.options.noise.exp()).ln();
        let references: Vec<Vec<f64>> = self.cells.iter().map(|c| c.reference.clone()).collect();
        let mut gambler = Categorical::new(&references, tolerance)?;
        let rounds = self.options.choices / self.cells.len();
        for round in 0..rounds {
            let requests: Vec<Request> = self
                .cells
                .iter()
                .enumerate()
                .map(|(i, c)| self.ask(i, c, round))
                .collect();
            for (i, (outcome, cell)) in answer(&requests)?.into_iter().zip(&self.cells).enumerate()
            {
                match outcome {
                    Ok(Answer::Completion(said)) => {
                        gambler.bet(i, cell.answer(&said.text))?;
                    }
                    _ => *failed += 1,
                }
            }
            if gambler.wealth().log10_e >= self.options.enough.log10() {
                break;
            }
        }
        let wealth = gambler.wealth();
        Ok((wealth.steps > 0).then(|| wealth.into()))
    }

    fn ask(&self, cell: usize, of: &Cell, round: usize) -> Request {
        let id = format!("sameness/choice-{cell}/{round}");
        request(id, &of.prompt, WORD, 1.0, 1.0, self.options.seed)
    }
}

impl Cell {
    /// The option that a text begins with; else "anything else", which comes last. A longer word is
    /// another answer: what was recorded is the probability of the option's own tokens.
    fn answer(&self, text: &str) -> usize {
        let text = text.trim_start();
        let begins = |option: &String| {
            let rest = text.strip_prefix(option.trim_start());
            rest.is_some_and(|rest| !(option.ends_with(goes_on) && rest.starts_with(goes_on)))
        };
        let found = self.options.iter().position(begins);
        found.unwrap_or(self.options.len())
    }
}

// Whether a character makes one word with another beside it: scripts without spaces do not.
fn goes_on(c: char) -> bool {
    let unspaced =
        matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}');
    c.is_alphanumeric() && !unspaced
}

fn cells(recorded: &[(Want, Outcome)], most: usize) -> Vec<Cell> {
    let cell = |(want, outcome): &(Want, Outcome)| {
        let (Want::Choice { prompt, options }, Ok(Answer::Choice(choice))) = (want, outcome) else {
            return None;
        };
        let mut p: Vec<f64> = choice.logprobs.iter().map(|l| l.exp()).collect();
        p.push((1.0 - p.iter().sum::<f64>()).max(0.0));
        p.iter_mut().for_each(|p| *p = p.max(FLOOR));
        let sum: f64 = p.iter().sum();
        let sound = sum.is_finite() && p.len() == options.len() + 1;
        sound.then(|| Cell {
            prompt: prompt.clone(),
            options: options.clone(),
            reference: p.iter().map(|p| p / sum).collect(),
        })
    };
    let all: Vec<Cell> = recorded.iter().filter_map(cell).collect();
    let n = all.len().min(most.max(1));
    (0..n).map(|i| all[i * all.len() / n].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_option_that_it_begins_with() {
        let cell = Cell {
            prompt: Prompt::Text(String::new()),
            options: vec![" red".into(), " blue".into()],
            reference: vec![0.3, 0.3, 0.4],
        };
        assert_eq!(cell.answer("blue, of course"), 1);
        assert_eq!(cell.answer(" red"), 0);
        assert_eq!(cell.answer("redder"), 2, "another word");
        assert_eq!(cell.answer("I like red"), 2);
    }
}
