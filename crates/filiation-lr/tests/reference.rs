//! The numerics against values of other implementations.
//!
//! `lir_reference.json` holds inputs and outputs of the Netherlands Forensic Institute's `lir` (commit
//! b4ae531 and 1.3.1, which agree to 1e-12), of scikit-learn where `lir` has no such function, and of
//! formulas evaluated with scipy; arrays are H2 first, then H1, and infinities are strings.

use filiation_lr::calibrate::{
    Bandwidth, BiGaussian, Bounds, Density, Isotonic, Labelled, Linear, Sample, ShrunkLogistic,
    Smoothing, Table, bigaussian_cllr, bigaussian_eer, bigaussian_variance, cllr, cllr_calibration,
    cllr_min, dev_pav, ece, ece_without, share_above, share_at_least, tail_ratio, venn_abers,
};
use filiation_lr::system::Fragility;
use serde_json::Value;

fn reference() -> Value {
    serde_json::from_str(include_str!("lir_reference.json")).expect("the reference is JSON")
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(s) if s == "inf" => f64::INFINITY,
        Value::String(s) if s == "-inf" => f64::NEG_INFINITY,
        Value::String(_) => f64::NAN,
        value => value.as_f64().expect("a number"),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(number)
        .collect()
}

/// H2 first.
fn sample(set: &Value) -> Sample {
    let of = |class: &str, distilled| {
        let values = numbers(&set[class]);
        values.into_iter().map(move |v| (v, distilled))
    };
    Sample::singly(of("h2", false).chain(of("h1", true))).expect("a sample")
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64, what: &str) {
    let same = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance;
    assert!(same, "{what}: {got}, expected {want}");
}

fn all_close(got: &[f64], want: &Value, tolerance: f64, what: &str) {
    let want = numbers(want);
    assert_eq!(got.len(), want.len(), "{what}");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        close(*got, want, tolerance, &format!("{what}[{at}]"));
    }
}

/// Calls `test` with each set that the reference has `key` of: name, sample, what is expected.
fn each(reference: &Value, key: &str, mut test: impl FnMut(&str, Sample, &Value)) {
    let mut count = 0;
    for (name, expected) in reference["expected"].as_object().expect("sets") {
        if let Some(expected) = expected.get(key) {
            test(name, sample(&reference["datasets"][name]), expected);
            count += 1;
        }
    }
    assert!(count >= 2, "{key} in {count} sets");
}

#[test]
fn cllr_and_its_parts() {
    let r = reference();
    each(&r, "cllr", |name, s, want| {
        close(cllr(&s), number(want), 1e-9, name)
    });
    each(&r, "cllr_min", |name, s, want| {
        close(cllr_min(&s).expect("no NaN"), number(want), 1e-9, name);
    });
    each(&r, "cllr_cal", |name, s, want| {
        close(
            cllr_calibration(&s).expect("no NaN"),
            number(want),
            1e-9,
            name,
        );
    });
}

#[test]
fn isotonic_likelihood_ratios() {
    let r = reference();
    let at = |fit: &Isotonic, s: &Sample| -> Vec<f64> {
        s.items().iter().map(|i| fit.llr(i.value)).collect()
    };
    each(&r, "pav_llr", |name, s, want| {
        all_close(&at(&Isotonic::fit(&s), &s), want, 1e-9, name);
    });
    each(&r, "pav_llr_add_misleading_1", |name, s, want| {
        let fit = Isotonic::fit(&s.with_misleading(1.0));
        all_close(&at(&fit, &s), want, 1e-9, name);
    });
    let query = numbers(&r["query"]);
    each(&r, "pav_query", |name, s, want| {
        let fit = Isotonic::fit(&s);
        let got: Vec<f64> = query.iter().map(|x| fit.llr(*x)).collect();
        all_close(&got, want, 1e-9, name);
    });
    each(&r, "devpav", |name, s, want| {
        close(dev_pav(&s).unwrap_or(f64::NAN), number(want), 1e-9, name);
    });
}

