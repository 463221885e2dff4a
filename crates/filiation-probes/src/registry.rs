use filiation_core::Probe;

use crate::divergence::{
    choice_priors::ChoicePriors, directional_displacement::DirectionalDisplacement,
    divergence_agreement::DivergenceAgreement, representation::Representation, tlu_did::TluDid,
};
use crate::knowledge::{
    capability_retention::CapabilityRetention, teacher_unique_errors::TeacherUniqueErrors,
};
use crate::lineage::WeightLineage;
use crate::{ProbeError, ProbeOptions, Suite, suite};

type Make = fn(&[Suite], &ProbeOptions) -> Result<Box<dyn Probe>, ProbeError>;

/// The probes there are, in the order of reports, each with what plans it.
const PROBES: [(&str, Make); 8] = [
    ("weight-lineage", |_, _| Ok(Box::new(WeightLineage::new()))),
    ("tlu-did", |s, o| Ok(Box::new(TluDid::new(s, o)?))),
    ("choice-priors", |s, o| {
        Ok(Box::new(ChoicePriors::new(s, o)?))
    }),
    ("directional-displacement", |s, o| {
        Ok(Box::new(DirectionalDisplacement::new(s, o)?))
    }),
    ("divergence-agreement", |s, o| {
        Ok(Box::new(DivergenceAgreement::new(s, o)?))
    }),
    ("representation", |s, o| {
        Ok(Box::new(Representation::new(s, o)?))
    }),
    ("teacher-unique-errors", |s, o| {
        Ok(Box::new(TeacherUniqueErrors::new(s, o)?))
    }),
    ("capability-retention", |s, o| {
        Ok(Box::new(CapabilityRetention::new(s, o)?))
    }),
];

/// The names of the probes there are, in the order of reports.
pub const NAMES: [&str; PROBES.len()] = {
    let mut names = [""; PROBES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = PROBES[i].0;
        i += 1;
    }
    names
};

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
        .map(|name| {
            let known = PROBES.iter().find(|(known, _)| known == name);
            let (_, make) = known.ok_or_else(|| ProbeError::UnknownProbe {
                name: name.to_owned(),
                known: &NAMES,
            })?;
            make(suites, options)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites() -> Vec<Suite> {
        let lines = concat!(
            r#"{"id":"a","text":"Say.","domain":"chat","language":"en","licence":"Apache-2.0"}"#,
            "\n",
            r#"{"id":"b","text":"Pick.","options":["1","2"],"domain":"choice","language":"en","licence":"Apache-2.0"}"#,
            "\n",
            r#"{"id":"c","text":"One and one?","options":["1","2"],"key":"2","domain":"question","language":"en","licence":"Apache-2.0"}"#,
        );
        vec![Suite::parse("s.jsonl", lines.as_bytes()).expect("good lines")]
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
