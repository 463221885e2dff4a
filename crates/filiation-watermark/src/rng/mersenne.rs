//! MT19937 (Matsumoto and Nishimura 1998) as PyTorch's generator on the processor uses it.

pub(super) const N: usize = 624;
pub(super) const M: usize = 397;
pub(super) const UPPER: u32 = 0x8000_0000;
pub(super) const MATRIX: u32 = 0x9908_b0df;
pub(super) const INIT: u32 = 1_812_433_253;

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
                .wrapping_mul(INIT)
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

    fn twist(&mut self) {
        let mix = |hi: u32, lo: u32| {
            let y = (hi & UPPER) | (lo & !UPPER);
            (y >> 1) ^ ((lo & 1).wrapping_neg() & MATRIX)
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

#[cfg(test)]
mod tests {
    use super::*;

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
