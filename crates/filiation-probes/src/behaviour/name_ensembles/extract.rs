//! Names in a text, by rule: no model, no list of names.
//!
//! The text is cut at line ends, commas, colons, brackets, quotes and the ends of sentences. In a
//! piece of a script with capitals, two to four capitalised words in a row are a name, small
//! particles between them allowed (`Ludwig van Beek`); titles before it and a word of grammar that
//! begins a sentence are taken off. One capitalised word alone is a name only as a whole item of a
//! list. In a script without capitals a short piece is one: two to four Han characters (up to eight
//! with kana or a middle dot), two to four Hangul syllables, two or three words of another script.
//! What also stands in the prompt is no invention.

use std::collections::BTreeSet;

const PARTICLES: &str =
    "de del della di da dos do du des la le van von der den ter zu al el bin ibn y e of";
const TITLES: &str = "dr doctor doktor docteur doctora prof professor professeur profesor profesora \
    professore captain capitaine kapitän sir lady lord dame mr mrs ms miss mister herr \
    frau madame monsieur señor señora signor signora detective inspector chef king queen \
    доктор профессор";
const OPENERS: &str = "the a an in on at and but or if as for from to with here there this that these those \
    he she it they we i you my his her their our your one two three sure certainly yes \
    no name names meet when while der die das ein eine und hier le la les un une voici \
    el los il o os вот и";

fn listed(words: &str, word: &str) -> bool {
    words.split(' ').any(|w| w == word)
}

/// Distinct names in small letters, in order.
pub(super) fn names(text: &str, prompt: &str) -> Vec<String> {
    let prompt = prompt.to_lowercase();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let (item, bulleted) = unlisted(line);
        let pieces: Vec<&str> = item.split(is_cut).map(str::trim).collect();
        let whole = pieces.iter().filter(|p| !p.is_empty()).count() == 1;
        for piece in pieces {
            found.extend(of_piece(piece, bulleted && whole));
        }
    }
    found.retain(|name| !prompt.contains(name.as_str()));
    found.into_iter().collect()
}

fn is_cut(c: char) -> bool {
    matches!(
        c,
        ',' | ';'
            | ':'
            | '.'
            | '!'
            | '?'
            | '('
            | ')'
            | '['
            | ']'
            | '/'
            | '|'
            | '—'
            | '–'
            | '"'
            | '“'
            | '”'
            | '„'
            | '«'
            | '»'
            | '「'
            | '」'
            | '、'
            | '，'
            | '。'
            | '；'
            | '：'
            | '（'
            | '）'
            | '《'
            | '》'
            | '！'
            | '？'
            | '،'
            | '؛'
            | '؟'
            | '।'
    )
}

// A line without its bullet or number and without marks of emphasis, and whether it had a bullet.
fn unlisted(line: &str) -> (String, bool) {
    let plain = line.replace(['*', '_', '`', '#'], " ");
    let bulleted = line.trim_start().starts_with(['-', '•', '*', '+'])
        || line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let rest = plain.trim_start_matches(|c: char| {
        c.is_whitespace() || "-•+.)、".contains(c) || c.is_ascii_digit()
    });
    (rest.replace(" - ", ", "), bulleted)
}

fn of_piece(piece: &str, alone: bool) -> Vec<String> {
    let words: Vec<&str> = piece.split_whitespace().collect();
    let cased = piece.chars().any(|c| c.is_lowercase() || c.is_uppercase());
    if !cased {
        return uncased(&words).into_iter().collect();
    }
    let mut runs: Vec<Vec<&str>> = vec![Vec::new()];
    for (i, word) in words.iter().enumerate() {
        let last = runs.len() - 1;
        let joins = |next: &&str| is_capitalised(next) || listed(PARTICLES, next);
        let particle = listed(PARTICLES, word) && !runs[last].is_empty();
        if is_capitalised(word) || (particle && words.get(i + 1).is_some_and(joins)) {
            runs[last].push(word);
        } else {
            runs.push(Vec::new());
        }
    }
    let sole = runs.iter().filter(|r| !r.is_empty()).count() == 1 && words.len() == runs[0].len();
    runs.into_iter()
        .filter_map(|run| named(&run, alone && sole))
        .collect()
}

