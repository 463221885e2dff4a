use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::calibrate::{Smoothing, mean_lr, tail_ratio};

/// Draws from N(0, 1): twelve uniforms less six would cut the tails, so by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * rng.random::<f64>().max(1e-300).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * rng.random::<f64>()).cos()
}

/// Students of 4 teachers and clean lineages. Each probe gives a candidate N(0, 1), and the true teacher
/// `lead` more; the second probe shares half of its variance with the first.
fn population(students: usize, clean: usize, lead: f64, seed: u64) -> Vec<Subject> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut known = Vec::new();
    for at in 0..students + clean {
        let teacher = (at < students).then_some(at % 4);
        let mut levels: [Vec<f64>; 2] = Default::default();
        for candidate in 0..4 {
            let lead = if teacher == Some(candidate) {
                lead
            } else {
                0.0
            };
            let shared = normal(&mut rng);
            let own = normal(&mut rng);
            let second = 0.5_f64.sqrt() * (shared + own);
            levels[0].push(shared + lead);
            levels[1].push(second + lead);
        }
        let names: Vec<String> = (0..4).map(|k| format!("t{k}")).collect();
        let leads = |of: &Vec<f64>| {
            let leads = Leads::new(names.clone(), |i, j| Some(of[i] - of[j]));
            leads.expect("finite").expect("two candidates")
        };
        let streams = ["a", "b"].into_iter().zip(&levels);
        let leads = streams
            .map(|(name, of)| (name.to_owned(), leads(of)))
            .collect();
        let of = Known {
            name: format!("m{at}"),
            lineage: format!("l{at:04}"),
            family: Some(format!("f{}", at % 3)),
            independent: false,
            taught: teacher.map(|t| Taught {
                teacher: format!("t{t}"),
                also: None,
                siblings: if t < 2 {
                    vec![format!("t{}", 1 - t)]
                } else {
                    vec![]
                },
                share: if at % 8 < 4 { 1.0 } else { 0.3 },
                by: "text".into(),
            }),
            scores: Scores::new(),
        };
        known.push(Subject {
            known: of,
            features: BTreeMap::new(),
            leads,
        });
    }
    known
}

fn whole(subjects: &[Subject]) -> Vec<Known> {
    let all: Vec<&Subject> = subjects.iter().collect();
    Frame::WHOLE.known(&all, &all)
}

fn settings(streams: &[&str]) -> Settings {
    Settings::of(streams.iter().map(|s| (*s).to_owned()).collect())
}

#[test]
fn a_system_finds_teachers_that_it_has_not_seen() {
    let known = population(80, 200, 3.5, 1);
    let judged = judge(
        &known,
        &settings(&["a", "b"]),
        Frame::WHOLE,
        LeaveOut::Teacher,
    )
    .expect("enough");
    assert_eq!(judged.len(), 280);
    let summary = Summary::of(&judged).expect("both classes");
    assert!(summary.cllr < 0.45, "{}", summary.cllr);
    assert!(summary.cllr_min <= summary.cllr);
    let first = summary.teacher_first.expect("students");
    assert_eq!(
        (first.of, summary.teacher_first_with_sibling.expect("40").of),
        (80, 40)
    );
    assert!(first.rate > 0.9, "{first:?}");
    let over = summary.misleading_over_10.expect("clean lineages");
    assert!(over.of == 200 && over.rate < 0.03, "{over:?}");
    let alarms = summary.false_positive_rate.expect("clean lineages");
    assert!(alarms.interval.lower < 0.01, "{alarms:?}");
    let [mean, error] = summary.mean_lr_h2;
    assert!(mean <= 1.0 + 2.0 * error, "{mean} {error}");
    assert_eq!(summary.by_share.len(), 2);
    for leave_out in [LeaveOut::Nothing, LeaveOut::Lineage, LeaveOut::Family] {
        let judged = judge(&known, &settings(&["a"]), Frame::WHOLE, leave_out).expect("enough");
        let names: Vec<&str> = judged.iter().map(|j| j.name.as_str()).collect();
        let order: Vec<&str> = known.iter().map(|k| k.known.name.as_str()).collect();
        assert_eq!(names, order);
    }
}

