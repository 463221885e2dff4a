//! The generators and hashes that schemes are built on, bit for bit as their libraries have them.

mod first;
mod mersenne;
mod murmur;
mod pcg;
mod philox;

pub(crate) use first::First;
pub use mersenne::{Mersenne, randperm};
pub use murmur::murmur3_words;
pub use pcg::Pcg64;
pub use philox::philox4x32_10;

/// One step of the linear congruential generator with Knuth's multiplier and increment 1, over an
/// accumulator: (h + x) · 6364136223846793005 + 1 mod 2⁶⁴.
pub const fn lcg(h: u64, x: u64) -> u64 {
    h.wrapping_add(x)
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1)
}