#[test]
fn empirical_cross_entropy() {
    let r = reference();
    each(&r, "ece", |name, s, want| {
        let odds = numbers(&want["log10_prior_odds"]);
        let of = |f: &dyn Fn(f64) -> f64| odds.iter().map(|o| f(*o)).collect::<Vec<_>>();
        all_close(&of(&|o| ece(&s, o)), &want["lr"], 1e-9, name);
        all_close(&of(&ece_without), &want["reference"], 1e-9, name);
        let best = Isotonic::fit(&s);
        let best = s.map(|v| best.llr(v)).expect("no NaN");
        all_close(&of(&|o| ece(&best, o)), &want["pav"], 1e-9, name);
    });
}

#[test]
fn bounds_without_a_grid_and_on_it() {
    let r = reference();
    let pair = |b: Bounds| [b.lower, b.upper];
    let elub = |s: &Sample| tail_ratio(s, Smoothing::Misleading(1.0));
    each(&r, "elub_exact_gridfree", |name, s, want| {
        all_close(&pair(elub(&s)), want, 1e-9, name);
    });
    each(&r, "iv_exact_gridfree", |name, s, want| {
        all_close(&pair(tail_ratio(&s, Smoothing::Jeffreys)), want, 1e-9, name);
    });
    // lir's bounds are ours, rounded inward to its grid.
    each(&r, "elub_add1", |name, s, want| {
        let want = numbers(want);
        for (ours, theirs) in pair(elub(&s)).into_iter().zip(want) {
            let inward = ours.abs() - theirs.abs();
            assert!(
                (-1e-9..0.01 + 1e-9).contains(&inward),
                "{name}: {ours} {theirs}"
            );
        }
    });
}

#[test]
fn densities() {
    let r = reference();
    let query = numbers(&r["query"]);
    let at = |d: &Density| query.iter().map(|x| d.llr(*x)).collect::<Vec<_>>();
    each(&r, "kde_silverman", |name, s, want| {
        let fit = Density::fit(&s, Bandwidth::Silverman).expect("scores differ");
        let [h2, h1] = fit.bandwidths();
        close(h2, number(&want["bandwidth_h2"]), 1e-9, name);
        close(h1, number(&want["bandwidth_h1"]), 1e-9, name);
        all_close(&at(&fit), &want["llr_query"], 1e-9, name);
    });
    each(&r, "kde_bw0.5", |name, s, want| {
        let fit = Density::fit(&s, Bandwidth::Fixed(0.5)).expect("a bandwidth");
        all_close(&at(&fit), &want["llr_query"], 1e-9, name);
    });
}

#[track_caller]
fn same_line(fit: &Linear, want: &Value, slope: &str, tolerance: f64, what: &str) {
    let wanted = number(&want[slope]);
    close(
        fit.weights[0],
        wanted,
        tolerance * wanted.abs().max(1.0),
        what,
    );
    let wanted = number(&want["intercept"]);
    close(
        fit.intercept,
        wanted,
        tolerance * wanted.abs().max(1.0),
        what,
    );
}

#[test]
fn ridge_regression() {
    let r = reference();
    for (key, ridge) in [
        ("logit_C1_converged", 1.0),
        ("logit_C1e10_converged", 1e-10),
    ] {
        let how = ShrunkLogistic {
            shrinkage: 0.0,
            ridge,
            ..ShrunkLogistic::default()
        };
        each(&r, key, |name, s, want| {
            let fit = how.fit_one(&s).expect("a fit");
            same_line(&fit, want, "coef", 1e-6, &format!("{key} of {name}"));
        });
    }
}

