//! `numpy.random.default_rng`: PCG64 (O'Neill 2014, XSL-RR 128/64) under NumPy's `SeedSequence`.

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// NumPy's default generator, seeded by one integer.
#[derive(Debug, Clone)]
pub struct Pcg64 {
    state: u128,
    increment: u128,
    // The high half of a 64-bit draw of which the low half was used.
    half: Option<u32>,
}

impl Pcg64 {
    /// `numpy.random.default_rng(seed)`.
    pub fn new(seed: u64) -> Self {
        let w = seed_words(seed);
        let join = |hi: u64, lo: u64| (u128::from(hi) << 64) | u128::from(lo);
        let increment = (join(w[2], w[3]) << 1) | 1;
        let mut rng = Self {
            state: 0,
            increment,
            half: None,
        };
        rng.step();
        rng.state = rng.state.wrapping_add(join(w[0], w[1]));
        rng.step();
        rng
    }

    fn step(&mut self) {
        self.state = self
            .state
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(self.increment);
    }

    fn next_u64(&mut self) -> u64 {
        self.step();
        let mixed = (self.state >> 64) as u64 ^ self.state as u64;
        mixed.rotate_right((self.state >> 122) as u32)
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(high) = self.half.take() {
            return high;
        }
        let both = self.next_u64();
        self.half = Some((both >> 32) as u32);
        both as u32
    }

    // Draws under the next power of two until one is at most `largest`.
    fn at_most(&mut self, largest: u32) -> u32 {
        if largest == 0 {
            return 0;
        }
        let mask = u32::MAX >> largest.leading_zeros();
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= largest {
                return drawn;
            }
        }
    }

    /// `Generator.shuffle` of a list of fewer than 2³² items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.at_most(i as u32) as usize;
            items.swap(i, j);
        }
    }
}

// NumPy's SeedSequence (after O'Neill's seed_seq_fe): four words of pool, eight words of output.
fn seed_words(seed: u64) -> [u64; 4] {
    const POOL: usize = 4;
    let entropy: &[u32] = &[seed as u32, (seed >> 32) as u32];
    let entropy = if seed >> 32 == 0 {
        &entropy[..1]
    } else {
        entropy
    };
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let mut value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        value = value.wrapping_mul(constant);
        value ^ (value >> 16)
    };
    let mix = |x: u32, y: u32| {
        let mixed = x
            .wrapping_mul(0xca01_f9dd)
            .wrapping_sub(y.wrapping_mul(0x4973_f715));
        mixed ^ (mixed >> 16)
    };
    let mut pool = [0; POOL];
    for (i, word) in pool.iter_mut().enumerate() {
        *word = hash(entropy.get(i).copied().unwrap_or(0));
    }
    for from in 0..POOL {
        for to in 0..POOL {
            if from != to {
                pool[to] = mix(pool[to], hash(pool[from]));
            }
        }
    }
    let mut constant = 0x8b51_f9dd_u32;
    let mut out = [0_u32; 8];
    for (i, word) in out.iter_mut().enumerate() {
        let mut value = pool[i % POOL] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        value = value.wrapping_mul(constant);
        *word = value ^ (value >> 16);
    }
    std::array::from_fn(|i| u64::from(out[2 * i]) | (u64::from(out[2 * i + 1]) << 32))
}
