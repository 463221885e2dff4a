//! From tokens to the units that a scheme scores: a window and the token after it.

use std::collections::HashSet;

use crate::WatermarkError;
use crate::scheme::{Dedup, Reading, Scheme};

/// A window and the token that was chosen after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Oldest first. Shorter than the scheme's width only at the beginning of a text.
    pub window: Box<[u32]>,
    /// The token.
    pub token: u32,
}

/// The units of one or more texts, repetitions left out as the rule says. The order is that of the
/// texts.
#[derive(Clone)]
pub struct Units<'a> {
    scheme: &'a dyn Scheme,
    reading: Reading,
    // Whether windows with one seed are one window.
    by_seed: bool,
    units: Vec<Unit>,
    // Keys of the rule that were met; never iterated.
    met: HashSet<Unit>,
    repeated: u64,
}

impl<'a> Units<'a> {
    /// None yet, by the rule under which the null holds: that of the scheme, and windows that share a
    /// seed are one.
    pub fn of(scheme: &'a dyn Scheme) -> Self {
        Self {
            by_seed: true,
            ..Self::with(scheme, scheme.reading().dedup)
        }
    }

    /// None yet, by another rule: to compare with a reference that has no valid one.
    pub fn with(scheme: &'a dyn Scheme, dedup: Dedup) -> Self {
        Self {
            scheme,
            by_seed: false,
            reading: Reading {
                dedup,
                ..scheme.reading()
            },
            units: Vec::new(),
            met: HashSet::new(),
            repeated: 0,
        }
    }

    /// Adds the tokens of a text. Windows of schemes that see the prompt reach into `prompt`, which
    /// is not scored itself.
    ///
    /// # Errors
    /// [`WatermarkError::Token`] for an id that the vocabulary does not have; nothing is added then.
    pub fn add(&mut self, prompt: &[u32], text: &[u32]) -> Result<(), WatermarkError> {
        check_vocabulary(prompt, self.scheme.vocabulary())?;
        check_vocabulary(text, self.scheme.vocabulary())?;
        let Reading { width, pad, .. } = self.reading;
        // A scheme that pads sees the generated tokens only.
        let before: Vec<u32> = match pad {
            Some(pad) => vec![pad; width],
            None => prompt.to_vec(),
        };
        let whole: Vec<u32> = before.iter().chain(text).copied().collect();
        let begin = match pad {
            Some(_) => before.len() + self.reading.first,
            None if self.reading.short_after_prompt && !prompt.is_empty() => prompt.len(),
            None => self.reading.first.max(prompt.len()),
        };
        for at in begin..whole.len() {
            self.push(Unit {
                window: whole[at.saturating_sub(width)..at].into(),
                token: whole[at],
            });
        }
        Ok(())
    }

    /// Adds one unit, unless the rule has met it.
    pub fn push(&mut self, unit: Unit) {
        let window = || {
            let shared = self
                .by_seed
                .then(|| self.scheme.shared(&unit.window, unit.token));
            match shared.flatten() {
                Some(seed) => [seed as u32, (seed >> 32) as u32].into(),
                None => unit.window.clone(),
            }
        };
        let met = |window, token| Some(Unit { window, token });
        let key = match self.reading.dedup {
            Dedup::None => None,
            Dedup::Window => met(window(), 0),
            Dedup::WindowToken => met(window(), unit.token),
            Dedup::Token => met(Box::default(), unit.token),
        };
        if key.is_none_or(|key| self.met.insert(key)) {
            self.units.push(unit);
        } else {
            self.repeated += 1;
        }
    }

    /// The units that count.
    pub fn as_slice(&self) -> &[Unit] {
        &self.units
    }

    /// Units left out as repetitions.
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// The rule.
    pub const fn dedup(&self) -> Dedup {
        self.reading.dedup
    }
}

pub(crate) fn check_vocabulary(
    tokens: &[u32],
    vocabulary: Option<u32>,
) -> Result<(), WatermarkError> {
    let Some(vocabulary) = vocabulary else {
        return Ok(());
    };
    match tokens.iter().position(|t| *t >= vocabulary) {
        Some(position) => Err(WatermarkError::Token {
            found: tokens[position],
            position,
            vocabulary,
        }),
        None => Ok(()),
    }
}
