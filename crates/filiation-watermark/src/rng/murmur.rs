/// MurmurHash3 x86 32 (Appleby), seed 0, of words in little-endian order; the length in bytes enters
/// at the end, as for a string.
pub fn murmur3_words(words: &[u32]) -> u32 {
    let mut h = 0_u32;
    for &word in words {
        let k = word
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593);
        h = (h ^ k)
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    h ^= 4 * words.len() as u32;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // The reference hashes of "" and of "test" with seed 0.
        assert_eq!(murmur3_words(&[]), 0);
        assert_eq!(murmur3_words(&[u32::from_le_bytes(*b"test")]), 0xba6b_d213);
    }
}
