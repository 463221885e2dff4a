//! Likelihood ratios with their propositions, bounds and population.

use filiation_core::{BoundedLlr, Interval, Proposition};
use filiation_lr::{Candidature, Likelihood};

use super::{Block, dash, short};
use crate::Report;

pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let Some(likelihood) = &report.opinion.likelihood else {
        return Vec::new();
    };
    let mut blocks = vec![Block::Heading("Likelihood ratios, log10".into())];
    if let Some(because) = &likelihood.withheld {
        blocks.push(Block::Paragraph(format!("Withheld: {because}")));
    } else {
        blocks.push(table(likelihood));
        blocks.push(Block::Paragraph(
            "Of \"the suspect learned from this candidate\" over each alternative, with the most that the \
             population can support in brackets; the headline is the least of them. Below 0 is stated as \
             0 where the population has no students that hide. A ratio is not the probability of a \
             proposition."
                .into(),
        ));
        blocks.extend(parts(likelihood));
    }
    blocks.push(Block::List(behind(likelihood)));
    blocks
}

fn table(likelihood: &Likelihood) -> Block {
    let mut head = vec!["candidate teacher".to_owned()];
    head.extend(Proposition::ALTERNATIVES.map(|p| format!("against {}", p.symbol())));
    head.extend(["headline", "interval", "Venn-Abers", "support"].map(String::from));
    let posterior = likelihood.candidates.iter().any(|c| c.posterior.is_some());
    if posterior {
        head.push("posterior".into());
    }
    let row = |c: &Candidature| {
        let mut row = vec![c.candidate.clone()];
        row.extend(Proposition::ALTERNATIVES.map(|p| {
            let versus = c.versus.iter().find(|v| v.alternative == p);
            versus.map_or_else(dash, |v| bounded(&v.llr))
        }));
        row.push(bounded(&c.headline));
        row.push(interval(&c.interval));
        row.push(ends(c.venn_abers));
        row.push(c.support.words().into());
        row.extend(c.posterior.map(|p| format!("{:.1} %", 100.0 * p)));
        row
    };
    Block::Table {
        head,
        rows: likelihood.candidates.iter().map(row).collect(),
    }
}

/// What each stream says of the first candidate, and what is left without it.
fn parts(likelihood: &Likelihood) -> Option<Block> {
    let first = likelihood.candidates.first()?;
    let part = |p: &filiation_lr::Part| {
        let without = p
            .without
            .map_or_else(String::new, |llr| format!("; headline without it {llr:.1}"));
        format!(
            "`{}` of `{}`: {:+.1} alone{without}",
            p.stream, first.candidate, p.alone
        )
    };
    (first.parts.len() > 1).then(|| Block::List(first.parts.iter().map(part).collect()))
}

fn behind(likelihood: &Likelihood) -> Vec<String> {
    let behind = &likelihood.behind;
    let mut items = vec![format!(
        "Population `{}` ({}), tier {}, scores of {}",
        behind.name,
        short(&behind.scores),
        behind.tier.number(),
        behind.streams.join(", ")
    )];
    items.extend(
        likelihood
            .typicality
            .map(|p| format!("The case as one more draw of it: p = {p:.3}")),
    );
    items
}

fn bounded(llr: &BoundedLlr) -> String {
    format!("{:.1} ({:.1})", llr.log10, llr.upper)
}

fn interval(interval: &Interval) -> String {
    format!("[{:.1}, {:.1}]", interval.lower, interval.upper)
}

fn ends([low, high]: [Option<f64>; 2]) -> String {
    let end = |end: Option<f64>| end.map_or("open".into(), |e| format!("{e:.1}"));
    format!("[{}, {}]", end(low), end(high))
}