#[test]
fn claims_stay_within_bounds_and_duplicates_change_nothing() {
    let subjects = population(60, 90, 4.0, 2);
    let known = whole(&subjects);
    let system = System::fit(&known, &settings(&["a", "b"])).expect("enough");
    let bounds = system.bounds();
    assert!(bounds.upper <= 90_f64.log10() && bounds.lower >= -(60_f64.log10()));
    for k in &known {
        for candidate in ["t0", "t1", "t2", "t3"] {
            let llr = system.llr(&k.scores, candidate).expect("a score").log10;
            assert!(llr >= bounds.lower && llr <= bounds.upper);
        }
    }
    let change = repeated(&subjects, &settings(&["a", "b"]), Frame::WHOLE, 10).expect("enough");
    assert!(change < 1e-9, "{change}");
}

#[test]
fn shuffled_histories_say_nothing() {
    let known = population(40, 80, 4.0, 3);
    let quiet = permuted(&known, &settings(&["a", "b"]), Frame::WHOLE, 100, 5).expect("enough");
    let quiet = quiet.expect("runs");
    assert!(
        quiet.interval.upper >= 0.95 && quiet.rate > 0.9,
        "{quiet:?}"
    );
}

/// Of one stream, the log10 LR of the truth: "largest of the wrong candidates" against the own score,
/// by many draws; here only how often a report exceeds it tenfold.
#[test]
fn no_tier_claims_ten_times_the_truth() {
    // Calibrated bi-Gaussian scores: the score is its own ln LR with σ² = 9, so that the truth is known
    // where there is one candidate.
    let variance: f64 = 9.0;
    for (students, clean) in [(8, 40), (20, 60), (50, 200)] {
        let (mut over, mut all) = ([0; 2], 0);
        for seed in 0..60 {
            let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
            let values: Vec<(f64, bool)> = (0..students + clean)
                .map(|at| {
                    let sign = if at < students { 0.5 } else { -0.5 };
                    (
                        sign * variance + variance.sqrt() * normal(&mut rng),
                        at < students,
                    )
                })
                .collect();
            let sample = crate::calibrate::Sample::singly(values).expect("both classes");
            let fit = crate::calibrate::ShrunkLogistic::default();
            let fit = fit.fit_one(&sample).expect("a fit");
            let llrs = sample.map(|v| fit.llr(&[v])).expect("no NaN");
            let cap = tail_ratio(&llrs, Smoothing::Misleading(1.0)).upper;
            let cap = cap.min(f64::from(clean).log10());
            for step in 1..=30 {
                let truth = f64::from(step) * 0.1;
                let score = truth * std::f64::consts::LN_10;
                let [least, _] = crate::calibrate::venn_abers(&sample, score);
                for (which, reported) in [fit.llr(&[score]), least].into_iter().enumerate() {
                    over[which] += u32::from(reported.min(cap) > truth + 1.0);
                }
                all += 1;
            }
        }
        assert!(
            over.iter().all(|over| over * 100 < all),
            "{over:?} of {all} with {students} and {clean}"
        );
    }
}

#[test]
fn held_out_clean_lineages_average_at_most_one() {
    let (mut sum, mut errors) = (0.0, 0.0);
    for seed in 0..5 {
        let known = whole(&population(60, 120, 3.0, 20 + seed));
        let system = System::fit(&known, &settings(&["a", "b"])).expect("enough");
        let (mean, error) = mean_lr(system.held_out());
        sum += mean;
        errors += error * error;
    }
    let (mean, error) = (sum / 5.0, errors.sqrt() / 5.0);
    assert!(mean <= 1.0 + 2.0 * error, "{mean} {error}");
}

#[test]
fn an_interval_holds_the_ratio_and_depends_on_the_seed_alone() {
    let known = whole(&population(12, 40, 3.0, 4));
    let draws = Draws {
        count: 60,
        ..Draws::default()
    };
    let settings = settings(&["a"]);
    let case = (&known[0].scores, "t0");
    let llr = |system: &System| Some(system.llr(case.0, case.1)?.log10);
    let read = |system: &System| vec![llr(system), None];
    let found = intervals(&known, &settings, read, draws).expect("enough");
    let [Some(one), None] = found[..] else {
        panic!("{found:?}");
    };
    let system = System::fit(&known, &settings).expect("enough");
    let whole = llr(&system).expect("a score");
    assert!(one.lower <= whole && whole <= one.upper, "{one:?} {whole}");
    let again = intervals(&known, &settings, read, draws).expect("enough");
    assert_eq!(found, again);
}

