use filiation_core::Party;

/// Whether a party gave a usable answer, unit by unit.
pub(crate) type Given = Vec<bool>;

/// Where there are answers.
pub(crate) fn given<T>(answers: &[Option<T>]) -> Given {
    answers.iter().map(Option::is_some).collect()
}

/// The units that a contrast can use, and the controls that take part in it.
#[derive(Debug)]
pub(crate) struct Common {
    /// Units that everyone in the core and every control kept answered, in order.
    pub(crate) units: Vec<usize>,
    /// Places of the controls that are kept.
    pub(crate) controls: Vec<usize>,
    pub(crate) left_out: usize,
}

impl Common {
    /// A control that answered fewer than nine tenths of the units of `core` (suspect, base and what
    /// else cannot be done without) is left out, rather than the units that it misses; of the others
    /// the units are.
    pub(crate) fn of(core: &[Given], controls: &[Given]) -> Self {
        let planned = core.first().map_or(0, Vec::len);
        let mut units: Vec<usize> = (0..planned)
            .filter(|&u| core.iter().all(|party| party[u]))
            .collect();
        let answered = |control: &Given| units.iter().filter(|&&u| control[u]).count();
        let kept: Vec<usize> = (0..controls.len())
            .filter(|&c| 10 * answered(&controls[c]) >= 9 * units.len())
            .collect();
        units.retain(|&u| kept.iter().all(|&c| controls[c][u]));
        Self {
            left_out: planned - units.len(),
            units,
            controls: kept,
        }
    }
}

/// The party with the fewest answers, and how many it gave: whom an abstention names.
pub(crate) fn fewest<'a>(
    parties: impl IntoIterator<Item = &'a Party>,
    given: &[Given],
) -> (&'a str, usize) {
    let count = |answers: &Given| answers.iter().filter(|a| **a).count();
    parties
        .into_iter()
        .zip(given)
        .map(|(party, answers)| (party.name.as_str(), count(answers)))
        .min_by_key(|(_, got)| *got)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_that_misses_much_goes_and_units_that_a_kept_one_misses_go() {
        let all = vec![true; 21];
        let mut suspect = all.clone();
        suspect[20] = false;
        let missing = |n: usize| -> Given { (0..21).map(|u| u >= n).collect() };
        let common = Common::of(&[suspect, all.clone()], &[missing(3), missing(2), all]);
        assert_eq!(common.controls, [1, 2]);
        assert_eq!(common.units, (2..20).collect::<Vec<_>>());
        assert_eq!(common.left_out, 3);
    }
}
