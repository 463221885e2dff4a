//! The report as headings, paragraphs, lists and tables: what text and markdown share. Numbers
//! are rounded here and nowhere else.

use filiation_core::{Axis, Digest, Interval, Power, Proposition};
use filiation_lr::{Evidence, Ranked};

use crate::{Alternative, Authorisation, EndpointFacts, Held, Outcome, Report, clean};

mod likelihood;

/// A piece of a rendering. Every text in it is [`clean`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    Title(String),
    Heading(String),
    Paragraph(String),
    List(Vec<String>),
    Table {
        head: Vec<String>,
        rows: Vec<Vec<String>>,
    },
}

impl Block {
    fn cleaned(self) -> Self {
        let all = |texts: Vec<String>| texts.iter().map(|t| clean(t)).collect();
        match self {
            Self::Title(text) => Self::Title(clean(&text)),
            Self::Heading(text) => Self::Heading(clean(&text)),
            Self::Paragraph(text) => Self::Paragraph(clean(&text)),
            Self::List(items) => Self::List(all(items)),
            Self::Table { head, rows } => Self::Table {
                head: all(head),
                rows: rows.into_iter().map(all).collect(),
            },
        }
    }
}

/// The blocks of a report, the opinion first.
pub(crate) fn outline(report: &Report) -> Vec<Block> {
    let mut blocks = vec![
        Block::Title(format!("Audit of `{}`", report.opinion.setting.suspect)),
        Block::Heading("Opinion".into()),
        Block::List(
            report
                .opinion
                .statements
                .iter()
                .map(|s| capital(s))
                .collect(),
        ),
    ];
    blocks.extend(likelihood::blocks(report));
    blocks.extend(candidates(report));
    for evidence in &report.opinion.evidence {
        blocks.extend(scores(evidence));
    }
    blocks.extend(silent(report));
    blocks.extend(propositions(report));
    blocks.push(Block::Heading("What this does not say".into()));
    blocks.push(Block::List(
        report.limitations.iter().map(|s| capital(s)).collect(),
    ));
    blocks.push(Block::Heading("What else could give such scores".into()));
    blocks.push(Block::List(
        report.explanations.iter().map(|s| capital(s)).collect(),
    ));
    blocks.extend(models(report));
    blocks.extend(making(report));
    blocks.into_iter().map(Block::cleaned).collect()
}

fn candidates(report: &Report) -> Vec<Block> {
    let probes: Vec<&Evidence> = report
        .opinion
        .evidence
        .iter()
        .filter(|e| e.axis == Axis::TeacherIdentity)
        .collect();
    if probes.is_empty() {
        return Vec::new();
    }
    let mut agreement: Vec<_> = report.opinion.agreement.iter().collect();
    // A stable sort: where nothing tells two apart they stay in the order of the case.
    agreement.sort_by_key(|a| {
        let ranks: Vec<u32> = a.ranks.iter().map(|r| r.rank).collect();
        (std::cmp::Reverse((a.clearly_first, a.first)), ranks)
    });
    let names: Vec<String> = agreement.iter().map(|a| a.candidate.clone()).collect();
    let (head, rows) = standings(&probes, &names);
    vec![
        Block::Heading("Candidate teachers, most supported first".into()),
        Block::Table { head, rows },
        Block::Paragraph(
            "Rank, score and interval by probe. Larger scores are more like a descendant of the \
             candidate."
                .into(),
        ),
    ]
}

// Rank, score and interval of each candidate by each probe; the longer side goes down the page.
fn standings(probes: &[&Evidence], names: &[String]) -> (Vec<String>, Vec<Vec<String>>) {
    let cell = |probe: &Evidence, candidate: &str| {
        let place = probe.ranked.iter().find(|r| r.candidate == candidate);
        place.map_or_else(dash, |r| {
            format!("{}. {} {}", r.rank, number(r.score), interval(r.interval))
        })
    };
    let word = |word: &str| std::iter::once(word.to_owned());
    if probes.len() > names.len() {
        let row = |e: &&Evidence| {
            let cells = names.iter().map(|name| cell(e, name));
            word(e.method.name()).chain(cells).collect()
        };
        let head = word("probe").chain(names.iter().cloned());
        return (head.collect(), probes.iter().map(row).collect());
    }
    let row = |name: &String| {
        let cells = probes.iter().map(|e| cell(e, name));
        word(name).chain(cells).collect()
    };
    let head = word("candidate teacher").chain(probes.iter().map(|e| e.method.name().to_owned()));
    (head.collect(), names.iter().map(row).collect())
}

