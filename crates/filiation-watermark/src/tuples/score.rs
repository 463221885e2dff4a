//! The owner's side: tuples under a key.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use super::{Row, Tuples};
use crate::evidence::normal_at;
use crate::mark::How;
use crate::scheme::{Dedup, Draw, Law, Scheme, derived};
use crate::weighted::{Group, Sum, Weighted};
use crate::{Decoys, Residue, Test, Unit, Units, WatermarkError, Window};

/// What tuples show under one key.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Found {
    /// By the token that is likeliest, or was written: each counts once, by the rule of the scheme.
    pub argmax: Option<Residue>,
    /// By the probabilities after each window.
    pub mass: Option<Weighted>,
    /// By what the probabilities have beyond those of the control: what both share, the language, cancels.
    pub beyond_control: Option<Weighted>,
}

impl Found {
    /// The p to report, log10: of the test that was named before anything was seen, which is
    /// `beyond_control` where there is a control, and else `mass`.
    pub fn reported(&self) -> Option<f64> {
        self.named().map(Weighted::reported)
    }

    /// That test.
    pub fn named(&self) -> Option<&Weighted> {
        self.beyond_control.as_ref().or(self.mass.as_ref())
    }
}

impl Tuples {
    /// Every window with every token that a test would score after it.
    pub fn units<'a>(&self, scheme: &'a dyn Scheme) -> Units<'a> {
        let mut units = Units::with(scheme, Dedup::WindowToken);
        for row in &self.rows {
            let tokens = row.tokens.iter().map(|t| t.0);
            for token in tokens.chain(row.masses.iter().map(|m| m.0)) {
                units.push(Unit {
                    window: Window::from_slice(&row.window),
                    token,
                });
            }
        }
        units
    }
}

impl Test {
    /// Scores `tuples`, against `control` where there is one.
    ///
    /// H0: what the model does after a window was settled without the key. Windows are taken in the
    /// order of the file, which their frequency gives. Windows that share a draw under the key count once;
    /// where marked text was fed, not at all, since one of them may stand before the other.
    ///
    /// # Errors
    /// [`WatermarkError::Mismatch`] for tuples of another width or vocabulary than the key's, for a
    /// control that was read in another way, and for a scheme without windows where marked text was
    /// fed: there every token shows the list to any model.
    pub fn tuples(
        &self,
        scheme: &dyn Scheme,
        tuples: &Tuples,
        control: Option<&Tuples>,
    ) -> Result<Found, WatermarkError> {
        fits(scheme, tuples)?;
        if let Some(control) = control {
            alike(tuples, control)?;
        }
        let mass = Weighing::mass(tuples);
        let beyond = control.map(|control| Weighing::beyond(tuples, control));
        Ok(Found {
            argmax: self.argmax(scheme, tuples)?,
            mass: self.weighted(scheme, tuples, &mass)?,
            beyond_control: match beyond {
                Some(beyond) => self.weighted(scheme, tuples, &beyond)?,
                None => None,
            },
        })
    }