#[test]
fn shrunk_regression() {
    let r = reference();
    let query = numbers(&r["query"]);
    let results = r["other"]["morrison_poh_regularised_logistic"]["results"].as_object();
    for (key, want) in results.expect("fits") {
        let field = |name: &str| -> f64 {
            let found = key
                .split('|')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.expect("in the key").parse().expect("a number")
        };
        let how = ShrunkLogistic {
            prior: field("prior"),
            shrinkage: field("kappa"),
            sources: Some(field("df")),
            ridge: 0.0,
        };
        let set = key.split('|').next().expect("a name");
        let fit = how.fit_one(&sample(&r["datasets"][set])).expect("a fit");
        same_line(&fit, want, "slope", 1e-8, key);
        let got: Vec<f64> = query.iter().map(|x| fit.llr(&[*x])).collect();
        all_close(&got, &want["log10lr_query"], 1e-8, key);
    }
}

#[test]
fn fusion_of_three_streams() {
    let r = reference();
    let set = &r["other"]["logistic_fusion_3stream"];
    let rows = |class: &str| -> Vec<Vec<f64>> {
        set[class]
            .as_array()
            .expect("rows")
            .iter()
            .map(numbers)
            .collect()
    };
    let (h2, h1) = (rows("h2"), rows("h1"));
    let label = |distilled| Labelled {
        value: 0.0,
        distilled,
        weight: 1.0,
    };
    let all: Vec<(&[f64], Labelled)> = h2
        .iter()
        .map(|row| (&row[..], label(false)))
        .chain(h1.iter().map(|row| (&row[..], label(true))))
        .collect();
    let table = Table::new(&all).expect("rows of three");
    for (key, want) in set["results"].as_object().expect("fits") {
        let (prior, ridge) = key.split_once('|').expect("two settings");
        let value = |s: &str| s.split_once('=').expect("a value").1.parse::<f64>();
        let how = ShrunkLogistic {
            prior: value(prior).expect("a number"),
            ridge: value(ridge).expect("a number"),
            shrinkage: 0.0,
            sources: None,
        };
        let fit = how.fit(&table).expect("a fit");
        all_close(&fit.weights, &want["weights"], 1e-8, key);
        close(fit.intercept, number(&want["intercept"]), 1e-8, key);
        let got: Vec<f64> = all.iter().map(|(row, _)| fit.llr(row)).collect();
        all_close(&got, &want["log10lr_train"], 1e-8, key);
    }
}

#[test]
fn venn_abers_ends() {
    let r = reference();
    let results = r["other"]["venn_abers"]["results"]
        .as_object()
        .expect("sets");
    for (name, rows) in results {
        let sample = sample(&r["datasets"][name]);
        for row in rows.as_array().expect("rows") {
            let row = numbers(row);
            let [low, high] = venn_abers(&sample, row[0]);
            close(low, row[3], 1e-8, name);
            close(high, row[4], 1e-8, name);
        }
    }
}

#[test]
fn two_gaussians() {
    let r = reference();
    for row in r["other"]["bigaussian_cllr"].as_array().expect("rows") {
        let variance = number(&row["sigma2_ln"]);
        let cllr = number(&row["cllr"]);
        close(bigaussian_cllr(variance), cllr, 1e-8, "cllr");
        close(bigaussian_eer(variance), number(&row["eer"]), 1e-8, "eer");
        close(
            bigaussian_variance(cllr),
            variance,
            1e-6 * variance,
            "variance",
        );
    }
}

#[test]
fn rates_and_tippett() {
    let r = reference();
    for (name, want) in r["other"]["rates"].as_object().expect("sets") {
        let s = sample(&r["datasets"][name]);
        let misleading = share_above(&s, false, 0.0);
        close(
            misleading,
            number(&want["rate_misleading_h2_gt0"]),
            1e-12,
            name,
        );
        let below = 1.0 - share_at_least(&s, true, 0.0);
        close(below, number(&want["rate_misleading_h1_lt0"]), 1e-12, name);
        for (threshold, shares) in want["tippett"].as_object().expect("thresholds") {
            let t: f64 = threshold.parse().expect("a number");
            let got = [true, false].map(|class| share_at_least(&s, class, t));
            all_close(&got, shares, 1e-12, name);
        }
    }
}

