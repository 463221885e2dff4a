use std::collections::BTreeMap;

use filiation_core::Role;
use rand_chacha::ChaCha8Rng;

use crate::check::within;
use crate::text::{Stream, stream, uniform};
use crate::{LabError, ModelRecipe, Slice, TeacherRecipe};

/// A model but for its text and seed.
pub(super) struct Made<'a> {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) shape: Option<String>,
    pub(super) start: Option<String>,
    pub(super) schedule: &'a str,
    pub(super) rows: usize,
    pub(super) teacher: Option<TeacherRecipe>,
}

/// Hands out the lines of a pool, each once, and seeds.
pub(super) struct Dealer<'a> {
    group: &'a str,
    /// What is left of each source.
    left: BTreeMap<&'a str, Vec<Slice>>,
    /// Lines of each source at the start.
    pool: BTreeMap<&'a str, usize>,
    spread: f64,
    rng: ChaCha8Rng,
    seed: u64,
}

impl<'a> Dealer<'a> {
    pub(super) fn new(
        group: &'a str,
        text: &'a [Slice],
        spread: f64,
        seed: u64,
    ) -> Result<Self, LabError> {
        within(group, "spread", spread, 1.0..=100.0, "1 to 100")?;
        let mut left: BTreeMap<&str, Vec<Slice>> = BTreeMap::new();
        for slice in text {
            left.entry(&slice.source).or_default().push(slice.clone());
        }
        let lines = |slices: &Vec<Slice>| slices.iter().map(Slice::lines).sum();
        Ok(Self {
            group,
            pool: left.iter().map(|(name, s)| (*name, lines(s))).collect(),
            left,
            spread,
            rng: stream(seed, Stream::Deal),
            seed,
        })
    }

    pub(super) fn model(&mut self, made: Made<'_>) -> Result<ModelRecipe, LabError> {
        let share = made.teacher.as_ref().map_or(0.0, |t| t.share);
        let drawn = (share * made.rows as f64).round() as usize;
        let text = self.deal(&made.name, made.rows.saturating_sub(drawn))?;
        let seed = self.seed;
        self.seed += 1;
        Ok(ModelRecipe {
            name: made.name,
            role: made.role,
            shape: made.shape,
            start: made.start,
            schedule: made.schedule.into(),
            seed,
            text,
            rows: Some(made.rows),
            teacher: made.teacher,
        })
    }

    /// `rows` lines, by the largest remainder of their shares.
    fn deal(&mut self, model: &str, rows: usize) -> Result<Vec<Slice>, LabError> {
        let mut weights = Vec::new();
        for (source, lines) in &self.pool {
            // Sums, products and quotients alone: the same on every machine.
            let factor = 1.0 + uniform(&mut self.rng) * (self.spread - 1.0);
            let up = uniform(&mut self.rng) < 0.5;
            let factor = if up { factor } else { factor.recip() };
            weights.push((*source, *lines as f64 * factor));
        }
        let total: f64 = weights.iter().map(|(_, w)| w).sum();
        let mut shares: Vec<(&str, usize, f64)> = weights
            .iter()
            .map(|(source, w)| {
                let exact = if total > 0.0 {
                    rows as f64 * w / total
                } else {
                    0.0
                };
                (*source, exact.floor() as usize, exact - exact.floor())
            })
            .collect();
        let missing = rows - shares.iter().map(|s| s.1).sum::<usize>().min(rows);
        shares.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(b.0)));
        shares.iter_mut().take(missing).for_each(|s| s.1 += 1);
        shares.sort_by(|a, b| a.0.cmp(b.0));
        let mut text = Vec::new();
        for (source, wanted, _) in shares.iter().filter(|s| s.1 > 0) {
            text.extend(self.take(model, source, *wanted)?);
        }
        Ok(text)
    }

    fn take(&mut self, model: &str, source: &str, wanted: usize) -> Result<Vec<Slice>, LabError> {
        let slices = self
            .left
            .get_mut(source)
            .map_or(&mut [][..], Vec::as_mut_slice);
        let left: usize = slices.iter().map(Slice::lines).sum();
        if left < wanted {
            return Err(LabError::Pool {
                group: self.group.into(),
                model: model.into(),
                source_name: source.into(),
                wanted,
                left,
            });
        }
        let mut need = wanted;
        let mut taken = Vec::new();
        for slice in slices {
            let lines = slice.lines().min(need);
            if lines > 0 {
                taken.push(Slice {
                    source: source.into(),
                    from: slice.from,
                    to: slice.from + lines,
                });
                slice.from += lines;
                need -= lines;
            }
        }
        Ok(taken)
    }
}
