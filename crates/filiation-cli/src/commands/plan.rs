use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use filiation_audit::{Entry, Run};
use filiation_core::{Request, Role, Want};
use filiation_probes::divergence::tlu_did::PLANNED_EFFECT;
use filiation_stats::anytime::Betting;
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
/// Tokens are estimated, of output the most that may be drawn. It says what evidence to expect of a
/// completion where a teacher leads by as much as `--lead` says, and with `--like RUN` what completions were
/// worth in an earlier run.
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
    /// The lead of a teacher over its closest rival for which evidence is expected: mean over standard
    /// deviation of the differences between prompts.
    #[arg(long, value_name = "D", default_value_t = PLANNED_EFFECT)]
    lead: f64,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    computed: Computed,
    #[command(flatten)]
    remote: Remote,
}

/// Evidence to expect of the probe that may stop, in bits: log2 of the e-value against "no candidate leads".
#[derive(Serialize)]
struct Expected {
    probe: &'static str,
    /// The lead that it is expected for.
    lead: f64,
    bits_a_prompt: f64,
    bits_a_completion: f64,
    /// Prompts after which the e-value reaches 1000: all candidates were tried, and the mean over them counts.
    prompts_to_1000: f64,
    /// Prompts that the suites have.
    prompts: usize,
    /// What a bit costs of the endpoints together, where prices are known.
    cost_a_bit: Option<f64>,
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
    /// At the lead that is asked about.
    at_lead: Option<Expected>,
    expected: Vec<Worth>,
}

impl Plan {
    pub(crate) fn run(self, json: bool) -> Result<()> {
        let (mut order, folder) = self.asked.order(&self.target)?;
        self.remote.put_into(order.models.iter_mut())?;
        // A lone one is held against nobody yet: there will be another.
        let candidates = order.models.len().max(2);
        let (models, others) = order.models.into_iter().partition(Entry::is_endpoint);
        order.models = models;
        order.others.extend::<Vec<_>>(others);
        let provider = Parties::new(
            self.computed.provider(order.asking.raw),
            self.remote.manner()?,
        );
        let questions = order.questions(&folder, &provider)?;
        let mut endpoints = Vec::new();
        for (asked, entry) in questions.iter().zip(&order.models) {
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
        let completions = questions
            .first()
            .map_or(0, |asked| completions(&asked.by_probe));
        let shown = Shown {
            at_lead: Expected::of(
                self.lead,
                completions,
                order.asking.samples,
                candidates,
                &endpoints,
            )?,
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

/// The probe that buys until it knows enough.
const MAY_STOP: &str = "tlu-did";

// Texts that an endpoint writes for it.
fn completions(by_probe: &[(String, Vec<Request>)]) -> usize {
    let own = by_probe.iter().filter(|(probe, _)| probe == MAY_STOP);
    let wants = own.flat_map(|(_, requests)| requests);
    wants
        .filter(|r| matches!(r.want, Want::Generate { .. }))
        .count()
}

impl Expected {
    #[expect(clippy::cast_precision_loss, reason = "counts of completions")]
    fn of(
        lead: f64,
        completions: usize,
        samples: u32,
        candidates: usize,
        endpoints: &[Priced],
    ) -> Result<Option<Self>> {
        let growth = Betting::growth(lead)?;
        let prompts = completions / samples.max(1) as usize;
        if prompts == 0 {
            return Ok(None);
        }
        let bits_a_prompt = growth * std::f64::consts::LOG2_E;
        let cost = endpoints.iter().map(|priced| {
            let of = priced.probes.iter().find(|(probe, _)| probe == MAY_STOP);
            of.and_then(|(_, quote)| quote.cost)
        });
        let cost: Option<f64> = cost.sum();
        Ok(Some(Self {
            probe: MAY_STOP,
            lead,
            bits_a_prompt,
            bits_a_completion: bits_a_prompt / (candidates as f64 * f64::from(samples)),
            prompts_to_1000: ((1000.0 * candidates as f64).ln() / growth).ceil(),
            prompts,
            cost_a_bit: cost.map(|cost| cost / (prompts as f64 * bits_a_prompt)),
        }))
    }

    fn told(&self, currency: Option<&str>) -> String {
        let mut text = format!(
            "to expect of {} where a teacher leads its closest rival by {} standard deviations a prompt: {:.4} bits a prompt, \
             {:.4} a completion; an e-value of 1000 after some {:.0} of {} prompts",
            self.probe,
            self.lead,
            self.bits_a_prompt,
            self.bits_a_completion,
            self.prompts_to_1000,
            self.prompts
        );
        if let (Some(cost), Some(currency)) = (self.cost_a_bit, currency) {
            text += &format!("; {cost:.6} {currency} a bit");
        }
        text + "\n"
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
        if let Some(expected) = &self.at_lead {
            text += &expected.told(self.currency.as_deref());
        }
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
