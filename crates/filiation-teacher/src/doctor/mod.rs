//! What an endpoint is, found by testing it.
//!
//! Each check asks a few questions whose answers hold each other: text drawn greedily must be the likeliest
//! under the log-probabilities that come with it, and stay so when it is given back; what ought to vary
//! must, and what ought not must not. A tier that was not proved is not granted. Log-probabilities
//! are in nats.

mod drift;
mod forced;
mod output;
mod repeated;
mod seen;
mod tokenizer;

use filiation_core::Digest;
use serde::{Deserialize, Serialize};

use crate::{Capability, Client, Dialect, Endpoint, Estimate, Fault, Finding, TeacherError, Tier};
use seen::Asking;

/// Largest excess over 1 of a sum of probabilities: engines take the softmax in 32 bits, and sums up to
/// 1.00017 were seen of sound ones.
const SUM_SLACK: f64 = 5e-4;

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Sound,
    /// Not as it should be.
    Faulty,
    /// The endpoint does not say, or was not asked: nothing was proved.
    Unproved,
}

/// One check and what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Short name, such as `prompt-logprobs`.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen, and what was expected where it was not.
    pub detail: String,
}

/// An endpoint as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// The endpoint, as it is named.
    pub endpoint: String,
    /// What is declared of it.
    pub declared: Capability,
    /// What it proved to be.
    pub finding: Finding,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
    /// The models that answered, in the endpoint's words.
    pub models: Vec<String>,
    /// What else names the system that answered.
    pub fingerprints: Vec<String>,
    /// Digest over the tokens of a fixed text, where the endpoint tells them: the same tokenizer gives
    /// the same.
    pub tokenizer: Option<Digest>,
    /// Questions that were asked.
    pub questions: u32,
    /// What keeps its exchanges apart in the store.
    pub epoch: String,
}

/// What checks add to.
#[derive(Clone)]
pub(crate) struct Notes {
    tier: Tier,
    top: Option<u32>,
    faults: Vec<Fault>,
    checks: Vec<Check>,
}

impl Notes {
    fn sound(&mut self, name: &str, detail: impl Into<String>) {
        self.check(name, Verdict::Sound, detail.into());
    }

    fn unproved(&mut self, name: &str, detail: impl Into<String>) {
        self.check(name, Verdict::Unproved, detail.into());
    }

    /// A fault that leaves no more than `tier`.
    fn fault(&mut self, check: &str, name: &str, tier: Tier, detail: impl Into<String>) {
        let detail = detail.into();
        self.tier = self.tier.min(tier);
        self.check(check, Verdict::Faulty, format!("{name}: {detail}"));
        self.faults.push(Fault {
            name: name.into(),
            detail,
        });
    }

    /// A fault that takes no tier away.
    fn odd(&mut self, check: &str, name: &str, detail: impl Into<String>) {
        self.fault(check, name, Tier::Full, detail);
    }

    fn check(&mut self, name: &str, verdict: Verdict, detail: String) {
        self.checks.push(Check {
            name: name.into(),
            verdict,
            detail,
        });
    }

    fn cap(&mut self, tier: Tier) {
        self.tier = self.tier.min(tier);
    }
}

/// Requests and tokens that an examination takes, about.
pub fn estimate(endpoint: &Endpoint) -> Estimate {
    let declared = endpoint.declared();
    let forced = match (declared.tier, endpoint.dialect()) {
        (Tier::Samples | Tier::TopOfOutput, _) => 0,
        (_, Dialect::LlamaCpp) => 20,
        _ => 2,
    };
    let repeated = 4 + 2 * u64::from(declared.sampling) + u64::from(declared.seed);
    Estimate {
        requests: 1 + repeated + forced,
        input: 16 * (1 + repeated + forced),
        output: u64::from(output::LENGTH) * (1 + 2 * repeated) + 12 * forced,
    }
}

/// Examines the endpoint of `client`: some 10 short questions, and one more a token where a text can be
/// scored token by token only.
///
/// # Errors
/// [`TeacherError`] where the endpoint cannot be asked at all. What it answers amiss is a fault, not an
/// error.
pub fn examine(client: &Client, day: &str) -> Result<Examination, TeacherError> {
    let endpoint = client.endpoint();
    let declared = endpoint.declared();
    let mut asking = Asking::of(client);
    let mut notes = Notes {
        tier: declared.tier,
        top: None,
        faults: Vec::new(),
        checks: Vec::new(),
    };
    let (mut drawn, mut tokenizer) = (output::Drawn::default(), None);
    for step in 0..4 {
        let before = notes.clone();
        match step {
            0 => drawn = output::check(&mut asking, &declared, &mut notes)?,
            1 => repeated::check(&mut asking, &declared, &drawn, &mut notes)?,
            2 => forced::check(&mut asking, &declared, &mut notes)?,
            _ => tokenizer = tokenizer::check(&mut asking, &mut notes)?,
        }
        // What two models answered says nothing of either; what was not proved is not granted.
        if asking.switched() {
            notes = before;
            notes.cap(Tier::Samples);
            break;
        }
    }
    asking.names(&mut notes);
    Ok(Examination {
        endpoint: endpoint.shown(),
        finding: Finding {
            tier: notes.tier,
            top: notes.top,
            faults: notes.faults,
            day: day.to_owned(),
            responses: asking.responses(),
        },
        declared,
        checks: notes.checks,
        models: asking.models(),
        fingerprints: asking.fingerprints(),
        tokenizer,
        questions: asking.questions(),
        epoch: client.epoch().to_owned(),
    })
}
