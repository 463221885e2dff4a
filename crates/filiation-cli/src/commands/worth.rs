//! What evidence cost that was bought from models behind APIs.

use std::path::Path;

use anyhow::{Context, Result};
use filiation_audit::Run;
use filiation_core::Role;
use serde::Serialize;
use serde_json::Value;

use crate::teachers::{Paid, Parties};

/// What the questions of one probe cost, and what they came to.
#[derive(Debug, Serialize)]
pub(super) struct Worth {
    pub(super) probe: String,
    /// What was paid for its questions, by all parties behind an API together.
    pub(super) paid: Paid,
    /// Units that its stream bought, where it has one.
    pub(super) units: Option<u64>,
    /// Evidence against "no candidate leads", in bits: log2 of the e-value. Probes without a stream have
    /// none by themselves: what they are worth is in the likelihood ratios, where there is a population.
    pub(super) bits: Option<f64>,
}

impl Worth {
    /// Of every probe of a finished run that asked something of a model behind an API.
    pub(super) fn of(run: &Run, provider: &Parties) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        for (entry, asked) in run.questions()? {
            let seat = entry.seat(Role::Teacher);
            for (probe, own) in &asked.by_probe {
                let paid = provider
                    .paid(&seat, own)
                    .map_err(anyhow::Error::from_boxed)?;
                match all.iter_mut().find(|worth| worth.probe == *probe) {
                    Some(worth) => worth.paid = worth.paid.plus(paid),
                    None => all.push(Self::new(run.root(), probe, paid)?),
                }
            }
        }
        Ok(all)
    }

    fn new(root: &Path, probe: &str, paid: Paid) -> Result<Self> {
        let watch = last_watch(root, probe)?;
        Ok(Self {
            probe: probe.to_owned(),
            paid,
            units: watch.map(|(units, _)| units),
            bits: watch.map(|(_, log10_e)| log10_e * std::f64::consts::LOG2_10),
        })
    }

    /// Bits a unit, where there are some.
    #[expect(clippy::cast_precision_loss, reason = "a count of units")]
    pub(super) fn bits_a_unit(&self) -> Option<f64> {
        let units = self.units.filter(|units| *units > 0)?;
        Some(self.bits? / units as f64)
    }

    /// A sentence.
    #[expect(clippy::cast_precision_loss, reason = "counts of tokens")]
    pub(super) fn told(&self, currency: Option<&str>) -> String {
        let Paid {
            requests,
            input_tokens,
            output_tokens,
            cost,
        } = self.paid;
        let money = |cost: f64| format!("{cost:.6} {}", currency.unwrap_or_default());
        let mut text = format!(
            "{}: {requests} exchanges, {input_tokens} + {output_tokens} tokens{}",
            self.probe,
            cost.map_or_else(String::new, |cost| format!(", {}", money(cost)))
        );
        let (Some(units), Some(bits)) = (self.units, self.bits) else {
            return text + "; what it is worth needs a population";
        };
        text += &format!("; {bits:.2} bits of evidence from {units} units");
        if bits > 0.0 {
            text += &format!(
                ", {:.0} tokens a bit",
                (input_tokens + output_tokens) as f64 / bits
            );
            text += &cost.map_or_else(String::new, |cost| {
                format!(", {} a bit", money(cost / bits))
            });
        }
        text
    }
}

// How the evidence of a stream stood when it stopped: units, and log10 of the e-value.
fn last_watch(root: &Path, probe: &str) -> Result<Option<(u64, f64)>> {
    let path = root.join("streams").join(format!("{probe}.json"));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let value: Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("`{}` is damaged", path.display()))?;
    let watch = value["looks"].as_array().and_then(|looks| looks.last());
    let watch = watch.map(|look| &look["watch"]);
    Ok(watch.and_then(|watch| Some((watch["units"].as_u64()?, watch["log10_e"].as_f64()?))))
}
