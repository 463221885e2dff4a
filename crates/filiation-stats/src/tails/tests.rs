//! The goldens are exact rational or 60-digit evaluations; the script that made the rest is
//! `tests/reference/tails.py`.

use super::*;

fn close(got: Result<f64, StatsError>, want: f64, of: &str) {
    let got = got.expect("the arguments are in the domain");
    // A million degrees of freedom raise one rounding of 1 - x to that power.
    let slack = if of.starts_with("student") {
        1e-11
    } else {
        2e-13
    };
    assert!(
        (got - want).abs() <= slack * want.abs().max(0.1),
        "{of}: got {got:e}, want {want:e}"
    );
}

#[test]
fn golden_tails() {
    for (n, k, p, want) in [
        (100, 65, 0.5, -2.754_778_391_827_563),
        (248_200, 64_237, 0.25, -23.545_419_114_070_16),
        (1000, 400, 0.25, -24.793_091_436_545_374),
        (10_000, 3500, 0.25, -109.145_896_638_543_72),
        (200, 150, 0.5, -12.377_111_692_347_292),
        (100_000, 60_000, 0.5, -876.586_404_784_110_3),
        (50, 50, 0.25, -30.102_999_566_398_12),
    ] {
        close(
            binomial_at_least(k, n, p),
            want,
            &format!("binomial {n} {k} {p}"),
        );
    }
    for (shape, x, want) in [
        (100.0, 150.0, -5.227_345_339_411_859),
        (1000.0, 1500.0, -42.656_650_771_437_356),
        (10.0, 80.0, -23.124_431_353_161_402),
        (2048.0, 2600.0, -28.957_897_506_698_686),
        (100_000.0, 110_000.0, -205.575_869_970_677_7),
    ] {
        close(
            gamma_at_least(x, shape),
            want,
            &format!("gamma {shape} {x}"),
        );
    }
    for (total, marked, drawn, k, want) in [
        (50_257, 25_128, 800, 480, -8.185_377_763_452_928),
        (32_000, 16_000, 3000, 1700, -14.039_650_335_624_549),
    ] {
        let got = hypergeometric_at_least(k, total, marked, drawn);
        close(
            got,
            want,
            &format!("hypergeometric {total} {marked} {drawn} {k}"),
        );
    }
}

#[test]
fn discrete_tails_on_both_sides_of_the_mean() {
    for (k, n, p, want) in [
        (1, 10, 0.5, -0.000_424_322_927_651_794_43),
        (5, 10, 0.5, -0.205_479_277_918_649_63),
        (3, 1000, 0.25, 0.0),
        (900, 1000, 0.01, -1_660.630_829_006_91),
        (1, 2000, 1e-9, -5.698_970_438_413_281),
        (260, 1000, 0.25, -0.614_523_570_458_992),
    ] {
        close(
            binomial_at_least(k, n, p),
            want,
            &format!("binomial {k} {n} {p}"),
        );
    }
    for (k, total, marked, drawn, want) in [
        (1, 20, 5, 4, -0.143_714_537_440_203_2),
        (2, 50, 10, 30, -0.000_220_899_249_209_191_51),
        (40, 100, 50, 40, -18.126_516_965_730_358),
        (12, 1000, 60, 200, -0.256_045_363_091_256_65),
    ] {
        let got = hypergeometric_at_least(k, total, marked, drawn);
        close(
            got,
            want,
            &format!("hypergeometric {k} {total} {marked} {drawn}"),
        );
    }
}

#[test]
fn continuous_tails_below_the_smallest_double() {
    for (x, shape, want) in [
        (0.1, 0.5, -0.183_943_831_116_021_65),
        (3.0, 2.5, -0.513_967_981_800_109_5),
        (50.0, 60.0, -0.042_040_943_777_674_25),
        (2000.0, 1.5, -866.885_885_216_42),
        (1e4, 10.0, -4_312.504_191_063_515_6),
        (99_000.0, 1e5, -0.000_329_067_929_290_066_54),
    ] {
        close(
            gamma_at_least(x, shape),
            want,
            &format!("gamma {x} {shape}"),
        );
    }
    for (z, want) in [
        (-8.0, -2.701_728_849_543_921_3e-16),
        (-1.0, -0.075_026_012_957_818_02),
        (0.0, -std::f64::consts::LOG10_2),
        (1.5, -1.175_176_721_614_816_4),
        (5.0, -6.542_645_672_390_654_5),
        (38.0, -315.539_789_703_962_5),
        (40.0, -349.437_006_459_345_84),
        (120.0, -3_129.398_571_037_744_7),
    ] {
        close(normal_at_least(z), want, &format!("normal {z}"));
    }
    for (t, degrees, want) in [
        (0.5, 3.0, -0.487_150_263_998_850_74),
        (-2.0, 7.0, -0.019_001_694_894_904_057),
        (4.0, 1.0, -1.108_021_612_369_573_6),
        (50.0, 30.0, -30.028_830_472_251_383),
        (1000.0, 200.0, -371.455_790_257_505_98),
        (1e8, 100.0, -701.400_175_652_290_6),
        (3.0, 1e6, -2.869_688_342_253_762),
        (-1e-3, 5.0, -0.300_700_398_649_939_36),
        (30.0, 5000.0, -181.545_791_190_334_9),
    ] {
        close(
            student_t_at_least(t, degrees),
            want,
            &format!("student {t} {degrees}"),
        );
    }
    for (x, degrees, want) in [
        (1.0, 1.0, -0.498_515_545_827_989_3),
        (700.0, 10.0, -143.202_030_211_370_36),
        (5000.0, 40.0, -1_038.257_127_309_639_3),
    ] {
        close(
            chi_square_at_least(x, degrees),
            want,
            &format!("chi-square {x} {degrees}"),
        );
    }
}