fn scores(evidence: &Evidence) -> Vec<Block> {
    let about = match evidence.axis {
        Axis::WeightLineage => "which weights the suspect began from",
        Axis::TeacherIdentity => "whose outputs the suspect learned from",
        Axis::Description => "what the suspect does, whoever taught it",
    };
    let row = |r: &Ranked| {
        vec![
            r.rank.to_string(),
            r.candidate.clone(),
            number(r.score),
            interval(r.interval),
            r.effect.map_or_else(dash, number),
            r.units.to_string(),
        ]
    };
    let mut blocks = vec![
        Block::Heading(format!("{}: {about}", evidence.method.name())),
        Block::Table {
            head: [
                "rank",
                "candidate",
                &evidence.unit,
                "interval",
                "effect",
                "units",
            ]
            .map(String::from)
            .into(),
            rows: evidence.ranked.iter().map(row).collect(),
        },
    ];
    if let Some(finding) = &evidence.finding {
        blocks.push(Block::Paragraph(format!("Finding: {finding}")));
    }
    if let Some(power) = &evidence.power {
        blocks.push(Block::Paragraph(seen(power)));
    }
    blocks
}

fn seen(power: &Power) -> String {
    format!(
        "The smallest score that these inputs would have shown (size {}, power {}): {}",
        plain(power.size),
        plain(power.power),
        number(power.smallest_effect)
    )
}

fn silent(report: &Report) -> Vec<Block> {
    let silent: Vec<_> = report
        .probes
        .iter()
        .filter_map(|p| match &p.outcome {
            Outcome::Statistic(_) => None,
            Outcome::Abstention(a) => Some(format!(
                "{} abstains: {a}. To lift this: {}",
                p.method.name(),
                a.reason.lifted_by()
            )),
        })
        .collect();
    if silent.is_empty() {
        return Vec::new();
    }
    vec![
        Block::Heading("Probes that say nothing".into()),
        Block::List(silent),
    ]
}

// The contrasts are the same for each teacher, so that they are shown once, for "T".
fn propositions(report: &Report) -> Vec<Block> {
    let suspect = &report.opinion.setting.suspect;
    let Some(contested) = report.propositions.first() else {
        return Vec::new();
    };
    let distilled = Proposition::Distilled;
    vec![
        Block::Heading("Propositions, for each candidate teacher T".into()),
        Block::Paragraph(format!(
            "{}: {}. Held against:",
            distilled.symbol(),
            distilled.sentence(suspect, "T")
        )),
        Block::List(
            contested
                .alternatives
                .iter()
                .map(|a| alternative(a, suspect))
                .collect(),
        ),
    ]
}

fn alternative(alternative: &Alternative, suspect: &str) -> String {
    let (yes, no): (Vec<&Held>, Vec<&Held>) = alternative.held.iter().partition(|h| h.present);
    let contrast = match (yes.as_slice(), no.as_slice()) {
        ([], []) => "no probe of the teacher axis gave a score".into(),
        ([], [first, ..]) => format!("not contrasted: {}", first.because),
        ([first, ..], _) => {
            let names: Vec<_> = yes.iter().map(|h| h.probe.as_str()).collect();
            format!("contrasted by {}: {}", names.join(", "), first.because)
        }
    };
    let proposition = alternative.proposition;
    format!(
        "{}: {} ({contrast})",
        proposition.symbol(),
        proposition.sentence(suspect, "T")
    )
}

fn models(report: &Report) -> Vec<Block> {
    let rows = report
        .parties
        .iter()
        .map(|p| {
            vec![
                p.role.as_str().to_owned(),
                p.name.clone(),
                p.identity.architecture.clone(),
                p.identity.parameters.to_string(),
                short(&p.identity.digest),
                p.identity.source.clone(),
            ]
        })
        .collect();
    let head = [
        "role",
        "name",
        "architecture",
        "parameters",
        "sha-256",
        "source",
    ];
    vec![
        Block::Heading("Models".into()),
        Block::Table {
            head: head.map(String::from).into(),
            rows,
        },
    ]
}

