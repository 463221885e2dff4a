//! The kernels touch nothing beyond their factors: here memory ends where these do, and a touch of
//! what lies behind ends the process.

use memmap2::{MmapMut, MmapOptions};
use proptest::prelude::*;

use super::*;

/// A multiple of every size of page.
const PAGES: usize = 1 << 16;

/// Values in a map that goes on beyond the end of its file, as `values` do not.
struct Guarded {
    map: MmapMut,
    bytes: Range<usize>,
}

impl Guarded {
    fn new(values: &[f32]) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let end = bytes.len().next_multiple_of(PAGES);
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(end as u64).expect("a length");
        #[expect(
            unsafe_code,
            reason = "the file has no name, so nobody else can change it; what lies beyond its end is \
                      mapped to be out of bounds, and no slice that is handed out reaches there"
        )]
        // SAFETY: as the reason says.
        let map = unsafe { MmapOptions::new().len(end + PAGES).map_mut(&file) };
        let mut guarded = Self {
            map: map.expect("a map"),
            bytes: end - bytes.len()..end,
        };
        guarded.get_mut().copy_from_slice(values);
        guarded
    }

    fn get(&self) -> &[f32] {
        bytemuck::cast_slice(&self.map[self.bytes.clone()])
    }

    fn get_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.map[self.bytes.clone()])
    }
}

fn values(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    (0..count).map(value).collect()
}

/// Every matrix ends where memory does: m rows of k inputs, one panel of n outputs.
fn check([m, n, k]: [usize; 3]) {
    let (a, w) = (values(m * k, 1), values(k * n, 2));
    let (guarded, panel) = (Guarded::new(&a), Guarded::new(&w));
    let begun = values(m * n, 3);
    for isa in Isa::all() {
        let mut out = Guarded::new(&begun);
        let mut rows: Vec<&mut [f32]> = out.get_mut().chunks_exact_mut(n).collect();
        let a_rows = Rows {
            values: guarded.get(),
            stride: k,
            count: m,
        };
        // Inputs outermost, in place, so that nothing is filled up with zeros.
        let b = Panels {
            values: Elements::F32(panel.get()),
            inputs: k,
            outputs: n,
            panel: PANEL,
            row: n,
        };
        multiply(isa, a_rows, b, 0..1, true, &mut rows);
        for (at, found) in out.get().iter().enumerate() {
            let (i, o) = (at / n, at % n);
            let expected = (0..k).fold(begun[at], |sum, j| a[i * k + j].mul_add(w[j * n + o], sum));
            assert_eq!(found.to_bits(), expected.to_bits(), "{isa:?} {m} {n} {k}");
        }
    }
}

#[test]
fn every_width_of_a_tile_stays_within_its_factors() {
    for n in 1..=PANEL {
        check([1 + n % 9, n, 1 + n % 5]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tile_stays_within_its_factors(m in 1_usize..40, n in 1_usize..=PANEL, k in 1_usize..700) {
        check([m, n, k]);
    }
}
