//! Flags for models behind APIs.

use std::io::{BufRead, IsTerminal, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use filiation_audit::{Case, Entry};
use filiation_report::{Authorisation, clean};
use filiation_teacher::{Budget, Mode, Options, Prices};

use super::cache::At;
use crate::day::Day;
use crate::failure::Usage;
use crate::progress::Shown;
use crate::teachers::{Manner, Parties};

/// Models behind APIs (`PROVIDER:MODEL`).
#[derive(Args)]
#[command(next_help_heading = "Models behind APIs (PROVIDER:MODEL)")]
pub(crate) struct Remote {
    /// Address, where it is not the provider's own: `https`, or a server on this machine.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Environment variable of the key. Another address than the provider's own gets no key without it.
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// Fields added to the body of every completion, as JSON: `{"reasoning_effort":"none"}`.
    #[arg(long, value_name = "JSON")]
    extra: Option<String>,
    /// By what right the model is asked: a contract, terms that allow it, the owner's consent. The
    /// report shows it.
    #[arg(long, value_name = "TEXT")]
    basis: Option<String>,
    /// Who says so.
    #[arg(long, value_name = "NAME", requires = "basis")]
    authorised_by: Option<String>,
    #[command(flatten)]
    at: At,
    /// Answer from the store alone, as if what is not there could not be answered: no socket is
    /// opened, no key is read.
    #[arg(long)]
    offline: bool,
    /// As `--offline`, and what is not in the store ends the work.
    #[arg(long, conflicts_with = "offline")]
    replay: bool,
    /// Ask without testing the endpoint first. Nothing is taken from its declaration then, and the
    /// report says that it was not tested.
    #[arg(long)]
    untested: bool,
    /// Keeps answers apart from those of another time, so that an endpoint is asked again.
    #[arg(long, value_name = "TEXT", default_value = "")]
    epoch: String,
    /// Stop before more requests than this are sent.
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,
    /// Stop before more money than this may be spent, by the prices of `--prices`.
    #[arg(long, value_name = "MONEY")]
    max_cost: Option<f64>,
    /// Table of prices (TOML), see docs/teachers.md.
    #[arg(long, env = "FILIATION_PRICES", value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Most requests a minute.
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Most attempts at one question, with growing waits between them.
    #[arg(long, value_name = "N", default_value = "10")]
    attempts: NonZeroU32,
    /// Requests under way at a time.
    #[arg(long, value_name = "N", default_value_t = 4)]
    concurrency: usize,
}

impl Remote {
    /// Fills in what flags say of the models of a case that are behind an API.
    pub(super) fn put_into<'a>(&self, entries: impl Iterator<Item = &'a mut Entry>) -> Result<()> {
        let extra = self.extra.as_deref().map(serde_json::from_str).transpose();
        let extra = extra.map_err(|e| Usage(format!("`--extra` is no JSON object: {e}")))?;
        for entry in entries.filter(|entry| entry.is_endpoint()) {
            entry.base_url = self.base_url.clone().or(entry.base_url.take());
            entry.key_env = self.key_env.clone().or(entry.key_env.take());
            entry.extra = extra.clone().or(entry.extra.take());
            if let Some(basis) = &self.basis {
                let by = self.authorised_by.clone().unwrap_or_default();
                entry.authorisation = Some(authorisation(basis.clone(), by)?);
            }
        }
        Ok(())
    }

    /// Where nothing says by what right a model is asked: as an earlier run was told, or as whoever
    /// sits at the terminal says.
    pub(super) fn authorise<'a>(
        &self,
        entries: impl Iterator<Item = &'a mut Entry>,
        before: Option<&Case>,
    ) -> Result<()> {
        for entry in entries.filter(|entry| entry.is_endpoint()) {
            let mut known = before.into_iter().flat_map(Case::entries);
            let known =
                known.find(|(_, known)| known.name == entry.name && known.path == entry.path);
            let known = known.and_then(|(_, known)| known.authorisation.clone());
            entry.authorisation = match (entry.authorisation.take(), known) {
                (None, Some(known)) => Some(known),
                // The day that it was said stays that of the run.
                (Some(now), Some(known)) if now.basis == known.basis && now.by == known.by => {
                    Some(known)
                }
                (Some(now), _) => Some(now),
                (None, None) => self.asked(&entry.path)?,
            };
        }
        Ok(())
    }

    fn asked(&self, endpoint: &Path) -> Result<Option<Authorisation>> {
        let silent = self.offline || self.replay;
        if silent || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Ok(None);
        }
        let (mut input, mut output) = (std::io::stdin().lock(), std::io::stderr().lock());
        match ask(endpoint, &mut input, &mut output).context("cannot ask by what right")? {
            Some((basis, by)) => authorisation(basis, by).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn manner(&self) -> Result<Manner> {
        if self
            .max_cost
            .is_some_and(|cost| !(cost.is_finite() && cost >= 0.0))
        {
            return Err(Usage("`--max-cost` is no amount".into()).into());
        }
        Ok(Manner {
            store: self.at.store.clone(),
            mode: match (self.offline, self.replay) {
                (true, _) => Mode::Offline,
                (_, true) => Mode::Replay,
                _ => Mode::Record,
            },
            options: Options {
                concurrency: self.concurrency.max(1),
                per_minute: self.rate,
                attempts: self.attempts.get(),
                epoch: self.epoch.clone(),
                budget: Budget {
                    requests: self.max_requests,
                    cost: self.max_cost,
                    ..Budget::default()
                },
                ..Options::default()
            },
            prices: self.prices.as_deref().map(Prices::read).transpose()?,
            untested: self.untested,
        })
    }
}

