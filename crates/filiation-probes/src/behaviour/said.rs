//! What was said, as outcomes with counts (names, claims), and how distinctive an outcome is of one
//! teacher. Counts back off from the prompt to the teacher, to the controls, to "any outcome alike".

use std::collections::{BTreeMap, BTreeSet};

/// The outcomes of one model: `[prompt][answer]`, each once an answer, in order.
pub(super) type Said = Vec<Vec<Vec<String>>>;

/// An answer without an outcome. It counts, and is distinctive of no teacher: to be silent is to be
/// like nobody.
pub(super) const NOBODY: &str = "(nobody)";

/// How often each outcome was seen. Smoothing gives the parent distribution the weight of one
/// observation, wherever there is a parent.
#[derive(Debug, Clone, Default)]
struct Counts {
    /// Shares of answers, and in how many answers.
    of: BTreeMap<String, (f64, u32)>,
    total: f64,
}

impl Counts {
    fn add(&mut self, outcome: &str, by: f64) {
        let entry = self.of.entry(outcome.to_owned()).or_default();
        *entry = (entry.0 + by, entry.1 + 1);
        self.total += by;
    }

    fn p(&self, outcome: &str, parent: f64) -> f64 {
        (self.of.get(outcome).map_or(0.0, |(n, _)| *n) + parent) / (self.total + 1.0)
    }

    // What was said once is no habit: of many names said once, another model shares some by chance.
    fn recurs(&self, outcome: &str) -> bool {
        self.of
            .get(outcome)
            .is_some_and(|(_, answers)| *answers > 1)
    }
}

/// What one model, or several, said.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    all: Counts,
    cells: BTreeMap<usize, Counts>,
    /// Partners of an outcome within an answer.
    partners: BTreeMap<String, Counts>,
}

impl Tally {
    /// `cells[prompt]` names the prompts that are counted together.
    pub(super) fn of<'a>(models: impl IntoIterator<Item = &'a Said>, cells: &[usize]) -> Self {
        let mut tally = Self::default();
        for said in models {
            for (prompt, answers) in said.iter().enumerate() {
                for answer in answers {
                    tally.add(cells[prompt], answer);
                }
            }
        }
        tally
    }

    // An answer is one observation of its outcomes, and one of the partners of each.
    fn add(&mut self, cell: usize, answer: &[String]) {
        let share = 1.0 / answer.len() as f64;
        for (i, a) in answer.iter().enumerate() {
            self.all.add(a, share);
            self.cells.entry(cell).or_default().add(a, share);
            for b in answer
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .map(|(_, b)| b)
            {
                let share = 1.0 / (answer.len() - 1) as f64;
                let partners = self.partners.entry(a.clone()).or_default();
                partners.add(b, share);
            }
        }
    }

    /// Outcomes and their probabilities before smoothing, likeliest first.
    pub(super) fn shares(&self) -> Vec<(&str, f64)> {
        let mut all: Vec<(&str, f64)> = self
            .all
            .of
            .iter()
            .map(|(o, (n, _))| (o.as_str(), n / self.all.total))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    /// Answers counted.
    pub(super) fn answers(&self) -> f64 {
        self.all.total
    }
}

/// Distinct outcomes of all models.
pub(super) fn outcomes<'a>(models: impl IntoIterator<Item = &'a Said>) -> usize {
    let all: BTreeSet<&String> = models.into_iter().flatten().flatten().flatten().collect();
    all.len()
}

/// How distinctive outcomes are of each teacher: w_k(o) = max(0, ln p_k(o)/r_k(o)) where k said o in
/// two answers or more, else 0; r_k is the mean of p over the other teachers and the controls. What no teacher says weighs nothing for any
/// of them, so that a habit of one's own is no approach to whoever lacks the old one most.
pub(super) struct Weights<'a> {
    pub(super) teachers: Vec<&'a Tally>,
    /// Models that learned from no candidate. Neither base nor the model that is weighed is among
    /// them: both are then weighed alike.
    pub(super) controls: &'a Tally,
    /// Distinct outcomes of all models.
    pub(super) outcomes: usize,
}

