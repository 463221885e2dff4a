//! From texts to tuples.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Header, Row, Tuples};

/// Tokens and their probabilities at one position, most likely first.
pub type Likely = Vec<(u32, f64)>;

/// How often each window stands in a text: what orders windows, and says which count at all.
#[derive(Debug, Clone, Default)]
pub struct Frequencies(HashMap<Box<[u32]>, u64>);

impl Frequencies {
    /// Counts the windows of `width` tokens that a token follows.
    pub fn add(&mut self, width: usize, text: &[u32]) {
        for at in width..text.len() {
            *self.0.entry(text[at - width..at].into()).or_default() += 1;
        }
    }
}

/// A text in parts of at most `most` tokens, which cover the bytes `offsets`. A part begins where a token
/// and a character do.
pub fn pieces<'a>(text: &'a str, offsets: &[(usize, usize)], most: usize) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < offsets.len() {
        at = (at + most.max(1)).min(offsets.len());
        let end = offsets.get(at).map_or(text.len(), |o| o.0);
        // Tokens may share a character: the part then ends before it.
        let end = (from..=end).rev().find(|e| text.is_char_boundary(*e));
        if let Some(end) = end.filter(|end| *end > from) {
            pieces.push(&text[from..end]);
            from = end;
        }
    }
    pieces
}

#[derive(Default)]
struct Seen {
    frequency: u64,
    read: u64,
    tokens: BTreeMap<u32, u64>,
    masses: BTreeMap<u32, f64>,
}

/// Collects what a model does after the windows of texts.
#[derive(Default)]
pub struct Collector {
    width: usize,
    order: Option<Frequencies>,
    // Sorted, so that no result depends on a map's order.
    seen: BTreeMap<Box<[u32]>, Seen>,
    positions: u64,
    copied: u64,
    unaligned: u64,
    rare: u64,
}

impl Collector {
    /// Of windows of `width` tokens. With `order` only windows that it counts, by its counts; else
    /// windows are ordered by how often they are met here.
    pub fn new(width: usize, order: Option<Frequencies>) -> Self {
        Self {
            width,
            order,
            ..Self::default()
        }
    }

    /// A text that was fed: `likely[i]` is what the model found likely in the place of `text[i]`,
    /// `None` where its tokens do not meet the text's. A window that stands earlier in the text is
    /// left out: what followed it there may be copied.
    pub fn fed(&mut self, text: &[u32], likely: &[Option<Likely>]) {
        let mut met = HashSet::new();
        for (at, likely) in likely.iter().enumerate().take(text.len()) {
            let Some(from) = at.checked_sub(self.width) else {
                continue;
            };
            let window = &text[from..at];
            self.positions += 1;
            if !met.insert(window) {
                self.copied += 1;
                continue;
            }
            let Some(likely) = likely.as_ref().filter(|l| !l.is_empty()) else {
                self.unaligned += 1;
                continue;
            };
            if let Some(seen) = self.at(window) {
                seen.read += 1;
                *seen.tokens.entry(likely[0].0).or_default() += 1;
                for (token, mass) in likely {
                    *seen.masses.entry(*token).or_default() += mass;
                }
            }
        }
    }

    /// A text that the model wrote after `prompt`. Windows lie in the text alone; one that stands in
    /// the prompt too is left out.
    pub fn written(&mut self, prompt: &[u32], text: &[u32]) {
        let shown: HashSet<&[u32]> = match self.width {
            0 => HashSet::new(),
            width => prompt.windows(width).collect(),
        };
        for at in self.width..text.len() {
            let window = &text[at - self.width..at];
            self.positions += 1;
            if shown.contains(window) {
                self.copied += 1;
                continue;
            }
            if let Some(seen) = self.at(window) {
                seen.read += 1;
                *seen.tokens.entry(text[at]).or_default() += 1;
                *seen.masses.entry(text[at]).or_default() += 1.0;
            }
        }
    }

    fn at(&mut self, window: &[u32]) -> Option<&mut Seen> {
        let frequency = match &self.order {
            None => 0,
            Some(order) => match order.0.get(window) {
                Some(frequency) => *frequency,
                None => {
                    self.rare += 1;
                    return None;
                }
            },
        };
        let seen = self.seen.entry(window.into()).or_default();
        seen.frequency = match &self.order {
            None => seen.frequency + 1,
            Some(_) => frequency,
        };
        Some(seen)
    }

    /// The tuples of at most `most` windows, most frequent first. Counts in `header` are filled in.
    pub fn finish(self, header: Header, most: usize) -> Tuples {
        let known = header.vocabulary;
        let rows = self.seen.into_iter();
        let mut rows: Vec<Row> = rows.filter_map(|(w, s)| s.row(w, known)).collect();
        rows.sort_by(|a, b| b.frequency.cmp(&a.frequency).then(a.window.cmp(&b.window)));
        let beyond: u64 = rows.iter().skip(most).map(|row| row.read).sum();
        rows.truncate(most);
        Tuples {
            header: Header {
                width: self.width,
                positions: self.positions,
                copied: self.copied,
                unaligned: self.unaligned,
                rare: self.rare + beyond,
                ..header
            },
            rows,
        }
    }
}

impl Seen {
    // `None` where all that was likely lies beyond the vocabulary, as rows for padding do.
    fn row(self, window: Box<[u32]>, vocabulary: u32) -> Option<Row> {
        let mut tokens: Vec<(u32, u64)> = self.tokens.into_iter().collect();
        tokens.retain(|(token, _)| *token < vocabulary);
        tokens.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let read = self.read as f64;
        let mean = |(token, mass): (u32, f64)| (token, round(mass / read));
        let mut masses: Vec<(u32, f64)> = self.masses.into_iter().map(mean).collect();
        masses.retain(|(token, mass)| *token < vocabulary && *mass > 0.0);
        masses.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        (!tokens.is_empty() && !masses.is_empty()).then_some(Row {
            window,
            frequency: self.frequency,
            read: self.read,
            tokens,
            masses,
        })
    }
}

// Six digits of probability are more than any test here can tell apart.
fn round(mass: f64) -> f64 {
    (mass * 1e6).round() / 1e6
}
