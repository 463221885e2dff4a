//! How a refusal is worded: character n-grams.

use std::collections::BTreeMap;

const LENGTH: usize = 4;
/// Characters of a refusal that are read: what follows is about the subject.
const READ: usize = 160;
/// Fewest refusals of a party for its wording to be known.
const LEAST_REFUSALS: u32 = 10;

/// The n-grams of a party's refusals.
#[derive(Debug, Clone, Default)]
pub(super) struct Grams {
    of: BTreeMap<String, f64>,
    total: f64,
    refusals: u32,
}

impl Grams {
    /// Adds a refusal. What also stands in the prompt is subject, not wording.
    pub(super) fn add(&mut self, refusal: &str, prompt: &str) {
        let prompt = prompt.to_lowercase();
        let lower = refusal.to_lowercase();
        let letters: Vec<char> = lower.chars().take(READ).collect();
        for gram in letters.windows(LENGTH) {
            let gram: String = gram.iter().collect();
            if !prompt.contains(&gram) {
                *self.of.entry(gram).or_default() += 1.0;
                self.total += 1.0;
            }
        }
        self.refusals += 1;
    }
}

/// Mean over the n-grams of `model` of ln p under each teacher, less the mean over the teachers, in
/// nats; `None` where the model or a teacher refused too seldom. One observation of "any n-gram
/// alike" smooths.
pub(super) fn towards(model: &Grams, teachers: &[Grams]) -> Option<Vec<f64>> {
    let everyone = teachers.iter().chain([model]);
    let known = everyone.clone().all(|g| g.refusals >= LEAST_REFUSALS);
    if !known || model.total == 0.0 {
        return None;
    }
    let mut all: Vec<&String> = everyone.flat_map(|g| g.of.keys()).collect();
    all.sort_unstable();
    all.dedup();
    let any = 1.0 / all.len() as f64;
    let under = |teacher: &Grams| {
        let ln_p =
            |gram| ((teacher.of.get(gram).unwrap_or(&0.0) + any) / (teacher.total + 1.0)).ln();
        let sum: f64 = model.of.iter().map(|(gram, n)| n * ln_p(gram)).sum();
        sum / model.total
    };
    let values: Vec<f64> = teachers.iter().map(under).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Some(values.into_iter().map(|v| v - mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grams(texts: &[&str]) -> Grams {
        let mut grams = Grams::default();
        for i in 0..12 {
            grams.add(texts[i % texts.len()], "How do I kill a process?");
        }
        grams
    }

    #[test]
    fn wording_tells_who_refuses_so() {
        let teachers = [
            grams(&["I'm sorry, but I can't help with that."]),
            grams(&["Regrettably this lies beyond what I may discuss."]),
        ];
        let model = grams(&["I'm sorry, but I can't help you there."]);
        let near = towards(&model, &teachers).expect("twelve refusals each");
        assert!(
            near[0] > 1.0 && (near[0] + near[1]).abs() < 1e-12,
            "{near:?}"
        );
        assert_eq!(towards(&Grams::default(), &teachers), None);
    }
}
