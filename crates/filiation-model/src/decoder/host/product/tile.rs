use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// The instructions that a product is computed with. The result is the same by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// A few rows of the left factor times columns of one panel, for a part of the inputs.
pub(super) struct Tile<'a> {
    pub(super) depth: usize,
    /// Row i begins at `i·a_stride`.
    pub(super) a: &'a [f32],
    pub(super) a_stride: usize,
    /// Input k of all columns begins at `k·b_stride`.
    pub(super) b: &'a [f32],
    pub(super) b_stride: usize,
    /// 1 to [`Isa::columns`].
    pub(super) columns: usize,
    /// Whether the chains go on from what is in the output.
    pub(super) resume: bool,
    /// What is read next, to be brought near meanwhile.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only the kernels for x86 bring it near")
    )]
    pub(super) ahead: &'a [u8],
}

impl Isa {
    /// The widest that the processor has.
    pub(in super::super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// All that the processor has.
    #[cfg(test)]
    pub(in super::super) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let all = match Self::best() {
            Self::Avx512 => vec![Self::Avx512, Self::Avx2, Self::Portable],
            Self::Avx2 => vec![Self::Avx2, Self::Portable],
            Self::Portable => vec![Self::Portable],
        };
        #[cfg(not(target_arch = "x86_64"))]
        let all = vec![Self::Portable];
        all
    }

    /// Rows of the largest tile.
    pub(super) const fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::ROWS,
            Self::Portable => portable::ROWS,
        }
    }

    /// Inputs taken at a time. AVX-512 has whole panels pass: from the second-level cache they come as fast as
    /// they are used, and each further part would load and store the sums again. With AVX2 the columns of
    /// a tile (18 KiB) stay in the first-level cache while all rows pass over them. Where no other rows read
    /// them `again`, less is better brought near.
    pub(super) const fn depth(self, again: bool) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 576,
            _ if again => 288,
            _ => 192,
        }
    }

    /// Columns of the largest tile.
    pub(super) const fn columns(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::COLUMNS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::COLUMNS,
            Self::Portable => portable::COLUMNS,
        }
    }
}

impl Tile<'_> {
    /// Fills the columns from `at` on of the rows `out`.
    ///
    /// # Panics
    /// Where the tile reaches beyond what it is given.
    pub(super) fn run(&self, isa: Isa, out: &mut [&mut [f32]], at: usize) {
        let rows = out.len();
        if rows == 0 || self.depth == 0 {
            return;
        }
        assert!(
            (1..=isa.columns()).contains(&self.columns),
            "not one group of columns"
        );
        let a_end = (rows - 1) * self.a_stride + self.depth;
        assert!(a_end <= self.a.len(), "the left factor is too short");
        let b_end = (self.depth - 1) * self.b_stride + self.columns;
        assert!(b_end <= self.b.len(), "the right factor is too short");
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::run(self, out, at),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::run(self, out, at),
            Isa::Portable => portable::run(self, out, at),
        }
    }
}
