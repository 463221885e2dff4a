//! Probes of what models say: text alone, so that any teacher that writes can take part.

pub mod identity_claims;
mod moved;
pub mod name_ensembles;
pub mod refusal_difference;
mod said;
mod sampled;
#[cfg(test)]
mod scripted;
pub mod style_displacement;

use filiation_core::{Abstention, Party, Reason, Statistic};

use crate::contrast::{self, Given, Measured, Seats, Table, fewest};

/// The units that everyone answered, and the controls that take part.
#[derive(Debug)]
struct Common<'a> {
    units: Vec<usize>,
    controls: Vec<&'a Party>,
    left_out: usize,
}

impl<'a> Common<'a> {
    /// Of `n` units those usable for suspect, base, teachers and the controls that are kept; fewer
    /// than `least` is an abstention that names the party with fewest.
    fn of(
        seats: &Seats<'a>,
        n: usize,
        least: usize,
        counted: &str,
        usable: impl Fn(&Party, usize) -> bool,
    ) -> Result<Self, Abstention> {
        let given = |p: &&Party| -> Given { (0..n).map(|u| usable(p, u)).collect() };
        let needed = seats.core();
        let core: Vec<Given> = needed.iter().map(given).collect();
        let controls: Vec<Given> = seats.controls.iter().map(given).collect();
        let common = contrast::Common::of(&core, &controls);
        if common.units.len() < least {
            let (name, got) = fewest(needed, &core);
            let detail = format!(
                "{} of {n} {counted}s have usable answers of all parties (`{name}` gave {got}), at \
                 least {least} are needed",
                common.units.len()
            );
            return Err(Abstention::new(Reason::TooFewAnswers, detail));
        }
        Ok(Self {
            controls: common.controls.iter().map(|&c| seats.controls[c]).collect(),
            units: common.units,
            left_out: common.left_out,
        })
    }
}

/// The candidate beside the teachers that nothing moves towards.
const NONE: &str = "none of these";

/// The statistic with one more rival, towards which every movement is zero. A suspect that leaves
/// the ways of one teacher does not thereby take on those of another: a candidate must be
/// approached, not only left behind less.
fn against_none(mut table: Table, how: &Measured<'_>) -> Result<Statistic, Abstention> {
    table.teachers.push(NONE.to_owned());
    let rows = std::iter::once(&mut table.suspect).chain(&mut table.controls);
    for row in rows {
        row.values.iter_mut().for_each(|v| v.push(0.0));
    }
    let mut statistic = table.statistic(how)?;
    statistic.candidates.retain(|c| c.candidate != NONE);
    let of_none = |name: &str| {
        name.ends_with(&format!("/{NONE}")) && name.starts_with(how.what)
            || name == format!("log10-p-among-controls/{NONE}")
    };
    statistic.details.retain(|name, _| !of_none(name));
    Ok(statistic)
}

/// A suspect that moved nowhere where teachers differ: `why` says what that means. A score of zero
/// with an interval of no width would pretend to a precision that nothing supports.
fn require_moved(table: &Table, why: &str) -> Result<(), Abstention> {
    if table.suspect.values.iter().flatten().any(|v| *v != 0.0) {
        return Ok(());
    }
    Err(Abstention::new(Reason::Degenerate, why))
}
