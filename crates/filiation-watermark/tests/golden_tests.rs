//! Golden values of the tests themselves: exact tails, and what references say of counts.

#[path = "goldens/read.rs"]
#[expect(dead_code, reason = "one reader for several tests")]
mod read;

use filiation_stats::tails;
use read::{Golden, close};

#[test]
fn tails_in_log_space() {
    let golden = Golden::read("core");
    let mut kinds = std::collections::BTreeSet::new();
    for of in golden.list("tails") {
        let kind = of.text("kind");
        let number = |key: &str| of.at(key).number();
        let whole = |key: &str| number(key) as u64;
        let got = match kind.as_str() {
            "binom_sf_ge" => tails::binomial_at_least(whole("k"), whole("n"), number("g")),
            "gamma_sf" => tails::gamma_at_least(number("s"), number("n")),
            "hypergeom_sf_ge" => {
                tails::hypergeometric_at_least(whole("k"), whole("V"), whole("G"), whole("m"))
            }
            other => panic!("no such tail: {other}"),
        };
        let want: f64 = of.text("log10p").parse().expect("a number");
        close(got.expect("in the domain"), want, 1e-11, &kind);
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 3);
}

/// z and p of the normal approximation, which the references print: what they are of our counts.
#[test]
fn what_references_say_of_counts() {
    let golden = Golden::read("core");
    let mut checked = 0;
    for part in ["lm_watermarking_extended", "hf_5_23"] {
        for (name, of) in golden.at(part).at("res").entries() {
            let (n, green) = (of.at("n").number(), of.at("green").number());
            let z = (green - 0.25 * n) / (n * 0.25 * 0.75).sqrt();
            assert!((z - of.at("z").number()).abs() < 1e-12, "{name}");
            let p = 10_f64.powf(tails::normal_at_least(z).expect("a number"));
            // `transformers` computes the tail in single precision.
            close(p, of.at("p").number(), 1e-6, name);
            checked += 1;
        }
    }
    assert_eq!(checked, 12);
    // vLLM's p with two keys is of a gamma with the same two moments.
    let of = Golden::read("serving").at("vllm_dual");
    let (alpha, n) = (of.at("alpha").number(), 263.0);
    let variance = (1.0 - alpha).powi(2) + alpha * alpha;
    let tail = tails::gamma_at_least(of.at("score").number() / variance, n / variance);
    close(
        10_f64.powf(tail.expect("in the domain")),
        of.at("p").number(),
        1e-9,
        "vllm dual",
    );
}
