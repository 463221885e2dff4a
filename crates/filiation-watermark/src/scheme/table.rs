//! Green lists as a table that the key's owner exports: for lists that were drawn on another device,
//! whose generator is not this one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::{Dedup, Draw, Law, Reading, Scheme, derived, singly};
use crate::WatermarkError;
use crate::mark::How;
use crate::rng::Pcg64;
use crate::text::{Unit, Units, Window};

/// Bytes that a table may have.
pub const MOST_BYTES: usize = 2 << 30;

/// The lists of some windows.
#[derive(Debug, Clone)]
pub struct Table {
    vocabulary: u32,
    green: u32,
    lists: Arc<BTreeMap<Window, List>>,
}

/// One list.
#[derive(Debug)]
struct List {
    bits: Box<[u64]>,
    /// Of the bits: lists that agree in it are one list.
    digest: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Oldest first.
    window: Vec<u32>,
    /// Green tokens.
    #[serde(default)]
    green: Option<Vec<u32>>,
    /// The same as hexadecimal digits: bit i of byte j is token 8 j + i.
    #[serde(default)]
    bits: Option<String>,
}

impl Table {
    /// A table over `vocabulary` tokens for windows of `width`: JSON lines of `window` with `green`, a
    /// list of tokens, or `bits`, its bytes in hexadecimal.
    ///
    /// # Errors
    /// [`WatermarkError::Table`], naming the line.
    pub fn parse(text: &str, vocabulary: u32, width: usize) -> Result<Self, WatermarkError> {
        let mut lists = BTreeMap::new();
        let mut green = None;
        for (i, line) in text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.trim().is_empty())
        {
            let bad = |reason: String| WatermarkError::Table {
                line: i + 1,
                reason,
            };
            let line: Line = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            if line.window.len() != width {
                let found = line.window.len();
                return Err(bad(format!("a window of {found} tokens, expected {width}")));
            }
            if let Some(token) = line.window.iter().find(|t| **t >= vocabulary) {
                return Err(bad(format!(
                    "token {token} is outside the key's vocabulary of {vocabulary}"
                )));
            }
            let (bits, count) = line.bits(vocabulary).map_err(bad)?;
            if *green.get_or_insert(count) != count {
                let expected = green.unwrap_or(count);
                return Err(bad(format!(
                    "{count} green tokens, expected {expected} as on the lines before: a list that \
                     was cut, or of another share"
                )));
            }
            let digest = bits.iter().fold(0, |h, b| derived(h ^ b, 0));
            let list = List { bits, digest };
            if lists.insert(Window::from_vec(line.window), list).is_some() {
                return Err(bad("its window stands on an earlier line already".into()));
            }
        }
        let green = green.filter(|g| *g > 0 && *g < vocabulary);
        Ok(Self {
            vocabulary,
            lists: Arc::new(lists),
            green: green.ok_or_else(|| WatermarkError::Table {
                line: 1,
                reason: "no list, or none that is neither empty nor the whole vocabulary".into(),
            })?,
        })
    }

    /// Its lists as those of a scheme that reads texts as `reading` says and marks them as `how` does;
    /// where that is self-salted, the scored token is the newest of its window.
    pub(crate) fn scheme(self, reading: Reading, how: How) -> Listed {
        Listed {
            table: self,
            reading,
            how,
            order: None,
        }
    }
}

