//! From inner products to weights and angles.

use filiation_core::Abstention;
use filiation_stats::{LedoitWolf, nnls};

use super::degenerate;
use super::features::{Displaced, LEAST_TO_WHITEN};
use crate::contrast::undefined;

/// Which way one model went.
pub(super) struct Direction {
    /// By teacher: the mixture that comes nearest, the least of them 0.
    pub(super) weights: Vec<f64>,
    /// By teacher: cosine of the angle to what sets it apart.
    pub(super) cosines: Vec<f64>,
    /// δ of the metric; 1 where it is plain.
    pub(super) shrinkage: f64,
}

impl Direction {
    /// What it went towards all teachers alike.
    pub(super) fn alike(&self) -> f64 {
        self.weights.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Directions of suspect and controls over any of the units.
pub(super) struct Directions<'a> {
    displaced: &'a Displaced,
    teachers: usize,
}

/// A vector, as coefficients of the displacements of suspect, teachers and controls.
type Vector = Vec<f64>;

impl<'a> Directions<'a> {
    pub(super) const fn new(displaced: &'a Displaced, teachers: usize) -> Self {
        Self {
            displaced,
            teachers,
        }
    }

    pub(super) fn suspect(&self, units: &[usize]) -> Result<Direction, Abstention> {
        let controls: Vec<usize> = (1 + self.teachers..self.displaced.models).collect();
        self.of(0, &controls, units)
    }

    /// Control `c`, held against the others.
    pub(super) fn control(&self, c: usize, units: &[usize]) -> Result<Direction, Abstention> {
        let own = 1 + self.teachers + c;
        let others = (1 + self.teachers..self.displaced.models).filter(|o| *o != own);
        self.of(own, &others.collect::<Vec<_>>(), units)
    }

    fn of(&self, own: usize, controls: &[usize], units: &[usize]) -> Result<Direction, Abstention> {
        let m = self.displaced.models;
        let one = |i: usize| -> Vector { (0..m).map(|j| f64::from(u8::from(i == j))).collect() };
        let mean = |of: &[usize]| -> Vector {
            let share = 1.0 / of.len().max(1) as f64;
            (0..m)
                .map(|j| if of.contains(&j) { share } else { 0.0 })
                .collect()
        };
        let usual = mean(controls);
        let spread = controls.iter().map(|&c| less(&one(c), &usual, 1.0));
        let mut metric = Metric::new(self.displaced, spread.collect(), units)?;
        let teachers: Vec<usize> = (1..=self.teachers).collect();
        // What all further training does. The mean over teachers holds what is particular to some
        // of them too, and stands in only where there are no controls: then each teacher is taken
        // from it as well.
        let ways = if controls.is_empty() {
            let common = mean(&teachers);
            let ways = teachers.iter().map(|&k| less(&one(k), &common, 1.0));
            let ways = ways.collect();
            metric.take_out(common, 0.0)?;
            ways
        } else {
            let noise = metric.noise_of_mean();
            let share = noise / metric.plain(&usual, &usual);
            metric.take_out(usual, share)?;
            teachers.iter().map(|&k| one(k)).collect::<Vec<_>>()
        };
        metric.direction(&one(own), &ways)
    }
}

// a − factor · b
fn less(a: &Vector, b: &Vector, factor: f64) -> Vector {
    a.iter().zip(b).map(|(x, y)| x - factor * y).collect()
}

struct Metric {
    gram: Vec<f64>,
    m: usize,
    spread: Vec<Vector>,
    whitened: Option<LedoitWolf>,
    /// The direction that counts for nothing, and its squared length.
    out: Option<(Vector, f64)>,
}

impl Metric {
    fn new(
        displaced: &Displaced,
        spread: Vec<Vector>,
        units: &[usize],
    ) -> Result<Self, Abstention> {
        let m = displaced.models;
        let mut gram = vec![0.0; m * m];
        let mut features = 0;
        for &u in units {
            let unit = &displaced.units[u];
            gram.iter_mut()
                .zip(&unit.gram)
                .for_each(|(sum, g)| *sum += g);
            features += unit.features;
        }
        let mut metric = Self {
            gram,
            m,
            spread,
            whitened: None,
            out: None,
        };
        if displaced.controls.len() >= LEAST_TO_WHITEN {
            let n = metric.spread.len();
            let pairs = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
            let of = |(i, j): (usize, usize)| metric.plain(&metric.spread[i], &metric.spread[j]);
            let gram: Vec<f64> = pairs.map(of).collect();
            metric.whitened = Some(LedoitWolf::new(&gram, n, features).map_err(undefined)?);
        }
        Ok(metric)
    }

