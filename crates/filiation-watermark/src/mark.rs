//! Marking: the rule by which each scheme's reference tilts or chooses the next token.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use filiation_core::{Mark, Marking};

use crate::scheme::{Draw, Scheme, derived};

/// Candidates that are asked where a list depends on the token itself: the rule of both references.
const CANDIDATES: usize = 40;
/// Numbers that lists of windows may hold before they are drawn anew.
const KEPT: usize = 1 << 23;

/// How a scheme marks a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// δ is added to the logits of green tokens; `late`, after temperature and nucleus.
    Green {
        /// Whether temperature and nucleus come first.
        late: bool,
    },
    /// The same, but each of the 40 likeliest tokens has a list of its own.
    SelfSalted {
        /// Whether temperature and nucleus come first.
        late: bool,
    },
    /// The token with the largest u^(1/p) is taken (Gumbel-max).
    Gumbel,
    /// A tournament of two in each layer: p ← p·(1 + g − Σ g·p).
    Tournament,
    /// p ← p·(a + b) with a, b the parts of the token, in keyed order, that lie above α and 1 − α of
    /// the distribution function.
    Reweight,
}

/// Which windows are marked in one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// All.
    None,
    /// Those that are not among so many last ones.
    Last(usize),
    /// Each once, the first so many.
    First(usize),
}

/// A scheme that marks.
///
/// Lists of windows are kept, up to some 64 MiB; what is kept never changes a text.
pub struct Marker {
    scheme: Arc<dyn Scheme>,
    strength: f64,
    lists: Arc<Mutex<Lists>>,
}

// A window, or the seed that it shares with others; and which of two keys.
type Of = (Box<[u32]>, Option<bool>);

#[derive(Default)]
struct Lists {
    of: HashMap<Of, Arc<Vec<f64>>>,
    held: usize,
}

impl Marker {
    /// Marks by the rule of `scheme`. `strength` is δ of green lists, α where distributions are
    /// reweighted, and without effect elsewhere.
    pub fn new(scheme: Box<dyn Scheme>, strength: f64) -> Self {
        Self {
            scheme: Arc::from(scheme),
            strength,
            lists: Arc::default(),
        }
    }

    /// The scheme.
    pub fn scheme(&self) -> &dyn Scheme {
        &*self.scheme
    }
}

impl std::fmt::Debug for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No key is ever printed.
        f.debug_struct("Marker")
            .field("how", &self.scheme.how())
            .field("strength", &self.strength)
            .finish_non_exhaustive()
    }
}

impl Mark for Marker {
    fn begin(&self, prompt: &[u32], seed: u64) -> Box<dyn Marking> {
        let reading = self.scheme.reading();
        let how = self.scheme.how();
        let pad = match how {
            // The tournament begins from a window of zeros and does not see the prompt.
            How::Tournament => Some(0),
            _ => reading.pad,
        };
        let tokens = match pad {
            Some(pad) => vec![pad; reading.width],
            None => prompt.to_vec(),
        };
        Box::new(Answer {
            scheme: Arc::clone(&self.scheme),
            lists: Arc::clone(&self.lists),
            strength: self.strength,
            how,
            width: reading.width,
            short: how == How::Reweight || (reading.short_after_prompt && !prompt.is_empty()),
            met: Met::new(self.scheme.memory()),
            tokens,
            drawn: 0,
            seed,
        })
    }
}

struct Answer {
    scheme: Arc<dyn Scheme>,
    lists: Arc<Mutex<Lists>>,
    strength: f64,
    how: How,
    width: usize,
    // Whether a window may be shorter than that.
    short: bool,
    met: Met,
    tokens: Vec<u32>,
    drawn: u64,
    seed: u64,
}

// The windows of an answer that are not marked again.
enum Met {
    Never,
    Last(usize, VecDeque<Box<[u32]>>),
    First(usize, HashSet<Box<[u32]>>),
}

impl Met {
    fn new(memory: Memory) -> Self {
        match memory {
            Memory::None => Self::Never,
            Memory::Last(n) => Self::Last(n, VecDeque::new()),
            Memory::First(n) => Self::First(n, HashSet::new()),
        }
    }

    // Whether a token after `window` is marked; remembers it.
    fn is_new(&mut self, window: &[u32]) -> bool {
        match self {
            Self::Never => true,
            Self::Last(most, last) => {
                let new = !last.iter().any(|w| **w == *window);
                last.push_front(window.into());
                last.truncate(*most);
                new
            }
            Self::First(most, met) => met.len() < *most && met.insert(window.into()),
        }
    }
}

impl Answer {
    fn window(&self) -> Option<&[u32]> {
        let at = self.tokens.len();
        match at.checked_sub(self.width) {
            Some(from) => Some(&self.tokens[from..]),
            None => self.short.then_some(&self.tokens[..]),
        }
    }

    // Scores of all tokens after a window; those that share a draw share a list.
    fn list(&self, window: &[u32], vocabulary: u32, second: Option<bool>) -> Arc<Vec<f64>> {
        let key: Box<[u32]> = match self.scheme.draw(window, 0) {
            Draw::Shared(seed) => [seed as u32, (seed >> 32) as u32, u32::MAX].into(),
            Draw::Own | Draw::Keyless => window.into(),
        };
        let key = (key, second);
        let Ok(lists) = self.lists.lock() else {
            return Arc::new(self.fresh(window, vocabulary, second));
        };
        if let Some(list) = lists.of.get(&key) {
            return Arc::clone(list);
        }
        drop(lists);
        let list = Arc::new(self.fresh(window, vocabulary, second));
        if let Ok(mut lists) = self.lists.lock() {
            if lists.held + list.len() > KEPT {
                *lists = Lists::default();
            }
            lists.held += list.len();
            lists.of.insert(key, Arc::clone(&list));
        }
        list
    }

