use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use filiation_audit::{Entry, Run};
use filiation_core::Role;
use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::asked::{Asked, Computed};
use super::remote::Remote;
use super::worth::Worth;
use crate::output;
use crate::teachers::{Parties, Quote};

/// Prices what a case, or a recording, asks of models behind APIs: questions, requests, tokens and
/// money, before anything is asked. What the store has costs nothing.
///
/// Tokens are estimated, of output the most that may be drawn. With `--like RUN` it says what
/// completions were worth in an earlier run.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    filiation plan case.toml --prices prices.toml\n  \
    filiation plan openai:MODEL --suite probes/chat.jsonl --samples 4 --like runs/earlier")]
pub(crate) struct Plan {
    /// A case file (`.toml`), or `PROVIDER:MODEL`.
    #[arg(value_name = "CASE|MODEL")]
    target: String,
    /// A run that is finished: what its evidence cost says what to expect.
    #[arg(long, value_name = "RUN")]
    like: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
struct Priced {
    endpoint: String,
    probes: Vec<(String, Quote)>,
    total: Quote,
}

#[derive(Serialize)]
struct Shown {
    currency: Option<String>,
    endpoints: Vec<Priced>,
    expected: Vec<Worth>,
}

impl Plan {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let (mut order, folder) = self.asked.order(&self.target)?;
        self.remote.put_into(order.models.iter_mut())?;
        let (models, others) = order.models.into_iter().partition(Entry::is_endpoint);
        order.models = models;
        order.others.extend::<Vec<_>>(others);
        let provider = Parties::new(
            self.computed.provider(order.asking.raw),
            self.remote.manner()?,
        );
        let mut endpoints = Vec::new();
        for (asked, entry) in order
            .questions(&folder, &provider)?
            .iter()
            .zip(&order.models)
        {
            let seat = entry.seat(Role::Teacher);
            let quote = |requests: &[_]| {
                provider
                    .quote(&seat, requests)
                    .map_err(anyhow::Error::from_boxed)
            };
            let probes = asked
                .by_probe
                .iter()
                .map(|(probe, own)| Ok((probe.clone(), quote(own)?)));
            let mut probes = probes.collect::<Result<Vec<_>>>()?;
            let all: Vec<_> = asked
                .by_probe
                .iter()
                .flat_map(|(_, own)| own.clone())
                .collect();
            let mut total = quote(&all)?;
            let test = provider
                .quote_test(&seat)
                .map_err(anyhow::Error::from_boxed)?;
            if let Some(test) = test {
                probes.insert(0, ("(testing it)".to_owned(), test));
                total = total.plus(test);
            }
            endpoints.push(Priced {
                endpoint: asked.party.identity.source.clone(),
                total,
                probes,
            });
        }
        let shown = Shown {
            currency: provider.currency().map(str::to_owned),
            endpoints,
            expected: self
                .like
                .as_deref()
                .map(|run| expected(run, &provider))
                .transpose()?
                .unwrap_or_default(),
        };
        if json {
            output::json(&shown)
        } else {
            output::text(&shown.text())
        }
    }
}

/// What a finished run paid for, and what that was worth.
fn expected(run: &Path, provider: &Parties) -> Result<Vec<Worth>> {
    Worth::of(&Run::open(run)?, provider)
}

/// Units that reach an e-value of 1000, at what a unit was worth.
fn units_to_1000(worth: &Worth) -> Option<f64> {
    let a_unit = worth.bits_a_unit().filter(|bits| *bits > 0.0)?;
    Some((1000_f64.log2() / a_unit).ceil())
}

impl Shown {
    fn text(&self) -> String {
        let mut table = Builder::new();
        let currency = self.currency.as_deref().unwrap_or("no price");
        table.push_record([
            "endpoint",
            "probe",
            "questions",
            "in the store",
            "not answered",
            "requests",
            "input tokens",
            "output, at most",
            currency,
        ]);
        let mut row = |endpoint: &str, probe: &str, quote: &Quote| {
            table.push_record([
                filiation_report::clean(endpoint),
                probe.to_owned(),
                quote.questions.to_string(),
                quote.kept.to_string(),
                quote.unsupported.to_string(),
                quote.estimate.requests.to_string(),
                quote.estimate.input.to_string(),
                quote.estimate.output.to_string(),
                quote
                    .cost
                    .map_or_else(|| "-".to_owned(), |cost| format!("{cost:.4}")),
            ]);
        };
        for priced in &self.endpoints {
            for (probe, quote) in &priced.probes {
                row(&priced.endpoint, probe, quote);
            }
            row(&priced.endpoint, "all", &priced.total);
        }
        let mut text = format!("{}\n", table.build().with(Style::markdown()));
        for worth in &self.expected {
            text += &format!("earlier, {}\n", worth.told(self.currency.as_deref()));
            if let (Some(bits), Some(units)) = (worth.bits_a_unit(), units_to_1000(worth)) {
                text += &format!(
                    "expected of {}: {bits:.4} bits a unit, an e-value of 1000 after {units:.0} units\n",
                    worth.probe
                );
            }
        }
        text
    }
}
