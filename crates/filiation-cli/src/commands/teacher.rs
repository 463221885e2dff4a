use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use filiation_audit::{Entry, Pack, Progress as _, Seat};
use filiation_core::{Answer, Model, ModelError, Request, Role};
use filiation_model::DeviceChoice;
use filiation_probes::sameness::{Sameness, SamenessFound, SamenessOptions};
use filiation_report::clean;
use filiation_teacher::{Examination, Verdict};
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::audit::entry;
use super::remote::{Remote, tell_spent};
use crate::day::Day;
use crate::failure::Usage;
use crate::models::Local;
use crate::output;
use crate::progress::Shown;
use crate::teachers::Parties;

/// Look at a model behind an API.
#[derive(Subcommand)]
pub(crate) enum Teacher {
    Doctor(Box<Doctor>),
}

/// Tests what an endpoint gives: which tier of access it proves, and what is wrong with it. It is
/// always asked anew; a collection that follows on the same day goes by what was found.
///
/// With `--against PACK` it is also asked whether it is still the model that was recorded: fresh texts
/// beside recorded ones, one-word answers against the recorded choices, and log-probabilities, where it gives
/// them, beside those recorded. Against an engine known to serve the recorded weights the bound that is told for
/// these is the `--noise` for others.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation teacher doctor openai:MODEL\n  \
    filiation teacher doctor llamacpp:MODEL --base-url http://127.0.0.1:8080\n  \
    filiation teacher doctor openai:MODEL --against packs/m.pack --samples 8")]
pub(crate) struct Doctor {
    /// `PROVIDER:MODEL`.
    #[arg(value_name = "PROVIDER:MODEL")]
    endpoint: String,
    /// A recording of it, of another day.
    #[arg(long, value_name = "PACK")]
    against: Option<PathBuf>,
    /// Prompts of which fresh texts are drawn.
    #[arg(long, value_name = "N", default_value_t = SamenessOptions::default().prompts, requires = "against")]
    prompts: usize,
    /// Fresh texts for each of them.
    #[arg(long, value_name = "N", default_value_t = SamenessOptions::default().samples, requires = "against")]
    samples: u32,
    /// One-word answers at most.
    #[arg(long, value_name = "N", default_value_t = SamenessOptions::default().choices, requires = "against")]
    choices: usize,
    /// Questions whose log-probabilities are asked again, at most.
    #[arg(long, value_name = "N", default_value_t = SamenessOptions::default().logprobs, requires = "against")]
    logprobs: usize,
    /// How far log-probabilities of one model may lie apart between two engines, nats; below 0.9.
    #[arg(long, value_name = "NATS", default_value_t = SamenessOptions::default().noise, requires = "against")]
    noise: f64,
    /// Seed of what is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
struct Told {
    examination: Examination,
    against: Option<Against>,
}

#[derive(Serialize)]
struct Against {
    pack: filiation_core::Digest,
    recorded: String,
    noise: f64,
    found: SamenessFound,
}

impl Teacher {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let Self::Doctor(doctor) = self;
        doctor.run(json)
    }
}

impl Doctor {
    fn run(self, json: bool) -> Result<()> {
        let mut entry = entry(&self.endpoint);
        if !entry.is_endpoint() {
            let text = format!(
                "`{}` is no endpoint, expected `PROVIDER:MODEL`",
                self.endpoint
            );
            return Err(Usage(clean(&text)).into());
        }
        self.remote.put_into(std::iter::once(&mut entry))?;
        let local = Local::on(DeviceChoice::Cpu, None);
        let provider = Parties::new(local, self.remote.manner()?);
        let told = self.examined(&entry, &provider);
        tell_spent(&provider);
        let told = told?;
        if json {
            output::json(&told)
        } else {
            output::text(&told.text())
        }
    }

    fn examined(&self, entry: &Entry, provider: &Parties) -> Result<Told> {
        let seat = entry.seat(Role::Teacher);
        let day = Day::today()?.to_string();
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.context("the clock stands before 1970")?.as_millis();
        let examination = provider
            .examine(&seat, format!("/examined {now}"), &day)
            .map_err(anyhow::Error::from_boxed)?;
        let against = match &self.against {
            Some(pack) => Some(self.held_against(pack, &seat, provider, &examination, now)?),
            None => None,
        };
        Ok(Told {
            examination,
            against,
        })
    }