fn authorisation(basis: String, by: String) -> Result<Authorisation> {
    let date = Day::today()?.to_string();
    Ok(Authorisation { basis, by, date })
}

// On what basis, and who says so; nothing where either is left empty.
fn ask(
    endpoint: &Path,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> std::io::Result<Option<(String, String)>> {
    let endpoint = clean(&endpoint.display().to_string());
    writeln!(
        output,
        "`{endpoint}` is another's model. By what right is it asked? The report shows it."
    )?;
    let mut answer = |question: &str| -> std::io::Result<String> {
        write!(output, "{question}: ")?;
        output.flush()?;
        let mut line = String::new();
        input.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    };
    let basis = answer("basis (a contract, terms that allow it, the owner's consent)")?;
    let by = answer("who says so")?;
    Ok((!basis.is_empty() && !by.is_empty()).then_some((basis, by)))
}

/// Says what was spent.
pub(super) fn tell_spent(provider: &Parties) {
    for (name, spent) in provider.spent() {
        let cost = match provider.currency() {
            Some(currency) => format!(", {:.4} {currency}", spent.cost),
            None => String::new(),
        };
        Shown::line(&format!(
            "{name}: {} requests sent, {} answered, {} from the store; {} + {} tokens{cost}",
            spent.requests, spent.answers, spent.replayed, spent.input_tokens, spent.output_tokens
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sits_at_the_terminal_is_asked_by_what_right() {
        let asked = |typed: &str| {
            let mut shown = Vec::new();
            let path = Path::new("openai:m\u{202e}");
            let right = ask(path, &mut typed.as_bytes(), &mut shown).expect("reads");
            (right, String::from_utf8(shown).expect("text"))
        };
        let (right, shown) = asked("contract 7 \n A. Auditor\n");
        assert_eq!(right, Some(("contract 7".into(), "A. Auditor".into())));
        assert!(
            shown.contains("By what right") && !shown.contains('\u{202e}'),
            "{shown}"
        );
        assert_eq!(asked("\nA. Auditor\n").0, None);
        assert_eq!(asked("contract 7\n").0, None, "the input ended");
    }
}
