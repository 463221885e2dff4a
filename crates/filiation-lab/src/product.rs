use gemm::Parallelism;

/// A matrix in a slice: element (i, j) lies at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    row: usize,
    column: usize,
}

impl<'a> View<'a> {
    /// Rows that begin `stride` apart.
    pub(crate) const fn rows(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            row: stride,
            column: 1,
        }
    }

    /// The transpose of [`View::rows`].
    pub(crate) const fn columns(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            row: 1,
            column: stride,
        }
    }

    const fn reaches(&self, rows: usize, columns: usize) -> usize {
        (rows - 1) * self.row + (columns - 1) * self.column
    }
}

/// out ← a·b, or out + a·b, with a (m, k), b (k, n) and the rows of out `stride` apart.
///
/// # Panics
/// Where a matrix reaches beyond its slice, or rows of `out` overlap.
pub(crate) fn multiply(
    [m, n, k]: [usize; 3],
    (out, stride): (&mut [f32], usize),
    a: View<'_>,
    b: View<'_>,
    accumulate: bool,
) {
    assert!(m > 0 && n > 0 && k > 0, "an empty product");
    assert!(n <= stride, "rows of the product overlap");
    assert!(
        (m - 1) * stride + n <= out.len(),
        "the product does not fit"
    );
    assert!(
        a.reaches(m, k) < a.data.len(),
        "the left factor is too short"
    );
    assert!(
        b.reaches(k, n) < b.data.len(),
        "the right factor is too short"
    );
    #[expect(
        unsafe_code,
        reason = "gemm takes pointers; the asserts above bound every element it touches"
    )]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_and_accumulation() {
        let a = [1.0, 2.0, 3.0, 4.0];
        let b = [1.0, 10.0, 100.0, 1000.0]; // its transpose is used
        let mut out = [5.0; 5]; // (2, 2) in rows of 3
        for accumulate in [false, true] {
            let (a, b) = (View::rows(&a, 2), View::columns(&b, 2));
            multiply([2, 2, 2], (&mut out, 3), a, b, accumulate);
        }
        assert_eq!(out, [42.0, 4200.0, 5.0, 86.0, 8600.0]);
    }

    #[test]
    #[should_panic(expected = "the right factor is too short")]
    fn a_factor_that_reaches_too_far_is_refused() {
        let mut out = [0.0; 4];
        let (a, b) = (View::rows(&[0.0; 4], 2), View::rows(&[0.0; 3], 2));
        multiply([2, 2, 2], (&mut out, 2), a, b, false);
    }
}