impl Weights<'_> {
    /// By teacher: mean over `answers` of the weight of an outcome drawn from the answer and, where
    /// there is one, of a partner drawn beside it; nats.
    pub(super) fn of(&self, cell: usize, answers: &[Vec<String>]) -> Vec<f64> {
        let mut sum = vec![0.0; self.teachers.len()];
        let told = answers.iter().filter(|a| !a.is_empty());
        let n = told.clone().count().max(1) as f64;
        for answer in told {
            let of_answer = self.answer(cell, answer);
            sum.iter_mut().zip(of_answer).for_each(|(s, w)| *s += w / n);
        }
        sum
    }

    fn answer(&self, cell: usize, answer: &[String]) -> Vec<f64> {
        let mut sum = vec![0.0; self.teachers.len()];
        if answer.iter().any(|a| a == NOBODY) {
            return sum;
        }
        let n = answer.len() as f64;
        let none = Counts::default();
        let single: Vec<(f64, Vec<f64>)> = answer.iter().map(|a| self.p(cell, a)).collect();
        for (i, a) in answer.iter().enumerate() {
            let own = self.teachers.iter().map(|t| &t.all);
            add_weights(&mut sum, &single[i], own, a, 1.0 / n);
            let controls = self.controls.partners.get(a).unwrap_or(&none);
            let partners = self.teachers.iter();
            let teachers: Vec<&Counts> = partners
                .map(|t| t.partners.get(a).unwrap_or(&none))
                .collect();
            for (j, b) in answer.iter().enumerate().filter(|(j, _)| *j != i) {
                let (alone, of_teachers) = &single[j];
                let pairs = teachers.iter().zip(of_teachers);
                let beside = (
                    controls.p(b, *alone),
                    pairs.map(|(t, p)| t.p(b, *p)).collect(),
                );
                let share = 1.0 / (n * (n - 1.0));
                add_weights(&mut sum, &beside, teachers.iter().copied(), b, share);
            }
        }
        sum
    }

    // Under the controls, and under each teacher.
    fn p(&self, cell: usize, outcome: &str) -> (f64, Vec<f64>) {
        let any = 1.0 / self.outcomes.max(1) as f64;
        let controls = self.controls.all.p(outcome, any);
        let under = |tally: &&Tally| {
            let teacher = tally.all.p(outcome, controls);
            let of_cell = tally.cells.get(&cell);
            of_cell.map_or(teacher, |counts| counts.p(outcome, teacher))
        };
        (controls, self.teachers.iter().map(under).collect())
    }
}

fn add_weights<'a>(
    sum: &mut [f64],
    (controls, teachers): &(f64, Vec<f64>),
    own: impl Iterator<Item = &'a Counts>,
    outcome: &str,
    share: f64,
) {
    let total = controls + teachers.iter().sum::<f64>();
    for ((to, p), counts) in sum.iter_mut().zip(teachers).zip(own) {
        if counts.recurs(outcome) {
            let rest = (total - p) / teachers.len() as f64;
            *to += share * (p / rest).ln().max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answers: &[&[&str]]) -> Said {
        let owned = |a: &&[&str]| a.iter().map(|o| (*o).to_owned()).collect();
        vec![answers.iter().map(owned).collect()]
    }

    #[test]
    fn probabilities_back_off_and_sum_to_one() {
        let teacher = Tally::of([&said(&[&["a"], &["a"], &["b"]])], &[0]);
        let controls = Tally::of([&said(&[&["b"], &["c"]])], &[0]);
        let weights = Weights {
            teachers: vec![&teacher],
            controls: &controls,
            outcomes: 4,
        };
        for cell in [0, 1] {
            let each = ["a", "b", "c", "d"].map(|o| weights.p(cell, o));
            assert!((each.iter().map(|p| p.0).sum::<f64>() - 1.0).abs() < 1e-12);
            assert!((each.iter().map(|p| p.1[0]).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        // By hand: any 1/4; controls (1 + 1/4)/3 for b; teacher (1 + 5/12)/4; cell (1 + 17/48)/4.
        assert!((weights.p(1, "b").1[0] - 17.0 / 48.0).abs() < 1e-12);
        assert!((weights.p(0, "b").1[0] - 65.0 / 192.0).abs() < 1e-12);
        let a = weights.of(0, &[vec!["a".into()], vec!["b".into()]]);
        let (controls, teacher) = weights.p(0, "a");
        // b was said once: no weight.
        assert!((a[0] - 0.5 * (teacher[0] / controls).ln()).abs() < 1e-12);
    }

    #[test]
    fn an_outcome_of_ones_own_and_silence_weigh_nothing() {
        let one = Tally::of([&said(&[&["a"], &["a"]])], &[0]);
        let other = Tally::of([&said(&[&["b"], &[NOBODY], &[NOBODY]])], &[0]);
        let weights = Weights {
            teachers: vec![&one, &other],
            controls: &Tally::default(),
            outcomes: 4,
        };
        for own in ["z", NOBODY] {
            assert_eq!(weights.of(0, &[vec![own.into()]]), [0.0, 0.0]);
        }
        let a = weights.of(0, &[vec!["a".into()]]);
        assert!(a[0] > 0.5 && a[1] == 0.0, "{a:?}");
        assert_eq!(weights.of(0, &[]), [0.0, 0.0]);
    }

    #[test]
    fn partners_count_beyond_the_names_themselves() {
        // Both teachers use a, b, c, d alike; only the first puts a with b and c with d.
        let pairs: [&[&str]; 4] = [&["a", "b"], &["c", "d"], &["a", "b"], &["c", "d"]];
        let crossed: [&[&str]; 4] = [&["a", "c"], &["b", "d"], &["a", "d"], &["b", "c"]];
        let together = Tally::of([&said(&pairs)], &[0]);
        let apart = Tally::of([&said(&crossed)], &[0]);
        let weights = Weights {
            teachers: vec![&together, &apart],
            controls: &Tally::default(),
            outcomes: 4,
        };
        let w = weights.of(0, &[vec!["a".into(), "b".into()]]);
        assert!(w[0] > w[1] + 0.5, "{w:?}");
    }
}
