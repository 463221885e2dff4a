/// The known key nearest to `text`, if it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|key| (distance(text, key), *key))
        .filter(|(d, key)| *d <= 1 + key.len() / 4)
        .min()
        .map(|(_, key)| key)
}

// Levenshtein, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_else() {
        let known = ["suspect", "teachers", "seed"];
        assert_eq!(nearest("suspcet", &known), Some("suspect"));
        assert_eq!(nearest("teacher", &known), Some("teachers"));
        assert_eq!(nearest("weights", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
