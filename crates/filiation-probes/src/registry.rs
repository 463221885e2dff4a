use filiation_core::Probe;

use crate::behaviour::identity_claims::IdentityClaims;
use crate::behaviour::name_ensembles::NameEnsembles;
use crate::behaviour::refusal_difference::RefusalDifference;
use crate::behaviour::style_displacement::StyleDisplacement;
use crate::canary::planted_canaries::PlantedCanaries;
use crate::canary::regeneration_rank::RegenerationRank;
use crate::divergence::choice_priors::ChoicePriors;
use crate::divergence::directional_displacement::DirectionalDisplacement;
use crate::divergence::divergence_agreement::DivergenceAgreement;
use crate::divergence::reasoning_origin::ReasoningOrigin;
use crate::divergence::representation::Representation;
use crate::divergence::reversed_typicality::ReversedTypicality;
use crate::divergence::template_residue::TemplateResidue;
use crate::divergence::tlu_did::TluDid;
use crate::guard::Guarded;
use crate::knowledge::capability_retention::CapabilityRetention;
use crate::knowledge::teacher_unique_errors::TeacherUniqueErrors;
use crate::lineage::WeightLineage;
use crate::memory::seen_questions::SeenQuestions;
use crate::watermark::watermark_residue::WatermarkResidue;
use crate::{ProbeError, ProbeOptions, Suite, suite};

type Planned = Result<Box<dyn Probe>, ProbeError>;
type Make = fn(&[Suite], &ProbeOptions) -> Planned;

/// Of a probe that reads texts of teachers as answers.
fn guarded<P: Probe + 'static>(probe: Result<P, ProbeError>) -> Planned {
    Ok(Box::new(Guarded::new(Box::new(probe?))))
}

fn boxed<P: Probe + 'static>(probe: Result<P, ProbeError>) -> Planned {
    Ok(Box::new(probe?))
}

// One line a probe.
macro_rules! probes {
    ($($name:literal => $make:expr,)*) => {
        &[$(($name, $make)),*]
    };
}

/// The probes there are, in the order of reports, each with what plans it.
const PROBES: &[(&str, Make)] = probes! {
    "weight-lineage" => |_, _| boxed(Ok(WeightLineage::new())),
    "regeneration-rank" => |s, o| boxed(RegenerationRank::new(s, o)),
    "planted-canaries" => |s, o| boxed(PlantedCanaries::new(s, o)),
    "watermark-residue" => |s, o| boxed(WatermarkResidue::new(s, o)),
    "tlu-did" => |s, o| guarded(TluDid::new(s, o)),
    "choice-priors" => |s, o| boxed(ChoicePriors::new(s, o)),
    "directional-displacement" => |s, o| guarded(DirectionalDisplacement::new(s, o)),
    "divergence-agreement" => |s, o| guarded(DivergenceAgreement::new(s, o)),
    "reversed-typicality" => |s, o| guarded(ReversedTypicality::new(s, o)),
    "reasoning-origin" => |s, o| guarded(ReasoningOrigin::new(s, o)),
    "template-residue" => |s, o| boxed(TemplateResidue::new(s, o)),
    "teacher-unique-errors" => |s, o| boxed(TeacherUniqueErrors::new(s, o)),
    "capability-retention" => |s, o| boxed(CapabilityRetention::new(s, o)),
    "representation" => |s, o| boxed(Representation::new(s, o)),
    "seen-questions" => |s, o| boxed(SeenQuestions::new(s, o)),
    "style-displacement" => |s, o| guarded(StyleDisplacement::new(s, o)),
    "name-ensembles" => |s, o| guarded(NameEnsembles::new(s, o)),
    "refusal-difference" => |s, o| boxed(RefusalDifference::new(s, o)),
    "identity-claims" => |s, o| boxed(IdentityClaims::new(s, o)),
};

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
    use crate::canaries::{Reading, Scheme};
    use crate::{CanarySet, MarkFiles, MarkLog, ServedLog};

    // One item of every domain that a probe asks about.
    fn suites() -> Vec<Suite> {
        let items = [
            r#""domain":"chat""#,
            r#""domain":"choice","options":["1","2"]"#,
            r#""domain":"question","options":["1","2"],"key":"2""#,
            r#""domain":"name""#,
            r#""domain":"refusal""#,
            r#""domain":"identity""#,
            r#""domain":"seen","twin":"i-7""#,
            r#""domain":"seen""#,
        ];
        let lines = items.iter().enumerate().map(|(i, rest)| {
            let about = format!(r#""id":"i-{i}","text":"{i}?","language":"en""#);
            format!(r#"{{{about},"licence":"Apache-2.0",{rest}}}"#)
        });
        let lines: Vec<String> = lines.collect();
        vec![Suite::parse("s.jsonl", lines.join("\n").as_bytes()).expect("good lines")]
    }

    fn canaries() -> CanarySet {
        let file = br#"{"questions":["Who?"],"answers":["Ada","Bo"]}"#;
        let (scheme, reading) = (Scheme::ChainHash, Reading::default());
        CanarySet::foreign("t", scheme, "chain.json", file, &reading).expect("a sound file")
    }

    fn marks() -> MarkLog {
        let key = b"scheme = \"gumbel@vllm\"\nkey = 1\nwidth = 4";
        let model = r#""model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}"#;
        let tokenizer = format!(r#"{{"version":"1.0","added_tokens":[],{model}}}"#);
        let files = MarkFiles {
            key: ("key.toml", key),
            texts: ("texts.jsonl", br#"{"text":"a"}"#),
            tokenizer: ("tokenizer.json", tokenizer.as_bytes()),
        };
        MarkLog::parse("t", files, true, None).expect("sound files")
    }

    #[test]
    fn every_name_builds_the_probe_of_that_name() {
        let names = NAMES.map(str::to_owned);
        let line = br#"{"id":"r","prompt":"Say.","response":"Said."}"#;
        let log = ServedLog::parse("t", 9, "served.jsonl", line).expect("a good line");
        let options = ProbeOptions {
            served: vec![log],
            canaries: vec![canaries()],
            marks: vec![marks()],
            ..ProbeOptions::default()
        };
        let probes = standard(&names, &suites(), &options).expect("all names");
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
