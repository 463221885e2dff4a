use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use filiation_audit::{Entry, Progress, Provider, Reach, Seat};
use filiation_core::{
    Answer, Digest, ModelError, Observations, Party, Probe, Prompt, Request, RequestId, Role,
};
use filiation_probes::canaries::{Canary, Reading, Scheme};
use filiation_probes::canary::planted_canaries::{Found, PlantedCanaries, found};
use filiation_probes::{CanarySet, ProbeOptions, PromptForm};
use filiation_report::clean;
use serde::Serialize;

use crate::commands::asked::Computed;
use crate::commands::audit::entry;
use crate::failure::Usage;
use crate::output;
use crate::progress::Shown;

/// Party name that canaries are of here: the command names no teacher.
const OWNER: &str = "owner";
/// Requests put to a model at once.
const BATCH: usize = 256;

/// Ranks planted texts among their decoys under a suspect. H0: the suspect does not depend on which
/// of the texts were planted.
///
/// log10 p is exact by the lot that chose the canaries: the ranks (1 + #)/(R + 1) of all of them,
/// combined. A base or a control that cannot have learned them is asked the same; it should show
/// nothing. Nothing that is printed holds a prompt or a text, but with `--disclose`.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation canary check models/suspect --canaries canaries.json --secret canaries.secret.json\n  \
    filiation canary check models/suspect --scheme perinucleus --canaries fingerprints.json --choices 3")]
pub(crate) struct Check {
    /// The suspect: a model's folder or file.
    #[arg(value_name = "[NAME=]SUSPECT")]
    suspect: String,
    /// The record, or the file of another program.
    #[arg(long, value_name = "FILE")]
    canaries: PathBuf,
    /// The secret of a record.
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// Whose file it is: `planted`, `instructional-fingerprinting`, `perinucleus`, `chain-hash`.
    #[arg(long, default_value = "planted")]
    scheme: String,
    /// What the suspect was initialised from.
    #[arg(long, value_name = "[NAME=]MODEL")]
    base: Option<String>,
    /// A model that cannot have learned the canaries; repeat for each.
    #[arg(long = "control", value_name = "[NAME=]MODEL")]
    controls: Vec<String>,
    /// `perinucleus`: among how many tokens the first of a response was drawn.
    #[arg(long, default_value_t = 3)]
    choices: u32,
    /// `instructional-fingerprinting`: decoy keys for each key.
    #[arg(long, default_value_t = 127)]
    decoys: u32,
    /// Seed of decoy keys.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What a key stands in, for files of other programs: `{}` is its place, or `{instruction}` and
    /// `{input}`.
    #[arg(long)]
    template: Option<String>,
    /// Put every prompt as plain text, chat templates unused.
    #[arg(long)]
    raw: bool,
    /// Show prompts and texts, and the rank of each.
    #[arg(long)]
    disclose: bool,
    #[command(flatten)]
    computed: Computed,
}

#[derive(Serialize)]
struct Checked {
    scheme: &'static str,
    file: Digest,
    commitment: Option<Digest>,
    created: Option<String>,
    /// Whether the file shows that the choice was not made afterwards.
    choice_bound: bool,
    form: &'static str,
    method: String,
    /// The suspect's; `null` where it abstains.
    log10_p: Option<f64>,
    abstention: Option<String>,
    models: Vec<OfModel>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disclosed: Vec<InClear>,
}

#[derive(Serialize)]
struct OfModel {
    name: String,
    role: Role,
    digest: Digest,
    found: Option<Found>,
    abstention: Option<String>,
}

#[derive(Serialize)]
struct InClear {
    id: String,
    repeats: u32,
    prompt: Prompt,
    text: String,
}

type Answers = BTreeMap<(String, RequestId), std::result::Result<Answer, ModelError>>;

