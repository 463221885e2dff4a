//! The movement of outcomes towards each teacher.

use filiation_core::Party;

use super::Common;
use super::said::{Said, Tally, Weights, outcomes};
use crate::contrast::{Row, Seats, Table};

/// What everyone said, and where the models moved.
pub(super) struct Moved<'a> {
    pub(super) teachers: Vec<(&'a Party, Tally)>,
    pub(super) base: (&'a Party, Said),
    pub(super) suspect: (&'a Party, Said),
    pub(super) controls: Vec<(&'a Party, Said)>,
    cells: Vec<usize>,
    outcomes: usize,
}

impl<'a> Moved<'a> {
    /// `cells[unit]` names the units that are counted together.
    pub(super) fn of(
        seats: &Seats<'a>,
        common: &Common<'a>,
        cells: &[usize],
        said: impl Fn(&Party) -> Said,
    ) -> Self {
        let teachers: Vec<(&Party, Said)> = seats.teachers.iter().map(|t| (*t, said(t))).collect();
        let base = (seats.base, said(seats.base));
        let suspect = (seats.suspect, said(seats.suspect));
        let controls: Vec<(&Party, Said)> = common.controls.iter().map(|c| (*c, said(c))).collect();
        let everyone = teachers.iter().chain(&controls).chain([&base, &suspect]);
        Self {
            outcomes: outcomes(everyone.map(|(_, said)| said)),
            teachers: teachers
                .iter()
                .map(|(party, said)| (*party, Tally::of([said], cells)))
                .collect(),
            base,
            suspect,
            controls,
            cells: cells.to_vec(),
        }
    }

    /// `values[unit][teacher]`: how much more distinctive of the teacher the model's answers are than
    /// those of the base.
    pub(super) fn table(&self, common: &Common<'_>) -> Table {
        let row = |model: &(&Party, Said)| {
            let controls = self.controls.iter();
            let others = controls.filter(|(party, _)| party.name != model.0.name);
            let controls = Tally::of(others.map(|(_, said)| said), &self.cells);
            let weights = Weights {
                teachers: self.teachers.iter().map(|(_, tally)| tally).collect(),
                controls: &controls,
                outcomes: self.outcomes,
            };
            let of_unit = |(unit, cell): (usize, &usize)| {
                let of_model = weights.of(*cell, &model.1[unit]);
                let of_base = weights.of(*cell, &self.base.1[unit]);
                of_model.iter().zip(of_base).map(|(m, b)| m - b).collect()
            };
            Row {
                model: model.0.name.clone(),
                values: self.cells.iter().enumerate().map(of_unit).collect(),
            }
        };
        Table {
            teachers: self.teachers.iter().map(|(t, _)| t.name.clone()).collect(),
            suspect: row(&self.suspect),
            controls: self.controls.iter().map(row).collect(),
            left_out: common.left_out,
        }
    }
}