    fn fresh(&self, window: &[u32], vocabulary: u32, second: Option<bool>) -> Vec<f64> {
        match second {
            Some(second) => self.scheme.all_under(window, vocabulary, second),
            None => self.scheme.all(window, vocabulary),
        }
    }

    fn candidates(scores: impl Iterator<Item = f64>) -> Vec<u32> {
        let mut order: Vec<(u32, f64)> = (0..).zip(scores).collect();
        let by = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if order.len() > CANDIDATES {
            order.select_nth_unstable_by(CANDIDATES - 1, by);
            order.truncate(CANDIDATES);
        }
        order.into_iter().map(|(id, _)| id).collect()
    }

    fn salted(&self, window: &[u32], candidates: &[u32]) -> Vec<u32> {
        let scores = self.scheme.scores(window, candidates);
        let green = candidates.iter().zip(scores).filter(|(_, s)| *s > 0.0);
        green.map(|(id, _)| *id).collect()
    }

    // In 0..1, from the answer's seed and the place.
    fn coin(&self) -> f64 {
        (derived(self.seed, self.drawn) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn gumbel(&self, window: &[u32], weights: &[f64]) -> Option<u32> {
        let second = self.scheme.second_key().map(|share| self.coin() < share);
        let scores = self.list(window, weights.len() as u32, second);
        let both = weights.iter().zip(scores.iter()).zip(0..);
        let keys = both.filter(|((weight, _), _)| **weight > 0.0);
        // ln w − ln(−ln u) with u = 1 − e^(−score): the order of u^(1/w).
        let keys = keys.map(|((weight, score), id)| {
            let minus_ln_u = -(-(-score).exp_m1()).ln();
            (weight.ln() - minus_ln_u.ln(), id)
        });
        keys.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
            .map(|(_, id)| id)
    }

    fn tournament(&self, window: &[u32], weights: &mut [f64]) {
        let open: Vec<usize> = (0..weights.len()).filter(|&i| weights[i] > 0.0).collect();
        let ids: Vec<u32> = open.iter().map(|&i| i as u32).collect();
        let total: f64 = weights.iter().sum();
        let mut p: Vec<f64> = open.iter().map(|&i| weights[i] / total).collect();
        for bits in self.scheme.layers(window, &ids) {
            let won = |bit: &bool| f64::from(u8::from(*bit));
            let mass: f64 = bits.iter().zip(&p).map(|(bit, p)| won(bit) * p).sum();
            for (p, bit) in p.iter_mut().zip(&bits) {
                *p *= 1.0 + won(bit) - mass;
            }
        }
        for (&i, p) in open.iter().zip(p) {
            weights[i] = p;
        }
    }

    fn reweight(&self, window: &[u32], weights: &mut [f64]) {
        let total: f64 = weights.iter().sum();
        let above = |low: f64, high: f64, at: f64| (high - low.max(at)).max(0.0);
        let mut low = 0.0;
        for id in self.scheme.permutation(window) {
            let Some(weight) = weights.get_mut(id as usize) else {
                continue;
            };
            let high = low + *weight / total;
            *weight = above(low, high, self.strength) + above(low, high, 1.0 - self.strength);
            low = high;
        }
    }
}

impl Marking for Answer {
    fn shift(&mut self, logits: &mut [f32]) {
        let Some(window) = self.window() else { return };
        let delta = self.strength as f32;
        match self.how {
            How::Green { late: false } => {
                let list = self.list(window, logits.len() as u32, None);
                for (logit, green) in logits.iter_mut().zip(list.iter()) {
                    *logit += delta * *green as f32;
                }
            }
            How::SelfSalted { late: false } => {
                let likely = Self::candidates(logits.iter().map(|l| f64::from(*l)));
                for id in self.salted(window, &likely) {
                    logits[id as usize] += delta;
                }
            }
            _ => {}
        }
    }

    fn weigh(&mut self, weights: &mut [f64]) -> Option<u32> {
        let window: Box<[u32]> = self.window()?.into();
        if !self.met.is_new(&window) {
            return None;
        }
        let factor = self.strength.exp();
        match self.how {
            How::Green { late: true } => {
                let list = self.list(&window, weights.len() as u32, None);
                for (weight, green) in weights.iter_mut().zip(list.iter()) {
                    if *green > 0.0 {
                        *weight *= factor;
                    }
                }
            }
            How::SelfSalted { late: true } => {
                let likely = Self::candidates(weights.iter().copied());
                for id in self.salted(&window, &likely) {
                    weights[id as usize] *= factor;
                }
            }
            How::Gumbel => return self.gumbel(&window, weights),
            How::Tournament => self.tournament(&window, weights),
            How::Reweight => self.reweight(&window, weights),
            How::Green { late: false } | How::SelfSalted { late: false } => {}
        }
        None
    }

    fn took(&mut self, token: u32) {
        self.tokens.push(token);
        self.drawn += 1;
    }
}

#[cfg(test)]
mod tests;
