use std::f64::consts::{LN_10, PI};

use super::{Labelled, Sample};
use crate::LrError;

/// The standard deviation of the kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bandwidth {
    /// (4σ⁵/(3n))^(1/5) for each class, σ its standard deviation and n its lineages (Silverman 1986).
    Silverman,
    /// The same for both classes.
    Fixed(f64),
}

/// A ratio of two densities of Gaussian kernels.
///
/// Beyond the data it says what the tails of a kernel say, which is nothing: only where both classes
/// have many lineages (100 or more), and only within [`tail_ratio`](super::tail_ratio)'s bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Density {
    /// H2 and H1.
    classes: [Class; 2],
}

#[derive(Debug, Clone, PartialEq)]
struct Class {
    items: Vec<Labelled>,
    lineages: f64,
    bandwidth: f64,
}

impl Density {
    /// Places a kernel at each score.
    ///
    /// # Errors
    /// [`LrError::Value`] for a score that is not finite, [`LrError::Setting`] for a bandwidth that is
    /// not positive, as where all scores of a class are the same.
    pub fn fit(sample: &Sample, bandwidth: Bandwidth) -> Result<Self, LrError> {
        if let Some((index, bad)) = sample
            .items()
            .iter()
            .enumerate()
            .find(|(_, i)| !i.value.is_finite())
        {
            return Err(LrError::Value {
                index,
                got: bad.value,
                expected: "a finite number",
            });
        }
        let [other, distilled] = [false, true].map(|class| Class::fit(sample, class, bandwidth));
        Ok(Self {
            classes: [other?, distilled?],
        })
    }

    /// The standard deviations of the kernels of H2 and H1.
    pub fn bandwidths(&self) -> [f64; 2] {
        [&self.classes[0], &self.classes[1]].map(|class| class.bandwidth)
    }

    /// The log10 likelihood ratio at a score.
    pub fn llr(&self, score: f64) -> f64 {
        let [other, distilled] = [&self.classes[0], &self.classes[1]].map(|c| c.ln_density(score));
        (distilled - other) / LN_10
    }
}

impl Class {
    fn fit(sample: &Sample, distilled: bool, bandwidth: Bandwidth) -> Result<Self, LrError> {
        let items: Vec<Labelled> = sample.class(distilled).copied().collect();
        let lineages = sample.lineages(distilled);
        let bandwidth = match bandwidth {
            Bandwidth::Fixed(bandwidth) => bandwidth,
            Bandwidth::Silverman => {
                let of = |f: &dyn Fn(f64) -> f64| -> f64 {
                    items.iter().map(|i| i.weight * f(i.value)).sum::<f64>() / lineages
                };
                let mean = of(&|v| v);
                let deviation = of(&|v| (v - mean) * (v - mean)).sqrt();
                (4.0 * deviation.powi(5) / (3.0 * lineages)).powf(0.2)
            }
        };
        if !(bandwidth > 0.0 && bandwidth.is_finite()) {
            return Err(LrError::Setting {
                name: "bandwidth",
                got: bandwidth,
                expected: "above 0",
            });
        }
        Ok(Self {
            items,
            lineages,
            bandwidth,
        })
    }

    fn ln_density(&self, score: f64) -> f64 {
        let term = |i: &Labelled| {
            let z = (score - i.value) / self.bandwidth;
            i.weight.ln() - 0.5 * z * z
        };
        let top = self
            .items
            .iter()
            .map(term)
            .fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.items.iter().map(|i| (term(i) - top).exp()).sum();
        top + sum.ln() - (self.lineages * self.bandwidth * (2.0 * PI).sqrt()).ln()
    }
}
