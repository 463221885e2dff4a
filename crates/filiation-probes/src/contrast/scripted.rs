//! Cases whose answers a test writes, party by party.

use filiation_core::{
    Abstention, Answer, Digest, ModelIdentity, Observations, Party, Probe, Request, Role, Statistic,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::simulated::Answers;

/// A party of this name; nothing else of it matters to a probe.
pub(crate) fn party(name: &str, role: Role) -> Party {
    Party {
        name: name.into(),
        role,
        identity: ModelIdentity {
            source: name.into(),
            digest: Digest::of(name.as_bytes()),
            architecture: "Written".into(),
            parameters: 0,
            tokenizer: None,
        },
    }
}

/// The parties of a case and what they answered to the plan of a probe.
pub(crate) struct Script<'a> {
    probe: &'a dyn Probe,
    pub(crate) parties: Vec<Party>,
    pub(crate) answers: Answers,
}

impl<'a> Script<'a> {
    pub(crate) fn new(probe: &'a dyn Probe) -> Self {
        Self {
            probe,
            parties: Vec::new(),
            answers: Answers::new(),
        }
    }

    /// One more party; `answer` is given the place of the request in the plan.
    pub(crate) fn with(
        mut self,
        name: &str,
        role: Role,
        answer: impl Fn(usize, &Request) -> Option<Answer>,
    ) -> Self {
        let asked = self.probe.plan().iter().enumerate();
        for (i, request) in asked.filter(|(_, r)| r.to.contains(&role)) {
            if let Some(answer) = answer(i, request) {
                let key = (name.to_owned(), request.id.clone());
                self.answers.insert(key, Ok(answer));
            }
        }
        self.parties.push(party(name, role));
        self
    }

    /// The same with the first `most` parties of a role.
    pub(crate) fn keeping(mut self, role: Role, most: usize) -> Self {
        let mut kept = 0;
        self.parties.retain(|p| {
            kept += usize::from(p.role == role);
            p.role != role || kept <= most
        });
        self
    }

    pub(crate) fn measure(&self) -> Result<Statistic, Abstention> {
        let seen = Observations::new(&self.parties, &self.answers);
        self.probe.measure(&seen)
    }
}

/// The candidate with the largest score.
pub(crate) fn first(statistic: &Statistic) -> &str {
    let best = statistic
        .candidates
        .iter()
        .max_by(|a, b| a.score.total_cmp(&b.score));
    &best.expect("candidates").candidate
}

/// The candidate whose interval lies above zero, if any.
pub(crate) fn ahead(statistic: &Statistic) -> Option<&str> {
    let ahead = statistic
        .candidates
        .iter()
        .find(|c| c.interval.is_some_and(|i| i.lower > 0.0));
    ahead.map(|c| c.candidate.as_str())
}

/// A standard normal draw (Box and Muller).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, turn): (f64, f64) = (
        rng.random_range(f64::MIN_POSITIVE..1.0),
        rng.random_range(0.0..1.0),
    );
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
}
