use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use filiation_lr::system::{Needed, Subject, lineages_needed};
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::output;

/// Inverts the claim ladder: clean lineages that a claim needs, none of them misleading.
#[derive(Args)]
pub(crate) struct Plan {
    /// Folders with `scores.jsonl` or `by-probe/`, or score files: what there is already.
    scores: Vec<PathBuf>,
    /// The likelihood ratio to be claimed; repeat for each. Default: 10, 30, 100, 1000.
    #[arg(long = "claim", value_name = "LR")]
    claims: Vec<f64>,
    /// Share of the distilled lineages that reach it.
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    sensitivity: f64,
}

#[derive(Serialize)]
struct Planned {
    clean_lineages: Option<usize>,
    sensitivity: f64,
    claims: Vec<Claim>,
}

#[derive(Serialize)]
struct Claim {
    claim: f64,
    #[serde(flatten)]
    needed: Needed,
}

impl Plan {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let claims = match self.claims.is_empty() {
            true => vec![10.0, 30.0, 100.0, 1000.0],
            false => self.claims,
        };
        let one = |claim| {
            let needed = lineages_needed(claim, self.sensitivity)?;
            Ok(Claim { claim, needed })
        };
        let planned = Planned {
            clean_lineages: clean(&self.scores)?,
            sensitivity: self.sensitivity,
            claims: claims.into_iter().map(one).collect::<Result<_>>()?,
        };
        if json {
            return output::json(&planned);
        }
        output::text(&text(&planned))
    }
}

fn clean(scores: &[PathBuf]) -> Result<Option<usize>> {
    if scores.is_empty() {
        return Ok(None);
    }
    let subjects = Subject::all(&super::records(&super::score_files(scores)?)?)?;
    let taught: std::collections::BTreeSet<&str> = subjects
        .iter()
        .filter(|s| s.known.taught.is_some())
        .map(|s| s.known.lineage.as_str())
        .collect();
    let clean: std::collections::BTreeSet<&str> = subjects
        .iter()
        .map(|s| s.known.lineage.as_str())
        .filter(|lineage| !taught.contains(lineage))
        .collect();
    Ok(Some(clean.len()))
}

fn text(planned: &Planned) -> String {
    let head = ["to say", "by the bound", "with 95 % confidence"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for claim in &planned.claims {
        rows.push(vec![
            format!("LR ≥ {}", claim.claim),
            claim.needed.by_bound.to_string(),
            claim.needed.with_confidence.to_string(),
        ]);
    }
    let mut table = Builder::from_iter(rows).build();
    table.with(Style::psql());
    let share = 100.0 * planned.sensitivity;
    let have = match planned.clean_lineages {
        Some(clean) => format!("; you have {clean}"),
        None => String::new(),
    };
    format!(
        "Clean lineages, none of them misleading, where {share} % of the distilled reach the claim{have}.\n\n{table}\n"
    )
}
