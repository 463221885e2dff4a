//! From what a model finds likely, in its own tokens, to the tokens of the key.

use std::collections::BTreeMap;

use filiation_core::ReadText;

use super::Likely;

/// The texts of the key's tokens, each as it is decoded alone, to their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spelling(BTreeMap<String, u32>);

impl Spelling {
    /// Of `tokens`, texts with ids. A text that several tokens have is nobody's, and so is one that
    /// is no whole character.
    pub fn of(tokens: impl Iterator<Item = (String, u32)>) -> Self {
        let mut ids: BTreeMap<String, Option<u32>> = BTreeMap::new();
        for (text, id) in tokens {
            let entry = ids.entry(text).or_insert(Some(id));
            *entry = entry.filter(|known| *known == id);
        }
        let whole = |text: &str| !text.is_empty() && !text.contains('\u{fffd}');
        let known = ids
            .into_iter()
            .filter_map(|(text, id)| Some((text, id?)))
            .filter(|(text, _)| whole(text));
        Self(known.collect())
    }
}

/// What was likely in the place of each token of the key, which begin at the bytes `starts`: `None`
/// where no token of the model begins. `spelling` is `None` where both have the same tokenizer; else
/// a token counts by its text, and those that the key does not have are left out.
pub fn align(starts: &[u32], read: &ReadText, spelling: Option<&Spelling>) -> Vec<Option<Likely>> {
    let of: BTreeMap<u32, usize> = (0..read.tokens.len())
        .map(|i| (read.tokens[i].start, i))
        .collect();
    let id = |own: u32| match spelling {
        None => Some(own),
        Some(spelling) => spelling.0.get(read.texts.get(&own)?).copied(),
    };
    let at = |start: &u32| {
        let place = &read.tokens[*of.get(start)?];
        let shared = place.likely.iter().filter_map(|(own, logprob)| {
            let id = id(*own)?;
            Some((id, logprob.exp()))
        });
        Some(shared.collect::<Likely>()).filter(|likely| !likely.is_empty())
    };
    starts.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use filiation_core::ReadToken;

    #[test]
    fn places_meet_by_bytes_and_tokens_by_text() {
        let place = |start, likely: &[(u32, f64)]| ReadToken {
            start,
            likely: likely.iter().map(|(id, p)| (*id, p.ln())).collect(),
        };
        let read = ReadText {
            tokens: vec![
                place(0, &[(7, 0.5), (8, 0.25)]),
                place(3, &[(9, 0.5)]),
                place(6, &[(8, 1.0)]),
            ],
            texts: [(7, " a".into()), (8, "b".into()), (9, "\u{fffd}".into())].into(),
        };
        let key = [(" a", 1), ("b", 2), ("b", 2), ("twice", 3), ("twice", 4)];
        let spelling = Spelling::of(key.iter().map(|(t, id)| ((*t).to_owned(), *id)));
        let got = align(&[0, 2, 3, 6], &read, Some(&spelling));
        assert_eq!(got[0], Some(vec![(1, 0.5), (2, 0.25)]));
        // Between two of the model's tokens, and a token without a text of its own.
        assert_eq!((&got[1], &got[2]), (&None, &None));
        assert_eq!(got[3], Some(vec![(2, 1.0)]));
        assert_eq!(spelling.0.get("twice"), None);
        assert_eq!(align(&[3], &read, None)[0], Some(vec![(9, 0.5)]));
    }
}
