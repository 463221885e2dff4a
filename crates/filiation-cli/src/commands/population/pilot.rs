use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use filiation_core::{Axis, Basis};
use filiation_lr::pilot::{Effect, Pilot as Judged, Rate, Row, pilot};
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::output;

/// Judges every probe: effects against the three alternatives, smallest share, cost, false
/// positives, dependence.
#[derive(Args)]
pub(crate) struct Pilot {
    /// Scores (`scores.jsonl`) of a population.
    #[arg(required = true)]
    scores: Vec<PathBuf>,
    /// Markdown tables.
    #[arg(long)]
    markdown: bool,
}

impl Pilot {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let records = super::records(&super::score_files(&self.scores)?)?;
        let judged = pilot(&records);
        if json {
            return output::json(&judged);
        }
        output::text(&self.text(&judged))
    }

    fn text(&self, judged: &Judged) -> String {
        let table = |rows: Vec<Vec<String>>| {
            let mut table = Builder::from_iter(rows).build();
            if self.markdown {
                table.with(Style::markdown());
            } else {
                table.with(Style::psql());
            }
            table.to_string()
        };
        let mut parts = vec![
            (
                "Effect: Hedges' g of distilled suspects against others, with its 95 % interval \
                 over models, and the area under the ROC curve.",
                table(effects(judged)),
            ),
            (
                "Effect against Ha by signal and share of the training rows.",
                table(shares(judged)),
            ),
            (
                "p of at most 1 % among controls, any candidate; the last columns are of exact tests.",
                table(errors(judged)),
            ),
            (
                "Rank correlation of scores: below the diagonal over innocents, above it over \
                 distilled suspects.",
                table(dependence(judged)),
            ),
        ];
        if judged.rows.iter().any(|r| r.kin.is_some()) {
            parts.push((
                "Weights: suspects beside the base that they start from, and beside another.",
                table(kin(judged)),
            ));
        }
        let part = |(title, table): (&str, String)| format!("{title}\n\n{table}\n");
        let parts: Vec<String> = parts.into_iter().map(part).collect();
        parts.join("\n")
    }
}

fn cells(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
}

fn effects(judged: &Judged) -> Vec<Vec<String>> {
    let head = cells(&[
        "probe",
        "scored",
        "abstains",
        "against Ha",
        "AUC",
        "against Ha, no sibling named",
        "against Hb",
        "against Hc",
        "teacher first",
        "smallest share",
        "completions",
        "other questions",
        "carries",
    ]);
    let row = |r: &Row| {
        let abstains: Vec<String> = (r.abstained.iter())
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let share = |(by, share): (&String, &Option<f64>)| match share {
            Some(share) => format!("{by} {} %", percent(*share)),
            None => format!("{by} none"),
        };
        let shares: Vec<String> = r.smallest_share.iter().map(share).collect();
        vec![
            r.probe.clone(),
            r.scored.to_string(),
            abstains.join(", "),
            effect(r.against_ha),
            r.against_ha.map_or(dash(), |e| format!("{:.3}", e.auc)),
            effect(r.against_ha_without_siblings),
            effect(r.against_hb),
            effect(r.against_hc),
            r.first.map_or(dash(), |(k, n)| format!("{k}/{n}")),
            shares.join(", "),
            r.cost.completions.to_string(),
            r.cost.others.to_string(),
            carries(r),
        ]
    };
    std::iter::once(head)
        .chain(judged.rows.iter().map(row))
        .collect()
}

fn carries(row: &Row) -> String {
    if row.axis.is_some_and(|axis| axis != Axis::TeacherIdentity) {
        return "other axis".into();
    }
    let against = row.carries_against.join(", ");
    match (row.is_kept(), against.is_empty()) {
        (true, _) => against,
        (false, true) => "nothing: kept out".into(),
        (false, false) => format!("{against} only: kept out"),
    }
}

fn effect(effect: Option<Effect>) -> String {
    effect.map_or(dash(), |e| {
        let (low, high) = (e.interval.lower, e.interval.upper);
        format!("{:.2} [{low:.2}, {high:.2}]", e.g)
    })
}