    fn plain(&self, a: &Vector, b: &Vector) -> f64 {
        let row = |i: usize| &self.gram[i * self.m..(i + 1) * self.m];
        let with = |i: usize| row(i).iter().zip(b).map(|(g, y)| g * y).sum::<f64>();
        a.iter().enumerate().map(|(i, x)| x * with(i)).sum()
    }

    /// The square that chance alone gives the mean over controls.
    fn noise_of_mean(&self) -> f64 {
        let n = self.spread.len() as f64;
        let squares: f64 = self.spread.iter().map(|z| self.plain(z, z)).sum();
        if n > 1.0 {
            squares / (n * (n - 1.0))
        } else {
            0.0
        }
    }

    /// From now on what lies along `direction` counts for nothing. A share `noise` of its squared
    /// length is not of that direction: were it not taken off, some of the direction would stay.
    /// Where most is noise there is no direction to speak of, and it is projected out as it stands.
    fn take_out(&mut self, direction: Vector, noise: f64) -> Result<(), Abstention> {
        let length = self.product(&direction, &direction)?;
        let kept = if noise < 0.5 { 1.0 - noise } else { 1.0 };
        if length > 0.0 {
            self.out = Some((direction, length * kept));
        }
        Ok(())
    }

    fn product(&self, a: &Vector, b: &Vector) -> Result<f64, Abstention> {
        let whole = self.whole(a, b)?;
        let Some((direction, length)) = &self.out else {
            return Ok(whole);
        };
        let along = self.whole(a, direction)? * self.whole(b, direction)?;
        Ok(whole - along / length)
    }

    fn whole(&self, a: &Vector, b: &Vector) -> Result<f64, Abstention> {
        let plain = self.plain(a, b);
        let Some(whitened) = &self.whitened else {
            return Ok(plain);
        };
        let with = |v: &Vector| {
            self.spread
                .iter()
                .map(|s| self.plain(v, s))
                .collect::<Vec<_>>()
        };
        whitened
            .product(plain, &with(a), &with(b))
            .map_err(undefined)
    }

    fn direction(&self, moved: &Vector, apart: &[Vector]) -> Result<Direction, Abstention> {
        let n = apart.len();
        let mut gram = Vec::with_capacity(n * n);
        for a in apart {
            for b in apart {
                gram.push(self.product(a, b)?);
            }
        }
        let towards = apart.iter().map(|a| self.product(a, moved));
        let towards = towards.collect::<Result<Vec<f64>, _>>()?;
        if (0..n).all(|k| gram[k * n + k] <= 0.0) {
            return Err(degenerate("the candidates say the same at every position"));
        }
        let own = self.product(moved, moved)?;
        let cosine = |k: usize| {
            let scale = (own * gram[k * n + k]).max(0.0).sqrt();
            if scale > 0.0 { towards[k] / scale } else { 0.0 }
        };
        Ok(Direction {
            cosines: (0..n).map(cosine).collect(),
            weights: nnls(&gram, &towards).map_err(undefined)?,
            shrinkage: self.whitened.as_ref().map_or(1.0, |w| w.shrinkage),
        })
    }
}