fn making(report: &Report) -> Vec<Block> {
    let case = &report.case;
    let mut items = vec![
        format!("{} {}", report.tool.name, report.tool.version),
        format!("Case `{}`, found by: {}", case.name, case.found_by),
        format!(
            "Seed {}, {} a prompt and teacher of at most {} tokens at temperature {}{}",
            case.seed,
            match case.samples {
                1 => "1 completion".to_owned(),
                n => format!("{n} completions"),
            },
            case.max_tokens,
            case.temperature,
            if case.raw {
                ", prompts as plain text"
            } else {
                ""
            }
        ),
        format!("Plan {}", short(&case.plan)),
    ];
    items.extend(report.recordings.iter().map(|r| {
        let version = r.version.as_ref();
        format!(
            "`{}` from pack {} of {}: {} answers of `{}`{}",
            r.party,
            short(&r.pack),
            r.recorded,
            r.answers,
            r.source,
            version.map_or_else(String::new, |v| format!(", version {v}"))
        )
    }));
    items.extend(report.endpoints.iter().map(endpoint));
    items.extend(report.suites.iter().map(|s| {
        format!(
            "Suite `{}`: {} prompts, {}",
            s.name,
            s.prompts,
            short(&s.digest)
        )
    }));
    for probe in &report.probes {
        let answered: u64 = probe.inputs.iter().map(|i| i.answered).sum();
        let failed: u64 = probe.inputs.iter().map(|i| i.failed).sum();
        items.push(format!(
            "Method `{}`: {answered} answers, {failed} failed",
            probe.method
        ));
    }
    let candidates = report.opinion.likelihood.iter().flat_map(|l| &l.candidates);
    if candidates.into_iter().all(|c| c.posterior.is_none()) {
        items.push(
            "No posterior is given: an opinion is not a probability that the suspect was distilled"
                .into(),
        );
    }
    vec![
        Block::Heading("How this was made".into()),
        Block::List(items),
    ]
}

fn endpoint(e: &EndpointFacts) -> String {
    let tested = match (&e.tested, e.faults.is_empty()) {
        (None, _) => "not tested".to_owned(),
        (Some(day), true) => format!("tested on {day}, nothing wrong"),
        (Some(day), false) => format!("tested on {day}: {}", e.faults.join("; ")),
    };
    let days = if e.first == e.last {
        format!("on {}", e.first)
    } else {
        format!("from {} to {}", e.first, e.last)
    };
    let names: Vec<_> = e.answered_by.iter().map(|m| format!("`{m}`")).collect();
    let by = if names.is_empty() {
        "a model that gives no name".to_owned()
    } else {
        names.join(", ")
    };
    let Authorisation {
        basis,
        by: who,
        date,
    } = &e.authorisation;
    format!(
        "`{}` is the endpoint `{}` ({}, {tested}), answered by {by} {days}: {} exchanges, {} + {} tokens, {}. \
         Authorised by {who} on {date}: {basis}",
        e.party,
        e.endpoint,
        e.tier,
        e.exchanges,
        e.input_tokens,
        e.output_tokens,
        short(&e.sha256),
    )
}

fn dash() -> String {
    "-".into()
}

fn short(digest: &Digest) -> String {
    digest.to_string()[..16].to_owned()
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Three significant figures with sign; a power of ten where plain digits would mislead.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "not finite".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor();
    if (-4.0..6.0).contains(&exponent) {
        let decimals = (2.0 - exponent).max(0.0) as usize;
        format!("{rounded:+.decimals$}")
    } else {
        format!("{rounded:+.2e}")
    }
}

fn plain(value: f64) -> String {
    number(value).trim_start_matches('+').to_owned()
}

fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(dash, |i| {
        format!("[{}, {}]", number(i.lower), number(i.upper))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_figures() {
        for (value, shown) in [
            (0.123_456, "+0.123"),
            (-0.000_123_4, "-0.000123"),
            (9.999, "+10.0"),
            (1234.5, "+1230"),
            (1e-9, "+1.00e-9"),
            (-2.5e8, "-2.50e8"),
            (0.0, "0"),
            (f64::NAN, "not finite"),
        ] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn blocks_come_out_clean() {
        let table = Block::Table {
            head: vec!["\u{1b}[1mname".into()],
            rows: vec![vec!["a\u{202e}b\nc".into()]],
        };
        assert_eq!(
            table.cleaned(),
            Block::Table {
                head: vec!["name".into()],
                rows: vec![vec!["ab c".into()]],
            }
        );
    }
}
