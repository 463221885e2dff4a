//! Whether the teacher of today could have written what the log says it served.

use filiation_core::{Abstention, Reason};
use filiation_stats::uniform_sum_at_least;

use super::Pair;
use super::ranks::{Place, Reader};
use crate::contrast::undefined;

/// Size of all checks of a log together.
pub(super) const SIZE: f64 = 0.01;

/// One check: places by a score that cannot have learned from the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Check {
    /// By what: `teacher`, `base`, `bytes`; and whether high or scattered.
    pub(super) name: String,
    /// log10 of the exact two-sided p.
    pub(super) log10_p: f64,
}

/// Under the teacher itself, under the base and by length, served responses must stand among fresh
/// ones like any of them: neither high nor low, neither scattered nor crowded.
pub(super) fn check(reader: &Reader<'_>) -> Result<Vec<Check>, Abstention> {
    let mut by = vec![("teacher", Some(reader.teacher)), ("base", reader.base)];
    by.retain(|(_, party)| party.is_some());
    let mut checks = Vec::new();
    for (name, party) in by {
        let scores = distinct(reader).filter_map(|p| Some((p, reader.under(party?, p)?)));
        let places: Vec<Place> = scores.map(|(p, s)| reader.place(p, name, &s)).collect();
        if !places.is_empty() {
            checks.extend(two(name, &places)?);
        }
    }
    if checks.is_empty() {
        let detail = format!(
            "neither `{}` nor a base scores its responses, so that it cannot be checked whether \
             `{}` of today could have written them; needed: a base",
            reader.teacher.name, reader.teacher.name
        );
        return Err(Abstention::new(Reason::NotSupported, detail));
    }
    let lengths = distinct(reader).filter_map(|p| Some((p, reader.lengths(p)?)));
    let places: Vec<Place> = lengths.map(|(p, s)| reader.place(p, "bytes", &s)).collect();
    checks.extend(two("bytes", &places)?);
    refuse(&reader.teacher.name, &checks)?;
    Ok(checks)
}

// Pairs of one prompt may be copies of each other.
fn distinct<'a>(reader: &Reader<'a>) -> impl Iterator<Item = &'a Pair> {
    reader.log.pairs.iter().filter(|pair| pair.first_of_prompt)
}

fn refuse(teacher: &str, checks: &[Check]) -> Result<(), Abstention> {
    let worst = checks.iter().min_by(|a, b| a.log10_p.total_cmp(&b.log10_p));
    let counted = (checks.len() as f64).log10();
    match worst {
        Some(worst) if worst.log10_p + counted <= SIZE.log10() => {
            let detail = format!(
                "`{teacher}` of today could not have written the responses of its log: among fresh \
                 ones they stand otherwise by {} (log10 p {:.1}, {} checks); needed: the version, \
                 the decoding and the whole of the traffic that the log is of",
                worst.name,
                worst.log10_p,
                checks.len()
            );
            Err(Abstention::new(Reason::NotComparable, detail))
        }
        _ => Ok(()),
    }
}

fn two(name: &str, places: &[Place]) -> Result<[Check; 2], Abstention> {
    let high = |p: &Place| ((0..=p.fresh).collect(), p.below);
    let off = |below: u32, fresh: u32| (2 * below).abs_diff(fresh);
    let scatter = |p: &Place| {
        let list = (0..=p.fresh).map(|b| off(b, p.fresh)).collect();
        (list, off(p.below, p.fresh))
    };
    Ok([
        Check {
            name: format!("{name} (height)"),
            log10_p: two_sided(places.iter().map(high).collect())?,
        },
        Check {
            name: format!("{name} (scatter)"),
            log10_p: two_sided(places.iter().map(scatter).collect())?,
        },
    ])
}

// Values, each with the list that it is uniform over.
fn two_sided(drawn: Vec<(Vec<u32>, u32)>) -> Result<f64, Abstention> {
    let turned = drawn.iter().map(|(list, value)| {
        let top = list.iter().copied().max().unwrap_or(0);
        let list: Vec<u32> = list.iter().map(|x| top - x).collect();
        (list, top - value)
    });
    let low = one_sided(turned.collect())?;
    let high = one_sided(drawn)?;
    Ok((low.min(high) + std::f64::consts::LOG10_2).min(0.0))
}

fn one_sided(drawn: Vec<(Vec<u32>, u32)>) -> Result<f64, Abstention> {
    let (lists, values): (Vec<_>, Vec<u32>) = drawn.into_iter().unzip();
    let sum = values.into_iter().map(u64::from).sum();
    uniform_sum_at_least(&lists, sum).map_err(undefined)
}
