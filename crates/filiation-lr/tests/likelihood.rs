//! Cases of known history held against a simulated population.

use std::collections::BTreeMap;

use filiation_core::{Axis, Basis, CandidateScore, Digest, MethodId, Proposition, Statistic};
use filiation_lr::system::Support;
use filiation_lr::{
    Calibration, Candidate, Claim, Cost, History, Likelihood, LrError, Outcome, Record, Scored,
    Tier,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const STREAM: &str = "tlu-did";

fn method(samples: u32, seed: u64) -> MethodId {
    MethodId::new(STREAM, 2, &[("samples", &samples), ("seed", &seed)])
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * rng.random::<f64>().max(1e-300).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * rng.random::<f64>()).cos()
}

/// Levels of eight candidates: text of each is easier for any model by so much, noise, and what a student
/// took from its teacher.
fn levels(rng: &mut ChaCha8Rng, teacher: Option<usize>, lead: f64) -> Vec<f64> {
    (0..8)
        .map(|k| {
            let own = if teacher == Some(k) { lead } else { 0.0 };
            2.0 * k as f64 + normal(rng) + own
        })
        .collect()
}

fn record(at: usize, levels: &[f64], history: History) -> Record {
    let candidate = |k: usize| Candidate {
        name: format!("t{k}"),
        score: 0.0,
        interval: None,
        effect: None,
        units: 10,
        log10_p_among_controls: None,
        log10_p: None,
        log10_e: None,
        weight: None,
    };
    let pairs = (0..8).flat_map(|i| (i + 1..8).map(move |j| (i, j)));
    Record {
        suspect: format!("m{at:03}"),
        model: Digest::of(&at.to_le_bytes()),
        lineage: format!("l{at:03}"),
        kind: None,
        features: features(5.0 + 0.01 * (at % 7) as f64),
        history,
        method: method(4, 1),
        cost: Cost::default(),
        outcome: Outcome::Scored(Scored {
            axis: Axis::TeacherIdentity,
            basis: Basis::Population,
            controls: 0,
            candidates: (0..8).map(candidate).collect(),
            leads: pairs.map(|(i, j)| levels[i] - levels[j]).collect(),
        }),
    }
}

fn features(size: f64) -> BTreeMap<String, f64> {
    [("log10-parameters/suspect".to_owned(), size)].into()
}

/// 80 students of 8 teachers in pairs, 120 fine-tunes, 60 independents.
fn population() -> Calibration {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut records = Vec::new();
    for at in 0..260 {
        let teacher = (at < 80).then_some(at % 8);
        let history = match (teacher, at < 200) {
            (Some(teacher), _) => History::Distilled {
                teacher: format!("t{teacher}"),
                also: None,
                siblings: vec![format!("t{}", teacher ^ 1)],
                share: 1.0,
                by: "text".into(),
            },
            (None, true) => History::FineTune,
            (None, false) => History::Independent,
        };
        records.push(record(at, &levels(&mut rng, teacher, 8.0), history));
    }
    Calibration::new(
        "simulated",
        Digest::of(b"scores"),
        vec![STREAM.into()],
        false,
        &records,
    )
    .expect("a population")
}

/// The statistic of a case of three candidates, whose levels are `suspect`, beside two controls.
fn statistic(suspect: [f64; 3]) -> Statistic {
    let controls = [[0.2, 2.1, 3.9], [-0.2, 1.9, 4.1]];
    let name = |k: usize| format!("c{k}");
    let mut details = BTreeMap::new();
    for i in 0..3 {
        for j in (0..3).filter(|j| *j != i) {
            let key = format!("lead/{}/{}", name(i), name(j));
            for (at, control) in controls.iter().enumerate() {
                details.insert(format!("{key}/control-{at}"), control[i] - control[j]);
            }
            details.insert(key, suspect[i] - suspect[j]);
        }
    }
    let score = |k: usize| CandidateScore {
        candidate: name(k),
        score: 0.0,
        interval: None,
        effect: None,
        units: 10,
        exact: None,
    };
    Statistic {
        method: method(4, 9),
        axis: Axis::TeacherIdentity,
        basis: Basis::Population,
        unit: "nats per token".into(),
        candidates: (0..3).map(score).collect(),
        controls: vec!["control-0".into(), "control-1".into()],
        finding: None,
        power: None,
        details,
    }
}

fn weigh(statistic: Statistic, size: f64, siblings: &[Vec<String>]) -> Likelihood {
    let claim = Claim {
        statistics: &[statistic],
        features: &features(size),
        siblings,
        prior: Some(0.01),
    };
    Likelihood::of(&population(), claim).expect("a fit")
}

fn siblings() -> Vec<Vec<String>> {
    vec![vec!["c0".into(), "c1".into()]]
}

