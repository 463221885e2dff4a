//! MT19937 (Matsumoto and Nishimura 1998) as PyTorch's generator on the processor uses it.

const N: usize = 624;
const M: usize = 397;

/// The generator of `torch.Generator(device="cpu").manual_seed(seed)`.
///
/// Only the low 32 bits of a seed matter: seeds that agree in them give one stream.
#[derive(Debug, Clone)]
pub struct Mersenne {
    state: [u32; N],
    next: usize,
}

impl Mersenne {
    /// The generator after seeding.
    pub fn new(seed: u64) -> Self {
        let mut state = [0; N];
        state[0] = seed as u32;
        for j in 1..N {
            let before = state[j - 1];
            state[j] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(j as u32);
        }
        Self { state, next: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let word = self.state[self.next];
        self.next += 1;
        temper(word)
    }

    /// The next element of `torch.rand` in single precision: 24 bits.
    pub fn next_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Leaves out the next `n` draws.
    pub fn skip(&mut self, n: u64) {
        let left = (N - self.next) as u64;
        if n < left {
            self.next += n as usize;
            return;
        }
        let beyond = n - left;
        self.twist();
        for _ in 0..beyond / N as u64 {
            self.twist();
        }
        self.next = (beyond % N as u64) as usize;
    }

    // The places that entries from, from + 1, … are exchanged with: from + i + u32 % (n − from − i).
    fn targets(&mut self, from: u32, n: u32, targets: &mut [u32]) {
        let mut filled = 0;
        while filled < targets.len() {
            if self.next == N {
                self.twist();
            }
            let count = (N - self.next).min(targets.len() - filled);
            let words = &self.state[self.next..self.next + count];
            let part = &mut targets[filled..filled + count];
            let first = from + filled as u32;
            for (i, (target, word)) in part.iter_mut().zip(words).enumerate() {
                let entry = first + i as u32;
                *target = entry + remainder(temper(*word), n - entry);
            }
            self.next += count;
            filled += count;
        }
    }

    fn twist(&mut self) {
        let mix = |hi: u32, lo: u32| {
            let y = (hi & 0x8000_0000) | (lo & 0x7fff_ffff);
            (y >> 1) ^ if lo & 1 == 1 { 0x9908_b0df } else { 0 }
        };
        let s = &mut self.state;
        for i in 0..N - M {
            s[i] = s[i + M] ^ mix(s[i], s[i + 1]);
        }
        for i in N - M..N - 1 {
            s[i] = s[i + M - N] ^ mix(s[i], s[i + 1]);
        }
        s[N - 1] = s[M - 1] ^ mix(s[N - 1], s[0]);
        self.next = 0;
    }
}

const fn temper(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}

// x % d by the quotient in double precision, exact for 32 bits: rounded to the nearest whole number
// it is right or one too large. Many of these are computed at once, unlike whole divisions.
fn remainder(x: u32, d: u32) -> u32 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let (x, d) = (f64::from(x), f64::from(d));
    let quotient = (x / d + ROUND) - ROUND;
    let left = x - quotient * d;
    let left = if left < 0.0 { left + d } else { left };
    left as i32 as u32
}

/// The first `take` entries of `torch.randperm(n)` on the processor, seeded.
///
/// Fisher and Yates from the front, by `u32 % left`, its bias kept; so a prefix needs only as many
/// draws as it has entries.
pub fn randperm(seed: u64, n: u32, take: u32) -> Vec<u32> {
    let mut rng = Mersenne::new(seed);
    let mut all: Vec<u32> = (0..n).collect();
    for i in 0..take.min(n.saturating_sub(1)) {
        let other = i + rng.next_u32() % (n - i);
        all.swap(i as usize, other as usize);
    }
    all.truncate(take as usize);
    all
}

/// Which of `tokens` lie among the first `take` entries of `torch.randperm(n)`: each one's place is
/// followed through the exchanges, so that no permutation is built.
pub(crate) fn among_first(seed: u64, n: u32, take: u32, tokens: &[u32]) -> Vec<bool> {
    let mut rng = Mersenne::new(seed);
    let mut place: Vec<u32> = tokens.to_vec();
    let mut found = vec![false; tokens.len()];
    let mut targets = [0; N];
    let last = take.min(n.saturating_sub(1));
    let mut from = 0;
    // A block at a time: exchanges are made with these places, and only a token in one of them moves.
    while from < last && found.contains(&false) {
        let count = (last - from).min(N as u32) as usize;
        let targets = &mut targets[..count];
        rng.targets(from, n, targets);
        for (place, found) in place.iter_mut().zip(&mut found) {
            *found = *found || drawn(place, from, targets);
        }
        from += count as u32;
    }
    // With take = n the last entry needs no draw.
    if take >= n {
        found.fill(true);
    }
    found
}

// Whether the token at `place` is exchanged into one of the entries from..from + targets.len().
fn drawn(place: &mut u32, from: u32, targets: &[u32]) -> bool {
    let end = from + targets.len() as u32;
    let mut at = 0;
    loop {
        // Until its own entry is drawn, the token stays where it is.
        let own = (*place >= from && *place < end).then(|| (*place - from) as usize);
        let until = own.unwrap_or(targets.len());
        if at <= until && contains(&targets[at..until], *place) {
            return true;
        }
        let Some(own) = own.filter(|own| *own >= at) else {
            return false;
        };
        if targets[own] == *place {
            return true;
        }
        *place = targets[own];
        at = own + 1;
    }
}

// Without a way out in the middle, so that many are compared at once.
fn contains(list: &[u32], value: u32) -> bool {
    let any = |part: &[u32]| part.iter().fold(false, |any, x| any | (*x == value));
    list.chunks(128).any(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_among_the_first_exactly_where_the_permutation_has_it() {
        for seed in [0, 1, 42, 1 << 40] {
            let (n, take) = (1000, 250);
            let first = randperm(seed, n, take);
            let tokens: Vec<u32> = (0..n).collect();
            let found = among_first(seed, n, take, &tokens);
            for (token, found) in tokens.iter().zip(found) {
                assert_eq!(found, first.contains(token), "{token}");
                assert_eq!(among_first(seed, n, take, &[*token]), [found], "{token}");
            }
        }
    }

    #[test]
    fn remainders_are_those_of_whole_numbers() {
        let mut rng = Mersenne::new(1);
        for _ in 0..1_000_000 {
            let (x, d) = (rng.next_u32(), rng.next_u32() % 200_000 + 1);
            // The remainder of a divisor below 2³¹ is one.
            assert_eq!(remainder(x, d), x % d, "{x} {d}");
            assert_eq!(remainder(x - x % d, d), 0, "{x} {d}");
        }
        assert_eq!(remainder(u32::MAX, 1), 0);
        assert_eq!(remainder(u32::MAX, 2), 1);
    }

    #[test]
    fn skipping_is_drawing() {
        for n in [0, 1, 623, 624, 625, 1248, 5000] {
            let (mut skipped, mut drawn) = (Mersenne::new(7), Mersenne::new(7));
            for _ in 0..3 {
                assert_eq!(skipped.next_u32(), drawn.next_u32());
            }
            skipped.skip(n);
            for _ in 0..n {
                drawn.next_u32();
            }
            assert_eq!(skipped.next_u32(), drawn.next_u32(), "{n}");
        }
    }
}