impl Check {
    pub(super) fn run(self, json: bool) -> Result<()> {
        let set = self.set()?;
        let entries = self.entries()?;
        let provider = self.computed.provider(self.raw);
        let seat = |(role, entry): &(Role, Entry)| (*role, entry.clone());
        let seats: Vec<(Role, Entry)> = entries.iter().map(seat).collect();
        let mut parties = Vec::new();
        let mut chat = !self.raw;
        for (role, entry) in &seats {
            let profile = provider
                .profile(&seat_of(*role, entry))
                .map_err(|e| anyhow!(e).context(format!("{} `{}`", role.as_str(), entry.name)))?;
            chat &= profile.chat;
            parties.push(Party {
                name: entry.name.clone(),
                role: *role,
                identity: profile.identity,
            });
        }
        let form = if chat {
            PromptForm::Chat
        } else {
            PromptForm::Text
        };
        let options = ProbeOptions {
            form,
            canaries: vec![set.clone()],
            ..ProbeOptions::default()
        };
        let probe = PlantedCanaries::new(&[], &options)?;
        let mut answers = Answers::new();
        let shown = Shown::new();
        for (role, entry) in &seats {
            ask(
                &provider,
                &seat_of(*role, entry),
                probe.plan(),
                &shown,
                &mut answers,
            )?;
        }
        let checked = self.checked(&probe, &set, form, &parties, &answers);
        if json {
            output::json(&checked)
        } else {
            output::text(&checked.text(&set))
        }
    }

    fn set(&self) -> Result<CanarySet> {
        let read = |path: &Path| {
            fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let scheme = Scheme::named(&self.scheme).ok_or_else(|| {
            let known: Vec<_> = Scheme::ALL
                .iter()
                .map(|s| format!("`{}`", s.as_str()))
                .collect();
            Usage(format!(
                "`--scheme` is `{}`, expected one of {}",
                self.scheme,
                known.join(", ")
            ))
        })?;
        let name = self.canaries.display().to_string();
        let file = read(&self.canaries)?;
        if let Some(secret) = &self.secret {
            if scheme != Scheme::Planted {
                return Err(Usage("`--secret` is of planted canaries".into()).into());
            }
            return Ok(CanarySet::planted(OWNER, &name, &file, &read(secret)?)?);
        }
        let reading = Reading {
            template: self.template.clone(),
            choices: self.choices,
            decoys: self.decoys,
            seed: self.seed,
        };
        Ok(CanarySet::foreign(OWNER, scheme, &name, &file, &reading)?)
    }

    fn entries(&self) -> Result<Vec<(Role, Entry)>> {
        let mut entries = vec![(Role::Suspect, entry(&self.suspect))];
        entries.extend(self.base.iter().map(|b| (Role::Base, entry(b))));
        entries.extend(self.controls.iter().map(|c| (Role::Control, entry(c))));
        for (i, (_, entry)) in entries.iter().enumerate() {
            if entries[..i]
                .iter()
                .any(|(_, other)| other.name == entry.name)
            {
                let told = format!(
                    "two models are called `{}`; give one as NAME=PATH",
                    entry.name
                );
                return Err(Usage(told).into());
            }
        }
        Ok(entries)
    }

    fn checked(
        &self,
        probe: &PlantedCanaries,
        set: &CanarySet,
        form: PromptForm,
        parties: &[Party],
        answers: &Answers,
    ) -> Checked {
        let seen = Observations::new(parties, answers);
        let models: Vec<OfModel> = parties
            .iter()
            .map(|party| {
                let others: Vec<&Party> = parties
                    .iter()
                    .filter(|p| party.role == Role::Suspect && p.role != Role::Suspect)
                    .collect();
                let found = found(probe, OWNER, &seen, party, &others);
                OfModel {
                    name: party.name.clone(),
                    role: party.role,
                    digest: party.identity.digest,
                    abstention: found.as_ref().err().map(ToString::to_string),
                    found: found.ok(),
                }
            })
            .collect();
        let suspect = models.iter().find(|m| m.role == Role::Suspect);
        let clear = |canary: &Canary| {
            let chosen = &canary.candidates[canary.chosen];
            InClear {
                id: canary.id.clone(),
                repeats: canary.repeats,
                prompt: chosen.prompt.clone(),
                text: chosen.text.clone(),
            }
        };
        let disclosed = set.canaries.iter().filter(|_| self.disclose).map(clear);
        Checked {
            scheme: set.scheme.as_str(),
            file: set.digest,
            commitment: set.commitment,
            created: set.created.clone(),
            choice_bound: set.bound,
            form: form.as_str(),
            method: probe.id().to_string(),
            log10_p: suspect.and_then(|m| m.found.as_ref()).map(|f| f.log10_p),
            abstention: suspect.and_then(|m| m.abstention.clone()),
            disclosed: disclosed.collect(),
            models,
        }
    }
}

fn seat_of(role: Role, entry: &Entry) -> Seat<'_> {
    Seat {
        name: &entry.name,
        role,
        path: &entry.path,
        reach: Reach::default(),
    }
}