#[test]
fn a_student_is_found_and_its_ratio_is_bounded_by_the_poorest_alternative() {
    // Its first candidate lies 8 above what the controls have.
    let found = weigh(statistic([8.0, 2.0, 4.0]), 5.03, &siblings());
    assert_eq!(found.withheld, None);
    assert_eq!((found.behind.candidates, found.behind.controls), (3, 2));
    assert!(found.behind.tier >= Tier::Tier2, "{:?}", found.behind);
    let first = &found.candidates[0];
    assert_eq!(first.candidate, "c0");
    let alternatives: Vec<_> = first.versus.iter().map(|v| v.alternative).collect();
    assert_eq!(alternatives, Proposition::ALTERNATIVES);
    let least = first
        .versus
        .iter()
        .map(|v| v.llr.log10)
        .fold(f64::INFINITY, f64::min);
    assert_eq!(first.headline.log10, least);
    assert!(least > 0.8 && least <= 60_f64.log10(), "{first:?}");
    let interval = first.interval;
    assert!(interval.lower <= least && least <= interval.upper && interval.level == 0.9);
    assert!(first.support >= Support::Weak);
    let posterior = first.posterior.expect("a prior is stated");
    let odds = 10_f64.powf(least) / 99.0;
    assert!((posterior - odds / (1.0 + odds)).abs() < 1e-12);
    for other in &found.candidates[1..] {
        // No student hides in this population: nothing below 1 is stated.
        assert_eq!(other.headline.log10, 0.0);
        assert_eq!(other.support, Support::None);
    }
    // c2 has no sibling among the candidates, so that its Hc stays open.
    let c2 = found
        .candidates
        .iter()
        .find(|c| c.candidate == "c2")
        .expect("c2");
    assert_eq!(c2.versus.len(), 2);
    assert!(
        found
            .remarks
            .iter()
            .any(|r| r.contains("in the headline of `c2`")),
        "{:?}",
        found.remarks
    );
    let again = weigh(statistic([8.0, 2.0, 4.0]), 5.03, &siblings());
    assert_eq!(found, again);
}

#[test]
fn an_innocent_that_leans_as_the_controls_do_gets_no_support() {
    let found = weigh(statistic([0.5, 2.0, 4.2]), 5.0, &siblings());
    assert!(
        found.candidates.iter().all(|c| c.headline.log10 < 0.5),
        "{:?}",
        found.candidates
    );
    assert!(found.candidates.iter().all(|c| c.support == Support::None));
    // One that leans less than any model is no stranger.
    let still = weigh(statistic([0.0, 0.0, 0.0]), 5.0, &siblings());
    assert!(still.typicality.expect("models") > 0.05 && still.withheld.is_none());
    let open = weigh(statistic([0.5, 2.0, 4.2]), 5.0, &[]);
    assert!(open.remarks[0].starts_with("Hc is not in the headline: the case names no siblings"));
}

#[test]
fn what_the_population_cannot_speak_of_is_withheld_with_the_reason() {
    let withheld = |statistic: Statistic, size: f64| {
        let found = weigh(statistic, size, &siblings());
        assert!(found.candidates.is_empty());
        found.withheld.expect("a reason")
    };
    let whole = || statistic([8.0, 2.0, 4.0]);
    let budget = withheld(
        Statistic {
            method: method(1, 1),
            ..whole()
        },
        5.0,
    );
    assert!(
        budget.contains("samples=1") && budget.contains("samples=4"),
        "{budget}"
    );
    let other = withheld(
        Statistic {
            method: MethodId::new("choice-priors", 1, &[]),
            ..whole()
        },
        5.0,
    );
    assert_eq!(other, "`tlu-did` gave no score");
    // A model a thousand times as large.
    let large = withheld(whole(), 8.0);
    assert!(
        large.contains("unlike the models of the population (p = 0.0"),
        "{large}"
    );
    // Leads a hundred times those of any model.
    let far = withheld(statistic([800.0, 2.0, 4.0]), 5.0);
    assert!(far.contains("unlike the models"), "{far}");
    let mut bare = whole();
    bare.details.clear();
    assert!(withheld(bare, 5.0).contains("gave no leads"));
    let mut broken = whole();
    broken.details.insert("lead/c0/c1".into(), f64::NAN);
    assert!(withheld(broken, 5.0).contains("expected a finite lead"));
}

#[test]
fn a_population_run_in_two_ways_or_without_a_stream_is_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut records: Vec<Record> = (0..4)
        .map(|at| record(at, &levels(&mut rng, None, 0.0), History::FineTune))
        .collect();
    let new = |streams: &[&str], records: &[Record]| {
        let streams = streams.iter().map(|s| (*s).to_owned()).collect();
        Calibration::new("p", Digest::of(b""), streams, false, records)
    };
    assert!(matches!(
        new(&["choice-priors"], &records),
        Err(LrError::Unmeasured { .. })
    ));
    records[2].method = method(1, 1);
    assert!(matches!(
        new(&[STREAM], &records),
        Err(LrError::Methods { .. })
    ));
}

#[test]
fn a_calibration_is_the_same_after_it_was_written() {
    let population = population();
    let bytes = filiation_core::canonical::to_bytes(&population);
    let again: Calibration = serde_json::from_slice(&bytes).expect("its own output");
    assert_eq!(again, population);
    let broken =
        String::from_utf8(bytes)
            .expect("JSON")
            .replacen("\"leads\":[", "\"leads\":[1.0,", 1);
    let refused = serde_json::from_str::<Calibration>(&broken);
    assert!(refused.is_err());
}
