//! The form of a text: function words, markdown, punctuation, sentences, lists.

/// Words of grammar, by language; each is one count a thousand words. Common to many writers of a
/// language, so that who uses which is style and not subject.
const FUNCTION_WORDS: [&str; 72] = [
    "the", "a", "an", "of", "to", "in", "on", "at", "for", "with", "by", "from", "and", "or",
    "but", "if", "so", "as", "than", "that", "this", "these", "which", "who", "it", "its", "you",
    "your", "i", "we", "they", "is", "are", "was", "be", "been", "have", "has", "can", "may",
    "will", "would", "should", "not", "no", "also", "just", "very", "more", "most", "some", "any",
    "all", "each", "such", "into", "about", "over", "while", "however", "der", "die", "und",
    "nicht", "le", "la", "de", "et", "que", "el", "y", "en",
];
/// Counts a thousand bytes of these signs.
const SIGNS: [char; 12] = ['—', '–', ';', ':', '(', '!', '?', '"', '“', '\'', '’', '…'];
const ENDS: [char; 8] = ['.', '!', '?', '…', '。', '！', '？', '।'];
const OTHERS: usize = 12;

/// Counts of form.
pub(super) const FORMS: usize = FUNCTION_WORDS.len() + SIGNS.len() + OTHERS;

/// Words: runs of letters, digits and inner apostrophes.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '’'))
        .map(|w| w.trim_matches(['\'', '’']))
        .filter(|w| !w.is_empty())
}

pub(super) fn of(text: &str) -> [f64; FORMS] {
    let mut counts = [0.0; FORMS];
    let lower = text.to_lowercase();
    let mut total = 0.0;
    for word in words(&lower) {
        total += 1.0;
        if let Some(i) = FUNCTION_WORDS.iter().position(|w| *w == word) {
            counts[i] += 1.0;
        }
    }
    let (of_words, rest) = counts.split_at_mut(FUNCTION_WORDS.len());
    of_words
        .iter_mut()
        .for_each(|c| *c *= 1000.0 / f64::max(total, 1.0));
    let per_kb = 1000.0 / text.len().max(1) as f64;
    let (of_signs, others) = rest.split_at_mut(SIGNS.len());
    for (count, sign) in of_signs.iter_mut().zip(SIGNS) {
        *count = text.matches(sign).count() as f64 * per_kb;
    }
    others.copy_from_slice(&layout(text, per_kb));
    counts
}

fn layout(text: &str, per_kb: f64) -> [f64; OTHERS] {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let of = |holds: fn(&str) -> bool| lines.iter().filter(|l| holds(l)).count() as f64;
    let (bullets, numbers) = (of(is_bullet), of(is_numbered));
    let last = text.trim_end().chars().next_back().unwrap_or(' ');
    let is = |holds: bool| f64::from(u8::from(holds));
    let sentences = text.split(ENDS).filter(|s| !s.trim().is_empty());
    let longest_run = longest_list(&lines);
    [
        of(|l| l.starts_with('#')) * per_kb,
        bullets * per_kb,
        numbers * per_kb,
        text.matches("**").count() as f64 * per_kb,
        text.matches('`').count() as f64 * per_kb,
        text.matches("\n\n").count() as f64 * per_kb,
        longest_run,
        (text.len() as f64 / sentences.count().max(1) as f64).ln_1p(),
        is(last == '?' || last == '？'),
        is(last == '!' || last == '！'),
        is(last == ':' || last == '：'),
        is(matches!(last, '.' | '。' | '।')),
    ]
}

fn is_bullet(line: &str) -> bool {
    ["- ", "* ", "+ ", "• "].iter().any(|b| line.starts_with(b))
}

fn is_numbered(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") "))
}

// Items of the longest list; blank lines do not end one.
fn longest_list(lines: &[&str]) -> f64 {
    let (mut longest, mut run) = (0_u32, 0_u32);
    for line in lines.iter().filter(|l| !l.is_empty()) {
        run = if is_bullet(line) || is_numbered(line) {
            run + 1
        } else {
            0
        };
        longest = longest.max(run);
    }
    f64::from(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, place: usize) -> f64 {
        of(text)[FUNCTION_WORDS.len() + SIGNS.len() + place]
    }

    #[test]
    fn lists_and_headers_are_seen() {
        let text = "# Title\n\n1. **one**\n2. two\n\n3. three\nand\n- four";
        assert_eq!(named(text, 6), 3.0);
        let kb = text.len() as f64 / 1000.0;
        assert!((named(text, 0) * kb - 1.0).abs() < 1e-12);
        assert!((named(text, 2) * kb - 3.0).abs() < 1e-12);
        assert!((named(text, 3) * kb - 2.0).abs() < 1e-12);
        assert_eq!(named("Is it?", 8), 1.0);
        assert_eq!(named("Is it? Yes", 8), 0.0);
    }

    #[test]
    fn function_words_are_a_rate() {
        let counts = of("The end of the road, isn't it");
        assert!((counts[0] - 2000.0 / 7.0).abs() < 1e-9);
        assert_eq!(words("isn't 'it'").collect::<Vec<_>>(), ["isn't", "it"]);
        assert!(of("").iter().all(|c| c.is_finite()));
    }
}