fn ask(
    provider: &dyn Provider,
    seat: &Seat<'_>,
    plan: &[Request],
    shown: &Shown,
    answers: &mut Answers,
) -> Result<()> {
    let model = provider
        .model(seat)
        .map_err(|e| anyhow!(e).context(format!("{} `{}`", seat.role.as_str(), seat.name)))?;
    let stage = format!("{} {}: canaries", seat.role.as_str(), seat.name);
    shown.begin(&stage, 0, plan.len() as u64);
    let alike = plan.chunk_by(|a, b| a.want.kind() == b.want.kind());
    for batch in alike.flat_map(|alike| alike.chunks(BATCH)) {
        let supported: Vec<Request> = batch
            .iter()
            .filter(|request| model.supports(&request.want))
            .cloned()
            .collect();
        for (request, answer) in supported.iter().zip(model.answer(&supported)) {
            answers.insert((seat.name.to_owned(), request.id.clone()), answer);
        }
        shown.advance(batch.len() as u64);
    }
    shown.end();
    Ok(())
}

impl Checked {
    fn text(&self, set: &CanarySet) -> String {
        let mut lines = vec![format!("{} canaries, {}", set.canaries.len(), self.scheme)];
        if let Some(commitment) = self.commitment {
            let day = self.created.as_deref().unwrap_or("an unknown day");
            lines.push(format!("commitment {commitment}, checked; made on {day}"));
        } else if self.choice_bound {
            lines.push("the chain of hashes gives the targets: checked".into());
        } else {
            lines.push(
                "the file does not show when its canaries were chosen: p holds if it was before the \
                 suspect was seen"
                    .into(),
            );
        }
        for model in &self.models {
            lines.extend(model.lines());
        }
        for shown in &self.disclosed {
            let prompt = match &shown.prompt {
                Prompt::Text(text) => text.clone(),
                Prompt::Chat(turns) => turns
                    .iter()
                    .map(|t| t.content.as_str())
                    .collect::<Vec<_>>()
                    .join(" / "),
            };
            lines.push(format!("{}: {prompt} |{}", shown.id, shown.text));
        }
        lines.iter().map(|l| clean(l) + "\n").collect()
    }
}

impl OfModel {
    fn lines(&self) -> Vec<String> {
        let who = format!("{} {}", self.role.as_str(), self.name);
        let Some(found) = &self.found else {
            let why = self.abstention.as_deref().unwrap_or("nothing was found");
            return vec![format!("{who}: abstains: {why}")];
        };
        let mut lines = vec![format!(
            "{who}: log10 p {:.2} over {} canaries, mean lead {:.3}",
            found.log10_p, found.used, found.score
        )];
        if let Some(e) = found.log10_e {
            lines.push(format!("  log10 e {e:.2}"));
        }
        if let (Some(k), Some(n), Some(p)) = (found.matched, found.asked, found.matches_log10_p) {
            lines.push(format!("  writes {k} of {n} by itself, log10 p {p:.2}"));
        }
        if let (Some(p), Some(rate)) = (found.matches_log10_p_binomial, found.matches_rate) {
            lines.push(format!(
                "  decoy keys match at a rate of at most {rate:.2e}, log10 p {p:.2}"
            ));
        }
        for by in &found.by_repeats {
            lines.push(format!(
                "  planted {} times: {} canaries, lead {:.3}, {} first, log10 p {:.2}",
                by.repeats, by.used, by.lead, by.first, by.log10_p
            ));
        }
        lines.push(match found.smallest_share {
            Some(share) => format!(
                "  a share of {share:.3} learned would have been found at p = 0.001 nine times in ten"
            ),
            None => "  not even all of them learned would be found at p = 0.001".into(),
        });
        lines
    }
}
