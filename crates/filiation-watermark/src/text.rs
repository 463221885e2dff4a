//! From tokens to the units that a scheme scores: a window and the token after it.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::WatermarkError;
use crate::scheme::{Dedup, Draw, Reading, Scheme};

/// The tokens of a window, oldest first. Usual ones lie where the value does.
pub type Window = SmallVec<[u32; 4]>;

/// A window and the token that was chosen after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Oldest first. Shorter than the scheme's width only at the beginning of a text.
    pub window: Window,
    /// The token.
    pub token: u32,
}

/// The units of one or more texts, repetitions of a window left out as the rule says. The order is
/// that of the texts. Which of them count under a key, the key says: [`Units::counted`].
#[derive(Clone)]
pub struct Units<'a> {
    scheme: &'a dyn Scheme,
    reading: Reading,
    // Whether windows with one seed are one window, and those without a key none.
    by_seed: bool,
    units: Vec<Unit>,
    // Keys of the rule that were met; never iterated.
    met: HashSet<Unit, RandomState>,
    repeated: u64,
}

/// The units that count under one key.
#[derive(Debug, Clone)]
pub struct Counted<'a> {
    /// They.
    pub units: Vec<&'a Unit>,
    /// Left out as repetitions of a window, or of its seed.
    pub repeated: u64,
    /// Left out since every key would score them alike.
    pub keyless: u64,
}

impl<'a> Units<'a> {
    /// None yet, by the rule under which the null holds: that of the scheme; windows that share a
    /// seed are one, and windows whose score no key changes do not count.
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
            met: HashSet::default(),
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
        self.units.reserve(text.len());
        self.met.reserve(text.len());
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
        let key = self.key(&unit, || unit.window.clone());
        if key.is_none_or(|key| self.met.insert(key)) {
            self.units.push(unit);
        } else {
            self.repeated += 1;
        }
    }

    // What the rule counts once; `None` where it counts everything.
    fn key(&self, unit: &Unit, window: impl Fn() -> Window) -> Option<Unit> {
        let met = |window, token| Some(Unit { window, token });
        match self.reading.dedup {
            Dedup::None => None,
            Dedup::Window => met(window(), 0),
            Dedup::WindowToken => met(window(), unit.token),
            Dedup::Token => met(Window::new(), unit.token),
        }
    }

    /// The units that count under the key of `scheme`, one of the same kind. Which windows share a
    /// seed differs from key to key, so each key is asked about all of them.
    pub fn counted(&self, scheme: &dyn Scheme) -> Counted<'_> {
        let mut counted = Counted {
            units: Vec::with_capacity(self.units.len()),
            repeated: self.repeated,
            keyless: 0,
        };
        let mut met: HashSet<Unit, RandomState> = HashSet::default();
        for unit in &self.units {
            let draw = match self.by_seed {
                true => scheme.draw(&unit.window, unit.token),
                false => Draw::Own,
            };
            match draw {
                Draw::Keyless => counted.keyless += 1,
                Draw::Shared(seed)
                    if self
                        .key(unit, || {
                            Window::from_slice(&[seed as u32, (seed >> 32) as u32])
                        })
                        .is_some_and(|key| !met.insert(key)) =>
                {
                    counted.repeated += 1;
                }
                Draw::Own | Draw::Shared(_) => counted.units.push(unit),
            }
        }
        counted
    }

    /// All units, repetitions of a window left out.
    pub fn as_slice(&self) -> &[Unit] {
        &self.units
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
