use tabled::builder::Builder;
use tabled::settings::peaker::PriorityMax;
use tabled::settings::{Style, Width};

use crate::Report;
use crate::outline::{Block, outline};

const NARROWEST: usize = 40;

/// Plain text of at most `width` columns (at least 40), without colour.
pub fn text(report: &Report, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut out = String::new();
    for block in outline(report) {
        match block {
            Block::Title(text) => {
                let line = "=".repeat(text.chars().count().min(width));
                push(&mut out, &format!("{text}\n{line}"));
            }
            Block::Heading(text) => {
                let line = "-".repeat(text.chars().count().min(width));
                out.push('\n');
                push(
                    &mut out,
                    &format!("{}\n{line}", wrapped(&text, width, "", "")),
                );
            }
            Block::Paragraph(text) => push(&mut out, &wrapped(&text, width, "", "")),
            Block::List(items) => {
                for item in items {
                    push(&mut out, &wrapped(&item, width, "- ", "  "));
                }
            }
            Block::Table { head, rows } => push(&mut out, &table(head, rows, width)),
        }
    }
    out
}

fn push(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn table(head: Vec<String>, rows: Vec<Vec<String>>, width: usize) -> String {
    let mut builder = Builder::new();
    builder.push_record(head);
    rows.into_iter().for_each(|row| builder.push_record(row));
    builder
        .build()
        .with(Style::psql())
        .with(
            Width::wrap(width)
                .keep_words(true)
                .priority(PriorityMax::default()),
        )
        .to_string()
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

fn wrapped(text: &str, width: usize, first: &str, rest: &str) -> String {
    let mut lines = vec![first.to_owned()];
    let mut empty = true;
    let room = width.saturating_sub(rest.chars().count()).max(1);
    for word in text.split_whitespace().flat_map(|w| pieces(w, room)) {
        let line = lines.last().map_or(0, |l| l.chars().count());
        if !empty && line + 1 + word.chars().count() > width {
            lines.push(rest.to_owned());
            empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !empty {
                line.push(' ');
            }
            line.push_str(&word);
        }
        empty = false;
    }
    lines.join("\n")
}

// A word that no line can hold, such as a method id, in pieces that one can.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    chars.chunks(room).map(|c| c.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_words_with_hanging_indent() {
        assert_eq!(
            wrapped("one two three four", 10, "- ", "  "),
            "- one two\n  three\n  four"
        );
        assert_eq!(wrapped("", 10, "- ", "  "), "- ");
        assert_eq!(
            wrapped("a abcdefghijk", 6, "- ", "  "),
            "- a\n  abcd\n  efgh\n  ijk"
        );
    }

    #[test]
    fn a_wide_table_is_folded_into_the_width() {
        let long = "word ".repeat(40);
        let folded = table(
            vec!["a".into(), "b".into()],
            vec![vec![long.clone(), long]],
            60,
        );
        assert!(folded.lines().all(|l| l.chars().count() <= 60), "{folded}");
        assert_eq!(folded.matches("word").count(), 80);
    }
}
