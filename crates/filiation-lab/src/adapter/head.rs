//! Cross-entropy at the head without the logits of a whole vocabulary: softmax taken part by part,
//! as attention over keys is.

use crate::kernels::{dot, exponentials, largest, multiply_by, widest};
use crate::product::{View, multiply};

/// Rows whose logits are held at once.
const ROWS: usize = 128;
/// Ids whose logits are held at once.
const PART: usize = 1024;

/// Final hidden rows of a decoder, and its head: a row an id.
#[derive(Clone, Copy)]
pub(crate) struct Headed<'a> {
    pub(crate) hidden: &'a [f32],
    pub(crate) head: &'a [f32],
    pub(crate) width: usize,
}

/// What rows are held against.
pub(crate) enum Goal<'a> {
    /// The next token of each.
    Tokens(&'a [u32]),
    /// The distribution that a decoder of the same vocabulary gives at the same place.
    Distribution(Headed<'a>),
}

/// The softmax of a row, as far as it has gone.
#[derive(Clone, Copy)]
pub(crate) struct Mass {
    top: f32,
    sum: f32,
    /// Σ e^(own − top)·(logits of another).
    cross: f32,
}

impl Mass {
    const NONE: Self = Self {
        top: f32::NEG_INFINITY,
        sum: 0.0,
        cross: 0.0,
    };

    fn log(self) -> f64 {
        f64::from(self.top) + f64::from(self.sum).ln()
    }
}

impl Headed<'_> {
    const fn rows(&self) -> usize {
        self.hidden.len() / self.width
    }

    fn slice(&self, from: usize, to: usize) -> Self {
        Self {
            hidden: &self.hidden[from * self.width..to * self.width],
            ..*self
        }
    }

    /// Logits of ids `first..first + ids`.
    fn logits(&self, first: usize, ids: usize, out: &mut [f32]) {
        let d = self.width;
        let (hidden, head) = (
            View::rows(self.hidden, d),
            View::columns(&self.head[first * d..], d),
        );
        multiply([self.rows(), ids, d], (out, ids), hidden, head, false);
    }
}

/// The loss (nats, each row times `weight`) of final hidden rows against `goal`; `to_hidden` ←
/// their gradient.
pub(crate) fn score(own: Headed<'_>, goal: &Goal<'_>, weight: f32, to_hidden: &mut [f32]) -> f64 {
    let rows = own.rows();
    let mut loss = 0.0;
    for from in (0..rows).step_by(ROWS) {
        let to = rows.min(from + ROWS);
        let own = own.slice(from, to);
        let to_hidden = &mut to_hidden[from * own.width..to * own.width];
        loss += match goal {
            Goal::Tokens(tokens) => against_tokens(own, &tokens[from..to], to_hidden),
            Goal::Distribution(taught) => {
                against_distribution(own, taught.slice(from, to), to_hidden)
            }
        };
        multiply_by(to_hidden, weight);
    }
    loss * f64::from(weight)
}

/// Parts of a vocabulary: the first id and the number of each.
fn parts(ids: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..ids)
        .step_by(PART)
        .map(move |at| (at, PART.min(ids - at)))
}

/// `mean` ← mean + weights·head, the weights those of ids `first..first + ids`.
fn gather(own: Headed<'_>, weights: &[f32], (first, ids): (usize, usize), mean: &mut [f32]) {
    let d = own.width;
    let (weights, head) = (
        View::rows(weights, ids),
        View::rows(&own.head[first * d..], d),
    );
    multiply([own.rows(), d, ids], (mean, d), weights, head, true);
}

fn against_tokens(own: Headed<'_>, tokens: &[u32], mean: &mut [f32]) -> f64 {
    let d = own.width;
    let mut masses = vec![Mass::NONE; own.rows()];
    let mut logits = vec![0.0; own.rows() * PART];
    mean.fill(0.0);
    for (first, ids) in parts(own.head.len() / d) {
        let logits = &mut logits[..own.rows() * ids];
        own.logits(first, ids, logits);
        let rows = logits.chunks_exact_mut(ids).zip(mean.chunks_exact_mut(d));
        for ((logits, mean), mass) in rows.zip(&mut masses) {
            absorb(logits, &[], mass, mean);
        }
        gather(own, logits, (first, ids), mean);
    }
    let mut loss = 0.0;
    let rows = own.hidden.chunks_exact(d).zip(mean.chunks_exact_mut(d));
    for (((hidden, mean), mass), token) in rows.zip(masses).zip(tokens) {
        let row = &own.head[*token as usize * d..][..d];
        loss += mass.log() - f64::from(dot(hidden, row));
        let share = 1.0 / mass.sum;
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, r)| *m = m.mul_add(share, -r));
    }
    loss
}

/// Cross-entropy with the taught distribution: its divergence and a constant.
fn against_distribution(own: Headed<'_>, taught: Headed<'_>, mean: &mut [f32]) -> f64 {
    let (d, rows) = (own.width, own.rows());
    let mut masses = [vec![Mass::NONE; rows], vec![Mass::NONE; rows]];
    let mut logits = [vec![0.0; rows * PART], vec![0.0; rows * PART]];
    let mut wanted = vec![0.0; mean.len()];
    mean.fill(0.0);
    for (first, ids) in parts(own.head.len() / d) {
        let [mine, theirs] = &mut logits;
        let (mine, theirs) = (&mut mine[..rows * ids], &mut theirs[..rows * ids]);
        own.logits(first, ids, mine);
        taught.logits(first, ids, theirs);
        let [own_masses, taught_masses] = &mut masses;
        let both = theirs.chunks_exact_mut(ids).zip(mine.chunks_exact(ids));
        for (((theirs, mine), mass), wanted) in
            both.zip(taught_masses).zip(wanted.chunks_exact_mut(d))
        {
            absorb(theirs, mine, mass, wanted);
        }
        gather(own, theirs, (first, ids), &mut wanted);
        let mine_rows = mine.chunks_exact_mut(ids).zip(mean.chunks_exact_mut(d));
        for ((mine, mean), mass) in mine_rows.zip(own_masses) {
            absorb(mine, &[], mass, mean);
        }
        gather(own, mine, (first, ids), mean);
    }
    let mut loss = 0.0;
    let [own_masses, taught_masses] = masses;
    let rows = mean.chunks_exact_mut(d).zip(wanted.chunks_exact(d));
    for (((mean, wanted), mine), theirs) in rows.zip(own_masses).zip(taught_masses) {
        loss += mine.log() - f64::from(theirs.cross) / f64::from(theirs.sum);
        let (share, taken) = (1.0 / mine.sum, 1.0 / theirs.sum);
        for (mean, wanted) in mean.iter_mut().zip(wanted) {
            *mean = mean.mul_add(share, -wanted * taken);
        }
    }
    loss
}

