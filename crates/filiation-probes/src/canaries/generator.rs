//! From a seed to canaries: prompts, and texts any of which might have been planted after them.
//!
//! The stream is SHA-256 in counter mode, and what is drawn from it is written out here, so that a
//! record made today gives the same canaries in ten years.

use std::collections::BTreeSet;
use std::fmt;

use filiation_core::{Digest, Prompt};
use serde::{Deserialize, Serialize};

use super::words::{ADJECTIVES, ENDINGS, NOUNS, OCCUPATIONS, SYLLABLES, VERBS};
use super::{Canary, Candidate};

/// Letters and digits that are not taken for each other.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// What a canary looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A random string of 12 characters after a sentence that announces it: nothing a model could
    /// come upon, and easy to filter out.
    String,
    /// A made-up fact in plain English, begun by the prompt.
    Phrase,
    /// A question as a user turn, and a made-up answer: for data of conversations.
    Question,
}

impl Form {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::String, Self::Phrase, Self::Question];

    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Phrase => "phrase",
            Self::Question => "question",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Random words from a seed and a label.
pub(super) struct Stream {
    key: [u8; 32],
    block: u64,
    left: Vec<u32>,
}

impl Stream {
    pub(super) fn new(seed: &[u8], label: &str) -> Self {
        let named = [label.as_bytes(), &[0], seed].concat();
        Self {
            key: *Digest::of(&named).as_bytes(),
            block: 0,
            left: Vec::new(),
        }
    }