impl Line {
    fn bits(&self, vocabulary: u32) -> Result<(Box<[u64]>, u32), String> {
        let mut bits = vec![0_u64; vocabulary.div_ceil(64) as usize];
        match (&self.green, &self.bits) {
            (Some(tokens), None) => {
                for token in tokens {
                    if *token >= vocabulary {
                        return Err(format!(
                            "token {token} is outside the key's vocabulary of {vocabulary}"
                        ));
                    }
                    bits[(token / 64) as usize] |= 1 << (token % 64);
                }
                let count: u32 = bits.iter().map(|b| b.count_ones()).sum();
                if count as usize != tokens.len() {
                    return Err("a token stands twice in `green`".into());
                }
            }
            (None, Some(hex)) => {
                let wanted = 2 * vocabulary.div_ceil(8) as usize;
                if hex.len() != wanted || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    let found = hex.len();
                    return Err(format!(
                        "`bits` of {found} characters, expected {wanted} digits"
                    ));
                }
                for (j, byte) in (0..hex.len()).step_by(2).enumerate() {
                    let byte = u8::from_str_radix(&hex[byte..byte + 2], 16).unwrap_or(0);
                    bits[j / 8] |= u64::from(byte) << (8 * (j % 8));
                }
                let beyond = vocabulary % 64;
                if beyond > 0 && bits.last().is_some_and(|last| last >> beyond != 0) {
                    return Err(format!("`bits` has tokens beyond {vocabulary}"));
                }
            }
            _ => return Err("expected `green` or `bits`, one of the two".into()),
        }
        let count = bits.iter().map(|b| b.count_ones()).sum();
        Ok((bits.into(), count))
    }
}

/// Lists of a table.
#[derive(Debug, Clone)]
pub struct Listed {
    table: Table,
    reading: Reading,
    how: How,
    /// Where a token is looked up, of a decoy: lists are drawn uniformly, so that the same lists over
    /// shuffled tokens are as good as those of another key.
    order: Option<Arc<Vec<u32>>>,
}

impl Listed {
    /// How many of the units have a window that the table does not have. A test on the rest would be
    /// of a choice that the owner of the key made, so none is offered.
    pub fn lacking(&self, units: &Units<'_>) -> usize {
        let lacks = |unit: &&Unit| self.list(&unit.window, unit.token).is_none();
        units.as_slice().iter().filter(lacks).count()
    }

    fn list(&self, window: &[u32], token: u32) -> Option<&List> {
        if matches!(self.how, How::SelfSalted { .. }) {
            let salted: Window = window.iter().copied().chain([token]).collect();
            self.table.lists.get(&salted)
        } else {
            self.table.lists.get(window)
        }
    }

    fn score(&self, window: &[u32], token: u32) -> f64 {
        let place = match &self.order {
            Some(order) => order.get(token as usize).copied().unwrap_or(token),
            None => token,
        };
        let list = self.list(window, token);
        let word = list.and_then(|l| l.bits.get((place / 64) as usize));
        f64::from(word.is_some_and(|w| w >> (place % 64) & 1 == 1))
    }
}

impl Scheme for Listed {
    fn reading(&self) -> Reading {
        Reading {
            dedup: Dedup::WindowToken,
            ..self.reading
        }
    }

    fn vocabulary(&self) -> Option<u32> {
        Some(self.table.vocabulary)
    }

    fn law(&self) -> Law {
        Law::of_list(self.table.green, self.table.vocabulary)
    }

    fn draw(&self, window: &[u32], token: u32) -> Draw {
        // Windows with one list share a seed: they are told by the list itself.
        match self.list(window, token) {
            Some(list) => Draw::Shared(list.digest),
            None => Draw::Own,
        }
    }

    fn scores(&self, window: &[u32], tokens: &[u32]) -> Vec<f64> {
        tokens.iter().map(|t| self.score(window, *t)).collect()
    }

    fn each(&self, units: &[&Unit]) -> Vec<f64> {
        singly(units, |window, token| self.score(window, token))
    }

    fn how(&self) -> How {
        self.how
    }

