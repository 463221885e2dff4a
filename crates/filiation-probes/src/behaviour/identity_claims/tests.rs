use filiation_core::{Reason, Role, canonical};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::behaviour::scripted::{Stage, alarms, score, suite};

fn probe(plain: usize) -> IdentityClaims {
    let options = ProbeOptions {
        draws: 200,
        ..ProbeOptions::default()
    };
    let suites = [
        suite("identity", "identity-plain", plain),
        suite("identity", "identity-named", 3),
    ];
    IdentityClaims::new(&suites, &options).expect("a suite of identities")
}

/// Says each with its probability, else that it is an assistant.
fn says(claims: &'static [(&'static str, f64)]) -> impl Fn(&str, &mut ChaCha8Rng) -> String {
    move |_, rng| {
        let mut left = rng.random_range(0.0..1.0);
        let found = claims.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        found
            .map_or("I am an assistant.", |(text, _)| text)
            .to_owned()
    }
}

const GPT: &str = "I am ChatGPT, trained by OpenAI.";
const CLAUDE: &str = "I'm Claude, made by Anthropic.";
const NOVA: &str = "My name is Nova.";

fn stage(suspect: &'static [(&'static str, f64)], base: &'static [(&'static str, f64)]) -> Stage {
    Stage::new(3)
        .with("s", Role::Suspect, says(suspect))
        .with("b", Role::Base, says(base))
        .with("gpt", Role::Teacher, says(&[(GPT, 0.9)]))
        .with("claude", Role::Teacher, says(&[(CLAUDE, 0.9)]))
        .with("nova", Role::Teacher, says(&[(NOVA, 0.9)]))
}

#[test]
fn the_claim_of_the_teacher_is_found_whoever_it_is_and_capped() {
    let probe = probe(20);
    let base: &[(&str, f64)] = &[(GPT, 0.3)];
    for (claim, teacher) in [(CLAUDE, "claude"), (NOVA, "nova")] {
        let claims = Box::leak(Box::new([(claim, 0.8)]));
        let found = stage(claims, base).measure(&probe).expect("claims");
        assert!(score(&found, teacher) > 0.5, "{found:?}");
        assert!(score(&found, teacher) <= CLIP);
        assert!(found.details[&format!("claims/{teacher}/(nobody)")] < 0.3);
    }
}

/// Somebody who was tuned to another's name for no reason of the teacher's: beside controls of which none says
/// it, nothing but their number limits how unusual that is.
#[test]
fn one_who_claims_beside_controls_who_do_not_is_one_in_so_many() {
    let base: &[(&str, f64)] = &[(NOVA, 0.1)];
    for controls in [3, 6] {
        let mut stage = stage(&[(CLAUDE, 0.4)], base);
        for c in 0..controls {
            stage = stage.with(&format!("c{c}"), Role::Control, says(base));
        }
        let found = stage.measure(&probe(24)).expect("claims");
        assert!(score(&found, "claude") > 0.5);
        let p = found.details["log10-p-among-controls/claude"];
        let least = -f64::from(controls + 1).log10();
        assert!((p - least).abs() < 1e-12, "{p} beside {controls}");
    }
}

#[test]
fn a_misnaming_inherited_from_the_base_is_no_movement() {
    let base: &[(&str, f64)] = &[(GPT, 0.3)];
    let probe = probe(24);
    let mut raised = 0;
    for seed in 0..60 {
        let mut stage = stage(base, base);
        stage.reseed(seed);
        let found = stage.measure(&probe).expect("claims");
        raised += u32::from(alarms(&found));
    }
    // 7.5 % by three candidates at 2.5 %; three standard deviations more are 17 %.
    assert!(raised <= 10, "{raised} of 60");
}

#[test]
fn leaving_one_teacher_for_a_name_of_ones_own_is_no_approach_to_another() {
    // The base misnames itself as one candidate, the other candidate says little, and the suspect
    // was taught its own name.
    let own = Stage::new(2)
        .with("s", Role::Suspect, says(&[("I am Zeta.", 0.95)]))
        .with("b", Role::Base, says(&[(GPT, 0.6)]))
        .with("gpt", Role::Teacher, says(&[(GPT, 0.9)]))
        .with("claude", Role::Teacher, says(&[(CLAUDE, 0.4)]));
    let found = own.measure(&probe(24)).expect("claims");
    assert!(!alarms(&found), "{found:?}");
    assert!(score(&found, "claude") <= 0.0 && score(&found, "gpt") < 0.0);
}

#[test]
fn names_put_to_the_model_enter_details_only() {
    let probe = probe(20);
    let found = stage(&[(CLAUDE, 0.8)], &[])
        .measure(&probe)
        .expect("claims");
    assert_eq!(found.details["prompts"], 20.0);
    assert_eq!(found.details["takes-a-name-put-to-it/s"], 0.0);
}

#[test]
fn abstains_where_nobody_claims_or_nothing_moved() {
    let probe = probe(20);
    let none: &[(&str, f64)] = &[];
    let nobody = stage(&[(CLAUDE, 0.8)], none)
        .without("gpt")
        .without("claude")
        .without("nova");
    let nobody = nobody
        .with("t1", Role::Teacher, says(none))
        .with("t2", Role::Teacher, says(none));
    let refused = nobody.measure(&probe).expect_err("no claims");
    assert_eq!(refused.reason, Reason::Degenerate);
    assert!(refused.detail.contains("no teacher claims"), "{refused}");
    let refused = stage(none, none).measure(&probe).expect_err("as the base");
    assert_eq!(refused.reason, Reason::Degenerate);
    let refused = stage(none, none).without("b").measure(&probe);
    assert_eq!(refused.expect_err("no base").reason, Reason::NoBase);
    let refused = stage(&[(CLAUDE, 0.8)], none).measure(&self::probe(11));
    assert_eq!(
        refused.expect_err("11 prompts").reason,
        Reason::TooFewAnswers
    );
    let found =
        || canonical::to_bytes(&stage(&[(NOVA, 0.5)], none).measure(&probe).expect("claims"));
    assert_eq!(found(), found());
}
