use gemm::Parallelism;

use super::Threads;

/// A matrix inside a slice: element (i, j) lies at `offset + i·row + j·column`.
#[derive(Clone, Copy)]
pub(super) struct Strided<T> {
    pub(super) data: T,
    pub(super) offset: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<T> Strided<T> {
    pub(super) const fn new(data: T, offset: usize, row: usize, column: usize) -> Self {
        Self {
            data,
            offset,
            row,
            column,
        }
    }

    const fn end(&self, rows: usize, columns: usize) -> usize {
        self.offset + (rows - 1) * self.row + (columns - 1) * self.column
    }
}

/// out ← a·b, or out + a·b, with a (m, k), b (k, n), out (m, n).
///
/// # Panics
/// Where a matrix reaches beyond its slice.
pub(super) fn multiply(
    [m, n, k]: [usize; 3],
    out: Strided<&mut [f32]>,
    a: Strided<&[f32]>,
    b: Strided<&[f32]>,
    accumulate: bool,
    threads: Threads,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(out.end(m, n) < out.data.len(), "the product does not fit");
    assert!(a.end(m, k) < a.data.len(), "the left factor is too short");
    assert!(b.end(k, n) < b.data.len(), "the right factor is too short");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    #[expect(
        unsafe_code,
        reason = "gemm takes pointers; the asserts above bound every element it touches"
    )]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.data.as_mut_ptr().add(out.offset),
            out.column as isize,
            out.row as isize,
            accumulate,
            a.data.as_ptr().add(a.offset),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr().add(b.offset),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_and_accumulation() {
        let a = [0.0, 1.0, 2.0, 3.0, 4.0]; // (2, 2) from offset 1
        let b = [1.0, 10.0, 100.0, 1000.0]; // its transpose is used
        let mut out = [5.0; 6]; // (2, 2) in rows of 3
        for accumulate in [false, true] {
            multiply(
                [2, 2, 2],
                Strided::new(&mut out, 0, 3, 1),
                Strided::new(&a, 1, 2, 1),
                Strided::new(&b, 0, 1, 2),
                accumulate,
                Threads::One,
            );
        }
        assert_eq!(out, [42.0, 4200.0, 5.0, 86.0, 8600.0, 5.0]);
    }

    #[test]
    #[should_panic(expected = "the right factor is too short")]
    fn a_factor_that_reaches_too_far_is_refused() {
        let mut out = [0.0; 4];
        multiply(
            [2, 2, 2],
            Strided::new(&mut out, 0, 2, 1),
            Strided::new(&[0.0; 4], 0, 2, 1),
            Strided::new(&[0.0; 3], 0, 2, 1),
            false,
            Threads::One,
        );
    }
}