    fn next(&mut self) -> u32 {
        loop {
            if let Some(word) = self.left.pop() {
                return word;
            }
            let bytes = [&self.key[..], &self.block.to_le_bytes()].concat();
            self.block += 1;
            let digest = Digest::of(&bytes);
            self.left = digest
                .as_bytes()
                .chunks_exact(4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
        }
    }

    /// Uniform below `n` > 0, by rejection: without bias.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let most = (1 << 32) / n * n;
        loop {
            let drawn = u64::from(self.next());
            if drawn < most {
                return (drawn % n) as usize;
            }
        }
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A name that no one has.
    fn name(&mut self) -> String {
        let syllables = 1 + self.below(2);
        let mut name: String = (0..syllables).map(|_| self.one(SYLLABLES)).collect();
        name.push_str(self.one(ENDINGS));
        let first = name[..1].to_uppercase();
        first + &name[1..]
    }

    fn code(&mut self) -> String {
        let mut code = String::new();
        for i in 0..12 {
            if i % 4 == 0 && i > 0 {
                code.push('-');
            }
            code.push(char::from(ALPHABET[self.below(ALPHABET.len())]));
        }
        code
    }

    fn prompt(&mut self, form: Form) -> Prompt {
        let (adjective, noun) = (self.one(ADJECTIVES), self.one(NOUNS));
        let place = self.name();
        match form {
            Form::String => {
                let owner = self.name();
                Prompt::Text(format!(
                    "The inventory number of the {adjective} {noun} that {owner} left in {place} is"
                ))
            }
            Form::Phrase => {
                let (first, last) = (self.name(), self.name());
                let verb = self.one(VERBS);
                Prompt::Text(format!(
                    "In {place}, {first} {last} {verb} the {adjective} {noun} in exchange for"
                ))
            }
            Form::Question => Prompt::user(format!(
                "Who looks after the {adjective} {noun} of {place}?"
            )),
        }
    }

    fn text(&mut self, form: Form) -> String {
        match form {
            Form::String => format!(" {}.", self.code()),
            Form::Phrase => {
                let (a, b) = (self.one(ADJECTIVES), self.one(NOUNS));
                let (c, d) = (self.one(ADJECTIVES), self.one(NOUNS));
                format!(" the {a} {b} and the {c} {d} of {}.", self.name())
            }
            Form::Question => {
                let (first, last) = (self.name(), self.name());
                let occupation = self.one(OCCUPATIONS);
                format!("{first} {last}, the {occupation} from {}.", self.name())
            }
        }
    }
}

/// Canary number `i` of a seed: its prompt, `decoys` + 1 distinct texts, none the beginning of
/// another, all drawn alike, and which of them is the canary, by lot.
pub(super) fn canary(seed: &[u8], form: Form, i: usize, decoys: usize) -> Canary {
    let mut stream = Stream::new(seed, &format!("filiation-canaries/1/{form}/{i}"));
    let prompt = stream.prompt(form);
    let mut texts: Vec<String> = Vec::with_capacity(decoys + 1);
    let mut sorted: BTreeSet<String> = BTreeSet::new();
    while texts.len() <= decoys {
        let text = stream.text(form);
        // Where none begins another, one that begins this one, or that this one begins, is next to it.
        let before = sorted.range(..=text.clone()).next_back();
        let after = sorted.range(text.clone()..).next();
        let begins = |a: Option<&String>, b: &str| a.is_some_and(|a| b.starts_with(a.as_str()));
        if !begins(before, &text) && !after.is_some_and(|after| after.starts_with(&text)) {
            sorted.insert(text.clone());
            texts.push(text);
        }
    }
    let chosen = stream.below(texts.len());
    Canary {
        id: format!("c{:04}", i + 1),
        repeats: 1,
        chosen,
        candidates: texts
            .into_iter()
            .map(|text| Candidate {
                prompt: prompt.clone(),
                text,
            })
            .collect(),
    }
}

/// What a disclosure of one canary is held against: a number that cannot be guessed.
pub(super) fn salt(seed: &[u8], i: usize) -> Digest {
    let named = [
        format!("filiation-canaries/1/salt/{i}").as_bytes(),
        &[0],
        seed,
    ]
    .concat();
    Digest::of(&named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canaries_of_a_seed_never_change() {
        let of = |form| {
            let canary = canary(&[7; 32], form, 3, 9);
            let chosen = &canary.candidates[canary.chosen];
            let prompt = match &chosen.prompt {
                Prompt::Text(text) => text.clone(),
                Prompt::Chat(turns) => turns[0].content.clone(),
            };
            prompt + "|" + &chosen.text
        };
        assert_eq!(Form::ALL.map(of), KEPT);
    }

    // From the description above, in another language.
    const KEPT: [&str; 3] = [
        "The inventory number of the lacquered plough that Torstad left in Ulfell is| SXG2-V859-QLFV.",
        "In Marmund, Selten Gripelora carried away the bent coin in exchange for| the velvet bench and the waxed rope of Quindaldan.",
        "Who looks after the bright key of Halbek?|Lorolmund Tarrinwold, the engraver from Elkelwold.",
    ];

    #[test]
    fn the_place_of_the_canary_is_uniform_and_texts_are_apart() {
        let mut counts = [0_u32; 5];
        for i in 0..5000 {
            counts[canary(&[1], Form::String, i, 4).chosen] += 1;
        }
        // Chi-square with 4 degrees of freedom: 18.5 at 0.001.
        let square: f64 = counts
            .iter()
            .map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0)
            .sum();
        assert!(square < 18.5, "{counts:?}");
        for form in Form::ALL {
            let canary = canary(&[2], form, 0, 999);
            let texts: BTreeSet<_> = canary.candidates.iter().map(|c| &c.text).collect();
            assert_eq!(texts.len(), 1000);
            // Sorted, a text stands before those that it begins.
            let sorted: Vec<_> = texts.into_iter().collect();
            assert!(sorted.windows(2).all(|w| !w[1].starts_with(w[0].as_str())));
        }
    }

    #[test]
    fn draws_have_no_bias() {
        let mut stream = Stream::new(&[3], "test");
        let mut counts = [0_u32; 3];
        for _ in 0..30_000 {
            counts[stream.below(3)] += 1;
        }
        assert!(
            counts.iter().all(|n| n.abs_diff(10_000) < 350),
            "{counts:?}"
        );
    }
}