#[test]
fn what_has_no_contrast_is_refused() {
    let one = whole(&population(4, 0, 3.0, 5));
    assert!(matches!(
        System::fit(&one, &settings(&["a"])),
        Err(crate::LrError::TooFew {
            distilled: false,
            ..
        })
    ));
    let none = whole(&population(0, 30, 3.0, 6));
    assert!(System::fit(&none, &settings(&["a"])).is_err());
    assert!(System::fit(&[], &settings(&["a"])).is_err());
    // One lineage a hundred times is one lineage.
    let mut same = whole(&population(4, 100, 3.0, 7));
    for k in &mut same[4..] {
        k.lineage = "clean".into();
    }
    assert!(matches!(
        System::fit(&same, &settings(&["a"])),
        Err(crate::LrError::TooFew {
            distilled: false,
            got: 1,
            ..
        })
    ));
    let far = whole(&population(40, 60, 3.0, 8));
    assert!(System::fit(&far, &settings(&["no such probe"])).is_err());
}

#[test]
fn a_mean_of_ratios_is_no_product() {
    assert!((Fusion::Mean.llr(&[2.0, 2.0]) - 2.0).abs() < 1e-12);
    let mixed = Fusion::Mean.llr(&[300.0, 0.0]);
    assert!((mixed - (300.0 + 0.5_f64.log10())).abs() < 1e-12);
}

#[test]
fn a_case_of_fewer_candidates_is_held_against_cases_of_as_many() {
    let subjects = population(40, 60, 3.0, 9);
    let all: Vec<&Subject> = subjects.iter().collect();
    let frame = Frame {
        candidates: Some(2),
        controls: Some(3),
        seed: 4,
    };
    let known = frame.known(&all, &all);
    let mut with_sibling = 0;
    for k in &known {
        let candidates: Vec<&String> = k.scores["a"].keys().collect();
        assert_eq!(candidates.len(), 2);
        assert!(k.taught.is_none() || k.scores["a"].contains_key(k.teacher().expect("one")));
        with_sibling += usize::from(candidates.iter().any(|c| k.is_sibling(c)));
        // Of two candidates, one leads by as much as the other is behind.
        let sum: f64 = k.scores["a"].values().map(|s| s[0]).sum();
        assert!(sum.abs() < 1e-12 && k.scores["a"].values().all(|s| s[0] == s[1]));
    }
    // Half of the 20 students that have one, and a third of the others by chance.
    assert!((8..=18).contains(&with_sibling), "{with_sibling}");
    // The draw of a model does not hang on who else is there.
    let fewer = frame.known(&all[..50], &all);
    assert_eq!(fewer[..], known[..50]);
    let judged = judge(&subjects, &settings(&["a"]), frame, LeaveOut::Lineage).expect("enough");
    let first = Summary::of(&judged).expect("both classes").teacher_first;
    assert!(first.expect("students").rate > 0.9, "{first:?}");
}

#[test]
fn another_population_is_judged_by_what_was_learned_here() {
    let [here, there] = [11, 12].map(|seed| population(60, 150, 3.5, seed));
    let judged = judge_others(&here, &there, &settings(&["a"]), Frame::WHOLE).expect("enough");
    assert_eq!(judged.len(), 210);
    let summary = Summary::of(&judged).expect("both classes");
    assert!(summary.cllr < 0.5, "{}", summary.cllr);
    let over = summary.misleading_over_10.expect("clean lineages");
    assert!(over.of == 150 && over.rate < 0.03, "{over:?}");
    let alarms = summary.false_positive_rate.expect("clean lineages");
    assert!(alarms.interval.lower < 0.01, "{alarms:?}");
}

#[test]
fn who_cannot_be_told_costs_what_is_said() {
    // Two of five students score as clean models do; of the best ratios of that order the rest have no end.
    let values = (0..5).map(|at| (if at < 2 { 0.4_f64.log10() } else { 12.0 }, true));
    let clean = (0..7).map(|_| (0.4_f64.log10(), false));
    let sample = crate::calibrate::Sample::singly(values.chain(clean)).expect("both classes");
    let least = crate::calibrate::cllr_with_unseen(0.4);
    assert!((crate::calibrate::cllr(&sample) - least).abs() < 1e-9);
    assert!((crate::calibrate::cllr_min(&sample).expect("ratios") - least).abs() < 1e-9);
    assert_eq!(crate::calibrate::cllr_with_unseen(0.0), 0.0);
    assert!((crate::calibrate::cllr_with_unseen(1.0) - 1.0).abs() < 1e-12);
}