    fn held_against(
        &self,
        path: &Path,
        seat: &Seat<'_>,
        provider: &Parties,
        examination: &Examination,
        now: u128,
    ) -> Result<Against> {
        let pack = Pack::read(path)?;
        let options = SamenessOptions {
            prompts: self.prompts,
            samples: self.samples,
            choices: self.choices,
            logprobs: self.logprobs,
            noise: self.noise,
            seed: self.seed,
            ..SamenessOptions::default()
        };
        let plan = Sameness::plan(&Pack::recorded(path)?, options)?;
        if plan.is_empty() {
            return Err(anyhow!(
                "`{}` holds neither texts drawn at random nor choices: nothing can be compared",
                path.display()
            ));
        }
        let model = provider
            .afresh(seat, format!("/against {now}"))
            .map_err(anyhow::Error::from_boxed)?
            .found(examination.finding.clone());
        let shown = Shown::new();
        let found = plan.compare(&mut |requests: &[Request]| {
            shown.begin("fresh answers", 0, requests.len() as u64);
            let answers = ask(&model, requests);
            shown.end();
            answers
        })?;
        Ok(Against {
            pack: pack.digest(),
            recorded: pack.head().recorded.clone(),
            noise: self.noise,
            found,
        })
    }
}

// What has no answer now ends the comparison; what was answered is kept.
fn ask(model: &dyn Model, requests: &[Request]) -> Result<Vec<Result<Answer, ModelError>>> {
    let answers = model.answer(requests);
    match answers.iter().find_map(|answer| match answer {
        Err(ModelError::Unavailable { reason }) => Some(reason),
        _ => None,
    }) {
        Some(reason) => Err(anyhow!("no more answers: {reason}")),
        None => Ok(answers),
    }
}

impl Told {
    fn text(&self) -> String {
        let found = &self.examination;
        let mut table = Builder::new();
        table.push_record(["check", "", "what was seen"]);
        for check in &found.checks {
            let verdict = match check.verdict {
                Verdict::Sound => "sound",
                Verdict::Faulty => "FAULT",
                Verdict::Unproved => "not proved",
            };
            table.push_record([check.name.as_str(), verdict, &clean(&check.detail)]);
        }
        let mut text = format!(
            "{}: {}, declared {}; {} questions\n{}\n",
            clean(&found.endpoint),
            found.finding.tier,
            found.declared.tier,
            found.questions,
            table.build().with(Style::markdown())
        );
        if let Some(against) = &self.against {
            against.write(&mut text);
        }
        text
    }
}

impl Against {
    fn write(&self, text: &mut String) {
        let Self {
            pack,
            recorded,
            noise,
            found,
        } = self;
        let mut line = |told: String| *text += &format!("{told}\n");
        line(format!(
            "against the recording of {} ({}):",
            clean(recorded),
            &pack.to_string()[..16]
        ));
        if let Some(texts) = found.texts {
            line(format!(
                "- texts: MMD2 {:.5}, p = 10^{:.2}, {} recorded beside {} fresh ones of {} prompts",
                texts.mmd2, texts.log10_p, texts.recorded, texts.fresh, texts.prompts
            ));
        }
        for (what, bets) in [("lone texts", found.lone), ("choices", found.choices)] {
            if let Some(bets) = bets {
                line(format!(
                    "- {what}: log10 e {:.2} after {} answers ({:.2} at most): p at most 10^{:.2}",
                    bets.log10_e,
                    bets.answers,
                    bets.log10_best,
                    -bets.log10_best.max(0.0)
                ));
            }
        }
        if let Some(found) = found.logprobs {
            line(format!(
                "- log-probabilities: {:.3} nats apart on average{} in {} questions; log10 e {:.2} ({:.2} at \
                 most) against one model and {} nats of noise: p at most 10^{:.2}",
                found.mean,
                found.upper.map_or_else(String::new, |upper| format!(
                    " (below {upper:.3} with confidence 95 %)"
                )),
                found.questions,
                found.log10_e,
                found.log10_best,
                noise,
                -found.log10_best.max(0.0)
            ));
        }
        if found.failed > 0 {
            line(format!("- {} questions failed", found.failed));
        }
        line("H0 of each: fresh answers come from what the recorded ones came from.".into());
    }
}
