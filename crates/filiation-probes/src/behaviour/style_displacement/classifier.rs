//! Who wrote a text: fitted on teachers' texts, five folds of prompts, penalty chosen inside.

use filiation_stats::{Logistic, Softmax, SparseRows, StatsError};
use rayon::prelude::*;

use super::features::Features;
use super::most;

pub(super) const FOLDS: usize = 5;
/// Penalties tried, strongest first: each fit starts from the one before.
const PENALTIES: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];

/// Of the derivatives of the mean loss: log-odds are then settled to about a thousandth.
const TOLERANCE: f64 = 1e-5;
/// Enough to see which penalty is best.
const COARSE: f64 = 1e-4;

/// `texts[prompt]` of one model.
pub(super) type Texts<'a> = Vec<Vec<&'a str>>;

/// What the classifiers say of texts on prompts that they have not seen.
pub(super) struct Judgement {
    /// `others[model][prompt][teacher]`: ln p(teacher), mean over the model's texts.
    pub(super) others: Vec<Vec<Vec<f64>>>,
    /// Mean −ln p of the true author over the teachers' texts, by prompt.
    pub(super) losses: Vec<f64>,
    /// Share of the teachers' texts given to their author.
    pub(super) accuracy: f64,
    /// The penalty of each fold.
    pub(super) penalties: Vec<f64>,
}

/// Texts with their prompts and authors.
struct Sample<'a> {
    texts: Vec<&'a str>,
    prompts: Vec<usize>,
    authors: Vec<usize>,
}

pub(super) fn judge(teachers: &[Texts<'_>], others: &[Texts<'_>]) -> Result<Judgement, StatsError> {
    let prompts = teachers.first().map_or(0, Vec::len);
    let sample = Sample::of(teachers);
    let folds: Vec<Fold> = (0..FOLDS)
        .into_par_iter()
        .map(|fold| Fold::fit(&sample, teachers.len(), fold))
        .collect::<Result<_, _>>()?;
    let of_prompt = |texts: &[&str], prompt: usize| {
        let fold = &folds[prompt % FOLDS];
        let all = texts.iter().map(|t| fold.ln_probabilities(t));
        mean(all, teachers.len())
    };
    let mut losses = Vec::with_capacity(prompts);
    let (mut right, mut judged) = (0, 0);
    for prompt in 0..prompts {
        let mut lost = Vec::new();
        for (author, texts) in teachers.iter().enumerate() {
            for text in &texts[prompt] {
                let said = folds[prompt % FOLDS].ln_probabilities(text);
                right += usize::from(most(&said) == author);
                lost.push(-said[author]);
            }
        }
        judged += lost.len();
        losses.push(lost.iter().sum::<f64>() / lost.len() as f64);
    }
    let others = others
        .par_iter()
        .map(|model| (0..prompts).map(|i| of_prompt(&model[i], i)).collect())
        .collect();
    Ok(Judgement {
        others,
        losses,
        accuracy: f64::from(right as u32) / f64::from(judged as u32),
        penalties: folds.iter().map(|f| f.penalty).collect(),
    })
}

fn mean(rows: impl Iterator<Item = Vec<f64>>, width: usize) -> Vec<f64> {
    let mut sum = vec![0.0; width];
    let mut n = 0.0;
    for row in rows {
        sum.iter_mut().zip(&row).for_each(|(s, v)| *s += v);
        n += 1.0;
    }
    sum.iter_mut().for_each(|s| *s /= n);
    sum
}

impl<'a> Sample<'a> {
    fn of(teachers: &[Texts<'a>]) -> Self {
        let mut sample = Self {
            texts: Vec::new(),
            prompts: Vec::new(),
            authors: Vec::new(),
        };
        for (author, texts) in teachers.iter().enumerate() {
            for (prompt, of_prompt) in texts.iter().enumerate() {
                for text in of_prompt {
                    sample.texts.push(text);
                    sample.prompts.push(prompt);
                    sample.authors.push(author);
                }
            }
        }
        sample
    }

    fn outside(&self, folds: &[usize]) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..self.texts.len()).collect();
        kept.retain(|&i| !folds.contains(&(self.prompts[i] % FOLDS)));
        kept
    }
}

/// The classifier for the prompts of one fold.
struct Fold {
    features: Features,
    model: Softmax,
    penalty: f64,
}

impl Fold {
    // The next fold chooses the penalty; then all but the fold's own prompts are fitted.
    fn fit(sample: &Sample<'_>, teachers: usize, fold: usize) -> Result<Self, StatsError> {
        let inner = (fold + 1) % FOLDS;
        let chosen = {
            let train = sample.outside(&[fold, inner]);
            let features = Features::of(train.iter().map(|&i| sample.texts[i]));
            let rows = features.rows(&sample.texts)?;
            let held: Vec<usize> = (0..sample.texts.len())
                .filter(|&i| sample.prompts[i] % FOLDS == inner)
                .collect();
            choose(&rows, sample, teachers, &train, &held)?
        };
        let train = sample.outside(&[fold]);
        let features = Features::of(train.iter().map(|&i| sample.texts[i]));
        let rows = features.rows(&sample.texts)?;
        let mut model = None;
        for penalty in PENALTIES.into_iter().filter(|p| *p >= chosen) {
            let start = model.as_ref();
            let fit =
                with(penalty, TOLERANCE).fit(&rows, &sample.authors, teachers, &train, start)?;
            model = Some(fit);
        }
        let model = model.ok_or(StatsError::TooFew {
            name: "penalties",
            got: 0,
            least: 1,
        })?;
        Ok(Self {
            features,
            model,
            penalty: chosen,
        })
    }

    fn ln_probabilities(&self, text: &str) -> Vec<f64> {
        self.model.ln_probabilities(&self.features.row(text))
    }
}

const fn with(penalty: f64, tolerance: f64) -> Logistic {
    Logistic { penalty, tolerance }
}

fn choose(
    rows: &SparseRows,
    sample: &Sample<'_>,
    teachers: usize,
    train: &[usize],
    held: &[usize],
) -> Result<f64, StatsError> {
    let mut best = (f64::INFINITY, PENALTIES[0]);
    let mut model: Option<Softmax> = None;
    for penalty in PENALTIES {
        let start = model.as_ref();
        let fit = with(penalty, COARSE).fit(rows, &sample.authors, teachers, train, start)?;
        let lost: f64 = held
            .iter()
            .map(|&i| -fit.ln_probabilities(rows.row(i))[sample.authors[i]])
            .sum();
        if lost >= best.0 {
            // Weaker penalties fit closer still, and cost the most time.
            break;
        }
        best = (lost, penalty);
        model = Some(fit);
    }
    Ok(best.1)
}