fn dash() -> String {
    "–".into()
}

fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

fn shares(judged: &Judged) -> Vec<Vec<String>> {
    let mut columns: Vec<(String, f64)> = Vec::new();
    for at in judged.rows.iter().flat_map(|r| &r.by_share) {
        if !columns
            .iter()
            .any(|(by, share)| *by == at.by && *share == at.share)
        {
            columns.push((at.by.clone(), at.share));
        }
    }
    let title = |(by, share): &(String, f64)| format!("{by} {} %", percent(*share));
    let head = std::iter::once("probe".to_owned()).chain(columns.iter().map(title));
    let row = |r: &Row| -> Vec<String> {
        let cell = |(by, share): &(String, f64)| {
            let at = r.by_share.iter().find(|a| a.by == *by && a.share == *share);
            effect(at.and_then(|a| a.effect))
        };
        std::iter::once(r.probe.clone())
            .chain(columns.iter().map(cell))
            .collect()
    };
    std::iter::once(head.collect())
        .chain(judged.rows.iter().map(row))
        .collect()
}

fn errors(judged: &Judged) -> Vec<Vec<String>> {
    let head = cells(&[
        "probe",
        "clean lineages",
        "Ha",
        "Hb",
        "wrong teacher",
        "teacher (power)",
        "exact, clean",
        "exact, KS",
    ]);
    let row = |r: &Row| {
        let e = &r.errors;
        let exact = match (r.basis, e.exact) {
            (Some(Basis::Design), Some(ks)) => {
                format!(
                    "D {:.3}, log10 p {:.2}, n {}",
                    ks.statistic, ks.log10_p, ks.values
                )
            }
            _ => dash(),
        };
        vec![
            r.probe.clone(),
            rate(e.clean),
            rate(e.fine_tunes),
            rate(e.independents),
            rate(e.wrong_teacher),
            rate(e.teacher),
            rate(e.exact_clean),
            exact,
        ]
    };
    std::iter::once(head)
        .chain(judged.rows.iter().map(row))
        .collect()
}

fn kin(judged: &Judged) -> Vec<Vec<String>> {
    let head = cells(&[
        "probe",
        "related",
        "least score",
        "unrelated",
        "greatest score",
        "AUC",
        "found where 1 % are accused",
    ]);
    let row = |r: &Row| {
        let kin = r.kin?;
        Some(vec![
            r.probe.clone(),
            kin.related.to_string(),
            format!("{:.3}", kin.least_related),
            kin.unrelated.to_string(),
            format!("{:.3}", kin.greatest_unrelated),
            format!("{:.4}", kin.auc),
            format!("{:.1} %", 100.0 * kin.found_at_1_percent),
        ])
    };
    std::iter::once(head)
        .chain(judged.rows.iter().filter_map(row))
        .collect()
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or(dash(), |r| {
        let (low, high) = (100.0 * r.interval.lower, 100.0 * r.interval.upper);
        format!("{}/{} [{low:.1}, {high:.1}] %", r.hits, r.of)
    })
}

fn dependence(judged: &Judged) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = Vec::new();
    for pair in &judged.dependence {
        for name in [pair.one.as_str(), pair.other.as_str()] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let of = |a: &str, b: &str| {
        let is = |one: &str, other: &str| one == a && other == b || one == b && other == a;
        judged.dependence.iter().find(|d| is(&d.one, &d.other))
    };
    let head = std::iter::once("")
        .chain(names.iter().copied())
        .map(str::to_owned);
    let row = |(i, name): (usize, &&str)| -> Vec<String> {
        let cell = |(j, other): (usize, &&str)| {
            let pair = of(name, other);
            let value = if i == j {
                None
            } else if i > j {
                pair.and_then(|p| p.innocents)
            } else {
                pair.and_then(|p| p.distilled)
            };
            value.map_or_else(dash, |rho| format!("{rho:.2}"))
        };
        let values = names.iter().enumerate().map(cell);
        std::iter::once((*name).to_owned()).chain(values).collect()
    };
    std::iter::once(head.collect())
        .chain(names.iter().enumerate().map(row))
        .collect()
}