fn named(run: &[&str], alone: bool) -> Option<String> {
    let lower: Vec<String> = run.iter().map(|w| w.to_lowercase()).collect();
    let skipped = lower
        .iter()
        .take_while(|w| listed(TITLES, w) || listed(OPENERS, w))
        .count();
    let mut kept = &lower[skipped..];
    while let Some((last, rest)) = kept.split_last() {
        if !listed(PARTICLES, last) {
            break;
        }
        kept = rest;
    }
    let proper = kept.iter().filter(|w| !listed(PARTICLES, w)).count();
    let single = alone && proper == 1 && kept.len() == 1;
    ((2..=4).contains(&proper) || single).then(|| kept.join(" "))
}

// A capital, then letters of which one at least is small: acronyms are no names.
fn is_capitalised(word: &str) -> bool {
    let mut chars = word.chars();
    let capital = chars.next().is_some_and(char::is_uppercase);
    let inner = |c: char| c.is_alphabetic() || matches!(c, '-' | '\'' | '’');
    capital && word.chars().all(inner) && chars.any(char::is_lowercase)
}

fn uncased(words: &[&str]) -> Option<String> {
    let joined = words.join(" ");
    let letters: Vec<char> = joined.chars().filter(|c| *c != ' ').collect();
    let dotted = letters.contains(&'·') || letters.contains(&'・');
    let letter = |c: &char| c.is_alphabetic() || is_mark(*c) || matches!(c, '·' | '・');
    if letters.is_empty() || !letters.iter().all(letter) {
        return None;
    }
    let among = |low: u32, high: u32| letters.iter().any(|c| (low..=high).contains(&(*c as u32)));
    let (han, kana) = (among(0x4e00, 0x9fff), among(0x3040, 0x30ff));
    let hangul = among(0xac00, 0xd7a3);
    let n = letters.len();
    let fits = if kana || (han && dotted) {
        (2..=12).contains(&n)
    } else if han || hangul {
        (2..=4).contains(&n)
    } else {
        (2..=3).contains(&words.len())
    };
    fits.then_some(joined)
}

// Vowel signs of scripts that write them apart are no letters to Unicode's `alphabetic` everywhere.
fn is_mark(c: char) -> bool {
    matches!(c as u32, 0x0300..=0x036f | 0x0590..=0x05cf | 0x064b..=0x065f | 0x0900..=0x0d7f | 0x0e31..=0x0e4e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_capitals() {
        for (text, want) in [
            (
                "Dr. Elena Vasquez met Marcus Chen.",
                "elena vasquez|marcus chen",
            ),
            (
                "1. **Amara Okafor**: a botanist\n2. Ludwig van Beek",
                "amara okafor|ludwig van beek",
            ),
            ("The Captain Sir John went home", ""),
            ("In Paris we saw NASA and rain.", ""),
            ("- Willowbrook\n- Ash Hollow", "ash hollow|willowbrook"),
            ("Willowbrook is a town.", ""),
            (
                "Профессор Анна Белова, Иван Громов",
                "анна белова|иван громов",
            ),
            ("José de la Cruz, Émile d'Arcy", "josé de la cruz"),
            ("Here Are Five Names For The New Book Of Mine", ""),
        ] {
            assert_eq!(names(text, "").join("|"), want, "{text}");
        }
    }

    #[test]
    fn names_without_capitals() {
        assert_eq!(
            names("林若曦、陈明远，他们一起走进了古老的图书馆。", ""),
            ["林若曦", "陈明远"]
        );
        assert_eq!(
            names("1. 高橋 美咲\n2. アルド・リーン", ""),
            ["アルド・リーン", "高橋 美咲"]
        );
        assert_eq!(names("김서연, 박 지훈", ""), ["김서연", "박 지훈"]);
        assert_eq!(
            names("ليلى منصور، سامر الحداد", ""),
            ["سامر الحداد", "ليلى منصور"]
        );
        assert!(names("", "").is_empty());
    }

    #[test]
    fn what_the_prompt_says_is_no_invention() {
        assert_eq!(
            names("Nora Quill and Tom Reed", "Write of Nora Quill."),
            ["tom reed"]
        );
    }
}
