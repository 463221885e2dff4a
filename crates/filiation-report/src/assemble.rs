use filiation_core::{Axis, Party, Proposition, Reason};
use filiation_lr::{Evidence, Likelihood, Opinion, Setting};

use crate::{
    Alternative, CaseFacts, Contested, EndpointFacts, FoundBy, Held, Outcome, ProbeRecord,
    RecordingFacts, Report, SuiteFacts, Tool,
};

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What was asked for.
    pub case: CaseFacts,
    /// The models in the order of the case.
    pub parties: Vec<Party>,
    /// Those of them that answered from a recording.
    pub recordings: Vec<RecordingFacts>,
    /// Those of them that are behind an API, or were when they were recorded.
    pub endpoints: Vec<EndpointFacts>,
    /// The prompts.
    pub suites: Vec<SuiteFacts>,
    /// Every probe of the plan.
    pub probes: Vec<ProbeRecord>,
    /// The weighed statistics of those that gave one.
    pub evidence: Vec<Evidence>,
    /// Likelihood ratios, where the case names a population.
    pub likelihood: Option<Likelihood>,
}

impl Report {
    /// The report on `parts`.
    pub fn assemble(parts: Parts) -> Self {
        let setting = Setting::of(&parts.parties);
        let propositions = contested(&setting, &parts.evidence);
        let limitations = limitations(&parts, &setting);
        let explanations = explanations(&parts.probes);
        Self {
            format: Self::FORMAT.into(),
            tool: Tool {
                name: "filiation".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            propositions,
            limitations,
            explanations,
            opinion: Opinion::new(setting, parts.evidence, parts.likelihood),
            case: parts.case,
            parties: parts.parties,
            recordings: parts.recordings,
            endpoints: parts.endpoints,
            suites: parts.suites,
            probes: parts.probes,
        }
    }
}

fn contested(setting: &Setting, evidence: &[Evidence]) -> Vec<Contested> {
    let suspect = &setting.suspect;
    let alternative = |teacher: &str, proposition: Proposition| Alternative {
        proposition,
        sentence: proposition.sentence(suspect, teacher),
        held: held(proposition, evidence),
    };
    setting
        .teachers
        .iter()
        .map(|teacher| Contested {
            teacher: teacher.clone(),
            distilled: Proposition::Distilled.sentence(suspect, teacher),
            alternatives: Proposition::ALTERNATIVES
                .map(|p| alternative(teacher, p))
                .into(),
        })
        .collect()
}

fn held(proposition: Proposition, evidence: &[Evidence]) -> Vec<Held> {
    evidence
        .iter()
        .filter(|e| e.axis == Axis::TeacherIdentity)
        .flat_map(|e| e.contrasts.iter().map(move |c| (e, c)))
        .filter(|(_, c)| c.alternative == proposition)
        .map(|(e, c)| Held {
            probe: e.method.name().into(),
            present: c.present,
            because: c.because.clone(),
        })
        .collect()
}

fn limitations(parts: &Parts, setting: &Setting) -> Vec<String> {
    let mut all = vec![
        "the ranking is among the candidates named in this case; a teacher that is not among \
         them cannot come first"
            .into(),
        "intervals say how precisely a score is known over prompts, not how unusual it is among \
         models"
            .into(),
        "the probes look at the same suspect with the same prompts: that several agree is less \
         than as many independent findings"
            .into(),
    ];
    let endpoints: Vec<_> = parts
        .endpoints
        .iter()
        .map(|e| format!("`{}`", e.party))
        .collect();
    if !endpoints.is_empty() {
        all.push(format!(
            "of {} nothing is known but what was answered under that name on those days: the weights \
             behind an endpoint may be changed without notice",
            endpoints.join(", ")
        ));
    }
    match parts.case.found_by {
        FoundBy::NamedInAdvance => {}
        FoundBy::Batch(m) => all.push(format!(
            "the suspect was picked out of a batch of {m}: the most striking of {m} looks striking \
             by chance more often than one named in advance"
        )),
    }
    all.extend(
        parts
            .case
            .not_run
            .iter()
            .map(|skipped| format!("probe `{}` was not run: {}", skipped.probe, skipped.because)),
    );
    if parts.case.raw {
        all.push(
            "every prompt was put as plain text, as the case asks: models that were trained to \
             answer in a chat template may have written otherwise within it"
                .into(),
        );
    }
    all.extend(parts.recordings.iter().map(|recording| {
        format!(
            "`{}` was not asked but answered from a recording of {}: it shows the model of that \
             day, and what it was not asked then could not be asked now",
            recording.party, recording.recorded
        )
    }));
    if let Some(limit) = parts.case.limit {
        all.push(format!(
            "at most {limit} prompts of each suite were used: for trying out, not for a finding"
        ));
    }
    let stated = parts
        .likelihood
        .as_ref()
        .is_some_and(|l| !l.candidates.is_empty());
    if let Some(prior) = parts.case.prior.filter(|_| stated) {
        all.push(format!(
            "the posterior stands on the prior of {prior} stated with the case: another prior gives \
             another posterior from the same likelihood ratio"
        ));
    }
    if let Some(prior) = parts.case.prior.filter(|_| !stated) {
        all.push(format!(
            "the prior of {prior} stated with the case stays as it is: without a likelihood ratio \
             there is nothing to update it with"
        ));
    }
    if setting.base.is_none() {
        all.push(
            "no base is named: what the suspect knew before any teacher cannot be taken off".into(),
        );
    }
    if setting.controls_like_base.is_empty() && setting.controls_other.is_empty() {
        all.push(
            "no controls are named: what models without these teachers score is not shown".into(),
        );
    }
    all
}

fn explanations(probes: &[ProbeRecord]) -> Vec<String> {
    let mut all = vec![
        "text of the teacher is in public data that the suspect was trained on".into(),
        "suspect and teacher were trained on the same data".into(),
        "the suspect learned from a relative of the teacher that is not among the candidates"
            .into(),
        "the teacher learned from the suspect, or from what the suspect was trained on".into(),
        "someone made the suspect resemble the teacher on purpose".into(),
    ];
    let weights = probes
        .iter()
        .any(|p| matches!(&p.outcome, Outcome::Statistic(s) if s.axis == Axis::WeightLineage));
    if !weights {
        all.push("the suspect began from the teacher's own weights".into());
    }
    let refused = probes
        .iter()
        .any(|p| matches!(&p.outcome, Outcome::Abstention(a) if a.reason == Reason::NotSupported));
    if refused {
        all.push("what a probe could not ask might have told otherwise".into());
    }
    all
}
