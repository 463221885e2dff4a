use std::arch::x86_64::*;

use super::tile::Tile;

/// With three vectors of columns, 12 accumulators of the 16 registers.
pub(super) const ROWS: usize = 4;
const LANES: usize = 8;
const VECTORS: usize = 3;

type Kernel = unsafe fn(&Tile<'_>, &mut [&mut [f32]], usize, usize, usize);

macro_rules! kernels {
    ($vectors:literal) => {
        [
            block::<1, $vectors>,
            block::<2, $vectors>,
            block::<3, $vectors>,
            block::<4, $vectors>,
        ]
    };
}

/// By vectors of columns, then by rows.
static KERNELS: [[Kernel; ROWS]; VECTORS] = [kernels!(1), kernels!(2), kernels!(3)];

/// The caller has seen that the tile fits and that the processor has AVX2 and FMA.
pub(super) fn run(tile: &Tile<'_>, out: &mut [&mut [f32]], at: usize) {
    for column in (0..tile.columns).step_by(VECTORS * LANES) {
        let count = (VECTORS * LANES).min(tile.columns - column);
        let kernel = KERNELS[count.div_ceil(LANES) - 1][out.len() - 1];
        #[expect(
            unsafe_code,
            reason = "`Isa::Avx2` is chosen only where there are AVX2 and FMA"
        )]
        unsafe {
            kernel(tile, out, at, column, count);
        }
    }
}

/// R rows, V vectors of `count` columns from `column` on, of which the last may be partial.
#[target_feature(enable = "avx2,fma")]
fn block<const R: usize, const V: usize>(
    tile: &Tile<'_>,
    out: &mut [&mut [f32]],
    at: usize,
    column: usize,
    count: usize,
) {
    let partial = (count - (V - 1) * LANES) as i32;
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(partial), lanes);
    let mut c = [std::ptr::null_mut(); R];
    for (c, row) in c.iter_mut().zip(out) {
        *c = row[at + column..][..count].as_mut_ptr();
    }
    let mut sums = [[_mm256_setzero_ps(); V]; R];
    let b = &tile.b[column..];
    #[expect(
        unsafe_code,
        reason = "`Tile::run` bounds what is read of a and b, the slicing above what is touched of \
                  each of the R rows of c, and the mask leaves out what lies beyond the columns"
    )]
    unsafe {
        if tile.resume {
            for (sums, c) in sums.iter_mut().zip(c) {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = if v + 1 < V {
                        _mm256_loadu_ps(c.add(v * LANES))
                    } else {
                        _mm256_maskload_ps(c.add(v * LANES), mask)
                    };
                }
            }
        }
        let (mut a, mut b) = (tile.a.as_ptr(), b.as_ptr());
        for _ in 0..tile.depth {
            let mut columns = [_mm256_setzero_ps(); V];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = if v + 1 < V {
                    _mm256_loadu_ps(b.add(v * LANES))
                } else {
                    _mm256_maskload_ps(b.add(v * LANES), mask)
                };
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*a.add(i * tile.a_stride));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = _mm256_fmadd_ps(x, column, *sum);
                }
            }
            a = a.wrapping_add(1);
            b = b.wrapping_add(tile.b_stride);
        }
        for (sums, c) in sums.iter().zip(c) {
            for (v, sum) in sums.iter().enumerate() {
                if v + 1 < V {
                    _mm256_storeu_ps(c.add(v * LANES), *sum);
                } else {
                    _mm256_maskstore_ps(c.add(v * LANES), mask, *sum);
                }
            }
        }
    }
}
