use filiation_core::Probe;

use crate::divergence::{choice_priors::ChoicePriors, tlu_did::TluDid};
use crate::lineage::WeightLineage;
use crate::{ProbeError, ProbeOptions, Suite, suite};

/// The probes there are, in the order of reports.
pub const NAMES: [&str; 3] = ["weight-lineage", "tlu-did", "choice-priors"];

/// The probes called `names`, planned over the items of `suites`, in the order of `names`.
///
/// # Errors
/// [`ProbeError`] for an unknown name, an option out of range, suites that share an id, or a
/// probe that finds nothing to ask in the suites.
pub fn standard(
    names: &[String],
    suites: &[Suite],
    options: &ProbeOptions,
) -> Result<Vec<Box<dyn Probe>>, ProbeError> {
    options.validate()?;
    suite::require_distinct_ids(suites)?;
    names
        .iter()
        .map(|name| build(name, suites, options))
        .collect()
}

fn build(
    name: &str,
    suites: &[Suite],
    options: &ProbeOptions,
) -> Result<Box<dyn Probe>, ProbeError> {
    match name {
        "weight-lineage" => Ok(Box::new(WeightLineage::new())),
        "tlu-did" => Ok(Box::new(TluDid::new(suites, options)?)),
        "choice-priors" => Ok(Box::new(ChoicePriors::new(suites, options)?)),
        _ => Err(ProbeError::UnknownProbe {
            name: name.to_owned(),
            known: &NAMES,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites() -> Vec<Suite> {
        let lines = concat!(
            r#"{"id":"a","text":"Say.","domain":"chat","language":"en","licence":"Apache-2.0"}"#,
            "\n",
            r#"{"id":"b","text":"Pick.","options":["1","2"],"domain":"choice","language":"en","licence":"Apache-2.0"}"#,
        );
        vec![Suite::parse("s.jsonl", lines.as_bytes()).expect("two good lines")]
    }

    #[test]
    fn every_name_builds_the_probe_of_that_name() {
        let names = NAMES.map(str::to_owned);
        let probes = standard(&names, &suites(), &ProbeOptions::default()).expect("all names");
        assert!(probes.iter().map(|p| p.id().name()).eq(NAMES));
    }

    #[test]
    fn unknown_names_and_options_are_refused() {
        let options = ProbeOptions::default();
        let unknown = standard(&["tlu".into()], &suites(), &options);
        let said = unknown.err().expect("no such probe").to_string();
        assert!(said.contains("`tlu`") && said.contains("tlu-did"), "{said}");
        let cold = ProbeOptions {
            temperature: -1.0,
            ..options
        };
        let said = standard(&[], &suites(), &cold).err().expect("below zero");
        assert!(said.to_string().contains("`temperature` is -1"));
    }
}
