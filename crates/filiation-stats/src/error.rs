/// Why a statistic is not defined for its arguments.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// An argument is outside the domain of the function.
    #[error("`{name}` is {got}, expected {expected}")]
    Domain {
        /// The argument.
        name: &'static str,
        /// Its value.
        got: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Two samples that belong together differ in length.
    #[error("`{name}` has {got} entries, expected {expected}")]
    Length {
        /// The sample.
        name: &'static str,
        /// Entries found.
        got: usize,
        /// Entries expected.
        expected: usize,
    },
    /// Too few values.
    #[error("`{name}` has {got} values, expected at least {least}")]
    TooFew {
        /// The sample.
        name: &'static str,
        /// Values found.
        got: usize,
        /// Values needed.
        least: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index} of `{name}` is not finite")]
    NotFinite {
        /// The sample.
        name: &'static str,
        /// Where.
        index: usize,
    },
    /// A distribution does not sum to one.
    #[error("`{name}` sums to {sum}, expected 1")]
    Sum {
        /// The distribution.
        name: &'static str,
        /// Its sum.
        sum: f64,
    },
    /// All values are equal, so that the statistic is 0/0.
    #[error("`{name}` is constant")]
    Constant {
        /// The sample.
        name: &'static str,
    },
}

pub(crate) fn require(
    holds: bool,
    name: &'static str,
    got: f64,
    expected: &'static str,
) -> Result<(), StatsError> {
    if holds {
        Ok(())
    } else {
        Err(StatsError::Domain {
            name,
            got,
            expected,
        })
    }
}

pub(crate) fn require_finite(name: &'static str, values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { name, index }),
        None => Ok(()),
    }
}

pub(crate) fn require_least(
    name: &'static str,
    got: usize,
    least: usize,
) -> Result<(), StatsError> {
    if got < least {
        Err(StatsError::TooFew { name, got, least })
    } else {
        Ok(())
    }
}
