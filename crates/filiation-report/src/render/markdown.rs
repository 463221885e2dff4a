use crate::Report;
use crate::outline::{Block, outline};

/// Markdown (CommonMark with tables). What models and users named is escaped.
pub fn markdown(report: &Report) -> String {
    let blocks: Vec<_> = outline(report).into_iter().map(block).collect();
    blocks.join("\n")
}

fn block(block: Block) -> String {
    match block {
        Block::Title(text) => format!("# {}\n", escaped(&text)),
        Block::Heading(text) => format!("## {}\n", escaped(&text)),
        Block::Paragraph(text) => format!("{}\n", escaped(&text)),
        Block::List(items) => items
            .iter()
            .map(|item| format!("- {}\n", escaped(item)))
            .collect(),
        Block::Table { head, rows } => {
            let rule = vec!["---".to_owned(); head.len()];
            let escape =
                |cells: &[String]| -> Vec<_> { cells.iter().map(|c| escaped(c)).collect() };
            let mut lines = vec![row(&escape(&head)), row(&rule)];
            lines.extend(rows.iter().map(|r| row(&escape(r))));
            lines.concat()
        }
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

// Between a pair of backticks only `|` has a meaning left, in tables; a backtick without its
// partner is escaped like the rest.
fn escaped(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() - (parts.len() + 1) % 2;
    let mut out = String::with_capacity(text.len());
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push_str(if i < paired { "`" } else { "\\`" });
        }
        let code = i % 2 == 1 && i < paired;
        for c in part.chars() {
            match c {
                '|' => out.push_str("\\|"),
                '\\' | '*' | '_' | '[' | ']' | '#' | '!' if !code => {
                    out.push('\\');
                    out.push(c);
                }
                '<' if !code => out.push_str("&lt;"),
                '&' if !code => out.push_str("&amp;"),
                c => out.push(c),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_outside_code_only() {
        for (text, shown) in [
            ("a `b_c` d_e", "a `b_c` d\\_e"),
            ("<img src=x>", "&lt;img src=x>"),
            ("[x](y)", "\\[x\\](y)"),
            ("a | b `c|d`", "a \\| b `c\\|d`"),
            ("lone ` tick <b>", "lone \\` tick &lt;b>"),
            ("`a` and ` <b>", "`a` and \\` &lt;b>"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }
}