widest! {
    /// `logits` ← e^(logits − top) for the largest logit so far; what `mass` and `mean` hold of the
    /// parts before is brought to that. `other` are the logits that the crossed sum is of, or empty.
    fn absorb(logits: &mut [f32], other: &[f32], mass: &mut Mass, mean: &mut [f32]) {
        let top = largest(logits);
        if top > mass.top {
            // Nothing is held yet where the top is −∞.
            let shrink = if mass.sum > 0.0 { (mass.top - top).exp() } else { 0.0 };
            mass.top = top;
            mass.sum *= shrink;
            mass.cross *= shrink;
            multiply_by(mean, shrink);
        }
        mass.sum += exponentials(logits, 1.0, mass.top);
        mass.cross += dot(&logits[..other.len()], other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Stream, stream, uniform};

    fn random(count: usize, seed: u64, size: f64) -> Vec<f32> {
        let mut rng = stream(seed, Stream::Order);
        (0..count)
            .map(|_| ((uniform(&mut rng) - 0.5) * size) as f32)
            .collect()
    }

    /// Loss and gradient by f64 and the definition.
    fn plain(own: Headed<'_>, taught: &[Vec<f64>], weight: f64) -> (f64, Vec<f64>) {
        let d = own.width;
        let (mut loss, mut gradient) = (0.0, vec![0.0; own.hidden.len()]);
        for (row, hidden) in own.hidden.chunks_exact(d).enumerate() {
            let p = distribution(hidden, own.head);
            for (id, (p, t)) in p.iter().zip(&taught[row]).enumerate() {
                loss -= weight * t * p.ln();
                for j in 0..d {
                    gradient[row * d + j] += weight * (p - t) * f64::from(own.head[id * d + j]);
                }
            }
        }
        (loss, gradient)
    }

    fn distribution(hidden: &[f32], head: &[f32]) -> Vec<f64> {
        let logit = |row: &[f32]| -> f64 {
            row.iter()
                .zip(hidden)
                .map(|(r, h)| f64::from(*r) * f64::from(*h))
                .sum()
        };
        let e: Vec<f64> = head
            .chunks_exact(hidden.len())
            .map(|row| logit(row).exp())
            .collect();
        let sum: f64 = e.iter().sum();
        e.iter().map(|e| e / sum).collect()
    }

    fn check(got: (f64, Vec<f32>), want: &(f64, Vec<f64>)) {
        assert!(
            (got.0 / want.0 - 1.0).abs() < 1e-5,
            "{} for {}",
            got.0,
            want.0
        );
        let size = want.1.iter().map(|w| w * w).sum::<f64>().sqrt();
        let off = got
            .1
            .iter()
            .zip(&want.1)
            .map(|(g, w)| (f64::from(*g) - w).powi(2));
        assert!(off.sum::<f64>().sqrt() < 1e-5 * size);
    }

    #[test]
    fn parts_give_what_the_whole_vocabulary_gives() {
        // Two and a half parts, more rows than are held at once, logits of several tens.
        let (ids, d, rows) = (2_600, 6, 150);
        let (head, hidden) = (random(ids * d, 1, 8.0), random(rows * d, 2, 6.0));
        let own = Headed {
            hidden: &hidden,
            head: &head,
            width: d,
        };
        let tokens: Vec<u32> = (0..rows as u32).map(|i| i * 17 % 2_600).collect();
        let mut gradient = vec![9.0; hidden.len()];
        let loss = score(own, &Goal::Tokens(&tokens), 0.25, &mut gradient);
        let one = |token: &u32| {
            (0..ids)
                .map(|id| f64::from(u8::from(id == *token as usize)))
                .collect()
        };
        let taught: Vec<Vec<f64>> = tokens.iter().map(one).collect();
        check((loss, gradient), &plain(own, &taught, 0.25));
    }

    #[test]
    fn a_taught_distribution_takes_the_tokens_place() {
        let (ids, d, wide, rows) = (1_500, 6, 9, 20);
        let (head, hidden) = (random(ids * d, 1, 4.0), random(rows * d, 2, 4.0));
        let (other, seen) = (random(ids * wide, 3, 4.0), random(rows * wide, 4, 4.0));
        let own = Headed {
            hidden: &hidden,
            head: &head,
            width: d,
        };
        let taught = Headed {
            hidden: &seen,
            head: &other,
            width: wide,
        };
        let mut gradient = vec![9.0; hidden.len()];
        let loss = score(own, &Goal::Distribution(taught), 0.5, &mut gradient);
        let distributions: Vec<Vec<f64>> = seen
            .chunks_exact(wide)
            .map(|row| distribution(row, &other))
            .collect();
        check((loss, gradient), &plain(own, &distributions, 0.5));
    }
}
