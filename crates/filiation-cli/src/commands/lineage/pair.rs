use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use filiation_checkpoint::{Limits, ModelWeights};
use filiation_core::{Answer, Observations, Party, Probe, Role, WeightRelation};
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
    let compared = Compared {
        parties,
        relation,
        outcome,
    };
    if json {
        output::json(&compared)
    } else {
        output::text(&compared.text())
    }
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
        lines.iter().map(|l| clean(l) + "\n").collect()
    }
}