#[test]
fn a_clean_model_is_drawn_beside_clean_models() {
    // Students of 3.5 standard deviations and clean models: the other candidates of the students stand far
    // behind, and are none of the draws that p is among.
    let subjects = population(80, 200, 3.5, 13);
    let system = System::fit(&whole(&subjects), &settings(&["a"])).expect("enough");
    assert_eq!(system.held_out().lineages(false), 200.0);
    assert_eq!(system.held_out().lineages(true), 80.0);
    // With each teacher left out, p of clean lineages is uniform: by quarters of four populations.
    let mut quarters = [0_u32; 4];
    for seed in 14..18 {
        let subjects = population(80, 200, 3.5, seed);
        let judged = judge(
            &subjects,
            &settings(&["a"]),
            Frame::WHOLE,
            LeaveOut::Teacher,
        );
        for p in judged
            .expect("enough")
            .iter()
            .filter(|j| j.teacher.is_none())
        {
            let p = p.p_other.expect("a score");
            quarters[((p * 4.0).ceil() as usize).clamp(1, 4) - 1] += 1;
        }
    }
    // 200 each, give or take four standard deviations of a binomial count.
    assert!(
        quarters.iter().all(|n| n.abs_diff(200) < 50),
        "{quarters:?}"
    );
}

#[test]
fn either_of_two_teachers_is_right() {
    let mut subjects = population(40, 60, 4.0, 19);
    for s in &mut subjects[..40] {
        let taught = s.known.taught.as_mut().expect("a student");
        let next =
            ["t1", "t2", "t3", "t0"][taught.teacher[1..].parse::<usize>().expect("a number")];
        taught.also = Some(next.to_owned());
        taught.siblings.retain(|sibling| sibling != next);
    }
    use filiation_core::Proposition::Distilled;
    let known = &whole(&subjects)[0];
    assert_eq!([known.truth("t0"), known.truth("t1")], [Some(Distilled); 2]);
    assert_eq!(known.truth("t3"), None);
    let judged = judge(
        &subjects,
        &settings(&["a"]),
        Frame::WHOLE,
        LeaveOut::Lineage,
    );
    let judged = judged.expect("enough");
    let first = Summary::of(&judged).expect("both classes").teacher_first;
    assert!(first.expect("students").rate > 0.9, "{first:?}");
    let two = Frame {
        candidates: Some(2),
        ..Frame::WHOLE
    };
    let all: Vec<&Subject> = subjects.iter().collect();
    let kept = &two.known(&all, &all)[0].scores["a"];
    assert!(kept.contains_key("t0") && kept.contains_key("t1"));
}

#[test]
fn controls_take_off_what_is_common() {
    let names = || ["x", "y", "z"].map(str::to_owned).to_vec();
    let leads = |of: [f64; 3]| {
        let leads = Leads::new(names(), |i, j| Some(of[i] - of[j]));
        leads.expect("finite").expect("three candidates")
    };
    let suspect = leads([3.0, 1.0, 0.0]);
    let controls = [leads([2.0, 0.5, 0.0]), leads([4.0, 0.5, 0.0])];
    let scores = suspect.scores(&controls);
    // x − y is 2 less 2.5; y − z is 1 less 0.5, y − x is 0.5.
    assert!((scores["x"][0] + 0.5).abs() < 1e-12 && (scores["y"][0] - 0.5).abs() < 1e-12);
    // x − z is 3 less 3.
    assert!((scores["x"][1] + 0.25).abs() < 1e-12);
    assert_eq!(suspect.scores(&[])["x"], [2.0, 2.5]);
    assert!(Leads::new(names(), |_, _| Some(f64::NAN)).is_err());
    assert_eq!(
        Leads::new(names(), |i, _| (i == 0).then_some(1.0)),
        Ok(None)
    );
}

#[test]
fn each_alternative_has_bounds_of_its_own() {
    let mut subjects = population(60, 150, 4.0, 10);
    for s in &mut subjects[60..90] {
        s.known.independent = true;
    }
    let known = whole(&subjects);
    let system = System::fit(&known, &settings(&["a"])).expect("enough");
    let lineages: Vec<_> = system
        .against()
        .iter()
        .map(|a| (a.alternative(), a.lineages()))
        .collect();
    use filiation_core::Proposition::{Independent, SharedBase, Sibling};
    // 60 students, half of them of teachers with siblings.
    assert_eq!(
        lineages,
        [(SharedBase, 120), (Independent, 30), (Sibling, 30)]
    );
    let case = &known[0].scores;
    let llrs = system.llrs(case, "t0").expect("a score");
    let least = llrs
        .iter()
        .map(|(_, llr)| llr.log10)
        .fold(f64::INFINITY, f64::min);
    assert_eq!(system.llr(case, "t0").expect("a score").log10, least);
    // Thirty lineages allow no more than 10.
    assert!(least <= 1.0, "{least}");
    let [low, high] = system.venn_abers(case, "t0", SharedBase).expect("a score");
    assert!(low <= high);
}
