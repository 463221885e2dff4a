//! Membership of the first entries of `torch.randperm`, without the permutation.

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::mersenne::{INIT, M, MATRIX, N, UPPER, randperm};

/// Tokens of one seed that are followed together.
const TOGETHER: usize = 4;
/// With more tokens of one seed than this the permutation is built after all.
const MANY: usize = 256;
/// Runs of seeds that one thread takes at once.
const PIECE: usize = 64;

/// Which tokens lie among the first `take` entries of `torch.randperm(n)`, for any seeds.
///
/// A token's place is followed through the exchanges that the permutation is made of: entry i is
/// exchanged with i + u32 % (n − i), and only a token in one of the two moves. Every lane of a vector
/// has a seed of its own, with one generator each, so that no lane waits for another.
#[derive(Debug, Clone)]
pub(crate) struct First {
    n: u32,
    take: u32,
    /// ⌊2³²/d⌋ of the divisors d = n, n − 1, …: a remainder by two products instead of a division.
    reciprocals: Arc<[u32]>,
}

/// What one lane follows: the tokens of one seed.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    seed: u32,
    /// Where they stand in the order of seeds.
    from: usize,
    tokens: usize,
}

impl First {
    /// For vocabularies of `n` tokens, `take` of them on the list.
    pub(crate) fn new(n: u32, take: u32) -> Self {
        let take = take.min(n);
        // The last entry needs no draw.
        let draws = take.min(n.saturating_sub(1));
        let reciprocal = |i: u32| ((1_u64 << 32) / u64::from(n - i)) as u32;
        Self {
            n,
            take,
            reciprocals: (0..draws).map(reciprocal).collect(),
        }
    }

    /// How many are on the list.
    pub(crate) const fn take(&self) -> u32 {
        self.take
    }

    /// Which of `tokens` are on the list of `seed`.
    pub(crate) fn of(&self, seed: u64, tokens: &[u32]) -> Vec<bool> {
        self.each(&vec![seed; tokens.len()], tokens)
    }

    /// Whether each token is on the list of its seed. Tokens of one seed share its draws.
    pub(crate) fn each(&self, seeds: &[u64], tokens: &[u32]) -> Vec<bool> {
        if self.take == self.n {
            return vec![true; tokens.len()];
        }
        // The generator takes the low 32 bits.
        let mut order: Vec<u64> = seeds
            .iter()
            .enumerate()
            .map(|(i, seed)| (seed << 32) | i as u64)
            .collect();
        order.sort_unstable();
        let mut found = vec![false; tokens.len()];
        let mut single = Vec::new();
        let mut several = Vec::new();
        let mut from = 0;
        for alike in order.chunk_by(|a, b| a >> 32 == b >> 32) {
            let seed = (alike[0] >> 32) as u32;
            if alike.len() > MANY {
                self.build(seed, alike, tokens, &mut found);
            } else {
                for part in 0..alike.len().div_ceil(TOGETHER) {
                    let run = Run {
                        seed,
                        from: from + part * TOGETHER,
                        tokens: TOGETHER.min(alike.len() - part * TOGETHER),
                    };
                    if run.tokens == 1 {
                        single.push(run);
                    } else {
                        several.push(run);
                    }
                }
            }
            from += alike.len();
        }
        let token = |at: usize| tokens[(order[at] & u64::from(u32::MAX)) as usize];
        let mut tell = |runs: &[Run], hits: Vec<[bool; TOGETHER]>| {
            for (run, hits) in runs.iter().zip(hits) {
                for (at, hit) in (run.from..run.from + run.tokens).zip(hits) {
                    found[(order[at] & u64::from(u32::MAX)) as usize] = hit;
                }
            }
        };
        tell(&single, self.follow_all::<1>(&single, &token));
        tell(&several, self.follow_all::<TOGETHER>(&several, &token));
        found
    }

    fn build(&self, seed: u32, alike: &[u64], tokens: &[u32], found: &mut [bool]) {
        let mut on = vec![false; self.n as usize];
        for token in randperm(seed.into(), self.n, self.take) {
            on[token as usize] = true;
        }
        for at in alike {
            let at = (at & u64::from(u32::MAX)) as usize;
            found[at] = on.get(tokens[at] as usize) == Some(&true);
        }
    }