#[test]
fn both_tails_of_a_binomial_make_one() {
    for (n, p) in [(7, 0.3), (60, 0.9), (1000, 0.5)] {
        for k in 1..=n {
            let upper = binomial_at_least(k, n, p).expect("in the domain");
            let lower = binomial_at_most(k - 1, n, p).expect("in the domain");
            let sum = 10_f64.powf(upper) + 10_f64.powf(lower);
            assert!((sum - 1.0).abs() < 1e-12, "{n} {p} {k}: {sum}");
        }
    }
}

#[test]
fn impossible_and_certain_events() {
    assert_eq!(binomial_at_least(0, 9, 0.1), Ok(0.0));
    assert_eq!(binomial_at_least(10, 9, 0.1), Ok(f64::NEG_INFINITY));
    assert_eq!(binomial_at_least(9, 9, 1.0), Ok(0.0));
    assert_eq!(binomial_at_most(9, 9, 0.1), Ok(0.0));
    // 8 of 10 marked, 5 drawn: at least 3 are.
    assert_eq!(hypergeometric_at_least(3, 10, 8, 5), Ok(0.0));
    assert_eq!(hypergeometric_at_least(6, 10, 8, 5), Ok(f64::NEG_INFINITY));
    assert_eq!(gamma_at_least(0.0, 2.0), Ok(0.0));
    assert_eq!(normal_at_least(f64::INFINITY), Ok(f64::NEG_INFINITY));
    assert_eq!(student_t_at_least(f64::NEG_INFINITY, 2.0), Ok(0.0));
}

#[test]
fn arguments_outside_the_domain_are_refused() {
    assert!(binomial_at_least(1, 2, 1.5).is_err());
    assert!(binomial_at_most(1, 2, f64::NAN).is_err());
    assert!(hypergeometric_at_least(1, 5, 6, 2).is_err());
    assert!(hypergeometric_at_least(1, 5, 2, 6).is_err());
    assert!(gamma_at_least(-1.0, 1.0).is_err());
    assert!(chi_square_at_least(1.0, 0.0).is_err());
    assert!(normal_at_least(f64::NAN).is_err());
    assert!(student_t_at_least(1.0, -1.0).is_err());
}

#[test]
fn two_gammas_agree_with_their_mixture() {
    // `tests/reference/two_gammas.py`.
    for ((shape, a, b, x), want) in [
        ((1.0, 0.9, 0.1, 3.0), -1.396_495_750_563_584_7),
        ((2.0, 0.7, 0.3, 9.0), -4.005_792_023_083_29),
        ((50.0, 0.9, 0.1, 40.0), -0.022_296_312_126_998_15),
        ((50.0, 0.9, 0.1, 85.0), -5.529_953_443_583_402),
        ((50.0, 0.9, 0.1, 150.0), -24.380_179_842_416_8),
        ((50.0, 0.8, 0.2, 200.0), -48.929_014_460_493_91),
        ((300.0, 0.9, 0.1, 300.0), -0.307_636_172_655_994_45),
        ((300.0, 0.9, 0.1, 450.0), -16.099_146_451_069_385),
    ] {
        let got = two_gammas_at_least(x, shape, a, b).expect("in the domain");
        let off = (got - want).abs();
        assert!(
            off <= 1e-11 * want.abs().max(1.0),
            "{shape} {a} {b} {x}: {got:e} {want:e}"
        );
    }
    assert!(two_gammas_at_least(1.0, 0.5, 0.9, 0.1).is_err());
}
