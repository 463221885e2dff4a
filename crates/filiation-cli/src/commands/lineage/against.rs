use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use filiation_audit::Progress;
use filiation_core::{Digest, ModelIdentity};
use filiation_probes::lineage::pack::{Kinship, LayerKinship, Mixture, Pack, kinship, mixtures};
use filiation_report::clean;
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::pack;
use crate::failure::Usage;
use crate::output;
use crate::progress::Shown;

/// What else than descent from a base explains shared weights.
const EXPLANATIONS: [&str; 4] = [
    "sharing weights has no direction: the base may come from the suspect, or both from a third model",
    "relatives of the true base share weights too: the nearest of those compared need not be it",
    "open licences allow derivation: lineage is a fact, not a breach",
    "a student initialised from a teacher's layers shares weights whatever it learned from",
];

#[derive(Serialize)]
struct Compared {
    suspect: ModelIdentity,
    pack: Digest,
    /// Related ones first, nearest first.
    bases: Vec<Kinship>,
    /// Pairs of them that the suspect lies between.
    mixtures: Vec<Named>,
    innocent_explanations: &'static [&'static str],
}

#[derive(Serialize)]
struct Named {
    first: String,
    second: String,
    #[serde(flatten)]
    mixture: Mixture,
}

pub(super) fn run(suspect: &Path, against: &[PathBuf], json: bool) -> Result<()> {
    let mut paths = Vec::new();
    for path in against {
        collect(path, &mut paths)?;
    }
    if paths.is_empty() {
        return Err(Usage("`--against` names no model and no pack".into()).into());
    }
    let shown = Shown::new();
    shown.begin("sketching", 0, paths.len() as u64 + 1);
    let suspect = pack::of(suspect)?;
    shown.advance(1);
    let mut bases = Vec::new();
    for path in &paths {
        let base = pack::of(path)?;
        let kin = kinship(&suspect, &base, paths.len());
        // Only what may be mixed is kept.
        let related = kin.layers.iter().any(|l| l.inherited);
        bases.push((kin, related.then_some(base)));
        shown.advance(1);
    }
    shown.end();
    bases.sort_by(|(a, _), (b, _)| {
        rank(a)
            .total_cmp(&rank(b))
            .then_with(|| a.base.cmp(&b.base))
    });
    let compared = Compared::new(&suspect, bases);
    if json {
        output::json(&compared)
    } else {
        output::text(&compared.text())
    }
}

/// The packs and models that a path is or holds, by name.
fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() || is_model(path) {
        into.push(path.to_owned());
        return Ok(());
    }
    let unread = || format!("cannot read folder `{}`", path.display());
    let mut inside = Vec::new();
    for entry in path.read_dir().with_context(unread)? {
        let entry = entry.with_context(unread)?.path();
        let gguf = entry.extension().is_some_and(|e| e == "gguf");
        if is_model(&entry) || (entry.is_file() && (gguf || Pack::is_pack(&entry))) {
            inside.push(entry);
        }
    }
    inside.sort();
    into.extend(inside);
    Ok(())
}

fn is_model(path: &Path) -> bool {
    path.is_dir() && path.join("config.json").is_file()
}

/// Related ones before others, those less changed first, then by what stands for "unrelated".
fn rank(kin: &Kinship) -> f64 {
    match kin.change {
        Some(change) => change,
        None => 1e6 + kin.log10_p.unwrap_or(0.0),
    }
}

impl Compared {
    fn new(suspect: &Pack, bases: Vec<(Kinship, Option<Pack>)>) -> Self {
        let related: Vec<(&Pack, &Kinship)> = bases
            .iter()
            .filter_map(|(kin, pack)| Some((pack.as_ref()?, kin)))
            .collect();
        let mixtures = mixtures(suspect, &related)
            .into_iter()
            .map(|mixture| Named {
                first: related[mixture.of.0].1.base.clone(),
                second: related[mixture.of.1].1.base.clone(),
                mixture,
            })
            .collect();
        Self {
            suspect: suspect.identity().clone(),
            pack: suspect.digest(),
            bases: bases.into_iter().map(|(kin, _)| kin).collect(),
            mixtures,
            innocent_explanations: &EXPLANATIONS,
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("{}  {}", self.suspect.source, self.suspect.digest)];
        let related: Vec<_> = self
            .bases
            .iter()
            .filter(|b| b.layers.iter().any(|l| l.inherited))
            .collect();
        lines.push(match related.as_slice() {
            [] => "shares weights with none of these".into(),
            [one] => format!("shares weights with {}", one.base),
            [first, ..] => format!(
                "shares weights with {} of these, the nearest is {}",
                related.len(),
                first.base
            ),
        });
        for kin in &related {
            lines.push(format!("{}: {}", kin.base, inherited(kin)));
            lines.extend(kin.notes.iter().map(|note| format!("  {note}")));
        }
        if let Some(best) = self.mixtures.first() {
            let share = 100.0 * best.mixture.share;
            lines.push(format!(
                "mixture: {share:.0} % {} and {:.0} % {}; {:.1} % of the squared distance from the nearer one is left",
                best.first,
                100.0 - share,
                best.second,
                100.0 * best.mixture.left
            ));
        }
        let mut text: String = lines.iter().map(|l| clean(l) + "\n").collect();
        text.push('\n');
        text.push_str(&self.table());
        text.push('\n');
        if !related.is_empty() {
            text.push_str("\nInnocent explanations:\n");
            for line in self.innocent_explanations {
                text.push_str(&format!("- {line}\n"));
            }
        }
        text
    }

    fn table(&self) -> String {
        let mut builder = Builder::new();
        builder.push_record(["base", "finding", "layers", "change", "log10 p", "CKA"]);
        let number = |x: Option<f64>, digits: usize| {
            x.map_or_else(|| "–".into(), |x| format!("{x:.digits$}"))
        };
        for kin in &self.bases {
            let count = kin.layers.iter().filter(|l| l.inherited).count();
            builder.push_record([
                clean(&kin.base),
                kin.finding.unwrap_or("not settled").to_owned(),
                format!("{count} of {}", kin.layers.len()),
                number(kin.change, 4),
                number(kin.log10_p, 1),
                number(kin.cka, 4),
            ]);
        }
        builder.build().with(Style::psql()).to_string()
    }
}

/// Which layers come from where.
fn inherited(kin: &Kinship) -> String {
    let from: Vec<&LayerKinship> = kin.layers.iter().filter(|l| l.inherited).collect();
    let mut text = format!(
        "layers {} of {} come from its layers {}",
        runs(from.iter().map(|l| l.layer)),
        kin.layers.len(),
        runs(from.iter().map(|l| l.counterpart))
    );
    if !kin.left_out.is_empty() {
        text.push_str(&format!(
            ", {} left out",
            runs(kin.left_out.iter().copied())
        ));
    }
    text
}

/// Numbers in their order, ascending neighbours joined: `0-3, 7`.
fn runs(numbers: impl Iterator<Item = usize>) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == n => *end = n,
            _ => runs.push((n, n)),
        }
    }
    let each = runs.into_iter().map(|(a, b)| match a == b {
        true => a.to_string(),
        false => format!("{a}-{b}"),
    });
    each.collect::<Vec<_>>().join(", ")
}