    fn decoy(&self, seed: u64) -> Box<dyn Scheme> {
        let mut order: Vec<u32> = (0..self.table.vocabulary).collect();
        Pcg64::new(seed).shuffle(&mut order);
        Box::new(Self {
            order: Some(Arc::new(order)),
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Detection;
    use crate::scheme::Kgw;

    const VOCABULARY: u32 = 500;

    fn text() -> Vec<u32> {
        let mut rng = crate::rng::Mersenne::new(3);
        (0..400).map(|_| rng.next_u32() % 60).collect()
    }

    fn exported(scheme: &Kgw, hex: bool) -> String {
        let line = |window: u32| {
            let list = scheme.green_list(&[window]);
            if !hex {
                return format!("{{\"window\":[{window}],\"green\":{list:?}}}\n");
            }
            let mut bytes = vec![0_u8; VOCABULARY.div_ceil(8) as usize];
            list.iter()
                .for_each(|t| bytes[(t / 8) as usize] |= 1 << (t % 8));
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("{{\"window\":[{window}],\"bits\":\"{hex}\"}}\n")
        };
        (0..60).map(line).collect()
    }

    fn detected(scheme: &dyn Scheme) -> Detection {
        let mut units = Units::of(scheme);
        units.add(&[], &text()).expect("tokens of the vocabulary");
        Detection::of(scheme, &units).expect("units")
    }

    #[test]
    fn exported_lists_test_as_drawn_ones_do() {
        let drawn = Kgw::simple_1(15_485_863, VOCABULARY, 0.25);
        let wanted = detected(&drawn);
        for hex in [false, true] {
            let table = Table::parse(&exported(&drawn, hex), VOCABULARY, 1).expect("a table");
            let listed = table.scheme(drawn.reading(), drawn.how());
            let found = detected(&listed);
            // Window 0 has the same list under every key: that a table does not show.
            assert_eq!(wanted.keyless, found.scored - wanted.scored, "{hex}");
            let lacking = Units::of(&listed);
            assert_eq!(listed.lacking(&lacking), 0);
        }
    }

    #[test]
    fn decoys_are_other_lists_of_the_same_size() {
        let drawn = Kgw::simple_1(15_485_863, VOCABULARY, 0.25);
        let table = Table::parse(&exported(&drawn, false), VOCABULARY, 1).expect("a table");
        let listed = table.scheme(drawn.reading(), drawn.how());
        let all: Vec<u32> = (0..VOCABULARY).collect();
        let own = listed.scores(&[7], &all);
        let other = listed.decoy(1).scores(&[7], &all);
        assert_eq!(own.iter().sum::<f64>(), other.iter().sum::<f64>());
        let shared = own.iter().zip(&other).filter(|(a, b)| **a + **b == 2.0);
        // 125 · 125/500 are expected in common.
        assert!(shared.count().abs_diff(31) < 20);
    }

    #[test]
    fn windows_that_the_table_lacks_are_counted() {
        let drawn = Kgw::simple_1(15_485_863, VOCABULARY, 0.25);
        let some: String = exported(&drawn, false)
            .lines()
            .take(30)
            .map(|l| format!("{l}\n"))
            .collect();
        let listed = Table::parse(&some, VOCABULARY, 1)
            .expect("a table")
            .scheme(drawn.reading(), drawn.how());
        let mut units = Units::of(&listed);
        units.add(&[], &text()).expect("tokens");
        assert!(listed.lacking(&units) > 50);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (text, told) in [
            ("", "no list"),
            ("{\"window\":[1,2],\"green\":[3]}", "a window of 2 tokens"),
            ("{\"window\":[1],\"green\":[600]}", "token 600 is outside"),
            ("{\"window\":[900],\"green\":[6]}", "token 900 is outside"),
            ("{\"window\":[1],\"green\":[6,6]}", "twice"),
            ("{\"window\":[1]}", "`green` or `bits`"),
            ("{\"window\":[1],\"bits\":\"ff\"}", "expected 126 digits"),
            (
                "{\"window\":[1],\"green\":[6]}\n{\"window\":[2],\"green\":[6,7]}",
                "line 2: 2 green",
            ),
            (
                "{\"window\":[1],\"green\":[6]}\n{\"window\":[1],\"green\":[7]}",
                "earlier line",
            ),
            ("{\"window\":[1],\"green\":[]}", "neither empty"),
            ("words", "line 1"),
        ] {
            let said = Table::parse(text, VOCABULARY, 1)
                .expect_err(told)
                .to_string();
            assert!(said.contains(told), "{told}: {said}");
        }
    }
}