    fn follow_all<const K: usize>(
        &self,
        runs: &[Run],
        token: &(impl Fn(usize) -> u32 + Sync),
    ) -> Vec<[bool; TOGETHER]> {
        let arch = Arch::new();
        let pieces = runs.par_chunks(PIECE).map(|runs| {
            arch.dispatch(Follow::<K, _> {
                first: self,
                runs,
                token,
            })
        });
        pieces.collect::<Vec<_>>().concat()
    }
}

/// Follows the tokens of some runs, at most `K` each.
struct Follow<'a, const K: usize, T> {
    first: &'a First,
    runs: &'a [Run],
    token: &'a T,
}

impl<const K: usize, T: Fn(usize) -> u32> WithSimd for Follow<'_, K, T> {
    type Output = Vec<[bool; TOGETHER]>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let lanes = S::U32_LANES;
        let mut found = Vec::with_capacity(self.runs.len());
        let mut state = vec![simd.splat_u32s(0); N];
        for runs in self.runs.chunks(lanes) {
            let mut seeds = [simd.splat_u32s(0)];
            // Lanes without a run, and tokens that a run does not have, lie where nothing comes.
            let mut places = [simd.splat_u32s(u32::MAX); K];
            let seed = bytemuck::cast_slice_mut::<_, u32>(&mut seeds);
            for (seed, run) in seed.iter_mut().zip(runs) {
                *seed = run.seed;
            }
            for (lane, run) in runs.iter().enumerate() {
                for i in 0..run.tokens.min(K) {
                    let row = bytemuck::cast_slice_mut::<_, u32>(&mut places[i..=i]);
                    row[lane] = (self.token)(run.from + i);
                }
            }
            init(simd, &mut state, seeds[0]);
            let asked = runs.iter().map(|run| run.tokens.min(K)).sum();
            let hits = follow(simd, &mut state, places, self.first, asked);
            for lane in 0..runs.len() {
                let mut of = [false; TOGETHER];
                for (i, of) in of.iter_mut().take(K).enumerate() {
                    *of = bytemuck::cast_slice::<_, u32>(&hits[i..=i])[lane] != 0;
                }
                found.push(of);
            }
        }
        found
    }
}

#[inline(always)]
fn init<S: Simd>(simd: S, state: &mut [S::u32s], seeds: S::u32s) {
    let by = simd.splat_u32s(INIT);
    let thirty = simd.splat_u32s(30);
    let mut last = seeds;
    state[0] = last;
    for (j, word) in (1_u32..).zip(&mut state[1..]) {
        let mixed = simd.xor_u32s(last, simd.wrapping_dyn_shr_u32s(last, thirty));
        last = simd.add_u32s(simd.mul_u32s(mixed, by), simd.splat_u32s(j));
        *word = last;
    }
}

/// Ones where the token of a lane was drawn. Stops when all that were `asked` about are.
#[inline(always)]
fn follow<S: Simd, const K: usize>(
    simd: S,
    state: &mut [S::u32s],
    places: [S::u32s; K],
    first: &First,
    asked: usize,
) -> [S::u32s; K] {
    let mut at = Place {
        places,
        hits: [simd.splat_u32s(0); K],
    };
    let mut entry = 0;
    for block in first.reciprocals.chunks(N) {
        // In three parts, by where the other word of the recurrence lies.
        let parts = [
            (0, N - M, M),
            (N - M, N - 1, M.wrapping_sub(N)),
            (N - 1, N, 0),
        ];
        for (from, to, ahead) in parts {
            for k in from..to {
                let next = if k + 1 == N { 0 } else { k + 1 };
                let other = if k + 1 == N {
                    M - 1
                } else {
                    k.wrapping_add(ahead)
                };
                let word = twist(simd, state[k], state[next], state[other]);
                state[k] = word;
                if let Some(reciprocal) = block.get(k) {
                    let i = entry + k as u32;
                    at.draw(simd, temper(simd, word), i, first.n - i, *reciprocal);
                }
            }
        }
        entry += N as u32;
        let drawn: usize = at
            .hits
            .iter()
            .map(|row| {
                let row = std::slice::from_ref(row);
                let row = bytemuck::cast_slice::<_, u32>(row);
                row.iter().filter(|hit| **hit != 0).count()
            })
            .sum();
        if drawn == asked {
            break;
        }
    }
    at.hits
}

struct Place<S: Simd, const K: usize> {
    places: [S::u32s; K],
    hits: [S::u32s; K],
}

