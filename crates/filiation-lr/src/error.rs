/// Why a calibration, a bound or a validation cannot be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LrError {
    /// A value that is no number, or infinite where a number is needed.
    #[error("value {index} is {got}, expected {expected}")]
    Value {
        /// Its place, from 0.
        index: usize,
        /// What it is.
        got: f64,
        /// What it must be.
        expected: &'static str,
    },
    /// One class has no values.
    #[error(
        "no value with distilled = {distilled}, expected at least one of each class\n\
         hint: a likelihood ratio needs models of both histories"
    )]
    EmptyClass {
        /// The class.
        distilled: bool,
    },
    /// A row of scores of another width.
    #[error("row {row} has {got} scores, expected {expected}")]
    Width {
        /// Its place, from 0.
        row: usize,
        /// Its scores.
        got: usize,
        /// Those of the other rows.
        expected: usize,
    },
    /// A setting out of its range.
    #[error("`{name}` is {got}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        got: f64,
        /// Its range.
        expected: &'static str,
    },
    /// Two labels of one model and teacher.
    #[error("`{suspect}` is both distilled from `{teacher}` and not")]
    Contradiction {
        /// The model.
        suspect: String,
        /// The teacher.
        teacher: String,
    },
    /// Two records of one model that disagree.
    #[error("`{suspect}` has {what} `{one}` in one record and `{other}` in another")]
    Labels {
        /// The model.
        suspect: String,
        /// What they say of it.
        what: &'static str,
        /// In the first record.
        one: String,
        /// In the other.
        other: String,
    },
    /// One model under two names, with two histories.
    #[error(
        "`{one}` and `{other}` are the same model, and their histories differ\n\
         hint: their files have the same digest; one of the labels is wrong"
    )]
    OneModel {
        /// One name.
        one: String,
        /// The other.
        other: String,
    },
    /// Two records of one model by one probe.
    #[error(
        "`{suspect}` has two records by probe `{probe}`\n\
         hint: two populations whose models share names cannot be read as one"
    )]
    Repeated {
        /// The model.
        suspect: String,
        /// The probe.
        probe: String,
    },
    /// A probe that no model of a population was measured by.
    #[error(
        "no model of the population has leads by probe `{stream}`\n\
         hint: a stream needs a probe whose leads between two candidates do not hang on the others"
    )]
    Unmeasured {
        /// The probe.
        stream: String,
    },
    /// One probe run in two ways within a population.
    #[error("one probe was run in two ways: `{one}` and `{other}`")]
    Methods {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// Too few lineages to leave one out, or to say anything.
    #[error(
        "{got} lineages with distilled = {distilled}, expected at least {expected}\n\
         hint: what is left out takes its lineages with it; students that share a base share a lineage"
    )]
    TooFew {
        /// The class.
        distilled: bool,
        /// What there is.
        got: usize,
        /// What is needed.
        expected: usize,
    },
}

/// Refuses the first setting that does not fit: name, value, whether it does, and its range.
pub(crate) fn check_settings(
    settings: &[(&'static str, f64, bool, &'static str)],
) -> Result<(), LrError> {
    let bad = settings
        .iter()
        .find(|(_, got, fits, _)| !(*fits && got.is_finite()));
    match bad.copied() {
        None => Ok(()),
        Some((name, got, _, expected)) => Err(LrError::Setting {
            name,
            got,
            expected,
        }),
    }
}
