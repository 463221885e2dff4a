use std::collections::BTreeSet;

use filiation_core::{Observations, Probe};

use super::*;
use crate::contrast::simulated::{Answers, Truth, World, suite};

const PROMPTS: usize = 600;
/// As many as are bought at a time.
const CHUNK: usize = 32;

fn probe(at_e: f64, below: Option<f64>) -> TluDid {
    let options = ProbeOptions {
        draws: 100,
        stopping: Some(Stopping { at_e, below }),
        ..ProbeOptions::default()
    };
    TluDid::new(&[suite(PROMPTS, false)], &options).expect("a suite of openings")
}

/// The answers of a world, of which those to units not bought are hidden.
struct Market<'a> {
    world: &'a World,
    answers: Answers,
    probe: &'a TluDid,
}

impl<'a> Market<'a> {
    fn new(world: &'a World, probe: &'a TluDid) -> Self {
        Self {
            world,
            answers: world.answers(probe),
            probe,
        }
    }

    fn seen<T>(&self, bought: &[usize], look: impl Fn(&Observations<'_>) -> T) -> T {
        let units = bought.iter().flat_map(|unit| &self.probe.units()[*unit]);
        let item = |id: &RequestId| id.as_str().split('/').nth(1).map(str::to_owned);
        let bought: BTreeSet<Option<String>> = units.map(item).collect();
        let shown = |id: &RequestId| id.as_str().contains("/own") || bought.contains(&item(id));
        let mut answers = self.answers.clone();
        answers.retain(|(_, id), _| shown(id));
        look(&Observations::new(&self.world.parties, &answers))
    }

    /// Buys until told to stop: units bought, and the last look.
    fn buy(&self) -> (usize, Watch) {
        let order = self.seen(&[], |seen| self.probe.order(seen));
        let mut last = None;
        for end in (CHUNK..=PROMPTS).step_by(CHUNK) {
            let watch = self.seen(&order[..end], |seen| self.probe.watch(seen));
            let stop = watch.stop.is_some();
            last = Some((end, watch));
            if stop {
                break;
            }
        }
        last.expect("a look")
    }
}

#[test]
fn the_order_is_known_before_anything_is_bought_and_changed_by_nothing_that_is() {
    let truth = Truth::new(1);
    let student = truth.innocent.taught(&truth.teachers[0], 0.5);
    let probe = probe(1000.0, None);
    let world = truth.world(&student, &[]);
    let market = Market::new(&world, &probe);
    let order = market.seen(&[], |seen| probe.order(seen));
    let all: Vec<usize> = (0..PROMPTS).collect();
    assert_eq!(market.seen(&all, |seen| probe.order(seen)), order);
    assert_ne!(order, all);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all);
    // Suspect and base differ more on the first prompts than on the last.
    let size = |unit: usize| {
        let id = probe.buying.as_ref().expect("it buys").own[unit].about("s");
        market.seen(&[], |seen| {
            let party = |name: &str| {
                world
                    .parties
                    .iter()
                    .find(|p| p.name == name)
                    .expect("named")
            };
            let of = |name| scored(seen, party(name), &id).and_then(|s| s.per_byte());
            of("s").expect("scored") - of("b").expect("scored")
        })
    };
    assert!(size(order[0]) > size(order[PROMPTS - 1]));
}

#[test]
fn a_student_is_found_on_a_part_of_the_budget() {
    let probe = probe(1000.0, None);
    for (share, most) in [(1.0, 64), (0.5, 160)] {
        let mut bought: Vec<usize> = (0..9)
            .map(|seed| {
                let mut truth = Truth::new(seed);
                let student = truth.innocent.taught(&truth.teachers[0], share);
                let controls = truth.controls(3);
                let world = truth.world(&student, &controls);
                let (units, watch) = Market::new(&world, &probe).buy();
                assert_eq!(
                    watch.stop,
                    Some(Stop::Evidence),
                    "share {share}, seed {seed}"
                );
                units
            })
            .collect();
        bought.sort_unstable();
        assert!(bought[4] <= most, "share {share}: {bought:?}");
    }
}

#[test]
fn an_innocent_is_seldom_taken_for_a_student_however_often_one_looks() {
    let probe = probe(20.0, None);
    let worlds = 60;
    let mut stopped = 0;
    for seed in 0..worlds {
        let mut truth = Truth::new(seed);
        // Equal but for a breath, so that their texts are drawn apart.
        let teacher = truth.teachers[0].clone();
        truth.teachers = [1, 2, 3].map(|_| teacher.moved(1e-9, &mut truth.rng));
        let world = truth.world(&truth.innocent, &[]);
        let (_, watch) = Market::new(&world, &probe).buy();
        stopped += u32::from(watch.stop == Some(Stop::Evidence));
    }
    // At most 5 % by Ville, standard deviation 1.7 of 60.
    assert!(stopped <= 3 + 5, "{stopped} of {worlds}");
}

#[test]
fn no_lead_of_interest_ends_the_buying_too() {
    let probe = probe(1000.0, Some(0.2));
    let mut truth = Truth::new(3);
    let teacher = truth.teachers[0].clone();
    truth.teachers = [1, 2, 3].map(|_| teacher.moved(1e-9, &mut truth.rng));
    let world = truth.world(&truth.innocent, &[]);
    let market = Market::new(&world, &probe);
    let (units, watch) = market.buy();
    assert_eq!(watch.stop, Some(Stop::Futility));
    assert!(units < 300, "{units}");
    let order = market.seen(&[], |seen| probe.order(seen));
    let statistic = market.seen(&order[..units], |seen| probe.measure(seen));
    let statistic = statistic.expect("enough prompts");
    assert_eq!(statistic.details["prompts-bought"], units as f64);
    let finding = statistic.finding.expect("a finding");
    assert!(
        finding.contains("no lead of interest was left"),
        "{finding}"
    );
}

#[test]
fn the_rule_is_part_of_the_method_and_without_one_nothing_streams() {
    let named = |probe: &TluDid| probe.id().to_string();
    assert!(named(&probe(1000.0, None)).contains(";stop_at_e=1000"));
    assert!(named(&probe(1000.0, Some(0.1))).contains(";stop_below=0.1"));
    let fixed = TluDid::new(&[suite(30, false)], &ProbeOptions::default()).expect("openings");
    assert!(fixed.stream().is_none() && !named(&fixed).contains("stop"));
    assert!(fixed.plan().iter().all(|r| !r.id.as_str().contains("/own")));
    // A base that is not named is not found by buying more.
    let truth = Truth::new(1);
    let mut world = truth.world(&truth.innocent, &[]);
    world.parties.remove(1);
    world.chains.remove(1);
    let probe = probe(1000.0, None);
    let (units, watch) = Market::new(&world, &probe).buy();
    assert_eq!((units, watch.stop), (CHUNK, Some(Stop::Futility)));
}
