use crate::LrError;

/// Whether a case is like the models of the population: how many of them lie at least as far from the
/// others.
///
/// Features are standardised by the population. The distance of each, case and member alike, is the mean
/// of those to the `neighbours` nearest of all the others, so that p = (1 + #)/(n + 1) is exact for a
/// case that is one more draw, but for the standardisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Typicality {
    members: Vec<Vec<f64>>,
    centre: Vec<f64>,
    scale: Vec<f64>,
    /// Of each member, the distances to its nearest others, rising.
    nearest: Vec<Vec<f64>>,
    neighbours: usize,
}

/// What follows from how typical a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// One more draw, as far as can be seen.
    Inside,
    /// p below 0.05: a likelihood ratio is held to 10 and said to be outside validated conditions.
    Doubtful,
    /// p below 0.01: no likelihood ratio.
    Outside,
}

impl Domain {
    /// From a conformal p.
    pub fn of(p: f64) -> Self {
        match p {
            p if p < 0.01 => Self::Outside,
            p if p < 0.05 => Self::Doubtful,
            _ => Self::Inside,
        }
    }
}

impl Typicality {
    /// Learns the members' features. Differences are in units of their standard deviation, at least
    /// `least`: where all members are alike, what lies nearer than that is alike too.
    ///
    /// # Errors
    /// [`LrError::Width`] for rows of different widths, [`LrError::Value`] for a feature that is not
    /// finite, [`LrError::Setting`] for fewer members than `neighbours` + 1.
    pub fn fit(features: &[Vec<f64>], neighbours: usize, least: f64) -> Result<Self, LrError> {
        let width = features.first().map_or(0, Vec::len);
        if neighbours == 0 || features.len() <= neighbours || least <= 0.0 {
            return Err(LrError::Setting {
                name: "members",
                got: features.len() as f64,
                expected: "more than the neighbours looked at, which are at least 1",
            });
        }
        for (row, values) in features.iter().enumerate() {
            check(values, row, width)?;
        }
        let n = features.len() as f64;
        let mean = |at: usize| features.iter().map(|f| f[at]).sum::<f64>() / n;
        let centre: Vec<f64> = (0..width).map(mean).collect();
        let deviation = |at: usize| {
            let squares = features.iter().map(|f| (f[at] - centre[at]).powi(2));
            (squares.sum::<f64>() / n).sqrt()
        };
        let scale = (0..width).map(|at| deviation(at).max(least)).collect();
        let mut found = Self {
            members: Vec::new(),
            centre,
            scale,
            nearest: Vec::new(),
            neighbours,
        };
        found.members = features.iter().map(|f| found.standard(f)).collect();
        let own = |at: usize| found.nearest(&found.members[at], Some(at));
        found.nearest = (0..features.len()).map(own).collect();
        Ok(found)
    }

    /// The conformal p of a case.
    ///
    /// # Errors
    /// [`LrError::Width`] for another number of features, [`LrError::Value`] for one that is not finite.
    pub fn p(&self, features: &[f64]) -> Result<f64, LrError> {
        check(features, 0, self.centre.len())?;
        let case = self.standard(features);
        let score = |nearest: &[f64]| nearest.iter().sum::<f64>();
        let own = score(&self.nearest(&case, None));
        let members = self.members.iter().zip(&self.nearest);
        let as_far = members
            .filter(|(member, nearest)| {
                let mut nearest = (*nearest).clone();
                nearest.push(distance(member, &case));
                nearest.sort_by(f64::total_cmp);
                score(&nearest[..self.neighbours]) >= own
            })
            .count();
        Ok((1 + as_far) as f64 / (self.members.len() + 1) as f64)
    }

    fn standard(&self, features: &[f64]) -> Vec<f64> {
        let scaled = features.iter().zip(&self.centre).zip(&self.scale);
        scaled
            .map(|((x, centre), scale)| (x - centre) / scale)
            .collect()
    }

    fn nearest(&self, from: &[f64], but: Option<usize>) -> Vec<f64> {
        let others = self.members.iter().enumerate();
        let others = others.filter(|(at, _)| Some(*at) != but);
        let mut all: Vec<f64> = others.map(|(_, member)| distance(member, from)).collect();
        all.sort_by(f64::total_cmp);
        all.truncate(self.neighbours);
        all
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

fn check(values: &[f64], row: usize, width: usize) -> Result<(), LrError> {
    if values.len() != width {
        return Err(LrError::Width {
            row,
            got: values.len(),
            expected: width,
        });
    }
    match values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        None => Ok(()),
        Some((index, got)) => Err(LrError::Value {
            index,
            got: *got,
            expected: "a finite number",
        }),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn members(n: usize) -> Vec<Vec<f64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        (0..n)
            .map(|_| vec![rng.random::<f64>(), 10.0 * rng.random::<f64>()])
            .collect()
    }

    #[test]
    fn a_case_among_the_members_is_typical_and_one_far_off_is_not() {
        let gate = Typicality::fit(&members(199), 5, 1e-9).expect("members");
        assert!(gate.p(&[0.5, 5.0]).expect("two features") > 0.3);
        let far = gate.p(&[9.0, 5.0]).expect("two features");
        assert_eq!(far, 1.0 / 200.0);
        assert_eq!(Domain::of(far), Domain::Outside);
        assert_eq!(Domain::of(0.02), Domain::Doubtful);
        assert_eq!(Domain::of(0.05), Domain::Inside);
    }

    #[test]
    fn p_of_one_more_draw_is_uniform() {
        let all = members(400);
        let gate = Typicality::fit(&all[..200], 3, 1e-9).expect("members");
        let small = all[200..]
            .iter()
            .filter(|f| gate.p(f).expect("two features") <= 0.1)
            .count();
        // Binomial(200, 0.1) lies within 8 to 34 but for 1 in 1,000.
        assert!((8..=34).contains(&small), "{small}");
    }

    #[test]
    fn what_is_no_feature_is_refused() {
        assert!(Typicality::fit(&members(3), 3, 1e-9).is_err());
        assert!(Typicality::fit(&[vec![0.0], vec![f64::NAN]], 1, 1e-9).is_err());
        let gate = Typicality::fit(&members(10), 1, 1e-9).expect("members");
        assert!(gate.p(&[1.0]).is_err() && gate.p(&[1.0, f64::INFINITY]).is_err());
    }
}
