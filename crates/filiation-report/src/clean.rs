/// `text` without what could deceive a reader of a terminal: escape sequences, control
/// characters, and characters that reorder or hide others. Line breaks become spaces.
///
/// A model's folder is written by whoever made it; its names end in reports.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => skip_until(&mut chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
                // Strings of the terminal (title, clipboard): up to BEL or ST.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    skip_until(&mut chars, |c| matches!(c, '\u{7}' | '\u{9c}' | '\\'));
                }
                _ => {}
            },
            '\u{9b}' => skip_until(&mut chars, |c| ('\u{40}'..='\u{7e}').contains(&c)),
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => out.push(' '),
            c if c.is_control() || hides(c) => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_until(chars: &mut impl Iterator<Item = char>, last: impl Fn(char) -> bool) {
    for c in chars {
        if last(c) {
            return;
        }
    }
}

const fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}'     // zero width, left-to-right and right-to-left marks
        | '\u{202a}'..='\u{202e}'     // embeddings and overrides
        | '\u{2060}'..='\u{206f}'     // isolates, invisible operators
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}'   // tags
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_what_deceives_and_keeps_the_rest() {
        for (hostile, shown) in [
            ("plain é 漢 ✓", "plain é 漢 ✓"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}name", "name"),
            ("\u{1b}]52;c;AAAA\u{1b}\\name", "name"),
            ("\u{9b}2Jname", "name"),
            ("a\nb\tc\r", "a b c "),
            ("\u{202e}cod.exe", "cod.exe"),
            ("a\u{200b}b\u{2066}c\u{e0041}", "abc"),
            ("nul\0bel\u{7}", "nulbel"),
            ("\u{1b}", ""),
            ("\u{1b}[31", ""),
        ] {
            assert_eq!(clean(hostile), shown, "{hostile:?}");
        }
    }
}
