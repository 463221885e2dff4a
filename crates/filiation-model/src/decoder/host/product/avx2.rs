use std::arch::x86_64::*;

use super::tile::Tile;

/// With two vectors of columns, 12 accumulators of the 16 registers: two more hold the columns and one
/// a factor. Four rows of three vectors would need every register, and the compiler spills some.
pub(super) const ROWS: usize = 6;
const LANES: usize = 8;
/// Bytes that one prefetch brings, and steps between prefetches.
const LINE: usize = 64;
const STRIDE: usize = 12;
const VECTORS: usize = 2;
pub(super) const COLUMNS: usize = VECTORS * LANES;

type Kernel = unsafe fn(&Tile<'_>, &mut [&mut [f32]], usize);

macro_rules! kernels {
    ($vectors:literal, $whole:literal) => {
        [
            block::<1, $vectors, $whole>,
            block::<2, $vectors, $whole>,
            block::<3, $vectors, $whole>,
            block::<4, $vectors, $whole>,
            block::<5, $vectors, $whole>,
            block::<6, $vectors, $whole>,
        ]
    };
}

/// By vectors of columns, then by rows, where the last vector is partial.
static PARTIAL: [[Kernel; ROWS]; VECTORS] = [kernels!(1, false), kernels!(2, false)];

/// The same where it is whole. A mask would take the register that the sixth row needs.
static WHOLE: [[Kernel; ROWS]; VECTORS] = [kernels!(1, true), kernels!(2, true)];

/// The caller has seen that the tile fits and that the processor has AVX2 and FMA.
pub(super) fn run(tile: &Tile<'_>, out: &mut [&mut [f32]], at: usize) {
    let kernels = if tile.columns.is_multiple_of(LANES) {
        &WHOLE
    } else {
        &PARTIAL
    };
    let kernel = kernels[tile.columns.div_ceil(LANES) - 1][out.len() - 1];
    #[expect(
        unsafe_code,
        reason = "`Isa::Avx2` is chosen only where there are AVX2 and FMA"
    )]
    unsafe {
        kernel(tile, out, at);
    }
}

/// R rows, V vectors of columns, of which the last is partial if not WHOLE.
#[target_feature(enable = "avx2,fma")]
fn block<const R: usize, const V: usize, const WHOLE: bool>(
    tile: &Tile<'_>,
    out: &mut [&mut [f32]],
    at: usize,
) {
    let lines = tile.ahead.len().div_ceil(LINE);
    let lines_each = lines.div_ceil(tile.depth.div_ceil(STRIDE));
    let mut ahead = tile.ahead.as_ptr();
    let partial = (tile.columns - (V - 1) * LANES) as i32;
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(partial), lanes);
    let mut c = [std::ptr::null_mut(); R];
    for (c, row) in c.iter_mut().zip(out) {
        *c = row[at..][..tile.columns].as_mut_ptr();
    }
    let mut sums = [[_mm256_setzero_ps(); V]; R];
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
                    *sum = if WHOLE || v + 1 < V {
                        _mm256_loadu_ps(c.add(v * LANES))
                    } else {
                        _mm256_maskload_ps(c.add(v * LANES), mask)
                    };
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
            // A number of steps that is known is unrolled, which makes the compiler spill.
            let now = left.min(STRIDE);
            for _ in 0..now {
                let mut columns = [_mm256_setzero_ps(); V];
                for (v, column) in columns.iter_mut().enumerate() {
                    *column = if WHOLE || v + 1 < V {
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
            left -= now;
        }
        for (sums, c) in sums.iter().zip(c) {
            for (v, sum) in sums.iter().enumerate() {
                if WHOLE || v + 1 < V {
                    _mm256_storeu_ps(c.add(v * LANES), *sum);
                } else {
                    _mm256_maskstore_ps(c.add(v * LANES), mask, *sum);
                }
            }
        }
    }
}
