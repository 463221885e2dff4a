use std::arch::x86_64::*;

use super::tile::Tile;

/// With three vectors of columns, 24 accumulators of the 32 registers.
pub(super) const ROWS: usize = 8;
const LANES: usize = 16;
/// A whole panel.
pub(super) const COLUMNS: usize = 3 * LANES;
/// Inputs between two looks at what is to be brought near.
const STRIDE: usize = 8;
const LINE: usize = 64;

type Kernel = unsafe fn(&Tile<'_>, &mut [&mut [f32]], usize);

macro_rules! kernels {
    ($vectors:literal) => {
        [
            block::<1, $vectors>,
            block::<2, $vectors>,
            block::<3, $vectors>,
            block::<4, $vectors>,
            block::<5, $vectors>,
            block::<6, $vectors>,
            block::<7, $vectors>,
            block::<8, $vectors>,
        ]
    };
}

/// By vectors of columns, then by rows.
static KERNELS: [[Kernel; ROWS]; 3] = [kernels!(1), kernels!(2), kernels!(3)];

/// The caller has seen that the tile fits and that the processor has AVX-512.
pub(super) fn run(tile: &Tile<'_>, out: &mut [&mut [f32]], at: usize) {
    let kernel = KERNELS[tile.columns.div_ceil(LANES) - 1][out.len() - 1];
    #[expect(
        unsafe_code,
        reason = "`Isa::Avx512` is chosen only where there is AVX-512"
    )]
    unsafe {
        kernel(tile, out, at);
    }
}

/// R rows, V vectors of columns of which the last may be partial.
#[target_feature(enable = "avx512f")]
fn block<const R: usize, const V: usize>(tile: &Tile<'_>, out: &mut [&mut [f32]], at: usize) {
    let partial = tile.columns - (V - 1) * LANES;
    let mask = (u32::MAX >> (32 - partial)) as __mmask16;
    let mut c = [std::ptr::null_mut(); R];
    for (c, row) in c.iter_mut().zip(out) {
        *c = row[at..][..tile.columns].as_mut_ptr();
    }
    let lines = tile.ahead.len().div_ceil(LINE);
    let lines_each = lines.div_ceil(tile.depth.div_ceil(STRIDE));
    let mut ahead = tile.ahead.as_ptr();
    let mut sums = [[_mm512_setzero_ps(); V]; R];
    #[expect(
        unsafe_code,
        reason = "`Tile::run` bounds what is read of a and b, the slicing above what is touched of \
                  each of the R rows of c, and the mask leaves out what lies beyond the columns; a \
                  prefetch reads nothing"
    )]
    unsafe {
        if tile.resume {
            for (sums, c) in sums.iter_mut().zip(c) {
                for (v, sum) in sums.iter_mut().enumerate() {
                    let mask = if v + 1 < V { !0 } else { mask };
                    *sum = _mm512_maskz_loadu_ps(mask, c.add(v * LANES));
                }
            }
        }
        let (mut a, mut b) = (tile.a.as_ptr(), tile.b.as_ptr());
        let mut left = tile.depth;
        while left > 0 {
            for _ in 0..lines_each {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(LINE);
            }
            let now = left.min(STRIDE);
            for _ in 0..now {
                let mut columns = [_mm512_setzero_ps(); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = if v + 1 < V {
                        _mm512_loadu_ps(b.add(v * LANES))
                    } else {
                        _mm512_maskz_loadu_ps(mask, b.add(v * LANES))
                    };
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(i * tile.a_stride));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = _mm512_fmadd_ps(x, column, *sum);
                    }
                }
                a = a.wrapping_add(1);
                b = b.wrapping_add(tile.b_stride);
            }
            left -= now;
        }
        for (sums, c) in sums.iter().zip(c) {
            for (v, sum) in sums.iter().enumerate() {
                let mask = if v + 1 < V { !0 } else { mask };
                _mm512_mask_storeu_ps(c.add(v * LANES), mask, *sum);
            }
        }
    }
}