    fn argmax(
        &self,
        scheme: &dyn Scheme,
        tuples: &Tuples,
    ) -> Result<Option<Residue>, WatermarkError> {
        let shared = Shared::of(scheme, tuples);
        let mut units = Units::of(scheme);
        for row in &tuples.rows {
            for (token, _) in &row.tokens {
                if shared.counts_argmax(scheme, row, *token) {
                    units.push(Unit {
                        window: Window::from_slice(&row.window),
                        token: *token,
                    });
                }
            }
        }
        match self.of(scheme, &units) {
            Ok(residue) => Ok(Some(residue)),
            Err(WatermarkError::TooShort { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn weighted(
        &self,
        scheme: &dyn Scheme,
        tuples: &Tuples,
        weighing: &Weighing,
    ) -> Result<Option<Weighted>, WatermarkError> {
        let (groups, left_out) = weighing.groups(scheme, tuples);
        if groups.is_empty() {
            return Ok(None);
        }
        let own = weighing.sum(scheme, &groups);
        let centred = own.centred(&scores(scheme, tuples, &groups));
        let sum: f64 = centred.iter().sum();
        let deviation = own.deviation();
        if deviation <= 0.0 {
            return Ok(None);
        }
        let log10_p = own.log10_bound(sum) / own.inflation();
        let (log10_e, largest) = own.e_process(&centred);
        let beyond = normal_at(self.log10_size) + normal_at(-1.0);
        let decoys = self.weighted_decoys(scheme, tuples, weighing, sum / deviation);
        Ok(Some(Weighted {
            windows: groups.len() as u64,
            left_out,
            excess: sum / own.scale(),
            smallest: beyond * deviation * own.inflation().sqrt() / own.scale(),
            z: sum / deviation,
            log10_p,
            decoys: decoys.map(|(keys, log10_rank, inflation)| Decoys {
                keys,
                log10_p: log10_rank,
                inflation,
                // A sum whose cumulant is K(φλ)/φ: the bound's exponent is divided by φ.
                log10_p_inflated: log10_p / (inflation / own.inflation()).max(1.0),
            }),
            log10_e,
            log10_p_anytime: -largest,
        }))
    }

    // How many keys, log10 of the rank, and the mean square of z, at least 1.
    fn weighted_decoys(
        &self,
        scheme: &dyn Scheme,
        tuples: &Tuples,
        weighing: &Weighing,
        own: f64,
    ) -> Option<(u32, f64, f64)> {
        if self.decoys == 0 {
            return None;
        }
        let zs: Vec<f64> = (0..self.decoys)
            .into_par_iter()
            .map(|i| {
                let decoy = scheme.decoy(derived(self.seed, u64::from(i)));
                let (groups, _) = weighing.groups(&*decoy, tuples);
                let sum = weighing.sum(&*decoy, &groups);
                let centred = sum.centred(&scores(&*decoy, tuples, &groups));
                let deviation = sum.deviation();
                if deviation > 0.0 {
                    centred.iter().sum::<f64>() / deviation
                } else {
                    0.0
                }
            })
            .collect();
        let keys = f64::from(self.decoys);
        let at_least = zs.iter().filter(|z| **z >= own).count() as f64;
        let square: f64 = zs.iter().map(|z| z * z).sum();
        let rank = ((1.0 + at_least) / (keys + 1.0)).log10();
        Some((self.decoys, rank, (square / keys).max(1.0)))
    }
}

fn fits(scheme: &dyn Scheme, tuples: &Tuples) -> Result<(), WatermarkError> {
    let mismatch = |field, found: String, expected: String| {
        Err(WatermarkError::Mismatch {
            field,
            found,
            expected,
        })
    };
    let (header, width) = (&tuples.header, scheme.reading().width);
    if header.width != width {
        let expected = format!("{width}, the key's");
        return mismatch("width", header.width.to_string(), expected);
    }
    if width == 0 && header.marked_text {
        let expected =
            "false for a scheme without windows: marked text shows its list to any model";
        return mismatch("marked_text", "true".into(), expected.into());
    }
    match scheme.vocabulary() {
        // Lists are often drawn over more than the tokenizer has, for padding.
        Some(vocabulary) if header.vocabulary > vocabulary => {
            let expected = format!("at most {vocabulary}, the key's");
            mismatch("vocabulary", header.vocabulary.to_string(), expected)
        }
        _ => Ok(()),
    }
}

fn alike(tuples: &Tuples, control: &Tuples) -> Result<(), WatermarkError> {
    let (a, b) = (&tuples.header, &control.header);
    let pairs = [
        ("mode", format!("{:?}", a.mode), format!("{:?}", b.mode)),
        ("width", a.width.to_string(), b.width.to_string()),
        ("tokenizer", a.tokenizer.clone(), b.tokenizer.clone()),
        ("texts", a.texts.clone(), b.texts.clone()),
    ];
    match pairs.into_iter().find(|(_, a, b)| a != b) {
        None => Ok(()),
        Some((field, expected, found)) => Err(WatermarkError::Mismatch {
            field,
            found,
            expected: format!("{expected}, as of the suspect"),
        }),
    }
}

// Draws that more than one window has, where marked text was fed: none of them counts.
struct Shared(BTreeSet<u64>);

impl Shared {
    fn of(scheme: &dyn Scheme, tuples: &Tuples) -> Self {
        if !tuples.header.marked_text {
            return Self(BTreeSet::new());
        }
        let mut windows: BTreeMap<u64, usize> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        for (i, row) in tuples.rows.iter().enumerate() {
            for token in tokens_of(scheme, row) {
                if let Draw::Shared(seed) = scheme.draw(&row.window, token)
                    && *windows.entry(seed).or_insert(i) != i
                {
                    twice.insert(seed);
                }
            }
        }
        Self(twice)
    }

    fn counts_argmax(&self, scheme: &dyn Scheme, row: &Row, token: u32) -> bool {
        match scheme.draw(&row.window, token) {
            Draw::Shared(seed) => !self.0.contains(&seed),
            Draw::Own | Draw::Keyless => true,
        }
    }
}

// The tokens of a row that draw for themselves: all where the list depends on the token.
fn tokens_of(scheme: &dyn Scheme, row: &Row) -> Vec<u32> {
    match scheme.how() {
        How::SelfSalted { .. } => row.masses.iter().map(|m| m.0).collect(),
        _ => row.masses.iter().take(1).map(|m| m.0).collect(),
    }
}

type Weights = Vec<(u32, f64)>;

/// Weights of all windows, settled before any key.
struct Weighing {
    /// Weights and scale of each row; `None` where the control has no such window.
    rows: Vec<Option<(Weights, f64)>>,
    signed: bool,
}

impl Weighing {
    fn mass(tuples: &Tuples) -> Self {
        let rows = tuples.rows.iter().map(|row| row.masses.clone());
        Self::scaled(tuples, rows.map(Some).collect(), false)
    }

    fn beyond(tuples: &Tuples, control: &Tuples) -> Self {
        let of: BTreeMap<&[u32], &Row> = control.rows.iter().map(|r| (&*r.window, r)).collect();
        let rows = tuples.rows.iter().map(|row| {
            let other = of.get(&*row.window)?;
            let mut all: BTreeMap<u32, f64> = row.masses.iter().copied().collect();
            // To the same total, so that what one of them leaves unsaid is no excess.
            let total = |row: &Row| row.masses.iter().map(|m| m.1).sum::<f64>();
            let factor = total(row) / total(other);
            for (token, mass) in &other.masses {
                *all.entry(*token).or_default() -= factor * mass;
            }
            Some(all.into_iter().filter(|(_, w)| *w != 0.0).collect())
        });
        Self::scaled(tuples, rows.collect(), true)
    }

    // A window counts the more the less chance moves its sum, and the oftener it was learned from:
    // with excess e and variance v after each window the best factor is e/v. Of two windows that are
    // as noisy the more frequent one has the larger excess, up to where all are learned.
    fn scaled(tuples: &Tuples, rows: Vec<Option<Weights>>, signed: bool) -> Self {
        let square = |w: &Weights| w.iter().map(|(_, w)| w * w).sum::<f64>();
        let mut squares: Vec<f64> = rows.iter().flatten().map(square).collect();
        squares.sort_by(f64::total_cmp);
        let middle = squares.get(squares.len() / 2).copied().unwrap_or(1.0);
        let factor = |(row, weights): (&Row, Option<Weights>)| {
            let weights = weights?;
            let factor = (row.frequency as f64).sqrt() / (square(&weights) + middle).max(1e-12);
            let scaled = weights.into_iter().map(|(t, w)| (t, w * factor)).collect();
            Some((scaled, factor))
        };
        Self {
            rows: tuples.rows.iter().zip(rows).map(factor).collect(),
            signed,
        }
    }

    // The windows that count under a key, and how many do not.
    fn groups(&self, scheme: &dyn Scheme, tuples: &Tuples) -> (Vec<Group>, u64) {
        let twice = Shared::of(scheme, tuples);
        let salted = matches!(scheme.how(), How::SelfSalted { .. });
        let mut met: BTreeSet<(u64, u32)> = BTreeSet::new();
        let mut groups = Vec::new();
        let mut left_out = 0;
        for (row, (at, weights)) in tuples.rows.iter().zip(self.rows.iter().enumerate()) {
            let Some((weights, scale)) = weights else {
                continue;
            };
            let mut counts = |token: u32| match scheme.draw(&row.window, token) {
                Draw::Own => true,
                Draw::Keyless => false,
                Draw::Shared(seed) => {
                    let token = if salted { token } else { 0 };
                    !twice.0.contains(&seed) && met.insert((seed, token))
                }
            };
            let kept: Weights = match salted {
                true => weights.iter().copied().filter(|w| counts(w.0)).collect(),
                false if counts(0) => weights.clone(),
                false => Vec::new(),
            };
            if kept.is_empty() {
                left_out += 1;
                continue;
            }
            groups.push(Group {
                row: at,
                weights: kept,
                scale: *scale,
            });
        }
        (groups, left_out)
    }

    fn sum<'a>(&self, scheme: &dyn Scheme, groups: &'a [Group]) -> Sum<'a> {
        let listed = matches!(scheme.law(), Law::Green { .. }) && self.signed;
        Sum {
            law: scheme.law(),
            groups,
            without_replacement: scheme.vocabulary().filter(|_| listed),
        }
    }
}

// The scores of the weighted tokens of each group.
fn scores(scheme: &dyn Scheme, tuples: &Tuples, groups: &[Group]) -> Vec<Vec<f64>> {
    let vocabulary = tuples.header.vocabulary;
    let of = |group: &Group| {
        let window = &tuples.rows[group.row].window;
        let tokens: Vec<u32> = group.weights.iter().map(|w| w.0).collect();
        let many = tokens.len() * 32 > vocabulary as usize;
        match scheme.how() {
            // A whole list costs less than following many tokens through its making.
            How::Green { .. } | How::Gumbel if many && scheme.second_key().is_none() => {
                let all = scheme.all(window, vocabulary);
                tokens
                    .iter()
                    .map(|t| all.get(*t as usize).copied().unwrap_or(0.0))
                    .collect()
            }
            _ => scheme.scores(window, &tokens),
        }
    };
    groups.par_iter().map(of).collect()
}