impl<S: Simd, const K: usize> Place<S, K> {
    /// Exchanges entry `i` with i + word % d.
    #[inline(always)]
    fn draw(&mut self, simd: S, word: S::u32s, i: u32, d: u32, reciprocal: u32) {
        let divisor = simd.splat_u32s(d);
        // The quotient is right or one too small, since word · (2³²/d − ⌊2³²/d⌋) is below 2³².
        let (_, quotient) = simd.widening_mul_u32s(word, simd.splat_u32s(reciprocal));
        let left = simd.sub_u32s(word, simd.mul_u32s(quotient, divisor));
        let left = simd.min_u32s(left, simd.sub_u32s(left, divisor));
        let entry = simd.splat_u32s(i);
        let target = simd.add_u32s(left, entry);
        for (place, hit) in self.places.iter_mut().zip(&mut self.hits) {
            let drawn = simd.equal_u32s(target, *place);
            *hit = simd.select_u32s(drawn, simd.splat_u32s(1), *hit);
            let own = simd.equal_u32s(entry, *place);
            *place = simd.select_u32s(own, target, *place);
        }
    }
}

#[inline(always)]
fn twist<S: Simd>(simd: S, word: S::u32s, next: S::u32s, other: S::u32s) -> S::u32s {
    let one = simd.splat_u32s(1);
    let upper = simd.and_u32s(word, simd.splat_u32s(UPPER));
    let lower = simd.and_u32s(next, simd.splat_u32s(!UPPER));
    let shifted = simd.wrapping_dyn_shr_u32s(simd.or_u32s(upper, lower), one);
    let odd = simd.sub_u32s(simd.splat_u32s(0), simd.and_u32s(next, one));
    let matrix = simd.and_u32s(odd, simd.splat_u32s(MATRIX));
    simd.xor_u32s(simd.xor_u32s(other, shifted), matrix)
}

#[inline(always)]
fn temper<S: Simd>(simd: S, y: S::u32s) -> S::u32s {
    let right = |y, by| simd.wrapping_dyn_shr_u32s(y, simd.splat_u32s(by));
    let left = |y, by, mask| {
        let shifted = simd.wrapping_dyn_shl_u32s(y, simd.splat_u32s(by));
        simd.and_u32s(shifted, simd.splat_u32s(mask))
    };
    let y = simd.xor_u32s(y, right(y, 11));
    let y = simd.xor_u32s(y, left(y, 7, 0x9d2c_5680));
    let y = simd.xor_u32s(y, left(y, 15, 0xefc6_0000));
    simd.xor_u32s(y, right(y, 18))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Mersenne;

    #[test]
    fn a_token_is_among_the_first_exactly_where_the_permutation_has_it() {
        for (n, take) in [
            (1000, 250),
            (1000, 999),
            (1000, 1000),
            (2, 1),
            (5000, 1),
            (700, 650),
        ] {
            let first = First::new(n, take);
            for seed in [0, 1, 42, 1 << 40] {
                let list = randperm(seed, n, take);
                let tokens: Vec<u32> = (0..n).collect();
                let found = first.of(seed, &tokens);
                for (token, found) in tokens.iter().zip(found) {
                    assert_eq!(found, list.contains(token), "{n} {take} {seed}: {token}");
                }
            }
        }
    }

    #[test]
    fn any_mixture_of_seeds_and_tokens_is_told_apart() {
        let (n, take) = (3000, 900);
        let first = First::new(n, take);
        let mut rng = Mersenne::new(5);
        let seeds: Vec<u64> = (0..2000).map(|_| u64::from(rng.next_u32() % 300)).collect();
        let tokens: Vec<u32> = (0..2000).map(|_| rng.next_u32() % n).collect();
        let found = first.each(&seeds, &tokens);
        for ((seed, token), found) in seeds.iter().zip(&tokens).zip(found) {
            let list = randperm(*seed, n, take);
            assert_eq!(found, list.contains(token), "{seed} {token}");
        }
        assert!(first.each(&[], &[]).is_empty());
    }

    #[test]
    fn quotients_by_a_reciprocal_are_right_or_one_too_small() {
        let mut rng = Mersenne::new(1);
        for _ in 0..1_000_000 {
            let (x, d) = (rng.next_u32(), rng.next_u32() % (1 << 24) + 2);
            let reciprocal = (1_u64 << 32) / u64::from(d);
            let quotient = ((u64::from(x) * reciprocal) >> 32) as u32;
            assert!(quotient == x / d || quotient + 1 == x / d, "{x} {d}");
        }
    }
}
