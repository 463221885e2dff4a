use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use filiation_checkpoint::{Limits, ModelWeights};
use filiation_core::{Answer, Observations, Party, Probe, Role, WeightRelation};
use filiation_probes::lineage::pack::{Kinship, Pack, kinship};
use filiation_probes::lineage::{WeightLineage, relate};
use filiation_report::{Outcome, clean};
use serde::Serialize;

use super::open;
use crate::output;

#[derive(Serialize)]
struct Compared {
    parties: Vec<Party>,
    relation: WeightRelation,
    outcome: Outcome,
    /// Where the comparison found no shared weights: what sketches say, which no change of basis
    /// moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    sketch: Option<Kinship>,
}

pub(super) fn run(a: &Path, b: &Path, json: bool) -> Result<()> {
    let limits = Limits::default();
    let this = open(a, &limits)?;
    let other = open(b, &limits)?;
    let relation = relate(&*this, &*other)?;
    let party = |name: &str, role, of: &dyn ModelWeights| Party {
        name: name.into(),
        role,
        identity: of.identity().clone(),
    };
    let parties = vec![
        party("a", Role::Suspect, &*this),
        party("b", Role::Base, &*other),
    ];
    let probe = WeightLineage::new();
    let answers: BTreeMap<_, _> = probe
        .plan()
        .iter()
        .map(|request| {
            let key = ("a".to_owned(), request.id.clone());
            (key, Ok(Answer::Weights(relation.clone())))
        })
        .collect();
    let outcome = match probe.measure(&Observations::new(&parties, &answers)) {
        Ok(statistic) => Outcome::Statistic(statistic),
        Err(abstention) => Outcome::Abstention(abstention),
    };
    let sketch = match is_found(&outcome) {
        true => None,
        false => sketch(&*this, &*other),
    };
    let compared = Compared {
        parties,
        relation,
        outcome,
        sketch,
    };
    if json {
        output::json(&compared)
    } else {
        output::text(&compared.text())
    }
}

fn is_found(outcome: &Outcome) -> bool {
    let finding = match outcome {
        Outcome::Statistic(statistic) => statistic.finding.as_deref(),
        _ => None,
    };
    finding.is_some_and(|f| f.starts_with("same model") || f.starts_with("derived"))
}

/// `None` where either has too little to sketch.
fn sketch(this: &dyn ModelWeights, other: &dyn ModelWeights) -> Option<Kinship> {
    let (this, other) = (Pack::of(this).ok()?, Pack::of(other).ok()?);
    Some(kinship(&this, &other, 1))
}

impl Compared {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .parties
            .iter()
            .map(|p| format!("{}  {}  {}", p.name, p.identity.source, p.identity.digest))
            .collect();
        match &self.outcome {
            Outcome::Statistic(statistic) => {
                lines.extend(statistic.finding.clone());
                for score in &statistic.candidates {
                    lines.push(format!("score {:.4} ({})", score.score, statistic.unit));
                }
                if let Some(sd) = statistic.details.get("cka_null_sd") {
                    lines.push(format!(
                        "a CKA of one layer over random pairings of the {} dimensions: 0, standard deviation {sd:.4}",
                        self.relation.aligned_dimensions
                    ));
                }
            }
            Outcome::Abstention(abstention) => lines.push(format!("abstains: {abstention}")),
        }
        let relation = &self.relation;
        lines.push(format!(
            "shared vocabulary {}, same configuration {}, permuted {}",
            relation.shared_vocabulary, relation.same_configuration, relation.permuted
        ));
        if let Some(change) = relation.largest_change {
            lines.push(format!("largest relative change of a matrix {change:.4}"));
        }
        if let Some(sketch) = self
            .sketch
            .as_ref()
            .filter(|s| s.finding == Some("derived"))
        {
            let notes = sketch.notes.join("; ");
            lines.push(format!(
                "yet in whatever basis the hidden space is, neurons are shared: derived; {notes}"
            ));
        }
        lines.iter().map(|l| clean(l) + "\n").collect()
    }
}