#[test]
fn fragility_of_a_sum() {
    let r = reference();
    let want = &r["other"]["fragility"];
    let got = Fragility::of(&numbers(&want["weights_log10"]));
    all_close(&got.without, &want["leave_one_out"], 1e-12, "without");
    let concentration = number(&want["concentration_positive"]);
    close(got.concentration, concentration, 1e-12, "concentration");
}

#[test]
fn lineages_count_once() {
    let r = reference();
    let set = &r["other"]["lineage_weighted"];
    let of = |class: &str, distilled| {
        let lineages = set[&format!("{class}_lineage")]
            .as_array()
            .expect("lineages");
        let lineages = lineages.iter().map(|l| format!("{class}-{l}"));
        let values = numbers(&set[class]).into_iter().zip(lineages);
        values
            .map(move |(v, l)| (v, distilled, l))
            .collect::<Vec<_>>()
    };
    let all: Vec<_> = of("h2", false).into_iter().chain(of("h1", true)).collect();
    let each: Vec<_> = all
        .iter()
        .map(|(v, d, l)| (*v, *d, l.as_str(), 1.0))
        .collect();
    let weighted = Sample::by_lineage(&each).expect("a sample");
    let single = Sample::singly(all.iter().map(|(v, d, _)| (*v, *d))).expect("a sample");
    close(cllr(&single), number(&set["cllr_pair"]), 1e-8, "by model");
    close(
        cllr(&weighted),
        number(&set["cllr_lineage"]),
        1e-8,
        "by lineage",
    );
    let least = cllr_min(&weighted).expect("no NaN");
    close(least, number(&set["cllr_min_lineage"]), 1e-8, "least");
    let fit = Isotonic::fit(&weighted);
    let got: Vec<f64> = all.iter().map(|(v, ..)| fit.llr(*v)).collect();
    all_close(&got, &set["pav_llr_lineage_h2_then_h1"], 1e-8, "isotonic");
    for (sample, key) in [(single, "elub_pairs"), (weighted, "elub_lineage")] {
        let ours = tail_ratio(&sample, Smoothing::Misleading(1.0));
        for (ours, theirs) in [ours.lower, ours.upper].into_iter().zip(numbers(&set[key])) {
            let inward = ours.abs() - theirs.abs();
            assert!(
                (-1e-9..0.01 + 1e-9).contains(&inward),
                "{key}: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn calibrated_scores_stay_what_they_are() {
    // Quantiles of N(±σ²/2, σ²): each score is its own ln LR.
    let (n, variance) = (400_u32, 6.0_f64);
    let quantile = |i: u32| {
        let share = (f64::from(i) + 0.5) / f64::from(n);
        filiation_stats::normal_quantile(share).expect("inside (0, 1)")
    };
    let of = |sign: f64, distilled| {
        let value = move |i| {
            (
                sign * 0.5 * variance + variance.sqrt() * quantile(i),
                distilled,
            )
        };
        (0..n).map(value)
    };
    let sample = Sample::singly(of(-1.0, false).chain(of(1.0, true))).expect("both classes");
    let fit = BiGaussian::fit(&sample, &ShrunkLogistic::default()).expect("a fit");
    assert!(
        (fit.variance() - variance).abs() < 0.2,
        "{}",
        fit.variance()
    );
    for step in -8..=8 {
        let truth = f64::from(step) * 0.25;
        let found = fit.llr(truth * std::f64::consts::LN_10);
        assert!((found - truth).abs() < 0.06, "{found}, expected {truth}");
    }
    // The least squares of one and the tails of the other agree where there are data.
    let density = Density::fit(&sample, Bandwidth::Silverman).expect("scores differ");
    assert!((density.llr(1.0) - 1.0 / std::f64::consts::LN_10).abs() < 0.06);
}
